"""Simulation and backtest come to the same whatever the number of processes."""

import json
from pathlib import Path

import pytest
from test_backtest import HISTORY

from services.cli.backtest import backtest
from services.cli.parallel import simulated
from services.cli.simulate import Unreadable

WEEK = Path(__file__).parents[1] / "golden" / "logs" / "week-1.jsonl"


def test_the_decisions_of_a_week_are_the_same_in_any_number_of_processes() -> None:
    alone, three = (list(simulated(WEEK, None, None, workers, lambda _: None)) for workers in (1, 3))
    assert three == alone
    assert len({json.loads(line)["tenant"] for line in alone}) > 1


def test_an_error_in_the_file_is_told_as_by_one_process(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(WEEK.read_bytes() + b"{\n")
    for workers in (1, 2):
        with pytest.raises(Unreadable, match=f"line {len(WEEK.read_bytes().splitlines()) + 1}: "):
            list(simulated(file, None, None, workers, lambda _: None))


def test_a_backtest_counts_the_same_in_any_number_of_processes(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    head, *rows = HISTORY.splitlines()
    file.write_text("\n".join([head, *rows * 700]))
    assert backtest("boston", file, 2) == backtest("boston", file)
