"""How the rows of tasks and remedies come, are let go and leave, as decisions and time want it.

The one rule: a row, the book's entry and the event on NOTICES are written in one transaction. What people did under a
decision before the ledger was lost is put back where its task is assigned by that decision again.
"""

import json
from typing import TYPE_CHECKING

from services.chassis.failpoints import failpoint
from services.chassis.logs import get_logger
from services.notifier.notices import COMPENSATION, CaseView, Event, Task, TaskWithdrawal
from services.notifier.tasks import book, covering, kinds, noting, rows, steps
from services.rules import instants

if TYPE_CHECKING:
    from services.notifier.ledger import Work

_ASSIGN = """
    INSERT INTO notifier.tasks AS t (key, tenant, case_id, incident, clause, task, promise, officer, amount, currency,
        needs, cause, state, revision, release_at, wanted_at, remedy_key, occurrence, charter, department, lies_with,
        at_fault, proposed_at, broken_at, due, proposed_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, CASE $13 WHEN 'held' THEN 0 ELSE 1 END, $14, $15,
        $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)
    ON CONFLICT (key) DO UPDATE SET amount = excluded.amount, currency = excluded.currency, needs = excluded.needs,
        cause = excluded.cause, state = excluded.state, revision = t.revision + excluded.revision,
        release_at = excluded.release_at, officer = excluded.officer, charter = excluded.charter,
        department = excluded.department, at_fault = excluded.at_fault, proposed_at = excluded.proposed_at,
        broken_at = excluded.broken_at, due = excluded.due, overdue_at = NULL, finding = NULL, finding_by = NULL,
        finding_event = NULL, proposed_by = excluded.proposed_by, withdrawn_by = NULL, covered_by = NULL
    WHERE t.state = 'withdrawn' OR (t.state = 'done' AND t.finding_event IS NOT NULL) RETURNING *
"""


async def assign(work: "Work", task: Task, event: Event, view: CaseView) -> None:
    """A task, once per key; one that was withdrawn, or that a fact had ended, is assigned anew, one that was issued or
    that somebody has done never again. One that was paid for under another name is covered by that payment."""
    payment = await covering.payment_for(work, task, event) if task.remedy_key is not None else None
    waits = task.waits or await covering.waits(work, task, event)
    row = await work.connection.fetchrow(
        _ASSIGN,
        *(task.key, event.tenant, event.case, task.incident, task.clause, task.task, task.promise, task.officer),
        *(task.amount, task.currency, list(task.needs), json.dumps(task.cause)),
        "held" if waits or payment is not None or task.hold_until is not None else "assigned",
        None if waits else task.hold_until,
        *(work.now, task.remedy_key, task.occurrence, task.charter, task.department, kinds.of(task.task).lies_with),
        *(list(task.at_fault), task.proposed_at, task.broken_at, task.due, event.cause_sequence),
    )
    await failpoint("compensation.after_task")
    if row is None:
        await covering.owed_again(work, task.key, event)
        return
    await book.enter(work, row, "proposed", task.cause["id"], "open", "charter", row["amount"], task.proposed_at)
    if payment is not None:
        row = await covering.cover(work, row, payment, event)
    elif row["state"] == "held" and await work.was_told(rows.assigned_id(row)):
        # A ledger that is worked out anew: it was let go before the old one was lost.
        row = await rows.let_go(work, row)
    elif row["state"] == "assigned":
        rows.tell_assigned(work, row)
    if task.notice is not None and payment is None:
        await work.want(task.notice, event, view)
    await noting.note(work, (event.tenant, event.case), view)
    for step in await steps.steps_of(work, row["key"]):
        if step.cause == task.cause["id"]:
            row = await steps.apply(work, row, step)


async def withdraw(work: "Work", withdrawal: TaskWithdrawal, event: Event) -> None:
    """A task is no longer wanted, nor what goes with it; a remedy that was issued is kept, which is told."""
    row = await work.connection.fetchrow(
        "UPDATE notifier.tasks SET withdrawn_by = $2, state = CASE WHEN state IN ('issued', 'acknowledged', 'kept') "
        "THEN 'kept' ELSE 'withdrawn' END WHERE key = $1 AND state NOT IN ('withdrawn', 'done') "
        "RETURNING *, old.state AS was",
        withdrawal.key,
        event.cause_sequence,
    )
    await failpoint("compensation.after_withdrawal")
    if row is None or row["task"] != COMPENSATION:
        return
    cause = withdrawal.cause["id"]
    if row["state"] == "kept":
        await covering.withdrawn(work, row, event)
        if row["was"] == "kept":
            return
        work.tell(row, "remedy.kept", f"{row['key']}-kept-{cause}", rows.data_of_remedy(row))
        return
    source: book.Account = row["was"] if row["was"] in ("declined", "covered") else "open"
    await book.enter(work, row, "withdrawn", cause, "withdrawn", source, row["amount"], instants.instant(event.time))
    await rows.withdraw_beside(work, row, ("held", "assigned"))
    if row["was"] == "covered":
        await covering.withdrawn(work, row, event)


async def release(work: "Work") -> None:
    """Assigns what was held until now, and tells what is overdue."""
    held = await work.connection.fetch(
        "UPDATE notifier.tasks SET state = 'assigned', revision = revision + 1 "
        "WHERE state = 'held' AND release_at <= $1 RETURNING *",
        work.now,
    )
    for row in sorted(held, key=lambda task: (task["release_at"], task["key"])):
        rows.tell_assigned(work, row)
    missed = await work.connection.fetch(
        "UPDATE notifier.tasks SET overdue_at = $1 WHERE due < $1 AND overdue_at IS NULL AND state = 'assigned' "
        "AND (remedy_key IS NULL OR finding IS NULL) RETURNING *",
        work.now,
    )
    for row in sorted(missed, key=lambda task: (task["due"], task["key"])):
        work.tell(row, "task.overdue", f"{row['key']}-overdue-{rows.cause_of(row)['id']}", rows.data_of_task(work, row))
        get_logger().warning("task_overdue", tenant=row["tenant"], case=row["case_id"], kind=row["task"])
