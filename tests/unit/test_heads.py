"""Heads are the same however a history is cut into parts, and tell of each event what the event itself tells."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from test_chapters import WEEK, files, heads_of

from contracts.streams import partition
from services.cli.simulate import EventFile, read_events
from services.rules import heads
from services.rules.heads import WHOLE, Heads


def fields(read: Heads) -> tuple[object, ...]:
    """All that it tells, cases by their names."""
    names = list(read.numbers)
    assert len(read.partitions) == len(names)
    assert read.partitions == [partition(*name) for name in names]
    cases = [None if number == WHOLE else names[number] for number in read.cases]
    return list(read.recorded), list(read.starts), cases, list(read.checksums), read.telling, read.empty


def text_of(lines: list[bytes]) -> bytes:
    return b"".join(line.rstrip(b"\n") + b"\n" for line in lines)


@settings(max_examples=60)
@given(files(), st.integers(1, 9))
def test_parts_joined_tell_what_the_whole_tells(lines: list[bytes], parts: int) -> None:
    """But for the first event of a tenant, which in each part is read by all."""
    whole, joined = heads_of(lines, 1), heads_of(lines, parts)
    recorded, starts, cases, *others = fields(whole)
    assert fields(joined)[:2] == (recorded, starts)
    assert list(fields(joined)[3:]) == others
    same = [(one, other) for one, other in zip(cases, fields(joined)[2], strict=True) if other is not None]
    assert all(one == other for one, other in same)
    assert sum(number == WHOLE for number in joined.cases) <= sum(number == WHOLE for number in whole.cases) + 2 * parts


def test_each_head_tells_what_its_event_tells() -> None:
    lines = WEEK.read_bytes().splitlines(keepends=True)
    read, text, events = heads_of(lines, 4), text_of(lines), read_events(lines)
    names, latest = list(read.numbers), 0
    assert len(read.cases) == len(events)
    for place, event in enumerate(events):
        latest = max(latest, event.recorded)
        assert read.recorded[place] == latest
        assert read_events([text[read.starts[place] : read.starts[place + 1]]]) == [event]
        if read.cases[place] != WHOLE:
            assert names[read.cases[place]] == (event.tenant, event.case_id)
    telling = {events[place].type for place in read.telling}
    assert telling == {event.type for event in events} & {"charter.enacted", "fact.voided", "clock.advanced"}
    assert "fact.voided" in telling
    assert 0 < sum(number == WHOLE for number in read.cases) < len(events) / 2


def test_a_file_is_cut_where_lines_end(tmp_path: Path) -> None:
    """However many parts are asked for; also where the last line has no end, and none is long enough."""
    file = tmp_path / "events.jsonl"
    for text in (WEEK.read_bytes(), WEEK.read_bytes().rstrip(b"\n"), b"\n\n{\n", b"{", b""):
        file.write_bytes(text)
        whole = fields(EventFile(file).heads())
        for most in (1, 2, 3, 16):
            parts = EventFile(file).parts(most)
            assert len(parts) <= most
            assert parts[0][0] == 0
            assert parts[-1][1] == len(text)
            joined = fields(heads.joined([EventFile(file).heads(begin, end) for begin, end in parts]))
            assert joined[:2] == whole[:2]
            assert joined[3:] == whole[3:]


def test_a_line_that_is_no_event_is_left_to_whoever_folds_it() -> None:
    read = heads.read([[b"{\n", b"\n", b" \t\n", b'{"type":1}']])
    assert list(read.cases) == [WHOLE, WHOLE]
    assert (list(read.starts), read.empty) == ([0, 6, 16], [1, 1])
