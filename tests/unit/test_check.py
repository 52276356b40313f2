"""`gihan check`: what intake would say to a file, told a line at a time, without a server and without a value."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.events import FACT_TYPES
from services.cli.check import check_lines, in_words
from services.cli.main import app
from services.cli.running import read_tenants
from services.intake.judge import Publisher
from services.rules.instants import instant

NOW = instant("2026-03-12T10:00:00+09:00")
SECRET = "홍길동의 비밀"
COMPLAINT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "k-1",
    "source": "kiosk",
    "type": "complaint.received",
    "subject": "m-1",
    "time": "2026-03-12T09:30:00+09:00",
    "tenant": "mapo",
    "data": {
        "channel": "web",
        "kind": "inquiry",
        "title": "가로등",
        "applicant": {"name": "홍길동", "address": "서울시 중구 1", "phone": "02-000-0000"},
    },
}
ASSIGNED = {**COMPLAINT, "id": "k-2", "type": "complaint.assigned", "data": {"department": "roads", "officer": "k-7"}}


def checked(*events: Any, publisher: Publisher | None = None) -> list[dict[str, Any]]:
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    return list(check_lines(lines, publisher, read_tenants(), NOW))


def wrong(*events: Any, publisher: Publisher | None = None) -> list[tuple[int, str | None, str]]:
    return [
        (row["line"], one.get("pointer"), one["code"])
        for row in checked(*events, publisher=publisher)
        for one in row["wrong"]
    ]


def test_right_events_are_right_and_say_of_which_case() -> None:
    found = checked(COMPLAINT, b"", ASSIGNED)
    assert [(row["line"], row["right"], row["case"]) for row in found] == [(1, True, "m-1"), (3, True, "m-1")]
    assert not any("notes" in row for row in found)


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"time": "2026-03-12T10:05:01+09:00"}, "/time", "time_in_future"),
        ({"time": "2026-02-10T09:59:59+09:00"}, "/time", "too_old"),
        ({"tenant": "busan"}, "/tenant", "unknown_tenant"),
        ({"source": "lift"}, "/source", "unknown_source"),
        ({"type": "complaint.eaten"}, "/type", "unknown_type"),
        ({"type": "charter.enacted"}, "/data/version", "missing"),
        ({"subject": "mapo"}, "/subject", "wrong_subject"),
        ({"data": {**COMPLAINT["data"], "kind": "quarrel"}}, "/data/kind", "literal_error"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(changes: dict[str, Any], pointer: str, code: str) -> None:
    assert (1, pointer, code) in wrong({**COMPLAINT, **changes})


def test_an_example_of_every_type_is_right() -> None:
    """The files in which the contract of each type is pinned; they serve other systems as a kit of examples.

    Two would enact files that nobody has: those are right in form, and refused for that alone.
    """
    folder = Path(__file__).parents[1] / "golden" / "published"
    lines = [path.read_bytes() for path in sorted(folder.glob("*.json"))]
    found = list(check_lines(lines, None, read_tenants(), instant("2026-03-12T11:00:00+09:00")))
    assert len(found) == len(FACT_TYPES)
    not_here = [one["code"] for row in found for one in row["wrong"]]
    assert not_here == ["unknown_calendar", "unknown_charter"]


def test_every_field_that_is_wrong_is_told() -> None:
    data = {**COMPLAINT["data"], "channel": "pigeon", "kind": "quarrel", "urgent": "very"}
    assert wrong({**COMPLAINT, "data": data}) == [
        (1, "/data/channel", "literal_error"),
        (1, "/data/kind", "literal_error"),
        (1, "/data/urgent", "bool_type"),
    ]


def test_with_a_publisher_an_event_of_another_is_wrong() -> None:
    assert wrong(COMPLAINT, publisher=Publisher("mapo", "kiosk")) == []
    assert wrong(COMPLAINT, publisher=Publisher("mapo", "web")) == [(1, "/source", "wrong_source")]
    assert wrong(COMPLAINT, publisher=Publisher("seoul", "kiosk")) == [(1, "/tenant", "wrong_tenant")]


def test_what_only_other_lines_can_tell() -> None:
    again = {**COMPLAINT, "data": {**COMPLAINT["data"], "kind": "grievance"}}
    partner = {**ASSIGNED, "id": "d-1", "source": "desk"}
    stranger = {**ASSIGNED, "id": "w-1", "source": "epeople"}
    assert wrong(COMPLAINT, COMPLAINT, again, partner, stranger) == [
        (3, "/id", "other_content"),
        (5, "/subject", "other_source"),
    ]
    [early, _] = checked(ASSIGNED, COMPLAINT)
    assert early["right"]
    assert early["notes"] == ["no line before it opens its case: it would wait for the opening"]


@pytest.mark.parametrize("line", [b"{", b"[]", b"7", b'{"id": NaN}', b'{"id": "a", "id": "b"}', b"\xff", b'"\\ud800"'])
def test_a_line_that_is_no_event_is_wrong_and_stops_nothing(line: bytes) -> None:
    found = checked(line, COMPLAINT)
    assert [row["right"] for row in found] == [False, True]


def test_an_array_is_told_event_by_event_under_its_line() -> None:
    found = checked(COMPLAINT, [ASSIGNED, {**ASSIGNED, "id": "k-3", "type": "complaint.eaten"}, 7])
    assert [(row["line"], row.get("place"), row["right"]) for row in found] == [
        (1, None, True),
        (2, 1, True),
        (2, 2, False),
        (2, 3, False),
    ]
    assert [line for row in found for line in in_words(row)] == [
        "line 2, event 2 (k-3): /type: There is no such type; see the list of events. [unknown_type]",
        "line 2, event 3: /: Write a JSON object here. [model_type]",
    ]
    assert [one["code"] for row in checked([COMPLAINT] * 1_001) for one in row["wrong"]] == ["wrong_number"]


def test_a_file_as_people_write_json_is_one_text() -> None:
    """Over many lines, with room around it; what is broken is told as lines are."""
    pretty = json.dumps(COMPLAINT, indent=2).encode().splitlines(keepends=True)
    assert [(row["line"], row["right"]) for row in checked(b"\n", *pretty, b"\n")] == [(1, True)]
    both = json.dumps([COMPLAINT, ASSIGNED], indent=2).encode().splitlines(keepends=True)
    assert [(row["place"], row["right"]) for row in checked(*both)] == [(1, True), (2, True)]
    assert [row["right"] for row in checked(*pretty[:-1])] == [False] * (len(pretty) - 1)


def test_nothing_that_was_sent_is_repeated() -> None:
    broken = {
        **COMPLAINT,
        SECRET: SECRET,
        "data": {**COMPLAINT["data"], "kind": SECRET, SECRET: 1, "applicant": {"name": 7, SECRET: SECRET}},
    }
    told = json.dumps(checked(broken, SECRET.encode()), ensure_ascii=False)
    assert SECRET not in told
    assert "홍길동" not in told
    assert "wrong" in told


def test_the_command_ends_with_1_where_anything_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    arguments = ["check", str(file), "--at", "2026-03-12T10:00:00+09:00"]
    file.write_text(json.dumps(COMPLAINT))
    assert CliRunner().invoke(app, arguments).output == "events: 1, wrong: 0\n"
    file.write_text(json.dumps(COMPLAINT) + "\n" + json.dumps({**ASSIGNED, "data": {}}))
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert result.output == (
        "line 2 (k-2): /data/department: Field required [missing]\n"
        "line 2 (k-2): /data/officer: Field required [missing]\n"
        "events: 2, wrong: 1\n"
    )
    rows = [json.loads(line) for line in CliRunner().invoke(app, [*arguments, "--json"]).output.splitlines()]
    assert [row["right"] for row in rows] == [True, False]
    assert CliRunner().invoke(app, [*arguments, "--tenant", "mapo"]).exit_code == 2


def test_all_is_well_says_nothing() -> None:
    assert list(in_words({"line": 1, "wrong": []})) == []
