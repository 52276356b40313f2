"""Signing in: OpenID Connect's code flow with PKCE against the municipality's own sign-on.

The one rule it protects: a code is redeemed by the browser alone that asked for it. State, nonce and verifier are made
from one secret that this browser's cookie holds for ten minutes, so nothing is kept here of who began to sign in.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx
from pydantic import AnyHttpUrl, BaseModel, ValidationError

from services.chassis.clock import Clock
from services.chassis.http import Problem
from services.chassis.logs import get_logger
from services.chassis.settings import Settings, SettingsError
from services.chassis.signon import Member, Tokens

BEGUN_SECONDS = 600
_FETCH_SECONDS = 5.0
_DESCRIBED_SECONDS = 3600.0
_LOCAL = re.compile(r"/desk/(ko|en)(/[A-Za-z0-9_./-]*)?(\?[A-Za-z0-9_.~%&=+-]*)?")
"""Where one may be led after signing in: a page of the desk, and nothing that a browser could take for another host."""


class SignInFailed(Exception):
    """Nobody was signed in; `problem` names the texts that say why."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class Begun(NamedTuple):
    """A sign-in that has begun: what the browser keeps, and where it goes."""

    cookie: str
    address: str


class _Described(BaseModel):
    """What an issuer says of itself (OpenID Connect Discovery)."""

    issuer: str
    authorization_endpoint: AnyHttpUrl
    token_endpoint: AnyHttpUrl
    end_session_endpoint: AnyHttpUrl | None = None


class SignOn:
    """The sign-on of the settings, as the desk uses it. Raises SettingsError where something of it is not set."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        missing = [
            name
            for name, value in (
                ("GIHAN_OIDC_ISSUER", settings.oidc_issuer),
                ("GIHAN_OIDC_CLIENT", settings.oidc_client),
                ("GIHAN_OIDC_KEYS", settings.oidc_keys),
            )
            if not value
        ]
        if missing:
            raise SettingsError(f"GIHAN_DESK_URL is set, so {' and '.join(missing)} must be: staff sign in there.")
        assert settings.oidc_issuer is not None
        assert settings.oidc_client is not None
        assert settings.desk_url is not None
        if settings.desk_url.startswith("https") and not settings.oidc_issuer.startswith("https"):
            raise SettingsError("GIHAN_OIDC_ISSUER is the sign-on of development. A desk over https wants the city's.")
        self._issuer, self._client, self._secret = settings.oidc_issuer, settings.oidc_client, settings.oidc_secret
        self._back = f"{settings.desk_url}/desk/back"
        self._left = f"{settings.desk_url}/desk/left"
        self._clock = clock
        self._tokens = Tokens(settings.oidc_issuer, settings.oidc_client, settings.oidc_keys)
        self._described: _Described | None = None
        self._read_at = 0.0

    async def begin(self, to: str) -> Begun:
        """The way to the sign-on, and from there to a page of the desk. Raises SignInFailed."""
        secret = secrets.token_urlsafe(32)
        asked = {
            "response_type": "code",
            "client_id": self._client,
            "redirect_uri": self._back,
            "scope": "openid profile",
            "state": _made(secret, "state"),
            "nonce": _made(secret, "nonce"),
            "code_challenge": _challenge(_made(secret, "verifier")),
            "code_challenge_method": "S256",
        }
        described = await self._describe()
        return Begun(f"{secret}|{local(to)}", f"{described.authorization_endpoint}?{urlencode(asked)}")

    async def end(self, cookie: str, code: str, state: str, issuer: str | None) -> tuple[Member, str]:
        """Who came back with a code, and where to lead them. Raises SignInFailed."""
        secret, _, to = cookie.partition("|")
        known = hmac.compare_digest(_made(secret, "state").encode(), state.encode("utf-8", "replace"))
        if not secret or not known or not code or (issuer is not None and issuer != self._issuer):
            raise SignInFailed("sign_in_over")
        token = await self._redeem(code, _made(secret, "verifier"))
        try:
            member = await self._tokens.member(token, await self._clock.now() // 1_000_000, _made(secret, "nonce"))
        except Problem as problem:
            raise SignInFailed(problem.code) from None
        return member, local(to)

    async def leave(self) -> str | None:
        """Where one signs out of the sign-on itself, None where it has no such place, or none that answers."""
        try:
            described = await self._describe()
        except SignInFailed:
            return None
        if described.end_session_endpoint is None:
            return None
        asked = {"client_id": self._client, "post_logout_redirect_uri": self._left}
        return f"{described.end_session_endpoint}?{urlencode(asked)}"

    async def _redeem(self, code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back,
            "client_id": self._client,
            "code_verifier": verifier,
            **({"client_secret": self._secret} if self._secret else {}),
        }
        answer = await self._ask("POST", str((await self._describe()).token_endpoint), data=form)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SignInFailed("sign_in_over")
        return token

    async def _describe(self) -> _Described:
        if self._described is None or time.monotonic() - self._read_at > _DESCRIBED_SECONDS:
            place = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                described = _Described.model_validate(await self._ask("GET", place))
            except ValidationError:
                raise self._away("not_openid") from None
            ends = (described.authorization_endpoint, described.token_endpoint, described.end_session_endpoint)
            secure = self._issuer.startswith("https")
            if described.issuer != self._issuer or (secure and any(end and end.scheme != "https" for end in ends)):
                raise self._away("another_issuer")
            self._described, self._read_at = described, time.monotonic()
        return self._described

    async def _ask(self, method: str, place: str, **more: Any) -> dict[str, Any]:
        """What the sign-on answers. Redirects are not followed: a secret goes where the issuer says, and no further."""
        try:
            outside = self._issuer.startswith("https")
            async with httpx.AsyncClient(timeout=_FETCH_SECONDS, trust_env=outside, follow_redirects=False) as http:
                answer = await http.request(method, place, **more)
            if answer.is_client_error:
                raise SignInFailed("sign_in_over")
            content = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise self._away(type(error).__name__) from None
        if not isinstance(content, dict):
            raise self._away("no_object")
        return content

    def _away(self, error: str) -> SignInFailed:
        get_logger().error("sign_on_away", error=error)
        return SignInFailed("sign_on_away")


def local(to: str) -> str:
    """A page of the desk to go to: the one that was asked for, where it is one."""
    return to if _LOCAL.fullmatch(to) and ".." not in to and "//" not in to else "/desk"


def _made(secret: str, what: str) -> str:
    mac = hmac.digest(secret.encode("utf-8", "replace"), what.encode(), "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
