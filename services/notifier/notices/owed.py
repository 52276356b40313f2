"""What a decision wants of the municipality: tasks, and remedies with word of them to the citizen.

The one rule: one incident brings one task for a remedy, however often it is proposed; its key says so.
"""

import msgspec

from services.notifier.notices.case import CaseView
from services.notifier.notices.consequences import (
    COMPENSATION,
    Consequence,
    Event,
    Retraction,
    Task,
    TaskWithdrawal,
    key_of,
)
from services.notifier.notices.making import about_decision, broken_together, cause_of, correction_of, held_until
from services.notifier.tasks.noted import at_fault
from services.rules import instants
from services.rules.tenants import Tenant


def remedy_of(decision: Event, view: CaseView, tenant: Tenant) -> Task:
    """A compensation task, with a message where nobody has to find or decide anything any more."""
    data = decision.data
    task = msgspec.structs.replace(
        task_of(decision, view, tenant),
        amount=data.get("amount"),
        currency=data.get("currency"),
        needs=tuple(data.get("needs") or ()),
        remedy_key=data["key"],
    )
    if task.needs or task.amount is None or view.subject_ref is None:
        return task
    notice = about_decision(
        decision,
        "compensation",
        f"remedy|{data['key']}",
        arguments={"amount": [task.amount, task.currency or "KRW"]},
        hold_until=task.hold_until,
        once=True,
        bundle=broken_together(decision),
    )
    return msgspec.structs.replace(task, notice=notice)


def remedy_withdrawn(decision: Event) -> list[Consequence]:
    """Its task goes, and so does what was said of it, unless it was paid."""
    topic = f"remedy|{decision.data['key']}"
    correction = correction_of(decision, "compensation_withdrawn", f"{topic}|withdrawn", {})
    withdrawal = task_withdrawn(decision)
    return [withdrawal, Retraction(topic, "withdrawn", correction, unless_paid=withdrawal.key)]


def task_of(decision: Event, view: CaseView, tenant: Tenant) -> Task:
    """A task with what is known of it when it is decided."""
    incident, clause, task = _task_parts(decision)
    due = decision.data.get("due")
    return Task(
        key=_task_key(decision),
        incident=incident,
        clause=clause,
        task=task,
        cause=cause_of(decision),
        promise=decision.data.get("promise"),
        officer=view.officer,
        hold_until=held_until(decision, tenant),
        occurrence=decision.data.get("occurrence"),
        charter=decision.data.get("charter"),
        department=view.department,
        at_fault=at_fault(view.noted, decision.case, view.officer),
        proposed_at=instants.instant(decision.time),
        broken_at=None if due is None else instants.instant(due),
    )


def task_withdrawn(decision: Event) -> TaskWithdrawal:
    """The same task, no longer wanted."""
    return TaskWithdrawal(_task_key(decision), cause_of(decision))


def _task_parts(decision: Event) -> tuple[str, str, str]:
    """Incident, clause and task: with tenant and case they name a task, and withdrawing it names the same."""
    data = decision.data
    incident = data.get("incident") or data.get("occurrence") or data.get("key") or ""
    return incident, data.get("remedy") or data.get("promise") or "", data.get("task", COMPENSATION)


def _task_key(decision: Event) -> str:
    return key_of(decision.tenant, decision.case, *_task_parts(decision))
