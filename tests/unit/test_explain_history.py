"""What was known when, and what moved a date: by facts, by rules enacted meanwhile, by time alone."""

from collections.abc import Mapping

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from stories import LIBRARY, at, event, play, received, voided
from test_explain import LAW, explained, short
from test_fold_properties import END, SHORT, TENANTS, histories
from test_governing import calendar, charter, enacted, holiday, petition, planned, promise, world

from contracts.streams import partition
from services.rules.choosing import rules_of
from services.rules.explaining.answer import Answer, why
from services.rules.explaining.explain import Explanation, Moved
from services.rules.explaining.history import history
from services.rules.explaining.text import in_words
from services.rules.facts import Event, Fact
from services.rules.fold import fold
from services.rules.instants import HOUR
from services.rules.rulebook import Rulebook
from services.rules.runs import run_of
from services.rules.state import Case, Decision
from services.rules.world import World

QUICKER = charter("2", "2026-11-10", promise("answer", 5))


def answers(
    made: World, *events: Event, name: str = "answer", known: str | None = None, hindsight: bool = False
) -> tuple[Answer, ...] | None:
    """What is said of a promise in the case of a story, when it has been played to its end."""
    play(*events, world=made, until="11-30 00:00")
    place = made.partitions[partition("haneul", "c1")]
    recorded = {f"{one.source}/{one.id}": one.recorded for one in events}
    moment = None if known is None else at(known)
    return why(place.cases["haneul", "c1"], at("11-30 00:00"), place.rulebook, recorded, name, moment, hindsight)


def told(made: World, *events: Event, **more: str) -> Explanation:
    (one,) = answers(made, *events, **more) or ()
    assert isinstance(one, Explanation)
    return one


def moves(one: Explanation) -> list[str]:
    return [move(row) for row in one.moves]


def move(row: Moved) -> str:
    cause = row.cause
    return " ".join([f"{short(row.before)} > {short(row.after)}", short(cause.at), cause.type, cause.name]).strip()


# -- what moved it --------------------------------------------------------------------------------------------------


def test_day_closed_late_and_opened_again_is_named_both_times() -> None:
    """Ten working days from the 2nd end on the 16th; without the 6th on the 17th."""
    closed = holiday("11-04 09:00", "2026-11-06")
    closed = msgspec.structs.replace(closed, data=msgspec.structs.replace(closed.data, name="임시공휴일"))
    back = voided("11-05 09:00", closed, by_source="administration")
    one = told(world(), petition("11-02 10:00"), closed, back)
    assert moves(one) == [
        "11-16 10:00 > 11-17 10:00 11-04 09:00 calendar.exception 2026-11-06 임시공휴일",
        "11-17 10:00 > 11-16 10:00 11-05 09:00 fact.voided 2026-11-06 임시공휴일",
    ]
    assert (short(one.first_due), short(one.due)) == ("11-16 10:00", "11-16 10:00")
    assert "2026년 11월 4일(수) 09:00 쉬는 날 변경 (2026-11-06 임시공휴일) [administration/on-2026-11-06]" in in_words(
        one, "ko"
    )


def test_skipped_day_bears_the_name_that_the_decision_gave_it() -> None:
    closed = holiday("11-04 09:00", "2026-11-06")
    closed = msgspec.structs.replace(closed, data=msgspec.structs.replace(closed.data, name="임시공휴일"))
    one = told(world(), petition("11-02 10:00"), closed)
    assert "세지 않습니다 - 임시공휴일" in in_words(one, "ko")
    assert "not counted - closed by decision (임시공휴일)" in in_words(one, "en")


def test_calendar_of_a_new_version_moves_it_and_is_named() -> None:
    second = calendar("2", closures="2026-11-10: {ko: 개천, en: Opening}")
    one = told(world(calendar_2=second), petition("11-02 10:00"), planned("11-09 09:00", second, "2"))
    assert moves(one) == ["11-16 10:00 > 11-17 10:00 11-09 09:00 calendar.enacted haneul@2"]
    assert one.calendar == "haneul@2"


def test_provisional_date_becomes_certain_when_its_year_is_known() -> None:
    """Nothing moves; that it is certain now is told."""
    made = world(calendar_2=calendar("2", "2027-12-31"))
    play(petition("12-21 10:00"), planned("12-23 09:00", calendar("2", "2027-12-31"), "2"), world=made)
    place = made.partitions[partition("haneul", "c1")]
    (one,) = why(place.cases["haneul", "c1"], place.clock, place.rulebook, {}, "answer") or ()
    assert isinstance(one, Explanation)
    assert moves(one) == ["2027-01-04 10:00 > 2027-01-04 10:00 12-23 09:00 calendar.enacted haneul@2"]
    assert "The date became certain: Mon 2027-01-04 10:00" in in_words(one, "en")
    assert not one.provisional


def test_charter_that_reaches_open_cases_moves_it_and_is_named() -> None:
    """Five working days from the 9th end on the 16th."""
    one = told(
        world(charter_2=QUICKER), petition("11-09 10:00"), enacted("11-10 09:00", QUICKER, "2", "open_from_today")
    )
    assert moves(one) == ["11-23 10:00 > 11-16 10:00 11-10 09:00 charter.enacted haneul@2"]
    assert one.charter == "haneul@2"


def test_charter_enacted_ahead_moves_it_when_its_day_has_come() -> None:
    one = told(
        world(charter_2=QUICKER), petition("11-09 10:00"), enacted("11-09 15:00", QUICKER, "2", "open_from_today")
    )
    assert moves(one) == ["11-23 10:00 > 11-16 10:00 11-10 00:00 charter.enacted haneul@2"]


def test_stop_that_ends_at_its_limit_is_ended_by_time() -> None:
    """A visit to the site stops the clock for fourteen days at most, the 3rd to the 16th."""
    visit = event("complaint.suspended", "11-03 10:00", id="v1", ground="site_visit")
    one = explained(LAW, received(id="r1"), visit, until="11-20 10:00")
    assert moves(one) == [
        "11-11 00:00 > - 11-03 10:00 complaint.suspended",
        "- > 11-25 00:00 11-17 00:00 clock.advanced",
    ]
    assert "2026년 11월 17일(화) 00:00 정지할 수 있는 기간이 끝남" in in_words(one, "ko")
    assert "~ 2026년 11월 16일(월) 24:00, 정지할 수 있는 기간이 끝남" in in_words(one, "ko")


def test_fact_that_came_late_says_when_it_became_known() -> None:
    late = event("complaint.supplement_requested", "11-03 10:00", id="s1", recorded="11-05 10:00")
    one = explained(LAW, received(id="r1"), late)
    assert moves(one) == ["11-11 00:00 > - 11-03 10:00 complaint.supplement_requested"]
    assert "11월 3일(화) 10:00 보완 요구 [desk/s1] (11월 5일(목) 10:00에 알려짐)" in in_words(one, "ko")
    assert "when papers were asked for [desk/s1] (known Thu 2026-11-05 10:00)" in in_words(one, "en")


def test_fact_taken_back_is_named() -> None:
    more = event("complaint.extended", "11-05 10:00", ground="fact_check", amount=3, unit="days", id="e1")
    one = explained(LAW, received(), more, voided("11-06 10:00", more))
    assert moves(one) == [
        "11-11 00:00 > 11-14 00:00 11-05 10:00 complaint.extended",
        "11-14 00:00 > 11-11 00:00 11-06 10:00 fact.voided desk/e1",
    ]


def test_what_is_met_while_it_stands_still_has_a_date_again() -> None:
    stopped = event("complaint.suspended", "11-04 10:00", ground="hearing", id="h1")
    one = explained(LAW, received(), stopped, event("complaint.completed", "11-05 10:00", id="d1"))
    assert moves(one) == [
        "11-11 00:00 > - 11-04 10:00 complaint.suspended",
        "- > 11-13 00:00 11-05 10:00 complaint.completed",
    ]
    assert one.state == "met"


def _decided(case: Case, arrivals: list[tuple[int, Fact]]) -> tuple[Case, dict[tuple[str, str], list[int | None]]]:
    """The case folded as it became known, and the dates that the decisions told of each run, one after the other."""
    dates: dict[tuple[str, str], list[int | None]] = {}

    def keep(decisions: list[Decision]) -> None:
        for one in decisions:
            if one.kind.startswith("deadline.") and one.kind not in ("deadline.warned", "deadline.voided"):
                told = dates.setdefault((one.promise, one.occurrence), [])
                due = one.due if one.kind != "deadline.suspended" else None
                if not told or told[-1] != due:
                    told.append(due)

    clock, book = 0, Rulebook(LIBRARY)
    for recorded, fact in [*arrivals, (END, None)]:
        while case.next_at is not None and case.next_at < recorded:
            clock = case.next_at + 1
            case, decisions = fold(case, None, clock, rules_of(book, case, None))
            keep(decisions)
        clock = max(clock, recorded)
        if fact is not None:
            case, decisions = fold(case, fact, clock, rules_of(book, case, fact))
            keep(decisions)
    return case, dates


@SHORT
@given(TENANTS, histories(), st.data())
def test_dates_of_the_history_are_those_that_were_decided(tenant: str, facts: list[Fact], data: st.DataObject) -> None:
    """Of random cases, some of whose facts come late: every date that a decision told, in that order, and no other."""
    hours = st.sampled_from([0, 0, 1, 30, 100, 300])
    late = [min(fact.time + data.draw(hours) * HOUR, END - HOUR) for fact in facts]
    order = sorted(zip(late, facts, strict=True), key=lambda row: row[0])
    arrivals = [
        (when, Fact(n, one.source, one.id, one.type, one.time, one.data)) for n, (when, one) in enumerate(order, 1)
    ]
    case, decided = _decided(Case(tenant, "c1"), arrivals)
    recorded: Mapping[str, int] = {fact.key: when for when, fact in arrivals}
    found = history(case, END, Rulebook(LIBRARY), recorded)
    assert {key: one.first_due for key, one in found.items()} == {run_of(one): one.first_due for one in case.deadlines}
    for deadline in case.deadlines:
        one = found[run_of(deadline)]
        dates = decided[run_of(deadline)]
        assert all(row.after in dates for row in one.moves)
        if one.moves and deadline.state != "void":
            assert dates[-1] == one.moves[-1].after == deadline.due
        assert all(first.after == then.before for first, then in zip(one.moves, one.moves[1:], strict=False))


# -- what was known when --------------------------------------------------------------------------------------------

STORY = [
    petition("11-02 10:00"),
    event(
        "complaint.extended",
        "11-04 10:00",
        tenant="haneul",
        id="e1",
        amount=3,
        unit="days",
        recorded="11-09 10:00",
    ),
    holiday("11-06 09:00", "2026-11-10"),
]


def test_as_known_then_has_neither_the_late_fact_nor_the_later_holiday() -> None:
    first = told(world(), *STORY, known="11-05 10:00")
    assert (short(first.due), moves(first)) == ("11-16 10:00", [])
    second = told(world(), *STORY, known="11-07 10:00")
    assert moves(second) == ["11-16 10:00 > 11-17 10:00 11-06 09:00 calendar.exception 2026-11-10"]
    assert short(second.due) == "11-17 10:00"


def test_in_hindsight_has_what_came_late_too() -> None:
    """The stop of the 3rd was known on the 9th only; on the 5th the clock stood still all the same."""
    stop = event("complaint.suspended", "11-03 10:00", id="h1", ground="hearing", recorded="11-09 10:00")
    story = [received(), stop, event("complaint.completed", "11-09 12:00", id="d1")]
    known, hindsight = (
        explained(LAW, *story, until="11-05 10:00"),
        explained(LAW, *story, until="11-05 10:00", hindsight=True),
    )
    assert (known.state, short(known.due)) == ("open", "11-11 00:00")
    assert (hindsight.state, hindsight.due, hindsight.first_due, hindsight.moves) == ("suspended", None, None, ())


def test_breach_that_a_late_answer_undid_stands_as_it_was_known() -> None:
    """The answer of the 10th was known on the 12th."""
    done = event("complaint.completed", "11-10 15:00", id="d1", recorded="11-12 09:00")
    story = [received(), done]
    assert explained(LAW, *story, until="11-11 12:00").state == "broken"
    assert explained(LAW, *story, until="11-11 12:00", hindsight=True).state == "met"
    assert explained(LAW, *story).state == "met"


def test_fact_taken_back_later_was_known_then_and_never_was_in_hindsight() -> None:
    more = event("complaint.extended", "11-05 10:00", ground="fact_check", amount=3, unit="days", id="e1")
    story = [received(), more, voided("11-09 10:00", more)]
    assert short(explained(LAW, *story, until="11-06 10:00").due) == "11-14 00:00"
    assert short(explained(LAW, *story, until="11-06 10:00", hindsight=True).due) == "11-11 00:00"


def test_charter_of_later_is_not_known_yet() -> None:
    story = [petition("11-09 10:00"), enacted("11-10 09:00", QUICKER, "2", "open_from_today")]
    before = told(world(charter_2=QUICKER), *story, known="11-10 08:00")
    assert (before.charter, short(before.due)) == ("haneul@1", "11-23 10:00")
    after = told(world(charter_2=QUICKER), *story, known="11-10 10:00")
    assert (after.charter, short(after.due)) == ("haneul@2", "11-16 10:00")


def test_instant_to_come_tells_how_it_stands_if_nothing_more_happens() -> None:
    assert explained(LAW, received(), until="11-20 10:00").state == "broken"


def test_before_anything_was_known_there_is_nothing_to_say() -> None:
    assert answers(world(), petition("11-02 10:00", recorded="11-03 10:00"), known="11-02 12:00") is None
    assert answers(world(), petition("11-02 10:00"), known="11-02 09:00", hindsight=True) is None
    assert answers(world(), petition("11-02 10:00"), name="unheard-of") == ()
