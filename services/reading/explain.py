"""Reading a case and the rules it is judged by, to explain its deadlines.

The one rule: it reads views alone, and the rules are those that the log enacted, as the fold read them.
"""

from typing import NamedTuple

import asyncpg
import msgspec

from contracts import files
from contracts.streams import partition
from services.rules.explaining.answer import Answer, why
from services.rules.facts import decode_event
from services.rules.instants import Instant
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case

_decode = msgspec.json.Decoder(Case).decode


class _Enacted(NamedTuple):
    sequence: int
    rulebook: Rulebook


class Folded(NamedTuple):
    """A case as folded by now, with all that is needed to say why; `clock` is that of its partition."""

    case: Case
    clock: Instant
    rulebook: Rulebook
    recorded: dict[str, Instant]


class Explainer:
    """Explains cases of the database; what it read of the rules it keeps and goes on from."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._library = Library(files.read())
        self._enacted: dict[int, _Enacted] = {}

    async def explain(
        self, tenant: str, case_id: str, promise: str = "", at: Instant | None = None, hindsight: bool = False
    ) -> tuple[Answer, ...] | None:
        """What `answer.why` says of a case as folded by now, or with `at` as it was known then.

        Raises OutOfCalendar for a case that the rules cannot date, and NotEnacted.
        """
        folded = await self.read(tenant, case_id)
        return None if folded is None else why(*folded, promise, at, hindsight)

    async def read(self, tenant: str, case_id: str) -> Folded | None:
        """A case as folded by now, None where nothing is folded of it yet. Raises NotEnacted."""
        number = partition(tenant, case_id)
        async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            standing = await connection.fetchval(
                'select standing from read.cases where tenant = $1 and "case" = $2', tenant, case_id
            )
            clock: Instant = await connection.fetchval(
                "select clock from read.fold_position where partition = $1", number
            )
            if standing is None:
                return None
            case = _decode(standing)
            recorded = await _recorded(connection, case)
            rulebook = await self._rulebook(connection, number)
        return Folded(case, clock, rulebook, recorded)

    async def _rulebook(self, connection: asyncpg.pool.PoolConnectionProxy, number: int) -> Rulebook:
        known = self._enacted.get(number) or _Enacted(0, Rulebook(self._library))
        rows = await connection.fetch(
            "select sequence, body from read.enacted where partition = $1 and sequence > $2 order by sequence",
            number,
            known.sequence,
        )
        for row in rows:
            known.rulebook.enact(decode_event(row["body"]), row["sequence"])
            known = known._replace(sequence=row["sequence"])
        self._enacted[number] = known
        return known.rulebook


async def _recorded(connection: asyncpg.pool.PoolConnectionProxy, case: Case) -> dict[str, Instant]:
    """When intake recorded the facts of a case, by key."""
    rows = await connection.fetch(
        "select source, id, recorded from read.event_fate"
        " where tenant = $1 and (source, id) in (select * from unnest($2::text[], $3::text[]))",
        case.tenant,
        [fact.source for fact in case.facts],
        [fact.id for fact in case.facts],
    )
    return {f"{row['source']}/{row['id']}": row["recorded"] for row in rows}
