"""The vault: personal data goes in sealed and comes out only with a purpose.

The one rule it protects: nothing that names a person reaches PostgreSQL, its write-ahead log or its backups
in clear. Sealing happens here, before any INSERT, and every read leaves an access record first.

Keys: the master key (32 bytes, kept outside the database) wraps one data key per person and tenant, two keys
per tenant and one key per refused letter. Deleting a wrapped key makes everything it sealed unreadable.
"""

import hmac
import os
import re
import secrets
import unicodedata
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.chassis.failpoints import failpoint
from services.chassis.logs import OperatorError

Connection = asyncpg.Connection | PoolConnectionProxy

PERSON_FIELDS = ("name", "address", "phone", "mobile", "email")
STAFF_FIELDS = ("name", "phone", "email")
_NONCE_BYTES = 12
_NO_WORD, _NO_DIGIT = re.compile(r"[\W_]"), re.compile("[^0-9]")
_RESIDENT_NUMBER = re.compile(r"(?<!\d)\d{6}\s?[-\u2010-\u2015\u2212\uff0d~.]?\s?\d{7}(?!\d)")


class VaultError(OperatorError):
    """What is asked for cannot be read: unknown, erased, or sealed under another master key."""


_Mark = tuple[str, bytes]
"""An entry of the blind index: tenant and keyed digest."""


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """The keys of a tenant: one seals what belongs to no person, one feeds the blind index."""

    seal: bytes = field(repr=False)
    index: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Person:
    """One person of one tenant and the key that seals what is known of them."""

    tenant: str
    id: uuid.UUID
    key: bytes = field(repr=False)


def mask_resident_numbers(text: str) -> str:
    """Text with every resident registration number (six digits and seven) blanked: they are never kept."""
    return _RESIDENT_NUMBER.sub("******-*******", text)


def content_hash(key: bytes, content: bytes) -> bytes:
    """Hash of a message as received, keyed so that it tells nothing once the key is destroyed."""
    return hmac.digest(key, b"content|" + content, "sha256")


class Vault:
    """Seals and reads personal data. Holds the master key; everything else lies in schema `vault`."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != 32:
            raise ValueError("the vault's master key must have 32 bytes: check the file GIHAN_VAULT_KEY_FILE names")
        self._master = AESGCM(master_key)

    async def tenant_keys(self, conn: Connection, tenants: Iterable[str]) -> dict[str, TenantKeys]:
        """The keys of each tenant, made at first use."""
        wanted = sorted(set(tenants))
        keys = await self._stored_tenant_keys(conn, wanted)
        if missing := [tenant for tenant in wanted if tenant not in keys]:
            fresh = [
                (t, *(self._wrap(secrets.token_bytes(32), t, name) for name in ("seal", "index"))) for t in missing
            ]
            await conn.executemany("insert into vault.tenants values ($1, $2, $3) on conflict do nothing", fresh)
            await failpoint("vault.after_tenant_keys")
            keys |= await self._stored_tenant_keys(conn, missing)
        return keys

    async def people(self, conn: Connection, wanted: Sequence[tuple[str, Mapping[str, str]]]) -> list[Person]:
        """The person behind each (tenant, fields), found by the blind index or made anew; in that order."""
        keys = await self.tenant_keys(conn, (tenant for tenant, _ in wanted))
        marks = [_marks(tenant, keys[tenant].index, fields) for tenant, fields in wanted]
        index = await self._find(conn, sorted({mark for group in marks for mark in group}))
        made: dict[_Mark, uuid.UUID] = {}
        chosen: list[uuid.UUID] = []
        for group in marks:
            person = next((index[mark] for mark in group if mark in index), None) or uuid.uuid4()
            new = {mark: person for mark in group if mark not in index}
            index |= new
            made |= new
            chosen.append(person)
        renamed = await self._claim(conn, made) if made else {}
        await failpoint("vault.after_index")
        return await self._with_keys(conn, [(t, renamed.get(p, p)) for (t, _), p in zip(wanted, chosen, strict=True)])

    async def people_of(self, conn: Connection, refs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Person]:
        """The person behind each (tenant, subject_ref); refs that are unknown or erased are left out."""
        rows = await conn.fetch(
            "select s.tenant, s.subject_ref, p.person, p.data_key"
            " from unnest($1::text[], $2::text[]) as w(tenant, subject_ref)"
            " join vault.subjects s using (tenant, subject_ref) join vault.people p using (tenant, person)",
            *_columns(refs, 2),
        )
        return {
            (r["tenant"], r["subject_ref"]): Person(
                r["tenant"], r["person"], self._unwrap(r["data_key"], r["tenant"], str(r["person"]))
            )
            for r in rows
        }

    async def keys_of_people(
        self, conn: Connection, people: Sequence[tuple[str, uuid.UUID]]
    ) -> dict[tuple[str, uuid.UUID], bytes]:
        """The data key of each (tenant, person); erased ones are left out."""
        rows = await conn.fetch(
            "select p.tenant, p.person, p.data_key from unnest($1::text[], $2::uuid[]) as w(tenant, person)"
            " join vault.people p using (tenant, person)",
            *_columns(people, 2),
        )
        return {(r["tenant"], r["person"]): self._unwrap(r["data_key"], r["tenant"], str(r["person"])) for r in rows}

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
            details = _details(before[tenant, base_ref].key, rows[base_ref])
        details |= _details(person.key, rows[subject_ref])
        await conn.execute(
            "update vault.subjects set name = $3, address = $4, phone = $5, mobile = $6, email = $7"
            " where tenant = $1 and subject_ref = $2",
            tenant,
            subject_ref,
            *_sealed_details(AESGCM(person.key), tenant, subject_ref, {f: v for f, v in details.items() if v}),
        )

    async def seal_text(self, conn: Connection, tenant: str, subject_ref: str | None, text: str) -> str:
        """Seals free text under the person of `subject_ref`, else under the tenant; answers its text_ref."""
        owner: Person | bytes
        if subject_ref is None:
            owner = (await self.tenant_keys(conn, [tenant]))[tenant].seal
        else:
            people = await self.people_of(conn, [(tenant, subject_ref)])
            if (tenant, subject_ref) not in people:
                raise VaultError("no such person: the reference is unknown or was erased")
            owner = people[tenant, subject_ref]
        sealing = Sealing()
        ref = sealing.text(tenant, owner, text)
        await sealing.write(conn)
        return ref

    async def seal_staff(self, conn: Connection, tenant: str, staff: str, fields: Mapping[str, str]) -> None:
        """Seals name, phone and email of a member of staff; what was known before is replaced."""
        key = secrets.token_bytes(32)
        cipher = AESGCM(key)
        sealed = [_seal(cipher, f"{tenant}|{staff}|{f}", fields[f]) if f in fields else None for f in STAFF_FIELDS]
        await conn.execute(
            "insert into vault.staff values ($1, $2, $3, $4, $5, $6) on conflict (tenant, staff)"
            " do update set data_key = excluded.data_key, name = excluded.name, phone = excluded.phone,"
            " email = excluded.email",
            tenant,
            staff,
            self._wrap(key, tenant, f"staff|{staff}"),
            *sealed,
        )

    async def seal_letter(self, conn: Connection, tenant: str, letter: str, content: bytes, expires: int) -> bytes:
        """Seals a refused message under a key of its own, named `letter`, which lives until the instant `expires`;
        answers the sealed bytes.
        """
        key = secrets.token_bytes(32)
        await conn.execute(
            "insert into vault.letters (tenant, letter, data_key, expires) values ($1, $2, $3, $4)",
            tenant,
            letter,
            self._wrap(key, tenant, f"letter|{letter}"),
            expires,
        )
        return _seal_bytes(AESGCM(key), f"{tenant}|{letter}|letter", content)

    async def read_person(
        self, conn: Connection, tenant: str, subject_ref: str, purpose: str, reader: str
    ) -> dict[str, str]:
        """What is known of a person; writes the access record first. VaultError if unknown or erased."""
        async with conn.transaction():
            await self._record(conn, tenant, reader, purpose, "person", subject_ref)
            row = await conn.fetchrow(
                "select p.data_key, s.* from vault.subjects s join vault.people p using (tenant, person)"
                " where s.tenant = $1 and s.subject_ref = $2",
                tenant,
                subject_ref,
            )
        if row is None:
            raise VaultError("no such person: the reference is unknown or was erased")
        return _details(self._unwrap(row["data_key"], tenant, str(row["person"])), row)

    async def read_staff(self, conn: Connection, tenant: str, staff: str, purpose: str, reader: str) -> dict[str, str]:
        """What is known of a member of staff; writes the access record first. VaultError if unknown."""
        async with conn.transaction():
            await self._record(conn, tenant, reader, purpose, "staff", staff)
            row = await conn.fetchrow(
                "select data_key, name, phone, email from vault.staff where tenant = $1 and staff = $2",
                tenant,
                staff,
            )
        if row is None:
            raise VaultError("no such member of staff: send staff.described first")
        key = self._unwrap(row["data_key"], tenant, f"staff|{staff}")
        return {f: _open(key, f"{tenant}|{staff}|{f}", row[f]) for f in STAFF_FIELDS if row[f] is not None}

    async def read_text(self, conn: Connection, tenant: str, text_ref: str, purpose: str, reader: str) -> str:
        """A free text; writes the access record first. VaultError if unknown or erased."""
        async with conn.transaction():
            await self._record(conn, tenant, reader, purpose, "text", text_ref)
            row = await conn.fetchrow(
                "select t.person, t.sealed, p.data_key from vault.texts t left join vault.people p"
                " using (tenant, person) where t.tenant = $1 and t.text_ref = $2",
                tenant,
                text_ref,
            )
            if row is None or (row["person"] is not None and row["data_key"] is None):
                # Raising inside would undo the access record: leave the transaction first.
                key = None
            elif row["person"] is None:
                key = (await self.tenant_keys(conn, [tenant]))[tenant].seal
            else:
                key = self._unwrap(row["data_key"], tenant, str(row["person"]))
        if row is None or key is None:
            raise VaultError("no such text: the reference is unknown or was erased")
        return _open(key, f"{tenant}|{text_ref}|text", row["sealed"])

    async def read_letter(
        self, conn: Connection, tenant: str, letter: str, sealed: bytes, purpose: str, reader: str
    ) -> list[bytes]:
        """A refused message as it came, and what was put in its place, oldest first; writes the access record first.
        VaultError without its key.
        """
        await self.record_letter(conn, tenant, letter, "opened", purpose, reader)
        key = await self._letter_key(conn, tenant, letter)
        fixes = await conn.fetch(
            "select number, sealed from vault.letter_fixes where tenant = $1 and letter = $2 order by number",
            tenant,
            letter,
        )
        return [
            _open_bytes(key, f"{tenant}|{letter}|letter", sealed),
            *(_open_bytes(key, f"{tenant}|{letter}|fix|{row['number']}", row["sealed"]) for row in fixes),
        ]

    async def fix_letter(
        self, conn: Connection, tenant: str, letter: str, content: bytes, purpose: str, reader: str
    ) -> None:
        """Puts other content in the place of a refused message, which is kept beside it; on record."""
        async with conn.transaction():
            await self.record_letter(conn, tenant, letter, "fixed", purpose, reader)
            key = await self._letter_key(conn, tenant, letter)
            number = 1 + await conn.fetchval(
                "select count(*) from vault.letter_fixes where tenant = $1 and letter = $2", tenant, letter
            )
            sealed = _seal_bytes(AESGCM(key), f"{tenant}|{letter}|fix|{number}", content)
            await conn.execute("insert into vault.letter_fixes values ($1, $2, $3, $4)", tenant, letter, number, sealed)

    async def settle_letter(self, conn: Connection, tenant: str, letter: str, purpose: str, reader: str) -> None:
        """Destroys the key of a refused message, so that nobody reads it or its fixes any more; on record."""
        async with conn.transaction():
            await self.record_letter(conn, tenant, letter, "settled", purpose, reader)
            for table in ("letters", "letter_fixes"):
                await conn.execute(f"delete from vault.{table} where tenant = $1 and letter = $2", tenant, letter)  # noqa: S608

    async def record_letter(
        self, conn: Connection, tenant: str, letter: str, what: str, purpose: str, reader: str
    ) -> None:
        """Writes into the access record what somebody does with a refused message."""
        await self._record(conn, tenant, reader, purpose, f"letter.{what}", letter)

    async def _letter_key(self, conn: Connection, tenant: str, letter: str) -> bytes:
        wrapped = await conn.fetchval(
            "select data_key from vault.letters where tenant = $1 and letter = $2", tenant, letter
        )
        if wrapped is None:
            raise VaultError("no such letter: it was settled, or its thirty days are over")
        return self._unwrap(wrapped, tenant, f"letter|{letter}")

    async def verify_access_chain(self, conn: Connection, tenant: str) -> int | None:
        """Number of the first access record that was changed or is missing; None when the chain holds."""
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
        return broken if broken is not None or ends["last"] == ends["head"] else int(ends["last"]) + 1

    async def _record(self, conn: Connection, tenant: str, reader: str, purpose: str, kind: str, ref: str) -> None:
        await conn.execute("select vault.record_access($1, $2, $3, $4, $5)", tenant, reader, purpose, kind, ref)
        await failpoint("vault.after_access_record")

    async def _stored_tenant_keys(self, conn: Connection, tenants: Sequence[str]) -> dict[str, TenantKeys]:
        rows = await conn.fetch("select * from vault.tenants where tenant = any($1::text[])", tenants)
        return {
            r["tenant"]: TenantKeys(
                self._unwrap(r["seal_key"], r["tenant"], "seal"),
                self._unwrap(r["index_key"], r["tenant"], "index"),
            )
            for r in rows
        }

    async def _claim(self, conn: Connection, made: dict[_Mark, uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
        """Writes new entries of the blind index.

        Somebody else may have named the same person a moment ago: then their entry counts, and the answer
        says who our new person really is.
        """
        marks = sorted(made)
        written = await conn.fetch(
            "insert into vault.blind_index select * from unnest($1::text[], $2::bytea[], $3::uuid[])"
            " on conflict do nothing returning true",
            *_columns([(*mark, made[mark]) for mark in marks], 3),
        )
        if len(written) == len(marks):
            return {}
        stands = await self._find(conn, marks)
        renamed = {made[mark]: stands[mark] for mark in marks if stands[mark] != made[mark]}
        for ours, theirs in renamed.items():
            await conn.execute("update vault.blind_index set person = $2 where person = $1", ours, theirs)
        return renamed

    async def _find(self, conn: Connection, marks: Sequence[_Mark]) -> dict[_Mark, uuid.UUID]:
        rows = await conn.fetch(
            "select tenant, digest, b.person from unnest($1::text[], $2::bytea[]) as w(tenant, digest)"
            " join vault.blind_index b using (tenant, digest)",
            *_columns(marks, 2),
        )
        return {(r["tenant"], r["digest"]): r["person"] for r in rows}

    async def _with_keys(self, conn: Connection, people: Sequence[tuple[str, uuid.UUID]]) -> list[Person]:
        unique = sorted(set(people))
        keys = await self.keys_of_people(conn, unique)
        fresh = {pair: secrets.token_bytes(32) for pair in unique if pair not in keys}
        if fresh:
            await conn.execute(
                "insert into vault.people select * from unnest($1::text[], $2::uuid[], $3::bytea[])",
                *_columns([(t, p, self._wrap(key, t, str(p))) for (t, p), key in fresh.items()], 3),
            )
        keys |= fresh
        return [Person(t, p, keys[t, p]) for t, p in people]

    def _wrap(self, key: bytes, tenant: str, name: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._master.encrypt(nonce, key, f"{tenant}|{name}|key".encode())

    def _unwrap(self, wrapped: bytes, tenant: str, name: str) -> bytes:
        try:
            return self._master.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], f"{tenant}|{name}|key".encode())
        except InvalidTag:
            raise VaultError(
                "a key of the vault was wrapped by another master key: give the one it was made with"
            ) from None


class Sealing:
    """Collects sealed rows of one transaction, to be written with one statement a table."""

    def __init__(self) -> None:
        self._subjects: list[tuple[object, ...]] = []
        self._texts: list[tuple[object, ...]] = []
        self._ciphers: dict[bytes, AESGCM] = {}

    def _cipher(self, key: bytes) -> AESGCM:
        """The cipher of a key, made once for all that one person says in a transaction."""
        if key not in self._ciphers:
            self._ciphers[key] = AESGCM(key)
        return self._ciphers[key]

    def person(self, person: Person, fields: Mapping[str, str]) -> str:
        """Seals the fields of a person under their key; answers a new subject_ref."""
        ref = f"s{secrets.token_hex(12)}"
        sealed = _sealed_details(self._cipher(person.key), person.tenant, ref, fields)
        self._subjects.append((person.tenant, ref, person.id, *sealed))
        return ref

    def text(self, tenant: str, owner: Person | bytes, text: str) -> str:
        """Seals free text under its person, or under the tenant's key; answers a new text_ref."""
        ref = f"t{secrets.token_hex(12)}"
        key, person = (owner.key, owner.id) if isinstance(owner, Person) else (owner, None)
        sealed = _seal(self._cipher(key), f"{tenant}|{ref}|text", mask_resident_numbers(text))
        self._texts.append((tenant, ref, person, sealed))
        return ref

    async def write(self, conn: Connection) -> None:
        """Writes what was sealed so far, in the caller's transaction."""
        if self._subjects:
            await conn.execute(
                "insert into vault.subjects select * from unnest($1::text[], $2::text[], $3::uuid[],"
                " $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[])",
                *_columns(self._subjects, 8),
            )
            await failpoint("vault.after_subjects")
        if self._texts:
            await conn.execute(
                "insert into vault.texts select * from unnest($1::text[], $2::text[], $3::uuid[], $4::bytea[])",
                *_columns(self._texts, 4),
            )
        self._subjects, self._texts = [], []


def _columns(rows: Iterable[Sequence[object]], width: int) -> list[list[object]]:
    table = list(rows)
    return [[row[i] for row in table] for i in range(width)]


def _sealed_details(cipher: AESGCM, tenant: str, ref: str, fields: Mapping[str, str]) -> list[bytes | None]:
    masked = {f: v if f in ("phone", "mobile") else mask_resident_numbers(v) for f, v in fields.items()}
    return [_seal(cipher, f"{tenant}|{ref}|{f}", masked[f]) if f in masked else None for f in PERSON_FIELDS]


def _details(key: bytes, row: asyncpg.Record) -> dict[str, str]:
    place = f"{row['tenant']}|{row['subject_ref']}"
    return {f: _open(key, f"{place}|{f}", row[f]) for f in PERSON_FIELDS if row[f] is not None}


def _seal_bytes(cipher: AESGCM, place: str, content: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, content, place.encode())


def _open_bytes(key: bytes, place: str, sealed: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
    except InvalidTag:
        raise VaultError("sealed data does not open: it was moved or changed in the database") from None


def _seal(cipher: AESGCM, place: str, text: str) -> bytes:
    return _seal_bytes(cipher, place, text.encode())


def _open(key: bytes, place: str, sealed: bytes) -> str:
    return _open_bytes(key, place, sealed).decode()


def _marks(tenant: str, key: bytes, fields: Mapping[str, str]) -> list[_Mark]:
    """Blind index entries of a person: the name with each number; without any, the name with the address."""
    name = _normal_text(fields.get("name", ""))
    numbers = [n for n in (_normal_number(fields.get(f, "")) for f in ("mobile", "phone")) if n]
    address = _normal_text(fields.get("address", ""))
    texts = [f"number|{name}|{n}" for n in numbers] or ([f"address|{name}|{address}"] if address else [])
    if not name:
        return []
    return [(tenant, hmac.digest(key, f"{tenant}|{t}".encode(), "sha256")) for t in dict.fromkeys(texts)]


def _normal_text(text: str) -> str:
    return _NO_WORD.sub("", unicodedata.normalize("NFKC", text).casefold())


def _normal_number(text: str) -> str:
    digits = _NO_DIGIT.sub("", unicodedata.normalize("NFKC", text))
    return f"0{digits.removeprefix('0082').removeprefix('82')}" if re.match(r"(00)?82", digits) else digits
