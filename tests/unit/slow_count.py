"""A plain counter: periods counted minute by minute and date by date, to hold against the one that computes.

The one rule: it shares nothing with `services.rules` but the closed dates and the shape of a gap. Time is a number
of whole local minutes, since Korean clocks are never changed; every start and gap lies on one.
"""

from calendar import monthrange
from collections.abc import Callable, Container, Sequence
from datetime import date, timedelta
from itertools import count

from services.rules.counting import Gap

MINUTES_A_DAY = 24 * 60
MORNING, AFTERNOON = range(9 * 60, 12 * 60), range(13 * 60, 18 * 60)
MICROSECONDS = 60_000_000
KOREAN_MINUTES = 9 * 60
EPOCH = date(1970, 1, 1)

TIMES = {"minutes": 1, "calendar_hours": 60, "working_minutes": 1, "working_hours": 60}


class Slowly:
    """Counts with the given closed dates; Saturdays and Sundays are closed besides."""

    def __init__(self, closed: Container[date]) -> None:
        self._closed = closed
        self._known: dict[int, bool] = {}

    def due(self, start: int, amount: int, unit: str, extensions: Sequence[int], gaps: Sequence[Gap]) -> int:
        """The due instant; all gaps have an end."""
        now, whole = _minute(start), amount + sum(extensions)
        if unit in TIMES:
            return self._minutes(now, whole * TIMES[unit], gaps, unit.startswith("working"))
        if unit == "statutory_days" and amount <= 5:
            return self._minutes(now, whole * 480, gaps, True)
        if unit == "working_days":
            return self._office_days(now, whole, gaps)
        day = now // MINUTES_A_DAY
        if unit == "statutory_days":
            return self._dates(day, whole, gaps, self._works)
        if unit in ("calendar_days", "calendar_months") and now % MINUTES_A_DAY:
            day += 1
        dates = {"calendar_days": whole, "weeks": 7 * whole}.get(unit) or _dates_of_months(
            day, whole * (12 if unit == "years" else 1)
        )
        end = _minute(self._dates(day, dates, gaps, lambda _: True)) // MINUTES_A_DAY - 1
        while not self._works(end):
            end += 1
        return _instant((end + 1) * MINUTES_A_DAY)

    def _works(self, day: int) -> bool:
        if day not in self._known:
            shown = EPOCH + timedelta(days=day)
            self._known[day] = shown.weekday() < 5 and shown not in self._closed
        return self._known[day]

    def _minutes(self, now: int, left: int, gaps: Sequence[Gap], office: bool) -> int:
        paused = [_whole_dates(gap) if gap.whole_dates else _exactly(gap) for gap in gaps]
        for minute in count(now):
            if not left:
                return _instant(minute)
            day, clock = divmod(minute, MINUTES_A_DAY)
            if office and not ((clock in MORNING or clock in AFTERNOON) and self._works(day)):
                continue
            if not any(minute in gap for gap in paused):
                left -= 1
        raise AssertionError

    def _dates(self, day: int, left: int, gaps: Sequence[Gap], counts: Callable[[int], bool]) -> int:
        """24:00 of the last of so many dates that count and are not taken out."""
        while True:
            if counts(day) and not any(self._takes_out(gap, day) for gap in gaps):
                left -= 1
            if not left:
                return _instant((day + 1) * MINUTES_A_DAY)
            day += 1

    def _office_days(self, now: int, left: int, gaps: Sequence[Gap]) -> int:
        while not (self._works(now // MINUTES_A_DAY) and _in_hours(now % MINUTES_A_DAY)):
            now += 1
        while not self._works(now // MINUTES_A_DAY) or any(self._takes_out(gap, now // MINUTES_A_DAY) for gap in gaps):
            now = (now // MINUTES_A_DAY + 1) * MINUTES_A_DAY + MORNING.start
        day, clock = divmod(now, MINUTES_A_DAY)
        while left:
            day += 1
            if self._works(day) and not any(self._takes_out(gap, day) for gap in gaps):
                left -= 1
        return _instant(day * MINUTES_A_DAY + clock)

    def _takes_out(self, gap: Gap, day: int) -> bool:
        """Whether a gap takes a date out: in full, or exactly where it covers all its office hours."""
        if gap.whole_dates:
            return day * MINUTES_A_DAY in _whole_dates(gap)
        first, last = (540, 1080) if self._works(day) else (0, MINUTES_A_DAY)
        begin, end = _minute(gap.start), _minute(gap.end or 0)
        return begin <= day * MINUTES_A_DAY + first and end >= day * MINUTES_A_DAY + last


def _in_hours(clock: int) -> bool:
    return clock in MORNING or clock in AFTERNOON


def _exactly(gap: Gap) -> range:
    return range(_minute(gap.start), _minute(gap.end or 0))


def _whole_dates(gap: Gap) -> range:
    first, last = _minute(gap.start) // MINUTES_A_DAY, _minute(gap.end or 0) // MINUTES_A_DAY
    return range(first * MINUTES_A_DAY, (last + 1) * MINUTES_A_DAY)


def _dates_of_months(day: int, months: int) -> int:
    """How many dates so many months have from a date on: to the day before the same day, or to the month's end."""
    first = EPOCH + timedelta(days=day)
    shown, passed = first, 0
    while passed < months:
        shown += timedelta(days=1)
        if shown.day == first.day or (shown.day < first.day and shown.day == monthrange(shown.year, shown.month)[1]):
            passed += 1
    return (shown - first).days + (shown.day != first.day)


def _minute(moment: int) -> int:
    minute, rest = divmod(moment, MICROSECONDS)
    assert not rest
    return minute + KOREAN_MINUTES


def _instant(minute: int) -> int:
    return (minute - KOREAN_MINUTES) * MICROSECONDS
