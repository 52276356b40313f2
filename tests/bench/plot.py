"""The plot of a run: how fast each pipeline folds, and how far above or below its bar each figure is."""

from pathlib import Path

import matplotlib

from tests.bench.results import Bar, Results, number

matplotlib.use("Agg")
matplotlib.rcParams.update({"svg.hashsalt": "gihan", "font.size": 8})

from matplotlib import pyplot  # noqa: E402 - after the choice of what draws

OURS, THEIRS, MISSED = "#1b6ca8", "#b8b8b8", "#c8553d"


def draw(results: Results, folder: Path) -> list[Path]:
    """Writes the plot as PNG and SVG; returns the files."""
    rates = [figure for outcome in results.outcomes if outcome.subject == "live" for figure in outcome.figures]
    bars = [bar for outcome in results.outcomes for bar in outcome.bars if (bar.at_least or bar.at_most)]
    heights = (max(len(rates), 1), max(len(bars), 1))
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(9, 1.2 + 0.26 * sum(heights)), gridspec_kw={"height_ratios": heights}, layout="constrained"
    )
    names = [rate.name for rate in rates]
    above.barh(names, [rate.value for rate in rates], color=[OURS if "Gihan" in name else THEIRS for name in names])
    for place, rate in enumerate(rates):
        above.annotate(f" {number(rate.value)}", (rate.value, place), va="center")
    above.set(xscale="log", title="Facts a second, from the log to durable rows in PostgreSQL")
    margins = [_margin(bar) for bar in bars]
    below.barh(
        [bar.name for bar in bars],
        [margin - 1 for margin in margins],
        left=1,
        color=[OURS if bar.reached else MISSED for bar in bars],
    )
    below.axvline(1, color="black", linewidth=0.8)
    for place, margin in enumerate(margins):
        below.annotate(f" {margin:.2g} ", (margin, place), va="center", ha="left" if margin >= 1 else "right")
    below.set(xscale="log", title="How many times the bar (1: just reached)")
    for axes in (above, below):
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.spines[["top", "right"]].set_visible(False)
    size = "quick, " if results.quick else ""
    figure.suptitle(f"{size}{results.machine.get('cpu', '')}, {results.machine.get('cores', '')} cores", fontsize=8)
    stem = "quick" if results.quick else "results"
    paths = [folder / f"{stem}.png", folder / f"{stem}.svg"]
    figure.savefig(paths[0], dpi=150)
    figure.savefig(paths[1], metadata={"Date": None})
    pyplot.close(figure)
    return paths


def _margin(bar: Bar) -> float:
    """1 where the bar is just reached, more where it is passed."""
    return bar.value / bar.at_least if bar.at_least is not None else (bar.at_most or 0) / bar.value
