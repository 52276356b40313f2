"""Explain: why a deadline is when it is, from the clause to every stretch that counts and every one that does not.

The one rule: an explanation adds up. Its steps follow one another without a gap from the start to the due instant, and
what they count is the period; one that does not is an error here, never told to a citizen.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from services.rules.calendar import Calendar
from services.rules.charter import Promise
from services.rules.counting import WORKING, Span, in_dates
from services.rules.explaining.course import Course, Key, Reading
from services.rules.explaining.steps import Ending, Measure, Step, Walk, off_hours, until_rolled, walk
from services.rules.facts import Fact
from services.rules.instants import Instant
from services.rules.runs import Stop
from services.rules.scan import DATE_LENGTH
from services.rules.state import Rules

Basis = Literal["period", "round", "wanted", "day", "ahead", "yearly"]
"""Where a due instant comes from: a period counted from the start, a round of one that recurs, the instant that the
citizen wants, a date that was set, a span before an appointment, or a date of every year."""


class Cause(msgspec.Struct, frozen=True):
    """What brought something about.

    A fact of the case (`key`, `type`, from when it has effect, when it was `recorded` where that is known); the breach
    of a `promise`, with what that `says`; an event that enacts rules (`name`: the version, or the date and the name of
    the day); or time itself (clock.advanced). Of fact.voided `name` is the fact that was taken back.
    """

    type: str
    at: Instant
    key: str = ""
    promise: str = ""
    says: Mapping[str, str] | None = None
    name: str = ""
    recorded: Instant | None = None


class Extension(msgspec.Struct, frozen=True):
    """So much more of the unit of the period, on a ground where one is given, and why."""

    amount: int
    unit: str
    ground: str
    cause: Cause


class Suspension(msgspec.Struct, frozen=True):
    """A time that does not count, on a ground; `end` None: it lasts. `whole_dates`: both end dates are out in full.
    Without `ended_by` it ended by the limit that the law sets it, or since the promise was kept meanwhile."""

    ground: str
    start: Instant
    end: Instant | None
    whole_dates: bool
    cause: Cause
    ended_by: Cause | None


class Moved(msgspec.Struct, frozen=True):
    """What changed the due instant as it was told; None: none while suspended. Where both are the same, a provisional
    date became certain."""

    before: Instant | None
    after: Instant | None
    cause: Cause


class Told(msgspec.Struct, frozen=True):
    """What was told of a run: the first due instant, and every change, in the order in which it became known."""

    first_due: Instant | None = None
    moves: tuple[Moved, ...] = ()


class Named(msgspec.Struct, frozen=True):
    """Which promise, and where it stands. `document` names whose charter holds it, or, where `law` names its version,
    the law itself; `zone` is the time zone in which its dates are meant."""

    kind: str
    promise: str
    section: str
    document: Mapping[str, str]
    law: str
    says: Mapping[str, str]
    charter: str
    calendar: str
    rules: str
    zone: str


class Explanation(Named, frozen=True):
    """Why one run of a promise is due when it is. Instants in microseconds.

    `budget` is what is to be counted, in the `measure` of the steps; `remaining` what is left of it while the clock
    stands still. `named` is an instant set by somebody or by the date of the year: the due instant itself, or (basis
    ahead) the one it lies ahead of, `ahead` being the steps from the due instant to it. `round` counts from 1, 0 for a
    promise that does not recur. `readings` are the readings of the law, by switch, that decided about the date.
    `deemed`: since it was broken the petition counts as accepted.
    """

    occurrence: str
    owed_by: str
    basis: Basis
    started_by: Cause
    start: Instant
    span: Span | None
    named: Instant | None
    round: int
    ending: Ending
    measure: Measure
    budget: int
    remaining: int
    steps: tuple[Step, ...]
    ahead: tuple[Step, ...]
    extensions: tuple[Extension, ...]
    suspensions: tuple[Suspension, ...]
    readings: Mapping[str, str]
    moves: tuple[Moved, ...]
    due: Instant | None
    first_due: Instant | None
    state: str
    deemed: bool
    met_at: Instant | None
    provisional: bool
    horizon: Instant

    @property
    def key(self) -> Key:
        """What names the run in its case."""
        return (self.promise, self.occurrence)


class DoesNotAddUp(AssertionError):
    """The steps do not lead to the due instant: an error in the rules."""


def explain(reading: Reading, promise: str = "", told: Mapping[Key, Told] | None = None) -> tuple[Explanation, ...]:
    """Every run of a promise (without one: of all promises) of a case, in order of start; `told` is what was told of
    each, where that is known. Raises OutOfCalendar where a period ends beyond the calendar, and DoesNotAddUp."""
    explained = []
    for key, course in sorted(reading.courses.items(), key=lambda item: (item[1].deadline.start, item[0])):
        if promise in ("", key[0]):
            explanation = _explanation(course, reading, (told or {}).get(key, Told()))
            if not adds_up(explanation):
                raise DoesNotAddUp(f"{key[0]}: the steps do not lead to the due instant")
            explained.append(explanation)
    return tuple(explained)


def adds_up(one: Explanation) -> bool:
    """Whether the steps are gapless from the start to the due instant and count exactly the period."""
    chains = [(one.start, one.steps, one.due)]
    if one.ahead:
        assert one.due is not None
        chains.append((one.due, one.ahead, one.named))
    counted = sum(step.counted for step in (*one.steps, *one.ahead))
    return all(gapless(*chain) for chain in chains) and counted + one.remaining == one.budget


def gapless(start: Instant, steps: Sequence[Step], end: Instant | None) -> bool:
    """Whether steps lead from one instant to another, which may lie before it where there are none."""
    if not steps:
        return end is not None and end <= start
    joined = all(step.end == following.start for step, following in pairwise(steps))
    return joined and steps[0].start == start and steps[-1].end == end


def named(promise: Promise, rules: Rules, calendar: Calendar) -> Named:
    """Which promise, and where it stands."""
    charter, law = rules.charter, rules.charter.law
    own = law is None or all(row.id != promise.id for row in law.promises)
    return Named(
        kind=promise.kind,
        promise=promise.id,
        section=promise.section,
        document=charter.name if law is None or own else law.name,
        law="" if law is None or own else f"{law.id}@{law.version}",
        says=promise.says,
        charter=charter.label,
        calendar=calendar.version,
        rules=rules.revision,
        zone=calendar.zone.key,
    )


def cause_of(fact: Fact) -> Cause:
    """A fact as a cause."""
    return Cause(fact.type, fact.moment, fact.key)


class _Counted(msgspec.Struct, frozen=True):
    """How a due instant is reached."""

    basis: Basis
    named: Instant | None = None
    ending: Ending = "roll"
    walked: Walk = Walk((), "time", 0, 0)
    ahead: tuple[Step, ...] = ()


def _explanation(course: Course, reading: Reading, told: Told) -> Explanation:
    deadline, promise, span = course.deadline, course.promise, course.span
    rules = course.rules
    said = [fact for one in rules.declared for fact in (one.declared_by, one.lifted_by) if fact is not None]
    facts = {fact.key: fact for fact in (*said, *reading.scan.facts)}
    calendar = rules.calendar(promise.hours if span is not None and span.unit in WORKING else "office")
    counted = _named(course, rules) if course.at is not None else _counted(course, rules, calendar)
    walked = counted.walked
    return Explanation(
        **msgspec.structs.asdict(named(promise, rules, calendar)),
        occurrence=deadline.occurrence,
        owed_by=promise.owed_by,
        basis=counted.basis,
        started_by=_started_by(course, reading, facts),
        start=deadline.start,
        span=span,
        named=counted.named,
        round=course.rounds,
        ending=counted.ending,
        measure=walked.measure,
        budget=walked.budget,
        remaining=walked.remaining,
        steps=walked.steps,
        ahead=counted.ahead,
        extensions=tuple(
            Extension(amount, span.unit if span else "", facts[cause].data.ground or "", cause_of(facts[cause]))
            for amount, cause in course.extensions
        ),
        suspensions=tuple(_suspension(stop, facts) for stop in course.stops),
        readings=_readings(course, reading, calendar),
        moves=told.moves,
        due=deadline.due,
        first_due=told.first_due,
        state=deadline.state,
        deemed=deadline.deemed,
        met_at=deadline.met_at,
        provisional=deadline.provisional,
        horizon=calendar.horizon,
    )


def _counted(course: Course, rules: Rules, calendar: Calendar) -> _Counted:
    """A period, or a round of one that recurs, counted from its start."""
    span, policy = course.span, rules.charter.policy
    assert span is not None
    start, to_closing = course.deadline.start, policy.day_end == "18:00" and in_dates(span)
    if course.rounds:
        ending: Ending = "roll"
        if course.promise.grace:
            ending = "counted" if policy.progress_send_by == "same_day" else "next_working_day"
        whole = Span(span.amount * course.rounds, span.unit)
        walked = walk(calendar, start, whole, ending=ending, to_closing=to_closing)
        return _Counted("round", None, ending, walked)
    from_opening = policy.after_hours_receipt == "next_open" and span.unit == "statutory_days"
    extensions, stops = course.extensions, course.stops
    walked = walk(calendar, start, span, extensions, stops, from_opening=from_opening, to_closing=to_closing)
    return _Counted("period", walked=walked)


def _named(course: Course, rules: Rules) -> _Counted:
    """An instant that somebody set, or a span before it."""
    start, due, span = course.deadline.start, course.at, course.span
    assert due is not None
    steps: tuple[Step, ...] = ()
    if due > start:
        steps = (Step(start, due, 0, "named"),)
    if course.ahead_of is not None and span is not None:
        calendar = rules.calendar(course.promise.hours)
        back = walk(calendar, due, span)
        reached = back.steps[-1].end if back.steps else due
        assert reached is not None
        rest = off_hours(calendar, reached, course.ahead_of) if reached < course.ahead_of else ()
        return _Counted("ahead", course.ahead_of, walked=back._replace(steps=steps), ahead=(*back.steps, *rest))
    if 0 < len(course.day) <= DATE_LENGTH:
        if due > start:
            steps = until_rolled(rules.calendar("office"), start, course.day, due)
        return _Counted("day", due, walked=Walk(steps, "time", 0, 0))
    basis: Basis = "yearly" if course.yearly else "wanted" if not course.day else "day"
    return _Counted(basis, due, walked=Walk(steps, "time", 0, 0))


def _readings(course: Course, reading: Reading, calendar: Calendar) -> dict[str, str]:
    """The switches of policy.py by which the due instant would be another if they stood otherwise."""
    span, promise, policy = course.span, course.promise, course.rules.charter.policy
    if span is None or course.at is not None:
        return {}
    dates, start = in_dates(span), course.deadline.start
    first = calendar.ordinal(start)
    later = calendar.ordinal(calendar.opening(start)) != first and calendar.is_open(first)
    law = reading.scan.law
    decided = {
        "day_end": dates,
        "after_hours_receipt": dates and span.unit == "statutory_days" and not course.rounds and later,
        "pause_mode": promise.suspends == "dates" and any(not law.suspension_by(s.ground).exact for s in course.stops),
        "force_majeure": any(stop.ground == "force_majeure" for stop in course.stops),
        "objection_count": promise.within.by == "policy.objection_count",
        "progress_send_by": bool(course.rounds) and promise.grace,
    }
    return {switch: getattr(policy, switch) for switch, matters in decided.items() if matters}


def _started_by(course: Course, reading: Reading, facts: Mapping[str, Fact]) -> Cause:
    """What began a run: a fact, the breach of another promise, or (each_year) the year."""
    occurrence, start = course.deadline.occurrence, course.deadline.start
    if course.yearly:
        return Cause("each_year", start)
    if course.started_by == "breach":
        return _breach(course, reading)
    fact = facts[occurrence.rpartition("#")[0] if course.rounds else occurrence]
    if course.started_by not in (fact.type, "complaint.received"):  # counted from the receipt, begun by something else
        fact = next((other for other in facts.values() if other.type == course.started_by), fact)
    return cause_of(fact)


def _breach(course: Course, reading: Reading) -> Cause:
    """Whose breach began a run; what nobody in the office owed is no breach but ran out."""
    began = course.deadline.began
    assert began is not None
    occurrence, known = course.deadline.occurrence, reading.courses
    broken = next(start.breach for start in course.promise.starts if (start.breach, occurrence) in known)
    lapsed = known[broken, occurrence].promise.owed_by != "office"
    says = known[broken, occurrence].promise.says
    return Cause("deadline.voided" if lapsed else "deadline.breached", began, promise=broken, says=says)


def _suspension(stop: Stop, facts: Mapping[str, Fact]) -> Suspension:
    gap = stop.gap
    ended = cause_of(facts[stop.ended_by]) if stop.ended_by else None
    return Suspension(stop.ground, gap.start, gap.end, gap.whole_dates, cause_of(facts[stop.begun_by]), ended)
