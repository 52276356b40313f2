"""Warm cases decide what the plain fold decides: over random histories in any order of arrival, with ticks between, and
while charters and calendars change."""

from collections.abc import Sequence

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import LIBRARY
from test_fold_properties import END, START, TENANTS, histories
from test_governing_properties import CASE, DELAYS, TENANT, TICKS, enactments, log
from test_governing_properties import LIBRARY as VERSIONED

from contracts.streams import partition
from services.rules import warm as warming
from services.rules.choosing import rules_of
from services.rules.facts import Event, Fact
from services.rules.fold import fold
from services.rules.instants import DAY, HOUR
from services.rules.rulebook import Rulebook
from services.rules.state import Case
from services.rules.warm import Warm
from services.rules.world import Decided, Partition

OFTEN = settings(max_examples=400, deadline=None, print_blob=True)


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


def test_only_so_many_cases_are_warm() -> None:
    warm = Warm(Rulebook(LIBRARY), most=2)
    fact = Fact(1, "desk", "f1", "complaint.received", START)
    for name in ("c1", "c2", "c3"):
        warm.fold(Case("anseong", name), fact, 0)
    assert [warm.case(("anseong", name)) is not None for name in ("c1", "c2", "c3")] == [False, True, True]


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
