"""Tokens of the municipality's own sign-on (OpenID Connect): which member of staff asks, and what they may do.

The one rule it protects: a token counts where its signature, issuer, audience and times do, and for nothing that it
does not say. The keys come from the place that the settings name, never from one that a token names.

Claims beside the usual ones: `tenant`, `roles` (clerk, approver, head, audit; the highest counts; `privacy` stands
beside one of them), `department`, and `staff` (the staff id that events carry; without it `sub`). Audit alone may stand
outside every department.
"""

import asyncio
import json
import time
from collections.abc import Collection
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import TypeAdapter, ValidationError

from contracts.envelope import Id, Label
from services.chassis.http import Problem
from services.chassis.logs import get_logger

StaffRole = Literal["clerk", "approver", "head", "audit"]

_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""Signatures by a private key alone: with a shared secret whoever checks a token could make one."""
_HIGHEST_FIRST: tuple[StaffRole, ...] = ("audit", "head", "approver", "clerk")
PRIVACY = "privacy"
"""Beside a role: may answer persons who ask what is kept of them."""
_LEEWAY_SECONDS = 30
_KEYS_SECONDS = 300.0
_AGAIN_SECONDS = 10.0
"""How long until keys are looked for again where a token names one that is not known."""
_FETCH_SECONDS = 5.0
_LONGEST_TOKEN = 8_192

_ID: TypeAdapter[str] = TypeAdapter(Id)
_LABEL: TypeAdapter[str] = TypeAdapter(Label)


def _wrong(code: str = "wrong_token") -> Problem:
    detail = "Your sign-on is not valid here, or its time is over. Sign in again."
    return Problem(HTTPStatus.UNAUTHORIZED, code, detail)


class Member(NamedTuple):
    """A member of staff, as the sign-on says."""

    tenant: str
    staff: str
    role: StaffRole
    """The highest."""
    department: str
    roles: frozenset[StaffRole]
    privacy: bool = False
    """May answer persons who ask what is kept of them."""

    @classmethod
    def of(cls, tenant: str, staff: str, roles: Collection[str], department: str) -> "Member | None":
        """The member with those of the roles that are known here, None without any."""
        held: list[StaffRole] = [role for role in _HIGHEST_FIRST if role in roles]
        return cls(tenant, staff, held[0], department, frozenset(held), PRIVACY in roles) if held else None


class Tokens:
    """Checks tokens of one issuer, made for one audience. `place` is where its public keys are: a file, or an http
    address."""

    def __init__(self, issuer: str | None, audience: str | None, place: str | None) -> None:
        self._issuer = issuer
        self._audience = audience
        self._place = place
        self._keys: KeySet | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    @staticmethod
    def looks_like(credentials: str) -> bool:
        """Whether credentials are a token rather than a key: three parts, the first of which begins as JSON does."""
        return credentials.startswith("eyJ") and credentials.count(".") == 2

    async def member(self, token: str, now_seconds: int, nonce: str | None = None) -> Member:
        """Who a token stands for; with a `nonce`, only one that was asked for by it. Raises Problem 401, 403, or 503
        where the keys cannot be had."""
        if not (self._issuer and self._audience and self._place) or len(token) > _LONGEST_TOKEN:
            raise _wrong()
        try:
            claims = await self._claims(token)
            jwt.JWTClaimsRegistry(
                now_seconds,
                _LEEWAY_SECONDS,
                iss={"essential": True, "value": self._issuer},
                aud={"essential": True, "value": self._audience},
                exp={"essential": True},
                sub={"essential": True},
                nonce={"essential": nonce is not None, **({} if nonce is None else {"value": nonce})},
            ).validate(claims)
        except (JoseError, ValueError, TypeError):
            raise _wrong() from None
        return _member(claims)

    async def _claims(self, token: str) -> dict[str, Any]:
        keys = await self._key_set(_KEYS_SECONDS)
        try:
            return jwt.decode(token, keys, algorithms=_ALGORITHMS).claims
        except (JoseError, ValueError):
            # The issuer may have changed its keys since.
            newer = await self._key_set(_AGAIN_SECONDS)
            if newer is keys:
                raise
            return jwt.decode(token, newer, algorithms=_ALGORITHMS).claims

    async def _key_set(self, no_older_than: float) -> KeySet:
        async with self._reading:
            if self._keys is None or time.monotonic() - self._read_at > no_older_than:
                try:
                    content = json.loads(await _read(cast(str, self._place)))
                    self._keys = KeySet.import_key_set(content)
                except (OSError, httpx.HTTPError, JoseError, ValueError, KeyError, TypeError) as error:
                    get_logger().error("sign_on_keys_unreadable", error=type(error).__name__)
                    if self._keys is None:
                        raise Problem(
                            HTTPStatus.SERVICE_UNAVAILABLE,
                            "unavailable",
                            "Sign-on cannot be checked now. Try again in a moment.",
                            retry_after=10,
                        ) from None
                self._read_at = time.monotonic()
            return self._keys


def _member(claims: dict[str, Any]) -> Member:
    roles = claims.get("roles")
    try:
        tenant = _ID.validate_python(claims.get("tenant"))
        staff = _ID.validate_python(claims.get("staff", claims["sub"]))
        department = _LABEL.validate_python(claims["department"]) if "department" in claims else ""
    except ValidationError:
        raise _wrong() from None
    member = Member.of(tenant, staff, roles if isinstance(roles, list) else (), department)
    if member is None:
        raise Problem(HTTPStatus.FORBIDDEN, "not_allowed", "Your sign-on names no role that may use this.")
    if not department and member.role != "audit":
        raise Problem(HTTPStatus.FORBIDDEN, "no_department", "Your sign-on names no department. Tell whoever runs it.")
    return member


async def _read(place: str) -> bytes:
    if place.startswith(("https://", "http://")):
        # A proxy of the environment is for what lies outside.
        async with httpx.AsyncClient(timeout=_FETCH_SECONDS, trust_env=place.startswith("https")) as client:
            answer = await client.get(place)
            answer.raise_for_status()
            return answer.content
    return await asyncio.to_thread(Path(place).read_bytes)
