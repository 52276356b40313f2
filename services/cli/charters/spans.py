"""Spans of a charter in words, and which of two is the longer.

The one rule: elapsed time is compared with elapsed time and time of work with time of work, never one with the other.
"""

from services.rules.counting import HOURS_UP_TO_DAYS, Span

MINUTES = {"seconds": 1 / 60, "minutes": 1, "calendar_hours": 60, "calendar_days": 1440, "weeks": 10080}
MINUTES |= {"calendar_months": 43200, "months": 43200, "years": 525600}
WORK_MINUTES = {"working_minutes": 1, "working_hours": 60, "working_days": 480, "statutory_days": 480}

UNITS_KO = {
    "seconds": "초",
    "minutes": "분",
    "calendar_hours": "시간(달력)",
    "working_minutes": "근무 분",
    "working_hours": "근무시간",
    "working_days": "근무일",
    "statutory_days": "일(처리기간)",
    "calendar_days": "일(달력)",
    "calendar_months": "개월(달력)",
    "weeks": "주",
    "months": "개월",
    "years": "년",
}


def longer(one: Span, other: Span) -> bool:
    """Whether one is at least as long as the other; of what cannot be compared, no."""
    for table in (MINUTES, WORK_MINUTES):
        if one.unit in table and other.unit in table:
            return one.amount * table[one.unit] >= other.amount * table[other.unit]
    return False


def compared(before: Span | None, after: Span | None) -> str:
    """What a citizen has of the change: sooner, later or counted_otherwise; None is the handling period of the law."""
    if before is None or after is None:
        return "counted_otherwise"
    # A period of up to five days is counted in hours of work and a longer one in dates.
    if before.unit == after.unit or not {before.unit, after.unit} & {"statutory_days"}:
        for table in (MINUTES, WORK_MINUTES):
            if before.unit in table and after.unit in table:
                sooner = after.amount * table[after.unit] < before.amount * table[before.unit]
                return "sooner" if sooner else "later"
    elif max(before.amount, after.amount) <= HOURS_UP_TO_DAYS and {before.unit, after.unit} <= set(WORK_MINUTES):
        return "sooner" if longer(before, after) else "later"
    return "counted_otherwise"


def in_ko(span: Span | None) -> str:
    """A span in Korean."""
    return "정해진 처리기간" if span is None else f"{span.amount}{UNITS_KO[span.unit]}"


def in_en(span: Span | None) -> str:
    """A span in English."""
    if span is None:
        return "the handling period"
    unit = span.unit.replace("_", " ")
    return f"{span.amount} {unit.removesuffix('s') if span.amount == 1 else unit}"
