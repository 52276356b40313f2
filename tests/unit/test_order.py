"""Order, repetition and interruption: a log ends the same however it is cut, stopped, repeated, or its facts shuffled,
also while charters and calendars change under open cases.
"""

from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import at, passed
from test_fold_properties import START, histories, standing_of, told
from test_governing import (
    MIXED_1,
    MIXED_2,
    QUICKER,
    calendar,
    charter,
    done,
    enacted,
    holiday,
    petition,
    planned,
    promise,
    world,
)
from test_governing import told as progress

from contracts import files
from services.rules.charter_files import parse_charter
from services.rules.facts import Event, Fact
from services.rules.instants import DAY, HOUR
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case, Decided, Rules, Stage
from services.rules.world import Partition, World

SHORT = settings(max_examples=100)
LATER = charter("3", "2026-11-16", promise("answer", 12), promise("word", 2, until="complaint.progress_notified"))
LONGER = calendar("2", "2027-12-31", '2026-11-20: {ko: 휴일, en: "A day"}')
FILES = {"charter_2": MIXED_2, "charter_3": LATER, "charter_4": QUICKER, "calendar_2": LONGER}


def new_world() -> World:
    return world(MIXED_1, **FILES)


DAYS = st.integers(2, 27).map(lambda day: f"11-{day:02}")
TIMES = st.tuples(DAYS, st.sampled_from(["08:00", "10:30", "15:00"])).map(" ".join)
APPLIES = st.sampled_from(["new_cases", "open_from_today", "retroactive"])
EVENTS = st.one_of(
    st.builds(petition, TIMES, st.sampled_from(["c1", "c2", "c3"])),
    st.builds(done, TIMES, st.sampled_from(["c1", "c2", "c3"])),
    st.builds(progress, TIMES, st.sampled_from(["c1", "c2", "c3"])),
    st.builds(enacted, TIMES, st.just(MIXED_2), st.just("2"), APPLIES),
    st.builds(enacted, TIMES, st.just(LATER), st.just("3"), APPLIES),
    st.builds(planned, TIMES, st.just(LONGER), st.just("2")),
    st.builds(holiday, TIMES, DAYS.map(lambda day: f"2026-{day}"), st.booleans()),
)
LOGS = st.lists(EVENTS, min_size=3, max_size=14, unique_by=lambda event: event.id).map(
    lambda events: sorted(events, key=lambda event: event.time)
)


def fed(of: World, events: Sequence[Event], first: int = 1) -> list[Decided]:
    """Every event with the time that passes before it."""
    decided: list[Decided] = []
    for sequence, event in enumerate(events, first):
        decided += passed(of, event.recorded)
        of.stand_at(event.recorded)
        decided += of.feed(event, sequence)
    return decided


def ended(of: World) -> list[Decided]:
    return passed(of, at("12-31 00:00"))


@SHORT
@given(LOGS, st.integers(0, 14))
def test_what_a_part_of_the_log_decided_the_whole_decides_first(events: list[Event], cut: int) -> None:
    part, whole = fed(new_world(), events[:cut]), fed(new_world(), events)
    assert whole[: len(part)] == part


@SHORT
@given(LOGS, st.sets(st.integers(0, 14), max_size=4))
def test_a_process_that_begins_again_goes_on_as_if_it_had_not_stopped(events: list[Event], stops: set[int]) -> None:
    """At each stop all that is kept is the cases as bytes, the clocks, and the enacting events with their places."""
    straight = new_world()
    expected = [*fed(straight, events), *ended(straight)]
    of, found = new_world(), list[Decided]()
    kept = [(enacted("01-01 00:00", MIXED_1, "1", "new_cases"), -2), (planned("01-01 00:00"), -1)]
    for number, event in enumerate(events, 1):
        if number in stops:
            of = _restarted(of, kept)
        found += fed(of, [event], number)
        if event.case_id == "_all":
            kept.append((event, number))
    assert [*found, *ended(of)] == expected


def _restarted(of: World, kept: Sequence[tuple[Event, int]]) -> World:
    fresh = World([Rulebook(partition.rulebook.library) for partition in of.partitions])
    for before, partition in zip(of.partitions, fresh.partitions, strict=True):
        for event, sequence in kept:
            partition.rulebook.enact(event, sequence)
        partition.clock = before.clock
        for key, case in before.cases.items():
            _put(partition, msgspec.json.decode(msgspec.json.encode(case), type=Case), key)
    return fresh


def _put(partition: Partition, case: Case, key: tuple[str, str]) -> None:
    partition.keep(key, case, None)


@SHORT
@given(LOGS, st.data())
def test_a_log_that_repeats_itself_decides_nothing_more(events: list[Event], data: st.DataObject) -> None:
    again = [event for event in events if data.draw(st.booleans())]
    once, twice = new_world(), new_world()
    assert fed(twice, events) == fed(once, events)
    for sequence, event in enumerate(again, len(events) + 1):
        assert twice.feed(event, sequence) == []
    assert ended(twice) == ended(once)


@SHORT
@given(LOGS, st.permutations(range(3)))
def test_cases_do_not_see_each_other(events: list[Event], order: list[int]) -> None:
    """What is decided about a case is the same whether the others are there or not."""
    whole = new_world()
    decided = [*fed(whole, events), *ended(whole)]
    chosen = f"c{order[0] + 1}"
    alone = new_world()
    own = [(number, event) for number, event in enumerate(events, 1) if event.case_id in (chosen, "_all")]
    found = [row for number, event in own for row in fed(alone, [event], number)]
    assert [*found, *ended(alone)] == [row for row in decided if row.case == chosen]


# A second version of a whole charter: every span of the first doubled or halved by hand of the file's own text.
SHIPPED = files.read()
LAWS = {"kr": SHIPPED["law/kr.yaml"]}
BOOK = Rulebook(Library(SHIPPED))


def with_stage(tenant: str, days: int, retroactive: bool, waits: bool) -> Rules:
    first = BOOK.rules_for(tenant, START)
    text = SHIPPED[f"charters/{tenant}-1.yaml"].decode()
    text = text.replace('version: "1"', 'version: "2"').replace("amount: 3, unit: stat", "amount: 2, unit: stat")
    text = text.replace("amount: 7, unit", "amount: 8, unit").replace("amount: 1, unit", "amount: 4, unit")
    second = first._replace(charter=parse_charter(text.encode(), LAWS))
    return first._replace(stages=(Stage(second, START + days * DAY, waits, retroactive),))


@SHORT
@given(
    st.sampled_from(["anseong", "seoul", "mapo", "yeonje", "miryang"]),
    histories(),
    st.data(),
    st.integers(0, 30),
    st.booleans(),
    st.booleans(),
)
def test_facts_in_any_order_end_the_same_under_two_versions(
    tenant: str, facts: list[Fact], data: st.DataObject, days: int, retroactive: bool, waits: bool
) -> None:
    rules = with_stage(tenant, days, retroactive, waits)
    shuffled = data.draw(st.permutations(facts))
    clocks = data.draw(st.lists(st.integers(0, 40 * 24).map(lambda hours: START + hours * HOUR), max_size=6))
    first, _, _ = told(tenant, facts, rules=rules)
    second, _, _ = told(tenant, shuffled, clocks, rules=rules)
    assert standing_of(first) == standing_of(second)
    assert first.charter == second.charter
