"""Measured: how an event was judged that carries a number, a time, or something that had to come first.

The one rule: whether it broke the promise is what the scan found; here stand the number and its limit, the time with
every step, and the events that they are from.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from services.rules.charter import Promise
from services.rules.counting import Span
from services.rules.demands import all_hold
from services.rules.explaining.course import Reading
from services.rules.explaining.explain import Cause, DoesNotAddUp, Named, cause_of, gapless, named
from services.rules.explaining.steps import Measure, Step, Walk, walk
from services.rules.facts import Fact
from services.rules.instants import Instant
from services.rules.refusals import WANT_RECEIPT
from services.rules.remedies import begun_by, note, timed_from, to_note_by
from services.rules.state import Rules

Sort = Literal["number", "time", "lapses", "note"]


class Measured(Named, frozen=True):
    """One event that a charter measures, and how it was judged: state is kept, broken, open or (no limit) noted.

    number: the `field`, its `value`, and the limit as `test` (at_most, below, at_least) and `bound`. time: from `since`
    (`since_by` where an event began it) to the event; it had to come by `limit`, or (`not_before`) only from then on,
    the steps leading there. lapses: how often `other` had to lapse before (`bound`), how often it did (`value`), and
    `until` when each. note: one of the events `wanted` had to come by `limit`, and did so with `noted_by`.
    """

    sort: Sort
    measured: Cause
    state: str
    field: str = ""
    value: int | None = None
    test: str = ""
    bound: int | None = None
    since: Instant | None = None
    since_by: Cause | None = None
    span: Span | None = None
    not_before: bool = False
    limit: Instant | None = None
    measure: Measure = "time"
    steps: tuple[Step, ...] = ()
    other: str = ""
    lapsed: tuple[Instant, ...] = ()
    wanted: tuple[str, ...] = ()
    noted_by: Cause | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What names it in its case."""
        return (self.promise, self.measured.key)


def measures(reading: Reading, promise: str = "") -> tuple[Measured, ...]:
    """Every event of a case that a promise (without one: any) measures, in order. Raises OutOfCalendar, and
    DoesNotAddUp."""
    return tuple(sorted(_measures(reading, promise), key=lambda one: (one.measured.at, one.promise)))


def _measures(reading: Reading, promise: str) -> Iterator[Measured]:
    scan = reading.scan
    for fact in scan.facts:
        if f"refused:{fact.key}" in scan.findings or (scan.receipt is None and fact.type.startswith(WANT_RECEIPT)):
            continue
        judged: dict[str, Measured] = {}
        # The version that held at the event comes first; where a later one reaches back, its verdict is what stands.
        for rules in sorted(reading.governed, key=lambda row: (row[0] > fact.moment, -row[0])):
            for row in rules[1].charter.measuring.get(fact.type, ()):
                if promise in ("", row.id) and row.measured and all_hold(row.measured.where, fact.data, scan.petition):
                    found = _judged(reading, rules[1], row, fact)
                    if found is not None:
                        judged.setdefault(row.id, found)
        yield from judged.values()


def _judged(reading: Reading, rules: Rules, promise: Promise, fact: Fact) -> Measured | None:
    """How an event was judged, or None where it carries nothing to judge, or another version judged it."""
    broken = f"measure:{promise.id}:{fact.key}" in reading.scan.findings
    head = msgspec.structs.asdict(named(promise, rules, rules.calendar(promise.hours)))
    one = Measured(**head, sort="number", measured=cause_of(fact), state="broken" if broken else "kept")
    if promise.noted:
        return _noted(reading, promise, fact, one)
    if promise.after_lapses is not None:
        return _lapses(reading, promise, fact, one)
    if promise.timing is not None:
        return _timed(reading, rules, promise, fact, one)
    value = getattr(fact.data, promise.field[0]) if promise.field[0] else None
    if value is None or promise.exceeds(value) is not broken:
        return None
    test, bound = promise.limit or ("", None)
    one = msgspec.structs.replace(one, field=promise.field[0], value=int(value), test=test, bound=bound)
    return one if test else msgspec.structs.replace(one, state="noted")


def _noted(reading: Reading, promise: Promise, fact: Fact, one: Measured) -> Measured:
    limit, _ = to_note_by(reading.scan, promise, fact)
    by = note(reading.scan, promise, limit)
    return msgspec.structs.replace(
        one,
        sort="note",
        limit=limit,
        wanted=tuple(dict.fromkeys(match.type for match in promise.noted)),
        noted_by=None if by is None else cause_of(by),
        state="open" if by is None and one.state == "kept" else one.state,
    )


def _lapses(reading: Reading, promise: Promise, fact: Fact, one: Measured) -> Measured:
    assert promise.after_lapses is not None
    name, times = promise.after_lapses
    lapsed = sorted(
        course.deadline.due
        for course in reading.courses.values()
        if course.promise.id == name
        and course.deadline.state == "lapsed"
        and course.deadline.met_at is None
        and course.deadline.due is not None
        and course.deadline.due < fact.moment
    )
    return msgspec.structs.replace(one, sort="lapses", other=name, bound=times, value=len(lapsed), lapsed=tuple(lapsed))


def _timed(reading: Reading, rules: Rules, promise: Promise, fact: Fact, one: Measured) -> Measured | None:
    timing, since = promise.timing, timed_from(reading.scan, promise, fact)
    if timing is None or since is None or since > fact.moment:
        return None
    calendar = rules.calendar(promise.hours)
    span, walked = timing.within or timing.not_before, Walk((), "time", 0, 0)
    if span is not None:
        walked = walk(calendar, since, span, ending="roll" if timing.within else "counted")
        counted = sum(step.counted for step in walked.steps)
        if counted != walked.budget or not gapless(since, walked.steps, walked.steps[-1].end):
            raise DoesNotAddUp(f"{promise.id}: the steps do not lead to the limit")
    begun = begun_by(reading.scan, promise, fact)
    limit = walked.steps[-1].end if walked.steps else None
    late = limit is not None and (fact.moment < limit if timing.not_before else fact.moment > limit)
    if late is not (one.state == "broken"):
        return None
    return msgspec.structs.replace(
        one,
        sort="time",
        state=one.state if span else "noted",
        since=since,
        since_by=None if begun is None else cause_of(begun),
        span=span,
        not_before=timing.not_before is not None,
        limit=limit,
        measure=walked.measure,
        steps=walked.steps,
    )
