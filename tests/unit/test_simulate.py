"""`gihan simulate`: what a file of events gives, to the letter of the contract."""

import json
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from stories import SEOUL, at, event, received

from services.cli.simulate import Unreadable, read_events, simulate
from services.cli.zones import Zones
from services.rules.instants import DAY, instant
from services.rules.lines import line_of, text_of, whose
from services.rules.state import KINDS, Decided, Decision


def file_of(*rows: dict[str, object]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def row(type: str, time: str, subject: str = "c1", **more: object) -> dict[str, object]:
    """An event with no more than a file of events must have: no source, no specversion."""
    data = more.pop("data", {})
    return {
        "id": f"{type}-{subject}-{time}",
        "type": type,
        "time": f"2026-{time}:00+09:00",
        "tenant": "seoul",
        "subject": subject,
        "data": data,
        **more,
    }


ASKED = {"via": "phone", "memo": {"reply_wanted": True}}


def printed(*rows: dict[str, object], until: str | None = None) -> list[dict[str, object]]:
    found = simulate(read_events(file_of(*rows)), None if until is None else at(until))
    # The duties of the tenant's own case run in every file; they have a test of their own.
    return [line_of(decided, SEOUL) for decided in found if decided.case != decided.tenant and not notice(decided)]


def notice(decided: Decided) -> bool:
    return decided.decision.kind == "notice.requested"


def test_lines_hold_what_the_contract_names_and_no_absent_value() -> None:
    told = printed(row("complaint.received", "11-02T10:00", data={"kind": "grievance"}), until="11-11 00:01")
    assert told[0] == {
        "at": "2026-11-02T10:00:00+09:00",
        "tenant": "seoul",
        "case": "c1",
        "decision": "deadline.started",
        "promise": "seoul-statutory-period",
        "due": "2026-11-11T00:00:00+09:00",
    }
    assert told[-1] == {
        "at": "2026-11-11T00:00:00+09:00",
        "tenant": "seoul",
        "case": "c1",
        "decision": "deadline.breached",
        "promise": "statutory-period",
        "due": "2026-11-11T00:00:00+09:00",
    }
    assert {
        "at": "2026-11-11T00:00:00+09:00",
        "tenant": "seoul",
        "case": "c1",
        "decision": "remedy.proposed",
        "promise": "seoul-statutory-period",
        "due": "2026-11-11T00:00:00+09:00",
        "remedy": "seoul-remedy-money",
        "amount": 5000,
    } in told
    assert [list(line) for line in told if line["decision"] == "remedy.proposed"] == [
        ["at", "tenant", "case", "decision", "promise", "due", "remedy", "amount"]
    ]


def test_the_reason_of_a_move_and_the_code_of_a_refusal_stand_in_reason() -> None:
    told = printed(
        row("complaint.received", "11-02T10:00", data={"kind": "grievance"}),
        row("complaint.extended", "11-03T10:00", data={"ground": "fact_check", "amount": 2, "unit": "days"}),
        row("complaint.extended", "11-04T10:00", data={"ground": "fact_check", "amount": 2, "unit": "days"}),
    )
    assert [(line["decision"], line["reason"]) for line in told if "reason" in line] == [
        ("deadline.moved", "extended"),
        ("deadline.moved", "extended"),
        ("event.refused", "extension_without_consent"),
    ]


def test_within_a_step_by_due_tenant_case_promise_and_kind() -> None:
    # Two cases and two tenants break at one instant; in the file they stand the other way round.
    rows = [
        row("callback.requested", "11-02T10:00", "c2", data=ASKED),
        row("callback.requested", "11-02T10:00", "c1", data=ASKED),
        row("callback.requested", "11-02T10:00", "c1", data=ASKED, tenant="mapo"),
    ]
    told = [line for line in printed(*rows, until="11-03 00:00") if line["decision"] == "deadline.breached"]
    assert [(line["tenant"], line["case"]) for line in told] == [("mapo", "c1"), ("seoul", "c1"), ("seoul", "c2")]
    ticked = printed(*rows, row("clock.advanced", "11-03T00:00", data={"to": "2026-11-03T00:00:00+09:00"}))
    assert [(line["tenant"], line["case"]) for line in ticked if line["decision"] == "deadline.breached"] == [
        ("mapo", "c1"),
        ("seoul", "c1"),
        ("seoul", "c2"),
    ]


def test_a_holiday_moves_cases_in_the_order_of_a_step() -> None:
    grievance = {"kind": "grievance"}
    told = printed(
        *(row("complaint.received", "11-02T10:00", f"c{n}", data=grievance) for n in range(9, 0, -1)),
        row("calendar.exception", "11-03T09:00", "seoul", data={"date": "2026-11-05", "closed": True}),
    )
    moved = [line for line in told if line["decision"] == "deadline.moved" and line["promise"] == "statutory-period"]
    assert [line["case"] for line in moved] == [f"c{n}" for n in range(1, 10)]
    assert {(line["due"], line["reason"]) for line in moved} == {("2026-11-12T00:00:00+09:00", "calendar")}


def test_time_passes_up_to_the_recording_of_each_event_and_up_to_until() -> None:
    late = row("callback.made", "11-02T10:50", data={"reached": True}, recordedtime="2026-11-02T12:00:00+09:00")
    told = printed(row("callback.requested", "11-02T10:00", data=ASKED), late)
    assert [(line["decision"], line["at"]) for line in told] == [
        ("deadline.started", "2026-11-02T10:00:00+09:00"),
        ("deadline.warned", "2026-11-02T10:45:00+09:00"),
        ("deadline.breached", "2026-11-02T11:00:00+09:00"),
        ("deadline.met", "2026-11-02T10:50:00+09:00"),
        ("breach.retracted", "2026-11-02T10:50:00+09:00"),
    ]
    asked = row("callback.requested", "11-02T10:00", data=ASKED)
    assert [line["decision"] for line in printed(asked)] == ["deadline.started"]
    # What is due exactly then is not past.
    assert [line["decision"] for line in printed(asked, until="11-02 11:00")][1:] == ["deadline.warned"]
    assert [line["decision"] for line in printed(asked, until="11-02 11:00:01")][2:] == ["deadline.breached"]


def test_a_completion_in_the_file_before_the_instant_wins_over_time() -> None:
    asked = row("callback.requested", "11-02T10:00", data=ASKED)
    made = row("callback.made", "11-02T11:00", data={"reached": True})
    assert [line["decision"] for line in printed(asked, made)] == [
        "deadline.started",
        "deadline.warned",
        "deadline.met",
    ]


def test_a_file_with_ticks_gets_no_others() -> None:
    asked = row("callback.requested", "11-02T10:00", data=ASKED)
    tick = row("clock.advanced", "11-02T10:46", data={"to": "2026-11-02T10:46:00+09:00"})
    tick = {name: tick[name] for name in ("id", "type", "time", "data")}
    other = row("callback.requested", "11-04T10:00", "c2", data=ASKED)
    assert [line["decision"] for line in printed(asked, tick, other, until="11-05 00:00")] == [
        "deadline.started",
        "deadline.warned",
        "deadline.started",
    ]


def test_a_tick_that_names_a_partition_moves_that_one_alone() -> None:
    asked = row("callback.requested", "11-02T10:00", data=ASKED)
    # crc32("seoul.c1") % 16 is 7, by zlib itself.
    ticks = [
        row("clock.advanced", "11-02T12:00", data={"to": "2026-11-02T12:00:00+09:00"}, partition=number)
        for number in range(16)
    ]
    for number, tick in enumerate(ticks):
        told = [line["decision"] for line in printed(asked, tick)]
        assert told == (["deadline.started", "deadline.breached"] if number == HOME else ["deadline.started"])


HOME = 7


def test_case_ids_are_compared_in_lower_case() -> None:
    told = printed(
        row("callback.requested", "11-02T10:00", "Call-7", data=ASKED),
        row("callback.made", "11-02T10:10", "CALL-7", data={"reached": True}),
    )
    assert [(line["case"], line["decision"]) for line in told] == [
        ("call-7", "deadline.started"),
        ("call-7", "deadline.met"),
    ]


def test_a_voided_fact_is_found_in_the_file_and_an_unknown_one_named(capsys: pytest.CaptureFixture[str]) -> None:
    made = row("callback.made", "11-02T10:10", data={"reached": True}, source="desk")
    told = printed(
        row("callback.requested", "11-02T10:00", data=ASKED),
        made,
        row("fact.voided", "11-02T10:20", "elsewhere", data={"source": "desk", "id": made["id"], "code": "wrong_case"}),
        row("fact.voided", "11-02T10:30", data={"source": "desk", "id": "nothing", "code": "other"}),
    )
    assert [(line["case"], line["decision"]) for line in told] == [
        ("c1", "deadline.started"),
        ("c1", "deadline.met"),
        ("c1", "deadline.moved"),
    ]
    assert capsys.readouterr().err == "line 4: fact.voided names a fact that the file has not stated\n"


def test_a_finding_learns_its_officer_from_the_report_whoever_sent_it() -> None:
    events = [
        event("fault.reported", "11-02 10:00", tenant="mapo", id="f1", ground="unkind", officer="kim", by_source="web"),
        event("fault.confirmed", "11-02 11:00", tenant="mapo", ground="unkind", about="f1", by_source="desk"),
        event("fault.confirmed", "11-02 12:00", tenant="mapo", case="c2", ground="unkind", about="f1"),
    ]
    told = [line_of(decided, SEOUL) for decided in simulate(events, None) if decided.case != "mapo"]
    assert [(line["case"], line.get("task") or line["reason"]) for line in told] == [
        ("c1", "caution"),
        ("c2", "unknown_report"),  # no report of that name in its own case
    ]


def test_a_stuck_case_is_said_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    old = row("complaint.received", "11-02T10:00", data={"kind": "grievance"})
    assert printed(old | {"time": "2019-11-04T10:00:00+09:00"}) == []
    assert "seoul/c1 is stuck: OutOfCalendar" in capsys.readouterr().err


def test_boston_speaks_its_own_time() -> None:
    rows = file_of(
        row("complaint.received", "11-02T10:00", tenant="boston", data={"service": "Street Light Knock Downs"})
        | {"time": "2015-03-06T16:30:00-05:00"}
    )
    decided = next(simulate(read_events(rows), None))
    assert line_of(decided, Zones()["boston"])["due"] == "2015-03-09T16:30:00-04:00"


GOOD = row("complaint.received", "11-02T10:00")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "line 2:"),
        (b"[]", "line 2: Expected `object`"),
        (b'{"type": "complaint.received"}', "line 2: Object missing required field"),
        (json.dumps(GOOD | {"time": "2026-11-02T10:00:00"}).encode(), "line 2: .* timezone component .*time"),
        (json.dumps(GOOD | {"time": "2026-11-02"}).encode(), "line 2:"),
        (json.dumps(GOOD | {"recordedtime": "2026-11-02T10:00:00"}).encode(), "line 2:.*recordedtime"),
        (json.dumps(GOOD | {"data": {"wanted_at": "2026-11-02T10:00:00"}}).encode(), "line 2:.*wanted_at"),
        (json.dumps(GOOD | {"data": {"period": {"amount": "7", "unit": "days"}}}).encode(), "line 2:.*period.amount"),
        (b'{"id": "1", "type": "clock.advanced", "time": "2026-11-02T10:00:00+09:00", "data": {}}', "line 2:.*data.to"),
        (b'{"id": "\xff"}', "line 2:"),
    ],
)
def test_a_line_that_is_no_event_is_named(line: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        read_events([*file_of(GOOD), line])


def test_empty_lines_are_passed_over_and_keep_their_numbers() -> None:
    assert len(read_events([b"\n", *file_of(GOOD), b"  \n"])) == 1
    with pytest.raises(Unreadable, match="line 3"):
        read_events([b"\n", b"\n", b"{"])


def test_dates_without_a_time_of_day_and_versions_in_numbers_are_read() -> None:
    told = printed(
        row("complaint.received", "11-02T10:00", data={"kind": "grievance"}),
        row("complaint.progress_notified", "11-03T10:00", data={"by": "sms", "expected": "2026-11-20"}),
        row(
            "complaint.supplement_requested",
            "11-03T11:00",
            data={"respond_by": "2026-11-20", "dispatched_at": "2026-11-03T11:00:00+09:00", "items_ref": "r1"},
        ),
        row("rules.enacted", "11-03T12:00", "seoul", data={"revision": 1, "applies": "new_cases"}),
    )
    assert [line["decision"] for line in told][3:] == [
        "deadline.met",
        "deadline.suspended",
        "deadline.suspended",
        "measure.breached",
        "deadline.started",
    ]


def test_the_same_event_twice_in_a_file_counts_once() -> None:
    opened = received(tenant="seoul")
    twice = simulate([opened, opened], None)
    assert [one.decision.kind for one in twice if one.case == "c1"] == ["notice.requested", *["deadline.started"] * 3]


def test_the_command_prints_a_file_of_events_line_by_line_as_it_stands_written_by_hand() -> None:
    folder = Path(__file__).parents[1] / "golden" / "simulate"
    command = [sys.executable, "-m", "services.cli.main", "simulate", str(folder / "callback.jsonl")]
    done = subprocess.run(
        [*command, "--until", "2026-11-17T00:00:00+09:00"],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.decode() == (folder / "callback.decisions.jsonl").read_text(encoding="utf-8")


WORDS = st.text(max_size=8) | st.sampled_from(("", 'a"b\\c', "민원\n\0\u2028", "\ud800"))
INSTANTS = st.integers(instant("1969-01-01T00:00:00Z"), instant("2100-01-01T00:00:00Z"))


@given(
    *(WORDS, WORDS),
    st.builds(
        Decision,
        kind=st.sampled_from(KINDS),
        at=INSTANTS,
        promise=WORDS,
        due=st.none() | INSTANTS.map(lambda due: due // DAY * DAY),
        remedy=WORDS,
        amount=st.none() | st.integers(0, 10**9),
        task=WORDS,
        reason=WORDS,
        code=WORDS,
    ),
)
def test_a_line_is_written_as_its_values_would_be(tenant: str, case: str, decision: Decision) -> None:
    row = Decided(tenant, case, decision)
    assert text_of(row.decision, whose(row.tenant, row.case), SEOUL) == json.dumps(
        line_of(row, SEOUL), ensure_ascii=False
    )
