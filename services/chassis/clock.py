"""The clock: the only reader of the time of day in Gihan.

The one rule it protects: everything that asks what time it is asks here, so that a driver who steps the
clock moves the whole system. Instants are integers: microseconds since 1970-01-01T00:00:00Z.
"""

import asyncio
import time
from contextlib import suppress

import asyncpg

from services.chassis import postgres
from services.chassis.logs import OperatorError, error_code, get_logger
from services.chassis.settings import Settings

Instant = int
"""Microseconds since 1970-01-01T00:00:00Z."""

_LONGEST_WAIT_SECONDS = 1.0


class ClockError(OperatorError):
    """The clock was asked to go backwards, or a real clock was stepped."""


class RealClock:
    """The machine's time of day."""

    async def now(self) -> Instant:
        """The present instant."""
        return time.time_ns() // 1000

    async def wait(self, until: Instant | None) -> None:
        """Returns when `until` has come, or after a second at most: callers look again and wait again."""
        seconds = _LONGEST_WAIT_SECONDS if until is None else (until - await self.now()) / 1e6
        # The time of day may be set while we sleep, so a sleep is never longer than a second.
        await asyncio.sleep(min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS))

    async def close(self) -> None:
        """Nothing to give back."""


class SteppedClock:
    """The time that a driver has set in the row chassis.clock, the same for every process."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._ear: asyncpg.Connection | None = None
        self._moved = asyncio.Event()

    async def now(self) -> Instant:
        """The instant in the row, read anew each time."""
        return int(await self._pool.fetchval("select now from chassis.clock"))

    async def wait(self, until: Instant | None) -> None:
        """Returns when the clock has reached `until`, when it was moved, or after a second at most."""
        await self._listen()
        moved = self._moved  # taken before the look, so that a step in between is not missed
        if until is None or await self.now() < until:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
                    await moved.wait()

    async def close(self) -> None:
        """Stops listening."""
        if self._ear is not None:
            ear, self._ear = self._ear, None
            await ear.close()

    async def _listen(self) -> None:
        """A lost connection costs promptness, not correctness: each wait ends after a second and tries again."""
        if self._ear is not None and not self._ear.is_closed():
            return
        try:
            self._ear = await postgres.connect(self._settings)
            await self._ear.add_listener("clock", lambda *_: self._wake())
        except (*postgres.LOST, asyncpg.PostgresError, OperatorError) as error:
            get_logger().warning("clock_not_listening", error=error_code(error))

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


Clock = RealClock | SteppedClock


async def open_clock(settings: Settings, pool: asyncpg.Pool) -> Clock:
    """The clock that `settings.clock` names. Close it before the pool."""
    return SteppedClock(settings, pool) if settings.clock == "stepped" else RealClock()


async def step(pool: asyncpg.Pool, instant: Instant) -> None:
    """Moves the stepped clock forward to `instant` and wakes all who wait. Raises ClockError on a step back."""
    async with pool.acquire() as connection, connection.transaction():
        moved = await connection.fetchval("update chassis.clock set now = $1 where now <= $1 returning now", instant)
        if moved is None:
            raise ClockError("The clock cannot go backwards: step it to its present instant or a later one.")
        await connection.execute("notify clock")
