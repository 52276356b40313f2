"""Counting: from the start of a period to its due instant, in the unit in which the period was promised.

The one rule: a due instant is always counted anew from the start, the amounts and the gaps, never patched. What is
done exactly at the due instant is on time; a period counted in dates ends at 24:00 of its last date, written as the
first instant of the next.

Sources: Civil Petitions Treatment Act art. 19 (hours to five days, dates from six, weeks to years), its Decree
art. 20 (what does not count), Civil Act art. 155 to 161 (everything else).
"""

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, date
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from services.rules.calendar import Calendar
from services.rules.instants import HOUR, MINUTE, SECOND, Instant, local, of_datetime

PLAIN: Final = {"seconds": SECOND, "minutes": MINUTE}
"""Units of elapsed time, in microseconds."""

WALL: Final = {"calendar_hours": HOUR}
"""Units read off the clock on the wall, in microseconds: a day later is the same time of day, also where the clock was
put forward in between."""

WORKING: Final = {"working_minutes": MINUTE, "working_hours": HOUR}
"""Units of time inside working hours, in microseconds."""

TO_THE_MINUTE: Final = frozenset({*PLAIN, *WALL, *WORKING, "working_days"})
"""Units that end at a time of day."""

UNITS = (
    *PLAIN,
    *WALL,
    *WORKING,
    "working_days",
    "statutory_days",
    "calendar_days",
    "calendar_months",
    "weeks",
    "months",
    "years",
)

WORKING_DAY: Final = 8 * HOUR
"""A day of a period of up to five days (art. 19(1)); a policy of the law, not of an office."""

HOURS_UP_TO_DAYS: Final = 5
"""A period set as so many days or fewer is counted in hours of eight a day (art. 19(1), (2))."""


class Span(msgspec.Struct, frozen=True):
    """An amount of one unit of UNITS."""

    amount: int
    unit: str


class Gap(msgspec.Struct, frozen=True):
    """Time that does not count: from `start` to `end`, or without an end yet (None).

    `whole_dates`: both end dates are out in full (Decree art. 20(1) 1); otherwise the exact time is.
    """

    start: Instant
    end: Instant | None
    whole_dates: bool


_UTC: Final = ZoneInfo("UTC")

Interval = tuple[int, int | None]


def due(
    calendar: Calendar,
    start: Instant,
    span: Span,
    extensions: Sequence[int] = (),
    gaps: Sequence[Gap] = (),
    *,
    count_first_date: bool | None = None,
    roll: bool = True,
) -> Instant | None:
    """The due instant of a period, or None while a gap without an end keeps it from being reached.

    `extensions` are amounts of the same unit, appended. `count_first_date` overrides, for weeks, months and years,
    whether the start's date is the first (art. 19(3): yes; Civil Act art. 157: no). Without `roll` a last date that is
    closed stays the last: when the counted time is over, not by when something is due.
    Raises ValueError for an unknown unit and OutOfCalendar where the calendar ends too soon.
    """
    unit, amount = span.unit, span.amount
    if extensions:
        amount += sum(extensions)
    worked = WORKING.get(unit)
    if worked is not None:
        return _worked(calendar, start, amount * worked, gaps)
    if unit in PLAIN:
        return _elapsed(start, amount * PLAIN[unit], _intervals(calendar, gaps))
    if unit in WALL:
        return _on_the_wall(calendar, start, amount * WALL[unit], _intervals(calendar, gaps))
    # Which of the two rules of art. 19 holds is decided by the period as set, not as extended.
    if unit == "statutory_days" and span.amount <= HOURS_UP_TO_DAYS:
        return _worked(calendar, start, amount * WORKING_DAY, gaps)
    excluded = excluded_dates(calendar, gaps)
    if unit == "working_days":
        return _working_days(calendar, start, amount, excluded)
    last = _last_date(calendar, start, Span(amount, unit), excluded, count_first_date, roll)
    return None if last is None else calendar.midnight(last + 1)


def before(calendar: Calendar, moment: Instant, span: Span) -> Instant:
    """The instant that lies a span of hours or shorter units before another."""
    if span.unit in PLAIN:
        return moment - span.amount * PLAIN[span.unit]
    if span.unit in WORKING:
        return calendar.at(max(calendar.worked(moment) - span.amount * WORKING[span.unit], 1))
    if span.unit in WALL:
        return of_wall(wall(moment, calendar.zone) - span.amount * WALL[span.unit], calendar.zone)
    raise ValueError(f"a span before an instant takes hours or shorter units, not {span.unit}")


def depends_on_calendar(unit: str) -> bool:
    """Whether a later version of the calendar can move a period of this unit."""
    return unit not in PLAIN and unit not in WALL


def in_dates(span: Span) -> bool:
    """Whether a period is counted in dates, so that it ends with its last one."""
    if span.unit == "statutory_days":
        return span.amount > HOURS_UP_TO_DAYS
    return span.unit not in TO_THE_MINUTE


def _on_the_wall(calendar: Calendar, start: Instant, length: int, gaps: Sequence[Interval]) -> Instant | None:
    zone = calendar.zone
    shown = [(wall(begin, zone), None if end is None else wall(end, zone)) for begin, end in gaps]
    moment = _elapsed(wall(start, zone), length, shown)
    return None if moment is None else of_wall(moment, zone)


def wall(moment: Instant, zone: ZoneInfo) -> int:
    """What the clock on the wall shows, as if it were UTC."""
    return of_datetime(local(moment, zone).replace(tzinfo=UTC))


def of_wall(shown: int, zone: ZoneInfo) -> Instant:
    """The instant at which the clock on the wall shows this."""
    return of_datetime(local(shown, _UTC).replace(tzinfo=zone))


def _elapsed(start: Instant, length: int, gaps: Sequence[Interval]) -> Instant | None:
    moment = start + length
    for begin, end in gaps:
        if end is not None and end <= start:
            continue
        if moment <= begin:
            break
        if end is None:
            return None
        moment += end - max(begin, start)
    return moment


def _worked(calendar: Calendar, start: Instant, length: int, gaps: Sequence[Gap]) -> Instant | None:
    if length == 0:
        return start
    target = calendar.worked(start) + length
    for begin, end in _intervals(calendar, gaps) if gaps else ():
        if end is not None and end <= start:
            continue
        if calendar.at(target) <= begin:
            break
        if end is None:
            return None
        target += calendar.worked(end) - calendar.worked(max(begin, start))
    return calendar.at(target)


def _working_days(calendar: Calendar, start: Instant, amount: int, excluded: Sequence[Interval]) -> Instant | None:
    """So many office days later at the same time of day; what comes outside hours, or on a date that is taken out,
    starts at the next opening."""
    opening = calendar.opening(start)
    first = _nth_open(calendar, calendar.ordinal(opening), 1, excluded)
    if first is None:
        return None
    if first != calendar.ordinal(opening):
        opening = calendar.opening(calendar.midnight(first))
    if amount == 0:
        return opening
    last = _nth_open(calendar, first + 1, amount, excluded)
    if last is None:
        return None
    clock = local(opening, calendar.zone)
    day = date.fromordinal(last)
    return of_datetime(clock.replace(year=day.year, month=day.month, day=day.day))


def _last_date(
    calendar: Calendar,
    start: Instant,
    span: Span,
    excluded: Sequence[Interval],
    count_first_date: bool | None,
    roll: bool,
) -> int | None:
    """The last date of a period counted in dates, as an ordinal."""
    received = calendar.ordinal(start)
    if span.unit == "statutory_days":
        return _nth_open(calendar, received, span.amount, excluded)
    counts_first = span.unit in ("weeks", "months", "years")
    if count_first_date is not None:
        counts_first = count_first_date
    # A period that begins at midnight sharp has its whole first date (Civil Act art. 157, proviso).
    first = received if counts_first or start == calendar.midnight(received) else received + 1
    if span.unit == "calendar_days":
        last = first + span.amount - 1
    elif span.unit == "weeks":
        last = first + 7 * span.amount - 1
    elif span.unit in ("months", "calendar_months"):
        last = day_before_corresponding(first, span.amount)
    elif span.unit == "years":
        last = day_before_corresponding(first, 12 * span.amount)
    else:
        raise ValueError(f"unknown unit {span.unit!r}; use one of {', '.join(UNITS)}")
    for begin, end in excluded:
        if end is not None and end < first:
            continue
        if last < begin:
            break
        if end is None:
            return None
        last += end - max(begin, first) + 1
    return calendar.roll(last) if roll else last


def day_before_corresponding(first: int, months: int) -> int:
    """The date before the corresponding one so many months on; where there is none, the month's end
    (Civil Act art. 160(2), (3))."""
    day = date.fromordinal(first)
    year, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + year, month + 1
    length = monthrange(year, month)[1]
    if day.day > length:
        return date(year, month, length).toordinal()
    return date(year, month, day.day).toordinal() - 1


def _nth_open(calendar: Calendar, first: int, count: int, excluded: Sequence[Interval]) -> int | None:
    """The count-th working date from `first` on that is not excluded."""
    last = calendar.nth_open(first, count)
    for begin, end in excluded:
        if end is not None and end < first:
            continue
        if last < begin:
            break
        if end is None:
            return None
        count += calendar.open_before(end + 1) - calendar.open_before(max(begin, first))
        last = calendar.nth_open(first, count)
    return last


def _intervals(calendar: Calendar, gaps: Sequence[Gap]) -> list[Interval]:
    """Gaps as instants, in order, overlaps once."""
    if not gaps:
        return []
    found: list[Interval] = []
    for gap in gaps:
        if gap.whole_dates:
            begin = calendar.midnight(calendar.ordinal(gap.start))
            end = None if gap.end is None else calendar.midnight(calendar.ordinal(gap.end) + 1)
            found.append((begin, end))
        else:
            found.append((gap.start, gap.end))
    return _merged(found, 0)


def excluded_dates(calendar: Calendar, gaps: Sequence[Gap]) -> list[Interval]:
    """Gaps as ranges of dates, both ends included. An exact gap takes out only the dates that it covers wholly:
    less than a date cannot be taken from a period that is counted in dates."""
    if not gaps:
        return []
    found: list[Interval] = []
    for gap in gaps:
        if gap.whole_dates:
            end = None if gap.end is None else calendar.ordinal(gap.end)
            found.append((calendar.ordinal(gap.start), end))
            continue
        first = calendar.ordinal(gap.start)
        if gap.start > _office_opens(calendar, first):
            first += 1
        if gap.end is None:
            found.append((first, None))
            continue
        last = calendar.ordinal(gap.end)
        if gap.end < _office_closes(calendar, last):
            last -= 1
        if first <= last:
            found.append((first, last))
    return _merged(found, 1)


def _office_opens(calendar: Calendar, ordinal: int) -> Instant:
    start = calendar.midnight(ordinal)
    return calendar.opening(start) if calendar.is_open(ordinal) else start


def _office_closes(calendar: Calendar, ordinal: int) -> Instant:
    end = calendar.midnight(ordinal + 1)
    return calendar.at(calendar.worked(end)) if calendar.is_open(ordinal) else end


def _merged(intervals: list[Interval], step: int) -> list[Interval]:
    """The union of intervals, in order; neighbours `step` apart become one."""
    merged: list[Interval] = []
    for begin, end in sorted(intervals, key=lambda pair: pair[0]):
        if merged:
            last_begin, last_end = merged[-1]
            if last_end is None:
                return merged
            if begin <= last_end + step:
                merged[-1] = (last_begin, None if end is None else max(end, last_end))
                continue
        merged.append((begin, end))
    return merged


def days_of(span: Span) -> int:
    """A period in days for a threshold such as "seven days or more": weeks and longer by their usual length, hours
    never (reading of the charters; the set period counts, not elapsed time)."""
    factor = {"days": 1, "statutory_days": 1, "calendar_days": 1, "weeks": 7, "months": 30, "years": 365}
    return span.amount * factor.get(span.unit, 0)


def end_of_next_working_day(calendar: Calendar, start: Instant, passed: Span) -> Instant:
    """24:00 of the first working day after a time counted in dates has passed: by when a word is due that the law
    wants after a time without saying by when (Decree art. 23, as read here)."""
    over = due(calendar, start, passed, roll=False)
    assert over is not None
    return calendar.midnight(calendar.roll(calendar.ordinal(over)) + 1)
