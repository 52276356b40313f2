"""The ladder: whom of the municipality a broken promise is told, and in what order.

The one rule: heads hear nothing of a case that may complain of them.
"""

from collections.abc import Mapping
from typing import Any

from services.notifier.notices.case import CaseView
from services.notifier.notices.consequences import Event, Notice, Retraction, Rung, key_of
from services.notifier.notices.making import about_decision, arguments_of, cause_of, held_until, run_topic
from services.rules import instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant

NEVER_TO_HEADS = frozenset({"corruption_report", "grievance", "service_grievance", "handling_grievance"})
"""Kinds that complain of somebody in the office: audit alone is told where a promise about them is broken."""


def warn(decision: Event) -> Notice:
    """The officer hears that a promise will soon be due."""
    return about_decision(
        decision,
        "warning",
        run_topic(decision, "warning"),
        audience="officer",
        rung="officer",
        arguments=arguments_of(decision),
    )


def climb(decision: Event, view: CaseView, tenant: Tenant) -> list[Notice]:
    """A broken promise goes up the ladder: to the head at once, to audit if it stays open."""
    hold, arguments = held_until(decision, tenant), arguments_of(decision)
    found = [_first(decision, "escalation", view, tenant, arguments)]
    if tenant.messages.audit_after_hours is not None and view.kind not in NEVER_TO_HEADS:
        found.append(
            about_decision(
                decision,
                "escalation_unanswered",
                run_topic(decision, "unanswered"),
                audience="officer",
                rung="audit",
                arguments=arguments,
                hold_until=hold,
                after_hours=tenant.messages.audit_after_hours,
            )
        )
    return found


def climb_measured(decision: Event, view: CaseView, tenant: Tenant) -> Notice:
    """A measure that was broken goes up too, but no further than the first who hears of it: it is over when it is
    judged, so that it cannot stay open."""
    at = instants.instant(decision.time)
    arguments = {"promise": decision.data["promise"], "at": at}
    return _first(decision, "escalation_measure", view, tenant, arguments)


def answered(decision: Event) -> Retraction:
    """What is kept late is not told to audit any more."""
    return Retraction(run_topic(decision, "unanswered"), "answered", None)


def come_down(decision: Event, view: CaseView, tenant: Tenant) -> list[Retraction]:
    """A breach that is none is taken back from whoever was told of it."""
    return [
        _taken_back(decision, "escalation", "escalation_withdrawn", _lowest(view), tenant),
        _taken_back(decision, "unanswered", "escalation_withdrawn", "audit", tenant),
    ]


def come_down_measured(decision: Event, view: CaseView, tenant: Tenant) -> Retraction:
    """So is a broken measure that is none."""
    return _taken_back(decision, "escalation", "escalation_measure_withdrawn", _lowest(view), tenant)


def _lowest(view: CaseView) -> Rung:
    return "audit" if view.kind in NEVER_TO_HEADS else "head"


def _first(decision: Event, template: str, view: CaseView, tenant: Tenant, arguments: Mapping[str, Any]) -> Notice:
    bundle = _together(decision, tenant, "escalation")
    return about_decision(
        decision,
        template,
        run_topic(decision, "escalation"),
        audience="officer",
        rung=_lowest(view),
        arguments=arguments,
        hold_until=held_until(decision, tenant) or _batch(decision, bundle),
        bundle=bundle,
    )


def _taken_back(decision: Event, name: str, template: str, rung: Rung, tenant: Tenant) -> Retraction:
    topic, bundle = run_topic(decision, name), _together(decision, tenant, f"{name}_withdrawn")
    correction = Notice(
        key=key_of(decision.tenant, decision.case, decision.source, decision.id, f"{name}_withdrawn"),
        template=template,
        topic=f"{topic}|corrected",
        cause=cause_of(decision),
        audience="officer",
        rung=rung,
        arguments=arguments_of(decision),
        promise=decision.data["promise"],
        hold_until=_batch(decision, bundle),
        bundle=bundle,
    )
    return Retraction(topic, "retracted", correction)


def _together(decision: Event, tenant: Tenant, name: str) -> str | None:
    """What one event brings for one rung is told as one; with a digest to come, all wait for that."""
    return f"{name}|{decision.cause_sequence}" if tenant.messages.officers_at is None else None


def _batch(decision: Event, bundle: str | None) -> Instant | None:
    """What is told with others waits for the whole batch to be folded."""
    return None if bundle is None else instants.instant(decision.time)
