"""What follows for tasks beyond the decision itself: what goes with the money, by when, and what facts change in it.

The one rule: pure functions of the entry, the case as folded so far, the tenant and the charter that is named. Whoever
folds the same logs wants the same tasks under the same keys.
"""

from collections.abc import Iterable, Iterator

import msgspec

from services.notifier.notices import COMPENSATION, CaseView, Consequence, Event, Task, key_of
from services.notifier.tasks import charters, kinds, noted
from services.rules import instants
from services.rules.tenants import Tenant


def evolve(view: CaseView, fact: Event) -> CaseView:
    """The case after one more fact, as far as something may be owed in it."""
    ends = charters.ends_of_lateness(fact.tenant)
    if not ends and not fact.type.startswith("fault.") and fact.type != "fact.voided":
        return view
    known = noted.of_event(fact.source, fact.id, fact.type, instants.instant(fact.time), fact.data)
    after = noted.evolve(view.noted, known, fact.data, ends)
    return view if after is view.noted else msgspec.structs.replace(view, noted=dict(after))


def of_decision(decision: Event, consequences: Iterable[Consequence], tenant: Tenant) -> Iterator[Consequence]:
    """The consequences of a decision, with what goes with a remedy before it, and dates where tasks have any."""
    for one in consequences:
        if not isinstance(one, Task):
            yield one
        elif one.task == COMPENSATION:
            yield from _beside(decision, one)
            yield _found_by(decision, one, tenant)
        elif kinds.of(one.task).due == "promise" and one.broken_at is not None:
            yield msgspec.structs.replace(one, due=one.broken_at)
        else:
            yield one


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
