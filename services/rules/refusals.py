"""Refusals: facts that are impossible in their case, each by the name of the rule that it breaks.

The one rule: a refused fact changes nothing; and what refuses it is the case as it stands at its moment, so that the
refusal goes when that goes.

Sources: Civil Petitions Treatment Act art. 21 to 23, 35, its Decree art. 20, 21, 24, 25; Disclosure Act art. 11.
"""

from collections.abc import Callable, Mapping
from typing import Final

from services.rules import counting
from services.rules.effective import ANSWERING, VOIDING, key_of, moment_of
from services.rules.facts import Fact
from services.rules.scan import FEE, SUPPLEMENT, Scan, instant_of

OF_AN_OPEN_CASE: Final = frozenset(
    {
        *VOIDING,
        *ANSWERING,
        "complaint.transferred",
        "complaint.extended",
        "complaint.suspended",
        "complaint.supplement_requested",
        "complaint.supplement_extended",
        "consultation.requested",
        "consultation.extended",
    }
)
PERIOD: Final = "statutory-period"
"""The promise of the law inside whose period others are consulted."""

WANT_RECEIPT: Final = ("complaint.", "disclosure.", "guardian.", "delay.", "objection.", "consultation.")
"""What means nothing without a petition, by the beginning of its type."""


def judge(scan: Scan, fact: Fact) -> str:
    """The name of the rule that the fact breaks, at whose moment the scan stands, or nothing."""
    type = fact.type
    if scan.receipt is not None:
        if scan.moment < scan.received and type.startswith(WANT_RECEIPT):
            return "before_receipt"
        if type == "complaint.received" and fact is not scan.receipt:
            return "received_already"
    if scan.closed and type in OF_AN_OPEN_CASE:
        return "case_closed"
    if type == "complaint.reopened" and not scan.closed:
        return "case_open"
    of_type = _JUDGES.get(type)
    return of_type(scan, fact) if of_type else ""


def _of_extension(scan: Scan, fact: Fact) -> str:
    law, data, period = scan.charter.law, fact.data, scan.petition.period
    if period is None or scan.receipt is None:
        return "extension_without_period"
    if law is None:
        return ""
    extension = law.disclosure_extension if scan.petition.data.kind == "disclosure" else law.extension
    received = scan.rules.date_of(moment_of(scan.receipt))
    late = any(run.promise.extends and run.state == "broken" and run.met_at is None for run in scan.runs.values())
    judged = {
        "extension_too_often": scan.extensions >= extension.maximum,
        "extension_without_consent": scan.extensions >= 1 and extension.second_needs_consent and not data.consent,
        "extension_ground_not_allowed": not extension.allows(data.ground, received),
        "extension_in_another_unit": data.unit != period.unit,
        "extension_too_long": (data.amount or 0) > period.amount,
        "extension_too_late": late,
    }
    return next((name for name, broken in judged.items() if broken), "")


def _of_suspension(scan: Scan, fact: Fact) -> str:
    ground = fact.data.ground or ""
    rule = scan.law.suspension_by(ground)
    begin = instant_of(fact.data.from_, moment_of(fact))
    if not rule.allows(scan.petition.data.kind, scan.rules.date_of(begin)):
        return "suspension_ground_not_allowed"
    if rule.at_most_days is None:
        return "suspended_already" if scan.open_pause(ground) else ""
    times = sum(pause.ground == ground for pause in scan.pauses)
    return "suspended_too_often" if times > (1 if rule.once_more_days else 0) else ""


def _of_resumption(scan: Scan, fact: Fact) -> str:
    return "" if scan.open_pause(fact.data.ground or "") else "not_suspended"


def _of_demand(scan: Scan, fact: Fact) -> str:
    """Of a demand for more papers: when one has lapsed, the next is the last, and short."""
    supplement, lapsed = scan.law.supplement, scan.lapsed_demands()
    if supplement is None or not lapsed:
        return ""
    if lapsed > 1:
        return "supplement_requested_too_often"
    last = scan.named(fact.data.respond_by)
    sent = instant_of(fact.data.dispatched_at, moment_of(fact))
    longest = counting.due(scan.rules.calendar("office"), sent, supplement.last_demand)
    return "last_demand_too_long" if last is not None and longest is not None and last > longest else ""


def _of_longer(scan: Scan, fact: Fact) -> str:
    """Of more time that the petitioner asks for to supplement."""
    if not scan.open_pause(SUPPLEMENT):
        return "supplement_not_requested"
    supplement, lapsed = scan.law.supplement, scan.lapsed_demands()
    if supplement is None:
        return ""
    demanded = [run for run in scan.runs.values() if scan.is_demand(run) and run.live]
    judged = {
        "supplement_extended_too_late": not demanded,
        "supplement_extended_too_often": scan.asked_longer >= supplement.extensions or lapsed > 0,
    }
    return next((name for name, broken in judged.items() if broken), "")


def _of_supplement(scan: Scan, fact: Fact) -> str:
    return "" if scan.open_pause(SUPPLEMENT) else "supplement_not_requested"


def _of_closing(scan: Scan, fact: Fact) -> str:
    """Of closing without an answer. A repeat is one after so many answers to the same; who names them is counted on
    them, and who names none says so of its own knowledge: a case knows no other."""
    ground = fact.data.ground or ""
    if scan.petition.data.kind in scan.law.closing_not_for.get(ground, frozenset()):
        return "closing_ground_not_allowed"
    named = fact.data.repeats or scan.petition.data.repeats
    few = ground == "repeat" and named is not None and len(set(named)) < scan.law.repeat_after_answers
    return "repeated_too_seldom" if few else ""


def _of_fee(scan: Scan, fact: Fact) -> str:
    return "fee_asked_already" if scan.open_pause(FEE) else ""


def _of_longer_objection(scan: Scan, fact: Fact) -> str:
    runs = [run for run in scan.runs.values() if run.promise.extended_by == fact.type and run.met_at is None]
    if not runs:
        return "objection_not_received"
    if any(run.extensions for run in runs):
        return "extension_too_often"
    return "" if any(run.live for run in runs) else "extension_too_late"


def _of_consultation(scan: Scan, fact: Fact) -> str:
    """Of a day for others to reply: it lies inside the handling period (Act art. 20(2))."""
    until = scan.named(fact.data.respond_by)
    periods = [run.due for run in scan.runs.values() if run.live and run.promise.id == PERIOD]
    beyond = any(until is not None and due is not None and until > due for due in periods)
    return "consultation_beyond_period" if beyond else ""


def _of_longer_consultation(scan: Scan, fact: Fact) -> str:
    """Of more time to reply: once, and told before the day is over (Act art. 20(3))."""
    before = [other for other in scan.facts[: scan.taken] if other.type == fact.type]
    named = [other for other in before if other.data.consultation == fact.data.consultation]
    if any(not scan.verdicts.get(key_of(other)) for other in named):
        return "consultation_extended_already"
    return _of_consultation(scan, fact) if scan.consultations(fact) else "consultation_not_open"


def _of_report(scan: Scan, fact: Fact) -> str:
    known = scan.charter.knows(fact.data.promise) if fact.data.promise else True
    return "" if known else "unknown_promise"


def _of_finding(scan: Scan, fact: Fact) -> str:
    """Of a confirmed fault that is about a report: one that has not come yet. What it reports is not known before, and
    so neither is whether it was paid for already."""
    about = fact.data.about
    known = not about or scan.charter.knows(about) or scan.report(about) is not None
    return "" if known else "unknown_report"


_JUDGES: Mapping[str, Callable[[Scan, Fact], str]] = {
    "fault.reported": _of_report,
    "fault.confirmed": _of_finding,
    "complaint.extended": _of_extension,
    "complaint.suspended": _of_suspension,
    "complaint.resumed": _of_resumption,
    "complaint.supplement_requested": _of_demand,
    "complaint.supplement_extended": _of_longer,
    "complaint.supplement_received": _of_supplement,
    "complaint.closed_without_answer": _of_closing,
    "objection.extended": _of_longer_objection,
    "disclosure.fee_asked": _of_fee,
    "consultation.requested": _of_consultation,
    "consultation.extended": _of_longer_consultation,
}
