"""The wire to NATS, where many messages go over it: past what the library does for each single one.

The one rule: what goes over the wire, and in which order, is the same. The library makes an object, a dictionary of
headers and two steps of a task for each message that it takes in or sends; readers of logs and senders of batches need
none of that, and it is most of what they would cost.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import BadSubjectError, MaxPayloadError

Take = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Is given reply subject, subject, data and the block of headers, if there is one."""

_HEADERS = b"NATS/1.0\r\nNats-Batch-Id: %s\r\nNats-Batch-Sequence: %d\r\n\r\n"
_SUBJECT = re.compile(r"[^\s*>]+")


class Wire(Client):
    """A client that hands messages on as they are to whoever listens, and sends batches in one piece."""

    def __init__(self) -> None:
        super().__init__()
        self._takers: dict[int, Take] = {}

    async def listen(self, inbox: str, take: Take) -> Subscription:
        """Subscribes; `take` is called with each message, and must not raise."""
        subscription = await self.subscribe(inbox, cb=_nothing)
        self._takers[subscription._id] = take
        return subscription

    async def hang_up(self, subscription: Subscription) -> None:
        """Ends a subscription that `listen` began."""
        self._takers.pop(subscription._id, None)
        await subscription.unsubscribe()

    async def send_batch(self, batch: str, messages: Sequence[tuple[str, bytes]]) -> None:
        """Sends (subject, data) messages as the first ones of an atomic batch, which wants a last one yet.

        Raises BadSubjectError and MaxPayloadError before anything is sent.
        """
        name, parts, most = batch.encode(), list[bytes](), self.max_payload
        for place, (subject, data) in enumerate(messages, 1):
            size = len(data)
            if size > most:
                raise MaxPayloadError
            headers = _HEADERS % (name, place)
            length = len(headers)
            parts += (b"HPUB %s %d %d\r\n" % (_subject(subject), length, length + size), headers, data, b"\r\n")
        if parts:
            self.stats["out_msgs"] += len(messages)
            await self._send_command(b"".join(parts))

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        """As the library's, behind all that waits to be sent. Its own overtakes that, so that the end of a `flush`
        would say nothing of a subscription made just before."""
        if self._pending and self.is_connected:
            assert self._transport is not None
            self._transport.writelines(self._pending)
            self._pending, self._pending_data_size = [], 0
        await super()._send_ping(future)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        take = self._takers.get(sid)
        if take is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            take(reply, subject, data, headers)


@lru_cache(maxsize=1 << 12)
def _subject(subject: str) -> bytes:
    """A subject as it is sent; there are few, and many messages on each. Raises BadSubjectError."""
    if not _SUBJECT.fullmatch(subject):
        raise BadSubjectError
    return subject.encode()


async def _nothing(_: object) -> None:
    """Never called: what comes is taken before it."""
