"""The doors: every way in ends here, in the same judge and the same append loop.

The one rule it protects: each event is answered by itself. A bad one among good ones is refused with its reason, and
delays none of them.
"""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import TypeAdapter

from contracts.envelope import Accepted, Refused
from contracts.streams import dead_subject
from services.chassis.clock import Clock
from services.chassis.failpoints import failpoint
from services.chassis.logs import canonical_lines, error_code, get_logger
from services.chassis.vault import Vault
from services.intake.append import Appender, tell
from services.intake.dead import KEPT
from services.intake.judge import MAX_EVENTS, Judged, Publisher, Refusal, judge, readable_id
from services.intake.parsing import parse
from services.intake.reserve import refused_answer
from services.rules.instants import Instant, text
from services.rules.tenants import Tenant

Answer = Accepted | Refused
_WRITER: TypeAdapter[Answer | list[Answer]] = TypeAdapter(Answer | list[Answer])

_LETTER_BYTES = 512 * 1024
"""How much of a refused letter is kept: sealed and encoded it must still fit into one NATS message."""
_BURIED_TOGETHER = 100
"""Refused letters whose keys share one transaction."""
_GOOD_FIRST_SECONDS = 1.0
_AGAIN_SECONDS = 2.0
_TRIES = 4
"""How often a letter is tried on which something of ours fails: what passes is not the letter's fault."""
HOLD_SECONDS = 2.0
"""How often INBOX is told that a letter is still being dealt with."""
_UTC = ZoneInfo("UTC")


class Doors:
    """Receives events from publishers that the transport has made sure of, and answers them."""

    def __init__(self, tenants: Mapping[str, Tenant], clock: Clock, appender: Appender) -> None:
        self._tenants = tenants
        self._clock = clock
        self._appender = appender

    async def receive(
        self, raw: bytes, publisher: Publisher, route: str, most: int = MAX_EVENTS
    ) -> Accepted | list[Answer]:
        """One event, or an array of up to `most` that are answered one by one. Raises Refusal for one, or for all."""
        value = parse(raw)
        now = await self._clock.now()
        if not isinstance(value, list):
            return await self.take(value, publisher, now, route)
        if not 1 <= len(value) <= most:
            raise Refusal("wrong_number", f"An array holds 1 to {most} events. Split a longer one.", "")
        return [
            refused_answer(answer, publisher.source) if isinstance(answer, Refusal) else answer
            for answer in await self._answers(value, publisher, now, route)
        ]

    async def take(self, value: Any, publisher: Publisher, now: Instant, route: str) -> Accepted:
        """One parsed event: judged, appended, answered. Raises Refusal."""
        [answer] = await self._answers([value], publisher, now, route)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def _answers(
        self, values: Sequence[Any], publisher: Publisher, now: Instant, route: str
    ) -> list[Accepted | Refusal]:
        """An answer for each of several parsed events. Leaves one line for each in the log."""
        begun = time.monotonic()
        judged = [self._judge(value, publisher, now) for value in values]
        answers = iter(await self._appender.submit([event for event in judged if isinstance(event, Judged)]))
        answered = [event if isinstance(event, Refusal) else next(answers) for event in judged]
        taken: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        for value, event, answer in zip(values, judged, answered, strict=True):
            if isinstance(event, Refusal):
                line = {"id": readable_id(value)}
            else:
                line = {"id": event.id, "type": event.type, "case": event.case}
            if isinstance(answer, Refusal):
                answer.id = line["id"]
                refused.append(line | {"code": answer.code, "pointer": answer.pointer})
            else:
                taken.append(line | {"outcome": answer.status, "receipt": answer.receipt})
        common = {"tenant": publisher.tenant, "source": publisher.source, "route": route}
        milliseconds = round((time.monotonic() - begun) * 1000)
        canonical_lines("event_taken", {**common, "milliseconds": milliseconds}, taken)
        canonical_lines("event_refused", {**common, "outcome": "refused"}, refused)
        return answered

    def _judge(self, value: Any, publisher: Publisher, now: Instant) -> Judged | Refusal:
        try:
            return judge(value, publisher, self._tenants, now)
        except Refusal as refusal:
            return refusal


class _Grave(NamedTuple):
    """A refused letter on its way to DEAD."""

    letter: Msg
    publisher: Publisher
    refusal: Refusal
    now: Instant


class Inbox:
    """Takes letters out of INBOX: an accepted one is answered on RECEIPTS, a refused one goes to DEAD besides.

    Refused ones are buried behind the others' backs, many at a time: a thousand of them must not hold up a good one.
    """

    def __init__(self, doors: Doors, clock: Clock, pool: asyncpg.Pool, nc: Client, vault: Vault) -> None:
        self._doors = doors
        self._clock = clock
        self._pool = pool
        self._nc = nc
        self._vault = vault
        self._graves: asyncio.Queue[_Grave] = asyncio.Queue()
        self._waiting: dict[int, asyncio.Task[None]] = {}
        self._judging = 0

    async def handle(self, letter: Msg) -> None:
        """Deals with one letter; what cannot be dealt with now stays in INBOX."""
        holding = asyncio.create_task(_hold(letter), name="hold letter")
        try:
            await self._handle(letter)
        finally:
            holding.cancel()

    async def _handle(self, letter: Msg) -> None:
        now = await self._clock.now()
        _, tenant, source, noun, verb = letter.subject.split(".")
        publisher = Publisher(tenant, source)
        self._judging += 1
        try:
            try:
                answer = await self._take(letter.data, f"{noun}.{verb}", publisher, now)
                await failpoint("inbox.after_accept")
            except Refusal as refusal:
                if _may_pass(refusal, letter):
                    await letter.nak(delay=_AGAIN_SECONDS)
                else:
                    self._lay(_Grave(letter, publisher, refusal, now))
                return
            await self._close(letter, publisher, answer)
        except Exception as error:  # one letter's trouble must not reach the others
            await self._leave(letter, publisher, error)
        finally:
            self._judging -= 1

    async def bury(self) -> None:
        """Brings refused letters to DEAD, until cancelled. One that fails stays in INBOX."""
        while True:
            graves = [await self._graves.get()]
            await self._let_pass()
            while not self._graves.empty() and len(graves) < _BURIED_TOGETHER:
                graves.append(self._graves.get_nowait())
            try:
                # In one order, since two intakes may have the same ones.
                graves.sort(key=lambda grave: _name(grave.letter))
                names = [_name(grave.letter) for grave in graves]
                sealed = await self._seal(names, graves)
                await asyncio.gather(*map(self._bury, graves, names, sealed))
            except Exception as error:
                for grave in graves:
                    await self._leave(grave.letter, grave.publisher, error)
            finally:
                for grave in graves:
                    self._waiting.pop(_sequence(grave.letter)).cancel()

    async def _let_pass(self) -> None:
        """Lets letters that are being judged go first, for a while."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + _GOOD_FIRST_SECONDS
        while self._judging and loop.time() < limit:  # noqa: ASYNC110 - a lull is looked for, not an event
            await asyncio.sleep(0.02)

    def _lay(self, grave: _Grave) -> None:
        """Has a letter buried, and holds it until then. One that comes again all the same is not buried twice."""
        sequence = _sequence(grave.letter)
        if sequence not in self._waiting:
            self._waiting[sequence] = asyncio.create_task(_hold(grave.letter), name="hold letter")
            self._graves.put_nowait(grave)

    async def _take(self, raw: bytes, type: str, publisher: Publisher, now: Instant) -> Accepted:
        value = parse(raw)
        if isinstance(value, dict) and value.get("type") != type:
            refusal = Refusal("wrong_type", "The type must be the one in the subject it came on.", "/type")
            refusal.id = readable_id(value)
            raise refusal
        return await self._doors.take(value, publisher, now, "inbox")

    async def _seal(self, names: Sequence[str], graves: Sequence[_Grave]) -> list[bytes]:
        async with self._pool.acquire() as conn, conn.transaction():
            sealed = [
                await self._vault.seal_letter(
                    conn, grave.publisher.tenant, name, grave.letter.data[:_LETTER_BYTES], grave.now + KEPT
                )
                for name, grave in zip(names, graves, strict=True)
            ]
        await failpoint("inbox.after_letter_key")
        return sealed

    async def _bury(self, grave: _Grave, name: str, sealed: bytes) -> None:
        """Puts a refused letter on DEAD, sealed, with the reason in clear, and tells its source. After a crash it may
        come there again, long after the log has forgotten its id: its name says that it is the same."""
        letter, publisher = grave.letter, grave.publisher
        answer = refused_answer(grave.refusal, publisher.source)
        body = {
            "letter": name,
            "tenant": publisher.tenant,
            **answer.model_dump(mode="json", exclude_none=True),
            "subject": letter.subject,
            "time": text(grave.now, _UTC),
            "truncated": len(letter.data) > _LETTER_BYTES,
            "sealed": base64.b64encode(sealed).decode(),
        }
        try:
            await self._nc.jetstream().publish(
                dead_subject(*publisher),
                json.dumps(body).encode(),
                timeout=3,
                stream="DEAD",
                headers={"Nats-Msg-Id": f"inbox-{_sequence(letter)}"},
            )
            await failpoint("inbox.after_dead")
            await self._close(letter, publisher, answer)
        except Exception as error:  # as above: the others in the group are buried all the same
            await self._leave(letter, publisher, error)

    async def _close(self, letter: Msg, publisher: Publisher, answer: Answer) -> None:
        await tell(self._nc, *publisher, answer, f"inbox-{_sequence(letter)}")
        await failpoint("inbox.after_receipt")
        await letter.ack()

    async def _leave(self, letter: Msg, publisher: Publisher, error: Exception) -> None:
        get_logger().warning("letter_left", tenant=publisher.tenant, source=publisher.source, error=error_code(error))
        with suppress(NatsError, OSError):  # unanswered it comes again, only later
            await letter.nak(delay=_AGAIN_SECONDS)


def json_of(answer: Answer | list[Answer]) -> bytes:
    """An answer as publishers read it."""
    return _WRITER.dump_json(answer, exclude_none=True)


async def _hold(letter: Msg) -> None:
    """Says that a letter is being dealt with, so that it comes again soon only where whoever had it died."""
    while True:
        await asyncio.sleep(HOLD_SECONDS)
        with suppress(NatsError, OSError):  # nobody hears it just now: said again in the next round
            await letter.in_progress()


def _may_pass(refusal: Refusal, letter: Msg) -> bool:
    """Whether the same letter may be taken a little later."""
    if refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return int(letter.metadata.num_delivered) < _TRIES
    return refusal.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def _name(letter: Msg) -> str:
    """What a letter is called in DEAD, however often it comes: made of its place in INBOX and of when it came in."""
    metadata = letter.metadata
    place = f"{metadata.sequence.stream} {metadata.timestamp.isoformat()}"
    return f"l{hashlib.sha256(place.encode()).hexdigest()[:24]}"


def _sequence(letter: Msg) -> int:
    return int(letter.metadata.sequence.stream)
