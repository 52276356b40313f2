"""A partition folded afresh: from its first entry on, in memory, its rows put into tables of one session alone.

The one rule: what comes out is what the live folder writes, number by number and byte by byte, however much of it is
in memory at a time. Nothing here can be seen by anybody else; whoever asks for it puts it in place.
"""

import heapq
from collections.abc import Collection, Sequence

import asyncpg

from contracts.streams import partition
from services.chassis.cursor import Entry
from services.chassis.outbox import link
from services.rules.facts import Event
from services.rules.instants import Instant
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case
from services.rules.stating import fact_of
from services.rules.warm import Warm
from services.rules.world import mends, reaches, reaches_home
from services.sla_timer import store
from services.sla_timer.batch import TICK, Batch, Read, clock_of, parted
from services.sla_timer.store import CaseKey, Position, Row

HELD_CASES = 10_000
"""So many cases are kept in memory, some 15 kB each; those that nothing came about for longest go into the table."""
PUT_AWAY = 2_000
"""So many at a time."""
SLICE_CASES = 1_000
"""So many cases are worked out anew at a time for what was enacted."""
HELD_ROWS = 5_000
"""So many decisions wait for being written."""
CHAIN_BYTES = 32

_OPEN, _STUCK = 1, 2

_TABLES = (
    "create temporary table if not exists cases (like sla_timer.cases including storage, "
    "primary key (tenant, case_id)); "
    "create temporary table if not exists decisions (like sla_timer.decisions); "
    "create temporary table if not exists enacted (like sla_timer.enacted); "
    "truncate pg_temp.cases, pg_temp.decisions, pg_temp.enacted"
)
_TAKE_BACK = (
    "delete from pg_temp.cases c using unnest($1::text[], $2::text[]) as k (tenant, case_id) "
    "where c.tenant = k.tenant and c.case_id = k.case_id returning c.tenant, c.case_id, c.state, c.bookmark"
)
_CASE_COLUMNS = ("tenant", "case_id", "partition", *store.Columns._fields, "bookmark")


class Afresh:
    """One partition. `position` says how far it is folded, and `chain` what the log must say of its decisions.

    The session of `connection` has the tables cases, decisions and enacted of its own, which hold all that is folded
    once `write` has returned.
    """

    def __init__(self, number: int, library: Library, connection: asyncpg.Connection) -> None:
        self.position = Position(number, 0, 0, None, None, 0, 0, 0, 0)
        self._connection = connection
        self._rulebook = Rulebook(library)
        self._warm = Warm(self._rulebook, HELD_CASES)
        self._held: dict[CaseKey, Case] = {}
        """In the order in which they were last touched."""
        self._away: dict[CaseKey, int] = {}
        """Those that are in the table, with what an enacting event asks of them."""
        self._waiting: list[tuple[Instant, CaseKey]] = []
        """A heap: what each case waits for, and what it once waited for."""
        self._rows: list[Row] = []
        self._enacted: list[tuple[int, int, bytes]] = []
        self._chains = bytearray()

    async def begin(self) -> None:
        """Makes the tables, empty."""
        await self._connection.execute(_TABLES)

    def chain(self, number: int) -> bytes:
        """The hash chain over the decisions up to a number, as `outbox.link` makes it."""
        return bytes(self._chains[CHAIN_BYTES * (number - 1) : CHAIN_BYTES * number])

    async def take(self, entries: Sequence[Entry]) -> None:
        """Folds entries, in the order of the log. Raises NotEnacted."""
        for run, enacting in parted(entries):
            await self._fold(run)
            if enacting is not None:
                await self._enact(*enacting)
        await self._spare()

    async def write(self) -> None:
        """Puts what is still in memory into the tables; it may be gone on from there."""
        await self._write_rows()
        await self._put_away(len(self._held))
        await self._connection.copy_records_to_table("enacted", records=self._enacted)
        self._enacted = []

    async def _fold(self, run: Sequence[Read]) -> None:
        """Facts and ticks."""
        while run:
            done = await self._fold_together(run)
            if done < len(run):
                await self._fold_wide_tick(*run[done])
            run = run[done + 1 :]

    async def _fold_together(self, run: Sequence[Read]) -> int:
        """Folds facts and ticks, up to a tick that reaches too many cases; returns how many."""
        batch, done = self._batch(), 0
        batch.bring(await self._cases({(event.tenant, event.case_id) for _, event in run if event.tenant}))
        for entry, event in run:
            if event.type == TICK:
                clock = clock_of(event, batch)
                due = self._due(clock)
                if len(due) > SLICE_CASES:
                    self._waiting += due
                    heapq.heapify(self._waiting)
                    break
                others = await self._cases({key for _, key in due} - batch.cases.keys())
                # What a case once waited for may have passed before it waits for what it does now.
                others = [case for case in others if case.next_at is not None and case.next_at < clock]
                batch.pass_to(clock, batch.due(clock, others), entry.sequence)
                batch.move_clock(entry, event, clock)
            else:
                batch.fold(entry, event)
            done += 1
        self._keep(batch)
        return done

    async def _fold_wide_tick(self, entry: Entry, event: Event) -> None:
        """A tick that reaches very many cases, slice by slice."""
        batch = self._batch()
        clock = clock_of(event, batch)
        while due := self._due(clock, SLICE_CASES):
            cases = {(case.tenant, case.id): case for case in await self._cases({key for _, key in due})}
            batch.pass_to(clock, [cases[key] for at, key in due if cases[key].next_at == at], entry.sequence)
            self._keep(batch)
            await self._spare()
            batch = self._batch()
        batch.move_clock(entry, event, clock)
        self._keep(batch)

    async def _enact(self, entry: Entry, event: Event) -> None:
        """An event about every case of a tenant; `Folder._fold_enacting` has the same steps."""
        enacts, number = self._rulebook.enact(event, entry.sequence), self.position.partition
        cause = fact_of(event, entry.sequence)
        if enacts and reaches_home(event) and partition(event.tenant, event.tenant) == number:
            batch = self._batch()
            batch.bring(await self._cases({(event.tenant, event.tenant)}))
            batch.state(event.tenant, event.tenant, cause)
            self._keep(batch)
        if enacts:
            self._enacted.append((number, entry.sequence, entry.data))
            reached = sorted(self._reached(event))
            for first in range(0, len(reached), SLICE_CASES):
                batch = self._batch()
                cases = await self._cases(reached[first : first + SLICE_CASES])
                batch.replan(sorted(cases, key=lambda case: case.id), cause)
                self._keep(batch)
                await self._spare()
        batch = self._batch()
        batch.move(entry, event)
        self._keep(batch)

    def _reached(self, event: Event) -> list[CaseKey]:
        flag, tenant = _STUCK if mends(event) else _OPEN, event.tenant
        held = [key for key, case in self._held.items() if key[0] == tenant and reaches(event, case)]
        return held + [key for key, flags in self._away.items() if key[0] == tenant and flags & flag]

    def _batch(self) -> Batch:
        return Batch(self.position, self._warm, None)

    def _keep(self, batch: Batch) -> None:
        """Takes over what a batch has made of its cases."""
        held = self._held
        for key, case in batch.cases.items():
            before = held.pop(key, None)
            held[key] = case
            if case.next_at is not None and (before is None or before.next_at != case.next_at):
                heapq.heappush(self._waiting, (case.next_at, key))
        self.position = batch.after
        self._rows += batch.rows
        chain = bytes(self._chains[-CHAIN_BYTES:])
        for row in batch.rows:
            chain = link(chain, row.body)
            self._chains += chain

    def _due(self, clock: Instant, most: int | None = None) -> list[tuple[Instant, CaseKey]]:
        """What is waited for before an instant, in the order in which a tick takes it, each once: up to `most`."""
        due: dict[tuple[Instant, CaseKey], None] = {}
        while self._waiting and self._waiting[0][0] < clock and (most is None or len(due) < most):
            due[heapq.heappop(self._waiting)] = None
        return list(due)

    async def _cases(self, keys: Collection[CaseKey]) -> list[Case]:
        """Those of the cases that there are, from memory or out of the table."""
        held, away = self._held, self._away
        found = [held[key] for key in keys if key in held]
        cold = [key for key in keys if key in away] if away else []
        if cold:
            tenants, ids = zip(*cold, strict=True)
            rows = await self._connection.fetch(_TAKE_BACK, tenants, ids)
            for case in store.cases_of(rows, store.AtHand(self._warm.case, self._warm.recall)):
                key = (case.tenant, case.id)
                held[key] = case
                del away[key]
                found.append(case)
        return found

    async def _spare(self) -> None:
        """Keeps within what may be in memory."""
        if len(self._rows) >= HELD_ROWS:
            await self._write_rows()
        if len(self._held) > HELD_CASES:
            await self._put_away(len(self._held) - HELD_CASES + PUT_AWAY)

    async def _write_rows(self) -> None:
        rows, self._rows = self._rows, []
        await self._connection.copy_records_to_table("decisions", columns=Row._fields, records=rows)

    async def _put_away(self, most: int) -> None:
        """Puts the cases that nothing has come about for longest into the table."""
        keys = [key for key, _ in zip(self._held, range(most), strict=False)]
        for first in range(0, len(keys), PUT_AWAY):
            rows = []
            for key in keys[first : first + PUT_AWAY]:
                case = self._held.pop(key)
                self._away[key] = _OPEN * (not case.closed or case.next_at is not None) | _STUCK * bool(case.stuck)
                columns, laid = store.columns(case), self._warm.bookmark(case)
                bookmark = None if laid is None else store.checked(columns.state, laid)
                rows.append((*key, self.position.partition, *columns, bookmark))
            await self._connection.copy_records_to_table("cases", columns=_CASE_COLUMNS, records=rows)
