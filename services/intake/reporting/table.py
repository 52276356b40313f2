"""The report as CSV (RFC 4180): one number a row, for whoever counts on.

The one rule: no cell is a formula to a spreadsheet, whatever a department is called; what is withheld is *, and what is
not counted is empty.
"""

import csv
import io
from collections.abc import Iterator
from unicodedata import normalize
from zoneinfo import ZoneInfo

from services.rules import instants
from services.rules.reporting.report import Amends, Answers, Handling, Report, Tally

HEAD = ("part", "name", "department", "month", "number", "value")
_Row = tuple[str, str, str, str, str, str | int]

_UTC = ZoneInfo("UTC")
BOM = "\ufeff"
_FORMULA = ("=", "+", "-", "@", "|", "%")


def table(report: Report, bom: bool = False) -> bytes:
    """The file. `month` is empty for the year, `department` for the city; times are in minutes, averages in hundredths.
    With `bom` spreadsheets know that it is UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEAD)
    writer.writerows([harmless(cell) for cell in row] for row in _rows(report))
    return ((BOM if bom else "") + text.getvalue()).encode()


def harmless(cell: str | int) -> str | int:
    """A cell that no spreadsheet works out: text that begins like a formula gets an apostrophe before it."""
    if isinstance(cell, str) and normalize("NFKC", cell).lstrip().startswith(_FORMULA):
        return f"'{cell}"
    return cell


def _rows(report: Report) -> Iterator[_Row]:
    as_of = instants.text(report.as_of, _UTC)
    for name, value in (
        ("tenant", report.tenant),
        ("year", report.year),
        ("as_of", as_of),
        ("charter", report.charter),
        ("cases", report.cases),
        ("stuck", report.stuck),
    ):
        yield ("report", "", "", "", name, value)
    for line in report.lines:
        for month, tally in _by_month(line.months, line.year):
            yield from _tally((line.group, line.promise, "", month), tally, line.judged)
        yield (line.group, line.promise, "", "", "retracted", line.retracted)
        for place in line.places:
            for month, tally in _by_month(place.months, place.year):
                yield from _tally((line.group, line.promise, place.department, month), tally, line.judged)
        if line.values is not None:
            for number in ("count", "middle", "ninth", "yes"):
                if (value := getattr(line.values, number)) is not None:
                    yield (line.group, line.promise, "", "", f"{line.values.field} {number}", value)
    for duty in report.duties:
        yield ("duties", duty.promise, "", "", " ".join(duty.wants), duty.state)
    yield from _compensation(report)
    for part, rows in (
        ("", [report.times.year]),
        ("kind", report.times.kinds),
        ("department", report.times.departments),
        ("month", report.times.months),
    ):
        for row in rows:
            yield from _handling(part, row)
    year, months = (report.survey.closed, report.survey.answered), report.survey.months
    for where, (closed, answered) in (("", year), *((str(month), pair) for month, pair in enumerate(months, 1))):
        if closed or not where:
            yield ("survey", "", "", where, "closed", closed)
            yield ("survey", "", "", where, "answered", answered)
    for question in report.survey.questions:
        for where, answers in (("", [question.year]), ("month", question.months), ("department", question.departments)):
            for said in answers:
                yield from _answers(question.question, where, said)


def _by_month(months: tuple[Tally | None, ...], year: Tally) -> Iterator[tuple[str, Tally | None]]:
    yield "", year
    for month, tally in enumerate(months, 1):
        yield str(month), tally


def _tally(where: tuple[str, str, str, str], tally: Tally | None, judged: bool) -> Iterator[_Row]:
    for number in ("kept", "broken", "open", "void") if judged else ("broken",):
        value = "*" if tally is None else getattr(tally, number)
        if value:
            yield (*where, number, value)


def _compensation(report: Report) -> Iterator[_Row]:
    book = report.compensation
    yield ("compensation", "", "", "", "currency", book.currency)
    yield ("compensation", "", "", "", "withdrawn", book.withdrawn)
    rows: list[tuple[tuple[str, str, str, str], Amends]] = [(("compensation", "", "", ""), book.year)]
    rows += [(("compensation", "", "", str(month)), amends) for month, amends in enumerate(book.months, 1)]
    rows += [(("compensation", one.name or "fault", "", ""), one.amends) for one in book.promises]
    rows += [(("compensation", "", one.name, ""), one.amends) for one in book.departments]
    for where, amends in rows:
        for number in ("proposed", "declined", "unsaid", "owed", "paid"):
            if (value := getattr(amends, number)) or where[1:] == ("", "", ""):
                yield (*where, number, value)


def _handling(part: str, row: Handling) -> Iterator[_Row]:
    name = row.name if part == "kind" else ""
    department = row.name if part == "department" else ""
    month = row.name if part == "month" else ""
    if row.count:
        yield ("times", name, department, month, "count", row.count)
        yield ("times", name, department, month, "middle", row.minutes or 0)


def _answers(question: str, part: str, row: Answers) -> Iterator[_Row]:
    department = row.name if part == "department" else ""
    month = row.name if part == "month" else ""
    if row.scores is None:
        yield ("survey", question, department, month, "answers", "*")
        return
    for score, count in enumerate(row.scores, 1):
        if count:
            yield ("survey", question, department, month, f"score {score}", count)
    if row.hundredths is not None:
        yield ("survey", question, department, month, "average", row.hundredths)
