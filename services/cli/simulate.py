"""`gihan simulate`: folds a file of events without any server; `refold` does the same for the log itself."""

import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from contracts import files
from contracts.events import MUNICIPAL_TYPES
from contracts.streams import PARTITIONS, partition
from services.cli.progress import Tell, to_nobody
from services.rules import chapters, heads, simulation
from services.rules.chapters import Text
from services.rules.facts import Elsewhere, Event, decode_elsewhere, decode_event
from services.rules.heads import SPACE, Heads
from services.rules.instants import Instant
from services.rules.lines import Lines, lines_of
from services.rules.rulebook import Library, Rulebook
from services.rules.simulation import BEYOND, CLOCK, Name, Step, Told
from services.rules.state import Decided
from services.rules.world import World

BLOCK_LINES = 2_000

READING, FOLDING = "reading", "folding"
"""The stages of a simulation, of which `tell` hears: in bytes the one, in events the other (copies count)."""


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

    def heads(self, begin: int = 0, end: int | None = None, tell: Tell = to_nobody) -> Heads:
        """The heads of its lines, or of those from one byte to another, where lines begin and end."""
        text = self._text()
        return heads.read(_lines(text, begin, len(text) if end is None else end, tell) if text else [], begin)

    def parts(self, most: int) -> list[tuple[int, int]]:
        """Where so many parts of it begin and end, of much the same size; fewer, where lines are long."""
        text = self._text()
        if text is None:
            return [(0, 0)]
        size = len(text)
        cuts = {text.find(b"\n", size * number // most) + 1 or size for number in range(1, most)}
        return list(pairwise(sorted({0, size, *cuts})))

    def steps(
        self,
        until: Instant | None,
        world: World,
        zones: Mapping[str, ZoneInfo],
        tell: Tell,
        known: Heads | None = None,
    ) -> Iterator[tuple[Step, Lines]]:
        """What each step decides that decides anything, in a new world of some partitions, or of all, as `simulate` has
        it: case by case, unless the file holds ticks. `tell` hears from time to time how much more was done; the heads
        are read unless they are `known`.
        """
        read = self.heads(tell=tell) if known is None else known

        def folded(more: int) -> None:
            tell(FOLDING, more, len(read.cases))

        text = self._text() or b""
        self._told = told = Told(_telling(read, text))
        if told.ticks:
            events = self._in_order(world.own, told.voided, folded)
            given = simulation.steps(events, told, until, world, _complain)
            return ((step, lines_of(decided, zones)) for step, decided in given)
        history = chapters.History(read, text, _event, _complain, folded)
        return chapters.steps(history, told, until, world, zones)

    def _text(self) -> mmap | None:
        """All that stands in it now, as far as it is asked for. What is appended meanwhile is not seen; whoever cuts
        the file short ends this process."""
        with self._path.open("rb") as file:
            return mmap(file.fileno(), 0, access=ACCESS_READ) if self.size() else None

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


def _lines(text: mmap, begin: int, end: int, tell: Tell) -> Iterator[list[bytes]]:
    """The lines between two bytes, some at a time."""
    text.seek(begin)
    lines = iter(text.readline, b"")
    while (at := text.tell()) < end:
        some = list(islice(lines, BLOCK_LINES))
        while text.tell() > end:  # a block too far
            text.seek(text.tell() - len(some.pop()))
        yield some
        tell(READING, text.tell() - at, end - begin)


def _telling(read: Heads, text: Text) -> Iterator[Event]:
    """The events that say something of the whole file. What is wrong with one shows where it is folded."""
    for place in read.telling:
        with suppress(Unreadable):
            event = _event(place, text[read.starts[place] : read.starts[place + 1]])
            if event is not None:
                yield event


def read_events(lines: Iterable[bytes]) -> list[Event]:
    """The events of lines that can be read only once. Raises Unreadable."""
    return list(_events(lines))


def _events(lines: Iterable[bytes]) -> Iterator[Event]:
    for number, line in enumerate(lines, 1):
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
