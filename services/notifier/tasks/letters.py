"""The letter of apology: a page to be printed, made from the vault's data when somebody asks for it, and never kept.

The one rule: the same case, words and day give the same bytes. No time of day, no random id.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import asyncpg
import msgspec
import yaml

from services.chassis.pdf import FONT, Document
from services.chassis.vault import Vault
from services.notifier import texts
from services.notifier.ledger import Ledger
from services.notifier.notices import CaseView
from services.notifier.tasks import acting, charters, life
from services.notifier.tasks.life import Actor, Item, NotPossible
from services.rules import instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant

Language = Literal["ko", "en"]

PURPOSE = "apology"
_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")
READERS = ("clerk", "approver", "head", "audit")


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """The words of the letter in one language."""

    title: str
    to: str
    receipt: str
    lines: tuple[str, ...]
    contact: str
    dated: str
    sender: str


@cache
def words(language: Language) -> Words:
    """The words of a language."""
    file = Path(__file__).with_name("letters.yaml")
    return msgspec.convert(yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)[language], Words)


async def apology(ledger: Ledger, vault: Vault, now: Instant, actor: Actor, key: str, language: Language) -> bytes:
    """A PDF (A4, tagged language, readable text) that says sorry for what the task `key` is about, to the citizen of
    the case by name and address, dated on the day of `now`. The readings stand in the access record under the purpose
    `apology`. Raises NotPossible, and VaultError where the person was erased or the reader may not."""
    item, _ = await acting.look(ledger, now, actor.tenant, key)
    life.may_write(item, actor)
    tenant = ledger.tenants[item.tenant]
    reader = f"{next(role for role in READERS if role in actor.roles)}/{actor.staff}"
    async with ledger.pool.acquire() as connection:
        work = ledger.reading(connection, now)
        case = (item.tenant, item.case)
        view = (await work.views([case]))[case]
        if view.subject_ref is None:
            raise NotPossible("nobody", "Nobody is known to whom this letter could go.")
        person = await vault.read_person(work.connection, tenant.id, view.subject_ref, PURPOSE, reader)
        values = {
            "name": person.get("name"),
            "address": person.get("address"),
            "contact": await _contact(work.connection, vault, tenant, view, item, reader),
            "receipt": await work.connection.fetchval(
                'SELECT receipt FROM read.subject_refs WHERE tenant = $1 AND "case" = $2', *case
            ),
            **await _broken(work.connection, item, tenant, language, now),
        }
    return letter(values, tenant, language, now)


def letter(values: Mapping[str, str | None], tenant: Tenant, language: Language, now: Instant) -> bytes:
    """The letter of given values: name, and where they are known address, receipt, promise, due, amount and contact."""
    city = tenant.name_ko if language == "ko" else tenant.name_en
    local = instants.local(now, tenant.zone).date()
    date = f"{local.year}년 {local.month}월 {local.day}일" if language == "ko" else f"{local:%-d %B %Y}"
    known = {name: _plain(value) for name, value in {**values, "city": city, "date": date}.items() if value}
    said = words(language)
    page = Document(language, said.title, city)
    page.add_page()
    for line in (said.to, "{address}", said.receipt):
        _write(page, line, known, 11, 7)
    page.ln(14)
    _write(page, said.title, known, 16, 10, bold=True)
    page.ln(8)
    for line in said.lines:
        _write(page, line, known, 11, 8)
    page.ln(8)
    _write(page, said.contact, known, 10, 6)
    page.ln(10)
    for line in (said.dated, said.sender):
        _write(page, line, known, 12, 8, bold=line == said.sender)
    return page.written()


def _write(page: Document, line: str, known: Mapping[str, str], points: int, height: int, bold: bool = False) -> None:
    """A paragraph, unless a value of it is missing. A value is put in once and never read as a line of its own."""
    filled = _fill(line, known)
    if filled is not None:
        page.set_font(FONT, "B" if bold else "", points)
        page.multi_cell(0, height, filled, new_x="LMARGIN", new_y="NEXT")


def _fill(line: str, known: Mapping[str, str]) -> str | None:
    if any(name not in known for name in _PLACEHOLDER.findall(line)):
        return None
    return _PLACEHOLDER.sub(lambda match: known[match[1]], line)


def _plain(value: str) -> str:
    """Words without controls and hidden characters; each may be long, the whole is not cut."""
    return " ".join(texts.plain(word) for word in value.split())


async def _contact(
    connection: asyncpg.Connection, vault: Vault, tenant: Tenant, view: CaseView, item: Item, reader: str
) -> str | None:
    """Department, name and telephone of whoever has the case, as far as they are described."""
    described = await connection.fetchval(
        "SELECT 1 FROM notifier.staff WHERE tenant = $1 AND staff = $2", tenant.id, view.officer
    )
    department = view.department or item.department
    if described is None or view.officer is None:
        return department
    known = await vault.read_staff(connection, tenant.id, view.officer, PURPOSE, reader)
    return " ".join(filter(None, (department, known.get("name"), known.get("phone"))))


async def _broken(
    connection: asyncpg.Connection, item: Item, tenant: Tenant, language: Language, now: Instant
) -> dict[str, str | None]:
    """The promise in the charter's words, when it was due, and the money where it is approved."""
    remedy: Any = await connection.fetchrow(
        "SELECT t.promise, t.broken_at, t.amount, t.currency FROM notifier.tasks t JOIN notifier.tasks asked "
        "USING (tenant, case_id) WHERE asked.key = $1 AND t.remedy_key IS NOT NULL "
        "AND (t.incident = asked.incident AND t.clause = asked.clause "
        "OR t.clause || ':' || t.incident = asked.incident) "
        "AND t.state IN ('approved', 'issued', 'acknowledged')",
        item.key,
    )
    amount = None if remedy is None else remedy["amount"]
    promise = item.promise or (remedy["promise"] if remedy is not None else None)
    broken_at = item.broken_at or (remedy["broken_at"] if remedy is not None else None)
    charter = charters.named(item.charter)
    of_charter = charter.promises.get(promise or "") if charter is not None else None
    currency = item.currency or (remedy["currency"] if remedy is not None else None) or "KRW"
    return {
        "promise": None if of_charter is None else of_charter.says[language],
        "due": None if broken_at is None else texts.date_text(broken_at, language, tenant, now),
        "amount": None
        if amount is None
        else f"{amount:,}원"
        if (language, currency) == ("ko", "KRW")
        else f"{amount:,} {currency}",
    }
