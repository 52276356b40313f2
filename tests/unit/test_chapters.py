"""A history walked over case by case decides, step for step, what it decides event by event."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby, pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import LIBRARY, SEOUL, at, event, received, voided
from test_fold_properties import TENANTS, histories

from services.cli.progress import to_nobody
from services.cli.simulate import EventFile, Unreadable, new_world, read_events
from services.cli.zones import Zones
from services.rules import chapters, heads, simulation
from services.rules.facts import Event, Fact
from services.rules.heads import Heads
from services.rules.instants import HOUR, local
from services.rules.lines import lines_of
from services.rules.rulebook import NotEnacted
from services.rules.simulation import Step, Told

WEEK = Path(__file__).parents[1] / "golden" / "logs" / "week-1.jsonl"
ZONES = Zones(LIBRARY)
EVERY, FIVE, REST = range(16), range(0, 16, 3), [number for number in range(16) if number % 3]
END = at("2027-02-01 00:00")

Rows = list[tuple[Step, str]]


def in_order(lines: list[bytes], own: range | list[int] = EVERY, until: int | None = END) -> tuple[Rows, list[str]]:
    """What the plain walk decides, and what it complains of."""
    events, said = read_events(lines), list[str]()
    walked = simulation.steps(events, Told(events), until, new_world(LIBRARY, own), said.append)
    return [(step, text) for step, decided in walked for text in lines_of(decided, ZONES).texts], said


def by_case(
    lines: list[bytes], most: int, own: range | list[int] = EVERY, until: int | None = END
) -> tuple[Rows, list[str]]:
    said, rows = list[str](), Rows()
    for row in walked_by_case(lines, most, own, until, said):
        rows.append(row)
    return rows, said


def walked_by_case(
    lines: list[bytes], most: int, own: range | list[int], until: int | None, said: list[str]
) -> Iterator[tuple[Step, str]]:
    """Raises what the walk raises."""
    text = b"".join(line.rstrip(b"\n") + b"\n" for line in lines)
    history = chapters.History(heads_of(lines, 3), text, read_line, said.append, lambda _: None)
    told, world = Told(readable(lines)), new_world(LIBRARY, own)
    for step, found in chapters.steps(history, told, until, world, ZONES, most):
        assert len(found.places) in (0, len(found.texts))
        assert found.places == sorted(found.places)
        yield from ((step, line) for text in found.texts for line in text.split("\n"))


def heads_of(lines: list[bytes], parts: int) -> Heads:
    """Read two lines at a time, in so many parts, which are joined."""
    ended = [line.rstrip(b"\n") + b"\n" for line in lines]
    bounds = [len(ended) * number // parts for number in range(parts + 1)]
    read, offset = list[Heads](), 0
    for begin, end in pairwise(bounds):
        part = ended[begin:end]
        read.append(heads.read((part[number : number + 2] for number in range(0, len(part), 2)), offset))
        offset += sum(map(len, part))
    return heads.joined(read)


def readable(lines: list[bytes]) -> Iterator[Event]:
    for line in lines:
        with suppress(Unreadable):
            yield from read_events([line])


def read_line(number: int, line: bytes) -> Event | None:
    try:
        return next(iter(read_events([line])), None)
    except Unreadable as error:
        raise Unreadable(f"line {number}") from error


def line_of(stated: Event) -> bytes:
    return msgspec.json.encode(stated)


def stated(fact: Fact, tenant: str, case: str, late: int) -> Event:
    """A fact of a case as an event, recorded some hours after it happened."""
    recorded = local(fact.time + late * HOUR, SEOUL)
    routes = (case,) if fact.type == "fact.voided" else None
    return Event(
        id=f"{case}-{fact.id}", source=fact.source, type=fact.type, subject=case, time=local(fact.time, SEOUL),
        tenant=tenant, recordedtime=recorded, data=fact.data, routes=routes,
    )  # fmt: skip


@st.composite
def files(draw: st.DrawFn) -> list[bytes]:
    """Up to four cases of two cities in the order in which they were recorded, with what concerns more than one case:
    days off, findings about an officer, taking back. Some lines are empty."""
    tenants = draw(st.lists(TENANTS, min_size=2, max_size=2))
    events: list[Event] = []
    for number in range(draw(st.integers(1, 4))):
        tenant, case = tenants[number % 2], f"c{number}"
        for fact in draw(histories()):
            named = msgspec.structs.replace(fact.data, id=f"{case}-{fact.data.id}") if fact.data.id else fact.data
            late = draw(st.sampled_from([0, 0, 0, 5, 50]))
            events.append(stated(msgspec.structs.replace(fact, data=named), tenant, case, late))
    for tenant in draw(st.lists(st.sampled_from(tenants), max_size=3)):
        day, number = draw(st.integers(3, 27)), len(events)
        data = {"date": f"2026-11-{day + 2:02}", "closed": True, "name": "휴무"}
        events.append(
            event("calendar.exception", f"11-{day:02} 10:00", case=tenant, tenant=tenant, id=f"x{number}", **data)
        )
        if draw(st.booleans()):
            events.append(voided(f"11-{day + 1:02} 11:00", events[-1], id=f"v{number}"))
    for number in range(draw(st.integers(0, 2))):
        about = {"case": f"c{number}", "tenant": tenants[0], "ground": "unkind"}
        events.append(event("fault.reported", "11-02 10:00", id=f"r{number}", officer="kim", **about))
        events.append(event("fault.confirmed", "11-04 10:00", id=f"f{number}", about=f"r{number}", **about))
    lines: list[bytes] = []
    for one in sorted(events, key=lambda one: one.recorded):
        lines += [b"\n"] * draw(st.sampled_from([0, 0, 0, 0, 1])) + [line_of(one) + b"\n"]
    return lines


@settings(max_examples=60)
@given(files(), st.sampled_from([1, 2, 7, 1000]), st.sampled_from([END, None, at("11-20 00:00")]))
def test_case_by_case_decides_what_event_by_event_decides(lines: list[bytes], most: int, until: int | None) -> None:
    assert by_case(lines, most, EVERY, until) == in_order(lines, EVERY, until)


@settings(max_examples=20)
@given(files(), st.sampled_from([3, 1000]))
def test_some_partitions_decide_what_they_decide_event_by_event(lines: list[bytes], most: int) -> None:
    for own in (FIVE, REST):
        assert by_case(lines, most, own) == in_order(lines, own)


@pytest.mark.parametrize("most", [1, 5, 1000])
def test_a_week_of_five_cities_comes_to_the_same(most: int) -> None:
    """With charters and rules enacted, facts taken back, findings about officers and a day off."""
    lines = WEEK.read_bytes().splitlines(keepends=True)
    rows, _ = in_order(lines)
    assert by_case(lines, most)[0] == rows
    assert len(rows) > 100


def test_what_many_cases_decide_at_one_instant_comes_in_order() -> None:
    """Here twelve deadlines end with one day, and one is warned of at the same instant."""
    lines = [line_of(received("11-02 10:00", case=f"c{number:02}", id=f"r{number}")) for number in range(12)]
    rows = by_case(lines, 1000)[0]
    assert rows == in_order(lines)[0]
    together = [list(found) for _, found in groupby(rows, lambda row: row[0])]
    assert max(len(found) for found in together) >= 12


def test_a_case_that_was_put_away_goes_on_where_it_stood() -> None:
    """It was answered, and is told of again a chapter later: first late, then as reopened."""
    case = [
        received("11-02 10:00", id="r"),
        event("complaint.completed", "11-03 10:00", outcome="answered"),
        event("complaint.progress_notified", "11-02 15:00", recorded="11-09 10:00", by="sms"),
        event("complaint.reopened", "11-10 10:00"),
    ]
    others = [received(f"11-{day:02} 11:00", case=f"o{day}", id=f"o{day}") for day in range(2, 20)]
    lines = [line_of(one) for one in sorted([*case, *others], key=lambda one: one.recorded)]
    for most in (1, 2, 5, 1000):
        assert by_case(lines, most) == in_order(lines)


def test_a_day_off_reaches_an_open_case_for_which_time_brings_nothing() -> None:
    """A call that was taken waits for nothing, and is put away; the rules may reach it later all the same."""
    lines = [
        line_of(event("call.answered", "11-02 10:00", case="call", seconds_to_answer=9, rings=2)),
        line_of(
            event("calendar.exception", "11-03 10:00", case="anseong", date="2026-11-05", closed=True, name="휴무")
        ),
        line_of(event("call.ended", "11-02 10:05", case="call", recorded="11-04 10:00", duration_seconds=60)),
    ]
    for most in (1, 1000):
        assert by_case(lines, most) == in_order(lines)


@pytest.mark.parametrize("most", [1, 2, 1000])
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (b"{", Unreadable),
        (b'{"type":"callback.requested","id":"x","time":"2026-11-04T10:00:00+09:00","tenant":"anseong","subject":"c1",'
         b'"data":{"wanted_at":1}}', Unreadable),
        (line_of(received("11-04 10:00", tenant="atlantis")), NotEnacted),
    ],
)  # fmt: skip
def test_what_was_decided_before_an_error_comes_first(wrong: bytes, error: type[Exception], most: int) -> None:
    """Also where the case that is wrong was folded before others."""
    right = [line_of(received(f"11-{day:02} 10:00", case=f"c{day}", id=f"r{day}")) for day in range(1, 9)]
    rows, lines = Rows(), [*right[:4], b"\n", wrong, *right[4:]]
    with pytest.raises(error) as raised:
        rows.extend(walked_by_case(lines, most, EVERY, None, []))
    assert rows == in_order(right[:4], EVERY, None)[0]
    if error is Unreadable:
        assert str(raised.value) == "line 6"


def test_a_file_with_ticks_is_walked_in_order(tmp_path: Path) -> None:
    """Time passes where its ticks say so, and nowhere else."""
    tick = line_of(event("clock.advanced", "11-20 10:00", case="clock", to="2026-11-20T10:00:00+09:00"))
    lines = [line_of(received("11-02 10:00")), tick, line_of(received("11-25 10:00", case="c2", id="later"))]
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    found = [
        text
        for _, told in EventFile(file).steps(None, new_world(LIBRARY), ZONES, to_nobody)
        for together in told.texts
        for text in together.split("\n")
    ]
    assert found == [text for _, text in in_order(lines, EVERY, None)[0]]
    assert any('"deadline.breached"' in text for text in found)


@pytest.mark.skipif(chapters.__file__.endswith(".so"), reason="a compiled module keeps its numbers")
def test_it_is_told_how_many_events_were_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chapters, "TELL", 3)
    lines = [line_of(received("11-02 10:00", case=f"c{number}", id=f"r{number}")) for number in range(10)]
    heard, said = list[int](), list[str]()
    told = Told(read_events(lines))
    text = b"".join(line + b"\n" for line in lines)
    history = chapters.History(heads_of(lines, 1), text, read_line, said.append, heard.append)
    list(chapters.steps(history, told, None, new_world(LIBRARY), ZONES))
    assert not said
    assert heard == [3, 3, 3, 2]  # ten receipts, and the opening of the city's own case
