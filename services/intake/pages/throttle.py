"""How often somebody may try: four digits are guessed in ten thousand tries, so nobody is given that many.

The one rule: a try counts before it is looked at, in the database, so that neither many at a time nor many processes
nor a restart give more of them.
"""

import asyncpg

from services.chassis.links import Signer
from services.rules.instants import HOUR, Instant

PERIOD = HOUR
"""Tries count for so long from the first on, in microseconds."""


class Throttle:
    """Counts tries by what they are about, of which it keeps a keyed digest alone."""

    def __init__(self, pool: asyncpg.Pool, signer: Signer) -> None:
        self._pool = pool
        self._signer = signer

    async def allows(self, limit: int, now: Instant, *about: str) -> bool:
        """Counts one more try; whether it is among the first `limit` of this hour."""
        tries: int = await self._pool.fetchval(
            "insert into intake.tries as t values ($1, 1, $2) on conflict (digest) do update set"
            " tries = case when t.since <= $2 - $3 then 1 else t.tries + 1 end,"
            " since = case when t.since <= $2 - $3 then $2 else t.since end returning tries",
            self._signer.digest("try", *about),
            now,
            PERIOD,
        )
        if tries == 1:
            await self._pool.execute("delete from intake.tries where since <= $1", now - PERIOD)
        return tries <= limit

    async def forget(self, *about: str) -> None:
        """Starts again from none: the right answer was given."""
        await self._pool.execute("delete from intake.tries where digest = $1", self._signer.digest("try", *about))
