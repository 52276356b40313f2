"""`gihan replay --rebuild`: the projection folded anew from CASES beside the live one, then put in its place.

The one rule: what SLA holds is never contradicted. A rebuilt partition takes the place of the live one only if its
decisions are, under the same numbers, those that were published; so the relay goes on and sends nothing twice.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg
from nats.aio.client import Client

from contracts import files
from contracts.streams import PARTITIONS, sla_mark
from services.chassis import broker, logs, postgres
from services.chassis.cursor import CursorStale, Entry, LogCursor, LogGap, check_log
from services.chassis.lease import Lease
from services.chassis.logs import OperatorError, error_code
from services.chassis.settings import Settings
from services.cli.parallel import cores
from services.cli.workers import Ended, serve, shared
from services.rules.facts import decode_event
from services.rules.rulebook import Library, NotEnacted
from services.sla_timer import store
from services.sla_timer.afresh import Afresh

LEASE = "sla_timer_rebuild"


class Table(NamedTuple):
    """What a partition consists of beside its place: the column that says whose a row is, the key, what is compared."""

    column: str
    key: tuple[str, ...]
    compared: tuple[str, ...]


TABLES = {
    # A bookmark says nothing that the case does not: it may be laid or not.
    "cases": Table("partition", ("tenant", "case_id"), ("partition", *store.Columns._fields)),
    "decisions": Table("lane", ("lane", "number"), store.Row._fields[2:]),
    "enacted": Table("partition", ("partition", "sequence"), ("body",)),
}
SMALL_ENTRIES = 30_000
"""A log below this is folded sooner than other processes have started."""
READ_MESSAGES, READ_SECONDS = 2000, 1.0
CATCH_UP_SECONDS = 30.0
"""How long the live fold of a partition may stand still for the last events before its turn is given back."""
_NO_LIMIT_SECONDS = 3600.0
_SESSION = (
    "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set temp_buffers = '64MB'; "
    # Its own tables are read from end to end, and nobody has counted what is in them.
    "set work_mem = '128MB'; set enable_nestloop = off; set enable_mergejoin = off"
)


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
    """Rebuilds partitions, on all cores where it pays, while the live system works on; each is given when it is in
    place. Raises NotRebuilt."""
    async with _alone(settings):
        workers = min(cores(), len(numbers)) if await _entries(settings) >= SMALL_ENTRIES else 1
        if workers == 1:
            async for rebuilt in _in_turn(settings, numbers):
                yield rebuilt
            return
        try:
            async for answer in shared(__name__, settings, [numbers[place::workers] for place in range(workers)]):
                if isinstance(answer, str):
                    raise NotRebuilt(answer)
                yield Rebuilt(*answer)
        except Ended:
            raise NotRebuilt("A process of the rebuild was ended from outside. Start it again.") from None


@asynccontextmanager
async def _alone(settings: Settings) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(3) as limit, Lease(settings, LEASE):
            limit.reschedule(None)
            yield
    except TimeoutError:
        raise NotRebuilt("Another rebuild is under way: wait for its end.") from None


async def _entries(settings: Settings) -> int:
    nc = await broker.connect(settings)
    try:
        return (await nc.jetstream().stream_info("CASES")).state.messages
    finally:
        await nc.close()


async def _share(settings: Settings, numbers: Sequence[int]) -> AsyncIterator[Rebuilt | str]:
    """What a process of ours rebuilds, and why it does not go on."""
    try:
        async for rebuilt in _in_turn(settings, numbers):
            yield rebuilt
    except OperatorError as error:
        yield str(error)
    except Exception as error:
        yield f"The rebuild cannot go on: {error_code(error)}"


async def _in_turn(settings: Settings, numbers: Sequence[int]) -> AsyncIterator[Rebuilt]:
    """Partitions one after the other, in tables of one session, which are gone with it whatever happens."""
    library = Library(files.read())
    nc = await broker.connect(settings)
    try:
        connection = await postgres.connect(settings)
        try:
            await connection.execute(_SESSION)
            for number in numbers:
                yield await _Rebuild(settings, nc, connection, library, number).finished()
        finally:
            connection.terminate()
    finally:
        await nc.close()


class _Rebuild:
    """The rebuilding of one partition."""

    def __init__(
        self, settings: Settings, nc: Client, connection: asyncpg.Connection, library: Library, number: int
    ) -> None:
        self._settings = settings
        self._nc = nc
        self._connection = connection
        self._number = number
        self._folded = Afresh(number, library, connection)

    async def finished(self) -> Rebuilt:
        """Folds to the end of the log, keeps the live folder out, folds the rest, and swaps."""
        await self._folded.begin()
        await self._catch_up()
        # What came meanwhile is little; what is written now need not be while the live folder waits.
        await self._folded.write()
        await self._catch_up()
        try:
            async with (
                Lease(self._settings, f"{store.SCHEMA}/{self._number}", evict=True) as lease,
                self._connection.transaction(),
            ):
                # What the live folder still had under way is done now, or refused after the swap.
                await self._connection.execute(
                    "select from sla_timer.partitions where partition = $1 for update", self._number
                )
                async with asyncio.timeout(CATCH_UP_SECONDS):
                    await self._catch_up()
                await self._folded.write()
                return await self._swap(lease.generation)
        except TimeoutError:
            raise NotRebuilt(f"Partition {self._number}: the log grew faster than it was folded. Try again.") from None

    async def _catch_up(self) -> None:
        """Folds the log to where it ends now. Raises NotRebuilt for what stops the fold."""
        subject = f"cases.{self._number}.>"
        found = await broker.last_message(self._nc, "CASES", subject)
        last = found[0] if found else 0
        while self._folded.position.sequence < last:
            try:
                after = self._folded.position.sequence
                async with LogCursor(
                    self._nc, stream="CASES", after=after, subject=subject, batch_size=2 * READ_MESSAGES
                ) as cursor:
                    await self._check()
                    while self._folded.position.sequence < last:
                        await self._take(await cursor.read(READ_MESSAGES, READ_SECONDS))
            except (CursorStale, LogGap):
                continue

    async def _check(self) -> None:
        """Whether the log is the one that was folded so far."""
        at = self._folded.position
        same = None if at.event_id is None else lambda _, body: decode_event(body).id == at.event_id
        stream_id = await check_log(self._nc, "CASES", at.sequence, at.stream_id, same)
        self._folded.position = at._replace(stream_id=stream_id)

    async def _take(self, entries: Sequence[Entry]) -> None:
        try:
            await self._folded.take(entries)
        except Exception as error:
            said = str(error) if isinstance(error, OperatorError | NotEnacted) else error_code(error)
            raise NotRebuilt(f"Partition {self._number} cannot be folded anew: {said}") from error

    async def _swap(self, generation: int) -> Rebuilt:
        """Makes the live rows of the partition what the rebuilt ones are, in the caller's transaction."""
        await self._compare_with_sla()
        await self._compare_unpublished()
        changed = {table: await self._replace(table) for table in TABLES}
        at = self._folded.position
        done = await self._connection.execute(
            "update sla_timer.partitions set generation = $2, sequence = $3, event_id = $4, stream_id = $5, "
            "clock = $6, tick_sequence = $7, ticks = $8, decisions = $9 where partition = $1 and generation < $2",
            *at._replace(generation=generation),
        )
        if done != "UPDATE 1":
            raise NotRebuilt(f"Partition {self._number} was taken over by another folder meanwhile. Try again.")
        return Rebuilt(self._number, at.sequence, **changed)

    async def _compare_with_sla(self) -> None:
        """The rebuilt decisions must be those on SLA: its last marker has their number and their hash chain."""
        found = await broker.last_message(self._nc, "SLA", sla_mark(self._number))
        if found is None:
            return
        marker = json.loads(found[1])
        last = marker["last"]
        if last > self._folded.position.decisions or self._folded.chain(last).hex() != marker["chain"]:
            raise NotRebuilt(
                f"Partition {self._number}: this program decides otherwise than what SLA holds up to decision "
                f"{last}. The live projection stands as it was: run the release that wrote the log, or enact "
                "a new revision of the rules."
            )
        await self._connection.execute(
            "insert into sla_timer.relay (lane, sent, chain, marker_sequence) values ($1, $2, $3, $4) "
            "on conflict (lane) do update set sent = excluded.sent, chain = excluded.chain, "
            "marker_sequence = excluded.marker_sequence where sla_timer.relay.sent <= excluded.sent",
            self._number,
            last,
            self._folded.chain(last),
            found[0],
        )

    async def _compare_unpublished(self) -> None:
        """A relay may be publishing what SLA does not hold yet: that, too, must be the same."""
        other = await self._connection.fetchval(
            "select l.number from sla_timer.decisions l left join pg_temp.decisions r using (lane, number) "
            "where l.lane = $1 and l.number > coalesce((select sent from sla_timer.relay where lane = $1), 0) "
            "and r.body is distinct from l.body order by l.number limit 1",
            self._number,
            timeout=_NO_LIMIT_SECONDS,
        )
        if other is not None:
            raise NotRebuilt(
                f"Partition {self._number}: decision {other} is not published yet, and the log says otherwise than it "
                "does. Stop sla_timer, delete the rows of this partition that are not published, and rebuild again."
            )

    async def _replace(self, table: str) -> int:
        """Writes what differs; returns how many rows were missing, too many or other."""
        column, key, compared = TABLES[table]
        live, rebuilt = f"{store.SCHEMA}.{table}", f"pg_temp.{table}"
        names, values = ", ".join(key), ", ".join(compared)
        extra = await self._connection.execute(
            f"delete from {live} l where l.{column} = $1 and not exists (select from {rebuilt} r where "  # noqa: S608
            f"({_of('r', key)}) = ({_of('l', key)}) and ({_of('r', compared)}) is not distinct from "
            f"({_of('l', compared)}))",
            self._number,
            timeout=_NO_LIMIT_SECONDS,
        )
        more = ", bookmark" if table == "cases" else ""
        missing = await self._connection.execute(
            f"insert into {live} ({names}, {values}{more}) select {names}, {values}{more} from {rebuilt} r "  # noqa: S608
            f"where not exists (select from {live} l where ({_of('l', key)}) = ({_of('r', key)}) and l.{column} = $1) "
            "on conflict do nothing",
            self._number,
            timeout=_NO_LIMIT_SECONDS,
        )
        return max(int(extra.split()[-1]), int(missing.split()[-1]))


def _of(row: str, columns: Sequence[str]) -> str:
    return ", ".join(f"{row}.{column}" for column in columns)


if __name__ == "__main__":
    logs.configure("replay", "critical")
    serve(_share)
