"""A lease: at most one active holder of a piece of work, by an advisory lock on a session of its own.

The one rule: the lock and the generation go together. Whoever takes the lock raises the generation, and every
transaction of the work carries the generation it was given, so a holder that lost the lock changes nothing.
"""

import asyncio
import zlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

import asyncpg

from services.chassis import postgres
from services.chassis.failpoints import failpoint
from services.chassis.settings import Settings

PING_SECONDS = 1.0

_END_HOLDER = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 7140 "
    "AND objid = ($1::int::bigint & 4294967295)::oid AND objsubid = 2 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Lease:
    """Holds the advisory lock named `name` until closed; `lost` is set when the session is gone.

    `async with Lease(settings, name)` waits until the lock is free, and calls `waiting` each time that it is not; with
    `evict` the session of its present holder is ended, who loses the lease as if its connection had broken.
    `generation` rises with every holder.
    """

    def __init__(
        self, settings: Settings, name: str, waiting: Callable[[], None] = lambda: None, evict: bool = False
    ) -> None:
        self.name = name
        self.generation = 0
        self.lost = asyncio.Event()
        self._settings = settings
        self._waiting = waiting
        self._evict = evict
        self._connection: asyncpg.Connection | None = None
        self._pinger: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._connection = connection = await postgres.connect(self._settings)
        try:
            # A frozen holder must lose the lock: the server ends a session that stays silent.
            await connection.execute("SET idle_session_timeout = '5s'")
            key = zlib.crc32(self.name.encode()) - 2**31
            # Not pg_advisory_lock: a wait inside the server could not be pinged.
            while not await connection.fetchval("SELECT pg_try_advisory_lock(7140, $1)", key):
                self._waiting()
                if self._evict:
                    await connection.execute(_END_HOLDER, key)
                await asyncio.sleep(0.2)
            await failpoint("lease.after_lock")
            self.generation = await connection.fetchval(
                "INSERT INTO chassis.leases (name, generation) VALUES ($1, 1) "
                "ON CONFLICT (name) DO UPDATE SET generation = chassis.leases.generation + 1 RETURNING generation",
                self.name,
            )
        except BaseException:
            connection.terminate()
            raise
        connection.add_termination_listener(lambda _: self.lost.set())
        self._pinger = asyncio.create_task(self._ping(), name=f"lease {self.name}")
        return self

    async def _ping(self) -> None:
        assert self._connection is not None
        while True:
            try:
                await self._connection.execute("SELECT 1", timeout=2)
            except (*postgres.LOST, asyncpg.PostgresError):
                self.lost.set()
                return
            await asyncio.sleep(PING_SECONDS)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pinger is not None:
            self._pinger.cancel()
        if self._connection is not None:
            self._connection.terminate()
