"""Dead letters: what INBOX brought and was refused, looked at, put right and given in again.

The one rule: nothing happens to a letter without a record of who did it and why. The trail is the vault's access
record: it is hash-chained, outlives letters and keys, and opening a letter has to stand there anyway.

A letter is open while its key is in the vault. It is settled when its event was accepted, or after thirty days; then
the key is destroyed, and of what is left in DEAD only reason, field and source can be read.
"""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.envelope import Accepted, Refused
from contracts.streams import dead_subject, door_subject
from services.chassis.cursor import LogCursor
from services.chassis.logs import OperatorError, error_code
from services.chassis.vault import Connection, Vault
from services.intake.append import tell
from services.rules.instants import DAY, Instant

KEPT = 30 * DAY
"""How long the key of a letter lives; as long as its message stays in DEAD."""

_READ_MESSAGES = 500
_READ_SECONDS = 2.0
_ANSWER_SECONDS = 20.0
_LATER = ("held_back", "unavailable")
"""Refusals that say nothing of the event."""


class DeadError(OperatorError):
    """A letter is not there, cannot be opened any more, or cannot be given in now; says what to do."""


class Letter(NamedTuple):
    """A refused letter as it lies in DEAD; `sealed` alone is not in clear."""

    letter: str
    tenant: str
    source: str
    id: str | None
    code: str
    pointer: str | None
    detail: str
    subject: str
    time: str
    truncated: bool
    open: bool
    sealed: bytes

    def as_json(self) -> dict[str, Any]:
        """Everything in clear."""
        return {name: value for name, value in self._asdict().items() if name != "sealed" and value is not None}


class Step(NamedTuple):
    """Something that was done with a letter."""

    at: datetime
    what: str
    by: str
    purpose: str


class Desk:
    """Works on dead letters for one person. `reader` and `purpose` go into the record of everything done here."""

    def __init__(self, nc: Client, pool: asyncpg.Pool, vault: Vault, reader: str, purpose: str) -> None:
        self._nc = nc
        self._pool = pool
        self._vault = vault
        self._who = f"dead_letter:{purpose}", reader

    async def read(self, letter: Letter) -> list[bytes]:
        """The content as it came, then each that was put in its place. Raises VaultError where it is settled."""
        async with self._pool.acquire() as conn:
            return await self._vault.read_letter(conn, letter.tenant, letter.letter, letter.sealed, *self._who)

    async def fix(self, letter: Letter, content: bytes) -> None:
        """Puts other content in its place; what came is kept beside it. Raises VaultError where it is settled."""
        async with self._pool.acquire() as conn:
            await self._vault.fix_letter(conn, letter.tenant, letter.letter, content, *self._who)

    async def redrive(self, letter: Letter) -> Accepted | Refused:
        """Gives the newest content in again at the door of its source, to the same judge; settles it when accepted.

        May be repeated: an event that was accepted already gets its first answer. Raises DeadError where no intake
        answers or the content is not whole, and VaultError where the letter is settled.
        """
        contents = await self.read(letter)
        if letter.truncated and len(contents) == 1:
            raise DeadError(
                f"Of letter {letter.letter} the beginning alone was kept. Put the whole in its place first."
            )
        async with self._pool.acquire() as conn:
            await self._record(conn, letter, "redriven")
        answer = await self._judged(letter, contents[-1])
        async with self._pool.acquire() as conn:
            if isinstance(answer, Refused):
                await self._record(conn, letter, "refused")
                return answer
            await tell(self._nc, letter.tenant, letter.source, answer)
            await self._vault.settle_letter(conn, letter.tenant, letter.letter, *self._who)
        return answer

    async def history(self, letter: Letter) -> list[Step]:
        """What was done with a letter, in order."""
        rows = await self._pool.fetch(
            "select at, kind, reader, purpose from vault.access where tenant = $1 and ref = $2 and kind like 'letter.%'"
            " order by number",
            letter.tenant,
            letter.letter,
        )
        return [Step(r["at"], r["kind"].partition(".")[2], r["reader"], r["purpose"].partition(":")[2]) for r in rows]

    async def _judged(self, letter: Letter, content: bytes) -> Accepted | Refused:
        try:
            reply = await self._nc.request(door_subject(letter.tenant, letter.source), content, timeout=_ANSWER_SECONDS)
        except (NatsError, TimeoutError) as error:
            raise DeadError(f"No intake answered ({error_code(error)}). Start it, and repeat the command.") from None
        answer = orjson.loads(reply.data)
        if isinstance(answer, list):
            raise DeadError(f"Letter {letter.letter} holds several events in an array. Put one event in its place.")
        if answer["status"] != "refused":
            return Accepted.model_validate(answer)
        if answer["code"] in _LATER:
            raise DeadError(f"Intake cannot take letter {letter.letter} now ({answer['code']}). Repeat the command.")
        return Refused.model_validate(answer)

    async def _record(self, conn: Connection, letter: Letter, what: str) -> None:
        await self._vault.record_letter(conn, letter.tenant, letter.letter, what, *self._who)


async def letters(
    nc: Client, pool: asyncpg.Pool, tenant: str | None = None, source: str | None = None, code: str | None = None
) -> list[Letter]:
    """The letters in DEAD, oldest first: all, or those of a tenant, a source, a reason. One that was put there twice is
    one letter, the newer copy."""
    found: dict[str, Mapping[str, Any]] = {}
    async with LogCursor(nc, stream="DEAD", after=0, subject=dead_subject(tenant or "*", source or "*")) as cursor:
        pending = cursor.pending > 0
        while pending:
            bodies = [orjson.loads(entry.data) for entry in await cursor.read(_READ_MESSAGES, _READ_SECONDS)]
            found |= {body["letter"]: body for body in bodies}
            pending = cursor.pending > 0
    rows = await pool.fetch("select letter from vault.letters")
    keys = {row["letter"] for row in rows}
    return [_letter(body, keys) for body in found.values() if code in (None, body["code"])]


async def letter_named(nc: Client, pool: asyncpg.Pool, name: str) -> Letter:
    """One letter. Raises DeadError where there is none of that name."""
    found = [letter for letter in await letters(nc, pool) if letter.letter == name]
    if not found:
        raise DeadError("There is no letter of that name in DEAD: look at `gihan dead list`.")
    return found[0]


def _letter(body: Mapping[str, Any], keys: set[str]) -> Letter:
    return Letter(
        letter=body["letter"],
        tenant=body["tenant"],
        source=body["source"],
        id=body.get("id"),
        code=body["code"],
        pointer=body.get("pointer"),
        detail=body["detail"],
        subject=body["subject"],
        time=body["time"],
        truncated=body["truncated"],
        open=body["letter"] in keys,
        sealed=base64.b64decode(body["sealed"]),
    )


async def forget_expired(pool: asyncpg.Pool, now: Instant) -> None:
    """Destroys the keys of letters whose time is over, and what was put in their place."""
    await pool.execute(
        "with gone as (delete from vault.letters where expires <= $1 returning tenant, letter)"
        " delete from vault.letter_fixes f using gone where f.tenant = gone.tenant and f.letter = gone.letter",
        now,
    )
