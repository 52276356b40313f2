"""Progress in a terminal: bars beside what is printed, and never in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_backtest import HISTORY

WEEK = Path(__file__).parents[1] / "golden" / "logs" / "week-1.jsonl"
SIMULATE = ("simulate", str(WEEK))


def in_terminal(*arguments: str, also_output: bool = False) -> tuple[str, str]:
    """What a command prints, and what its terminal shows: its standard error, maybe its output besides."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "services.cli.main", *arguments]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        command, stdout=theirs if also_output else subprocess.PIPE, stderr=theirs, stdin=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while some := os.read(ours, 65_536):
                shown += some
        except OSError:  # which is how Linux says that nobody has it open any more
            pass
        printed = process.stdout.read() if process.stdout else b""
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return printed.decode(), shown.decode()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bar_stands_beside_what_is_printed(workers: str) -> None:
    command = (*SIMULATE, "--workers", workers)
    plain = subprocess.run([sys.executable, "-m", "services.cli.main", *command], capture_output=True, check=True)
    assert plain.stdout
    assert plain.stderr == b""
    printed, shown = in_terminal(*command)
    assert printed == plain.stdout.decode()
    for stage in ("reading", "folding"):
        assert shown.rindex("100%") > shown.index(stage)
    assert "decision" not in shown


def test_lines_in_a_terminal_are_not_broken_by_a_bar() -> None:
    _, shown = in_terminal(*SIMULATE, also_output=True)
    lines = shown.splitlines()
    assert len(lines) > 100
    assert all(line.startswith('{"at": ') for line in lines)


def test_a_backtest_shows_how_far_it_is(tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text(HISTORY)
    printed, shown = in_terminal("backtest", str(history), "--tenant", "boston", "--json")
    assert '"rows": 10' in printed
    assert shown.rindex("100%") > shown.index("counting")
