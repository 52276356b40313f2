"""Nobody's remedy lies where nobody who may act can see it: every remedy and task of every charter, in cases that
anybody may know, that complain of somebody, or that lie with no department."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import pytest

from contracts import files
from services.chassis.settings import ROOT
from services.notifier.desk.lists import may_see
from services.notifier.tasks import charters, kinds, life
from services.notifier.tasks.life import Actor, Item, NotPossible
from services.reading import visibility
from services.reading.visibility import Caller, Case, Named, Role
from services.rules import tenants
from services.rules.charter import Remedy

TENANTS = tenants.parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
OURS, THEIRS, AUDIT = "도로과", "환경과", "감사과"
ROLES: tuple[Role, ...] = ("clerk", "approver", "head", "audit")


class Person(NamedTuple):
    """A member of staff with one role: nobody needs two of them to do what is theirs."""

    tenant: str
    staff: str
    role: Role
    department: str

    @property
    def caller(self) -> Caller:
        return Caller(self.tenant, "desk", self.staff, self.role, self.department, self.staff)

    @property
    def actor(self) -> Actor:
        return Actor(self.tenant, self.staff, frozenset({self.role}), self.department)  # type: ignore[arg-type]


class Story(NamedTuple):
    """A case, and the fault in it: whom that names, or nobody."""

    name: str
    case: Case | None
    kind: str
    department: str | None
    officer: str | None
    named: str | None = None


PLAIN = Case("web", False, OURS, "kim", frozenset())
STORIES = (
    Story("an ordinary case", PLAIN, "grievance_of_none", OURS, "kim"),
    Story("a fault that names nobody", PLAIN, "inquiry", OURS, "kim"),
    Story("a fault that names who has the case", PLAIN, "inquiry", OURS, "kim", "kim"),
    Story("a fault that names another of the department", PLAIN, "inquiry", OURS, "kim", "lee"),
    Story("a fault that names somebody elsewhere", PLAIN, "inquiry", OURS, "kim", "park"),
    Story("a fault that names somebody whom nobody described", PLAIN, "inquiry", OURS, "kim", "nobody"),
    Story(
        "a complaint about the department that has it",
        Case("web", True, OURS, "kim", frozenset(), Named(frozenset({OURS}), frozenset({"kim"}))),
        *("service_grievance", OURS, "kim"),
    ),
    Story("a call or visit that lies with nobody", Case("kiosk", False, None, None, frozenset()), "", None, None),
    Story(
        "a call that names who took it", Case("phones", False, None, "lee", frozenset()), "", None, "lee", named="lee"
    ),
)
DEPARTMENTS = {"kim": OURS, "lee": OURS, "park": THEIRS}
"""Of the staff that is described."""


def people(tenant: str) -> list[Person]:
    """Two of each role in each department, and the staff who may be named."""
    found = [
        Person(tenant, f"{role}-{department}-{number}", role, department)
        for role, department, number in product(ROLES[:3], (OURS, THEIRS), (1, 2))
    ]
    return [*found, *(Person(tenant, f"audit-{number}", "audit", AUDIT) for number in (1, 2, 3))]


def remedies() -> Iterator[tuple[str, str, Remedy]]:
    for name in files.read():
        tenant, _, version = name.removeprefix("charters/").removesuffix(".yaml").rpartition("-")
        if name.startswith("charters/") and tenant in TENANTS:
            charter = charters.named(f"{tenant}@{version}")
            assert charter is not None
            yield from ((tenant, charter.label, remedy) for remedy in charter.remedies)


FOUND = list(remedies())
PAYING = [row for row in FOUND if row[2].money]


def task(tenant: str, remedy: str, name: str, story: Story) -> dict[str, Any]:
    """A row of read.tasks, and of what its case brings."""
    return {
        **{"tenant": tenant, "case": "c1", "task": name, "remedy": remedy, "key": "k", "occurrence": None},
        **{"department": story.department, "officer": story.officer, "lies_with": kinds.of(name).lies_with},
        "incident": "fault:web/f1",
        "at_fault": sorted({one for one in (story.officer, story.named) if one}),
    }


def sees(person: Person, row: dict[str, Any], story: Story) -> bool:
    """As the desk's list judges it: by the case, then by what of the case is hidden."""
    report = {"type": "fault.reported", "source": "web", "id": "f1", "data": {"officer": story.named}}
    hidden = visibility.hidden_facts(person.caller, [report], DEPARTMENTS)
    seen = may_see(person.caller, TENANTS[person.tenant], row, story.case)
    return seen and not visibility.tells_of(hidden, row)


def item(row: dict[str, Any], story: Story, **more: Any) -> Item:
    """The same as the rules of its life read it."""
    named = {story.named} if story.named else set()
    usual = {name: row[name] for name in ("key", "tenant", "case", "task", "department", "officer", "lies_with")}
    for_audit = life.for_audit(row["case"], story.kind, story.department, named)
    at_fault = tuple(row["at_fault"])
    return Item(**usual, clause=row["remedy"], state="assigned", at_fault=at_fault, for_audit=for_audit, **more)


NOT_THEIRS = {"wrong_role", "wrong_department", "at_fault", "four_eyes", "own_approval"}


def those(people: list[Person], step: Callable[[Actor], object]) -> list[Person]:
    """Those who may take a step; what else is wrong with it is an error."""
    found = []
    for person in people:
        try:
            step(person.actor)
        except NotPossible as reason:
            if reason.code not in NOT_THEIRS:
                raise
        else:
            found.append(person)
    return found


@pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])
@pytest.mark.parametrize(("tenant", "charter", "remedy"), PAYING, ids=[remedy.id for _, _, remedy in PAYING])
def test_for_every_remedy_two_people_see_it_and_may_bring_it_to_the_citizen(
    tenant: str, charter: str, remedy: Remedy, story: Story
) -> None:
    row = task(tenant, remedy.id, "compensation", story)
    seeing = [person for person in people(tenant) if sees(person, row, story)]
    needs = tuple(sorted({need for trigger in remedy.triggers for need in trigger.needs}))
    owed = item(row, story, remedy_key="r", amount=remedy.amount, currency="KRW", needs=needs, cause="1-1")
    prepared = set()
    if "finding" in needs:
        finder = those(seeing, lambda actor: life.may_find(owed, actor))[0]
        prepared.add(finder)
        owed = owed._replace(finding="confirmed", finding_by=finder.staff)
    if remedy.amount is None:
        entering = those(seeing, lambda actor: life.enter(owed, actor, 1, 9_000, by_tariff=False))[0]
        prepared.add(entering)
        step = life.enter(owed, entering.actor, 1, 9_000, by_tariff=False)
        assert step is not None
        owed = owed._replace(amount=9_000, steps=(step,))
    deciding = those(seeing, lambda actor: life.approve(owed, actor, 1, None))
    assert deciding
    assert prepared.isdisjoint(deciding)
    step = life.approve(owed, deciding[0].actor, 1, None)
    assert step is not None
    approved = owed._replace(state="approved", steps=(*owed.steps, step))
    paying = those(seeing, lambda actor: life.issue(approved, actor, 1, "by_hand", None))
    assert paying
    assert deciding[0] not in paying


@pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])
def test_every_task_that_a_remedy_brings_is_seen_by_somebody_who_may_end_it(story: Story) -> None:
    checked = 0
    for tenant, _, remedy in FOUND:
        for name in remedy.tasks:
            row = task(tenant, remedy.id, name, story)
            finish = partial(life.finish, item(row, story), now=1, outcome=kinds.of(name).outcomes[0])
            seeing = [person for person in people(tenant) if sees(person, row, story)]
            assert those(seeing, finish), f"{remedy.id} {name}"
            checked += 1
    assert checked > 15


def test_where_a_department_may_know_audit_does_not_do_its_work() -> None:
    """Whoever examines the office afterwards has not decided for it."""
    row = task("seoul", "seoul-remedy-money", "compensation", STORIES[1])
    owed = item(row, STORIES[1], remedy_key="r", amount=5_000, currency="KRW", cause="1-1")
    audit = Person("seoul", "audit-1", "audit", AUDIT)
    assert sees(audit, row, STORIES[1])
    assert not owed.for_audit
    with pytest.raises(NotPossible) as reason:
        life.approve(owed, audit.actor, 1, None)
    assert reason.value.code == "wrong_role"


def test_who_is_named_never_acts_whatever_the_roles() -> None:
    story = Story("audit itself is named", PLAIN, "inquiry", OURS, "kim", named="audit-1")
    row = task("seoul", "seoul-remedy-money", "compensation", story)
    owed = item(row, story, remedy_key="r", amount=5_000, currency="KRW", cause="1-1")
    with pytest.raises(NotPossible) as reason:
        life.approve(owed, Actor("seoul", "audit-1", frozenset(ROLES), AUDIT), 1, None)  # type: ignore[arg-type]
    assert reason.value.code == "at_fault"
