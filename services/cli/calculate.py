"""`gihan deadline`: the calculator, one period at a time."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from contracts import files
from services.cli.errors import plain_errors
from services.cli.options import AsJson, instant
from services.rules import counting, instants
from services.rules.calendar import Calendar
from services.rules.counting import Gap, Span
from services.rules.rulebook import Library

COUNT_FIRST_DATE = {None: None, "include": True, "exclude": False}
WHOLE_DATES = {None: False, "exact": False, "day_inclusive": True}


def deadline(
    cases: Annotated[Path | None, typer.Option(help="JSON lines of cases; - reads standard input.")] = None,
    received_at: Annotated[str | None, typer.Option(help="RFC 3339 with an offset.")] = None,
    amount: Annotated[int, typer.Option(min=0)] = 1,
    unit: Annotated[str, typer.Option(help="A unit such as working_hours or statutory_days.")] = "statutory_days",
    calendar: Annotated[str, typer.Option(help="Name of the calendar.")] = "kr",
    as_json: AsJson = False,
) -> None:
    """The calculator: one deadline, or JSON lines in and out."""
    with plain_errors():
        table = _calendar(calendar)
        if cases is None:
            if received_at is None:
                raise ValueError("give --received-at and --amount and --unit, or --cases FILE")
            case = {"received_at": received_at, "amount": amount, "unit": unit}
            answer = of_case(case, table)
            if "error" in answer:
                raise ValueError(answer["error"])
            typer.echo(json.dumps({"due": answer["due"]}) if as_json else answer["due"])
            return
        lines = sys.stdin if str(cases) == "-" else cases.open(encoding="utf-8")
        with lines:
            failed = False
            for answer in of_lines(lines, table):
                failed |= "error" in answer
                typer.echo(json.dumps(answer, ensure_ascii=False))
    if failed:
        raise typer.Exit(1)


def _calendar(name: str) -> Calendar:
    library = Library(files.read())
    _, file = library.newest_calendar(name)
    return library.compiled(file, file.hours["office"])


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
        except (ValueError, RecursionError):
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
            Gap(instant(start), None if end is None else instant(end), whole_dates)
            for start, end in case.get("pauses") or ()
        ]
        if any(gap.end is not None and gap.end < gap.start for gap in gaps):
            raise ValueError("a pause ends before it begins")
        amounts = [case["amount"], *(case.get("extension") or ())]
        if not all(type(amount) is int and amount >= 0 for amount in amounts):
            raise ValueError("amount and extension take whole numbers, 0 or more")
        due = counting.due(
            calendar,
            instant(case["received_at"]),
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
