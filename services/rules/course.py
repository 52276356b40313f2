"""Courses: the runs of a case with what each was counted from, for whoever asks why a date is the date.

The one rule: it is the scan that decides, told in full; nothing is worked out a second time here.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from services.rules import promises
from services.rules.charter import Promise
from services.rules.counting import Span
from services.rules.facts import Fact
from services.rules.instants import Instant, of_datetime
from services.rules.runs import Run, Stop
from services.rules.scan import Scan
from services.rules.standing import of_scan
from services.rules.state import Deadline, Rules, Standing

Key = tuple[str, str]
"""A promise and what names its run in the case."""


class Course(msgspec.Struct, frozen=True):
    """A run with what its due instant is counted from.

    `at` is a due instant that is named, not counted: that of a year's duty, of the date in `day`, as the citizen wants,
    or a span before `ahead_of`. `extensions` are amounts with the facts (by key) that brought them.
    """

    deadline: Deadline
    promise: Promise
    span: Span | None
    at: Instant | None
    ahead_of: Instant | None
    day: str
    yearly: bool
    started_by: str
    rounds: int
    extensions: tuple[tuple[int, str], ...]
    stops: tuple[Stop, ...]


class Reading(NamedTuple):
    """A case read by one set of rules: the scan at its end, the standing, and the course of every run."""

    scan: Scan
    standing: Standing
    courses: Mapping[Key, Course]


def read(facts: tuple[Fact, ...], clock: Instant, rules: Rules, home: bool = False) -> Reading:
    """Reads a case as `standing.work_out` does. Raises OutOfCalendar where a period ends beyond the calendar."""
    scan = Scan(facts, clock, rules)
    if home:
        promises.open_duties(scan)
    standing = of_scan(scan)
    return Reading(scan, standing, {key: _course(run, standing.deadlines[key]) for key, run in scan.runs.items()})


def _course(run: Run, deadline: Deadline) -> Course:
    ahead_of = getattr(run.data, run.promise.within.before_at) if run.promise.within.before_at else None
    return Course(
        deadline,
        run.promise,
        run.span,
        run.at,
        None if ahead_of is None else of_datetime(ahead_of),
        run.day,
        run.yearly is not None,
        run.started_by,
        run.rounds,
        tuple(run.extensions),
        tuple(run.stops),
    )
