"""Warm cases decide what the plain fold decides: over random histories in any order of arrival, with ticks between, and
while charters and calendars change."""

from collections.abc import Callable, Sequence
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import LIBRARY, SEOUL
from test_fold_properties import END, START, TENANTS, histories
from test_governing_properties import CASE, DELAYS, FIRST, TENANT, TICKS, enacting, enactments, log
from test_governing_properties import LIBRARY as VERSIONED

from contracts.streams import partition
from services.rules import warm as warming
from services.rules.choosing import rules_of
from services.rules.facts import Data, Event, Fact
from services.rules.fold import fold
from services.rules.instants import DAY, HOUR, local
from services.rules.routing import ALL
from services.rules.rulebook import Rulebook
from services.rules.state import Case, Decided, Decision, Rules
from services.rules.stating import fact_of
from services.rules.warm import Warm
from services.rules.world import Partition, reaches
from services.sla_timer import store

OFTEN = settings(max_examples=400)


@st.composite
def closings(draw: st.DrawFn) -> list[Event]:
    """The charter, then dates to come that are closed, or opened, by decision, one after the other."""
    found = [enacting("charter.enacted", "v1", START - DAY, Data(sha256=FIRST, applies="new_cases"))]
    for number in range(draw(st.integers(1, 5))):
        at, ahead = draw(st.integers(0, 30 * 24)) * HOUR, draw(st.integers(1, 12)) * DAY
        day = local(START + at + ahead, SEOUL).date()
        data = Data(date=day.isoformat(), closed=draw(st.booleans()))
        found.append(enacting("calendar.exception", f"off-{number}", START + at + 1, data))
    return sorted(found, key=lambda one: one.recorded)


def steps(facts: Sequence[Fact], hours: Sequence[int]) -> list[tuple[Fact | None, int]]:
    """Each fact as it arrives, and a tick before some, with the clock at each."""
    clock, found = 0, list[tuple[Fact | None, int]]()
    for number, fact in enumerate(facts):
        if number < len(hours):
            clock = max(clock, START + hours[number] * HOUR)
            found.append((None, clock))
        found.append((Fact(number + 1, fact.source, fact.id, fact.type, fact.time, fact.data), clock))
    return [*found, (None, END)]


@OFTEN
@given(TENANTS, histories(), st.booleans(), st.lists(st.integers(0, 40 * 24), max_size=8), st.data())
def test_a_warm_case_decides_what_the_plain_fold_decides(
    tenant: str, facts: list[Fact], in_order: bool, hours: list[int], data: st.DataObject
) -> None:
    arrivals = sorted(facts, key=lambda fact: fact.time) if in_order else data.draw(st.permutations(facts))
    rulebook = Rulebook(LIBRARY)
    warm, plain, kept = Warm(rulebook), Case(tenant, "c1"), Case(tenant, "c1")
    read_on = 0
    for fact, clock in steps([*arrivals, arrivals[0]], hours):
        if fact is None and not plain.facts:
            continue
        read_on += warm.case((tenant, "c1")) is kept
        rules = rules_of(rulebook, plain, fact)
        plain, wanted = fold(plain, fact, clock, rules)
        kept, decided, by = warm.fold(kept, fact, clock)
        assert (decided, kept, by) == (wanted, plain, rules)
    note("read on" if read_on else "never warm")


@OFTEN
@given(enactments(), histories(), DELAYS, TICKS)
def test_a_warm_partition_decides_what_a_cold_one_decides(
    enacted: list[Event], facts: list[Fact], late: list[int], ticks: list[int]
) -> None:
    warm, cold = (Partition(Rulebook(VERSIONED), partition(TENANT, CASE)) for _ in range(2))

    def both(warm_step: list[Decided], cold_step: list[Decided]) -> None:
        assert warm_step == cold_step
        assert warm.cases == cold.cases
        for key, case in warm.cases.items():
            assert warm.warm.case(key) in (None, case)  # what is kept is what was returned last
        cold.warm.forget()

    for sequence, event in enumerate(log(enacted, facts, late[: len(facts)]), 1):
        if sequence in ticks:
            both(warm.tick(event.recorded), cold.tick(event.recorded))
        both(warm.take(event, sequence), cold.take(event, sequence))
    both(warm.tick(END + 60 * DAY), cold.tick(END + 60 * DAY))


def laid_down(warm: Warm, case: Case, marked: set[int]) -> Case:
    """A case as a database gives it back to another process, which has recalled it where it has a bookmark."""
    bookmark = warm.bookmark(case)
    warm.forget()
    again = msgspec.json.decode(msgspec.json.encode(case), type=Case)
    warm.recall(again, bookmark)
    if warm.case((case.tenant, case.id)) is again:
        marked.add(len(case.facts))
    return again


@OFTEN
@given(TENANTS, histories(), st.booleans(), st.lists(st.integers(0, 40 * 24), max_size=8), st.data())
def test_a_case_recalled_by_its_bookmark_decides_what_the_plain_fold_decides(
    tenant: str, facts: list[Fact], in_order: bool, hours: list[int], data: st.DataObject
) -> None:
    arrivals = sorted(facts, key=lambda fact: fact.time) if in_order else data.draw(st.permutations(facts))
    rulebook, marked = Rulebook(LIBRARY), set[int]()
    warm, plain, kept = Warm(rulebook), Case(tenant, "c1"), Case(tenant, "c1")
    for fact, clock in steps([*arrivals, arrivals[0]], hours):
        if fact is None and not plain.facts:
            continue
        rules = rules_of(rulebook, plain, fact)
        plain, wanted = fold(plain, fact, clock, rules)
        kept, decided, by = warm.fold(laid_down(warm, kept, marked), fact, clock)
        assert (decided, kept, by) == (wanted, plain, rules)
    note(f"recalled {min(len(marked), 3)} times or more")


class Recalling:
    """A partition of one case, which is recalled by its bookmark before each step, if that still fits."""

    def __init__(self, rulebook: Rulebook) -> None:
        self.warm = Warm(rulebook)
        self.case = Case(TENANT, CASE)
        self.clock = 0
        self.recalled = 0
        self.shifted = 0
        self._bookmark: bytes | None = None

    def take(self, event: Event, sequence: int) -> list[Decision]:
        if not self.warm.rulebook.enact(event, sequence):
            fact = fact_of(event, sequence)
            return [] if event.case_id == ALL else self._step(lambda: self.warm.fold(self.case, fact, self.clock))
        if not self.case.facts or not reaches(event, self.case):
            return []
        return self._step(lambda: self.warm.refold(self.case, fact_of(event, sequence), self.clock), event.type)

    def tick(self, to: int) -> list[Decision]:
        self.clock, decided = max(self.clock, to), list[Decision]()
        while self.case.next_at is not None and self.case.next_at < self.clock:
            decided += self._step(lambda: self.warm.fold(self.case, None, self.clock))
        return decided

    def _step(self, step: Callable[[], tuple[Case, list[Decision], Rules]], cause: str = "") -> list[Decision]:
        self.warm.forget()
        self.case = msgspec.json.decode(msgspec.json.encode(self.case), type=Case)
        self.warm.recall(self.case, self._bookmark)
        known = self.warm.case((TENANT, CASE)) is self.case
        self.recalled += known
        with patch.object(warming, "scan_of", side_effect=warming.scan_of) as anew:
            self.case, decided, _ = step()
        self.shifted += known and cause == "calendar.exception" and not anew.called
        self._bookmark = self.warm.bookmark(self.case)
        return decided


@OFTEN
@given(st.one_of(enactments(), closings()), histories(), DELAYS, TICKS)
def test_a_partition_that_recalls_its_case_decides_what_a_cold_one_decides(
    enacted: list[Event], facts: list[Fact], late: list[int], ticks: list[int]
) -> None:
    recalling, cold = Recalling(Rulebook(VERSIONED)), Partition(Rulebook(VERSIONED), partition(TENANT, CASE))

    def both(mine: list[Decision], theirs: list[Decided]) -> None:
        assert mine == [row.decision for row in theirs if row.case == CASE]
        assert recalling.case == cold.cases.get((TENANT, CASE), Case(TENANT, CASE))
        cold.warm.forget()

    for sequence, event in enumerate(log(enacted, facts, late[: len(facts)]), 1):
        if sequence in ticks:
            both(recalling.tick(event.recorded), cold.tick(event.recorded))
        both(recalling.take(event, sequence), cold.take(event, sequence))
    both(recalling.tick(END + 60 * DAY), cold.tick(END + 60 * DAY))
    note(f"recalled {min(recalling.recalled, 3)} times or more, shifted {min(recalling.shifted, 3)} or more")


def test_only_so_many_cases_are_warm() -> None:
    warm = Warm(Rulebook(LIBRARY), most=2)
    fact = Fact(1, "desk", "f1", "complaint.received", START)
    for name in ("c1", "c2", "c3"):
        warm.fold(Case("anseong", name), fact, 0)
    assert [warm.case(("anseong", name)) is not None for name in ("c1", "c2", "c3")] == [False, True, True]


def test_a_case_that_was_asked_for_stays_warm_longer_than_one_that_was_not() -> None:
    warm = Warm(Rulebook(LIBRARY), most=3)
    fact = Fact(1, "desk", "f1", "complaint.received", START)
    cases = [warm.fold(Case("anseong", name), fact, 0)[0] for name in ("c1", "c2", "c3")]
    warm.fold(cases[0], Fact(2, "desk", "f2", "complaint.assigned", START + HOUR), 0)
    for name in ("c4", "c5"):
        warm.fold(Case("anseong", name), fact, 0)
    are_warm = [warm.case(("anseong", f"c{number}")) is not None for number in range(1, 6)]
    assert are_warm == [True, False, False, True, True]


def test_what_passes_by_displaces_nothing_that_is_worked_on() -> None:
    """A whole city is planned anew, while a few of its cases are warm."""
    rulebook, elsewhere = Rulebook(LIBRARY), Warm(Rulebook(LIBRARY))
    warm = Warm(rulebook, most=2)
    fact = Fact(1, "desk", "f1", "complaint.received", START)
    worked_on = [warm.fold(Case("anseong", name), fact, 0)[0] for name in ("c1", "c2")]
    others = [elsewhere.fold(Case("anseong", f"o{number}"), fact, 0)[0] for number in range(40)]
    for case in others:
        warm.recall_in_passing(case, elsewhere.bookmark(case))
    off = Fact(2, "administration", "off", "calendar.exception", START, Data(date="2026-06-10", closed=True))
    assert [warm.case(("anseong", case.id)) for case in (*worked_on, *others)] == [*worked_on, *others]
    changed = [warm.refold(case, off, 0)[0] for case in (*worked_on, *others)]
    assert [warm.case(("anseong", case.id)) for case in changed] == changed
    warm.let_pass()
    assert [warm.case(("anseong", case.id)) for case in changed] == [*changed[:2], *[None] * len(others)]


@pytest.mark.skipif(warming.__file__.endswith(".so"), reason="nothing stands in the place of a compiled function")
def test_a_case_on_which_the_rules_fail_is_warm_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for it is told of the case that is stuck, not of the one before."""

    def failing(*_: object) -> None:
        raise ZeroDivisionError

    warm, fact = Warm(Rulebook(LIBRARY)), Fact(1, "desk", "f1", "complaint.received", START)
    case, _, _ = warm.fold(Case("anseong", "c1"), fact, 0)
    assert warm.case(("anseong", "c1")) is case
    monkeypatch.setattr(warming, "scan_of", failing)
    stuck, _, _ = warm.refold(case, Fact(2, "administration", "off", "calendar.exception", START), 0)
    assert (stuck.stuck, warm.case(("anseong", "c1"))) == ("ZeroDivisionError", None)


def test_a_case_from_elsewhere_is_worked_out_anew() -> None:
    rulebook = Rulebook(LIBRARY)
    warm = Warm(rulebook)
    first, second = (Fact(n, "desk", f"f{n}", "complaint.received", START + n * HOUR) for n in (1, 2))
    warm.fold(Case("anseong", "c1"), first, 0)
    stored = Case("anseong", "c1", (first,))
    changed, decisions, rules = warm.fold(stored, second, 0)
    assert (changed, decisions) == fold(stored, second, 0, rules)


def test_a_bookmark_of_other_rules_is_worth_nothing() -> None:
    """Neither one of other files, nor one laid before an event that enacts something other than a date."""
    fact = Fact(1, "desk", "f1", "complaint.received", START, Data(channel="web", kind="grievance"))
    laying = Warm(Rulebook(VERSIONED))
    case, _, _ = laying.fold(Case(TENANT, CASE), fact, 0)
    bookmark = laying.bookmark(case)
    assert bookmark is not None
    known = {}
    for name, library in (("the same", VERSIONED), ("other files", LIBRARY)):
        other = Warm(Rulebook(library))
        other.recall(case, bookmark)
        known[name] = other.case((TENANT, CASE)) is case
    enacted = Warm(Rulebook(VERSIONED))
    first = Data(sha256=FIRST, applies="new_cases")
    enacted.rulebook.enact(enacting("charter.enacted", "v1", START + DAY, first), 2)
    enacted.recall(case, bookmark)
    known["enacted meanwhile"] = enacted.case((TENANT, CASE)) is case
    assert known == {"the same": True, "other files": False, "enacted meanwhile": False}


def test_a_bookmark_beside_another_state_is_not_read() -> None:
    """A program that knows no bookmarks writes a case and leaves the old one where it was."""
    case = Case("mapo", "c1", charter="mapo@1")
    state = msgspec.json.encode(case)
    told: list[bytes | None] = []
    at_hand = store.AtHand(recall=lambda _, bookmark: told.append(bookmark))
    for beside in (state, b"of an older state"):
        row = {"tenant": "mapo", "case_id": "c1", "state": state, "bookmark": store.checked(beside, b"laid")}
        assert store.cases_of([row], at_hand) == [case]
    assert store.cases_of([{**row, "bookmark": None}], at_hand) == [case]
    assert told == [b"laid", None, None]
