"""What follows for delivery from one fact or decision: messages, tasks, and what publishers are told.

The one rule: pure functions of the entry, the case as folded so far and the tenant. Whoever folds the same
logs wants the same messages under the same keys, so a crash or a rebuild can never want one twice.
"""

import hashlib
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from contracts.events import OPENING_TYPES
from contracts.streams import feed_subject, receipts_subject
from services.notifier.tasks.noted import Entry, named
from services.rules import instants
from services.rules.instants import Instant
from services.rules.routing import OFFICER
from services.rules.tenants import Tenant

STATUTORY_OBJECTION_DAYS = 60
"""Days from the notice of a refusal in which a petitioner may object (Civil Petitions Treatment Act art.
35(1)).
"""

PROGRESS = {
    "complaint.assigned": "assigned",
    "complaint.transferred": "transferred",
    "complaint.suspended": "suspended",
    "complaint.resumed": "resumed",
    "complaint.supplement_received": "supplement_received",
    "complaint.returned": "returned",
    "complaint.withdrawn": "withdrawn",
    "complaint.closed_without_answer": "closed",
    "complaint.reopened": "reopened",
}
"""Changes of state that the citizen is told of in a word. What the city has told the citizen itself is not
among them.
"""

COMPENSATION = "compensation"
"""The task that a remedy owed to a citizen brings."""

Audience = Literal["citizen", "officer"]


class Event(msgspec.Struct, frozen=True):
    """A fact or decision as it stands in a log, as far as delivery looks at it. A tick has no tenant and no
    case.
    """

    id: str
    source: str
    type: str
    time: str
    data: dict[str, Any]
    tenant: str = ""
    case: str = ""
    cause_sequence: int = 0
    imported: bool = False


class Extension(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fact that extended a period; its message waits for the decision that says until when."""

    ground: str
    amount: int
    unit: str


class CaseView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A case as delivery sees it: who is to be told, by which means, and who answers for it. No personal
    data.
    """

    owner: str = ""
    opened_by: str = ""
    kind: str = ""
    subject_ref: str | None = None
    notify_by: str | None = None
    language: str | None = None
    has_mobile: bool = False
    has_email: bool = False
    department: str | None = None
    officer: str | None = None
    extensions: dict[str, Extension] = {}
    noted: dict[str, Entry] = {}


class Notice(msgspec.Struct, frozen=True):
    """A message that is wanted. `topic` is what it tells of, by which it can be retracted; `hold_until` is
    the instant before which it must not go out, since a slow source may still prove it wrong.
    """

    key: str
    template: str
    topic: str
    cause: dict[str, str]
    audience: Audience = "citizen"
    staff: str | None = None
    arguments: Mapping[str, Any] = {}
    promise: str | None = None
    hold_until: Instant | None = None
    once: bool = False
    """Not wanted while another message about the same topic stands."""


class Retraction(msgspec.Struct, frozen=True):
    """What was said about `topic` no longer holds: unsent messages are suppressed, a sent one brings
    `correction`.
    """

    topic: str
    outcome: str
    correction: Notice


class Task(msgspec.Struct, frozen=True):
    """Work for the municipality. `task` is COMPENSATION where the citizen is owed something."""

    key: str
    incident: str
    clause: str
    task: str
    cause: dict[str, str]
    promise: str | None = None
    officer: str | None = None
    amount: int | None = None
    currency: str | None = None
    needs: tuple[str, ...] = ()
    hold_until: Instant | None = None
    notice: Notice | None = None
    """What the citizen is told of it, once it stands."""
    remedy_key: str | None = None
    """Of the remedy.proposed; none for a task without money."""
    occurrence: str | None = None
    charter: str | None = None
    department: str | None = None
    at_fault: tuple[str, ...] = ()
    """Staff who had the case or are named as at fault."""
    proposed_at: Instant | None = None
    broken_at: Instant | None = None
    """When the promise was due."""
    due: Instant | None = None
    """By when it is to be done; of a remedy: found."""
    waits: bool = False
    """Not assigned before the remedy beside it is approved."""


class TaskWithdrawal(msgspec.Struct, frozen=True):
    """A task is no longer wanted. What is issued already stays with the citizen."""

    key: str
    cause: dict[str, str]


class Telling(msgspec.Struct, frozen=True):
    """Something for a publisher, on RECEIPTS. The key tells repeats apart."""

    key: str
    subject: str
    body: bytes


Consequence = Notice | Retraction | Task | TaskWithdrawal | Telling


def key_of(*parts: str) -> str:
    """An opaque key, the same for the same parts for ever: 32 hexadecimal digits."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def evolve(view: CaseView, fact: Event) -> CaseView:
    """The case after one more fact."""
    data, changes = fact.data, dict[str, Any]()
    if fact.type in OPENING_TYPES and not view.owner:
        changes |= {"owner": fact.source, "opened_by": fact.type}
    for field in ("subject_ref", "notify_by", "language", "has_mobile", "has_email", "kind"):
        if data.get(field) is not None:
            changes[field] = data[field]
    if fact.type in ("complaint.assigned", "call.answered"):
        changes |= {"department": data["department"], "officer": data.get("officer", view.officer)}
    elif fact.type in ("callback.requested", "appointment.booked", "visit.officer_came"):
        changes["officer"] = data.get("officer", view.officer)
    elif fact.type == "complaint.transferred":
        changes |= {"department": data.get("to_department"), "officer": None}
    elif fact.type == "complaint.extended" and not fact.imported:
        extension = Extension(data["ground"], data["amount"], data["unit"])
        changes["extensions"] = {**view.extensions, _fact_topic(fact.source, fact.id): extension}
    return msgspec.structs.replace(view, **changes) if changes else view


def of_fact(fact: Event, view: CaseView, tenant: Tenant) -> list[Consequence]:
    """What a fact brings at once; `view` is the case after it. A fact brought over by an import is told to
    nobody.
    """
    if fact.imported or view.subject_ref is None:
        return []
    if fact.type == "fact.voided":
        topic = _fact_topic(fact.data["source"], fact.data["id"])
        return [Retraction(topic, "voided", _of_fact(fact, "fact_voided", f"{topic}|voided"))]
    data = fact.data
    match fact.type:
        case "complaint.received":
            return [_of_fact(fact, "receipt")]
        case "complaint.completed":
            return [_of_fact(fact, "result", arguments={"outcome": data["outcome"]})]
        case "complaint.rejected":
            days = {"objection_days": STATUTORY_OBJECTION_DAYS} if view.kind == "statutory" else {}
            return [_of_fact(fact, "rejection", arguments=days)]
        case "complaint.supplement_requested":
            respond_by = _instant(data["respond_by"], tenant.zone)
            return [_of_fact(fact, "supplement", arguments={"respond_by": respond_by})]
        case progress if progress in PROGRESS:
            return [_of_fact(fact, "progress", arguments={"state": PROGRESS[progress]})]
    return []


def of_decision(
    decision: Event, body: bytes, view: CaseView, tenant: Tenant, live_since: Instant = 0
) -> list[Consequence]:
    """What a decision brings; `body` is the decision as it stands in the log, for the feed of the case's
    owner. What was over before the municipality was live (`live_since`) is told to that owner alone.
    """
    found: list[Consequence] = []
    if view.owner:
        found.append(Telling(decision.id, feed_subject(decision.tenant, view.owner), body))
    if _over_at(decision) < live_since and decision.type not in ("event.refused", "event.accepted"):
        return found
    match decision.type:
        case "deadline.moved":
            found += _extension(decision, view)
        case "deadline.warned":
            found.append(_warning(decision, view))
        case "deadline.breached":
            found.append(_breach(decision, tenant))
        case "breach.retracted":
            found.append(_retraction(decision))
        case "remedy.proposed":
            found.append(_remedy(decision, view, tenant))
        case "remedy.withdrawn":
            found += _remedy_withdrawn(decision)
        case "task.created":
            found.append(_task(decision, view, tenant))
        case "task.withdrawn":
            found.append(TaskWithdrawal(_task_key(decision), _cause(decision)))
        case "event.refused" | "event.accepted":
            found.append(_later_receipt(decision))
    return [one for one in found if view.subject_ref is not None or not _for_citizen(one)]


def _over_at(decision: Event) -> Instant:
    """When what is decided was over: at its due instant, or where it has none when it happened."""
    return instants.instant(decision.data.get("due") or decision.time)


def _for_citizen(consequence: Consequence) -> bool:
    if isinstance(consequence, Retraction):
        return True
    return isinstance(consequence, Notice) and consequence.audience == "citizen"


def _cause(event: Event) -> dict[str, str]:
    return {"source": event.source, "id": event.id}


def _fact_topic(source: str, id: str) -> str:
    return f"fact|{source}|{id}"


def _run_topic(decision: Event, name: str) -> str:
    return f"{name}|{decision.data['promise']}|{decision.data['occurrence']}"


def _instant(text: str, zone: ZoneInfo) -> Instant:
    """An instant, or a date, which stands for its end."""
    if len(text) > len("2026-03-12"):
        return instants.instant(text)
    return instants.midnight(date.fromisoformat(text) + timedelta(days=1), zone)


def _of_fact(
    fact: Event, template: str, topic: str | None = None, arguments: Mapping[str, Any] | None = None
) -> Notice:
    return Notice(
        key=key_of(fact.tenant, fact.case, fact.source, fact.id, template),
        template=template,
        topic=topic or _fact_topic(fact.source, fact.id),
        cause=_cause(fact),
        arguments=arguments or {},
    )


def _of_decision(decision: Event, template: str, topic: str, **more: Any) -> Notice:
    return Notice(
        key=key_of(decision.tenant, decision.case, decision.source, decision.id, template),
        template=template,
        topic=topic,
        cause=_cause(decision),
        promise=decision.data.get("promise"),
        **more,
    )


def _promise_arguments(decision: Event) -> dict[str, Any]:
    arguments: dict[str, Any] = {"promise": decision.data["promise"]}
    if decision.data.get("due") is not None:
        arguments["due"] = instants.instant(decision.data["due"])
    return arguments


def _hold(decision: Event, tenant: Tenant) -> Instant | None:
    """Until when a breach and what it brings are held: any source of the tenant may still report what was
    in time.
    """
    due = decision.data.get("due")
    if due is None:
        return None
    return instants.instant(due) + tenant.reports_within_seconds * instants.SECOND


def _extension(decision: Event, view: CaseView) -> list[Consequence]:
    """The message of an extension, once, with the first date that moved for it."""
    cause = decision.data.get("cause")
    if cause is None:
        return []
    topic = _fact_topic(cause["source"], cause["id"])
    extension = view.extensions.get(topic)
    if extension is None:
        return []
    notice = Notice(
        key=key_of(decision.tenant, decision.case, cause["source"], cause["id"], "extension"),
        template="extension",
        topic=topic,
        cause=_cause(decision),
        arguments={
            "due": instants.instant(decision.data["due"]),
            "ground": extension.ground,
            "length": f"{extension.amount} {extension.unit}",
        },
        promise=decision.data["promise"],
    )
    return [notice]


def _warning(decision: Event, view: CaseView) -> Notice:
    return _of_decision(
        decision,
        "warning",
        _run_topic(decision, "warning"),
        audience="officer",
        staff=view.officer,
        arguments=_promise_arguments(decision) | {"case": decision.case},
    )


def _breach(decision: Event, tenant: Tenant) -> Notice:
    arguments = _promise_arguments(decision)
    if decision.data.get("amount") is not None:
        arguments["amount"] = [decision.data["amount"], decision.data.get("currency", "KRW")]
    topic, hold = _run_topic(decision, "breach"), _hold(decision, tenant)
    return _of_decision(decision, "breach", topic, arguments=arguments, hold_until=hold, once=True)


def _retraction(decision: Event) -> Retraction:
    topic = _run_topic(decision, "breach")
    correction = _of_decision(decision, "correction", f"{topic}|corrected", arguments=_promise_arguments(decision))
    return Retraction(topic, "retracted", correction)


def _task_parts(decision: Event) -> tuple[str, str, str]:
    """Incident, clause and task: with tenant and case they name a task, and withdrawing it names the same."""
    data = decision.data
    incident = data.get("incident") or data.get("occurrence") or data.get("key") or ""
    return incident, data.get("remedy") or data.get("promise") or "", data.get("task", COMPENSATION)


def _task_key(decision: Event) -> str:
    return key_of(decision.tenant, decision.case, *_task_parts(decision))


def _remedy(decision: Event, view: CaseView, tenant: Tenant) -> Task:
    """A compensation task, with a message where nobody has to find or decide anything any more."""
    data = decision.data
    task = msgspec.structs.replace(
        _task(decision, view, tenant),
        amount=data.get("amount"),
        currency=data.get("currency"),
        needs=tuple(data.get("needs") or ()),
        remedy_key=data["key"],
    )
    if task.needs or task.amount is None or view.subject_ref is None:
        return task
    notice = _of_decision(
        decision,
        "compensation",
        f"remedy|{data['key']}",
        arguments={"amount": [task.amount, task.currency or "KRW"]},
        hold_until=task.hold_until,
        once=True,
    )
    return msgspec.structs.replace(task, notice=notice)


def _remedy_withdrawn(decision: Event) -> list[Consequence]:
    topic = f"remedy|{decision.data['key']}"
    correction = _of_decision(decision, "compensation_withdrawn", f"{topic}|withdrawn")
    return [TaskWithdrawal(_task_key(decision), _cause(decision)), Retraction(topic, "withdrawn", correction)]


def _task(decision: Event, view: CaseView, tenant: Tenant) -> Task:
    incident, clause, task = _task_parts(decision)
    due = decision.data.get("due")
    return Task(
        key=_task_key(decision),
        incident=incident,
        clause=clause,
        task=task,
        cause=_cause(decision),
        promise=decision.data.get("promise"),
        officer=view.officer,
        hold_until=_hold(decision, tenant),
        occurrence=decision.data.get("occurrence"),
        charter=decision.data.get("charter"),
        department=view.department,
        at_fault=_at_fault(decision.case, view),
        proposed_at=instants.instant(decision.time),
        broken_at=None if due is None else instants.instant(due),
    )


def _at_fault(case: str, view: CaseView) -> tuple[str, ...]:
    """Who had the case or is named in it as at fault; one that counts an officer's faults is about that officer."""
    about = {case.removeprefix(OFFICER)} if case.startswith(OFFICER) else set()
    return tuple(sorted(about | named(view.noted) | ({view.officer} if view.officer else set())))


def _later_receipt(decision: Event) -> Telling:
    """Tells the source of an event what the law made of it after it had been accepted."""
    about = decision.data["about"]
    verdict = decision.type.split(".")[1]
    body = {
        "status": verdict,
        "source": about["source"],
        "id": about["id"],
        "case": decision.case,
        "code": decision.data.get("code"),
        "detail": "the case as a whole contradicts this event, so it counts for nothing"
        if verdict == "refused"
        else "the contradiction is gone, so this event counts after all",
        "key": decision.id,
    }
    kept = {name: value for name, value in body.items() if value is not None}
    subject = receipts_subject(decision.tenant, about["source"])
    return Telling(f"{decision.id}-receipt", subject, msgspec.json.encode(kept))
