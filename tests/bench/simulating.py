"""Simulation: a file of events folded without any server, against the mere reading of the same bytes.

The one rule: what is measured is the command that people run, on the events of full charters. What the first two
thousand events take, and with them the start of the program and the reading of charters, is left out.
"""

import asyncio
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from services.cli.parallel import cores
from services.cli.simulate import read_events, simulate
from services.cli.zones import Zones
from services.rules.lines import line_of
from tests.bench.results import Bar, Figure, Outcome
from tests.bench.workload import Workload

RUNS = 3
CASES, CASES_QUICK = 230_000, 12_000
"""A million facts, and fifty thousand: of fewer most of a run is the start of the program, which is taken off."""
COMPARED = 2_000
HISTORY_CASES = 1_000_000


class Ran(NamedTuple):
    """One run of the command: seconds on the wall, CPU seconds, most memory in megabytes, and what it printed."""

    wall: float
    cpu: float
    peak_mb: float
    digest: str


async def measure(quick: bool) -> Outcome:
    """The command on the whole file, and json.loads of its lines, in turn."""
    return await asyncio.to_thread(_measure, quick)


def _measure(quick: bool) -> Outcome:
    cases = CASES_QUICK if quick else CASES
    with tempfile.TemporaryDirectory(prefix="gihan-bench-") as folder:
        whole, few = Path(folder) / "whole.jsonl", Path(folder) / "few.jsonl"
        facts, size = _write(cases, whole, few)
        first = [_run(few, "--workers", "1") for _ in range(RUNS)]
        alone: list[Ran] = []
        together: list[Ran] = []
        loads: list[float] = []
        for _ in range(RUNS):
            alone.append(_run(whole, "--workers", "1"))
            together.append(_run(whole, "--workers", str(cores())))
            loads.append(_loads(whole))
        assert first[0].digest == _in_process(few), "the command prints other decisions"
    assert len({one.digest for one in (*alone, *together)}) == 1, "two runs print different decisions"
    rest, start = facts - COMPARED, min(first, key=lambda ran: ran.cpu)
    core = Figure("gihan simulate, one process", "events/s and core", [rest / (one.cpu - start.cpu) for one in alone])
    wall = Figure(
        f"gihan simulate, {cores()} processes", "events/s", [rest / (one.wall - start.wall) for one in together]
    )
    lone = Figure(
        "gihan simulate, one process, on the wall", "events/s", [rest / (one.wall - start.wall) for one in alone]
    )
    read = Figure("json.loads of the same lines", "events/s and core", loads)
    history = HISTORY_CASES * facts / cases / wall.value
    core.peak_mb = {"python": max(one.peak_mb for one in alone)}
    return Outcome(
        subject="simulate",
        title="Simulation, no database",
        about=f"{facts:,} events of {cases:,} cases, {size / facts:.0f} bytes each; decisions printed as JSON lines.",
        figures=[core, lone, wall, read],
        bars=[
            Bar("events/s and core", core.value, at_least=50_000, unit="/s", ratio=False),
            Bar("simulate / json.loads", core.value / read.value, at_least=0.23),
            Bar("a history of a million cases, on all cores", history, at_most=60, unit="s", ratio=False),
            Bar(f"{cores()} processes / one", wall.value / lone.value),
        ],
        checked=f"each run prints the same, on one core or all; the first {COMPARED:,} events, what this process says.",
    )


def _write(cases: int, whole: Path, few: Path) -> tuple[int, int]:
    """Writes the files; (number of events, bytes). Time passes between events by itself, so there are no ticks."""
    facts = 0
    with whole.open("wb") as file, few.open("wb") as beginning:
        for message in Workload(cases).messages():
            if message.is_tick:
                continue
            file.write(message.body + b"\n")
            if facts < COMPARED:
                beginning.write(message.body + b"\n")
            facts += 1
    return facts, whole.stat().st_size


def _run(file: Path, *options: str) -> Ran:
    printed = file.with_suffix(".out")
    command = [sys.executable, "-P", "-m", "services.cli.main", "simulate", str(file), *options]
    wall, cpu, peak = _spawn(command, printed)
    return Ran(wall, cpu, peak, hashlib.sha256(printed.read_bytes()).hexdigest())


def _spawn(arguments: Sequence[str], printed: Path) -> tuple[float, float, float]:
    """Runs a program to its end; (wall, CPU of it and its children, most memory in MB)."""
    began = time.monotonic()
    output = os.open(printed, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    actions = [(os.POSIX_SPAWN_DUP2, output, 1)]
    pid = os.posix_spawn(arguments[0], arguments, os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    os.close(output)
    if status:
        raise RuntimeError(f"{' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def _in_process(file: Path) -> str:
    """The digest of what the command should print."""
    zones = Zones()
    with file.open("rb") as lines:
        rows = simulate(read_events(lines), None)
    text = "".join(json.dumps(line_of(row, zones[row.tenant]), ensure_ascii=False) + "\n" for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def _loads(file: Path, most: int = 200_000) -> float:
    """Lines a second and core that json.loads reads."""
    with file.open("rb") as lines:
        chosen = [line for _, line in zip(range(most), lines, strict=False)]
    rates = []
    for _ in range(3):
        began = time.process_time()
        for line in chosen:
            json.loads(line)
        rates.append(len(chosen) / (time.process_time() - began))
    return median(rates)
