"""The fold: a fact or the passing of time changes a case, and what changes is decided.

The one rule: decisions are the difference between two standings, by key. What still holds is never written again,
and nothing that was written is edited: it is moved, retracted, withdrawn or voided by a decision of its own. Warnings
are the exception: once written they stay, and a due instant is warned of once.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from services.rules import consequences
from services.rules.declared import DECLARING
from services.rules.facts import Fact
from services.rules.governing import work_out
from services.rules.instants import Instant
from services.rules.routing import OFFICER
from services.rules.runs import run_of
from services.rules.state import RANK, TAKEN_BACK, Case, Deadline, Decision, Finding, Rules, Standing

REVISION: Final = "1"
"""The newest revision of these rules. Code that changes any decision is a new one, enacted in the log from where it
holds."""

MENDING: Final = "rules.enacted"
"""The type of the event by which another revision takes over; it works out anew the cases that are stuck."""

REASONS: Final = {
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

STOOD_STILL: Final = "suspended"
"""Why time alone moved a deadline: a stop that was announced began, and was over before the clock was looked at again,
or it was known when it would be."""

OF_ITS_DAY: Final = "charter"
"""Why else time alone moves one: a charter was announced, and its day has come."""

ENDED: Final = ("void", "lapsed")
"""States in which nothing is promised any more."""

DEEMED: Final = "deemed_acceptance"
"""Why the breach of a period is more than that: the petition counts as accepted from the day after it."""


_FEW: Final = 16
"""Decisions that are put in order one by one; of more, each would be held against too many."""


def fold(case: Case, fact: Fact | None, clock: Instant, rules: Rules) -> tuple[Case, list[Decision]]:
    """The case after a fact (or, with None, after time alone), and the decisions, in order.

    An error in the rules makes this one case stuck: its facts are kept, the others go on, and a replay agrees. A
    fact that the case already holds (same source and id) changes nothing.
    """
    if fact is not None:
        if holds(case, fact):
            return case, []
        case = with_fact(case, fact)
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
        return stuck_by(error, case), []


def evolve(case: Case, clock: Instant, rules: Rules, cause: Fact | None) -> tuple[Case, list[Decision]]:
    """The case worked out anew at `clock`, and the difference to what was decided before, in order.

    `cause` is the fact that brings it, or None for time. Raises OutOfCalendar where a period has no end there.
    """
    if case.id.startswith(OFFICER):
        # Holds the copies of findings about one officer; no promise to a citizen runs there.
        return decided(case, consequences.of_officer(case.facts, rules.charter), clock, rules, cause)
    return decided(case, work_out(case.facts, clock, rules, case.id == case.tenant), clock, rules, cause)


def decided(
    case: Case, standing: Standing, clock: Instant, rules: Rules, cause: Fact | None
) -> tuple[Case, list[Decision]]:
    """The case with its new standing, and the difference to what was decided before, in order."""
    standing = _told_first(case, standing)
    decisions = list(_differences(case, standing, cause, clock if cause is None else cause.time))
    warned = warn(case, standing.deadlines.values(), clock, cause, decisions)
    changed = Case(
        tenant=case.tenant,
        id=case.id,
        facts=case.facts,
        deadlines=tuple(standing.deadlines.values()),
        findings=tuple(standing.findings.values()),
        warned=warned,
        closed=standing.closed,
        next_at=standing.next_at,
        charter=standing.charter or rules.charter.label,
    )
    return changed, in_order(decisions)


REVISIONS: Final[dict[str, Callable[[Case, Instant, Rules, Fact | None], tuple[Case, list[Decision]]]]] = {
    REVISION: evolve
}
"""What works a case out, by revision. An old one stays for as long as there is a log that enacted it: a replay folds by
it what lies before the next `rules.enacted`."""


def holds(case: Case, fact: Fact) -> bool:
    """Whether a case holds a fact already: one of the same source and id."""
    id, source = fact.id, fact.source
    for known in case.facts:  # noqa: SIM110 - asked of every fact; a generator would cost four times as much
        if known.id == id and known.source == source:
            return True
    return False


def with_fact(case: Case, fact: Fact) -> Case:
    """The case with one more fact, of which nothing follows yet."""
    return msgspec.structs.replace(case, facts=(*case.facts, fact))


def stuck_by(error: Exception, case: Case) -> Case:
    """The case when the rules fail on it: nothing more is decided, and no instant waited for."""
    return msgspec.structs.replace(case, stuck=type(error).__name__, next_at=None)


def in_order(decisions: list[Decision]) -> list[Decision]:
    """The decisions of one step about one case, as they are written: sorted by `order`, few at a time."""
    if len(decisions) > _FEW:
        return sorted(decisions, key=order)
    found: list[Decision] = []
    for decision in decisions:
        place = len(found)
        while place and _precedes(decision, found[place - 1]):
            place -= 1
        found.insert(place, decision)
    return found


def order(decision: Decision) -> tuple[Instant, str, int, str]:
    """Where a decision stands among those of one step about one case: by due (none first), promise, then kind."""
    return _due(decision), decision.promise, RANK[decision.kind], decision.occurrence


def _precedes(one: Decision, other: Decision) -> bool:
    """Whether the order of one is less than that of the other, without the tuples, which took a thirtieth of a fold."""
    due, later = _due(one), _due(other)
    if due != later:
        return due < later
    if one.promise != other.promise:
        return one.promise < other.promise
    return (RANK[one.kind], one.occurrence) < (RANK[other.kind], other.occurrence)


def _due(decision: Decision) -> Instant:
    due: Instant | None = None if decision.suspended else decision.due
    return 0 if due is None else due


def told_first(old: Deadline | None, new: Deadline) -> Deadline:
    """A deadline with the date that was told first, which no later fact changes."""
    if old is None or old.first_due is None or old.first_due == new.first_due:
        return new
    return msgspec.structs.replace(new, first_due=old.first_due)


def _told_first(case: Case, standing: Standing) -> Standing:
    for deadline in case.deadlines:
        run = run_of(deadline)
        new = standing.deadlines.get(run)
        if new is not None:
            standing.deadlines[run] = told_first(deadline, new)
    return standing


def warn(
    case: Case, deadlines: Iterable[Deadline], clock: Instant, cause: Fact | None, decisions: list[Decision]
) -> tuple[tuple[str, str, Instant], ...]:
    """Adds the warnings that are due to the decisions; returns what was warned of by now."""
    warned = case.warned
    for deadline in deadlines:
        warning = _warning(deadline, case, clock)
        if warning is None:
            continue
        warned += ((deadline.promise, deadline.occurrence, warning),)
        at = deadline.warn_at or clock
        decisions.append(_decision("deadline.warned", at if cause is None else max(at, cause.time), deadline))
    return warned


def _warning(deadline: Deadline, case: Case, clock: Instant) -> Instant | None:
    """The due instant to warn of now, if there is one not warned of before."""
    if deadline.state != "open" or deadline.warn_at is None or deadline.due is None or deadline.warn_at >= clock:
        return None
    return None if (deadline.promise, deadline.occurrence, deadline.due) in case.warned else deadline.due


def _differences(case: Case, standing: Standing, cause: Fact | None, now: Instant) -> Iterator[Decision]:
    old = {run_of(deadline): deadline for deadline in case.deadlines}
    for key, deadline in standing.deadlines.items():
        yield from of_deadline(old.get(key), deadline, cause, now)
    for key, deadline in old.items():
        if key not in standing.deadlines:
            yield from of_deadline(deadline, None, cause, now)
    known = {finding.key: finding for finding in case.findings}
    for name, finding in standing.findings.items():
        if name not in known:
            yield of_finding(case, finding, cause, now)
    for name, finding in known.items():
        if name not in standing.findings and finding.kind in TAKEN_BACK:
            yield _about_finding(case, TAKEN_BACK[finding.kind], now, finding)


def of_deadline(old: Deadline | None, new: Deadline | None, cause: Fact | None, at: Instant) -> list[Decision]:
    """What is to be said when a deadline stood as `old` and stands as `new`, for a cause dated `at`."""
    said: list[Decision] = []
    if new is None:
        assert old is not None
        if old.state == "broken":
            said.append(_decision("breach.retracted", at, old))
        if old.state not in ENDED:
            said.append(_decision("deadline.voided", at, old))
        return said
    if old is None:
        began = new.began if new.began is not None else at
        said.append(
            Decision(
                "deadline.started",
                began,
                new.promise,
                new.occurrence,
                new.due or new.first_due,
                new.first_due,
                new.provisional,
                suspended=new.due is None,
            )
        )
        if new.state == "suspended":
            stopped = new.turned if cause is None and new.turned is not None else began
            said.append(_decision("deadline.suspended", stopped, new))
    else:
        if old.state == "broken" and new.state != "broken":
            said.append(_decision("breach.retracted", at, old))
        course = _of_course(old, new, at, cause)
        if course is not None:
            said.append(course)
    was = old.state if old is not None else "open"
    if new.state == "met" and was != "met":
        said.append(_decision("deadline.met", at, new))
    elif new.state == "broken" and was != "broken":
        said.append(_decision("deadline.breached", new.due or at, new, DEEMED if new.deemed else ""))
    elif new.state in ENDED and was not in ENDED:
        lapsed = new.state == "lapsed"
        said.append(_decision("deadline.voided", new.due or at if lapsed else at, new, "lapsed" if lapsed else ""))
    return said


def _of_course(old: Deadline, new: Deadline, at: Instant, cause: Fact | None) -> Decision | None:
    """Whether a known deadline moved, stopped or runs again."""
    turned = new.turned if cause is None and new.turned != old.turned else None
    if turned is not None:
        at = turned
    # What met or ended it is gone, not merely dated otherwise.
    reopened = (old.state in ENDED and new.state not in ENDED) or (old.state == "met" and new.met_at is None)
    if new.state == "suspended":
        if old.state != "suspended":
            return _decision("deadline.suspended", at, new, "reopened" if reopened else "")
    elif reopened and new.state in ("open", "broken"):
        return _decision("deadline.moved", at, new, "reopened")
    elif old.state == "suspended" and new.state in ("open", "broken"):
        return _decision("deadline.resumed", at, new)
    elif old.due is not None and new.due is not None and (old.due != new.due or _is_settled_date(old, new)):
        # Time alone moves nothing but for a stop, or for a charter whose day has come.
        by_time = STOOD_STILL if turned is not None else OF_ITS_DAY
        return _decision("deadline.moved", at, new, by_time if cause is None else REASONS.get(cause.type, "late_fact"))
    return None


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


def of_finding(case: Case, finding: Finding, cause: Fact | None, now: Instant) -> Decision:
    """What is to be said of a new finding."""
    at = finding.at if finding.by_time or cause is None else now
    return _about_finding(case, finding.kind, at, finding)


def _about_finding(case: Case, kind: str, at: Instant, finding: Finding) -> Decision:
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
