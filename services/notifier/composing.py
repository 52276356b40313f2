"""Letters: a message put into words for one attempt, with what the vault and the case say at that moment.

The one rule: what the ledger keeps of a message names nobody. Names, numbers and the office's own reasons are read
when they are written down, each for its purpose and on record, and only those that the city's words ask for.
"""

import json
from collections.abc import Mapping
from typing import Any

import asyncpg

from services.chassis.links import Signer
from services.chassis.logs import OperatorError
from services.chassis.settings import Settings
from services.chassis.vault import Vault
from services.notifier import texts
from services.notifier.gateways import Letter
from services.notifier.ledger import Work
from services.notifier.notices import CaseView
from services.rules.tenants import Tenant

READER = "notifier"
REASONS = "office_reasons"
"""The purpose for which the office's own words are read."""


class Composer:
    """Composes letters. Without a public address and a key for links (`Settings.public_url`, `pages_key_file`) they
    hold none. Raises OperatorError for words of a city that cannot be used."""

    def __init__(self, settings: Settings, vault: Vault, tenants: Mapping[str, Tenant]) -> None:
        key = settings.pages_key_file
        self._vault = vault
        self._tenants = tenants
        self._signer = None if key is None or settings.public_url is None else Signer.of_file(key)
        self._public_url = settings.public_url
        for tenant in tenants:
            for language in texts.LANGUAGES:
                _check(language, tenant)

    async def letter(self, work: Work, row: asyncpg.Record, view: CaseView) -> Letter:
        """The letter of a message as things are now. Raises Erased where nothing is known of the person any more,
        VaultError, and Unsayable."""
        tenant = self._tenants[row["tenant"]]
        purpose = f"notify:{row['template']}"
        values: dict[str, Any] = json.loads(row["arguments"])
        receipt, link = await self._receipt(work, row["tenant"], row["case_id"], row["language"])
        if row["audience"] == "officer":
            contact = await self._vault.read_staff(work.connection, tenant.id, row["recipient"], purpose, READER)
        else:
            ref = view.subject_ref or row["recipient"]
            contact = await self._vault.read_person(work.connection, tenant.id, ref, purpose, READER)
            values |= await self._signature(work, tenant.id, row["language"], view, purpose)
            values |= await self._reasons(work, tenant.id, values, row["template"])
            values |= {"link": link, "survey": link and f"{link}/survey"}
        values |= {"receipt": receipt, "case": row["case_id"]}
        values = await self._visitor(work, tenant.id, values, purpose)
        if items := values.get("items"):
            values["count"] = len(items)
            values["items"] = [
                await self._item(work, row, item, purpose) if place < texts.ITEMS else item
                for place, item in enumerate(items)
            ]
        message = texts.render(row["template"], row["language"], tenant, values, work.now)
        return Letter(row["key"], tenant, row["language"], contact, message, work.now)

    async def _item(self, work: Work, row: asyncpg.Record, item: dict[str, Any], purpose: str) -> dict[str, Any]:
        """One of the things that a message lists."""
        receipt, _ = await self._receipt(work, row["tenant"], item["case"], row["language"])
        return await self._visitor(work, row["tenant"], {**item, "receipt": receipt}, purpose)

    async def _receipt(self, work: Work, tenant: str, case: str, language: str) -> tuple[str | None, str | None]:
        """The receipt number of a case, and the address of its page."""
        found = await work.connection.fetchrow(
            "SELECT s.receipt, coalesce(e.epoch, 0) AS epoch FROM read.subject_refs s LEFT JOIN read.link_epochs e "
            'USING (tenant, "case") WHERE s.tenant = $1 AND s."case" = $2',
            tenant,
            case,
        )
        if found is None or found["receipt"] is None:
            return None, None
        receipt: str = found["receipt"]
        if self._signer is None:
            return receipt, None
        link = self._signer.link(tenant, case, receipt, found["epoch"])
        return receipt, f"{self._public_url}/{language}/{tenant}/p/{link}"

    async def _signature(
        self, work: Work, tenant: str, language: str, view: CaseView, purpose: str
    ) -> dict[str, str | None]:
        """Who answers for the case, as far as the city's words name them."""
        wanted = texts.of_tenant(language, tenant).signed_by()
        officer = await work.staff(tenant, view.officer)
        known = await self._person(work, tenant, officer, purpose)
        said: dict[str, str | None] = {
            "contact": _contact(view.department or (officer["department"] if officer else None), known),
            "officer_email": known.get("email"),
        }
        for name, staff in (("approver", view.approver), ("superior", officer["superior"] if officer else None)):
            if name in wanted and (found := await work.staff(tenant, staff)):
                said[name] = _contact(found["department"], await self._person(work, tenant, found, purpose))
        return said

    async def _visitor(self, work: Work, tenant: str, values: dict[str, Any], purpose: str) -> dict[str, Any]:
        """The values with a name in the place of the id of the visitor."""
        if values.get("visitor") is None:
            return values
        staff = await work.staff(tenant, values["visitor"])
        known = await self._person(work, tenant, staff, purpose)
        return {**values, "visitor": staff and _contact(staff["department"], known)}

    async def _person(self, work: Work, tenant: str, staff: asyncpg.Record | None, purpose: str) -> dict[str, str]:
        if staff is None:
            return {}
        return await self._vault.read_staff(work.connection, tenant, staff["staff"], purpose, READER)

    async def _reasons(self, work: Work, tenant: str, values: Mapping[str, Any], template: str) -> dict[str, str]:
        """What the office gave as its reasons, and the ways to seek relief that it named."""
        return {
            name: await self._vault.read_text(
                work.connection, tenant, values[f"{name}_ref"], f"{REASONS}:{template}", READER
            )
            for name in ("reason", "remedies")
            if values.get(f"{name}_ref")
        }


def _check(language: str, tenant: str) -> None:
    try:
        texts.of_tenant(language, tenant)
    except ValueError as error:
        raise OperatorError(f"The words of {tenant} cannot be used: {error}. `gihan notice lint` shows all.") from None


def _contact(department: str | None, known: Mapping[str, str]) -> str | None:
    """Department, name and telephone, as far as they are known."""
    parts = (department, known.get("name"), known.get("phone"))
    return " ".join(part for part in parts if part) or None
