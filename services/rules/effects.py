"""Effects: what a fact does to the clocks of its case - stop them, let them go on, give them more, end them.

The one rule: an effect notes what happened and has every open run counted anew; it never moves a date itself.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from services.rules.effective import key_of, moment_of
from services.rules.facts import Fact
from services.rules.runs import Run
from services.rules.scan import FEE, SUPPLEMENT, Scan, instant_of

DETAILS = ("has_name", "has_address", "has_phone", "has_mobile", "has_email")
"""What is known of the petitioner without saying it."""


def _suspend(scan: Scan, fact: Fact) -> None:
    ground = SUPPLEMENT if fact.type == "complaint.supplement_requested" else fact.data.ground or ""
    begin = instant_of(fact.data.dispatched_at if ground == SUPPLEMENT else fact.data.from_, moment_of(fact))
    known, rule = scan.open_pause(ground), scan.law.suspension_by(ground)
    if known is not None and known.cap is not None:
        # A second stretch on a ground with a limit: it follows the first, or begins where that was over.
        cap = scan.days_on(max(begin, known.cap), rule.once_more_days)
        known.finish(begin, fact)
        scan.pause(ground, begin, cap, fact)
    elif known is None:
        again = any(pause.ground == ground for pause in scan.pauses)
        limit = rule.once_more_days if again else rule.at_most_days
        scan.pause(ground, begin, None if rule.at_most_days is None else scan.days_on(begin, limit or 0), fact)
    scan.recount()


def _resume(scan: Scan, fact: Fact) -> None:
    ground = SUPPLEMENT if fact.type == "complaint.supplement_received" else fact.data.ground or ""
    pause = scan.open_pause(ground)
    assert pause is not None
    end = instant_of(fact.data.arrived_at if ground == SUPPLEMENT else fact.data.at, moment_of(fact))
    if end < pause.begin:
        scan.pauses.remove(pause)  # it was only announced
    pause.finish(end, fact)
    if ground == SUPPLEMENT:
        scan.asked_longer = 0
    scan.recount()


def _give_longer(scan: Scan, fact: Fact) -> None:
    scan.asked_longer += 1
    for run in scan.unmet.values():
        if run.live and scan.is_demand(run):
            _name(scan, run, fact)
    scan.recount()


def _name(scan: Scan, run: Run, fact: Fact) -> None:
    """Sets another day, or another instant, by which the run is due."""
    run.day = fact.data.respond_by or ""
    run.at = scan.named(run.day or None)


def _ask_fee(scan: Scan, fact: Fact) -> None:
    scan.pause(FEE, moment_of(fact), None, fact)
    scan.recount()


def _take_fee(scan: Scan, fact: Fact) -> None:
    """Paid in time, the papers are due as before; paid late, what was due by then has lost its object."""
    pause = scan.open_pause(FEE)
    if pause is None:
        return
    pause.finish(moment_of(fact), fact)
    scan.recount()
    for run in list(scan.unmet.values()):
        if run.live and run.promise.suspends == "fee" and run.due is not None and run.due < moment_of(fact):
            scan.settle(run, "void")


def _update_applicant(scan: Scan, fact: Fact) -> None:
    """From here on the petitioner's details are those; a detail that is left out stays."""
    if scan.receipt is None or moment_of(fact) < moment_of(scan.receipt):
        return
    given = {name: getattr(fact.data, name) for name in DETAILS if getattr(fact.data, name) is not None}
    data = msgspec.structs.replace(scan.petition.data, **given)
    scan.petition = msgspec.structs.replace(scan.petition, data=data)


def _extend_objection(scan: Scan, fact: Fact) -> None:
    for run in scan.unmet.values():
        if run.live and run.promise.extended_by == fact.type and run.span is not None:
            run.extensions += ((run.span.amount, key_of(fact)),)
    scan.recount()


def _extend_consultation(scan: Scan, fact: Fact) -> None:
    for run in scan.consultations(fact):
        _name(scan, run, fact)
    scan.recount()


def _extend(scan: Scan, fact: Fact) -> None:
    scan.extensions += 1
    for run in scan.unmet.values():
        if run.live and run.promise.extends:
            run.extensions += ((fact.data.amount or 0, key_of(fact)),)
    scan.recount()


def _reschedule(scan: Scan, fact: Fact) -> None:
    for run in scan.unmet.values():
        if run.live and run.promise.within.or_at and run.started_by == "callback.requested":
            run.at = instant_of(fact.data.wanted_at, moment_of(fact))
    scan.recount()


def _reopen(scan: Scan, fact: Fact) -> None:
    """The case is open again, with clocks of its own; suspensions that never ended end with the old ones."""
    scan.closed = False
    scan.extensions = 0
    scan.asked_longer = 0
    scan.opened = moment_of(fact)
    scan.forget_pauses()


def close(scan: Scan) -> None:
    """A case that is over ends what was promised about it; what is not met by now has lost its object."""
    scan.closed = True
    for run in list(scan.unmet.values()):
        if run.live and run.promise.ends_with_case:
            scan.settle(run, "void")
    scan.rounds = [round for round in scan.rounds if not round.run.promise.ends_with_case]


EFFECTS: Final[Mapping[str, Callable[[Scan, Fact], None]]] = {
    "complaint.supplement_requested": _suspend,
    "complaint.supplement_extended": _give_longer,
    "complaint.supplement_received": _resume,
    "complaint.suspended": _suspend,
    "complaint.resumed": _resume,
    "complaint.extended": _extend,
    "objection.extended": _extend_objection,
    "consultation.extended": _extend_consultation,
    "complaint.reopened": _reopen,
    "callback.rescheduled": _reschedule,
    "disclosure.fee_asked": _ask_fee,
    "disclosure.fee_paid": _take_fee,
    "applicant.updated": _update_applicant,
}
