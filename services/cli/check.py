"""`gihan check`: a file of events against the contract, without any server.

The one rule: a line is judged as intake would judge it, and what only the lines before it can tell is told beside.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from services.chassis.clock import RealClock
from services.chassis.http import MAX_BODY_BYTES
from services.cli.errors import plain_errors
from services.cli.options import AsJson, instant
from services.cli.running import read_tenants
from services.intake.api.events import MOST
from services.intake.check import Checked, Wrong, check_event
from services.intake.judge import Judged, Publisher, Refusal
from services.intake.parsing import parse
from services.rules.instants import Instant
from services.rules.tenants import Tenant


def check(
    file: Annotated[Path, typer.Argument(help="CloudEvents as published, one (or an array) a line; - for stdin.")],
    tenant: Annotated[str | None, typer.Option(help="Whose system sends them; default what each event says.")] = None,
    source: Annotated[str | None, typer.Option(help="The system that sends them, with --tenant.")] = None,
    at: Annotated[str | None, typer.Option(help="RFC 3339: as if sent at that time; default now.")] = None,
    as_json: AsJson = False,
) -> None:
    """What intake would say to a file of events, without any server; ends with 1 where a line is wrong."""
    with plain_errors():
        if (tenant is None) != (source is None):
            raise ValueError("give --tenant and --source together, or neither")
        sender = None if tenant is None or source is None else Publisher(tenant, source)
        now = asyncio.run(RealClock().now()) if at is None else instant(at)
        lines = sys.stdin.buffer if str(file) == "-" else file.open("rb")
        total = wrong = 0
        with lines:
            for row in check_lines(lines, sender, read_tenants(), now):
                total, wrong = total + 1, wrong + (not row["right"])
                for line in [json.dumps(row, ensure_ascii=False)] if as_json else in_words(row):
                    typer.echo(line)
    if not as_json:
        typer.echo(f"events: {total}, wrong: {wrong}")
    if wrong:
        raise typer.Exit(1)


def check_lines(
    lines: Iterable[bytes], publisher: Publisher | None, tenants: Mapping[str, Tenant], now: Instant
) -> Iterator[dict[str, Any]]:
    """For each event: the number of its line and, in an array, its place there; whether it is right, what is wrong, and
    what is only remarkable. Blank lines are passed over; one JSON text over many lines, as people write it, is one.
    """
    book = _Book(tenants)
    for number, line in enumerate(_texts(lines), start=1):
        if line.strip():
            for place, (found, notes) in _check(line, publisher, tenants, now, book):
                told = found.model_dump(exclude_none=True)
                yield {"line": number, **place, **told, **({"notes": notes} if notes else {})}


def _texts(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines; or all of them as one text, where the first is no JSON by itself and together they are."""
    rest = iter(lines)
    first = list(islice(rest, 1))
    if first and not _is_json(first[0]):
        size = 0
        for line in rest:
            first.append(line)
            size += len(line)
            if size > MAX_BODY_BYTES:
                break
        else:
            if _is_json(whole := b"".join(first)):
                first = [whole]
    return chain(first, rest)


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _check(
    line: bytes, publisher: Publisher | None, tenants: Mapping[str, Tenant], now: Instant, book: "_Book"
) -> Iterator[tuple[dict[str, int], tuple[Checked, list[str]]]]:
    """The place and the result of each event of a line, which holds one or an array of them."""
    try:
        value = parse(line)
    except Refusal as refusal:
        wrong = Wrong(pointer=refusal.pointer, code=refusal.code, detail=refusal.detail)
        yield {}, (Checked(right=False, wrong=[wrong]), [])
        return
    if not isinstance(value, list):
        yield {}, _check_one(value, publisher, tenants, now, book)
        return
    if not 1 <= len(value) <= MOST:
        detail = f"An array holds 1 to {MOST} events. Split a longer one."
        yield {}, (Checked(right=False, wrong=[Wrong(pointer="", code="wrong_number", detail=detail)]), [])
        return
    for place, one in enumerate(value, start=1):
        yield {"place": place}, _check_one(one, publisher, tenants, now, book)


def _check_one(
    value: Any, publisher: Publisher | None, tenants: Mapping[str, Tenant], now: Instant, book: "_Book"
) -> tuple[Checked, list[str]]:
    found, event = check_event(value, publisher, tenants, now)
    if event is None:
        return found, []
    wrong_beside, notes = book.enter(event)
    return found.model_copy(update={"right": not wrong_beside, "wrong": wrong_beside}), notes


class _Book:
    """What the lines so far have said: which ids were used for what, and who opened which case."""

    def __init__(self, tenants: Mapping[str, Tenant]) -> None:
        self._tenants = tenants
        self._content: dict[tuple[str, str, str], bytes] = {}
        self._owners: dict[tuple[str, str], str] = {}

    def enter(self, event: Judged) -> tuple[list[Wrong], list[str]]:
        """What is wrong or remarkable with an event after those before it."""
        content = hashlib.sha256(event.content).digest()
        known = self._content.setdefault(event.key, content)
        if known != content:
            detail = "This id was used on an earlier line, with other content. Give a new event a new id."
            return [Wrong(pointer="/id", code="other_content", detail=detail)], []
        case = (event.tenant.id, event.case)
        if event.opens and not event.municipal:
            self._owners.setdefault(case, event.source)
        owner = self._owners.get(case)
        if owner is None:
            return [], [] if event.municipal else ["no line before it opens its case: it would wait for the opening"]
        if event.source not in (owner, *event.tenant.partners):
            detail = "Another source opened this case: only its owner and the tenant's partners may report on it."
            return [Wrong(pointer="/subject", code="other_source", detail=detail)], []
        return [], []


def in_words(row: Mapping[str, Any]) -> Iterator[str]:
    """A line's result for people: nothing where all is well."""
    where = f"line {row['line']}" + (f", event {row['place']}" if "place" in row else "")
    where += f" ({row['id']})" if row.get("id") else ""
    for wrong in row["wrong"]:
        yield f"{where}: {wrong.get('pointer') or '/'}: {wrong['detail']} [{wrong['code']}]"
    for note in row.get("notes", ()):
        yield f"{where}: note: {note}"
