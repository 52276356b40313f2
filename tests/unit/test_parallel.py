"""Simulation and backtest come to the same whatever the number of processes."""

import json
from pathlib import Path

import pytest
from test_backtest import HISTORY

from services.cli.backtest import backtest
from services.cli.parallel import simulated
from services.cli.progress import to_nobody
from services.cli.simulate import Unreadable

WEEK = Path(__file__).parents[1] / "golden" / "logs" / "week-1.jsonl"


def test_the_decisions_of_a_week_are_the_same_in_any_number_of_processes() -> None:
    alone, three = (lines_of(WEEK, workers) for workers in (1, 3))
    assert three == alone
    assert len({json.loads(line)["tenant"] for line in alone}) > 1


def test_what_stands_before_an_error_in_the_file_comes_before_it_in_any_number_of_processes(tmp_path: Path) -> None:
    """One process passes over the data of what concerns others, who find what is wrong in them."""
    lines = WEEK.read_bytes().splitlines(keepends=True)
    event = json.loads(lines[40])
    for wrong in ("{", json.dumps(event | {"data": event["data"] | {"wanted_at": 1}})):
        file = tmp_path / "events.jsonl"
        file.write_bytes(b"".join([*lines[:40], wrong.encode(), b"\n", *lines[40:]]))
        printed = [until_error(file, workers, "line 41: ") for workers in (1, 2, 3)]
        assert printed[0] == printed[1] == printed[2]
        assert len(printed[0]) > 10


def lines_of(file: Path, workers: int) -> list[str]:
    return "".join(simulated(file, None, None, workers, to_nobody)).splitlines()


def until_error(file: Path, workers: int, said: str) -> list[str]:
    printed: list[str] = []
    with pytest.raises(Unreadable, match=said):
        printed.extend(simulated(file, None, None, workers, to_nobody))
    return "".join(printed).splitlines()


def test_what_is_taken_back_in_another_partition_is_taken_back_in_any_number_of_processes(tmp_path: Path) -> None:
    """The copy for an officer's case, its taking back and the day off of a whole city go beyond a case's partition."""
    rows = []
    for number in range(12):
        case, officer = f"case-{number}", {"officer": f"kim-{number}"}
        rows += [
            row("complaint.received", 2, case, kind="inquiry"),
            row("complaint.completed", 4, case, outcome="answered"),
            row("fault.reported", 5, case, ground="late", **officer),
            row("fault.confirmed", 6, case, ground="late", about=f"fault.reported-{case}"),
            row("fact.voided", 9, case, source="desk", id=f"fault.confirmed-{case}"),
        ]
    rows.append(row("calendar.exception", 3, "seoul", date="2026-11-05", closed=True, name="휴무"))
    rows.sort(key=lambda event: str(event["time"]))
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in rows))
    alone, five = (lines_of(file, workers) for workers in (1, 5))
    assert five == alone
    assert {"remedy.withdrawn", "deadline.moved"} <= {json.loads(line)["decision"] for line in alone}


def row(type: str, day: int, case: str, **data: object) -> dict[str, object]:
    return {
        "id": f"{type}-{case}",
        "source": "desk",
        "type": type,
        "time": f"2026-11-{day:02}T10:00:00+09:00",
        "tenant": "seoul",
        "subject": case,
        "data": data,
    }


def test_a_backtest_counts_the_same_in_any_number_of_processes(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    head, *rows = HISTORY.splitlines()
    file.write_text("\n".join([head, *rows * 700]))
    assert backtest("boston", file, 2) == backtest("boston", file)
