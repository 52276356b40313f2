"""The doors: every way in ends here, in the same judge and the same append loop.

The one rule it protects: each event is answered by itself. A bad one among good ones is refused with its reason, and
delays none of them.
"""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.envelope import Accepted, Refused
from contracts.streams import dead_subject
from services.chassis.clock import Clock
from services.chassis.failpoints import failpoint
from services.chassis.logs import canonical, error_code, get_logger
from services.chassis.vault import Vault
from services.intake.append import Appender, tell
from services.intake.judge import MAX_EVENTS, Publisher, Refusal, judge, parse, readable_id
from services.intake.reserve import refused_answer
from services.rules.instants import Instant, text
from services.rules.tenants import Tenant

Answer = Accepted | Refused

_LETTER_BYTES = 512 * 1024
"""How much of a refused letter is kept: sealed and encoded it must still fit into one NATS message."""
_AGAIN_SECONDS = 2.0
HOLD_SECONDS = 2.0
"""How often INBOX is told that a letter is still being dealt with."""
_UTC = ZoneInfo("UTC")


class Doors:
    """Receives events from publishers that the transport has made sure of, and answers them."""

    def __init__(self, tenants: Mapping[str, Tenant], clock: Clock, appender: Appender) -> None:
        self._tenants = tenants
        self._clock = clock
        self._appender = appender

    async def receive(self, raw: bytes, publisher: Publisher, route: str) -> Accepted | list[Answer]:
        """One event, or an array of up to 500 that are answered one by one. Raises Refusal for one, or for all."""
        value = parse(raw)
        now = await self._clock.now()
        if not isinstance(value, list):
            return await self.take(value, publisher, now, route)
        if not 1 <= len(value) <= MAX_EVENTS:
            raise Refusal("wrong_number", f"An array holds 1 to {MAX_EVENTS} events. Split a longer one.", "")
        return await asyncio.gather(*(self._answer(event, publisher, now, route) for event in value))

    async def take(self, value: Any, publisher: Publisher, now: Instant, route: str) -> Accepted:
        """One parsed event: judged, appended, answered. Raises Refusal. Leaves one line in the log."""
        begun = time.monotonic()
        id = readable_id(value)
        line = {"tenant": publisher.tenant, "source": publisher.source, "id": id, "route": route}
        try:
            event = judge(value, publisher, self._tenants, now)
            line |= {"type": event.type, "case": event.case}
            answer = await self._appender.submit(event)
        except Refusal as refusal:
            refusal.id = id
            canonical("event_refused", **line, outcome="refused", code=refusal.code, pointer=refusal.pointer)
            raise
        milliseconds = round((time.monotonic() - begun) * 1000)
        canonical("event_taken", **line, outcome=answer.status, receipt=answer.receipt, milliseconds=milliseconds)
        return answer

    async def _answer(self, value: Any, publisher: Publisher, now: Instant, route: str) -> Answer:
        try:
            return await self.take(value, publisher, now, route)
        except Refusal as refusal:
            return refused_answer(refusal, publisher.source)


class Inbox:
    """Takes letters out of INBOX: an accepted one is answered on RECEIPTS, a refused one goes to DEAD besides."""

    def __init__(self, doors: Doors, clock: Clock, pool: asyncpg.Pool, nc: Client, vault: Vault) -> None:
        self._doors = doors
        self._clock = clock
        self._pool = pool
        self._nc = nc
        self._vault = vault

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
        try:
            try:
                answer: Answer = await self._take(letter.data, f"{noun}.{verb}", publisher, now)
                await failpoint("inbox.after_accept")
            except Refusal as refusal:
                if refusal.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
                    await letter.nak(delay=_AGAIN_SECONDS)
                    return
                answer = await self._bury(letter, publisher, refusal, now)
            await tell(self._nc, tenant, source, answer, f"inbox-{letter.metadata.sequence.stream}")
            await failpoint("inbox.after_receipt")
            await letter.ack()
        except Exception as error:  # one letter's trouble must not reach the others
            get_logger().warning("letter_left", tenant=tenant, source=source, error=error_code(error))
            await letter.nak(delay=_AGAIN_SECONDS)

    async def _take(self, raw: bytes, type: str, publisher: Publisher, now: Instant) -> Accepted:
        value = parse(raw)
        if isinstance(value, dict) and value.get("type") != type:
            refusal = Refusal("wrong_type", "The type must be the one in the subject it came on.", "/type")
            refusal.id = readable_id(value)
            raise refusal
        return await self._doors.take(value, publisher, now, "inbox")

    async def _bury(self, letter: Msg, publisher: Publisher, refusal: Refusal, now: Instant) -> Refused:
        """Puts a refused letter on DEAD, sealed, with the reason in clear; returns what its source is told."""
        answer = refused_answer(refusal, publisher.source)
        name = f"l{secrets.token_hex(12)}"
        async with self._pool.acquire() as conn:
            sealed = await self._vault.seal_letter(conn, publisher.tenant, name, letter.data[:_LETTER_BYTES])
        await failpoint("inbox.after_letter_key")
        body = {
            "letter": name,
            "tenant": publisher.tenant,
            **answer.model_dump(mode="json", exclude_none=True),
            "subject": letter.subject,
            "time": text(now, _UTC),
            "truncated": len(letter.data) > _LETTER_BYTES,
            "sealed": base64.b64encode(sealed).decode(),
        }
        await self._nc.jetstream().publish(
            dead_subject(*publisher),
            json.dumps(body).encode(),
            timeout=3,
            stream="DEAD",
            headers={"Nats-Msg-Id": f"inbox-{letter.metadata.sequence.stream}"},
        )
        await failpoint("inbox.after_dead")
        return answer


async def _hold(letter: Msg) -> None:
    """Says that a letter is being dealt with, so that it comes again soon only where whoever had it died."""
    while True:
        await asyncio.sleep(HOLD_SECONDS)
        await letter.in_progress()
