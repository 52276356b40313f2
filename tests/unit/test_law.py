"""The law as stories: what stops a clock, who owes what by when, and how a charter reads what the text leaves open.

Every date is counted by hand. November 2026 has no holiday; 2 November is a Monday, 25 December a Friday.
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import permutations
from typing import Any

import msgspec
import pytest
from stories import at, event, lines, new_world, passed, play, received, voided

from contracts import files
from contracts.streams import PARTITIONS
from services.rules.charter_files import parse_charter, parse_law
from services.rules.explaining import answer
from services.rules.explaining import text as explain_text
from services.rules.explaining.explain import Explanation
from services.rules.facts import Event
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Decided
from services.rules.world import World

FILES = files.read()
STATUTORY: Mapping[str, Any] = {"kind": "statutory", "period": {"amount": 10, "unit": "days"}}
DAY_AFTER = datetime.fromisoformat("2026-11-04T00:00:00+09:00")


def of_city(extra: str) -> World:
    """A world whose Anseong has more lines at the end of its charter."""
    changed = {**FILES, "charters/anseong-1.yaml": FILES["charters/anseong-1.yaml"] + extra.encode()}
    return World([Rulebook(Library(changed)) for _ in range(PARTITIONS)])


def demanded(when: str, respond_by: str) -> Event:
    sent = f"2026-{when.replace(' ', 'T')}:00+09:00"
    return event("complaint.supplement_requested", when, respond_by=respond_by, dispatched_at=sent)


def answered(when: str) -> Event:
    return event("complaint.supplement_received", when, arrived_at=f"2026-{when.replace(' ', 'T')}:00+09:00")


def longer(when: str, respond_by: str) -> Event:
    return event("complaint.supplement_extended", when, respond_by=respond_by)


def suspended(when: str, ground: str, **more: Any) -> Event:
    return event("complaint.suspended", when, ground=ground, **more)


def codes(told: list[Decided]) -> list[str]:
    return [row.decision.code for row in told if row.decision.kind == "event.refused"]


# -- supplements ----------------------------------------------------------------------------------------------


def test_the_day_to_answer_a_demand_is_the_citizens_and_lapses_without_a_breach() -> None:
    # The 14th is a Saturday, which hands on to Monday the 16th.
    told = play(received(), demanded("11-02 15:00", "2026-11-14"), until="11-30 00:00")
    assert lines(told, "statutory-supplement") == [
        "11-02 15:00 deadline.started statutory-supplement due 11-17 00:00",
        "11-17 00:00 deadline.voided statutory-supplement due 11-17 00:00 lapsed",
    ]
    assert not [
        row for row in told if row.decision.kind == "deadline.breached" and "supplement" in row.decision.promise
    ]


def test_the_citizen_asks_for_more_time_twice_and_not_a_third_time() -> None:
    told = play(
        received(),
        demanded("11-02 15:00", "2026-11-06"),
        longer("11-05 10:00", "2026-11-11"),
        longer("11-10 10:00", "2026-11-13"),
        longer("11-12 10:00", "2026-11-20"),
        answered("11-13 10:00"),
    )
    assert lines(told, "statutory-supplement", "event.refused") == [
        "11-02 15:00 deadline.started statutory-supplement due 11-07 00:00",
        "11-05 10:00 deadline.moved statutory-supplement due 11-12 00:00 extended",
        "11-10 10:00 deadline.moved statutory-supplement due 11-14 00:00 extended",
        "11-12 10:00 event.refused supplement_extended_too_often",
        "11-13 10:00 deadline.met statutory-supplement due 11-14 00:00",
    ]
    # Seven dates without the 2nd to the 13th: 16 to 20, 23, 24.
    assert "11-13 10:00 deadline.resumed statutory-period due 11-25 00:00" in lines(told)


@pytest.mark.parametrize(
    ("facts", "refused"),
    [
        ([longer("11-05 10:00", "2026-11-11")], "supplement_not_requested"),
        ([demanded("11-02 15:00", "2026-11-06"), longer("11-07 10:00", "2026-11-11")], "supplement_extended_too_late"),
        # From Monday the 9th ten days end on Thursday the 19th.
        ([demanded("11-02 15:00", "2026-11-06"), demanded("11-09 10:00", "2026-11-20")], "last_demand_too_long"),
        (
            [
                demanded("11-02 15:00", "2026-11-06"),
                demanded("11-09 10:00", "2026-11-12"),
                demanded("11-16 10:00", "2026-11-20"),
            ],
            "supplement_requested_too_often",
        ),
        (
            [
                demanded("11-02 15:00", "2026-11-06"),
                demanded("11-09 10:00", "2026-11-19"),
                longer("11-10 10:00", "2026-11-25"),
            ],
            "supplement_extended_too_often",
        ),
    ],
)
def test_what_the_law_of_supplements_refuses(facts: list[Event], refused: str) -> None:
    assert codes(play(received(), *facts)) == [refused]


def test_a_return_is_right_after_the_last_demand_and_a_broken_measure_before() -> None:
    first, last = demanded("11-02 15:00", "2026-11-06"), demanded("11-09 10:00", "2026-11-19")
    right = play(received(), first, last, event("complaint.returned", "11-20 10:00"))
    assert lines(right, "statutory-return", "event.refused") == []
    assert "11-20 10:00 deadline.voided statutory-period" in lines(right)
    for before in ([], [first], [first, last]):
        early = play(received(), *before, event("complaint.returned", "11-19 10:00"))
        assert lines(early, "statutory-return") == ["11-19 10:00 measure.breached statutory-return"]


def test_a_supplement_is_demanded_within_eight_working_hours_unless_something_was_found_later() -> None:
    # Monday 10:00 to Tuesday 10:00 are eight working hours.
    right = play(received(), demanded("11-03 10:00", "2026-11-12"))
    assert lines(right, "statutory-supplement-demand") == []
    late = [demanded("11-03 10:01", "2026-11-12")]
    assert lines(play(received(), *late), "measure.breached") == [
        "11-03 10:01 measure.breached statutory-supplement-demand"
    ]
    visited = suspended("11-02 14:00", "site_visit")
    assert lines(play(received(), visited, *late), "measure.breached") == []


# -- what stops the clock -------------------------------------------------------------------------------------


def test_a_suspension_announced_for_later_stops_the_clock_only_then() -> None:
    told = play(
        received(),
        suspended("11-03 10:00", "hearing", from_="2026-11-05T09:00:00+09:00"),
        event("complaint.resumed", "11-09 11:00", ground="hearing"),
        until="11-09 12:00",
    )
    # Counted: 2, 3, 4, 10, 11, 12, 13.
    assert lines(told, "statutory-period") == [
        "11-02 10:00 deadline.started statutory-period due 11-11 00:00",
        "11-05 09:00 deadline.suspended statutory-period",
        "11-09 11:00 deadline.resumed statutory-period due 11-14 00:00",
    ]


def test_a_suspension_called_off_before_it_began_takes_nothing_out() -> None:
    told = play(
        received(),
        suspended("11-03 10:00", "hearing", from_="2026-11-06T09:00:00+09:00"),
        event("complaint.resumed", "11-04 11:00", ground="hearing"),
        until="11-12 00:00",
    )
    assert lines(told, "deadline.suspended") == []
    assert "11-11 00:00 deadline.breached statutory-period due 11-11 00:00" in lines(told)


def test_a_visit_to_the_site_takes_fourteen_days_and_the_clock_goes_on_by_itself() -> None:
    told = play(received(), suspended("11-03 10:00", "site_visit"), until="11-26 00:00")
    # Out: 3 to 16. Counted: 2, 17 to 20, 23, 24.
    assert lines(told, "statutory-period") == [
        "11-02 10:00 deadline.started statutory-period due 11-11 00:00",
        "11-03 10:00 deadline.suspended statutory-period",
        "11-17 00:00 deadline.resumed statutory-period due 11-25 00:00",
        "11-23 18:00 deadline.warned statutory-period due 11-25 00:00",
        "11-25 00:00 deadline.breached statutory-period due 11-25 00:00",
    ]


def test_a_visit_that_ends_late_still_takes_fourteen_days_and_one_that_ends_early_fewer() -> None:
    late = play(
        received(),
        suspended("11-03 10:00", "site_visit"),
        event("complaint.resumed", "11-19 10:00", ground="site_visit"),
    )
    assert lines(late, "statutory-period")[-1] == "11-17 00:00 deadline.resumed statutory-period due 11-25 00:00"
    early = play(
        received(),
        suspended("11-03 10:00", "site_visit"),
        event("complaint.resumed", "11-05 10:00", ground="site_visit"),
    )
    # Counted: 2, 6, 9, 10, 11, 12, 13.
    assert lines(early, "statutory-period")[-1] == "11-05 10:00 deadline.resumed statutory-period due 11-14 00:00"


def test_seven_days_more_for_a_visit_once() -> None:
    told = play(
        received(),
        suspended("11-03 10:00", "site_visit"),
        suspended("11-16 10:00", "site_visit"),
        suspended("11-20 10:00", "site_visit"),
        until="11-24 12:00",
    )
    assert codes(told) == ["suspended_too_often"]
    # Out: 3 to 23. Counted: 2, 24 to 27, 30, 1 December.
    assert lines(told, "statutory-period")[-1] == "11-24 00:00 deadline.resumed statutory-period due 12-02 00:00"


@pytest.mark.parametrize(
    ("opening", "ground", "refused"),
    [
        (received(kind="suggestion"), "site_visit", True),
        (received(kind="handling_grievance"), "site_visit", False),
        (received(kind="disclosure"), "hearing", True),
        (received(kind="suggestion"), "hearing", False),
        (received(kind="suggestion"), "outage", False),
    ],
)
def test_a_ground_is_good_for_some_petitions(opening: Event, ground: str, refused: bool) -> None:
    told = play(opening, suspended("11-03 10:00", ground))
    assert codes(told) == (["suspension_ground_not_allowed"] if refused else [])


@pytest.mark.parametrize(("begins", "refused"), [("05-05 23:59", True), ("05-06 00:00", False)])
def test_an_outage_stops_the_clock_from_the_day_the_rule_came(begins: str, refused: bool) -> None:
    since = f"2026-{begins.replace(' ', 'T')}:00+09:00"
    told = play(received("05-04 10:00"), suspended("05-06 10:00", "outage", from_=since))
    assert codes(told) == (["suspension_ground_not_allowed"] if refused else [])


# -- declared for every case of a municipality ---------------------------------------------------------------------


def outage(when: str, since: str, until: str, verb: str = "declared", system: str = "saeol") -> Event:
    stretch = {"from_": f"2026-{since}:00+09:00", "until": f"2026-{until}:00+09:00"}
    return event(f"outage.{verb}", when, case="anseong", id=f"{verb}-{since}-{system}", system=system, **stretch)


def force_majeure(when: str, since: str, until: str, verb: str = "declared") -> Event:
    stretch = {"from_": f"2026-{since}:00+09:00", "until": f"2026-{until}:00+09:00"}
    return event(f"force_majeure.{verb}", when, case="anseong", id=f"{verb}-{since}", **stretch)


THREE_HOURS: Mapping[str, Any] = {"kind": "statutory", "period": {"amount": 3, "unit": "hours"}}


def test_an_outage_stops_every_open_case_to_the_minute_and_those_that_come_meanwhile() -> None:
    told = play(
        received("11-02 10:00", **THREE_HOURS),
        outage("11-02 10:30", "11-02T10:30", "11-02T15:00"),
        received("11-02 14:00", case="c2", **THREE_HOURS),
        until="11-03 12:00",
    )
    # Half an hour is over at 10:30; two and a half are left at 15:00. The second has all three, one on Tuesday is left.
    assert [line for line in lines(told, "statutory-period") if "warned" not in line] == [
        "11-02 10:00 deadline.started statutory-period due 11-02 14:00",
        "11-02 10:30 deadline.suspended statutory-period",
        "11-02 14:00 deadline.started statutory-period due 11-02 17:00",
        "11-02 14:00 deadline.suspended statutory-period",
        "11-02 15:00 deadline.resumed statutory-period due 11-02 17:30",
        "11-02 15:00 deadline.resumed statutory-period due 11-02 18:00",
        "11-02 17:30 deadline.breached statutory-period due 11-02 17:30",
        "11-02 18:00 deadline.breached statutory-period due 11-02 18:00",
    ]


def test_an_outage_that_is_declared_afterwards_takes_the_breach_back() -> None:
    told = play(
        received("11-02 10:00", **THREE_HOURS),
        outage("11-02 15:00", "11-02T10:30", "11-02T12:00"),
        until="11-02 15:30",
    )
    assert lines(told, "statutory-period")[1:] == [
        "11-02 14:00 deadline.breached statutory-period due 11-02 14:00",
        "11-02 15:00 breach.retracted statutory-period due 11-02 14:00",
        "11-02 15:00 deadline.moved statutory-period due 11-02 15:30 outage",
    ]


def test_a_lifting_says_when_the_system_was_up_and_a_voided_declaration_was_none() -> None:
    declared = outage("11-02 10:30", "11-02T10:30", "11-02T15:00")
    opened = received("11-02 10:00", **THREE_HOURS)
    other = outage("11-02 11:30", "11-02T10:30", "11-02T11:30", "lifted", system="other")
    lifted = outage("11-02 11:30", "11-02T10:30", "11-02T11:30", "lifted")
    # Lifted at 11:30: half an hour to noon, two hours from 13:00.
    early = play(opened, declared, lifted, until="11-02 16:00")
    assert lines(early, "deadline.resumed") == ["11-02 11:30 deadline.resumed statutory-period due 11-02 15:00"]
    # Another system's end changes nothing of this one's.
    assert lines(play(opened, declared, other, until="11-02 16:00"), "deadline.resumed") == [
        "11-02 15:00 deadline.resumed statutory-period due 11-02 17:30"
    ]
    void = msgspec.structs.replace(voided("11-02 13:30", declared), routes=("_all",), case="_all")
    gone = play(opened, declared, void, until="11-02 16:00")
    assert lines(gone, "statutory-period")[-2:] == [
        "11-02 13:30 deadline.resumed statutory-period due 11-02 14:00",
        "11-02 14:00 deadline.breached statutory-period due 11-02 14:00",
    ]


def test_declarations_and_facts_in_any_order_end_in_the_same_dates() -> None:
    facts = [
        received("11-02 10:00", **THREE_HOURS),
        outage("11-02 10:30", "11-02T10:30", "11-02T15:00"),
        outage("11-02 11:30", "11-02T10:30", "11-02T11:30", "lifted"),
        force_majeure("11-02 11:40", "11-02T13:00", "11-02T16:00"),
        force_majeure("11-02 11:50", "11-02T14:00", "11-02T16:00", "revoked"),
    ]
    # Counted: 10:00 to 10:30, 11:30 to noon, 14:00 to 16:00.
    for order in permutations(facts):
        shown = play(*(msgspec.structs.replace(one, recordedtime=DAY_AFTER) for one in order), until="11-05 00:00")
        assert "due 11-02 16:00" in lines(shown, "statutory-period")[-1], order


def test_what_a_case_knew_when_it_closed_no_later_declaration_changes() -> None:
    facts = [received("11-02 10:00", **THREE_HOURS), event("complaint.completed", "11-02 14:30")]
    late = outage("11-02 15:00", "11-02T10:30", "11-02T12:00")
    told = play(*facts, late, event("complaint.procedure_explained", "11-02 11:00", recorded="11-02 16:00"))
    assert lines(told, "breach.retracted") == []
    # Opened again, it counts what was declared by then from the opening on.
    more = outage("11-02 15:30", "11-02T16:00", "11-02T18:00")
    again = play(*facts, late, more, event("complaint.reopened", "11-02 15:00", recorded="11-02 15:45"))
    assert lines(again, "breach.retracted") == []
    assert lines(again, "statutory-period")[2:] == ["11-02 15:00 deadline.started statutory-period due 11-02 18:00"]
    world = new_world()
    play(*facts, late, more, event("complaint.reopened", "11-02 15:00", recorded="11-02 15:45"), world=world)
    assert lines(passed(world, at("11-03 12:00")), "statutory-period") == [
        "11-02 16:00 deadline.suspended statutory-period",
        "11-02 18:00 deadline.resumed statutory-period due 11-03 11:00",
        "11-03 11:00 deadline.breached statutory-period due 11-03 11:00",
    ]


@pytest.mark.parametrize(
    ("opening", "declared", "moved"),
    [
        (received("05-05 10:00", **THREE_HOURS), outage("05-06 09:00", "05-05T23:00", "05-06T10:00"), False),
        (received("05-06 10:00", **THREE_HOURS), outage("05-06 10:00", "05-06T10:00", "05-06T11:00"), True),
        (received("11-02 10:00", kind="disclosure"), outage("11-02 10:30", "11-02T10:30", "11-04T10:30"), False),
        (received("11-02 10:00", **STATUTORY), force_majeure("11-02 10:30", "11-03T00:00", "11-05T00:00"), True),
        (received("11-02 10:00", kind="disclosure"), force_majeure("11-03 10:00", "11-03T00:00", "11-05T00:00"), False),
    ],
)
def test_what_is_declared_stops_what_its_ground_stops(opening: Event, declared: Event, moved: bool) -> None:
    assert bool(lines(play(opening, declared, until="11-06 00:00"), "deadline.resumed")) is moved


@pytest.mark.parametrize(
    ("switch", "due"), [("suspends", ["11-14 00:00", "11-18 00:00"]), ("extends", ["11-14 00:00"])]
)
def test_force_majeure_suspends_or_is_a_ground_to_extend(switch: str, due: list[str]) -> None:
    # Ten dates from Monday the 2nd end with the 13th; the 3rd and 4th are whole days lost: the 17th.
    facts = [received(**STATUTORY), force_majeure("11-02 10:30", "11-03T00:00", "11-05T00:00")]
    assert switched(f"force_majeure: {switch}", *facts, promise="statutory-period", until="11-06 00:00") == due


# -- steps on the way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "arrived", "broken"),
    [
        ("web", "10-30T10:00", False),  # Friday 10:00 to Monday 10:00 are eight working hours
        ("web", "10-30T09:59", True),
        ("email", "10-30T09:00", True),
        ("post", "10-28T09:00", False),  # only what comes electronically
    ],
)
def test_arrival_and_receipt_are_two_clocks(channel: str, arrived: str, broken: bool) -> None:
    told = play(received(channel=channel, arrived_at=f"2026-{arrived}:00+09:00"))
    found = ["11-02 10:00 measure.breached statutory-acceptance"] if broken else []
    assert lines(told, "measure.breached") == found
    # The period runs from the receipt.
    assert lines(told, "statutory-period") == ["11-02 10:00 deadline.started statutory-period due 11-11 00:00"]


def test_another_agencys_petition_leaves_within_eight_working_hours() -> None:
    def sent(when: str) -> list[str]:
        return lines(play(received(), event("complaint.transferred", when, to_agency="province")), "measure.breached")

    assert sent("11-03 10:00") == []
    assert sent("11-03 10:01") == ["11-03 10:01 measure.breached statutory-transfer"]


def test_at_once_means_three_working_hours() -> None:
    told = play(received("11-02 16:00", kind="statutory", period={"amount": 3, "unit": "hours"}))
    # Two hours on Monday, one on Tuesday.
    assert lines(told, "statutory-period") == ["11-02 16:00 deadline.started statutory-period due 11-03 10:00"]


@pytest.mark.parametrize(
    ("kind", "ground", "refused"),
    [
        ("statutory", "repeat", True),
        ("statutory", "exception", True),
        ("statutory", "merged", False),
        ("grievance", "repeat", False),
    ],
)
def test_a_claim_by_law_is_not_closed_unanswered(kind: str, ground: str, refused: bool) -> None:
    told = play(received(kind=kind), event("complaint.closed_without_answer", "11-04 10:00", ground=ground))
    assert codes(told) == (["closing_ground_not_allowed"] if refused else [])


def test_a_service_has_its_period_and_its_silence_may_accept() -> None:
    world = of_city(
        "services:\n  - {name: 가설건축물 신고, period: {amount: 3, unit: days}, deemed_acceptance: true}\n"
    )
    told = play(received(kind="statutory", service="가설건축물 신고"), until="11-06 00:00", world=world)
    assert lines(told, "statutory-period")[0] == "11-02 10:00 deadline.started statutory-period due 11-05 10:00"
    assert lines(told, "deadline.breached") == [
        "11-05 10:00 deadline.breached statutory-period due 11-05 10:00 deemed_acceptance"
    ]


# -- refusal and disclosure -----------------------------------------------------------------------------------


def test_a_refusal_is_open_to_objection_for_sixty_days() -> None:
    told = play(received(**STATUTORY), event("complaint.rejected", "11-04 10:00"), until="2027-02-01 00:00")
    # Sixty dates from the 5th: 26 in November, 31 in December, 3 in January, a Sunday: Monday the 4th.
    assert lines(told, "statutory-objection") == [
        "11-04 10:00 deadline.started statutory-objection due 2027-01-05 00:00",
        "2027-01-05 00:00 deadline.voided statutory-objection due 2027-01-05 00:00 lapsed",
    ]
    assert lines(play(received(), event("complaint.rejected", "11-04 10:00")), "statutory-objection") == []


def test_an_objection_is_decided_in_ten_days_and_once_ten_more() -> None:
    told = play(
        received(**STATUTORY),
        event("complaint.rejected", "11-04 10:00"),
        event("objection.received", "11-09 10:00"),
        event("objection.extended", "11-18 10:00"),
        event("objection.extended", "11-19 10:00"),
        event("objection.decided", "11-30 10:00"),
    )
    # Ten dates from the 10th: the 19th; twenty: the 29th, a Sunday, so Monday the 30th.
    assert lines(told, "statutory-objection-decision", "event.refused") == [
        "11-09 10:00 deadline.started statutory-objection-decision due 11-20 00:00",
        "11-18 10:00 deadline.moved statutory-objection-decision due 12-01 00:00 extended",
        "11-19 10:00 event.refused extension_too_often",
        "11-27 18:00 deadline.warned statutory-objection-decision due 12-01 00:00",
        "11-30 10:00 deadline.met statutory-objection-decision due 12-01 00:00",
    ]
    assert codes(play(received(**STATUTORY), event("objection.extended", "11-18 10:00"))) == ["objection_not_received"]


def test_silence_on_a_request_for_information_opens_the_way_to_object() -> None:
    told = play(received(kind="disclosure"), until="12-31 00:00")
    # Twenty dates: 2 to 6, 9 to 13, 16 to 20, 23 to 27; then thirty from the 28th: 27 December, a Sunday.
    assert lines(told, "statutory-disclosure-silence", "statutory-disclosure-objection") == [
        "11-02 10:00 deadline.started statutory-disclosure-silence due 11-28 00:00",
        "11-28 00:00 deadline.voided statutory-disclosure-silence due 11-28 00:00 lapsed",
        "11-28 00:00 deadline.started statutory-disclosure-objection due 12-29 00:00",
        "12-29 00:00 deadline.voided statutory-disclosure-objection due 12-29 00:00 lapsed",
    ]


def test_an_objection_about_disclosure_is_decided_in_seven_days_and_seven_more() -> None:
    told = play(
        received(kind="disclosure"),
        event("disclosure.decided", "11-04 10:00", decision="closed"),
        event("disclosure.notified", "11-04 11:00"),
        event("objection.received", "11-09 10:00"),
        event("objection.extended", "11-16 10:00"),
    )
    assert lines(told, "statutory-disclosure-objection") == [
        "11-04 11:00 deadline.started statutory-disclosure-objection due 12-05 00:00",
        "11-09 10:00 deadline.met statutory-disclosure-objection due 12-05 00:00",
    ]
    # Seven dates: 9 to 13, 16, 17; fourteen: on to the 26th.
    assert [line for line in lines(told, "statutory-disclosure-objection-decision") if "warned" not in line] == [
        "11-09 10:00 deadline.started statutory-disclosure-objection-decision due 11-18 00:00",
        "11-16 10:00 deadline.moved statutory-disclosure-objection-decision due 11-27 00:00 extended",
    ]


def test_a_third_party_has_three_calendar_days_and_seven_after_the_decision() -> None:
    told = play(
        received("11-04 10:00", kind="disclosure"),
        event("disclosure.third_party_notified", "11-05 10:00"),
        event("disclosure.third_party_objected", "11-06 10:00"),
        event("disclosure.decided", "11-12 10:00", decision="open", over_objection=True),
        event("objection.received", "11-16 10:00", by="third_party"),
    )
    # Three dates from Friday the 6th: Sunday the 8th, so Monday. Seven from the 13th: Thursday the 19th.
    assert lines(told, "statutory-third-party-request", "statutory-third-party-objection") == [
        "11-05 10:00 deadline.started statutory-third-party-request due 11-10 00:00",
        "11-06 10:00 deadline.met statutory-third-party-request due 11-10 00:00",
        "11-12 10:00 deadline.started statutory-third-party-objection due 11-20 00:00",
        "11-16 10:00 deadline.met statutory-third-party-objection due 11-20 00:00",
    ]
    assert lines(told, "statutory-disclosed") == []


@pytest.mark.parametrize(("disclosed", "early"), [("12-12 23:59", True), ("12-13 00:00", False)])
def test_thirty_days_lie_between_decision_and_disclosure_over_an_objection(disclosed: str, early: bool) -> None:
    # Thirty dates from 13 November end with 12 December.
    told = play(
        received("11-04 10:00", kind="disclosure"),
        event("disclosure.decided", "11-12 10:00", decision="open", over_objection=True),
        event("disclosure.disclosed", disclosed),
    )
    assert len(lines(told, "statutory-third-party-wait")) == (1 if early else 0)


def test_a_fee_paid_in_time_brings_no_clock_of_its_own() -> None:
    decided = event("disclosure.decided", "11-04 10:00", decision="open")
    told = play(received(kind="disclosure"), decided, event("disclosure.fee_paid", "11-10 10:00"))
    assert lines(told, "statutory-disclosed-after-fee") == []


# -- repeats, tracking, handing over, fees ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received_with", "closed_with", "refused"),
    [
        ({"repeats": ["c-2", "c-1"]}, {}, []),
        ({"repeats": ["c-1"]}, {}, ["repeated_too_seldom"]),
        ({"repeats": ["c-1", "c-1"]}, {}, ["repeated_too_seldom"]),
        ({}, {"repeats": ["c-1"]}, ["repeated_too_seldom"]),
        ({"repeats": ["c-1"]}, {"repeats": ["c-1", "c-2"]}, []),
        ({}, {}, []),  # the officer's own word
        ({"kind": "statutory", "repeats": ["c-2", "c-1"]}, {}, ["closing_ground_not_allowed"]),
    ],
)
def test_a_repeat_is_the_third_petition_after_two_answers(
    received_with: dict[str, Any], closed_with: dict[str, Any], refused: list[str]
) -> None:
    told = play(
        received(**received_with),
        event("complaint.closed_without_answer", "11-04 10:00", ground="repeat", **closed_with),
    )
    assert codes(told) == refused
    assert bool(lines(told, "deadline.voided")) is not bool(refused)


def test_too_few_answers_do_not_keep_a_petition_from_being_merged() -> None:
    told = play(received(repeats=["c-1"]), event("complaint.closed_without_answer", "11-04 10:00", ground="merged"))
    assert codes(told) == []


def test_who_was_told_of_online_tracking_gets_no_notice_of_thirty_days() -> None:
    def started(**more: Any) -> list[str]:
        told = play(received(**STATUTORY, **more), until="12-10 00:00")
        return lines(told, "statutory-progress")[:1]

    assert started(tracking_announced=True) == []
    assert started(tracking_announced=False) == ["11-02 10:00 deadline.started statutory-progress due 12-04 00:00"]


@pytest.mark.parametrize(
    ("channel", "when", "distant", "broken"),
    [
        ("visit", "11-02 11:00", None, ""),
        ("visit", "11-02 11:01", None, "statutory-handover"),
        ("visit", "11-02 14:00", True, ""),  # 10 to 12, 13 to 14
        ("visit", "11-02 14:01", True, "statutory-handover-distant"),
        ("post", "11-02 11:01", False, "statutory-handover"),
        ("web", "11-06 11:01", None, ""),  # without delay, electronically: no hours
    ],
)
def test_a_petition_is_handed_over_in_one_hour_or_three(
    channel: str, when: str, distant: bool | None, broken: str
) -> None:
    more = {} if distant is None else {"distant": distant}
    over = event("complaint.handed_over", when, department="roads", **more)
    again = event("complaint.handed_over", "11-04 10:00", department="parks", **more)
    found = lines(play(received(channel=channel), over, again), "measure.breached")
    assert found == ([f"{when} measure.breached {broken}"] if broken else [])


@pytest.mark.parametrize(
    ("got", "when", "broken"),
    [("complaint.handed_over", "11-03 12:00", False), ("complaint.assigned", "11-03 12:01", True)],
)
def test_the_wrong_department_passes_a_petition_on_in_three_hours(got: str, when: str, broken: bool) -> None:
    here = event(got, "11-03 09:00", department="roads", officer="kim01")
    told = play(received(), here, event("complaint.transferred", when, to_department="parks"))
    found = [f"{when} measure.breached statutory-reroute"] if broken else []
    assert lines(told, "statutory-reroute") == found
    # From the parks it goes on in three hours again, from when it came there.
    again = [event("complaint.transferred", "11-03 12:00", to_department="parks")]
    again += [event("complaint.transferred", "11-03 16:00", to_department="trees")]
    assert lines(play(received(), here, *again), "statutory-reroute") == []


def asked(when: str, name: str, respond_by: str) -> Event:
    return event("consultation.requested", when, consultation=name, department="fire", respond_by=respond_by)


def test_others_reply_by_their_day_each_for_themselves_and_get_longer_once() -> None:
    told = play(
        received(**STATUTORY),
        asked("11-02 11:00", "fire", "2026-11-05"),
        asked("11-02 12:00", "water", "2026-11-06"),
        event("consultation.extended", "11-04 10:00", consultation="fire", respond_by="2026-11-09"),
        event("consultation.answered", "11-06 10:00", consultation="fire"),
        event("consultation.extended", "11-07 10:00", consultation="water", respond_by="2026-11-10"),
        until="11-12 00:00",
    )
    assert lines(told, "statutory-consultation", "event.refused") == [
        "11-02 11:00 deadline.started statutory-consultation due 11-06 00:00",
        "11-02 12:00 deadline.started statutory-consultation due 11-07 00:00",
        "11-04 10:00 deadline.moved statutory-consultation due 11-10 00:00 extended",
        "11-06 10:00 deadline.met statutory-consultation due 11-10 00:00",
        "11-07 00:00 deadline.voided statutory-consultation due 11-07 00:00 lapsed",
        "11-07 10:00 event.refused consultation_not_open",
    ]
    # Consulting others stops no clock.
    assert lines(told, "statutory-period")[0] == "11-02 10:00 deadline.started statutory-period due 11-14 00:00"
    assert lines(told, "deadline.suspended") == []


@pytest.mark.parametrize(
    ("respond_by", "longer_by", "refused"),
    [
        ("2026-11-13", "", []),  # the last of the ten dates
        ("2026-11-14", "", ["consultation_beyond_period"]),  # a Saturday, so Monday the 16th
        ("2026-11-05", "2026-11-13", []),
        ("2026-11-05", "2026-11-16", ["consultation_beyond_period"]),
        ("2026-11-05", "2026-11-06 2026-11-09", ["consultation_extended_already"]),
        # What was refused was no extension.
        ("2026-11-05", "2026-11-16 2026-11-09", ["consultation_beyond_period"]),
    ],
)
def test_the_day_to_reply_lies_inside_the_handling_period(respond_by: str, longer_by: str, refused: list[str]) -> None:
    more = [
        event("consultation.extended", f"11-04 1{number}:00", consultation="fire", respond_by=day)
        for number, day in enumerate(longer_by.split())
    ]
    assert codes(play(received(**STATUTORY), asked("11-02 11:00", "fire", respond_by), *more)) == refused


OPENED = [received(kind="disclosure"), event("disclosure.decided", "11-04 10:00", decision="open")]
ASKED = event("disclosure.fee_asked", "11-05 10:00")


def test_nothing_is_late_while_a_fee_is_owed_and_a_timely_payment_changes_no_date() -> None:
    told = play(*OPENED, ASKED, event("disclosure.fee_paid", "11-10 10:00"), until="11-17 00:01")
    # Ten dates from the 5th: the 14th, a Saturday, so Monday the 16th.
    assert lines(told, "statutory-disclosed", "statutory-disclosed-after-fee") == [
        "11-04 10:00 deadline.started statutory-disclosed due 11-17 00:00",
        "11-05 10:00 deadline.suspended statutory-disclosed",
        "11-10 10:00 deadline.resumed statutory-disclosed due 11-17 00:00",
        "11-13 18:00 deadline.warned statutory-disclosed due 11-17 00:00",
        "11-17 00:00 deadline.breached statutory-disclosed due 11-17 00:00",
    ]


def test_a_late_payment_brings_five_days_in_the_place_of_the_ten() -> None:
    told = play(*OPENED, ASKED, event("disclosure.fee_paid", "11-20 10:00"), until="11-26 00:01")
    # Five dates from Saturday the 21st: Wednesday the 25th.
    assert [
        line for line in lines(told, "statutory-disclosed", "statutory-disclosed-after-fee") if "warned" not in line
    ] == [
        "11-04 10:00 deadline.started statutory-disclosed due 11-17 00:00",
        "11-05 10:00 deadline.suspended statutory-disclosed",
        "11-20 10:00 deadline.voided statutory-disclosed due 11-17 00:00",
        "11-20 10:00 deadline.started statutory-disclosed-after-fee due 11-26 00:00",
        "11-26 00:00 deadline.breached statutory-disclosed-after-fee due 11-26 00:00",
    ]


def test_papers_handed_over_before_the_fee_is_paid_are_in_time_and_a_second_demand_for_it_is_refused() -> None:
    told = play(
        *OPENED, ASKED, event("disclosure.fee_asked", "11-06 10:00"), event("disclosure.disclosed", "11-30 10:00")
    )
    assert codes(told) == ["fee_asked_already"]
    assert lines(told, "statutory-disclosed")[-1] == "11-30 10:00 deadline.met statutory-disclosed due 11-17 00:00"


def test_a_fee_that_nobody_asked_for_still_brings_five_days_after_the_ten() -> None:
    told = play(*OPENED, event("disclosure.fee_paid", "11-20 10:00"))
    assert lines(told, "statutory-disclosed-after-fee") == [
        "11-20 10:00 deadline.started statutory-disclosed-after-fee due 11-26 00:00"
    ]
    assert "11-17 00:00 deadline.breached statutory-disclosed due 11-17 00:00" in lines(told)


def test_a_demand_for_a_fee_that_became_known_late_takes_the_breach_back() -> None:
    asked = event("disclosure.fee_asked", "11-05 10:00", recorded="11-18 10:00")
    assert lines(play(*OPENED, asked), "statutory-disclosed")[-2:] == [
        "11-05 10:00 deadline.suspended statutory-disclosed",
        "11-05 10:00 breach.retracted statutory-disclosed due 11-17 00:00",
    ]


# -- why the date is the date ---------------------------------------------------------------------------------


def told_of(promise: str, until: str, *facts: Event) -> Explanation:
    """The explanation of one promise in the case c1."""
    world = new_world()
    play(*facts, until=until, world=world)
    place = next(each for each in world.partitions if ("anseong", "c1") in each.cases)
    found = answer.why(place.cases["anseong", "c1"], at(until), place.rulebook, {}, promise)
    assert found is not None
    (one,) = found
    assert isinstance(one, Explanation)
    return one


def test_an_explanation_names_the_outage_and_the_fee_and_adds_up() -> None:
    lifted = outage("11-02 13:30", "11-02T10:30", "11-02T13:30", "lifted")
    declared = outage("11-02 10:30", "11-02T10:30", "11-02T15:00")
    one = told_of("statutory-period", "11-02 14:00", received(**THREE_HOURS), declared, lifted)
    (stop,) = one.suspensions
    assert (stop.ground, stop.start, stop.end) == ("outage", at("11-02 10:30"), at("11-02 13:30"))
    assert stop.ended_by is not None
    assert (stop.cause.type, stop.ended_by.type) == ("outage.declared", "outage.lifted")
    # Half an hour before it, two and a half after.
    assert one.due == at("11-02 16:00")
    fee = told_of("statutory-disclosed", "11-06 10:00", *OPENED, ASKED)
    assert [row.ground for row in fee.suspensions] == ["fee"]
    assert fee.due is None
    assert "수수료 납부 대기" in explain_text.in_words(fee, "ko")
    assert "a failure of the system" in explain_text.in_words(one, "en")
    asked_before = (*OPENED[:1], event("disclosure.fee_asked", "11-02 11:00"), *OPENED[1:])
    assert told_of("statutory-disclosed", "11-06 10:00", *asked_before).due is None
    paid = told_of("statutory-disclosed", "11-11 10:00", *OPENED, ASKED, event("disclosure.fee_paid", "11-10 10:00"))
    assert (paid.due, paid.suspensions) == (at("11-17 00:00"), ())


def test_an_explanation_follows_a_consultation_to_its_later_day() -> None:
    asked = event("consultation.requested", "11-02 11:00", consultation="fire", respond_by="2026-11-05")
    longer = event("consultation.extended", "11-04 10:00", consultation="fire", respond_by="2026-11-07")
    # A Saturday, so Monday.
    assert told_of("statutory-consultation", "11-06 10:00", received(), asked, longer).due == at("11-10 00:00")


# -- policy ---------------------------------------------------------------------------------------------------


def switched(switch: str, *facts: Event, promise: str, until: str) -> list[str]:
    """The dates that a promise was given, under one switch."""
    told = play(*facts, until=until, world=of_city(f"policy: {{{switch}}}\n"))
    kinds = ("deadline.started", "deadline.resumed", "deadline.moved")
    return [line.partition(" due ")[2] for line in lines(told, promise) if line.split()[2] in kinds]


@pytest.mark.parametrize(
    ("switch", "facts", "promise", "due"),
    [
        ('day_end: "24:00"', [received()], "statutory-period", "11-11 00:00"),
        ('day_end: "18:00"', [received()], "statutory-period", "11-10 18:00"),
        ('day_end: "18:00"', [received(kind="other")], "statutory-period", "11-02 14:00"),
        ("after_hours_receipt: literal", [received("11-02 23:50")], "statutory-period", "11-11 00:00"),
        ("after_hours_receipt: next_open", [received("11-02 23:50")], "statutory-period", "11-12 00:00"),
        ("after_hours_receipt: next_open", [received("11-02 12:30")], "statutory-period", "11-11 00:00"),
        (
            "objection_count: civil",
            [received(**STATUTORY), event("objection.received", "11-09 10:00")],
            "statutory-objection-decision",
            "11-20 00:00",
        ),
        (
            "objection_count: statutory",
            [received(**STATUTORY), event("objection.received", "11-09 10:00")],
            "statutory-objection-decision",
            "11-21 00:00",  # 9 to 13, 16 to 20
        ),
        ("progress_send_by: next_working_day", [received()], "statutory-progress", "12-04 00:00"),
        ("progress_send_by: same_day", [received()], "statutory-progress", "12-03 00:00"),
    ],
)
def test_a_switch_has_two_sides(switch: str, facts: list[Event], promise: str, due: str) -> None:
    assert switched(switch, *facts, promise=promise, until="11-10 12:00") == [due]


@pytest.mark.parametrize(
    ("mode", "due"),
    [
        ("day_inclusive", "11-12 10:00"),  # seven hours on the 5th; 6 to 9 are out; eight, eight, one
        ("exact", "11-11 15:00"),  # seven, one; three on Monday from 15:00; eight, five
    ],
)
def test_suspended_by_dates_or_to_the_minute(mode: str, due: str) -> None:
    three = received("11-05 10:00", kind="statutory", period={"amount": 3, "unit": "days"})
    facts = [three, demanded("11-06 10:00", "2026-11-20"), answered("11-09 15:00")]
    found = switched(f"pause_mode: {mode}", *facts, promise="statutory-period", until="11-10 09:00")
    assert found[1:] == [due]


@pytest.mark.parametrize(("excluded", "due"), [("true", "11-12 00:00"), ("false", "11-11 00:00")])
def test_a_day_off_of_one_city_alone(excluded: str, due: str) -> None:
    day = event("calendar.exception", "11-03 10:00", case="anseong", date="2026-11-05", closed=True, local=True)
    told = play(
        received(), day, until="11-04 00:00", world=of_city(f"policy: {{local_holiday_excluded: {excluded}}}\n")
    )
    assert lines(told, "statutory-period")[-1].endswith(f"due {due}" + (" calendar" if excluded == "true" else ""))


@pytest.mark.parametrize("switch", ["day_ends: '18:00'", "day_end: '17:00'", "pause_mode: true"])
def test_an_unknown_switch_or_value_is_an_error(switch: str) -> None:
    charter = FILES["charters/anseong-1.yaml"] + f"policy: {{{switch}}}\n".encode()
    with pytest.raises(ValueError, match=r"policy: .*the switches are day_end"):
        parse_charter(charter, {"kr": FILES["law/kr.yaml"]})


@pytest.mark.parametrize(
    ("right", "wrong"), [("at_most_days: 14", "at_most_day: 14"), ("{extensions: 2,", "{extensions: two,")]
)
def test_a_law_file_that_says_it_wrongly_is_an_error(right: str, wrong: str) -> None:
    law = FILES["law/kr.yaml"].decode()
    assert right in law
    with pytest.raises(ValueError, match="law file"):
        parse_law(law.replace(right, wrong).encode())


def test_a_service_without_a_name_is_an_error() -> None:
    charter = FILES["charters/anseong-1.yaml"] + b"services: [{deemed_acceptance: true}]\n"
    with pytest.raises(ValueError, match=r"services: .*name"):
        parse_charter(charter, {"kr": FILES["law/kr.yaml"]})
