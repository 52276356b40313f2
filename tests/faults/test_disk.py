"""A disk that is full or fails, below NATS and below PostgreSQL, while publishers go on.

Goal: refused with 503 and Retry-After, red within five seconds, nothing lost, and well again once there is room, with
no more help than that. Method: a small disk in memory is filled to the last block under load, and freed again.

GIHAN_FAULTS=full: both full at once, and disks that fail to write (EIO).
"""

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from services.chassis.clock import RealClock
from services.cli.auditing.audit import in_words
from services.cli.auditing.evidence import Outage
from tests.faults.pulse import Pulses
from tests.faults.workload import Workload
from tests.faults.world import World, running_world
from tests.power.disk import NotPossible, Small

FULL = os.environ.get("GIHAN_FAULTS") == "full"
RED_SECONDS = 5.0
"""After the first publisher that was kept waiting (the room in pages that are begun lasts for a while)."""
REFUSED_SECONDS = 20.0
REASON = re.compile("room on its disk|look at PostgreSQL|look at whether it runs")
BACK_SECONDS = 60.0
LONGEST_ANSWER_SECONDS = 12.0


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[str, Small]]:
    """The data folder of a world (PostgreSQL, logs and secrets) and, below it, that of NATS: a small disk each."""
    with ExitStack() as stack:
        try:
            postgres = stack.enter_context(Small(tmp_path / "data", 300))
            nats = stack.enter_context(Small(tmp_path / "data" / "nats", 100))
        except NotPossible as error:
            pytest.skip(f"NOT TESTED: no small disk can be mounted here. {error}")
        yield {"postgres": postgres, "nats": nats}


async def red(world: World) -> str:
    """What intake says is wrong with it; empty while it is ready."""
    async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
        try:
            answer = await http.get(f"{world.intakes[0]}/health/ready")
        except httpx.HTTPError:
            return "no answer"
        return "" if answer.status_code == 200 else str(answer.json()["red"])


async def until(holds: Callable[[], bool], limit_seconds: float, what: str) -> None:
    """Waits until it holds."""
    limit = time.monotonic() + limit_seconds
    while not holds():
        assert time.monotonic() < limit, f"not within {limit_seconds:.0f} s: {what}"
        await asyncio.sleep(0.05)


async def endure(world: World, name: str, hurt: Callable[[], object], heal: Callable[[], object]) -> None:
    """A disk is hurt under load until publishers feel it, and healed: the guarantees, all of them."""
    clock = RealClock()
    workload = Workload(world, seed=11, rate=1.0)
    pulses = Pulses(world, workload.book)
    begins = await clock.now()
    said: list[tuple[float, str]] = []

    async def watch() -> None:
        while True:
            said.append((time.monotonic(), await red(world)))
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    publishing = asyncio.create_task(workload.run(10.0))
    async with pulses.beating():
        await asyncio.sleep(4.0)
        hurt()
        hurt_at = time.monotonic()
        await until(lambda: time.monotonic() - pulses.accepted[-1] > 1.0, 30.0, "the hurt is felt")
        felt = pulses.accepted[-1]
        await until(lambda: bool(said[-1][1]), RED_SECONDS, "intake is red")
        await until(lambda: pulses.answers[-1].status != 200, REFUSED_SECONDS, "somebody is refused")
        heal()
        healed = time.monotonic()
        await until(lambda: pulses.accepted[-1] > healed + 2.0, BACK_SECONDS, "events are taken in again")
        await until(lambda: said[-1][1] == "", BACK_SECONDS, "intake is ready again")
    watching.cancel()
    await publishing
    workload.book.outages.append(Outage(name, begins, await clock.now()))
    await world.ready()
    await world.settle()
    report = await world.audit(workload.book)

    alarms = [(at, words) for at, words in said if words and at > hurt_at]
    refused = [answer for answer in pulses.answers if answer.status != 200]
    back = next(at for at in pulses.accepted if at > healed) - healed
    print(
        f"{name}: red {alarms[0][0] - felt:.1f} s after the last event, {len(refused)} refused, back after {back:.1f} s"
    )
    assert alarms[0][0] - felt < RED_SECONDS
    assert any(REASON.search(words) for _, words in alarms), alarms
    assert {answer.status for answer in refused} == {503}
    assert all(int(answer.retry_after) > 0 for answer in refused)
    assert max(answer.seconds for answer in pulses.answers) < LONGEST_ANSWER_SECONDS
    assert not report.violations, "\n".join(in_words(report))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("full", ["nats", "postgres", *(["nats and postgres"] if FULL else [])])
async def test_a_full_disk_refuses_and_loses_nothing(full: str, disks: dict[str, Small], tmp_path: Path) -> None:
    """The disk of a server is full for a while, to the last block; that of PostgreSQL holds the services' logs, too."""
    hurt = [disk for name, disk in disks.items() if name in full]
    async with running_world(tmp_path) as world:
        await endure(
            world,
            f"disk of {full} full",
            lambda: [disk.fill() for disk in hurt],
            lambda: [disk.free() for disk in hurt],
        )


@pytest.mark.timeout(300)
@pytest.mark.skipif(not FULL, reason="only with GIHAN_FAULTS=full (make chaos-full)")
@pytest.mark.parametrize("failing", ["nats", "postgres"])
async def test_a_disk_that_fails_to_write_loses_nothing(failing: str, tmp_path: Path) -> None:
    """Writes to the log of one server end with an input/output error (EIO) for a while."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("NOT TESTED: strace is not installed, by which writes are made to fail.")
    async with running_world(tmp_path) as world, asyncio.TaskGroup() as group:
        tracers: list[subprocess.Popen[bytes]] = []

        async def injecting() -> None:
            """A server that its keeper starts again finds the same disk."""
            known: set[int] = set()
            while True:
                pids = set(world.family(failing)) - known
                if pids:
                    known |= pids
                    tracers.append(_failing_writes(strace, pids, written(world, failing)))
                await asyncio.sleep(0.1)

        injection: list[asyncio.Task[None]] = []

        def heal() -> None:
            for task in injection:
                task.cancel()
            for tracer in tracers:
                tracer.terminate()
                tracer.wait()
            tracers.clear()

        try:
            name = f"disk of {failing} failing"
            await endure(world, name, lambda: injection.append(group.create_task(injecting())), heal)
        finally:
            heal()


def _failing_writes(strace: str, pids: Iterable[int], paths: Iterable[Path]) -> subprocess.Popen[bytes]:
    """Writes of these processes to these files end with EIO, for as long as the tracer lives."""
    calls = "write,writev,pwrite64,pwritev"
    whom = [word for pid in pids for word in ("-p", str(pid))]
    where = [word for path in paths for word in ("-P", str(path))]
    arguments = ["-f", "-q", "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO", "-o", "/dev/null"]
    return subprocess.Popen([strace, *arguments, *where, *whom])


def written(world: World, server: str) -> list[Path]:
    """The files that a server writes what it is told to: the last block of CASES and those that it would go on to, or
    the segments of the WAL.
    """
    data = world.servers.data
    if server == "nats":
        last = max(data.glob("nats/jetstream/*/streams/CASES/msgs/*.blk"), key=lambda path: int(path.stem))
        return [last.with_name(f"{number}.blk") for number in range(int(last.stem), int(last.stem) + 100)]
    return [path for path in data.glob("postgres/pg_wal/*") if path.is_file()]
