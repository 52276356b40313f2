"""Explain: every stretch of hand-counted deadlines, written out, and sums over random histories."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import REPLY, SEOUL, at, event, received
from test_cli import gihan
from test_fold_properties import END, START, TENANTS, histories, rules_of

from services.cli.explain import Asked, from_events
from services.rules.explaining.answer import Answer
from services.rules.explaining.course import read
from services.rules.explaining.explain import Explanation, adds_up, explain
from services.rules.explaining.steps import Step
from services.rules.explaining.text import as_json, in_words
from services.rules.facts import Event, Fact
from services.rules.governing import work_out
from services.rules.instants import HOUR, MINUTE, text

EXAMPLES = int(os.environ.get("GIHAN_EXAMPLES", "1000"))
LAW = "statutory-period"


def answered(
    promise: str, *events: Event, until: str | None = None, hindsight: bool = False, case: str = ""
) -> tuple[Answer, ...]:
    """What is said of a promise in a story, by default in the case of its first event."""
    first = events[0]
    asked = Asked(first.tenant, case or first.case_id, promise)
    return from_events(list(events), asked, None if until is None else at(until), hindsight)


def explained(promise: str, *events: Event, place: int = 0, **more: Any) -> Explanation:
    """The explanation of a run of a promise in a story, by default of the first."""
    one = answered(promise, *events, **more)[place]
    assert isinstance(one, Explanation)
    return one


def step(one: Step) -> str:
    """A step as a line such as `11-02 10:00 > 11-02 12:00 counts 2h period`."""
    counts = f"counts {one.counted}" if one.counted < MINUTE else f"counts {one.counted / HOUR:g}h"
    words = [counts if one.counted else "skips", one.why, one.ground, one.name.en if one.name else "", one.cause]
    return " ".join([f"{short(one.start)} > {short(one.end)}", *(word for word in words if word)])


def short(moment: int | None) -> str:
    return "-" if moment is None else text(moment, SEOUL)[:16].removeprefix("2026-").replace("T", " ")


def steps(one: Explanation) -> list[str]:
    return [step(row) for row in one.steps]


# -- one deadline, stretch by stretch -----------------------------------------------------------------------------


def test_three_days_over_a_weekend_and_chuseok() -> None:
    """Three days are 24 hours of eight a day: 7 on Tuesday, 8 on Wednesday, 8 on Monday, the last on Tuesday."""
    one = explained("anseong-inquiry", received("09-22 10:00", kind="inquiry"))
    assert steps(one) == [
        "09-22 10:00 > 09-22 12:00 counts 2h period",
        "09-22 12:00 > 09-22 13:00 skips break",
        "09-22 13:00 > 09-22 18:00 counts 5h period",
        "09-22 18:00 > 09-23 09:00 skips outside_hours",
        "09-23 09:00 > 09-23 12:00 counts 3h period",
        "09-23 12:00 > 09-23 13:00 skips break",
        "09-23 13:00 > 09-23 18:00 counts 5h period",
        "09-23 18:00 > 09-24 00:00 skips outside_hours",
        "09-24 00:00 > 09-25 00:00 skips holiday The day preceding Chuseok",
        "09-25 00:00 > 09-26 00:00 skips holiday Chuseok",
        "09-26 00:00 > 09-27 00:00 skips holiday The second day of Chuseok",
        "09-27 00:00 > 09-28 00:00 skips weekend",
        "09-28 00:00 > 09-28 09:00 skips outside_hours",
        "09-28 09:00 > 09-28 12:00 counts 3h period",
        "09-28 12:00 > 09-28 13:00 skips break",
        "09-28 13:00 > 09-28 18:00 counts 5h period",
        "09-28 18:00 > 09-29 09:00 skips outside_hours",
        "09-29 09:00 > 09-29 10:00 counts 1h period",
    ]
    assert (short(one.due), one.budget, one.measure) == ("09-29 10:00", 24 * HOUR, "time")
    assert (one.charter, one.law, one.calendar, one.rules) == ("anseong@1", "", "kr@2026.1", "1")
    assert (one.document["ko"], one.section) == ("안성시", "요청사항")


SUPPLEMENT = [
    received(kind="suggestion", id="r1"),
    event("complaint.supplement_requested", "11-04 10:00", id="s1"),
    event("complaint.supplement_received", "11-09 10:00", id="s2"),
]


def test_fourteen_days_with_a_supplement_in_korean() -> None:
    """4 to 9 November are out. 2 and 3 are two, 10 to 13 six, 16 to 20 eleven, and 25 is the fourteenth."""
    assert in_words(explained(LAW, *SUPPLEMENT), "ko").splitlines() == [
        "약속: 접수된 민원은 법에서 정한 처리기간 안에 결과가 나와야 합니다.",
        "근거: 민원 처리에 관한 법률과 그 밖의 기간 규정 법 제17조부터 제19조까지"
        " (kr@2026-05-06, 헌장 anseong@1, 달력 kr@2026.1, 규칙 1)",
        "시작: 2026년 11월 2일(월) 10:00, 민원 접수 [desk/r1]",
        "기간: 14일, 쉬는 날은 빼고 셈",
        "정지: 보완 요구, 2026년 11월 4일(수) 10:00 ~ 2026년 11월 9일(월) 10:00,"
        " 시작한 날과 끝난 날 모두 뺌 [desk/s1, desk/s2]",
        "법의 해석: 마지막 날은 24:00에 끝나는 것으로 봅니다; 정지가 시작된 날과 끝난 날은 모두 셈에서 뺍니다",
        "하나씩 세면:",
        "  11월 2일(월) 10:00 ~ 11월 3일(화) 24:00: 2일을 셉니다",
        "  11월 4일(수) 00:00 ~ 11월 9일(월) 24:00: 세지 않습니다 - 정지(보완 요구)",
        "  11월 10일(화) 00:00 ~ 11월 13일(금) 24:00: 4일을 셉니다",
        "  11월 14일(토) 00:00 ~ 11월 15일(일) 24:00: 세지 않습니다 - 주말입니다",
        "  11월 16일(월) 00:00 ~ 11월 20일(금) 24:00: 5일을 셉니다",
        "  11월 21일(토) 00:00 ~ 11월 22일(일) 24:00: 세지 않습니다 - 주말입니다",
        "  11월 23일(월) 00:00 ~ 11월 25일(수) 24:00: 3일을 셉니다",
        "합계: 14일",
        "기한이 바뀜: 2026년 11월 19일(목) 24:00 → 정해지지 않음, 2026년 11월 4일(수) 10:00 보완 요구 [desk/s1]",
        "기한이 바뀜: 정해지지 않음 → 2026년 11월 25일(수) 24:00, 2026년 11월 9일(월) 10:00 보완 서류 도착 [desk/s2]",
        "기한: 2026년 11월 25일(수) 24:00",
        "처음 알려 드린 기한: 2026년 11월 19일(목) 24:00",
        "상태: 진행 중입니다.",
    ]


def test_fourteen_days_with_a_supplement_in_english() -> None:
    """The same, as it stood while the papers were awaited."""
    assert in_words(explained(LAW, *SUPPLEMENT, until="11-05 10:00"), "en").splitlines() == [
        "The promise: A registered petition has its result before the handling period set by law is over.",
        "Where it stands: Civil Petitions Treatment Act and related period rules, 법 제17조부터 제19조까지"
        " (kr@2026-05-06, charter anseong@1, calendar kr@2026.1, rules 1)",
        "It began: Mon 2026-11-02 10:00, when the petition was received [desk/r1]",
        "The period: 14 days, days off do not count",
        "Stopped: waiting for papers, Wed 2026-11-04 10:00, not over yet, both days left out in full [desk/s1]",
        "As the law is read: the last day is over at 24:00; the days on which a stop begins and ends are both left out",
        "Step by step:",
        "  Mon 2026-11-02 10:00 ~ Tue 2026-11-03 24:00: 2 days counted",
        "  from Wed 2026-11-04 00:00: not counted - stopped (waiting for papers)",
        "Counted so far: 2 days of 14 days; 12 days left",
        "The date moved: from Thu 2026-11-19 24:00 to none, Wed 2026-11-04 10:00, when papers were asked for [desk/s1]",
        "Due: none while it stands still",
        "The date first told: Thu 2026-11-19 24:00",
        "State: it stands still; once the papers arrive, the 12 days left go on.",
    ]


def test_working_hours_over_lunch() -> None:
    one = explained("anseong-phone-callback", event("callback.requested", "11-02 11:30", via="phone", **REPLY))
    assert steps(one) == [
        "11-02 11:30 > 11-02 12:00 counts 0.5h period",
        "11-02 12:00 > 11-02 13:00 skips break",
        "11-02 13:00 > 11-02 15:30 counts 2.5h period",
    ]
    assert "11월 2일(월) 11:30 ~ 12:00: 30분을 셉니다" in in_words(one, "ko")


def test_time_that_the_citizen_wanted() -> None:
    """It is the due instant itself: nothing is counted. A later wish moves it."""
    asked = event(
        "callback.requested", "11-02 10:00", via="phone", id="c1", wanted_at="2026-11-04T15:00:00+09:00", **REPLY
    )
    later = event("callback.rescheduled", "11-03 09:00", id="c2", wanted_at="2026-11-05T16:00:00+09:00")
    one = explained("anseong-phone-callback", asked, later)
    assert steps(one) == ["11-02 10:00 > 11-05 16:00 skips named"]
    assert (one.budget, short(one.named), short(one.due)) == (0, "11-05 16:00", "11-05 16:00")
    assert [(short(move.before), short(move.after), move.cause.key) for move in one.moves] == [
        ("11-04 15:00", "11-05 16:00", "desk/c2")
    ]


def test_round_that_rolls_to_the_next_working_day() -> None:
    """Seven dates from Sunday the 8th end on Saturday the 14th, twice seven on Saturday the 21st."""
    petition = received("11-07 10:00", period={"amount": 15, "unit": "days"})
    first, second = (explained("anseong-progress", petition, until="11-17 10:00", place=place) for place in (0, 1))
    assert steps(first) == [
        "11-07 10:00 > 11-08 00:00 skips first_date",
        "11-08 00:00 > 11-15 00:00 counts 7 period",
        "11-15 00:00 > 11-16 00:00 skips weekend",
        "11-16 00:00 > 11-17 00:00 skips rolled",
    ]
    assert (second.round, steps(second)[1], short(second.due)) == (
        2,
        "11-08 00:00 > 11-22 00:00 counts 14 period",
        "11-24 00:00",
    )
    assert "기간: 14일 (7일마다, 2번째), 쉬는 날도 셈" in in_words(second, "ko")


def test_month_that_ends_where_there_is_no_such_date() -> None:
    """A month from 31 January is over on 28 February, a Saturday; the 2nd of March stands in for Sunday's holiday."""
    one = explained(LAW, received("01-31 10:00", kind="statutory", period={"amount": 1, "unit": "months"}))
    assert steps(one) == [
        "01-31 10:00 > 03-01 00:00 counts 29 period",
        "03-01 00:00 > 03-02 00:00 skips holiday Independence Movement Day",
        "03-02 00:00 > 03-03 00:00 skips holiday Substitute holiday for Independence Movement Day",
        "03-03 00:00 > 03-04 00:00 skips rolled",
    ]
    assert (one.budget, one.measure) == (29, "dates")


def test_appointment_is_counted_back_from() -> None:
    booked = event(
        "appointment.booked", "11-02 10:00", tenant="mapo", at="2026-11-04T15:00:00+09:00", assistance_needed=True
    )
    one = explained("mapo-visit-appointment-assist", booked)
    assert steps(one) == ["11-02 10:00 > 11-04 14:55 skips named"]
    assert [step(row) for row in one.ahead] == [f"11-04 14:55 > 11-04 15:00 counts {5 / 60:g}h period"]
    assert "예약 시각 2026년 11월 4일(수) 15:00보다 5분 앞" in in_words(one, "ko")


def test_suspended_now_says_what_remains() -> None:
    facts = [
        received(tenant="yeonje", kind="service_grievance"),
        event("complaint.suspended", "11-02 11:00", tenant="yeonje", ground="hearing", id="h1"),
    ]
    one = explained("yeonje-opinion-date", *facts, until="11-03 10:00")
    assert steps(one) == [
        "11-02 10:00 > 11-02 11:00 counts 1h period",
        "11-02 11:00 > - skips suspension hearing desk/h1",
    ]
    assert (one.state, one.due, one.remaining) == ("suspended", None, 2 * HOUR)
    assert "합계: 3시간 가운데 1시간, 남은 기간 2시간" in in_words(one, "ko")


def test_extended_twice() -> None:
    """Seven dates end on the 10th, three more on the 13th, two more on Tuesday the 17th."""
    facts = [
        received(),
        event("complaint.extended", "11-05 10:00", ground="fact_check", amount=3, unit="days", id="e1"),
        event("complaint.extended", "11-12 10:00", ground="fact_check", amount=2, unit="days", consent=True, id="e2"),
    ]
    one = explained(LAW, *facts)
    assert steps(one) == [
        "11-02 10:00 > 11-07 00:00 counts 5 period",
        "11-07 00:00 > 11-09 00:00 skips weekend",
        "11-09 00:00 > 11-11 00:00 counts 2 period",
        "11-11 00:00 > 11-14 00:00 counts 3 extension desk/e1",
        "11-14 00:00 > 11-16 00:00 skips weekend",
        "11-16 00:00 > 11-18 00:00 counts 2 extension desk/e2",
    ]
    assert [(row.amount, row.cause.key) for row in one.extensions] == [(3, "desk/e1"), (2, "desk/e2")]
    assert [short(move.after) for move in one.moves] == ["11-14 00:00", "11-18 00:00"]
    assert (one.budget, short(one.first_due)) == (12, "11-11 00:00")


def test_provisional_past_the_calendar() -> None:
    """No holiday of 2029 is known: its first of January counts for now."""
    one = explained(LAW, received("2028-12-20 10:00", kind="suggestion"))
    assert steps(one) == [
        "2028-12-20 10:00 > 2028-12-23 00:00 counts 3 period",
        "2028-12-23 00:00 > 2028-12-25 00:00 skips weekend",
        "2028-12-25 00:00 > 2028-12-26 00:00 skips holiday Christmas Day",
        "2028-12-26 00:00 > 2028-12-30 00:00 counts 4 period",
        "2028-12-30 00:00 > 2029-01-01 00:00 skips weekend",
        "2029-01-01 00:00 > 2029-01-06 00:00 counts 5 period",
        "2029-01-06 00:00 > 2029-01-08 00:00 skips weekend",
        "2029-01-08 00:00 > 2029-01-10 00:00 counts 2 period",
    ]
    assert one.provisional
    assert "잠정: 달력의 쉬는 날은 2028년 12월 31일(일) 24:00까지만" in in_words(one, "ko")


def test_holiday_declared_late_is_named_and_the_date_first_told_is_kept() -> None:
    declared = event("calendar.exception", "11-03 10:00", date="2026-11-06", closed=True)
    declared = msgspec.structs.replace(declared, subject="", case="all")
    one = explained(LAW, received(), declared)
    assert "11-06 00:00 > 11-07 00:00 skips holiday closed by decision" in steps(one)
    assert (short(one.first_due), short(one.due)) == ("11-11 00:00", "11-12 00:00")


def test_clock_that_a_breach_started_names_the_broken_promise() -> None:
    one = explained("mapo-late-explained", received(tenant="mapo"), until="11-11 09:30")
    cause = one.started_by
    assert (cause.type, short(cause.at), cause.promise) == ("deadline.breached", "11-11 00:00", LAW)
    assert "when this promise was broken: “A registered petition has its result" in in_words(one, "en")
    assert steps(one) == [
        "11-11 00:00 > 11-11 09:00 skips outside_hours",
        "11-11 09:00 > 11-11 10:00 counts 1h period",
    ]


def test_json_says_the_same_with_times_of_the_city() -> None:
    found = as_json(explained(LAW, *SUPPLEMENT))
    assert found["due"] == "2026-11-26T00:00:00+09:00"
    assert found["steps"][1] == {
        "start": "2026-11-04T00:00:00+09:00",
        "end": "2026-11-10T00:00:00+09:00",
        "counted": 0,
        "why": "suspension",
        "ground": "supplement",
        "cause": "desk/s1",
    }
    assert found["suspensions"][0]["ended_by"]["key"] == "desk/s2"
    assert sum(row["counted"] for row in found["steps"]) == found["budget"] == 14


# -- what can go wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"budget": 13},
        {"due": at("11-27 00:00")},
        {"start": at("11-02 11:00")},
        {"remaining": 1},
        {"steps": ()},
    ],
)
def test_sums_that_are_wrong_are_seen(change: dict[str, Any]) -> None:
    one = explained(LAW, *SUPPLEMENT)
    assert adds_up(one)
    assert not adds_up(msgspec.structs.replace(one, **change))
    gap = (*one.steps[:2], *one.steps[3:])
    assert not adds_up(msgspec.structs.replace(one, steps=gap, budget=10))


@settings(max_examples=EXAMPLES // 4)
@given(TENANTS, histories(), st.integers(0, 60 * 24))
def test_every_run_of_a_random_case_adds_up_at_every_moment(tenant: str, facts: list[Fact], hour: int) -> None:
    """And is due when the standing says; whatever the state, both languages and JSON can say it."""
    numbered = tuple(Fact(n, fact.source, fact.id, fact.type, fact.time, fact.data) for n, fact in enumerate(facts, 1))
    clock = min(START + hour * HOUR, END)
    known = tuple(fact for fact in numbered if fact.time <= clock)
    deadlines = work_out(known, clock, rules_of(tenant)).deadlines
    found = explain(read(known, clock, rules_of(tenant)))
    assert {(one.promise, one.occurrence): (one.due, one.state) for one in found} == {
        key: (deadline.due, deadline.state) for key, deadline in deadlines.items()
    }
    for one in found:
        assert adds_up(one)
        assert in_words(one, "ko")
        assert in_words(one, "en")
        assert json.dumps(as_json(one))


# -- the command --------------------------------------------------------------------------------------------------

PETITION = {
    "specversion": "1.0",
    "id": "r1",
    "source": "desk",
    "type": "complaint.received",
    "subject": "c1",
    "time": "2026-11-02T10:00:00+09:00",
    "tenant": "anseong",
    "data": {"kind": "inquiry", "channel": "visit"},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text(json.dumps(PETITION) + "\n", encoding="utf-8")
    return path


def test_command_explains_a_file(file: Path) -> None:
    plain = gihan("explain", "anseong/C1", "anseong-inquiry", "--file", file)
    assert plain.exit_code == 0
    assert "기한: 2026년 11월 5일(목) 10:00\n" in plain.output
    english = gihan("explain", "anseong/c1", "anseong-inquiry", "--file", file, "--lang", "en")
    assert "Due: Thu 2026-11-05 10:00\n" in english.output
    every = gihan("explain", "anseong/c1", "--file", file, "--json").output.splitlines()
    assert {json.loads(line)["promise"] for line in every} == {
        "anseong-inquiry",
        "statutory-period",
        "statutory-progress",
    }


def test_command_tells_what_was_known_then_from_what_is_known_now(file: Path) -> None:
    """The answer of the 4th was recorded on the 9th."""
    late = {**PETITION, "id": "d1", "type": "complaint.completed", "time": "2026-11-04T10:00:00+09:00", "data": {}}
    late["recordedtime"] = "2026-11-09T10:00:00+09:00"
    file.write_text("\n".join(json.dumps(row) for row in (PETITION, late)) + "\n", encoding="utf-8")
    asked = ("explain", "anseong/c1", "anseong-inquiry", "--file", file, "--at", "2026-11-06T10:00:00+09:00", "--json")
    assert json.loads(gihan(*asked).output)["state"] == "broken"
    assert json.loads(gihan(*asked, "--hindsight").output)["state"] == "met"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["anseong"], "TENANT/CASE"),
        (["anseong/c2"], "nothing is known of this case"),
        (["anseong/c1", "anseong-unheard-of"], "no promise of this name"),
        (["anseong/c1", "--at", "2026-11-01T10:00:00+09:00"], "nothing is known of this case"),
        (["anseong/c1", "--lang", "fr"], "ko or en"),
    ],
)
def test_command_says_what_is_wrong(file: Path, arguments: list[str], said: str) -> None:
    result = gihan("explain", *arguments, "--file", file)
    assert result.exit_code == 2
    assert said in result.output
