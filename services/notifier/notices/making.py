"""How a message is made of a fact or a decision: its key, its topic, its cause, and until when it is held.

The one rule: a key is made of what the log says, so that a repetition is the same message.
"""

from collections.abc import Mapping
from typing import Any

from services.notifier.notices.case import fact_topic
from services.notifier.notices.consequences import Event, Notice, key_of
from services.rules import instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant


def cause_of(event: Event) -> dict[str, str]:
    """The entry that a message or task comes from."""
    return {"source": event.source, "id": event.id}


def run_topic(decision: Event, name: str) -> str:
    """What is said (`name`) of one time that a promise ran."""
    return f"{name}|{decision.data['promise']}|{decision.data['occurrence']}"


def about_fact(
    fact: Event, template: str, topic: str | None = None, arguments: Mapping[str, Any] | None = None
) -> Notice:
    """A message about a fact, by its name and template."""
    return Notice(
        key=key_of(fact.tenant, fact.case, fact.source, fact.id, template),
        template=template,
        topic=topic or fact_topic(fact.source, fact.id),
        cause=cause_of(fact),
        arguments=arguments or {},
    )


def about_decision(decision: Event, template: str, topic: str, **more: Any) -> Notice:
    """A message about a decision, by its name and template."""
    return Notice(
        key=key_of(decision.tenant, decision.case, decision.source, decision.id, template),
        template=template,
        topic=topic,
        cause=cause_of(decision),
        promise=decision.data.get("promise"),
        **more,
    )


def arguments_of(decision: Event) -> dict[str, Any]:
    """Which promise, and when it is or was due."""
    arguments: dict[str, Any] = {"promise": decision.data["promise"]}
    if decision.data.get("due") is not None:
        arguments["due"] = instants.instant(decision.data["due"])
    return arguments


def held_until(decision: Event, tenant: Tenant) -> Instant | None:
    """Until when a breach and what it brings are held: any source of the tenant may still report what was
    in time. A task ahead of its date follows from no breach, and waits for nobody.
    """
    due = decision.data.get("due")
    if due is None or (decision.type == "task.created" and instants.instant(decision.time) < instants.instant(due)):
        return None
    return instants.instant(due) + tenant.reports_within_seconds * instants.SECOND


def broken_together(decision: Event) -> str:
    """What one fact or tick breaks in a case, with what is owed for it, is told as one."""
    return f"breach|{decision.cause_sequence}"


def correction_of(decision: Event, template: str, topic: str, arguments: Mapping[str, Any]) -> Notice:
    """A message that takes back what was said. All that one fact takes back in a case is told as one, so each waits
    for the whole batch to be folded."""
    return about_decision(
        decision,
        template,
        topic,
        arguments=arguments,
        hold_until=instants.instant(decision.time),
        bundle=f"corrected|{decision.cause_sequence}",
    )
