"""Tariffs: what lateness costs, by hand."""

from typing import Any

import pytest

from contracts import files
from services.rules.calendar import Calendar
from services.rules.instants import instant
from services.rules.rulebook import Library
from services.rules.tariffs import Tariff, parse_tariff

BY_DAY = {"unit": "calendar_days", "rows": [{"from": 1, "each": 5000}], "at_most": 30000}
BY_STEP = {
    "unit": "working_days",
    "rows": [{"from": 1, "sum": 5000}, {"from": 4, "sum": 10000}, {"from": 8, "sum": 20000}],
}
MIXED = {"unit": "calendar_days", "rows": [{"from": 1, "each": 1000}, {"from": 4, "each": 3000}]}


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    library = Library(files.read())
    _, file = library.newest_calendar("kr")
    return library.compiled(file, file.hours["office"])


@pytest.mark.parametrize(
    ("row", "days", "amount", "settled"),
    [
        (BY_DAY, 1, 5000, False),
        (BY_DAY, 5, 25000, False),
        (BY_DAY, 6, 30000, True),
        (BY_DAY, 7, 30000, True),
        (BY_DAY, 400, 30000, True),
        (BY_STEP, 1, 5000, False),
        (BY_STEP, 3, 5000, False),
        (BY_STEP, 4, 10000, False),
        (BY_STEP, 7, 10000, False),
        (BY_STEP, 8, 20000, True),
        (MIXED, 3, 3000, False),
        (MIXED, 4, 6000, False),
        (MIXED, 6, 12000, False),
    ],
)
def test_an_amount_by_days(row: dict[str, Any], days: int, amount: int, settled: bool) -> None:
    tariff = parse_tariff(row)
    assert (tariff.amount(days), tariff.settled(days)) == (amount, settled)


@pytest.mark.parametrize(
    ("due", "ended", "calendar_days", "working_days"),
    [
        # 12 March 2026 is a Thursday.
        ("2026-03-12T15:00:00+09:00", "2026-03-12T15:00:01+09:00", 1, 1),  # late the same day is late
        ("2026-03-12T15:00:00+09:00", "2026-03-13T09:00:00+09:00", 1, 1),
        ("2026-03-13T00:00:00+09:00", "2026-03-13T09:00:00+09:00", 1, 1),  # due at the end of the 12th
        ("2026-03-12T18:00:00+09:00", "2026-03-16T10:00:00+09:00", 4, 2),  # over a weekend
        (
            "2026-03-14T00:00:00+09:00",
            "2026-03-14T10:00:00+09:00",
            1,
            1,
        ),  # late on a Saturday alone is a day all the same
        # Buddha's birthday, 24 May 2026, is a Sunday, and Monday the 25th stands in for it.
        ("2026-05-23T00:00:00+09:00", "2026-05-26T09:00:00+09:00", 4, 1),
        ("2025-12-31T18:00:00+09:00", "2026-01-02T09:00:00+09:00", 2, 1),  # New Year's Day between
    ],
)
def test_days_late(calendar: Calendar, due: str, ended: str, calendar_days: int, working_days: int) -> None:
    days = [
        Tariff(unit, ()).days(calendar, instant(due), instant(ended))  # type: ignore[arg-type]
        for unit in ("calendar_days", "working_days")
    ]
    assert days == [calendar_days, working_days]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (BY_DAY | {"unit": "weeks"}, "unit"),
        (BY_DAY | {"rows": []}, "begin at day 1"),
        (BY_DAY | {"rows": [{"from": 2, "each": 1}]}, "begin at day 1"),
        (BY_DAY | {"rows": [{"from": 1, "each": 1}, {"from": 1, "each": 2}]}, "later than the one before"),
        (BY_DAY | {"rows": [{"from": 1}]}, "either each or sum"),
        (BY_DAY | {"rows": [{"from": 1, "each": 1, "sum": 2}]}, "either each or sum"),
        (BY_DAY | {"rows": [{"from": 1, "each": -5}]}, "either each or sum"),
        (BY_DAY | {"rows": [{"from": 1, "sum": 9000}, {"from": 3, "sum": 5000}]}, "brings less"),
        (BY_DAY | {"most": 1}, "most"),
    ],
)
def test_a_tariff_that_does_not_fit_says_why(row: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_tariff(row)
