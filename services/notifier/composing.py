"""Letters: messages put into words for one attempt, with what the vault and the cases say at that moment.

The one rule: what the ledger keeps of a message names nobody. Whom it goes to, who answers for the case and the
office's own reasons are read when it is written down, each for its purpose and on record, and only those that the
city's words ask for. Many are composed at once, with one question for each kind of thing that they need.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg

from services.chassis.links import Signer
from services.chassis.logs import OperatorError
from services.chassis.settings import Settings
from services.chassis.vault import Erased, MasterKeyMissing, NotAllowed, Vault, VaultError, Wanted
from services.notifier import texts
from services.notifier.gateways import Letter
from services.notifier.ledger import CaseKey, Work
from services.notifier.notices import CaseView
from services.rules.tenants import Tenant

READER = "notifier"
REASONS = "office_reasons"
"""The purpose for which the office's own words are read."""

Contact = dict[str, str] | VaultError
Row = asyncpg.Record


class Unwritten(Exception):
    """No letter can be made of a message; `reason` says why, as a word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Official(NamedTuple):
    """A member of staff whom a letter names."""

    department: str
    superior: str | None
    known: Mapping[str, str]

    def named(self, department: str | None = None) -> str:
        """Department, name and telephone."""
        parts = (department or self.department, self.known.get("name"), self.known.get("phone"))
        return " ".join(part for part in parts if part)


class _Draft:
    """A message on its way to be a letter: its values, and the staff that it has to name."""

    def __init__(self, row: Row, view: CaseView) -> None:
        self.row = row
        self.view = view
        self.tenant: str = row["tenant"]
        self.purpose = f"notify:{row['template']}"
        self.values: dict[str, Any] = json.loads(row["arguments"])
        self.items: list[dict[str, Any]] = self.values.get("items", [])
        self.signed_by = frozenset[str]()
        if row["audience"] == "citizen":
            self.signed_by = texts.of_tenant(row["language"], self.tenant).signed_by()

    def staff(self) -> Iterator[str]:
        """Whom it names; the superior is known only once the officer is."""
        if self.signed_by and self.view.officer:
            yield self.view.officer
        if "approver" in self.signed_by and self.view.approver:
            yield self.view.approver
        for one in (self.values, *self.items):
            if one.get("visitor"):
                yield one["visitor"]

    def cases(self) -> Iterator[CaseKey]:
        """The cases that it tells of."""
        yield _case(self.row)
        for item in self.items[: texts.ITEMS]:
            yield self.tenant, item["case"]

    def superior(self, found: Mapping[tuple[str, str], Row]) -> str | None:
        """Who stands above the officer, where the signature says so."""
        officer = found.get((self.tenant, self.view.officer or ""))
        return officer["superior"] if officer is not None and "superior" in self.signed_by else None


class Composer:
    """Composes letters. Without a public address and a key for links (`Settings.public_url`, `pages_key_file`) they
    hold none. Raises OperatorError for words of a city that cannot be used."""

    def __init__(self, settings: Settings, vault: Vault, tenants: Mapping[str, Tenant]) -> None:
        key, self._public_url = settings.pages_key_file, settings.public_url
        self._vault = vault
        self._tenants = tenants
        self._signer = None if key is None or self._public_url is None else Signer.of_file(key)
        for tenant in tenants:
            for language in texts.LANGUAGES:
                _check(language, tenant)

    async def letters(self, work: Work, rows: Sequence[Row]) -> list[Letter | Unwritten]:
        """The letters of messages as things are now, for the next attempt at each, in their order. Raises NotAllowed
        and MasterKeyMissing: what is missing may come, and the messages wait."""
        views = await work.views({_case(row) for row in rows})
        drafts = [_Draft(row, views[_case(row)]) for row in rows]
        contacts = await self._recipients(work, rows, views)
        officials = await self._officials(work, drafts)
        receipts = await _receipts(work, {case for draft in drafts for case in draft.cases()})
        letters: list[Letter | Unwritten] = []
        for draft, contact in zip(drafts, contacts, strict=True):
            letters.append(await self._letter(work, draft, contact, officials, receipts))
        return letters

    async def _letter(
        self,
        work: Work,
        draft: _Draft,
        contact: Contact,
        officials: Mapping[tuple[str, str], _Official],
        receipts: Mapping[CaseKey, tuple[str, int]],
    ) -> Letter | Unwritten:
        row, tenant = draft.row, self._tenants[draft.tenant]
        if isinstance(contact, VaultError):
            return Unwritten("erased" if isinstance(contact, Erased) else "no_recipient")
        receipt, epoch = receipts.get(_case(row), (None, 0))
        values = {**draft.values, "case": row["case_id"], "receipt": receipt, "count": len(draft.items) or None}
        if row["audience"] == "citizen":
            link = self._link(row, receipt, epoch)
            values |= {"link": link, "survey": link and f"{link}/survey"} | _signature(draft, officials)
        values["visitor"] = _visitor(draft, values, officials)
        values["items"] = [
            {
                **item,
                "receipt": receipts.get((draft.tenant, item["case"]), (None, 0))[0],
                "visitor": _visitor(draft, item, officials),
            }
            for item in draft.items
        ]
        try:
            values |= await self._reasons(work, draft)
            message = texts.render(row["template"], row["language"], tenant, values, work.now)
        except Erased:
            return Unwritten("erased")
        except texts.Unsayable:
            return Unwritten("no_words")
        attempt = row["attempts"] + 1
        return Letter(row["key"], attempt, tenant, row["language"], row["template"], contact, message, work.now)

    def _link(self, row: Row, receipt: str | None, epoch: int) -> str | None:
        """The address of the case's page."""
        if self._signer is None or receipt is None:
            return None
        link = self._signer.link(row["tenant"], row["case_id"], receipt, epoch)
        return f"{self._public_url}/{row['language']}/{row['tenant']}/p/{link}"

    async def _recipients(self, work: Work, rows: Sequence[Row], views: Mapping[CaseKey, CaseView]) -> list[Contact]:
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

    async def _officials(self, work: Work, drafts: Sequence[_Draft]) -> dict[tuple[str, str], _Official]:
        """The members of staff whom letters name, by the letter's key and their id; who is not known is left out."""
        asked = {(draft.tenant, staff) for draft in drafts for staff in draft.staff()}
        if not asked:
            return {}
        found = await work.staffs(asked)
        above = {(draft.tenant, staff) for draft in drafts if (staff := draft.superior(found))}
        found |= await work.staffs(above) if above else {}
        named = [
            (draft, staff)
            for draft in drafts
            for staff in sorted({*draft.staff(), *filter(None, [draft.superior(found)])})
            if (draft.tenant, staff) in found
        ]
        wanted = [Wanted(draft.tenant, staff, draft.purpose) for draft, staff in named]
        contacts = await self._vault.read_staffs(work.connection, wanted, READER) if wanted else []
        _raise_what_waits(contacts)
        officials = {}
        for (draft, staff), contact in zip(named, contacts, strict=True):
            row, known = found[draft.tenant, staff], contact if isinstance(contact, dict) else {}
            officials[draft.row["key"], staff] = _Official(row["department"], row["superior"], known)
        return officials

    async def _reasons(self, work: Work, draft: _Draft) -> dict[str, str]:
        """What the office gave as its reasons, and the ways to seek relief that it named. Raises Erased."""
        purpose = f"{REASONS}:{draft.row['template']}"
        return {
            name: await self._vault.read_text(work.connection, draft.tenant, draft.values[ref], purpose, READER)
            for name, ref in (("reason", "reason_ref"), ("remedies", "remedies_ref"))
            if draft.values.get(ref)
        }


def _check(language: str, tenant: str) -> None:
    try:
        texts.of_tenant(language, tenant)
    except ValueError as error:
        raise OperatorError(f"The words of {tenant} cannot be used: {error}. `gihan notice lint` shows all.") from None


def _signature(draft: _Draft, officials: Mapping[tuple[str, str], _Official]) -> dict[str, str | None]:
    """Who answers for the case, as far as it is known."""
    key, view = draft.row["key"], draft.view
    officer = officials.get((key, view.officer or ""))
    approver = officials.get((key, view.approver or ""))
    superior = officials.get((key, (officer and officer.superior) or ""))
    return {
        "contact": officer.named(view.department) if officer else view.department,
        "officer_email": officer.known.get("email") if officer else None,
        "approver": approver.named() if approver else None,
        "superior": superior.named() if superior else None,
    }


def _visitor(draft: _Draft, values: Mapping[str, Any], officials: Mapping[tuple[str, str], _Official]) -> str | None:
    """The name of who came to see the citizen, in the place of an id."""
    visitor = officials.get((draft.row["key"], values.get("visitor") or ""))
    return visitor.named() if visitor else None


def _case(row: Row) -> CaseKey:
    return row["tenant"], row["case_id"]


def _raise_what_waits(contacts: Collection[Contact]) -> None:
    for contact in contacts:
        if isinstance(contact, (NotAllowed, MasterKeyMissing)):
            raise contact


async def _receipts(work: Work, cases: Collection[CaseKey]) -> dict[CaseKey, tuple[str, int]]:
    """The receipt number of each case that has one, and the number over which its links are signed."""
    rows = await work.connection.fetch(
        'SELECT s.tenant, s."case", s.receipt, coalesce(e.epoch, 0) AS epoch '
        "FROM unnest($1::text[], $2::text[]) AS wanted (tenant, case_id) "
        'JOIN read.subject_refs s ON s.tenant = wanted.tenant AND s."case" = wanted.case_id '
        'LEFT JOIN read.link_epochs e ON e.tenant = wanted.tenant AND e."case" = wanted.case_id '
        "WHERE s.receipt IS NOT NULL",
        [tenant for tenant, _ in cases],
        [case for _, case in cases],
    )
    return {(row["tenant"], row["case"]): (row["receipt"], row["epoch"]) for row in rows}
