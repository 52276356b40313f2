"""A world in memory: the fold of whole partitions without a database, for simulation, backtests and replay.

The one rule: the same fold in the same order as the live service, so that what comes out here must come out there.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from contracts.streams import PARTITIONS, partition
from services.rules.facts import Event, Fact
from services.rules.fold import MENDING, order
from services.rules.instants import NEVER, Instant, of_datetime
from services.rules.routing import ALL, route
from services.rules.rulebook import MOVING, Rulebook
from services.rules.state import Case, Decided, Decision
from services.rules.stating import fact_of
from services.rules.warm import Warm

CaseKey = tuple[str, str]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Case).decode


class Partition:
    """One partition: its cases, its clock and its rulebook.

    Every method returns the decisions that follow, in the order in which the live service numbers them.
    """

    def __init__(self, rulebook: Rulebook, number: int) -> None:
        self.warm = Warm(rulebook)
        self.number = number
        self.clock: Instant = 0
        self.cases: dict[CaseKey, Case] = {}
        # Cases for which time brings nothing more, as texts: those that are over, and those that are not.
        self._over: dict[CaseKey, bytes] = {}
        self._resting: dict[CaseKey, bytes] = {}
        self._heap: list[tuple[Instant, CaseKey]] = []
        # What `next_at` says, worked out anew only after the case that waits for it has moved.
        self._soonest: Instant | None = None
        self._is_known = True

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
            return opened + self._replan(event, sequence)
        if event.case_id == ALL:
            return []
        return self.state((event.tenant, event.case_id), fact_of(event, sequence))

    def open_home(self, tenant: str, fact: Fact) -> list[Decided]:
        """The tenant's own case, in which its duties run whether or not it ever reports on them."""
        return self.state((tenant, tenant), fact)

    def state(self, key: CaseKey, fact: Fact) -> list[Decided]:
        """Folds a fact of a case of this partition."""
        before = self.case(key)
        case = Case(key[0], key[1]) if before is None else before
        changed, decisions, _ = self.warm.fold(case, fact, self.clock)
        self.keep(key, changed, before)
        return _about(key, decisions)

    def tick(self, to: Instant) -> list[Decided]:
        """Lets time pass to `to`: every instant before it happens, the cases in order of their earliest one."""
        self.clock = max(self.clock, to)
        decided: list[Decided] = []
        while self._heap and self._heap[0][0] < self.clock:
            at, key = heapq.heappop(self._heap)
            self._is_known = False
            case = self.cases.get(key)
            if case is None or case.next_at != at:
                continue  # moved since it was queued
            changed, decisions, _ = self.warm.fold(case, None, self.clock)
            self.keep(key, changed, case)
            decided += _about(key, decisions)
        return decided

    def next_at(self) -> Instant | None:
        """The earliest instant at which time alone changes something, or None."""
        if not self._is_known:
            heap = self._heap
            while heap and not self._waits(*heap[0]):
                heapq.heappop(heap)
            self._soonest, self._is_known = heap[0][0] if heap else None, True
        return self._soonest

    def _replan(self, event: Event, sequence: int) -> list[Decided]:
        cause = fact_of(event, sequence)
        decided: list[Decided] = []
        for key in [key for key in self._resting if key[0] == event.tenant]:
            self.case(key)
        for key in sorted(key for key in self.cases if key[0] == event.tenant):
            case = self.cases[key]
            if not reaches(event, case):
                continue
            changed, decisions, _ = self.warm.refold(case, cause, self.clock)
            self.keep(key, changed, case)
            decided += _about(key, decisions)
        return decided

    def waiting_before(self, limit: Instant) -> list[CaseKey]:
        """The cases for which an instant before `limit` is the next; nobody waits for them until they are kept as if
        they had not been there before."""
        heap, found = self._heap, list[CaseKey]()
        while heap and heap[0][0] < limit:
            at, key = heapq.heappop(heap)
            if self._waits(at, key):
                found.append(key)
        self._is_known = False
        return found

    def _waits(self, at: Instant, key: CaseKey) -> bool:
        """Whether a case still waits for an instant, or has moved since it was queued."""
        case = self.cases.get(key)
        return case is not None and case.next_at == at

    def case(self, key: CaseKey) -> Case | None:
        """A case, also where it was put away."""
        found = self.cases.get(key)
        if found is None:
            away = self._over if key in self._over else self._resting
            if key in away:
                found = self.cases[key] = _decode(away.pop(key))
        return found

    def let_go(self, key: CaseKey) -> None:
        """Forgets a case, as far as it is not put away."""
        self.cases.pop(key, None)
        self.warm.let_go(key)

    def put_away(self, key: CaseKey, case: Case) -> None:
        """Takes a case as it is now, for which time brings nothing more, and which was let go. Few are asked for again:
        it is kept as a text, in a quarter of the memory."""
        away = self._over if case.closed else self._resting
        away[key] = _encode(case)

    def keep(self, key: CaseKey, case: Case, before: Case | None) -> None:
        """Takes a case as it is now, and waits for its next instant unless it did so `before`."""
        self.cases[key] = case
        at: Instant | None = case.next_at
        was: Instant | None = None if before is None else before.next_at
        if at == was:
            return
        if was == self._soonest:
            self._is_known = False  # unless another waits for the same instant
        if at is not None:
            heapq.heappush(self._heap, (at, key))
            if self._soonest is None or at < self._soonest:
                self._soonest = at


def _about(key: CaseKey, decisions: list[Decision]) -> list[Decided]:
    """Decisions with the case that they are about."""
    tenant, case = key
    return [Decided(tenant, case, decision) for decision in decisions]


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
    """All partitions, or some of them, fed with events in the order of a log or of a file.

    An event or a tick is one step; its decisions come by due instant, tenant, case, promise and kind.
    """

    def __init__(self, rulebooks: list[Rulebook], own: Sequence[int] = range(PARTITIONS)) -> None:
        if len(rulebooks) != PARTITIONS:
            raise ValueError(f"a world has {PARTITIONS} partitions, each with a rulebook of its own")
        self.own = own
        self._partitions = [Partition(rulebook, number) for number, rulebook in enumerate(rulebooks)]
        self._next = [NEVER] * PARTITIONS
        self._earliest = NEVER
        self._looked_ahead = False
        self._stands_at: Instant = 0

    @property
    def partitions(self) -> list[Partition]:
        """All partitions, with their clocks where the world stands; who asks may put cases into them."""
        self._looked_ahead = False
        return [self._reached(number) for number in range(PARTITIONS)]

    def feed(self, event: Event, sequence: int) -> list[Decided]:
        """Folds one event wherever it goes; a tick without a partition moves all of them."""
        if event.type == "clock.advanced":
            assert event.data.to is not None
            return self.tick(of_datetime(event.data.to), event.partition)
        of_event = event.case or event.subject.lower()
        routes = route(event.type, event.tenant, of_event, {"officer": event.data.officer}, event.routes)
        if len(routes) == 1 and routes[0][1] == of_event != ALL and event.type not in MOVING:
            number = routes[0][0]
            if number not in self.own:
                return []
            # As below; what is decided about one case comes in order.
            decided = self._reached(number).state((event.tenant, of_event), fact_of(event, sequence))
            self._look_ahead(number)
            return decided
        decided = []
        for number, case in routes:
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

    def pass_before(self, limit: Instant) -> Iterable[tuple[Instant, list[Decided]]]:
        """Lets every instant before `limit` happen, one after the other, each as a step of its own."""
        if not self._looked_ahead:
            for number in self.own:
                self._look_ahead(number)
            self._looked_ahead = True
        return self._pass(limit) if self._earliest < limit else ()

    def _pass(self, limit: Instant) -> Iterator[tuple[Instant, list[Decided]]]:
        while (at := self._earliest) < limit:
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
        before, at = self._next[number], self._partitions[number].next_at()
        if at is None:
            at = NEVER
        if at == before:
            return
        self._next[number] = at
        if at <= self._earliest:
            self._earliest = at
        elif before == self._earliest:
            self._earliest = min(self._next)


def in_order(decided: Iterable[Decided]) -> list[Decided]:
    """The decisions of one step, as they are written."""
    rows = list(decided)
    return rows if len(rows) < 2 else sorted(rows, key=step_order)


def step_order(row: Decided) -> tuple[Instant, str, str, str, int, str]:
    """Where a decision stands among those of its step."""
    due, promise, rank, occurrence = order(row.decision)
    return (due, row.tenant, row.case, promise, rank, occurrence)
