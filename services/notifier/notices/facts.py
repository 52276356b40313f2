"""What a fact brings at once: the citizen is told what was done with the case."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from services.notifier.notices.case import CaseView, fact_topic, result_of
from services.notifier.notices.consequences import Consequence, Event, Retraction
from services.notifier.notices.making import about_fact
from services.rules import instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant

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


def of_fact(fact: Event, view: CaseView, tenant: Tenant) -> list[Consequence]:
    """What a fact brings at once; `view` is the case after it. A fact brought over by an import is told to
    nobody.
    """
    if fact.imported or view.subject_ref is None:
        return []
    if fact.type == "fact.voided":
        topic = fact_topic(fact.data["source"], fact.data["id"])
        return [Retraction(topic, "voided", about_fact(fact, "fact_voided", f"{topic}|voided"))]
    data = fact.data
    match fact.type:
        case "complaint.received":
            return [about_fact(fact, "receipt")]
        case "complaint.completed" | "complaint.rejected":
            result = result_of(fact, view)
            return [about_fact(fact, result.template, arguments=result.arguments)]
        case "complaint.supplement_requested":
            respond_by = _instant(data["respond_by"], tenant.zone)
            return [about_fact(fact, "supplement", arguments={"respond_by": respond_by})]
        case progress if progress in PROGRESS:
            return [about_fact(fact, "progress", arguments={"state": PROGRESS[progress]})]
    return []


def _instant(text: str, zone: ZoneInfo) -> Instant:
    """An instant, or a date, which stands for its end."""
    if len(text) > len("2026-03-12"):
        return instants.instant(text)
    return instants.midnight(date.fromisoformat(text) + timedelta(days=1), zone)
