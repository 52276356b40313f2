"""`gihan backtest`: a history with known targets against a charter. How often do we agree?"""

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from io import TextIOWrapper
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple, TextIO
from zoneinfo import ZoneInfo

import typer

from contracts import files
from services.cli.errors import plain_errors
from services.cli.options import AsJson
from services.cli.parallel import START, cores
from services.cli.progress import Tell, progress, to_nobody
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

Line = tuple[int, tuple[str, ...]]
"""A line of the history by its number: what stands in each of COLUMNS."""


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
    with plain_errors(), progress(prints=False) as tell:
        result = backtest(tenant, file, workers or cores(), tell).as_json()
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    for line in result.pop("unreadable_rows"):
        typer.echo(f"unreadable: {line}", err=True)
    for name, value in result.items():
        typer.echo(f"{name.replace('_', ' '):<30} {value}{' %' if name.endswith('percent') else ''}")


def backtest(tenant: str, path: Path, workers: int = 1, tell: Tell = to_nobody) -> Result:
    """Works out every request of a history by the tenant's charter, from receipt to completion, in so many processes;
    `tell` hears from time to time how many bytes of the file are behind it.

    Raises NotEnacted for a tenant without a charter, and ValueError for a file without the columns.
    """
    library = Library(files.read())
    charter = library.charters_of(tenant)
    if not charter:
        raise NotEnacted(f"there is no charter of {tenant}; `gihan charter list` names those that there are")
    zone = library.newest_calendar(charter[0][1].calendar)[1].zone
    counted: list[Result] = []
    with path.open("rb") as file, _text(path, file) as text, _workers(workers) as mapped:
        stands = [0]
        batches = ((tenant, zone, batch) for batch in _batches(_lines(text), file, stands))
        for number, result in enumerate(mapped(_counted, batches), 1):
            counted.append(result)
            tell("counting", stands[number] - stands[number - 1], path.stat().st_size)
    return Result(
        sum(one.rows for one in counted),
        [words for one in counted for words in one.unreadable],
        sum(one.with_target_and_known_type for one in counted),
        sum(one.due_agrees for one in counted),
        sum(one.closed_with_verdict for one in counted),
        sum(one.verdict_agrees for one in counted),
    )


def _batches(lines: Iterator[Line], file: BinaryIO, stands: list[int]) -> Iterator[list[Line]]:
    """Some lines at a time; of each batch it is noted how far into the file they reach."""
    while batch := list(islice(lines, BATCH_ROWS)):
        stands.append(file.tell())
        yield batch


@contextmanager
def _workers(number: int) -> Iterator[Callable[..., Iterator[Result]]]:
    """What maps a function over arguments in so many processes, in their order."""
    if number == 1:
        yield map
        return
    with START.Pool(number) as pool:
        yield pool.imap


@cache
def _rulebook() -> Rulebook:
    """One for each process."""
    return Rulebook(Library(files.read()))


def _counted(work: tuple[str, ZoneInfo, list[Line]]) -> Result:
    """How far we agree about some lines."""
    tenant, zone, batch = work
    rulebook, unreadable = _rulebook(), list[str]()
    known = agrees = closed = same = 0
    for number, fields in batch:
        try:
            row = _row(dict(zip(COLUMNS, fields, strict=True)), zone)
        except (TypeError, ValueError) as error:
            unreadable.append(f"line {number}: {error}")
            continue
        due, broken = _worked_out(tenant, row, rulebook)
        if row.target is None or due is None:
            continue
        known += 1
        agrees += abs(due - row.target) <= TOLERANCE_SECONDS * SECOND
        if row.closed is not None and row.overdue is not None:
            closed += 1
            same += broken == row.overdue
    return Result(len(batch), unreadable, known, agrees, closed, same)


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


def _text(path: Path, file: BinaryIO) -> TextIO:
    """What stands in an open file, unpacked where its name says that it is packed."""
    return TextIOWrapper(gzip.open(file) if path.suffix == ".gz" else file, encoding="utf-8", newline="")


def _lines(text: TextIO) -> Iterator[Line]:
    """The lines of a history. Raises ValueError where it lacks a column."""
    reader = csv.DictReader(text)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"the history lacks the columns {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
    wanted = itemgetter(*COLUMNS)
    for number, row in enumerate(reader, 2):
        yield number, wanted(row)


def _row(row: Mapping[str, str], zone: ZoneInfo) -> Row:
    """A request of the history. Raises ValueError where it has no id or receipt, or a time is none."""
    opened = _instant(row["opened_at"], zone)
    if opened is None or not row["case_id"]:
        raise ValueError("opened_at or case_id is empty")
    return Row(
        row["case_id"],
        row["type"],
        opened,
        _instant(row["target_at"], zone),
        _instant(row["closed_at"], zone),
        VERDICTS.get(row["on_time"]),
    )


def _instant(text: str, zone: ZoneInfo) -> Instant | None:
    """An instant of a local time without an offset, or None for an empty text."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return instants.of_datetime(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
