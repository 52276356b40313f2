"""The log cursor: reads a stream from a position on, in order, without a gap.

The one rule: the position lives with the reader (in PostgreSQL, beside the state), never in a NATS consumer. The
consumer here is ephemeral and acknowledges nothing; its own sequence numbers prove that no entry was skipped, and
`check_log` proves that the log is still the one that was read, at the start and after every reconnect.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import NamedTuple, Self, cast

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from services.chassis.broker import UUID_KEY
from services.chassis.logs import OperatorError
from services.chassis.wire import Wire

EXPIRES_SECONDS = 10.0
HEARTBEAT_SECONDS = 1.0
INACTIVE_SECONDS = 30.0
READ_MESSAGES = 2000
READ_SECONDS = 1.0
ABSENT_SECONDS, ABSENT_TIMES = 0.1, 20
_DELIVERED = b"$JS.ACK."
_LEFT = "Nats-Pending-Messages: "

_Message = tuple[bytes, bytes, bytes, bytes | None]
"""As it came: reply subject, subject, data and headers."""


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


class WrongLog(OperatorError):
    """The log is not the one that was read so far: another stream, an older copy, or other entries."""


async def check_log(
    nc: Client, stream: str, sequence: int, stream_id: str | None, same: Callable[[str, bytes], bool] | None
) -> str | None:
    """The own id of `stream`; raises WrongLog unless it is the log of which `sequence` was read.

    `stream_id` is the id it had then (None: not known), and `same` says of subject and bytes whether they
    stood at `sequence` (None: nothing was read). An older copy that has grown past `sequence` differs in that entry.
    """
    remedy = (
        "Nothing is read from it. Restore the newer log; where there is none, see `gihan restore --reappend` "
        "(docs/reliability-backup.md)."
    )
    info = await nc.jetstream().stream_info(stream)
    found_id = (info.config.metadata or {}).get(UUID_KEY)
    if stream_id not in (None, found_id):
        raise WrongLog(f"The stream {stream} is another than the one folded before. {remedy}")
    if sequence > info.state.last_seq:
        raise WrongLog(f"The log {stream} ends at {info.state.last_seq}, before the position {sequence}. {remedy}")
    if same is not None:
        try:
            found = await nc.jetstream().get_msg(stream, sequence)
        except NotFoundError:
            raise WrongLog(f"The log {stream} lacks the entry at the position {sequence}. {remedy}") from None
        if not same(found.subject or "", found.data or b""):
            raise WrongLog(f"The log {stream} holds another entry at the position {sequence}. {remedy}")
    return found_id


def reconnects(nc: Client) -> int:
    """How often a connection was made anew: whoever sees it change looks at the log again."""
    return int(nc.stats["reconnects"])


class LogCursor:
    """Entries of `stream` after the sequence `after`, of one filter `subject` or of all (None).

    `read` raises LogGap where the consumer's own sequence jumps, and CursorStale where the consumer was deleted, sent
    neither messages nor heartbeats for three heartbeats, or the connection was made anew; the remedy for each is a new
    cursor, opened before the log is checked again.
    """

    def __init__(
        self, nc: Client, *, stream: str, after: int, subject: str | None = None, batch_size: int = 1000
    ) -> None:
        self.pending = 0
        self._nc = cast(Wire, nc)
        self._stream = stream
        self._after = after
        self._subject = subject
        self._batch_size = batch_size
        self._consumer = ""
        self._delivered = 0
        self._absent = 0
        self._asked = 0
        self._taken: deque[_Message] = deque()
        self._came = asyncio.Event()
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._heard = 0.0
        self._reconnects = reconnects(nc)

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
        self._subscription = await self._nc.listen(self._inbox, self._take)
        self._heard = asyncio.get_running_loop().time()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._subscription is not None:
                await self._nc.hang_up(self._subscription)
            await self._nc.jetstream().delete_consumer(self._stream, self._consumer)
        except (NatsError, TimeoutError):
            return  # the server drops an idle consumer by itself

    async def read(self, max_messages: int, wait_seconds: float) -> list[Entry]:
        """Up to `max_messages` entries in order; waits at most `wait_seconds` for the first, and for no other."""
        self._check_connection()
        entries: list[Entry] = []
        loop = asyncio.get_running_loop()
        limit = loop.time() + wait_seconds
        while len(entries) < max_messages:
            # Asked ahead, so that the server goes on while what came is worked on.
            if self._asked <= self._batch_size // 2:
                await self._ask()
            if self._taken:
                self._heard = loop.time()
                while self._taken and len(entries) < max_messages:
                    entry = await self._accept(*self._taken.popleft())
                    if entry is not None:
                        entries.append(entry)
                continue
            left = limit - loop.time()
            if entries or left <= 0:
                break
            self._came.clear()
            try:
                async with asyncio.timeout(min(left, HEARTBEAT_SECONDS)):
                    await self._came.wait()
            except TimeoutError:
                # Counted over all reads: a caller may ask for less than a heartbeat at a time.
                if loop.time() - self._heard > 3 * HEARTBEAT_SECONDS:
                    raise CursorStale(f"{self._stream}: the consumer went silent") from None
        self._check_connection()
        return entries

    def _take(self, reply: bytes, subject: bytes, data: bytes, headers: bytes | None) -> None:
        self._taken.append((reply, subject, data, headers))
        self._came.set()

    def _check_connection(self) -> None:
        """What answers after a reconnect may be another server with another log."""
        if reconnects(self._nc) != self._reconnects:
            raise CursorStale(f"{self._stream}: the connection was made anew")

    async def _accept(self, reply: bytes, subject: bytes, data: bytes, headers: bytes | None) -> Entry | None:
        if not reply.startswith(_DELIVERED):
            await self._status(headers or b"")
            return None
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>, or with domain and
        # account before the stream's name: count from the right end is wrong then, so both forms are read by length.
        tokens = reply.split(b".")
        offset = 2 if len(tokens) >= 11 else 0
        sequence, delivered = int(tokens[5 + offset]), int(tokens[6 + offset])
        self.pending = int(tokens[8 + offset])
        if delivered != self._delivered + 1:
            raise LogGap(f"{self._stream}: entry {self._delivered + 1} of this reading was skipped before {sequence}")
        self._delivered = delivered
        self._absent = 0
        self._after = sequence
        self._asked -= 1
        return Entry(sequence, subject.decode(), data, int(tokens[7 + offset]) // 1000)

    async def _status(self, headers: bytes) -> None:
        # NATS/1.0 <status> <description>, and further headers.
        line, *more = headers.decode(errors="replace").split("\r\n")
        _, _, words = line.partition(" ")
        status, _, description = words.partition(" ")
        if status == "100":
            return
        if status == "408":  # one of our requests has run out, with so many messages to its credit
            left = next((int(row[len(_LEFT) :]) for row in more if row.startswith(_LEFT)), self._asked)
            self._asked = max(self._asked - left, 0)
            return
        if status == "503" and self._absent < ABSENT_TIMES:
            # In a cluster a consumer is told of a moment before it listens.
            self._absent += 1
            await asyncio.sleep(ABSENT_SECONDS)
            self._asked = 0
            return
        raise CursorStale(f"{self._stream}: the consumer answered {status} {description}")

    async def _ask(self) -> None:
        self._asked += self._batch_size
        request = {
            "batch": self._batch_size,
            "expires": int(EXPIRES_SECONDS * 1e9),
            "idle_heartbeat": int(HEARTBEAT_SECONDS * 1e9),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        await self._nc.publish(subject, json.dumps(request).encode(), reply=self._inbox)


async def read_up_to(
    nc: Client, stream: str, last: int, *, after: int = 0, subject: str | None = None
) -> AsyncIterator[Entry]:
    """The entries of a stream after the sequence `after`, up to `last` and no further; for reading a log as it stands.

    Goes on from where it was when the consumer is lost. Ends early where the stream holds nothing more.
    """
    while after < last:
        try:
            async with LogCursor(nc, stream=stream, after=after, subject=subject) as cursor:
                while cursor.pending:
                    for entry in await cursor.read(READ_MESSAGES, READ_SECONDS):
                        if entry.sequence > last:
                            return
                        after = entry.sequence
                        yield entry
                return
        except (CursorStale, LogGap):
            continue
