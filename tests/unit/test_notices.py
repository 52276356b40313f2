"""What facts and decisions bring for delivery."""

from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import yaml

from contracts import files
from services.notifier import notices
from services.notifier.fold import _in_turn
from services.notifier.notices import (
    CaseView,
    Consequence,
    Event,
    Notice,
    Retraction,
    TaskWithdrawal,
    Telling,
)
from services.notifier.tasks import kinds
from services.rules.instants import instant
from services.rules.tenants import Messages, Source, Tenant

CITY = Tenant(
    id="anseong",
    name_ko="안성시",
    name_en="Anseong",
    zone=ZoneInfo("Asia/Seoul"),
    calendar="kr",
    administrator="administration",
    sources={"web": Source(), "documents": Source(reports_within_seconds=3_600)},
)
DUE = "2026-03-12T18:00:00+09:00"
KNOWN = CaseView(owner="web", subject_ref="s1", has_mobile=True, officer="kim")


def fact(type: str, data: dict[str, Any] | None = None, **more: Any) -> Event:
    return Event(
        id=more.pop("id", "e1"),
        source=more.pop("source", "web"),
        type=type,
        time="2026-03-10T09:00:00+09:00",
        data=data or {},
        tenant="anseong",
        case="c1",
        **more,
    )


def decision(type: str, id: str = "7-1", **data: Any) -> Event:
    return Event(
        id=id,
        source="gihan/sla_timer",
        type=type,
        time=DUE,
        data=data,
        tenant="anseong",
        case="c1",
        cause_sequence=9,
    )


def of_decision(event: Event, view: CaseView = KNOWN) -> list[Consequence]:
    found = notices.of_decision(event, b"{}", view, CITY)
    return [one for one in found if not (isinstance(one, Telling) and one.subject.startswith("feed."))]


def only(found: list[Consequence]) -> Any:
    assert len(found) == 1
    return found[0]


RUN = {"promise": "anseong-inquiry", "occurrence": "e1", "due": DUE}


def test_an_opening_makes_the_case_known() -> None:
    received = fact(
        "complaint.received",
        {
            "kind": "inquiry",
            "subject_ref": "s1",
            "has_mobile": True,
            "has_email": False,
            "notify_by": "sms",
            "language": "en",
        },
    )
    view = notices.evolve(CaseView(), received)
    assert view == CaseView(
        owner="web",
        opened_by="complaint.received",
        kind="inquiry",
        subject_ref="s1",
        notify_by="sms",
        language="en",
        has_mobile=True,
    )
    receipt = only(notices.of_fact(received, view, CITY))
    assert (receipt.template, receipt.audience, receipt.hold_until) == ("receipt", "citizen", None)


def test_the_newest_wishes_and_the_newest_officer_count() -> None:
    view = notices.evolve(
        KNOWN, fact("applicant.updated", {"has_mobile": False, "has_email": True, "notify_by": "email"})
    )
    view = notices.evolve(view, fact("complaint.assigned", {"department": "토지민원과", "officer": "lee"}))
    assert (view.has_mobile, view.has_email, view.notify_by) == (False, True, "email")
    assert (view.department, view.officer, view.owner) == ("토지민원과", "lee", "web")


@pytest.mark.parametrize(
    ("type", "data", "template", "arguments"),
    [
        ("complaint.completed", {"outcome": "granted", "by": "kim"}, "result", {"outcome": "granted"}),
        (
            "complaint.rejected",
            {"law": "건축법 제11조", "reason_ref": "t1", "remedies_ref": "t2"},
            "rejection",
            {"law": "건축법 제11조", "reason_ref": "t1", "remedies_ref": "t2"},
        ),
        ("complaint.assigned", {"department": "d", "officer": "kim"}, "progress", {"state": "assigned"}),
        ("complaint.withdrawn", {}, "progress", {"state": "withdrawn"}),
        (
            "complaint.supplement_requested",
            {"respond_by": "2026-03-20", "dispatched_at": DUE},
            "supplement",
            {"respond_by": instant("2026-03-21T00:00:00+09:00")},
        ),
    ],
)
def test_facts_that_the_citizen_is_told_of(
    type: str, data: dict[str, Any], template: str, arguments: dict[str, Any]
) -> None:
    notice = only(notices.of_fact(fact(type, data), KNOWN, CITY))
    assert (notice.template, notice.arguments) == (template, arguments)


def test_only_a_statutory_refusal_opens_the_objection_of_sixty_days() -> None:
    statutory = msgspec.structs.replace(KNOWN, kind="statutory")
    assert only(notices.of_fact(fact("complaint.rejected"), statutory, CITY)).arguments == {"objection_days": 60}


@pytest.mark.parametrize("type", ["complaint.progress_notified", "complaint.extended", "call.ended"])
def test_facts_that_say_nothing_new_to_the_citizen(type: str) -> None:
    assert notices.of_fact(fact(type), KNOWN, CITY) == []


def test_nobody_is_told_of_imported_facts_or_of_cases_without_a_person() -> None:
    assert notices.of_fact(fact("complaint.received", imported=True), KNOWN, CITY) == []
    assert notices.of_fact(fact("complaint.received"), CaseView(owner="web"), CITY) == []
    staff = of_decision(decision("deadline.breached", **RUN), CaseView(owner="web"))
    assert [one.audience for one in staff] == ["officer", "officer"]


def test_keys_are_stable_opaque_and_different() -> None:
    first = only(notices.of_fact(fact("complaint.received"), KNOWN, CITY))
    again = only(notices.of_fact(fact("complaint.received"), KNOWN, CITY))
    other = only(notices.of_fact(fact("complaint.received", id="e2"), KNOWN, CITY))
    assert first.key == again.key != other.key
    assert len(first.key) == 32
    assert set(first.key) <= set("0123456789abcdef")


def test_an_extension_is_told_once_with_its_new_date() -> None:
    told = {"ground": "fact_check", "reason_ref": "t1", "amount": 3, "unit": "days"}
    extended = fact("complaint.extended", told, id="x1")
    view = notices.evolve(KNOWN, extended)
    cause = {"source": "web", "id": "x1"}
    law = only(of_decision(decision("deadline.moved", **RUN, cause=cause), view))
    charter = only(of_decision(decision("deadline.moved", id="7-2", **RUN | {"promise": "mapo"}, cause=cause), view))
    assert law.arguments == {"due": instant(DUE), "ground": "fact_check", "length": "3 days", "reason_ref": "t1"}
    assert law.key == charter.key
    assert of_decision(decision("deadline.moved", **RUN, cause={"source": "web", "id": "holiday"}), view) == []


def test_a_warning_goes_to_the_officer() -> None:
    notice = only(of_decision(decision("deadline.warned", **RUN)))
    assert (notice.audience, notice.rung) == ("officer", "officer")
    assert notice.arguments == {"promise": "anseong-inquiry", "due": instant(DUE)}


def test_a_breach_is_held_for_the_slowest_source_and_goes_up_the_ladder() -> None:
    citizen, head, audit = of_decision(decision("deadline.breached", **RUN))
    held = instant("2026-03-12T19:00:00+09:00")
    assert (citizen.template, citizen.audience, citizen.hold_until) == ("breach", "citizen", held)
    assert (head.template, head.rung, head.hold_until, head.after_hours) == ("escalation", "head", held, 0)
    assert (audit.template, audit.rung, audit.hold_until, audit.after_hours) == (
        "escalation_unanswered",
        "audit",
        held,
        8,
    )
    assert len({citizen.key, head.key, audit.key}) == len({citizen.topic, head.topic, audit.topic}) == 3


def test_heads_never_hear_of_a_case_that_may_complain_of_them() -> None:
    for kind in ("corruption_report", "service_grievance"):
        view = msgspec.structs.replace(KNOWN, kind=kind)
        found = of_decision(decision("deadline.breached", **RUN), view)
        assert [(one.template, one.rung) for one in found] == [("breach", None), ("escalation", "audit")]


MEASURED = {"promise": "anseong-phone-rings", "occurrence": "call-centre/e1"}


def test_a_broken_measure_is_told_to_the_head_once_and_to_no_citizen() -> None:
    """It is over when it is judged: nothing about it stays open, so audit hears of it only in the head's place."""
    told = only(of_decision(decision("measure.breached", **MEASURED)))
    assert (told.template, told.audience, told.rung) == ("escalation_measure", "officer", "head")
    assert told.arguments == {"promise": "anseong-phone-rings", "at": instant(DUE)}
    assert (told.hold_until, told.after_hours) == (None, 0)
    sealed = msgspec.structs.replace(KNOWN, kind="service_grievance")
    assert only(of_decision(decision("measure.breached", **MEASURED), sealed)).rung == "audit"


def test_a_broken_measure_that_is_none_is_taken_back_from_whom_it_was_told() -> None:
    told = only(of_decision(decision("measure.breached", **MEASURED)))
    retraction = only(of_decision(decision("measure.retracted", id="7-2", **MEASURED)))
    assert (retraction.topic, retraction.outcome) == (told.topic, "retracted")
    correction = retraction.correction
    assert (correction.template, correction.rung) == ("escalation_measure_withdrawn", "head")


def test_a_head_is_not_told_either_that_a_grievance_was_dealt_with_in_time_after_all() -> None:
    sealed = msgspec.structs.replace(KNOWN, kind="grievance")
    retractions = of_decision(decision("breach.retracted", id="7-2", **RUN), sealed)
    assert [one.correction.rung for one in retractions] == [None, "audit", "audit"]


def test_what_one_fact_takes_back_is_told_as_one() -> None:
    correction = of_decision(decision("breach.retracted", id="7-2", **RUN))[0].correction
    other = of_decision(decision("breach.retracted", id="7-3", **RUN | {"promise": "anseong-direction"}))[0].correction
    withdrawn = of_decision(decision("remedy.withdrawn", id="7-4", **REMEDY))[1].correction
    assert correction.bundle == other.bundle == withdrawn.bundle
    assert correction.hold_until == withdrawn.hold_until == instant(DUE)
    breach = of_decision(decision("deadline.breached", **RUN))[0]
    assert correction.bundle != breach.bundle


def test_where_nobody_waits_for_audit_only_the_head_is_told() -> None:
    city = msgspec.structs.replace(CITY, messages=Messages(audit_after_hours=None))
    found = notices.of_decision(decision("deadline.breached", **RUN), b"{}", KNOWN, city)
    assert [one.template for one in found if isinstance(one, Notice)] == ["breach", "escalation"]


def test_what_is_kept_late_is_not_told_to_audit_any_more() -> None:
    audit = of_decision(decision("deadline.breached", **RUN))[2]
    retraction = only(of_decision(decision("deadline.met", id="7-2", **RUN)))
    assert (retraction.topic, retraction.outcome, retraction.correction) == (audit.topic, "answered", None)


def test_what_one_event_breaks_is_told_as_one() -> None:
    breach = of_decision(decision("deadline.breached", **RUN))[0]
    other = of_decision(decision("deadline.breached", id="7-2", **RUN | {"promise": "anseong-direction"}))[0]
    remedy = only(of_decision(decision("remedy.proposed", id="7-3", **REMEDY, amount=10_000)))
    assert breach.bundle == other.bundle == remedy.notice.bundle
    later = msgspec.structs.replace(decision("deadline.breached", id="7-4", **RUN), cause_sequence=10)
    assert of_decision(later)[0].bundle != breach.bundle


def test_a_retraction_names_the_topic_of_the_breach() -> None:
    told = of_decision(decision("deadline.breached", **RUN))
    retractions = of_decision(decision("breach.retracted", id="7-2", **RUN))
    assert [one.topic for one in retractions] == [one.topic for one in told]
    corrections = [(one.correction.template, one.correction.rung) for one in retractions]
    assert corrections == [("correction", None), ("escalation_withdrawn", "head"), ("escalation_withdrawn", "audit")]
    assert len({one.correction.key for one in retractions}) == 3
    assert not {one.correction.topic for one in retractions} & {one.topic for one in told}


REMEDY = {"remedy": "anseong-remedy-standard", "incident": "i1", "key": "anseong|c1|i1|anseong-remedy-standard"}


def test_a_remedy_brings_a_task_and_word_of_it() -> None:
    task = only(of_decision(decision("remedy.proposed", **REMEDY, due=DUE, amount=10_000, currency="KRW")))
    assert (task.task, task.amount, task.needs, task.officer) == ("compensation", 10_000, (), "kim")
    assert (task.notice.template, task.notice.arguments) == ("compensation", {"amount": [10_000, "KRW"]})
    assert task.hold_until == task.notice.hold_until == instant("2026-03-12T19:00:00+09:00")


def test_nothing_is_promised_while_a_finding_or_an_amount_is_wanted() -> None:
    finding = only(of_decision(decision("remedy.proposed", **REMEDY, amount=5_000, needs=["finding"])))
    amount = only(of_decision(decision("remedy.proposed", **REMEDY, needs=["amount"])))
    assert (finding.needs, amount.needs) == (("finding",), ("amount",))
    assert finding.notice is amount.notice is None
    assert finding.key == amount.key
    assert finding.hold_until is None


def test_a_withdrawn_remedy_names_the_same_task_and_topic() -> None:
    task = only(of_decision(decision("remedy.proposed", **REMEDY, amount=10_000)))
    withdrawal, retraction = of_decision(decision("remedy.withdrawn", id="7-3", **REMEDY))
    assert isinstance(withdrawal, TaskWithdrawal)
    assert isinstance(retraction, Retraction)
    assert (withdrawal.key, retraction.topic) == (task.key, task.notice.topic)


def test_tasks_of_one_breach_are_told_apart_and_withdrawn_by_the_same_name() -> None:
    caution = only(of_decision(decision("task.created", **RUN, task="caution")))
    apology = only(of_decision(decision("task.created", **RUN, task="apology")))
    gone = only(of_decision(decision("task.withdrawn", id="7-9", **RUN, task="caution")))
    assert caution.key != apology.key
    assert gone.key == caution.key


def test_a_publisher_hears_what_the_law_refused_later() -> None:
    about = {"source": "documents", "id": "e5"}
    telling = only(of_decision(decision("event.refused", about=about, code="third_extension")))
    assert telling.subject == "receipts.anseong.documents"
    body = msgspec.json.decode(telling.body)
    assert (body["status"], body["source"], body["id"], body["code"]) == (
        "refused",
        "documents",
        "e5",
        "third_extension",
    )


def test_the_owner_of_a_case_is_fed_every_decision_as_it_stands_in_the_log() -> None:
    found = notices.of_decision(decision("deadline.started", **RUN), b'{"as":"stored"}', KNOWN, CITY)
    assert found == [Telling("7-1", "feed.anseong.web", b'{"as":"stored"}')]
    assert notices.of_decision(decision("deadline.started", **RUN), b"{}", CaseView(), CITY) == []


@pytest.mark.parametrize(
    ("type", "data"),
    [
        (
            "remedy.proposed",
            REMEDY | {"key": "remedy:anseong-remedy-standard:fault:desk/f1", "incident": "fault:desk/f1"},
        ),
        ("task.created", RUN | {"task": "caution", "cause": {"source": "desk", "id": "f1"}}),
        ("deadline.started", RUN | {"occurrence": "desk/f1"}),
        ("event.refused", {"about": {"source": "desk", "id": "f1"}, "code": "unknown_fault"}),
        ("task.withdrawn", RUN | {"task": "caution", "cause": {"source": "desk", "id": "v1"}}),
    ],
)
def test_the_feed_of_a_system_tells_of_no_fault_that_another_one_reported(type: str, data: dict[str, Any]) -> None:
    reported = fact("fault.reported", {"ground": "unkind", "officer": "kim"}, source="desk", id="f1")
    taken_back = fact("fact.voided", {"source": "desk", "id": "f1", "code": "typing_error"}, source="desk", id="v1")
    view = notices.evolve(notices.evolve(KNOWN, reported), taken_back)
    told = [one for one in notices.of_decision(decision(type, **data), b"{}", view, CITY) if isinstance(one, Telling)]
    assert [one.subject for one in told if one.subject.startswith("feed.")] == []
    # Where the owner reported the fault itself, it hears what came of it.
    own = CaseView(owner="desk", subject_ref="s1")
    for event in (reported, taken_back):
        own = notices.evolve(own, event)
    told = [one for one in notices.of_decision(decision(type, **data), b"{}", own, CITY) if isinstance(one, Telling)]
    assert "feed.anseong.desk" in [one.subject for one in told]


def test_a_hidden_fault_hides_nothing_else_from_the_feed() -> None:
    view = notices.evolve(KNOWN, fact("fault.reported", {"ground": "unkind"}, source="desk", id="f1"))
    told = notices.of_decision(decision("deadline.met", **RUN), b"{}", view, CITY)
    assert told[0] == Telling("7-1", "feed.anseong.web", b"{}")


def test_a_voided_fact_takes_its_messages_back() -> None:
    voided = fact("fact.voided", {"source": "web", "id": "e1", "code": "typing_error"}, id="v1")
    retraction = only(notices.of_fact(voided, KNOWN, CITY))
    assert retraction.topic == only(notices.of_fact(fact("complaint.received"), KNOWN, CITY)).topic
    assert retraction.correction.template == "fact_voided"


LIVE = instant(DUE)
"""The city goes live at the very instant at which the decision of these tests was due."""


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("deadline.breached", RUN),
        ("remedy.proposed", REMEDY | RUN | {"amount": 10_000, "currency": "KRW"}),
        ("task.created", RUN | {"task": "apology"}),
        ("deadline.warned", RUN),
    ],
)
def test_what_was_over_before_the_city_was_live_is_shown_and_brings_nothing(type: str, data: dict[str, Any]) -> None:
    event = decision(type, **data)
    before = notices.of_decision(event, b"{}", KNOWN, CITY, LIVE + 1)
    assert [one.subject for one in before if isinstance(one, Telling)] == ["feed.anseong.web"]
    assert len(before) == 1
    assert len(notices.of_decision(event, b"{}", KNOWN, CITY, LIVE)) > 1


def test_an_extension_from_before_is_not_told_with_the_date_that_moves_later() -> None:
    extended = {"ground": "fact_check", "amount": 3, "unit": "days"}
    for imported, known in ((True, {}), (False, {"fact|web|e1"})):
        view = notices.evolve(KNOWN, fact("complaint.extended", extended, imported=imported))
        assert set(view.extensions) == set(known)


# What goes out because a clause says so


def asked_for(code: str, view: CaseView, cause: Event) -> list[Consequence]:
    about = {"source": cause.source, "id": cause.id}
    return of_decision(decision("notice.requested", promise="clause", occurrence="o", code=code, cause=about), view)


def test_a_result_wanted_by_text_goes_by_text_to_whoever_chose_mail() -> None:
    completed = fact("complaint.completed", {"outcome": "partly", "by": "kim"}, id="r1")
    by_mail = msgspec.structs.replace(KNOWN, notify_by="email", has_email=True)
    text = only(asked_for("result_sms", notices.evolve(by_mail, completed), completed))
    first = only(notices.of_fact(completed, by_mail, CITY))
    assert (text.template, text.arguments, text.only_by) == ("result", {"outcome": "partly"}, "sms")
    assert (text.topic, text.key != first.key) == (first.topic, True)

    for chosen in ("sms", None, "none"):
        view = msgspec.structs.replace(KNOWN, notify_by=chosen)
        assert asked_for("result_sms", notices.evolve(view, completed), completed) == []
    without = msgspec.structs.replace(by_mail, has_mobile=False)
    assert asked_for("result_sms", notices.evolve(without, completed), completed) == []


def test_a_home_visit_is_told_with_the_name_of_who_came() -> None:
    visited = fact("visit.home_visited", {"officer": "lee"}, id="h1")
    again = fact("visit.home_visited", {"officer": "choi"}, id="h2")
    view = notices.evolve(notices.evolve(KNOWN, visited), again)
    notice = only(asked_for("home_visit", view, visited))
    assert (notice.template, notice.arguments) == ("home_visit", {"visitor": "lee"})
    assert view.officer == "kim"


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ({"has_name": True, "has_address": False, "has_mobile": True}, ["address"]),
        ({"has_name": False, "has_address": False, "has_email": True}, ["name", "address"]),
        ({"has_name": True, "has_address": True, "has_phone": False, "has_mobile": False}, ["contact"]),
        ({"has_name": True, "has_address": True, "has_phone": True}, None),
    ],
)
def test_only_what_is_missing_is_asked_for(known: dict[str, bool], asked: list[str] | None) -> None:
    received = fact("complaint.received", {"kind": "inquiry", "subject_ref": "s1", **known})
    found = asked_for("details_missing", notices.evolve(CaseView(), received), received)
    assert [one.arguments for one in found if isinstance(one, Notice)] == ([{"asked": asked}] if asked else [])


def test_a_charter_asks_for_no_message_that_nobody_writes() -> None:
    charters = {name: content for name, content in files.read().items() if name.startswith("charters/")}
    codes = {
        clause["notice"]
        for content in charters.values()
        for clause in yaml.safe_load(content).get("clauses") or ()
        if clause.get("notice")
    }
    assert codes == notices.SAID_ANYWAY | notices.ASKED_FOR


def test_a_case_is_over_until_it_is_opened_again() -> None:
    for end in ("completed", "rejected", "returned", "withdrawn", "closed_without_answer"):
        view = notices.evolve(KNOWN, fact(f"complaint.{end}", {"outcome": "answered"}))
        assert view.ended, end
        assert not notices.evolve(view, fact("complaint.reopened")).ended


def test_a_task_ahead_of_its_date_waits_for_no_report() -> None:
    """The survey of the year, from October on; it is due when the duty is, and lies with the administration."""
    due = "2027-01-01T00:00:00+09:00"
    event = decision("task.created", task="hold_survey", promise="anseong-survey", occurrence="2026 survey", due=due)
    task = only(of_decision(event, CaseView(owner="administration")))
    assert task.hold_until is None
    late = msgspec.structs.replace(event, time=due)
    assert only(of_decision(late, CaseView(owner="administration"))).hold_until == instant("2027-01-01T01:00:00+09:00")
    assert task.broken_at == instant(due)
    assert (kinds.of("hold_survey").lies_with, kinds.of("hold_survey").due) == ("administration", "promise")


def test_what_one_step_takes_back_comes_before_what_it_brings_and_nothing_else_moves() -> None:
    def said(*rows: tuple[str, str, int]) -> list[str]:
        events = [
            (
                Event(f"{key}{type[:4]}", "s", type, "2026-03-12T18:00:00+09:00", {"key": key}, "anseong", "c1", cause),
                b"",
            )
            for type, key, cause in rows
        ]
        return [event.id for event, _ in _in_turn(events)]

    proposed, withdrawn, created = "remedy.proposed", "remedy.withdrawn", "task.created"
    renamed = [(created, "t", 1), (proposed, "b", 1), ("breach.retracted", "x", 1), (withdrawn, "a", 1)]
    assert said(*renamed) == ["xbrea", "areme", "breme", "ttask"]
    assert said((proposed, "b", 1), (withdrawn, "a", 2)) == ["breme", "areme"]
    assert said((created, "t", 1), (proposed, "b", 1), (withdrawn, "b", 1)) == ["ttask", "breme", "breme"]
