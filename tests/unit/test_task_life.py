"""Who may do what with a task or a remedy, and what the facts of a case say of it."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from contracts import files
from services.notifier.tasks import charters, kinds, life, noted
from services.notifier.tasks.life import Actor, Item, NotPossible, Step
from services.rules.facts import Data, Fact

NOW = 1_000
ANN = Actor("mapo", "ann", frozenset({"approver"}))
ALL_ROLES: tuple[life.Role, ...] = ("clerk", "approver", "head", "audit")
REMEDY = Item(
    "k", "mapo", "c1", "compensation", "mapo-redress", "assigned", remedy_key="r", currency="KRW", cause="1-1"
)
REMEDY = REMEDY._replace(amount=5_000, department="민원과", lies_with="approver", at_fault=("kim",))
STEPS: dict[str, tuple[str, Callable[[Item, Actor], Step | None]]] = {
    "approve": ("assigned", lambda item, actor: life.approve(item, actor, NOW, None)),
    "decline": ("assigned", lambda item, actor: life.decline(item, actor, NOW, "no_loss")),
    "issue": ("approved", lambda item, actor: life.issue(item, actor, NOW, "by_hand", None)),
    "separate": ("covered", lambda item, actor: life.separate(item, actor, NOW)),
    "acknowledge": ("issued", lambda item, actor: life.acknowledge(item, actor, NOW, "said")),
}


def code(step: Callable[[], Any]) -> str:
    with pytest.raises(NotPossible) as reason:
        step()
    return reason.value.code


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("approve", {"approver"}),
        ("decline", {"approver"}),
        ("issue", {"clerk", "approver"}),
        ("acknowledge", {"clerk", "approver"}),
        ("separate", {"approver"}),
    ],
)
def test_each_step_is_for_some_roles_alone(name: str, roles: set[str]) -> None:
    state, step = STEPS[name]
    for role in ALL_ROLES:
        actor = Actor("mapo", "ann", frozenset({role}), "민원과")
        if role in roles:
            assert step(REMEDY._replace(state=state), actor) is not None
        else:
            assert code(lambda actor=actor: step(REMEDY._replace(state=state), actor)) == "wrong_role"


def test_who_approved_does_not_hand_out() -> None:
    """Not even where nothing was to be found or entered before, so that two people have always looked at it."""
    step = life.approve(REMEDY, ANN, NOW, None)
    assert step is not None
    approved = REMEDY._replace(state="approved", steps=(step,))
    assert code(lambda: life.issue(approved, ANN, NOW, "by_hand", None)) == "own_approval"
    assert life.issue(approved, ANN._replace(staff="bea"), NOW, "by_hand", None) is not None


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    "state", ["held", "assigned", "approved", "declined", "issued", "acknowledged", "withdrawn", "kept", "covered"]
)
def test_each_step_follows_on_some_states_alone(name: str, state: str) -> None:
    allowed = {
        "approve": {"assigned"},
        "decline": {"assigned", "approved"},
        "issue": {"approved"},
        "separate": {"covered"},
    }
    step = STEPS[name][1]
    if state in allowed.get(name, {"issued"}):
        assert step(REMEDY._replace(state=state), ANN) is not None
    else:
        assert code(lambda: step(REMEDY._replace(state=state), ANN)) == "wrong_state"


def test_two_pairs_of_eyes() -> None:
    entered = Step(1, "1-1", "entered", "ann", 0, 5_000, "KRW")
    for item in (REMEDY._replace(steps=[entered]), REMEDY._replace(finding="confirmed", finding_by="ann")):
        for name in ("approve", "decline"):
            assert code(lambda item=item, name=name: STEPS[name][1](item, ANN)) == "four_eyes"
            assert STEPS[name][1](item, ANN._replace(staff="bea")) is not None
    assert code(lambda: STEPS["approve"][1](REMEDY, ANN._replace(staff="kim"))) == "at_fault"
    # What ann entered under an assignment that was withdrawn does not bind her now.
    earlier = entered._replace(cause="0-9")
    assert STEPS["approve"][1](REMEDY._replace(steps=[earlier]), ANN) is not None


def test_who_says_that_it_is_another_incident_does_not_decide_it() -> None:
    covered = REMEDY._replace(state="covered")
    assert code(lambda: life.separate(covered, ANN._replace(staff="kim"), NOW)) == "at_fault"
    step = life.separate(covered, ANN, NOW)
    assert step is not None
    apart = REMEDY._replace(steps=[step])
    assert life.separate(apart, ANN, NOW) is None
    for name in ("approve", "decline"):
        assert code(lambda name=name: STEPS[name][1](apart, ANN)) == "four_eyes"
        assert STEPS[name][1](apart, ANN._replace(staff="bea")) is not None


def test_who_has_all_roles_is_still_one_person() -> None:
    everything = Actor("mapo", "ann", frozenset(ALL_ROLES), "민원과")
    item = REMEDY._replace(amount=None, needs=("amount",))
    step = life.enter(item, everything, NOW, 9_000, by_tariff=False)
    assert step is not None
    after = item._replace(amount=9_000, steps=[step])
    assert code(lambda: life.approve(after, everything, NOW, None)) == "four_eyes"


def test_a_repetition_by_the_same_person_is_none_and_by_another_too_late() -> None:
    approved = REMEDY._replace(state="approved", steps=[Step(1, "1-1", "approved", "ann", 0, 5_000, "KRW")])
    assert life.approve(approved, ANN, NOW, None) is None
    assert code(lambda: life.approve(approved, ANN._replace(staff="bea"), NOW, None)) == "wrong_state"


def test_a_tariff_is_taken_at_its_last_word() -> None:
    item = REMEDY._replace(amount=None, needs=("amount",))
    assert code(lambda: life.approve(item, ANN, NOW, (10_000, False))) == "still_late"
    step = life.approve(item, ANN, NOW, (15_000, True))
    assert step is not None
    assert (step.amount, step.currency) == (15_000, "KRW")


@pytest.mark.parametrize("voucher", ["", "ab-1", "A" * 33, "-A", "A B", "홍길동", "A\n", "kim@mail"])
def test_a_vouchers_number_is_a_plain_one(voucher: str) -> None:
    item = REMEDY._replace(state="approved")
    assert code(lambda: life.issue(item, ANN, NOW, "voucher", voucher)) == "voucher_wanted"


def test_every_task_of_every_charter_has_a_kind() -> None:
    named: set[str] = {"compensation", "try_again"}
    for name, document in files.read().items():
        if name.startswith("charters/"):
            rows = yaml.safe_load(document)
            for row in (*rows["promises"], *rows.get("remedies", ()), *rows.get("clauses", ())):
                named |= {*row.get("tasks", ()), *row.get("repeated", {}).get("tasks", ())}
                named |= {desk["task"] for desk in row.get("desks", ())}
    assert named <= set(kinds.known())
    for kind in kinds.known().values():
        assert kind.ko
        assert kind.en
        assert len(set(kind.outcomes)) == len(kind.outcomes)


def test_a_kind_that_nobody_described_reaches_somebody() -> None:
    assert kinds.of("to_harbour_office").lies_with == "harbour_office"
    assert kinds.of("plant_a_tree").lies_with == "department"
    assert kinds.of("plant_a_tree").outcomes == ("done", "not_possible")


def fact(id: str, type: str, /, **data: Any) -> tuple[Fact, dict[str, Any]]:
    return noted.of_event("desk", id, type, NOW, data), data


def after(*facts: tuple[Fact, dict[str, Any]]) -> noted.Noted:
    found: noted.Noted = {}
    for one, data in facts:
        found = noted.evolve(found, one, data, ())
    return found


REPORT = fact("r1", "fault.reported", promise="mapo-visit", ground="late", officer="lee")
CONFIRMED = fact("f1", "fault.confirmed", about="r1", ground="late", officer="lee", by="ann")
DISMISSED = fact("f2", "fault.dismissed", about="mapo-visit", ground="late", by="bea")


def test_a_finding_is_about_a_promise_or_a_report_that_names_it() -> None:
    assert noted.finding(after(CONFIRMED), {"mapo-visit"}) is None
    found = noted.finding(after(REPORT, CONFIRMED), {"mapo-visit"})
    assert found is not None
    assert (found[0], found[1].finding, found[1].by) == ("desk/f1", "confirmed", "ann")
    last = noted.finding(after(REPORT, CONFIRMED, DISMISSED), {"mapo-visit"})
    assert last is not None
    assert last[1].finding == "dismissed"
    assert noted.finding(after(REPORT, CONFIRMED), {"mapo-other"}) is None
    assert noted.finding(after(REPORT, CONFIRMED), set()) is None
    gone = noted.finding(after(REPORT, CONFIRMED, fact("v1", "fact.voided", source="desk", id="r1")), {"mapo-visit"})
    assert gone is not None
    assert gone[1].finding == "confirmed"


def test_a_report_may_name_a_promise_as_the_law_does_where_the_charter_says_it_again() -> None:
    assert charters.names_of("seoul@1", "seoul-statutory-period") == {"seoul-statutory-period", "statutory-period"}
    assert charters.names_of("seoul@1", "statutory-period") == {"statutory-period"}
    assert charters.names_of(None, "mapo-visit") == {"mapo-visit"}
    assert charters.names_of("seoul@1", None) == frozenset()


def test_a_fact_turns_with_all_that_takes_it_back_and_restores_it() -> None:
    void = fact("v1", "fact.voided", source="desk", id="f1")
    unvoid = fact("v2", "fact.voided", source="desk", id="v1")
    other = fact("v3", "fact.voided", source="desk", id="r1")
    assert [
        noted.turns(after(REPORT, CONFIRMED, *more), "desk/f1") for more in ((), (void,), (void, other, unvoid))
    ] == [*(0, 1, 2)]


def test_what_is_taken_back_is_gone_and_comes_back() -> None:
    void = fact("v1", "fact.voided", source="desk", id="f2")
    unvoid = fact("v2", "fact.voided", source="desk", id="v1")
    found = noted.finding(after(REPORT, CONFIRMED, DISMISSED, void), {"mapo-visit"})
    assert found is not None
    assert found[1].finding == "confirmed"
    found = noted.finding(after(REPORT, CONFIRMED, DISMISSED, void, unvoid), {"mapo-visit"})
    assert found is not None
    assert found[1].finding == "dismissed"
    assert after(fact("v3", "fact.voided", source="web", id="nothing")) == {}


def test_who_is_named_and_who_is_cleared() -> None:
    assert noted.named(after(REPORT)) == {"lee"}
    assert noted.named(after(fact("f3", "fault.dismissed", about="x", ground="late", officer="lee"))) == set()
    assert noted.named(after(REPORT, fact("v1", "fact.voided", source="desk", id="r1"))) == set()


def test_who_had_the_case_decides_nothing_and_who_was_named_by_mistake_does() -> None:
    assert noted.at_fault(after(REPORT), "case-1", "kim") == ("kim", "lee")
    assert noted.at_fault(after(REPORT), "_officer-ann", None) == ("ann", "lee")
    void = fact("v1", "fact.voided", source="desk", id="r1")
    assert noted.at_fault(after(REPORT, void), "case-1", "kim") == ("kim",)


def test_data_of_any_event_is_read() -> None:
    known, _ = fact("e1", "complaint.received", kind="inquiry", **{"class": "simple"})
    assert isinstance(known.data, Data)
    assert known.data.class_ == "simple"
