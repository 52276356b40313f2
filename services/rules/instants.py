"""Instants: whole microseconds since 1970-01-01T00:00:00Z, and RFC 3339 text at the edges.

The one rule: inside the core an instant is an integer, so that equal instants are equal numbers and order is plain.
"""

from datetime import UTC, date, datetime, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

Instant = int

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

NEVER: Final = 2**62 - 1
"""After every instant: the largest number that compiled code keeps without an object of its own."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCHS: Final[dict[tzinfo, datetime]] = {UTC: _EPOCH}
"""1970 in every fixed offset that was met: between two times of one zone Python asks no zone for anything. Between
those of equal zones it asks both, so that the object met last stands here."""
_STEADY: Final[dict[tzinfo, datetime]] = {}
"""The same for zones whose clock is never put forward or back in the years below; for any other zone that of UTC."""
_MOST_ZONES: Final = 24 * 60
_FIRST_STEADY: Final = 2000
_LAST_STEADY: Final = 2099
_QUARTER: Final = 15 * MINUTE
_TWO: Final = [f"{number:02}" for number in range(60)]
"""Minutes and seconds in two digits."""
_THREE: Final = [f"{number:03}" for number in range(1_000)]
"""Thousandths, of a second and of such a thousandth, in three."""
_QUARTERS: Final[dict[ZoneInfo, dict[int, tuple[str, int, str]]]] = {}
_MOST_QUARTERS: Final = 1 << 14


def of_datetime(moment: datetime) -> Instant:
    """The instant of an aware datetime. Raises ValueError for a naive one."""
    zone = moment.tzinfo
    if zone is None:
        raise ValueError("a time without an offset names no instant; give one such as +09:00")
    epoch = _EPOCHS.get(zone)
    if epoch is None or epoch.tzinfo is not zone:
        epoch = _epoch_for(moment, zone)
    since = moment - epoch
    # Compiled code multiplies numbers below 2**30 without making objects of them.
    return since.days * 8_640 * 10_000_000 + since.seconds * SECOND + since.microseconds


def _epoch_for(moment: datetime, zone: tzinfo) -> datetime:
    """1970 in the zone of a time, where its difference to that time on the wall is the one that passed; else in UTC."""
    if type(zone) is timezone:
        known = _EPOCHS.pop(zone, None)
        epoch = _EPOCH.astimezone(zone) if known is None else known.replace(tzinfo=zone)
        if len(_EPOCHS) < _MOST_ZONES:
            _EPOCHS[zone] = epoch
        return epoch
    known = _STEADY.get(zone)
    if known is None:
        known = _steady_epoch(zone)
        if len(_STEADY) < _MOST_ZONES:
            _STEADY[zone] = known
    return known if _FIRST_STEADY <= moment.year <= _LAST_STEADY else _EPOCH


def _steady_epoch(zone: tzinfo) -> datetime:
    """1970 in a zone as it is shown there in the steady years; in UTC where its offset changes within them. No country
    has changed it for less than a week."""
    first, last = date(_FIRST_STEADY, 1, 1).toordinal(), date(_LAST_STEADY, 12, 31).toordinal()
    days = (date.fromordinal(ordinal) for ordinal in range(first, last, 7))
    offsets = {datetime(day.year, day.month, day.day, tzinfo=zone).utcoffset() for day in days}
    if len(offsets) > 1:
        return _EPOCH
    (offset,) = offsets
    assert offset is not None
    return (_EPOCH + offset).replace(tzinfo=zone)


def instant(text: str) -> Instant:
    """The instant of an RFC 3339 text with an offset. Raises ValueError where there is no offset or no such time."""
    return of_datetime(datetime.fromisoformat(text))


def local(moment: Instant, zone: ZoneInfo) -> datetime:
    """The instant as an aware datetime in a zone."""
    # A float holds every microsecond of the next two centuries, and every second for ever.
    return datetime.fromtimestamp(moment / SECOND, zone)


def text(moment: Instant, zone: ZoneInfo) -> str:
    """RFC 3339 text of an instant with the zone's offset; fractions only where there are any."""
    quarters = _QUARTERS.get(zone)
    if quarters is None:
        quarters = _QUARTERS[zone] = {}
    quarter = moment // _QUARTER
    words = quarters.get(quarter)
    if words is None:
        if len(quarters) == _MOST_QUARTERS:
            quarters.clear()
        words = quarters[quarter] = _quarter(quarter, zone)
    hour, minute, offset = words
    if not hour:
        return local(moment, zone).isoformat()
    rest = moment - quarter * _QUARTER
    second = rest // SECOND
    fraction = rest - second * SECOND
    minutes = second // 60
    clock_minute, clock_second = _TWO[minute + minutes], _TWO[second - minutes * 60]
    if not fraction:
        return f"{hour}{clock_minute}:{clock_second}{offset}"
    thousandths = fraction // 1_000
    return f"{hour}{clock_minute}:{clock_second}.{_THREE[thousandths]}{_THREE[fraction - thousandths * 1_000]}{offset}"


def _quarter(quarter: int, zone: ZoneInfo) -> tuple[str, int, str]:
    """A quarter of an hour: the text before its minutes, the first of them, and the text of the offset. Empty where the
    clock is put forward or back in it, or stands at no quarter as it begins. What is told lies close together, so that
    most quarters are asked for again."""
    begin, end = local(quarter * _QUARTER, zone), local((quarter + 1) * _QUARTER - 1, zone)
    if begin.minute % 15 or begin.second or begin.utcoffset() != end.utcoffset():
        return "", 0, ""
    words = begin.isoformat()
    return (words[:14], begin.minute, words[19:]) if len(words) == 25 else ("", 0, "")


def midnight(day: date, zone: ZoneInfo) -> Instant:
    """The instant at which a date begins in a zone."""
    return of_datetime(datetime(day.year, day.month, day.day, tzinfo=zone))
