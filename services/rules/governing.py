"""Governing: which version of a charter judges a case, or which part of it, when versions follow each other.

The one rule: a case keeps the version of its receipt unless a later one says that it reaches open cases; and what was
met or broken by then stays, unless it says that it reaches back. That follows from the facts alone, as all else.

A later version `open_from_today` judges what is still open at its instant. A date that would already be past by the
new terms stays as told: nobody breaks a promise before it is made. What it promises anew counts where it is still to
be kept; what it no longer promises is void. A version `retroactive` judges the whole case from its receipt.
"""

from collections.abc import Sequence

import msgspec

from services.rules import standing
from services.rules.facts import Fact, closes, in_effect
from services.rules.instants import Instant
from services.rules.state import Deadline, Finding, Rules, Stage, Standing


def work_out(facts: tuple[Fact, ...], clock: Instant, rules: Rules, home: bool = False) -> Standing:
    """The standing of a case by every version that reaches it. Raises OutOfCalendar.

    `home`: it is the tenant's own, in which its yearly duties run; they follow the charter that opened it.
    """
    if home:
        return standing.work_out(facts, clock, rules, home=True)._replace(charter=rules.charter.label)
    return _staged(facts, clock, rules, rules.stages)


def closings(facts: Sequence[Fact]) -> tuple[tuple[Fact, Fact | None], ...]:
    """What closed a case, each with what opened it again; the last with None while the case is closed."""
    if not any(closes(fact) for fact in facts):
        return ()
    received, found = False, list[tuple[Fact, Fact | None]]()
    for fact in in_effect(facts):
        received = received or fact.type == "complaint.received"
        closed = bool(found) and found[-1][1] is None
        if received and not closed and closes(fact):
            found.append((fact, None))
        elif closed and fact.type == "complaint.reopened":
            found[-1] = (found[-1][0], fact)
    return tuple(found)


def _staged(facts: tuple[Fact, ...], clock: Instant, rules: Rules, stages: tuple[Stage, ...]) -> Standing:
    if not stages:
        return standing.work_out(facts, clock, rules)._replace(charter=rules.charter.label)
    *earlier, stage = stages
    old = _staged(facts, clock, rules, tuple(earlier))
    if stage.waits and clock <= stage.at:
        # Also for a case that is closed by now: it may have been open on that day.
        return old._replace(next_at=min(stage.at, old.next_at or stage.at))
    then = _until(facts, stage.at)
    old_then = _staged(then, stage.at, rules, tuple(earlier))
    if old_then.closed:
        return old
    new = standing.work_out(facts, clock, stage.rules)._replace(charter=stage.rules.charter.label)
    if stage.retroactive:
        return new
    return _joined(old, old_then, new, standing.work_out(then, stage.at, stage.rules), stage.at)


def _until(facts: tuple[Fact, ...], at: Instant) -> tuple[Fact, ...]:
    """The facts that have effect by an instant, none of them stated after it."""
    return tuple(
        msgspec.structs.replace(fact, time=min(fact.time, at)) for fact in in_effect(facts) if fact.moment <= at
    )


def _joined(old: Standing, old_then: Standing, new: Standing, new_then: Standing, at: Instant) -> Standing:
    """What was settled at an instant, as the old version judges it, and all else as the new one does."""
    kept: dict[tuple[str, str], Deadline] = {}
    for key, deadline in old.deadlines.items():
        before, anew = old_then.deadlines.get(key), new_then.deadlines.get(key)
        if before is not None and (not _live(before) or (anew is not None and anew.state == "broken")):
            kept[key] = deadline
    judged: dict[tuple[str, str], Deadline] = {}
    for key, deadline in new.deadlines.items():
        anew = new_then.deadlines.get(key)
        if key not in kept and (key in old_then.deadlines or anew is None or _live(anew)):
            judged[key] = deadline
    findings = {name: finding for name, finding in old.findings.items() if _stays(finding, kept, old, finding.at <= at)}
    for name, finding in new.findings.items():
        if _stays(finding, judged, new, finding.at > at) and name not in findings:
            findings[name] = finding
    instants = [moment for moment in (old.next_at, new.next_at) if moment is not None]
    return Standing({**kept, **judged}, findings, new.closed, min(instants, default=None), new.charter)


def _live(deadline: Deadline) -> bool:
    return deadline.state in ("open", "suspended")


def _stays(finding: Finding, taken: dict[tuple[str, str], Deadline], side: Standing, in_time: bool) -> bool:
    """Whether a finding of one side holds: with its deadline where it has one, otherwise by its instant."""
    key = (finding.promise, finding.occurrence)
    return key in taken if key in side.deadlines else in_time
