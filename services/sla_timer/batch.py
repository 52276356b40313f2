"""A batch: what one transaction of a partition changes, worked out in memory before it is written.

The one rule: it is worked out from the cases as they stood at the position before, entry by entry in the order of the
log, and numbers its decisions on from there.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from services.chassis import logs
from services.chassis.cursor import Entry
from services.rules.facts import Event, Fact, decode_event
from services.rules.instants import Instant, of_datetime
from services.rules.routing import ALL
from services.rules.state import Case, Decision, Rules
from services.rules.stating import fact_of
from services.rules.warm import Warm
from services.sla_timer.messages import decision_message
from services.sla_timer.store import CaseKey, Position, Row

TICK = "clock.advanced"

Folded = tuple[Case, list[Decision], Rules]
Read = tuple[Entry, Event]
"""What lies in the log, and the event that it says."""


def parted(entries: Iterable[Entry]) -> Iterator[tuple[list[Read], Read | None]]:
    """Runs of facts and ticks, which are folded together; with each the event behind it that is about every case of a
    tenant and is folded by itself, None behind the last."""
    run: list[Read] = []
    for entry in entries:
        event = decode_event(entry.data)
        if event.case_id != ALL or event.type == TICK:
            run.append((entry, event))
        else:
            yield run, (entry, event)
            run = []
    yield run, None


class Batch:
    """Begins at the position `before`. `cases` are all that it touches, `rows` its decisions, `clock` the partition's.

    `next_at` is the earliest instant that a case of the partition waits for at the beginning.
    """

    def __init__(self, before: Position, warm: Warm, next_at: Instant | None) -> None:
        self.before = before
        self.clock = before.clock
        self.cases: dict[CaseKey, Case] = {}
        self.rows: list[Row] = []
        self._warm = warm
        self._next_at = next_at
        self._waited: list[tuple[CaseKey, Instant]] = []
        self._waiting: list[tuple[Instant, CaseKey]] = []
        """A heap: what each case that is here waits for, and what it has waited for before."""
        self._last: Read | None = None
        self._last_tick: Entry | None = None
        self._ticks = 0

    @property
    def after(self) -> Position:
        """Where the partition stands once the batch is written."""
        after = self.before._replace(clock=self.clock, decisions=self.before.decisions + len(self.rows))
        if self._last is not None:
            after = after._replace(sequence=self._last[0].sequence, event_id=self._last[1].id)
        if self._last_tick is not None:
            after = after._replace(tick_sequence=self._last_tick.sequence, ticks=after.ticks + self._ticks)
        return after

    def known(self, key: CaseKey) -> Case | None:
        """A case as far as it is folded, where it need not be read."""
        return self.cases.get(key) or self._warm.case(key)

    def bring(self, cases: Iterable[Case]) -> None:
        """Adds cases as they stand in the database; those that are here already are further on."""
        for case in cases:
            key = (case.tenant, case.id)
            if key not in self.cases:
                self.cases[key] = case
                if case.next_at is not None:
                    self._waited.append((key, case.next_at))
                self._wait(key, case)

    def fold(self, entry: Entry, event: Event) -> None:
        """Folds a fact, and moves behind it."""
        self.state(event.tenant, event.case_id, fact_of(event, entry.sequence))
        self.move(entry, event)

    def state(self, tenant: str, id: str, fact: Fact) -> None:
        """Folds a fact into a case, which may be new."""
        case = self.cases.get((tenant, id)) or Case(tenant, id)
        self._take(self._warm.fold(case, fact, self.clock), fact, fact.sequence)

    def pass_to(self, clock: Instant, cases: Sequence[Case], sequence: int) -> None:
        """Lets time pass in cases, in the order in which a tick takes them. The clock moves with `move_clock`."""
        self.bring(cases)
        for case in cases:
            self._take(self._warm.fold(case, None, clock), None, sequence)

    def replan(self, cases: Sequence[Case], cause: Fact) -> None:
        """Works cases out anew for what was enacted."""
        self.bring(cases)
        for case in cases:
            self._take(self._warm.refold(case, cause, self.clock), cause, cause.sequence)

    def move(self, entry: Entry, event: Event) -> None:
        """Moves the position behind an entry."""
        self._last = (entry, event)

    def move_clock(self, entry: Entry, event: Event, clock: Instant) -> None:
        """Moves the position behind a tick, and the clock to where it says."""
        self._last, self._last_tick, self.clock = (entry, event), entry, clock
        self._ticks += 1

    def due(self, clock: Instant, others: Sequence[Case]) -> list[Case]:
        """Which cases a tick reaches, in its order, when `others` are those that the database would say."""
        here: dict[CaseKey, Case] = {}
        while self._waiting and self._waiting[0][0] < clock:
            at, key = heapq.heappop(self._waiting)
            if self.cases[key].next_at == at:
                here[key] = self.cases[key]
        for key, case in here.items():
            self._wait(key, case)
        there = [case for case in others if (case.tenant, case.id) not in self.cases]
        return sorted([*here.values(), *there], key=attrgetter("next_at", "tenant", "id"))

    def earliest(self) -> Instant | None:
        """An instant before which no case of the partition waits for anything: the earliest, or one before it."""
        while self._waiting and self.cases[self._waiting[0][1]].next_at != self._waiting[0][0]:
            heapq.heappop(self._waiting)
        here = self._waiting[0][0] if self._waiting else None
        return min((at for at in (self._next_at, here) if at is not None), default=None)

    def has_moved_the_earliest(self) -> bool:
        """Whether a case that waited for the earliest instant waits for it no more, so that it is another case's."""
        return any(at == self._next_at and self.cases[key].next_at != at for key, at in self._waited)

    def _wait(self, key: CaseKey, case: Case) -> None:
        if case.next_at is not None:
            heapq.heappush(self._waiting, (case.next_at, key))

    def _take(self, folded: Folded, cause: Fact | None, sequence: int) -> None:
        case, decisions, rules = folded
        key = (case.tenant, case.id)
        self.cases[key] = case
        self._wait(key, case)
        lane, number = self.before.partition, self.before.decisions + len(self.rows)
        for one in decisions:
            number += 1
            subject, body = decision_message(one, case, rules, cause, lane, number, sequence)
            about = (case.tenant, case.id, one.kind)
            named = (one.promise or None, one.occurrence or None)
            self.rows.append(Row(lane, number, subject, body, *about, *named, one.due, one.at, sequence))
        if case.stuck:
            logs.get_logger(partition=self.before.partition, tenant=case.tenant).error("case_stuck", error=case.stuck)


class Ahead:
    """What the database says that the ticks of a run reach: the cases that wait for an instant before `looked`.

    No fact of the run is about them, or they are in its batch, so that nothing but a tick can change them meanwhile.
    """

    def __init__(self, run: Sequence[Read]) -> None:
        self.last = max((_to(event) for _, event in run if event.type == TICK), default=0)
        """Where the clock stands after the last tick."""
        self.looked: Instant = -1
        self.wide = False
        self.cases: list[Case] = []

    def before(self, clock: Instant) -> list[Case]:
        """Those that wait for an instant before `clock`."""
        return [case for case in self.cases if case.next_at is not None and case.next_at < clock]


def clock_of(tick: Event, batch: Batch) -> Instant:
    """Where the clock stands after a tick."""
    return max(batch.clock, _to(tick))


def _to(tick: Event) -> Instant:
    assert tick.data.to is not None
    return of_datetime(tick.data.to)
