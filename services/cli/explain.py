"""`gihan explain`: why a deadline is when it is, from a file of events or from the running system.

The one rule: it asks the same core by the same facts and rules as the fold; it decides nothing of its own.
"""

import json
from typing import NamedTuple

from contracts.streams import partition
from services.chassis import postgres
from services.chassis.settings import Settings
from services.cli.simulate import new_world, simulate
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


def asked(name: str, promise: str) -> Asked:
    """TENANT/CASE as typed. Raises ValueError."""
    tenant, slash, case = name.partition("/")
    if not slash or not tenant or not case:
        raise ValueError("name the case as TENANT/CASE, such as anseong/m-2026-000123")
    return Asked(tenant, case.lower(), promise)


def language(name: str) -> Language:
    """ko or en. Raises ValueError."""
    if name == "ko":
        return "ko"
    if name == "en":
        return "en"
    raise ValueError("--lang is ko or en")


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
        raise ValueError("nothing is known of this case by then")
    if not answers:
        raise ValueError("the charter has no promise of this name, or the case has none at all by then")
    return answers
