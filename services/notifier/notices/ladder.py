"""The ladder: whom of the municipality a broken promise is told, and in what order.

The one rule: heads hear nothing of a case that may complain of them.
"""

from services.notifier.notices.case import CaseView
from services.notifier.notices.consequences import Event, Notice, Retraction, Rung, key_of
from services.notifier.notices.making import about_decision, arguments_of, cause_of, held_until, run_topic
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
    sealed = view.kind in NEVER_TO_HEADS
    found = [
        about_decision(
            decision,
            "escalation",
            run_topic(decision, "escalation"),
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


def answered(decision: Event) -> Retraction:
    """What is kept late is not told to audit any more."""
    return Retraction(run_topic(decision, "unanswered"), "answered", None)


def come_down(decision: Event) -> list[Retraction]:
    """A breach that is none is taken back from whoever was told of it."""
    found = []
    rungs: tuple[tuple[str, Rung], ...] = (("escalation", "head"), ("unanswered", "audit"))
    for name, rung in rungs:
        topic = run_topic(decision, name)
        correction = Notice(
            key=key_of(decision.tenant, decision.case, decision.source, decision.id, f"{name}_withdrawn"),
            template="escalation_withdrawn",
            topic=f"{topic}|corrected",
            cause=cause_of(decision),
            audience="officer",
            rung=rung,
            arguments=arguments_of(decision),
            promise=decision.data["promise"],
        )
        found.append(Retraction(topic, "retracted", correction))
    return found
