"""Sealing: what is done to personal data before it may reach the database.

The one rule it protects: a value is sealed for its place (tenant, reference, field) and opens nowhere else, and what
must never be kept, a resident registration number, is blanked before.
"""

import hmac
import os
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.chassis.failpoints import failpoint
from services.chassis.vault.keys import NONCE_BYTES, Connection, VaultError, copy

PERSON_FIELDS = ("name", "address", "phone", "mobile", "email")
STAFF_FIELDS = ("name", "phone", "email")
_SUBJECT_COLUMNS = ("tenant", "subject_ref", "person", *PERSON_FIELDS, "case_id", "confidential")
_TEXT_COLUMNS = ("tenant", "text_ref", "person", "sealed", "case_id", "confidential")
_RESIDENT_NUMBER = re.compile(r"(?<!\d)\d{6}\s?[-\u2010-\u2015\u2212\uff0d~.]?\s?\d{7}(?!\d)")
_ITS_END = re.compile(r"\d\d\d\d\d\d\d")
"""What every resident number ends with; looked for first, since hardly a text has it and it is found sooner."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person of one tenant and the key that seals what is known of them."""

    tenant: str
    id: uuid.UUID
    key: bytes = field(repr=False)


class Sealing:
    """Collects sealed rows of one transaction, to be written with one statement a table.

    `case` says what a row belongs to: it goes when the time of that case is over. A `confidential` row is read by
    the few purposes that may.
    """

    def __init__(self) -> None:
        self._subjects: list[tuple[object, ...]] = []
        self._texts: list[tuple[object, ...]] = []
        self._ciphers: dict[bytes, AESGCM] = {}

    def _cipher(self, key: bytes) -> AESGCM:
        """The cipher of a key, made once for all that one person says in a transaction."""
        if key not in self._ciphers:
            self._ciphers[key] = AESGCM(key)
        return self._ciphers[key]

    def person(
        self, person: Person, fields: Mapping[str, str], case: str | None = None, confidential: bool = False
    ) -> str:
        """Seals the fields of a person under their key; answers a new subject_ref."""
        ref = f"s{secrets.token_hex(12)}"
        sealed = sealed_details(self._cipher(person.key), person.tenant, ref, fields)
        self._subjects.append((person.tenant, ref, person.id, *sealed, case, confidential))
        return ref

    def text(
        self, tenant: str, owner: Person | bytes, text: str, case: str | None = None, confidential: bool = False
    ) -> str:
        """Seals free text under its person, or under the tenant's key; answers a new text_ref."""
        ref = f"t{secrets.token_hex(12)}"
        key, person = (owner.key, owner.id) if isinstance(owner, Person) else (owner, None)
        sealed = seal(self._cipher(key), f"{tenant}|{ref}|text", mask_resident_numbers(text))
        self._texts.append((tenant, ref, person, sealed, case, confidential))
        return ref

    async def write(self, conn: Connection) -> None:
        """Writes what was sealed so far, in the caller's transaction."""
        if self._subjects:
            await copy(conn, "subjects", _SUBJECT_COLUMNS, self._subjects)
            await failpoint("vault.after_subjects")
        if self._texts:
            await copy(conn, "texts", _TEXT_COLUMNS, self._texts)
        self._subjects, self._texts = [], []


def mask_resident_numbers(text: str) -> str:
    """Text with every resident registration number (six digits and seven) blanked: they are never kept."""
    return _RESIDENT_NUMBER.sub("******-*******", text) if _ITS_END.search(text) else text


def content_hash(key: bytes, content: bytes) -> bytes:
    """Hash of a message as received, keyed so that it tells nothing once the key is destroyed."""
    return hmac.digest(key, b"content|" + content, "sha256")


def sealed_details(cipher: AESGCM, tenant: str, ref: str, fields: Mapping[str, str]) -> list[bytes | None]:
    """Each of PERSON_FIELDS sealed in its place; None for what is not there."""
    masked = {f: v if f in ("phone", "mobile") else mask_resident_numbers(v) for f, v in fields.items()}
    return [seal(cipher, f"{tenant}|{ref}|{f}", masked[f]) if f in masked else None for f in PERSON_FIELDS]


def opened_details(key: bytes, row: asyncpg.Record) -> dict[str, str]:
    """What a row of vault.subjects holds."""
    place = f"{row['tenant']}|{row['subject_ref']}"
    return {f: unseal(key, f"{place}|{f}", row[f]) for f in PERSON_FIELDS if row[f] is not None}


def seal_bytes(cipher: AESGCM, place: str, content: bytes) -> bytes:
    """Content sealed (AES-256-GCM) so that it opens with this key in this place only."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, content, place.encode())


def unseal_bytes(key: bytes, place: str, sealed: bytes) -> bytes:
    """What `seal_bytes` sealed. Raises VaultError where key, place or content is another."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
    except InvalidTag:
        raise VaultError("sealed data does not open: it was moved or changed in the database") from None


def seal(cipher: AESGCM, place: str, text: str) -> bytes:
    """Text sealed for its place."""
    return seal_bytes(cipher, place, text.encode())


def unseal(key: bytes, place: str, sealed: bytes) -> str:
    """The text that `seal` sealed."""
    return unseal_bytes(key, place, sealed).decode()
