"""What was over before a city went live: shown as broken, and nothing is owed for it. Expected dates are by hand."""

import pytest
from stories import event, lines, play
from test_governing import HEAD, charter, done, enacted, petition, planned, promise, unopened

from services.rules.facts import Event
from services.rules.world import World

TEN_DAYS = charter("1", "2026-01-01", promise("answer", 10), voucher=5_000)
DUE = "2026-11-23T10:00:00+09:00"
"""Ten working days after Monday, 9 November, at 10:00."""
BROKEN = "11-23 10:00 deadline.breached answer due 11-23 10:00"
OWED = "11-23 10:00 remedy.proposed answer voucher due 11-23 10:00 5000"

MEASURE = """
  - id: quick
    kind: measure
    says: {ko: 약속, en: A promise}
    "on": call.answered
    field: seconds_to_answer
    limit: {at_most: 10}
remedies:
  - id: voucher
    says: {ko: 보상, en: A voucher}
    "on": [{breach: any}]
    amount: 5000
  - id: caution
    says: {ko: 주의, en: A caution}
    "on": [{breach: any}, {fault: [unkind]}]
    tasks: [caution]
"""
MEASURED = (HEAD.format(version="1", in_force="2026-01-01") + MEASURE).encode()


def live(content: bytes, go_live: str | None) -> World:
    """A world whose log begins with a charter that says since when its city is live."""
    made = unopened(content)
    made.feed(enacted("01-01 00:00", content, "1", "new_cases", **({"go_live": go_live} if go_live else {})), -2)
    made.feed(planned("01-01 00:00"), -1)
    return made


@pytest.mark.parametrize(
    ("go_live", "owed"),
    [
        (None, [OWED]),  # live since ever, as far as the log says
        ("2026-11-02T09:00:00+09:00", [OWED]),
        (DUE, [OWED]),  # due at that very instant: not before it
        ("2026-11-23T10:00:01+09:00", []),
        ("2026-12-01T09:00:00+09:00", []),
    ],
)
def test_a_deadline_that_was_past_is_broken_and_owes_nothing(go_live: str | None, owed: list[str]) -> None:
    found = lines(play(petition("11-09 10:00"), until="12-10 00:00", world=live(TEN_DAYS, go_live)))
    assert found[1:] == [BROKEN, *owed]


def test_one_that_is_still_open_then_owes_as_any_other() -> None:
    of = live(TEN_DAYS, "2026-11-20T09:00:00+09:00")
    found = lines(play(petition("11-02 10:00", "past"), petition("11-09 10:00", "open"), until="12-10 00:00", world=of))
    assert [line for line in found if "started" not in line] == [
        "11-16 10:00 deadline.breached answer due 11-16 10:00",
        BROKEN,
        OWED,
    ]


def test_it_owes_nothing_either_when_it_comes_to_light_later() -> None:
    """A petition that is only brought over after the city went live, long past by then."""
    brought = petition("11-09 10:00", recorded="12-07 09:00")
    found = lines(play(brought, until="12-10 00:00", world=live(TEN_DAYS, "2026-12-01T09:00:00+09:00")))
    assert [line.partition(" deadline.")[2] for line in found[:1]] == ["started answer due 11-23 10:00"]
    assert found[1:] == [BROKEN]


def test_a_completion_that_comes_late_takes_nothing_back_that_was_never_owed() -> None:
    of = live(TEN_DAYS, "2026-12-01T09:00:00+09:00")
    found = lines(
        play(petition("11-09 10:00"), done("11-20 10:00", recorded="12-02 09:00"), until="12-10 00:00", world=of)
    )
    assert [line for line in found if "remedy" in line] == []
    assert any("breach.retracted" in line for line in found)


def test_numbers_and_faults_from_before_bring_neither_money_nor_tasks() -> None:
    def call(when: str, id: str) -> Event:
        more = {"rings": 2, "seconds_to_answer": 30, "department": "세무과"}
        return event("call.answered", when, case=id, tenant="haneul", id=id, **more)

    def fault(when: str, id: str) -> Event:
        return event("fault.confirmed", when, case=id, tenant="haneul", id=f"fault-{id}", ground="unkind")

    of = live(MEASURED, "2026-11-20T00:00:00+09:00")
    before, after = "11-19 10:00", "11-20 00:00"
    found = lines(
        play(call(before, "t1"), fault("11-19 11:00", "t1"), call(after, "t2"), fault("11-20 11:00", "t2"), world=of)
    )
    assert [line.split()[2] for line in found if line.startswith(before)] == ["measure.breached"]
    assert sorted(line.split()[2] for line in found if line.startswith(after)) == [
        "measure.breached",
        "remedy.proposed",
        "task.created",
    ]
    assert [line.split()[:3] for line in found if " 11:00 " in line] == [["11-20", "11:00", "task.created"]]
