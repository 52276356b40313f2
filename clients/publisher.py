"""A publishing system's way to Gihan over NATS: say what happened, and hear what became of it.

The one rule it protects: an event is sent again under the same id until it is answered, so that whatever fails in
between it stands in the log once.

    async with Publisher("nats://nats.example:4222", "seoul", "kiosk", seed) as gihan:
        answer = await gihan.send("complaint.assigned", {"department": "roads", "officer": "k-7"}, case="m-1")
        async for message in gihan.messages():
            print(message.body)
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self, cast
from uuid import uuid4

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import TypeAdapter

from contracts.envelope import Accepted, Refused
from contracts.events import INBOX_TYPES
from contracts.nkeys import Nkey
from contracts.streams import door_subject, feed_subject, inbox_subject, receipts_subject

Answer = Accepted | Refused
TOGETHER = 500
"""Events in one request, at most."""
_ANSWER_SECONDS = 12.0
"""Longer than Gihan waits for its own log."""
_LONGEST_PAUSE_SECONDS = 10.0
_PASSING = ("held_back", "unavailable")
"""Refusals that may be gone a moment later: the same is sent again."""
_READ_TOGETHER = 100
_answers: TypeAdapter[Answer | list[Answer]] = TypeAdapter(Answer | list[Answer])


class Unanswered(Exception):
    """Nobody answered in time. Whether the event was taken is not known; the same again, with its id, is harmless."""


class Message(NamedTuple):
    """What Gihan tells: a receipt, or a decision on a case of one's own. `key` is the same in each repeat of it."""

    kind: str
    """receipt or decision"""
    key: str
    body: dict[str, Any]


class Publisher:
    """A connection of one publishing system, to be entered with `async with`.

    `seed` is what `gihan publisher` showed; `tls` is wanted where the server has TLS.
    """

    def __init__(self, servers: str, tenant: str, source: str, seed: str, tls: ssl.SSLContext | None = None) -> None:
        self.tenant, self.source = tenant, source
        self._servers = servers.split(",")
        self._nkey = Nkey.of_seed(seed.strip())
        self._tls = tls
        self._nc = Client()
        # The library would set it with a package of its own; the rest of the login is its own.
        self._nc._public_nkey = self._nkey.public
        self._reader = f"{tenant}_{source}"

    async def __aenter__(self) -> Self:
        await self._nc.connect(
            self._servers,
            user=self._nkey.public,
            signature_cb=self._nkey.signature,
            tls=self._tls,
            tls_handshake_first=self._tls is not None,
            name=f"{self.tenant}/{self.source}",
            inbox_prefix=f"_INBOX_{self._reader}".encode(),
            max_reconnect_attempts=-1,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._nc.close()

    def event(
        self,
        type: str,
        data: Mapping[str, Any],
        *,
        case: str | None = None,
        time: datetime | None = None,
        id: str | None = None,
    ) -> dict[str, Any]:
        """An event as the contract has it. Keep it until it is answered: its id is what makes a repeat harmless.

        `time` is when it happened, with a time zone; it is needed for everything that did not happen just now.
        """
        moment = datetime.now().astimezone() if time is None else time
        if moment.tzinfo is None:
            raise ValueError("give a time with its time zone")
        return {
            "specversion": "1.0",
            "id": id or str(uuid4()),
            "source": self.source,
            "type": type,
            **({} if case is None else {"subject": case}),
            "time": moment.isoformat(),
            "tenant": self.tenant,
            "data": dict(data),
        }

    async def send(self, type: str, data: Mapping[str, Any], *, patience_seconds: float = 60.0, **more: Any) -> Answer:
        """Says one thing and returns what was answered: accepted, waiting, or refused with the reason.

        Takes case, time and id as `event` does. Raises Unanswered after `patience_seconds`.
        """
        [answer] = await self.send_all([self.event(type, data, **more)], patience_seconds=patience_seconds)
        return answer

    async def send_all(self, events: Sequence[Mapping[str, Any]], *, patience_seconds: float = 60.0) -> list[Answer]:
        """Says many things, each answered by itself, in the same order. Raises Unanswered as `send`."""
        answers: list[Answer] = []
        for start in range(0, len(events), TOGETHER):
            answers += await self._answered(events[start : start + TOGETHER], patience_seconds)
        return answers

    async def leave(self, event: Mapping[str, Any]) -> None:
        """Leaves an event without personal data; what became of it is told in `messages`.

        Raises ValueError for a type that may hold personal data, and Unanswered when it was not kept.
        """
        if event["type"] not in INBOX_TYPES:
            raise ValueError(f"{event['type']} may hold personal data, which may not be left lying: send it")
        subject = inbox_subject(self.tenant, self.source, event["type"])
        try:
            await self._nc.jetstream().publish(subject, json.dumps(event).encode(), timeout=_ANSWER_SECONDS)
        except (NatsError, TimeoutError) as error:
            raise Unanswered(f"the event {event['id']} was not kept: leave the same again") from error

    async def messages(self) -> AsyncIterator[Message]:
        """What Gihan has to tell, from where it was last acknowledged: receipts, and decisions on one's own cases.

        Each is acknowledged when the next one is asked for. One whose handling failed comes again after half a minute.
        """
        reader = await self._nc.jetstream().pull_subscribe_bind(self._reader, "RECEIPTS")
        while True:
            try:
                found = await reader.fetch(_READ_TOGETHER, timeout=5)
            except (NatsError, TimeoutError):
                await asyncio.sleep(0.1)
                continue
            for message in found:
                yield self._told(message)
                await message.ack()

    def _told(self, message: Msg) -> Message:
        body = cast(dict[str, Any], json.loads(message.data))
        if message.subject == feed_subject(self.tenant, self.source):
            return Message("decision", str(body["id"]), body)
        assert message.subject == receipts_subject(self.tenant, self.source)
        return Message("receipt", str(body.get("key") or f"{body.get('id')}.{body['status']}"), body)

    async def _answered(self, events: Sequence[Mapping[str, Any]], patience_seconds: float) -> list[Answer]:
        loop = asyncio.get_running_loop()
        limit = loop.time() + patience_seconds
        answers: dict[int, Answer | None] = {}
        pause = 0.2
        while True:
            waiting = [number for number in range(len(events)) if number not in answers]
            told = await self._ask([events[number] for number in waiting])
            answers |= {number: answer for number, answer in zip(waiting, told, strict=True) if _is_final(answer)}
            if len(answers) == len(events):
                return [cast(Answer, answers[number]) for number in range(len(events))]
            if loop.time() + pause > limit:
                raise Unanswered("no answer in time: send the same events again, with the same ids")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _ask(self, events: Sequence[Mapping[str, Any]]) -> Sequence[Answer | None]:
        """An answer to each; None where none came."""
        try:
            door = door_subject(self.tenant, self.source)
            message = await self._nc.request(door, json.dumps(list(events)).encode(), timeout=_ANSWER_SECONDS)
        except (NatsError, TimeoutError):
            return [None] * len(events)
        answer = _answers.validate_json(message.data)
        return answer if isinstance(answer, list) else [answer] * len(events)


def _is_final(answer: Answer | None) -> bool:
    """Whether the same event would be answered in the same way a moment later."""
    return answer is not None and not (isinstance(answer, Refused) and answer.code in _PASSING)
