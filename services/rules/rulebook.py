"""The rulebook: which charter, calendar and revision hold for a case, as the log enacted them.

The one rule: a decision depends on four things, each named in the log by hash. A file that the log names and that is
missing stops the reader with a clear error; nothing is ever guessed in its place.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import NamedTuple

import yaml

from services.rules import calendar as calendars
from services.rules.calendar import Calendar, CalendarFile, Closure, Stretch, WeekHours
from services.rules.charter import Charter, parse_charter
from services.rules.facts import Data, Event, Fact, fact_of, in_effect
from services.rules.fold import REVISION
from services.rules.instants import Instant, local, midnight, of_datetime
from services.rules.routing import ALL
from services.rules.state import Rules, Stage

NEW_CASES, OPEN_FROM_TODAY, RETROACTIVE = "new_cases", "open_from_today", "retroactive"
OPEN_CASES = frozenset({OPEN_FROM_TODAY, RETROACTIVE})
"""How a charter may apply besides to new cases."""


Lives = tuple[tuple[int, Instant | None], ...]
"""For each time a case was closed: the place in the log of what closed it, and the instant at which it was opened
again, if it was."""

END: Instant = 2**63
"""After every instant."""


class NotEnacted(LookupError):
    """A charter, calendar or law that the log or a charter names is not among the files."""


class Library:
    """The enacted files, by sha256 and by name, parsed once each.

    `files` are the bytes of every charter, calendar and law file, under names such as "charters/seoul-1.yaml".
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._by_hash = {hashlib.sha256(content).hexdigest(): content for content in files.values()}
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
                head = yaml.safe_load(content)
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
    """A version of a charter, with its place in the log (0: only among the files).

    `applies` says which cases it reaches besides new ones, and `at` from when; `waits` where that was still to come.
    """

    charter: Charter
    sequence: int = 0
    applies: str = NEW_CASES
    at: Instant = 0
    waits: bool = False


class TenantRules(NamedTuple):
    """What holds for one tenant, and what held: a case may be judged by what was known when it began or closed.

    `calendars` are (place in the log from which it holds, file with its exceptions), oldest first; `base` is the
    enacted file without exceptions, and `exceptions` are these and what takes them back.
    """

    charters: tuple[Enacted, ...]
    base: CalendarFile
    exceptions: tuple[Fact, ...]
    calendars: tuple[tuple[int, CalendarFile], ...]
    revision: str


class Rulebook:
    """The rules of every tenant of a partition, as the log enacts them in turn. `enacted` are the events that did, each
    with its place in the log."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.enacted: list[tuple[int, Event]] = []
        self._tenants: dict[str, TenantRules] = {}
        self._chosen: dict[str, dict[tuple[object, ...], Rules]] = {}
        self._seen: set[tuple[str, str, str]] = set()

    def enact(self, event: Event, sequence: int) -> bool:
        """Takes an enacting event over, which stands at `sequence` in the log, or says that it is none (False).

        charter.enacted, calendar.enacted, calendar.exception and rules.enacted enact, and the fact.voided that takes
        an exception back; one that was taken over already does no more. Raises NotEnacted.
        """
        named = (event.tenant, event.source, event.id)
        if named in self._seen or not self._enact(event, sequence):
            return False
        self._seen.add(named)
        self.enacted.append((sequence, event))
        return True

    def _enact(self, event: Event, sequence: int) -> bool:
        data, tenant = event.data, event.tenant
        if event.type == "charter.enacted":
            held = self._of(tenant)
            row = self._version(event, sequence)
            self._set(tenant, held._replace(charters=(*held.charters, row)))
        elif event.type == "calendar.enacted":
            held = self._of(tenant)
            self._plan(tenant, held._replace(base=self.library.calendar(data.sha256 or "")), sequence)
        elif event.type == "rules.enacted":
            if str(data.revision) != REVISION:
                raise NotEnacted(f"the log enacts revision {data.revision} of the rules; this program is {REVISION}")
            self._set(tenant, self._of(tenant)._replace(revision=str(data.revision)))
        elif event.type == "calendar.exception" or self._takes_back(event):
            held = self._of(tenant)
            if data.local and not held.charters[-1].charter.policy.local_holiday_excluded:
                return True  # a day off of this city's own, which its charter does not take out
            fact = fact_of(event, sequence)
            self._plan(tenant, held._replace(exceptions=(*held.exceptions, fact)), sequence)
        else:
            return False
        return True

    def rules_for(self, tenant: str, received: Instant, began: int | None = None, lives: Lives = ()) -> Rules:
        """The rules of a case: the charter in force on the day of its receipt, or the first, with the versions that
        were later said to reach open cases.

        `began` is the place in the log of the first fact of the case (absent: now): a version enacted after it with
        an earlier day in force is none of its own. `lives` say what closed it: a calendar enacted after that judges
        nothing that was settled by then. Raises NotEnacted for a tenant without a charter.
        """
        held = self._of(tenant)
        files = _files(held, lives)
        own = _own(held.charters, local(received, files[0][1].zone).date(), began)
        later = [row for row in held.charters if row.applies in OPEN_CASES and row.at >= received and row is not own]
        again = [Enacted(own.charter, at=until) for (until, file), (_, then) in pairwise(files) if then is not file]
        chosen = self._chosen.setdefault(tenant, {})
        key = (
            own.sequence,
            own.charter.version,
            tuple(row.sequence for row in later),
            *(id(file) for _, file in files),
        )
        if again or key not in chosen:
            charter, stages = own.charter, list[Stage]()
            for row in sorted([*later, *again], key=lambda row: (row.at, row.sequence)):
                charter = row.charter if row.sequence else charter
                rules = self._rules(charter, _file_at(files, row.at), held.revision)
                stages.append(Stage(rules, row.at, row.waits, row.applies == RETROACTIVE))
            chosen[key] = self._rules(own.charter, files[0][1], held.revision)._replace(stages=tuple(stages))
        return chosen[key]

    def _rules(self, charter: Charter, file: CalendarFile, revision: str) -> Rules:
        hours = {**file.hours, **charter.hours}
        return Rules(charter, {name: self.library.compiled(file, week) for name, week in hours.items()}, revision)

    def _version(self, event: Event, sequence: int) -> Enacted:
        charter = self.library.charter(event.data.sha256 or "")
        now = of_datetime(event.time)
        in_force = midnight(charter.in_force, self._of(event.tenant).base.zone)
        return Enacted(charter, sequence, event.data.applies or NEW_CASES, max(now, in_force), in_force > now)

    def _takes_back(self, event: Event) -> bool:
        """Whether an event takes back an exception of the calendar, or such a taking back."""
        if event.type != "fact.voided" or event.case_id != ALL:
            return False
        known = {fact.key for fact in self._of(event.tenant).exceptions}
        return f"{event.data.source}/{event.data.id}" in known

    def _of(self, tenant: str) -> TenantRules:
        """What is enacted, or, for what nothing enacted yet, the files by their dates."""
        if tenant not in self._tenants:
            charters = tuple(Enacted(charter) for _, charter in self.library.charters_of(tenant))
            if not charters:
                raise NotEnacted(f"there is no charter of tenant {tenant!r} among the files")
            calendar = self.library.newest_calendar(charters[-1].charter.calendar)[1]
            self._tenants[tenant] = TenantRules(charters, calendar, (), ((0, calendar),), REVISION)
        return self._tenants[tenant]

    def _plan(self, tenant: str, held: TenantRules, sequence: int) -> None:
        """The calendar from here on: the enacted file with every exception that stands, earlier ones too."""
        file = self.library.excepted(held.base, tuple(fact.data for fact in in_effect(held.exceptions)))
        self._set(tenant, held._replace(calendars=(*held.calendars, (sequence, file))))

    def _set(self, tenant: str, held: TenantRules) -> None:
        self._tenants[tenant] = held
        self._chosen.pop(tenant, None)


def _files(held: TenantRules, lives: Lives) -> list[tuple[Instant, CalendarFile]]:
    """The calendars of a case, each with the instant up to which it holds: for each of its lives the one that was
    known when that ended, and for a case that is open the newest."""
    files = [
        (END if again is None else again, next(file for since, file in reversed(held.calendars) if since < closed))
        for closed, again in lives
    ]
    return files if files and files[-1][0] == END else [*files, (END, held.calendars[-1][1])]


def _file_at(files: Sequence[tuple[Instant, CalendarFile]], at: Instant) -> CalendarFile:
    return next(file for until, file in files if at < until)


def _own(charters: Sequence[Enacted], day: date, began: int | None) -> Enacted:
    """The version that governs a case received on a day: of those known when it began, the last in force by then.

    What the log enacts ends what the files said in its place; the first version also governs earlier receipts.
    """
    known = [row for row in charters if began is None or row.sequence <= began]
    rows = sorted([row for row in known if row.sequence] or known, key=lambda row: row.charter.in_force)
    # A case older than every version known to it is not here: the files stand at place 0.
    return next((row for row in reversed(rows) if row.charter.in_force <= day), rows[0])


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
