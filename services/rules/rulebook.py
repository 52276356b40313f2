"""The rulebook: which charter, calendar and revision hold for a case, as the log enacted them.

The one rule: a decision depends on four things, each named in the log by hash. A file that the log names and that is
missing stops the reader with a clear error; nothing is ever guessed in its place.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Final, NamedTuple

import yaml

from services.rules import calendar as calendars
from services.rules.calendar import Calendar, CalendarFile, Closure, Stretch, WeekHours
from services.rules.charter import Charter
from services.rules.charter_files import parse_charter
from services.rules.declared import DECLARING, Declared, known_to
from services.rules.effective import in_effect, key_of
from services.rules.facts import Data, Event, Fact
from services.rules.fold import REVISION, REVISIONS
from services.rules.instants import NEVER, Instant, local, midnight, of_datetime
from services.rules.state import NEW_CASES, OPEN_FROM_TODAY, REOPENED, RETROACTIVE, Lives, Rules, Stage
from services.rules.stating import fact_of

OPEN_CASES: Final = frozenset({OPEN_FROM_TODAY, RETROACTIVE})
"""How a charter may apply besides to new cases."""

ENACTING: Final = frozenset({"rules.enacted", "calendar.enacted", "calendar.exception", "charter.enacted", *DECLARING})
MOVING: Final = ENACTING | {"fact.voided"}
"""Types of events that may reach every case of their tenant."""


class NotEnacted(LookupError):
    """A charter, calendar or law that the log or a charter names is not among the files."""


class Library:
    """The enacted files, by sha256 and by name, parsed once each.

    `files` are the bytes of every charter, calendar and law file, under names such as "charters/seoul-1.yaml"; `digest`
    is the hash of all of them.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._by_hash = {hashlib.sha256(content).hexdigest(): content for content in files.values()}
        self.digest = hashlib.sha256("".join(sorted(self._by_hash)).encode()).hexdigest()
        self._laws = {_stem(name): content for name, content in files.items() if name.startswith("law/")}
        self._charters: dict[str, Charter] = {}
        self._calendars: dict[str, CalendarFile] = {}
        # The file stands beside its tables, so that its id stays its own.
        self._compiled: dict[tuple[int, WeekHours], tuple[CalendarFile, Calendar]] = {}
        self._excepted: dict[tuple[int, tuple[Data, ...]], CalendarFile] = {}
        self._charter_hashes: dict[str, list[str]] = {}
        self._calendar_hashes: dict[str, list[tuple[str, str]]] = {}
        for name, content in files.items():
            digest = hashlib.sha256(content).hexdigest()
            if name.startswith("charters/"):
                self._charter_hashes.setdefault(_stem(name).rpartition("-")[0], []).append(digest)
            elif name.startswith("calendars/"):
                head = yaml.load(content, Loader=yaml.CSafeLoader)
                self._calendar_hashes.setdefault(head["calendar"], []).append((str(head["version"]), digest))

    def charter(self, sha256: str) -> Charter:
        """The charter with a hash. Raises NotEnacted."""
        if sha256 not in self._charters:
            self._charters[sha256] = parse_charter(self._content(sha256, "charter"), self._laws)
        return self._charters[sha256]

    def calendar(self, sha256: str) -> CalendarFile:
        """The calendar file with a hash. Raises NotEnacted."""
        if sha256 not in self._calendars:
            self._calendars[sha256] = calendars.parse(self._content(sha256, "calendar"))
        return self._calendars[sha256]

    def tenants(self) -> list[str]:
        """The tenants that have a charter among the files."""
        return sorted(self._charter_hashes)

    def charters_of(self, tenant: str) -> list[tuple[str, Charter]]:
        """(hash, charter) of every version of a tenant's charter, by the day it comes into force."""
        found = [(digest, self.charter(digest)) for digest in self._charter_hashes.get(tenant, ())]
        return sorted(found, key=lambda pair: pair[1].in_force)

    def newest_calendar(self, name: str) -> tuple[str, CalendarFile]:
        """(hash, file) of the newest version of a calendar. Raises NotEnacted: an unknown one is never a default."""
        versions = self._calendar_hashes.get(name)
        if not versions:
            raise NotEnacted(f"there is no calendar {name!r} among the files; add calendars/{name}.yaml")
        digest = max(versions, key=lambda version: _version_order(version[0]))[1]
        return digest, self.calendar(digest)

    def compiled(self, file: CalendarFile, hours: WeekHours) -> Calendar:
        """The file's tables for one set of weekly hours, made once."""
        key = (id(file), hours)
        if key not in self._compiled:
            self._compiled[key] = (file, Calendar(file, hours))
        return self._compiled[key][1]

    def excepted(self, file: CalendarFile, exceptions: tuple[Data, ...]) -> CalendarFile:
        """A file of this library with dates closed and opened by decision, in order; made once for all who ask."""
        key = (id(file), exceptions)
        if key not in self._excepted:
            for data in exceptions:
                file = _excepted(file, data)
            self._excepted[key] = file
        return self._excepted[key]

    def _content(self, sha256: str, what: str) -> bytes:
        if sha256 not in self._by_hash:
            raise NotEnacted(f"the log enacts a {what} with sha256 {sha256}, which is not among the files")
        return self._by_hash[sha256]


class Enacted(NamedTuple):
    """A version of a charter: its place in the log and since when it is known (both 0: only among the files).

    `applies` says which cases it reaches besides new ones, and `at` from when; `waits` where that was still to come.
    """

    charter: Charter
    sequence: int
    known: Instant
    applies: str
    at: Instant
    waits: bool


class Known(NamedTuple):
    """What is known to hold for a tenant since an instant, when the event at a place in the log was recorded.

    `calendars` are the enacted files by name, `exceptions` close and open dates in all of them, `declared` are the
    facts that declare time that does not count. `live` is when the tenant goes live, where its first charter says so.
    """

    since: Instant
    sequence: int
    charters: tuple[Enacted, ...]
    calendars: Mapping[str, CalendarFile]
    exceptions: tuple[Data, ...]
    declared: tuple[Fact, ...]
    revision: str
    live: Instant = 0


class _Spans(NamedTuple):
    """The rules of a tenant's open cases: for a receipt between two `turns`, and a first fact from the place `began` in
    the log on or before it. `latest` is the last instant at which anything became known or comes into force."""

    turns: Sequence[Instant]
    began: int
    latest: Instant
    chosen: dict[tuple[int, bool, bool], Rules]


Eras = list[tuple[Instant, Known]]
"""What counts for a case, each up to an instant, the last up to NEVER."""


class Rulebook:
    """The rules of every tenant of a partition, as the log enacts them in turn. `enacted` are the events that did, each
    with its place in the log."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.enacted: list[tuple[int, Event]] = []
        self._tenants: dict[str, list[Known]] = {}
        self._chosen: dict[str, dict[tuple[object, ...], Rules]] = {}
        self._spans: dict[str, _Spans] = {}
        self._seen: set[tuple[str, str, str]] = set()

    def enact(self, event: Event, sequence: int) -> bool:
        """Takes an enacting event over, which stands at `sequence` in the log, or says that it is none (False).

        What is enacted, excepted or declared can be taken back by fact.voided, and that too: it is from then on as if
        never enacted. One that was taken over already does no more. Raises NotEnacted.
        """
        if event.type not in MOVING:
            return False
        named, held = (event.tenant, event.source, event.id), f"{event.data.source}/{event.data.id}"
        ours = [row for row in self.enacted if row[1].tenant == event.tenant]
        voids = event.type == "fact.voided" and held in {f"{one.source}/{one.id}" for _, one in ours}
        if named in self._seen or (event.type == "fact.voided" and not voids):
            return False
        known = self._known([*ours, (sequence, event)])
        self._of(event.tenant).append(known)
        self._chosen.pop(event.tenant, None)
        self._spans.pop(event.tenant, None)
        self._seen.add(named)
        self.enacted.append((sequence, event))
        return True

    def rules_for(
        self, tenant: str, received: Instant, began: int | None = None, lives: Lives = (), home: bool = False
    ) -> Rules:
        """The rules of a case: the charter in force on the day of its receipt, or the first, with the versions that
        come to reach it later. `home`: it is the tenant's own, which every version reaches.

        `began` is the place in the log of the first fact of the case (absent: now): a log that had enacted nothing by
        then leaves it to the files. `lives` say when it was closed: what became known after that judges nothing that
        was settled by then. Raises NotEnacted for a tenant without a charter.
        """
        if lives:
            return self._chosen_for(tenant, received, began, lives, home)
        if tenant not in self._spans:
            self._spans[tenant] = self._spans_of(tenant)
        spans = self._spans[tenant]
        key = (bisect_right(spans.turns, received), began is None or began >= spans.began, home)
        if key not in spans.chosen:
            spans.chosen[key] = self._chosen_for(tenant, received, began, (), home)
        return spans.chosen[key]

    def _spans_of(self, tenant: str) -> "_Spans":
        """What makes a difference to a case that is open: before and after which instants of receipt it does, and from
        which place in the log on."""
        known = self._of(tenant)[-1]
        zones = {self._file(known, row.charter).zone for row in known.charters}
        turns = {midnight(row.charter.in_force, zone) for row in known.charters for zone in zones}
        turns |= {instant + 1 for row in known.charters for instant in (row.known, row.at)}
        enacted = next((row.sequence for row in known.charters if row.sequence), NEVER)
        latest = max(known.since, *(row.at for row in known.charters))
        return _Spans(sorted(turns), enacted, latest, {})

    def _chosen_for(self, tenant: str, received: Instant, began: int | None, lives: Lives, home: bool) -> Rules:
        eras = _eras(self._of(tenant), lives, began)
        declared = known_to([(until, known.declared) for until, known in eras])
        own = self._own(eras[0][1], received, began)
        plan = [(own, eras[0][1], 0, "")]
        since = received
        for until, known in eras:
            first = self._own(known, received, began)
            later = [row for row in _of_log(known, began) if row.at >= received and row is not first]
            reaching = [row for row in later if home or (row.applies in OPEN_CASES and _is_open(lives, row.at))]
            if since > received:
                governs = max((row for row in reaching if row.at < since), key=_by_instant, default=first)
                plan.append((governs, known, since - 1, REOPENED))
            plan += [
                (row, known, row.at, row.applies)
                for row in sorted(reaching, key=_by_instant)
                if since <= row.at < until
            ]
            since = until
        key = (tuple((row.sequence, row.charter.version, id(known), at) for row, known, at, _ in plan), declared)
        chosen = self._chosen.setdefault(tenant, {})
        if key not in chosen:
            rules = [self._rules(row.charter, known, declared) for row, known, _, _ in plan]
            stages = [
                Stage(of_stage, at, row.waits and applies != REOPENED, applies)
                for of_stage, (row, _, at, applies) in zip(rules[1:], plan[1:], strict=True)
            ]
            # However long a case has been closed: the program that works it out is the one of now.
            chosen[key] = rules[0]._replace(stages=tuple(stages), revision=self._of(tenant)[-1].revision)
        return chosen[key]

    def version(self, tenant: str) -> int:
        """A number that changes with whatever is enacted for the tenant."""
        return len(self._tenants.get(tenant, ()))

    def edition(self, tenant: str, back: int = 0) -> str:
        """A name for all that holds for the tenant, or held before the last so many events that enacted something: by
        the same files, enacted in the same places of the log."""
        known = self._of(tenant)
        number = len(known) - back
        return f"{self.library.digest[:16]}-{number}-{known[number - 1].sequence}" if number > 0 else ""

    def changed_since(self, tenant: str, moment: Instant) -> bool:
        """Whether anything became known after an instant, or comes into force after it."""
        if tenant not in self._spans:
            self._spans[tenant] = self._spans_of(tenant)
        return self._spans[tenant].latest >= moment

    def _own(self, known: Known, received: Instant, began: int | None) -> Enacted:
        """The version that governs a case received at an instant: of those known by then the last in force on that day.

        What is enacted first also governs what was received before, and so does the first to be in force.
        """
        rows = _of_log(known, began)
        day = local(received, self._file(known, rows[-1].charter).zone).date()
        first = min(row.known for row in rows)
        rows = [row for row in rows if row.known < received or row.known == first]
        rows.sort(key=lambda row: row.charter.in_force)
        return next((row for row in reversed(rows) if row.charter.in_force <= day), rows[0])

    def _rules(self, charter: Charter, known: Known, declared: tuple[Declared, ...]) -> Rules:
        file = self._file(known, charter)
        hours = {**file.hours, **charter.hours}
        compiled = {name: self.library.compiled(file, week) for name, week in hours.items()}
        return Rules(charter, compiled, known.revision, declared=declared, live_since=known.live)

    def _file(self, known: Known, charter: Charter) -> CalendarFile:
        """The calendar that a charter names, as enacted, or else the newest file of that name, with all exceptions."""
        file = known.calendars.get(charter.calendar) or self.library.newest_calendar(charter.calendar)[1]
        # A day off of this city's own may be one that its charter does not take out.
        local_too = charter.policy.local_holiday_excluded
        return self.library.excepted(file, tuple(data for data in known.exceptions if local_too or not data.local))

    def _known(self, log: Sequence[tuple[int, Event]]) -> Known:
        """What a tenant's enacting events come to, those aside that were taken back. Raises NotEnacted."""
        last, event = log[-1]
        held = self._of(event.tenant)[0]
        facts = {key_of(fact): fact for fact in in_effect(fact_of(one, sequence) for sequence, one in log)}
        charters, files, revision, live = list(held.charters), dict[str, CalendarFile](), held.revision, 0
        for sequence, one in log:
            if f"{one.source}/{one.id}" not in facts:
                continue
            if one.type == "charter.enacted":
                charter = self.library.charter(one.data.sha256 or "")
                charters.append(self._version(charter, held, sequence, one.recorded, one.data.applies or NEW_CASES))
                live = live or (0 if one.data.go_live is None else of_datetime(one.data.go_live))
            elif one.type == "calendar.enacted":
                file = self.library.calendar(one.data.sha256 or "")
                files[file.id] = file
            elif one.type == "rules.enacted":
                revision = str(one.data.revision)
        if revision not in REVISIONS:
            raise NotEnacted(
                f"the log enacts revision {revision} of the rules; this program knows {', '.join(REVISIONS)}"
            )
        return Known(
            event.recorded,
            last,
            tuple(charters),
            files,
            tuple(fact.data for fact in facts.values() if fact.type == "calendar.exception"),
            tuple(fact for fact in facts.values() if fact.type in DECLARING),
            revision,
            live,
        )

    def _version(self, charter: Charter, known: Known, sequence: int, since: Instant, applies: str) -> Enacted:
        in_force = midnight(charter.in_force, self._file(known, charter).zone)
        return Enacted(charter, sequence, since, applies, max(since, in_force), in_force > since)

    def _of(self, tenant: str) -> list[Known]:
        """All that is and was known, oldest first: for what nothing enacted yet, the files by their dates."""
        if tenant not in self._tenants:
            charters = [charter for _, charter in self.library.charters_of(tenant)]
            if not charters:
                raise NotEnacted(f"there is no charter of tenant {tenant!r} among the files")
            nothing = Known(0, 0, (), {}, (), (), REVISION)
            rows = tuple(self._version(charter, nothing, 0, 0, NEW_CASES) for charter in charters)
            self._tenants[tenant] = [nothing._replace(charters=rows)]
        return self._tenants[tenant]


def _of_log(known: Known, began: int | None) -> list[Enacted]:
    """The versions that count for a case: those of the log, and the files where it had enacted none by then."""
    enacted = [row for row in known.charters if row.sequence]
    if enacted and (began is None or enacted[0].sequence <= began):
        return enacted
    return list(known.charters)


def _eras(held: Sequence[Known], lives: Lives, began: int | None) -> Eras:
    """For each of the lives of a case what was known when it ended, and for a case that is open what is known now."""
    eras: Eras = [(NEVER if again is None else again, _at(held, closed, began)) for closed, again in lives]
    if not eras or eras[-1][0] != NEVER:
        eras.append((NEVER, held[-1]))
    return [era for era, (_, after) in pairwise(eras) if after is not era[1]] + eras[-1:]


def _at(held: Sequence[Known], moment: Instant, began: int | None) -> Known:
    """What was known at an instant. What a log enacts first counts from ever for the cases that begin after it."""
    log = held[1:]
    if not log or (began is not None and began < log[0].sequence):
        return next(known for known in reversed(held) if known.since < moment)
    return next(known for known in reversed(log) if known.since < moment or known.since == log[0].since)


def _is_open(lives: Lives, at: Instant) -> bool:
    return not any(closed <= at and (again is None or at < again) for closed, again in lives)


def _by_instant(row: Enacted) -> tuple[Instant, int]:
    return row.at, row.sequence


def _excepted(file: CalendarFile, data: Data) -> CalendarFile:
    day = date.fromisoformat(data.date or "")
    if data.closed is False:
        return calendars.open_on(file, day, _opening(file, day, data.hours or ()))
    if day in file.closures and day not in file.openings:
        return file  # a later file knows the day by its name
    return calendars.close(file, day, _decided(data.name))


def _decided(name: str | None) -> Closure:
    """What a date closed by decision is called: by its name, as the decision gives it."""
    return Closure(name or "임시휴무", f"closed by decision ({name})" if name else "closed by decision")


def _opening(file: CalendarFile, day: date, hours: Sequence[str]) -> tuple[Stretch, ...]:
    """The stretches of a date opened by decision: as decided, else those of its weekday (none need be said), else
    those of the first weekday that works."""
    try:
        decided = calendars.parse_stretches(hours)
    except ValueError:  # an event that was let in must never stop a partition
        decided = ()
    office = file.hours["office"]
    return decided or (() if office[day.weekday()] else next((week for week in office if week), ()))


def _version_order(version: str) -> list[tuple[int, str]]:
    """2026.10 comes after 2026.9."""
    return [(len(part), part) for part in version.split(".")]


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".yaml")
