"""Who asks: a publishing system by its API key, or a member of staff by a token of the municipality's sign-on.

The one rule it protects: nothing is done for anybody who is not known, and no caller gets more than the limits allow.
"""

import time
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Annotated

import asyncpg
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.chassis.clock import Clock
from services.chassis.http import Problem
from services.chassis.limits import Concurrency, Rate
from services.chassis.settings import Settings
from services.chassis.signon import Tokens
from services.intake.keys import digest
from services.reading.visibility import Caller

_KEY_SECONDS = 10.0
"""How long a key is taken to be what the database said."""
_WRONG_PER_SECOND, _WRONG_BURST = 1.0, 20.0
"""How often one address may come with credentials that nobody has."""
_WHOLE_PER_SECOND, _WHOLE_BURST = 1 / 30, 20.0
_BURST_SECONDS = 2.0

_bearer = HTTPBearer(
    auto_error=False, description="The API key of a publishing system, or a token of the municipality's sign-on."
)


class Gate:
    """Lets callers in and counts what they ask for."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, clock: Clock, tenants: Collection[str]) -> None:
        self._pool = pool
        self._tenants = tenants
        self._clock = clock
        self._tokens = Tokens(settings.oidc_issuer, settings.oidc_audience, settings.oidc_keys)
        self._staff_source = settings.oidc_source
        self._known: dict[bytes, tuple[Caller, float]] = {}
        self._rate = Rate(settings.http_rate, settings.http_rate * _BURST_SECONDS)
        self._wrong = Rate(_WRONG_PER_SECOND, _WRONG_BURST)
        self._at_once = Concurrency(settings.http_concurrency)
        self.whole_persons = Rate(_WHOLE_PER_SECOND, _WHOLE_BURST)
        """How often one member of staff may ask for all that is kept of somebody."""

    @asynccontextmanager
    async def enter(self, credentials: str, address: str) -> AsyncIterator[Caller]:
        """The caller with these credentials, while the request lasts. Raises Problem 401, 403 or 429."""
        caller = await self._caller(credentials, address)
        if caller.tenant not in self._tenants:
            raise Problem(HTTPStatus.FORBIDDEN, "unknown_tenant", "This tenant is not served here.")
        self._rate.take(caller.name)
        with self._at_once.one(caller.name):
            yield caller

    async def _caller(self, credentials: str, address: str) -> Caller:
        try:
            if Tokens.looks_like(credentials):
                return await self._member(credentials)
            return await self._publisher(credentials)
        except Problem as problem:
            if problem.status == HTTPStatus.UNAUTHORIZED:
                self._wrong.take(address)
            raise

    async def _member(self, token: str) -> Caller:
        member = await self._tokens.member(token, await self._clock.now() // 1_000_000)
        name = f"{member.tenant}/staff/{member.staff}"
        return Caller(
            member.tenant, self._staff_source, name, member.role, member.department, member.staff, member.privacy
        )

    async def _publisher(self, key: str) -> Caller:
        hashed = digest(key)
        caller, until = self._known.get(hashed, (None, 0.0))
        if caller is None or until < time.monotonic():
            row = await self._pool.fetchrow(
                "select tenant, source from intake.publishers where key_sha256 = $1 and revoked is null", hashed
            )
            if row is None:
                self._known.pop(hashed, None)
                raise Problem(
                    HTTPStatus.UNAUTHORIZED,
                    "unknown_key",
                    "Send the API key of your system as `Authorization: Bearer <key>`.",
                )
            caller = Caller(row["tenant"], row["source"], hashed.hex()[:12])
            self._known[hashed] = caller, time.monotonic() + _KEY_SECONDS
        return caller


def entered(request: Request, key: str | None = None) -> AbstractAsyncContextManager[Caller]:
    """The caller of a request, by `key` or else by its Authorization header, while it lasts. Raises Problem."""
    if not key:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key if scheme.lower() == "bearer" else ""
    gate: Gate = request.app.state.gate
    return gate.enter(key, request.client.host if request.client else "")


async def _enter(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> AsyncIterator[Caller]:
    async with entered(request) as caller:
        yield caller


Asking = Annotated[Caller, Depends(_enter)]
"""The caller of a request."""
