"""Delivery: one courier per gateway takes what is pending, attempts it, and writes down what came of it.

The one rule: the attempt stands in the ledger before the gateway is called. Whatever dies in between leaves
a message that is `unknown`, and the gateway is asked after it before it is handed over again, under the
same key.
"""

import asyncio
import random
import time
from typing import NamedTuple

import asyncpg

from services.chassis.clock import Clock
from services.chassis.failpoints import failpoint
from services.chassis.health import Part
from services.chassis.logs import canonical, get_logger
from services.chassis.vault import Erased, MasterKeyMissing, NotAllowed, VaultError
from services.notifier.composing import Composer
from services.notifier.gateways import Answer, Found, Gateway, Letter, Outcome
from services.notifier.ledger import Ledger, Work, wait
from services.notifier.texts import Unsayable

BATCH = 32
LOOK_SECONDS = 0.5
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
MOST_ATTEMPTS = 20
"""Answers of "not now" (or none at all) to one message by one means, before the next means is tried."""

_CLAIM = """
    SELECT * FROM notifier.notices n
    WHERE state = 'pending' AND means = $1 AND key <> ALL($2::text[]) AND NOT EXISTS (
        SELECT 1 FROM notifier.notices earlier
        WHERE earlier.tenant = n.tenant AND earlier.case_id = n.case_id AND earlier.means = n.means
          AND earlier.number < n.number AND earlier.state IN ('pending', 'sending', 'unknown'))
    ORDER BY number LIMIT $3
"""
"""The next messages of a means; of one case only the first, so that a case is told things in their order."""


class Attempt(NamedTuple):
    """A message under way: its row as of the attempt, and what is handed to the gateway."""

    row: asyncpg.Record
    letter: Letter


class Courier:
    """Brings messages to one gateway. Its troubles stop no other courier."""

    def __init__(self, ledger: Ledger, gateway: Gateway, composer: Composer, clock: Clock, part: Part) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._composer = composer
        self._clock = clock
        self._part = part
        self._resting: dict[str, float] = {}
        self._pauses: dict[str, int] = {}

    async def run(self) -> None:
        """Delivers until cancelled. First what was left in the middle, by a dead notifier or by trouble in this one."""
        await self._ledger.recover(await self._clock.now(), self._gateway.means)
        await failpoint("delivery.after_recovery")
        failures = 0
        while True:
            changed = self._ledger.changed
            reached, busy = await self._round(1 if failures else BATCH)
            if not reached:
                failures += 1
                self._part.down(
                    f"the {self._gateway.means} gateway cannot be reached: look at its address and whether it runs"
                )
                await asyncio.sleep(_pause(failures))
                continue
            failures = 0
            self._part.beat(resting=len(self._resting))
            if not busy:
                await wait(changed, LOOK_SECONDS)

    async def _round(self, limit: int) -> tuple[bool, bool]:
        """Asks after what is unknown, then attempts what is next: (gateway reached, anything done)."""
        unknown = await self._reconcile(limit)
        if unknown is None:
            return False, True
        attempts, settled = await self._begin(limit)
        if attempts:
            await failpoint("delivery.after_attempt")
            await self._ledger.check_turn()
        answers = await asyncio.gather(*(self._gateway.send(attempt.letter) for attempt in attempts))
        if attempts:
            await failpoint("delivery.after_gateway")
            await self._finish(list(zip(attempts, answers, strict=True)))
            await failpoint("delivery.after_result")
        reached = all(answer.outcome is not Outcome.UNREACHABLE for answer in answers)
        return reached, bool(attempts or unknown or settled)

    async def _reconcile(self, limit: int) -> int | None:
        """Asks after messages whose last attempt has no known end; None where the gateway cannot be
        reached.
        """
        rows = await self._ledger.pool.fetch(
            # One without a topic was restored from NOTICES, and what it says is still to be worked out.
            "SELECT * FROM notifier.notices WHERE state = 'unknown' AND means = $1 AND topic <> '' "
            "ORDER BY number LIMIT $2",
            self._gateway.means,
            limit,
        )
        for row in rows:
            found = await self._gateway.find(row["key"])
            if found is Found.UNREACHABLE:
                return None
            await failpoint("delivery.after_asking")
            async with self._ledger.writing(await self._clock.now()) as work:
                await self._apply_found(work, row, found)
            await failpoint("delivery.after_reconciling")
            canonical(
                "notice_reconciled", key=row["key"], tenant=row["tenant"], case=row["case_id"], outcome=found.value
            )
        return len(rows)

    async def _apply_found(self, work: Work, row: asyncpg.Record, found: Found) -> None:
        if found is Found.TAKEN:
            await work.end_attempt(row, Outcome.ACCEPTED, "asked_after")
            await work.settle(row, "sent", "asked_after")
            return
        if found is Found.NOT_TAKEN:
            await work.end_attempt(row, "not_taken", "asked_after")
            if row["retracted"]:
                await work.settle(row, "suppressed", "retracted")
                return
        # Where the gateway cannot say, the attempt stays unanswered, which marks the next one as a
        # repetition.
        await self._try_again(work, row)

    async def _begin(self, limit: int) -> tuple[list[Attempt], bool]:
        """Writes down the attempts that are about to be made, with what the vault says now; and whether a
        message was settled because nobody can be written to any more.
        """
        for key in [key for key, until in self._resting.items() if until <= time.monotonic()]:
            del self._resting[key]
        claim = (_CLAIM, self._gateway.means, list(self._resting), limit)
        if not await self._ledger.pool.fetch(*claim):
            return [], False
        attempts, lost = [], []
        async with self._ledger.writing(await self._clock.now()) as work:
            rows = await work.connection.fetch(*claim)
            views = await work.views({(row["tenant"], row["case_id"]) for row in rows})
            for row in rows:
                try:
                    letter = await self._composer.letter(work, row, views[row["tenant"], row["case_id"]])
                except (MasterKeyMissing, NotAllowed):
                    raise  # what is missing may come: the message waits, and this part is red
                except (VaultError, Unsayable) as error:
                    reason = _undeliverable(error)
                    await work.settle(row, "failed", reason)
                    lost.append((row, reason))
                    continue
                attempts.append(Attempt(await _write_attempt(work, row), letter))
        for row, reason in lost:
            get_logger().warning("notice_undeliverable", key=row["key"], template=row["template"], reason=reason)
        return attempts, bool(lost)

    async def _finish(self, results: list[tuple[Attempt, Answer]]) -> None:
        now = await self._clock.now()
        async with self._ledger.writing(now) as work:
            for attempt, answer in results:
                await self._apply_answer(work, attempt.row, answer)
        for attempt, answer in results:
            row = attempt.row
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

    async def _apply_answer(self, work: Work, row: asyncpg.Record, answer: Answer) -> None:
        await work.end_attempt(row, answer.outcome, answer.code)
        match answer.outcome:
            case Outcome.ACCEPTED:
                self._pauses.pop(row["key"], None)
                await work.settle(row, "sent", answer.code)
            case Outcome.REJECTED:
                await _next_means(work, row)
            case Outcome.UNANSWERED:
                await _mark(work, row, "unknown")
                work.tell_result(row, "unknown", answer.code)
            case Outcome.DEFERRED:
                await self._try_again(work, row)
            case Outcome.UNREACHABLE:
                await _mark(work, row, "pending")

    async def _try_again(self, work: Work, row: asyncpg.Record) -> None:
        """Back in line after a growing pause, until this means has been tried often enough."""
        tried = await work.connection.fetchval(
            "SELECT count(*) FROM notifier.attempts WHERE key = $1 AND means = $2 "
            "AND outcome IN ('deferred', 'unanswered')",
            row["key"],
            row["means"],
        )
        if tried >= MOST_ATTEMPTS:
            await work.end_attempt(row, "gave_up", "too_often")
            await _next_means(work, row)
            return
        pauses = self._pauses[row["key"]] = self._pauses.get(row["key"], 0) + 1
        self._resting[row["key"]] = time.monotonic() + _pause(pauses)
        await _mark(work, row, "pending")


def _undeliverable(error: Exception) -> str:
    if isinstance(error, Unsayable):
        return "no_words"
    return "erased" if isinstance(error, Erased) else "no_recipient"


async def _write_attempt(work: Work, row: asyncpg.Record) -> asyncpg.Record:
    started = await work.connection.fetchrow(
        "UPDATE notifier.notices SET state = 'sending', attempts = attempts + 1 WHERE key = $1 RETURNING *", row["key"]
    )
    assert started is not None
    await work.connection.execute(
        "INSERT INTO notifier.attempts (key, number, means, repeated, started_at) SELECT $1, $2, $3, EXISTS "
        "(SELECT 1 FROM notifier.attempts WHERE key = $1 AND means = $3 AND outcome = 'unanswered'), $4",
        started["key"],
        started["attempts"],
        started["means"],
        work.now,
    )
    return started


async def _mark(work: Work, row: asyncpg.Record, state: str) -> None:
    await work.connection.execute("UPDATE notifier.notices SET state = $2 WHERE key = $1", row["key"], state)


async def _next_means(work: Work, row: asyncpg.Record) -> None:
    view = (await work.views([(row["tenant"], row["case_id"])]))[row["tenant"], row["case_id"]]
    await work.plan(row, view)


def _pause(times: int) -> float:
    """Seconds before the next try: doubling, with a limit, and spread so that not all come back at once."""
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(times, 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
