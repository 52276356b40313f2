"""A world in memory: the fold of whole partitions without a database, for simulation, backtests and replay.

The one rule: the same fold in the same order as the live service, so that what comes out here must come out there.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from contracts.streams import PARTITIONS, partition
from services.rules.facts import Event, Fact, fact_of
from services.rules.instants import NEVER, Instant, of_datetime
from services.rules.routing import ALL, route
from services.rules.rulebook import Rulebook
from services.rules.state import Case, Decision
from services.rules.warm import Warm

CaseKey = tuple[str, str]


class Decided(NamedTuple):
    """A decision with the case it is about."""

    tenant: str
    case: str
    decision: Decision


class Partition:
    """One partition: its cases, its clock and its rulebook.

    Every method returns the decisions that follow, in the order in which the live service numbers them.
    """

    def __init__(self, rulebook: Rulebook, number: int) -> None:
        self.warm = Warm(rulebook)
        self.number = number
        self.clock: Instant = 0
        self.cases: dict[CaseKey, Case] = {}
        self._heap: list[tuple[Instant, CaseKey]] = []

    @property
    def rulebook(self) -> Rulebook:
        """What the log has enacted so far."""
        return self.warm.rulebook

    def take(self, event: Event, sequence: int) -> list[Decided]:
        """Folds one entry of this partition; a tick lets time pass. Raises NotEnacted."""
        if event.type == "clock.advanced":
            assert event.data.to is not None
            return self.tick(of_datetime(event.data.to))
        if self.rulebook.enact(event, sequence):
            opened: list[Decided] = []
            if reaches_home(event) and partition(event.tenant, event.tenant) == self.number:
                opened = self.open_home(event.tenant, fact_of(event, sequence))
            return opened + (self._replan(event, sequence) if replans(event) else [])
        if event.case_id == ALL:
            return []
        key = (event.tenant, event.case_id)
        case = self.cases.get(key) or Case(*key)
        fact = fact_of(event, sequence)
        changed, decisions, _ = self.warm.fold(case, fact, self.clock)
        self._keep(key, changed)
        return [Decided(*key, decision) for decision in decisions]

    def open_home(self, tenant: str, fact: Fact) -> list[Decided]:
        """The tenant's own case, in which its duties run whether or not it ever reports on them."""
        key = (tenant, tenant)
        case = self.cases.get(key) or Case(*key)
        changed, decisions, _ = self.warm.fold(case, fact, self.clock)
        self._keep(key, changed)
        return [Decided(*key, decision) for decision in decisions]

    def tick(self, to: Instant) -> list[Decided]:
        """Lets time pass to `to`: every instant before it happens, the cases in order of their earliest one."""
        self.clock = max(self.clock, to)
        decided: list[Decided] = []
        while self._heap and self._heap[0][0] < self.clock:
            at, key = heapq.heappop(self._heap)
            case = self.cases[key]
            if case.next_at != at:
                continue  # moved since it was queued
            changed, decisions, _ = self.warm.fold(case, None, self.clock)
            self._keep(key, changed)
            decided += [Decided(*key, decision) for decision in decisions]
        return decided

    def next_at(self) -> Instant | None:
        """The earliest instant at which time alone changes something, or None."""
        while self._heap and self.cases[self._heap[0][1]].next_at != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _replan(self, event: Event, sequence: int) -> list[Decided]:
        cause = fact_of(event, sequence)
        decided: list[Decided] = []
        for key in sorted(key for key in self.cases if key[0] == event.tenant):
            case = self.cases[key]
            if case.closed and case.next_at is None:
                continue  # over: a holiday changes no verdict given
            changed, decisions, _ = self.warm.refold(case, cause, self.clock)
            self._keep(key, changed)
            decided += [Decided(*key, decision) for decision in decisions]
        return decided

    def _keep(self, key: CaseKey, case: Case) -> None:
        before = self.cases.get(key)
        self.cases[key] = case
        if case.next_at is not None and (before is None or before.next_at != case.next_at):
            heapq.heappush(self._heap, (case.next_at, key))


def replans(event: Event) -> bool:
    """Whether an event that enacts something may change what holds for cases already open."""
    return event.type != "rules.enacted"


def reaches_home(event: Event) -> bool:
    """Whether an event that enacts something is a fact of the tenant's own case as well: a charter, or its end."""
    return event.type in ("charter.enacted", "fact.voided")


class World:
    """All partitions, or some of them, fed with events in the order of a log or of a file.

    An event or a tick is one step; its decisions come by due instant, tenant, case, promise and kind.
    """

    def __init__(self, rulebooks: list[Rulebook], own: Sequence[int] = range(PARTITIONS)) -> None:
        if len(rulebooks) != PARTITIONS:
            raise ValueError(f"a world has {PARTITIONS} partitions, each with a rulebook of its own")
        self.own = own
        self._partitions = [Partition(rulebook, number) for number, rulebook in enumerate(rulebooks)]
        self._next = [NEVER] * PARTITIONS
        self._stands_at: Instant = 0

    @property
    def partitions(self) -> list[Partition]:
        """All partitions, with their clocks where the world stands."""
        return [self._reached(number) for number in range(PARTITIONS)]

    def feed(self, event: Event, sequence: int) -> list[Decided]:
        """Folds one event wherever it goes; a tick without a partition moves all of them."""
        if event.type == "clock.advanced":
            assert event.data.to is not None
            return self.tick(of_datetime(event.data.to), event.partition)
        data = {"officer": event.data.officer}
        decided: list[Decided] = []
        for number, case in route(event.type, event.tenant, event.case_id, data, event.routes):
            if number not in self.own:
                continue
            copy = event if event.case == case else msgspec.structs.replace(event, case=case)
            decided += self._reached(number).take(copy, sequence)
            self._look_ahead(number)
        return in_order(decided)

    def open_home(self, tenant: str, fact: Fact) -> list[Decided]:
        """Opens the tenant's own case, for a log in which nothing enacts its charter."""
        number = partition(tenant, tenant)
        if number not in self.own:
            return []
        decided = self._reached(number).open_home(tenant, fact)
        self._look_ahead(number)
        return in_order(decided)

    def tick(self, to: Instant, number: int | None = None) -> list[Decided]:
        """Lets time pass in one partition, or in all."""
        decided: list[Decided] = []
        for each in self.own if number is None else [number]:
            decided += self._reached(each).tick(to)
            self._look_ahead(each)
        return in_order(decided)

    def pass_before(self, limit: Instant) -> Iterator[tuple[Instant, list[Decided]]]:
        """Lets every instant before `limit` happen, one after the other, each as a step of its own."""
        while (at := min(self._next)) < limit:
            # The clock passes an instant when it stands behind it; what is done exactly then was on time.
            self.stand_at(at + 1)
            passing = [number for number, instant in enumerate(self._next) if instant == at]
            yield at, in_order(row for number in passing for row in self.tick(at + 1, number))

    def stand_at(self, moment: Instant) -> None:
        """Sets every clock to an instant before which nothing is left to happen."""
        self._stands_at = max(self._stands_at, moment)

    def _reached(self, number: int) -> Partition:
        """A partition, with its clock where the world stands: nothing was left to happen in it before that."""
        found = self._partitions[number]
        found.clock = max(found.clock, self._stands_at)
        return found

    def _look_ahead(self, number: int) -> None:
        at = self._partitions[number].next_at()
        self._next[number] = NEVER if at is None else at


def in_order(decided: Iterable[Decided]) -> list[Decided]:
    """The decisions of one step, as they are written."""
    return sorted(decided, key=step_order)


def step_order(row: Decided) -> tuple[Instant, str, str, str, int, str]:
    """Where a decision stands among those of its step."""
    due, promise, rank, occurrence = row.decision.order
    return (due, row.tenant, row.case, promise, rank, occurrence)
