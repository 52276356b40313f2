"""API keys: made for one source of one tenant, two alive at most, and revoked for ever.

The one rule it protects: a key is shown once, to whoever asked for it. What is kept is its SHA-256, which tells nothing
of 256 random bits.
"""

import hashlib
import secrets
from http import HTTPStatus
from typing import NamedTuple

from services.chassis.vault import Connection
from services.intake.judge import Publisher, Refusal
from services.rules.instants import Instant

LIVE = 2
"""How many keys of a source may be alive at a time."""
SHOWN = 12
"""How many hexadecimal digits of its SHA-256 name a key to people."""


class ApiKey(NamedTuple):
    """A key as it may be shown: the first digits of its SHA-256, and since and until when it is alive."""

    name: str
    created: Instant | None
    """None: entered by provisioning."""
    revoked: Instant | None


def digest(key: str) -> bytes:
    """What is kept of a key, and looked for where one is sent."""
    return hashlib.sha256(key.encode()).digest()


async def make(conn: Connection, publisher: Publisher, now: Instant) -> str:
    """A new key. Raises Refusal where two are alive already."""
    key = secrets.token_urlsafe(32)
    async with conn.transaction():
        await conn.execute("lock table intake.publishers in share row exclusive mode")
        alive = await conn.fetchval(
            "select count(*) from intake.publishers where tenant = $1 and source = $2 and revoked is null", *publisher
        )
        if alive >= LIVE:
            raise Refusal(
                "too_many_keys", "Two keys are alive. Revoke the older one first.", status=HTTPStatus.CONFLICT
            )
        await admit(conn, publisher, key, now)
    return key


async def admit(conn: Connection, publisher: Publisher, key: str, now: Instant) -> bool:
    """Enters a key that was made elsewhere; False where it is known, be it alive or revoked."""
    kept = digest(key)
    entered = await conn.fetchval(
        "insert into intake.publishers (tenant, source, key_sha256, name, created) values ($1, $2, $3, $4, $5)"
        " on conflict do nothing returning true",
        *publisher,
        kept,
        kept.hex()[:SHOWN],
        now,
    )
    return bool(entered)


async def revoke(conn: Connection, publisher: Publisher, now: Instant, *, everything: bool = False) -> list[str]:
    """Revokes the older of two live keys, or with `everything` all; returns the names of those that were."""
    rows = await conn.fetch(
        "with alive as (select key_sha256, row_number() over (order by created desc nulls last, key_sha256) as age"
        " from intake.publishers where tenant = $1 and source = $2 and revoked is null)"
        " update intake.publishers p set revoked = $3 from alive a"
        " where p.key_sha256 = a.key_sha256 and (a.age > 1 or $4) returning p.key_sha256",
        *publisher,
        now,
        everything,
    )
    return sorted(row["key_sha256"].hex()[:SHOWN] for row in rows)


async def listed(conn: Connection, publisher: Publisher) -> list[ApiKey]:
    """All keys that a source ever had, the oldest first."""
    rows = await conn.fetch(
        "select key_sha256, created, revoked from intake.publishers where tenant = $1 and source = $2"
        " order by created nulls first, key_sha256",
        *publisher,
    )
    return [ApiKey(row["key_sha256"].hex()[:SHOWN], row["created"], row["revoked"]) for row in rows]


async def publisher_of(conn: Connection, kept: bytes) -> Publisher | None:
    """Whose key it is, by its digest, while it is alive."""
    row = await conn.fetchrow(
        "select tenant, source from intake.publishers where key_sha256 = $1 and revoked is null", kept
    )
    return None if row is None else Publisher(row["tenant"], row["source"])
