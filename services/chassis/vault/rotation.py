"""Rotation: each key of the vault is wrapped anew by the newest master key, and old master keys are destroyed.

The one rule it protects: a master key is destroyed only after a whole look at the vault found nothing that it wraps,
and not before the days are over for which backups are to be readable. Then nobody reads those backups any more, and
with them whoever was erased since.
"""

from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

import asyncpg

from services.chassis.failpoints import failpoint
from services.chassis.logs import get_logger
from services.chassis.vault.keys import EPOCH_BYTES, Connection, Keys, MasterKeyMissing, columns, epoch_of

BATCH_KEYS = 500
"""Keys wrapped anew in one transaction."""


class _Wrapped(NamedTuple):
    """A column of wrapped keys: `place` names what a key is bound to, from the row's id."""

    table: str
    id: str
    type: str
    column: str
    place: Callable[[str], str]

    @property
    def least(self) -> str:
        return "00000000-0000-0000-0000-000000000000" if self.type == "uuid" else ""


_COLUMNS = (
    _Wrapped("tenants", "tenant", "text", "seal_key", lambda _: "seal"),
    _Wrapped("tenants", "tenant", "text", "index_key", lambda _: "index"),
    _Wrapped("people", "person", "uuid", "data_key", str),
    _Wrapped("staff", "staff", "text", "data_key", lambda staff: f"staff|{staff}"),
    _Wrapped("letters", "letter", "text", "data_key", lambda letter: f"letter|{letter}"),
)


class Rotation(NamedTuple):
    """What a rotation did: the epoch that seals now, how many keys it wrapped anew, the master keys destroyed, and how
    many keys no master key in the folder opens, by epoch."""

    epoch: str
    wrapped: int
    destroyed: list[str]
    unreadable: dict[str, int]


class Rotating(Keys):
    """Looks after the master keys."""

    @staticmethod
    async def usage(conn: Connection) -> Counter[str]:
        """How many keys of the vault each master key wraps."""
        used: Counter[str] = Counter()
        for c in _COLUMNS:
            rows = await conn.fetch(
                f"select substring({c.column} for {EPOCH_BYTES}) as epoch, count(*) as keys from vault.{c.table}"  # noqa: S608
                " group by 1",
                timeout=60,
            )
            for row in rows:
                used[epoch_of(row["epoch"])] += row["keys"]
        return used

    async def unreadable(self, conn: Connection) -> dict[str, int]:
        """How many keys are wrapped by master keys that are not in the folder, by epoch."""
        here = set(self.master.epochs)
        return {epoch: keys for epoch, keys in sorted((await self.usage(conn)).items()) if epoch not in here}

    async def rotate(self, pool: asyncpg.Pool, today: date, keep_days: int) -> Rotation:
        """Makes the master key of `today`, wraps every key anew that an older one wraps, in small transactions, and
        destroys master keys that another one replaced `keep_days` days ago and that wrap nothing.

        May be broken off at any place and begun again, and done by two at once.
        """
        if today.isoformat() > self.master.newest:
            self.master.make(today.isoformat())
            await failpoint("rotation.after_new_key")
        epoch = self.master.newest
        async with pool.acquire() as conn:
            used = await self.usage(conn)
        wrapped = 0
        if used.keys() - {epoch}:
            for column in _COLUMNS:
                wrapped += await self._wrap_anew(pool, column, epoch)
        destroyed = []
        for old, successor in pairwise(self.master.epochs):
            over = date.fromisoformat(successor) + timedelta(days=keep_days) <= today
            if over and old not in used:
                self.master.destroy(old)
                await failpoint("rotation.after_destruction")
                destroyed.append(old)
                get_logger().info("master_key_destroyed", key=old)
        async with pool.acquire() as conn:
            return Rotation(epoch, wrapped, destroyed, await self.unreadable(conn))

    async def give_up(self, conn: Connection) -> dict[str, int]:
        """Deletes the keys that no master key opens any more, so that what they sealed counts as erased and tenants
        get new keys; how many, by epoch.
        """
        here = [epoch.encode() for epoch in self.master.epochs]
        async with conn.transaction():
            lost = await self.unreadable(conn)
            for c in _COLUMNS:
                await conn.execute(
                    f"delete from vault.{c.table} where substring({c.column} for {EPOCH_BYTES}) <> all($1::bytea[])",  # noqa: S608
                    here,
                )
        return lost

    async def _wrap_anew(self, pool: asyncpg.Pool, c: _Wrapped, epoch: str) -> int:
        done, after = 0, ("", c.least)
        while True:
            async with pool.acquire() as conn, conn.transaction():
                rows = await conn.fetch(
                    f"select tenant, {c.id}::text as id, {c.column} as wrapped from vault.{c.table}"  # noqa: S608
                    f" where (tenant, {c.id}) > ($1, $2::text::{c.type}) order by tenant, {c.id} limit {BATCH_KEYS}"
                    " for update",
                    *after,
                )
                if not rows:
                    return done
                fresh = []
                for row in rows:
                    place = c.place(row["id"])
                    if epoch_of(row["wrapped"]) != epoch and (key := self._known(row["wrapped"], row["tenant"], place)):
                        fresh.append((row["tenant"], row["id"], self._wrap(key, row["tenant"], place)))
                await conn.execute(
                    f"update vault.{c.table} t set {c.column} = w.wrapped"  # noqa: S608
                    " from unnest($1::text[], $2::text[], $3::bytea[]) as w(tenant, id, wrapped)"
                    f" where t.tenant = w.tenant and t.{c.id} = w.id::{c.type}",
                    *columns(fresh, 3),
                )
            await failpoint("rotation.after_batch")
            done += len(fresh)
            after = rows[-1]["tenant"], rows[-1]["id"]

    def _known(self, wrapped: bytes, tenant: str, place: str) -> bytes | None:
        try:
            return self._unwrap(wrapped, tenant, place)
        except MasterKeyMissing:
            return None  # counted, and told loudly, by `unreadable`
