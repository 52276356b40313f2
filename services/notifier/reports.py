"""Reports: what gateways tell, later and by themselves, of messages that they took.

The one rule: a report counts only with the mark of its message, which nobody can make without our key. It is kept
before its sender is thanked, by whatever process receives it, and told by the one that holds the lease.
"""

import asyncio
import hmac
from collections.abc import Callable
from pathlib import Path

import asyncpg
from fastapi import APIRouter, Response

from services.chassis.clock import Clock
from services.chassis.failpoints import failpoint
from services.chassis.health import Part
from services.chassis.settings import SettingsError
from services.notifier.gateways import Found, Gateway, Letter, Means
from services.notifier.gateways.kannel import FATES
from services.notifier.guard import pause
from services.notifier.ledger import Ledger, wait
from services.rules import instants
from services.rules.instants import Instant

BATCH = 200
QUESTIONS = 20
"""Messages that one gateway is asked after at a time."""
FIRST_PAUSE, LONGEST_PAUSE = 20 * instants.SECOND, instants.HOUR
LAST_QUESTION = 48 * instants.HOUR
"""So long after a message was sent its gateway is asked what became of it."""
ENDS = (Found.DELIVERED, Found.UNDELIVERED)
LOOK_SECONDS = 1.0
KEY_BYTES = 32
LATEST = 0
"""In place of an attempt: the last one by that means. A mail looks the same at every attempt."""


class Marks:
    """Makes and knows the marks of messages."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SettingsError(f"The file that GIHAN_REPORTS_KEY_FILE names must hold {KEY_BYTES} bytes.")
        self._key = key

    @classmethod
    def of_file(cls, path: Path) -> "Marks":
        """With the key in a file. Raises SettingsError."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise SettingsError(
                f"The file named by GIHAN_REPORTS_KEY_FILE cannot be read ({error.strerror})."
            ) from None

    def of(self, key: str, attempt: int = LATEST) -> str:
        """The mark of an attempt at a message: 32 hexadecimal digits."""
        return hmac.digest(self._key, f"{key}|{attempt}".encode(), "sha256").hex()[:32]

    def fits(self, mark: str, key: str, attempt: int = LATEST) -> bool:
        """Whether a mark is that of the message, found out in the same time whatever it is."""
        return hmac.compare_digest(mark.encode(), self.of(key, attempt).encode())

    def address(self, base: str) -> Callable[[Letter], str]:
        """Makes the address below `base` at which a gateway reports on a letter."""
        return lambda letter: (
            f"{base.rstrip('/')}/reports/{letter.key}/{letter.attempt}/{self.of(letter.key, letter.attempt)}"
        )


async def keep(pool: asyncpg.Pool, key: str, means: Means, attempt: int, found: Found, code: str) -> None:
    """Writes a report down, once, for the holder of the lease."""
    await pool.execute(
        "INSERT INTO notifier.reports (key, means, attempt, found, code) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT DO NOTHING",
        key,
        means,
        attempt,
        found.value,
        code,
    )


def routes(marks: Marks, pool: Callable[[], asyncpg.Pool]) -> APIRouter:
    """Where Kannel reports. What has no mark is answered like what is not there."""
    router = APIRouter()

    @router.get("/reports/{key}/{attempt}/{mark}", include_in_schema=False)
    async def reported(key: str, attempt: int, mark: str, status: str = "") -> Response:
        if not 0 < attempt < 2**15 or not marks.fits(mark, key, attempt):
            return Response(status_code=404)
        if status in FATES:
            await keep(pool(), key, "sms", attempt, FATES[status], f"kannel_{status}")
        return Response(status_code=204)

    return router


_KEPT = """
    SELECT r.number, r.found, r.code, a.key, a.number AS attempt
    FROM notifier.reports r LEFT JOIN notifier.attempts a ON a.key = r.key AND a.number = (
        SELECT max(l.number) FROM notifier.attempts l
        WHERE l.key = r.key AND l.means = r.means AND (r.attempt = 0 OR l.number = r.attempt))
    WHERE a.key IS NULL OR a.outcome IS NOT NULL
    ORDER BY r.number LIMIT $1
"""
"""Reports of attempts whose end is written down, or that nobody knows. A report may be faster than our own record."""


async def take_in(ledger: Ledger, clock: Clock, part: Part) -> None:
    """Tells what was reported, until cancelled."""
    while True:
        changed = ledger.changed
        kept = await ledger.pool.fetch(_KEPT, BATCH)
        if kept:
            await failpoint("reports.before_telling")
            async with ledger.writing(await clock.now()) as work:
                for row in kept:
                    if row["key"] is not None:
                        await work.learn(row["key"], row["attempt"], Found(row["found"]), row["code"])
                await work.connection.execute(
                    "DELETE FROM notifier.reports WHERE number = ANY($1::bigint[])", [row["number"] for row in kept]
                )
        part.beat()
        if not kept:
            await wait(changed, LOOK_SECONDS)


_TO_ASK = """
    SELECT key, number, ref, asked, started_at FROM notifier.attempts
    WHERE gateway = $1 AND ask_at <= $2 ORDER BY ask_at LIMIT $3
"""


async def ask(ledger: Ledger, gateway: Gateway, clock: Clock, part: Part) -> None:
    """Asks a gateway what became of the messages that it took, each after pauses that grow, until cancelled."""
    unreached = 0
    while True:
        changed = ledger.changed
        rows = await ledger.pool.fetch(_TO_ASK, gateway.name, await clock.now(), QUESTIONS)
        told = await asyncio.gather(*(gateway.report(row["ref"]) for row in rows))
        if rows and all(one.found is Found.UNREACHABLE for one in told):
            unreached += 1
            part.down(f"the {gateway.name} gateway does not say what became of messages: look at its address")
            await asyncio.sleep(pause(unreached))
            continue
        unreached = 0
        if rows:
            await failpoint("reports.after_asking")
            async with ledger.writing(await clock.now()) as work:
                for row, one in zip(rows, told, strict=True):
                    if one.found in ENDS:
                        await work.learn(row["key"], row["number"], one.found, one.code)
                    else:
                        await work.ask_later(row["key"], row["number"], _next_question(row, work.now))
        part.beat()
        if len(rows) < QUESTIONS:
            await wait(changed, LOOK_SECONDS)


def _next_question(row: asyncpg.Record, now: Instant) -> Instant | None:
    """When to ask again; None where the gateway has been asked for long enough, and the message stays sent."""
    if now - row["started_at"] > LAST_QUESTION:
        return None
    asked: int = row["asked"]
    return now + int(min(LONGEST_PAUSE, FIRST_PAUSE * 3**asked))
