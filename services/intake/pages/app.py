"""The pages as one application, below /ko and /en.

The one rule: an error is a page as well, in the language of the address, and says nothing of what went wrong inside.
"""

from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from services.chassis import postgres
from services.chassis.http import without_slash
from services.chassis.links import Signer
from services.chassis.pages import PageError
from services.intake.api.serving import Parts
from services.intake.pages import charter, filing, following, reports, talking, telling
from services.intake.pages.counter import Counter
from services.intake.pages.site import Site, Visit, language_of, render
from services.intake.pages.throttle import Throttle
from services.intake.pages.words import LANGUAGES, Speaker
from services.intake.reporting.shelf import Shelf
from services.reading.speaking import preferred

LINK = "/{tenant}/p/{link}"
STATIC_SECONDS = 3600


class Pages:
    """The application of the pages; they open once intake runs."""

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        self._app = Starlette(
            routes=_routes(),
            exception_handlers={
                PageError: _on_page_error,
                HTTPException: _on_http_error,
                Exception: _on_error,
            },
        )
        self._app.router.redirect_slashes = False

    def mount(self, app: FastAPI) -> None:
        """Adds the pages to an application, after everything else that it answers: /{tenant} would catch it."""
        self._outer = app
        for language in LANGUAGES:
            app.mount(f"/{language}", self._app)
        app.mount("/pages", _Static(directory=Path(__file__).parent / "static"))
        app.add_route("/", _to_language, include_in_schema=False)
        app.add_route("/{tenant}", _to_language, include_in_schema=False)

    def open(self, parts: Parts) -> None:
        """Lets visitors in. Raises OperatorError where the key cannot be read."""
        pool, clock, doors, explainer, tenants, _, vault = parts
        signer = Signer.of_file(self._key_file)
        throttle, counter = Throttle(pool, signer), Counter(pool, explainer)
        shelf = Shelf(pool, clock)
        site = Site(pool, doors, explainer, vault, clock, tenants, signer, throttle, counter, shelf)
        self._app.state.site = self._outer.state.site = site


class _Static(StaticFiles):
    """The stylesheet, which browsers may keep: it is the one thing here that is the same for everybody."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_cacheable(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = (b"cache-control", f"public, max-age={STATIC_SECONDS}".encode())
                message["headers"] = [*message["headers"], headers]  # type: ignore[misc]
            await send(message)

        await super().__call__(scope, receive, send_cacheable)  # type: ignore[arg-type]


def _routes() -> list[Route]:
    pages = {
        "/": (_cities, None),
        "/{tenant}": (_home, None),
        "/{tenant}/new": (filing.choose, None),
        "/{tenant}/new/{kind}": (filing.show, filing.send),
        "/{tenant}/received/{link}": (following.received, None),
        "/{tenant}/renewed/{link}": (following.renewed, None),
        "/{tenant}/follow": (following.show_look_up, following.look_up),
        "/{tenant}/charter": (charter.show, None),
        "/{tenant}/report": (reports.newest, None),
        "/{tenant}/report/{year}": (reports.show, None),
        "/{tenant}/report/{year}/{form}": (reports.take, None),
        LINK: (following.show, None),
        f"{LINK}/report": (telling.show_report, telling.report),
        f"{LINK}/talk": (talking.show, talking.send),
        f"{LINK}/survey": (telling.show_survey, telling.survey),
        f"{LINK}/thanks/{{what}}": (telling.thanks, None),
    }
    routes = [Route(path, show) for path, (show, _) in pages.items()]
    routes += [Route(path, send, methods=["POST"]) for path, (_, send) in pages.items() if send]
    return [*routes, Route(f"{LINK}/renew", following.renew, methods=["POST"])]


async def _cities(request: Request) -> Response:
    """Every city that is served here; where there is one alone, its page."""
    site: Site = request.app.state.site
    language = language_of(request)
    if len(site.tenants) == 1:
        return RedirectResponse(f"/{language}/{next(iter(site.tenants))}", HTTPStatus.SEE_OTHER)
    cities = [(one.id, one.name_ko if language == "ko" else one.name_en) for one in site.tenants.values()]
    return render(request, "cities", _speaker(request), HTTPStatus.OK, cities=cities)


async def _home(request: Request) -> Response:
    return Visit.of(request).page("home")


async def _to_language(request: Request) -> Response:
    """An address without a language leads to that of the browser; Korean where it wants neither. So does that of a
    city that is not served here, for whoever reads pages: what is said there is a page as well."""
    site: Site | None = getattr(request.app.state, "site", None)
    tenant = request.path_params.get("tenant", "")
    if tenant in LANGUAGES:
        return RedirectResponse(f"/{tenant}/", HTTPStatus.SEE_OTHER)
    for_people = "text/html" in request.headers.get("accept", "")
    if site is None or (tenant and tenant not in site.tenants and not for_people):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    language = preferred(request.headers.get("accept-language", ""))
    return RedirectResponse(f"/{language}/{tenant}", HTTPStatus.SEE_OTHER, headers={"Vary": "Accept-Language"})


def _speaker(request: Request) -> Speaker:
    """For pages that are about no city."""
    site: Site = request.app.state.site
    return Speaker(language_of(request), next(iter(site.tenants.values())).zone)


def _problem(request: Request, status: int, problem: str) -> Response:
    site: Site = request.app.state.site
    if request.path_params.get("tenant") in site.tenants:
        visit = Visit.of(request)
        return visit.page("problem", status, problem=problem, home=visit.path())
    return render(request, "problem", _speaker(request), status, problem=problem, home=f"/{language_of(request)}/")


async def _on_page_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PageError)
    return _problem(request, error.status, error.problem)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if (there := without_slash(request, error.status_code)) is not None:
        return there
    if error.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        return _problem(request, error.status_code, "unread")
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return _problem(request, error.status_code, "not_found")
    return _problem(request, error.status_code, "away")


async def _on_error(request: Request, error: Exception) -> Response:
    """What the shell writes into the log; the visitor reads that it is not lost."""
    away = isinstance(error, (*postgres.LOST, *postgres.NO_ROOM))
    status = HTTPStatus.SERVICE_UNAVAILABLE if away else HTTPStatus.INTERNAL_SERVER_ERROR
    return _problem(request, status, "away")
