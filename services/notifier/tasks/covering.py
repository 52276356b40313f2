"""Covering: what was paid under one name of an incident is not payable under its next.

The one rule: a remedy that the same step of the fold proposes by which another of its case and clause is withdrawn that
was issued before is that one under another name, and its payment covers it. One payment covers one; it is the
approver who says where two are different incidents after all (`life.separate`).

A finding may come to mean another run of its promise, or none, when a run falls away or is kept after all. The core
does not know what was paid; here that is known, and by `proposed_by` and `withdrawn_by` what one step did. Remedies
that name different promises are never one incident.
"""

from typing import TYPE_CHECKING

from services.chassis.failpoints import failpoint
from services.notifier.notices import CaseView, Event, Retraction, Task
from services.notifier.tasks import book, charters, rows
from services.notifier.tasks.rows import Row
from services.rules import instants
from services.rules.instants import Instant

if TYPE_CHECKING:
    from services.notifier.ledger import Work

_OF_CASE = "tenant = $1 AND case_id = $2 AND clause = $3 AND remedy_key IS NOT NULL"


async def payment_for(work: "Work", task: Task, event: Event) -> str | None:
    """The key of the remedy whose payment covers what is proposed, if one does."""
    rows = await work.connection.fetch(
        f"SELECT * FROM notifier.tasks WHERE {_OF_CASE} AND withdrawn_by = $4 AND key <> $5 "  # noqa: S608 - constants
        "AND ($6::text IS NULL OR promise IS NULL OR promise = $6) ORDER BY key",
        *(event.tenant, event.case, task.clause, event.cause_sequence, task.key, task.promise),
    )
    for row in rows:
        payment: str | None = await _free_payment(work, row)
        if payment is not None:
            return payment
    return None


async def withdrawn(work: "Work", row: Row, event: Event) -> None:
    """What the same step proposed before is covered, where what it withdraws was paid."""
    payment = await _free_payment(work, row)
    if payment is None:
        return
    found = await work.connection.fetchrow(
        f"SELECT * FROM notifier.tasks WHERE {_OF_CASE} AND proposed_by = $4 AND key <> $5 "  # noqa: S608 - constants
        "AND state IN ('held', 'assigned', 'approved') "
        "AND ($6::text IS NULL OR promise IS NULL OR promise = $6) ORDER BY key LIMIT 1",
        *(row["tenant"], row["case_id"], row["clause"], event.cause_sequence, row["key"], row["promise"]),
    )
    if found is not None:
        await cover(work, found, payment, event)


async def _free_payment(work: "Work", row: Row) -> str | None:
    """The payment that a withdrawn remedy leaves for another: its own, or the one that covered it."""
    payment: str | None = row["key"] if row["state"] == "kept" else row["covered_by"]
    taken = await work.connection.fetchval(
        "SELECT 1 FROM notifier.tasks WHERE covered_by = $1 AND state = 'covered' LIMIT 1", payment
    )
    return None if taken else payment


async def cover(work: "Work", row: Row, payment: str, event: Event) -> Row:
    """A remedy is paid already, by the payment of another: it is not owed, and nothing is said of it."""
    covered = await work.connection.fetchrow(
        "UPDATE notifier.tasks SET state = 'covered', covered_by = $2 WHERE key = $1 RETURNING *", row["key"], payment
    )
    assert covered is not None
    await failpoint("compensation.after_covering")
    cause, at = rows.cause_of(covered), instants.instant(event.time)
    await book.enter(work, covered, "covered", cause["id"], "covered", "open", covered["amount"], at)
    await work.retract(Retraction(f"remedy|{covered['remedy_key']}", "covered", None), event, CaseView())
    by = await work.connection.fetchval("SELECT remedy_key FROM notifier.tasks WHERE key = $1", payment)
    data = rows.data_of_remedy(covered) | {"covered_by": by, "cause": cause}
    work.tell(covered, "remedy.covered", f"{covered['key']}-covered-{cause['id']}", data)
    return covered


async def waits(work: "Work", task: Task, event: Event) -> bool:
    """Whether a task goes with a remedy that is covered, or is about to be: it was brought with the first already."""
    if task.remedy_key is not None:
        return False
    covered = await work.connection.fetchval(
        "SELECT 1 FROM notifier.tasks WHERE tenant = $1 AND case_id = $2 AND state = 'covered' "
        "AND clause || ':' || incident = $3 LIMIT 1",
        *(event.tenant, event.case, task.incident),
    )
    return covered is not None or await payment_for(work, task, event) is not None


async def owed_again(work: "Work", key: str, event: Event) -> None:
    """A remedy that was paid and withdrawn is proposed anew: its payment is its own, and covers no other any more."""
    covered = await work.connection.fetch(
        "SELECT * FROM notifier.tasks WHERE covered_by = $1 AND state = 'covered' ORDER BY key FOR UPDATE", key
    )
    for row in covered:
        parted = await part(work, row, event.id, instants.instant(event.time))
        data = rows.data_of_remedy(parted) | {"cause": rows.cause_of(parted)}
        work.tell(parted, "remedy.separated", f"{row['key']}-separated-{event.id}", data)


async def part(work: "Work", row: Row, cause: str, at: Instant) -> Row:
    """A covered remedy is an incident of its own after all: it is owed, and lies with an approver."""
    waits = row["release_at"] is not None and row["release_at"] > work.now
    parted = await work.connection.fetchrow(
        "UPDATE notifier.tasks SET state = $2, covered_by = NULL WHERE key = $1 RETURNING *",
        row["key"],
        "held" if waits else "assigned",
    )
    assert parted is not None
    await failpoint("compensation.after_parting")
    await book.enter(work, parted, "separated", cause, "open", "covered", parted["amount"], at)
    if not waits and not parted["revision"]:
        parted = await rows.let_go(work, parted)
    if "finding" not in parted["needs"]:
        await rows.release_beside(work, parted, parted["clause"], parted["incident"])
    for clause in charters.unasked(parted["charter"]):
        await rows.release_beside(work, parted, clause, f"{parted['clause']}:{parted['incident']}")
    return parted
