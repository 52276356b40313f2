"""What every page shares: the services behind it, its language and city, and how it is sent.

The one rule: nothing on a page comes from outside this house. No script runs, no other host is named, no address of a
page is told to another one, and what is typed into a form is never kept on the way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import asyncpg
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from services.chassis import pages
from services.chassis.clock import Clock
from services.chassis.links import Signer
from services.chassis.pages import PageError
from services.chassis.vault import Vault
from services.intake.doors import Doors
from services.intake.pages.counter import Counter
from services.intake.pages.throttle import Throttle
from services.intake.pages.words import Language, Speaker
from services.intake.reporting.shelf import Shelf
from services.reading.explain import Explainer
from services.rules.tenants import Tenant

SOURCE = "web"
"""The publishing system as which the pages hand in what citizens write."""
VISITOR = "gihan_form"
"""The one cookie: it ties a form to the browser that asked for it."""
MAX_FIELDS = 40

_HEADERS = pages.headers()
_templates = pages.templates(Path(__file__).parent / "templates")


@dataclass(frozen=True, slots=True)
class Site:
    """What pages reach: the same doors, vault and views as everybody else."""

    pool: asyncpg.Pool
    doors: Doors
    explainer: Explainer
    vault: Vault
    clock: Clock
    tenants: Mapping[str, Tenant]
    signer: Signer
    throttle: Throttle
    counter: Counter
    shelf: Shelf


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: its language, the city it is about, and how to answer it."""

    request: Request
    site: Site
    language: Language
    tenant: Tenant
    speaker: Speaker

    @classmethod
    def of(cls, request: Request) -> "Visit":
        """The visit that a request is. Raises PageError for a city that is not served here."""
        site: Site = request.app.state.site
        tenant = site.tenants.get(request.path_params.get("tenant", ""))
        if tenant is None:
            raise PageError(HTTPStatus.NOT_FOUND, "not_found")
        language = language_of(request)
        return cls(request, site, language, tenant, Speaker(language, tenant.zone))

    @property
    def city(self) -> str:
        """The name of the city."""
        return self.tenant.name_ko if self.language == "ko" else self.tenant.name_en

    @property
    def takes_petitions(self) -> bool:
        """Whether this city lets citizens file here."""
        return SOURCE in self.tenant.sources

    def path(self, *parts: str) -> str:
        """The address of a page of this city in this language."""
        return "/".join(("", self.language, self.tenant.id, *parts))

    def page(self, name: str, status: int = HTTPStatus.OK, **values: Any) -> Response:
        """A page from its template."""
        return render(self.request, name, self.speaker, status, city=self.city, path=self.path, visit=self, **values)

    def go(self, *parts: str) -> Response:
        """Sends the browser on, so that loading a page again sends no form twice."""
        return RedirectResponse(self.path(*parts), HTTPStatus.SEE_OTHER)

    def visitor(self) -> str:
        """The browser's cookie where it is one of ours, else a new one."""
        given = self.request.cookies.get(VISITOR, "")
        return given if self.site.signer.knows(given) else self.site.signer.visitor()

    def with_cookie(self, answer: Response, visitor: str) -> Response:
        """The answer, with the cookie for whoever has none yet."""
        if self.request.cookies.get(VISITOR) != visitor:
            secure = self.request.url.scheme == "https"
            answer.set_cookie(VISITOR, visitor, path="/", httponly=True, secure=secure, samesite="lax")
        return answer

    async def form(self) -> dict[str, str]:
        """The fields that were sent, each trimmed, with line breaks as they are written here."""
        sent: FormData = await self.request.form(max_files=0, max_fields=MAX_FIELDS)
        return {name: value.replace("\r\n", "\n").strip() for name, value in sent.items() if isinstance(value, str)}

    @property
    def address(self) -> str:
        """Where the request came from; kept as a keyed digest alone (throttle)."""
        return self.request.client.host if self.request.client else ""


def language_of(request: Request) -> Language:
    """The language of a page, by the first part of its address."""
    return cast(Language, request.scope["root_path"].rpartition("/")[2])


def render(request: Request, name: str, speaker: Speaker, status: int, **values: Any) -> Response:
    """A page from its template, with the address of the same page in the other language."""
    other = "en" if speaker.language == "ko" else "ko"
    path = request.url.path
    content = _templates.get_template(f"{name}.html").render(
        t=speaker.say,
        language=speaker.language,
        here=path,
        elsewhere=f"/{other}{path[3:]}",
        **values,
    )
    return HTMLResponse(content, status, headers=_HEADERS)
