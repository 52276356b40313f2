"""Purposes: for what personal data may be read, by whom, and which of it.

The one rule it protects: the list is closed. What `contracts/purposes.yaml` does not name is refused, and the refusal
stands in the access record.
"""

from functools import cache

import msgspec
import yaml

from services.chassis.settings import ROOT
from services.chassis.vault.sealing import PERSON_FIELDS, STAFF_FIELDS

FILE = ROOT / "contracts" / "purposes.yaml"


class Purpose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be read for a purpose, and by which roles; a role is what stands before `/` in a reader's name."""

    says: dict[str, str]
    roles: frozenset[str]
    person: frozenset[str] = frozenset()
    staff: frozenset[str] = frozenset()
    text: bool = False
    lookup: bool = False
    letter: bool = False
    confidential: bool = False
    """Whether what is kept confidential may be read too."""

    def fields(self, kind: str) -> frozenset[str]:
        """Which fields of a kind (person, staff, text, lookup, letter) may be read; empty: none."""
        if kind in ("person", "staff"):
            found: frozenset[str] = getattr(self, kind)
            return found
        return frozenset((kind,)) if getattr(self, kind) else frozenset()


@cache
def purposes() -> dict[str, Purpose]:
    """Every purpose by name. Raises ValueError that names the purpose and what is wrong with it."""
    found = msgspec.convert(yaml.load(FILE.read_bytes(), Loader=yaml.CSafeLoader), dict[str, Purpose])
    for name, purpose in found.items():
        if unknown := (purpose.person - set(PERSON_FIELDS)) | (purpose.staff - set(STAFF_FIELDS)):
            raise ValueError(f"{FILE.name}: {name} names the fields {sorted(unknown)}, which the vault does not have")
    return found


def reader_of(role: str, name: str, place: str) -> str:
    """A reader as the record names one: by role, who it is, and from where (a host or an address)."""
    return f"{role}/{name}@{place}"


def may(purpose: str, reader: str, kind: str) -> Purpose | None:
    """The purpose, where it lets this reader read this kind. What follows `:` in a purpose is its occasion."""
    found = purposes().get(purpose.partition(":")[0])
    allowed = found and reader.partition("/")[0] in found.roles and found.fields(kind)
    return found if allowed else None
