"""The folder: one partition of CASES, read in order and folded into the projection.

The one rule: one active folder per partition, and nothing but the log decides. The rules are pure and live in
services/rules; here is only the order of reading, deciding and writing.
"""

import asyncio
from collections import Counter as TallyCounter
from collections.abc import Callable, Sequence

import asyncpg
from nats.aio.client import Client
from prometheus_client import CollectorRegistry

from contracts.streams import clock_subject, partition
from services.chassis import broker, logs
from services.chassis.cursor import Entry, LogCursor, check_log
from services.chassis.failpoints import failpoint
from services.chassis.health import Counter, Part
from services.chassis.lease import Lease
from services.chassis.settings import Settings
from services.chassis.tasks import end
from services.rules.choosing import rules_of
from services.rules.facts import Event, Fact, decode_event, fact_of
from services.rules.fold import fold, refold
from services.rules.instants import Instant, of_datetime
from services.rules.routing import ALL
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case, Decision, Rules
from services.rules.world import reaches_home, replans
from services.sla_timer import store
from services.sla_timer.messages import decision_message
from services.sla_timer.store import CaseKey, Position, Row

BATCH_MESSAGES = 500
SLICE_CASES = 1000
"""Cases touched by one event in one transaction; more take several, the position moving with the last."""
BATCH_LINES = 50
"""Up to so many events a batch leaves a line in the log for each."""
READ_WAIT_SECONDS = 0.5
RETRY_SECONDS = 0.5


class Meter:
    """What the folders of a process count for /metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter("gihan_folded_events", "Events of CASES folded.", registry=registry)
        self.decisions = Counter("gihan_decisions", "Decisions by kind.", ["kind"], registry=registry)


class Folder:
    """Folds one partition until cancelled. `next_at` and `position` are for the ticker to look at.

    `pool` finds its tables in `schema`: the live projection, or one that is being rebuilt.
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
        schema: str = store.SCHEMA,
    ) -> None:
        self.partition = partition
        self.next_at: Instant | None = None
        self.position: Position | None = None
        self.pending = 0
        self._settings = settings
        self._nc = nc
        self._pool = pool
        self._library = library
        self._part = part
        self._meter = meter
        self._on_commit = on_commit
        self._schema = schema
        self._rulebook = Rulebook(library)

    async def run(self) -> None:
        """Folds for ever; after any trouble it says so, waits a moment and begins again from what was committed."""
        while True:
            try:
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
                for step in _steps(entries):
                    await self._fold_step(step)
                assert self.position is not None
                self._part.beat(sequence=self.position.sequence, pending=cursor.pending)

    async def _checked(self, position: Position) -> Position:
        """The position with the stream's own id. Raises WrongLog where it is not in the log that was folded."""
        same = None if position.event_id is None else lambda _, body: decode_event(body).id == position.event_id
        stream_id = await check_log(self._nc, "CASES", position.sequence, position.stream_id, same)
        return position._replace(stream_id=stream_id)

    # -- steps ------------------------------------------------------------------------------------------------

    async def _fold_step(self, step: "list[tuple[Entry, Event]]") -> None:
        entry, event = step[0]
        if event.type == "clock.advanced":
            await self._fold_tick(entry, event)
        elif event.case_id == ALL:
            await self._fold_enacting(entry, event)
        else:
            await self._fold_facts(step)

    async def _fold_facts(self, step: "list[tuple[Entry, Event]]") -> None:
        before = self._standing_position()
        async with self._pool.acquire() as connection, connection.transaction():
            keys = {(event.tenant, event.case_id) for _, event in step}
            cases = await store.load(connection, sorted(keys))
            rows: list[Row] = []
            for entry, event in step:
                key = (event.tenant, event.case_id)
                case = cases.get(key) or Case(*key)
                fact = fact_of(event, entry.sequence)
                rules = self._rules(case, fact)
                cases[key], decisions = fold(case, fact, before.clock, rules)
                rows += self._rows(before.decisions + len(rows), cases[key], rules, fact, entry.sequence, decisions)
            last, last_event = step[-1]
            after = before._replace(
                sequence=last.sequence, event_id=last_event.id, decisions=before.decisions + len(rows)
            )
            self.next_at = await store.save(connection, before, after, list(cases.values()), rows)
        await failpoint("fold.after_facts")
        self._committed(after, step, rows)

    async def _fold_tick(self, entry: Entry, event: Event) -> None:
        assert event.data.to is not None
        clock = max(self._standing_position().clock, of_datetime(event.data.to))
        while True:
            before = self._standing_position()
            async with self._pool.acquire() as connection, connection.transaction():
                due = await store.due_before(connection, self.partition, clock, SLICE_CASES)
                changed, rows = self._refold(due, None, clock, entry.sequence)
                after = before._replace(decisions=before.decisions + len(rows))
                if len(due) < SLICE_CASES:
                    after = after._replace(
                        sequence=entry.sequence,
                        event_id=event.id,
                        clock=clock,
                        tick_sequence=entry.sequence,
                        ticks=before.ticks + 1,
                    )
                self.next_at = await store.save(connection, before, after, changed, rows)
            await failpoint("fold.after_tick_slice")
            self._committed(after, [(entry, event)], rows)
            if len(due) < SLICE_CASES:
                return

    async def _fold_enacting(self, entry: Entry, event: Event) -> None:
        """An event about every case of a tenant: what it enacts, and the open deadlines that it moves.

        The position moves with the last slice. A crash before it folds the slices again, which changes nothing that
        stands already; the rows of the slices done are the same, so their numbers are, too.
        """
        enacts = self._rulebook.enact(event, entry.sequence)
        if enacts and reaches_home(event) and partition(event.tenant, event.tenant) == self.partition:
            await self._open_home(entry, event)
        last_case = ""
        while True:
            before = self._standing_position()
            async with self._pool.acquire() as connection, connection.transaction():
                cases: list[Case] = []
                if enacts and replans(event):
                    cases = await store.open_cases(connection, self.partition, event.tenant, last_case, SLICE_CASES)
                cause = fact_of(event, entry.sequence)
                changed, rows = self._refold(cases, cause, before.clock, entry.sequence)
                after = before._replace(decisions=before.decisions + len(rows))
                finished = len(cases) < SLICE_CASES
                if finished:
                    after = after._replace(sequence=entry.sequence, event_id=event.id)
                kept = [(entry.sequence, entry.data)] if finished and enacts else []
                self.next_at = await store.save(connection, before, after, changed, rows, kept)
            await failpoint("fold.after_enacting_slice")
            self._committed(after, [(entry, event)], rows)
            if finished:
                return
            last_case = cases[-1].id

    async def _open_home(self, entry: Entry, event: Event) -> None:
        """The tenant's own case, in which its duties run whether or not it ever reports on them.

        Written before the slices, the position unmoved: folded again after a crash it holds the fact already.
        """
        before, key = self._standing_position(), (event.tenant, event.tenant)
        async with self._pool.acquire() as connection, connection.transaction():
            case = (await store.load(connection, [key])).get(key) or Case(*key)
            fact = fact_of(event, entry.sequence)
            rules = self._rules(case, fact)
            folded, decisions = fold(case, fact, before.clock, rules)
            rows = self._rows(before.decisions, folded, rules, fact, entry.sequence, decisions)
            after = before._replace(decisions=before.decisions + len(rows))
            self.next_at = await store.save(connection, before, after, [folded], rows)
        await failpoint("fold.after_home")
        self._committed(after, [], rows)

    def _refold(
        self, cases: Sequence[Case], cause: Fact | None, clock: Instant, sequence: int
    ) -> tuple[list[Case], list[Row]]:
        changed: list[Case] = []
        rows: list[Row] = []
        first = self._standing_position().decisions
        for case in cases:
            rules = self._rules(case, None)
            folded, decisions = refold(case, cause, clock, rules)
            changed.append(folded)
            rows += self._rows(first + len(rows), folded, rules, cause, sequence, decisions)
        return changed, rows

    def _rules(self, case: Case, fact: Fact | None) -> Rules:
        return rules_of(self._rulebook, case, fact)

    def _rows(
        self,
        numbered: int,
        case: Case,
        rules: Rules,
        cause: Fact | None,
        sequence: int,
        decisions: Sequence[Decision],
    ) -> list[Row]:
        rows: list[Row] = []
        key: CaseKey = (case.tenant, case.id)
        for number, decision in enumerate(decisions, numbered + 1):
            subject, body = decision_message(decision, case, rules, cause, self.partition, number, sequence)
            rows.append(Row(number, subject, body, key, decision, sequence))
        if case.stuck:
            logs.get_logger(partition=self.partition, tenant=case.tenant).error("case_stuck", error=case.stuck)
        return rows

    def _standing_position(self) -> Position:
        assert self.position is not None
        return self.position

    def _committed(self, after: Position, step: "list[tuple[Entry, Event]]", rows: Sequence[Row]) -> None:
        """Tells whoever waits for it, and leaves a line for each event; a backlog leaves one for each batch."""
        self.position = after
        self._on_commit()
        self._meter.events.inc(len(step))
        decided = TallyCounter(row.cause_sequence for row in rows)
        for row in rows:
            self._meter.decisions.labels(row.decision.kind).inc()
        if len(step) > BATCH_LINES:
            logs.canonical(
                "folded_batch",
                partition=self.partition,
                sequence=after.sequence,
                events=len(step),
                decisions=len(rows),
            )
            return
        for entry, event in step:
            logs.canonical(
                "folded",
                partition=self.partition,
                sequence=entry.sequence,
                type=event.type,
                tenant=event.tenant or None,
                case=event.case_id or None,
                source=event.source,
                id=event.id,
                decisions=decided[entry.sequence],
            )


def _steps(entries: Sequence[Entry]) -> "list[list[tuple[Entry, Event]]]":
    """Entries in runs that one transaction can take: facts together, ticks and enacting events alone."""
    steps: list[list[tuple[Entry, Event]]] = []
    together = False
    for entry in entries:
        event = decode_event(entry.data)
        alone = event.type == "clock.advanced" or event.case_id == ALL
        if together and not alone:
            steps[-1].append((entry, event))
        else:
            steps.append([(entry, event)])
        together = not alone
    return steps


async def _lost(lease: Lease) -> None:
    await lease.lost.wait()


async def last_tick(nc: Client, partition: int) -> int:
    """The sequence of the last tick in the log of a partition, 0 where there is none."""
    found = await broker.last_message(nc, "CASES", clock_subject(partition))
    return found[0] if found else 0
