"""The log cursor: reads a stream from a position on, in order, without a gap.

The one rule: the position lives with the reader (in PostgreSQL, beside the state), never in a NATS consumer. The
consumer here is ephemeral and acknowledges nothing; its own sequence numbers prove that no entry was skipped.
"""

import asyncio
import json
from types import TracebackType
from typing import NamedTuple, Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

EXPIRES_SECONDS = 10.0
HEARTBEAT_SECONDS = 1.0
INACTIVE_SECONDS = 30.0
ABSENT_SECONDS, ABSENT_TIMES = 0.1, 20


class Entry(NamedTuple):
    """One stored message: its stream sequence, subject and bytes, and when the server stored it (microseconds since
    1970; for measuring alone, nothing may be decided by it)."""

    sequence: int
    subject: str
    data: bytes
    stored_at: int = 0


class LogGap(Exception):
    """An entry is missing between two that were read. Nothing may be folded past it."""


class CursorStale(Exception):
    """The consumer is gone or silent. Open a new cursor at the same position."""


class LogCursor:
    """Entries of `stream` after the sequence `after`, of one filter `subject` or of all (None).

    `read` raises LogGap where the consumer's own sequence jumps, and CursorStale where the consumer was deleted or
    sent neither messages nor heartbeats for three heartbeats; the remedy for both is a new cursor.
    """

    def __init__(
        self, nc: Client, *, stream: str, after: int, subject: str | None = None, batch_size: int = 1000
    ) -> None:
        self.pending = 0
        self._nc = nc
        self._stream = stream
        self._after = after
        self._subject = subject
        self._batch_size = batch_size
        self._consumer = ""
        self._delivered = 0
        self._absent = 0
        self._asked = 0
        self._queue: asyncio.Queue[Msg] = asyncio.Queue()
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._heard = 0.0

    async def __aenter__(self) -> Self:
        js = self._nc.jetstream()
        info = await js.add_consumer(
            self._stream,
            ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._after + 1,
                ack_policy=AckPolicy.NONE,
                filter_subject=self._subject,
                inactive_threshold=INACTIVE_SECONDS,
                mem_storage=True,
                num_replicas=1,
                max_waiting=4,
            ),
        )
        self._consumer = info.name
        self.pending = info.num_pending or 0
        self._inbox = self._nc.new_inbox()
        self._subscription = await self._nc.subscribe(
            self._inbox, cb=self._queue.put, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        self._heard = asyncio.get_running_loop().time()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._subscription is not None:
                await self._subscription.unsubscribe()
            await self._nc.jetstream().delete_consumer(self._stream, self._consumer)
        except (NatsError, TimeoutError):
            return  # the server drops an idle consumer by itself

    async def read(self, max_messages: int, wait_seconds: float) -> list[Entry]:
        """Up to `max_messages` entries in order; waits at most `wait_seconds` for the first, and for no other."""
        if self._asked <= 0:
            await self._ask()
        entries: list[Entry] = []
        loop = asyncio.get_running_loop()
        limit = loop.time() + wait_seconds
        while len(entries) < max_messages:
            if self._queue.empty():
                left = limit - loop.time()
                if entries or left <= 0:
                    break
                try:
                    async with asyncio.timeout(min(left, HEARTBEAT_SECONDS)):
                        message = await self._queue.get()
                except TimeoutError:
                    # Counted over all reads: a caller may ask for less than a heartbeat at a time.
                    if loop.time() - self._heard > 3 * HEARTBEAT_SECONDS:
                        raise CursorStale(f"{self._stream}: the consumer went silent") from None
                    continue
            else:
                message = self._queue.get_nowait()
            self._heard = loop.time()
            entry = await self._accept(message)
            if entry is not None:
                entries.append(entry)
        return entries

    async def _accept(self, message: Msg) -> Entry | None:
        headers = message.headers
        if headers and "Status" in headers and not message.reply.startswith("$JS.ACK."):
            await self._status(headers)
            return None
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>, or with domain and
        # account before the stream's name: count from the right end is wrong then, so both forms are read by length.
        tokens = message.reply.split(".")
        offset = 2 if len(tokens) >= 11 else 0
        sequence, delivered = int(tokens[5 + offset]), int(tokens[6 + offset])
        self.pending = int(tokens[8 + offset])
        if delivered != self._delivered + 1:
            raise LogGap(f"{self._stream}: entry {self._delivered + 1} of this reading was skipped before {sequence}")
        self._delivered = delivered
        self._absent = 0
        self._after = sequence
        self._asked -= 1
        if self._asked <= 0:
            await self._ask()
        return Entry(sequence, message.subject, message.data, int(tokens[7 + offset]) // 1000)

    async def _status(self, headers: dict[str, str]) -> None:
        status = headers["Status"]
        if status == "100":
            return
        if status in ("404", "408"):
            await self._ask()
            return
        if status == "503" and self._absent < ABSENT_TIMES:
            # In a cluster a consumer is told of a moment before it listens.
            self._absent += 1
            await asyncio.sleep(ABSENT_SECONDS)
            await self._ask()
            return
        raise CursorStale(f"{self._stream}: the consumer answered {status} {headers.get('Description', '')}")

    async def _ask(self) -> None:
        self._asked = self._batch_size
        request = {
            "batch": self._batch_size,
            "expires": int(EXPIRES_SECONDS * 1e9),
            "idle_heartbeat": int(HEARTBEAT_SECONDS * 1e9),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        await self._nc.publish(subject, json.dumps(request).encode(), reply=self._inbox)
