"""The keys of the vault: master keys in a folder outside the database, and the keys that they wrap.

The one rule it protects: whoever has the database, or a copy of it, reads nothing. Master keys are files by date; the
newest wraps, older ones open what they wrapped until it is wrapped anew. A master key that is missing is named.
"""

import hmac
import os
import re
import secrets
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.chassis.failpoints import failpoint
from services.chassis.logs import OperatorError

Connection = asyncpg.Connection | PoolConnectionProxy

FIRST = "1970-01-01"
"""Epoch of the master key that an installation begins with, before anybody has looked at a clock."""

EPOCH_BYTES = 10
NONCE_BYTES = 12
KEY_BYTES = 32
_FILE = re.compile(r"(\d{4}-\d\d-\d\d)\.key")


class VaultError(OperatorError):
    """What is asked for cannot be read: unknown, erased, not allowed, or sealed under a key that is not here."""


class Erased(VaultError):
    """There is nothing to read any more: the key that opened it is gone for good."""


class MasterKeyMissing(VaultError):
    """A master key is not in the folder. Nothing is lost while somebody still has it."""


class MasterKeys:
    """The master keys in a folder, one file of 32 bytes for each epoch: `2026-04-09.key` has sealed from that date on.

    A file that is added or destroyed while a process runs is noticed at once, since each use looks at the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys: dict[str, AESGCM] = {}
        self._seen: int | None = None
        self._look()

    @property
    def epochs(self) -> list[str]:
        """Dates of the keys that are here, oldest first."""
        self._look()
        return sorted(self._keys)

    @property
    def newest(self) -> str:
        """The epoch that seals. Raises MasterKeyMissing where the folder holds no key."""
        self._look()
        if not self._keys:
            raise MasterKeyMissing(
                f"There is no master key of the vault in {self.folder}: put the files back that were kept apart."
            )
        return max(self._keys)

    def wrap(self, key: bytes, place: str) -> bytes:
        """`key` sealed by the newest master key, with its epoch in front; opens at the same place only."""
        epoch, nonce = self.newest, secrets.token_bytes(NONCE_BYTES)
        return epoch.encode() + nonce + self._keys[epoch].encrypt(nonce, key, place.encode())

    def unwrap(self, wrapped: bytes, place: str) -> bytes:
        """What `wrap` wrapped. Raises MasterKeyMissing, and VaultError where it does not open."""
        epoch, nonce, sealed = epoch_of(wrapped), wrapped[EPOCH_BYTES:][:NONCE_BYTES], wrapped[EPOCH_BYTES:]
        self._look()
        if epoch not in self._keys:
            self._seen = None  # two changes within one tick of the file system's clock look like one
            self._look()
        if epoch not in self._keys:
            raise MasterKeyMissing(
                f"The master key {epoch}.key is not in {self.folder}: put it back. If it was destroyed with its time, "
                "what it opened is gone for good: `gihan vault keys` says how much that is."
            )
        try:
            return self._keys[epoch].decrypt(nonce, sealed[NONCE_BYTES:], place.encode())
        except InvalidTag:
            raise VaultError(
                f"a key of the vault does not open with {epoch}.key: it was wrapped by another master key, or moved in "
                "the database"
            ) from None

    def make(self, epoch: str) -> bool:
        """Makes the key of an epoch, whole and on the disk; False where it exists."""
        path = self._path(epoch)
        if path.exists():
            return False
        partial = self.folder / f"{epoch}.{secrets.token_hex(4)}"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)  # another process may have made it meanwhile: then its key counts
        except FileExistsError:
            return False
        finally:
            partial.unlink()
        sync_folder(self.folder)
        return True

    def destroy(self, epoch: str) -> None:
        """Overwrites and removes the key of an epoch: what it wraps, in whatever copy, is unreadable."""
        path = self._path(epoch)
        with path.open("r+b") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        sync_folder(self.folder)

    def mark(self, epoch: str) -> str | None:
        """Tells one master key from another of the same date, and nothing about either; None where it is not here."""
        path = self._path(epoch)
        return hmac.digest(path.read_bytes(), b"gihan backup", "sha256").hex() if path.exists() else None

    def _path(self, epoch: str) -> Path:
        return self.folder / f"{epoch}.key"

    def _look(self) -> None:
        """Reads the folder again if anything in it has come or gone."""
        try:
            seen = os.stat(self.folder).st_mtime_ns
            if seen != self._seen:
                found = {m[1]: path for path in self.folder.iterdir() if (m := _FILE.fullmatch(path.name))}
                self._keys = {epoch: AESGCM(_key(path)) for epoch, path in found.items()}
                self._seen = seen
        except OSError as error:
            raise MasterKeyMissing(
                f"The vault's master keys in {self.folder} cannot be read ({error.strerror}). Look at GIHAN_VAULT_KEYS."
            ) from None


def sync_folder(folder: Path) -> None:
    """Has the disk keep which files a folder holds."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _key(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise VaultError(f"{path} must have {KEY_BYTES} bytes: it is no master key of the vault.")
    return key


def epoch_of(wrapped: bytes) -> str:
    """Which master key opens a wrapped key."""
    return wrapped[:EPOCH_BYTES].decode(errors="replace")


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """The keys of a tenant: one seals what belongs to no person, one feeds the blind index."""

    seal: bytes = field(repr=False)
    index: bytes = field(repr=False)


class Keys:
    """The wrapped keys in the database: two of each tenant, one of each person, member of staff and refused letter.

    Deleting a wrapped key makes everything that it sealed unreadable.
    """

    def __init__(self, folder: Path) -> None:
        self.master = MasterKeys(folder)

    async def tenant_keys(self, conn: Connection, tenants: Iterable[str]) -> dict[str, TenantKeys]:
        """The keys of each tenant, made at first use."""
        wanted = sorted(set(tenants))
        keys = await self._stored_tenant_keys(conn, wanted)
        if missing := [tenant for tenant in wanted if tenant not in keys]:
            fresh = [
                (t, *(self._wrap(secrets.token_bytes(KEY_BYTES), t, name) for name in ("seal", "index")))
                for t in missing
            ]
            await conn.executemany("insert into vault.tenants values ($1, $2, $3) on conflict do nothing", fresh)
            await failpoint("vault.after_tenant_keys")
            keys |= await self._stored_tenant_keys(conn, missing)
        return keys

    async def keys_of_people(
        self, conn: Connection, people: Sequence[tuple[str, uuid.UUID]]
    ) -> dict[tuple[str, uuid.UUID], bytes]:
        """The data key of each (tenant, person); erased ones are left out."""
        rows = await conn.fetch(
            "select w.*, p.data_key from unnest($1::text[], $2::uuid[]) as w(tenant, person) cross join lateral ("
            "select data_key from vault.people p where p.tenant = w.tenant and p.person = w.person limit 1) p",
            *columns(people, 2),
        )
        return {(r["tenant"], r["person"]): self._unwrap(r["data_key"], r["tenant"], str(r["person"])) for r in rows}

    async def _stored_tenant_keys(self, conn: Connection, tenants: Sequence[str]) -> dict[str, TenantKeys]:
        rows = await conn.fetch("select * from vault.tenants where tenant = any($1::text[])", tenants)
        return {
            r["tenant"]: TenantKeys(
                self._unwrap(r["seal_key"], r["tenant"], "seal"),
                self._unwrap(r["index_key"], r["tenant"], "index"),
            )
            for r in rows
        }

    def _wrap(self, key: bytes, tenant: str, name: str) -> bytes:
        return self.master.wrap(key, key_place(tenant, name))

    def _unwrap(self, wrapped: bytes, tenant: str, name: str) -> bytes:
        return self.master.unwrap(wrapped, key_place(tenant, name))


def key_place(tenant: str, name: str) -> str:
    """What a wrapped key is bound to: it opens nowhere else."""
    return f"{tenant}|{name}|key"


def columns(rows: Iterable[Sequence[object]], width: int) -> list[list[object]]:
    """Rows as one list for each column, for unnest."""
    table = list(rows)
    return [[row[i] for row in table] for i in range(width)]


async def copy(conn: Connection, table: str, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Adds rows, none of which can be there already, to a table of the vault: the cheapest way for many."""
    await conn.copy_records_to_table(table, schema_name="vault", columns=names, records=rows)
