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
from services.notifier.tasks.noted import Entry, at_fault
from services.rules import discretion, instants
from services.rules.instants import Instant
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

ENDED = frozenset(
    {"complaint.completed", "complaint.rejected", *(f"complaint.{end}" for end in ("returned", "withdrawn"))}
    | {"complaint.closed_without_answer"}
)
"""After these nothing is open in a case, until it is reopened."""

SAID_ANYWAY = frozenset({"progress", "extension", "rejection", "signed_document"})
"""Messages that a clause asks for and the facts themselves bring, in every city and with the names of who answers."""
ASKED_FOR = frozenset({"result_sms", "home_visit", "details_missing"})
"""Those that go because a clause asks for them; no charter can ask for others."""

NEVER_TO_HEADS = frozenset({"corruption_report", "grievance", "service_grievance", "handling_grievance"})
"""Kinds that complain of somebody in the office: audit alone is told where a promise about them is broken."""

COMPENSATION = "compensation"
"""The task that a remedy owed to a citizen brings."""

Audience = Literal["citizen", "officer"]
Rung = Literal["officer", "head", "audit"]
RUNGS: tuple[Rung, ...] = ("officer", "head", "audit")
"""The ladder: where nobody stands on a rung, the next one is told."""


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
    reason_ref: str | None = None


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was said of a fact: it may have to be said once more, by another means."""

    template: str
    arguments: dict[str, Any] = {}


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
    has_name: bool = True
    has_address: bool = False
    has_phone: bool = False
    department: str | None = None
    officer: str | None = None
    approver: str | None = None
    ended: bool = False
    unheard: tuple[str, ...] = ()
    """Facts (source/id) of which the owner may not know: faults that it did not report itself."""
    extensions: dict[str, Extension] = {}
    noted: dict[str, Entry] = {}
    had: tuple[tuple[int, str | None, str | None], ...] = ()
    """Department and officer up to each fact of CASES, by its sequence, with which the case went to others."""
    results: dict[str, Said] = {}
    visitors: dict[str, str] = {}
    """Who came to the citizen's home, by the topic of the visit."""


class Notice(msgspec.Struct, frozen=True):
    """A message that is wanted. `topic` is what it tells of, by which it can be retracted; `hold_until` is
    the instant before which it must not go out, since a slow source may still prove it wrong.
    """

    key: str
    template: str
    topic: str
    cause: dict[str, str]
    audience: Audience = "citizen"
    rung: Rung | None = None
    arguments: Mapping[str, Any] = {}
    promise: str | None = None
    hold_until: Instant | None = None
    after_hours: int = 0
    """So many working hours later than that."""
    only_by: str | None = None
    """The one means by which it goes; none: as the citizen wishes."""
    bundle: str | None = None
    """Messages of a case with the same one are told as one, where they are let go together."""
    once: bool = False
    """Not wanted while another message about the same topic stands."""


class Retraction(msgspec.Struct, frozen=True):
    """What was said about `topic` no longer holds: unsent messages are suppressed, a sent one brings
    `correction`.
    """

    topic: str
    outcome: str
    correction: Notice | None


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


_DETAILS = ("has_mobile", "has_email", "has_name", "has_address", "has_phone")

Consequence = Notice | Retraction | Task | TaskWithdrawal | Telling


def key_of(*parts: str) -> str:
    """An opaque key, the same for the same parts for ever: 32 hexadecimal digits."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def evolve(view: CaseView, fact: Event) -> CaseView:
    """The case after one more fact."""
    data, changes = fact.data, dict[str, Any]()
    if fact.type in OPENING_TYPES and not view.owner:
        changes |= {"owner": fact.source, "opened_by": fact.type}
    for field in ("subject_ref", "notify_by", "language", "kind", *_DETAILS):
        if data.get(field) is not None:
            changes[field] = data[field]
    if fact.type in ENDED or fact.type == "complaint.reopened":
        changes["ended"] = fact.type in ENDED
    if fact.type in ("complaint.assigned", "call.answered"):
        changes |= {"department": data["department"], "officer": data.get("officer", view.officer)}
        changes["approver"] = data.get("approver", view.approver)
    elif fact.type in ("callback.requested", "appointment.booked", "visit.officer_came"):
        changes["officer"] = data.get("officer", view.officer)
    elif fact.type == "complaint.transferred":
        changes |= {"department": data.get("to_department"), "officer": None, "approver": None}
    elif fact.type == "visit.home_visited":
        changes["visitors"] = {**view.visitors, _fact_topic(fact.source, fact.id): data["officer"]}
    elif fact.type in ("complaint.completed", "complaint.rejected"):
        changes["results"] = {**view.results, _fact_topic(fact.source, fact.id): _result(fact, view)}
    elif fact.type == "complaint.extended" and not fact.imported:
        extension = Extension(data["ground"], data["amount"], data["unit"], data.get("reason_ref"))
        changes["extensions"] = {**view.extensions, _fact_topic(fact.source, fact.id): extension}
    told = {"type": fact.type, "source": fact.source, "id": fact.id, "data": data}
    if discretion.is_of_another(view.owner, told) or discretion.takes_back(frozenset(view.unheard), told):
        changes["unheard"] = (*view.unheard, discretion.key_of(told))
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
        case "complaint.completed" | "complaint.rejected":
            result = _result(fact, view)
            return [_of_fact(fact, result.template, arguments=result.arguments)]
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
    owner, who is not told what it may not know of. What was over before the municipality was live
    (`live_since`) is told to that owner alone.
    """
    found: list[Consequence] = []
    if view.owner and not discretion.tells_of(frozenset(view.unheard), {"data": decision.data}):
        found.append(Telling(decision.id, feed_subject(decision.tenant, view.owner), body))
    if _over_at(decision) < live_since and decision.type not in ("event.refused", "event.accepted"):
        return found
    match decision.type:
        case "deadline.moved":
            found += _extension(decision, view)
        case "deadline.warned":
            found.append(_warning(decision, view))
        case "deadline.breached":
            found += [_breach(decision, tenant), *_escalations(decision, view, tenant)]
        case "deadline.met":
            found.append(Retraction(_run_topic(decision, "unanswered"), "answered", None))
        case "breach.retracted":
            found += _retractions(decision)
        case "remedy.proposed":
            found.append(_remedy(decision, view, tenant))
        case "remedy.withdrawn":
            found += _remedy_withdrawn(decision)
        case "task.created":
            found.append(_task(decision, view, tenant))
        case "task.withdrawn":
            found.append(TaskWithdrawal(_task_key(decision), _cause(decision)))
        case "notice.requested":
            found += _by_clause(decision, view)
        case "event.refused" | "event.accepted":
            found.append(_later_receipt(decision))
    return [one for one in found if view.subject_ref is not None or not _for_citizen(one)]


def _over_at(decision: Event) -> Instant:
    """When what is decided was over: at its due instant, or where it has none when it happened."""
    return instants.instant(decision.data.get("due") or decision.time)


def _for_citizen(consequence: Consequence) -> bool:
    if isinstance(consequence, Retraction):
        return consequence.correction is not None and consequence.correction.audience == "citizen"
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
    in time. A task ahead of its date follows from no breach, and waits for nobody.
    """
    due = decision.data.get("due")
    if due is None or (decision.type == "task.created" and instants.instant(decision.time) < instants.instant(due)):
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
            **({"reason_ref": extension.reason_ref} if extension.reason_ref else {}),
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
        rung="officer",
        arguments=_promise_arguments(decision),
    )


def _escalations(decision: Event, view: CaseView, tenant: Tenant) -> list[Notice]:
    """A broken promise goes up the ladder: to the head at once, to audit if it stays open."""
    hold, arguments = _hold(decision, tenant), _promise_arguments(decision)
    sealed = view.kind in NEVER_TO_HEADS
    found = [
        _of_decision(
            decision,
            "escalation",
            _run_topic(decision, "escalation"),
            audience="officer",
            rung="audit" if sealed else "head",
            arguments=arguments,
            hold_until=hold,
            # With a digest to come, all wait for that.
            bundle=f"escalation|{decision.cause_sequence}" if tenant.messages.officers_at is None else None,
        )
    ]
    if tenant.messages.audit_after_hours is not None and not sealed:
        found.append(
            _of_decision(
                decision,
                "escalation_unanswered",
                _run_topic(decision, "unanswered"),
                audience="officer",
                rung="audit",
                arguments=arguments,
                hold_until=hold,
                after_hours=tenant.messages.audit_after_hours,
            )
        )
    return found


def _breach(decision: Event, tenant: Tenant) -> Notice:
    arguments = _promise_arguments(decision)
    if decision.data.get("amount") is not None:
        arguments["amount"] = [decision.data["amount"], decision.data.get("currency", "KRW")]
    topic, hold = _run_topic(decision, "breach"), _hold(decision, tenant)
    return _of_decision(
        decision, "breach", topic, arguments=arguments, hold_until=hold, once=True, bundle=_broken(decision)
    )


def _broken(decision: Event) -> str:
    """What one fact or tick breaks in a case, with what is owed for it, is told as one."""
    return f"breach|{decision.cause_sequence}"


def _retractions(decision: Event) -> list[Retraction]:
    topic, arguments = _run_topic(decision, "breach"), _promise_arguments(decision)
    correction = _of_decision(decision, "correction", f"{topic}|corrected", arguments=arguments)
    found = [Retraction(topic, "retracted", correction)]
    rungs: tuple[tuple[str, Rung], ...] = (("escalation", "head"), ("unanswered", "audit"))
    for name, rung in rungs:
        topic = _run_topic(decision, name)
        correction = Notice(
            key=key_of(decision.tenant, decision.case, decision.source, decision.id, f"{name}_withdrawn"),
            template="escalation_withdrawn",
            topic=f"{topic}|corrected",
            cause=_cause(decision),
            audience="officer",
            rung=rung,
            arguments=arguments,
            promise=decision.data["promise"],
        )
        found.append(Retraction(topic, "retracted", correction))
    return found


def _result(fact: Event, view: CaseView) -> Said:
    """How a case ended, as its citizen is told."""
    data = fact.data
    if fact.type == "complaint.completed":
        return Said("result", {"outcome": data["outcome"]})
    arguments = {name: data[name] for name in ("law", "reason_ref", "remedies_ref") if data.get(name)}
    if view.kind == "statutory":
        arguments["objection_days"] = STATUTORY_OBJECTION_DAYS
    return Said("rejection", arguments)


def _by_clause(decision: Event, view: CaseView) -> list[Notice]:
    """What goes out because a clause of the charter says so."""
    code, cause = decision.data.get("code"), decision.data.get("cause") or _cause(decision)
    topic = _fact_topic(cause["source"], cause["id"])
    match code:
        case "result_sms":
            # By default a result goes by text anyway.
            result = view.results.get(topic)
            if result is None or not view.has_mobile or view.notify_by not in ("email", "post"):
                return []
            return [_of_decision(decision, result.template, topic, arguments=result.arguments, only_by="sms")]
        case "home_visit":
            visitor = view.visitors.get(topic, view.officer)
            return [_of_decision(decision, code, topic, arguments={"visitor": visitor})]
        case "details_missing":
            known = {"name": view.has_name, "address": view.has_address}
            known["contact"] = view.has_phone or view.has_mobile or view.has_email
            asked = [name for name, there in known.items() if not there]
            return [_of_decision(decision, code, topic, arguments={"asked": asked})] if asked else []
    return []


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
        bundle=_broken(decision),
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
        at_fault=at_fault(view.noted, decision.case, view.officer),
        proposed_at=instants.instant(decision.time),
        broken_at=None if due is None else instants.instant(due),
    )


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
