"""Explain: why a deadline is when it is, from the clause to every stretch that counts and every one that does not.

The one rule: an explanation adds up. Its steps follow one another without a gap from the start to the due instant, and
what they count is the period; one that does not is an error here, never told to a citizen.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import msgspec

from services.rules.charter import Promise
from services.rules.counting import WORKING, Span
from services.rules.course import Course, courses
from services.rules.facts import Fact, in_effect
from services.rules.governing import work_out
from services.rules.instants import Instant
from services.rules.rulebook import Rulebook
from services.rules.runs import Stop
from services.rules.state import Case, Rules
from services.rules.steps import Measure, Step, off_hours, walk
from services.rules.world import rules_of

Key = tuple[str, str]


class Cause(msgspec.Struct, frozen=True):
    """What brought something about: a fact (`key`, `type`, when it happened), or the breach of a promise, with
    `promise` and the type deadline.breached."""

    type: str
    at: Instant
    key: str = ""
    promise: str = ""


class Extension(msgspec.Struct, frozen=True):
    """So much more of the unit of the period, and why."""

    amount: int
    unit: str
    cause: Cause


class Suspension(msgspec.Struct, frozen=True):
    """A time that does not count, on a ground; `end` None: it lasts. `whole_dates`: both end dates are out in full."""

    ground: str
    start: Instant
    end: Instant | None
    whole_dates: bool
    cause: Cause
    ended_by: Cause | None


class Moved(msgspec.Struct, frozen=True):
    """A fact that changed the due instant; None: none while suspended."""

    before: Instant | None
    after: Instant | None
    cause: Cause


class Explanation(msgspec.Struct, frozen=True):
    """Why one run of a promise is due when it is. Instants in microseconds.

    `document` names whose charter holds the clause, or, where `law` names its version, the law itself.

    `budget` is what is to be counted, in the `measure` of the steps; `remaining` what is left of it while the clock
    stands still. `named` is an instant set by the citizen: the due instant itself, or, where `ahead` is not empty, the
    one it lies ahead of, `ahead` being the steps from the due instant to it. `round` counts from 1, 0 for a promise
    """

    promise: str
    occurrence: str
    section: str
    document: Mapping[str, str]
    law: str
    says: Mapping[str, str]
    charter: str
    calendar: str
    rules: str
    started_by: Cause
    start: Instant
    span: Span | None
    named: Instant | None
    round: int
    ending: Literal["roll", "next_working_day"]
    measure: Measure
    budget: int
    remaining: int
    steps: tuple[Step, ...]
    ahead: tuple[Step, ...]
    extensions: tuple[Extension, ...]
    suspensions: tuple[Suspension, ...]
    moves: tuple[Moved, ...]
    due: Instant | None
    first_due: Instant | None
    state: str
    met_at: Instant | None
    provisional: bool
    horizon: Instant
    zone: str


class DoesNotAddUp(AssertionError):
    """The steps do not lead to the due instant: an error in the rules."""


def explain(
    facts: tuple[Fact, ...],
    clock: Instant,
    rules: Rules,
    promise: str = "",
    told: Mapping[Key, Instant | None] | None = None,
) -> tuple[Explanation, ...]:
    """Every run of a promise (without one: of all promises) of a case, in order of start.

    `told` has the dates first told by promise and occurrence, as the case keeps them. Raises OutOfCalendar where a
    period ends beyond the calendar, and DoesNotAddUp.
    """
    found = courses(facts, clock, rules)
    by_key = {fact.key: fact for fact in in_effect(facts)}
    explained = []
    for key, course in sorted(found.items(), key=lambda item: (item[1].deadline.start, item[0])):
        if promise in ("", key[0]):
            explanation = _explanation(course, found, by_key, rules, (told or {}).get(key))
            if not adds_up(explanation):
                raise DoesNotAddUp(f"{key[0]}: the steps do not lead to the due instant")
            explained.append(explanation)
    return tuple(explained)


def of_case(case: Case, clock: Instant, rulebook: Rulebook, promise: str = "") -> tuple[Explanation, ...]:
    """The same for a case as the fold keeps it, by the rules that the log enacted."""
    rules = rules_of(rulebook, case, None)
    told = {deadline.key: deadline.first_due for deadline in case.deadlines}
    decided = work_out(case.facts, clock, rules).deadlines
    found: dict[Key, Explanation] = {}
    # Each run is explained by the version of the charter that dated it: the earliest by which it stands as it does.
    for version in (rules, *(stage.rules for stage in rules.stages)):
        for one in explain(case.facts, clock, version, promise, told):
            run = decided.get((one.promise, one.occurrence))
            if run is not None and (run.due, run.state) == (one.due, one.state):
                found.setdefault(run.key, one)
    return tuple(sorted(found.values(), key=lambda one: (one.start, one.promise, one.occurrence)))


def adds_up(one: Explanation) -> bool:
    """Whether the steps are gapless from the start to the due instant and count exactly the period."""
    chains = [(one.start, one.steps, one.due)]
    if one.ahead:
        assert one.due is not None
        chains.append((one.due, one.ahead, one.named))
    for start, steps, end in chains:
        if not steps:
            if end is None or end > start:
                return False
            continue
        if steps[0].start != start or steps[-1].end != end:
            return False
        if any(step.end != following.start for step, following in pairwise(steps)):
            return False
    return sum(step.counted for step in (*one.steps, *one.ahead)) + one.remaining == one.budget


def _explanation(
    course: Course,
    courses: Mapping[Key, Course],
    facts: Mapping[str, Fact],
    rules: Rules,
    told: Instant | None,
) -> Explanation:
    deadline, promise = course.deadline, course.promise
    span, ending = course.span, _ending(course)
    calendar = rules.calendar(promise.hours if span is not None and span.unit in WORKING else "office")
    measure: Measure = "time"
    steps, ahead, budget, remaining = (), (), 0, 0  # type: tuple[Step, ...], tuple[Step, ...], int, int
    if course.at is not None:
        if course.at > deadline.start:
            steps = (Step(deadline.start, course.at, 0, "named"),)
        if course.ahead_of is not None and span is not None:
            back = walk(rules.calendar(promise.hours), course.at, span)
            reached = back.steps[-1].end if back.steps else course.at
            assert reached is not None
            rest = off_hours(calendar, reached, course.ahead_of) if reached < course.ahead_of else ()
            ahead, budget = (*back.steps, *rest), back.budget
    elif span is not None:
        whole = Span(span.amount * max(course.rounds, 1), span.unit)
        stops = () if course.rounds else course.stops
        walked = walk(calendar, deadline.start, whole, course.extensions, stops, ending)
        steps, measure, budget, remaining = walked.steps, walked.measure, walked.budget, walked.remaining
    law = rules.charter.law
    of_law = law is not None and any(row.id == promise.id for row in law.promises)
    return Explanation(
        promise=promise.id,
        occurrence=deadline.occurrence,
        section=promise.section,
        document=law.name if law is not None and of_law else rules.charter.name,
        law=f"{law.id}@{law.version}" if law is not None and of_law else "",
        says=promise.says,
        charter=rules.charter.label,
        calendar=calendar.version,
        rules=rules.revision,
        started_by=_started_by(course, courses, facts),
        start=deadline.start,
        span=span,
        named=course.at if course.ahead_of is None else course.ahead_of,
        round=course.rounds,
        ending=ending,
        measure=measure,
        budget=budget,
        remaining=remaining,
        steps=steps,
        ahead=ahead,
        extensions=tuple(
            Extension(amount, span.unit if span else "", _cause(cause, facts)) for amount, cause in course.extensions
        ),
        suspensions=tuple(_suspension(stop, facts) for stop in course.stops),
        moves=tuple(
            Moved(move.before, move.after, Cause(move.cause.type, move.cause.moment, move.cause.key))
            for move in course.moves
            if move.cause is not None
        ),
        due=deadline.due,
        first_due=deadline.first_due if told is None else told,
        state=deadline.state,
        met_at=deadline.met_at,
        provisional=deadline.provisional,
        horizon=calendar.horizon,
        zone=calendar.zone.key,
    )


def _ending(course: Course) -> Literal["roll", "next_working_day"]:
    return "next_working_day" if course.rounds and course.promise.grace else "roll"


def _started_by(course: Course, courses: Mapping[Key, Course], facts: Mapping[str, Fact]) -> Cause:
    occurrence = course.deadline.occurrence
    if course.started_by == "breach":
        began = course.deadline.began
        assert began is not None
        return Cause("deadline.breached", began, promise=_broken(course.promise, occurrence, courses))
    return _cause(occurrence.rpartition("#")[0] if course.rounds else occurrence, facts)


def _broken(promise: Promise, occurrence: str, courses: Mapping[Key, Course]) -> str:
    """Which promise's breach began this run."""
    return next((start.breach for start in promise.starts if (start.breach, occurrence) in courses), "")


def _cause(key: str, facts: Mapping[str, Fact]) -> Cause:
    fact = facts[key]
    return Cause(fact.type, fact.moment, key)


def _suspension(stop: Stop, facts: Mapping[str, Fact]) -> Suspension:
    gap = stop.gap
    ended = _cause(stop.ended_by, facts) if stop.ended_by else None
    return Suspension(stop.ground, gap.start, gap.end, gap.whole_dates, _cause(stop.begun_by, facts), ended)
