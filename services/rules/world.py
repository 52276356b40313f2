"""A world in memory: the fold of whole partitions without a database, for simulation, backtests and replay.

The one rule: the same fold in the same order as the live service, so that what comes out here must come out there.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from contracts.streams import PARTITIONS, partition
from services.rules.admission import refusal
from services.rules.facts import Event, Fact, closes, fact_of, in_effect
from services.rules.fold import MENDING, fold, refold
from services.rules.governing import lives
from services.rules.instants import Instant, of_datetime
from services.rules.routing import ALL, route
from services.rules.rulebook import Rulebook
from services.rules.state import Case, Decision, Rules

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
        self.rulebook = rulebook
        self.number = number
        self.clock: Instant = 0
        self.cases: dict[CaseKey, Case] = {}
        self._heap: list[tuple[Instant, CaseKey]] = []

    def take(self, event: Event, sequence: int) -> list[Decided]:
        """Folds one entry of this partition; a tick lets time pass. Raises NotEnacted."""
        if event.type == "clock.advanced":
            assert event.data.to is not None
            return self.tick(of_datetime(event.data.to))
        if self.rulebook.enact(event, sequence):
            opened: list[Decided] = []
            if reaches_home(event) and partition(event.tenant, event.tenant) == self.number:
                opened = self.open_home(event.tenant, fact_of(event, sequence))
            return opened + self._replan(event, sequence)
        if event.case_id == ALL:
            return []
        key = (event.tenant, event.case_id)
        case = self.cases.get(key) or Case(*key)
        fact = fact_of(event, sequence)
        changed, decisions = fold(case, fact, self.clock, self._rules(case, fact))
        self._keep(key, changed)
        return [Decided(*key, decision) for decision in decisions]

    def open_home(self, tenant: str, fact: Fact) -> list[Decided]:
        """The tenant's own case, in which its duties run whether or not it ever reports on them."""
        key = (tenant, tenant)
        case = self.cases.get(key) or Case(*key)
        changed, decisions = fold(case, fact, self.clock, self._rules(case, fact))
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
            changed, decisions = fold(case, None, self.clock, self._rules(case, None))
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
            if not reaches(event, case):
                continue
            changed, decisions = refold(case, cause, self.clock, self._rules(case, None))
            self._keep(key, changed)
            decided += [Decided(*key, decision) for decision in decisions]
        return decided

    def _rules(self, case: Case, fact: Fact | None) -> Rules:
        return rules_of(self.rulebook, case, fact)

    def _keep(self, key: CaseKey, case: Case) -> None:
        before = self.cases.get(key)
        self.cases[key] = case
        if case.next_at is not None and (before is None or before.next_at != case.next_at):
            heapq.heappush(self._heap, (case.next_at, key))


def rules_of(rulebook: Rulebook, case: Case, fact: Fact | None) -> Rules:
    """The rules by which a case is worked out once it holds `fact` as well.

    Its charter is the one of the day of its receipt, and for all that was settled when it was closed nothing counts
    that became known later. Raises NotEnacted.
    """
    facts = (*case.facts, fact) if fact is not None else case.facts
    began, home = facts[0].sequence, case.id == case.tenant
    receipts = [known for known in in_effect(facts) if known.type == "complaint.received"]
    received = receipts[0].time if receipts else min(known.time for known in facts)
    for receipt in receipts[1:] and receipts:
        rules = rulebook.rules_for(case.tenant, receipt.time, began)
        if not refusal(rules.charter, receipt):
            received = receipt.time
            break
    rules = rulebook.rules_for(case.tenant, received, began, home=home)
    closed = [known.moment for known in facts if closes(known)]
    if closed and rulebook.changed_since(case.tenant, min(closed)):
        return rulebook.rules_for(case.tenant, received, began, lives(facts, rules), home)
    return rules


def mends(event: Event) -> bool:
    """Whether an event enacts another revision of the rules, which reaches the cases that are stuck, and no other."""
    return event.type == MENDING


def reaches(event: Event, case: Case) -> bool:
    """Whether a case is worked out anew for an event that enacts something."""
    if mends(event):
        return bool(case.stuck)
    return not case.closed or case.next_at is not None  # one that is over keeps its verdict, whatever day is closed


def reaches_home(event: Event) -> bool:
    """Whether an event that enacts something is a fact of the tenant's own case as well: a charter, or its end."""
    return event.type in ("charter.enacted", "fact.voided")


class World:
    """All partitions, fed with events in the order of a log or of a file.

    An event or a tick is one step; its decisions come by due instant, tenant, case, promise and kind.
    """

    def __init__(self, rulebooks: list[Rulebook]) -> None:
        if len(rulebooks) != PARTITIONS:
            raise ValueError(f"a world has {PARTITIONS} partitions, each with a rulebook of its own")
        self.partitions = [Partition(rulebook, number) for number, rulebook in enumerate(rulebooks)]

    def feed(self, event: Event, sequence: int) -> list[Decided]:
        """Folds one event wherever it goes; a tick without a partition moves all of them."""
        if event.type == "clock.advanced":
            assert event.data.to is not None
            return self.tick(of_datetime(event.data.to), event.partition)
        data = {"officer": event.data.officer}
        decided: list[Decided] = []
        for number, case in route(event.type, event.tenant, event.case_id, data, event.routes):
            decided += self.partitions[number].take(msgspec.structs.replace(event, case=case), sequence)
        return sorted(decided, key=_step_order)

    def open_home(self, tenant: str, fact: Fact) -> list[Decided]:
        """Opens the tenant's own case, for a log in which nothing enacts its charter."""
        return sorted(self.partitions[partition(tenant, tenant)].open_home(tenant, fact), key=_step_order)

    def tick(self, to: Instant, number: int | None = None) -> list[Decided]:
        """Lets time pass in one partition, or in all."""
        chosen = self.partitions if number is None else [self.partitions[number]]
        return sorted((row for partition in chosen for row in partition.tick(to)), key=_step_order)

    def pass_before(self, limit: Instant) -> Iterator[Decided]:
        """Lets every instant before `limit` happen, one after the other, each as a step of its own."""
        while True:
            at = min((at for partition in self.partitions if (at := partition.next_at()) is not None), default=None)
            if at is None or at >= limit:
                return
            # The clock passes an instant when it stands behind it; what is done exactly then was on time.
            yield from self.tick(at + 1)

    def stand_at(self, moment: Instant) -> None:
        """Sets every clock to an instant before which nothing is left to happen."""
        for each in self.partitions:
            each.clock = max(each.clock, moment)


def _step_order(row: Decided) -> tuple[Instant, str, str, str, int, str]:
    due, promise, rank, occurrence = row.decision.order
    return (due, row.tenant, row.case, promise, rank, occurrence)
