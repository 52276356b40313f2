"""Reading what a report is counted from, as the running system knows it now.

The one rule: views alone, in one snapshot, a batch at a time; time that has passed but that no tick has said yet passes
here as it will there, so that the log says the same of that instant.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
import orjson

from contracts import files
from contracts.events import SURVEY_QUESTIONS
from contracts.streams import PARTITIONS, partition
from services.rules.choosing import rules_of
from services.rules.facts import decode_event
from services.rules.fold import refold
from services.rules.instants import Instant
from services.rules.reporting.counting import Counting
from services.rules.reporting.enacted import enacted
from services.rules.reporting.known import TAKING_BACK, Known, Posting, Settled, TakenBack
from services.rules.reporting.report import Report
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case

BATCH = 200
"""Cases that are counted at once, before other work of the process gets its turn."""

_CASES = "select standing from read.case_standings where tenant = $1"
_TAKEN_BACK = (
    "select kind, promise, coalesce(due, at) as at from read.decisions"
    " where tenant = $1 and kind = any($2) order by partition, number"
)
_STATED = (
    "select source, id, type, occurred, data from read.case_facts where tenant = $1 and not voided and type = $2"
    " order by occurred, sequence"
)
_SETTLED = "select key, remedy, at, declined, approved, paid, covered from read.remedy_outcomes where tenant = $1"
_decode = msgspec.json.Decoder(Case).decode


async def counted(pool: asyncpg.Pool, tenant: str, zone: ZoneInfo, year: int, now: Instant) -> Report:
    """The report of a year as known now. Raises ValueError where no charter is in force, and NotEnacted."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        rulebooks = await _rulebooks(connection)
        known = await _known(connection, tenant, now)
        there = enacted(rulebooks[partition(tenant, tenant)], tenant, now, zone)
        counting = Counting(known._replace(live_since=there.live_since), year, zone, there.charters)
        batch = 0
        async for row in connection.cursor(_CASES, tenant, prefetch=BATCH):
            counting.take(_as_of(_decode(row["standing"]), now, rulebooks))
            batch += 1
            if batch % BATCH == 0:
                await asyncio.sleep(0)
    return counting.report()


def _as_of(case: Case, now: Instant, rulebooks: Mapping[int, Rulebook]) -> Case:
    """The case when every instant before now has passed."""
    if case.next_at is None or case.next_at >= now or case.stuck:
        return case
    rulebook = rulebooks[partition(case.tenant, case.id)]
    return refold(case, None, now, rules_of(rulebook, case, None))[0]


async def _rulebooks(connection: asyncpg.pool.PoolConnectionProxy) -> dict[int, Rulebook]:
    rulebooks = {number: Rulebook(_library()) for number in range(PARTITIONS)}
    for row in await connection.fetch("select partition, sequence, body from read.enacted order by sequence"):
        rulebooks[row["partition"]].enact(decode_event(row["body"]), row["sequence"])
    return rulebooks


@cache
def _library() -> Library:
    """The files, whose reading takes a third of a second."""
    return Library(files.read())


async def _known(connection: asyncpg.pool.PoolConnectionProxy, tenant: str, now: Instant) -> Known:
    taken_back = await connection.fetch(_TAKEN_BACK, tenant, list(TAKING_BACK))
    answers = await connection.fetch(_STATED, tenant, "survey.answered")
    return Known(
        tenant,
        now,
        postings=postings(
            (row["occurred"], orjson.loads(row["data"]))
            for row in await connection.fetch(_STATED, tenant, "staff.described")
        ),
        taken_back=tuple(TakenBack(row["kind"], row["promise"] or "", row["at"]) for row in taken_back),
        settled={row["key"]: Settled(*tuple(row)[1:]) for row in await connection.fetch(_SETTLED, tenant)},
        answers={f"{row['source']}/{row['id']}": scores(orjson.loads(row["data"])) for row in answers},
    )


def postings(described: Iterable[tuple[Instant, Mapping[str, Any]]]) -> dict[str, tuple[Posting, ...]]:
    """To which departments the members of staff belonged, from descriptions in the order of time."""
    found: dict[str, list[Posting]] = defaultdict(list)
    for since, data in described:
        found[data["staff"]].append(Posting(since, data["department"]))
    return {staff: tuple(rows) for staff, rows in found.items()}


def scores(data: Mapping[str, Any]) -> dict[str, int]:
    """What somebody answered, by question, from the data of survey.answered."""
    return {question: data[question] for question in SURVEY_QUESTIONS if data.get(question) is not None}
