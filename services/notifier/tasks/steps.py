"""The steps that people take with tasks and remedies, and how they come back from NOTICES.

The one rule: a step, what it changes in its row and in the book, and the event that tells of it are one transaction. A
step belongs to the decision under which its task was assigned, so that a ledger that is worked out anew puts it back
where it was taken.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.chassis.failpoints import failpoint
from services.notifier.notices import COMPENSATION, Event, Notice, Retraction, key_of
from services.notifier.tasks import book, covering, rows
from services.notifier.tasks.life import Item, Step
from services.notifier.tasks.rows import Row
from services.rules import instants

if TYPE_CHECKING:
    from services.notifier.ledger import Work

NOTIFIER = "gihan/notifier"
AFTER = {
    "approved": "approved",
    "declined": "declined",
    "issued": "issued",
    "acknowledged": "acknowledged",
    "done": "done",
}
"""The state after a step; `entered` leaves it as it is, and `separated` is told in `covering`."""

TYPES = {
    "entered": "remedy.entered",
    "approved": "remedy.approved",
    "declined": "remedy.declined",
    "issued": "remedy.issued",
    "acknowledged": "remedy.acknowledged",
    "done": "task.done",
    "separated": "remedy.separated",
}
"""The event on NOTICES that tells of each step."""


PAYING = ("entered", "approved", "issued", "acknowledged")
"""The steps that say an amount."""


async def take(work: "Work", row: Row, step: Step) -> Item:
    """Writes a step that may be taken, what follows from it, and its event. The row is locked."""
    await _write(work, row["key"], step)
    await failpoint("compensation.after_step")
    changed = await apply(work, row, step)
    data = rows.data_of_task(work, changed) if step.step == "done" else rows.data_of_remedy(changed)
    data |= {"by": step.staff, "cause": rows.cause_of(changed)}
    named = {"declined": "reason", "issued": "means", "acknowledged": "outcome", "done": "outcome"}.get(step.step)
    if named is not None:
        data[named] = step.code
    data["voucher"] = step.voucher
    work.tell(changed, TYPES[step.step], event_id(changed["key"], step), data)
    return rows.item_of(changed, await steps_of(work, changed["key"]))


def event_id(key: str, step: Step) -> str:
    """How the event of a step is named."""
    return f"{key}-{step.step}-{step.number}"


async def steps_of(work: "Work", key: str) -> list[Step]:
    """The steps of a task, in order."""
    found = await work.connection.fetch("SELECT * FROM notifier.steps WHERE key = $1 ORDER BY number", key)
    return [rows.step_of(row) for row in found]


async def restore(work: "Work", events: Sequence[Event]) -> list[tuple[str, Step]]:
    """Steps that NOTICES tells, in their order, into a ledger that does not know them; returns those that are new. What
    a fact has ended follows from CASES again."""
    types = {type: step for step, type in TYPES.items()}
    found = []
    for event in events:
        if event.type not in types or "by" not in event.data or "fact" in event.data:
            continue  # no person did it
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
        if row is not None and rows.cause_of(row)["id"] == step.cause:
            await apply(work, row, step)


async def _write(work: "Work", key: str, step: Step) -> bool:
    """Whether the step was new."""
    written = await work.connection.fetchval(
        "INSERT INTO notifier.steps (key, number, cause, step, staff, at, amount, currency, code, voucher) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING 1",
        key,
        *step,
    )
    return written is not None


async def apply(work: "Work", row: Row, step: Step) -> Row:
    """What a step changes: the row, the book, and what goes with the remedy."""
    if row["state"] == "covered":
        row = await covering.part(work, row, event_id(row["key"], step), step.at)
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
        await rows.release_beside(work, row, row["clause"], row["incident"])
    if step.step == "approved":
        await _tell_citizen(work, changed, step)
    if step.step == "declined":
        await book.enter(work, row, "declined", event_id(row["key"], step), "declined", "open", row["amount"], step.at)
        await rows.withdraw_beside(work, row, ("held",))
        await _tell_citizen(work, changed, step)
    if step.step == "issued":
        await book.enter(work, row, "issued", event_id(row["key"], step), "paid", "open", changed["amount"], step.at)
    return changed


async def _tell_citizen(work: "Work", row: Row, step: Step) -> None:
    """The citizen hears of an amount once it is certain (where that was told from the first, not again), and that
    nothing comes where something was announced and is declined."""
    case = (row["tenant"], row["case_id"])
    view = (await work.views([case]))[case]
    if view.subject_ref is None:
        return
    type, cause = TYPES[step.step], rows.cause_of(row)
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
        once=approved,
    )
    if approved:
        await work.want(notice, event, view)
    else:
        await work.retract(Retraction(topic, "declined", notice), event, view)


def told_key(tenant: str, case: str, remedy_key: str, type: str, cause: str) -> str:
    """Names the message that tells the citizen what was decided about a remedy, by the type of the decision's event."""
    return key_of(tenant, case, remedy_key, type, cause)
