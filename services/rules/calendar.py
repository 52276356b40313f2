"""Calendars: when an office works, by weekly hours, dated closures and openings, in a time zone.

The one rule: every date is written in the file. Nothing here knows a holiday, and past the horizon a calendar still
answers, but what it answers is provisional.

A calendar is compiled once into tables of whole numbers; counting is then a look into them.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date, time
from itertools import pairwise
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import yaml

from services.rules.instants import DAY, HOUR, Instant, local, midnight, of_datetime

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
YEARS_PAST_HORIZON: Final = 6
"""How far a calendar goes on by its weekly hours alone. A deadline beyond that is refused, never guessed."""

STEP: Final = 4 * HOUR
"""Work is found by its amount from a table of so much each; a stretch of work is about as long."""

MIDNIGHT: Final = time(0)

Stretch = tuple[time, time]
WeekHours = tuple[tuple[Stretch, ...], ...]
"""The stretches of work of each weekday, Monday first."""


Dated = TypeVar("Dated")


class OutOfCalendar(ValueError):
    """A date that the calendar does not reach."""


class Closure(msgspec.Struct, frozen=True):
    """Why a date is closed: the name of the day in Korean and English."""

    ko: str
    en: str


class CalendarFile(msgspec.Struct, frozen=True):
    """A calendar as its file says it; `starts` and `horizon` are its first and last enacted dates."""

    id: str
    version: str
    zone: ZoneInfo
    starts: date
    horizon: date
    hours: Mapping[str, WeekHours]
    closures: Mapping[date, Closure]
    openings: Mapping[date, tuple[Stretch, ...]]


def parse(document: bytes) -> CalendarFile:
    """A calendar from its YAML file. Raises ValueError that names the field at fault."""
    content = yaml.load(document, Loader=yaml.CSafeLoader)
    try:
        return CalendarFile(
            id=content["calendar"],
            version=str(content["version"]),
            zone=ZoneInfo(content["zone"]),
            starts=content["from"],
            horizon=content["horizon"],
            hours={name: parse_hours(week) for name, week in content["hours"].items()},
            closures={day: Closure(**names) for day, names in (content.get("closures") or {}).items()},
            openings={day: parse_stretches(stretches) for day, stretches in (content.get("openings") or {}).items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"calendar file: {error} is missing, unknown or of the wrong kind") from error


def parse_hours(week: Mapping[str, Sequence[str]]) -> WeekHours:
    """Weekly hours such as {"mon-fri": ["09:00-12:00", "13:00-18:00"]}. Raises ValueError for an unknown day or a
    stretch that ends before it begins."""
    days: list[tuple[Stretch, ...]] = [()] * 7
    for span, stretches in week.items():
        first, _, last = span.partition("-")
        if first not in WEEKDAYS or (last and last not in WEEKDAYS):
            raise ValueError(f"weekly hours: {span!r} names no days; use mon, or mon-fri")
        for number in range(WEEKDAYS.index(first), WEEKDAYS.index(last or first) + 1):
            days[number] = parse_stretches(stretches)
    return tuple(days)


def parse_stretches(texts: Sequence[str]) -> tuple[Stretch, ...]:
    """The stretches of a day, such as ["09:00-12:00", "13:00-18:00"], in order; an end of 24:00 is kept as 00:00.
    Raises ValueError where one ends before it begins or two overlap."""
    stretches = sorted(_stretch(text) for text in texts)
    for (_, end), (begin, _) in pairwise(stretches):
        if end == MIDNIGHT or begin < end:
            raise ValueError(f"hours: {', '.join(texts)} overlap")
    return tuple(stretches)


def _stretch(text: str) -> Stretch:
    first, _, last = text.partition("-")
    begin, end = time.fromisoformat(first), MIDNIGHT if last == "24:00" else time.fromisoformat(last)
    if end != MIDNIGHT and begin >= end:
        raise ValueError(f"hours: {text!r} ends before it begins")
    return begin, end


class Calendar:
    """A compiled calendar with one set of weekly hours.

    Days are proleptic Gregorian ordinals, instants microseconds; `work_dates` counts dates that are neither weekend
    nor closed, whatever their hours.
    """

    def __init__(self, file: CalendarFile, hours: WeekHours) -> None:
        self.file = file
        self.hours = hours
        self.zone = file.zone
        self.version = f"{file.id}@{file.version}"
        self._first = file.starts.toordinal()
        self._last = date(file.horizon.year + YEARS_PAST_HORIZON, 12, 31).toordinal()
        self.horizon = midnight(date.fromordinal(file.horizon.toordinal() + 1), file.zone)
        self._since = midnight(file.starts, file.zone)
        self._until = midnight(date.fromordinal(self._last + 1), file.zone)
        # Tables are made when first asked for: a charter knows more hours than a case has promises.
        # When each date begins, and the one after the last; even where all dates turn out to be of one length.
        self._begins: list[Instant] = []
        self._is_even = False
        # Starts and ends of all stretches of work, and the work done before each.
        self._starts: list[Instant] = []
        self._ends: list[Instant] = []
        self._before: list[int] = []
        # How many stretches come before each date, and how many begin with less work done than so many STEPs.
        self._places: list[int] = []
        self._steps: list[int] = []
        # The working dates as ordinals, and for each date how many come before it.
        self._open: list[int] = []
        self._open_before: list[int] = []

    def stretches(self, ordinal: int) -> tuple[Stretch, ...]:
        """The local stretches of work of one date."""
        day = date.fromordinal(ordinal)
        if day in self.file.openings:
            return self.file.openings[day]
        if day in self.file.closures:
            return ()
        return self.hours[day.weekday()]

    def _midnights(self) -> list[Instant]:
        if not self._begins:
            self._begins = [midnight(date.fromordinal(n), self.zone) for n in range(self._first, self._last + 2)]
            self._is_even = all(after - day == DAY for day, after in pairwise(self._begins))
        return self._begins

    def _count_work(self) -> None:
        starts: list[Instant] = []
        ends: list[Instant] = []
        before: list[int] = []
        places: list[int] = []
        steps: list[int] = []
        total = 0
        for ordinal in range(self._first, self._last + 1):
            places.append(len(starts))
            for start, stop in self.shifts(ordinal):
                while len(steps) * STEP <= total:
                    steps.append(len(starts))
                starts.append(start)
                ends.append(stop)
                before.append(total)
                total += stop - start
        places.append(len(starts))
        self._ends, self._before, self._places, self._steps, self._starts = ends, before, places, steps, starts

    def shifts(self, ordinal: int) -> list[tuple[Instant, Instant]]:
        """The stretches of work of one date, as instants."""
        day, after = date.fromordinal(ordinal), self.midnight(ordinal + 1)
        return [
            (self._at(day, begin), after if end == MIDNIGHT else self._at(day, end))
            for begin, end in self.stretches(ordinal)
        ]

    def _at(self, day: date, clock: time) -> Instant:
        if clock == MIDNIGHT:
            return self.midnight(day.toordinal())
        moment = local(self.midnight(day.toordinal()), self.zone)
        return of_datetime(moment.replace(hour=clock.hour, minute=clock.minute))

    def _rank(self) -> None:
        dates: list[int] = []
        before: list[int] = []
        for ordinal in range(self._first, self._last + 1):
            before.append(len(dates))
            if self.is_open(ordinal):
                dates.append(ordinal)
        self._open_before, self._open = before, dates

    def is_open(self, ordinal: int) -> bool:
        """Whether a date is a working date."""
        return bool(self.stretches(ordinal))

    def reaches(self, moment: Instant) -> bool:
        """Whether an instant lies between the calendar's first date and its last."""
        return self._since <= moment < self._until

    def ordinal(self, moment: Instant) -> int:
        """The local date of an instant, as an ordinal. Raises OutOfCalendar."""
        return self._first + self._date(moment)

    def _date(self, moment: Instant) -> int:
        """The local date of an instant, as its place among those of the calendar. Raises OutOfCalendar."""
        if not self._since <= moment < self._until:
            raise self._outside()
        if self._is_even:
            return (moment - self._since) // DAY
        return bisect_right(self._begins or self._midnights(), moment) - 1

    def midnight(self, ordinal: int) -> Instant:
        """The instant at which a date begins. Raises OutOfCalendar."""
        if not self._first <= ordinal <= self._last + 1:
            raise self._outside()
        return (self._begins or self._midnights())[ordinal - self._first]

    def worked(self, moment: Instant) -> int:
        """Working time from the calendar's first date up to an instant, in microseconds."""
        place = self._stretch_by(moment)
        if place < 0:
            return 0
        end = self._ends[place]
        return self._before[place] + (moment if moment < end else end) - self._starts[place]

    def _stretch_by(self, moment: Instant) -> int:
        """The place of the last stretch that has begun by an instant; -1 where none has. Raises OutOfCalendar."""
        if not self._starts:
            self._count_work()
        day, starts = self._date(moment), self._starts
        place, after = self._places[day], self._places[day + 1]
        while place < after and starts[place] <= moment:
            place += 1
        return place - 1

    def at(self, total: int) -> Instant:
        """The first instant by which `total` microseconds have been worked: an end of a stretch is never carried
        over to the next one's start. Raises OutOfCalendar."""
        if not self._starts:
            self._count_work()
        before, step = self._before, total // STEP
        place = self._steps[step] if 0 <= step < len(self._steps) else (len(before) if step > 0 else 0)
        while place < len(before) and before[place] < total:
            place += 1
        place -= 1
        if place < 0:
            place = 0
        moment = self._starts[place] + total - self._before[place]
        if moment > self._ends[place]:
            raise self._outside()
        return moment

    def opening(self, moment: Instant) -> Instant:
        """The instant itself where it lies in working time, else the next opening. Raises OutOfCalendar: what came
        before the first date is not counted from it."""
        place, starts = self._stretch_by(moment), self._starts
        if place >= 0 and moment < self._ends[place]:
            return moment
        if place + 1 >= len(starts):
            raise self._outside()
        return starts[place + 1]

    def nth_open(self, ordinal: int, count: int) -> int:
        """The `count`-th working date from a date on, that date included if it works (count >= 1)."""
        if not self._open:
            self._rank()
        if not self._first <= ordinal <= self._last:
            raise self._outside()
        place = self._open_before[ordinal - self._first] + count - 1
        if place >= len(self._open):
            raise self._outside()
        return self._open[place]

    def open_before(self, ordinal: int) -> int:
        """How many working dates the calendar has before a date."""
        if not self._first <= ordinal <= self._last + 1:
            raise self._outside()
        if not self._open:
            self._rank()
        return self._open_before[ordinal - self._first] if ordinal <= self._last else len(self._open)

    def roll(self, ordinal: int) -> int:
        """The date itself if it works, else the next working date (Civil Act art. 161)."""
        return self.nth_open(ordinal, 1)

    def _outside(self) -> OutOfCalendar:
        return OutOfCalendar(
            f"calendar {self.version} reaches from {self.file.starts} to {date.fromordinal(self._last)}; "
            "enact a longer one"
        )


def close(file: CalendarFile, day: date, name: Closure) -> CalendarFile:
    """The same calendar with one more date closed."""
    return msgspec.structs.replace(file, closures={**file.closures, day: name}, openings=_without(file.openings, day))


def open_on(file: CalendarFile, day: date, stretches: tuple[Stretch, ...]) -> CalendarFile:
    """The same calendar with one date opened: for the stretches given, or, without any, for its weekly hours."""
    openings = {**file.openings, day: stretches} if stretches else _without(file.openings, day)
    return msgspec.structs.replace(file, closures=_without(file.closures, day), openings=openings)


def _without(dates: Mapping[date, Dated], day: date) -> dict[date, Dated]:
    return {other: value for other, value in dates.items() if other != day}
