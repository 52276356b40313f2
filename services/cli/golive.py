"""`gihan import` and `gihan staff`: what a municipality brings along when it goes live.

The one rule: whatever is sent twice is taken once. Each event keeps its id, so a run that broke off is run again.
"""

import asyncio
import csv
import io
import json
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.streams import import_subject
from deploy.joining import data_folder, environment_of
from services.chassis import broker, logs
from services.chassis.clock import RealClock
from services.chassis.logs import OperatorError, error_code
from services.chassis.settings import Settings
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Data, instant
from services.cli.running import read_tenants
from services.intake.judge import Refusal
from services.intake.parsing import parse
from services.rules import instants
from services.rules.tenants import Tenant

TOGETHER = 100
"""Events in one request."""
_ANSWER_SECONDS = 20.0
_PAUSE_SECONDS = 1.0
_TRIES = 60
_PASSING = ("held_back", "unavailable")
"""Refusals that may be gone a moment later."""
STAFF_FIELDS = ("staff", "name", "department", "phone", "email", "superior", "head")


class NotTaken(OperatorError):
    """Intake does not answer; says how far the file was taken."""


class Line(NamedTuple):
    """A line of a file, and the event that it holds; or why it holds none."""

    number: int
    event: dict[str, Any] | None
    refusal: Refusal | None = None


def import_command(
    file: Annotated[Path, typer.Argument(help="CloudEvents of open cases, as published, one a line.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Brings over the open cases of a municipality that goes live: events of any age, marked as imported."""
    with plain_errors(), file.open("rb") as lines:
        _bring(data, read_lines(lines), as_json)


def staff(
    file: Annotated[Path, typer.Argument(help="The city's directory: CSV with a head line, or a JSON array.")],
    tenant: Annotated[str, typer.Option(help="Whose directory.")],
    at: Annotated[str | None, typer.Option(help="RFC 3339: as of when; the same again changes nothing.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Describes the people behind staff ids; their names and numbers go into the vault."""
    with plain_errors():
        city = read_tenants().get(tenant)
        if city is None:
            raise ValueError(f"the tenants' file knows no {tenant}")
        moment = at or instants.text(asyncio.run(RealClock().now()), city.zone)
        instant(moment)
        form = "json" if file.suffix == ".json" else "csv"
        _bring(data, staff_events(file.read_text(encoding="utf-8-sig"), form, city, moment), as_json)


def _bring(data: Path | None, lines: Iterable[Line], as_json: bool) -> None:
    logs.configure("import", "critical")
    environment = os.environ if "NATS_URL" in os.environ else environment_of(data or data_folder(), "import")
    settings = Settings.from_env("import", environment)

    async def run() -> tuple[int, int]:
        total = refused = 0
        async for row in bring(settings, lines):
            total, refused = total + 1, refused + (row["status"] == "refused")
            if as_json:
                typer.echo(json.dumps(row, ensure_ascii=False))
            elif row["status"] == "refused":
                typer.echo(in_words(row))
        return total, refused

    total, refused = asyncio.run(run())
    if not as_json:
        typer.echo(f"events: {total}, refused: {refused}")
    if refused:
        raise typer.Exit(1)


def read_lines(lines: Iterable[bytes]) -> Iterator[Line]:
    """The events of a file, one a line; blank lines are passed over."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = parse(line)
        except Refusal as refusal:
            yield Line(number, None, refusal)
            continue
        named = isinstance(event, dict) and all(isinstance(event.get(name), str) for name in ("tenant", "source"))
        wrong = None if named else Refusal("not_an_event", "A line holds one event, with its tenant and source.", "")
        yield Line(number, event if named else None, wrong)


async def bring(settings: Settings, lines: Iterable[Line]) -> AsyncIterator[dict[str, Any]]:
    """Sends events the way that `gihan import` alone has; yields the answer to each line, with its number.

    Raises NotTaken when intake stays away for a minute. What was answered by then is taken.
    """
    nc = await broker.connect(settings)
    try:
        for way, together in groupby(lines, key=_way):
            waiting = list(together)
            while waiting:
                part, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
                if way is None:
                    answers = [_refused(line) for line in part]
                else:
                    answers = await _sent(nc, import_subject(*way), part)
                for line, answer in zip(part, answers, strict=True):
                    yield {"line": line.number, **answer}
    finally:
        await nc.close()


def _way(line: Line) -> tuple[str, str] | None:
    return None if line.event is None else (line.event["tenant"].lower(), line.event["source"].lower())


def _refused(line: Line) -> dict[str, Any]:
    assert line.refusal is not None
    return {"status": "refused", "code": line.refusal.code, "detail": line.refusal.detail}


async def _sent(nc: Client, subject: str, lines: list[Line]) -> list[dict[str, Any]]:
    """The answers to events of one source. What is held back is sent again after a pause, with all after it."""
    answers: list[dict[str, Any]] = []
    tries = 0
    while len(answers) < len(lines):
        body = json.dumps([line.event for line in lines[len(answers) :]]).encode()
        told: list[dict[str, Any]] = []
        cause = "held back"
        try:
            found = json.loads((await nc.request(subject, body, timeout=_ANSWER_SECONDS)).data)
            told = found if isinstance(found, list) else [found] * (len(lines) - len(answers))
        except (NatsError, TimeoutError, OSError) as error:
            cause = error_code(error)
        for answer in told:
            if answer.get("code") in _PASSING:
                break
            answers.append(answer)
            tries = 0
        if len(answers) < len(lines):
            tries += 1
            if tries > _TRIES:
                raise NotTaken(
                    f"Intake does not take line {lines[len(answers)].number} ({cause}). Look at whether it runs, then "
                    "run the same command again: what was taken is not taken twice."
                )
            await asyncio.sleep(_PAUSE_SECONDS)
    return answers


def staff_events(content: str, form: str, tenant: Tenant, at: str) -> Iterator[Line]:
    """The events that describe the people of a directory as it was `at` (RFC 3339), from CSV or JSON.

    Raises ValueError where the file is no directory. Columns or members: STAFF_FIELDS, of which superior, head and
    email may be missing.
    """
    rows = json.loads(content) if form == "json" else list(csv.DictReader(io.StringIO(content)))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("a directory is a CSV with a head line, or a JSON array of objects")
    if not rows:
        columns = ", ".join(STAFF_FIELDS)
        raise ValueError(f"a directory has the columns {columns} and a row for each person; none is here")
    for number, row in enumerate(rows, start=1):
        if extra := row.keys() - set(STAFF_FIELDS):
            raise ValueError(f"a directory has the columns {', '.join(STAFF_FIELDS)}; {len(extra)} others are here")
        data = {name: value for name, value in row.items() if value not in (None, "")}
        if isinstance(data.get("head"), str):
            data["head"] = data["head"].strip().lower() in ("true", "yes", "1")
        moment = "".join(filter(str.isdigit, at))
        yield Line(
            number,
            {
                "specversion": "1.0",
                "id": f"directory-{moment}-{str(data.get('staff', '')).lower()}",
                "source": tenant.administrator,
                "type": "staff.described",
                "subject": tenant.id,
                "time": at,
                "tenant": tenant.id,
                "data": data,
            },
        )


def in_words(row: dict[str, Any]) -> str:
    """A refused line for people."""
    return f"line {row['line']}: {row.get('pointer') or '/'}: {row['detail']} [{row['code']}]"
