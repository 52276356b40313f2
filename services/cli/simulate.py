"""`gihan simulate`: folds a file of events without any server; `refold` does the same for the log itself."""

import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from contracts import files
from contracts.events import MUNICIPAL_TYPES
from contracts.streams import PARTITIONS, partition
from services.rules.facts import Event, Fact, Moment, decode_event
from services.rules.instants import Instant, of_datetime
from services.rules.routing import route
from services.rules.rulebook import Library, Rulebook
from services.rules.world import Decided, World

CLOCK = "clock.advanced"
ENACTED = "charter.enacted"
VOIDED = "fact.voided"
TELLING = (CLOCK.encode(), ENACTED.encode(), VOIDED.encode(), b"\\u")
"""What stands in every line that must be read before the walk; a letter may be written as its number."""
BLOCK_BYTES = 1 << 20
BEYOND = ("fault.", "fact.", "clock.")
"""What the types begin with that may concern other cases than their own."""

Name = tuple[str, str, str]
"""What names an event in all tenants: tenant, source, id."""


class Unreadable(ValueError):
    """A line that is no event: says which line, which field and why."""


class Elsewhere(msgspec.Struct, frozen=True, gc=False):
    """An event that concerns cases of other processes alone, as far as this one must know of it."""

    type: str
    id: str
    time: Moment
    source: str = ""
    tenant: str = ""
    subject: str = ""
    case: str = ""
    recordedtime: Moment | None = None
    routes: tuple[str, ...] | None = None

    @property
    def recorded(self) -> Instant:
        """As of an Event."""
        return of_datetime(self.recordedtime or self.time)

    def concerns(self, own: Container[int], voided: Container[Name]) -> bool:
        """Whether it must be read whole for the cases of some partitions, or because it is taken back somewhere."""
        return (
            partition(self.tenant, self.case or self.subject.lower()) in own
            or self.type.startswith(BEYOND)
            or self.type in MUNICIPAL_TYPES
            or self.routes is not None
            or (self.tenant, self.source, self.id) in voided
        )


_decode_elsewhere = msgspec.json.Decoder(Elsewhere).decode


class EventFile:
    """A file of CloudEvents, a JSON object a line; read anew whenever somebody walks over it, so that it need not fit
    into memory. Walking raises Unreadable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.given = 0
        """How many events the present walk has given out."""

    def __iter__(self) -> Iterator[Event]:
        with self._path.open("rb") as lines:
            yield from _events(lines)

    def telling(self) -> Iterator[Event]:
        """The events that say something of the whole file, and maybe others. Most lines are not read for that."""
        first = 1
        with self._path.open("rb") as file:
            while lines := file.readlines(BLOCK_BYTES):
                if _may_tell(b"".join(lines)):
                    yield from _events((line if _may_tell(line) else b"" for line in lines), first)
                first += len(lines)

    def walked(self, own: Sequence[int], voided: Container[Name]) -> Iterator[Event | Elsewhere]:
        """All events in order, those that concern only cases of other partitions than `own` not read whole."""
        self.given = 0
        every = len(own) == PARTITIONS
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                event = _event(number, line) if every else _concerning(number, line, own, voided)
                if event is not None:
                    self.given += 1
                    yield event


def read_events(lines: Iterable[bytes]) -> list[Event]:
    """The events of lines that can be read only once. Raises Unreadable."""
    return list(_events(lines))


def _events(lines: Iterable[bytes], first: int = 1) -> Iterator[Event]:
    for number, line in enumerate(lines, first):
        event = _event(number, line)
        if event is not None:
            yield event


def _event(number: int, line: bytes) -> Event | None:
    """The event of a line, None where that is empty. Raises Unreadable."""
    try:
        event = decode_event(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if not line.strip():
            return None
        raise Unreadable(f"line {number}: {error}") from error
    if event.type == CLOCK and event.data.to is None:
        raise Unreadable(f"line {number}: {CLOCK} does not say how far; give data.to")
    return event


def _concerning(number: int, line: bytes, own: Container[int], voided: Container[Name]) -> Event | Elsewhere | None:
    try:
        found = _decode_elsewhere(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _event(number, line)  # says what is wrong with it
    return _event(number, line) if found.concerns(own, voided) else found


def _may_tell(text: bytes) -> bool:
    return any(word in text for word in TELLING)


def new_world(library: Library | None = None, own: Sequence[int] = range(PARTITIONS)) -> World:
    """A world with the files that come with Gihan, or those of a library; of some partitions, or of all."""
    library = library or Library(files.read())
    return World([Rulebook(library) for _ in range(PARTITIONS)], own)


class Step(NamedTuple):
    """Which step of a simulation: before an event (by its number), with or after it; and the instant that passes."""

    event: int
    place: Literal["before", "with", "with_home"]
    at: Instant = 0


def simulate(
    events: Iterable[Event], until: Instant | None, library: Library | None = None, world: World | None = None
) -> Iterator[Decided]:
    """The decisions that follow from events in the order of the file, in a new world (of `library`) or the one given.

    If the file holds any clock.advanced, no other tick is made; otherwise, before an event recorded at R, the clock
    passes every instant before R, and at the end every instant before `until` (else the last R). The events are walked
    over twice.
    """
    return (row for _, decided in steps(events, until, world or new_world(library)) for row in decided)


def steps(events: Iterable[Event], until: Instant | None, world: World) -> Iterator[tuple[Step, list[Decided]]]:
    """What each step decides that decides anything, in a world of some partitions, or of all, as `simulate` has it."""
    told = _Told.of(events.telling() if isinstance(events, EventFile) else events)
    walked = events.walked(world.own, told.voided) if isinstance(events, EventFile) else events
    last: Instant = 0
    number = 0
    for number, event in enumerate(walked, 1):
        if (recorded := event.recorded) > last:
            last = recorded
        if not told.ticks:
            for at, decided in world.pass_before(last):
                yield Step(number, "before", at), decided
            world.stand_at(last)
        if isinstance(event, Event):
            completed = told.filled_in(event)
            if completed is None:
                if 0 in world.own:  # of several processes one says it
                    said = f"line {number}: fact.voided names a fact that the file has not stated"
                    print(said, file=sys.stderr)
                continue
            if decided := world.feed(completed, number):
                yield Step(number, "with"), decided
        if event.tenant and event.tenant not in told.opened:
            # Nothing in the file enacts the charter: the tenant's duties run from its first event.
            told.opened.add(event.tenant)
            fact = Fact(0, "", "charter", ENACTED, of_datetime(event.time))
            yield Step(number, "with_home"), world.open_home(event.tenant, fact)
    if not told.ticks:
        for at, decided in world.pass_before(last if until is None else until):
            yield Step(number + 1, "before", at), decided
    for case in (case for one in world.partitions for case in one.cases.values() if case.stuck):
        print(
            f"{case.tenant}/{case.id} is stuck: {case.stuck}; its facts are kept, nothing is decided", file=sys.stderr
        )


class _Told(NamedTuple):
    """What a file says of itself before it is walked over, and what was read of it so far.

    `voided` names the facts that are taken back somewhere in it, `stated` has those of them that were read, `reported`
    the officer whom each fault report names. `opened` are the tenants whose charter is enacted or taken as such.
    """

    ticks: bool
    opened: set[str]
    voided: set[Name]
    stated: dict[Name, Event]
    reported: dict[Name, str | None]

    @classmethod
    def of(cls, events: Iterable[Event]) -> "_Told":
        told = cls(False, set(), set(), {}, {})
        ticks = False
        for event in events:
            ticks |= event.type == CLOCK
            if event.type == ENACTED:
                told.opened.add(event.tenant)
            elif event.type == VOIDED:
                told.voided.add((event.tenant, event.data.source or "", event.data.id or ""))
        return told._replace(ticks=ticks)

    def filled_in(self, event: Event) -> Event | None:
        """The event with what intake would fill in from those before it; None where it takes back what is unknown."""
        completed = _filled_in(event, self.stated, self.reported) if event.type.startswith(BEYOND) else event
        if completed is not None:
            if self.voided and (name := (event.tenant, event.source, event.id)) in self.voided:
                self.stated[name] = completed
            if event.type == "fault.reported":
                self.reported[(event.tenant, event.case_id, event.id)] = event.data.officer
        return completed


def _filled_in(event: Event, seen: Mapping[Name, Event], reported: Mapping[Name, str | None]) -> Event | None:
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
