"""`gihan simulate`: folds a file of events without any server; `refold` does the same for the log itself."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from contracts import files
from contracts.streams import PARTITIONS
from services.rules import instants
from services.rules.facts import Event, Fact, decode_event
from services.rules.instants import Instant, of_datetime
from services.rules.routing import route
from services.rules.rulebook import Library, Rulebook
from services.rules.world import Decided, World

CLOCK = "clock.advanced"
VOIDED = "fact.voided"


class Unreadable(ValueError):
    """A line that is no event: says which line, which field and why."""


def read_events(lines: Iterable[bytes]) -> list[Event]:
    """The events of a file of CloudEvents, a JSON object a line. Raises Unreadable."""
    events = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = decode_event(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreadable(f"line {number}: {error}") from error
        if event.type == CLOCK and event.data.to is None:
            raise Unreadable(f"line {number}: {CLOCK} does not say how far; give data.to")
        events.append(event)
    return events


def new_world(library: Library | None = None) -> World:
    """A world with the files that come with Gihan, or those of a library."""
    library = library or Library(files.read())
    return World([Rulebook(library) for _ in range(PARTITIONS)])


class Zones(dict[str, ZoneInfo]):
    """The time zone of each tenant, by its newest calendar."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self._library = Library(files.read(folder))

    def __missing__(self, tenant: str) -> ZoneInfo:
        charter = self._library.charters_of(tenant)[-1][1]
        self[tenant] = zone = self._library.newest_calendar(charter.calendar)[1].zone
        return zone


def simulate(
    events: list[Event], until: Instant | None, library: Library | None = None, world: World | None = None
) -> Iterator[Decided]:
    """The decisions that follow from events in the order of the file, in a new world (of `library`) or the one given.

    If the file holds any clock.advanced, no other tick is made; otherwise, before an event recorded at R, the clock
    passes every instant before R, and at the end every instant before `until` (else the last R).
    """
    world = world or new_world(library)
    ticks = any(event.type == CLOCK for event in events)
    seen: dict[tuple[str, str, str], Event] = {}
    reported: dict[tuple[str, str, str], str | None] = {}
    last: Instant = 0
    opened = {event.tenant for event in events if event.type == "charter.enacted"}
    voided = {(event.tenant, event.data.source or "", event.data.id or "") for event in events if event.type == VOIDED}
    for sequence, event in enumerate(events, 1):
        last = max(last, event.recorded)
        if not ticks:
            yield from world.pass_before(last)
            world.stand_at(last)
        completed = _filled_in(event, seen, reported)
        if completed is None:
            print(f"line {sequence}: fact.voided names a fact that the file has not stated", file=sys.stderr)
            continue
        if voided and (event.tenant, event.source, event.id) in voided:
            seen[(event.tenant, event.source, event.id)] = completed
        if event.type == "fault.reported":
            reported[(event.tenant, event.case_id, event.id)] = event.data.officer
        yield from world.feed(completed, sequence)
        if event.tenant and event.tenant not in opened:
            # Nothing in the file enacts the charter: the tenant's duties run from its first event.
            opened.add(event.tenant)
            yield from world.open_home(event.tenant, Fact(0, "", "charter", "charter.enacted", of_datetime(event.time)))
    if not ticks:
        yield from world.pass_before(last if until is None else until)
    for case in (case for partition in world.partitions for case in partition.cases.values() if case.stuck):
        print(
            f"{case.tenant}/{case.id} is stuck: {case.stuck}; its facts are kept, nothing is decided", file=sys.stderr
        )


def _filled_in(
    event: Event, seen: dict[tuple[str, str, str], Event], reported: dict[tuple[str, str, str], str | None]
) -> Event | None:
    """The event with what intake would fill in from those before it: the routes of fact.voided (None where the fact
    is unknown), and the officer of a finding from the report in its case that it is about, whoever sent that."""
    data = event.data
    if event.type == VOIDED:
        voided = seen.get((event.tenant, data.source or "", data.id or ""))
        if voided is None:
            return None
        routes = route(voided.type, voided.tenant, voided.case_id, {"officer": voided.data.officer}, voided.routes)
        return msgspec.structs.replace(event, routes=tuple(dict.fromkeys(case for _, case in routes)))
    if event.type in ("fault.confirmed", "fault.dismissed") and data.officer is None:
        officer = reported.get((event.tenant, event.case_id, data.about or ""))
        return msgspec.structs.replace(event, data=msgspec.structs.replace(data, officer=officer))
    return event


def line_of(row: Decided, zone: ZoneInfo) -> dict[str, Any]:
    """A decision as `gihan simulate` prints it; absent values are left out."""
    decision = row.decision
    line = {
        "at": instants.text(decision.at, zone),
        "tenant": row.tenant,
        "case": row.case,
        "decision": decision.kind,
        "promise": decision.promise,
        "due": None if decision.due is None else instants.text(decision.due, zone),
        "remedy": decision.remedy,
        "amount": decision.amount,
        "task": decision.task,
        "reason": decision.reason or decision.code,
    }
    return {name: value for name, value in line.items() if value not in ("", None)}
