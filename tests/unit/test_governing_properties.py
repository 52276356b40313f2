"""Properties of versions over random histories of a case and random enactments: whenever a fact becomes known, the case
ends in the same standing; no decision depends on what comes later; and a reader that starts anew decides the same.

A log here is one that can be: nothing stands in it before it happened, and it is in the order of recording.
"""

import hashlib
from collections.abc import Sequence
from datetime import date
from typing import Any

import yaml
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import SEOUL
from test_fold_properties import END, START, histories, standing_of

from contracts import files
from contracts.streams import partition
from services.rules.facts import Data, Event, Fact
from services.rules.instants import DAY, HOUR, local
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case, Decided
from services.rules.warm import Warm
from services.rules.world import Partition

TENANT, CASE = "anseong", "c1"
SHELF = files.read()


def _version(version: str, in_force: date, change: int, without: str) -> bytes:
    """The charter of Anseong with every time longer or shorter by a part, and without one of its promises."""
    content: dict[str, Any] = yaml.safe_load(SHELF["charters/anseong-1.yaml"])
    content |= {"version": version, "in_force": in_force}
    content["promises"] = [row for row in content["promises"] if row["id"] != without]
    for row in content["promises"]:
        for span in (row.get("within") or {}, row.get("every") or {}):
            if "amount" in span:
                span["amount"] = max(1, span["amount"] + change)
    return yaml.safe_dump(content, allow_unicode=True).encode()


VERSIONS = {
    "2": _version("2", date(2026, 11, 8), -1, ""),
    "3": _version("3", date(2026, 11, 16), 3, "anseong-inquiry"),
}
LIBRARY = Library({**SHELF, **{f"charters/anseong-{name}.yaml": content for name, content in VERSIONS.items()}})
FEW = settings(max_examples=100)
FIRST = hashlib.sha256(SHELF["charters/anseong-1.yaml"]).hexdigest()


def stated(fact: Fact, recorded: int, case: str = CASE) -> Event:
    """The stored event that states a fact."""
    moments = local(fact.time, SEOUL), local(recorded, SEOUL)
    return Event(
        id=fact.id, source=fact.source, type=fact.type, subject=case, time=moments[0], tenant=TENANT,
        recordedtime=moments[1], data=fact.data, case=case,
    )  # fmt: skip


def enacting(type: str, id: str, recorded: int, data: Data) -> Event:
    """An event about every case of the city."""
    return stated(Fact(0, "administration", id, type, recorded, data), recorded, "_all")


@st.composite
def enactments(draw: st.DrawFn) -> list[Event]:
    """The first charter at the beginning, then later versions, dates off, and what takes one of them back."""
    applies = st.sampled_from(["new_cases", "open_from_today", "open_from_today", "retroactive"])
    hours = st.integers(1, 40 * 24).map(lambda hour: START + hour * HOUR + 1)
    found = [enacting("charter.enacted", "v1", START - DAY, Data(sha256=FIRST, applies="new_cases"))]
    for name in draw(st.lists(st.sampled_from(sorted(VERSIONS)), unique=True, min_size=1)):
        digest = hashlib.sha256(VERSIONS[name]).hexdigest()
        data = Data(sha256=digest, version=name, applies=draw(applies))
        found.append(enacting("charter.enacted", f"v{name}", draw(hours), data))
    for day in draw(st.sets(st.sampled_from([5, 12, 20]))):
        data = Data(date=f"2026-11-{day:02}", closed=True)
        found.append(enacting("calendar.exception", f"off-{day}", draw(hours), data))
    for number, wrong in enumerate(draw(st.lists(st.sampled_from(found[1:]), max_size=2))):
        at = wrong.recorded + draw(st.integers(1, 10 * 24)) * HOUR
        data = Data(source="administration", id=wrong.id, code="other")
        found.append(enacting("fact.voided", f"back-{number}", at, data))
    return found


def log(enacted: Sequence[Event], facts: Sequence[Fact], delays: Sequence[int]) -> list[Event]:
    """Everything in the order of recording; each fact so many hours after it happened."""
    told = [stated(fact, fact.time + delay * HOUR) for fact, delay in zip(facts, delays, strict=True)]
    return sorted([*enacted, *told], key=lambda one: one.recorded)


def fold(events: Sequence[Event], ticks: Sequence[int], again_at: int = -1) -> tuple[Case | None, list[list[Decided]]]:
    """The case at the end, and the decisions of every step: a tick before some events, and one at last. At one event
    the reader is replaced by one that knows no more than what was stored."""
    reader = Partition(Rulebook(LIBRARY), partition(TENANT, CASE))
    steps: list[list[Decided]] = []
    for sequence, event in enumerate(events, 1):
        if sequence == again_at:
            anew = Rulebook(LIBRARY)
            for place, known in reader.rulebook.enacted:
                anew.enact(known, place)
            reader.warm = Warm(anew)
        if sequence in ticks:
            steps.append(reader.tick(event.recorded))
        steps.append(reader.take(event, sequence))
    steps.append(reader.tick(END + 60 * DAY))
    case = reader.cases.get((TENANT, CASE))
    assert case is None or not case.stuck
    return case, steps


DELAYS = st.lists(st.integers(0, 30 * 24), min_size=12, max_size=12)
TICKS = st.lists(st.integers(1, 20), max_size=8)


@FEW
@given(enactments(), histories(), DELAYS, DELAYS, TICKS, TICKS)
def test_whenever_facts_become_known_the_case_ends_in_the_same_standing(
    enacted: list[Event],
    facts: list[Fact],
    late: list[int],
    later: list[int],
    ticks: list[int],
    other_ticks: list[int],
) -> None:
    first, _ = fold(log(enacted, facts, late[: len(facts)]), ticks)
    second, _ = fold(log(enacted, facts, later[: len(facts)]), other_ticks)
    assert first is not None
    assert second is not None
    note(f"ends under {first.charter}")
    assert standing_of(first) == standing_of(second)
    assert first.charter == second.charter


@FEW
@given(enactments(), histories(), DELAYS, TICKS, st.integers(1, 15))
def test_decisions_depend_on_no_later_event_and_on_no_memory(
    enacted: list[Event], facts: list[Fact], late: list[int], ticks: list[int], cut: int
) -> None:
    events = log(enacted, facts, late[: len(facts)])
    _, whole = fold(events, ticks)
    _, part = fold(events[:cut], ticks)
    assert whole[: len(part) - 1] == part[:-1]
    _, anew = fold(events, ticks, again_at=cut)
    assert anew == whole
