"""Persons: their references joined, their details and texts sealed, and found again by a number.

The one rule it protects: nothing that names a person reaches PostgreSQL, its write-ahead log or its backups in clear.
Who is who is known by keyed digests alone (the blind index), and a new reference is made for each case.
"""

import secrets
import uuid
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.chassis.failpoints import failpoint
from services.chassis.vault.blind_index import Mark, marks_of, number_digest, numbers_of
from services.chassis.vault.keys import KEY_BYTES, Connection, Erased, Keys, TenantKeys, columns, copy
from services.chassis.vault.sealing import (
    STAFF_FIELDS,
    Person,
    Sealing,
    opened_details,
    seal,
    sealed_details,
)


class People(Keys):
    """Joins the references of a person and seals what is known of them."""

    async def people(self, conn: Connection, wanted: Sequence[tuple[str, Mapping[str, str]]]) -> list[Person]:
        """The person behind each (tenant, fields), found by the blind index or made anew; in that order."""
        keys = await self.tenant_keys(conn, (tenant for tenant, _ in wanted))
        marks = [marks_of(tenant, keys[tenant].index, fields) for tenant, fields in wanted]
        index = await self._find(conn, sorted({mark for group in marks for mark in group}))
        made: dict[Mark, uuid.UUID] = {}
        chosen: list[uuid.UUID] = []
        for group in marks:
            person = next((index[mark] for mark in group if mark in index), None) or uuid.uuid4()
            new = {mark: person for mark in group if mark not in index}
            index |= new
            made |= new
            chosen.append(person)
        renamed = await self._claim(conn, made) if made else {}
        await failpoint("vault.after_index")
        people = [renamed.get(person, person) for person in chosen]
        # Known marks were written together with their numbers; without a name there are no marks.
        fresh = [
            (tenant, person, fields)
            for (tenant, fields), group, person in zip(wanted, marks, people, strict=True)
            if not group or any(mark in made for mark in group)
        ]
        await self._index_numbers(conn, keys, fresh)
        return await self._with_keys(conn, [(t, person) for (t, _), person in zip(wanted, people, strict=True)])

    async def people_of(self, conn: Connection, refs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Person]:
        """The person behind each (tenant, subject_ref); refs that are unknown or erased are left out."""
        rows = await conn.fetch(
            "select s.tenant, s.subject_ref, p.person, p.data_key"
            " from unnest($1::text[], $2::text[]) as w(tenant, subject_ref)"
            " join vault.subjects s using (tenant, subject_ref) join vault.people p using (tenant, person)",
            *columns(refs, 2),
        )
        return {
            (r["tenant"], r["subject_ref"]): Person(
                r["tenant"], r["person"], self._unwrap(r["data_key"], r["tenant"], str(r["person"]))
            )
            for r in rows
        }

    async def seal_person(self, conn: Connection, tenant: str, fields: Mapping[str, str]) -> str:
        """Seals what is known of a person (`PERSON_FIELDS`) and answers a new subject_ref."""
        person = (await self.people(conn, [(tenant, fields)]))[0]
        sealing = Sealing()
        ref = sealing.person(person, fields)
        await sealing.write(conn)
        return ref

    async def complete_person(self, conn: Connection, person: Person, subject_ref: str, base_ref: str) -> None:
        """Fills what `subject_ref` (a change of details) leaves out from `base_ref`, the details before it.

        A detail sealed as blank is taken out. Nothing leaves the vault, so this is no access.
        """
        tenant = person.tenant
        before = await self.people_of(conn, [(tenant, base_ref)])
        rows = {
            r["subject_ref"]: r
            for r in await conn.fetch(
                "select * from vault.subjects where tenant = $1 and subject_ref = any($2::text[])",
                tenant,
                [subject_ref, base_ref],
            )
        }
        details: dict[str, str] = {}
        if (tenant, base_ref) in before:
            details = opened_details(before[tenant, base_ref].key, rows[base_ref])
        details |= opened_details(person.key, rows[subject_ref])
        await conn.execute(
            "update vault.subjects set name = $3, address = $4, phone = $5, mobile = $6, email = $7"
            " where tenant = $1 and subject_ref = $2",
            tenant,
            subject_ref,
            *sealed_details(AESGCM(person.key), tenant, subject_ref, {f: v for f, v in details.items() if v}),
        )
        await self._index_numbers(conn, await self.tenant_keys(conn, [tenant]), [(tenant, person.id, details)])

    async def seal_text(self, conn: Connection, tenant: str, subject_ref: str | None, text: str) -> str:
        """Seals free text under the person of `subject_ref`, else under the tenant; answers its text_ref."""
        owner: Person | bytes
        if subject_ref is None:
            owner = (await self.tenant_keys(conn, [tenant]))[tenant].seal
        else:
            people = await self.people_of(conn, [(tenant, subject_ref)])
            if (tenant, subject_ref) not in people:
                raise Erased("no such person: the reference is unknown or was erased")
            owner = people[tenant, subject_ref]
        sealing = Sealing()
        ref = sealing.text(tenant, owner, text)
        await sealing.write(conn)
        return ref

    async def seal_staff(self, conn: Connection, tenant: str, staff: str, fields: Mapping[str, str]) -> None:
        """Seals name, phone and email of a member of staff; what was known before is replaced."""
        key = secrets.token_bytes(KEY_BYTES)
        cipher = AESGCM(key)
        sealed = [seal(cipher, f"{tenant}|{staff}|{f}", fields[f]) if f in fields else None for f in STAFF_FIELDS]
        await conn.execute(
            "insert into vault.staff values ($1, $2, $3, $4, $5, $6) on conflict (tenant, staff)"
            " do update set data_key = excluded.data_key, name = excluded.name, phone = excluded.phone,"
            " email = excluded.email",
            tenant,
            staff,
            self._wrap(key, tenant, f"staff|{staff}"),
            *sealed,
        )

    async def _index_numbers(
        self,
        conn: Connection,
        keys: Mapping[str, TenantKeys],
        people: Sequence[tuple[str, uuid.UUID, Mapping[str, str]]],
    ) -> None:
        """Makes persons findable by each of their numbers alone."""
        rows = {
            (tenant, number_digest(tenant, keys[tenant].index, number), person)
            for tenant, person, fields in people
            for number in numbers_of(fields)
        }
        if rows:
            await conn.execute(
                "insert into vault.numbers select * from unnest($1::text[], $2::bytea[], $3::uuid[])"
                " on conflict do nothing",
                *columns(sorted(rows), 3),
            )

    async def _claim(self, conn: Connection, made: dict[Mark, uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
        """Writes new entries of the blind index.

        Somebody else may have named the same person a moment ago: then their entry counts, and the answer
        says who our new person really is.
        """
        marks = sorted(made)
        written = await conn.fetch(
            "insert into vault.blind_index select * from unnest($1::text[], $2::bytea[], $3::uuid[])"
            " on conflict do nothing returning true",
            *columns([(*mark, made[mark]) for mark in marks], 3),
        )
        if len(written) == len(marks):
            return {}
        stands = await self._find(conn, marks)
        renamed = {made[mark]: stands[mark] for mark in marks if stands[mark] != made[mark]}
        for ours, theirs in renamed.items():
            await conn.execute("update vault.blind_index set person = $2 where person = $1", ours, theirs)
        return renamed

    async def _find(self, conn: Connection, marks: Sequence[Mark]) -> dict[Mark, uuid.UUID]:
        rows = await conn.fetch(
            "select w.*, b.person from unnest($1::text[], $2::bytea[]) as w(tenant, digest) cross join lateral ("
            "select person from vault.blind_index b where b.tenant = w.tenant and b.digest = w.digest limit 1) b",
            *columns(marks, 2),
        )
        return {(r["tenant"], r["digest"]): r["person"] for r in rows}

    async def _with_keys(self, conn: Connection, people: Sequence[tuple[str, uuid.UUID]]) -> list[Person]:
        unique = sorted(set(people))
        keys = await self.keys_of_people(conn, unique)
        fresh = {pair: secrets.token_bytes(KEY_BYTES) for pair in unique if pair not in keys}
        if fresh:
            rows = [(t, p, self._wrap(key, t, str(p))) for (t, p), key in fresh.items()]
            await copy(conn, "people", ("tenant", "person", "data_key"), rows)
        keys |= fresh
        return [Person(t, p, keys[t, p]) for t, p in people]


async def make_confidential(conn: Connection, tenant: str, case: str) -> None:
    """What is sealed for a case is from now on for the few purposes that read what is confidential."""
    for table in ("subjects", "texts"):
        await conn.execute(
            f"update vault.{table} set confidential = true where tenant = $1 and case_id = $2",  # noqa: S608
            tenant,
            case,
        )


async def references_of_same(conn: Connection, tenant: str, subject_ref: str) -> list[str]:
    """Every reference of the person behind one, itself among them; nothing of the person is read."""
    rows = await conn.fetch(
        "select subject_ref from vault.subjects where tenant = $1 and (subject_ref = $2 or person ="
        " (select person from vault.subjects where tenant = $1 and subject_ref = $2)) order by subject_ref",
        tenant,
        subject_ref,
    )
    return [row["subject_ref"] for row in rows]
