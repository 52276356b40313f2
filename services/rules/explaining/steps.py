"""Steps: the walk from the start of a period to its due instant, every stretch counted or skipped for a reason.

The one rule: this is a second way of counting. It goes forward stretch by stretch where `counting` computes, and
arrives at the same instant; what was counted adds up to the period.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Literal, NamedTuple

import msgspec

from services.rules import counting
from services.rules.calendar import Calendar, Closure
from services.rules.counting import PLAIN, WALL, WORKING, Span
from services.rules.instants import Instant, local, of_datetime
from services.rules.runs import Stop
from services.rules.scan import CLOSING_TO_MIDNIGHT

Measure = Literal["time", "dates", "working_days"]
"""What is counted: microseconds, dates, or working days from a time of day to the same time of day."""


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stretch from `start` to `end` (None: it has no end yet).

    `counted` is how much of the period it uses up, 0 where it is skipped. `why` names the reason: period or extension
    where counted; else first_date, outside_hours, break, weekend, holiday (with `name`), closed, suspension (with
    `ground`), named, rolled or next_working_day. `cause` is the key of the fact behind it. A date is one date, also the
    first, of which a part is gone, and the last, of which a reading of the law may take the evening.
    """

    start: Instant
    end: Instant | None
    counted: int
    why: str
    name: Closure | None = None
    ground: str = ""
    cause: str = ""


class Walk(NamedTuple):
    """The steps of a period, how much was to be counted, and how much of it is left where it has no end yet."""

    steps: tuple[Step, ...]
    measure: Measure
    budget: int
    remaining: int


class _Part(NamedTuple):
    amount: int
    why: str
    cause: str


class _Stretch(NamedTuple):
    """A stretch before it is known how much of it is needed; one without a `why` counts."""

    start: int
    end: int | None
    why: str = ""
    name: Closure | None = None
    ground: str = ""
    cause: str = ""


class _Closed(NamedTuple):
    """A range in which nothing counts, ends included for dates, the end excluded for instants."""

    start: int
    end: int | None
    stop: Stop


Ending = Literal["roll", "next_working_day", "counted"]
"""With what a period counted in dates ends: with its last date, rolled on where that is closed; with the first working
day after it; or with its last date as counted."""


def walk(
    calendar: Calendar,
    start: Instant,
    span: Span,
    extensions: Sequence[tuple[int, str]] = (),
    stops: Sequence[Stop] = (),
    ending: Ending = "roll",
    *,
    from_opening: bool = False,
    to_closing: bool = False,
) -> Walk:
    """The steps of a period from its start. `extensions` are amounts with the key of the fact that brought each.

    `from_opening`: it is counted from the next opening; `to_closing`: its last date is over at 18:00. Raises
    OutOfCalendar.
    """
    if from_opening:
        opening = calendar.opening(start)
        walked = walk(calendar, opening, span, extensions, stops, ending, to_closing=to_closing)
        return walked._replace(steps=(*_joined(list(off_hours(calendar, start, opening))), *walked.steps))
    parts = [_Part(span.amount, "period", ""), *(_Part(amount, "extension", cause) for amount, cause in extensions)]
    walked = _walk(calendar, start, span, parts, stops)
    if walked.remaining:
        return walked
    over = walked.steps[-1].end if walked.steps else start
    assert over is not None
    tail: list[Step] = []
    if ending == "next_working_day":
        tail = _until_open(calendar, over, "next_working_day")
    elif ending == "roll" and walked.measure == "dates" and not calendar.is_open(calendar.ordinal(over - 1)):
        assert span.unit != "statutory_days"
        tail = _until_open(calendar, over, "rolled")
    steps = _joined([*walked.steps, *tail])
    if to_closing and steps:
        last = steps[-1]
        assert last.end is not None
        early = counting.before(calendar, last.end, CLOSING_TO_MIDNIGHT)
        steps = (*steps[:-1], msgspec.structs.replace(last, end=early))
    return walked._replace(steps=steps)


def until_rolled(calendar: Calendar, start: Instant, day: str, due: Instant) -> tuple[Step, ...]:
    """The steps from `start` to the end of a named date, such as 2026-11-07, or, where it is closed, of the first
    working one, at `due`."""
    over = calendar.midnight(date.fromisoformat(day).toordinal() + 1)
    if over == due:
        return (Step(start, due, 0, "named"),)
    named = [Step(start, over, 0, "named")] if over > start else []
    return (*named, *_until_open(calendar, max(over, start), "rolled"))


def off_hours(calendar: Calendar, start: Instant, end: Instant) -> tuple[Step, ...]:
    """The stretches between two instants, none of them counted."""
    return tuple(
        Step(row.start, row.end, 0, row.why or "outside_hours", row.name) for row in _hours(calendar, start, end)
    )


def _walk(calendar: Calendar, start: Instant, span: Span, parts: list[_Part], stops: Sequence[Stop]) -> Walk:
    unit = span.unit
    if unit in PLAIN:
        return _spent(_around(start, _instants(calendar, stops)), _times(parts, PLAIN[unit]), "time")
    if unit in WALL:
        return _on_the_wall(calendar, start, _times(parts, WALL[unit]), stops)
    if unit in WORKING:
        return _spent(_worked(calendar, start, stops), _times(parts, WORKING[unit]), "time")
    if unit == "statutory_days" and span.amount <= counting.HOURS_UP_TO_DAYS:
        return _spent(_worked(calendar, start, stops), _times(parts, counting.WORKING_DAY), "time")
    excluded = [
        _Closed(first, last, stop) for stop in stops for first, last in counting.excluded_dates(calendar, [stop.gap])
    ]
    if unit == "working_days":
        opening, waited = _awaited(calendar, start, excluded)
        if opening is None:
            amount = sum(part.amount for part in parts)
            return Walk(_joined(waited), "working_days", amount, amount)
        walked = _spent(_days(calendar, opening, excluded), parts, "working_days")
        return walked._replace(steps=(*_joined(waited), *walked.steps))
    return _spent(_dates(calendar, start, unit, excluded), _in_dates(calendar, start, unit, parts), "dates")


def _awaited(calendar: Calendar, start: Instant, excluded: Sequence[_Closed]) -> tuple[Instant | None, list[Step]]:
    """When a period of office days begins, and the steps until then: at the first opening on a date that is in."""
    opening = calendar.opening(start)
    steps = list(off_hours(calendar, start, opening))
    while inside := _containing(calendar.ordinal(opening), excluded):
        end = None if inside.end is None else calendar.midnight(inside.end + 1)
        steps.append(Step(opening, end, 0, "suspension", ground=inside.stop.ground, cause=inside.stop.begun_by))
        if end is None:
            return None, steps
        opening = calendar.opening(end)
        steps += off_hours(calendar, end, opening)
    return opening, steps


def _times(parts: Sequence[_Part], length: int) -> list[_Part]:
    return [part._replace(amount=part.amount * length) for part in parts]


def _in_dates(calendar: Calendar, start: Instant, unit: str, parts: Sequence[_Part]) -> list[_Part]:
    """The parts of a period as numbers of dates; a month has as many as the calendar gives it from its first date."""
    if unit in ("statutory_days", "calendar_days"):
        return list(parts)
    if unit == "weeks":
        return _times(parts, 7)
    first = calendar.ordinal(start)
    if unit == "calendar_months" and start != calendar.midnight(first):
        first += 1
    found, months, before = [], 0, first - 1
    for part in parts:
        months += part.amount * (12 if unit == "years" else 1)
        last = counting.day_before_corresponding(first, months)
        found.append(part._replace(amount=last - before))
        before = last
    return found


# -- spending the budget ------------------------------------------------------------------------------------------


def _spent(stretches: Iterator[_Stretch], parts: Sequence[_Part], measure: Measure) -> Walk:
    """Goes along the stretches until the parts are used up, or to one without an end."""
    budget = sum(part.amount for part in parts)
    waiting = [part for part in reversed(parts) if part.amount]
    part = waiting.pop() if waiting else _Part(0, "", "")
    left = part.amount
    steps: list[Step] = []
    for stretch in stretches if left else ():
        if stretch.why:
            steps.append(Step(stretch.start, stretch.end, 0, stretch.why, stretch.name, stretch.ground, stretch.cause))
            if stretch.end is None:
                break
            continue
        begin: int | None = stretch.start
        while left and begin is not None and begin != stretch.end:
            took, end = 1, stretch.end
            if measure == "time":
                took = left if stretch.end is None else min(left, stretch.end - begin)
                end = begin + took
            steps.append(Step(begin, end, took, part.why, cause=part.cause))
            begin = end
            left -= took
            if not left and waiting:
                part = waiting.pop()
                left = part.amount
        if not left:
            break
    return Walk(_joined(steps), measure, budget, left + sum(part.amount for part in waiting))


def _joined(steps: list[Step]) -> tuple[Step, ...]:
    """Neighbours that are alike as one."""
    joined: list[Step] = []
    for step in steps:
        last = joined[-1] if joined else None
        if last is not None and _label(last) == _label(step):
            joined[-1] = msgspec.structs.replace(last, end=step.end, counted=last.counted + step.counted)
        elif step.end != step.start:
            joined.append(step)
    return tuple(joined)


def _label(step: Step) -> tuple[object, ...]:
    return (bool(step.counted), step.why, step.name, step.ground, step.cause)


# -- the stretches of each kind of time -----------------------------------------------------------------------------


def _around(start: int, closed: Sequence[_Closed]) -> Iterator[_Stretch]:
    """From `start` on for ever, in and between the ranges in which nothing counts."""
    moment: int | None = start
    while moment is not None:
        inside = _covering(moment, closed)
        if inside is not None:
            yield _suspended(moment, inside.end, inside)
            moment = inside.end
        else:
            end = min((row.start for row in closed if row.start > moment), default=None)
            yield _Stretch(moment, end)
            moment = end


def _covering(moment: int, closed: Sequence[_Closed]) -> _Closed | None:
    return next((row for row in closed if row.start <= moment and (row.end is None or moment < row.end)), None)


def _suspended(start: int, end: int | None, row: _Closed) -> _Stretch:
    return _Stretch(start, end, "suspension", ground=row.stop.ground, cause=row.stop.begun_by)


def _instants(calendar: Calendar, stops: Sequence[Stop]) -> list[_Closed]:
    found = []
    for stop in stops:
        start, end, whole = stop.gap.start, stop.gap.end, stop.gap.whole_dates
        if whole:
            start = calendar.midnight(calendar.ordinal(start))
            end = None if end is None else calendar.midnight(calendar.ordinal(end) + 1)
        found.append(_Closed(start, end, stop))
    return found


def _on_the_wall(calendar: Calendar, start: Instant, parts: Sequence[_Part], stops: Sequence[Stop]) -> Walk:
    """Counted as the clock on the wall shows it, told in instants."""
    zone = calendar.zone
    closed = [
        _Closed(counting.wall(row.start, zone), None if row.end is None else counting.wall(row.end, zone), row.stop)
        for row in _instants(calendar, stops)
    ]
    walked = _spent(_around(counting.wall(start, zone), closed), parts, "time")
    steps = [
        msgspec.structs.replace(
            step,
            start=counting.of_wall(step.start, zone) if place else start,
            end=None if step.end is None else counting.of_wall(step.end, zone),
        )
        for place, step in enumerate(walked.steps)
    ]
    return walked._replace(steps=tuple(steps))


def _worked(calendar: Calendar, start: Instant, stops: Sequence[Stop]) -> Iterator[_Stretch]:
    for stretch in _around(start, _instants(calendar, stops)):
        if stretch.why:
            yield stretch
        else:
            yield from _hours(calendar, stretch.start, stretch.end)


def _hours(calendar: Calendar, start: Instant, end: Instant | None) -> Iterator[_Stretch]:
    """Working time and the time between, from one instant to another."""
    ordinal = calendar.ordinal(start)
    while end is None or calendar.midnight(ordinal) < end:
        for row in _hours_of(calendar, ordinal):
            assert row.end is not None
            begin, stop = max(row.start, start), row.end if end is None else min(row.end, end)
            if begin < stop:
                yield row._replace(start=begin, end=stop)
        ordinal += 1


def _hours_of(calendar: Calendar, ordinal: int) -> Iterator[_Stretch]:
    moment, end = calendar.midnight(ordinal), calendar.midnight(ordinal + 1)
    shifts = calendar.shifts(ordinal)
    if not shifts:
        yield _off(calendar, ordinal, moment, end)
        return
    why = "outside_hours"
    for begin, stop in shifts:
        if moment < begin:
            yield _Stretch(moment, begin, why)
        yield _Stretch(begin, stop)
        moment, why = stop, "break"
    if moment < end:
        yield _Stretch(moment, end, "outside_hours")


def _off(calendar: Calendar, ordinal: int, start: Instant, end: Instant) -> _Stretch:
    """A date that is closed, with the reason why."""
    day = date.fromordinal(ordinal)
    name = calendar.file.closures.get(day)
    if name is not None:
        return _Stretch(start, end, "holiday", name)
    return _Stretch(start, end, "weekend" if day.weekday() >= 5 else "closed")


def _dates(calendar: Calendar, start: Instant, unit: str, excluded: Sequence[_Closed]) -> Iterator[_Stretch]:
    """Dates from that of the start on; the first reaches from the start to its 24:00."""
    ordinal, begin = calendar.ordinal(start), start
    if unit in ("calendar_days", "calendar_months") and start != calendar.midnight(ordinal):
        begin = calendar.midnight(ordinal + 1)
        yield _Stretch(start, begin, "first_date")
        ordinal += 1
    while True:
        end = calendar.midnight(ordinal + 1)
        yield _date(calendar, ordinal, begin, end, excluded, unit == "statutory_days")
        ordinal, begin = ordinal + 1, end


def _days(calendar: Calendar, opening: Instant, excluded: Sequence[_Closed]) -> Iterator[_Stretch]:
    """Days from a time of day to the same of the next; each is what the date is on which it ends."""
    clock, ordinal, begin = local(opening, calendar.zone), calendar.ordinal(opening) + 1, opening
    while True:
        day = date.fromordinal(ordinal)
        end = of_datetime(clock.replace(year=day.year, month=day.month, day=day.day))
        yield _date(calendar, ordinal, begin, end, excluded, True)
        ordinal, begin = ordinal + 1, end


def _date(
    calendar: Calendar, ordinal: int, begin: Instant, end: Instant, excluded: Sequence[_Closed], working: bool
) -> _Stretch:
    inside = _containing(ordinal, excluded)
    if inside is not None:
        return _suspended(begin, None if inside.end is None else end, inside)
    if working and not calendar.is_open(ordinal):
        return _off(calendar, ordinal, begin, end)
    return _Stretch(begin, end)


def _containing(ordinal: int, excluded: Sequence[_Closed]) -> _Closed | None:
    """The range of dates, ends included, in which a date lies."""
    return next((row for row in excluded if row.start <= ordinal and (row.end is None or ordinal <= row.end)), None)


def _until_open(calendar: Calendar, over: Instant, why: str) -> list[Step]:
    """From the end of the counted time to 24:00 of the first working date from then on."""
    ordinal, begin, steps = calendar.ordinal(over), over, []
    while not calendar.is_open(ordinal):
        end = calendar.midnight(ordinal + 1)
        row = _off(calendar, ordinal, begin, end)
        steps.append(Step(begin, end, 0, row.why, row.name))
        ordinal, begin = ordinal + 1, end
    return [*steps, Step(begin, calendar.midnight(ordinal + 1), 0, why)]
