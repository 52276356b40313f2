"""Two of each service: one works, the other takes over within ten seconds, and who wakes up too late is fenced.

Goal: a second instance needs nobody's care. Method: a process stops itself (SIGSTOP) at a failpoint in the middle of
its work, as a machine that hangs would, the other goes on, the first one wakes up, and the auditor reads what stands.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from contracts.streams import partition
from services.chassis.clock import RealClock
from services.cli.auditing.evidence import Book, Outage
from services.rules.instants import SECOND, Instant, text
from tests.faults.orders import Orders, allowed
from tests.faults.test_loud import COMPLAINT, within
from tests.faults.world import World, running_world

TAKEOVER_SECONDS = 10.0
CITY = "rapids"


def some(*places: str) -> tuple[str, ...]:
    """All of the places with GIHAN_FAULTS=full, else the first, which is the hardest."""
    return places if os.environ.get("GIHAN_FAULTS") == "full" else places[:1]


@pytest.fixture(scope="module")
async def orders(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Orders]:
    with allowed(tmp_path_factory.mktemp("orders")) as orders:
        yield orders


@pytest.fixture(scope="module")
async def world(orders: Orders, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Two of each service."""
    async with running_world(tmp_path_factory.mktemp("two"), copies=2) as world:
        yield world


@pytest.fixture(scope="module")
def book() -> Book:
    """What the auditor is told of who slept when."""
    return Book()


async def readiness(world: World, process: str) -> dict[str, Any]:
    """What a process says of itself."""
    async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
        answer: dict[str, Any] = (await http.get(f"{world.urls()[process]}/health/ready")).json()
        return answer


async def petition(world: World, case: str, at: Instant | None = None, intake: int = 0) -> bool:
    """Publishes the petition that opens a case, `at` or now; False where no answer came."""
    event = {"specversion": "1.0", "id": case, "source": "web", "type": "complaint.received", "subject": case}
    event["time"] = text(await RealClock().now() if at is None else at, ZoneInfo("Asia/Seoul"))
    async with httpx.AsyncClient(timeout=3, trust_env=False) as http:
        with contextlib.suppress(httpx.TransportError):
            answer = await http.post(
                f"{world.intakes[intake]}/v1/events",
                json={**event, "tenant": CITY, "data": COMPLAINT},
                headers={"Authorization": f"Bearer {world.servers.publisher_keys[f'{CITY}/web']}"},
            )
            return answer.status_code == 200
    return False


@asynccontextmanager
async def asleep(world: World, orders: Orders, book: Book, service: str, place: str) -> AsyncIterator[str]:
    """Waits until one of a service has stopped itself at a place, and wakes it at the end of the block."""
    await orders.wait(service, place)
    begins = await RealClock().now()
    names = [name for name in world.processes if name.partition("-")[0] == service]
    async with asyncio.timeout(30):  # that it will stop itself is said just before
        while not any(is_stopped(world, name) for name in names):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    (process,) = [name for name in names if is_stopped(world, name)]
    try:
        yield process
    finally:
        pid = world.processes[process].pid
        assert pid is not None
        os.kill(pid, signal.SIGCONT)
        book.outages.append(Outage(f"{process} asleep at {place}", begins, await RealClock().now()))


def is_stopped(world: World, process: str) -> bool:
    """Whether a process has stopped itself and nobody has let it go on."""
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{world.processes[process].pid}/stat").read_text(encoding="ascii", errors="replace")
        return stat.rpartition(")")[2].split()[0] == "T"
    return False


def lines(world: World, service: str, event: str) -> list[dict[str, Any]]:
    """The lines of that name in the log of a service, of both of its instances."""
    written = (world.servers.logs / f"{service}.log").read_text(encoding="utf-8")
    found = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    return [line for line in found if line.get("event") == event]


async def told(world: World, case: str) -> list[str]:
    """The kinds of decisions about a case that stand on SLA, in order."""
    rows = await world.pool.fetch(
        'select d.kind from read.decisions d join read.fold_position p using (partition) where d."case" = $1 '
        "and d.number <= p.sent order by d.number",
        case,
    )
    return [row["kind"] for row in rows]


async def audited(world: World, book: Book) -> None:
    """Waits until all is quiet, and asks the auditor."""
    await world.ready()
    await world.settle()
    report = await world.audit(book)
    assert not report.violations, report.violations


async def test_the_second_of_each_is_green_and_says_that_it_stands_by(world: World) -> None:
    await world.ready()
    answers = {process: await readiness(world, process) for process in world.urls()}
    assert {process: answer["red"] for process, answer in answers.items()} == {process: {} for process in answers}
    folds = [
        {part for part in answers[name]["standby"] if part.startswith("fold")} for name in ("sla_timer", "sla_timer-2")
    ]
    assert folds[0] | folds[1] == {f"fold {number}" for number in range(16)}
    assert folds[0] & folds[1] == set()
    assert sorted(answers[name]["status"] for name in ("notifier", "notifier-2")) == ["ready", "standby"]
    assert sorted(answers[name]["status"] for name in ("intake", "intake-2")) == ["ready", "ready"]


@pytest.mark.parametrize(
    "place", some("store.after_position", "fold.after_facts", "batch.before_marker", "ticker.after_tick")
)
async def test_a_stopped_timer_is_taken_over_and_fenced(world: World, orders: Orders, book: Book, place: str) -> None:
    await world.ready()
    case = f"t-{place.replace('.', '-')}"
    orders.give("sla_timer", place, "stop")
    assert await petition(world, case)
    async with asleep(world, orders, book, "sla_timer", place) as first:
        await within(TAKEOVER_SECONDS, lambda: goes_on(world, case))
        await within(TAKEOVER_SECONDS, lambda: is_broken(world, case))
    fold = f"fold {partition(CITY, case)}"
    await within(30, lambda: stands_by(world, first, fold))
    await audited(world, book)
    decided = await world.pool.fetch(
        "select kind, promise, occurrence, due from read.decisions where \"case\" = $1 and kind like 'deadline.%'", case
    )
    assert len(decided) == len(set(map(tuple, decided)))


async def goes_on(world: World, case: str) -> bool:
    """Whether the partition of a case is folded and ticked by somebody: nothing in it that is due is undecided."""
    row = await world.pool.fetchrow("select * from read.fold_position where partition = $1", partition(CITY, case))
    now = await RealClock().now()
    return bool(await told(world, case)) and (row["next_at"] is None or row["next_at"] > now - 2 * SECOND)


async def is_broken(world: World, case: str) -> bool:
    """Both promises that are due within five seconds."""
    return (await told(world, case)).count("deadline.breached") >= 2


async def stands_by(world: World, process: str, part: str) -> bool:
    try:
        return part in (await readiness(world, process))["standby"]
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("place", some("delivery.after_attempt", "delivery.after_gateway", "ledger.after_states"))
async def test_a_stopped_notifier_is_taken_over_and_sends_nothing_late(
    world: World, orders: Orders, book: Book, place: str
) -> None:
    await world.ready()
    case = f"n-{place.replace('.', '-')}"
    orders.give("notifier", place, "stop")
    assert await petition(world, case)
    async with asleep(world, orders, book, "notifier", place) as first:
        await within(TAKEOVER_SECONDS, lambda: receipt(world, case))
    await within(30, lambda: stands_by(world, first, "delivery-sms"))
    await audited(world, book)
    keys = {row["key"] for row in await world.pool.fetch('select key from read.notices where "case" = $1', case)}
    record = [json.loads(line) for line in (world.gateway / "record.jsonl").read_text().splitlines()]
    outcomes = [line["outcome"] for line in record if line["key"] in keys]
    assert outcomes == ["accepted"] * len(outcomes)


async def receipt(world: World, case: str) -> bool:
    """Whether the receipt of a case went out."""
    return bool(
        await world.pool.fetchval(
            "select 1 from read.notices where \"case\" = $1 and template = 'receipt' and state = 'sent'", case
        )
    )


@pytest.mark.parametrize("place", some("intake.after_reserve", "batch.before_marker"))
async def test_a_late_batch_of_a_stopped_intake_is_refused(
    world: World, orders: Orders, book: Book, place: str
) -> None:
    await world.ready()
    case = f"i-{place.replace('.', '-')}"
    fenced = len(lines(world, "intake", "instance_ended"))
    at = await RealClock().now()
    orders.give("intake", place, "stop")
    asking = asyncio.create_task(petition(world, case, at))
    async with asleep(world, orders, book, "intake", place) as first:
        assert first == "intake"
        await within(TAKEOVER_SECONDS, lambda: stands(world, case))
        assert await petition(world, case, at, intake=1)
    await asking
    await within(30, lambda: has_ended(world, fenced))
    assert lines(world, "intake", "instance_ended")[-1]["error"].endswith("Fenced")
    await within(30, lambda: petition(world, case, at))
    await audited(world, book)
    found = await world.nc.jetstream().stream_info("CASES")
    ids = [json.loads((await message(world, n)) or b"{}").get("id") for n in range(1, found.state.last_seq + 1)]
    assert ids.count(case) == 1


async def message(world: World, sequence: int) -> bytes | None:
    return (await world.nc.jetstream().get_msg("CASES", sequence)).data


async def stands(world: World, case: str) -> bool:
    """Whether the log has the event that opened a case."""
    return bool(await world.pool.fetchval("select 1 from read.event_fate where id = $1 and status = 'accepted'", case))


async def has_ended(world: World, before: int) -> bool:
    return len(lines(world, "intake", "instance_ended")) > before
