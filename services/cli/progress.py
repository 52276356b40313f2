"""Progress: how far a command is that people wait for, drawn on a terminal.

The one rule: what a command prints is not touched. The bars stand on standard error, and only where that is a terminal
and what is printed meanwhile goes elsewhere.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

Tell = Callable[[str, int, int], None]
"""Hears that so much more of a stage is done, and how much there is of it: (stage, more, all), in units of its own."""


def to_nobody(stage: str, more: int, whole: int) -> None:
    """Where nobody watches."""


@contextmanager
def progress(*, prints: bool) -> Iterator[Tell]:
    """A bar for each stage that is told of. `prints`: standard output is written to until the block ends."""
    seen = sys.stderr.isatty() and not (prints and sys.stdout.isatty())
    columns = (TextColumn("{task.description:>10}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bars = Progress(
        *columns,
        console=Console(stderr=True),
        disable=not seen,
        # Without a thread of its own: processes begin as copies of this one.
        auto_refresh=False,
        # Else what is printed is written to the console, that is to standard error, and broken to its width.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    stages: dict[str, TaskID] = {}

    def tell(stage: str, more: int, whole: int) -> None:
        if stage not in stages:
            stages[stage] = bars.add_task(stage, total=whole)
        bars.update(stages[stage], advance=more, total=whole, refresh=True)

    with bars:
        yield tell
        for task in stages.values():
            bars.update(task, completed=bars.tasks[task].total, refresh=True)
