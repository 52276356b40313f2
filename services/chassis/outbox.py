"""The numbered outbox and its relay: what a fold decided goes to a stream once, in order.

The one rule: a number is published at most once. Every batch is closed by a marker that carries the last number and
the hash chain up to it, written with the previous marker's sequence as the expected one; after a lost reply, a crash
or a lost database the marker in the log says what already stands, and nothing up to it goes out again.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Sequence

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from nats.aio.client import Client

from services.chassis import broker
from services.chassis.cursor import LogCursor, reconnects
from services.chassis.failpoints import failpoint
from services.chassis.health import Part
from services.chassis.logs import OperatorError

Connection = asyncpg.Connection | PoolConnectionProxy

BATCH_MESSAGES = 998
IDLE_SECONDS = 1.0
READ_SECONDS = 1.0


class ChainBroken(OperatorError):
    """The log holds other bytes than the outbox under a number: this outbox is not the one that wrote the log."""


class Outbox:
    """Rows of `table` (lane, number, subject, body) relayed to `stream`, a lane at a time.

    `relay_table` keeps per lane what was sent: (lane, sent, chain, marker_sequence).
    """

    def __init__(
        self, *, stream: str, table: str, relay_table: str, mark: Callable[[int], str], lanes: Sequence[int]
    ) -> None:
        self._stream = stream
        self._table = table
        self._relay_table = relay_table
        self._mark = mark
        self._lanes = lanes
        self._stands: dict[int, int] = {}
        """Of lanes whose outbox is being worked out anew: the number up to which the log has them already."""
        self._doubted = set(lanes)
        """Lanes of which messages may stand in the log after the last marker."""
        self._wake = asyncio.Event()
        self._waiting_since: float | None = None

    @property
    def age_seconds(self) -> float:
        """For how long rows have been waiting without a pause (monotonic); 0 where none waits."""
        return 0.0 if self._waiting_since is None else time.monotonic() - self._waiting_since

    def wake(self) -> None:
        """Says that rows were committed."""
        self._wake.set()

    async def append(self, connection: Connection, lane: int, messages: Sequence[tuple[str, bytes]]) -> int:
        """Adds messages to a lane inside the caller's transaction, numbered on from its last; returns the last.

        The caller is the lane's only writer (a lease says so): numbers are read, not drawn from a sequence, which
        could leave holes.
        """
        last = await connection.fetchval(
            f"SELECT coalesce(max(number), 0) FROM {self._table} WHERE lane = $1",  # noqa: S608 - a constant
            lane,
        )
        await connection.executemany(
            f"INSERT INTO {self._table} (lane, number, subject, body) VALUES ($1, $2, $3, $4)",  # noqa: S608
            [(lane, last + place, subject, body) for place, (subject, body) in enumerate(messages, 1)],
        )
        return int(last) + len(messages)

    async def run(self, nc: Client, pool: asyncpg.Pool, part: Part) -> None:
        """Relays until cancelled. Errors of the log or the database are for the caller, who starts it again."""
        connection = -1
        while True:
            await failpoint("relay.before_pass")
            if connection != reconnects(nc):  # what answers now may be another log
                connection = reconnects(nc)
                for lane in self._lanes:
                    await self._settle(nc, pool, lane)
            self._wake.clear()
            busy = [lane for lane in await self._lanes_with_rows(pool) if lane in self._lanes]
            if not busy and not self._stands:
                self._waiting_since = None
            elif self._waiting_since is None:
                self._waiting_since = time.monotonic()
            # One batch of each lane is under way at a time: while the log makes one durable, others are on their way.
            done = await asyncio.gather(*(self._relay(nc, pool, lane) for lane in busy), return_exceptions=True)
            for error in done:
                if error is not None:
                    raise error
            part.beat()
            if not busy:
                try:
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _lanes_with_rows(self, pool: asyncpg.Pool) -> list[int]:
        rows = await pool.fetch(
            f"SELECT r.lane, r.sent, (SELECT max(o.number) FROM {self._table} o WHERE o.lane = r.lane) AS last "  # noqa: S608
            f"FROM {self._relay_table} r ORDER BY r.lane"
        )
        return [
            row["lane"]
            for row in rows
            if row["last"] is not None and row["last"] >= max(row["sent"] + 1, self._stands.get(row["lane"], 0))
        ]

    async def _relay(self, nc: Client, pool: asyncpg.Pool, lane: int) -> None:
        await self._publish(nc, pool, lane)
        await failpoint("relay.after_lane")

    async def _publish(self, nc: Client, pool: asyncpg.Pool, lane: int) -> None:
        if self._stands.pop(lane, 0):
            await self._settle(nc, pool, lane)
            return
        state = await self._state(pool, lane)
        rows = await pool.fetch(
            f"SELECT number, subject, body FROM {self._table} WHERE lane = $1 AND number > $2 "  # noqa: S608
            "ORDER BY number LIMIT $3",
            lane,
            state["sent"],
            BATCH_MESSAGES,
        )
        if not rows:
            return
        standing = await self._standing(nc, lane, state["marker_sequence"]) if lane in self._doubted else []
        if len(standing) > len(rows):  # another instance's relay is at it, with more
            await self._settle(nc, pool, lane)
            return
        if standing != [row["body"] for row in rows[: len(standing)]]:
            raise ChainBroken(
                f"{self._stream} lane {lane}: after its last marker the log holds messages that this outbox did not "
                "write; find out who did before starting again"
            )
        chain = state["chain"]
        for row in rows:
            chain = link(chain, row["body"])
        marker = json.dumps({"last": rows[-1]["number"], "chain": chain.hex()}).encode()
        try:
            sequence = await broker.publish_batch(
                nc,
                [(row["subject"], row["body"]) for row in rows[len(standing) :]],
                (self._mark(lane), marker),
                state["marker_sequence"],
            )
        except (broker.BatchRefused, broker.BatchUnknown):
            self._doubted.add(lane)
            await self._settle(nc, pool, lane)
            return
        self._doubted.discard(lane)
        await failpoint("relay.after_publish")
        await self._sent(pool, lane, rows[-1]["number"], chain, sequence)

    async def _standing(self, nc: Client, lane: int, marker: int) -> list[bytes]:
        """What the log holds of a lane after its last marker: the beginning of a batch.

        A batch is stored whole or not at all, but for one case: its disk refused a write in the middle.
        """
        subject = f"{self._stream.lower()}.{lane}.>"
        found = await broker.last_message(nc, self._stream, subject)
        bodies: list[bytes] = []
        if found is None or found[0] <= marker:
            return bodies
        async with LogCursor(nc, stream=self._stream, after=marker, subject=subject) as cursor:
            last = marker
            while last < found[0]:
                for entry in await cursor.read(BATCH_MESSAGES, READ_SECONDS):
                    last = entry.sequence
                    bodies.append(entry.data)
        return bodies

    async def _settle(self, nc: Client, pool: asyncpg.Pool, lane: int) -> None:
        """Takes over what the log's last marker says was published, after checking that it is our own."""
        await pool.execute(
            f"INSERT INTO {self._relay_table} (lane, sent, chain, marker_sequence) VALUES ($1, 0, $2, 0) "  # noqa: S608
            "ON CONFLICT (lane) DO NOTHING",
            lane,
            b"",
        )
        # Read before the marker: another instance's relay may write both in between, and then the marker is ahead.
        state = await self._state(pool, lane)
        found = await broker.last_message(nc, self._stream, self._mark(lane))
        sequence, body = found or (0, b'{"last": 0}')
        marker = json.loads(body)
        if marker["last"] < state["sent"]:
            raise ChainBroken(
                f"{self._stream} lane {lane}: the log ends at {marker['last']}, but {state['sent']} was sent: "
                "the log is older than this database. Restore the newer log; where there is none, see "
                "`gihan restore --reappend` (docs/reliability-backup.md)"
            )
        if found is None:
            return
        chain = state["chain"]
        last = state["sent"]
        async with pool.acquire() as connection, connection.transaction():
            async for row in connection.cursor(
                f"SELECT number, body FROM {self._table} WHERE lane = $1 AND number > $2 AND number <= $3 "  # noqa: S608
                "ORDER BY number",
                lane,
                state["sent"],
                marker["last"],
                prefetch=BATCH_MESSAGES,
            ):
                chain, last = link(chain, row["body"]), row["number"]
        if last < marker["last"]:
            # A projection younger than the log (its database was lost): nothing goes out until the fold has caught up.
            self._stands[lane] = marker["last"]
            return
        if chain.hex() != marker["chain"]:
            raise ChainBroken(
                f"{self._stream} lane {lane}: the log holds other messages up to {last} than this outbox; "
                "find out which of the two belongs here before starting again"
            )
        await failpoint("relay.before_settle")
        await self._sent(pool, lane, last, chain, sequence)

    async def _state(self, pool: asyncpg.Pool, lane: int) -> asyncpg.Record:
        row = await pool.fetchrow(f"SELECT * FROM {self._relay_table} WHERE lane = $1", lane)  # noqa: S608
        assert row is not None, "settled before anything is published"
        return row

    async def _sent(self, pool: asyncpg.Pool, lane: int, last: int, chain: bytes, sequence: int) -> None:
        await pool.execute(
            f"UPDATE {self._relay_table} SET sent = $2, chain = $3, marker_sequence = $4 "  # noqa: S608
            "WHERE lane = $1 AND sent <= $2",  # another instance's relay may have gone on meanwhile
            lane,
            last,
            chain,
            sequence,
        )


def link(chain: bytes, body: bytes) -> bytes:
    """The hash chain after one more message."""
    return hashlib.sha256(chain + body).digest()
