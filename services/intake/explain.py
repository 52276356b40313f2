"""Reading a case and the rules it is judged by, to explain its deadlines.

The one rule: it reads views alone, and the rules are those that the log enacted, as the fold read them.
"""

from typing import NamedTuple

import asyncpg
import msgspec

from contracts import files
from contracts.streams import partition
from services.rules.explain import Explanation, of_case
from services.rules.facts import decode_event
from services.rules.instants import Instant
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case

_decode = msgspec.json.Decoder(Case).decode


class _Enacted(NamedTuple):
    sequence: int
    rulebook: Rulebook


class Explainer:
    """Explains cases of the database; what it read of the rules it keeps and goes on from."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._library = Library(files.read())
        self._enacted: dict[int, _Enacted] = {}

    async def explain(
        self, tenant: str, case_id: str, promise: str = "", at: Instant | None = None
    ) -> tuple[Explanation, ...] | None:
        """The runs of a promise (without one: of all) as they stand by the clock of the fold, or None where nothing
        is known of the case. With `at`: by what had happened then, as if that were all.

        Raises OutOfCalendar for a case that the rules cannot date, and NotEnacted.
        """
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
            rulebook = await self._rulebook(connection, number)
        case = _decode(standing)
        if at is not None:
            clock = at
            case = msgspec.structs.replace(case, facts=tuple(fact for fact in case.facts if fact.time <= at))
        return of_case(case, clock, rulebook, promise) if case.facts else None

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
