"""`gihan deadline`: the calculator, one period at a time."""

import json
from collections.abc import Iterator
from typing import Any, TextIO

from services.rules import counting, instants
from services.rules.calendar import Calendar
from services.rules.counting import Gap, Span

COUNT_FIRST_DATE = {None: None, "include": True, "exclude": False}


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
            yield {"id": f"line {number}", "error": "not a JSON object"}
            continue
        yield of_case(case, calendar)


def of_case(case: dict[str, Any], calendar: Calendar) -> dict[str, Any]:
    """The due instant of one case, as text with the calendar's offset."""
    answer: dict[str, Any] = {"id": case.get("id")}
    try:
        whole_dates = case.get("pause_mode") == "day_inclusive"
        gaps = [
            Gap(instants.instant(start), None if end is None else instants.instant(end), whole_dates)
            for start, end in case.get("pauses") or ()
        ]
        due = counting.due(
            calendar,
            instants.instant(case["received_at"]),
            Span(case["amount"], case["unit"]),
            case.get("extension") or (),
            gaps,
            count_first_date=COUNT_FIRST_DATE[case.get("first_day")],
        )
    except KeyError as error:
        return answer | {"error": f"{error} is missing or not a known value"}
    except (TypeError, ValueError) as error:
        return answer | {"error": str(error)}
    if due is None:
        return answer | {"error": "the last pause has no end, so there is no due instant yet"}
    return answer | {"due": instants.text(due, calendar.zone)}
