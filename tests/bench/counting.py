"""One deadline over the working calendar: 24 working hours from an instant, with lunch breaks and holidays.

The one rule: all count the same. Each rival gets the same office hours and closed dates of Korea, and its answers are
compared with ours, instant by instant.
"""

import random
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from datetime import time as Clock
from zoneinfo import ZoneInfo

import businesstimedelta
import pandas
import pytz

from services.rules import counting
from services.rules.calendar import Calendar
from services.rules.counting import Span
from services.rules.instants import SECOND, Instant, instant, local, of_datetime
from tests.bench.results import Bar, Figure, Outcome
from tests.bench.workload import office

RUNS = 5
SEED = 20261122
HOURS = 24
FROM, TO = "2024-01-02T00:00:00+09:00", "2027-11-30T00:00:00+09:00"
SEOUL = ZoneInfo("Asia/Seoul")
STRETCHES = ((Clock(9), Clock(12)), (Clock(13), Clock(18)))
SECONDS, SECONDS_QUICK = 1.0, 0.2
"""CPU time of one run."""

Count = Callable[[datetime], datetime]


def by_instants(calendar: Calendar) -> Callable[[Instant], Instant | None]:
    """As the fold counts: whole microseconds in and out."""
    span = Span(HOURS, "working_hours")
    return lambda start: counting.due(calendar, start, span)


def by_datetimes(calendar: Calendar) -> Count:
    """The same for whoever has datetimes."""
    span = Span(HOURS, "working_hours")
    return lambda start: local(counting.due(calendar, of_datetime(start), span) or 0, SEOUL)


def by_day_walk(calendar: Calendar) -> Count:
    """What is written by hand: day after day, stretch after stretch, until the time is used up."""
    closed = closures(calendar)

    def walk(start: datetime) -> datetime:
        left, day = timedelta(hours=HOURS), start.date()
        while True:
            if day.weekday() < 5 and day not in closed:
                for begins, ends in STRETCHES:
                    begin = max(datetime.combine(day, begins, SEOUL), start)
                    stretch = datetime.combine(day, ends, SEOUL) - begin
                    if stretch <= timedelta(0):
                        continue
                    if stretch >= left:
                        return begin + left
                    left -= stretch
            day += timedelta(days=1)

    return walk


def by_businesstimedelta(calendar: Calendar) -> Count:
    """The library businesstimedelta, which wants time zones of pytz."""
    zone = pytz.timezone("Asia/Seoul")
    shifts = [
        businesstimedelta.WorkDayRule(start_time=begins, end_time=ends, working_days=[0, 1, 2, 3, 4], tz=zone)
        for begins, ends in STRETCHES
    ]
    holidays = businesstimedelta.HolidayRule(dict.fromkeys(closures(calendar), "closed"), tz=zone)
    span = businesstimedelta.BusinessTimeDelta(businesstimedelta.Rules([*shifts, holidays]), hours=HOURS)
    return lambda start: start + span


def by_pandas(calendar: Calendar) -> Count:
    """pandas' CustomBusinessHour, on the clock on the wall."""
    offset = pandas.offsets.CustomBusinessHour(
        n=HOURS,
        start=[f"{begins:%H:%M}" for begins, _ in STRETCHES],
        end=[f"{ends:%H:%M}" for _, ends in STRETCHES],
        holidays=sorted(closures(calendar)),
    )
    return lambda start: (pandas.Timestamp(start.replace(tzinfo=None)) + offset).to_pydatetime().replace(tzinfo=SEOUL)


def closures(calendar: Calendar) -> frozenset[date]:
    """The closed dates of the calendar's file."""
    return frozenset(calendar.file.closures)


async def measure(quick: bool) -> Outcome:
    """Rivals in turn, run after run, on one core."""
    calendar = office()
    starts = sample(calendar, 20_000)
    moments = [local(start, SEOUL) for start in starts]
    rivals = {
        "Gihan, instants": (by_instants(calendar), starts),
        "Gihan, datetimes": (by_datetimes(calendar), moments),
        "day walk written by hand": (by_day_walk(calendar), moments),
        "pandas CustomBusinessHour": (by_pandas(calendar), moments),
        "businesstimedelta": (by_businesstimedelta(calendar), moments),
    }
    number = 200 if quick else 2000
    for name, rival in rivals.items():
        _compare(name, *rival, by_datetimes(calendar), number)
    rates: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(RUNS):
        for name, (count, values) in rivals.items():
            rates[name].append(_rate(count, values, SECONDS_QUICK if quick else SECONDS))
    rows = {name: Figure(name, "deadlines/s and core", values) for name, values in rates.items()}
    ours = rows["Gihan, datetimes"].value
    return Outcome(
        subject="counting",
        title="One deadline over the working calendar",
        about=f"{HOURS} working hours (09-12, 13-18, Korean working days) from instants of four years, by CPU time.",
        figures=list(rows.values()),
        bars=[
            Bar("deadlines/s and core", rows["Gihan, instants"].value, at_least=500_000, unit="/s", ratio=False),
            Bar("datetimes / businesstimedelta", ours / rows["businesstimedelta"].value, at_least=150),
            Bar("datetimes / pandas CustomBusinessHour", ours / rows["pandas CustomBusinessHour"].value, at_least=35),
            Bar("datetimes / day walk", ours / rows["day walk written by hand"].value),
            Bar("instants / pandas", rows["Gihan, instants"].value / rows["pandas CustomBusinessHour"].value),
        ],
        checked=f"all say the same of {number:,} instants.",
    )


def sample(calendar: Calendar, number: int) -> list[Instant]:
    """Instants inside office hours, to the second: where the day is over, libraries differ in what to call it."""
    chance = random.Random(SEED)
    least, most = calendar.worked(instant(FROM)), calendar.worked(instant(TO))
    return [calendar.at(chance.randrange(least, most) // SECOND * SECOND + SECOND // 2) for _ in range(number)]


class Differs(AssertionError):
    """A rival counts otherwise than we do."""


def _compare(name: str, count: Callable[..., object], values: Sequence[object], ours: Count, number: int) -> None:
    for value in values[:number]:
        moment = value if isinstance(value, datetime) else local(value, SEOUL)  # type: ignore[arg-type]
        found, wanted = count(value), ours(moment)
        if found != (wanted if isinstance(value, datetime) else of_datetime(wanted)):
            raise Differs(f"{name}: {HOURS} working hours from {moment} end at {found}, not at {wanted}")


def _rate(count: Callable[..., object], values: Sequence[object], seconds: float) -> float:
    done, began = 0, time.process_time()
    chunk = 50
    while (passed := time.process_time() - began) < seconds:
        first = done % len(values)
        for value in values[first : first + chunk]:
            count(value)
        done += chunk
        if done == 20 * chunk and time.process_time() - began < seconds / 20:
            chunk = 2000  # a quick one is not to be measured by how often it is looked at the clock
    return done / passed
