"""The holder of the lease: who alone writes the ledger, in transactions one after another."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from services.chassis.failpoints import failpoint
from services.chassis.outbox import Connection, Outbox
from services.notifier import gathering
from services.notifier.ledger.transaction import Fenced, Position, Recovery
from services.notifier.ledger.work import Work
from services.notifier.pacing import Pace
from services.notifier.tasks import store
from services.rules.instants import Instant
from services.rules.tenants import Tenant

LEASE = "notifier"


class Ledger:
    """Transactions of one holder of the lease, one at a time (so no two of them can wait for each other)."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        outbox: Outbox,
        tenants: Mapping[str, Tenant],
        paces: Mapping[str, Pace],
        generation: int,
    ) -> None:
        self.pool = pool
        self.tenants = tenants
        self._paces = paces
        self.outbox = outbox
        self._generation = generation
        self._turn = asyncio.Lock()
        self.changed = asyncio.Event()
        """Set when a transaction was committed, and then replaced: take it before you look, and wait for it after."""
        self.recovery: Recovery | None = None
        """Set while a lost ledger is worked out anew."""

    @asynccontextmanager
    async def writing(self, now: Instant) -> AsyncIterator[Work]:
        """A transaction; `now` dates what it tells. Raises Fenced where another notifier has taken over."""
        async with self._turn, self.pool.acquire() as connection, connection.transaction():
            await self._check_turn(connection, "FOR SHARE")
            # The pool's proxy is a connection in all but its type.
            work = Work(cast(asyncpg.Connection, connection), self.tenants, self._paces, now, self.recovery)
            yield work
            await work.close(self.outbox)
        self.outbox.wake()
        self.changed.set()
        self.changed = asyncio.Event()

    def reading(self, connection: asyncpg.Connection | PoolConnectionProxy, now: Instant) -> Work:
        """What a transaction would see, for whoever only looks."""
        return Work(cast(asyncpg.Connection, connection), self.tenants, self._paces, now)

    async def check_turn(self) -> None:
        """Raises Fenced where another notifier has taken over: one that slept must not call a gateway any more."""
        await self._check_turn(self.pool)

    async def _check_turn(self, connection: Connection | asyncpg.Pool, lock: str = "") -> None:
        held = await connection.fetchval(
            f"SELECT 1 FROM chassis.leases WHERE name = $1 AND generation = $2 {lock}",  # noqa: S608 - a constant
            LEASE,
            self._generation,
        )
        if held is None:
            raise Fenced("Another notifier has taken over; this one has stopped and waits for its turn.")

    async def position(self, log: str) -> Position:
        """How far a log is folded."""
        row = await self.pool.fetchrow("SELECT sequence, stream_id, digest FROM notifier.position WHERE log = $1", log)
        assert row is not None
        return Position(*row)

    async def recover(self, now: Instant, means: str, tenants: Sequence[str]) -> int:
        """Attempts by a means that were left without a result become unknown; returns how many."""
        async with self.writing(now) as work:
            rows = await work.connection.fetch(
                "UPDATE notifier.notices SET state = 'unknown' WHERE state = 'sending' AND means = $1 "
                "AND tenant = ANY($2::text[]) RETURNING *",
                means,
                list(tenants),
            )
            for row in rows:
                await work.end_attempt(row, "unanswered", "interrupted")
                work.tell_result(row, "unknown", "interrupted")
        return len(rows)

    async def release(self, now: Instant) -> Instant | None:
        """Lets go what was held until `now`; returns the next instant at which something is due to be let
        go.
        """
        async with self.writing(now) as work:
            notices = await work.connection.fetch(
                "SELECT * FROM notifier.notices WHERE state = 'held' AND release_at <= $1 ORDER BY number",
                now,
            )
            views = await work.views({(row["tenant"], row["case_id"]) for row in notices})
            for group in await gathering.grouped(work, notices):
                if len(group) == 1 or work.doubtful(group) or not await gathering.say_as_one(work, group, views):
                    for row in group:
                        await work.plan(row, views[row["tenant"], row["case_id"]])
            await failpoint("release.after_messages")
            await store.release(work)
        return await self.next_release()

    async def next_release(self) -> Instant | None:
        """The earliest instant at which something held is to be let go."""
        found: Instant | None = await self.pool.fetchval(
            "SELECT least(next_release, (SELECT next_overdue FROM read.tasks_overdue)) FROM read.notifier"
        )
        return found

    async def tellings(self, limit: int) -> list[asyncpg.Record]:
        """What publishers are still to be told, in order."""
        return await self.pool.fetch("SELECT * FROM notifier.tellings ORDER BY number LIMIT $1", limit)

    async def told(self, numbers: Collection[int]) -> None:
        """RECEIPTS has acknowledged these."""
        await self.pool.execute("DELETE FROM notifier.tellings WHERE number = ANY($1::bigint[])", list(numbers))


async def wait(changed: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set, or after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await changed.wait()
