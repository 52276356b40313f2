"""`gihan replay --rebuild`: the projection folded anew from CASES beside the live one, then put in its place.

The one rule: what SLA holds is never contradicted. A rebuilt partition takes the place of the live one only if its
decisions are, under the same numbers, those that were published; so the relay goes on and sends nothing twice.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import NamedTuple

import asyncpg
from nats.aio.client import Client
from prometheus_client import CollectorRegistry

from contracts import files
from contracts.streams import PARTITIONS, sla_mark
from services.chassis import broker, postgres
from services.chassis.health import Health
from services.chassis.lease import Lease
from services.chassis.logs import OperatorError
from services.chassis.outbox import link
from services.chassis.settings import Settings
from services.chassis.tasks import end
from services.rules.rulebook import Library
from services.sla_timer import store
from services.sla_timer.folder import Folder, Meter

SCHEMA = "sla_timer_rebuild"


class Table(NamedTuple):
    """What a partition consists of beside its place: the column that says whose a row is, the key, what is compared."""

    column: str
    key: str
    compared: str = "*"


TABLES = {
    "cases": Table(
        "partition",
        "tenant, case_id",
        # A bookmark says nothing that the case does not: it may be laid or not.
        "tenant, case_id, partition, state, closed, stuck, open_deadlines, next_at",
    ),
    "decisions": Table("lane", "lane, number"),
    "enacted": Table("partition", "partition, sequence"),
}
CATCH_UP_SECONDS = 30.0
"""How long the live fold of a partition may stand still for the last events before its turn is given back."""
STALL_SECONDS = 10.0
"""After so long without a step forward it is said what stops the fold."""
LOOK_SECONDS = 0.05
FOLDED_AHEAD, TURNS = 2, 2
"""So many partitions are folded while another changes places; so many are at work at a time, as in the service."""
FETCH_ROWS = 1000
_NO_LIMIT_SECONDS = 3600.0


class NotRebuilt(OperatorError):
    """The rebuilt projection was not put in place of the live one, which stands as it was."""


class Rebuilt(NamedTuple):
    """A partition put in place: how far it is folded, and how many live rows were other than the log says."""

    partition: int
    sequence: int
    cases: int
    decisions: int
    enacted: int


async def rebuild(settings: Settings, numbers: Sequence[int] = range(PARTITIONS)) -> AsyncIterator[Rebuilt]:
    """Rebuilds partitions in turn, while the live system works on. Raises NotRebuilt."""
    nc = await broker.connect(settings)
    try:
        async with _alone(settings), _room(settings) as connection:
            pool = await postgres.connect_pool(settings, max_size=FOLDED_AHEAD + 1, schema=SCHEMA)
            ahead: deque[_Rebuild] = deque()
            try:
                library, turns, waiting = Library(files.read()), asyncio.Semaphore(TURNS), iter(numbers)
                while True:
                    for number in islice(waiting, FOLDED_AHEAD + 1 - len(ahead)):
                        ahead.append(_Rebuild(settings, nc, pool, connection, library, turns, number))
                    if not ahead:
                        break
                    yield await ahead[0].finished()
                    ahead.popleft()
            finally:
                await end([one.folding for one in ahead])
                pool.terminate()
    finally:
        await nc.close()


@asynccontextmanager
async def _alone(settings: Settings) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(3) as limit, Lease(settings, SCHEMA):
            limit.reschedule(None)
            yield
    except TimeoutError:
        raise NotRebuilt("Another rebuild is under way: wait for its end.") from None


@asynccontextmanager
async def _room(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """A schema of the same layout, empty; gone in the end."""
    connection = await postgres.connect(settings)
    try:
        await connection.execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
        await connection.execute(f"drop schema if exists {SCHEMA} cascade; create schema {SCHEMA}")
        for table in ("partitions", *TABLES):
            # Nobody misses them after a crash.
            less = " excluding indexes" if table == "decisions" else ""
            await connection.execute(
                f"create unlogged table {SCHEMA}.{table} (like sla_timer.{table} including all{less})"
            )
        # The fold never looks a decision up, and the live table has its other indexes already.
        await connection.execute(f"alter table {SCHEMA}.decisions add primary key ({TABLES['decisions'].key})")
        await connection.execute(
            f"insert into sla_timer_rebuild.partitions select generate_series(0, {PARTITIONS - 1})"
        )
        yield connection
        await connection.execute(f"drop schema {SCHEMA} cascade")
    finally:
        connection.terminate()


class _Rebuild:
    """The rebuilding of one partition, which is being folded from now on."""

    def __init__(
        self,
        settings: Settings,
        nc: Client,
        pool: asyncpg.Pool,
        connection: asyncpg.Connection,
        library: Library,
        turns: asyncio.Semaphore,
        number: int,
    ) -> None:
        self._settings = settings
        self._nc = nc
        self._connection = connection
        self._number = number
        self._part = Health("replay").part(f"rebuild {number}", frozen_after_seconds=CATCH_UP_SECONDS)
        meter = Meter(CollectorRegistry())
        self._folder = Folder(number, settings, nc, pool, library, self._part, meter, lambda: None, turns, SCHEMA)
        self.folding = asyncio.create_task(self._folder.run())

    async def finished(self) -> Rebuilt:
        """Lets the fold come to the end of the log, keeps the live folder out, folds the rest, and swaps."""
        try:
            await self._caught_up()
            async with (
                Lease(self._settings, f"{store.SCHEMA}/{self._number}", evict=True) as lease,
                self._connection.transaction(),
            ):
                # What the live folder still had under way is done now, or refused after the swap.
                await self._connection.execute(
                    "select from sla_timer.partitions where partition = $1 for update", self._number
                )
                async with asyncio.timeout(CATCH_UP_SECONDS):
                    await self._caught_up()
                await end([self.folding])
                return await self._swap(lease.generation)
        except TimeoutError:
            raise NotRebuilt(f"Partition {self._number}: the log grew faster than it was folded. Try again.") from None
        finally:
            await end([self.folding])

    async def _caught_up(self) -> None:
        """Returns when the log is folded to where it ends now. Raises NotRebuilt for what stops the fold."""
        found = await broker.last_message(self._nc, "CASES", f"cases.{self._number}.>")
        last = found[0] if found else 0
        loop = asyncio.get_running_loop()
        stood, since = self._folder.position, loop.time()
        while self._folder.position is None or self._folder.position.sequence < last:
            if self._folder.position not in (None, stood):
                stood, since = self._folder.position, loop.time()
            if loop.time() > since + STALL_SECONDS:
                raise NotRebuilt(
                    f"Partition {self._number} cannot be folded anew: {self._part.trouble or 'no progress'}"
                )
            await asyncio.sleep(LOOK_SECONDS)

    async def _swap(self, generation: int) -> Rebuilt:
        """Makes the live rows of the partition what the rebuilt ones are, in the caller's transaction."""
        await self._compare_with_sla()
        await self._compare_unpublished()
        changed = {table: await self._replace(table) for table in TABLES}
        row = await self._connection.fetchrow(
            "update sla_timer.partitions l set generation = $2, sequence = r.sequence, event_id = r.event_id, "
            "stream_id = r.stream_id, clock = r.clock, tick_sequence = r.tick_sequence, ticks = r.ticks, "
            "decisions = r.decisions from sla_timer_rebuild.partitions r where l.partition = $1 and r.partition = $1 "
            "and l.generation < $2 returning l.sequence",
            self._number,
            generation,
        )
        if row is None:
            raise NotRebuilt(f"Partition {self._number} was taken over by another folder meanwhile. Try again.")
        return Rebuilt(self._number, row["sequence"], **changed)

    async def _compare_with_sla(self) -> None:
        """The rebuilt decisions must be those on SLA: its last marker has their number and their hash chain."""
        found = await broker.last_message(self._nc, "SLA", sla_mark(self._number))
        if found is None:
            return
        marker = json.loads(found[1])
        chain, last = b"", 0
        async for row in self._connection.cursor(
            "select number, body from sla_timer_rebuild.decisions where lane = $1 and number <= $2 order by number",
            self._number,
            marker["last"],
            prefetch=FETCH_ROWS,
        ):
            chain, last = link(chain, row["body"]), row["number"]
        if last < marker["last"] or chain.hex() != marker["chain"]:
            raise NotRebuilt(
                f"Partition {self._number}: this program decides otherwise than what SLA holds up to decision "
                f"{marker['last']}. The live projection stands as it was: run the release that wrote the log, or enact "
                "a new revision of the rules."
            )
        await self._connection.execute(
            "insert into sla_timer.relay (lane, sent, chain, marker_sequence) values ($1, $2, $3, $4) "
            "on conflict (lane) do update set sent = excluded.sent, chain = excluded.chain, "
            "marker_sequence = excluded.marker_sequence where sla_timer.relay.sent <= excluded.sent",
            self._number,
            last,
            chain,
            found[0],
        )

    async def _compare_unpublished(self) -> None:
        """A relay may be publishing what SLA does not hold yet: that, too, must be the same."""
        other = await self._connection.fetchval(
            "select l.number from sla_timer.decisions l left join sla_timer.relay s using (lane) "
            "left join sla_timer_rebuild.decisions r using (lane, number) "
            "where lane = $1 and number > coalesce(s.sent, 0) "
            "and r.body is distinct from l.body order by number limit 1",
            self._number,
        )
        if other is not None:
            raise NotRebuilt(
                f"Partition {self._number}: decision {other} is not published yet, and the log says otherwise than it "
                "does. Stop sla_timer, delete the rows of this partition that are not published, and rebuild again."
            )

    async def _replace(self, table: str) -> int:
        """Writes what differs; returns how many rows were missing, too many or other."""
        column, key, compared = TABLES[table]
        live, rebuilt = f"{store.SCHEMA}.{table}", f"{SCHEMA}.{table}"
        extra = await self._connection.execute(
            f"delete from {live} where ({key}) in (select {key} from "  # noqa: S608
            f"(select {compared} from {live} where {column} = $1 "
            f"except select {compared} from {rebuilt} where {column} = $1) as other)",
            self._number,
            timeout=_NO_LIMIT_SECONDS,
        )
        missing = await self._connection.execute(
            f"insert into {live} select * from {rebuilt} where {column} = $1 on conflict do nothing",  # noqa: S608
            self._number,
            timeout=_NO_LIMIT_SECONDS,
        )
        return max(int(extra.split()[-1]), int(missing.split()[-1]))
