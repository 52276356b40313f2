"""Calendar files against the package that proposed them, and against dates written by hand.

The one rule: the hand-written dates are the truth here; the package is only a second witness.
"""

import calendar
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.calendars.make import calendar_file

FOLDER = Path(__file__).parents[2] / "contracts" / "calendars"
COVERED = {"kr": (2020, 2028), "us-ma": (2014, 2017)}

# The official calendar of the Republic of Korea, all public holidays but plain Sundays, as month/day.
KOREAN_YEARS = {
    2024: "1/1 2/9 2/10 2/11 2/12 3/1 4/10 5/5 5/6 5/15 6/6 8/15 9/16 9/17 9/18 10/1 10/3 10/9 12/25",
    2025: "1/1 1/27 1/28 1/29 1/30 3/1 3/3 5/5 5/6 6/3 6/6 8/15 10/3 10/5 10/6 10/7 10/8 10/9 12/25",
    2026: "1/1 2/16 2/17 2/18 3/1 3/2 5/1 5/5 5/24 5/25 6/3 6/6 7/17 8/15 8/17 9/24 9/25 9/26 10/3 10/5 10/9 12/25",
    2027: "1/1 2/6 2/7 2/8 2/9 3/1 5/1 5/3 5/5 5/13 6/6 7/17 7/19 8/15 8/16 9/14 9/15 9/16 10/3 10/4 10/9"
    " 10/11 12/25 12/27",
}
# Massachusetts in 2015: no substitute for the Saturday of 4 July.
MASSACHUSETTS_2015 = "1/1 1/19 2/16 4/20 5/25 7/4 9/7 10/12 11/11 11/26 12/25"


def content(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_bytes())
    return loaded


def closed_in(name: str, year: int) -> list[date]:
    return sorted(day for day in content(name)["closures"] if day.year == year)


def dates(year: int, text: str) -> list[date]:
    return [date(year, *map(int, item.split("/"))) for item in text.split()]


def test_every_calendar_is_covered() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(COVERED)


@pytest.mark.parametrize("name", COVERED)
def test_a_file_is_what_the_package_proposes(name: str) -> None:
    assert (FOLDER / f"{name}.yaml").read_text(encoding="utf-8") == calendar_file(name, *COVERED[name])


@pytest.mark.parametrize("name", COVERED)
def test_every_date_lies_in_the_years_covered(name: str) -> None:
    file = content(name)
    first, last = COVERED[name]
    assert (file["from"], file["horizon"]) == (date(first, 1, 1), date(last, 12, 31))
    assert {day.year for day in file["closures"]} == set(range(first, last + 1))


@pytest.mark.parametrize("year", KOREAN_YEARS)
def test_korean_years_are_the_official_ones(year: int) -> None:
    assert closed_in("kr", year) == dates(year, KOREAN_YEARS[year])


def test_massachusetts_2015_is_the_official_one() -> None:
    assert closed_in("us-ma", 2015) == dates(2015, MASSACHUSETTS_2015)


@pytest.mark.parametrize("year", range(2020, 2026))
def test_constitution_day_and_labour_day_work_before_2026(year: int) -> None:
    closed = closed_in("kr", year)
    assert date(year, 5, 1) not in closed
    assert date(year, 7, 17) not in closed


@pytest.mark.parametrize("year", range(2026, 2029))
def test_constitution_day_and_labour_day_are_holidays_from_2026(year: int) -> None:
    closed = closed_in("kr", year)
    assert date(year, 5, 1) in closed
    assert date(year, 7, 17) in closed


@pytest.mark.parametrize(
    ("day", "korean"),
    [
        (date(2020, 8, 17), "임시공휴일"),  # designated for that year alone
        (date(2021, 8, 16), "광복절 대체공휴일"),  # the first substitute of a national day
        (date(2022, 3, 9), "대통령 선거일"),
        (date(2023, 5, 29), "부처님오신날 대체공휴일"),  # the first year in which that day has one
        (date(2025, 5, 5), "부처님오신날 · 어린이날"),  # two on one date
        (date(2026, 1, 1), "신정"),
        (date(2026, 9, 26), "추석 다음날"),  # a Saturday, which gives no substitute
        (date(2028, 10, 5), "추석 대체공휴일"),  # Chuseok meets National Foundation Day
    ],
)
def test_a_day_has_its_name(day: date, korean: str) -> None:
    assert content("kr")["closures"][day]["ko"] == korean


@pytest.mark.parametrize(
    "day", [date(2026, 6, 8), date(2026, 9, 28), date(2027, 6, 7), date(2028, 1, 3), date(2015, 7, 3)]
)
def test_days_beside_a_holiday_that_has_no_substitute_work(day: date) -> None:
    name = "us-ma" if day.year == 2015 else "kr"
    assert day.weekday() < calendar.SATURDAY
    assert day not in content(name)["closures"]
