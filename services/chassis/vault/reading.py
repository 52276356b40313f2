"""Reading: personal data leaves the vault for a purpose, and each time stands in the access record.

The one rule it protects: the record is written in the transaction of the read, and each record carries the hash of the
one before it. A reading that is refused stands there too.
"""

import hmac
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from services.chassis.failpoints import failpoint
from services.chassis.vault.blind_index import marks_of, number_digest
from services.chassis.vault.keys import Connection, Erased, Keys, VaultError, columns
from services.chassis.vault.purposes import Purpose, may
from services.chassis.vault.sealing import STAFF_FIELDS, opened_details, unseal

_REFUSED = (
    "This purpose does not let you read this: contracts/purposes.yaml names who may read what, and why. The attempt is "
    "on record."
)


class NotAllowed(VaultError):
    """The purpose does not let this reader read this."""


class Wanted(NamedTuple):
    """A person (by subject_ref) or a member of staff (by id) that somebody wants to read, and for what."""

    tenant: str
    ref: str
    purpose: str


class Head(NamedTuple):
    """The last access record of a tenant: kept elsewhere, it shows later whether the whole chain was written anew."""

    number: int
    hash: str


class Reading(Keys):
    """Everything that opens what is sealed of persons and staff. `reader` is a role, and after a `/` a name, such as
    `clerk/kim`; what follows `:` in a purpose is its occasion, such as `notify:receipt`.
    """

    async def read_person(
        self, conn: Connection, tenant: str, subject_ref: str, purpose: str, reader: str
    ) -> dict[str, str]:
        """What the purpose shows of a person. Raises NotAllowed, Erased, MasterKeyMissing."""
        return _known(await self.read_people(conn, [Wanted(tenant, subject_ref, purpose)], reader))

    async def read_staff(self, conn: Connection, tenant: str, staff: str, purpose: str, reader: str) -> dict[str, str]:
        """What the purpose shows of a member of staff. Raises NotAllowed, MasterKeyMissing, VaultError."""
        return _known(await self.read_staffs(conn, [Wanted(tenant, staff, purpose)], reader))

    async def read_people(
        self, conn: Connection, wanted: Sequence[Wanted], reader: str
    ) -> list[dict[str, str] | VaultError]:
        """What `read_person` says of each, in their order; what it would raise of one person stands in its place.
        Raises MasterKeyMissing."""
        async with conn.transaction():
            found = await conn.fetch(
                "select p.data_key, s.* from unnest($1::text[], $2::text[]) as w(tenant, subject_ref)"
                " join vault.subjects s using (tenant, subject_ref) left join vault.people p using (tenant, person)",
                [one.tenant for one in wanted],
                [one.ref for one in wanted],
            )
            rows = {(row["tenant"], row["subject_ref"]): row for row in found}
            asked = [(one, "person", rows.get((one.tenant, one.ref))) for one in wanted]
            allowed = await self._allow_each(conn, reader, asked)
        return [self._person(one, row, purpose) for (one, _, row), purpose in zip(asked, allowed, strict=True)]

    def _person(
        self, wanted: Wanted, row: asyncpg.Record | None, purpose: Purpose | None
    ) -> dict[str, str] | VaultError:
        if purpose is None:
            return NotAllowed(_REFUSED)
        if row is None:
            return VaultError("no such person: the reference is unknown")
        if row["data_key"] is None:
            return Erased("this person was erased")
        known = opened_details(self._unwrap(row["data_key"], wanted.tenant, str(row["person"])), row)
        return {name: value for name, value in known.items() if name in purpose.person}

    async def read_staffs(
        self, conn: Connection, wanted: Sequence[Wanted], reader: str
    ) -> list[dict[str, str] | VaultError]:
        """What `read_staff` says of each, as `read_people` does of persons."""
        async with conn.transaction():
            found = await conn.fetch(
                "select s.tenant, s.staff, data_key, name, phone, email, false as confidential"
                " from unnest($1::text[], $2::text[]) as w(tenant, staff) join vault.staff s using (tenant, staff)",
                [one.tenant for one in wanted],
                [one.ref for one in wanted],
            )
            rows = {(row["tenant"], row["staff"]): row for row in found}
            asked = [(one, "staff", rows.get((one.tenant, one.ref))) for one in wanted]
            allowed = await self._allow_each(conn, reader, asked)
        return [self._member(one, row, purpose) for (one, _, row), purpose in zip(asked, allowed, strict=True)]

    def _member(
        self, wanted: Wanted, row: asyncpg.Record | None, purpose: Purpose | None
    ) -> dict[str, str] | VaultError:
        if purpose is None:
            return NotAllowed(_REFUSED)
        if row is None:
            return VaultError("no such member of staff: send staff.described first")
        key = self._unwrap(row["data_key"], wanted.tenant, f"staff|{wanted.ref}")
        shown = [f for f in STAFF_FIELDS if f in purpose.staff and row[f] is not None]
        return {f: unseal(key, f"{wanted.tenant}|{wanted.ref}|{f}", row[f]) for f in shown}

    async def read_text(self, conn: Connection, tenant: str, text_ref: str, purpose: str, reader: str) -> str:
        """A free text. Raises NotAllowed, Erased, MasterKeyMissing."""
        async with conn.transaction():
            row = await conn.fetchrow(
                "select t.person, t.sealed, t.confidential, p.data_key from vault.texts t left join vault.people p"
                " using (tenant, person) where t.tenant = $1 and t.text_ref = $2",
                tenant,
                text_ref,
            )
            allowed = await self._allow(conn, tenant, reader, purpose, "text", text_ref, row)
        _required(allowed)
        if row is None or (row["person"] is not None and row["data_key"] is None):
            raise Erased("no such text: the reference is unknown or was erased")
        if row["person"] is None:
            key = (await self.tenant_keys(conn, [tenant]))[tenant].seal
        else:
            key = self._unwrap(row["data_key"], tenant, str(row["person"]))
        return unseal(key, f"{tenant}|{text_ref}|text", row["sealed"])

    async def look_up(self, conn: Connection, tenant: str, number: str, purpose: str, reader: str) -> list[str]:
        """The references of whoever has this telephone number, however it is written; each is put on record. What is
        confidential is found only for a purpose that reads it. Raises NotAllowed.
        """
        async with conn.transaction():
            keys = await self.tenant_keys(conn, [tenant])
            rows = await conn.fetch(
                "select s.subject_ref, s.confidential from vault.numbers n join vault.subjects s using (tenant, person)"
                " join vault.people p using (tenant, person) where n.tenant = $1 and n.digest = $2"
                " order by s.subject_ref",
                tenant,
                number_digest(tenant, keys[tenant].index, number),
            )
            allowed = may(purpose, reader, "lookup")
            found = [r for r in rows if allowed and (allowed.confidential or not r["confidential"])]
            for row in found:
                await self._allow(conn, tenant, reader, purpose, "lookup", row["subject_ref"], row)
            if not found:
                await self._allow(conn, tenant, reader, purpose, "lookup", "nobody", None)
        _required(allowed)
        return [row["subject_ref"] for row in found]

    async def find_person(
        self, conn: Connection, tenant: str, name: str, number: str, purpose: str, reader: str
    ) -> str | None:
        """A reference of the person who has both this name and this telephone number, however they are written, or
        None; on record either way. Raises NotAllowed.
        """
        async with conn.transaction():
            keys = await self.tenant_keys(conn, [tenant])
            marks = marks_of(tenant, keys[tenant].index, {"name": name, "mobile": number})
            row = await conn.fetchrow(
                "select s.subject_ref, s.confidential from vault.blind_index b join vault.subjects s"
                " using (tenant, person) where b.tenant = $1 and b.digest = any($2::bytea[])"
                " order by s.confidential, s.subject_ref limit 1",
                tenant,
                [digest for _, digest in marks],
            )
            ref: str | None = row["subject_ref"] if row else None
            allowed = await self._allow(conn, tenant, reader, purpose, "lookup", ref or "nobody", row)
        _required(allowed)
        return ref

    async def record(self, conn: Connection, tenant: str, reader: str, purpose: str, kind: str, ref: str) -> None:
        """Writes into the access record what somebody does."""
        await self._record_each(conn, reader, [(tenant, purpose, kind, ref)])

    async def _record_each(self, conn: Connection, reader: str, records: Sequence[tuple[str, str, str, str]]) -> None:
        """(tenant, purpose, kind, ref) of each."""
        await conn.execute(
            "select vault.record_accesses($1, $2::text[], $3::text[], $4::text[], $5::text[])",
            reader,
            *columns(records, 4),
        )
        await failpoint("vault.after_access_record")

    async def verify_access_chain(self, conn: Connection, tenant: str, head: Head | None = None) -> int | None:
        """Number of the first access record that was changed or is missing; None when the chain holds. With a `head`
        of former days, the record of that number must be the same still.
        """
        broken: int | None = await conn.fetchval(
            "select min(number) from (select number, hash is distinct from vault.access_hash("
            "  coalesce(lag(hash) over w, '\\x'), tenant, number, at, reader, purpose, kind, ref)"
            "  or number <> row_number() over w as wrong"
            " from vault.access where tenant = $1 window w as (order by number)) as chain where wrong",
            tenant,
        )
        ends = await conn.fetchrow(
            "select coalesce(max(a.number), 0) as last, coalesce(max(h.number), 0) as head"
            " from vault.access_head h full join vault.access a using (tenant) where tenant = $1",
            tenant,
        )
        assert ends is not None
        if broken is None and ends["last"] != ends["head"]:
            broken = int(ends["last"]) + 1
        if broken is None and head is not None:
            stands = await conn.fetchval(
                "select hash from vault.access where tenant = $1 and number = $2", tenant, head.number
            )
            same = stands is not None and hmac.compare_digest(stands.hex(), head.hash)
            broken = None if same else head.number
        return broken

    async def _allow(
        self, conn: Connection, tenant: str, reader: str, purpose: str, kind: str, ref: str, row: asyncpg.Record | None
    ) -> Purpose | None:
        """The purpose, where it lets the reader open this row; and the record of the reading, or of its refusal."""
        return (await self._allow_each(conn, reader, [(Wanted(tenant, ref, purpose), kind, row)]))[0]

    async def _allow_each(
        self, conn: Connection, reader: str, asked: Sequence[tuple[Wanted, str, asyncpg.Record | None]]
    ) -> list[Purpose | None]:
        allowed: list[Purpose | None] = []
        for wanted, kind, row in asked:
            purpose = may(wanted.purpose, reader, kind)
            closed = purpose is not None and row and row["confidential"] and not purpose.confidential
            allowed.append(None if closed else purpose)
        await self._record_each(
            conn,
            reader,
            [
                (wanted.tenant, wanted.purpose, kind if purpose else f"refused.{kind}", wanted.ref)
                for (wanted, kind, _), purpose in zip(asked, allowed, strict=True)
            ],
        )
        return allowed


def _required(allowed: Purpose | None) -> Purpose:
    """Called after the transaction: raised within, the refusal would undo its record."""
    if allowed is None:
        raise NotAllowed(_REFUSED)
    return allowed


def _known(found: Sequence[dict[str, str] | VaultError]) -> dict[str, str]:
    """The one answer. Raises it where it is an error; after the transaction too."""
    (answer,) = found
    if isinstance(answer, VaultError):
        raise answer
    return answer
