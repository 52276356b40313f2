"""Versions of charters and calendars: what governs a case, and what stays when a later version comes."""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
import pytest
from stories import at, event, lines, passed, play, received, voided

from contracts import files as contracts
from contracts.streams import PARTITIONS
from services.rules.facts import Event
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Deadline
from services.rules.world import World

HEAD = """
tenant: haneul
version: "{version}"
name: {{ko: 하늘시, en: Haneul}}
in_force: {in_force}
calendar: haneul
currency: KRW
promises:
"""
PROMISE = """
  - id: {id}
    kind: deadline
    says: {{ko: 약속, en: A promise}}
    start: [{{"on": complaint.received}}]
    within: {{amount: {amount}, unit: {unit}}}
    until: [{{"on": {until}}}]
"""
REMEDY = """
remedies:
  - id: voucher
    says: {{ko: 보상, en: A voucher}}
    "on": [{{breach: any}}]
    amount: {amount}
"""
CALENDAR = """
calendar: haneul
version: "{version}"
zone: Asia/Seoul
from: 2026-01-01
horizon: {horizon}
hours: {{office: {{mon-fri: ["09:00-12:00", "13:00-18:00"]}}}}
closures: {{{closures}}}
"""


def promise(id: str, amount: int, unit: str = "working_days", until: str = "complaint.completed") -> str:
    return PROMISE.format(id=id, amount=amount, unit=unit, until=until)


def charter(version: str, in_force: str, *promises: str, voucher: int = 0) -> bytes:
    remedies = REMEDY.format(amount=voucher) if voucher else ""
    return (HEAD.format(version=version, in_force=in_force) + "".join(promises) + remedies).encode()


def calendar(version: str = "1", horizon: str = "2026-12-31", closures: str = "") -> bytes:
    return CALENDAR.format(version=version, horizon=horizon, closures=closures).encode()


LAW = contracts.read()["law/kr.yaml"]
ANSWER = charter("1", "2026-01-01", promise("answer", 10))


@cache
def _library(files: tuple[tuple[str, bytes], ...]) -> Library:
    return Library(dict(files))


def world(first: bytes = ANSWER, **later: bytes) -> World:
    """A world whose log begins with a charter and a calendar; later files lie ready, by names such as charter_2."""
    made = unopened(first, **later)
    made.feed(enacted("01-01 00:00", first, "1", "new_cases"), -2)
    made.feed(planned("01-01 00:00"), -1)
    return made


def unopened(first: bytes, **later: bytes) -> World:
    """The same before anything is enacted."""
    files: Mapping[str, bytes] = {
        "charters/haneul-1.yaml": first,
        "calendars/haneul-1.yaml": calendar(),
        "law/kr.yaml": LAW,
        **{f"{name.split('_')[0]}s/haneul-{name.split('_')[1]}.yaml": content for name, content in later.items()},
    }
    library = _library(tuple(files.items()))
    return World([Rulebook(library) for _ in range(PARTITIONS)])


def of_city(type: str, when: str, id: str = "", **data: Any) -> Event:
    return event(type, when, case="_all", tenant="haneul", id=id, by_source="administration", **data)


def enacted(when: str, content: bytes, version: str, applies: str, **more: Any) -> Event:
    digest = hashlib.sha256(content).hexdigest()
    data = {"version": version, "sha256": digest, "applies": applies} | more
    return of_city("charter.enacted", when, id=f"charter-{version}", **data)


def planned(when: str, content: bytes | None = None, version: str = "1") -> Event:
    digest = hashlib.sha256(content or calendar()).hexdigest()
    return of_city("calendar.enacted", when, id=f"calendar-{version}", version=version, sha256=digest)


def holiday(when: str, date: str, closed: bool = True) -> Event:
    return of_city("calendar.exception", when, id=f"on-{date}", date=date, closed=closed)


def petition(when: str, case: str = "c1", **more: Any) -> Event:
    return received(when, tenant="haneul", case=case, id=f"receipt-{case}", **more)


def done(when: str, case: str = "c1", **more: Any) -> Event:
    return event("complaint.completed", when, tenant="haneul", case=case, id=f"done-{case}", **more)


def told(when: str, case: str = "c1") -> Event:
    return event("complaint.progress_notified", when, tenant="haneul", case=case, id=f"told-{case}", by="phone")


def standing(of: World, case: str = "c1") -> dict[str, Deadline]:
    found = next(known for part in of.partitions for key, known in part.cases.items() if key == ("haneul", case))
    return {deadline.promise: deadline for deadline in found.deadlines}


# -- charters -------------------------------------------------------------------------------------------------

QUICKER = charter("2", "2026-11-10", promise("answer", 5))


def test_a_new_charter_for_new_cases_leaves_every_other_as_it_was() -> None:
    found = play(
        petition("11-09 10:00", "old"),
        enacted("11-10 09:00", QUICKER, "2", "new_cases"),
        petition("11-10 10:00", "new"),
        petition("11-09 11:00", "late", recorded="11-10 11:00"),
        world=world(charter_2=QUICKER),
    )
    assert lines(found) == [
        "11-09 10:00 deadline.started answer due 11-23 10:00",
        "11-10 10:00 deadline.started answer due 11-17 10:00",
        "11-09 11:00 deadline.started answer due 11-23 11:00",
    ]


def test_a_charter_enacted_late_changes_no_case_received_before_that() -> None:
    """Nobody could know it on the 3rd, whenever that receipt becomes known."""
    back_dated = charter("2", "2026-11-01", promise("answer", 5))
    found = play(
        petition("11-02 10:00"),
        enacted("11-04 09:00", back_dated, "2", "new_cases"),
        told("11-05 10:00"),
        petition("11-03 10:00", "c2", recorded="11-05 11:00"),
        petition("11-05 11:30", "c3"),
        world=world(charter_2=back_dated),
        until="11-13 00:00",
    )
    assert lines(found) == [
        "11-02 10:00 deadline.started answer due 11-16 10:00",
        "11-03 10:00 deadline.started answer due 11-17 10:00",
        "11-05 11:30 deadline.started answer due 11-12 11:30",
        "11-12 11:30 deadline.breached answer due 11-12 11:30",
    ]


def test_a_retroactive_charter_judges_open_cases_from_their_receipt() -> None:
    dear = charter("2", "2026-11-10", promise("answer", 5), voucher=5000)
    of = world(charter_2=dear)
    found = play(
        petition("11-02 10:00", "past"),
        petition("11-06 10:00", "open"),
        petition("11-02 11:00", "over"),
        done("11-10 08:00", "over"),
        enacted("11-10 09:00", dear, "2", "retroactive"),
        done("11-12 10:00", "open"),
        world=of,
    )
    assert lines(found)[4:] == [
        # Five office days from 2 November ended on the 9th: past by the new version, so broken with it.
        "11-10 09:00 deadline.moved answer due 11-09 10:00 charter",
        "11-09 10:00 deadline.breached answer due 11-09 10:00",
        "11-09 10:00 remedy.proposed answer voucher due 11-09 10:00 5000",
        "11-10 09:00 deadline.moved answer due 11-13 10:00 charter",
        "11-12 10:00 deadline.met answer due 11-13 10:00",
    ]
    assert standing(of, "past")["answer"].first_due == at("11-16 10:00")
    assert standing(of, "over")["answer"].due == at("11-16 11:00")


MIXED_1 = charter(
    "1",
    "2026-01-01",
    promise("answer", 10),
    promise("word", 3, until="complaint.progress_notified"),
    promise("stroll", 20, until="delay.explained"),
)
MIXED_2 = charter(
    "2",
    "2026-11-10",
    promise("answer", 7),
    promise("word", 1, until="complaint.progress_notified"),
    promise("plan", 8, until="complaint.reply_date_notified"),
    promise("greeting", 1, until="complaint.direction_notified"),
    voucher=3000,
)


def mixed() -> World:
    return world(MIXED_1, charter_2=MIXED_2)


def test_a_charter_open_from_today_judges_what_is_still_open() -> None:
    of = mixed()
    found = play(
        petition("11-02 10:00", "c1"),
        petition("11-09 10:00", "c2"),
        told("11-09 12:00", "c2"),
        enacted("11-10 11:00", MIXED_2, "2", "open_from_today"),
        world=of,
    )
    # c1: its word was broken on the 5th by the old terms and stays so, without the new voucher; its answer would be
    # due on the 11th and moves; the stroll is no longer promised; the plan is promised anew until the 12th, and a
    # greeting by the 3rd is not promised backwards.
    assert lines(row for row in found if row.case == "c1")[3:] == [
        "11-05 10:00 deadline.breached word due 11-05 10:00",
        "11-10 11:00 deadline.moved answer due 11-11 10:00 charter",
        "11-10 11:00 deadline.started plan due 11-12 10:00",
        "11-10 11:00 deadline.voided stroll due 11-30 10:00",
    ]
    assert lines(row for row in found if row.case == "c2")[3:] == [
        "11-09 12:00 deadline.met word due 11-12 10:00",
        "11-10 11:00 deadline.moved answer due 11-18 10:00 charter",
        "11-10 11:00 deadline.started plan due 11-19 10:00",
        "11-10 11:00 deadline.voided stroll due 12-07 10:00",
    ]
    after = passed(of, at("11-12 00:00"))
    assert lines(after) == [
        "11-11 10:00 deadline.breached answer due 11-11 10:00",
        "11-11 10:00 remedy.proposed answer voucher due 11-11 10:00 3000",
    ]


def test_open_from_today_nobody_breaks_a_promise_before_it_is_made() -> None:
    strict = charter("2", "2026-11-10", promise("answer", 2), voucher=3000)
    found = play(
        petition("11-02 10:00"),
        enacted("11-10 11:00", strict, "2", "open_from_today"),
        done("11-13 10:00"),
        world=world(charter_2=strict),
    )
    assert lines(found) == [
        "11-02 10:00 deadline.started answer due 11-16 10:00",
        "11-13 10:00 deadline.met answer due 11-16 10:00",
    ]


def test_a_fact_that_comes_late_is_judged_by_what_governed_then() -> None:
    """Completed on the 9th, told on the 12th: the case was over when the new version came."""
    retro = charter("2", "2026-11-10", promise("answer", 5))
    of = world(charter_2=retro)
    found = play(
        petition("11-02 10:00"),
        enacted("11-10 11:00", retro, "2", "retroactive"),
        done("11-09 12:00", recorded="11-12 09:00"),
        world=of,
    )
    assert lines(found)[1:] == [
        "11-10 11:00 deadline.moved answer due 11-09 10:00 charter",
        "11-09 10:00 deadline.breached answer due 11-09 10:00",
        "11-09 12:00 breach.retracted answer due 11-09 10:00",
        "11-09 12:00 deadline.moved answer due 11-16 10:00 late_fact",
        "11-09 12:00 deadline.met answer due 11-16 10:00",
    ]


def test_a_charter_enacted_beforehand_reaches_open_cases_on_its_day() -> None:
    of = world(charter_2=QUICKER)
    found = play(
        petition("11-05 10:00"),
        enacted("11-06 09:00", QUICKER, "2", "open_from_today"),
        world=of,
        until="11-11 00:00",
    )
    assert lines(found) == [
        "11-05 10:00 deadline.started answer due 11-19 10:00",
        "11-10 00:00 deadline.moved answer due 11-12 10:00 charter",
    ]


def test_two_versions_after_each_other_both_reach_an_open_case() -> None:
    third = charter("3", "2026-11-12", promise("answer", 8))
    of = world(charter_2=QUICKER, charter_3=third)
    found = play(
        petition("11-06 10:00"),
        enacted("11-10 09:00", QUICKER, "2", "open_from_today"),
        enacted("11-12 09:00", third, "3", "open_from_today"),
        world=of,
        until="11-30 00:00",
    )
    assert lines(found) == [
        "11-06 10:00 deadline.started answer due 11-20 10:00",
        "11-10 09:00 deadline.moved answer due 11-13 10:00 charter",
        "11-12 09:00 deadline.moved answer due 11-18 10:00 charter",
        "11-18 10:00 deadline.breached answer due 11-18 10:00",
    ]


def test_a_replay_from_the_same_log_ends_in_the_same_cases() -> None:
    story = [
        petition("11-02 10:00", "c1"),
        petition("11-09 10:00", "c2"),
        enacted("11-10 11:00", MIXED_2, "2", "open_from_today"),
        holiday("11-10 12:00", "2026-11-11"),
        done("11-12 10:00", "c1"),
        done("11-13 10:00", "c2"),
    ]
    first, second = mixed(), mixed()
    assert play(*story, world=first, until="12-31 00:00") == play(*story, world=second, until="12-31 00:00")
    for one, other in zip(first.partitions, second.partitions, strict=True):
        assert one.cases == other.cases
    # One case alone, worked out from its facts at the end, stands as it came to stand.
    assert standing(first, "c1")["plan"].state == "void"
    # The city's own case keeps the charter that opened it.
    cases = [case for part in first.partitions for case in part.cases.values() if case.id != case.tenant]
    assert {case.charter for case in cases} == {"haneul@2"}


# -- calendars ------------------------------------------------------------------------------------------------

LONGER = calendar("2", "2027-12-31", '2027-01-01: {ko: 신정, en: "New Year"}')


def test_a_new_calendar_moves_what_was_provisional_and_settles_the_rest() -> None:
    of = world(calendar_2=LONGER)
    found = play(
        petition("12-21 10:00", "moves"),
        holiday("12-22 09:00", "2026-12-24"),
        planned("12-28 09:00", LONGER, "2"),
        world=of,
    )
    started, by_holiday, by_calendar = (row.decision for row in found)
    # Ten office days from 21 December end on 4 January; with the 24th closed a day later, with New Year two.
    assert (started.due, started.provisional) == (at("2027-01-04 10:00"), True)
    assert (by_holiday.kind, by_holiday.due, by_holiday.provisional) == (
        "deadline.moved",
        at("2027-01-05 10:00"),
        True,
    )
    assert (by_calendar.due, by_calendar.provisional) == (at("2027-01-06 10:00"), False)
    assert by_calendar.reason == "calendar"
    assert by_calendar.first_due == at("2027-01-04 10:00")


def test_a_provisional_date_that_stands_is_said_to_stand() -> None:
    plain = calendar("2", "2027-12-31")
    found = play(petition("12-21 10:00"), planned("12-28 09:00", plain, "2"), world=world(calendar_2=plain))
    assert [(row.decision.kind, row.decision.due, row.decision.provisional) for row in found] == [
        ("deadline.started", at("2027-01-04 10:00"), True),
        ("deadline.moved", at("2027-01-04 10:00"), False),
    ]


def test_an_exception_of_the_calendar_can_be_taken_back_and_that_too() -> None:
    mistake = holiday("11-03 09:00", "2026-11-06")
    back = voided("11-04 09:00", mistake, id="back", by_source="administration")
    again = voided("11-05 09:00", back, id="again", by_source="administration")
    found = play(petition("11-02 10:00"), mistake, back, again, world=world())
    assert lines(found) == [
        "11-02 10:00 deadline.started answer due 11-16 10:00",
        "11-03 09:00 deadline.moved answer due 11-17 10:00 calendar",
        "11-04 09:00 deadline.moved answer due 11-16 10:00 fact_voided",
        "11-05 09:00 deadline.moved answer due 11-17 10:00 fact_voided",
    ]
    assert {row.decision.first_due for row in found} == {at("11-16 10:00")}


def test_a_taking_back_of_anything_else_moves_nothing() -> None:
    outage = of_city("outage.declared", "11-03 09:00", id="outage", system="mail")
    found = play(petition("11-02 10:00"), outage, voided("11-04 09:00", outage, id="back"), world=world())
    assert lines(found) == ["11-02 10:00 deadline.started answer due 11-16 10:00"]


def test_a_verdict_given_stays_whatever_calendar_comes_later() -> None:
    """Broken on the 16th and closed on the 17th; the 6th is closed by decision on the 18th."""
    of = world()
    late = told("11-05 10:00")
    found = play(
        petition("11-02 10:00"),
        done("11-17 09:00"),
        holiday("11-18 09:00", "2026-11-06"),
        msgspec.structs.replace(late, recordedtime=msgspec.convert("2026-11-19T09:00:00+09:00", type=type(late.time))),
        world=of,
    )
    assert lines(found) == [
        "11-02 10:00 deadline.started answer due 11-16 10:00",
        "11-16 10:00 deadline.breached answer due 11-16 10:00",
    ]
    # Opened again, it has a clock of its own, and that one knows the newest calendar.
    assert lines(of.feed(holiday("11-19 10:00", "2026-11-24"), 89)) == []
    again = event("complaint.reopened", "11-20 10:00", tenant="haneul", reason_="x")
    assert lines(of.feed(again, 90)) == ["11-20 10:00 deadline.started answer due 12-07 10:00"]


def test_a_calendar_enacted_by_mistake_is_taken_back() -> None:
    wrong = calendar("2", "2027-12-31", '2026-11-05: {ko: 휴일, en: "A day off"}')
    mistake = planned("11-03 09:00", wrong, "2")
    found = play(
        petition("11-02 10:00"),
        mistake,
        voided("11-04 09:00", mistake, id="back", by_source="administration"),
        world=world(calendar_2=wrong),
    )
    assert lines(found)[1:] == [
        "11-03 09:00 deadline.moved answer due 11-17 10:00 calendar",
        "11-04 09:00 deadline.moved answer due 11-16 10:00 fact_voided",
    ]


NAMED = b"calendar: haneul", b"calendar: sea"
SEASIDE = calendar("1", "2026-12-31", '2026-11-11: {ko: 축제, en: "A feast"}').replace(*NAMED)
BY_THE_SEA = charter("2", "2026-11-10", promise("answer", 5)).replace(*NAMED)


@pytest.mark.parametrize("is_enacted", [True, False])
def test_a_charter_counts_by_the_calendar_that_it_names(is_enacted: bool) -> None:
    """Enacted by its name, or else the file of that name; what others count by stays as it was."""
    events = [planned("11-09 09:00", SEASIDE, "sea")] if is_enacted else []
    found = play(
        petition("11-06 10:00", "old"),
        *events,
        enacted("11-10 09:00", BY_THE_SEA, "2", "new_cases"),
        petition("11-10 10:00", "new"),
        holiday("11-11 09:00", "2026-11-13"),
        world=world(calendar_sea=SEASIDE, charter_2=BY_THE_SEA),
    )
    assert lines(found) == [
        "11-06 10:00 deadline.started answer due 11-20 10:00",
        "11-10 10:00 deadline.started answer due 11-18 10:00",
        # A date closed by decision is closed by whatever calendar the city counts.
        "11-11 09:00 deadline.moved answer due 11-19 10:00 calendar",
        "11-11 09:00 deadline.moved answer due 11-23 10:00 calendar",
    ]


def test_an_open_case_taken_over_counts_by_the_calendar_of_the_new_charter() -> None:
    found = play(
        petition("11-09 10:00"),
        planned("11-10 08:00", SEASIDE, "sea"),
        enacted("11-10 09:00", BY_THE_SEA, "2", "open_from_today"),
        world=world(calendar_sea=SEASIDE, charter_2=BY_THE_SEA),
    )
    assert lines(found) == [
        "11-09 10:00 deadline.started answer due 11-23 10:00",
        # Five office days from the 9th, the 11th being a feast by the sea.
        "11-10 09:00 deadline.moved answer due 11-17 10:00 charter",
    ]


RECURRING = """
  - id: word
    kind: recurring
    says: {{ko: 약속, en: A promise}}
    start: [{{"on": complaint.received}}]
    every: {{amount: {amount}, unit: calendar_days}}
    until: [{{"on": complaint.progress_notified}}]
"""
AFTER = """
  - id: explain
    kind: deadline
    says: {{ko: 설명, en: An explanation}}
    start: [{{breach: answer}}]
    within: {{amount: {amount}, unit: minutes}}
    until: [{{"on": delay.explained}}]
"""
SURVEY = """
  - id: survey
    kind: duty
    says: {{ko: 조사, en: A survey}}
    each_year: [{dates}]
"""
PUBLISH = """
  - id: publish
    kind: duty
    says: {{ko: 공표, en: Its results}}
    start: [{{"on": survey.conducted}}]
    within: {{amount: {amount}, unit: calendar_months}}
    until: [{{"on": survey.published}}]
"""
MONTHLY = """
  - id: month
    kind: deadline
    says: {ko: 약속, en: A promise}
    start: [{"on": complaint.received}]
    within: {period: true}
    until: [{"on": complaint.completed}]
"""


def recurring(days: int) -> str:
    return RECURRING.format(amount=days)


def explained_after(minutes: int) -> str:
    return AFTER.format(amount=minutes)


def survey(*dates: str) -> str:
    """A survey by a date of every year; where there are two, its results by the second."""
    events = ("survey.conducted", "survey.published")
    rows = [f'{{due: "{day}", until: [{{"on": {type}}}]}}' for day, type in zip(dates, events, strict=False)]
    return SURVEY.format(dates=", ".join(rows))


def published(months: int) -> str:
    return PUBLISH.format(amount=months)


def word(when: str, case: str = "c1") -> Event:
    return event("complaint.progress_notified", when, tenant="haneul", case=case, by="phone")


def by_city(type: str, when: str, **data: Any) -> Event:
    return event(type, when, case="haneul", tenant="haneul", by_source="administration", **data)


def back(when: str, fact: Event, id: str = "back") -> Event:
    return voided(when, fact, id=id, by_source="administration")


def test_past_the_horizon_every_kind_of_date_is_provisional_until_the_year_is_enacted() -> None:
    """A round, a month of the law, days of the law, and a duty that a survey starts."""
    first = charter("1", "2026-01-01", recurring(10), MONTHLY, survey("11-30"), published(3))
    closures = '2027-01-01: {ko: 신정, en: "New Year"}, 2027-03-01: {ko: 삼일절, en: "1 March"}'
    year = calendar("2", "2027-12-31", closures)
    found = play(
        by_city("survey.conducted", "12-01 10:00", year=2026),
        petition("12-02 10:00", period={"amount": 1, "unit": "months"}),
        petition("12-21 10:00", "c2", period={"amount": 11, "unit": "days"}),
        planned("12-28 09:00", year, "2"),
        world=world(first, calendar_2=year),
    )
    moved = [row for row in found if row.decision.kind == "deadline.moved"]
    assert {row.decision.at for row in moved} == {at("12-28 09:00")}
    assert {row.decision.reason for row in moved} == {"calendar"}
    assert [(row.case, row.decision.promise, row.decision.first_due, row.decision.due) for row in moved] == [
        # Of what ends on New Year's Day (a Friday) the last date rolls on to the Monday.
        ("c1", "month", at("2027-01-02 00:00"), at("2027-01-05 00:00")),
        ("c1", "word", at("2027-01-02 00:00"), at("2027-01-05 00:00")),
        ("c2", "month", at("2027-01-05 00:00"), at("2027-01-06 00:00")),
        ("haneul", "publish", at("2027-03-02 00:00"), at("2027-03-03 00:00")),
    ]
    assert not any(row.decision.provisional for row in moved)
    told = [row.decision for row in found if row.decision.kind == "deadline.started"]
    provisional = {(one.promise, one.due) for one in told if one.provisional}
    assert provisional == {(row.decision.promise, row.decision.first_due) for row in moved}


# -- recurring promises ---------------------------------------------------------------------------------------


def rhythm(old: int, new: int, when: str, *words: Event, until: str) -> list[str]:
    """A petition of 2 November, a Monday, whose word comes every `old` days and every `new` from an instant on."""
    second = charter("2", "2026-11-03", recurring(new))
    day = enacted(when, second, "2", "open_from_today")
    events = sorted([petition("11-02 10:00"), day, *words], key=lambda one: one.time)
    found = lines(play(*events, world=world(charter("1", "2026-01-01", recurring(old)), charter_2=second), until=until))
    return [line for line in found if line >= when[:5]]


def test_the_open_round_takes_the_next_date_of_a_shorter_rhythm() -> None:
    assert rhythm(7, 5, "11-11 09:00", word("11-06 10:00"), word("11-12 10:00"), until="11-19 00:00") == [
        # Told every 7 days until the 16th, then every 5: by the 12th, the 17th, the 22nd (a Sunday).
        "11-11 09:00 deadline.moved word due 11-13 00:00 charter",
        "11-12 10:00 deadline.met word due 11-13 00:00",
        "11-13 00:00 deadline.started word due 11-18 00:00",
        "11-18 00:00 deadline.breached word due 11-18 00:00",
        "11-18 00:00 deadline.started word due 11-24 00:00",
    ]


def test_the_open_round_takes_the_next_date_of_a_longer_rhythm_and_no_round_is_lost() -> None:
    assert rhythm(7, 10, "11-11 09:00", until="11-14 00:00") == [
        "11-11 09:00 deadline.moved word due 11-13 00:00 charter",
        "11-13 00:00 deadline.breached word due 11-13 00:00",
        "11-13 00:00 deadline.started word due 11-24 00:00",
    ]


def test_a_word_given_counts_in_both_rhythms() -> None:
    assert rhythm(7, 5, "11-11 09:00", word("11-11 08:00"), until="11-14 00:00") == [
        "11-11 08:00 deadline.met word due 11-17 00:00",
        "11-13 00:00 deadline.started word due 11-18 00:00",
    ]


def test_a_round_of_the_new_rhythm_that_runs_already_begins_at_once() -> None:
    """The word of the 11th was for the days up to the 12th; those up to the 17th have none."""
    assert rhythm(7, 5, "11-14 09:00", word("11-11 10:00"), until="11-17 00:00") == [
        "11-14 09:00 deadline.started word due 11-18 00:00",
    ]


def test_a_round_for_which_a_word_was_given_by_the_new_rhythm_takes_the_date_after() -> None:
    """The word of the 9th came before the second week; of five days it was the second."""
    words = word("11-06 10:00"), word("11-09 10:00")
    assert rhythm(7, 5, "11-11 09:00", *words, until="11-18 00:01") == [
        "11-11 09:00 deadline.moved word due 11-18 00:00 charter",
        "11-18 00:00 deadline.breached word due 11-18 00:00",
        "11-18 00:00 deadline.started word due 11-24 00:00",
    ]


def test_a_round_whose_last_date_rolled_on_stays_as_told_and_is_not_asked_for_twice() -> None:
    """The five days up to Saturday end on Monday the 9th, on which the first seven days end as well."""
    assert rhythm(5, 7, "11-09 09:00", word("11-09 10:00"), until="11-17 00:01") == [
        "11-09 09:00 deadline.moved word due 11-17 00:00 charter",
        "11-09 10:00 deadline.met word due 11-10 00:00",
        "11-17 00:00 deadline.breached word due 11-17 00:00",
        "11-17 00:00 deadline.started word due 11-24 00:00",
    ]


def test_a_third_rhythm_follows_the_second() -> None:
    second, third = charter("2", "2026-11-03", recurring(5)), charter("3", "2026-11-03", recurring(10))
    found = play(
        petition("11-02 10:00"),
        enacted("11-11 09:00", second, "2", "open_from_today"),
        word("11-12 10:00"),
        enacted("11-14 09:00", third, "3", "open_from_today"),
        world=world(charter("1", "2026-01-01", recurring(7)), charter_2=second, charter_3=third),
        until="12-02 00:00",
    )
    assert lines(found)[3:] == [
        "11-11 09:00 deadline.moved word due 11-13 00:00 charter",
        "11-12 10:00 deadline.met word due 11-13 00:00",
        "11-13 00:00 deadline.started word due 11-18 00:00",
        "11-14 09:00 deadline.moved word due 11-24 00:00 charter",
        "11-23 00:00 deadline.started word due 12-03 00:00",
        "11-24 00:00 deadline.breached word due 11-24 00:00",
    ]
    occurrences = [row.decision.occurrence for row in found if row.decision.kind == "deadline.started"]
    assert [name.rpartition("#")[2] for name in occurrences] == ["1", "2", "3", "4"]


def test_a_rhythm_promised_anew_or_no_longer() -> None:
    without, weekly = charter("1", "2026-01-01", promise("answer", 10)), charter("2", "2026-11-03", recurring(7))
    found = play(
        petition("11-02 10:00"),
        enacted("11-11 09:00", weekly, "2", "open_from_today"),
        world=world(without, charter_2=weekly),
    )
    assert lines(found)[1:] == [
        "11-11 09:00 deadline.voided answer due 11-16 10:00",
        "11-11 09:00 deadline.started word due 11-17 00:00",
    ]


# -- promises that a breach starts ----------------------------------------------------------------------------


def after_breach(first: bytes, second: bytes, when: str, *more: Event, until: str = "11-12 00:00") -> list[str]:
    """What is decided of a petition of 2 November from the day of the second version on."""
    day = enacted(when, second, "2", "open_from_today")
    events = sorted([petition("11-02 10:00"), day, *more], key=lambda one: one.time)
    found = lines(play(*events, world=world(first, charter_2=second), until=until))
    return [line for line in found if line >= when]


@pytest.mark.parametrize("answer", [1, 2, 5])
@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        # The breach was on the 4th at 10:00, whatever the answer is promised in from today on.
        (900, ["11-04 11:00 deadline.moved explain due 11-05 01:00 charter"]),
        (30, []),
        (0, ["11-04 11:00 deadline.voided explain due 11-04 20:00"]),
    ],
)
def test_what_a_breach_has_started_is_counted_anew_from_that_breach(
    answer: int, minutes: int, expected: list[str]
) -> None:
    first = charter("1", "2026-01-01", promise("answer", 2), explained_after(600))
    second = charter("2", "2026-11-03", promise("answer", answer), *([explained_after(minutes)] if minutes else []))
    given = event("delay.explained", "11-04 19:00", tenant="haneul")
    found = after_breach(first, second, "11-04 11:00", given, until="11-06 00:00")
    assert [line for line in found if ".met" not in line] == expected


@pytest.mark.parametrize(
    ("when", "explained", "expected"),
    [
        ("11-04 11:00", "", ["11-04 11:00 deadline.started explain due 11-04 12:00"]),
        ("11-04 11:00", "11-04 10:30", []),
        ("11-04 13:00", "", []),
    ],
)
def test_what_a_breach_starts_by_the_new_version_alone_is_promised_where_it_can_still_be_kept(
    when: str, explained: str, expected: list[str]
) -> None:
    first = charter("1", "2026-01-01", promise("answer", 2))
    second = charter("2", "2026-11-03", promise("answer", 5), explained_after(120))
    given = [event("delay.explained", explained, tenant="haneul")] if explained else []
    found = after_breach(first, second, when, *given)
    assert [line for line in found if ".started" in line] == expected


def test_a_date_that_stays_as_told_starts_what_the_new_version_says_when_it_is_broken() -> None:
    """By the new version the answer was due on the 3rd; that is no breach, and starts nothing."""
    first = charter("1", "2026-01-01", promise("answer", 3))
    second = charter("2", "2026-11-03", promise("answer", 1), explained_after(2 * 24 * 60))
    assert after_breach(first, second, "11-04 09:00", until="11-05 11:00") == [
        "11-05 10:00 deadline.breached answer due 11-05 10:00",
        "11-05 10:00 deadline.started explain due 11-07 10:00",
    ]


def test_a_date_that_moved_starts_it_from_there() -> None:
    first = charter("1", "2026-01-01", promise("answer", 2))
    second = charter("2", "2026-11-03", promise("answer", 4), explained_after(60))
    assert after_breach(first, second, "11-03 12:00") == [
        "11-03 12:00 deadline.moved answer due 11-06 10:00 charter",
        "11-06 10:00 deadline.breached answer due 11-06 10:00",
        "11-06 10:00 deadline.started explain due 11-06 11:00",
        "11-06 11:00 deadline.breached explain due 11-06 11:00",
    ]


def test_a_breach_pays_by_the_version_that_it_was_promised_in() -> None:
    """Past by the new terms and kept as told, the answer is broken later: by the old terms, without a voucher."""
    first = charter("1", "2026-01-01", promise("answer", 3))
    second = charter("2", "2026-11-03", promise("answer", 1), voucher=3000)
    assert after_breach(first, second, "11-04 09:00") == ["11-05 10:00 deadline.breached answer due 11-05 10:00"]


# -- duties of the city ---------------------------------------------------------------------------------------


def test_a_later_version_moves_the_date_of_the_year_in_which_it_comes_into_force() -> None:
    second = charter("2", "2026-07-01", survey("10-31"))
    found = play(
        enacted("06-15 09:00", second, "2", "new_cases"),
        world=world(charter("1", "2026-01-01", survey("11-30")), charter_2=second),
        until="2027-01-02 00:00",
    )
    assert lines(found) == [
        "07-01 00:00 deadline.moved survey due 11-01 00:00 charter",
        "11-01 00:00 deadline.breached survey due 11-01 00:00",
        "2027-01-01 00:00 deadline.started survey due 2027-11-01 00:00",
    ]


def test_a_date_already_past_when_a_version_comes_stays_as_it_was_for_that_year() -> None:
    second = charter("2", "2026-11-10", survey("10-31"))
    found = play(
        enacted("11-10 09:00", second, "2", "new_cases"),
        world=world(charter("1", "2026-01-01", survey("11-30")), charter_2=second),
        until="2027-01-02 00:00",
    )
    assert lines(found) == [
        "12-01 00:00 deadline.breached survey due 12-01 00:00",
        "2027-01-01 00:00 deadline.started survey due 2027-11-01 00:00",
    ]


def test_duties_that_a_version_adds_or_drops() -> None:
    first, second = charter("1", "2026-01-01", survey("11-30", "12-20")), charter("2", "2026-07-01", survey("11-30"))
    dropped = play(
        enacted("07-01 09:00", second, "2", "new_cases"), world=world(first, charter_2=second), until="12-31 00:00"
    )
    assert lines(dropped) == [
        "07-01 09:00 deadline.voided survey due 12-21 00:00",
        "12-01 00:00 deadline.breached survey due 12-01 00:00",
    ]
    third = charter("3", "2026-12-05", survey("11-30", "12-20"))
    nothing = charter("1", "2026-01-01", promise("answer", 10))
    added = play(
        enacted("12-05 09:00", third, "3", "retroactive"),
        world=world(nothing, charter_3=third),
        until="2027-01-02 00:00",
    )
    # 30 November was over before anybody promised it.
    assert lines(added) == [
        "12-05 09:00 deadline.started survey due 12-21 00:00",
        "12-21 00:00 deadline.breached survey due 12-21 00:00",
        "2027-01-01 00:00 deadline.started survey due 2027-12-01 00:00",
        "2027-01-01 00:00 deadline.started survey due 2027-12-21 00:00",
    ]


def test_a_duty_done_in_its_year_is_not_promised_again_by_a_later_version() -> None:
    second = charter("2", "2026-07-01", survey("10-31"))
    found = play(
        by_city("survey.conducted", "05-20 10:00", year=2026),
        enacted("07-01 09:00", second, "2", "new_cases"),
        world=world(charter("1", "2026-01-01", survey("11-30")), charter_2=second),
        until="12-31 00:00",
    )
    assert lines(found) == ["05-20 10:00 deadline.met survey due 12-01 00:00"]


@pytest.mark.parametrize(
    ("applies", "moved"),
    [("new_cases", []), ("open_from_today", ["07-01 09:00 deadline.moved publish due 07-21 00:00 charter"])],
)
def test_what_an_event_began_keeps_its_terms_where_the_version_is_for_new_cases(applies: str, moved: list[str]) -> None:
    second = charter("2", "2026-07-01", published(1))
    found = play(
        by_city("survey.conducted", "06-20 10:00", year=2026),
        enacted("07-01 09:00", second, "2", applies),
        by_city("survey.conducted", "08-03 10:00", year=2026),
        world=world(charter("1", "2026-01-01", published(3)), charter_2=second),
    )
    assert lines(found) == [
        # 20 September is a Sunday.
        "06-20 10:00 deadline.started publish due 09-22 00:00",
        *moved,
        *(["07-21 00:00 deadline.breached publish due 07-21 00:00"] if moved else []),
        "08-03 10:00 deadline.started publish due 09-04 00:00",
    ]


@pytest.mark.parametrize(
    ("in_force", "when", "go_live", "expected"),
    [
        # Enacted when the first date was over: that is not promised, the second is.
        ("2026-01-01", "12-05 09:00", None, ["12-05 09:00 deadline.started survey due 12-21 00:00"]),
        # Not in force before the first date was over.
        ("2026-12-10", "11-20 09:00", None, ["12-10 00:00 deadline.started survey due 12-21 00:00"]),
        # In force, but not live.
        (
            "2026-01-01",
            "11-20 09:00",
            "2026-12-05T00:00:00+09:00",
            ["12-05 00:00 deadline.started survey due 12-21 00:00"],
        ),
        # Live since 1 November, though enacted in the log only now.
        (
            "2026-01-01",
            "12-05 09:00",
            "2026-11-01T00:00:00+09:00",
            [
                "11-01 00:00 deadline.started survey due 12-01 00:00",
                "12-01 00:00 deadline.breached survey due 12-01 00:00",
                "11-01 00:00 deadline.started survey due 12-21 00:00",
            ],
        ),
        # Both dates are ahead.
        (
            "2026-01-01",
            "11-20 09:00",
            None,
            [
                "11-20 09:00 deadline.started survey due 12-01 00:00",
                "11-20 09:00 deadline.started survey due 12-21 00:00",
                "12-01 00:00 deadline.breached survey due 12-01 00:00",
            ],
        ),
    ],
)
def test_in_the_first_year_a_date_that_was_over_is_not_promised(
    in_force: str, when: str, go_live: str | None, expected: list[str]
) -> None:
    first = charter("1", in_force, survey("11-30", "12-20"))
    begun = enacted(when, first, "1", "new_cases", **({"go_live": go_live} if go_live else {}))
    found = play(begun, world=unopened(first), until="12-20 00:00")
    assert lines(found) == expected


@pytest.mark.parametrize(
    ("in_force", "more"), [("2026-12-10", {}), ("2026-01-01", {"go_live": "2026-12-05T00:00:00+09:00"})]
)
def test_no_duty_begins_before_its_charter_is_in_force_and_the_city_live(in_force: str, more: dict[str, str]) -> None:
    first = charter("1", in_force, survey("11-30", "12-20"))
    begun = enacted("11-20 09:00", first, "1", "new_cases", **more)
    assert play(begun, world=unopened(first), until="12-05 00:00") == []


# -- what is taken back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("applies", ["open_from_today", "retroactive"])
def test_a_charter_enacted_by_mistake_is_as_if_never_enacted(applies: str) -> None:
    mistake = enacted("11-10 09:00", QUICKER, "2", applies)
    wrong = back("11-11 09:00", mistake)
    found = play(
        petition("11-05 10:00", "open"),
        petition("11-05 11:00", "over"),
        mistake,
        done("11-10 12:00", "over"),
        petition("11-10 13:00", "new"),
        wrong,
        told("11-11 10:00", "over"),
        petition("11-11 11:00", "after"),
        back("11-11 12:00", wrong, id="again"),
        world=world(charter_2=QUICKER),
    )
    assert lines(found) == [
        "11-05 10:00 deadline.started answer due 11-19 10:00",
        "11-05 11:00 deadline.started answer due 11-19 11:00",
        "11-10 09:00 deadline.moved answer due 11-12 10:00 charter",
        "11-10 09:00 deadline.moved answer due 11-12 11:00 charter",
        "11-10 12:00 deadline.met answer due 11-12 11:00",
        "11-10 13:00 deadline.started answer due 11-17 13:00",
        # Open cases go back; what was judged and closed meanwhile stays as it was judged.
        "11-11 09:00 deadline.moved answer due 11-19 10:00 fact_voided",
        "11-11 09:00 deadline.moved answer due 11-24 13:00 fact_voided",
        "11-11 11:00 deadline.started answer due 11-25 11:00",
        # The taking back is taken back.
        "11-11 12:00 deadline.moved answer due 11-12 10:00 fact_voided",
        "11-11 12:00 deadline.moved answer due 11-17 13:00 fact_voided",
        "11-11 12:00 deadline.moved answer due 11-18 11:00 fact_voided",
    ]


def test_the_duties_of_a_charter_taken_back_are_those_before() -> None:
    second = charter("2", "2026-07-01", survey("10-31"))
    mistake = enacted("07-01 09:00", second, "2", "new_cases")
    found = play(
        mistake,
        back("07-02 09:00", mistake),
        world=world(charter("1", "2026-01-01", survey("11-30")), charter_2=second),
    )
    assert lines(found) == [
        "07-01 09:00 deadline.moved survey due 11-01 00:00 charter",
        "07-02 09:00 deadline.moved survey due 12-01 00:00 fact_voided",
    ]


def test_a_city_opened_by_mistake_and_opened_again_begins_with_the_second_time() -> None:
    first = charter("1", "2026-01-01", survey("11-30", "12-20"))
    mistake = enacted("11-20 09:00", first, "1", "new_cases")
    again = msgspec.structs.replace(enacted("12-05 09:00", first, "1", "new_cases"), id="charter-1-again")
    found = play(mistake, back("11-21 09:00", mistake), again, world=unopened(first), until="12-20 00:00")
    assert lines(found) == [
        "11-20 09:00 deadline.started survey due 12-01 00:00",
        "11-20 09:00 deadline.started survey due 12-21 00:00",
        "11-21 09:00 deadline.voided survey due 12-01 00:00",
        "11-21 09:00 deadline.voided survey due 12-21 00:00",
        "12-05 09:00 deadline.started survey due 12-21 00:00",
    ]


def test_an_enactment_of_rules_taken_back_changes_nothing() -> None:
    rules = of_city("rules.enacted", "11-03 09:00", id="rules", revision="1", applies="new_cases")
    found = play(petition("11-02 10:00"), rules, back("11-04 09:00", rules), world=world())
    assert lines(found) == ["11-02 10:00 deadline.started answer due 11-16 10:00"]


# -- what closes a case ---------------------------------------------------------------------------------------


def test_a_closing_that_the_law_refuses_is_no_end_for_the_calendar_either() -> None:
    """A statutory petition is not closed as a repeat, so that a day off designated later still counts in it."""
    found = play(
        received("11-02 10:00", kind="statutory", period={"amount": 10, "unit": "days"}),
        event("complaint.closed_without_answer", "11-03 10:00", ground="repeat"),
        event("calendar.exception", "11-04 09:00", case="_all", date="2026-11-10", closed=True),
        event("complaint.progress_notified", "11-05 10:00", by="phone"),
    )
    assert lines(found, "statutory-period", "event.refused") == [
        "11-02 10:00 deadline.started statutory-period due 11-14 00:00",
        "11-03 10:00 event.refused closing_ground_not_allowed",
        "11-04 09:00 deadline.moved statutory-period due 11-17 00:00 calendar",
    ]


def test_what_closed_a_case_is_not_judged_again_by_a_version_that_came_later() -> None:
    """By the law of the later version a statutory petition is not closed as a repeat; this one was, before that."""
    lawful = charter("2", "2026-11-10", promise("answer", 5)).replace(b"currency: KRW", b"currency: KRW\nlaw: kr")
    found = play(
        petition("11-02 10:00", kind="statutory"),
        event("complaint.closed_without_answer", "11-05 10:00", tenant="haneul", ground="repeat"),
        enacted("11-10 09:00", lawful, "2", "retroactive"),
        told("11-12 10:00"),
        world=world(charter_2=lawful),
    )
    assert lines(found) == [
        "11-02 10:00 deadline.started answer due 11-16 10:00",
        "11-05 10:00 deadline.voided answer due 11-16 10:00",
    ]


ADMISSION = """
clauses:
  - id: named
    section: "1"
    kind: admission
    says: {ko: 성명, en: A name}
    "on": [{"on": complaint.received, where: {has_name: false}}]
    refuse: name_missing
"""


def test_a_receipt_that_is_not_let_in_chooses_no_charter() -> None:
    first = charter("1", "2026-01-01", promise("answer", 10), ADMISSION)
    second = charter("2", "2026-11-10", promise("answer", 5), ADMISSION)
    without = received("11-09 10:00", tenant="haneul", id="without", has_name=False)
    found = play(
        without,
        enacted("11-10 09:00", second, "2", "new_cases"),
        petition("11-11 10:00", has_name=True),
        world=world(first, charter_2=second),
    )
    assert lines(found) == [
        "11-09 10:00 event.refused name_missing",
        "11-11 10:00 deadline.started answer due 11-18 10:00",
    ]


@pytest.mark.parametrize("also", [[], ["2026-11-13"]])
def test_a_version_that_came_while_a_case_was_closed_does_not_reach_it_when_opened_again(also: list[str]) -> None:
    found = play(
        petition("11-02 10:00"),
        done("11-05 10:00"),
        enacted("11-10 09:00", QUICKER, "2", "open_from_today"),
        *(holiday("11-11 09:00", day) for day in also),
        event("complaint.reopened", "11-12 10:00", tenant="haneul", reason_="x"),
        world=world(charter_2=QUICKER),
    )
    due = "11-27 10:00" if also else "11-26 10:00"
    assert lines(found)[2:] == [f"11-12 10:00 deadline.started answer due {due}"]
