"""Erasing a citizen: the vault forgets, and so does intake what it could compare with.

The one rule it protects: nothing is half erased. A line in the ledger says who is to be forgotten; carrying it out is
one transaction, and happens again wherever an older database comes back.
"""

import uuid
from typing import NamedTuple

from services.chassis.clock import Instant
from services.chassis.failpoints import failpoint
from services.chassis.logs import OperatorError
from services.chassis.vault import Connection, Erasure, Vault

PURPOSE = "erase"


class Unknown(OperatorError):
    """There is nobody of that reference or receipt number."""


class Known(NamedTuple):
    """How much of a person there is: references that events carry, cases and texts."""

    person: uuid.UUID
    references: int
    cases: int
    texts: int


async def find(conn: Connection, tenant: str, subject_ref: str | None, receipt: str | None) -> tuple[str, Known]:
    """The reference asked for, or that of the case with a receipt number; and what hangs on it. Raises Unknown."""
    if receipt is not None:
        subject_ref = await conn.fetchval(
            "select subject_ref from intake.cases where tenant = $1 and receipt = $2", tenant, receipt
        )
    row = await conn.fetchrow(
        "select s.person, count(distinct o.subject_ref) as refs, count(distinct o.case_id) as cases,"
        " (select count(*) from vault.texts t where t.tenant = s.tenant and (t.person = s.person or t.person is null"
        "  and t.case_id in (select m.case_id from vault.subjects m where m.tenant = s.tenant and m.person = s.person)"
        " )) as texts"
        " from vault.subjects s join vault.subjects o using (tenant, person)"
        " where s.tenant = $1 and s.subject_ref = $2 group by s.tenant, s.person",
        tenant,
        subject_ref,
    )
    if row is None or subject_ref is None:
        raise Unknown("Nobody is known by that: give TENANT/REF as an event carries it, or TENANT and --receipt.")
    return subject_ref, Known(row["person"], row["refs"], row["cases"], row["texts"])


async def erase(
    conn: Connection, vault: Vault, tenant: str, subject_ref: str, person: uuid.UUID, reader: str, now: Instant
) -> None:
    """Erases a person with everything that is known of them in the tenant. May be repeated."""
    await vault.record(conn, tenant, reader, PURPOSE, "erased", subject_ref)
    vault.ledger.add([Erasure(now, tenant, person=str(person))])
    await failpoint("erasure.after_ledger")
    await carry_out(conn, vault)


async def carry_out(conn: Connection, vault: Vault) -> int:
    """Erases what stands in the ledger and is not carried out yet, here and in the vault; how many lines that were.

    How far intake has come it knows by itself: the vault's part may have been carried out by whoever opened it first.
    """
    async with conn.transaction():
        await vault.carry_out(conn)
        await failpoint("erasure.after_vault")
        await conn.execute("insert into intake.erasures default values on conflict do nothing")
        row = await conn.fetchrow("select lines, digest from intake.erasures for update")
        assert row is not None
        erasures, lines, digest = vault.ledger.read(row["lines"], row["digest"])
        # Without its hash an event is answered with its first answer, whatever comes under its id.
        for one in erasures:
            if one.person is not None:
                await conn.execute(
                    "update intake.reservations set content_hash = null where tenant = $1 and (person = $2"
                    " or case_id in (select case_id from vault.subjects where tenant = $1 and person = $2))",
                    one.tenant,
                    uuid.UUID(one.person),
                )
            if one.case is not None:
                await conn.execute(
                    "update intake.reservations set content_hash = null where tenant = $1 and case_id = $2",
                    one.tenant,
                    one.case,
                )
        if erasures:
            await conn.execute("update intake.erasures set lines = $1, digest = $2", lines, digest)
    return len(erasures)
