"""Each gateway fails in each way, and every message arrives all the same.

Goal: every message at least once, twice only where the ledger says that an answer was lost; one gateway's trouble does
not delay the other's messages. Method: the notifier on real servers, with one gateway under test that is taken away,
slow, full, silent or hung, one after the other, while messages keep coming; then killed, as a process, between handing
over and writing down.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from nats.aio.client import Client

from contracts.streams import STREAMS
from deploy import provision
from deploy.embedded import Embedded
from services.chassis import clock
from services.chassis.health import Health
from services.chassis.settings import Settings
from services.chassis.vault import Vault
from services.notifier.app import Notifier
from services.notifier.gateways import Gateway, calling, email
from services.notifier.gateways.development import DevelopmentGateway
from services.notifier.gateways.email import EmailGateway, Server
from services.notifier.gateways.kannel import KannelGateway
from services.notifier.gateways.sens import SensGateway
from services.notifier.gateways.solapi import SolapiGateway
from tests.integration.fake_gateways import KEY, SECRET, Fake, FakeKannel, FakeSens, FakeSolapi, serving
from tests.integration.test_notifier import EMAIL, MOBILE, NOW, TENANT, Process, World
from tests.integration.test_notifier import Gateway as Development

pytest_plugins = ["tests.integration.conftest"]

PATIENCE_SECONDS = 120.0
pytestmark = pytest.mark.timeout(900)  # as the machine may be busy with other faults
FAULTS = ("down", "slow", "500", "hang", "silent")
NAMES = {"500": "defer"}
"""What the development gateway calls them."""
Eventually = Callable[..., Awaitable[Any]]


class Rig:
    """A gateway under test: the fault it is told to have, and how often it took what."""

    def __init__(self, world: World, fake: Fake | None, means: str) -> None:
        self.world, self.means = world, means
        self._fake = fake

    async def fault(self, fault: str) -> None:
        """From now on it fails so; `none` ends it."""
        if self._fake is not None:
            self._fake.fault = fault
            if fault == "none":
                self._fake.let_go()
        else:
            name = "sms" if self.means == "sms" else "smtp"
            await self.world.gateway.faults(**{name: NAMES.get(fault, fault)})

    def taken(self) -> Counter[str]:
        """How often each receipt number was taken."""
        if self._fake is not None:
            words = [str(one.get("text", one.get("content"))) for one in self._fake.messages]
            return Counter(text.split("R-")[1].split()[0] for text in words)
        numbers = {line["key"]: line["text"].split("R-")[1].split()[0] for line in self.world.gateway.texts()}
        return Counter(
            numbers[line["key"]]
            for line in self.world.gateway.record()
            if line["outcome"] in ("accepted", "duplicate") and line["means"] == self.means
        )


@pytest.fixture
async def world(nc: Client, nats: Embedded, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[World]:
    """Empty streams, a stepped clock, the development gateway, and nothing running."""
    for stream in STREAMS:
        await nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(nc)
    await clock.step(pool, NOW)
    gateway = Development(tmp_path / "gateway")
    await gateway.start()
    yield World(nc, pool, Vault(nats.secrets / "vault"), gateway)
    await gateway.stop()


FAKES: dict[str, tuple[type[Fake], Callable[[str], Gateway]]] = {
    "solapi": (FakeSolapi, lambda url: SolapiGateway("sms", KEY, SECRET, url=url, talks={})),
    "sens": (FakeSens, lambda url: SensGateway("sms", FakeSens.service, KEY, SECRET, url=url)),
    "kannel": (FakeKannel, lambda url: KannelGateway("sms", url, KEY, SECRET)),
}
KINDS = ("development", "email", *FAKES)


@asynccontextmanager
async def rigged(kind: str, world: World, line: "Line") -> AsyncIterator[tuple[Rig, list[Gateway]]]:
    """A gateway of that kind behind a line that can be cut, and a healthy one for the other means."""
    sms, mail = DevelopmentGateway(world.gateway.sms_url), EmailGateway(Server.at(world.gateway.smtp_url))
    async with AsyncExitStack() as stack:
        if kind in FAKES:
            fake = FAKES[kind][0]()
            url = await stack.enter_async_context(serving(fake))
            rig, gateways = Rig(world, fake, "sms"), [FAKES[kind][1](await line.to(url)), mail]
        elif kind == "email":
            address = await line.to(world.gateway.smtp_url)
            rig, gateways = Rig(world, None, "email"), [sms, EmailGateway(Server.at(address))]
        else:
            rig, gateways = Rig(world, None, "sms"), [DevelopmentGateway(await line.to(world.gateway.sms_url)), mail]
        try:
            yield rig, gateways
        finally:
            await line.cut()
            for gateway in gateways:
                await gateway.close()


class Line:
    """A port that leads to a gateway, until it is cut: then nobody is there."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._far = ("", 0)
        self._port = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def to(self, url: str) -> str:
        """The address of this line to that one."""
        scheme, _, place = url.partition("://")
        host, _, port = place.partition(":")
        self._far = host, int(port)
        await self.mend()
        return f"{scheme}://127.0.0.1:{self._port}"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        far_reader, far_writer = await asyncio.open_connection(*self._far)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


@asynccontextmanager
async def at_work(world: World, settings: Settings, nc: Client, gateways: list[Gateway]) -> AsyncIterator[None]:
    stepped = await clock.open_clock(settings, world.pool)
    task = asyncio.create_task(Notifier(settings, world.pool, nc, stepped, gateways, Health("notifier")).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stepped.close()


async def file(world: World, case: str, means: str) -> None:
    """A citizen files; the receipt goes out by that means alone."""
    person = await world.person(**({"mobile": MOBILE} if means == "sms" else {"email": EMAIL}))
    await world.pool.execute("INSERT INTO intake.cases VALUES ($1, $2, 'web', $3)", TENANT, case, f"R-{case}")
    await world.fact("complaint.received", {"kind": "inquiry", "notify_by": means, **person}, case)


async def state(world: World, case: str) -> str:
    found: str = await world.pool.fetchval('SELECT state FROM read.notices WHERE "case" = $1', case)
    return found


async def troubles(world: World, means: str, fault: str) -> int:
    """Attempts that show the fault. One without an answer stands so until the gateway was asked after it."""
    outcome = {"down": "unreachable", "500": "deferred", "hang": "unanswered", "silent": "unanswered"}[fault]
    found: int = await world.pool.fetchval(
        "SELECT count(*) FROM notifier.attempts WHERE means = $1 "
        "AND (outcome = $2 OR ($2 = 'unanswered' AND code = 'asked_after'))",
        means,
        outcome,
    )
    return found


async def judged(rig: Rig, cases: list[str]) -> None:
    """Every message at least once, twice only where the ledger says that an answer was lost."""
    rows = await rig.world.pool.fetch(
        "SELECT n.case_id, n.state, bool_or(a.outcome = 'unanswered' OR a.repeated) AS lost "
        "FROM notifier.notices n JOIN notifier.attempts a USING (key) WHERE n.means = $1 GROUP BY 1, 2",
        rig.means,
    )
    states = {row["case_id"]: row["state"] for row in rows}
    lost = {row["case_id"] for row in rows if row["lost"]}
    taken = rig.taken()
    assert states == dict.fromkeys(cases, "sent")
    assert set(taken) == set(cases)
    assert {case for case, times in taken.items() if times > 1} <= lost


@pytest.mark.parametrize("kind", KINDS)
async def test_every_message_arrives_whatever_its_gateway_does(
    kind: str,
    world: World,
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calling, "ANSWER_SECONDS", 1.5)
    monkeypatch.setattr(email, "ANSWER_SECONDS", 1.5)
    line, cases = Line(), []
    async with rigged(kind, world, line) as (rig, gateways):
        other = "email" if rig.means == "sms" else "sms"
        # Gateways have the time of day of this machine, and are asked after messages by it.
        async with at_work(world, settings("notifier", clock="real"), await connect("notifier"), gateways):
            for fault in FAULTS:
                if fault == "down":
                    await line.cut()
                else:
                    await rig.fault(fault)
                cases += [f"{fault}-{number}" for number in (1, 2)]
                before = 0 if fault == "slow" else await troubles(world, rig.means, fault)
                for case in cases[-2:]:
                    await file(world, case, rig.means)
                if fault != "slow":
                    await eventually(lambda: _more(troubles(world, rig.means, fault), before), PATIENCE_SECONDS)  # noqa: B023
                await file(world, f"other-{fault}", other)
                await eventually(lambda: _is(state(world, f"other-{fault}"), "sent"), PATIENCE_SECONDS)  # noqa: B023
                await (line.mend() if fault == "down" else rig.fault("none"))
                await eventually(world.quiet, PATIENCE_SECONDS)
        await judged(rig, cases)


async def _more(found: Awaitable[int], than: int) -> bool:
    return await found > than


async def _is(found: Awaitable[str], wanted: str) -> bool:
    return await found == wanted


@pytest.mark.parametrize("kind", KINDS)
async def test_killed_between_handing_over_and_writing_down(
    kind: str, world: World, settings: Callable[..., Settings], eventually: Eventually, tmp_path: Path
) -> None:
    """The gateway has taken it and the notifier dies; the next one asks, and where it cannot be told sends again."""
    orders = tmp_path / "orders" / "notifier"
    orders.mkdir(parents=True)
    (orders / "delivery.after_gateway").write_text("kill")
    await world.pool.execute(
        "INSERT INTO chassis.signs_of_life VALUES ('sla_timer', 'infinity'), ('intake', 'infinity')"
    )
    async with AsyncExitStack() as stack:
        fake = FAKES[kind][0]() if kind in FAKES else None
        rig = Rig(world, fake, "email" if kind == "email" else "sms")
        process = Process(settings("notifier"), world.gateway)
        process._environment |= {"GIHAN_FAILPOINTS_FOLDER": str(tmp_path / "orders"), "GIHAN_FAILPOINTS_ALLOWED": "yes"}
        process._environment["GIHAN_CLOCK"] = "real"
        if fake is not None:
            url = await stack.enter_async_context(serving(fake))
            process._environment["GIHAN_GATEWAYS_FILE"] = str(described(kind, url, tmp_path))
        await file(world, "c1", rig.means)
        await process.start()
        assert process._process is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            await process._process.wait()
        assert rig.taken() == {"c1": 1}
        await process.start()
        try:
            await eventually(world.quiet, PATIENCE_SECONDS)
        finally:
            await process.end(signal.SIGKILL)
        await judged(rig, ["c1"])
        asked = kind in ("development", "solapi", "sens")
        assert rig.taken() == {"c1": 1 if asked else 2}


def described(kind: str, url: str, folder: Path) -> Path:
    """A file of gateways in which `sms` is of that kind."""
    (folder / "key").write_text(KEY)
    (folder / "secret").write_text(SECRET)
    keys = "key_file: key, secret_file: secret"
    told = {
        "solapi": f"{{kind: solapi, url: '{url}', {keys}}}",
        "sens": f"{{kind: sens, url: '{url}', service: '{FakeSens.service}', {keys}}}",
        "kannel": f"{{kind: kannel, url: '{url}', user: {KEY}, password_file: secret}}",
    }
    path = folder / "gateways.yaml"
    path.write_text(f"sms: {told[kind]}\n")
    return path
