"""Delivery: one courier per gateway takes what is pending, attempts it, and writes down what came of it.

The one rule: the attempt stands in the ledger before the gateway is called. Whatever dies in between leaves
a message that is `unknown`, and the gateway is asked after it before it is handed over again, under the
same key.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg

from services.chassis.clock import Clock
from services.chassis.failpoints import failpoint
from services.chassis.health import CollectorRegistry, Counter, Gauge, Part
from services.chassis.logs import canonical, get_logger
from services.notifier.composing import Composer, Unwritten
from services.notifier.gateways import Answer, Found, Gateway, Letter, Outcome, Told
from services.notifier.guard import Breaker, Bucket, pause
from services.notifier.ledger import Ledger, Work, wait
from services.rules import instants
from services.rules.instants import Instant

LOOK_SECONDS = 0.5
LONGEST_REST_SECONDS = 900.0
"""Of a message between two attempts."""
MOST_ATTEMPTS = 20
MOST_TIME = 24 * instants.HOUR
"""Answers of "not now" (or none at all) to one message by one means, and the time from the first of them on, before the
next means is tried."""
FIRST_QUESTION = 10 * instants.SECOND
"""After a message was taken, until its gateway is asked for the first time what became of it."""

_CLAIM = """
    SELECT * FROM notifier.notices n
    WHERE state = 'pending' AND means = $1 AND tenant = ANY($2::text[]) AND key <> ALL($3::text[]) AND NOT EXISTS (
        SELECT 1 FROM notifier.notices earlier
        WHERE earlier.tenant = n.tenant AND earlier.case_id = n.case_id AND earlier.means = n.means
          AND earlier.number < n.number AND earlier.state IN ('pending', 'sending', 'unknown'))
    ORDER BY number LIMIT $4
"""
"""The next messages of a means; of one case only the first, so that a case is told things in their order."""


class Attempt(NamedTuple):
    """A message under way: its row as of the attempt, and what is handed to the gateway."""

    row: asyncpg.Record
    letter: Letter


class Meters:
    """What couriers show of their gateways to Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "gihan_delivery_attempts", "Attempts at messages", ["gateway", "outcome"], registry=registry
        )
        self.open = Gauge(
            "gihan_gateway_open", "1 while a gateway in trouble is left alone", ["gateway"], registry=registry
        )
        self.tokens = Gauge(
            "gihan_gateway_tokens", "Messages that a gateway's rate lets go now", ["gateway"], registry=registry
        )


class Courier:
    """Brings the messages of some tenants to one gateway. Its troubles stop no other courier."""

    def __init__(
        self,
        ledger: Ledger,
        gateway: Gateway,
        tenants: Sequence[str],
        composer: Composer,
        clock: Clock,
        part: Part,
        meters: Meters,
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._tenants = list(tenants)
        self._composer = composer
        self._clock = clock
        self._part = part
        self._meters = meters
        self._breaker = Breaker()
        self._bucket = Bucket(gateway.rate)
        self._resting: dict[str, float] = {}
        self._rests: dict[str, int] = {}

    async def run(self) -> None:
        """Delivers until cancelled. First what was left in the middle, by a dead notifier or by trouble in this one."""
        await self._ledger.recover(await self._clock.now(), self._gateway.means, self._tenants)
        await failpoint("delivery.after_recovery")
        while True:
            changed = self._ledger.changed
            await asyncio.sleep(max(self._breaker.wait_seconds, self._bucket.wait_seconds))
            busy = await self._round()
            self._show()
            if not busy:
                await wait(changed, LOOK_SECONDS)

    def _show(self) -> None:
        facts: dict[str, Any] = {"resting": len(self._resting), "breaker": self._breaker.state}
        self._meters.open.labels(gateway=self._gateway.name).set(self._breaker.state == "open")
        if self._bucket.rate:
            facts["tokens"] = int(self._bucket.tokens)
            self._meters.tokens.labels(gateway=self._gateway.name).set(self._bucket.tokens)
        self._part.beat(**facts)
        if self._breaker.state != "closed":
            self._part.down(
                f"the {self._gateway.name} gateway cannot be reached, or takes nothing now: look at its address, its "
                "account and whether it runs"
            )

    async def _round(self) -> bool:
        """Asks after what is unknown, then attempts what is next; whether there was anything to do."""
        most = self._bucket.allows(1 if self._breaker.failures else self._gateway.together)
        unknown = await self._reconcile(most)
        if unknown is None:
            self._breaker.failed(unreached=True)
            return True
        attempts, settled = await self._begin(most)
        if not attempts:
            if not self._resting:  # nothing waits for it, so nothing is known against it
                self._breaker.succeeded()
            return bool(unknown or settled)
        await failpoint("delivery.after_attempt")
        await self._ledger.check_turn()
        self._bucket.spend(len(attempts))
        answers = await self._gateway.send([attempt.letter for attempt in attempts])
        await failpoint("delivery.after_gateway")
        await self._finish(list(zip(attempts, answers, strict=True)))
        await failpoint("delivery.after_result")
        self._breaker.judge(answers)
        return True

    async def _reconcile(self, most: int) -> int | None:
        """Asks after messages whose last attempt has no known end; None where the gateway cannot be
        reached.
        """
        rows = await self._ledger.pool.fetch(
            # One without a topic was restored from NOTICES, and what it says is still to be worked out.
            "SELECT * FROM notifier.notices WHERE state = 'unknown' AND means = $1 AND tenant = ANY($2::text[]) "
            "AND topic <> '' ORDER BY number LIMIT $3",
            self._gateway.means,
            self._tenants,
            most,
        )
        for row in rows:
            told = await self._ask(row)
            if told is None:
                continue
            if told.found is Found.UNREACHABLE:
                return None
            await failpoint("delivery.after_asking")
            async with self._ledger.writing(await self._clock.now()) as work:
                if (now := await work.still_unknown(row)) is not None:  # a report may have come first
                    await self._apply_found(work, now, told)
            await failpoint("delivery.after_reconciling")
            canonical(
                "notice_reconciled", key=row["key"], tenant=row["tenant"], case=row["case_id"], outcome=told.found.value
            )
        return len(rows)

    async def _ask(self, row: asyncpg.Record) -> Told | None:
        """What the gateway says of an attempt without an end; None where nobody can say any more what was sent."""
        if not self._gateway.finds:
            return Told(Found.CANNOT_SAY)
        async with self._ledger.writing(await self._clock.now()) as work:
            (letter,) = await self._composer.letters(work, [row])
            if isinstance(letter, Unwritten):
                await self._give_up(work, row, letter)
                return None
            since: Instant = await work.connection.fetchval(
                "SELECT started_at FROM notifier.attempts WHERE key = $1 AND number = $2", row["key"], row["attempts"]
            )
        return await self._gateway.find(letter, since)

    async def _apply_found(self, work: Work, row: asyncpg.Record, told: Told) -> None:
        match told.found:
            case Found.TAKEN | Found.DELIVERED | Found.UNDELIVERED:
                await self._taken(work, [(row, Answer(Outcome.ACCEPTED, "asked_after", told.ref))])
                await work.settle(row, "sent", "asked_after")
                if told.found is not Found.TAKEN:
                    await work.learn(row["key"], row["attempts"], told.found, told.code)
                return
            case Found.NOT_TAKEN:
                await work.end_attempt(row, "not_taken", "asked_after")
        if row["retracted"]:  # whether it went or not, nobody is to be told this again
            await work.settle(row, "suppressed", "retracted")
            return
        # Where the gateway cannot say, the attempt stays unanswered, which marks the next one as a
        # repetition.
        await self._try_again(work, row)

    async def _begin(self, most: int) -> tuple[list[Attempt], bool]:
        """Writes down the attempts that are about to be made, with what the vault says now; and whether a
        message was settled because nobody can be written to any more.
        """
        for key in [key for key, until in self._resting.items() if until <= time.monotonic()]:
            del self._resting[key]
        claim = (_CLAIM, self._gateway.means, self._tenants, list(self._resting), most)
        if not await self._ledger.pool.fetch(*claim):
            return [], False
        async with self._ledger.writing(await self._clock.now()) as work:
            rows = await work.connection.fetch(*claim)
            letters = await self._composer.letters(work, rows)
            for row, letter in zip(rows, letters, strict=True):
                if isinstance(letter, Unwritten):
                    await self._give_up(work, row, letter)
            written = {letter.key: letter for letter in letters if isinstance(letter, Letter)}
            started = await work.begin_attempts(list(written), self._gateway.name)
        return [Attempt(row, written[row["key"]]) for row in started], len(written) < len(rows)

    async def _give_up(self, work: Work, row: asyncpg.Record, unwritten: Unwritten) -> None:
        await work.settle(row, "failed", unwritten.reason)
        get_logger().warning("notice_undeliverable", key=row["key"], template=row["template"], reason=unwritten.reason)

    async def _finish(self, results: list[tuple[Attempt, Answer]]) -> None:
        now = await self._clock.now()
        async with self._ledger.writing(now) as work:
            taken = [(attempt.row, answer) for attempt, answer in results if answer.outcome is Outcome.ACCEPTED]
            await self._taken(work, taken)
            for code in sorted({answer.code for _, answer in taken}):
                await work.settle_sent([row["key"] for row, answer in taken if answer.code == code], code)
            for attempt, answer in results:
                if answer.outcome is not Outcome.ACCEPTED:
                    await self._apply_trouble(work, attempt.row, answer)
        for attempt, answer in results:
            row = attempt.row
            self._meters.attempts.labels(gateway=self._gateway.name, outcome=answer.outcome.value).inc()
            canonical(
                "notice_attempted",
                key=row["key"],
                tenant=row["tenant"],
                case=row["case_id"],
                template=row["template"],
                means=row["means"],
                attempt=row["attempts"],
                outcome=answer.outcome.value,
                code=answer.code,
            )

    async def _taken(self, work: Work, taken: Sequence[tuple[asyncpg.Record, Answer]]) -> None:
        """Attempts that the gateway took, and when it is to be asked what became of them."""
        for row, _ in taken:
            self._rests.pop(row["key"], None)
        question = work.now + FIRST_QUESTION if self._gateway.reports else None
        await work.end_taken(
            [
                (row["key"], row["attempts"], answer.code, answer.ref, question if answer.ref else None)
                for row, answer in taken
            ]
        )

    async def _apply_trouble(self, work: Work, row: asyncpg.Record, answer: Answer) -> None:
        await work.end_attempt(row, answer.outcome, answer.code)
        match answer.outcome:
            case Outcome.REJECTED:
                await _next_means(work, row)
            case Outcome.UNANSWERED:
                await work.mark(row, "unknown")
                work.tell_result(row, "unknown", answer.code)
            case Outcome.DEFERRED:
                await self._try_again(work, row)
            case _:
                await work.mark(row, "pending")

    async def _try_again(self, work: Work, row: asyncpg.Record) -> None:
        """Back in line after a growing pause, until this means has been tried often or long enough."""
        tried = await work.connection.fetchrow(
            "SELECT count(*) AS times, min(started_at) AS since FROM notifier.attempts WHERE key = $1 AND means = $2 "
            "AND outcome IN ('deferred', 'unanswered')",
            row["key"],
            row["means"],
        )
        assert tried is not None
        long = tried["since"] is not None and work.now - tried["since"] > MOST_TIME
        if tried["times"] >= MOST_ATTEMPTS or long:
            await work.end_attempt(row, "gave_up", "too_long" if long else "too_often")
            await _next_means(work, row)
            return
        rests = self._rests[row["key"]] = self._rests.get(row["key"], 0) + 1
        self._resting[row["key"]] = time.monotonic() + pause(rests, LONGEST_REST_SECONDS)
        await work.mark(row, "pending")


async def _next_means(work: Work, row: asyncpg.Record) -> None:
    view = (await work.views([(row["tenant"], row["case_id"])]))[row["tenant"], row["case_id"]]
    await work.plan(row, view)
