"""The fold: what is decided when, told as stories with expected lines written by hand.

Monday 2 November 2026 is a working day of a month without holidays.
"""

from typing import Any

import pytest
from stories import REPLY, at, event, lines, new_world, play, received, voided

from services.rules import standing
from services.rules.facts import Event, Fact
from services.rules.scan import Scan
from services.rules.world import World

HALF: dict[str, Any] = {"period": {"amount": 15, "unit": "days"}}
MONTHS: dict[str, Any] = {"kind": "statutory", "period": {"amount": 3, "unit": "months"}}


def callback(tenant: str, via: str, when: str = "11-02 10:00", **more: Any) -> Event:
    return event("callback.requested", when, tenant=tenant, via=via, **(REPLY | more))


def a_second_after(when: str) -> str:
    return f"{when}:01"


# -- every promise kept at the last instant, and broken a second later ----------------------------------------

PROMISES: list[tuple[str, list[Event], str, tuple[str, dict[str, Any]]]] = [
    ("anseong-visit-callback", [callback("anseong", "visit")], "11-02 11:00", ("callback.made", {"reached": True})),
    ("anseong-phone-callback", [callback("anseong", "phone")], "11-02 14:00", ("callback.made", {"reached": False})),
    (
        "anseong-visit-assist",
        [event("visit.arrived", "11-02 10:00", assistance_needed=True)],
        "11-02 10:10",
        ("visit.officer_came", {"officer": "o1"}),
    ),
    ("anseong-direction", [received()], "11-05 10:00", ("complaint.direction_notified", {"by": "phone"})),
    ("anseong-progress", [received(**HALF)], "11-10 00:00", ("complaint.progress_notified", {"by": "sms"})),
    ("anseong-inquiry", [received(kind="inquiry")], "11-05 10:00", ("complaint.completed", {})),
    ("anseong-grievance", [received(kind="service_grievance")], "11-05 10:00", ("complaint.rejected", {})),
    ("statutory-period", [received()], "11-11 00:00", ("complaint.completed", {})),
    ("statutory-period", [received(kind="other")], "11-02 14:00", ("complaint.rejected", {})),
    ("statutory-progress", [received(**MONTHS)], "12-04 00:00", ("complaint.progress_notified", {"by": "phone"})),
    (
        "statutory-objection-decision",
        [
            received(**HALF | {"kind": "statutory"}),
            event("complaint.rejected", "11-04 10:00"),
            event("objection.received", "11-05 10:00"),
        ],
        "11-17 00:00",  # ten dates from the 6th end on Sunday the 15th, which hands on to Monday
        ("objection.decided", {"outcome": "upheld"}),
    ),
    (
        "statutory-disclosure-objection-decision",
        [
            received(kind="disclosure"),
            event("disclosure.decided", "11-03 10:00", decision="closed"),
            event("objection.received", "11-05 10:00"),
        ],
        "11-14 00:00",  # 5, 6, 9, 10, 11, 12, 13
        ("objection.decided", {"outcome": "upheld"}),
    ),
    (
        "statutory-disclosed",
        [received(kind="disclosure"), event("disclosure.decided", "11-03 10:00", decision="open")],
        "11-14 00:00",
        ("disclosure.disclosed", {}),
    ),
    (
        "statutory-disclosed-after-fee",
        [
            received(kind="disclosure"),
            event("disclosure.decided", "11-03 10:00", decision="open"),
            event("disclosure.fee_paid", "11-16 10:00"),
        ],
        "11-24 00:00",  # 17 to 21 November, a Saturday
        ("disclosure.disclosed", {}),
    ),
    ("seoul-phone-callback", [callback("seoul", "phone")], "11-02 11:00", ("callback.made", {"reached": True})),
    ("seoul-statutory-period", [received(tenant="seoul")], "11-11 00:00", ("complaint.completed", {})),
    (
        "mapo-visit-appointment-assist",
        [
            event(
                "appointment.booked",
                "11-02 10:00",
                tenant="mapo",
                at="2026-11-04T15:00:00+09:00",
                assistance_needed=True,
            )
        ],
        "11-04 14:55",
        ("visit.staff_waiting", {"officer": "o1"}),
    ),
    (
        "mapo-visit-assist",
        [event("visit.arrived", "11-02 10:00", tenant="mapo", assistance_needed=True)],
        "11-02 10:10",
        ("visit.officer_came", {"officer": "o1"}),
    ),
    # Nothing stops at noon in Mapo.
    ("mapo-visit-callback", [callback("mapo", "visit", "11-02 11:30")], "11-02 12:30", ("callback.made", {})),
    ("mapo-phone-callback", [callback("mapo", "phone", "11-02 11:30")], "11-02 12:30", ("callback.made", {})),
    (
        "mapo-guardian-progress",
        [received(tenant="mapo", compound=True, guardian_wanted=True)],
        "11-05 10:00",
        ("complaint.progress_notified", {"by": "sms"}),
    ),
    (
        "mapo-handover",
        [received("11-02 11:30", tenant="mapo", channel="web")],
        "11-02 12:30",
        ("complaint.assigned", {"officer": "o1", "department": "d"}),
    ),
    (
        "mapo-first-contact",
        [received(tenant="mapo", channel="fax")],
        "11-02 13:00",
        ("complaint.procedure_explained", {"by": "email"}),
    ),
    ("mapo-disclosure", [received(tenant="mapo", kind="disclosure")], "11-14 00:00", ("disclosure.decided", {})),
    ("mapo-interim-contact", [received(tenant="mapo")], "11-11 00:00", ("complaint.reply_date_notified", {})),
    (
        "mapo-investigate",
        [received(tenant="mapo", kind="handling_grievance")],
        "11-03 10:00",
        ("complaint.completed", {}),
    ),
    ("mapo-late-explained", [received(tenant="mapo")], "11-11 10:00", ("delay.explained", {})),
    ("mapo-opinion", [received(tenant="mapo", kind="suggestion")], "11-05 10:00", ("complaint.completed", {})),
    ("yeonje-visit-callback", [callback("yeonje", "visit")], "11-02 14:00", ("callback.made", {})),
    ("yeonje-phone-callback", [callback("yeonje", "phone")], "11-02 14:00", ("callback.made", {})),
    (
        "yeonje-opinion-date",
        [received(tenant="yeonje", kind="suggestion")],
        "11-02 14:00",
        ("complaint.reply_date_notified", {"by": "sms"}),
    ),
    (
        "yeonje-opinion-answer",
        [received(tenant="yeonje", kind="suggestion")],
        "11-11 00:00",
        ("complaint.completed", {}),
    ),
    (
        "yeonje-opinion-answer",
        [received(tenant="yeonje", kind="suggestion", class_="simple")],
        "11-03 10:00",
        ("complaint.completed", {}),
    ),
    (
        "yeonje-opinion-answer",
        [received(tenant="yeonje", kind="service_grievance", class_="ordinary")],
        "11-05 10:00",
        ("complaint.completed", {}),
    ),
    ("miryang-callback", [callback("miryang", "visit")], "11-02 14:00", ("callback.made", {})),
    ("miryang-opinion", [received(tenant="miryang", kind="suggestion")], "11-05 10:00", ("complaint.completed", {})),
]


@pytest.mark.parametrize(("promise", "opening", "due", "meeting"), PROMISES)
def test_a_promise_is_kept_at_the_due_instant_and_broken_a_second_later(
    promise: str, opening: list[Event], due: str, meeting: tuple[str, dict[str, Any]]
) -> None:
    type, data = meeting
    tenant = opening[0].tenant
    kept = lines(play(*opening, event(type, due, tenant=tenant, **data), until="12-31 00:00"), promise)
    assert f"{due} deadline.met {promise} due {due}" in kept
    assert not [line for line in kept if "breached" in line and line.endswith(f"due {due}")]
    late = lines(play(*opening, event(type, a_second_after(due), tenant=tenant, **data)), promise)
    assert f"{due} deadline.breached {promise} due {due}" in late
    assert f"deadline.met {promise} due {due}" not in " ".join(late)


def test_every_timed_promise_of_the_five_charters_is_told_above() -> None:
    told = {promise for promise, *_ in PROMISES}
    library = new_world().partitions[0].rulebook.library
    timed = {
        promise.id
        for tenant in ("anseong", "seoul", "mapo", "yeonje", "miryang")
        for _, charter in library.charters_of(tenant)
        for promise in charter.promises.values()
        if promise.kind in ("deadline", "recurring") and promise.owed_by == "office"
    }
    assert timed == told


@pytest.mark.parametrize(
    ("opening", "promise"),
    [
        (callback("seoul", "visit"), "seoul-phone-callback"),
        (
            event("callback.requested", "11-02 10:00", tenant="seoul", via="phone", memo={"reply_wanted": False}),
            "seoul-phone-callback",
        ),
        (callback("seoul", "phone", cause="line_busy"), "seoul-phone-callback"),
        (event("visit.arrived", "11-02 10:00"), "anseong-visit-assist"),
        (event("visit.arrived", "11-02 10:00", tenant="mapo", assistance_needed=True, bell=False), "mapo-visit-assist"),
        (received(kind="commendation"), "statutory-period"),
        (received(kind="commendation"), "statutory-progress"),
        (received(kind="statutory", period={"amount": 6, "unit": "days"}), "anseong-direction"),
        (received(kind="statutory", period={"amount": 40, "unit": "hours"}), "anseong-direction"),
        (received(kind="inquiry"), "anseong-direction"),
        (received(kind="statutory", period={"amount": 14, "unit": "days"}), "anseong-progress"),
        (received(tenant="mapo", channel="visit"), "mapo-handover"),
        (received(tenant="mapo", compound=True, guardian_wanted=True, kind="other"), "mapo-guardian-progress"),
    ],
)
def test_what_starts_nothing(opening: Event, promise: str) -> None:
    assert lines(play(opening, until="12-31 00:00"), promise) == []


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("complaint.direction_notified", {"by": "sms"}),
        ("complaint.progress_notified", {"by": "phone"}),
        ("applicant.updated", {}),
    ],
)
def test_what_does_not_keep_the_direction_of_anseong(type: str, data: dict[str, Any]) -> None:
    assert lines(play(received(), event(type, "11-03 10:00", **data), until="11-06 00:00"), "deadline.met") == (
        [] if type != "complaint.progress_notified" else ["11-03 10:00 deadline.met statutory-progress due 12-04 00:00"]
    )


# -- warnings -------------------------------------------------------------------------------------------------


def test_a_warning_comes_once_before_the_due_instant() -> None:
    world = new_world()
    world.feed(callback("anseong", "phone"), 1)
    assert world.tick(at("11-02 13:30")) == []
    assert world.feed(event("applicant.updated", "11-02 13:20"), 2) == []
    assert lines(world.tick(at("11-02 13:30:01"))) == [
        "11-02 13:30 deadline.warned anseong-phone-callback due 11-02 14:00"
    ]
    told = play(callback("anseong", "phone"), until="11-02 13:59")
    assert lines(told) == [
        "11-02 10:00 deadline.started anseong-phone-callback due 11-02 14:00",
        "11-02 13:30 deadline.warned anseong-phone-callback due 11-02 14:00",
    ]


def test_a_moved_deadline_is_warned_of_again() -> None:
    told = play(
        callback("anseong", "phone"),
        event("callback.rescheduled", "11-02 13:45", wanted_at="2026-11-03T11:00:00+09:00"),
        until="11-03 10:45",
    )
    assert lines(told, "deadline.warned", "deadline.moved") == [
        "11-02 13:30 deadline.warned anseong-phone-callback due 11-02 14:00",
        "11-02 13:45 deadline.moved anseong-phone-callback due 11-03 11:00 rescheduled",
        "11-03 10:30 deadline.warned anseong-phone-callback due 11-03 11:00",
    ]


def test_a_tick_past_warning_and_due_brings_the_breach_alone() -> None:
    world = new_world()
    play(callback("seoul", "phone"), world=world)
    assert lines(world.tick(at("11-02 18:00"))) == [
        "11-02 11:00 deadline.breached seoul-phone-callback due 11-02 11:00"
    ]


def test_a_warning_before_the_start_is_left_out() -> None:
    told = play(callback("anseong", "phone", wanted_at="2026-11-02T10:20:00+09:00"), until="11-02 10:20")
    assert lines(told) == ["11-02 10:00 deadline.started anseong-phone-callback due 11-02 10:20"]


# -- callbacks and appointments -------------------------------------------------------------------------------


def test_the_time_that_the_citizen_wants_replaces_the_hours() -> None:
    asked = callback("yeonje", "phone", wanted_at="2026-11-07T20:30:00+09:00")
    assert lines(play(asked, until="11-08 00:00"), "deadline.started", "deadline.breached") == [
        "11-02 10:00 deadline.started yeonje-phone-callback due 11-07 20:30",
        "11-07 20:30 deadline.breached yeonje-phone-callback due 11-07 20:30",
    ]
    # Seoul offers no such choice.
    plain = callback("seoul", "phone", wanted_at="2026-11-07T20:30:00+09:00")
    assert lines(play(plain)) == ["11-02 10:00 deadline.started seoul-phone-callback due 11-02 11:00"]


def test_a_wanted_time_that_is_past_is_broken_at_once_and_one_in_ninety_years_is_no_trouble() -> None:
    past = callback("anseong", "visit", wanted_at="2026-11-02T09:00:00+09:00")
    assert lines(play(past), "deadline.started", "deadline.breached") == [
        "11-02 10:00 deadline.started anseong-visit-callback due 11-02 09:00",
        "11-02 09:00 deadline.breached anseong-visit-callback due 11-02 09:00",
    ]
    far = callback("anseong", "visit", wanted_at="2116-11-02T09:00:00+09:00")
    assert lines(play(far, event("callback.made", "11-02 10:05"))) == [
        "11-02 10:00 deadline.started anseong-visit-callback due 2116-11-02 09:00",
        "11-02 10:05 deadline.met anseong-visit-callback due 2116-11-02 09:00",
    ]


def test_a_publisher_whose_clock_is_ahead_breaks_no_promise_before_its_due_instant() -> None:
    asked = callback("seoul", "phone")
    noted = event("complaint.assigned", "11-02 11:03", tenant="seoul", department="Roads", recorded="11-02 10:58")
    assert "deadline.breached" not in {row.decision.kind for row in play(asked, noted)}
    assert lines(play(asked, noted, until="11-02 11:10"), "seoul-phone-callback") == [
        "11-02 10:00 deadline.started seoul-phone-callback due 11-02 11:00",
        "11-02 10:45 deadline.warned seoul-phone-callback due 11-02 11:00",
        "11-02 11:00 deadline.breached seoul-phone-callback due 11-02 11:00",
    ]
    # Whoever says at 10:58 that the call has been made says so in time.
    made = event("callback.made", "11-02 11:02", tenant="seoul", reached=True, recorded="11-02 10:58")
    assert lines(play(asked, made, until="11-02 11:10"), "seoul-phone-callback") == [
        "11-02 10:00 deadline.started seoul-phone-callback due 11-02 11:00",
        "11-02 10:45 deadline.warned seoul-phone-callback due 11-02 11:00",
        "11-02 10:58 deadline.met seoul-phone-callback due 11-02 11:00",
    ]


def test_rescheduled_after_the_breach_changes_nothing() -> None:
    told = play(
        callback("anseong", "visit"),
        event("callback.rescheduled", "11-02 11:30", wanted_at="2026-11-03T11:00:00+09:00"),
        until="11-04 00:00",
    )
    assert lines(told, "deadline.moved", "breach.retracted") == []


def test_a_cancelled_appointment_ends_the_promise() -> None:
    booked = event(
        "appointment.booked", "11-02 10:00", tenant="mapo", at="2026-11-04T15:00:00+09:00", assistance_needed=True
    )
    cancelled = event("appointment.cancelled", "11-03 10:00", tenant="mapo", at="2026-11-04T15:00:00+09:00")
    assert lines(play(booked, cancelled, until="11-05 00:00")) == [
        "11-02 10:00 deadline.started mapo-visit-appointment-assist due 11-04 14:55",
        "11-03 10:00 deadline.voided mapo-visit-appointment-assist due 11-04 14:55",
    ]


# -- suspension -----------------------------------------------------------------------------------------------


def supplement(when: str, answered: str = "", **more: Any) -> list[Event]:
    dispatched = f"2026-{when.replace(' ', 'T')}:00+09:00"
    found = [
        event("complaint.supplement_requested", when, dispatched_at=dispatched, respond_by="2026-11-20", **more),
    ]
    if answered:
        arrived = f"2026-{answered.replace(' ', 'T')}:00+09:00"
        found.append(event("complaint.supplement_received", answered, arrived_at=arrived, **more))
    return found


def test_a_supplement_stops_the_statutory_clock_and_not_the_interim_notice() -> None:
    told = play(received(), *supplement("11-04 16:00", "11-06 09:30"), until="11-17 00:00")
    # Counted: 2, 3, 9, 10, 11, 12, 13.
    assert lines(told, "statutory-period") == [
        "11-02 10:00 deadline.started statutory-period due 11-11 00:00",
        "11-04 16:00 deadline.suspended statutory-period",
        "11-06 09:30 deadline.resumed statutory-period due 11-14 00:00",
        "11-12 18:00 deadline.warned statutory-period due 11-14 00:00",
        "11-14 00:00 deadline.breached statutory-period due 11-14 00:00",
    ]
    assert "11-05 10:00 deadline.breached anseong-direction due 11-05 10:00" in lines(told, "anseong-direction")


def test_suspended_on_the_very_day_it_is_due() -> None:
    asked = received(kind="inquiry")
    before = play(asked, *supplement("11-05 09:30", "11-06 15:00"), until="11-10 00:00")
    assert lines(before, "anseong-inquiry")[:-1] == [
        "11-02 10:00 deadline.started anseong-inquiry due 11-05 10:00",
        "11-04 15:00 deadline.warned anseong-inquiry due 11-05 10:00",
        "11-05 09:30 deadline.suspended anseong-inquiry",
        "11-06 15:00 deadline.resumed anseong-inquiry due 11-09 10:00",
        "11-06 15:00 deadline.warned anseong-inquiry due 11-09 10:00",
        "11-09 10:00 deadline.breached anseong-inquiry due 11-09 10:00",
    ]
    after = play(asked, *supplement("11-05 10:01", "11-06 15:00"), until="11-10 00:00")
    assert lines(after, "anseong-inquiry")[2:] == [
        "11-05 10:00 deadline.breached anseong-inquiry due 11-05 10:00",
        "11-05 10:00 remedy.proposed anseong-inquiry anseong-remedy-standard due 11-05 10:00 10000",
    ]


def test_overlapping_suspensions_resume_when_the_last_one_ends() -> None:
    told = play(
        received(),
        *supplement("11-04 16:00"),
        event("complaint.suspended", "11-05 10:00", ground="hearing"),
        event("complaint.supplement_received", "11-06 09:30", arrived_at="2026-11-06T09:30:00+09:00"),
        event("complaint.resumed", "11-09 11:00", ground="hearing"),
    )
    # Counted: 2, 3, 10, 11, 12, 13, 16.
    assert lines(told, "statutory-period")[1:] == [
        "11-04 16:00 deadline.suspended statutory-period",
        "11-09 11:00 deadline.resumed statutory-period due 11-17 00:00",
    ]


def test_an_outage_stops_hours_to_the_minute() -> None:
    told = play(
        received("11-02 09:00", tenant="yeonje", kind="suggestion"),
        event("complaint.suspended", "11-02 10:00", tenant="yeonje", ground="outage"),
        event("complaint.resumed", "11-02 16:00", tenant="yeonje", ground="outage", at="2026-11-02T15:00:00+09:00"),
    )
    assert lines(told, "yeonje-opinion-date") == [
        "11-02 09:00 deadline.started yeonje-opinion-date due 11-02 12:00",
        "11-02 10:00 deadline.suspended yeonje-opinion-date",
        "11-02 16:00 deadline.resumed yeonje-opinion-date due 11-02 17:00",
    ]


def test_completed_while_suspended_is_met_with_a_due_instant() -> None:
    told = play(received(), *supplement("11-04 16:00"), event("complaint.completed", "11-25 15:00"))
    # As if resumed on the 25th: 2, 3, 26, 27, 30, 1 and 2 December.
    assert lines(told, "statutory-period")[-1] == "11-25 15:00 deadline.met statutory-period due 12-03 00:00"


def test_a_suspension_reported_late_takes_the_breach_back() -> None:
    told = play(
        received(),
        event("complaint.suspended", "11-12 09:00", ground="inspection", from_="2026-11-09T09:00:00+09:00"),
        event("complaint.resumed", "11-13 09:00", ground="inspection"),
    )
    # Counted: 2 to 6 November are five, then 16 and 17.
    assert lines(told, "statutory-period")[2:] == [
        "11-11 00:00 deadline.breached statutory-period due 11-11 00:00",
        "11-12 09:00 deadline.suspended statutory-period",
        "11-12 09:00 breach.retracted statutory-period due 11-11 00:00",
        "11-13 09:00 deadline.resumed statutory-period due 11-18 00:00",
    ]


# -- extension ------------------------------------------------------------------------------------------------


def extended(when: str, ground: str = "fact_check", amount: int = 7, unit: str = "days", **more: Any) -> Event:
    return event("complaint.extended", when, ground=ground, amount=amount, unit=unit, **more)


def test_an_extension_moves_the_statutory_clock_and_no_promise_of_the_charter() -> None:
    told = play(received(tenant="mapo"), extended("11-06 10:00", tenant="mapo"))
    # Fourteen dates: 2 to 6, 9 to 13, 16 to 19.
    assert lines(told, "deadline.moved", "deadline.met") == [
        "11-06 10:00 deadline.met mapo-interim-contact due 11-11 00:00",
        "11-06 10:00 deadline.moved statutory-period due 11-20 00:00 extended",
    ]


@pytest.mark.parametrize(
    ("facts", "refused"),
    [
        ([extended("11-06 10:00", amount=8)], "extension_too_long"),
        ([extended("11-06 10:00", amount=1, unit="weeks")], "extension_in_another_unit"),
        ([extended("11-06 10:00", ground="surge")], "extension_ground_not_allowed"),
        ([extended("11-06 10:00"), extended("11-09 10:00")], "extension_without_consent"),
        (
            [extended("11-06 10:00"), extended("11-09 10:00", consent=True), extended("11-10 10:00", consent=True)],
            "extension_too_often",
        ),
        ([extended("11-11 00:01")], "extension_too_late"),
        ([event("complaint.completed", "11-05 10:00"), extended("11-06 10:00")], "case_closed"),
        ([event("complaint.completed", "11-05 10:00"), event("complaint.completed", "11-06 10:00")], "case_closed"),
        ([event("complaint.reopened", "11-06 10:00")], "case_open"),
        ([event("complaint.resumed", "11-06 10:00", ground="hearing")], "not_suspended"),
        (
            [
                event("complaint.suspended", "11-05 10:00", ground="hearing"),
                event("complaint.suspended", "11-06 10:00", ground="hearing"),
            ],
            "suspended_already",
        ),
        (supplement("11-02 10:00", "11-06 10:00")[1:], "supplement_not_requested"),
        ([event("complaint.progress_notified", "11-01 10:00", recorded="11-06 10:00", by="sms")], "before_receipt"),
        ([received("11-06 10:00", kind="inquiry")], "received_already"),
    ],
)
def test_what_contradicts_the_case_is_refused_by_name_and_changes_nothing(facts: list[Event], refused: str) -> None:
    told = play(received(), *facts)
    last = facts[-1]
    found = [row for row in told if row.decision.kind == "event.refused"]
    assert [(row.decision.code, row.decision.about) for row in found] == [(refused, f"desk/{last.id}")]
    assert lines(found)[0].startswith(lines(told)[-1][:11])
    without = play(received(), *facts[:-1], until="12-31 00:00")
    assert [row for row in play(received(), *facts, until="12-31 00:00") if row not in found] == without


def test_extension_without_period_and_by_the_law_of_the_date_of_receipt() -> None:
    none = play(received(kind="commendation"), extended("11-06 10:00"))
    assert lines(none, "event.refused") == ["11-06 10:00 event.refused extension_without_period"]
    early = play(received("05-04 10:00"), extended("05-06 10:00", ground="surge"))
    assert lines(early, "event.refused") == []
    disclosed = play(
        received(kind="disclosure"),
        extended("11-06 10:00", "surge", 10),
        extended("11-09 10:00", "bulk", 5, consent=True),
    )
    assert lines(disclosed, "event.refused", "deadline.moved") == [
        "11-06 10:00 deadline.moved statutory-period due 11-28 00:00 extended",
        "11-09 10:00 event.refused extension_too_often",
    ]


def test_a_refused_fact_is_accepted_when_the_contradiction_goes() -> None:
    first = extended("11-06 10:00")
    second = extended("11-09 10:00")
    told = play(received(), first, second, voided("11-10 09:00", first))
    assert lines(told, "event.refused", "event.accepted", "deadline.moved") == [
        "11-06 10:00 deadline.moved statutory-period due 11-20 00:00 extended",
        "11-09 10:00 event.refused extension_without_consent",
        "11-10 09:00 event.accepted extension_without_consent",
    ]


# -- classification -------------------------------------------------------------------------------------------


def test_a_class_set_later_counts_from_receipt_and_may_be_broken_at_once() -> None:
    opinion = received(tenant="yeonje", kind="suggestion")
    told = play(opinion, event("complaint.classified", "11-04 09:00", tenant="yeonje", class_="simple"))
    assert lines(told, "yeonje-opinion-answer") == [
        "11-02 10:00 deadline.started yeonje-opinion-answer due 11-11 00:00",
        "11-04 09:00 deadline.moved yeonje-opinion-answer due 11-03 10:00 classified",
        "11-03 10:00 deadline.breached yeonje-opinion-answer due 11-03 10:00",
    ]


def test_a_kind_set_later_starts_and_voids() -> None:
    told = play(received(), event("complaint.classified", "11-03 09:00", kind="inquiry"))
    assert lines(told) == [
        "11-02 10:00 deadline.started anseong-direction due 11-05 10:00",
        "11-02 10:00 deadline.started statutory-period due 11-11 00:00",
        "11-02 10:00 deadline.started statutory-progress due 12-04 00:00",
        "11-03 09:00 deadline.voided anseong-direction due 11-05 10:00",
        "11-03 09:00 deadline.started anseong-inquiry due 11-05 10:00",
    ]


def test_a_shorter_class_breaks_what_seemed_met() -> None:
    told = play(
        received(tenant="yeonje", kind="suggestion"),
        event("complaint.completed", "11-05 15:00", tenant="yeonje"),
        event("complaint.classified", "11-06 09:00", tenant="yeonje", class_="simple"),
    )
    assert lines(told, "yeonje-opinion-answer")[1:] == [
        "11-05 15:00 deadline.met yeonje-opinion-answer due 11-11 00:00",
        "11-06 09:00 deadline.moved yeonje-opinion-answer due 11-03 10:00 classified",
        "11-03 10:00 deadline.breached yeonje-opinion-answer due 11-03 10:00",
    ]


def test_a_classification_dated_before_the_receipt_is_refused_and_changes_nothing() -> None:
    told = play(received(), event("complaint.classified", "11-01 09:00", recorded="11-03 09:00", kind="commendation"))
    assert lines(told)[3:] == ["11-01 09:00 event.refused before_receipt"]


# -- rounds ---------------------------------------------------------------------------------------------------


def progress(when: str, by: str = "sms") -> Event:
    return event("complaint.progress_notified", when, by=by)


def test_rounds_are_counted_from_receipt_and_broken_one_by_one() -> None:
    told = play(received(**HALF), progress("11-12 10:00"), until="11-25 00:00")
    assert lines(told, "anseong-progress") == [
        "11-02 10:00 deadline.started anseong-progress due 11-10 00:00",
        "11-06 18:00 deadline.warned anseong-progress due 11-10 00:00",
        "11-10 00:00 deadline.breached anseong-progress due 11-10 00:00",
        "11-10 00:00 remedy.proposed anseong-progress anseong-remedy-standard due 11-10 00:00 10000",
        "11-10 00:00 deadline.started anseong-progress due 11-17 00:00",
        "11-12 10:00 deadline.met anseong-progress due 11-17 00:00",
        "11-17 00:00 deadline.started anseong-progress due 11-24 00:00",
        "11-20 18:00 deadline.warned anseong-progress due 11-24 00:00",
        # The remedy is owed once for the promise and the case.
        "11-24 00:00 deadline.breached anseong-progress due 11-24 00:00",
        "11-24 00:00 deadline.started anseong-progress due 12-01 00:00",
    ]


def test_a_notice_counts_for_the_seven_days_it_falls_in_also_while_the_round_before_is_rolled() -> None:
    # Received on Sunday 1 November: the first seven days end on Sunday 8, rolled to Monday 9; the second on 15, 16.
    first, sunday = progress("11-04 10:00"), progress("11-09 10:00")
    told = play(received("11-01 10:00", **HALF), first, sunday, until="11-17 00:00")
    assert lines(told, "anseong-progress") == [
        "11-01 10:00 deadline.started anseong-progress due 11-10 00:00",
        "11-04 10:00 deadline.met anseong-progress due 11-10 00:00",
        "11-09 00:00 deadline.started anseong-progress due 11-17 00:00",
        "11-09 10:00 deadline.met anseong-progress due 11-17 00:00",
        "11-16 00:00 deadline.started anseong-progress due 11-24 00:00",
    ]
    # One notice keeps one round: the older, as long as it is not due.
    once = play(received("11-01 10:00", **HALF), progress("11-09 10:00"), until="11-17 00:01")
    assert lines(once, "deadline.met", "anseong-progress")[3:5] == [
        "11-09 10:00 deadline.met anseong-progress due 11-10 00:00",
        "11-09 10:00 deadline.met statutory-progress due 12-03 00:00",
    ]
    assert lines(once, "anseong-progress")[-2] == "11-17 00:00 deadline.breached anseong-progress due 11-17 00:00"


def test_a_notice_at_the_very_end_of_seven_days_counts_for_those() -> None:
    told = play(received(**HALF), progress("11-04 10:00"), progress("11-10 00:00"), until="11-17 00:01")
    assert lines(told, "anseong-progress", "deadline.met")[-4:-2] == [
        "11-13 18:00 deadline.warned anseong-progress due 11-17 00:00",
        "11-17 00:00 deadline.breached anseong-progress due 11-17 00:00",
    ]


def test_rounds_go_on_during_a_suspension_and_end_with_the_case() -> None:
    told = play(
        received(**HALF), *supplement("11-04 10:00"), event("complaint.withdrawn", "11-11 10:00"), until="12-31 00:00"
    )
    assert lines(told, "anseong-progress", "deadline.voided")[-5:] == [
        "11-10 00:00 deadline.started anseong-progress due 11-17 00:00",
        "11-11 10:00 deadline.voided statutory-period",
        "11-11 10:00 deadline.voided anseong-progress due 11-17 00:00",
        "11-11 10:00 deadline.voided statutory-supplement due 11-21 00:00",
        "11-11 10:00 deadline.voided statutory-progress due 12-04 00:00",
    ]


# -- late, voided, reordered ----------------------------------------------------------------------------------


def test_a_completion_that_comes_late_takes_breach_and_remedy_back() -> None:
    told = play(received(kind="inquiry"), event("complaint.completed", "11-05 09:59", recorded="11-06 10:00"))
    assert lines(told, "anseong-inquiry") == [
        "11-02 10:00 deadline.started anseong-inquiry due 11-05 10:00",
        "11-04 15:00 deadline.warned anseong-inquiry due 11-05 10:00",
        "11-05 10:00 deadline.breached anseong-inquiry due 11-05 10:00",
        "11-05 10:00 remedy.proposed anseong-inquiry anseong-remedy-standard due 11-05 10:00 10000",
        "11-05 09:59 deadline.met anseong-inquiry due 11-05 10:00",
        "11-05 09:59 breach.retracted anseong-inquiry due 11-05 10:00",
        "11-05 09:59 remedy.withdrawn anseong-inquiry anseong-remedy-standard due 11-05 10:00 10000",
    ]


def test_a_fact_dated_after_the_due_instant_decides_it_before_any_tick() -> None:
    world = new_world()
    told = world.feed(callback("anseong", "visit"), 1)
    told += world.feed(event("callback.made", "11-02 11:00:01"), 2)
    assert lines(told) == [
        "11-02 10:00 deadline.started anseong-visit-callback due 11-02 11:00",
        "11-02 11:00 deadline.breached anseong-visit-callback due 11-02 11:00",
        "11-02 11:00 remedy.proposed anseong-visit-callback anseong-remedy-standard due 11-02 11:00 10000",
    ]


def test_a_fact_dated_after_the_due_instant_decides_also_where_its_effect_lies_before() -> None:
    world = new_world()
    told = world.feed(received(), 1) + world.feed(callback("anseong", "visit"), 2)
    late = event("complaint.suspended", "11-02 11:30", ground="hearing", from_="2026-11-02T10:30:00+09:00")
    told += world.feed(late, 3)
    assert "11-02 11:00 deadline.breached anseong-visit-callback due 11-02 11:00" in lines(told)


def test_facts_with_effect_at_one_instant_take_the_order_of_their_times() -> None:
    done = event("complaint.completed", "11-04 10:00")
    stopped = event("complaint.suspended", "11-04 10:05", ground="hearing", from_="2026-11-04T10:00:00+09:00")
    for arrivals in ([done, stopped], [stopped, done]):
        world = new_world()
        told = [row for sequence, one in enumerate([received(), *arrivals], 1) for row in world.feed(one, sequence)]
        assert lines(told, "event.refused") == [f"{lines(told)[-1][:11]} event.refused case_closed"]


def test_a_voided_completion_reopens_and_breaks_if_past() -> None:
    done = event("complaint.completed", "11-04 15:00")
    early = play(received(kind="inquiry"), done, voided("11-05 09:00", done))
    assert lines(early, "anseong-inquiry")[-2:] == [
        "11-05 09:00 deadline.moved anseong-inquiry due 11-05 10:00 reopened",
        "11-05 09:00 deadline.warned anseong-inquiry due 11-05 10:00",
    ]
    late = play(received(kind="inquiry"), done, voided("11-06 09:00", done))
    assert lines(late, "anseong-inquiry")[-3:] == [
        "11-06 09:00 deadline.moved anseong-inquiry due 11-05 10:00 reopened",
        "11-05 10:00 deadline.breached anseong-inquiry due 11-05 10:00",
        "11-05 10:00 remedy.proposed anseong-inquiry anseong-remedy-standard due 11-05 10:00 10000",
    ]


def test_a_voided_receipt_voids_all_and_a_voided_voiding_brings_it_back() -> None:
    asked = received()
    away = voided("11-03 09:00", asked)
    told = play(asked, away, voided("11-03 10:00", away))
    assert lines(told, "statutory-period") == [
        "11-02 10:00 deadline.started statutory-period due 11-11 00:00",
        "11-03 09:00 deadline.voided statutory-period due 11-11 00:00",
        "11-03 10:00 deadline.started statutory-period due 11-11 00:00",
    ]


def test_a_case_that_was_closed_by_mistake_runs_again_after_the_voiding() -> None:
    gone = event("complaint.withdrawn", "11-04 10:00")
    told = play(received(), gone, voided("11-05 09:00", gone), until="11-06 00:00")
    assert lines(told, "anseong-direction") == [
        "11-02 10:00 deadline.started anseong-direction due 11-05 10:00",
        "11-04 10:00 deadline.voided anseong-direction due 11-05 10:00",
        "11-05 09:00 deadline.moved anseong-direction due 11-05 10:00 reopened",
        "11-05 09:00 deadline.warned anseong-direction due 11-05 10:00",
        "11-05 10:00 deadline.breached anseong-direction due 11-05 10:00",
        "11-05 10:00 remedy.proposed anseong-direction anseong-remedy-standard due 11-05 10:00 10000",
    ]


def test_a_duplicate_changes_nothing() -> None:
    asked = received()
    assert play(asked, asked, asked) == play(asked)


def test_facts_before_the_receipt_wait_for_it() -> None:
    done = event("complaint.direction_notified", "11-03 10:00", by="phone")
    assert play(done) == []
    told = play(done, received(recorded="11-04 10:00"))
    assert lines(told, "anseong-direction") == [
        "11-02 10:00 deadline.started anseong-direction due 11-05 10:00",
        "11-02 10:00 deadline.met anseong-direction due 11-05 10:00",
    ]


# -- the end of a case ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [
        event("complaint.withdrawn", "11-04 10:00"),
        event("complaint.returned", "11-04 10:00"),
        event("complaint.closed_without_answer", "11-04 10:00", ground="repeat"),
        event("complaint.transferred", "11-04 10:00", to_agency="elsewhere"),
    ],
)
def test_what_ends_a_case_voids_its_promises_and_no_callback(end: Event) -> None:
    told = play(received(), callback("anseong", "visit", "11-04 09:30"), end, until="12-31 00:00")
    assert lines(told, "deadline.voided", "deadline.breached") == [
        "11-04 10:00 deadline.voided anseong-direction due 11-05 10:00",
        "11-04 10:00 deadline.voided statutory-period due 11-11 00:00",
        "11-04 10:00 deadline.voided statutory-progress due 12-04 00:00",
        "11-04 10:30 deadline.breached anseong-visit-callback due 11-04 10:30",
    ]


def test_a_transfer_inside_the_city_ends_nothing() -> None:
    told = play(received(), event("complaint.transferred", "11-04 10:00", to_department="roads"), until="11-04 12:00")
    assert lines(told, "deadline.voided") == []


def test_a_reopened_case_gets_clocks_of_its_own() -> None:
    told = play(
        received(),
        event("complaint.completed", "11-04 10:00"),
        event("complaint.reopened", "11-16 10:00"),
        event("complaint.completed", "11-25 10:00"),
    )
    # Seven dates from 16 November: 16 to 20, 23, 24.
    assert lines(told, "statutory-period") == [
        "11-02 10:00 deadline.started statutory-period due 11-11 00:00",
        "11-04 10:00 deadline.met statutory-period due 11-11 00:00",
        "11-16 10:00 deadline.started statutory-period due 11-25 00:00",
        "11-23 18:00 deadline.warned statutory-period due 11-25 00:00",
        "11-25 00:00 deadline.breached statutory-period due 11-25 00:00",
    ]


def test_a_guardian_wanted_when_the_case_is_over_promises_nothing() -> None:
    told = play(
        received(tenant="mapo", compound=True),
        event("complaint.completed", "11-03 10:00", tenant="mapo"),
        event("guardian.requested", "11-03 11:00", tenant="mapo"),
        until="12-31 00:00",
    )
    assert lines(told, "mapo-guardian-progress") == []


@pytest.mark.parametrize(
    ("wished", "found"),
    [
        ("11-04 09:00", ["11-04 09:00 deadline.started mapo-guardian-progress due 11-05 10:00"]),
        ("11-05 10:00", ["11-05 10:00 deadline.started mapo-guardian-progress due 11-05 10:00"]),
        ("11-05 10:01", []),
    ],
)
def test_a_guardian_wished_for_later_counts_from_receipt(wished: str, found: list[str]) -> None:
    told = play(received(tenant="mapo", compound=True), event("guardian.requested", wished, tenant="mapo"))
    assert lines(told, "mapo-guardian-progress")[:1] == found


# -- measures, remedies, tasks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenant", "type", "field", "good", "bad", "promise"),
    [
        ("anseong", "visit.guided", "seconds_to_officer", 60, 61, "anseong-visit-find"),
        ("anseong", "call.answered", "rings", 2, 3, "anseong-phone-rings"),
        ("mapo", "call.answered", "rings", 2, 3, "mapo-phone-rings"),
        ("yeonje", "visit.guided", "seconds_to_officer", 30, 31, "yeonje-visit-find"),
        ("yeonje", "call.answered", "rings", 2, 3, "yeonje-phone-rings"),
        ("miryang", "visit.guided", "seconds_to_officer", 180, 181, "miryang-visit-find"),
        ("miryang", "visit.attended", "seconds_to_attention", 10, 11, "miryang-visit-attend"),
        ("miryang", "call.answered", "rings", 1, 2, "miryang-phone-rings"),
        ("miryang", "call.ended", "duration_seconds", 120, 121, "miryang-phone-brief"),
        ("miryang", "call.ended", "hangup_delay_seconds", 2, 1, "miryang-phone-hangup"),
        ("miryang", "call.transferred", "wait_seconds", 9, 10, "miryang-phone-transfer"),
    ],
)
def test_measures_on_both_sides_of_their_limit(
    tenant: str, type: str, field: str, good: Any, bad: Any, promise: str
) -> None:
    assert play(event(type, "11-02 10:00", tenant=tenant, **{field: good})) == []
    assert play(event(type, "11-02 10:00", tenant=tenant)) == []
    told = lines(play(event(type, "11-02 10:00", tenant=tenant, **{field: bad})))
    assert told[0] == f"11-02 10:00 measure.breached {promise}"


def test_a_broken_measure_pays_in_anseong_but_not_for_late_ringing_and_is_retracted() -> None:
    slow = event("visit.guided", "11-02 10:00", seconds_to_officer=90)
    told = play(slow, event("call.answered", "11-02 10:05", rings=5), voided("11-02 11:00", slow))
    assert lines(told) == [
        "11-02 10:00 measure.breached anseong-visit-find",
        "11-02 10:00 remedy.proposed anseong-visit-find anseong-remedy-standard 10000",
        "11-02 10:05 measure.breached anseong-phone-rings",
        "11-02 11:00 measure.retracted anseong-visit-find",
        "11-02 11:00 remedy.withdrawn anseong-visit-find anseong-remedy-standard 10000",
    ]


def test_seoul_pays_for_the_statutory_period_after_a_finding_and_for_nothing_else() -> None:
    told = play(received(tenant="seoul"), callback("seoul", "phone", "11-03 10:00"), until="11-12 00:00")
    assert lines(told, "remedy.proposed") == [
        "11-11 00:00 remedy.proposed seoul-statutory-period seoul-remedy-money due 11-11 00:00 5000 finding"
    ]


def test_miryang_wants_finding_and_amount() -> None:
    told = play(received(tenant="miryang", kind="other"), until="11-03 00:00")
    assert lines(told, "remedy.proposed") == [
        "11-02 14:00 remedy.proposed statutory-period miryang-remedy-late due 11-02 14:00 finding amount"
    ]


@pytest.mark.parametrize(
    ("tenant", "ground", "data", "found"),
    [
        ("seoul", "misguidance", {}, ["remedy.proposed seoul-remedy-money 5000"]),
        (
            "seoul",
            "unkind",
            {"via": "phone"},
            ["task.created seoul-remedy-unkind caution", "task.created seoul-remedy-unkind courtesy_training"],
        ),
        ("seoul", "unkind", {"via": "visit"}, []),
        ("anseong", "unkind", {}, ["remedy.proposed anseong-remedy-unkind 10000"]),
        ("anseong", "repeat_visit", {}, ["remedy.proposed anseong-remedy-revisit 10000"]),
        ("mapo", "careless", {}, ["remedy.proposed mapo-redress amount"]),
        ("mapo", "late", {}, []),
        ("mapo", "unkind", {"via": "visit"}, ["task.created mapo-remedy-unkind caution"]),
        ("yeonje", "error", {}, ["remedy.proposed yeonje-remedy-error 10000"]),
        ("yeonje", "unkind", {"via": "phone"}, ["task.created yeonje-remedy-unkind retraining"]),
        (
            "miryang",
            "unkind",
            {"via": "phone"},
            [f"task.created miryang-remedy-unkind {task}" for task in ("apology", "caution", "courtesy_training")],
        ),
    ],
)
def test_remedies_of_a_confirmed_fault(tenant: str, ground: str, data: dict[str, Any], found: list[str]) -> None:
    told = play(event("fault.confirmed", "11-02 10:00", tenant=tenant, ground=ground, **data))
    assert sorted(line.removeprefix("11-02 10:00 ") for line in lines(told)) == sorted(found)


def test_mapo_apologises_where_a_handling_grievance_is_right() -> None:
    grievance = received(tenant="mapo", kind="handling_grievance")
    fault = event("fault.confirmed", "11-02 15:00", tenant="mapo", ground="careless")
    assert lines(play(grievance, fault), "mapo-remedy-apology") == [
        "11-02 15:00 task.created mapo-remedy-apology apology"
    ]
    assert lines(play(received(tenant="mapo"), fault), "mapo-remedy-apology") == []


def test_a_fault_that_names_a_broken_promise_is_that_incident() -> None:
    slow = event("visit.guided", "11-02 10:00", seconds_to_officer=90)
    late = callback("anseong", "visit", "11-02 10:00")
    reported = event("fault.reported", "11-02 15:00", id="f1", ground="standard", promise="anseong-visit-callback")
    about_promise = event("fault.confirmed", "11-02 16:00", ground="standard", about="anseong-visit-find")
    about_report = event("fault.confirmed", "11-02 17:00", ground="standard", about="f1")
    told = play(slow, late, reported, about_promise, about_report)
    assert lines(told, "remedy.proposed") == [
        "11-02 10:00 remedy.proposed anseong-visit-find anseong-remedy-standard 10000",
        "11-02 11:00 remedy.proposed anseong-visit-callback anseong-remedy-standard due 11-02 11:00 10000",
    ]
    other = event("fault.confirmed", "11-02 16:00", ground="standard", about="anseong-visit-greet")
    assert lines(play(slow, other), "remedy.proposed")[1:] == [
        "11-02 16:00 remedy.proposed anseong-remedy-standard 10000"
    ]


def test_a_remedy_is_proposed_once_per_promise_and_withdrawn_only_with_the_last_breach() -> None:
    first = callback("anseong", "visit", wanted_at="2026-11-04T10:00:00+09:00", id="a")
    second = callback("anseong", "visit", "11-02 11:00", id="b")
    called = event("callback.made", "11-02 12:00", recorded="11-05 10:00", reached=True)
    told = play(first, second, until="11-05 00:00")
    assert lines(told, "remedy.proposed") == [
        "11-02 12:00 remedy.proposed anseong-visit-callback anseong-remedy-standard due 11-02 12:00 10000"
    ]
    again = play(first, second, called)
    assert lines(again, "remedy.withdrawn", "breach.retracted") == [
        "11-02 12:00 breach.retracted anseong-visit-callback due 11-02 12:00",
        "11-02 12:00 remedy.withdrawn anseong-visit-callback anseong-remedy-standard due 11-02 12:00 10000",
        "11-02 12:00 breach.retracted anseong-visit-callback due 11-04 10:00",
    ]


def test_mapo_explains_a_breach_within_an_hour_and_the_head_has_a_task() -> None:
    told = play(received("11-02 09:00", tenant="mapo", kind="other"), until="11-02 14:00")
    # Three working hours from 09:00 end at noon; the hour to explain runs through lunch.
    assert lines(told, "mapo-late-explained") == [
        "11-02 12:00 deadline.started mapo-late-explained due 11-02 13:00",
        "11-02 12:00 task.created mapo-late-explained head_explains due 11-02 13:00",
        "11-02 12:45 deadline.warned mapo-late-explained due 11-02 13:00",
        "11-02 13:00 deadline.breached mapo-late-explained due 11-02 13:00",
    ]


def test_when_the_breach_goes_so_does_what_it_started() -> None:
    told = play(
        received("11-02 09:00", tenant="mapo", kind="other"),
        event("complaint.completed", "11-02 11:00", tenant="mapo", recorded="11-02 15:00"),
    )
    assert lines(told, "breach.retracted", "deadline.voided", "task.withdrawn") == [
        "11-02 11:00 breach.retracted statutory-period due 11-02 12:00",
        "11-02 11:00 deadline.voided mapo-late-explained due 11-02 13:00",
        "11-02 11:00 breach.retracted mapo-late-explained due 11-02 13:00",
        "11-02 11:00 task.withdrawn mapo-late-explained head_explains due 11-02 13:00",
        "11-02 11:00 deadline.voided statutory-progress due 12-04 00:00",
    ]


def test_the_heads_word_alone_does_not_explain_and_completion_does_not_either() -> None:
    told = play(
        received("11-02 09:00", tenant="mapo", kind="other"),
        event("delay.explained", "11-02 12:30", tenant="mapo", by_head=True),
        event("complaint.completed", "11-02 12:40", tenant="mapo"),
        until="11-02 14:00",
    )
    assert lines(told, "mapo-late-explained")[-1] == (
        "11-02 13:00 deadline.breached mapo-late-explained due 11-02 13:00"
    )


# -- rules that change, and cases that cannot be worked out ---------------------------------------------------


def holiday(when: str, day: str, tenant: str = "anseong", closed: bool = True, **more: Any) -> Event:
    return event("calendar.exception", when, case=tenant, tenant=tenant, date=day, closed=closed, **more)


def test_a_day_off_declared_later_moves_open_deadlines_and_keeps_the_date_first_told() -> None:
    told = play(received(), holiday("11-03 09:00", "2026-11-05"))
    moved = [row.decision for row in told if row.decision.kind == "deadline.moved"]
    assert lines(told, "deadline.moved") == [
        "11-03 09:00 deadline.moved anseong-direction due 11-06 10:00 calendar",
        "11-03 09:00 deadline.moved statutory-period due 11-12 00:00 calendar",
    ]
    assert [decision.first_due for decision in moved] == [at("11-05 10:00"), at("11-11 00:00")]


def test_a_saturday_opened_by_decision_for_its_hours() -> None:
    saturday = holiday("11-03 09:00", "2026-11-07", closed=False, hours=["10:00-12:00"])
    told = play(callback("anseong", "phone", "11-06 17:00"), until="11-06 17:01", world=(world := new_world()))
    told += world.feed(saturday, 9)
    # One hour on Friday, two on Saturday until noon.
    assert lines(told, "anseong-phone-callback") == [
        "11-06 17:00 deadline.started anseong-phone-callback due 11-09 11:00",
        "11-03 09:00 deadline.moved anseong-phone-callback due 11-07 12:00 calendar",
    ]


@pytest.mark.parametrize("hours", [["18:00-09:00"], ["09:00-12:00", "11:00-13:00"]])
def test_hours_that_make_no_sense_do_not_stop_a_partition(hours: list[str]) -> None:
    opened = holiday("11-03 09:00", "2026-11-07", closed=False, hours=hours)
    assert lines(play(opened, callback("anseong", "visit", "11-07 10:00"))) == [
        "11-07 10:00 deadline.started anseong-visit-callback due 11-07 11:00"
    ]


def test_a_day_off_of_one_city_moves_no_deadline_of_another_and_none_that_is_closed() -> None:
    ours = [received(), event("complaint.completed", "11-02 15:00")]
    theirs = received(tenant="seoul")
    told = play(*ours, theirs, holiday("11-03 09:00", "2026-11-05"))
    assert lines(told, "deadline.moved") == []


def test_a_deadline_past_the_horizon_is_provisional() -> None:
    told = play(received("2028-12-20 10:00", **HALF))
    flags = {row.decision.promise: row.decision.provisional for row in told}
    assert flags["statutory-period"] is True
    assert flags["anseong-direction"] is False


def test_an_ordinary_receipt_before_the_calendar_begins_leaves_one_case_stuck_and_the_others_going() -> None:
    world = new_world()
    assert play(received("2019-06-03 10:00"), world=world) == []
    assert [case.stuck for one in world.partitions for case in one.cases.values()] == ["OutOfCalendar"]
    assert lines(
        play(received(), callback("anseong", "visit"), world=World([one.rulebook for one in world.partitions]))
    )


def test_an_error_makes_one_case_stuck_keeps_its_facts_and_lets_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take = standing._take

    def failing(scan: Scan, fact: Fact) -> None:
        if fact.type == "fault.reported":
            raise RuntimeError("a personal thing")
        take(scan, fact)

    monkeypatch.setattr(standing, "_take", failing)
    world = new_world()
    bad = [received(case="bad"), event("fault.reported", "11-03 10:00", case="bad", ground="late")]
    told = play(*bad, received(case="good", when="11-03 11:00"), until="12-31 00:00", world=world)
    told += world.feed(event("complaint.completed", "12-31 10:00", case="bad"), 9)
    stuck = next(one.cases["anseong", "bad"] for one in world.partitions if ("anseong", "bad") in one.cases)
    assert (stuck.stuck, len(stuck.facts), stuck.next_at) == ("RuntimeError", 3, None)
    assert {row.case for row in told if row.decision.kind == "deadline.breached"} == {"good"}


def test_the_case_of_an_officer_holds_findings_and_promises_nothing() -> None:
    fault = event("fault.confirmed", "11-02 10:00", tenant="mapo", ground="unkind", officer="kim")
    assert {row.case for row in play(fault)} == {"c1"}


def test_a_promise_that_starts_while_its_clock_stands_still_is_told_with_a_date() -> None:
    """An outage that begins as the period ends: the hour to explain starts, and stands still at once."""
    told = play(
        received("11-02 09:00", tenant="mapo", kind="inquiry", period={"amount": 1, "unit": "days"}),
        event("complaint.suspended", "11-02 17:00", tenant="mapo", ground="outage", from_="2026-11-02T18:00:00+09:00"),
        until="11-03 12:00",
    )
    assert lines(told, "mapo-late-explained")[0] == ("11-02 18:00 deadline.started mapo-late-explained due 11-03 10:00")
    assert "deadline.suspended" in [row.decision.kind for row in told if row.decision.promise == "mapo-late-explained"]
