"""Erasure: what somebody may ask for, and what time asks for.

The one rule it protects: what is erased stays erased, whatever is put back. The ledger of erasures is a file in the
folder of the master keys: outside the database and its backups, and wherever the vault can be opened at all. A line
stands there before anything is erased, and the vault knows how many lines it has carried out, so that an older vault
carries out the rest before it opens. Access records are never erased.
"""

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from services.chassis.clock import Instant
from services.chassis.failpoints import failpoint
from services.chassis.vault.keys import Connection, Keys, VaultError, sync_folder

NAME = "erased.jsonl"


class Erasure(NamedTuple):
    """A line of the ledger: a person of a tenant with everything known of them, or what one case told. It names
    nobody: both are references."""

    at: Instant
    tenant: str
    person: str | None = None
    case: str | None = None


class Ledger:
    """The erasures ever asked for, in order, one JSON object a line."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def add(self, erasures: Sequence[Erasure]) -> None:
        """Writes lines at the end; they are on the disk when this returns."""
        if not erasures:
            return
        lines = "".join(f"{json.dumps(_without_none(erasure))}\n" for erasure in erasures)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # A line that a power cut left unfinished was never answered: it is written over.
            file.seek(len(_whole(file.read())))
            file.write(lines.encode())
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)

    def read(self, after: int, digest: str) -> tuple[list[Erasure], int, str]:
        """(lines behind the first `after`, how many there are, digest of all). Raises VaultError where the first
        `after` lines are not those of `digest`: then this is an older ledger, or another one.
        """
        lines = _whole(self.path.read_bytes() if self.path.exists() else b"").splitlines(keepends=True)
        if len(lines) < after or (after and _digest(lines[:after]) != digest):
            raise VaultError(
                f"{self.path} is not the ledger of erasures that this vault has carried out {after} lines of. Put the "
                "newest copy of it back: without it somebody who was erased could come back."
            )
        try:
            found = [Erasure(**json.loads(line)) for line in lines[after:]]
        except (ValueError, TypeError):
            raise VaultError(f"{self.path} has a line that cannot be read. Put a whole copy of it back.") from None
        return found, len(lines), _digest(lines)


class Erasing(Keys):
    """Carries out the ledger. Erasing is nothing but writing a line and carrying it out."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ledger = Ledger(folder)

    async def carry_out(self, conn: Connection) -> list[Erasure]:
        """Erases what stands in the ledger and is not carried out yet, in one transaction; answers those lines.

        Every process does so before it opens the vault, so that one that was restored is as it must be.
        """
        async with conn.transaction():
            await conn.execute("insert into vault.erasures default values on conflict do nothing")
            row = await conn.fetchrow("select lines, digest from vault.erasures for update")
            assert row is not None
            found, lines, digest = self.ledger.read(row["lines"], row["digest"])
            for erasure in found:
                if erasure.person is not None:
                    await _forget_person(conn, erasure.tenant, uuid.UUID(erasure.person))
                if erasure.case is not None:
                    await _forget_case(conn, erasure.tenant, erasure.case)
            if found:
                await failpoint("vault.after_forgetting")
                await conn.execute("update vault.erasures set lines = $1, digest = $2", lines, digest)
        return found


async def _forget_person(conn: Connection, tenant: str, person: uuid.UUID) -> None:
    """What is sealed with the person's key, and what came in their cases before anybody knew whose they were."""
    await conn.execute(_FORGET_UNKNOWN, tenant, person)
    for table in ("people", "blind_index", "numbers", "texts"):
        await conn.execute(f"delete from vault.{table} where tenant = $1 and person = $2", tenant, person)  # noqa: S608
    await conn.execute(f"{_BLANK} where tenant = $1 and person = $2", tenant, person)


async def _forget_case(conn: Connection, tenant: str, case: str) -> None:
    """What the case told; and each person of whom nothing else is known, wholly."""
    people = await conn.fetch(_FORGET_CASE, tenant, case)
    for row in people:
        if not await conn.fetchval(_KNOWN_STILL, tenant, row["person"]):
            await _forget_person(conn, tenant, row["person"])


_BLANK = "update vault.subjects set name = null, address = null, phone = null, mobile = null, email = null"
"""The references stay: events carry them."""

_FORGET_CASE = f"""
    with told as ({_BLANK} where tenant = $1 and case_id = $2 returning person),
    texts as (delete from vault.texts where tenant = $1 and case_id = $2 returning person)
    select person from told union select person from texts where person is not null
"""  # noqa: S608 - of constants

_FORGET_UNKNOWN = """
    delete from vault.texts where tenant = $1 and person is null
    and case_id in (select case_id from vault.subjects where tenant = $1 and person = $2)
"""

_KNOWN_STILL = """
    select exists (select from vault.texts where tenant = $1 and person = $2)
        or exists (select from vault.subjects where tenant = $1 and person = $2
                   and coalesce(name, address, phone, mobile, email) is not null)
"""


def _whole(content: bytes) -> bytes:
    """Content up to the end of its last whole line."""
    return content[: content.rfind(b"\n") + 1]


def _digest(lines: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _without_none(erasure: Erasure) -> dict[str, object]:
    return {name: value for name, value in erasure._asdict().items() if value is not None}
