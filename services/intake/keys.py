"""Keys of the HTTP API: made, listed and revoked; each stands for one source of one tenant.

The one rule it protects: a key is shown once, when it is made. The database has its SHA-256, which tells nothing, since
a key is 256 random bits.
"""

import hashlib
import secrets
from typing import NamedTuple

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from services.chassis.logs import OperatorError
from services.rules.instants import Instant

Connection = asyncpg.Connection | PoolConnectionProxy

MOST_LIVE = 2
"""So many keys of a source may be alive at a time: the old one, until every system has the new one."""

_PREFIX = "gihan_"
"""By which a key is recognised where it should not be, in a repository for instance."""


class WrongKey(OperatorError):
    """A key cannot be made or revoked; says what to do first."""


class Key(NamedTuple):
    """What may be known of a key. `name` is the beginning of its hash; instants in microseconds."""

    tenant: str
    source: str
    name: str
    created: Instant | None
    revoked: Instant | None


def digest(key: str) -> bytes:
    """What the database keeps of a key."""
    return hashlib.sha256(key.encode()).digest()


async def issue(connection: Connection, tenant: str, source: str, now: Instant) -> str:
    """A new key of a source, which nobody can show again. Raises WrongKey where two are alive already."""
    async with connection.transaction():
        # Two who issue at once must not end with three keys.
        await connection.execute("select pg_advisory_xact_lock(hashtext($1))", f"keys/{tenant}/{source}")
        live = [key for key in await listed(connection, tenant, source) if key.revoked is None]
        if len(live) >= MOST_LIVE:
            names = " and ".join(key.name for key in live)
            raise WrongKey(f"{tenant}/{source} has two live keys, {names}: revoke the one that nobody uses any more.")
        key = _PREFIX + secrets.token_urlsafe(32)
        await connection.execute(
            "insert into intake.publishers (tenant, source, key_sha256, created) values ($1, $2, $3, $4)",
            tenant,
            source,
            digest(key),
            now,
        )
    return key


async def revoke(connection: Connection, tenant: str, source: str, name: str, now: Instant) -> None:
    """Ends a key; whoever still sends it is refused within ten seconds. Raises WrongKey where there is none."""
    done = await connection.execute(
        "update intake.publishers set revoked = $4 where tenant = $1 and source = $2 and revoked is null"
        " and left(encode(key_sha256, 'hex'), 12) = $3",
        tenant,
        source,
        name,
        now,
    )
    if done == "UPDATE 0":
        raise WrongKey(f"{tenant}/{source} has no live key of this name: list its keys first.")


async def listed(connection: Connection, tenant: str | None = None, source: str | None = None) -> list[Key]:
    """The keys of a source, of a tenant, or of all, the oldest first."""
    rows = await connection.fetch(
        "select tenant, source, left(encode(key_sha256, 'hex'), 12) as name, created, revoked from intake.publishers"
        " where ($1::text is null or tenant = $1) and ($2::text is null or source = $2)"
        " order by tenant, source, created nulls first, name",
        tenant,
        source,
    )
    return [Key(**row) for row in rows]
