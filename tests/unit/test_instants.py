"""Instants as text: told quickly, and the same as the standard library tells them."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rules.instants import _EPOCHS, SECOND, instant, local, of_datetime, text

ZONES = ("Asia/Seoul", "America/New_York", "Asia/Kathmandu", "Europe/Amsterdam", "Africa/Monrovia", "Pacific/Apia")


@given(st.integers(-2_900_000_000, 4_000_000_000), st.sampled_from([0, 1, 500_000, 999_999]), st.sampled_from(ZONES))
def test_is_what_the_standard_library_tells(seconds: int, fraction: int, zone: str) -> None:
    """Before zones had offsets of whole minutes as well, and on both sides of every change of clocks."""
    moment = seconds * SECOND + fraction
    assert text(moment, ZoneInfo(zone)) == local(moment, ZoneInfo(zone)).isoformat()


@pytest.mark.parametrize(
    ("moment", "zone", "told"),
    [
        ("2026-04-06T00:00:00+00:00", "Asia/Seoul", "2026-04-06T09:00:00+09:00"),
        ("2026-04-06T00:00:07.5+00:00", "Asia/Seoul", "2026-04-06T09:00:07.500000+09:00"),
        ("2026-03-08T06:59:59+00:00", "America/New_York", "2026-03-08T01:59:59-05:00"),
        ("2026-03-08T07:00:00+00:00", "America/New_York", "2026-03-08T03:00:00-04:00"),
        ("1971-12-31T12:00:00+00:00", "Africa/Monrovia", "1971-12-31T11:15:30-00:44:30"),
    ],
)
def test_carries_the_offset_of_the_zone(moment: str, zone: str, told: str) -> None:
    """Also where that is none of whole minutes."""
    assert text(instant(moment), ZoneInfo(zone)) == told


@given(
    st.datetimes(datetime(1890, 1, 2), datetime(2150, 1, 1)),
    st.sampled_from([*(ZoneInfo(zone) for zone in ZONES), UTC, timezone(timedelta(hours=9)), timezone.min]),
    st.integers(0, 1),
)
def test_a_time_is_the_instant_that_its_own_offset_makes_it(naive: datetime, zone: tzinfo, fold: int) -> None:
    """Also where the clock is put back and shows an hour twice, and in years in which a zone was not yet steady."""
    moment = naive.replace(tzinfo=zone, fold=fold)
    offset = moment.utcoffset()
    assert offset is not None
    since = naive - offset - datetime(1970, 1, 1)
    assert of_datetime(moment) == since // timedelta(microseconds=1)


def test_equal_zones_that_are_not_the_same_object_tell_the_same_instant() -> None:
    """Each decoder makes its own; the one that was met last is known, so that its next time asks no zone."""
    zones = [timezone(timedelta(hours=9)) for _ in range(3)]
    moments = [datetime(2026, 11, 2, 10, 0, 0, 7, tzinfo=zone) for zone in zones]
    assert {of_datetime(moment) for moment in moments} == {instant("2026-11-02T01:00:00.000007+00:00")}
    assert _EPOCHS[zones[0]].tzinfo is zones[-1]
