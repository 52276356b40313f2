"""A city with its API for tests: intake and sla_timer in this process, keys of its systems, tokens of its staff."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from nats.aio.client import Client

from contracts.streams import STREAMS, partition
from deploy import bootstrap, provision
from services.chassis import clock
from services.chassis.settings import Settings
from services.intake import keys
from services.intake.app import build_app as build_intake
from services.rules.instants import instant
from services.rules.tenants import Tenant
from services.sla_timer.app import build_app as build_sla_timer

MONDAY = "2026-11-02T10:00:00+09:00"
ISSUER, AUDIENCE = "https://sign-on.seoul.example", "gihan"
APPLICANT = {"name": "홍길동", "address": "서울시 중구 1", "mobile": "010-0000-0001"}
COMPLAINT = {"channel": "web", "kind": "inquiry", "title": "가로등", "applicant": APPLICANT}


class World:
    """The running city. `ask` sends a request of a system by its key, `staff` one of a member of staff."""

    def __init__(self, pool: asyncpg.Pool, app: FastAPI, http: httpx.AsyncClient, sign: ECKey) -> None:
        self.pool = pool
        self.app = app
        self.http = http
        self.keys: dict[str, str] = {}
        self._sign = sign

    async def ask(self, source: str, method: str, path: str, **more: Any) -> httpx.Response:
        """An answer to a request of the system; `headers` beside the key may be given."""
        headers = {"Authorization": f"Bearer {self.keys[source]}", **more.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **more)

    async def staff(self, who: dict[str, Any], method: str, path: str, **more: Any) -> httpx.Response:
        """An answer to a request of a member of staff."""
        headers = {"Authorization": f"Bearer {self.token(**who)}", **more.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **more)

    def token(self, **claims: Any) -> str:
        """A token of the city's sign-on, right but for the claims that are given."""
        now = instant(MONDAY) // 1_000_000
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "k-1", "tenant": "seoul", "iat": now, "exp": now + 3600}
        header = {"alg": "ES256", "kid": self._sign.kid}
        return jwt.encode(header, {**usual, **claims}, self._sign)

    async def key(self, tenant: str, source: str) -> str:
        """A fresh key of a system."""
        async with self.pool.acquire() as connection:
            return await keys.issue(connection, tenant, source, instant(MONDAY))

    async def folded(self) -> None:
        """Returns when all that stands in the log is folded."""
        async with asyncio.timeout(60):
            while await self._unfolded():  # noqa: ASYNC110 - another process's place is looked for
                await asyncio.sleep(0.05)

    async def _unfolded(self) -> bool:
        positions = dict(await self.pool.fetch("select partition, sequence from read.fold_position"))
        facts = await self.pool.fetch('select tenant, "case", sequence from read.case_facts')
        return any(positions[partition(row["tenant"], row["case"])] < row["sequence"] for row in facts)


async def start(
    stack: AsyncExitStack,
    settings: Callable[..., Settings],
    tenants: dict[str, Tenant],
    nc: Client,
    pool: asyncpg.Pool,
    folder: Path,
    live_since: int | None = None,
    **more: Any,
) -> World:
    """Starts the city on an empty log, on Monday morning, until the stack is left. Its charters are enacted at
    `live_since`, by default the present."""
    sign = ECKey.generate_key("P-256", {"kid": "k1"})
    (folder / "jwks.json").write_text(json.dumps(KeySet([sign]).as_dict(private=False)))
    for stream in STREAMS:
        await nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(nc)
    await bootstrap.enact_files(nc, [tenants["seoul"], tenants["miryang"]], live_since)
    await clock.step(pool, instant(MONDAY))
    oidc = {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE, "oidc_keys": str(folder / "jwks.json")}
    intake = build_intake(settings("intake", **{**oidc, **more}))
    sla_timer = build_sla_timer(settings("sla_timer"))
    await stack.enter_async_context(intake.router.lifespan_context(intake))
    await stack.enter_async_context(sla_timer.router.lifespan_context(sla_timer))
    http = httpx.AsyncClient(transport=httpx.ASGITransport(intake), base_url="http://intake")
    world = World(pool, intake, await stack.enter_async_context(http), sign)
    for source in ("web", "desk", "kiosk", "call-centre", "administration"):
        world.keys[source] = await world.key("seoul", source)
    world.keys["miryang"] = await world.key("miryang", "web")
    return world
