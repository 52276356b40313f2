"""Every kind of promise answers why: measures, duties, what citizens owe, and what never began. Texts as they are read.

The texts in tests/golden/explanations are written out whole and read by people; a change there is a change of what
citizens are told.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from stories import REPLY, event, received
from test_explain import LAW, answered, explained, short, step, steps

from services.rules.explaining.answer import Answer
from services.rules.explaining.measured import Measured
from services.rules.explaining.text import as_json, in_words
from services.rules.explaining.unstarted import Unstarted
from services.rules.explaining.words import Language
from services.rules.facts import Event

GOLDEN = Path(__file__).parents[1] / "golden" / "explanations"


def measured(promise: str, *events: Event, **more: Any) -> Measured:
    (one,) = answered(promise, *events, **more)
    assert isinstance(one, Measured)
    return one


def obstacles(promise: str, *events: Event, **more: Any) -> list[str]:
    """Why a promise never began, as lines such as `does_not_fit kind disclosure`."""
    (one,) = answered(promise, *events, **more)
    assert isinstance(one, Unstarted)
    assert in_words(one, "ko")
    assert in_words(one, "en")
    found = []
    for row in one.obstacles:
        words = [row.why, row.type, row.code, row.field, "" if row.found is None else str(row.found), row.other]
        found.append(" ".join(word for word in words if word))
    return found


# -- measures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rings", "state"), [(2, "kept"), (3, "broken")])
def test_number_against_its_limit(rings: int, state: str) -> None:
    """Below three."""
    one = measured("mapo-phone-rings", event("call.answered", "11-03 10:00", tenant="mapo", id="k1", rings=rings))
    assert (one.sort, one.field, one.value, one.test, one.bound) == ("number", "rings", rings, "below", 3)
    assert (one.state, one.measured.key, short(one.measured.at)) == (state, "desk/k1", "11-03 10:00")


def test_number_without_a_limit_is_shown() -> None:
    one = measured("seoul-phone-connect", event("call.transferred", "11-03 10:00", tenant="seoul", wait_seconds=20))
    assert (one.value, one.test, one.state) == (20, "", "noted")
    assert "기다린 시간 20초" in in_words(one, "ko")


def test_time_against_its_limit_with_every_step() -> None:
    """Eight working hours from Friday 16:00 end on Monday at 16:00."""
    asked = event("complaint.supplement_requested", "11-10 10:00", id="s1")
    one = measured("statutory-supplement-demand", received("11-06 16:00", kind="suggestion", id="r1"), asked)
    assert one.since_by is not None
    assert (one.state, one.since_by.key, one.measured.key, short(one.limit)) == (
        "broken",
        "desk/r1",
        "desk/s1",
        "11-09 16:00",
    )
    assert [step(row) for row in one.steps] == [
        "11-06 16:00 > 11-06 18:00 counts 2h period",
        "11-06 18:00 > 11-07 00:00 skips outside_hours",
        "11-07 00:00 > 11-09 00:00 skips weekend",
        "11-09 00:00 > 11-09 09:00 skips outside_hours",
        "11-09 09:00 > 11-09 12:00 counts 3h period",
        "11-09 12:00 > 11-09 13:00 skips break",
        "11-09 13:00 > 11-09 16:00 counts 3h period",
    ]


def test_step_that_had_to_wait() -> None:
    """Thirty days between the decision of the 2nd and the disclosure: from the 3rd of December on."""
    story = [
        received(kind="disclosure", id="r1"),
        event("disclosure.decided", "11-02 15:00", id="d1", decision="open", over_objection=True),
        event("disclosure.disclosed", "11-20 10:00", id="d2"),
    ]
    one = measured("statutory-third-party-wait", *story)
    assert (one.state, one.not_before, short(one.limit)) == ("broken", True, "12-03 00:00")
    assert "The limit: not before 30 days are over, Wed 2026-12-02 24:00, days off count too" in in_words(one, "en")


def test_return_before_the_demands_ran_out() -> None:
    story = [
        received(kind="suggestion"),
        event("complaint.supplement_requested", "11-02 11:00", respond_by="2026-11-06"),
        event("complaint.returned", "11-12 10:00"),
    ]
    one = measured("statutory-return", *story)
    assert (one.sort, one.other, one.bound, one.value, one.state) == ("lapses", "statutory-supplement", 2, 1, "broken")
    assert [short(due) for due in one.lapsed] == ["11-07 00:00"]


@pytest.mark.parametrize(
    ("until", "noted", "state"),
    [("11-03 12:00", False, "open"), ("11-05 00:00", False, "broken"), ("11-05 00:00", True, "kept")],
)
def test_note_that_had_to_be_taken(until: str, noted: bool, state: str) -> None:
    busy = event("call.transferred", "11-03 10:00", id="k1", line_busy=True, wait_seconds=40)
    note = event("callback.requested", "11-03 10:05", id="n1", via="phone", cause="line_busy", **REPLY)
    one = measured("anseong-phone-transfer", busy, *([note] if noted else []), until=until)
    assert (one.sort, one.wanted, short(one.limit), one.state) == (
        "note",
        ("callback.requested",),
        "11-04 00:00",
        state,
    )
    assert (one.noted_by.key if one.noted_by else "") == ("desk/n1" if noted else "")


def test_all_promises_of_a_case_have_their_measures_among_them() -> None:
    asked = event("complaint.supplement_requested", "11-02 11:00", id="s1", respond_by="2026-11-09")
    found = {one.promise for one in answered("", received(kind="suggestion"), asked)}
    assert {LAW, "statutory-supplement", "statutory-supplement-demand"} <= found


# -- duties, and what others owe ------------------------------------------------------------------------------------


def test_duty_of_every_year_is_due_on_its_date() -> None:
    """It is asked for in the city's own case, from the day of the year; the 31st of December never rolls."""
    held = event("survey.conducted", "11-03 10:00", tenant="mapo", case="mapo", id="p0")
    one = explained("mapo-survey", held, until="11-20 00:00")
    assert (one.basis, one.started_by.type, one.state) == ("yearly", "each_year", "met")
    assert steps(one) == ["01-01 00:00 > 2027-01-01 00:00 skips named"]


def test_day_that_a_citizen_has_rolls_on_and_lapses() -> None:
    """Saturday the 7th hands on to Monday; nobody in the office breaks anything by it."""
    asked = event("complaint.supplement_requested", "11-03 10:00", id="s1", respond_by="2026-11-07")
    one = explained("statutory-supplement", received(kind="suggestion"), asked, until="11-20 10:00")
    assert steps(one) == [
        "11-03 10:00 > 11-08 00:00 skips named",
        "11-08 00:00 > 11-09 00:00 skips weekend",
        "11-09 00:00 > 11-10 00:00 skips rolled",
    ]
    assert (one.basis, one.owed_by, one.state) == ("day", "citizen", "lapsed")


def test_more_time_to_supplement_names_a_new_day() -> None:
    asked = event("complaint.supplement_requested", "11-03 10:00", id="s1", respond_by="2026-11-06")
    longer = event("complaint.supplement_extended", "11-05 10:00", id="s2", respond_by="2026-11-14")
    one = explained("statutory-supplement", received(kind="suggestion"), asked, longer)
    assert steps(one)[:2] == ["11-03 10:00 > 11-15 00:00 skips named", "11-15 00:00 > 11-16 00:00 skips weekend"]
    assert [(short(row.before), short(row.after), row.cause.key) for row in one.moves] == [
        ("11-07 00:00", "11-17 00:00", "desk/s2")
    ]


def test_what_was_begun_by_something_else_than_the_receipt_it_counts_from() -> None:
    petition = received(tenant="mapo", compound=True, period={"amount": 15, "unit": "days"}, id="r1")
    asked = event("guardian.requested", "11-03 10:00", tenant="mapo", id="g1")
    one = explained("mapo-guardian-progress", petition, asked)
    assert (one.started_by.key, short(one.started_by.at), short(one.start)) == ("desk/g1", "11-03 10:00", "11-02 10:00")


# -- what never began -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("promise", "said"),
    [
        ("mapo-handover", ["does_not_fit complaint.received channel visit"]),
        ("mapo-visit-callback", ["never_happened callback.requested"]),
        ("mapo-late-explained", ["not_broken statutory-period"]),
        ("mapo-survey", ["city_duty"]),
        ("mapo-privacy", ["no_clock conduct"]),
        ("mapo-redress", ["no_clock remedy"]),
        ("mapo-phone-rings", ["never_happened call.answered"]),
        (
            "mapo-guardian-progress",
            ["does_not_fit complaint.received compound", "never_happened guardian.requested"],
        ),
    ],
)
def test_promise_that_never_began_says_why_not(promise: str, said: list[str]) -> None:
    assert obstacles(promise, received(tenant="mapo")) == said


def test_event_that_was_refused_began_nothing() -> None:
    """Asked for in a case that is closed."""
    story = [
        received(kind="suggestion"),
        event("complaint.completed", "11-03 10:00"),
        event("complaint.supplement_requested", "11-04 10:00", id="s1", respond_by="2026-11-09"),
    ]
    assert obstacles("statutory-supplement", *story) == ["refused complaint.supplement_requested case_closed"]


def test_event_that_names_no_instant_began_nothing() -> None:
    booked = event("appointment.booked", "11-02 10:00", tenant="mapo", assistance_needed=True)
    assert obstacles("mapo-visit-appointment-assist", booked) == ["nothing_to_judge appointment.booked"]
    call = event("call.answered", "11-02 10:00", tenant="mapo")
    assert obstacles("mapo-phone-rings", call) == ["nothing_to_judge call.answered"]


def test_what_comes_before_the_petition_means_nothing_yet() -> None:
    asked = event("guardian.requested", "11-03 10:00", tenant="mapo", id="g1")
    assert obstacles("mapo-guardian-progress", asked) == [
        "never_happened complaint.received",
        "not_received guardian.requested",
    ]


def test_too_late_to_begin() -> None:
    """Three days from the receipt of the 2nd are over on the 5th."""
    petition = received(tenant="mapo", compound=True, period={"amount": 15, "unit": "days"})
    late = event("guardian.requested", "11-12 10:00", tenant="mapo", id="g1")
    assert obstacles("mapo-guardian-progress", petition, late) == [
        "does_not_fit complaint.received guardian_wanted",
        "over_by_then guardian.requested",
    ]


# -- readings of the law --------------------------------------------------------------------------------------------


def test_local_day_off_names_the_reading() -> None:
    off = event(
        "calendar.exception", "11-03 10:00", id="x1", date="2026-11-06", closed=True, local=True, name="구민의 날"
    )
    off = msgspec.structs.replace(off, subject="", case="all")
    one = explained(LAW, received(), off)
    assert one.readings == {"day_end": "24:00", "local_holiday_excluded": "true"}
    assert "우리 지역만 쉬는 날도 셈에서 뺍니다" in in_words(one, "ko")
    later = explained(LAW, received("11-09 10:00"), msgspec.structs.replace(off, time=off.time.replace(day=10)))
    assert later.readings == {"day_end": "24:00"}


def test_receipt_after_hours_names_the_reading() -> None:
    """Received at 19:00 on a working day, which is its first date as the law is read here."""
    assert explained(LAW, received("11-02 19:00")).readings["after_hours_receipt"] == "literal"
    assert "after_hours_receipt" not in explained(LAW, received("11-07 10:00")).readings


# -- as it is read --------------------------------------------------------------------------------------------------

MOVED = [
    received(kind="suggestion", id="r1"),
    msgspec.structs.replace(
        event(
            "calendar.exception",
            "11-05 09:00",
            id="x1",
            by_source="administration",
            date="2026-11-06",
            closed=True,
            name="임시공휴일",
        ),
        subject="",
        case="all",
    ),
    event("complaint.supplement_requested", "11-03 10:00", id="s1", recorded="11-09 10:00"),
    event("complaint.supplement_received", "11-09 11:00", id="s2"),
    event("complaint.extended", "11-10 10:00", ground="fact_check", amount=3, unit="days", id="e1"),
]
HEARD = [
    received(tenant="yeonje", kind="service_grievance", id="r1"),
    event("complaint.suspended", "11-02 11:00", tenant="yeonje", ground="hearing", id="h1"),
]
LAPSED = [
    received(kind="suggestion", id="r1"),
    event("complaint.supplement_requested", "11-03 10:00", id="s1", respond_by="2026-11-07"),
]
STORIES: dict[str, tuple[str, list[Event], str | None]] = {
    "moved-by-a-holiday-late-papers-and-an-extension": (LAW, MOVED, None),
    "stands-still": ("yeonje-opinion-date", HEARD, "11-03 10:00"),
    "begun-by-a-breach": ("mapo-late-explained", [received(tenant="mapo", id="r1")], "11-11 09:30"),
    "lapsed-with-the-citizen": ("statutory-supplement", LAPSED, "11-20 10:00"),
    "demanded-too-late": (
        "statutory-supplement-demand",
        [LAPSED[0], event("complaint.supplement_requested", "11-04 10:00", id="s1")],
        None,
    ),
    "a-round-of-progress": ("statutory-progress", [received("11-07 10:00", id="r1")], "11-20 10:00"),
    "never-began": ("mapo-guardian-progress", [received(tenant="mapo", id="r1")], None),
    "a-duty": ("mapo-survey", [event("survey.published", "11-03 10:00", tenant="mapo", case="mapo", id="p0")], None),
}


def _story(name: str) -> Answer:
    promise, events, until = STORIES[name]
    return answered(promise, *events, until=until)[0]


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("name", sorted(STORIES))
def test_text_is_as_it_was_read_and_approved(name: str, language: Language) -> None:
    assert in_words(_story(name), language) == (GOLDEN / f"{name}.{language}.txt").read_text(encoding="utf-8")


def test_json_of_every_kind_dates_its_instants() -> None:
    """No instant is left as a number of microseconds."""
    for name in STORIES:
        text = msgspec.json.encode(as_json(_story(name))).decode()
        assert not [word for word in text.replace("}", ",").replace("]", ",").split(",") if word[-16:].isdigit()], name
    found = as_json(_story("demanded-too-late"))
    assert (found["kind"], found["since"], found["limit"]) == (
        "measure",
        "2026-11-02T10:00:00+09:00",
        "2026-11-03T10:00:00+09:00",
    )
