"""`gihan explain`: why a deadline is when it is, from a file of events or from the running system.

The one rule: it asks the same core by the same facts and rules as the fold; it decides nothing of its own.
"""

import asyncio
import json
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from contracts.streams import partition
from services.chassis import postgres
from services.chassis.settings import Settings
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Data, instant, language, settings_of_reader
from services.cli.simulate import new_world, read_events, simulate
from services.reading.explain import Explainer
from services.rules.explaining.answer import Answer, why
from services.rules.explaining.text import as_json, in_words
from services.rules.explaining.words import Language
from services.rules.facts import Event
from services.rules.instants import Instant
from services.rules.rulebook import Library


class Asked(NamedTuple):
    """A case, and a promise where one alone is asked for."""

    tenant: str
    case: str
    promise: str


def explain(
    case: Annotated[str, typer.Argument(help="TENANT/CASE")],
    promise: Annotated[str, typer.Argument(help="A promise of the charter or law; without it, all.")] = "",
    file: Annotated[
        Path | None, typer.Option(help="A file of events, as for simulate; else the running system.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="RFC 3339: as it was known at that time, and no later.")] = None,
    hindsight: Annotated[
        bool, typer.Option("--hindsight", help="With --at: as it was at that time by all that is known now.")
    ] = False,
    lang: Annotated[str, typer.Option(help="ko or en.")] = "ko",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Why the date is the date: the clause, every stretch that counts, every one that does not."""
    with plain_errors():
        about = asked(case, promise)
        spoken = language(lang)
        moment = None if at is None else instant(at)
        if file is None:
            found = asyncio.run(from_system(settings_of_reader(data), about, moment, hindsight))
        else:
            with file.open("rb") as lines:
                found = from_events(read_events(lines), about, moment, hindsight)
    typer.echo(as_text(found, spoken, as_json), nl=False)


def asked(name: str, promise: str) -> Asked:
    """TENANT/CASE as typed. Raises ValueError."""
    tenant, slash, case = name.partition("/")
    if not slash or not tenant or not case:
        raise ValueError("name the case as TENANT/CASE, such as anseong/m-2026-000123")
    return Asked(tenant, case.lower(), promise)


def from_events(
    events: list[Event], asked: Asked, at: Instant | None, hindsight: bool = False, library: Library | None = None
) -> tuple[Answer, ...]:
    """The answers about a case in a file of events: as it stands after the last of them, or as was known at `at`, or,
    in `hindsight`, as it was then by the whole file. Raises ValueError where there is nothing to explain."""
    world = new_world(library)
    for _ in simulate(events, None, world=world):
        pass
    place = world.partitions[partition(asked.tenant, asked.case)]
    case = place.cases.get((asked.tenant, asked.case))
    if case is None:
        return _found(None)
    recorded = {f"{event.source}/{event.id}": event.recorded for event in events if event.tenant == asked.tenant}
    return _found(why(case, place.clock, place.rulebook, recorded, asked.promise, at, hindsight))


async def from_system(
    settings: Settings, asked: Asked, at: Instant | None, hindsight: bool = False
) -> tuple[Answer, ...]:
    """The same about a case of the running system, as folded by now. Raises ValueError where there is nothing to
    explain, and DatabaseError."""
    pool = await postgres.connect_pool(settings, max_size=1)
    try:
        return _found(await Explainer(pool).explain(*asked, at, hindsight))
    finally:
        await pool.close()


def as_text(found: tuple[Answer, ...], language: Language, in_json: bool) -> str:
    """What is printed: sentences, or a JSON object a line."""
    if in_json:
        return "".join(json.dumps(as_json(one), ensure_ascii=False) + "\n" for one in found)
    return "\n".join(in_words(one, language) for one in found)


def _found(answers: tuple[Answer, ...] | None) -> tuple[Answer, ...]:
    if answers is None:
        raise ValueError(
            "nothing is known of this case by then; name it by the city's id and the case id of the publishing system "
            "(no receipt number), as in anseong/m-2026-000123"
        )
    if not answers:
        raise ValueError("the charter has no promise of this name, or the case has none at all by then")
    return answers
