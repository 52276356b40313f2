"""Letters: messages put into words for one attempt, with what the vault and the cases say at that moment.

The one rule: what the ledger keeps of a message names nobody. Whom it goes to and who answers for the case is read when
it is written down, each for its purpose and on record. Many are composed at once, with one question for each kind of
thing that they need.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import asyncpg

from services.chassis.vault import Erased, MasterKeyMissing, NotAllowed, Vault, VaultError, Wanted
from services.notifier import texts
from services.notifier.gateways import Letter
from services.notifier.ledger import CaseKey, Work
from services.notifier.notices import CaseView
from services.rules.tenants import Tenant

READER = "notifier"

Contact = dict[str, str] | VaultError


class Unwritten(Exception):
    """No letter can be made of a message; `reason` says why, as a word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Composer:
    """Composes letters."""

    def __init__(self, vault: Vault, tenants: Mapping[str, Tenant]) -> None:
        self._vault = vault
        self._tenants = tenants

    async def letters(self, work: Work, rows: Sequence[asyncpg.Record]) -> list[Letter | Unwritten]:
        """The letters of messages as things are now, for the next attempt at each, in their order. Raises NotAllowed
        and MasterKeyMissing: what is missing may come, and the messages wait."""
        views = await work.views({_case(row) for row in rows})
        contacts = await self._recipients(work, rows, views)
        signed = await self._signatures(work, rows, views)
        receipts = await _receipts(work, views)
        letters: list[Letter | Unwritten] = []
        for row, contact, signature in zip(rows, contacts, signed, strict=True):
            values = {**json.loads(row["arguments"]), "contact": signature, "receipt": receipts.get(_case(row))}
            letters.append(self._letter(work, row, contact, values))
        return letters

    def _letter(
        self, work: Work, row: asyncpg.Record, contact: Contact, values: Mapping[str, Any]
    ) -> Letter | Unwritten:
        if isinstance(contact, VaultError):
            return Unwritten("erased" if isinstance(contact, Erased) else "no_recipient")
        tenant = self._tenants[row["tenant"]]
        try:
            message = texts.render(row["template"], row["language"], tenant, values, work.now)
        except ValueError:
            return Unwritten("no_words")
        attempt = row["attempts"] + 1
        return Letter(row["key"], attempt, tenant, row["language"], row["template"], contact, message, work.now)

    async def _recipients(
        self, work: Work, rows: Sequence[asyncpg.Record], views: Mapping[CaseKey, CaseView]
    ) -> list[Contact]:
        """How each recipient is reached, or why nobody can be."""
        found: dict[str, Contact] = {}
        for officers, read in ((False, self._vault.read_people), (True, self._vault.read_staffs)):
            asked = [row for row in rows if (row["audience"] == "officer") is officers]
            wanted = [
                Wanted(
                    row["tenant"],
                    row["recipient"] if officers else views[_case(row)].subject_ref or row["recipient"],
                    f"notify:{row['template']}",
                )
                for row in asked
            ]
            known = await read(work.connection, wanted, READER) if wanted else []
            found |= {row["key"]: contact for row, contact in zip(asked, known, strict=True)}
        _raise_what_waits(found.values())
        return [found[row["key"]] for row in rows]

    async def _signatures(
        self, work: Work, rows: Sequence[asyncpg.Record], views: Mapping[CaseKey, CaseView]
    ) -> list[str | None]:
        """Department and telephone of whoever answers for the case of each message to a citizen, as far as they are
        known."""
        officers = {
            row["key"]: (row["tenant"], officer)
            for row in rows
            if row["audience"] == "citizen" and (officer := views[_case(row)].officer)
        }
        staff = await work.staffs(set(officers.values())) if officers else {}
        asked = [row for row in rows if officers.get(row["key"]) in staff]
        wanted = [Wanted(*officers[row["key"]], f"notify:{row['template']}") for row in asked]
        known = await self._vault.read_staffs(work.connection, wanted, READER) if wanted else []
        _raise_what_waits(known)
        telephones = {
            row["key"]: contact.get("phone", "") if isinstance(contact, dict) else ""
            for row, contact in zip(asked, known, strict=True)
        }
        said: list[str | None] = []
        for row in rows:
            department, key = views[_case(row)].department, row["key"]
            if key in telephones:
                department = f"{department or staff[officers[key]]['department']} {telephones[key]}"
            said.append(department if row["audience"] == "citizen" else None)
        return said


def _case(row: asyncpg.Record) -> CaseKey:
    return row["tenant"], row["case_id"]


def _raise_what_waits(contacts: Collection[Contact]) -> None:
    for contact in contacts:
        if isinstance(contact, (NotAllowed, MasterKeyMissing)):
            raise contact


async def _receipts(work: Work, cases: Collection[CaseKey]) -> dict[CaseKey, str]:
    """The receipt number of each case that has one."""
    rows = await work.connection.fetch(
        'SELECT s.tenant, s."case", s.receipt FROM unnest($1::text[], $2::text[]) AS wanted (tenant, case_id) '
        'JOIN read.subject_refs s ON s.tenant = wanted.tenant AND s."case" = wanted.case_id',
        [tenant for tenant, _ in cases],
        [case for _, case in cases],
    )
    return {(row["tenant"], row["case"]): row["receipt"] for row in rows}
