"""Chapters: a history walked over case by case instead of event by event, which decides the same and is sooner done.

The one rule: step for step it decides what `simulation.steps` decides, its plain form; a test of random histories holds
the two against each other. A case depends on its facts, the rules and the time that passes, and on no other case. So
between two events that change the rules each can be folded to the end of the chapter while the caches hold all of it.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import groupby
from typing import Final, NamedTuple, Protocol
from zlib import crc32
from zoneinfo import ZoneInfo

import msgspec

from contracts.streams import partition
from services.rules.facts import Event, Fact, decode_event
from services.rules.heads import WHOLE, Heads
from services.rules.instants import Instant
from services.rules.lines import Lines, lines_of, place_of, text_of, whose
from services.rules.routing import ALL, route
from services.rules.rulebook import MOVING
from services.rules.simulation import Step, Told, say_stuck
from services.rules.state import Case, Decision
from services.rules.stating import fact_of
from services.rules.world import CaseKey, Partition, World

EVENTS: Final = 1 << 20
"""So many events a chapter has at most: what they decide is held in memory."""

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
    """A file of events that is walked over: the heads of its lines, its text, out of which each is had, how it is read;
    who hears what is wrong, and from time to time how many events more were folded (copies count)."""

    heads: Heads
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
    events, courses = len(history.heads.cases), Courses(history.heads, world.own)
    chapter = Chapter(history, courses, told, world, zones, 0, 0)
    while True:
        chapter.take(most)
        at_end = chapter.end == events and chapter.failed is None and chapter.moving is None
        yield from chapter.steps(at_end)
        if at_end:
            break
        if chapter.failed is not None:
            raise chapter.failed
        if chapter.moving is not None:
            yield from _moved(chapter.moving, told, world, zones)
        chapter = Chapter(history, courses, told, world, zones, chapter.end, chapter.last)
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
    """What happens in a case within a chapter: each event by twice its place, or one more for what opens a home."""

    def __init__(self, key: CaseKey, partition: int, number: int) -> None:
        self.key = key
        self.partition = partition
        self.number = number
        self.marks: list[int] = []


class Courses:
    """The courses of the cases of some partitions, within one chapter after the other (`told_of`). A case has a number
    among the heads, unless it is only told of in an event about another one."""

    def __init__(self, heads: Heads, own: Collection[int]) -> None:
        self.told_of: list[Course] = []
        self._own = frozenset(own)
        self._numbers = heads.numbers
        self._keys = list(heads.numbers)
        self._partitions = heads.partitions
        self._ours = [number in self._own for number in heads.partitions]
        self._numbered: list[Course | None] = [None] * len(self._keys)
        self._others: dict[CaseKey, Course] = {}

    def of_number(self, number: int) -> Course | None:
        """The course of a case by its number; None where it is not ours."""
        course = self._numbered[number]
        if course is None and self._ours[number]:
            course = self._numbered[number] = Course(self._keys[number], self._partitions[number], number)
            self.told_of.append(course)
        return course

    def of_key(self, key: CaseKey) -> Course | None:
        """The course of a case by its name; None where it is not ours."""
        number = self._numbers.get(key)
        if number is not None:
            return self.of_number(number)
        course = self._others.get(key)
        if course is None:
            at = partition(*key)
            if at in self._own:
                course = self._others[key] = Course(key, at, WHOLE)
                self.told_of.append(course)
        return course

    def end(self) -> None:
        """Forgets what happened, since the chapter is over."""
        for course in self.told_of:
            if course.number != WHOLE:
                self._numbered[course.number] = None
        self.told_of = []
        self._others = {}


class Chapter:
    """Events of which at most the last changes the rules (`moving`), and what becomes of each case while they happen.

    An event is named by its place among them, from 0. `end` is the place behind them in the history, `last` the latest
    instant at which any was recorded. What is wrong with the event that would come next has `failed`.
    """

    def __init__(
        self,
        history: History,
        courses: Courses,
        told: Told,
        world: World,
        zones: Mapping[str, ZoneInfo],
        begin: int,
        last: Instant,
    ) -> None:
        self.end = begin
        self.last = last
        self.moving: Event | None = None
        self.failed: Exception | None = None
        self._heads: Heads = history.heads
        self._starts: list[int] = []
        self._empty: list[int] = history.heads.empty
        self._world = world
        self._courses = courses
        self._told = told
        self._text: Text = history.text
        self._read: Read = history.read
        self._say: Callable[[str], None] = history.say
        self._tell: Callable[[int], None] = history.tell
        self._zones = zones
        self._stood = last
        self._begin = begin
        # By place: where its line starts, where the clock stands when the event comes, what time alone decides before
        # it, and what is decided with it. Memory that is touched for the first time is dear: no more is held. What is
        # asked for out of order stands in lists, which compiled code reads in a quarter of the time of an array.
        self._clocks: list[int] = []
        self._before: list[list[Line] | None] = []
        self._with: list[str | None] = []
        self._with_many: dict[int, list[Line]] = {}
        self._with_home: dict[int, str] = {}
        self._whole: dict[int, Event] = {}
        self._homes: dict[int, Fact] = {}
        self._at_end = False
        self._folded = 0
        self._stop = -1
        self._error: Exception | None = None

    def take(self, most: int) -> None:
        """Takes in so many events at most, up to one that changes the rules or cannot be read."""
        heads, courses, begin = self._heads, self._courses, self._begin
        voided = {crc32(id.encode()) for _, _, id in self._told.voided}
        cases = heads.cases[begin : begin + most]
        self.end = begin + len(cases)
        self._starts = heads.starts[begin : self.end + 1].tolist()
        for place, number in enumerate(cases):
            if number == WHOLE or (voided and heads.checksums[begin + place] in voided):
                if not self._take_whole(place):
                    break
            else:
                course = courses.of_number(number)
                if course is not None:
                    course.marks.append(place * 2)
        self._clocks = heads.recorded[begin : self.end].tolist()
        if self._clocks:
            self.last = self._clocks[-1]

    def _take_whole(self, place: int) -> bool:
        """Reads an event that may concern more than one case, or that is taken back somewhere; says whether the chapter
        goes on behind it."""
        told = self._told
        try:
            read = self._read(self._number(place), self._line(place))
        except Exception as error:
            self.failed, self.end = error, self._begin + place
            return False
        assert read is not None  # an empty line has no place
        event = told.filled_in(read)
        if event is None:
            if 0 in self._world.own:  # of several processes one says it
                self._say(f"line {self._number(place)}: fact.voided names a fact that the file has not stated")
            return True
        type, tenant = event.type, event.tenant
        routes = route(type, tenant, event.case_id, {"officer": event.data.officer}, event.routes)
        if routes and routes[0][1] == ALL and type in MOVING:
            self.moving, self.end = event, self._begin + place + 1
            return False
        self._whole[place] = event
        for _, case in routes:
            if case != ALL:
                self._note((tenant, case), place * 2)
        home = told.opens(event)
        if home is not None:
            self._homes[place] = home
            self._note((tenant, tenant), place * 2 + 1)
        return True

    def _note(self, key: CaseKey, mark: int) -> None:
        course = self._courses.of_key(key)
        if course is not None:
            course.marks.append(mark)

    def _line(self, place: int) -> bytes:
        """The line of an event, with empty ones behind it where there are any."""
        line: bytes = self._text[self._starts[place] : self._starts[place + 1]]
        return line

    def _number(self, place: int) -> int:
        """The number of an event's line."""
        place += self._begin
        return place + 1 + bisect_right(self._empty, place)

    def steps(self, at_end: bool = False) -> Iterator[tuple[Step, Lines]]:
        """What each step decides that decides anything. Time passes to the last event in the whole world. At the end of
        the history the cases for which time brings nothing more are not kept."""
        self._at_end = at_end
        partitions, courses = self._world.partitions, self._courses
        self._before = [None] * len(self._clocks)
        self._with = [None] * len(self._clocks)
        for number in self._world.own:
            for key in partitions[number].waiting_before(self.last):
                courses.of_key(key)
        # One city after the other was some 3 % sooner done (docs/bench/fold.md). In what order changes nothing else.
        for course in sorted(courses.told_of, key=_tenant):
            self._fold(partitions[course.partition], course)
        courses.end()
        self._world.stand_at(self.last)
        self._tell(self._folded)
        return self._in_order()

    def _in_order(self) -> Iterator[tuple[Step, Lines]]:
        begin, stop, many, homes = self._begin, self._stop, self._with_many, self._with_home
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
            if many and place in many:
                for _, lines in _by_instant(many[place]):
                    yield Step(number, "with"), lines
            if homes and place in homes:
                yield Step(number, "with_home"), Lines([homes[place]], [])
        self._told.walked = begin + (len(self._clocks) if stop < 0 else (stop + 1) // 2)
        if self._error is not None:
            raise self._error

    def _fold(self, there: Partition, course: Course) -> None:
        """One case, from the first of its events to the last instant of the chapter."""
        key = course.key
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
                try:
                    event = decode_event(self._line(place))
                except Exception:
                    try:
                        self._read(self._number(place), self._line(place))  # says what is wrong with it
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


def _tenant(course: Course) -> str:
    return course.key[0]


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
