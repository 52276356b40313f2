"""The whole of Gihan as processes on the real clock, in a folder of its own, with a proxy on every line.

The one rule: nothing here helps the system. It is started as an operator would start it; what it survives, it survives
by itself.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
from nats.aio.client import Client

from deploy.embedded import Embedded, free_ports
from deploy.permissions import SERVICES
from deploy.processes import Keeper
from deploy.supervisor import Supervisor
from services.chassis import broker, postgres
from services.chassis.settings import Settings
from services.cli import running
from services.cli.auditing.audit import Report, audit
from services.cli.auditing.evidence import Book
from services.cli.demo.driver import Doors, Driver
from services.rules.tenants import Tenant, parse
from tests.faults.proxy import Proxy, Streams

CITY = Path(__file__).parent / "city"
"""Charters whose promises are due within seconds, and the tenants that made them."""
SOCKET = ".s.PGSQL.5432"


class World:
    """A running Gihan and the lines between its parts.

    `processes` are the keepers by name: intake, sla_timer, notifier (and intake-2 ... where there are two of each),
    nats, postgres, gateways. `lines` are the proxies by name: <service>-nats, <service>-postgres, sms, smtp.
    """

    def __init__(self, folder: Path, servers: Embedded, tenants: Mapping[str, Tenant]) -> None:
        self.folder = folder
        self.servers = servers
        self.tenants = tenants
        self.lines: dict[str, Proxy] = {}
        self.processes: dict[str, Keeper] = {}
        self.supervisors: list[Supervisor] = []
        self.gateway = folder / "gateway"
        self.gateway_url = ""
        self._stops: Counter[int] = Counter()
        self.pool: asyncpg.Pool
        self.nc: Client
        self.driver: Driver

    @property
    def intakes(self) -> list[str]:
        """The addresses of every intake."""
        return [supervisor.url("intake") for supervisor in self.supervisors]

    def urls(self) -> dict[str, str]:
        """The address of every service, by the name of its process."""
        return {
            _nth(service, number): supervisor.url(service)
            for number, supervisor in enumerate(self.supervisors, 1)
            for service in SERVICES
        }

    def settings(self, user: str) -> Settings:
        """What a bystander needs to connect directly as `user`, past every proxy."""
        return Settings(
            nats_url=self.servers.nats_url(user),
            nats_monitor_url=self.servers.monitor_url,
            database_url=self.servers.database_url,
            service=user,
            tenants_file=CITY / "tenants.yaml",
        )

    def family(self, name: str) -> list[int]:
        """The process ids of a process and its children; empty while it does not run."""
        pid = self.processes[name].pid
        return [] if pid is None else [pid, *_children(pid)]

    def kill(self, name: str) -> None:
        """SIGKILL; of PostgreSQL the postmaster alone, as the kernel would choose."""
        pid = self.processes[name].pid
        if pid is not None:
            _signal([pid], signal.SIGKILL)

    @asynccontextmanager
    async def stopped(self, name: str) -> AsyncIterator[None]:
        """Frozen by SIGSTOP, children too, for as long as the block runs, and another one of the same process."""
        family = self.family(name)
        self._stops.update(family)
        _signal(family, signal.SIGSTOP)
        try:
            yield
        finally:
            self._stops.subtract(family)
            _signal([pid for pid in family if not self._stops[pid]], signal.SIGCONT)

    @asynccontextmanager
    async def line(self, name: str, mode: str) -> AsyncIterator[None]:
        """A line made slow, frozen, deaf or refusing for as long as the block runs."""
        self.lines[name].set(mode)  # type: ignore[arg-type]
        try:
            yield
        finally:
            self.lines[name].set("pass")

    @asynccontextmanager
    async def gateways(self, means: str, fault: str) -> AsyncIterator[None]:
        """A gateway (sms or smtp) that defers, rejects, hangs, or takes and does not answer."""
        await self.tell_gateways({means: fault})
        try:
            yield
        finally:
            await self.tell_gateways({means: "none"})

    async def tell_gateways(self, faults: Mapping[str, str]) -> None:
        """Switches faults of the development gateways, and whether they report."""
        async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(60):  # they may be starting again at this moment
                    while True:
                        with contextlib.suppress(httpx.HTTPError):
                            (await http.put(f"{self.gateway_url}/faults", json=faults)).raise_for_status()
                            return
                        await asyncio.sleep(0.1)
        raise AssertionError("the development gateways do not come back")

    async def delete_consumer(self, stream: str, chance: Callable[[list[str]], str]) -> str:
        """Deletes a consumer of a stream, chosen by `chance` among those there are; returns its name, or nothing."""
        names = sorted(info.name for info in await self.nc.jetstream().consumers_info(stream))
        if not names:
            return ""
        name = chance(names)
        with contextlib.suppress(Exception):  # it may be gone by itself
            await self.nc.jetstream().delete_consumer(stream, name)
        return name

    async def ready(self, limit_seconds: float = 60.0) -> None:
        """Waits until every service says that it is ready. Raises ProcessError."""
        await asyncio.gather(*(supervisor.wait_ready(limit_seconds) for supervisor in self.supervisors))

    async def settle(self, limit_seconds: float = 90.0) -> None:
        """Waits until nothing is left to happen. Raises NotSettled, which says what is."""
        await self.driver.settled(limit_seconds)

    async def fall_silent(self, seconds: float = 7.0) -> None:
        """Waits until nothing was left to happen, and no log grew, for so long: mails that came back are looked for
        every five seconds, and stand in no log before."""
        while True:
            await self.settle()
            before = (await self.driver.look()).ends
            await asyncio.sleep(seconds)
            if (await self.driver.look()).ends == before:
                return

    async def audit(self, book: Book, settled: bool = True) -> Report:
        """What the auditor says, as a user who can only read."""
        return await audit(self.settings("replay"), book, self.gateway, self.servers.data, settled)


@asynccontextmanager
async def running_world(folder: Path, copies: int = 1) -> AsyncIterator[World]:
    """A world with `copies` of each service, ready; ended with the block."""
    tenants = parse((CITY / "tenants.yaml").read_bytes())
    with _environment({"GIHAN_CONTRACTS": str(CITY), "GIHAN_TENANTS_FILE": str(CITY / "tenants.yaml")}):
        async with AsyncExitStack() as stack:
            servers = await stack.enter_async_context(_Wired(folder / "data", tenants))
            await running.provisioned(servers, tenants)
            world = World(folder, servers, tenants)
            await _lay_lines(world, servers, stack)
            keeper, environment = await running.start_gateways(world.gateway, servers.logs)
            stack.push_async_callback(keeper.stop)
            world.gateway_url = environment["SMS_URL"]
            await _lay_gateway_lines(world, environment, stack)
            for _ in range(copies):
                supervisor = Supervisor(servers, environment={**environment, **_gateway_addresses(world)})
                world.supervisors.append(await stack.enter_async_context(supervisor))
            assert servers.nats is not None
            assert servers.postgres is not None
            world.processes = {
                _nth(service, number): supervisor.keeper(service)
                for number, supervisor in enumerate(world.supervisors, 1)
                for service in SERVICES
            } | {"nats": servers.nats, "postgres": servers.postgres, "gateways": keeper}
            world.nc = await broker.connect(world.settings("operator"))
            stack.push_async_callback(world.nc.close)
            world.pool = await postgres.connect_pool(world.settings("operator"))
            stack.callback(world.pool.terminate)
            nobody = await stack.enter_async_context(Doors("http://127.0.0.1", {}, {}))
            world.driver = Driver(world.pool, world.nc, nobody)
            yield world


class _Wired(Embedded):
    """Embedded servers that tell each service the near end of its own lines."""

    def __init__(self, data: Path, tenants: Mapping[str, Tenant]) -> None:
        super().__init__(data, tenants)
        self.nats_ports: dict[str, int] = {}
        self.postgres_folders: dict[str, Path] = {}

    def environment(self, service: str) -> dict[str, str]:
        told = super().environment(service)
        nats, database = urlsplit(told["NATS_URL"]), told["DATABASE_URL"]
        login = nats.netloc.rpartition("@")[0]
        return told | {
            "NATS_URL": f"nats://{login}@127.0.0.1:{self.nats_ports[service]}",
            "DATABASE_URL": f"{database.partition('?')[0]}?host={self.postgres_folders[service]}",
        }


async def _lay_lines(world: World, servers: _Wired, stack: AsyncExitStack) -> None:
    """A line from each service to each server."""
    nats = urlsplit(servers.nats_url("operator"))
    socket = Path(parse_qs(urlsplit(servers.database_url).query)["host"][0]) / SOCKET
    home = Path(tempfile.mkdtemp(prefix="gihan-lines-"))  # a short path, as sockets want
    stack.callback(shutil.rmtree, home, ignore_errors=True)
    for service in SERVICES:
        (port,) = free_ports(1)
        servers.nats_ports[service] = port
        near = home / service
        near.mkdir()
        servers.postgres_folders[service] = near
        world.lines[f"{service}-nats"] = await stack.enter_async_context(Proxy(_to_port(nats.port or 0), port=port))
        world.lines[f"{service}-postgres"] = await stack.enter_async_context(
            Proxy(lambda: asyncio.open_unix_connection(socket), path=near / SOCKET)
        )


async def _lay_gateway_lines(world: World, environment: Mapping[str, str], stack: AsyncExitStack) -> None:
    for name in ("sms", "smtp"):
        far = urlsplit(environment[f"{name.upper()}_URL"]).port or 0
        (port,) = free_ports(1)
        world.lines[name] = await stack.enter_async_context(Proxy(_to_port(far), port=port))


def _gateway_addresses(world: World) -> dict[str, str]:
    sms, smtp = world.lines["sms"].port, world.lines["smtp"].port
    return {"SMS_URL": f"http://127.0.0.1:{sms}", "SMTP_URL": f"smtp://127.0.0.1:{smtp}"}


def _to_port(port: int) -> Callable[[], Awaitable[Streams]]:
    return lambda: asyncio.open_connection("127.0.0.1", port)


def _nth(service: str, number: int) -> str:
    return service if number == 1 else f"{service}-{number}"


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [int(word) for word in text.split()]
    return []


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The environment of this process and its children, for as long as the block runs; servers of others stay out."""
    before = dict(os.environ)
    for name in ("NATS_URL", "DATABASE_URL", "NATS_MONITOR_URL", "GIHAN_CLOCK"):
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
