"""Consequences: what a charter's clauses other than clocks and numbers want when something happens.

The one rule: a task or a message follows from one fact and the petition it is about; repeated findings about an
officer are counted in the officer's own case, where no citizen's promise runs.
"""

from typing import Final

from services.rules.charter import Charter, Clause, Petition, Remedy
from services.rules.demands import all_hold, matches
from services.rules.effective import in_effect, key_of
from services.rules.facts import Fact
from services.rules.state import Finding, Rules, Standing

TRY_AGAIN: Final = "try_again"
"""The task that a call in time brings which reached nobody."""


def of_fact(fact: Fact, petition: Petition, rules: Rules) -> list[Finding]:
    """The tasks and messages that the charter's clauses want at a fact."""
    data = petition.data if fact.type == "complaint.received" else fact.data
    found: list[Finding] = []
    for clause in rules.charter.asking.get(fact.type, ()):
        for match, outside, task in clause.desks:
            if matches(match, fact.type, data, petition) and _closed(outside, fact, rules):
                found += _tasks(clause, fact, (task,))
                break
        for match in clause.on:
            if matches(match, fact.type, data, petition):
                if _closed(clause.outside, fact, rules):
                    found += _wants(clause, fact)
                break
    return found


def _wants(clause: Clause, fact: Fact) -> list[Finding]:
    found = _tasks(clause, fact, clause.tasks)
    if clause.notice:
        key = key_of(fact)
        named = f"notice:{clause.id}:{key}"
        found.append(Finding("notice.requested", named, fact.time, clause.id, key, code=clause.notice))
    return found


def _closed(hours: str, fact: Fact, rules: Rules) -> bool:
    """Whether the named weekly hours are closed at the fact; no name, no demand."""
    return not hours or rules.calendars[hours].opening(fact.time) != fact.time


def _tasks(clause: Clause, fact: Fact, tasks: tuple[str, ...]) -> list[Finding]:
    if not tasks:
        return []
    occurrence = "case" if clause.once else key_of(fact)
    return [
        Finding("task.created", f"task:{clause.id}:{occurrence}:{task}", fact.time, clause.id, occurrence, task=task)
        for task in tasks
    ]


def of_officer(facts: tuple[Fact, ...], charter: Charter) -> Standing:
    """What follows from the findings confirmed about one officer, in whatever cases: what a remedy wants from the
    n-th on. There is no window of time. The incident names the case whose finding filled the count."""
    findings: dict[str, Finding] = {}
    for remedy in charter.remedies:
        if not remedy.repeated:
            continue
        counted: dict[tuple[str, str], Fact] = {}
        for fact in in_effect(facts):
            if _brings(remedy, fact):
                counted.setdefault((fact.origin, fact.data.about or key_of(fact)), fact)
        for fact in list(counted.values())[remedy.repeated - 1 :]:
            incident = f"{fact.origin}/{key_of(fact)}"
            for task in remedy.repeated_tasks:
                key = f"task:{remedy.id}:{incident}:{task}"
                findings[key] = Finding("task.created", key, fact.time, remedy=remedy.id, incident=incident, task=task)
    return Standing({}, findings, False, None)


def _brings(remedy: Remedy, fact: Fact) -> bool:
    return fact.type == "fault.confirmed" and any(
        fact.data.ground in trigger.fault and all_hold(trigger.where, fact.data, Petition())
        for trigger in remedy.triggers
    )
