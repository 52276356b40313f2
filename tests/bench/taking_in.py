"""Intake: events through the door and over HTTP, until the log has acknowledged them.

The one rule: what was answered yes must stand in CASES once, and what it said of a person nowhere but in the vault;
tests/bench/intake.py, which measures, looks for all of it afterwards.
"""

from tests.bench import intake
from tests.bench.machine import json_loads_rate
from tests.bench.results import Bar, Figure, Outcome

RUNS = 3
NAMES = {"door": "NATS door, arrays of 100, a third complaints", "http": "HTTP, a complaint a request"}


async def measure(quick: bool) -> Outcome:
    """Three runs: quick ones on the same servers, full ones each on servers of its own."""
    if quick:
        runs = await intake.measure(quick, rounds=RUNS)
    else:
        runs = [run for _ in range(RUNS) for run in await intake.measure(quick)]
    figures: list[Figure] = []
    bars: list[Bar] = []
    yardstick = json_loads_rate()
    for way, name in NAMES.items():
        found = [run[way] for run in runs]
        if any(one["refused"] for one in found):
            raise AssertionError(f"{name}: events were refused: {[one['refused'] for one in found]}")
        middle = sorted(found, key=lambda one: one["events_a_second"])[len(found) // 2]
        note = f"p99 {middle['p99_ms']:.0f} ms, {middle['bytes_an_event']} bytes each"
        rates = [float(one["events_a_second"]) for one in found]
        figures.append(Figure(name, "events/s", rates, middle["cpu_us_an_event"], note=note))
        rate = figures[-1].value
        bars.append(Bar(f"{way}, events/s", rate, at_least=middle["bar"], unit="/s", ratio=False))
        bars.append(Bar(f"{way} / json.loads", rate / yardstick))
    return Outcome(
        subject="intake",
        title="Intake",
        about=f"{runs[0]['instances']} intakes side by side; answered when the log has acknowledged.",
        figures=figures,
        bars=bars,
        checked=", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in runs[0]["checked"].items()) + ".",
    )
