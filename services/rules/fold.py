"""The fold: a fact or the passing of time changes a case, and what changes is decided.

The one rule: decisions are the difference between two standings, by key. What still holds is never written again,
and nothing that was written is edited: it is moved, retracted, withdrawn or voided by a decision of its own. Warnings
are the exception: once written they stay, and a due instant is warned of once.
"""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from services.rules import consequences
from services.rules.declared import DECLARING
from services.rules.facts import Fact
from services.rules.governing import work_out
from services.rules.instants import Instant
from services.rules.routing import OFFICER
from services.rules.state import TAKEN_BACK, Case, Deadline, Decision, Finding, Rules, Standing

REVISION = "1"
"""The newest revision of these rules. Code that changes any decision is a new one, enacted in the log from where it
holds."""

MENDING = "rules.enacted"
"""The type of the event by which another revision takes over; it works out anew the cases that are stuck."""

REASONS = {
    "complaint.extended": "extended",
    "complaint.classified": "classified",
    "complaint.reopened": "reopened",
    "complaint.supplement_extended": "extended",
    "objection.extended": "extended",
    "consultation.extended": "extended",
    "callback.rescheduled": "rescheduled",
    "fact.voided": "fact_voided",
    "calendar.exception": "calendar",
    "calendar.enacted": "calendar",
    **DECLARING,
    "charter.enacted": "charter",
    MENDING: "rules",
}
"""Why a deadline moved, by the type of the event that moved it; any other is a fact that came late."""


ENDED = ("void", "lapsed")
"""States in which nothing is promised any more."""

DEEMED = "deemed_acceptance"
"""Why the breach of a period is more than that: the petition counts as accepted from the day after it."""


def fold(case: Case, fact: Fact | None, clock: Instant, rules: Rules) -> tuple[Case, list[Decision]]:
    """The case after a fact (or, with None, after time alone), and the decisions, in order.

    An error in the rules makes this one case stuck: its facts are kept, the others go on, and a replay agrees. A
    fact that the case already holds (same source and id) changes nothing.
    """
    if fact is not None:
        if any(known.key == fact.key for known in case.facts):
            return case, []
        case = _with_fact(case, fact)
    return refold(case, fact, clock, rules)


def refold(case: Case, cause: Fact | None, clock: Instant, rules: Rules) -> tuple[Case, list[Decision]]:
    """The case worked out anew for something outside its own facts: time (None), or a change of the rules.

    One that is stuck stays so until another revision is enacted, which may be its mend.
    """
    if case.stuck and (cause is None or cause.type != MENDING):
        return case, []
    try:
        return REVISIONS[rules.revision](case, clock, rules, cause)
    except Exception as error:
        return _replace(case, stuck=type(error).__name__, next_at=None), []


def evolve(case: Case, clock: Instant, rules: Rules, cause: Fact | None) -> tuple[Case, list[Decision]]:
    """The case worked out anew at `clock`, and the difference to what was decided before, in order.

    `cause` is the fact that brings it, or None for time. Raises OutOfCalendar where a period has no end there.
    """
    first = {deadline.key: deadline.first_due for deadline in case.deadlines}
    if case.id.startswith(OFFICER):
        # Holds the copies of findings about one officer; no promise to a citizen runs there.
        standing = consequences.of_officer(case.facts, rules.charter)
    else:
        standing = _told_first(work_out(case.facts, clock, rules, case.id == case.tenant), first)
    decisions = list(_differences(case, standing, cause, clock if cause is None else cause.time))
    warned = list(case.warned)
    for deadline in standing.deadlines.values():
        warning = _warning(deadline, case, clock)
        if warning is None:
            continue
        warned.append((*deadline.key, warning))
        at = deadline.warn_at or clock
        decisions.append(_decision("deadline.warned", at if cause is None else max(at, cause.time), deadline))
    changed = Case(
        tenant=case.tenant,
        id=case.id,
        facts=case.facts,
        deadlines=tuple(standing.deadlines.values()),
        findings=tuple(standing.findings.values()),
        warned=tuple(warned),
        closed=standing.closed,
        next_at=standing.next_at,
        charter=standing.charter or rules.charter.label,
    )
    return changed, sorted(decisions, key=lambda decision: decision.order)


REVISIONS: dict[str, Callable[[Case, Instant, Rules, Fact | None], tuple[Case, list[Decision]]]] = {REVISION: evolve}
"""What works a case out, by revision. An old one stays for as long as there is a log that enacted it: a replay folds by
it what lies before the next `rules.enacted`."""


def _with_fact(case: Case, fact: Fact) -> Case:
    return _replace(case, facts=(*case.facts, fact))


def _replace(case: Case, **changes: object) -> Case:
    values = {name: getattr(case, name) for name in case.__struct_fields__} | changes
    return Case(**values)


def _told_first(standing: Standing, first: Mapping[tuple[str, str], Instant | None]) -> Standing:
    """The standing with the dates that were told first, which no later fact changes."""
    for key, deadline in standing.deadlines.items():
        told = first.get(key)
        if told is not None and told != deadline.first_due:
            standing.deadlines[key] = msgspec.structs.replace(deadline, first_due=told)
    return standing


def _warning(deadline: Deadline, case: Case, clock: Instant) -> Instant | None:
    """The due instant to warn of now, if there is one not warned of before."""
    if deadline.state != "open" or deadline.warn_at is None or deadline.due is None or deadline.warn_at >= clock:
        return None
    return None if (*deadline.key, deadline.due) in case.warned else deadline.due


def _differences(case: Case, standing: Standing, cause: Fact | None, now: Instant) -> Iterator[Decision]:
    old = {deadline.key: deadline for deadline in case.deadlines}
    for key, deadline in standing.deadlines.items():
        yield from _of_deadline(old.get(key), deadline, cause, now)
    for key, deadline in old.items():
        if key not in standing.deadlines:
            yield from _of_deadline(deadline, None, cause, now)
    known = {finding.key: finding for finding in case.findings}
    for name, finding in standing.findings.items():
        if name not in known:
            at = finding.at if finding.by_time or cause is None else now
            yield _of_finding(case, finding.kind, at, finding)
    for name, finding in known.items():
        if name not in standing.findings and finding.kind in TAKEN_BACK:
            yield _of_finding(case, TAKEN_BACK[finding.kind], now, finding)


def _of_deadline(old: Deadline | None, new: Deadline | None, cause: Fact | None, at: Instant) -> Iterator[Decision]:
    """What is to be said when a deadline stood as `old` and stands as `new`, for a cause dated `at`."""
    if new is None:
        assert old is not None
        if old.state == "broken":
            yield _decision("breach.retracted", at, old)
        if old.state not in ENDED:
            yield _decision("deadline.voided", at, old)
        return
    if old is None:
        began = new.began if new.began is not None else at
        yield _decision("deadline.started", began, new)._replace(
            due=new.due or new.first_due, suspended=new.due is None
        )
        if new.state == "suspended":
            yield _decision("deadline.suspended", began, new)
    else:
        if old.state == "broken" and new.state != "broken":
            yield _decision("breach.retracted", at, old)
        yield from _of_course(old, new, at, cause)
    was = old.state if old is not None else "open"
    if new.state == "met" and was != "met":
        yield _decision("deadline.met", at, new)
    elif new.state == "broken" and was != "broken":
        yield _decision("deadline.breached", new.due or at, new, DEEMED if new.deemed else "")
    elif new.state in ENDED and was not in ENDED:
        lapsed = new.state == "lapsed"
        yield _decision("deadline.voided", new.due or at if lapsed else at, new, "lapsed" if lapsed else "")


def _of_course(old: Deadline, new: Deadline, at: Instant, cause: Fact | None) -> Iterator[Decision]:
    """Whether a known deadline moved, stopped or runs again."""
    if cause is None and new.turned is not None:
        at = new.turned
    # What met or ended it is gone, not merely dated otherwise.
    reopened = (old.state in ENDED and new.state not in ENDED) or (old.state == "met" and new.met_at is None)
    if new.state == "suspended":
        if old.state != "suspended":
            yield _decision("deadline.suspended", at, new, "reopened" if reopened else "")
    elif reopened and new.state in ("open", "broken"):
        yield _decision("deadline.moved", at, new, "reopened")
    elif old.state == "suspended" and new.state in ("open", "broken"):
        yield _decision("deadline.resumed", at, new)
    elif old.due is not None and new.due is not None and (old.due != new.due or _is_settled_date(old, new)):
        # Time alone moves nothing but for a charter whose day has come.
        reason = REASONS.get(cause.type, "late_fact") if cause is not None else "charter"
        yield _decision("deadline.moved", at, new, reason)


def _is_settled_date(old: Deadline, new: Deadline) -> bool:
    """Whether a date told as provisional stands, now that its year is enacted."""
    return new.state == "open" and old.provisional and not new.provisional


def _decision(kind: str, at: Instant, deadline: Deadline, reason: str = "") -> Decision:
    return Decision(
        kind,  # type: ignore[arg-type]
        at,
        deadline.promise,
        deadline.occurrence,
        deadline.due,
        deadline.first_due,
        deadline.provisional,
        reason=reason,
    )


def _of_finding(case: Case, kind: str, at: Instant, finding: Finding) -> Decision:
    key = f"{case.tenant}/{case.id}/{finding.incident}/{finding.remedy}" if finding.remedy else ""
    return Decision(
        kind,  # type: ignore[arg-type]
        at,
        finding.promise,
        finding.occurrence,
        finding.due,
        remedy=finding.remedy,
        incident=finding.incident,
        key=key,
        amount=finding.amount,
        needs=finding.needs,
        task=finding.task,
        code=finding.code,
        about=finding.key.removeprefix("refused:") if finding.kind == "event.refused" else "",
    )
