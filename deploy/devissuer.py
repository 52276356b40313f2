"""The development sign-on: an OpenID Connect issuer that believes whatever one says of oneself, for demos and tests.

The one rule it protects: it serves this machine alone, and services take plain http from nobody but this machine, so
that it can never be the sign-on of a city. Code flow with PKCE (S256), ID tokens by ES256, one key per start.
"""

import argparse
import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from services.chassis.clock import Clock, RealClock
from services.chassis.signon import PRIVACY

HOST = "127.0.0.1"
CLIENT, AUDIENCE = "desk", "gihan"
"""Who may ask for codes, and the audience of access tokens, which the HTTP API takes."""
ROLES = ("clerk", "approver", "head", "audit")
DEPARTMENTS = ("민원여권과", "건축과", "교통행정과", "환경위생과")
"""What is proposed; any other name may be typed."""
_CODE_SECONDS = 60
_TOKEN_SECONDS = 3600
_SECOND = 1_000_000


class _Granted(NamedTuple):
    """What a code stands for, until it is redeemed or over."""

    redirect_uri: str
    challenge: str
    nonce: str
    person: Mapping[str, Any]
    until: int


class Issuer:
    """The issuer at an address; `tenants` are names of cities by id."""

    def __init__(self, url: str, tenants: Mapping[str, str], clock: Clock | None = None) -> None:
        self.url = url
        self._tenants = tenants
        self._clock = clock or RealClock()
        self._key = ECKey.generate_key("P-256", {"kid": secrets.token_hex(8)})
        self._granted: dict[str, _Granted] = {}

    def app(self) -> Starlette:
        """The issuer over HTTP."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._describe),
                Route("/keys", self._keys),
                Route("/authorize", self._ask),
                Route("/authorize", self._grant, methods=["POST"]),
                Route("/token", self._redeem, methods=["POST"]),
                Route("/end", self._end),
            ]
        )

    async def _describe(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "end_session_endpoint": f"{self.url}/end",
                "jwks_uri": f"{self.url}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    async def _keys(self, _: Request) -> Response:
        return JSONResponse(KeySet([self._key]).as_dict(private=False))

    async def _ask(self, request: Request) -> Response:
        """The page on which one says who one is."""
        asked = request.query_params
        right = {"response_type": "code", "client_id": CLIENT, "code_challenge_method": "S256"}
        if any(asked.get(name) != value for name, value in right.items()) or not asked.get("code_challenge"):
            return PlainTextResponse("Not a request of the desk for a code with PKCE.", 400)
        if not _is_desk(asked.get("redirect_uri", "")):
            return PlainTextResponse("The address to go back to is not the desk's.", 400)
        return HTMLResponse(_page(self._tenants, {name: asked.get(name, "") for name in _CARRIED}))

    async def _grant(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        role, redirect_uri = form.get("role", ""), form.get("redirect_uri", "")
        if role not in ROLES or form.get("tenant") not in self._tenants or not _is_desk(redirect_uri):
            return PlainTextResponse("Choose a city and a role.", 400)
        person = {
            "tenant": form["tenant"],
            "roles": [role, PRIVACY] if form.get("privacy") else [role],
            "department": form.get("department") or DEPARTMENTS[0],
            "staff": form.get("staff") or f"{role}-1",
        }
        code = secrets.token_urlsafe(24)
        until = await self._now() + _CODE_SECONDS
        self._granted[code] = _Granted(
            redirect_uri, form.get("code_challenge", ""), form.get("nonce", ""), person, until
        )
        answer = urlencode({"code": code, "state": form.get("state", ""), "iss": self.url})
        return RedirectResponse(f"{redirect_uri}?{answer}", 303)

    async def _redeem(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        granted = self._granted.pop(form.get("code", ""), None)
        if granted is None or await self._now() > granted.until or form.get("redirect_uri") != granted.redirect_uri:
            return JSONResponse({"error": "invalid_grant"}, 400)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if form.get("client_id") != CLIENT or not hmac.compare_digest(challenge, granted.challenge):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = await self._now()
        claims = {"iss": self.url, "sub": granted.person["staff"], "exp": now + _TOKEN_SECONDS, **granted.person}
        header = {"alg": "ES256", "kid": self._key.kid}
        return JSONResponse(
            {
                "token_type": "Bearer",
                "expires_in": _TOKEN_SECONDS,
                # Without `iat`: where the clock is stepped, the present may lie behind.
                "access_token": jwt.encode(header, {**claims, "aud": AUDIENCE}, self._key),
                "id_token": jwt.encode(
                    header, {**claims, "aud": CLIENT, "iat": now, "nonce": granted.nonce}, self._key
                ),
            }
        )

    async def _end(self, request: Request) -> Response:
        to = request.query_params.get("post_logout_redirect_uri", "")
        return RedirectResponse(to, 303) if _is_desk(to) else PlainTextResponse("Signed out.")

    async def _now(self) -> int:
        return await self._clock.now() // _SECOND


def _is_desk(address: str) -> bool:
    """Whether an address is that of a desk of this machine: codes go nowhere else."""
    try:
        url = urlsplit(address)
    except ValueError:
        return False
    return url.scheme == "http" and url.hostname == HOST and url.path.startswith("/desk/")


_CARRIED = ("redirect_uri", "state", "nonce", "code_challenge")


def _page(tenants: Mapping[str, str], carried: Mapping[str, str]) -> str:
    hidden = "".join(f'<input type="hidden" name="{name}" value="{escape(text)}">' for name, text in carried.items())
    cities = "".join(f'<option value="{escape(id)}">{escape(name)}</option>' for id, name in tenants.items())
    roles = "".join(
        f'<p><label><input type="radio" name="role" value="{role}"{" checked" if role == "clerk" else ""}> {role}'
        "</label></p>"
        for role in ROLES
    )
    departments = "".join(f"<option>{escape(one)}</option>" for one in DEPARTMENTS)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Development sign-on</title>'
        "<style>body{max-width:30rem;margin:1.5rem auto;padding:0 1rem;font:1rem/1.55 sans-serif}</style></head><body>"
        "<main><h1>Development sign-on</h1><p>Whoever you say you are, you are. This machine alone.</p>"
        f'<form method="post">{hidden}<p><label>City <select name="tenant">{cities}</select></label></p>'
        f"<fieldset><legend>Role</legend>{roles}"
        f'<p><label><input type="checkbox" name="privacy" value="yes"> beside it {PRIVACY}</label></p></fieldset>'
        f'<p><label>Department <input name="department" list="departments" value="{DEPARTMENTS[0]}"></label>'
        f'<datalist id="departments">{departments}</datalist></p>'
        '<p><label>Staff id (empty: the role\'s first) <input name="staff"></label></p>'
        "<p><button>Sign in</button></p></form></main></body></html>"
    )


def main() -> None:
    """`python -m deploy.devissuer --port 9000 --tenant seoul=Seoul`"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tenant", action="append", default=[], help="id=name of a city; several times")
    given = parser.parse_args()
    tenants = dict(one.partition("=")[::2] for one in given.tenant)
    issuer = Issuer(f"http://{HOST}:{given.port}", tenants)
    uvicorn.run(issuer.app(), host=HOST, port=given.port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
