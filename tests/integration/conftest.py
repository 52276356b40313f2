"""Real servers for the integration tests: one PostgreSQL for the session, a fresh database for each test, and a
fresh nats-server with provisioned streams for each module.

Beside the users of a real installation NATS has a user `test` here, who may do everything.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from urllib.parse import urlsplit

import asyncpg
import pytest
from nats.aio.client import Client

from contracts.streams import STREAMS
from deploy import permissions, provision
from deploy.embedded import Embedded
from services.chassis import broker, postgres
from services.chassis.settings import ROOT, Settings
from services.rules.tenants import Tenant, parse

_numbers = count(1)


@pytest.fixture(scope="session")
def tenants() -> dict[str, Tenant]:
    """The five cities."""
    return parse((ROOT / "deploy" / "tenants.yaml").read_bytes())


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory, tenants: dict[str, Tenant]) -> AsyncIterator[Embedded]:
    """Both servers as a user gets them, unprovisioned, for the whole session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NATS_URL", raising=False)
        patch.delenv("DATABASE_URL", raising=False)
        async with Embedded(tmp_path_factory.mktemp("servers"), tenants) as servers:
            yield servers


@pytest.fixture(scope="session")
async def template(servers: Embedded) -> str:
    """A migrated database, of which each test gets a copy."""
    await _execute(servers.database_url, "create database gihan_template")
    await postgres.migrate(_other_database(servers.database_url, "gihan_template"))
    return "gihan_template"


@pytest.fixture
async def database(servers: Embedded, template: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database, dropped after the test."""
    name = f"gihan_test_{next(_numbers)}"
    await _execute(servers.database_url, f"create database {name} template {template}")
    yield _other_database(servers.database_url, name)
    await _drop(servers.database_url, name)


@pytest.fixture(scope="module")
async def nats(
    servers: Embedded, tmp_path_factory: pytest.TempPathFactory, tenants: dict[str, Tenant]
) -> AsyncIterator[Embedded]:
    """A fresh nats-server with its streams: nats.nats_url(user), nats.monitor_url, nats.data."""
    table = permissions.table
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", servers.database_url)
        patch.setattr(
            permissions,
            "table",
            lambda tenants: table(tenants) | {"test": permissions.Permissions((">",), (">",), answers=True)},
        )
        async with Embedded(tmp_path_factory.mktemp("nats"), tenants) as embedded:
            nc = await broker.connect(
                Settings(nats_url=embedded.nats_url("operator"), database_url="", service="operator")
            )
            await provision.create_streams(nc)
            await provision.create_readers(nc, tenants)
            await broker.check(nc, embedded.monitor_url, STREAMS)
            await nc.close()
            yield embedded


@pytest.fixture
def settings(nats: Embedded, database: str) -> Callable[[str], Settings]:
    """settings("intake"): what that service would be told, on this test's database and this module's NATS."""

    def make(service: str, **more: object) -> Settings:
        fields: dict[str, object] = {
            "nats_url": nats.nats_url(service),
            "nats_monitor_url": nats.monitor_url,
            "database_url": database,
            "service": service,
            "vault_keys": nats.secrets / "vault",
            "pages_key_file": nats.secrets / "pages.key",
            "reports_key_file": nats.secrets / "reports.key",
            "clock": "stepped",
            "settle_seconds": 0.0,
            **more,
        }
        return Settings(**fields)  # type: ignore[arg-type]

    return make


@pytest.fixture
async def connect(settings: Callable[[str], Settings]) -> AsyncIterator[Callable[[str], Awaitable[Client]]]:
    """await connect("intake"): a connection to NATS as that user, closed after the test."""
    opened: list[Client] = []

    async def make(user: str) -> Client:
        opened.append(await broker.connect(settings(user)))
        return opened[-1]

    yield make
    for client in opened:
        await client.close()


@pytest.fixture
async def nc(connect: Callable[[str], Awaitable[Client]]) -> Client:
    """A connection to NATS that may do everything."""
    return await connect("test")


@pytest.fixture
async def pool(settings: Callable[[str], Settings]) -> AsyncIterator[asyncpg.Pool]:
    """A pool on this test's database."""
    pool = await postgres.connect_pool(settings("test"))
    yield pool
    await pool.close()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[object]]:
    """await eventually(look): looks until `look` is true and raises nothing, a minute at most; its last answer."""

    async def wait(look: Callable[[], object], limit_seconds: float = 60.0) -> object:
        loop = asyncio.get_running_loop()
        limit = loop.time() + limit_seconds
        while True:
            try:
                found = look()
                if inspect.isawaitable(found):
                    found = await found
                if found:
                    return found
            except Exception:
                if loop.time() > limit:
                    raise
            assert loop.time() <= limit, f"not true within {limit_seconds} s: {inspect.getsource(look).strip()}"
            await asyncio.sleep(0.02)

    return wait


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=60, command_timeout=60)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _drop(url: str, name: str) -> None:
    """Drops a database, whoever is in it. An autovacuum worker is nobody's to end: it goes by itself."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await _execute(url, f"drop database {name} with (force)")
            except asyncpg.InsufficientPrivilegeError:
                await asyncio.sleep(0.2)


def _other_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()
