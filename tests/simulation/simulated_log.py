"""The log in memory: streams, atomic batches, pull consumers and a connection to them, as nats-server and nats-py have
them as far as the shell uses them.

The one rule: what was acknowledged stays, in its order; everything on the way - requests, replies, deliveries - may be
lost, late, twice or out of order, as the seed says.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple

from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import NotFoundError
from simulated_process import Process

EPOCH = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
STREAMS = {
    "CASES": ("cases.", "mark.intake."),
    "SLA": ("sla.", "mark.sla."),
    "NOTICES": ("notices.", "mark.notices."),
    "RECEIPTS": ("receipts.", "feed."),
}
HEARTBEAT_SECONDS = 1.0


class Message(NamedTuple):
    """A stored message; `stored_at` in simulated seconds."""

    sequence: int
    subject: str
    data: bytes
    stored_at: float


class Delivery(NamedTuple):
    """A message on its way to a subscription."""

    subject: str
    reply: str
    data: bytes
    headers: bytes | None


class Trouble(NamedTuple):
    """How often, of one, something on the way goes wrong."""

    lost_request: float = 0.0
    lost_reply: float = 0.0
    lost_delivery: float = 0.0
    twice: float = 0.0
    swapped: float = 0.0


class Log:
    """The server. `trouble` may be changed at any time; while `down` it hears and says nothing."""

    def __init__(self, random: Random, now: Callable[[], float]) -> None:
        self.random = random
        self.now = now
        self.trouble = Trouble()
        self.down = False
        self.restarts = 0
        self.streams: dict[str, list[Message]] = {name: [] for name in STREAMS}
        self.consumers: dict[str, Consumer] = {}
        self.grown = asyncio.Event()
        self._last: dict[str, Message] = {}
        self._staged: dict[str, list[tuple[str, bytes]]] = {}
        self._made = 0

    def append(self, subject: str, data: bytes) -> Message:
        """Stores a message in the stream of its subject."""
        stream = self.streams[_stream_of(subject)]
        message = Message(len(stream) + 1, subject, data, self.now())
        stream.append(message)
        self._last[subject] = message
        self.grown.set()
        self.grown = asyncio.Event()
        return message

    def last(self, stream: str, subject: str) -> Message | None:
        """The last message on a subject, which may end with a wildcard."""
        if not subject.endswith(">"):
            return self._last.get(subject)
        prefix = subject.removesuffix(">")
        return next((row for row in reversed(self.streams[stream]) if row.subject.startswith(prefix)), None)

    def store(self, subject: str, data: bytes, headers: Mapping[str, str]) -> dict[str, Any] | None:
        """What the server does with a published message; None where it has no word for it."""
        batch = headers.get("Nats-Batch-Id")
        if batch and "Nats-Batch-Commit" not in headers:
            self._staged.setdefault(batch, []).append((subject, data))
            return None
        staged = self._staged.pop(batch, []) if batch else []
        if batch and len(staged) + 1 != int(headers["Nats-Batch-Sequence"]):
            return {"error": {"err_code": 10176, "description": "batch is incomplete"}}
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        last = self._last.get(subject)
        if expected is not None and int(expected) != (last.sequence if last else 0):
            return {"error": {"err_code": 10071, "description": "wrong last sequence"}}
        for row in staged:
            self.append(*row)
        return {"seq": self.append(subject, data).sequence, "count": len(staged) + 1}

    def consumer(self, stream: str, after: int, subject: str | None) -> "Consumer":
        """A new ephemeral consumer."""
        self._made += 1
        made = Consumer(self, f"c{self._made}", stream, after, subject)
        self.consumers[made.name] = made
        return made

    def forget_consumers(self) -> None:
        """Deletes every consumer, as an operator or a lost node would."""
        for consumer in list(self.consumers.values()):
            consumer.delete()

    def time(self) -> str:
        """The server's time of day."""
        return datetime.fromtimestamp(EPOCH.timestamp() + self.now(), UTC).isoformat()


class Consumer:
    """A pull consumer that acknowledges nothing."""

    def __init__(self, log: Log, name: str, stream: str, after: int, subject: str | None) -> None:
        self.name = name
        self._log = log
        self._stream = stream
        self._next = after
        self._prefix = "" if subject is None else subject.removesuffix(">")
        self._delivered = 0
        self._asked = 0
        self._deliver: Callable[[Delivery], Awaitable[None]] | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def pending(self) -> int:
        """How many messages it has not delivered yet."""
        return sum(row.subject.startswith(self._prefix) for row in self._log.streams[self._stream][self._next :])

    def ask(self, number: int, deliver: Callable[[Delivery], Awaitable[None]]) -> None:
        """A reader is ready for so many messages."""
        self._asked += number
        self._deliver = deliver

    def delete(self) -> None:
        """It is gone; who reads from it hears no more."""
        self._log.consumers.pop(self.name, None)
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            grown = self._log.grown
            if not self._log.down and self._asked and self._deliver is not None:
                for delivery in self._arranged(self._batch()):
                    await self._deliver(delivery)
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await grown.wait()
            except TimeoutError:
                if self._deliver is not None and not self._log.down:
                    await self._deliver(Delivery("", "", b"", b"NATS/1.0 100 Idle Heartbeat\r\n\r\n"))

    def _batch(self) -> list[Delivery]:
        found = []
        stream = self._log.streams[self._stream]
        while self._asked and self._next < len(stream):
            row = stream[self._next]
            self._next += 1
            if not row.subject.startswith(self._prefix):
                continue
            self._delivered += 1
            self._asked -= 1
            found.append((row, self._delivered))
        left = self.pending
        return [
            Delivery(
                row.subject,
                f"$JS.ACK.{self._stream}.{self.name}.1.{row.sequence}.{number}.{_nanoseconds(row)}."
                f"{left + len(found) - place}",
                row.data,
                None,
            )
            for place, (row, number) in enumerate(found, 1)
        ]

    def _arranged(self, deliveries: list[Delivery]) -> list[Delivery]:
        """The same with what goes wrong on the way."""
        random, trouble = self._log.random, self._log.trouble
        kept = [one for one in deliveries if random.random() >= trouble.lost_delivery]
        arranged = [one for one in kept for _ in range(1 + (random.random() < trouble.twice))]
        for place in range(len(arranged) - 1):
            if random.random() < trouble.swapped:
                arranged[place], arranged[place + 1] = arranged[place + 1], arranged[place]
        return arranged


class Connection:
    """What `broker.connect` gives: a client of nats-py, as far as it is used."""

    def __init__(self, log: Log, process: Process) -> None:
        self._log = log
        self._process = process
        self._inboxes: dict[str, Callable[[bytes, bytes, bytes, bytes | None], None]] = {}
        self._number = 0

    @property
    def is_connected(self) -> bool:
        return not self._log.down

    @property
    def stats(self) -> dict[str, int]:
        return {"reconnects": self._log.restarts}

    def jetstream(self, timeout: float = 5) -> "JetStream":
        return JetStream(self._log, self._process, self)

    def new_inbox(self) -> str:
        self._number += 1
        return f"_INBOX_{self._process.name}.{self._number}"

    async def listen(self, inbox: str, take: Callable[[bytes, bytes, bytes, bytes | None], None]) -> str:
        self._inboxes[inbox] = take
        return inbox

    async def hang_up(self, subscription: str) -> None:
        self._inboxes.pop(subscription, None)

    async def send_batch(self, batch: str, messages: Sequence[tuple[str, bytes]]) -> None:
        for place, (subject, data) in enumerate(messages, 1):
            await self.publish(subject, data, headers={"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(place)})

    async def publish(
        self, subject: str, data: bytes = b"", reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        if subject.startswith("$JS.API.CONSUMER.MSG.NEXT."):
            await self._process.gate()
            consumer = self._log.consumers.get(subject.rpartition(".")[2])
            if consumer is not None and not self._log.down:
                consumer.ask(json.loads(data)["batch"], partial(self._hear, reply))
            return
        if self._process.dead:
            raise asyncio.CancelledError
        if not self._log.down and self._log.random.random() >= self._log.trouble.lost_request:
            self._log.store(subject, data, headers or {})

    async def request(self, subject: str, data: bytes, timeout: float, headers: Mapping[str, str] | None = None) -> Any:
        await self._process.gate()
        random, trouble = self._log.random, self._log.trouble
        if self._log.down or random.random() < trouble.lost_request:
            await asyncio.sleep(timeout)
            raise NatsTimeout
        if subject.startswith("$JS.API.STREAM.INFO."):
            answer: dict[str, Any] | None = {"ts": self._log.time()}
        else:
            answer = self._log.store(subject, data, headers or {})
        if random.random() < trouble.lost_reply:
            await asyncio.sleep(timeout)
            raise NatsTimeout
        await self._process.gate()
        return SimpleNamespace(data=json.dumps(answer).encode())

    async def _hear(self, inbox: str, delivery: Delivery) -> None:
        take = self._inboxes.get(inbox)
        if take is not None and not self._process.dead:
            take(delivery.reply.encode(), delivery.subject.encode(), delivery.data, delivery.headers)


class JetStream:
    """What `Client.jetstream` gives, as far as it is used."""

    def __init__(self, log: Log, process: Process, connection: Connection) -> None:
        self._log = log
        self._process = process
        self._connection = connection

    async def _reach(self) -> None:
        await self._process.gate()
        if self._log.down or self._log.random.random() < self._log.trouble.lost_reply:
            await asyncio.sleep(5)
            raise NatsTimeout

    async def add_consumer(self, stream: str, config: Any) -> Any:
        await self._reach()
        made = self._log.consumer(stream, config.opt_start_seq - 1, config.filter_subject)
        return SimpleNamespace(name=made.name, num_pending=made.pending)

    async def delete_consumer(self, stream: str, name: str) -> None:
        await self._reach()
        if name in self._log.consumers:
            self._log.consumers[name].delete()

    async def stream_info(self, stream: str) -> Any:
        await self._reach()
        config = SimpleNamespace(metadata={"gihan_uuid": f"uuid-{stream}"})
        return SimpleNamespace(config=config, state=SimpleNamespace(last_seq=len(self._log.streams[stream])))

    async def get_msg(self, stream: str, sequence: int) -> Any:
        await self._reach()
        rows = self._log.streams[stream]
        if not 1 <= sequence <= len(rows):
            raise NotFoundError
        row = rows[sequence - 1]
        return SimpleNamespace(seq=row.sequence, subject=row.subject, data=row.data)

    async def get_last_msg(self, stream: str, subject: str) -> Any:
        await self._reach()
        row = self._log.last(stream, subject)
        if row is None:
            raise NotFoundError
        return SimpleNamespace(seq=row.sequence, subject=row.subject, data=row.data)

    async def publish(self, subject: str, data: bytes, stream: str, headers: Mapping[str, str], timeout: float) -> None:
        await self._connection.request(subject, data, timeout, headers)


def _nanoseconds(row: Message) -> int:
    """When a message was stored, as the server tells it."""
    return int((EPOCH.timestamp() + row.stored_at) * 1e6) * 1000


def _stream_of(subject: str) -> str:
    return next(name for name, prefixes in STREAMS.items() if subject.startswith(prefixes))
