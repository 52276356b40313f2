"""Counting how well a city kept its promises.

The one rule: the numbers are counted from the record, by nobody's hand. What still runs or no longer applies counts for
neither side.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

import asyncpg

from services.reading.explain import Explainer
from services.rules.calendar import OutOfCalendar
from services.rules.explaining.answer import why
from services.rules.explaining.explain import Explanation
from services.rules.instants import DAY, Instant

YEAR = 365 * DAY
SATISFIED = 4
"""From which answer of 5 on somebody counts as satisfied."""
FRESH_SECONDS = 30.0
"""How old the numbers may be: counting a year of a large city is no work for every visit."""

_KEPT = (
    "select promise, count(*) filter (where kept) as kept, count(*) as total from read.promises_kept"
    " where tenant = $1 and due > $2 group by promise"
)
_MISSED = (
    "select promise, count(*) filter (where kind = 'measure.breached')"
    " - count(*) filter (where kind = 'measure.retracted') as missed from read.decisions"
    " where tenant = $1 and at > $2 and kind like 'measure.%' group by promise"
)
_ANSWERS = (
    "select count(*) filter (where satisfaction >= $3) as satisfied, count(*) as total from read.survey_answers"
    " where tenant = $1 and at > $2"
)


class Numbers(NamedTuple):
    """What is counted of a city: kept and total by promise, misses of measures, the states of its duties, and how many
    of the answers to the survey were satisfied."""

    kept: Mapping[str, tuple[int, int]]
    missed: Mapping[str, int]
    duties: Mapping[str, list[str]]
    satisfied: tuple[int, int]


class Counter:
    """Counts what a city kept, once for all who look within half a minute."""

    def __init__(self, pool: asyncpg.Pool, explainer: Explainer) -> None:
        self._pool = pool
        self._explainer = explainer
        self._counted: dict[str, tuple[float, Numbers]] = {}
        self._lock = asyncio.Lock()

    async def numbers(self, tenant: str, now: Instant) -> Numbers:
        """The numbers of the last twelve months."""
        async with self._lock:
            at, numbers = self._counted.get(tenant, (0.0, None))
            if numbers is None or time.monotonic() - at > FRESH_SECONDS:
                numbers = await self._count(tenant, now - YEAR)
                self._counted[tenant] = time.monotonic(), numbers
            return numbers

    async def _count(self, tenant: str, since: Instant) -> Numbers:
        kept = await self._pool.fetch(_KEPT, tenant, since)
        missed = await self._pool.fetch(_MISSED, tenant, since)
        (answers,) = await self._pool.fetch(_ANSWERS, tenant, since, SATISFIED)
        return Numbers(
            {row["promise"]: (row["kept"], row["total"]) for row in kept},
            {row["promise"]: row["missed"] for row in missed if row["missed"] > 0},
            await self._duties(tenant),
            (answers["satisfied"], answers["total"]),
        )

    async def _duties(self, tenant: str) -> dict[str, list[str]]:
        """How the duties of the newest year stand, from the case of the city itself."""
        folded = await self._explainer.read(tenant, tenant)
        found: dict[str, list[str]] = {}
        try:
            answers = why(*folded) or () if folded is not None else ()
        except OutOfCalendar:
            return found
        runs = [one for one in answers if isinstance(one, Explanation) and one.kind == "duty"]
        newest = max((one.occurrence[:4] for one in runs), default="")
        for one in runs:
            if one.occurrence.startswith(newest):
                found.setdefault(one.promise, []).append(one.state)
        return found
