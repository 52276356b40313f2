"""What every page of the desk shares: what it reaches, who asks, and how it is sent.

The one rule it protects: nothing on a page comes from outside this house, and nothing is changed by a request that none
of our own forms sent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
from nats.aio.client import Client
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from services.chassis import pages
from services.chassis.clock import Clock
from services.chassis.pages import PageError
from services.chassis.vault import Vault
from services.notifier.desk.sessions import Session, Sessions, is_of
from services.notifier.desk.signing_in import SignOn
from services.notifier.desk.words import Sayings
from services.notifier.ledger import Ledger
from services.notifier.tasks.life import Actor
from services.reading.explain import Explainer
from services.reading.speaking import Language, Speaker
from services.reading.visibility import Caller
from services.rules.tenants import Tenant

TEXTS = Path(__file__).parent / "texts"
LIVE = "x-gihan-live"
"""The header by which the script says that nobody asked for the page."""
MAX_FIELDS = 300
"""Of a form: a page of tasks, each with its box."""

_HEADERS = pages.headers("script-src", "connect-src")
_templates = pages.templates(Path(__file__).parent / "templates")


class SignInFirst(Exception):
    """Nobody is signed in."""


@dataclass(frozen=True, slots=True)
class Site:
    """What pages reach. `ledger` is the one that this process may write, None while another instance does the work."""

    pool: asyncpg.Pool
    nc: Client
    clock: Clock
    tenants: Mapping[str, Tenant]
    vault: Vault
    explainer: Explainer
    sayings: Sayings
    sessions: Sessions
    sign_on: SignOn
    ledger: Callable[[], Ledger | None]


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who is signed in."""

    request: Request
    site: Site
    language: Language
    session: Session
    tenant: Tenant
    speaker: Speaker

    @classmethod
    async def of(cls, request: Request, touch: bool = True) -> "Visit":
        """The visit that a request is. Raises SignInFirst, or PageError for a city that is not served here."""
        site: Site = request.app.state.site
        # A list that renews itself is no sign of somebody in front of it.
        used = touch and LIVE not in request.headers
        session = await site.sessions.read(request.cookies.get(site.sessions.cookie), used)
        if session is None:
            raise SignInFirst
        tenant = site.tenants.get(session.member.tenant)
        if tenant is None:
            raise PageError(HTTPStatus.FORBIDDEN, "unknown_tenant")
        language = language_of(request)
        return cls(request, site, language, session, tenant, Speaker(TEXTS, language, tenant.zone))

    @property
    def caller(self) -> Caller:
        """Who asks, for the rules of what may be known."""
        member = self.session.member
        name = f"{member.tenant}/staff/{member.staff}"
        return Caller(member.tenant, "desk", name, member.role, member.department, member.staff)

    @property
    def actor(self) -> Actor:
        """Who acts, for the rules of what may be done."""
        member = self.session.member
        return Actor(member.tenant, member.staff, member.roles, member.department or None)

    @property
    def ledger(self) -> Ledger:
        """What steps are written to. Raises PageError where another instance does the work."""
        ledger = self.site.ledger()
        if ledger is None:
            raise PageError(HTTPStatus.SERVICE_UNAVAILABLE, "elsewhere")
        return ledger

    @property
    def city(self) -> str:
        """The name of the city."""
        return self.tenant.name_ko if self.language == "ko" else self.tenant.name_en

    def path(self, *parts: str, **query: str | None) -> str:
        """The address of a page in this language."""
        asked = urlencode({name: value for name, value in query.items() if value})
        return "/".join(("/desk", self.language, *parts)) + (f"?{asked}" if asked else "")

    def page(self, name: str, status: int = HTTPStatus.OK, **values: Any) -> Response:
        """A page from its template."""
        return render(
            *(self.request, name, self.speaker, status),
            visit=self,
            member=self.session.member,
            form=self.session.form,
            city=self.city,
            path=self.path,
            **values,
        )

    def go(self, *parts: str, **query: str | None) -> Response:
        """Sends the browser on, so that loading a page again takes no step twice."""
        return RedirectResponse(self.path(*parts, **query), HTTPStatus.SEE_OTHER)

    async def sent(self) -> FormData:
        """The fields of a form. Raises PageError where it is not one of ours, made for this session."""
        if self.request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise PageError(HTTPStatus.FORBIDDEN, "not_our_form")
        form = await self.request.form(max_files=0, max_fields=MAX_FIELDS)
        if not is_of(self.session, str(form.get("form", ""))):
            raise PageError(HTTPStatus.FORBIDDEN, "not_our_form")
        return form


def language_of(request: Request) -> Language:
    """The language of a page, by its address."""
    return "en" if request.scope["root_path"].endswith("/en") else "ko"


def render(request: Request, name: str, speaker: Speaker, status: int, **values: Any) -> Response:
    """A page from its template, with the address of the same page in the other language."""
    other, path = "en" if speaker.language == "ko" else "ko", request.url.path
    query = f"?{request.url.query}" if request.url.query else ""
    elsewhere = path.replace(f"/desk/{speaker.language}", f"/desk/{other}", 1) + query
    if request.method != "GET" or elsewhere == path + query:
        elsewhere = f"/desk/{other}/"
    content = _templates.get_template(f"{name}.html").render(
        t=speaker.say, say=speaker, language=speaker.language, here=path, elsewhere=elsewhere, **values
    )
    return HTMLResponse(content, status, headers=_HEADERS)
