"""Tasks that facts end: which fact ends which task, when it does not, and whose a task is whenever it is worked out."""

from typing import Any

import pytest

from contracts.events import FACTS
from services.chassis.settings import ROOT
from services.notifier import notices
from services.notifier.notices import CaseView, Event, Task, TaskWithdrawal
from services.notifier.tasks import charters, kinds, noted, wanted
from services.notifier.tasks.wanted import Ended
from services.rules import instants, tenants
from services.rules.facts import Data

TENANT = tenants.parse((ROOT / "deploy" / "tenants.yaml").read_bytes())["mapo"]
NINE = "2026-03-11T09:00:00+09:00"
TEN = "2026-03-11T10:00:00+09:00"
ELEVEN = "2026-03-11T11:00:00+09:00"


def fact(id: str, type: str, time: str, /, **data: Any) -> Event:
    return Event(id, "web", type, time, data, tenant="mapo", case="c1")


def folded(*facts: Event) -> CaseView:
    """The case after facts at the places 1, 2, 3 ... of CASES."""
    view = CaseView()
    for sequence, one in enumerate(facts, 1):
        view = wanted.evolve(view, notices.evolve(view, one), one, sequence)
    return view


def ended(view: CaseView, task: str, brought_by: str | None = None, since: str = TEN) -> tuple[str, str] | None:
    return noted.ending(view.noted, task, brought_by, instants.instant(since))


GUARDIAN = fact("e1", "guardian.assigned", ELEVEN, officer="lee")


def test_every_fact_that_ends_a_task_is_one_of_the_contract_and_the_end_one_that_people_may_choose() -> None:
    found = [(task, one) for task, kind in kinds.known().items() for one in kind.ended_by]
    assert len(found) > 20
    for task, one in found:
        assert one.fact in FACTS
        assert one.outcome in kinds.of(task).outcomes
        assert set(one.where) <= set(Data.__struct_fields__)


@pytest.mark.parametrize(
    ("task", "type", "data", "outcome"),
    [
        ("guardian", "guardian.assigned", {"officer": "lee"}, "done"),
        ("head_explains", "delay.explained", {"by_head": True}, "explained"),
        ("head_explains", "delay.explained", {}, None),
        ("try_again", "callback.made", {"by": "kim", "reached": True}, "reached"),
        ("try_again", "callback.made", {"by": "kim", "reached": False}, None),
        ("to_audit", "complaint.assigned", {"department": "감사담당관"}, "taken"),
        ("to_audit", "complaint.transferred", {"to_department": "감사담당관"}, "handed_on"),
        ("to_audit", "complaint.classified", {"class": "simple"}, None),
        ("caution", "guardian.assigned", {"officer": "lee"}, None),
    ],
)
def test_a_fact_ends_the_task_that_asked_for_it(
    task: str, type: str, data: dict[str, Any], outcome: str | None
) -> None:
    found = ended(folded(fact("e1", type, ELEVEN, **data)), task)
    assert found == (None if outcome is None else ("web/e1", outcome))


def test_what_happened_before_the_task_was_wanted_does_not_end_it() -> None:
    view = folded(GUARDIAN)
    assert ended(view, "guardian", since="2026-03-11T10:59:59+09:00") == ("web/e1", "done")
    assert ended(view, "guardian", since=ELEVEN) is None


def test_what_is_taken_back_ends_nothing_and_what_follows_it_does() -> None:
    void = fact("v1", "fact.voided", ELEVEN, source="web", id="e1")
    again = fact("e2", "guardian.assigned", ELEVEN, officer="han")
    assert ended(folded(GUARDIAN, void), "guardian") is None
    assert ended(folded(GUARDIAN, void, again), "guardian") == ("web/e2", "done")
    assert ended(folded(GUARDIAN, void, fact("v2", "fact.voided", ELEVEN, source="web", id="v1")), "guardian") == (
        "web/e1",
        "done",
    )


def test_what_a_report_brought_is_ended_by_the_finding_about_it_alone() -> None:
    """Miryang's desk for courtesy takes reports and petitions: that the petition got an officer says nothing of the
    report."""

    def of_miryang(*facts: Event) -> CaseView:
        view = CaseView()
        for one in facts:
            known = noted.of_event(one.source, one.id, one.type, instants.instant(one.time), one.data)
            tasks = kinds.ended_by(one.type, one.data, charters.tasks("miryang"))
            view = CaseView(noted=dict(noted.evolve(view.noted, known, one.data, (), tasks)))
        return view

    report = fact("r1", "fault.reported", NINE, ground="unkind", officer="kim")
    assigned = fact("e1", "complaint.assigned", ELEVEN, department="행정과")
    other = fact("f1", "fault.dismissed", ELEVEN, about="r2", ground="unkind", reason="x")
    found = fact("f2", "fault.confirmed", ELEVEN, about="r1", ground="unkind")
    assert ended(of_miryang(report, assigned, other), "to_administration", "web/r1") is None
    assert ended(of_miryang(report, assigned, found), "to_administration", "web/r1") == ("web/f2", "taken")
    assert ended(of_miryang(report, found), "to_administration", "web/c1") is None
    assert ended(of_miryang(report, found, assigned), "to_administration", "web/c1") == ("web/e1", "taken")


def test_a_city_notes_nothing_of_tasks_that_it_never_wants() -> None:
    assert kinds.ended_by("guardian.assigned", {"officer": "lee"}, charters.tasks("yeonje")) == {}
    assert charters.tasks("nowhere") == {"try_again"}
    assert charters.tasks("mapo") >= {"guardian", "head_explains", "action_plan", "personnel_measure", "post_document"}


def decision(type: str, sequence: int, /, **data: Any) -> Event:
    return Event("5-1", "gihan/sla_timer", type, ELEVEN, data, tenant="mapo", case="c1", cause_sequence=sequence)


def test_a_duty_that_is_kept_is_done_and_one_that_fell_away_is_not() -> None:
    """The same decision, brought by the survey, by the taking back of what had begun it, or by time."""
    view = folded(fact("e1", "survey.conducted", ELEVEN, where=["homepage"], year=2026))
    duty = {"task": "hold_survey", "promise": "mapo-survey", "occurrence": "2026 survey.conducted"}
    withdrawal = TaskWithdrawal("k", {"source": "gihan/sla_timer", "id": "5-1"})
    for cause, expected in (
        ({"source": "web", "id": "e1"}, Ended("k", "web/e1", "done")),
        ({"source": "web", "id": "e2"}, withdrawal),
        (None, withdrawal),
    ):
        told = decision("task.withdrawn", 1, **duty, **({"cause": cause} if cause else {}))
        assert list(wanted.of_decision(told, [withdrawal], view, TENANT)) == [expected]
    of_another = decision("task.withdrawn", 1, task="publish_survey", cause={"source": "web", "id": "e1"})
    assert list(wanted.of_decision(of_another, [withdrawal], view, TENANT)) == [withdrawal]


def test_of_a_duty_that_wants_several_things_the_last_ends_every_task() -> None:
    """Miryang publishes the result and the assessment; the duty is kept with the later of them."""
    view = CaseView(noted={"web/e2": noted.Entry(at=0, ends={"publish_assessment": "done"})})
    withdrawal = TaskWithdrawal("k", {"source": "gihan/sla_timer", "id": "5-1"})
    cause = {"source": "web", "id": "e2"}
    told = {"promise": "miryang-survey-publish", "charter": "miryang@1", "task": "publish_survey", "cause": cause}
    expected = [Ended("k", "web/e2", "done")]
    assert list(wanted.of_decision(decision("task.withdrawn", 1, **told), [withdrawal], view, TENANT)) == expected
    elsewhere = decision("task.withdrawn", 1, **told | {"promise": "miryang-survey"})
    assert list(wanted.of_decision(elsewhere, [withdrawal], view, TENANT)) == [withdrawal]


def test_duties_say_themselves_when_they_are_done() -> None:
    assert charters.of_duty("mapo@1", "mapo-survey") == {"hold_survey"}
    assert charters.of_duty("miryang@1", "miryang-survey-publish") == {"publish_survey", "publish_assessment"}
    assert charters.of_duty("mapo@1", "mapo-late-explained") == frozenset()
    assert charters.of_duty("mapo@1", None) == frozenset()
    assert charters.of_duty(None, "mapo-survey") == frozenset()


def test_every_task_of_a_duty_has_the_date_of_the_duty_and_a_fact_that_ends_it() -> None:
    """Survey, publication of result and assessment, plan and booklet, as far as the documents give them dates."""
    duties = {
        promise.id: charters.of_duty(label, promise.id)
        for label in ("seoul@1", "anseong@1", "mapo@1", "yeonje@1", "miryang@1")
        if (charter := charters.named(label)) is not None
        for promise in charter.promises.values()
        if promise.kind == "duty"
    }
    assert duties == {
        "seoul-survey": {"hold_survey"},
        "anseong-survey": {"hold_survey", "publish_survey"},
        "anseong-booklet": {"publish_booklet"},
        "mapo-survey": {"hold_survey"},
        "mapo-survey-action": {"action_plan"},
        "yeonje-survey": {"hold_survey"},
        "yeonje-survey-publish": {"publish_survey"},
        "miryang-survey": {"hold_survey"},
        "miryang-survey-publish": {"publish_survey", "publish_assessment"},
    }
    for task in frozenset().union(*duties.values()):
        assert kinds.of(task).due == "promise"
        assert kinds.of(task).ended_by


FACTS_OF_A_CASE = (
    fact("e1", "complaint.received", NINE, kind="grievance", channel="web"),
    fact("e2", "complaint.assigned", TEN, department="건축과", officer="kim"),
    fact("e3", "complaint.progress_notified", TEN, by="sms"),
    fact("e4", "complaint.transferred", ELEVEN, to_department="세무과"),
    fact("e5", "complaint.assigned", ELEVEN, department="세무과", officer="lee"),
)


@pytest.mark.parametrize(
    ("cause", "holds"),
    [
        (1, (None, None)),
        (2, ("건축과", "kim")),
        (3, ("건축과", "kim")),
        (4, ("세무과", None)),
        (5, ("세무과", "lee")),
        (9, ("세무과", "lee")),
    ],
)
def test_a_task_is_of_whoever_had_the_case_at_its_cause_however_far_the_facts_are_folded(
    cause: int, holds: tuple[str | None, str | None]
) -> None:
    """The decision as it is first folded, right behind its cause, and after all that came since."""
    told = decision(
        "task.created", cause, task="apology", promise="mapo-handover", occurrence="web/e1", charter="mapo@1"
    )
    tasks = []
    for upto in range(min(cause, 5), 6):
        view = wanted.as_of(folded(*FACTS_OF_A_CASE[:upto]), told.cause_sequence)
        tasks += [one for one in notices.of_decision(told, b"", view, TENANT) if isinstance(one, Task)]
    assert [(one.department, one.officer) for one in tasks] == [holds] * (6 - min(cause, 5))
    assert len({(one.key, one.at_fault) for one in tasks}) == 1
