"""The command line: what it prints, how it ends, and what it says where the input is wrong. No servers."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from contracts import files
from services.cli.calculate import of_case, of_lines
from services.cli.main import app
from services.rules.rulebook import Library

LIBRARY = Library(files.read())
FILE = LIBRARY.newest_calendar("kr")[1]
KR = LIBRARY.compiled(FILE, FILE.hours["office"])


def gihan(*arguments: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=given)


def asked(**fields: object) -> dict[str, object]:
    return {"id": "x", "received_at": "2026-11-02T10:00:00+09:00", "unit": "working_hours", "amount": 1} | fields


# -- gihan deadline -------------------------------------------------------------------------------------------


def test_one_deadline_in_words_and_in_json() -> None:
    plain = gihan("deadline", "--received-at", "2026-11-02T10:00:00+09:00", "--amount", "7")
    assert (plain.exit_code, plain.output) == (0, "2026-11-11T00:00:00+09:00\n")
    coded = gihan(
        "deadline", "--received-at", "2026-11-02T01:00:00Z", "--amount", "3", "--unit", "working_hours", "--json"
    )
    assert json.loads(coded.output) == {"due": "2026-11-02T14:00:00+09:00"}


def test_a_calendar_of_another_country() -> None:
    due = gihan(
        "deadline", "--received-at", "2015-03-06T16:30:00-05:00", "--unit", "working_days", "--calendar", "us-ma"
    )
    assert due.output == "2015-03-09T16:30:00-04:00\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --received-at"),
        (["--received-at", "2026-11-02T10:00:00"], "offset"),
        (["--received-at", "yesterday"], "yesterday"),
        (["--received-at", "2019-11-02T10:00:00+09:00"], "reaches from 2020-01-01"),
        (["--received-at", "2026-11-02T10:00:00+09:00", "--unit", "fortnights"], "'fortnights'; use one of"),
        (["--received-at", "2026-11-02T10:00:00+09:00", "--calendar", "mars"], "no calendar 'mars'"),
        (["--cases", "/nowhere/cases.jsonl"], "No such file"),
    ],
)
def test_what_a_person_can_mend_is_said_in_a_sentence(arguments: list[str], said: str) -> None:
    result = gihan("deadline", *arguments)
    assert result.exit_code == 2
    assert result.output.startswith("gihan: ")
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there.jsonl: No such file or directory"),
        (b"\xff\xfe1", "not text in UTF-8; save it as UTF-8"),
    ],
)
@pytest.mark.parametrize("command", [("deadline", "--cases"), ("check",), ("backtest", "--tenant", "boston")])
def test_a_file_that_cannot_be_read_is_said_in_a_sentence(
    command: tuple[str, ...], content: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "there.jsonl"
    if content is not None:
        path.write_bytes(content)
    result = gihan(*command, path)
    assert result.exit_code in (1, 2)
    assert said in result.output or (command == ("check",) and "The text is not UTF-8" in result.output)
    assert "Errno" not in result.output
    assert "codec" not in result.output


def test_nesting_without_an_end_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text("[" * 200_000, encoding="utf-8")
    result = gihan("deadline", "--cases", path)
    assert json.loads(result.output) == {"id": "line 1", "error": "not a JSON object"}


def test_a_time_that_is_none_and_a_city_without_a_charter() -> None:
    result = gihan("deadline", "--received-at", "tomorrow")
    assert "gihan: tomorrow is no time: write one such as" in result.output
    result = gihan("vault", "access-report", "--month", "2026-13")
    assert "gihan: --month 2026-13 is no month: write one such as 2026-11" in result.output
    result = gihan("backtest", "--tenant", "nocity", __file__)
    assert "gihan: there is no charter of nocity" in result.output
    result = gihan("notice", "preview", "nope")
    assert "There is no message 'nope'; take one of breach, breaches," in result.output


def test_cases_line_by_line_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    lines = [
        asked(id="one"),
        asked(id="two", unit="calendar_days", amount=3, pauses=[["2026-11-03T10:00:00+09:00", None]]),
        asked(id="three", pauses=[["2026-11-02T11:00:00+09:00", "2026-11-02T10:30:00+09:00"]]),
    ]
    text = "\n".join(json.dumps(line) for line in lines) + "\n\nnonsense\n"
    path = tmp_path / "cases.jsonl"
    path.write_text(text, encoding="utf-8")
    expected = [
        {"id": "one", "due": "2026-11-02T11:00:00+09:00"},
        {"id": "two", "error": "the last pause has no end, so there is no due instant yet"},
        {"id": "three", "error": "a pause ends before it begins"},
        {"id": "line 5", "error": "not a JSON object"},
    ]
    for result in (gihan("deadline", "--cases", path), gihan("deadline", "--cases", "-", given=text)):
        assert [json.loads(line) for line in result.output.splitlines()] == expected
        assert result.exit_code == 1
    good = gihan("deadline", "--cases", "-", given=json.dumps(lines[0]))
    assert good.exit_code == 0


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (asked(received_at=None), "fromisoformat"),
        ({"id": "x"}, "'amount' is missing"),
        (asked(amount="3"), "whole numbers"),
        (asked(amount=1.5), "whole numbers"),
        (asked(amount=-1), "whole numbers"),
        (asked(amount=True), "whole numbers"),
        (asked(extension=[-1]), "whole numbers"),
        (asked(extension=5), "iterable"),
        (asked(unit=None), "unknown unit None"),
        (asked(unit=["hours"]), "unhashable"),
        (asked(first_day="perhaps"), "'perhaps'"),
        (asked(pause_mode="sometimes"), "'sometimes'"),
        (asked(pauses=[["2026-11-02T10:00:00+09:00"]]), "unpack"),
        (asked(unit="years", amount=10_000), "year"),
        (asked(unit="calendar_hours", amount=10**9), "out of range"),
        (asked(received_at="0001-01-01T00:00:00+09:00", unit="calendar_hours"), "out of range"),
    ],
)
def test_a_case_that_is_not_possible_is_an_error_and_no_crash(case: dict[str, object], said: str) -> None:
    answer = of_case(case, KR)
    assert set(answer) == {"id", "error"}
    assert said in answer["error"]


@pytest.mark.parametrize("line", ["5", "[1]", "null", '"text"', "{"])
def test_a_line_that_is_no_object_is_named(line: str) -> None:
    assert list(of_lines([line], KR)) == [{"id": "line 1", "error": "not a JSON object"}]  # type: ignore[arg-type]


# -- gihan simulate, backtest, charter ------------------------------------------------------------------------

EVENT = {
    "id": "1",
    "type": "callback.requested",
    "time": "2026-11-02T10:00:00+09:00",
    "tenant": "seoul",
    "subject": "c1",
    "data": {"via": "phone", "memo": {"reply_wanted": True}},
}


def test_simulate_prints_a_json_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(json.dumps(EVENT) + "\n", encoding="utf-8")
    result = gihan("simulate", path, "--until", "2026-11-02T11:00:01+09:00")
    assert result.exit_code == 0
    # The duties of the tenant run in a case of its own.
    assert [line for line in result.output.splitlines() if '"case": "seoul"' not in line] == [
        '{"at": "2026-11-02T10:00:00+09:00", "tenant": "seoul", "case": "c1", "decision": "deadline.started", '
        '"promise": "seoul-phone-callback", "due": "2026-11-02T11:00:00+09:00"}',
        '{"at": "2026-11-02T10:45:00+09:00", "tenant": "seoul", "case": "c1", "decision": "deadline.warned", '
        '"promise": "seoul-phone-callback", "due": "2026-11-02T11:00:00+09:00"}',
        '{"at": "2026-11-02T11:00:00+09:00", "tenant": "seoul", "case": "c1", "decision": "deadline.breached", '
        '"promise": "seoul-phone-callback", "due": "2026-11-02T11:00:00+09:00"}',
    ]
    piped = gihan("simulate", "-", given=json.dumps(EVENT))
    assert piped.output.splitlines() == result.output.splitlines()[:2]


def test_simulate_reads_a_pipe_that_it_is_named(tmp_path: Path) -> None:
    """As a shell names one for `<(zcat events.gz)`: it can be read once, and is walked over more than once."""
    os.mkfifo(tmp_path / "events")
    with ThreadPoolExecutor(1) as threads:
        written = threads.submit((tmp_path / "events").write_text, json.dumps(EVENT))
        result = gihan("simulate", tmp_path / "events")
        written.result()
    assert '"decision": "deadline.started"' in result.output


@pytest.mark.parametrize(
    ("given", "more", "said"),
    [
        ("{", [], "line 1:"),
        (json.dumps(EVENT | {"tenant": "nowhere"}), [], "no charter of tenant 'nowhere'"),
        (json.dumps(EVENT | {"time": "2026-11-02T10:00:00"}), [], "line 1:"),
        (json.dumps(EVENT), ["--until", "2026-11-02T10:00:00"], "offset"),
        (json.dumps(EVENT | {"type": "rules.enacted", "data": {"revision": "99"}}), [], "revision 99"),
        (json.dumps(EVENT | {"type": "charter.enacted", "data": {"sha256": "0" * 64}}), [], "not among the files"),
    ],
)
def test_simulate_ends_with_a_sentence_where_it_cannot_go_on(given: str, more: list[str], said: str) -> None:
    result = gihan("simulate", "-", *more, given=given)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_backtest_prints_counts_and_names_what_it_could_not_read(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(
        "case_id,opened_at,target_at,closed_at,on_time,type\n"
        "1,2015-03-06 16:30:00,2015-03-09 16:30:00,2015-03-09 16:30:00,ONTIME,Street Light Knock Downs\n"
        "2,soon,,,,Street Light Knock Downs\n",
        encoding="utf-8",
    )
    plain = gihan("backtest", "--tenant", "boston", path)
    assert plain.exit_code == 0
    assert "unreadable: line 3: Invalid isoformat string: 'soon'" in plain.output
    assert "due agrees percent             100.0 %" in plain.output
    coded = json.loads(gihan("backtest", "--tenant", "boston", path, "--json").output)
    assert (coded["rows"], coded["unreadable"], coded["verdict_agrees"]) == (2, 1, 1)
    assert gihan("backtest", "--tenant", "nowhere", path).exit_code == 2
    assert gihan("backtest", "--tenant", "boston", tmp_path / "none.csv").exit_code == 2


def test_charters_are_listed() -> None:
    rows = json.loads(gihan("charter", "list", "--json").output)
    assert [row["tenant"] for row in rows] == ["anseong", "boston", "mapo", "miryang", "seoul", "yeonje"]
    assert "anseong" in gihan("charter", "list").output


# -- gihan replay -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give one of --verify, --rebuild, --until and --case"),
        (["--verify", "--until", "2026-11-02T10:00:00+09:00"], "give one of --verify"),
        (["--verify", "--rebuild"], "give one of --verify"),
        (["--until", "2026-11-02T10:00:00"], "a time without an offset names no instant"),
        (["--until", "yesterday"], "yesterday is no time: write one such as 2026-03-12T18:00:00+09:00"),
        (["--verify", "--data", "nowhere"], "Nothing runs in nowhere. Start it with `gihan up`"),
    ],
)
def test_replay_says_what_it_needs(arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NATS_URL", raising=False)
    result = gihan("replay", *arguments)
    assert result.exit_code == 2
    assert said in result.output
