"""The folder: one partition of CASES, read in order and folded into the projection.

The one rule: one active folder per partition, and nothing but the log decides. The rules are pure and live in
services/rules; here is only the order of reading, deciding and writing.
"""

import asyncio
from collections.abc import Callable, Sequence

import asyncpg
from nats.aio.client import Client

from contracts.streams import partition
from services.chassis import logs
from services.chassis.cursor import Entry, LogCursor, check_log
from services.chassis.failpoints import failpoint
from services.chassis.health import Part
from services.chassis.lease import Lease
from services.chassis.settings import Settings
from services.chassis.tasks import end
from services.rules.facts import Event, decode_event
from services.rules.instants import Instant
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case
from services.rules.stating import fact_of
from services.rules.warm import Warm
from services.rules.world import mends, reaches_home
from services.sla_timer import store
from services.sla_timer.batch import TICK, Ahead, Batch, Read, clock_of, parted
from services.sla_timer.meter import Meter
from services.sla_timer.store import CaseKey, Position

BATCH_MESSAGES = 1000
WARM_CASES = 1500
"""So many cases of a partition are kept in memory, to be read on where they stand: some 7 kB each."""
READ_WAIT_SECONDS = 0.5
RETRY_SECONDS = 0.5
OTHERS_FIRST_SECONDS = 5.0
"""For so long a partition that is another process's is left to it, at the start and after any trouble."""


class Folder:
    """Folds one partition until cancelled. `next_at` and `position` are for the ticker to look at.

    `pool` finds its tables in `schema`: the live projection, or one that is being rebuilt. Of the folders of a process
    as many as `turns` allow are at work at a time: one decides while the others' decisions are written, and none is
    held up in the middle of a transaction for longer than those few need for a batch.
    """

    def __init__(
        self,
        partition: int,
        settings: Settings,
        nc: Client,
        pool: asyncpg.Pool,
        library: Library,
        part: Part,
        meter: Meter,
        on_commit: Callable[[], None],
        turns: asyncio.Semaphore,
        schema: str = store.SCHEMA,
    ) -> None:
        self.partition = partition
        self.next_at: Instant | None = None
        self.position: Position | None = None
        self.pending = 0
        self._settings = settings
        self._slice = settings.slice_cases
        self._nc = nc
        self._pool = pool
        self._library = library
        self._part = part
        self._meter = meter
        self._on_commit = on_commit
        self._turns = turns
        self._schema = schema
        self._rulebook = Rulebook(library)
        self._warm = Warm(self._rulebook)

    async def run(self) -> None:
        """Folds for ever; after any trouble it says so, waits a moment and begins again from what was committed."""
        while True:
            try:
                if self.partition not in self._settings.partitions:
                    self._part.stand_by()
                    await asyncio.sleep(OTHERS_FIRST_SECONDS)
                async with Lease(self._settings, f"{self._schema}/{self.partition}", self._part.stand_by) as lease:
                    await self._fold_while_held(lease)
                logs.get_logger(partition=self.partition, generation=lease.generation).warning("lease_lost")
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._trouble(error)
            self.position = None
            await asyncio.sleep(RETRY_SECONDS)

    async def _fold_while_held(self, lease: Lease) -> None:
        """Folds until the lease is lost; raises what folding raises."""
        folding = asyncio.create_task(self._fold_log(lease.generation))
        losing = asyncio.create_task(_lost(lease))
        try:
            await asyncio.wait({folding, losing}, return_when=asyncio.FIRST_COMPLETED)
            if folding.done():
                folding.result()
        finally:
            await end([folding, losing])

    def _trouble(self, error: Exception) -> None:
        """An error is an alarm: the part turns red, with the error's name, or its text where that is clean."""
        said = str(error) if isinstance(error, logs.OperatorError) else logs.error_code(error)
        self._part.down(f"partition {self.partition} stopped: {said}")
        logs.get_logger(partition=self.partition).error("fold_stopped", error=logs.error_code(error), exc_info=error)

    async def _fold_log(self, generation: int) -> None:
        position = await store.take_over(self._pool, self.partition, generation)
        await failpoint("fold.after_take_over")
        self._rulebook = Rulebook(self._library)
        # Begun anew with every holding: what a transaction that failed had folded must not be gone on from.
        self._warm = Warm(self._rulebook, WARM_CASES)
        for sequence, body in await store.enacted(self._pool, self.partition):
            self._rulebook.enact(decode_event(body), sequence)
        self.next_at = await store.next_instant(self._pool, self.partition)
        async with LogCursor(
            self._nc, stream="CASES", after=position.sequence, subject=f"cases.{self.partition}.>"
        ) as cursor:
            self.position = await self._checked(position)
            self._on_commit()
            while True:
                entries = await cursor.read(BATCH_MESSAGES, READ_WAIT_SECONDS)
                self.pending = cursor.pending
                await failpoint("fold.before_batch")
                await self._fold_entries(entries)
                assert self.position is not None
                self._part.beat(sequence=self.position.sequence, pending=cursor.pending)

    async def _checked(self, position: Position) -> Position:
        """The position with the stream's own id. Raises WrongLog where it is not in the log that was folded."""
        same = None if position.event_id is None else lambda _, body: decode_event(body).id == position.event_id
        stream_id = await check_log(self._nc, "CASES", position.sequence, position.stream_id, same)
        return position._replace(stream_id=stream_id)

    # -- steps ------------------------------------------------------------------------------------------------

    async def _fold_entries(self, entries: Sequence[Entry]) -> None:
        """Folds what was read: facts and ticks together, and what touches very many cases by itself."""
        for run, enacting in parted(entries):
            await self._fold_run(run)
            if enacting is not None:
                async with self._turns:
                    await self._fold_enacting(*enacting)

    async def _fold_run(self, run: Sequence[Read]) -> None:
        while run:
            async with self._turns:
                done = await self._fold_together(run)
                if done < len(run):
                    await self._fold_wide_tick(*run[done])
            run = run[done + 1 :]

    async def _fold_together(self, run: Sequence[Read]) -> int:
        """Folds facts and ticks in one transaction, up to a tick that reaches too many cases; returns how many."""
        batch, done = self._batch(), 0
        ahead = Ahead(run)
        async with self._pool.acquire() as connection:
            await self._bring(connection, batch, {(event.tenant, event.case_id) for _, event in run if event.tenant})
            for entry, event in run:
                if event.type == TICK:
                    clock = clock_of(event, batch)
                    earliest = batch.earliest()
                    if earliest is not None and earliest < clock:
                        if clock > ahead.looked:
                            await self._look_ahead(connection, ahead, clock, batch)
                        others = ahead.before(clock)
                        if len(others) > self._slice:
                            break
                        batch.pass_to(clock, batch.due(clock, others), entry.sequence)
                    batch.move_clock(entry, event, clock)
                else:
                    batch.fold(entry, event)
                done += 1
            if done:
                await self._write(connection, batch)
        if done:
            await failpoint("fold.after_facts")
            self._committed(batch, run[:done])
        return done

    async def _fold_wide_tick(self, entry: Entry, event: Event) -> None:
        """A tick that reaches very many cases, slice by slice; the position moves with the last."""
        finished = False
        while not finished:
            batch = self._batch()
            clock = clock_of(event, batch)
            async with self._pool.acquire() as connection:
                due = await self._due(connection, clock, batch)
                finished = len(due) <= self._slice
                batch.pass_to(clock, due[: self._slice], entry.sequence)
                if finished:
                    batch.move_clock(entry, event, clock)
                await self._write(connection, batch)
            await failpoint("fold.after_tick_slice")
            self._committed(batch, [(entry, event)] if finished else [])

    async def _fold_enacting(self, entry: Entry, event: Event) -> None:
        """An event about every case of a tenant: what it enacts, and the open deadlines that it moves.

        The position moves with the last slice. A crash before it folds the slices again, which changes nothing that
        stands already; the rows of the slices done are the same, so their numbers are, too.
        """
        enacts = self._rulebook.enact(event, entry.sequence)
        if enacts and reaches_home(event) and partition(event.tenant, event.tenant) == self.partition:
            await self._open_home(entry, event)
        cause = fact_of(event, entry.sequence)
        last_case, finished = "", False
        while not finished:
            batch, cases = self._batch(), list[Case]()
            async with self._pool.acquire() as connection:
                if enacts:
                    chosen = store.stuck_cases if mends(event) else store.open_cases
                    # A whole tenant passes by: it must not take the place of what is being worked on.
                    at_hand = store.AtHand(self._warm.case, self._warm.recall_in_passing)
                    cases = await chosen(connection, self.partition, event.tenant, last_case, self._slice, at_hand)
                batch.replan(cases, cause)
                finished = len(cases) < self._slice
                if finished:
                    batch.move(entry, event)
                await self._write(connection, batch, [(entry.sequence, entry.data)] if finished and enacts else [])
            await failpoint("fold.after_enacting_slice")
            self._committed(batch, [(entry, event)] if finished else [])
            self._warm.let_pass()
            last_case = cases[-1].id if cases else ""

    async def _open_home(self, entry: Entry, event: Event) -> None:
        """The tenant's own case, in which its duties run whether or not it ever reports on them.

        Written before the slices, the position unmoved: folded again after a crash it holds the fact already.
        """
        batch = self._batch()
        async with self._pool.acquire() as connection:
            await self._bring(connection, batch, {(event.tenant, event.tenant)})
            batch.state(event.tenant, event.tenant, fact_of(event, entry.sequence))
            await self._write(connection, batch)
        await failpoint("fold.after_home")
        self._committed(batch, [])

    def _batch(self) -> Batch:
        assert self.position is not None
        return Batch(self.position, self._warm, self.next_at)

    async def _bring(self, connection: store.Connection, batch: Batch, keys: set[CaseKey]) -> None:
        """Puts the cases that exist among `keys` into a batch: warm ones as they are, the others from the database."""
        batch.bring(case for key in keys if (case := self._warm.case(key)) is not None)
        cold = keys - batch.cases.keys()
        if cold:
            batch.bring(await store.load(connection, sorted(cold), store.AtHand(recall=self._warm.recall)))

    async def _look_ahead(self, connection: store.Connection, ahead: Ahead, clock: Instant, batch: Batch) -> None:
        """Looks once for all ticks of a run; where they reach too many cases together, for each by itself."""
        if not ahead.wide:
            ahead.looked = max(ahead.last, clock)
            ahead.cases = await self._due(connection, ahead.looked, batch)
            ahead.wide = len(ahead.cases) > self._slice
        if ahead.wide:
            ahead.looked = clock
            ahead.cases = await self._due(connection, clock, batch)

    async def _due(self, connection: store.Connection, clock: Instant, batch: Batch) -> list[Case]:
        """The cases that a tick reaches, as far as the database knows: one more than a slice has, where it is more."""
        at_hand = store.AtHand(batch.known, self._warm.recall)
        return await store.due_before(connection, self.partition, clock, self._slice + 1, at_hand)

    async def _write(
        self, connection: store.Connection, batch: Batch, enacting: Sequence[tuple[int, bytes]] = ()
    ) -> None:
        """Commits a batch, and knows the next instant of the partition."""
        async with connection.transaction():
            cases, bookmark = batch.cases.values(), self._warm.bookmark
            await store.save(connection, batch.before, batch.after, cases, batch.rows, enacting, bookmark)
            self.next_at = (
                await store.next_instant(connection, self.partition)
                if batch.has_moved_the_earliest()
                else batch.earliest()
            )

    def _committed(self, batch: Batch, run: Sequence[Read]) -> None:
        """Stands behind a batch, and tells whoever waits for it."""
        self.position = batch.after
        self._on_commit()
        self._meter.folded(self.partition, batch, run)


async def _lost(lease: Lease) -> None:
    await lease.lost.wait()
