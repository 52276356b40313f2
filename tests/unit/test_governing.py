"""Versions of charters and calendars: what governs a case, and what stays when a later version comes."""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from stories import at, event, lines, play, received, voided

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


ANSWER = charter("1", "2026-01-01", promise("answer", 10))


@cache
def _library(files: tuple[tuple[str, bytes], ...]) -> Library:
    return Library(dict(files))


def world(first: bytes = ANSWER, **later: bytes) -> World:
    """A world whose log begins with a charter and a calendar; later files lie ready, by names such as charter_2."""
    files: Mapping[str, bytes] = {
        "charters/haneul-1.yaml": first,
        "calendars/haneul-1.yaml": calendar(),
        **{f"{name.split('_')[0]}s/haneul-{name.split('_')[1]}.yaml": content for name, content in later.items()},
    }
    library = _library(tuple(files.items()))
    made = World([Rulebook(library) for _ in range(PARTITIONS)])
    made.feed(enacted("01-01 00:00", first, "1", "new_cases"), -2)
    made.feed(planned("01-01 00:00"), -1)
    return made


def of_city(type: str, when: str, id: str = "", **data: Any) -> Event:
    return event(type, when, case="_all", tenant="haneul", id=id, by_source="administration", **data)


def enacted(when: str, content: bytes, version: str, applies: str) -> Event:
    digest = hashlib.sha256(content).hexdigest()
    return of_city("charter.enacted", when, id=f"charter-{version}", version=version, sha256=digest, applies=applies)


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
    after = of.pass_before(at("11-12 00:00"))
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
