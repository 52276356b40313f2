"""Revisions of the rules: a case on which one of them failed is worked out anew by the one enacted after it.

Every story is told by a program that knows revisions 1 and 2 (and 3, as flawed as 1): 1 fails on a case that holds the
fact `bad`, 2 is the one of this tree.
"""

from typing import Any

import msgspec
import pytest
from stories import LIBRARY, at, event, lines, new_world, play, received

from contracts.streams import partition
from services.rules.facts import Event, Fact
from services.rules.fold import REVISIONS, evolve
from services.rules.instants import Instant
from services.rules.rulebook import NotEnacted, Rulebook
from services.rules.state import Case, Decision, Rules
from services.rules.world import Partition, World


def flawed(case: Case, clock: Instant, rules: Rules, cause: Fact | None) -> tuple[Case, list[Decision]]:
    if any(fact.id.startswith("bad") for fact in case.facts):
        raise ZeroDivisionError
    return evolve(case, clock, rules, cause)


@pytest.fixture(autouse=True)
def revisions(monkeypatch: pytest.MonkeyPatch) -> None:
    for revision, work in {"1": flawed, "2": evolve, "3": flawed}.items():
        monkeypatch.setitem(REVISIONS, revision, work)


def rules(when: str, revision: str, tenant: str = "seoul") -> Event:
    data: dict[str, Any] = {"revision": revision, "applies": "new_cases"}
    return event("rules.enacted", when, tenant=tenant, case="_all", **data)


def callback(case: str, when: str) -> Event:
    return event("callback.requested", when, tenant="seoul", case=case, via="phone", memo={"reply_wanted": True})


def stuck(world: World) -> dict[str, str]:
    return {case.id: case.stuck for one in world.partitions for case in one.cases.values() if case.stuck}


def bad(type: str, when: str, case: str = "c1", **data: Any) -> Event:
    return event(type, when, tenant="seoul", case=case, id=f"bad-{case}", **data)


def test_a_mend_works_out_what_was_missed_meanwhile() -> None:
    """c1 was called back in time and c2 was not; nobody could say so until the mend. c3 was never stuck."""
    world = new_world()
    found = play(
        callback("c2", "11-02 10:00"),
        callback("c1", "11-02 10:05"),
        callback("c3", "11-02 10:10"),
        bad("delay.explained", "11-02 10:30", case="c2", expected="2026-11-03"),
        bad("callback.made", "11-02 10:40", case="c1", reached=True),
        world=world,
    )
    assert stuck(world) == {"c1": "ZeroDivisionError", "c2": "ZeroDivisionError"}
    found += play(
        rules("11-02 12:00", "2"),
        event("callback.made", "11-02 12:10", tenant="seoul", case="c2", reached=True),
        until="11-03 10:00",
        world=world,
    )
    assert stuck(world) == {}
    told = {case: lines(row for row in found if row.case == case) for case in ("c1", "c2", "c3")}
    assert told == {
        "c1": [
            "11-02 10:05 deadline.started seoul-phone-callback due 11-02 11:05",
            "11-02 12:00 deadline.met seoul-phone-callback due 11-02 11:05",
        ],
        "c2": [
            "11-02 10:00 deadline.started seoul-phone-callback due 11-02 11:00",
            "11-02 11:00 deadline.breached seoul-phone-callback due 11-02 11:00",
        ],
        "c3": [
            "11-02 10:10 deadline.started seoul-phone-callback due 11-02 11:10",
            "11-02 10:55 deadline.warned seoul-phone-callback due 11-02 11:10",
            "11-02 11:10 deadline.breached seoul-phone-callback due 11-02 11:10",
        ],
    }


def test_a_revision_that_fails_too_leaves_the_case_stuck_for_the_next() -> None:
    """Seven dates from 2 November end on the 10th; three more, known only after the mend, are the 11th to the 13th."""
    found = play(
        received(tenant="seoul"),
        bad("complaint.extended", "11-03 10:00", ground="cooperation", amount=3, unit="days"),
        rules("11-04 12:00", "3"),
        rules("11-05 12:00", "2"),
        until="11-12 00:00",
    )
    assert lines(found, "statutory-period") == [
        "11-02 10:00 deadline.started statutory-period due 11-11 00:00",
        "11-05 12:00 deadline.moved statutory-period due 11-14 00:00 rules",
    ]


def test_a_case_closed_before_the_mend_is_mended_by_the_program_of_now() -> None:
    """What was known when it closed names revision 1 still: that is for calendars and charters, not for the program."""
    world = new_world()
    answered = event("complaint.completed", "11-03 10:00", tenant="seoul", outcome="answered")
    late = bad("fault.reported", "11-04 10:00", ground="unkind")
    play(received(tenant="seoul"), answered, late, rules("11-05 12:00", "2"), world=world)
    assert sum(len(one.cases) for one in world.partitions) == 1
    assert stuck(world) == {}


def test_the_mend_of_one_city_is_not_that_of_another() -> None:
    world = new_world()
    play(received(), event("fault.reported", "11-02 11:00", id="bad", ground="unkind"), world=world)
    play(rules("11-03 09:00", "2", tenant="seoul"), world=world)
    assert stuck(world) == {"c1": "ZeroDivisionError"}
    play(rules("11-03 10:00", "2", tenant="anseong"), world=world)
    assert stuck(world) == {}


def test_stuck_cases_are_mended_in_the_order_of_their_names_and_no_other_case_is_touched() -> None:
    """The order in which they were opened and became stuck is turned round."""
    number = partition("seoul", "m1")
    names = [name for name in (f"m{n}" for n in range(200)) if partition("seoul", name) == number][:3]
    fold = Partition(Rulebook(LIBRARY), number)
    for place, name in enumerate(reversed(names), 1):
        fold.take(callback(name, f"11-02 10:0{place}"), place)
    for place, name in enumerate(reversed(names[:2]), 4):
        fold.take(bad("callback.made", f"11-02 10:1{place}", case=name, reached=True), place)
    fold.tick(at("11-02 12:00"))
    found = fold.take(msgspec.structs.replace(rules("11-02 13:00", "2"), case="_all"), 6)
    assert [(row.case, row.decision.kind) for row in found] == [(name, "deadline.met") for name in names[:2]]


def test_a_revision_that_this_program_does_not_know_stops_it() -> None:
    with pytest.raises(NotEnacted, match="the log enacts revision 4 of the rules; this program knows 1, 2, 3"):
        play(rules("11-02 13:00", "4"))
