"""The letter of apology: a page to be printed, made from the vault's data when somebody asks for it, and never kept.

The one rule: the vault is read under the letter's own purpose, with an access record, and by who may write the letter.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import asyncpg

from services.chassis.vault import Vault
from services.notifier import texts
from services.notifier.ledger import Ledger
from services.notifier.notices import CaseView
from services.notifier.tasks import acting, charters, life
from services.notifier.tasks.life import Actor, Item, NotPossible
from services.rules.instants import Instant
from services.rules.tenants import Tenant

Language = Literal["ko", "en"]

PURPOSE = "apology"
READERS = ("clerk", "approver", "head", "audit")


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
    return await asyncio.to_thread(_drawn, values, tenant, language, now)


def _drawn(values: Mapping[str, str | None], tenant: Tenant, language: Language, now: Instant) -> bytes:
    # Loaded with the first letter: what draws would be a fifth of every start of the service.
    from services.notifier.tasks.letter_page import letter

    return letter(values, tenant, language, now)


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
