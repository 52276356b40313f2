"""Figures, bars and what is written of them: a table, a JSON file and a plot in docs/bench.

The one rule: a ratio compares what was measured in one run, on one machine. Absolute figures are for reading; ratios
are for judging, and the guard compares nothing else.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec

from tests.bench.machine import Used

FOLDER = Path(__file__).parents[2] / "docs" / "bench"
LOSS = 0.25
"""A ratio that is worse by more than this share is a loss."""


class Figure(msgspec.Struct, omit_defaults=True):
    """What was measured of one rival: a value a run, and what its processes took in the median run.

    `cpu` is in CPU microseconds for each unit of work, by group of processes; `peak_mb` the most memory of each; `busy`
    the share of the machine that they took, `others` what everybody else took: such a figure is worth less.
    """

    name: str
    unit: str
    values: list[float]
    cpu: dict[str, float] = {}
    peak_mb: dict[str, float] = {}
    busy: float | None = None
    others: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The median of the runs."""
        return median(self.values)


class Bar(msgspec.Struct, omit_defaults=True):
    """A figure and what it must reach. A `ratio` is of two figures of the same run, and more is better.

    `excused`: what the bar stands for is reached in the other way that it allows.
    """

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    ratio: bool = True
    excused: bool = False
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether the bar is reached; without one there is nothing to reach."""
        enough = self.at_least is None or self.value >= self.at_least
        return self.excused or (enough and (self.at_most is None or self.value <= self.at_most))


class Outcome(msgspec.Struct, omit_defaults=True):
    """A subject: what was done, what came out, and how it was checked."""

    subject: str
    title: str
    about: str
    figures: list[Figure]
    bars: list[Bar]
    checked: str = ""


class Results(msgspec.Struct, omit_defaults=True):
    """A whole run."""

    machine: dict[str, str]
    at: str
    quick: bool
    outcomes: list[Outcome]


class Run(msgspec.Struct):
    """One run of one rival: so much work in so many seconds, and what it took of the machine."""

    work: int
    seconds: float
    used: Mapping[str, Used]
    busy: float
    others: float

    @property
    def rate(self) -> float:
        """Work a second."""
        return self.work / self.seconds


def figure(name: str, unit: str, runs: Sequence[Run], note: str = "") -> Figure:
    """The rates of the runs, with the costs of the one in the middle."""
    middle = sorted(runs, key=lambda run: run.rate)[len(runs) // 2]
    return Figure(
        name,
        unit,
        [run.rate for run in runs],
        {group: used.cpu_seconds / middle.work * 1e6 for group, used in middle.used.items()},
        {group: max(run.used[group].peak_mb for run in runs) for group in middle.used},
        middle.busy,
        middle.others,
        note,
    )


def write(results: Results, folder: Path = FOLDER) -> list[Path]:
    """Keeps a run beside the last one of the other size. Returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = read(folder)
    kept["quick" if results.quick else "full"] = results
    (folder / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
    table = folder / ("quick.md" if results.quick else "results.md")
    table.write_text(as_table(results), encoding="utf-8")
    return [folder / "results.json", table]


def read(folder: Path = FOLDER) -> dict[str, Results]:
    """The runs that are kept, by size: `quick` and `full`."""
    path = folder / "results.json"
    if not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Results])


def losses(before: Sequence[Outcome], now: Sequence[Outcome]) -> list[str]:
    """Every ratio that was lost, or is no longer measured, in words."""
    kept = {(one.subject, bar.name): bar for one in before for bar in one.bars if bar.ratio}
    found = {(one.subject, bar.name): bar for one in now for bar in one.bars if bar.ratio}
    subjects = {one.subject for one in now}
    lines = []
    for (subject, name), bar in kept.items():
        if subject not in subjects:
            continue
        again = found.get((subject, name))
        if again is None:
            lines.append(f"{subject}: {name} was {bar.value:.3g} and is no longer measured")
        elif again.value < bar.value * (1 - LOSS):
            lines.append(f"{subject}: {name} was {bar.value:.3g}, now {again.value:.3g}")
    return lines


def as_table(results: Results) -> str:
    """The run as Markdown."""
    size = "QUICK=1: small sizes, to be compared with themselves only" if results.quick else "full sizes"
    lines = ["# What was measured", "", f"{results.at}, {size}.", ""]
    lines += [f"- {name}: {value}" for name, value in results.machine.items()]
    lines += ["", "## Bars", "", "| subject | what | reached | bar | |", "|---|---|---:|---:|---|"]
    for outcome in results.outcomes:
        lines += [_bar_line(outcome, bar) for bar in outcome.bars]
    for outcome in results.outcomes:
        lines += ["", f"## {outcome.title}", "", outcome.about, ""]
        lines += ["| | median | least | most | unit | runs | CPU us each | peak MB | busy, others |"]
        lines += ["|---|---:|---:|---:|---|---:|---|---|---:|"]
        lines += [_figure_line(figure) for figure in outcome.figures]
        if outcome.checked:
            lines += ["", f"Checked: {outcome.checked}"]
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """Three figures, or all of a larger whole number."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bar_line(outcome: Outcome, bar: Bar) -> str:
    limit = "" if bar.at_least is None else f"at least {number(bar.at_least)}"
    limit = limit if bar.at_most is None else f"at most {number(bar.at_most)}"
    verdict = "" if not limit else "reached" if bar.reached else "**not reached**"
    unit = " x" if bar.ratio else f" {bar.unit}"
    note = f" ({bar.note})" if bar.note else ""
    return f"| {outcome.subject} | {bar.name}{note} | {number(bar.value)}{unit} | {limit} | {verdict} |"


def _figure_line(row: Figure) -> str:
    cpu = ", ".join(f"{group} {number(cost)}" for group, cost in row.cpu.items())
    memory = ", ".join(f"{group} {number(most)}" for group, most in row.peak_mb.items())
    busy = "" if row.busy is None else f"{row.busy:.0%}, {row.others or 0:.0%}"
    note = f" ({row.note})" if row.note else ""
    spread = f"{number(row.value)} | {number(min(row.values))} | {number(max(row.values))}"
    return f"| {row.name}{note} | {spread} | {row.unit} | {len(row.values)} | {cpu} | {memory} | {busy} |"
