"""What a decision brings: messages to citizens and staff, tasks, and the feed of the case's owner."""

import msgspec

from contracts.streams import feed_subject, receipts_subject
from services.notifier.notices import ladder, owed
from services.notifier.notices.case import CaseView, fact_topic
from services.notifier.notices.consequences import Consequence, Event, Notice, Retraction, Telling, key_of
from services.notifier.notices.making import (
    about_decision,
    arguments_of,
    broken_together,
    cause_of,
    correction_of,
    held_until,
    run_topic,
)
from services.rules import discretion, instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant

SAID_ANYWAY = frozenset({"progress", "extension", "rejection", "signed_document"})
"""Messages that a clause asks for and the facts themselves bring, in every city and with the names of who answers."""
ASKED_FOR = frozenset({"result_sms", "home_visit", "details_missing"})
"""Those that go because a clause asks for them; no charter can ask for others."""


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
            found.append(ladder.warn(decision))
        case "deadline.breached":
            found += [_breach(decision, tenant), *ladder.climb(decision, view, tenant)]
        case "deadline.met":
            found.append(ladder.answered(decision))
        case "breach.retracted":
            found += [_correction(decision), *ladder.come_down(decision, view, tenant)]
        case "measure.breached":
            found.append(ladder.climb_measured(decision, view, tenant))
        case "measure.retracted":
            found.append(ladder.come_down_measured(decision, view, tenant))
        case "remedy.proposed":
            found.append(owed.remedy_of(decision, view, tenant))
        case "remedy.withdrawn":
            found += owed.remedy_withdrawn(decision)
        case "task.created":
            found.append(owed.task_of(decision, view, tenant))
        case "task.withdrawn":
            found.append(owed.task_withdrawn(decision))
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


def _extension(decision: Event, view: CaseView) -> list[Consequence]:
    """The message of an extension, once, with the first date that moved for it."""
    cause = decision.data.get("cause")
    if cause is None:
        return []
    topic = fact_topic(cause["source"], cause["id"])
    extension = view.extensions.get(topic)
    if extension is None:
        return []
    notice = Notice(
        key=key_of(decision.tenant, decision.case, cause["source"], cause["id"], "extension"),
        template="extension",
        topic=topic,
        cause=cause_of(decision),
        arguments={
            "due": instants.instant(decision.data["due"]),
            "ground": extension.ground,
            "length": f"{extension.amount} {extension.unit}",
            **({"reason_ref": extension.reason_ref} if extension.reason_ref else {}),
        },
        promise=decision.data["promise"],
    )
    return [notice]


def _breach(decision: Event, tenant: Tenant) -> Notice:
    arguments = arguments_of(decision)
    if decision.data.get("amount") is not None:
        arguments["amount"] = [decision.data["amount"], decision.data.get("currency", "KRW")]
    topic, hold = run_topic(decision, "breach"), held_until(decision, tenant)
    return about_decision(
        decision, "breach", topic, arguments=arguments, hold_until=hold, once=True, bundle=broken_together(decision)
    )


def _correction(decision: Event) -> Retraction:
    topic = run_topic(decision, "breach")
    correction = correction_of(decision, "correction", f"{topic}|corrected", arguments_of(decision))
    return Retraction(topic, "retracted", correction)


def _by_clause(decision: Event, view: CaseView) -> list[Notice]:
    """What goes out because a clause of the charter says so."""
    code, cause = decision.data.get("code"), decision.data.get("cause") or cause_of(decision)
    topic = fact_topic(cause["source"], cause["id"])
    match code:
        case "result_sms":
            # By default a result goes by text anyway.
            result = view.results.get(topic)
            if result is None or not view.has_mobile or view.notify_by not in ("email", "post"):
                return []
            return [about_decision(decision, result.template, topic, arguments=result.arguments, only_by="sms")]
        case "home_visit":
            visitor = view.visitors.get(topic, view.officer)
            return [about_decision(decision, code, topic, arguments={"visitor": visitor})]
        case "details_missing":
            known = {"name": view.has_name, "address": view.has_address}
            known["contact"] = view.has_phone or view.has_mobile or view.has_email
            asked = [name for name, there in known.items() if not there]
            return [about_decision(decision, code, topic, arguments={"asked": asked})] if asked else []
    return []


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
