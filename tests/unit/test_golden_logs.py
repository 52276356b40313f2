"""Golden logs: what each revision of the rules decided is pinned to the byte.

The one rule: decisions are never made anew for a revision that a log has enacted. Where this test fails, either
the change is a mistake, or it is a new revision with files of its own. Before the first release there is a third way:
`GIHAN_WRITE_GOLDEN=1 pytest tests/unit/test_golden_logs.py` writes what comes out today, for a reviewer to read.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from stories import SEOUL, at

from contracts import files
from contracts.streams import PARTITIONS
from services.cli.folded import Folded, whole
from services.cli.simulate import read_events, simulate
from services.rules import instants
from services.rules.facts import Event, decode_event
from services.rules.fold import REVISION
from services.rules.instants import Instant
from services.rules.routing import route
from services.rules.rulebook import Library
from services.rules.simulation import filled_in
from services.rules.state import Decided
from services.sla_timer.messages import tick_message

LOGS = Path(__file__).parents[1] / "golden" / "logs"
UNTIL = "12-31 00:00"


def line(row: Decided) -> str:
    """Every field of a decision that is there, instants in Korean time."""
    fields = {
        name: instants.text(value, SEOUL) if name in ("at", "due", "first_due") else value
        for name, value in msgspec.structs.asdict(row.decision).items()
        if value not in (None, "", False, ())
    }
    return json.dumps({"tenant": row.tenant, "case": row.case, **fields}, ensure_ascii=False)


def check(file: Path, found: str) -> None:
    """The file says what was found; or is made to, where that is asked for."""
    if os.environ.get("GIHAN_WRITE_GOLDEN"):
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


@pytest.mark.parametrize(("log", "revision"), [("week-1", "1")])
def test_a_log_is_folded_to_the_same_bytes_as_ever(log: str, revision: str) -> None:
    assert revision == REVISION
    with (LOGS / f"{log}.jsonl").open("rb") as file:
        events = read_events(file)
    decided = "".join(f"{line(row)}\n" for row in simulate(events, at(UNTIL)))
    check(LOGS / f"{log}.decisions.jsonl", decided)


@pytest.mark.parametrize("log", ["week-1"])
def test_a_log_has_the_same_canonical_hash_as_ever(log: str) -> None:
    """Per partition and whole, by the code of `gihan replay --verify`."""
    with (LOGS / f"{log}.jsonl").open("rb") as file:
        partitions = folded_by_partition(read_events(file), at(UNTIL))
    hashes = {str(each.world.number): each.standing().hash for each in partitions}
    check(LOGS / f"{log}.hashes.json", json.dumps({**hashes, "all": whole(hashes.values())}, indent=1) + "\n")


def with_copies(events: list[Event]) -> Iterator[tuple[Event, list[tuple[int, str]]]]:
    """Each event as intake would have completed it, and where its copies go."""
    seen: dict[tuple[str, str, str], Event] = {}
    reported: dict[tuple[str, str, str], str | None] = {}
    for event in events:
        full = filled_in(event, seen, reported)
        assert full is not None
        seen[full.tenant, full.source, full.id] = full
        if full.type == "fault.reported":
            reported[full.tenant, full.case_id, full.id] = full.data.officer
        yield full, route(full.type, full.tenant, full.case_id, {"officer": full.data.officer}, full.routes)


def folded_by_partition(events: list[Event], until: Instant) -> list[Folded]:
    """A file of events as CASES would hold it: copies in their partitions, and a tick before each instant passes."""
    library = Library(files.read())
    partitions = [Folded(library, number) for number in range(PARTITIONS)]
    sequence = 0

    def take(each: Folded, event: Event) -> None:
        nonlocal sequence
        sequence += 1
        each.take(sequence, event.id.encode(), event)

    def pass_before(limit: Instant) -> None:
        for each in partitions:
            while (due := each.world.next_at()) is not None and due < limit:
                take(each, decode_event(tick_message(each.world.number, each.place.ticks + 1, due + 1)))

    for event, copies in with_copies(events):
        pass_before(event.recorded)
        for number, case in copies:
            take(partitions[number], msgspec.structs.replace(event, case=case))
    pass_before(until)
    return partitions


def test_the_log_tells_of_every_kind_of_decision() -> None:
    kinds = {json.loads(row)["kind"] for row in (LOGS / "week-1.decisions.jsonl").read_text("utf-8").splitlines()}
    assert kinds == {
        *(
            f"deadline.{verb}"
            for verb in ("started", "moved", "suspended", "resumed", "warned", "met", "breached", "voided")
        ),
        *(
            "breach.retracted",
            "measure.breached",
            "remedy.proposed",
            "remedy.withdrawn",
            "task.created",
            "event.refused",
            "notice.requested",
        ),
        *("event.accepted", "measure.retracted", "task.withdrawn"),
    }
