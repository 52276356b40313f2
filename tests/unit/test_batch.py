"""However a log is cut into transactions, and whatever is warm by then, the same numbered decisions come of it."""

import json
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import files
from contracts.streams import partition
from services.chassis.cursor import Entry
from services.cli.folded import Folded
from services.rules.facts import decode_event
from services.rules.instants import Instant, of_datetime
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case
from services.rules.warm import Warm
from services.sla_timer.batch import Batch
from services.sla_timer.store import CaseKey, Position, Row

LANE = 3
CASES = [name for name in (f"b{n}" for n in range(200)) if partition("mapo", name) == LANE][:4]
BEGIN = datetime.fromisoformat("2026-04-06T09:30:00+09:00")
FACTS = {
    "complaint.received": {"channel": "web", "kind": "suggestion"},
    "complaint.progress_notified": {"by": "sms"},
    "complaint.completed": {"outcome": "answered", "by": "kim"},
    "complaint.reopened": {"reason": "new"},
    "callback.requested": {"via": "phone", "memo": {"reply_wanted": True}},
    "callback.made": {"by": "kim", "reached": True},
}
STEPS = st.tuples(st.sampled_from([*FACTS, "tick", "tick"]), st.sampled_from(CASES), st.integers(0, 600))
LOGS = st.lists(STEPS, min_size=2, max_size=25)


@cache
def library() -> Library:
    return Library(files.read())


def entries(steps: list[tuple[str, str, int]]) -> list[Entry]:
    """A log of the partition: each step so many minutes after the one before."""
    now, found = BEGIN, []
    for sequence, (type, case, minutes) in enumerate(steps, 1):
        now += timedelta(minutes=minutes)
        event = {"id": str(sequence), "source": "desk", "time": now.isoformat(), "recordedtime": now.isoformat()}
        if type == "tick":
            event |= {"type": "clock.advanced", "data": {"to": now.isoformat()}}
        else:
            event |= {"type": type, "tenant": "mapo", "subject": case, "case": case, "data": FACTS[type]}
        found.append(Entry(sequence, "", json.dumps(event).encode()))
    return found


class Partition:
    """A partition in the hands of batches, its database a dictionary."""

    def __init__(self, warm_cases: int) -> None:
        self.kept: dict[CaseKey, Case] = {}
        self.told: list[Row] = []
        self.position = Position(LANE, 1, 0, None, None, 0, 0, 0, 0)
        self.warm = Warm(Rulebook(library()), warm_cases)

    def next_at(self) -> Instant | None:
        return min((case.next_at for case in self.kept.values() if case.next_at is not None), default=None)

    def fold(self, entries: list[Entry]) -> None:
        """One transaction."""
        batch = Batch(self.position, self.warm, self.next_at())
        events = [(entry, decode_event(entry.data)) for entry in entries]
        wanted = {(event.tenant, event.case_id) for _, event in events} & self.kept.keys()
        batch.bring(self.warm.case(key) or self.kept[key] for key in wanted)
        for entry, event in events:
            if event.data.to is None:
                batch.fold(entry, event)
                continue
            clock = max(batch.clock, of_datetime(event.data.to))
            due = [case for case in self.kept.values() if case.next_at is not None and case.next_at < clock]
            reached = batch.due(clock, [self.warm.case((case.tenant, case.id)) or case for case in due])
            earliest = batch.earliest()
            assert not reached or (earliest is not None and earliest < clock)
            batch.pass_to(clock, reached, entry.sequence)
            batch.move_clock(entry, event, clock)
        self.kept |= batch.cases
        self.told += batch.rows
        self.position = batch.after
        assert batch.has_moved_the_earliest() or batch.earliest() == self.next_at()


@settings(max_examples=150)
@given(LOGS, st.sets(st.integers(1, 24)), st.sampled_from([1, 2, 100]))
def test_the_same_follows_however_the_log_is_cut(
    steps: list[tuple[str, str, int]], cuts: set[int], warm_cases: int
) -> None:
    """To the byte, and with the same place, as the fold in memory has it, entry by entry."""
    log = entries(steps)
    expected, found = Folded(library(), LANE), Partition(warm_cases)
    for entry in log:
        expected.take(entry.sequence, entry.data)
    for first, last in pairwise([0, *sorted(cut for cut in cuts if cut < len(log)), len(log)]):
        found.fold(log[first:last])
    told = [(number, subject, body.decode(), *rest) for _, number, subject, body, *rest in found.told]
    assert told == [tuple(row) for row in expected.told]
    assert found.kept == expected.world.cases
    place = expected.place
    assert found.position[2:4] == (place.sequence, place.event_id)
    assert found.position[5:] == (place.clock, place.tick_sequence, place.ticks, place.decisions)
