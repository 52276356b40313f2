"""What follows for tasks beyond the decision itself: what goes with the money, by when, and what facts change in it.

The one rule: pure functions of the entry, the case as folded so far, the tenant and the charter that is named. Whoever
folds the same logs wants the same tasks under the same keys.
"""

from collections.abc import Iterable, Iterator

import msgspec

from services.notifier.notices import COMPENSATION, CaseView, Consequence, Event, Task, TaskWithdrawal, key_of
from services.notifier.tasks import charters, kinds, noted
from services.rules import instants
from services.rules.tenants import Tenant


class Ended(msgspec.Struct, frozen=True):
    """A task is no longer wanted because it is done: a fact (source/id) has kept the promise that wanted it."""

    key: str
    fact: str
    outcome: str


def evolve(before: CaseView, view: CaseView, fact: Event, sequence: int) -> CaseView:
    """The case after one more fact, as far as something is to be done or may be owed in it. `before` is the case before
    it, `sequence` the fact's place in CASES."""
    if (before.department, before.officer) != (view.department, view.officer):
        had = (sequence, before.department, before.officer)
        view = msgspec.structs.replace(view, had=(*view.had, had))
    lateness = charters.ends_of_lateness(fact.tenant)
    ended = kinds.ended_by(fact.type, fact.data, charters.tasks(fact.tenant))
    if not lateness and not ended and not fact.type.startswith("fault.") and fact.type != "fact.voided":
        return view
    known = noted.of_event(fact.source, fact.id, fact.type, instants.instant(fact.time), fact.data)
    after = noted.evolve(view.noted, known, fact.data, lateness, ended)
    return view if after is view.noted else msgspec.structs.replace(view, noted=dict(after))


def as_of(view: CaseView, sequence: int) -> CaseView:
    """The case with whoever had it when CASES stood at a sequence, whatever was folded since."""
    for until, department, officer in view.had:
        if until > sequence:
            return msgspec.structs.replace(view, department=department, officer=officer)
    return view


def of_decision(
    decision: Event, consequences: Iterable[Consequence], view: CaseView, tenant: Tenant
) -> Iterator[Consequence | Ended]:
    """The consequences of a decision, with what goes with a remedy before it, and dates where tasks have any."""
    for one in consequences:
        if isinstance(one, TaskWithdrawal):
            yield _done(decision, one, view) or one
        elif not isinstance(one, Task):
            yield one
        elif one.task == COMPENSATION:
            yield from _beside(decision, one)
            yield _found_by(decision, one, tenant)
        elif kinds.of(one.task).due == "promise" and one.broken_at is not None:
            yield msgspec.structs.replace(one, due=one.broken_at)
        else:
            yield one


def _done(decision: Event, withdrawal: TaskWithdrawal, view: CaseView) -> Ended | None:
    """Whether a task is withdrawn because the fact that brings it says that it is done, or was the last of several that
    its duty wanted."""
    data = decision.data
    cause, task = data.get("cause"), data.get("task", "")
    if cause is None:
        return None
    fact = f"{cause['source']}/{cause['id']}"
    entry = view.noted.get(fact)
    if entry is None or not {task, *charters.of_duty(data.get("charter"), data.get("promise"))} & set(entry.ends):
        return None
    return Ended(withdrawal.key, fact, entry.ends.get(task) or kinds.of(task).outcomes[0])


def _beside(decision: Event, remedy: Task) -> Iterator[Task]:
    """The tasks of the charter that go with the money. Where a just reason is still asked after they wait for the
    approval."""
    of_charter = charters.remedy(remedy.charter, remedy.clause)
    for task in of_charter.tasks if of_charter is not None else ():
        yield msgspec.structs.replace(
            remedy,
            key=key_of(decision.tenant, decision.case, remedy.incident, remedy.clause, task),
            task=task,
            remedy_key=None,
            amount=None,
            currency=None,
            needs=(),
            notice=None,
            waits="finding" in remedy.needs,
        )


def _found_by(decision: Event, remedy: Task, tenant: Tenant) -> Task:
    if "finding" not in remedy.needs:
        return remedy
    start = remedy.hold_until if remedy.hold_until is not None else instants.instant(decision.time)
    due = charters.find_by(remedy.charter, remedy.clause, start, tenant.finding_working_days)
    return msgspec.structs.replace(remedy, due=due)
