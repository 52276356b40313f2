"""Counting: due instants worked out by hand, on a printed calendar, and against a slow count minute by minute."""

import json
import os
from bisect import bisect_left, bisect_right
from datetime import date
from functools import cache
from itertools import accumulate
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_count import Slowly

from contracts import files
from services.cli.calculate import of_lines
from services.rules import counting
from services.rules.calendar import Calendar, Closure, OutOfCalendar, close, open_on, parse_hours
from services.rules.counting import Gap, Span
from services.rules.instants import DAY, HOUR, MINUTE, instant, local, midnight, text
from services.rules.rulebook import Library

LIBRARY = Library(files.read())
KR_FILE = LIBRARY.newest_calendar("kr")[1]
KR = LIBRARY.compiled(KR_FILE, KR_FILE.hours["office"])
STAFFED = LIBRARY.compiled(KR_FILE, parse_hours({"mon-fri": ["09:00-18:00"]}))
MA_FILE = LIBRARY.newest_calendar("us-ma")[1]
MA = LIBRARY.compiled(MA_FILE, MA_FILE.hours["office"])
SEOUL = ZoneInfo("Asia/Seoul")


def at(local: str) -> int:
    """An instant of a local Korean time such as 2026-11-02 10:00."""
    return instant(local.replace(" ", "T") + "+09:00")


def counted(start: str, amount: int, unit: str, *, on: Calendar = KR, **more: object) -> str:
    due = counting.due(on, at(start), Span(amount, unit), **more)  # type: ignore[arg-type]
    assert due is not None
    return text(due, SEOUL)[:16].replace("T", " ")


def dates(begin: str, end: str | None) -> Gap:
    return Gap(at(begin), None if end is None else at(end), whole_dates=True)


def exact(begin: str, end: str | None) -> Gap:
    return Gap(at(begin), None if end is None else at(end), whole_dates=False)


# November 2026 begins on a Sunday and holds no Korean holiday. Thursday 24 to Saturday 26 September 2026 are Chuseok,
# Monday 5 and Friday 9 October are off. Friday 1 and Tuesday 5 May 2026 are off, and so is Friday 17 July 2026.


@pytest.mark.parametrize(
    ("start", "amount", "unit", "due"),
    [
        # Elapsed time passes nights, weekends and holidays alike.
        ("2026-09-25 23:59", 90, "seconds", "2026-09-26 00:00"),
        ("2026-11-06 17:55", 10, "minutes", "2026-11-06 18:05"),
        ("2026-10-09 22:30", 5, "calendar_hours", "2026-10-10 03:30"),
        # Working time: both edges of lunch and of the day, and what comes outside.
        ("2026-11-03 11:30", 30, "working_minutes", "2026-11-03 12:00"),
        ("2026-11-03 11:30", 31, "working_minutes", "2026-11-03 13:01"),
        ("2026-11-03 12:00", 1, "working_minutes", "2026-11-03 13:01"),
        ("2026-11-03 12:59", 1, "working_hours", "2026-11-03 14:00"),
        ("2026-11-03 13:00", 5, "working_hours", "2026-11-03 18:00"),
        ("2026-11-03 15:00", 3, "working_hours", "2026-11-03 18:00"),
        ("2026-11-03 15:01", 3, "working_hours", "2026-11-04 09:01"),
        ("2026-11-06 17:30", 1, "working_hours", "2026-11-09 09:30"),
        ("2026-11-07 03:00", 1, "working_hours", "2026-11-09 10:00"),
        ("2026-09-23 17:00", 2, "working_hours", "2026-09-28 10:00"),
        ("2026-11-03 10:10", 0, "working_hours", "2026-11-03 10:10"),
        # Up to five days are hours, eight a day. Monday 13:00: five hours on Monday, three more until Tuesday noon.
        ("2026-11-02 09:00", 1, "statutory_days", "2026-11-02 18:00"),
        ("2026-11-02 13:00", 1, "statutory_days", "2026-11-03 12:00"),
        ("2026-11-02 10:00", 3, "statutory_days", "2026-11-05 10:00"),
        ("2026-11-02 10:00", 5, "statutory_days", "2026-11-09 10:00"),
        ("2026-11-02 23:30", 5, "statutory_days", "2026-11-09 18:00"),
        # From six they are dates, the date of receipt the first, whatever its hour: 2 to 6 are five, 9 is the sixth.
        ("2026-11-02 10:00", 6, "statutory_days", "2026-11-10 00:00"),
        ("2026-11-02 23:30", 6, "statutory_days", "2026-11-10 00:00"),
        ("2026-11-01 10:00", 6, "statutory_days", "2026-11-10 00:00"),
        ("2026-11-02 00:00", 6, "statutory_days", "2026-11-10 00:00"),
        ("2026-09-22 10:00", 7, "statutory_days", "2026-10-03 00:00"),
        ("2026-07-16 10:00", 6, "statutory_days", "2026-07-25 00:00"),
        ("2025-07-16 10:00", 6, "statutory_days", "2025-07-24 00:00"),
        # Calendar days: the first not counted unless it is whole; a closed last date rolls on.
        ("2026-11-02 10:00", 3, "calendar_days", "2026-11-06 00:00"),
        ("2026-11-02 00:00", 3, "calendar_days", "2026-11-05 00:00"),
        ("2026-11-04 10:00", 3, "calendar_days", "2026-11-10 00:00"),
        ("2026-09-17 10:00", 7, "calendar_days", "2026-09-29 00:00"),
        ("2026-04-28 10:00", 3, "calendar_days", "2026-05-05 00:00"),
        # Weeks, months and years: the first date counted, also where it is a holiday.
        ("2026-11-02 10:00", 2, "weeks", "2026-11-17 00:00"),
        ("2026-11-03 10:00", 1, "weeks", "2026-11-10 00:00"),
        ("2026-11-01 10:00", 1, "weeks", "2026-11-10 00:00"),
        ("2026-11-02 10:00", 1, "months", "2026-12-02 00:00"),
        ("2026-11-01 10:00", 1, "months", "2026-12-01 00:00"),
        ("2026-08-31 10:00", 1, "months", "2026-10-01 00:00"),
        ("2027-01-29 10:00", 1, "months", "2027-03-03 00:00"),
        ("2027-01-31 10:00", 1, "months", "2027-03-03 00:00"),
        ("2028-01-30 10:00", 1, "months", "2028-03-01 00:00"),
        ("2026-11-10 10:00", 1, "years", "2027-11-10 00:00"),
        ("2028-02-29 10:00", 4, "years", "2032-03-02 00:00"),
        # Three months of the Civil Act begin on the day after: 4 November to 3 February.
        ("2026-11-03 10:00", 3, "calendar_months", "2027-02-04 00:00"),
        ("2026-11-30 10:00", 3, "calendar_months", "2027-03-03 00:00"),
        # Office days keep the time of day; what comes outside hours begins at the next opening.
        ("2026-11-05 16:20", 2, "working_days", "2026-11-09 16:20"),
        ("2026-11-07 16:20", 1, "working_days", "2026-11-10 09:00"),
        ("2026-11-05 12:30", 1, "working_days", "2026-11-06 13:00"),
        ("2026-11-05 16:20", 0, "working_days", "2026-11-05 16:20"),
        ("2026-11-05 18:00", 0, "working_days", "2026-11-06 09:00"),
    ],
)
def test_due_by_hand(start: str, amount: int, unit: str, due: str) -> None:
    assert counted(start, amount, unit) == due


def test_a_desk_without_lunch_counts_through_noon_and_days_stay_those_of_the_office() -> None:
    assert counted("2026-11-03 11:30", 1, "working_hours", on=STAFFED) == "2026-11-03 12:30"
    assert counted("2026-11-03 17:30", 1, "working_hours", on=STAFFED) == "2026-11-04 09:30"


@pytest.mark.parametrize(
    ("amount", "unit", "extensions", "due"),
    [
        # Five and five are eighty hours, ten set as one period are dates; six and one are seven dates.
        (5, "statutory_days", [5], "2026-11-16 10:00"),
        (10, "statutory_days", [], "2026-11-14 00:00"),
        (6, "statutory_days", [1], "2026-11-11 00:00"),
        (7, "statutory_days", [7, 7], "2026-12-01 00:00"),
        (3, "working_hours", [3], "2026-11-02 17:00"),
        (1, "months", [1], "2027-01-05 00:00"),
    ],
)
def test_extensions_are_appended_in_the_unit_as_set(amount: int, unit: str, extensions: list[int], due: str) -> None:
    assert counted("2026-11-02 10:00", amount, unit, extensions=extensions) == due


@pytest.mark.parametrize(
    ("amount", "unit", "gaps", "due"),
    [
        # Both dates of a supplement are out in full: 3, 4, 5 November. Counted: 2, 6, 9, 10, 11, 12.
        (6, "statutory_days", [dates("2026-11-03 17:50", "2026-11-05 09:10")], "2026-11-13 00:00"),
        # Asked and answered on one date takes that date away.
        (6, "statutory_days", [dates("2026-11-04 09:10", "2026-11-04 09:40")], "2026-11-11 00:00"),
        # On the date of receipt itself, and on the last date.
        (6, "statutory_days", [dates("2026-11-02 11:00", "2026-11-02 12:00")], "2026-11-11 00:00"),
        (6, "statutory_days", [dates("2026-11-09 17:00", "2026-11-10 10:00")], "2026-11-12 00:00"),
        # After the last date it is nothing; before the receipt, nothing.
        (6, "statutory_days", [dates("2026-11-10 09:00", "2026-11-12 10:00")], "2026-11-10 00:00"),
        (6, "statutory_days", [dates("2026-10-20 09:00", "2026-10-22 10:00")], "2026-11-10 00:00"),
        # A weekend inside costs nothing more; overlaps count once, neighbours are one.
        (6, "statutory_days", [dates("2026-11-06 09:00", "2026-11-09 10:00")], "2026-11-12 00:00"),
        (
            6,
            "statutory_days",
            [dates("2026-11-03 09:00", "2026-11-05 10:00"), dates("2026-11-04 09:00", "2026-11-06 10:00")],
            "2026-11-14 00:00",
        ),
        # By hours: Monday's seven stay, the hours of Tuesday to Thursday are given back.
        (3, "statutory_days", [dates("2026-11-03 15:00", "2026-11-05 11:00")], "2026-11-10 10:00"),
        # On the very date it was due (Thursday 10:00) the hour used that morning is given back.
        (3, "statutory_days", [dates("2026-11-05 09:30", "2026-11-06 15:00")], "2026-11-09 10:00"),
        # Exact minutes: 10:00 to 11:00 is one, paused till 14:00, two more.
        (3, "working_hours", [exact("2026-11-02 11:00", "2026-11-02 14:00")], "2026-11-02 16:00"),
        (3, "working_hours", [exact("2026-11-02 18:30", "2026-11-03 08:30")], "2026-11-02 14:00"),
        (3, "working_hours", [exact("2026-11-02 09:00", "2026-11-02 10:30")], "2026-11-02 14:30"),
        # A pause that begins exactly at the due instant comes too late.
        (2, "working_hours", [exact("2026-11-02 12:00", "2026-11-02 16:00")], "2026-11-02 12:00"),
        (30, "minutes", [exact("2026-11-02 10:10", "2026-11-02 10:25")], "2026-11-02 10:45"),
        (24, "calendar_hours", [exact("2026-11-02 12:00", "2026-11-03 00:00")], "2026-11-03 22:00"),
        # An outage from Tuesday noon to Thursday noon covers one working date wholly.
        (6, "statutory_days", [exact("2026-11-03 12:00", "2026-11-05 12:00")], "2026-11-11 00:00"),
        (6, "statutory_days", [exact("2026-11-03 09:00", "2026-11-05 18:00")], "2026-11-13 00:00"),
        # Calendar dates: three out move 2 December to 5, a Saturday, which rolls to Monday 7.
        (30, "calendar_days", [dates("2026-11-10 10:00", "2026-11-12 10:00")], "2026-12-08 00:00"),
        (1, "months", [dates("2026-11-10 10:00", "2026-11-10 11:00")], "2026-12-03 00:00"),
        (2, "working_days", [dates("2026-11-03 10:00", "2026-11-03 11:00")], "2026-11-05 10:00"),
        # What begins on a date that is out begins with the next one that is in.
        (1, "working_days", [exact("2026-11-02 08:00", "2026-11-03 18:00")], "2026-11-05 09:00"),
    ],
)
def test_gaps_by_hand(amount: int, unit: str, gaps: list[Gap], due: str) -> None:
    assert counted("2026-11-02 10:00", amount, unit, gaps=gaps) == due
    assert counted("2026-11-02 10:00", amount, unit, gaps=list(reversed(gaps))) == due


@pytest.mark.parametrize(
    ("amount", "unit"),
    [(3, "working_hours"), (3, "statutory_days"), (9, "statutory_days"), (9, "calendar_days"), (2, "working_days")],
)
@pytest.mark.parametrize("gap", [dates, exact])
def test_an_open_gap_leaves_no_due_unless_it_comes_too_late(amount: int, unit: str, gap: object) -> None:
    start = at("2026-11-02 10:00")
    assert counting.due(KR, start, Span(amount, unit), gaps=[gap("2026-11-02 10:30", None)]) is None  # type: ignore[operator]
    due = counting.due(KR, start, Span(amount, unit), gaps=[gap("2026-12-01 10:00", None)])  # type: ignore[operator]
    assert due == counting.due(KR, start, Span(amount, unit))


def test_months_may_leave_the_first_date_out() -> None:
    assert counted("2026-01-30 10:00", 1, "months", count_first_date=False) == "2026-03-04 00:00"
    assert counted("2026-11-02 10:00", 1, "months", count_first_date=False) == "2026-12-03 00:00"


def test_counted_time_without_the_roll() -> None:
    assert counted("2026-11-01 10:00", 6, "calendar_days", roll=False) == "2026-11-08 00:00"
    assert counted("2026-11-01 10:00", 6, "calendar_days") == "2026-11-10 00:00"


@pytest.mark.parametrize(
    ("start", "amount", "due"),
    [
        # Clocks go forward on 8 March 2015 at 02:00 and back on 1 November: the clock on the wall is what counts.
        ("2015-03-07T12:00:00-05:00", 24, "2015-03-08T12:00:00-04:00"),
        ("2015-10-31T12:00:00-04:00", 24, "2015-11-01T12:00:00-05:00"),
        ("2015-03-07T02:30:00-05:00", 24, "2015-03-08T03:30:00-04:00"),
        ("2015-06-01T08:00:00-04:00", 8760, "2016-05-31T08:00:00-04:00"),
    ],
)
def test_wall_hours_over_a_change_of_the_clocks(start: str, amount: int, due: str) -> None:
    found = counting.due(MA, instant(start), Span(amount, "calendar_hours"))
    assert found is not None
    assert text(found, MA.zone) == due


def test_elapsed_and_working_time_over_a_change_of_the_clocks() -> None:
    saturday = instant("2015-03-07T12:00:00-05:00")
    assert counting.due(MA, saturday, Span(24 * 60, "minutes")) == instant("2015-03-08T13:00:00-04:00")
    # Friday 16:30 and half an hour; Monday's office opens at 08:30 by the new clock.
    friday = instant("2015-03-06T16:30:00-05:00")
    assert counting.due(MA, friday, Span(1, "working_hours")) == instant("2015-03-09T09:00:00-04:00")
    assert counting.due(MA, friday, Span(1, "working_days")) == instant("2015-03-09T16:30:00-04:00")


@pytest.mark.parametrize(
    ("moment", "amount", "unit", "before"),
    [
        ("2026-11-03 10:00", 15, "minutes", "2026-11-03 09:45"),
        ("2026-11-03 10:00", 120, "working_minutes", "2026-11-02 17:00"),
        ("2026-11-03 14:00", 90, "working_minutes", "2026-11-03 11:30"),
        ("2026-11-10 00:00", 240, "working_minutes", "2026-11-09 14:00"),
        ("2026-11-09 08:00", 60, "working_minutes", "2026-11-06 17:00"),
        ("2026-11-03 10:00", 2, "calendar_hours", "2026-11-03 08:00"),
    ],
)
def test_a_span_before_an_instant(moment: str, amount: int, unit: str, before: str) -> None:
    assert counting.before(KR, at(moment), Span(amount, unit)) == at(before)


def test_a_span_of_dates_before_an_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="calendar_days"):
        counting.before(KR, at("2026-11-03 10:00"), Span(1, "calendar_days"))


def test_a_word_wanted_after_thirty_days_is_due_on_the_next_working_day() -> None:
    def due(start: str) -> int:
        return counting.end_of_next_working_day(KR, at(start), Span(30, "calendar_days"))

    # 2 November and 30 days is Wednesday 2 December; the word is due by the end of Thursday.
    assert due("2026-11-02 10:00") == at("2026-12-04 00:00")
    # 4 November and 30 is Friday; due by the end of Monday.
    assert due("2026-11-04 10:00") == at("2026-12-08 00:00")
    # A period that begins at midnight has its first date.
    assert due("2026-11-02 00:00") == at("2026-12-03 00:00")


def test_thresholds_take_the_period_as_set() -> None:
    assert [counting.days_of(Span(2, unit)) for unit in ("days", "weeks", "months", "years", "hours")] == [
        2,
        14,
        60,
        730,
        0,
    ]


def test_beyond_the_calendar_there_is_an_error_and_past_its_horizon_an_answer() -> None:
    for unit in ("working_hours", "working_days", "statutory_days", "days", "months"):
        with pytest.raises(OutOfCalendar, match="2020-01-01"):
            counting.due(KR, at("2019-12-31 23:59"), Span(7, unit))
    with pytest.raises(OutOfCalendar):
        counting.due(KR, at("2026-11-02 10:00"), Span(3000, "statutory_days"))
    with pytest.raises(OutOfCalendar):
        counting.due(KR, at("2026-11-02 10:00"), Span(20_000, "working_hours"))
    assert counted("2029-01-01 10:00", 1, "working_hours") == "2029-01-01 11:00"
    assert KR.horizon == at("2029-01-01 00:00")
    assert KR.reaches(at("2034-12-31 23:59"))
    assert not KR.reaches(at("2035-01-01 00:00"))


def test_an_unknown_unit_is_named() -> None:
    with pytest.raises(ValueError, match="fortnights"):
        counting.due(KR, at("2026-11-02 10:00"), Span(1, "fortnights"))


def test_a_date_closed_or_opened_by_decision() -> None:
    tuesday, saturday = date(2026, 11, 3), date(2026, 11, 7)
    closed = close(KR_FILE, tuesday, Closure("임시공휴일", "Day off"))
    week = closed.hours["office"]
    assert counted("2026-11-02 17:00", 2, "working_hours", on=Calendar(closed, week)) == "2026-11-04 10:00"
    again = open_on(closed, tuesday, ())
    assert counted("2026-11-02 17:00", 2, "working_hours", on=Calendar(again, week)) == "2026-11-03 10:00"
    opened = open_on(KR_FILE, saturday, parse_hours({"sat": ["10:00-24:00"]})[5])
    assert counted("2026-11-06 17:00", 15, "working_hours", on=Calendar(opened, week)) == "2026-11-08 00:00"
    assert counted("2026-11-06 17:00", 16, "working_hours", on=Calendar(opened, week)) == "2026-11-09 10:00"
    shut = close(opened, saturday, Closure("휴무", "Day off"))
    assert counted("2026-11-06 17:00", 2, "working_hours", on=Calendar(shut, week)) == "2026-11-09 10:00"


@pytest.mark.parametrize("week", [{"mon": ["12:00-09:00"]}, {"mon": ["09:00-12:00", "11:00-18:00"]}, {"day": []}])
def test_hours_that_make_no_sense_are_refused(week: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="hours"):
        parse_hours(week)


# -- against a slow count -------------------------------------------------------------------------------------


SLOWLY = Slowly(KR_FILE.closures)


def whole_or_round(least: int, most: int) -> st.SearchStrategy[int]:
    """Minutes, half of them half hours, so that a gap often begins or ends just where a period or a shift does."""
    return st.one_of(st.integers(least, most), st.integers(least // 30, most // 30).map(lambda halves: halves * 30))


STARTS = whole_or_round(0, 4 * 365 * 1440).map(lambda minutes: at("2024-01-01 00:00") + minutes * MINUTE)
SPANS = st.one_of(
    st.tuples(st.integers(1, 300), st.sampled_from(["minutes", "working_minutes"])),
    st.tuples(st.integers(1, 24), st.sampled_from(["calendar_hours", "working_hours"])),
    st.tuples(st.integers(1, 20), st.sampled_from(["statutory_days", "calendar_days", "working_days"])),
    st.tuples(st.integers(1, 13), st.sampled_from(["weeks", "months", "calendar_months"])),
    st.tuples(st.integers(1, 2), st.just("years")),
)
EXTENSIONS = st.lists(st.integers(1, 2), max_size=2)
GAPS = st.lists(
    st.tuples(
        st.one_of(whole_or_round(-3 * 1440, 20 * 1440), whole_or_round(-60, 600)),
        st.one_of(whole_or_round(0, 4 * 1440), whole_or_round(0, 120)),
        st.booleans(),
    ),
    max_size=3,
)

# GIHAN_EXAMPLES says how many random cases are compared; the slow count takes most of the time.
EXAMPLES = int(os.environ.get("GIHAN_EXAMPLES", "10000"))


@pytest.mark.timeout(0 if EXAMPLES > 10_000 else 240)
@settings(max_examples=EXAMPLES)
@given(STARTS, SPANS, EXTENSIONS, GAPS)
def test_equals_the_slow_count(
    start: int, span: tuple[int, str], extensions: list[int], shifts: list[tuple[int, int, bool]]
) -> None:
    gaps = [Gap(start + shift * MINUTE, start + (shift + length) * MINUTE, whole) for shift, length, whole in shifts]
    amount, unit = span
    fast = counting.due(KR, start, Span(amount, unit), extensions, gaps)
    assert fast == SLOWLY.due(start, amount, unit, extensions, gaps)


@settings(max_examples=400)
@given(STARTS, SPANS, GAPS, st.integers(0, 2 * DAY // MINUTE))
def test_a_later_start_or_a_longer_gap_never_comes_due_earlier(
    start: int, span: tuple[int, str], shifts: list[tuple[int, int, bool]], later: int
) -> None:
    amount, unit = span
    gaps = [Gap(start + s * MINUTE, start + (s + n) * MINUTE, whole) for s, n, whole in shifts]
    longer = [Gap(gap.start, (gap.end or 0) + HOUR, gap.whole_dates) for gap in gaps]
    due = counting.due(KR, start, Span(amount, unit), gaps=gaps)
    assert due is not None
    assert due >= start
    assert (counting.due(KR, start, Span(amount, unit), gaps=longer) or 0) >= due
    if unit.endswith(("months", "years")):
        # 30 January and a month end on 28 February like 31 January and a month (Civil Act art. 160(3)); a pause between
        # the two starts then moves the earlier one alone.
        gaps = []
        due = counting.due(KR, start, Span(amount, unit))
        assert due is not None
    assert (counting.due(KR, start + later * MINUTE, Span(amount, unit), gaps=gaps) or 0) >= due


def test_all_cases_of_the_table_named_by_the_environment() -> None:
    named = os.environ.get("GIHAN_DEADLINE_CASES")
    if not named:
        pytest.skip("GIHAN_DEADLINE_CASES names no file of deadline cases: the shared table was not compared")
    lines = Path(named).read_text(encoding="utf-8").splitlines()
    expected = {case["id"]: case["expected_due"] for case in map(json.loads, lines)}
    found = {answer["id"]: answer.get("due") for answer in of_lines(lines, KR)}  # type: ignore[arg-type]
    assert found == expected
    assert len(expected) >= 40


ROUND_THE_CLOCK = LIBRARY.compiled(MA_FILE, parse_hours({"mon-sun": ["00:00-24:00"]}))
NOW_AND_THEN = LIBRARY.compiled(KR_FILE, parse_hours({"tue": ["00:00-00:10", "23:40-24:00"], "sat": ["11:00-11:01"]}))


@cache
def stretches(calendar: Calendar) -> list[tuple[int, int]]:
    """All work of a calendar, stretch by stretch."""
    first = calendar.file.starts.toordinal()
    dates = range(first, date(calendar.file.horizon.year + 6, 12, 31).toordinal() + 1)
    return [stretch for ordinal in dates for stretch in calendar.shifts(ordinal)]


@given(st.sampled_from([KR, MA, ROUND_THE_CLOCK, NOW_AND_THEN]), st.data())
def test_a_look_into_the_tables_finds_what_the_list_of_all_work_says(calendar: Calendar, data: st.DataObject) -> None:
    """At the edges of stretches, of dates and of the calendar, and where the clock is put forward and back."""
    work = stretches(calendar)
    zone, first = calendar.zone, midnight(calendar.file.starts, calendar.zone)
    after = midnight(date(calendar.file.horizon.year + 7, 1, 1), zone)
    edges = st.sampled_from(work).flatmap(st.sampled_from) | st.sampled_from([first, after - 1])
    moment = data.draw(edges | st.integers(first, after - 1)) + data.draw(st.sampled_from([-1, 0, 1]))
    if not first <= moment < after:
        for ask in (calendar.worked, calendar.opening, calendar.ordinal):
            with pytest.raises(OutOfCalendar):
                ask(moment)
        return
    assert calendar.ordinal(moment) == local(moment, zone).toordinal()
    place = bisect_right(work, (moment, after))
    assert calendar.worked(moment) == sum(min(end, moment) - begin for begin, end in work[:place])
    ahead = [max(begin, moment) for begin, end in work[max(place - 1, 0) : place + 1] if end > moment]
    if ahead:
        assert calendar.opening(moment) == ahead[0]
    else:
        with pytest.raises(OutOfCalendar):
            calendar.opening(moment)


@given(st.sampled_from([KR, MA, ROUND_THE_CLOCK, NOW_AND_THEN]), st.data())
def test_an_amount_of_work_is_done_at_the_first_instant_by_which_so_much_was_worked(
    calendar: Calendar, data: st.DataObject
) -> None:
    work = stretches(calendar)
    before = totals(calendar)
    total = data.draw(st.sampled_from(before) | st.integers(1, before[-1])) + data.draw(st.sampled_from([-1, 0, 1]))
    if total > before[-1]:
        with pytest.raises(OutOfCalendar):
            calendar.at(total)
        return
    place = max(bisect_left(before, total) - 1, 0)
    assert calendar.at(total) == work[place][0] + total - before[place]


@cache
def totals(calendar: Calendar) -> list[int]:
    """The work done before each stretch, and after the last."""
    return [0, *accumulate(end - begin for begin, end in stretches(calendar))]
