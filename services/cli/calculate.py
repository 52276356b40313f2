"""`gihan deadline`: the calculator, one period at a time."""

import json
from collections.abc import Iterator
from typing import Any, TextIO

from services.rules import counting, instants
from services.rules.calendar import Calendar
from services.rules.counting import Gap, Span

COUNT_FIRST_DATE = {None: None, "include": True, "exclude": False}
WHOLE_DATES = {None: False, "exact": False, "day_inclusive": True}


def of_lines(lines: TextIO, calendar: Calendar) -> Iterator[dict[str, Any]]:
    """{"id", "due"} for every JSON line, with "error" in place of a due where the case is not possible.

    A line holds received_at (RFC 3339), unit and amount, and may hold pauses ([[start, end]]), pause_mode
    (day_inclusive or exact), extension ([amounts]) and first_day (include or exclude).
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            case = json.loads(line)
        except ValueError:
            case = None
        if not isinstance(case, dict):
            yield {"id": f"line {number}", "error": "not a JSON object"}
            continue
        yield of_case(case, calendar)


def of_case(case: dict[str, Any], calendar: Calendar) -> dict[str, Any]:
    """The due instant of one case, as text with the calendar's offset."""
    answer: dict[str, Any] = {"id": case.get("id")}
    try:
        whole_dates = WHOLE_DATES[case.get("pause_mode")]
        gaps = [
            Gap(instants.instant(start), None if end is None else instants.instant(end), whole_dates)
            for start, end in case.get("pauses") or ()
        ]
        if any(gap.end is not None and gap.end < gap.start for gap in gaps):
            raise ValueError("a pause ends before it begins")
        amounts = [case["amount"], *(case.get("extension") or ())]
        if not all(type(amount) is int and amount >= 0 for amount in amounts):
            raise ValueError("amount and extension take whole numbers, 0 or more")
        due = counting.due(
            calendar,
            instants.instant(case["received_at"]),
            Span(case["amount"], case["unit"]),
            amounts[1:],
            gaps,
            count_first_date=COUNT_FIRST_DATE[case.get("first_day")],
        )
    except KeyError as error:
        return answer | {"error": f"{error} is missing or not a known value"}
    except (TypeError, ValueError, OverflowError) as error:
        return answer | {"error": str(error)}
    if due is None:
        return answer | {"error": "the last pause has no end, so there is no due instant yet"}
    return answer | {"due": instants.text(due, calendar.zone)}
