"""The rows of tasks and remedies: how they come, go, and change by the steps that people take.

The one rule: a row, its step, the book's entry and the event on NOTICES are written in one transaction. A step belongs
to the decision under which its task was assigned, so that a ledger that is worked out anew puts it back where it was
taken.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import asyncpg

from services.chassis.failpoints import failpoint
from services.chassis.logs import get_logger
from services.notifier.notices import (
    COMPENSATION,
    CaseView,
    Event,
    Notice,
    Retraction,
    Task,
    TaskWithdrawal,
    key_of,
)
from services.notifier.tasks import book, kinds, noted
from services.notifier.tasks.life import Item, Step
from services.rules import instants

if TYPE_CHECKING:
    from services.notifier.ledger import CaseKey, Work

Row = asyncpg.Record

NOTIFIER = "gihan/notifier"
AFTER = {
    "approved": "approved",
    "declined": "declined",
    "issued": "issued",
    "acknowledged": "acknowledged",
    "done": "done",
}
"""The state after a step; `entered` leaves it as it is."""

_ASSIGN = """
    INSERT INTO notifier.tasks AS t (key, tenant, case_id, incident, clause, task, promise, officer, amount, currency,
        needs, cause, state, revision, release_at, wanted_at, remedy_key, occurrence, charter, department, lies_with,
        at_fault, proposed_at, broken_at, due)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, CASE $13 WHEN 'held' THEN 0 ELSE 1 END, $14, $15,
        $16, $17, $18, $19, $20, $21, $22, $23, $24)
    ON CONFLICT (key) DO UPDATE SET amount = excluded.amount, currency = excluded.currency, needs = excluded.needs,
        cause = excluded.cause, state = excluded.state, revision = t.revision + excluded.revision,
        release_at = excluded.release_at, officer = excluded.officer, charter = excluded.charter,
        department = excluded.department, at_fault = excluded.at_fault, proposed_at = excluded.proposed_at,
        broken_at = excluded.broken_at, due = excluded.due, overdue_at = NULL
    WHERE t.state = 'withdrawn' RETURNING *
"""


async def assign(work: "Work", task: Task, event: Event, view: CaseView) -> None:
    """A task, once per key; one that was withdrawn is assigned anew, one that was issued or done never again."""
    row = await work.connection.fetchrow(
        _ASSIGN,
        *(task.key, event.tenant, event.case, task.incident, task.clause, task.task, task.promise, task.officer),
        *(task.amount, task.currency, list(task.needs), json.dumps(task.cause)),
        "held" if task.waits or task.hold_until is not None else "assigned",
        None if task.waits else task.hold_until,
        *(work.now, task.remedy_key, task.occurrence, task.charter, task.department, kinds.of(task.task).lies_with),
        *(list(task.at_fault), task.proposed_at, task.broken_at, task.due),
    )
    await failpoint("compensation.after_task")
    if row is None:
        return
    await book.enter(work, row, "proposed", task.cause["id"], "open", "charter", row["amount"], task.proposed_at)
    if row["state"] == "held" and await work.was_told(_assigned_id(row)):
        # A ledger that is worked out anew: it was let go before the old one was lost.
        row = await _let_go(work, row)
    elif row["state"] == "assigned":
        tell_assigned(work, row)
    if task.notice is not None:
        await work.want(task.notice, event, view)
    await note(work, (event.tenant, event.case), view)
    for step in await steps_of(work, row["key"]):
        if step.cause == task.cause["id"]:
            row = await _apply(work, row, step)


async def withdraw(work: "Work", withdrawal: TaskWithdrawal, event: Event) -> None:
    """A task is no longer wanted, nor what goes with it; a remedy that was issued is kept, which is told."""
    row = await work.connection.fetchrow(
        "UPDATE notifier.tasks SET state = CASE WHEN state IN ('issued', 'acknowledged') THEN 'kept' ELSE 'withdrawn' "
        "END WHERE key = $1 AND state NOT IN ('withdrawn', 'kept', 'done') RETURNING *, old.state AS was",
        withdrawal.key,
    )
    await failpoint("compensation.after_withdrawal")
    if row is None or row["task"] != COMPENSATION:
        return
    cause = withdrawal.cause["id"]
    if row["state"] == "kept":
        work.tell(row, "remedy.kept", f"{row['key']}-kept-{cause}", _of_remedy(row))
        return
    source: book.Account = "declined" if row["was"] == "declined" else "open"
    await book.enter(work, row, "withdrawn", cause, "withdrawn", source, row["amount"], instants.instant(event.time))
    await _withdraw_beside(work, row, ("held", "assigned"))


async def _withdraw_beside(work: "Work", row: Row, states: Sequence[str]) -> None:
    await work.connection.execute(
        "UPDATE notifier.tasks SET state = 'withdrawn' WHERE tenant = $1 AND case_id = $2 AND incident = $3 "
        "AND clause = $4 AND remedy_key IS NULL AND state = ANY($5::text[])",
        *(row["tenant"], row["case_id"], row["incident"], row["clause"], list(states)),
    )


async def note(work: "Work", case: "CaseKey", view: CaseView) -> None:
    """Findings that stand in a case, and who is named in it, on the rows of the case."""
    if not view.noted:
        return
    rows = await work.connection.fetch(
        "SELECT key, promise, needs, officer FROM notifier.tasks WHERE tenant = $1 AND case_id = $2", *case
    )
    await work.connection.executemany(
        "UPDATE notifier.tasks SET at_fault = $2, finding = $3, finding_by = $4, finding_event = $5 WHERE key = $1",
        [(row["key"], noted.at_fault(view.noted, case[1], row["officer"]), *_finding(row, view)) for row in rows],
    )


def _finding(row: Row, view: CaseView) -> tuple[str | None, str | None, str | None]:
    """What is found, by whom, and the fact that says it."""
    found = noted.finding(view.noted, row["promise"]) if "finding" in row["needs"] else None
    return (None, None, None) if found is None else (found[1].finding, found[1].by, found[0])


async def release(work: "Work") -> None:
    """Assigns what was held until now, and tells what is overdue."""
    held = await work.connection.fetch(
        "UPDATE notifier.tasks SET state = 'assigned', revision = revision + 1 "
        "WHERE state = 'held' AND release_at <= $1 RETURNING *",
        work.now,
    )
    for row in sorted(held, key=lambda task: (task["release_at"], task["key"])):
        tell_assigned(work, row)
    missed = await work.connection.fetch(
        "UPDATE notifier.tasks SET overdue_at = $1 WHERE due < $1 AND overdue_at IS NULL AND state = 'assigned' "
        "AND (remedy_key IS NULL OR finding IS NULL) RETURNING *",
        work.now,
    )
    for row in sorted(missed, key=lambda task: (task["due"], task["key"])):
        work.tell(row, "task.overdue", f"{row['key']}-overdue-{_cause(row)['id']}", _of_task(work, row))
        get_logger().warning("task_overdue", tenant=row["tenant"], case=row["case_id"], kind=row["task"])


def tell_assigned(work: "Work", row: Row) -> None:
    """A task lies with somebody now."""
    # Named by the decision that wants it, so that it is the same event whoever works it out again.
    work.tell(row, "task.assigned", _assigned_id(row), _of_task(work, row))


def _assigned_id(row: Row) -> str:
    return f"{row['key']}-assigned-{_cause(row)['id']}"


async def _let_go(work: "Work", row: Row) -> Row:
    let_go = await work.connection.fetchrow(
        "UPDATE notifier.tasks SET state = 'assigned', revision = revision + 1 WHERE key = $1 RETURNING *", row["key"]
    )
    assert let_go is not None
    tell_assigned(work, let_go)
    return let_go


# What people do


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
    return row, item_of(row, [_step(one) for one in rows])


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
        cause=_cause(row)["id"],
        steps=steps,
    )


async def take(work: "Work", row: Row, step: Step) -> Item:
    """Writes a step that may be taken, what follows from it, and its event. The row is locked."""
    await _write(work, row["key"], step)
    await failpoint("compensation.after_step")
    changed = await _apply(work, row, step)
    data = _of_task(work, changed) if step.step == "done" else _of_remedy(changed)
    data |= {"by": step.staff, "cause": _cause(changed)}
    named = {"declined": "reason", "issued": "means", "acknowledged": "outcome", "done": "outcome"}.get(step.step)
    if named is not None:
        data[named] = step.code
    data["voucher"] = step.voucher
    work.tell(changed, TYPES[step.step], event_id(changed["key"], step), data)
    return item_of(changed, await steps_of(work, changed["key"]))


TYPES = {
    "entered": "remedy.entered",
    "approved": "remedy.approved",
    "declined": "remedy.declined",
    "issued": "remedy.issued",
    "acknowledged": "remedy.acknowledged",
    "done": "task.done",
}
"""The event on NOTICES that tells of each step."""


PAYING = ("entered", "approved", "issued", "acknowledged")
"""The steps that say an amount."""


def event_id(key: str, step: Step) -> str:
    """How the event of a step is named."""
    return f"{key}-{step.step}-{step.number}"


async def steps_of(work: "Work", key: str) -> list[Step]:
    """The steps of a task, in order."""
    rows = await work.connection.fetch("SELECT * FROM notifier.steps WHERE key = $1 ORDER BY number", key)
    return [_step(row) for row in rows]


async def restore(work: "Work", events: Sequence[Event]) -> list[tuple[str, Step]]:
    """Steps that NOTICES tells, in their order, into a ledger that does not know them; returns those that are new."""
    types = {type: step for step, type in TYPES.items()}
    found = []
    for event in events:
        if event.type not in types:
            continue
        data, name = event.data, types[event.type]
        key = data["key"]
        if name != "done":
            key = key_of(event.tenant, event.case, data.get("incident", ""), data["remedy"], COMPENSATION)
        step = Step(
            number=int(event.id.rpartition("-")[2]),
            cause=data["cause"]["id"],
            step=name,
            staff=data["by"],
            at=instants.instant(event.time),
            amount=data.get("amount") if name in PAYING else None,
            currency=data.get("currency") if name in PAYING else None,
            code=data.get("reason") or data.get("means") or data.get("outcome"),
            voucher=data.get("voucher"),
        )
        if await _write(work, key, step):
            found.append((key, step))
    return found


async def reapply(work: "Work", steps: Sequence[tuple[str, Step]]) -> None:
    """Restored steps change the tasks that are there still; those of others follow when these are assigned again."""
    for key, step in steps:
        row = await work.connection.fetchrow("SELECT * FROM notifier.tasks WHERE key = $1 FOR UPDATE", key)
        if row is not None and _cause(row)["id"] == step.cause:
            await _apply(work, row, step)


async def _write(work: "Work", key: str, step: Step) -> bool:
    """Whether the step was new."""
    written = await work.connection.fetchval(
        "INSERT INTO notifier.steps (key, number, cause, step, staff, at, amount, currency, code, voucher) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING 1",
        key,
        *step,
    )
    return written is not None


async def _apply(work: "Work", row: Row, step: Step) -> asyncpg.Record:
    """What a step changes: the row, the book, and what goes with the remedy."""
    if step.step in ("entered", "approved"):
        await book.enter_amount(work, row, step)
    changed = await work.connection.fetchrow(
        "UPDATE notifier.tasks SET state = coalesce($2, state), "
        "amount = CASE WHEN remedy_key IS NULL THEN amount ELSE coalesce($3, amount) END WHERE key = $1 RETURNING *",
        row["key"],
        AFTER.get(step.step),
        step.amount,
    )
    assert changed is not None
    if step.step == "approved" and "finding" in row["needs"]:
        await _release_beside(work, row)
    if step.step == "approved" and row["needs"]:
        await _tell_citizen(work, changed, step)
    if step.step == "declined":
        await book.enter(work, row, "declined", event_id(row["key"], step), "declined", "open", row["amount"], step.at)
        await _withdraw_beside(work, row, ("held",))
        await _tell_citizen(work, changed, step)
    if step.step == "issued":
        await book.enter(work, row, "issued", event_id(row["key"], step), "paid", "open", changed["amount"], step.at)
    return changed


async def _release_beside(work: "Work", row: Row) -> None:
    """What goes with a remedy is assigned, now that it is approved."""
    rows = await work.connection.fetch(
        "SELECT * FROM notifier.tasks WHERE tenant = $1 AND case_id = $2 AND incident = $3 AND clause = $4 "
        "AND remedy_key IS NULL AND state = 'held' AND release_at IS NULL ORDER BY key FOR UPDATE",
        *(row["tenant"], row["case_id"], row["incident"], row["clause"]),
    )
    for beside in rows:
        await _let_go(work, beside)


async def _tell_citizen(work: "Work", row: Row, step: Step) -> None:
    """The citizen hears of an amount once it is certain (what was certain from the first was told then), and that
    nothing comes where something was announced and is declined."""
    case = (row["tenant"], row["case_id"])
    view = (await work.views([case]))[case]
    if view.subject_ref is None:
        return
    type, cause = TYPES[step.step], _cause(row)
    event = Event(event_id(row["key"], step), NOTIFIER, type, instants.text(step.at, work.zone(case[0])), {}, *case)
    approved = step.step == "approved"
    topic = f"remedy|{row['remedy_key']}"
    notice = Notice(
        key=told_key(*case, row["remedy_key"], type, cause["id"]),
        template="compensation" if approved else "compensation_withdrawn",
        topic=topic if approved else f"{topic}|declined",
        cause=cause,
        promise=row["promise"],
        arguments={"amount": [row["amount"], row["currency"] or "KRW"]} if approved else {},
    )
    if approved:
        await work.want(notice, event, view)
    else:
        await work.retract(Retraction(topic, "declined", notice), event, view)


def told_key(tenant: str, case: str, remedy_key: str, type: str, cause: str) -> str:
    """Names the message that tells the citizen what was decided about a remedy, by the type of the decision's event."""
    return key_of(tenant, case, remedy_key, type, cause)


def _step(row: Row) -> Step:
    return Step(*(row[name] for name in Step._fields))


def _cause(row: Row) -> dict[str, str]:
    cause: dict[str, str] = json.loads(row["cause"])
    return cause


def _of_task(work: "Work", row: Row) -> dict[str, Any]:
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
        "cause": _cause(row),
    }


def _of_remedy(row: Row) -> dict[str, Any]:
    return {
        "key": row["remedy_key"],
        "remedy": row["clause"],
        "incident": row["incident"] or None,
        "amount": row["amount"],
        "currency": row["currency"],
    }
