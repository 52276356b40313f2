"""A row of a task or a remedy, as everything here reads, tells and lets it go.

The one rule: an event on NOTICES is named by what brought it (a decision, a step, a fact), so that it is the same event
whoever works it out again.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import asyncpg

from services.notifier.notices import key_of
from services.notifier.tasks.life import Item, Step
from services.rules import instants

if TYPE_CHECKING:
    from services.notifier.ledger import Work

Row = asyncpg.Record
"""A row of notifier.tasks."""


async def item(connection: asyncpg.Connection, tenant: str, key: str, lock: str = "") -> tuple[Row, Item] | None:
    """A task or a remedy of a tenant with its steps; `lock` is FOR UPDATE or nothing."""
    row = await connection.fetchrow(
        f"SELECT * FROM notifier.tasks WHERE tenant = $1 AND key = $2 {lock}",  # noqa: S608 - a constant
        tenant,
        key,
    )
    if row is None:
        return None
    rows = await connection.fetch("SELECT * FROM notifier.steps WHERE key = $1 ORDER BY number", key)
    return row, item_of(row, [step_of(one) for one in rows])


def item_of(row: Row, steps: Sequence[Step]) -> Item:
    """A row as the rules of its life read it."""
    return Item(
        key=row["key"],
        tenant=row["tenant"],
        case=row["case_id"],
        task=row["task"],
        clause=row["clause"],
        state=row["state"],
        remedy_key=row["remedy_key"],
        promise=row["promise"],
        charter=row["charter"],
        department=row["department"],
        officer=row["officer"],
        lies_with=row["lies_with"],
        at_fault=tuple(row["at_fault"]),
        amount=row["amount"],
        currency=row["currency"],
        needs=tuple(row["needs"]),
        finding=row["finding"],
        finding_by=row["finding_by"],
        broken_at=row["broken_at"],
        due=row["due"],
        cause=cause_of(row)["id"],
        steps=steps,
    )


def step_of(row: Row) -> Step:
    """A row of notifier.steps."""
    return Step(*(row[name] for name in Step._fields))


def cause_of(row: Row) -> dict[str, str]:
    """The decision under which it was last assigned: its source and id."""
    cause: dict[str, str] = json.loads(row["cause"])
    return cause


def data_of_task(work: "Work", row: Row) -> dict[str, Any]:
    """What the events about a task say of it."""
    return {
        "key": row["key"],
        "task": row["task"],
        "incident": row["incident"] or None,
        "remedy": row["clause"] or None,
        "promise": row["promise"],
        "amount": row["amount"],
        "currency": row["currency"],
        "department": row["department"],
        "assignee": row["officer"],
        "due": None if row["due"] is None else instants.text(row["due"], work.zone(row["tenant"])),
        "cause": cause_of(row),
    }


def data_of_remedy(row: Row) -> dict[str, Any]:
    """What the events about a remedy say of it."""
    return {
        "key": row["remedy_key"],
        "remedy": row["clause"],
        "incident": row["incident"] or None,
        "amount": row["amount"],
        "currency": row["currency"],
    }


def tell_assigned(work: "Work", row: Row) -> None:
    """A task lies with somebody now."""
    work.tell(row, "task.assigned", assigned_id(row), data_of_task(work, row))


def assigned_id(row: Row) -> str:
    """How the event is named by which a task was assigned."""
    return f"{row['key']}-assigned-{cause_of(row)['id']}"


def id_by_fact(row: Row, what: str, fact: str, turns: int) -> str:
    """How an event is named that a fact (source/id) brought about a task; `turns` counts how often the fact was taken
    back or restored, since each time it may end the task, or leave it to be done, anew."""
    again = f"-{turns}" if turns > 1 else ""
    return f"{row['key']}-{what}-{cause_of(row)['id']}-{key_of(fact)}{again}"


async def let_go(work: "Work", row: Row) -> Row:
    """What was held is assigned."""
    gone = await work.connection.fetchrow(
        "UPDATE notifier.tasks SET state = 'assigned', revision = revision + 1 WHERE key = $1 RETURNING *", row["key"]
    )
    assert gone is not None
    tell_assigned(work, gone)
    return gone


async def release_beside(work: "Work", row: Row, clause: str, incident: str) -> None:
    """The tasks that go with a remedy are assigned, where they waited for nothing else."""
    held = await work.connection.fetch(
        "SELECT * FROM notifier.tasks WHERE tenant = $1 AND case_id = $2 AND incident = $3 AND clause = $4 "
        "AND remedy_key IS NULL AND state = 'held' AND release_at IS NULL ORDER BY key FOR UPDATE",
        *(row["tenant"], row["case_id"], incident, clause),
    )
    for beside in held:
        await let_go(work, beside)


async def withdraw_beside(work: "Work", row: Row, states: Sequence[str]) -> None:
    """The tasks that go with a remedy are no longer wanted, of those in some states."""
    await work.connection.execute(
        "UPDATE notifier.tasks SET state = 'withdrawn' WHERE tenant = $1 AND case_id = $2 AND incident = $3 "
        "AND clause = $4 AND remedy_key IS NULL AND state = ANY($5::text[])",
        *(row["tenant"], row["case_id"], row["incident"], row["clause"], list(states)),
    )
