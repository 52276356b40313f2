"""Live folding and rebuilding: from the log to durable rows in PostgreSQL, against pipelines that others would build.

The one rule: no rate without a check. What each rival that decides has decided is compared, row by row, with what the
pure fold makes of the same log; a rival that is wrong is no rival, and we would be none either.
"""

import asyncio
import hashlib
import pickle
from asyncio.subprocess import Process
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import asyncpg
from nats.aio.client import Client

from contracts import files
from contracts.streams import PARTITIONS
from services.chassis.cursor import read_up_to
from services.rules.facts import decode_event
from services.rules.rulebook import Library, Rulebook
from services.rules.world import Partition
from tests.bench.peers import projection
from tests.bench.peers.bare import copy_rows
from tests.bench.peers.projection import place_of
from tests.bench.results import Bar, Figure, Outcome, Run, figure
from tests.bench.room import Room, open_room, until
from tests.bench.workload import Workload

RUNS = 3
CASES, CASES_QUICK = 20_000, 2_000
FEW, FEW_QUICK = 700, 110
"""Cases of the log for those that take one message at a time. It spans as many days, with the same courses."""
WARM = 0.05
"""The first share of the facts is not measured: processes start, caches fill."""
BOTH_BUSY = 0.9
LOG, SMALL = "CASES", "SMALL"
REBUILT = {False: "that nothing is wrong with", True: "that is lost"}


class Log(NamedTuple):
    """A stream that is filled: what the pure fold makes of it, and where its facts stand."""

    facts: int
    digest: str
    decisions: int
    places: list[list[int]]
    """Of each partition: the sequences of its facts."""
    ends: list[int]
    """Of each partition: the sequence of its last message, a tick."""
    clock: int
    """When its last tick was recorded: time stands there for everybody."""

    def folded(self, positions: Iterable[tuple[int, int]]) -> int:
        """How many facts lie at or before the positions of all partitions."""
        return sum(bisect_right(self.places[number], sequence) for number, sequence in positions)


class Rival(NamedTuple):
    """A way to fold: what to start in a fresh database, which log it folds, how to see how far it is."""

    name: str
    log: str
    start: Callable[[Room], Any]
    positions: str = "select partition, sequence from rival.positions"
    decided: str | None = (
        "select partition, cause_sequence, tenant, case_id, kind, promise, occurrence, due, at from rival.decisions"
    )
    ours: bool = False


OURS_DECIDED = (
    "select partition, cause_sequence, tenant, \"case\", kind, coalesce(promise, ''), coalesce(occurrence, ''), due, "
    "at from read.decisions"
)
OURS = {"positions": "select partition, sequence from read.fold_position", "decided": OURS_DECIDED, "ours": True}
CASES_HASH = (
    "select sum(hashtextextended(concat_ws('|', tenant, case_id, partition, state, closed, stuck, open_deadlines, "
    "next_at), 0)) from sla_timer.cases"
)


@asynccontextmanager
async def _timers(shares: Sequence[str], room: Room) -> AsyncIterator[list[Process]]:
    """Our service, a process for each share of the partitions."""
    async with AsyncExitStack() as stack:
        timers = [
            room.process("services.sla_timer", service="sla_timer", GIHAN_PARTITIONS=partitions)
            for partitions in shares
        ]
        yield [await stack.enter_async_context(timer) for timer in timers]


@asynccontextmanager
async def _started(module: str, arguments: Sequence[str], room: Room) -> AsyncIterator[list[Process]]:
    async with room.process(f"tests.bench.peers.{module}", *arguments) as process:
        yield [process]


def _program(module: str, *arguments: str) -> Callable[[Room], Any]:
    return partial(_started, module, arguments)


def _bare(room: Room) -> Any:
    return _program("bare", str(room.folder / "rows"))(room)


ONE, TWO, BARE, BATCH, NAIVE, NAIVE_LANES, SOURCING = RIVALS = (
    Rival("Gihan, one process", LOG, partial(_timers, ["0-15"]), **OURS),
    Rival(
        "Gihan, two processes",
        LOG,
        partial(_timers, ["0-7", "8-15"]),
        **OURS,
    ),
    Rival("bare pipeline, the same rows, no rules", LOG, _bare, decided=None),
    Rival("FastStream, batches of 1,000", LOG, _program("batch", LOG)),
    Rival("naive FastStream, one subscriber", SMALL, _program("naive", SMALL, "ordered")),
    Rival("naive FastStream, one a partition", SMALL, _program("naive", SMALL, "lanes")),
    Rival(
        "eventsourcing, projection runner",
        SMALL,
        _program("sourcing", SMALL),
        positions="select generate_series(0, 15)::smallint, coalesce(max(notification_id), 0) from fold_tracking "
        "where application_name = 'Cases'",
    ),
)


async def measure(quick: bool) -> Outcome:
    """All rivals in turn, run after run."""
    big, few = Workload(CASES_QUICK if quick else CASES), Workload(FEW_QUICK if quick else FEW)
    async with open_room(enacted_at=big.start) as room:
        enacted = await _enacted(room.nc)
        await room.fill((message.subject, message.body) for message in big.messages())
        await room.stream(SMALL)
        for subject, body in (*enacted, *((row.subject, row.body) for row in few.messages())):
            await room.nc.jetstream().publish(subject.replace("cases.", "small.", 1), body)
        logs = {name: await pure_fold(room.nc, name) for name in (LOG, SMALL)}
        # Of the two ways to be naive the quick run has the one that was always the faster.
        runs: dict[Rival, list[Run]] = {rival: [] for rival in RIVALS if not (quick and rival is NAIVE)}
        published: list[float] = []
        # A rebuild that finds nothing wrong has no bar, and the quick run leaves it out.
        rebuilt: dict[bool, list[Run]] = {lost: [] for lost in ((True,) if quick else (False, True))}
        for _ in range(RUNS):
            for rival in runs:
                runs[rival].append(await _run(room, rival, logs[rival.log], published))
                if rival is ONE:
                    for lost, found in rebuilt.items():
                        found.append(await _rebuild(room, logs[LOG], lost=lost))
    return _outcome(runs, published, rebuilt, logs)


async def pure_fold(nc: Client, stream: str) -> Log:
    """Folds a whole stream in memory, a partition at a time, and says what must come out of everybody."""
    last = (await nc.jetstream().stream_info(stream)).state.last_seq
    library = Library(files.read())
    partitions = [Partition(Rulebook(library), number) for number in range(PARTITIONS)]
    places: list[list[int]] = [[] for _ in partitions]
    rows: list[tuple[Any, ...]] = []
    ends = [0] * PARTITIONS
    async for entry in read_up_to(nc, stream, last):
        if entry.subject.startswith("mark."):
            continue
        number, event = place_of(entry.subject), decode_event(entry.data)
        ends[number] = entry.sequence
        if event.tenant and not event.type.endswith(".enacted"):
            places[number].append(entry.sequence)
        for row in partitions[number].take(event, entry.sequence):
            decision = row.decision
            told = (decision.kind, decision.promise, decision.occurrence, decision.due, decision.at)
            rows.append((number, entry.sequence, row.tenant, row.case, *told))
    clock = max(partition.clock for partition in partitions)
    return Log(sum(map(len, places)), digest(rows), len(rows), places, ends, clock)


def digest(rows: Iterable[tuple[Any, ...]]) -> str:
    """Of decisions, in whatever order: (partition, cause, tenant, case, kind, promise, occurrence, due, at)."""
    lines = sorted("|".join(str(field) for field in row) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class Wrong(AssertionError):
    """A rival decided otherwise than the pure fold."""


async def _run(room: Room, rival: Rival, log: Log, published: list[float]) -> Run:
    database = await room.fresh_database()
    await room.forget_consumers(rival.log)
    if rival.ours:
        await room.fresh_sla()
    connection = await asyncpg.connect(database, command_timeout=600)
    try:
        await connection.execute(projection.SCHEMA)
        await connection.execute("update chassis.clock set now = $1", log.clock)
        async with rival.start(room) as processes:
            await until(partial(is_warm, connection, rival, log), processes)
            meter = room.meter({"python": [process.pid for process in processes]})
            work = log.facts - log.folded(await _positions(connection, rival))
            if not work:
                raise ValueError(f"{rival.name} folded all {log.facts} facts before they could be timed: take more")
            await until(partial(at_end, connection, rival, log), processes)
            run = Run(work, meter.seconds, meter.read(), *meter.shares())
            if rival.ours:
                await until(partial(published_all, connection), processes)
                published.append(work / meter.seconds)
        if rival.decided is not None:
            rows = await connection.fetch(rival.decided)
            if digest(map(tuple, rows)) != log.digest:
                raise Wrong(f"{rival.name}: {len(rows)} decisions, not the {log.decisions} of the pure fold")
        if rival is ONE:
            (room.folder / "rows").write_bytes(pickle.dumps(await copy_rows(connection)))
        return run
    finally:
        await connection.close()


async def _rebuild(room: Room, log: Log, *, lost: bool) -> Run:
    """The command, from its start to its end, on the database of the run before, whose service has ended.

    Nothing in it is other than the log says; or all of it is lost, and comes back.
    """
    connection = await asyncpg.connect(room.database_url, command_timeout=600)
    try:
        before = await connection.fetchval(CASES_HASH)
        if lost:
            await connection.execute(
                "truncate sla_timer.cases, sla_timer.decisions, sla_timer.enacted; update sla_timer.partitions set "
                "sequence = 0, event_id = null, clock = 0, tick_sequence = 0, ticks = 0, decisions = 0"
            )
        async with room.process("services.cli.main", "replay", "--rebuild", service="replay") as process:
            meter = room.meter({"python": [process.pid]})
            while process.returncode is None:  # what has ended cannot be read any more
                used, shares = meter.read(), meter.shares()
                await asyncio.sleep(0.02)
            run = Run(log.facts, meter.seconds, used, *shares)
        rows = await connection.fetch(OURS_DECIDED)
        if process.returncode or digest(map(tuple, rows)) != log.digest:
            raise Wrong(f"rebuilt: {len(rows)} decisions, not the {log.decisions} of the pure fold")
        if await connection.fetchval(CASES_HASH) != before:
            raise Wrong("rebuilt cases differ from the live ones")
        return run
    finally:
        await connection.close()


async def _positions(connection: asyncpg.Connection, rival: Rival) -> list[tuple[int, int]]:
    try:
        return [(row[0], row[1]) for row in await connection.fetch(rival.positions)]
    except asyncpg.UndefinedTableError:
        return []  # not started yet


async def is_warm(connection: asyncpg.Connection, rival: Rival, log: Log) -> bool:
    """Whether the first share of the facts, which does not count, is folded."""
    return log.folded(await _positions(connection, rival)) >= WARM * log.facts


async def at_end(connection: asyncpg.Connection, rival: Rival, log: Log) -> bool:
    """Whether every partition is folded to its last message."""
    positions = await _positions(connection, rival)
    return all(sequence >= log.ends[number] for number, sequence in positions)


async def published_all(connection: asyncpg.Connection) -> bool:
    """Whether every decision of ours is out."""
    return bool(await connection.fetchval("select bool_and(sent = decisions) from read.fold_position"))


async def _enacted(nc: Client) -> list[tuple[str, bytes]]:
    """What provisioning enacted."""
    last = (await nc.jetstream().stream_info(LOG)).state.last_seq
    return [
        (entry.subject, entry.data)
        async for entry in read_up_to(nc, LOG, last)
        if not entry.subject.startswith("mark.")
    ]


def _outcome(
    runs: dict[Rival, list[Run]], published: list[float], rebuilt: dict[bool, list[Run]], logs: dict[str, Log]
) -> Outcome:
    rows = {rival: figure(rival.name, "facts/s", found) for rival, found in runs.items()}
    rebuilds = {
        lost: figure(f"Gihan, rebuild of a projection {REBUILT[lost]}", "facts/s", rebuilt[lost]) for lost in rebuilt
    }
    naive = max(rows[rival].value for rival in (NAIVE, NAIVE_LANES) if rival in rows)
    together = rows[TWO].busy or 0.0
    return Outcome(
        subject="live",
        title="Live folding and rebuilding",
        about=(
            f"{logs[LOG].facts:,} facts and the ticks between them, a case's facts thousands of places apart, from "
            f"CASES to durable rows; those that take one message at a time get {logs[SMALL].facts:,} facts of the same "
            "courses and days. Ours publishes every decision to SLA meanwhile; nobody else publishes anything."
        ),
        figures=[
            *rows.values(),
            *rebuilds.values(),
            Figure("Gihan, one and two, all decisions durable in SLA", "facts/s", published),
        ],
        bars=[
            Bar("one process / best naive pipeline", rows[ONE].value / naive, at_least=25),
            Bar("one process / bare pipeline", rows[ONE].value / rows[BARE].value, at_least=0.5),
            Bar("one process / FastStream in batches", rows[ONE].value / rows[BATCH].value),
            Bar("one process / eventsourcing", rows[ONE].value / rows[SOURCING].value),
            Bar(
                "two processes / one",
                rows[TWO].value / rows[ONE].value,
                at_least=1.5,
                excused=together >= BOTH_BUSY,
                note=f"or both cores {BOTH_BUSY:.0%} busy; they are {together:.0%}",
            ),
            Bar("rebuild / best naive pipeline", rebuilds[True].value / naive, at_least=40),
        ],
        checked="the decisions of every rival and of every run, compared by hash with those of the pure fold.",
    )
