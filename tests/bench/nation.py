"""A nation's open cases: a log with very many of them, and a running sla_timer that has folded it.

The one rule: nobody's state is made by hand. Open cases come from the log through the service, as in life; only
intake is passed by, which has a measurement of its own.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from typing import NamedTuple, Self

import asyncpg

from contracts import files
from contracts.streams import PARTITIONS
from services.chassis import broker, clock, postgres
from services.chassis.clock import RealClock
from services.chassis.cursor import read_up_to
from services.rules.facts import decode_event
from services.rules.instants import HOUR, MINUTE, SECOND, Instant, instant, text
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Decided
from services.rules.world import Partition
from tests.bench.machine import resident_mb
from tests.bench.results import Run
from tests.bench.room import Room, open_room, until
from tests.bench.workload import ZONE, Message, stored

MONDAY = "2026-06-08T09:00:00+09:00"
HOLIDAY_CITY = "miryang"
CITIES = ("seoul", "seoul", "seoul", "seoul", "anseong", "mapo", "anseong", "mapo", "yeonje", HOLIDAY_CITY)
"""Of each ten open cases; a tenth is in the city that gets a holiday."""
CALLED_BACK = ("anseong", "mapo", "yeonje", "miryang")
"""Cities that promise a call at the time that the citizen wants."""
_POSITIONS = "select partition, sequence, next_at, decisions - sent as waiting, decisions from read.fold_position"


class Stored(NamedTuple):
    """A decision as it stands on SLA: its kind, and when the server had it on its disk (microseconds since 1970)."""

    kind: str
    at: Instant


class Nation:
    """Open cases, and the service that holds them. `now` is where the stepped clock stands."""

    def __init__(self, room: Room, pool: asyncpg.Pool) -> None:
        self.room = room
        self.pool = pool
        self.now = instant(MONDAY) + HOUR
        self.open = 0
        self.pid = 0
        self._service = AsyncExitStack()

    @classmethod
    @asynccontextmanager
    async def founded(cls) -> AsyncIterator[Self]:
        """Empty cities at ten on a Monday, and the service running."""
        async with open_room(enacted_at=instant(MONDAY) - 2 * HOUR) as room:
            await room.fresh_database()
            pool = await postgres.connect_pool(room.settings(), max_size=2)
            nation = cls(room, pool)
            try:
                await clock.step(pool, nation.now)
                await nation.start()
                await nation.settled()
                yield nation
            finally:
                await nation.stop()
                pool.terminate()

    async def start(self) -> None:
        """Starts the service; waits for nothing."""
        process = await self._service.enter_async_context(self.room.process("services.sla_timer", service="sla_timer"))
        self.pid = process.pid

    async def stop(self) -> None:
        """Ends the service."""
        await self._service.aclose()
        self._service = AsyncExitStack()

    async def grow(self, upto: int) -> Run:
        """Opens complaints until so many cases are open; returns what folding them took, publishing included."""
        added = upto - self.open
        run = await self.fold(open_cases(self.open, upto))
        self.open = upto
        async with self.pool.acquire() as connection:
            await connection.execute("set statement_timeout = 0")
            await connection.execute("vacuum analyze", timeout=600)
            await connection.execute("checkpoint", timeout=600)
        assert run.work == added
        return run

    async def fold(self, messages: Iterable[Message]) -> Run:
        """Appends facts and waits until what follows from them is durable on SLA."""
        meter = self.room.meter({"sla_timer": [self.pid]})
        facts = await self.room.fill((message.subject, message.body) for message in messages)
        await self.settled()
        return Run(facts, meter.seconds, meter.read(), *meter.shares())

    async def settled(self) -> None:
        """Waits until everything in the log is folded, no instant has been passed over, and all decisions are out."""
        found = [await broker.last_message(self.room.nc, "CASES", f"cases.{n}.>") for n in range(PARTITIONS)]
        last = [row[0] if row else 0 for row in found]

        async def look() -> bool:
            rows = await self.pool.fetch(_POSITIONS)
            return all(
                row["sequence"] >= last[row["partition"]]
                and not row["waiting"]
                and (row["next_at"] is None or row["next_at"] >= self.now)
                for row in rows
            )

        await until(look)

    async def step(self, to: Instant) -> tuple[Instant, list[Stored]]:
        """Moves the clock; (when it was told to, what came of it). Returns when all of that is durable on SLA."""
        before = await self._sla()
        told = await RealClock().now()
        self.now = to
        await clock.step(self.pool, to)
        await self.settled()
        return told, await self.decided(before)

    async def publish(self, messages: Iterable[Message]) -> tuple[Instant, list[Stored]]:
        """Appends facts; (when that began, what came of it)."""
        before = await self._sla()
        told = await RealClock().now()
        await self.room.fill((message.subject, message.body) for message in messages)
        await self.settled()
        return told, await self.decided(before)

    async def decided(self, after: int) -> list[Stored]:
        """What was written to SLA after a sequence."""
        entries = read_up_to(self.room.nc, "SLA", await self._sla(), after=after)
        return [
            Stored(entry.subject.split(".", 3)[3], entry.stored_at)
            async for entry in entries
            if not entry.subject.startswith("mark.")
        ]

    async def _sla(self) -> int:
        return int((await self.room.nc.jetstream().stream_info("SLA")).state.last_seq)

    def memory(self) -> dict[str, float]:
        """What the service and nats-server hold now, in megabytes."""
        assert self.room.servers.nats is not None
        return {"sla_timer": resident_mb(self.pid), "nats": resident_mb(self.room.servers.nats.pid or 0)}

    async def sizes(self) -> dict[str, float]:
        """The tables of the projection and their indexes, and the streams, in megabytes."""
        rows = await self.pool.fetch(
            "select relname, pg_table_size(oid) as rows, pg_indexes_size(oid) as indexes from pg_class "
            "where relnamespace = 'sla_timer'::regnamespace and relkind = 'r' and pg_total_relation_size(oid) > 1 << 20"
        )
        found = {f"{row['relname']} {what}": row[what] / (1 << 20) for row in rows for what in ("rows", "indexes")}
        for stream in ("CASES", "SLA"):
            info = await self.room.nc.jetstream().stream_info(stream)
            found[f"stream {stream}"] = info.state.bytes / (1 << 20)
        return found


def open_cases(first: int, last: int) -> Iterator[Message]:
    """Complaints that nobody has answered yet; nothing about them is due for three days."""
    data = {
        "channel": "visit",
        "kind": "grievance",
        "departments": ["도로관리과 가로등팀"],
        "office": "시청 민원봉사실",
        "notify_by": "sms",
        "language": "ko",
        **dict.fromkeys(("has_name", "has_address", "has_phone", "has_mobile", "has_email"), True),
    }
    received = instant(MONDAY)
    for number in range(first, last):
        refs = {name: f"{name[:3]}_{number:032x}" for name in ("title_ref", "text_ref", "subject_ref")}
        at = received + number % 3000 * SECOND
        yield stored(CITIES[number % 10], name_of(number), "complaint.received", "epeople", at, data | refs)


def name_of(number: int) -> str:
    """The id of an open case."""
    return f"complaint-civil-affairs-office-2026-{number:012}"


def callback(name: str, number: int, due: Instant) -> Message:
    """A call that is wanted at an instant, asked for five minutes earlier: too late for a warning."""
    data = {
        "via": "phone",
        "cause": "absent",
        "wanted_at": text(due, ZONE),
        "memo": {"reply_wanted": True, "taken_by": "officer-0001", "matter_ref": f"txt_{number:032x}"},
        "subject_ref": f"sub_{number:032x}",
        "has_phone": True,
    }
    tenant = CALLED_BACK[number % 4]
    return stored(tenant, f"callback-{name}-{number:08}", "callback.requested", "call-centre", due - 5 * MINUTE, data)


def what_follows(messages: Iterable[Message], then: Callable[[Partition], list[Decided]]) -> Counter[str]:
    """By kind, what the pure fold decides in `then` once a partition holds these facts."""
    folded = Partition(Rulebook(_library()), 0)
    folded.tick(instant(MONDAY) + HOUR)
    for sequence, message in enumerate(messages, 1):
        folded.take(decode_event(message.body), sequence)
    return Counter(row.decision.kind for row in then(folded))


@cache
def _library() -> Library:
    return Library(files.read())
