"""`gihan backtest`: a history with known targets against a charter. How often do we agree?"""

import csv
import gzip
import json
import multiprocessing
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TextIO
from zoneinfo import ZoneInfo

import typer

from contracts import files
from services.cli.errors import plain_errors
from services.cli.options import AsJson
from services.cli.parallel import cores
from services.rules import instants
from services.rules.facts import Data, Fact
from services.rules.fold import fold
from services.rules.instants import SECOND, Instant
from services.rules.rulebook import Library, NotEnacted, Rulebook
from services.rules.state import Case

TOLERANCE_SECONDS = 150
COLUMNS = ("case_id", "opened_at", "target_at", "closed_at", "on_time", "type")
VERDICTS = {"ONTIME": False, "OVERDUE": True}
BATCH_ROWS = 2_000

Counts = tuple[int, int, int, int, int]


class Row(NamedTuple):
    """A request of the history: its target and end may be absent, and so may the city's own verdict."""

    case_id: str
    type: str
    opened: Instant
    target: Instant | None
    closed: Instant | None
    overdue: bool | None


class Result(NamedTuple):
    """How far we agree. Shares in percent of the count before them."""

    rows: int
    unreadable: list[str]
    with_target_and_known_type: int
    due_agrees: int
    closed_with_verdict: int
    verdict_agrees: int

    def as_json(self) -> dict[str, Any]:
        """Counts and percentages by name."""
        return {
            "rows": self.rows,
            "unreadable": len(self.unreadable),
            "unreadable_rows": self.unreadable,
            "with_target_and_known_type": self.with_target_and_known_type,
            "due_agrees": self.due_agrees,
            "due_agrees_percent": _percent(self.due_agrees, self.with_target_and_known_type),
            "closed_with_verdict": self.closed_with_verdict,
            "verdict_agrees": self.verdict_agrees,
            "verdict_agrees_percent": _percent(self.verdict_agrees, self.closed_with_verdict),
        }


def backtest_command(
    file: Annotated[Path, typer.Argument(help="CSV (or .csv.gz) with case_id, opened_at, target_at, closed_at, ...")],
    tenant: Annotated[str, typer.Option(help="Whose charter.")],
    workers: Annotated[int | None, typer.Option(help="Processes; default: every core.")] = None,
    as_json: AsJson = False,
) -> None:
    """A history with known targets against a charter: how often do we agree?"""
    with plain_errors():
        result = backtest(tenant, file, workers or cores()).as_json()
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    for line in result.pop("unreadable_rows"):
        typer.echo(f"unreadable: {line}", err=True)
    for name, value in result.items():
        typer.echo(f"{name.replace('_', ' '):<30} {value}{' %' if name.endswith('percent') else ''}")


def backtest(tenant: str, path: Path, workers: int = 1) -> Result:
    """Works out every request of a history by the tenant's charter, from receipt to completion, in so many processes.

    Raises NotEnacted for a tenant without a charter, and ValueError for a file without the columns.
    """
    library = Library(files.read())
    charter = library.charters_of(tenant)
    if not charter:
        raise NotEnacted(f"there is no charter of {tenant}; `gihan charter list` names those that there are")
    zone = library.newest_calendar(charter[0][1].calendar)[1].zone
    unreadable: list[str] = []
    with _open(path) as lines:
        batches = _batches(_rows(lines, zone, unreadable))
        if workers == 1:
            counts = [_counted(tenant, batch, Rulebook(library)) for batch in batches]
        else:
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                counts = list(pool.imap(_in_process, ((tenant, batch) for batch in batches)))
    rows, known, agrees, closed, same = (sum(column) for column in zip(*counts, (0, 0, 0, 0, 0), strict=True))
    return Result(rows + len(unreadable), unreadable, known, agrees, closed, same)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


@cache
def _rulebook() -> Rulebook:
    """One for each process."""
    return Rulebook(Library(files.read()))


def _in_process(work: tuple[str, list[Row]]) -> Counts:
    return _counted(*work, _rulebook())


def _counted(tenant: str, batch: list[Row], rulebook: Rulebook) -> Counts:
    """How many rows there are, with a known target, that agree with it, closed with a verdict, that agree with that."""
    known = agrees = closed = same = 0
    for row in batch:
        due, broken = _worked_out(tenant, row, rulebook)
        if row.target is None or due is None:
            continue
        known += 1
        agrees += abs(due - row.target) <= TOLERANCE_SECONDS * SECOND
        if row.closed is not None and row.overdue is not None:
            closed += 1
            same += broken == row.overdue
    return len(batch), known, agrees, closed, same


def _worked_out(tenant: str, row: Row, rulebook: Rulebook) -> tuple[Instant | None, bool]:
    """(due instant, whether the promise was broken) of a request, by the same fold that runs live."""
    rules = rulebook.rules_for(tenant, row.opened)
    case = Case(tenant, row.case_id)
    received = Fact(1, "history", "1", "complaint.received", row.opened, Data(service=row.type))
    case, _ = fold(case, received, 0, rules)
    due = next((deadline.due for deadline in case.deadlines), None)
    if row.closed is not None:
        case, _ = fold(case, Fact(2, "history", "2", "complaint.completed", row.closed), 0, rules)
    return due, any(deadline.state == "broken" for deadline in case.deadlines)


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return TextIOWrapper(gzip.open(path), encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _rows(lines: TextIO, zone: ZoneInfo, unreadable: list[str]) -> Iterator[Row]:
    reader = csv.DictReader(lines)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"the history lacks the columns {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
    for number, row in enumerate(reader, 2):
        try:
            opened = _instant(row["opened_at"], zone)
            if opened is None or not row["case_id"]:
                raise ValueError("opened_at or case_id is empty")
            yield Row(
                row["case_id"],
                row["type"],
                opened,
                _instant(row["target_at"], zone),
                _instant(row["closed_at"], zone),
                VERDICTS.get(row["on_time"]),
            )
        except (TypeError, ValueError) as error:
            unreadable.append(f"line {number}: {error}")


def _instant(text: str, zone: ZoneInfo) -> Instant | None:
    """An instant of a local time without an offset, or None for an empty text."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return instants.of_datetime(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
