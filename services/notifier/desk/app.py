"""The desk as one application, below /desk/ko and /desk/en; signing in and out at /desk itself.

The one rule: an error is a page as well, and says nothing of what went wrong inside.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import asyncpg
from fastapi import FastAPI
from nats.aio.client import Client
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from contracts import files
from services.chassis import postgres
from services.chassis.clock import Clock, RealClock
from services.chassis.http import Problem
from services.chassis.limits import Rate
from services.chassis.logs import get_logger
from services.chassis.pages import PageError
from services.chassis.settings import Settings
from services.chassis.tasks import end
from services.chassis.vault import Vault
from services.notifier.desk import case, changes, front, item, trail
from services.notifier.desk.changes import Watch
from services.notifier.desk.sessions import Sessions
from services.notifier.desk.signing_in import BEGUN_SECONDS, SignInFailed, SignOn
from services.notifier.desk.site import TEXTS, SignInFirst, Site, Visit, language_of, render
from services.notifier.desk.words import Sayings
from services.notifier.ledger import Fenced, Ledger
from services.reading.explain import Explainer
from services.reading.speaking import LANGUAGES, Language, Speaker, preferred
from services.rules.rulebook import Library
from services.rules.tenants import Tenant

Handler = Callable[[Request], Awaitable[Response]]

BEGUN = "gihan_sign_in"
"""The cookie of a sign-in that has begun."""
DOOR_RATE, DOOR_BURST = 2.0, 120.0
"""So many requests a second may one address make of the door, and so many at once: each sign-in is two, and a whole
office may come from one address in the morning. Each makes us ask the sign-on, which must not be worn down by us."""


class Desk:
    """The application of the desk; it opens once the notifier runs. Raises SettingsError where no sign-on is set."""

    def __init__(self, settings: Settings) -> None:
        # The people in front of a page live by the machine's time, also where that of the cases is stepped.
        self._clock = RealClock()
        self._secure = (settings.desk_url or "").startswith("https")
        self._sign_on = SignOn(settings, self._clock)
        handlers = {
            SignInFirst: _on_sign_in_first,
            SignInFailed: _on_sign_in_failed,
            PageError: _on_page_error,
            Problem: _on_problem,
            Fenced: _on_fenced,
            HTTPException: _on_http_error,
            Exception: _on_error,
        }
        self._rate = Rate(DOOR_RATE, DOOR_BURST)
        self._pages = Starlette(routes=_routes(), exception_handlers=handlers)
        self._door = Starlette(
            routes=[
                Route("/", _home),
                *(Route(f"/{language}", _home) for language in LANGUAGES),
                Route("/in", self._at_most(_begin)),
                Route("/back", self._at_most(_come_back)),
                Route("/out", _leave, methods=["POST"]),
                Route("/left", _left),
                Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
            ],
            exception_handlers=handlers,
        )

    def _at_most(self, answer: Handler) -> Handler:
        """The same for whoever does not ask too often."""

        async def counted(request: Request) -> Response:
            self._rate.take(request.client.host if request.client else "")
            return await answer(request)

        return counted

    def mount(self, app: FastAPI) -> None:
        """Adds the desk to an application."""
        for language in LANGUAGES:
            app.mount(f"/desk/{language}", self._pages)
        app.add_route("/desk", _home, include_in_schema=False)  # no redirect adds the slash that a mount wants
        app.mount("/desk", self._door)

    @asynccontextmanager
    async def open(
        self,
        pool: asyncpg.Pool,
        nc: Client,
        clock: Clock,
        tenants: Mapping[str, Tenant],
        vault: Vault,
        ledger: Callable[[], Ledger | None],
    ) -> AsyncIterator[None]:
        """Lets staff in until the block is left; `ledger` answers with what this process may write."""
        sessions = Sessions(pool, self._clock, self._secure)
        sayings = Sayings(Library(files.read()))
        site = Site(pool, nc, clock, tenants, vault, Explainer(pool), sayings, sessions, self._sign_on, ledger)
        watch = Watch(pool)
        for app in (self._pages, self._door):
            app.state.site, app.state.watch = site, watch
        looking = asyncio.create_task(watch.run(), name="desk")
        try:
            yield
        finally:
            await end([looking])


def _routes() -> list[Route]:
    return [
        Route("/", front.show),
        Route("/approve", front.approve_all, methods=["POST"]),
        Route("/tasks/{key}", item.show),
        Route("/tasks/{key}/letter", item.letter, methods=["POST"]),
        Route("/tasks/{key}/{step}", item.act, methods=["POST"]),
        Route("/cases", case.listed),
        Route("/cases/{case}", case.show),
        Route("/trail", trail.show),
        Route("/changes", changes.listen),
        Route("/keys", _keys),
    ]


async def _keys(request: Request) -> Response:
    return (await Visit.of(request)).page("keys")


# The door: signing in and out


def _language(request: Request) -> Language:
    return preferred(request.headers.get("accept-language", ""))


async def _home(request: Request) -> Response:
    """To the list, in the language of the address or else of the browser."""
    named = request.url.path.rpartition("/")[2]
    language = named if named in LANGUAGES else _language(request)
    return RedirectResponse(f"/desk/{language}/", HTTPStatus.SEE_OTHER)


async def _begin(request: Request) -> Response:
    """To the sign-on."""
    site: Site = request.app.state.site
    begun = await site.sign_on.begin(request.query_params.get("to", ""))
    answer = RedirectResponse(begun.address, HTTPStatus.SEE_OTHER)
    site.sessions.set_cookie(answer, BEGUN, begun.cookie, BEGUN_SECONDS)
    return answer


async def _come_back(request: Request) -> Response:
    """From the sign-on, with a code or with a refusal."""
    site: Site = request.app.state.site
    asked = request.query_params
    member, to = await site.sign_on.end(
        request.cookies.get(BEGUN, ""), asked.get("code", ""), asked.get("state", ""), asked.get("iss")
    )
    if member.tenant not in site.tenants:
        raise SignInFailed("unknown_tenant")
    answer = RedirectResponse(to, HTTPStatus.SEE_OTHER)
    answer.delete_cookie(BEGUN, path="/")
    await site.sessions.begin(member, answer)
    get_logger().info("signed_in", tenant=member.tenant, role=member.role)
    return answer


async def _leave(request: Request) -> Response:
    """Signs out here at once; the page then leads on to the sign-on, whose session is its own."""
    visit = await Visit.of(request)
    await visit.sent()
    site = visit.site
    language = _language(request)
    answer = _plain(request, "left", HTTPStatus.OK, language, elsewhere_out=await site.sign_on.leave())
    await site.sessions.end(request.cookies.get(site.sessions.cookie, ""), answer)
    return answer


async def _left(request: Request) -> Response:
    return _plain(request, "left", HTTPStatus.OK, _language(request), elsewhere_out=None)


# Pages of those who are not signed in, and errors


def _plain(request: Request, name: str, status: int, language: Language | None = None, **values: object) -> Response:
    site: Site = request.app.state.site
    zone = next(iter(site.tenants.values())).zone
    speaker = Speaker(TEXTS, language or language_of(request), zone)
    return render(request, name, speaker, status, member=None, **values)


def _problem(request: Request, status: int, problem: str) -> Response:
    at_the_door = not request.scope["root_path"].endswith(LANGUAGES)
    return _plain(request, "problem", status, _language(request) if at_the_door else None, problem=problem)


async def _on_sign_in_first(request: Request, _: Exception) -> Response:
    """To the sign-on, and back to the page that was asked for; what was sent by a form is not sent again."""
    if request.method != "GET":
        return _problem(request, HTTPStatus.UNAUTHORIZED, "signed_out")
    if request.url.path.endswith("/changes"):
        return Response(status_code=HTTPStatus.NO_CONTENT)  # tells a browser's listener not to come again
    query = f"?{request.url.query}" if request.url.query else ""
    to = quote(f"{request.url.path}{query}", safe="")
    return RedirectResponse(f"/desk/in?to={to}", HTTPStatus.SEE_OTHER)


async def _on_sign_in_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, SignInFailed)
    away = error.problem in ("sign_on_away", "unavailable")
    status = HTTPStatus.SERVICE_UNAVAILABLE if away else HTTPStatus.FORBIDDEN
    return _problem(request, status, "sign_on_away" if away else error.problem)


async def _on_page_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PageError)
    return _problem(request, error.status, error.problem)


async def _on_problem(request: Request, error: Exception) -> Response:
    """Somebody asks too often."""
    assert isinstance(error, Problem)
    answer = _problem(request, error.status, "too_often")
    answer.headers["Retry-After"] = str(error.retry_after or 1)
    return answer


async def _on_fenced(request: Request, _: Exception) -> Response:
    return _problem(request, HTTPStatus.SERVICE_UNAVAILABLE, "elsewhere")


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(request, error.status_code, "not_found" if error.status_code < 500 else "away")


async def _on_error(request: Request, error: Exception) -> Response:
    """What the shell writes into the log."""
    away = isinstance(error, (*postgres.LOST, *postgres.NO_ROOM))
    status = HTTPStatus.SERVICE_UNAVAILABLE if away else HTTPStatus.INTERNAL_SERVER_ERROR
    return _problem(request, status, "away")
