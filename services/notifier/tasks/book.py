"""The book: every movement of money owed to citizens, from one account to another.

The one rule: nothing appears or vanishes. A remedy comes out of `charter`, is owed while it stands in `open`, and ends
in `paid`, `declined`, `withdrawn` or `covered` (by the payment of another); each movement is written in the transaction
of its cause, once.
"""

from typing import TYPE_CHECKING, Literal

import asyncpg

from services.notifier.tasks.life import Step
from services.rules import instants
from services.rules.instants import Instant

if TYPE_CHECKING:
    from services.notifier.ledger import Work

Account = Literal["charter", "open", "paid", "declined", "withdrawn", "covered"]
Entry = Literal["proposed", "entered", "withdrawn", "declined", "issued", "covered", "separated"]


async def enter(
    work: "Work",
    row: asyncpg.Record,
    entry: Entry,
    cause: str,
    debit: Account,
    credit: Account,
    amount: int | None,
    at: Instant | None,
) -> None:
    """An amount comes to `debit` and leaves `credit`, on the local day of an instant. What has no amount, or is no
    money, moves nothing."""
    if row["remedy_key"] is None or not amount:
        return
    day = instants.local(work.now if at is None else at, work.zone(row["tenant"])).date()
    await work.connection.execute(
        "INSERT INTO notifier.book (key, entry, cause, debit, credit, amount, day) VALUES ($1, $2, $3, $4, $5, $6, $7) "
        "ON CONFLICT DO NOTHING",
        *(row["key"], entry, cause, debit, credit, amount, day),
    )


async def enter_amount(work: "Work", row: asyncpg.Record, step: Step) -> None:
    """What was owed becomes what was entered: the difference moves."""
    more = (step.amount or 0) - (row["amount"] or 0)
    sides: tuple[Account, Account] = ("open", "charter") if more > 0 else ("charter", "open")
    await enter(work, row, "entered", f"{step.cause}-{step.number}", *sides, abs(more), step.at)
