"""Whom a request for somebody's own data is about, once an officer has seen who stands there; and in which cases that
person has part.

The one rule it protects: a name alone or a number alone opens nothing. Who is meant has both, or has the receipt number
of a case of theirs and its petitioner's name; every other answer is the same: nobody.
"""

from typing import Literal, NamedTuple, get_args

from services.chassis.vault import Connection, Erased, Vault
from services.chassis.vault.blind_index import same_name
from services.reading import visible
from services.reading.visibility import Caller, complains_about
from services.reading.visible import Row

PURPOSE = "subject_access"
Checked = Literal["identity_card", "electronic_signature", "power_of_attorney"]
"""By what an officer knew who asked, or that they may ask for somebody else."""
CHECKED: tuple[Checked, ...] = get_args(Checked)


class Asker(NamedTuple):
    """Who asks in the name of the person: a member of staff, and how the access record names them and what for."""

    caller: Caller
    reader: str
    purpose: str

    @property
    def tenant(self) -> str:
        """The municipality."""
        return self.caller.tenant


class Person(NamedTuple):
    """A person by one of their references. `erased`: nothing is kept any more of whoever filed that case."""

    ref: str
    erased: bool = False


class Part(NamedTuple):
    """A case as the person has part in it. `row` is that of read.case_list, None before the case is opened."""

    name: str
    refs: tuple[str, ...]
    petitioner: bool
    row: Row | None


async def by_number(conn: Connection, vault: Vault, asker: Asker, name: str, number: str) -> Person | None:
    """Whoever has this name and this telephone number. Raises NotAllowed."""
    ref = await vault.find_person(conn, asker.tenant, name, number, asker.purpose, asker.reader)
    return None if ref is None else Person(ref)


async def by_receipt(conn: Connection, vault: Vault, asker: Asker, name: str | None, receipt: str) -> Person | None:
    """Whoever filed the case with this receipt number, and is called so; without a name an operator has compared it.
    Raises NotAllowed, MasterKeyMissing."""
    record = await conn.fetchrow(
        'select l.*, s.subject_ref from read.case_list l join read.subject_refs s using (tenant, "case")'
        " where l.tenant = $1 and l.receipt = $2",
        asker.tenant,
        receipt,
    )
    if record is None or record["subject_ref"] is None:
        return None
    (case,) = await visible.standing(conn, asker.caller, [visible.plain(record)])
    if complains_about(asker.caller, case):
        return None
    ref = str(record["subject_ref"])
    try:
        known = await vault.read_person(conn, asker.tenant, ref, asker.purpose, asker.reader)
    except Erased:
        known = {}
    if not known:
        return Person(ref, erased=True)
    return Person(ref) if name is None or same_name(name, known.get("name", "")) else None


async def by_reference(conn: Connection, vault: Vault, asker: Asker, ref: str) -> Person | None:
    """Whoever a reference in an event stands for. Raises NotAllowed, MasterKeyMissing."""
    if not await conn.fetchval(
        "select exists (select from vault.subjects where tenant = $1 and subject_ref = $2)", asker.tenant, ref
    ):
        return None
    try:
        await vault.read_person(conn, asker.tenant, ref, asker.purpose, asker.reader)
    except Erased:
        return Person(ref, erased=True)
    return Person(ref)


async def parts_of(conn: Connection, asker: Asker, person: Person) -> list[Part]:
    """The cases in which a person has part, newest first, without those that complain of whoever asks. Of somebody
    erased the one that was asked about: nobody can tell any more whether the others are theirs to ask about."""
    rows = await conn.fetch(_CASES, asker.tenant, person.ref, person.erased)
    names = [row["case_id"] for row in rows]
    listed = {
        record["case"]: visible.plain(record)
        for record in await conn.fetch(
            'select * from read.case_list where tenant = $1 and "case" = any($2::text[])', asker.tenant, names
        )
    }
    standing = await visible.standing(conn, asker.caller, list(listed.values()))
    away = {name for name, case in zip(listed, standing, strict=True) if complains_about(asker.caller, case)}
    return [
        Part(row["case_id"], tuple(row["refs"]), row["petitioner"], listed.get(row["case_id"]))
        for row in rows
        if row["case_id"] not in away
    ]


_CASES = """
select s.case_id, array_agg(s.subject_ref order by s.subject_ref) as refs, max(c.receipt) as receipt,
    not $3 and bool_or(coalesce(s.subject_ref = c.subject_ref, false)) as petitioner
from vault.subjects s
join vault.subjects asked on asked.tenant = s.tenant and asked.person = s.person and asked.subject_ref = $2
left join intake.cases c on c.tenant = s.tenant and c.case_id = s.case_id
where s.tenant = $1 and s.case_id is not null and (not $3 or s.subject_ref = $2)
group by s.case_id order by max(c.receipt) desc nulls first, s.case_id
"""
