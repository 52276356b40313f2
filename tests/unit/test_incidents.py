"""Incidents: a citizen is paid once for what went wrong, whatever is found, broken and retracted in between."""

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st
from stories import REPLY, at, event, lines, play, received, voided
from test_fold_properties import SHORT, START, told

from services.cli.accounts import Said, Step, settled
from services.rules.facts import Data, Event, Fact, Memo, Period
from services.rules.instants import HOUR
from services.rules.state import Decision

MONEY = ("remedy.proposed", "remedy.withdrawn")


def reported(when: str, promise: str, ground: str = "standard", id: str = "r1", **more: Any) -> Event:
    return event("fault.reported", when, id=id, ground=ground, promise=promise, **more)


def confirmed(when: str, about: str = "r1", ground: str = "standard", **more: Any) -> Event:
    return event("fault.confirmed", when, ground=ground, about=about, **more)


def callback(when: str, via: str = "visit", **more: Any) -> Event:
    return event("callback.requested", when, via=via, **REPLY, **more)


def called(when: str, **more: Any) -> Event:
    return event("callback.made", when, reached=True, by="kim", **more)


def test_a_finding_is_the_incident_of_its_promise_when_the_breach_is_retracted() -> None:
    """Called at 10:30, which is known at 15:00: by then 10,000 won are proposed, for one incident."""
    found = play(
        callback("11-02 10:00"),
        reported("11-02 12:00", "anseong-visit-callback"),
        confirmed("11-02 13:00"),
        called("11-02 10:30", recorded="11-02 15:00"),
        until="11-03 10:00",
    )
    assert lines(found, *MONEY, "breach.retracted") == [
        "11-02 11:00 remedy.proposed anseong-visit-callback anseong-remedy-standard due 11-02 11:00 10000",
        "11-02 10:30 breach.retracted anseong-visit-callback due 11-02 11:00",
    ]


def test_without_a_finding_the_retraction_takes_the_remedy_back() -> None:
    found = play(callback("11-02 10:00"), called("11-02 10:30", recorded="11-02 15:00"))
    assert lines(found, *MONEY) == [
        "11-02 11:00 remedy.proposed anseong-visit-callback anseong-remedy-standard due 11-02 11:00 10000",
        "11-02 10:30 remedy.withdrawn anseong-visit-callback anseong-remedy-standard due 11-02 11:00 10000",
    ]


def test_a_finding_that_is_taken_back_after_the_retraction_takes_the_remedy_with_it() -> None:
    wrong = confirmed("11-02 13:00")
    found = play(
        callback("11-02 10:00"),
        reported("11-02 12:00", "anseong-visit-callback"),
        wrong,
        called("11-02 10:30", recorded="11-02 15:00"),
        voided("11-02 16:00", wrong),
    )
    assert [line.split()[2] for line in lines(found, *MONEY)] == ["remedy.proposed", "remedy.withdrawn"]
    assert lines(found, "remedy.withdrawn")[0].startswith("11-02 16:00")


def test_a_breach_that_comes_after_the_finding_is_no_second_incident() -> None:
    found = play(
        callback("11-02 10:00"),
        reported("11-02 10:10", "anseong-visit-callback"),
        confirmed("11-02 10:20"),
        until="11-03 10:00",
    )
    assert lines(found, *MONEY, "deadline.breached") == [
        "11-02 10:20 remedy.proposed anseong-remedy-standard 10000",
        "11-02 11:00 deadline.breached anseong-visit-callback due 11-02 11:00",
    ]


def test_where_an_incident_is_a_run_the_finding_keeps_the_run_that_it_was_about() -> None:
    """A grievance of seven days from 2 November is late from the 11th on; that it was answered on the 9th is known on
    the 12th. The finding of lateness stands, and is paid for once."""
    found = play(
        received(tenant="seoul"),
        reported("11-11 10:00", "seoul-statutory-period", "late", tenant="seoul"),
        confirmed("11-11 11:00", ground="late", tenant="seoul"),
        event(
            "complaint.completed", "11-09 10:00", tenant="seoul", recorded="11-12 10:00", outcome="answered", by="kim"
        ),
        until="11-13 10:00",
    )
    assert lines(found, *MONEY) == [
        "11-11 00:00 remedy.proposed seoul-statutory-period seoul-remedy-money due 11-11 00:00 5000 finding",
    ]


def test_a_fault_that_alone_is_paid_for_stays_what_it_was_as_well() -> None:
    """Mapo's redress follows from no breach: said of the hand-over, which was late by the record and then not."""
    found = play(
        received(tenant="mapo", channel="web"),
        reported("11-02 12:00", "mapo-handover", "error", tenant="mapo"),
        confirmed("11-02 13:00", ground="error", tenant="mapo"),
        event(
            *("complaint.assigned", "11-02 10:30"),
            **{"tenant": "mapo", "recorded": "11-02 15:00", "department": "민원과", "officer": "kim"},
        ),
        until="11-03 10:00",
    )
    assert lines(found, "remedy.proposed", "remedy.withdrawn", "breach.retracted") == [
        "11-02 13:00 remedy.proposed mapo-redress amount",
        "11-02 10:30 breach.retracted mapo-handover due 11-02 11:00",
    ]


@pytest.mark.parametrize(("said", "incident"), [("11-02 10:30", "first"), ("11-02 11:30", "second")])
def test_of_several_runs_of_which_none_is_broken_the_last_begun_is_meant(said: str, incident: str) -> None:
    found = play(
        callback("11-02 10:00", "phone", tenant="yeonje", id="first"),
        reported(said, "yeonje-phone-callback", "error", tenant="yeonje"),
        callback("11-02 11:00", "phone", tenant="yeonje", id="second"),
        confirmed("11-02 13:00", ground="error", tenant="yeonje"),
    )
    (remedy,) = [row.decision for row in found if row.decision.kind == "remedy.proposed"]
    assert remedy.incident == f"yeonje-phone-callback:desk/{incident}"


def test_two_reports_of_the_same_promise_are_one_incident_and_two_of_conduct_are_two() -> None:
    def both(promise: str) -> list[str]:
        reports = [reported(f"11-02 1{hour}:00", promise, id=f"r{hour}") for hour in (1, 2)]
        return lines(play(*reports, *(confirmed(f"11-02 1{hour + 2}:00", f"r{hour}") for hour in (1, 2))), *MONEY)

    assert both("anseong-visit-find") == ["11-02 13:00 remedy.proposed anseong-remedy-standard 10000"]
    assert both("anseong-visit-greet") == [
        "11-02 13:00 remedy.proposed anseong-remedy-standard 10000",
        "11-02 14:00 remedy.proposed anseong-remedy-standard 10000",
    ]


def test_a_report_that_is_taken_back_leaves_the_finding_its_incident() -> None:
    """Of conduct, of a promise whose breach is retracted, and of one that stays broken: one proposal each."""
    conduct = reported("11-02 12:00", "anseong-visit-greet")
    found = play(conduct, confirmed("11-02 13:00"), voided("11-02 15:00", conduct))
    assert lines(found, *MONEY) == ["11-02 13:00 remedy.proposed anseong-remedy-standard 10000"]
    timed = reported("11-02 12:00", "anseong-visit-callback")
    late = called("11-02 10:30", recorded="11-02 14:00")
    found = play(callback("11-02 10:00"), timed, confirmed("11-02 13:00"), late, voided("11-02 15:00", timed))
    assert lines(found, *MONEY) == [
        "11-02 11:00 remedy.proposed anseong-visit-callback anseong-remedy-standard due 11-02 11:00 10000",
    ]
    report = reported("11-11 10:00", "seoul-statutory-period", "late", tenant="seoul")
    finding = confirmed("11-11 11:00", ground="late", tenant="seoul")
    found = play(received(tenant="seoul"), report, finding, voided("11-12 10:00", report), until="11-13 10:00")
    assert lines(found, *MONEY) == [
        "11-11 00:00 remedy.proposed seoul-statutory-period seoul-remedy-money due 11-11 00:00 5000 finding",
    ]


def test_who_takes_the_finding_back_as_well_is_owed_for_the_next_report() -> None:
    report, finding = reported("11-02 12:00", "anseong-visit-greet"), confirmed("11-02 13:00")
    anew = [reported("11-02 17:00", "anseong-visit-greet", id="r2"), confirmed("11-03 10:00", "r2")]
    found = play(report, finding, voided("11-02 15:00", report), voided("11-02 16:00", finding), *anew)
    assert [(row.decision.kind, row.decision.incident) for row in found if row.decision.kind in MONEY] == [
        ("remedy.proposed", "fault:desk/r1"),
        ("remedy.withdrawn", "fault:desk/r1"),
        ("remedy.proposed", "fault:desk/r2"),
    ]


def test_a_finding_about_a_report_that_has_not_come_is_refused_aloud_until_it_comes() -> None:
    """What it reports may be what was paid for already: here the late call, known as such since 11:00."""
    found = play(
        callback("11-02 10:00"),
        confirmed("11-02 13:00"),
        reported("11-02 12:30", "anseong-visit-callback", recorded="11-02 15:00"),
    )
    assert lines(found, *MONEY, "event.refused", "event.accepted") == [
        "11-02 11:00 remedy.proposed anseong-visit-callback anseong-remedy-standard due 11-02 11:00 10000",
        "11-02 13:00 event.refused unknown_report",
        "11-02 12:30 event.accepted unknown_report",
    ]
    found = play(confirmed("11-02 13:00"), reported("11-02 12:30", "anseong-visit-greet", recorded="11-02 15:00"))
    assert lines(found, *MONEY) == ["11-02 12:30 remedy.proposed anseong-remedy-standard 10000"]


def test_a_finding_that_names_no_report_waits_for_none() -> None:
    for about in ("anseong-visit-greet", "anseong-visit-callback", ""):
        finding = (
            confirmed("11-02 13:00", about) if about else event("fault.confirmed", "11-02 13:00", ground="standard")
        )
        assert lines(play(finding), *MONEY) == ["11-02 13:00 remedy.proposed anseong-remedy-standard 10000"]


@pytest.mark.parametrize("named", ["statutory-period", "seoul-statutory-period"])
def test_what_the_charter_says_again_of_the_law_is_one_incident_by_either_name(named: str) -> None:
    found = play(
        received(tenant="seoul"),
        reported("11-11 10:00", named, "late", tenant="seoul"),
        confirmed("11-11 11:00", ground="late", tenant="seoul"),
        until="11-13 10:00",
    )
    assert lines(found, *MONEY) == [
        "11-11 00:00 remedy.proposed seoul-statutory-period seoul-remedy-money due 11-11 00:00 5000 finding",
    ]


FIRST, SECOND = (callback(f"11-02 1{hour}:00", "phone", tenant="yeonje", id=f"at1{hour}") for hour in (0, 1))
ERROR = [
    reported("11-02 11:30", "yeonje-phone-callback", "error", tenant="yeonje"),
    confirmed("11-02 13:00", ground="error", tenant="yeonje"),
]


@pytest.mark.parametrize(
    ("requests", "becomes"),
    [((SECOND,), "fault:desk/r1"), ((FIRST, SECOND), "yeonje-phone-callback:desk/at10")],
    ids=["no run is left", "another run is left"],
)
def test_a_run_that_falls_away_gives_the_finding_another_name_by_one_and_the_same_fact(
    requests: tuple[Event, ...], becomes: str
) -> None:
    """What the ledger closes: the withdrawal and the proposal are of one step, in which nothing else is owed."""
    found = play(*requests, *ERROR, voided("11-02 13:30", SECOND))
    assert [(row.decision.kind, row.decision.incident, row.decision.at) for row in found if row.decision.remedy] == [
        ("remedy.proposed", "yeonje-phone-callback:desk/at11", at("11-02 13:00")),
        ("remedy.proposed", becomes, at("11-02 13:30")),
        ("remedy.withdrawn", "yeonje-phone-callback:desk/at11", at("11-02 13:30")),
    ]


STORIES = {
    "anseong": ("anseong-visit-callback", "standard"),
    "seoul": ("seoul-statutory-period", "late"),
    "mapo": ("mapo-handover", "error"),
    "yeonje": ("yeonje-phone-callback", "error"),
}
"""By city a promise and a ground for which a confirmed fault pays."""


@st.composite
def happenings(draw: st.DrawFn) -> tuple[str, list[Fact]]:
    """A petition by web whose applicant asked to be called back and reports that it was not so, and at odd times the
    call, the answer and findings about the report or the promise, some of them taken back."""
    tenant = draw(st.sampled_from(sorted(STORIES)))
    promise, ground = STORIES[tenant]
    via = "visit" if tenant == "anseong" else "phone"
    opening = [
        (0, "complaint.received", Data(channel="web", kind="grievance", period=Period(7, "days"))),
        (1, "callback.requested", Data(via=via, memo=Memo(reply_wanted=True))),
        (draw(st.integers(2, 24 * 12)), "fault.reported", Data(ground=ground, promise=promise)),
    ]
    more = st.sampled_from(
        [
            ("callback.made", Data(reached=True)),
            ("complaint.assigned", Data(department="a", officer="kim")),
            ("complaint.completed", Data(outcome="answered")),
            ("fault.reported", Data(ground=ground, promise=promise)),
            ("fault.confirmed", Data(ground=ground, about="f2")),
            ("fault.confirmed", Data(ground=ground, about=promise)),
        ]
    )
    rest = draw(st.lists(st.tuples(st.integers(2, 24 * 20), more), min_size=1, max_size=7))
    told = [*opening, *((hour, *what) for hour, what in rest)]
    facts = [Fact(0, "desk", f"f{n}", type, START + hour * HOUR, data) for n, (hour, type, data) in enumerate(told)]
    findings = [fact for fact in facts if fact.type != "fault.reported"][2:]
    for target in draw(st.lists(st.sampled_from(findings), max_size=2, unique=True)) if findings else ():
        void = Data(source="desk", id=target.id, code="other")
        facts.append(Fact(0, "desk", f"v-{target.id}", "fact.voided", START + 500 * HOUR, void))
    return tenant, facts


@SHORT
@given(happenings(), st.data())
def test_no_order_of_arrival_ever_proposes_money_twice_for_one_incident(
    drawn: tuple[str, list[Fact]], data: st.DataObject
) -> None:
    """What opens the case and the report are known first; the rest comes in any order, time passing in between."""
    tenant, facts = drawn
    arrivals = [*facts[:3], *data.draw(st.permutations(facts[3:]))]
    clocks = data.draw(st.lists(st.integers(0, 40 * 24).map(lambda hours: START + hours * HOUR), max_size=8))
    keys: dict[str, set[str]] = defaultdict(set)
    for one in told(tenant, arrivals, clocks)[1]:
        # Anseong's word on the direction was not given either: an incident of its own.
        if one.kind == "remedy.proposed" and one.incident != "anseong-direction":
            keys[one.remedy].add(one.key)
    assert all(len(found) == 1 for found in keys.values()), keys


RENAMED = {
    "anseong": [("anseong-visit-callback", "standard"), ("anseong-visit-callback", "repeat_visit")],
    "seoul": [
        ("seoul-statutory-period", "late"),
        ("statutory-period", "late"),
        ("seoul-phone-callback", "misguidance"),
    ],
    "mapo": [("mapo-handover", "error")],
    "yeonje": [("yeonje-phone-callback", "error")],
}
"""By city what a report may name and the ground that pays for it."""


@st.composite
def renamings(draw: st.DrawFn) -> tuple[str, list[Fact]]:
    """One report and one finding about it in a case with several calls asked for and made; the report, the calls and
    these takings back may be taken back, and the finding may come before its report."""
    tenant = draw(st.sampled_from(sorted(RENAMED)))
    promise, ground = draw(st.sampled_from(RENAMED[tenant]))
    via = "visit" if tenant == "anseong" else "phone"
    # Where the report is about a call, nothing else is to be late that is paid for.
    petition = Data(channel="web", kind="grievance", period=Period(7, "days"))
    if promise == "seoul-phone-callback":
        petition = Data(channel="web", kind="commendation")
    asked = Data(via=via, memo=Memo(reply_wanted=True))
    about = draw(st.sampled_from(["f2", promise]))
    told = [
        (0, "complaint.received", petition),
        (draw(st.integers(1, 24 * 12)), "callback.requested", asked),
        (draw(st.integers(2, 24 * 12)), "fault.reported", Data(ground=ground, promise=promise)),
        (draw(st.integers(2, 24 * 14)), "fault.confirmed", Data(ground=ground, about=about)),
    ]
    more = st.sampled_from(
        [
            ("callback.requested", asked),
            ("callback.made", Data(reached=True)),
            ("complaint.assigned", Data(department="a", officer="kim")),
            ("complaint.completed", Data(outcome="answered")),
        ]
    )
    rest = draw(st.lists(st.tuples(st.integers(1, 24 * 14), more), max_size=5))
    told += [(hour, *what) for hour, what in rest]
    facts = [Fact(0, "desk", f"f{n}", type, START + hour * HOUR, data) for n, (hour, type, data) in enumerate(told)]
    taken_back = draw(st.lists(st.sampled_from([1, 2, *range(4, len(facts))]), max_size=3, unique=True))
    for number in taken_back:
        void = Data(source="desk", id=f"f{number}", code="other")
        facts.append(Fact(0, "desk", f"v{number}", "fact.voided", START + 500 * HOUR, void))
    for number in draw(st.lists(st.sampled_from(taken_back), max_size=1)) if taken_back else ():
        void = Data(source="desk", id=f"v{number}", code="other")
        facts.append(Fact(0, "desk", f"w{number}", "fact.voided", START + 501 * HOUR, void))
    return tenant, facts


@SHORT
@given(renamings(), st.data())
def test_who_pays_all_that_is_payable_at_once_pays_one_incident_once(
    drawn: tuple[str, list[Fact]], data: st.DataObject
) -> None:
    """By the rule of the ledger, in whatever order the facts become known."""
    tenant, facts = drawn
    arrivals = [facts[0], *data.draw(st.permutations(facts[1:]))]
    clocks = data.draw(st.lists(st.integers(0, 40 * 24).map(lambda hours: START + hours * HOUR), max_size=8))
    said: list[Said] = []
    steps: dict[str, list[Step]] = defaultdict(list)
    paid: dict[str, list[str]] = defaultdict(list)
    told(tenant, arrivals, clocks, step=lambda cause, decisions: _pay(cause, decisions, said, steps, paid))
    note(f"{max((len(keys) for keys in paid.values()), default=0)} paid of one clause")
    for remedy, keys in paid.items():
        assert len(keys) <= 1, (remedy, keys, said)


def _pay(
    cause: int, decisions: list[Decision], said: list[Said], steps: dict[str, list[Step]], paid: dict[str, list[str]]
) -> None:
    """Whatever is payable after a step is paid at once."""
    for number, one in enumerate(decisions):
        if one.kind in MONEY and one.incident != "anseong-direction":
            scope = ("c", "c1", one.remedy)
            said.append(Said(f"{cause}-{number}", cause, one.kind, one.key, scope, one.promise, one.amount or 1))
    for accounts in settled(said, steps):
        for key, account in accounts.of.items():
            if account.sums.open:
                last = next(one for one in reversed(said) if one.key == key)
                steps[key] += [Step(last.id, "approved", last.amount), Step(last.id, "issued", last.amount)]
                paid[last.scope[2]].append(key)
        assert not accounts.twice
