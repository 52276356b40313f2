"""Reading: personal data leaves the vault for a purpose, and each time stands in the access record.

The one rule it protects: the record is written in the transaction of the read, and each record carries the hash of the
one before it. A reading that is refused stands there too.
"""

import hmac
from typing import NamedTuple

import asyncpg

from services.chassis.failpoints import failpoint
from services.chassis.vault.blind_index import number_digest
from services.chassis.vault.keys import Connection, Erased, Keys, VaultError
from services.chassis.vault.purposes import Purpose, may
from services.chassis.vault.sealing import STAFF_FIELDS, opened_details, unseal


class NotAllowed(VaultError):
    """The purpose does not let this reader read this."""


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
        async with conn.transaction():
            row = await conn.fetchrow(
                "select p.data_key, s.* from vault.subjects s left join vault.people p using (tenant, person)"
                " where s.tenant = $1 and s.subject_ref = $2",
                tenant,
                subject_ref,
            )
            allowed = await self._allow(conn, tenant, reader, purpose, "person", subject_ref, row)
        purpose_of = _required(allowed)
        if row is None:
            raise VaultError("no such person: the reference is unknown")
        if row["data_key"] is None:
            raise Erased("this person was erased")
        known = opened_details(self._unwrap(row["data_key"], tenant, str(row["person"])), row)
        return {name: value for name, value in known.items() if name in purpose_of.person}

    async def read_staff(self, conn: Connection, tenant: str, staff: str, purpose: str, reader: str) -> dict[str, str]:
        """What the purpose shows of a member of staff. Raises NotAllowed, MasterKeyMissing, VaultError."""
        async with conn.transaction():
            row = await conn.fetchrow(
                "select data_key, name, phone, email, false as confidential from vault.staff"
                " where tenant = $1 and staff = $2",
                tenant,
                staff,
            )
            allowed = await self._allow(conn, tenant, reader, purpose, "staff", staff, row)
        purpose_of = _required(allowed)
        if row is None:
            raise VaultError("no such member of staff: send staff.described first")
        key = self._unwrap(row["data_key"], tenant, f"staff|{staff}")
        shown = [f for f in STAFF_FIELDS if f in purpose_of.staff and row[f] is not None]
        return {f: unseal(key, f"{tenant}|{staff}|{f}", row[f]) for f in shown}

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

    async def record(self, conn: Connection, tenant: str, reader: str, purpose: str, kind: str, ref: str) -> None:
        """Writes into the access record what somebody does."""
        await conn.execute("select vault.record_access($1, $2, $3, $4, $5)", tenant, reader, purpose, kind, ref)
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
        allowed = may(purpose, reader, kind)
        if allowed and row and row["confidential"] and not allowed.confidential:
            allowed = None
        await self.record(conn, tenant, reader, purpose, kind if allowed else f"refused.{kind}", ref)
        return allowed


def _required(allowed: Purpose | None) -> Purpose:
    """Called after the transaction: raised within, the refusal would undo its record."""
    if allowed is None:
        raise NotAllowed(
            "This purpose does not let you read this: contracts/purposes.yaml names who may read what, and why. The "
            "attempt is on record."
        )
    return allowed
