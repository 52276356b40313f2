"""Courses: the runs of a case with what each was counted from, for whoever asks why a date is the date.

The one rule: it is the scan that decides, told in full; nothing is worked out a second time here.
"""

import msgspec

from services.rules.charter import Promise
from services.rules.counting import Span
from services.rules.facts import Fact
from services.rules.instants import Instant, of_datetime
from services.rules.runs import Move, Run, Stop
from services.rules.scan import Scan
from services.rules.standing import of_scan
from services.rules.state import Deadline, Rules


class Course(msgspec.Struct, frozen=True):
    """A run with what its due instant is counted from. `at` is a due instant named by the citizen, or counted back
    from `ahead_of`; `extensions` are amounts with the facts (by key) that brought them."""

    deadline: Deadline
    promise: Promise
    span: Span | None
    at: Instant | None
    ahead_of: Instant | None
    started_by: str
    rounds: int
    extensions: tuple[tuple[int, str], ...]
    stops: tuple[Stop, ...]
    moves: tuple[Move, ...]


def courses(facts: tuple[Fact, ...], clock: Instant, rules: Rules) -> dict[tuple[str, str], Course]:
    """The runs of a case as `work_out` finds them, each with what it is counted from.

    Raises OutOfCalendar where a period ends beyond the calendar.
    """
    scan = Scan(facts, clock, rules)
    deadlines = of_scan(scan).deadlines
    return {key: _course(run, deadlines[key]) for key, run in scan.runs.items()}


def _course(run: Run, deadline: Deadline) -> Course:
    ahead_of = getattr(run.data, run.promise.within.before_at) if run.promise.within.before_at else None
    return Course(
        deadline,
        run.promise,
        run.span,
        run.at,
        None if ahead_of is None else of_datetime(ahead_of),
        run.started_by,
        run.rounds,
        tuple(run.extensions),
        tuple(run.stops),
        tuple(run.moves),
    )
