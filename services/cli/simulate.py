"""`gihan simulate`: folds a file of events without any server; `refold` does the same for the log itself."""

import re
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from contracts import files
from contracts.events import MUNICIPAL_TYPES
from contracts.streams import PARTITIONS, partition
from services.rules import chapters, simulation
from services.rules.facts import Elsewhere, Event, decode_elsewhere, decode_event
from services.rules.instants import Instant
from services.rules.lines import Lines, lines_of
from services.rules.rulebook import Library, Rulebook
from services.rules.simulation import BEYOND, CLOCK, Name, Step, Told
from services.rules.state import Decided
from services.rules.world import World

TELLING = re.compile(rb"\.(?:advanced|enacted|voided)")
"""What stands in every line that must be read before the walk: the end of a type, unless a letter of it is written as a
number, behind a backslash."""
BLOCK_BYTES = 1 << 20
BLOCK_LINES = 2_000
SPACE = b" \t\r\n"
"""What may stand around a JSON value, and alone in a line."""


class Unreadable(ValueError):
    """A line that is no event: says which line, which field and why."""


def _concerns(event: Elsewhere, own: Container[int], voided: Container[Name]) -> bool:
    """Whether an event must be read whole for the cases of some partitions, or because it is taken back somewhere."""
    return (
        partition(event.tenant, event.case or event.subject.lower()) in own
        or event.type.startswith(BEYOND)
        or event.type in MUNICIPAL_TYPES
        or event.routes is not None
        or (event.tenant, event.source, event.id) in voided
    )


class EventFile:
    """A file of CloudEvents, a JSON object a line; read anew whenever somebody walks over it, so that it need not fit
    into memory. Walking raises Unreadable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told: Told | None = None

    @property
    def walked(self) -> int:
        """How many events the decisions before an error reach to."""
        return self._told.walked if self._told else 0

    def size(self) -> int:
        """In bytes."""
        return self._path.stat().st_size

    def __iter__(self) -> Iterator[Event]:
        with self._path.open("rb") as lines:
            yield from _events(lines)

    def telling(self) -> Iterator[Event]:
        """The events that say something of the whole file, and maybe others. Most lines are not read for that."""
        first = 1
        for lines in self._blocks():
            if _may_tell(b"".join(lines)):
                yield from _events((line if _may_tell(line) else b"" for line in lines), first)
            first += len(lines)

    def steps(
        self, until: Instant | None, world: World, zones: Mapping[str, ZoneInfo], tell: Callable[[int], None]
    ) -> Iterator[tuple[Step, Lines]]:
        """What each step decides that decides anything, in a new world of some partitions, or of all, as `simulate` has
        it: case by case, unless the file holds ticks. `tell` hears from time to time how many events more were folded.
        """
        self._told = told = Told(self.telling())
        if told.ticks:
            events = self._in_order(world.own, told.voided, tell)
            for step, decided in simulation.steps(events, told, until, world, _complain):
                yield step, lines_of(decided, zones)
        else:
            text = self._text()
            history = chapters.History(_lines(text) if text else [], text or b"", _event, _complain, tell)
            yield from chapters.steps(history, told, until, world, zones)

    def _text(self) -> mmap | None:
        """All that stands in it now, as far as it is asked for. What is appended meanwhile is not seen; whoever cuts
        the file short ends this process."""
        with self._path.open("rb") as file:
            return mmap(file.fileno(), 0, access=ACCESS_READ) if self.size() else None

    def _blocks(self) -> Iterator[list[bytes]]:
        """The lines, some at a time."""
        with self._path.open("rb") as file:
            while lines := file.readlines(BLOCK_BYTES):
                yield lines

    def _in_order(
        self, own: Sequence[int], voided: Container[Name], tell: Callable[[int], None]
    ) -> Iterator[Event | Elsewhere]:
        """All events in order, those that concern only cases of other partitions than `own` not read whole."""
        every, given = len(own) == PARTITIONS, 0
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                event = _event(number, line) if every else _concerning(number, line, own, voided)
                if event is not None:
                    yield event
                if isinstance(event, Event):
                    given += 1
                    if given % chapters.TELL == 0:
                        tell(chapters.TELL)


def _lines(text: mmap) -> Iterator[list[bytes]]:
    """The lines, some at a time."""
    lines = iter(text.readline, b"")
    while some := list(islice(lines, BLOCK_LINES)):
        yield some


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
        if not line.strip(SPACE):
            return None
        raise Unreadable(f"line {number}: {error}") from error
    if event.type == CLOCK and event.data.to is None:
        raise Unreadable(f"line {number}: {CLOCK} does not say how far; give data.to")
    return event


def _concerning(number: int, line: bytes, own: Container[int], voided: Container[Name]) -> Event | Elsewhere | None:
    try:
        found = decode_elsewhere(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _event(number, line)  # says what is wrong with it
    return _event(number, line) if _concerns(found, own, voided) else found


def _may_tell(text: bytes) -> bool:
    return b"\\" in text or TELLING.search(text) is not None


def new_world(library: Library | None = None, own: Sequence[int] = range(PARTITIONS)) -> World:
    """A world with the files that come with Gihan, or those of a library; of some partitions, or of all."""
    library = library or Library(files.read())
    return World([Rulebook(library) for _ in range(PARTITIONS)], own)


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
    return simulation.steps(events, Told(events), until, world, _complain)


def _complain(says: str) -> None:
    print(says, file=sys.stderr)
