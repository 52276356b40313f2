"""Runs the benchmarks, side by side on this machine: `make bench`, `QUICK=1 make bench`, `make bench-check`.

The one rule: nothing is left out in silence. A subject that fails is named, the others go on, and the run ends with 1.

    python -m tests.bench.run [--quick] [--check] [--only live,counting]
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import NamedTuple

import uvloop

from services.chassis import logs
from services.chassis.clock import RealClock
from services.rules.instants import text
from tests.bench import counting, growth, holiday, live, simulating, taking_in, timers
from tests.bench.machine import describe
from tests.bench.nation import Nation
from tests.bench.plot import draw
from tests.bench.results import FOLDER, Outcome, Results, as_table, losses, read, write
from tests.bench.workload import ZONE

ALONE: dict[str, Callable[[bool], Awaitable[Outcome]]] = {
    "counting": counting.measure,
    "simulate": simulating.measure,
    "live": live.measure,
    "intake": taking_in.measure,
}
"""Subjects with a room of their own."""
AMONG_OPEN_CASES: dict[str, Callable[[Nation, bool], Awaitable[Outcome]]] = {
    "growth": growth.measure,
    "holiday": holiday.measure,
    "timers": timers.measure,
}
"""Subjects that need a nation of open cases, which growth makes."""


class Measured(NamedTuple):
    """What came of a run: outcomes, and what failed."""

    outcomes: list[Outcome]
    failed: list[str]


async def measure(quick: bool, only: Collection[str]) -> Measured:
    """Every subject asked for, one after the other."""
    outcomes: list[Outcome] = []
    failed: list[str] = []
    for name, subject in ALONE.items():
        if name in only:
            await _attempt(name, lambda subject=subject: subject(quick), outcomes, failed)  # type: ignore[misc]
    wanted = [name for name in AMONG_OPEN_CASES if name in only]
    if wanted:
        # Each stands on the open cases that growth has made.
        async for name, subject in _among_open_cases(wanted):
            await _attempt(name, lambda subject=subject: subject(quick), outcomes, failed)  # type: ignore[misc]
    return Measured([outcome for outcome in outcomes if outcome.subject in only], failed)


async def _among_open_cases(wanted: list[str]) -> AsyncIterator[tuple[str, Callable[[bool], Awaitable[Outcome]]]]:
    async with Nation.founded() as nation:
        for name, subject in AMONG_OPEN_CASES.items():
            if name in wanted or name == "growth":
                yield name, lambda quick, subject=subject: subject(nation, quick)  # type: ignore[misc]


async def _attempt(
    name: str, measure: Callable[[], Awaitable[Outcome]], outcomes: list[Outcome], failed: list[str]
) -> None:
    began = time.monotonic()
    try:
        outcomes.append(await measure())
    except Exception:
        traceback.print_exc()
        failed.append(name)
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


async def _results(quick: bool, only: Collection[str]) -> tuple[Results, list[str]]:
    with tempfile.TemporaryDirectory(prefix="gihan-bench-") as folder:
        machine = describe(Path(folder))
    at = text(await RealClock().now() // 1_000_000 * 1_000_000, ZONE)
    measured = await measure(quick, only)
    return Results(machine, at, quick, measured.outcomes), measured.failed


def main() -> int:
    """Measures, then writes, or compares with what is kept. Returns what the process ends with."""
    names = [*ALONE, *AMONG_OPEN_CASES]
    parser = argparse.ArgumentParser(description="Measures Gihan beside others, on this machine.")
    parser.add_argument("--quick", action="store_true", help="small sizes, under three minutes")
    parser.add_argument("--check", action="store_true", help="compare ratios with those kept in docs/bench")
    parser.add_argument("--only", default=",".join(names), help="subjects, parted by commas")
    chosen = parser.parse_args()
    only = chosen.only.split(",")
    if unknown := set(only) - set(names):
        parser.error(f"no such subject: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    logs.configure("bench", "critical")  # what of ours runs in this process would tell of every step
    if chosen.check:
        return check(only)
    results, failed = uvloop.run(_results(chosen.quick, only))
    print(as_table(results))
    kept = read().get("quick" if chosen.quick else "full")
    if kept is not None:
        others = [outcome for outcome in kept.outcomes if outcome.subject not in only or outcome.subject in failed]
        results.outcomes = sorted([*results.outcomes, *others], key=lambda outcome: names.index(outcome.subject))
    for path in [*write(results), *draw(results, FOLDER)]:
        print(f"written: {path}")
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


def check(only: Collection[str]) -> int:
    """Compares quick ratios with the ones kept. One that is lost is measured again before it counts."""
    kept = read().get("quick")
    if kept is None:
        print("Nothing is kept to compare with. Run `QUICK=1 make bench` first.", file=sys.stderr)
        return 2
    results, failed = uvloop.run(_results(True, only))
    lost = losses(kept.outcomes, results.outcomes)
    if lost:
        print("\n".join(["Once more, for:", *lost]), file=sys.stderr)
        again = {line.partition(":")[0] for line in lost}
        results, failed_again = uvloop.run(_results(True, again))
        failed = [*(name for name in failed if name not in again), *failed_again]
        lost = losses(kept.outcomes, results.outcomes)
    print("\n".join(["Lost:", *lost] if lost else ["No ratio is worse than what was kept by more than a quarter."]))
    if failed:
        print(f"Not measured: {', '.join(failed)}")
    return bool(lost or failed)


if __name__ == "__main__":
    sys.exit(main())
