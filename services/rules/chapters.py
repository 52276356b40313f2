"""Chapters: a history walked over case by case instead of event by event, which decides the same and is sooner done.

The one rule: step for step it decides what `simulation.steps` decides, its plain form; a test of random histories holds
the two against each other. A case depends on its facts, the rules and the time that passes, and on no other case. So
between two events that change the rules each can be folded to the end of the chapter while the caches hold all of it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo

import msgspec

from contracts.events import MUNICIPAL_TYPES
from contracts.streams import partition
from services.rules.effective import recorded_at
from services.rules.facts import Elsewhere, Event, Fact, decode_elsewhere, decode_event
from services.rules.instants import Instant
from services.rules.lines import Lines, lines_of, place_of, text_of, whose
from services.rules.routing import ALL, route
from services.rules.rulebook import MOVING
from services.rules.simulation import BEYOND, Step, Told, say_stuck
from services.rules.state import Case, Decision
from services.rules.stating import fact_of
from services.rules.world import CaseKey, Partition, World

EVENTS: Final = 1 << 20
"""So many events a chapter has at most: their lines and what they decide are held in memory."""

Read = Callable[[int, bytes], Event | None]
"""The event of a line, which is told by its number too: None where it is empty. Raises what is wrong with it."""


class Text(Protocol):
    """Bytes, or what gives some of them as bytes do."""

    def __getitem__(self, part: slice, /) -> bytes: ...


Line = tuple[Instant, str, str]
"""The instant that passes, if it is time that decides, the decision's place in its step and its text."""

TELL: Final = 10_000
"""After so many events it is told that they were folded."""


class History(NamedTuple):
    """A file of events that is walked over: its lines, all of them, some at a time; its text, out of which a line is
    had again, which is cheaper than to hold it; how it is read; who hears what is wrong, and from time to time how many
    events more were folded (copies count)."""

    lines: Iterable[list[bytes]]
    text: Text
    read: Read
    say: Callable[[str], None]
    tell: Callable[[int], None]


def steps(
    history: History,
    told: Told,
    until: Instant | None,
    world: World,
    zones: Mapping[str, ZoneInfo],
    most: int = EVENTS,
) -> Iterator[tuple[Step, Lines]]:
    """As `simulation.steps`, of a history without ticks in a new world, the decisions as they are printed: one text for
    all that belong together.

    What reading or a rule raises comes after all that was decided before.
    """
    chapter = Chapter(history, world, told, zones, 1, 0)
    number = 1
    offset = 0
    for some in history.lines:
        for line in some:
            moving: Event | None = None
            failed: Exception | None = None
            try:
                moving = chapter.add(number, line, offset)
            except Exception as error:
                failed = error
            offset += len(line)
            if moving is not None or failed is not None or chapter.length() >= most:
                yield from chapter.steps()
                if failed is not None:
                    raise failed
                if moving is not None:
                    yield from _moved(moving, told, world, zones)
                chapter = Chapter(history, world, told, zones, number + 1, chapter.last)
            number += 1
    yield from chapter.steps(at_end=True)
    for at, decided in world.pass_before(chapter.last if until is None else until):
        yield Step(told.walked + 1, "before", at), lines_of(decided, zones)
    say_stuck(world, history.say)


def _moved(event: Event, told: Told, world: World, zones: Mapping[str, ZoneInfo]) -> Iterator[tuple[Step, Lines]]:
    """What an event decides that changes the rules, after the chapter that it ends."""
    decided = world.feed(event, told.walked)
    if decided:
        yield Step(told.walked, "with"), lines_of(decided, zones)
    home = told.opens(event)
    if home is not None:
        yield Step(told.walked, "with_home"), lines_of(world.open_home(event.tenant, home), zones)


class Course:
    """What happens in a case of a partition within a chapter: each event by twice its place, or one more for what opens
    a home."""

    def __init__(self, number: int) -> None:
        self.partition = number
        self.marks: list[int] = []


class Chapter:
    """Events of which at most the last changes the rules, and what becomes of each case while they happen.

    An event is named by its place among them, from 0. `last` is the latest instant at which any was recorded.
    """

    def __init__(
        self, history: History, world: World, told: Told, zones: Mapping[str, ZoneInfo], line: int, last: Instant
    ) -> None:
        self.last = last
        self._world = world
        self._own = frozenset(world.own)
        self._told = told
        self._text: Text = history.text
        self._read: Read = history.read
        self._say: Callable[[str], None] = history.say
        self._tell: Callable[[int], None] = history.tell
        self._zones = zones
        self._stood = last
        self._begin: int = told.walked
        # The line on which it begins, and the places before which others were empty.
        self._line = line
        self._empty: list[int] = []
        # By place: where the line begins, where the clock stands when the event comes, what time alone decides before
        # it, and what is decided with it. Memory that is touched for the first time is dear: no more is held.
        self._starts: list[int] = []
        self._end: int = 0
        self._clocks: list[Instant] = []
        self._before: list[list[Line] | None] = []
        self._with: list[str | None] = []
        self._with_many: dict[int, list[Line]] = {}
        self._with_home: dict[int, str] = {}
        self._whole: dict[int, Event] = {}
        self._homes: dict[int, Fact] = {}
        # What happens in each case, None where it is not ours.
        self._courses: dict[CaseKey, Course | None] = {}
        self._at_end = False
        self._folded = 0
        self._stop = -1
        self._error: Exception | None = None

    def length(self) -> int:
        """How many events it has."""
        return len(self._clocks)

    def add(self, number: int, line: bytes, offset: int) -> Event | None:
        """Takes the event of a line in; returned if it changes the rules, as it may after the steps of this chapter.
        Raises what reading raises."""
        head: Event | Elsewhere
        try:
            head = decode_elsewhere(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            whole = self._read(number, line)  # says what is wrong with it
            if whole is None:
                self._empty.append(len(self._clocks))
                return None
            head = whole
        type: str = head.type
        tenant: str = head.tenant
        place, told = len(self._clocks), self._told
        beyond = _beyond(type) or head.routes is not None
        if beyond or (told.voided and (tenant, head.source, head.id) in told.voided):
            read = self._read(number, line)
            assert read is not None
            self._enter(recorded_at(read), offset, line)
            event = told.filled_in(read)
            if event is None:
                if 0 in self._own:  # of several processes one says it
                    self._say(f"line {number}: fact.voided names a fact that the file has not stated")
                return None
            routes = route(type, tenant, event.case_id, {"officer": event.data.officer}, event.routes)
            if routes and routes[0][1] == ALL and type in MOVING:
                return event
            self._whole[place] = event
            for _, case in routes:
                if case != ALL:
                    self._noted((tenant, case), place * 2)
        else:
            self._enter(recorded_at(head), offset, line)
            self._noted((tenant, head.case or head.subject.lower()), place * 2)
        home = told.opens(head)
        if home is not None:
            self._homes[place] = home
            self._noted((tenant, tenant), place * 2 + 1)
        return None

    def _enter(self, recorded: Instant, offset: int, line: bytes) -> None:
        if recorded > self.last:
            self.last = recorded
        self._clocks.append(self.last)
        self._starts.append(offset)
        self._end = offset + len(line)

    def _noted(self, key: CaseKey, mark: int) -> None:
        """Notes an event in the course of a case that is ours."""
        course = self._courses.get(key)
        if course is None:
            if key in self._courses:
                return
            tenant, case = key
            number = partition(tenant, case)
            if number not in self._own:
                self._courses[key] = None
                return
            self._courses[key] = course = Course(number)
        course.marks.append(mark)

    def steps(self, at_end: bool = False) -> Iterator[tuple[Step, Lines]]:
        """What each step decides that decides anything. Time passes to the last event in the whole world. At the end of
        the history the cases for which time brings nothing more are not kept."""
        self._at_end = at_end
        partitions = self._world.partitions
        self._before = [None] * len(self._clocks)
        self._with = [None] * len(self._clocks)
        for number in self._world.own:
            for key in partitions[number].waiting_before(self.last):
                if key not in self._courses:
                    self._courses[key] = Course(number)
        for key, course in self._courses.items():
            if course is not None:
                self._fold(partitions[course.partition], key, course)
        self._world.stand_at(self.last)
        self._tell(self._folded)
        return self._in_order()

    def _in_order(self) -> Iterator[tuple[Step, Lines]]:
        begin, stop = self._begin, self._stop
        for place in range(len(self._clocks) if stop < 0 else (stop + 1) // 2):
            number = begin + place + 1
            before = self._before[place]
            if before is not None:
                for at, lines in _by_instant(before):
                    yield Step(number, "before", at), lines
            if place * 2 + 1 == stop:
                break
            text = self._with[place]
            if text is not None:
                yield Step(number, "with"), Lines([text], [])
            if place in self._with_many:
                for _, lines in _by_instant(self._with_many[place]):
                    yield Step(number, "with"), lines
            if place in self._with_home:
                yield Step(number, "with_home"), Lines([self._with_home[place]], [])
        self._told.walked = begin + (len(self._clocks) if stop < 0 else (stop + 1) // 2)
        if self._error is not None:
            raise self._error

    def _fold(self, there: Partition, key: CaseKey, course: Course) -> None:
        """One case, from the first of its events to the last instant of the chapter."""
        tenant, name = key
        who = whose(tenant, name)
        before = there.case(key)
        case = Case(tenant, name) if before is None else before
        since = 0
        # First what happens in it, then what follows, then how that is told: what is done again at once is still in the
        # processor's first cache.
        facts = self._facts(course, name)
        decided: list[tuple[int, list[Decision]]] = []
        failed = False
        for number, mark in enumerate(course.marks):
            place = mark // 2
            clock = self._clocks[place]
            case = self._passed(there, case, since, clock, who)
            since = place + 1
            failed = number == len(facts)
            if failed:
                break
            try:
                case, decisions, _ = there.warm.fold(case, facts[number], clock)
            except Exception as error:
                self._stopped(place * 2 + 1, error)
                failed = True
                break
            if decisions:
                decided.append((mark, decisions))
        for mark, decisions in decided:
            self._tell_of(mark, key, decisions, who)
        if failed:
            return
        case = self._passed(there, case, since, self.last, who)
        if case.next_at is None and not case.stuck:
            there.let_go(key)
            if not self._at_end:
                there.put_away(key, case)
        else:
            if before is not None and before.next_at is not None and before.next_at < self.last:
                before = None  # nobody waits for it any more
            there.keep(key, case, before)
        self._folded += len(course.marks)
        if self._folded >= TELL:
            self._tell(self._folded)
            self._folded = 0

    def _facts(self, course: Course, case: str) -> list[Fact]:
        """What happens in a case, up to an event that cannot be read, which stops the chapter before it."""
        facts: list[Fact] = []
        for mark in course.marks:
            place = mark // 2
            if mark % 2:
                facts.append(self._homes[place])
                continue
            event: Event
            if place in self._whole:
                event = self._whole[place]
                if event.case != case:
                    event = msgspec.structs.replace(event, case=case)
            else:
                # With empty lines behind it, where there are any.
                end = self._starts[place + 1] if place + 1 < len(self._starts) else self._end
                line: bytes = self._text[self._starts[place] : end]
                try:
                    event = decode_event(line)
                except Exception:
                    try:
                        # Says what is wrong with it.
                        self._read(self._line + place + bisect_right(self._empty, place), line)
                    except Exception as error:
                        self._stopped(place * 2, error)
                    break
            facts.append(fact_of(event, self._begin + place + 1))
        return facts

    def _tell_of(self, mark: int, key: CaseKey, decisions: list[Decision], who: str) -> None:
        """Notes the lines of what was decided with a fact."""
        place, zone = mark // 2, self._zones[key[0]]
        if mark % 2:
            self._with_home[place] = _text(decisions, who, zone)
        elif place in self._whole:
            self._with_many.setdefault(place, []).extend(_placed(0, key, decisions, who, zone))
        else:
            self._with[place] = _text(decisions, who, zone)

    def _passed(self, there: Partition, case: Case, since: int, limit: Instant, who: str) -> Case:
        """The case after every instant before `limit`; none of them passes before the event at the place `since`."""
        at: Instant | None = case.next_at
        while at is not None and at < limit:
            place = bisect_right(self._clocks, at, since)
            if place == len(self._clocks):
                break  # told before what comes next
            # The clock passes an instant when it stands behind it; what is done exactly then was on time.
            clock = max(at + 1, self._clocks[place - 1] if place else self._stood)
            case, decisions, _ = there.warm.fold(case, None, clock)
            if decisions:
                lines = _placed(at, (case.tenant, case.id), decisions, who, self._zones[case.tenant])
                others = self._before[place]
                if others is None:
                    self._before[place] = lines
                else:
                    others.extend(lines)
            at = case.next_at
        return case

    def _stopped(self, stop: int, error: Exception) -> None:
        """Of several errors the first counts: `stop` is twice the place of its event, and one more where the time
        before that has passed."""
        if self._error is None or stop < self._stop:
            self._stop, self._error = stop, error


def _text(decisions: list[Decision], who: str, zone: ZoneInfo) -> str:
    """The lines of what is decided together, in one text."""
    if len(decisions) == 1:
        return text_of(decisions[0], who, zone)
    return "\n".join(_texts(decisions, who, zone))


def _texts(decisions: list[Decision], who: str, zone: ZoneInfo) -> list[str]:
    return [text_of(decision, who, zone) for decision in decisions]


def _placed(at: Instant, key: CaseKey, decisions: list[Decision], who: str, zone: ZoneInfo) -> list[Line]:
    tenant, case = key
    texts = _texts(decisions, who, zone)
    return [(at, place_of(tenant, case, decision, number), texts[number]) for number, decision in enumerate(decisions)]


_BEYOND: Final[dict[str, bool]] = {}


def _beyond(type: str) -> bool:
    """Whether an event of a type may concern other cases than its own."""
    found = _BEYOND.get(type)
    if found is None:
        found = type.startswith(BEYOND) or type in MUNICIPAL_TYPES
        if len(_BEYOND) < 1_000:  # whatever a file calls its types
            _BEYOND[type] = found
    return found


def _by_instant(lines: list[Line]) -> list[tuple[Instant, Lines]]:
    """In order, what is decided at each instant."""
    if len(lines) == 1:
        at, place, text = lines[0]
        return [(at, Lines([text], [place]))]
    lines.sort()
    found: list[tuple[Instant, Lines]] = []
    for at, together in groupby(lines, _instant):
        rows = list(together)
        found.append((at, Lines([text for _, _, text in rows], [place for _, place, _ in rows])))
    return found


def _instant(line: Line) -> Instant:
    return line[0]
