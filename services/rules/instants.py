"""Instants: whole microseconds since 1970-01-01T00:00:00Z, and RFC 3339 text at the edges.

The one rule: inside the core an instant is an integer, so that equal instants are equal numbers and order is plain.
"""

from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

Instant = int

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

NEVER: Instant = 2**63
"""After every instant."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TWO = [f"{number:02}" for number in range(60)]
"""Seconds in two digits."""


def of_datetime(moment: datetime) -> Instant:
    """The instant of an aware datetime. Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a time without an offset names no instant; give one such as +09:00")
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def instant(text: str) -> Instant:
    """The instant of an RFC 3339 text with an offset. Raises ValueError where there is no offset or no such time."""
    return of_datetime(datetime.fromisoformat(text))


def local(moment: Instant, zone: ZoneInfo) -> datetime:
    """The instant as an aware datetime in a zone."""
    # A float holds every microsecond of the next two centuries, and every second for ever.
    return datetime.fromtimestamp(moment / SECOND, zone)


def text(moment: Instant, zone: ZoneInfo) -> str:
    """RFC 3339 text of an instant with the zone's offset; fractions only where there are any."""
    minute, rest = divmod(moment, MINUTE)
    words = _minute(minute, zone)
    if words is None:
        return local(moment, zone).isoformat()
    second, fraction = divmod(rest, SECOND)
    return f"{words[0]}{_TWO[second]}.{fraction:06}{words[1]}" if fraction else f"{words[0]}{_TWO[second]}{words[1]}"


@lru_cache(maxsize=1 << 14)
def _minute(minute: int, zone: ZoneInfo) -> tuple[str, str] | None:
    """The text of a minute before its seconds and after them; None where the offset is none of whole minutes, as no
    zone's is today. What is told lies close together, so that most minutes are asked for again."""
    words = local(minute * MINUTE, zone).isoformat()
    return (words[:17], words[19:]) if len(words) == 25 else None


def midnight(day: date, zone: ZoneInfo) -> Instant:
    """The instant at which a date begins in a zone."""
    return of_datetime(datetime(day.year, day.month, day.day, tzinfo=zone))
