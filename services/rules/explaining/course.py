"""Courses: the runs of a case with what each was counted from, for whoever asks why a date is the date.

The one rule: it is the scan that decides, told in full; nothing is worked out a second time here.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from services.rules.charter import Promise
from services.rules.counting import Span
from services.rules.facts import Fact
from services.rules.governing import scan_of
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
    or a span before `ahead_of`. `extensions` are amounts with the facts (by key) that brought them, `rules` those by
    which it is judged.
    """

    deadline: Deadline
    promise: Promise
    rules: Rules
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
    """A case that was read: the scan at its end, the standing, the course of every run, and the rules that governed,
    each from when."""

    scan: Scan
    standing: Standing
    courses: Mapping[Key, Course]
    governed: tuple[tuple[Instant, Rules], ...]


def read(facts: tuple[Fact, ...], clock: Instant, rules: Rules, home: bool = False) -> Reading:
    """Reads a case as `governing.work_out` does. Raises OutOfCalendar where a period ends beyond the calendar."""
    scan = scan_of(facts, clock, rules, home)
    standing = of_scan(scan)
    courses = {key: _course(run, standing.deadlines[key], rules) for key, run in scan.runs.items()}
    return Reading(scan, standing, courses, ((0, rules), *((stage.at, stage.rules) for stage in rules.stages)))


def _course(run: Run, deadline: Deadline, rules: Rules) -> Course:
    ahead_of = getattr(run.data, run.promise.within.before_at) if run.promise.within.before_at else None
    return Course(
        deadline,
        run.promise,
        run.rules or rules,
        run.span,
        run.at,
        None if ahead_of is None else of_datetime(ahead_of),
        run.day,
        run.yearly is not None,
        run.started_by,
        run.rounds,
        run.extensions,
        run.stops,
    )
