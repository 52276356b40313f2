"""The shelf: reports as counted of late, for all who look.

The one rule: counting a city's year is no work for every visit; what is shown says as of when it is.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import asyncpg

from services.chassis.clock import Clock
from services.intake.pages.words import Language, Speaker
from services.intake.reporting.document import speaker_of
from services.intake.reporting.live import counted
from services.rules.reporting.report import Report
from services.rules.tenants import Tenant

FRESH_SECONDS = 600.0
"""How old a report may be."""


class _Copy(NamedTuple):
    made: float
    report: Report
    printed: dict[Language, bytes]


class Shelf:
    """Counts each report once for all who look within ten minutes, one after the other."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock, now: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._now = now
        self._copies: dict[tuple[str, int], _Copy] = {}
        self._lock = asyncio.Lock()

    async def report(self, tenant: Tenant, year: int) -> Report:
        """The report of a year. Raises ValueError where no charter is in force, and NotEnacted."""
        return (await self._copy(tenant, year)).report

    async def printed(self, tenant: Tenant, year: int, language: Language) -> bytes:
        """The same as PDF."""
        copy = await self._copy(tenant, year)
        async with self._lock:
            if language not in copy.printed:
                speaker = speaker_of(language, tenant.zone)
                # Laying out a document takes half a second, for which everybody else would wait.
                copy.printed[language] = await asyncio.to_thread(_printed, copy.report, speaker)
        return copy.printed[language]

    async def _copy(self, tenant: Tenant, year: int) -> _Copy:
        async with self._lock:
            copy = self._copies.get((tenant.id, year))
            if copy is None or self._now() - copy.made > FRESH_SECONDS:
                report = await counted(self._pool, tenant.id, tenant.zone, year, await self._clock.now())
                copy = self._copies[tenant.id, year] = _Copy(self._now(), report, {})
            return copy


def _printed(report: Report, speaker: Speaker) -> bytes:
    # Loaded with the first document: what draws would be a fifth of every start of the service.
    from services.intake.reporting.printed import printed

    return printed(report, speaker)
