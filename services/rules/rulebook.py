"""The rulebook: which charter, calendar and revision hold for a case, as the log enacted them.

The one rule: a decision depends on four things, each named in the log by hash. A file that the log names and that is
missing stops the reader with a clear error; nothing is ever guessed in its place.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

import yaml

from services.rules import calendar as calendars
from services.rules.calendar import Calendar, CalendarFile, Closure, Stretch, WeekHours
from services.rules.charter import Charter, parse_charter
from services.rules.facts import Event
from services.rules.fold import REVISION
from services.rules.instants import Instant, local
from services.rules.state import Rules


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

    def _content(self, sha256: str, what: str) -> bytes:
        if sha256 not in self._by_hash:
            raise NotEnacted(f"the log enacts a {what} with sha256 {sha256}, which is not among the files")
        return self._by_hash[sha256]


class TenantRules(NamedTuple):
    """What holds for one tenant: its charters by the day they come into force, calendar and revision."""

    charters: tuple[Charter, ...]
    calendar: CalendarFile
    revision: str


class Rulebook:
    """The rules of every tenant of a partition, as the log enacts them in turn."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._tenants: dict[str, TenantRules] = {}
        self._enacted: set[str] = set()
        self._chosen: dict[tuple[str, str], Rules] = {}

    def enact(self, event: Event) -> bool:
        """Takes an enacting event over, or says that it is none (False).

        charter.enacted, calendar.enacted, calendar.exception and rules.enacted enact. Raises NotEnacted.
        """
        data, tenant = event.data, event.tenant
        if event.type == "charter.enacted":
            charter = self.library.charter(data.sha256 or "")
            held = self._of(tenant)
            # The first charter that the log enacts ends what the files said in its place.
            before = held.charters if tenant in self._enacted else ()
            others = [row for row in before if row.version != charter.version]
            charters = tuple(sorted([*others, charter], key=lambda row: row.in_force))
            self._enacted.add(tenant)
            self._set(tenant, held._replace(charters=charters))
        elif event.type == "calendar.enacted":
            self._set(tenant, self._of(tenant)._replace(calendar=self.library.calendar(data.sha256 or "")))
        elif event.type == "rules.enacted":
            if str(data.revision) != REVISION:
                raise NotEnacted(f"the log enacts revision {data.revision} of the rules; this program is {REVISION}")
            self._set(tenant, self._of(tenant)._replace(revision=str(data.revision)))
        elif event.type == "calendar.exception":
            self._set(tenant, self._except(tenant, event))
        else:
            return False
        return True

    def rules_for(self, tenant: str, received: Instant) -> Rules:
        """The rules of a case by the day it was received: the charter in force then, or the first. Raises NotEnacted
        for a tenant without a charter."""
        held = self._of(tenant)
        day = local(received, held.calendar.zone).date()
        charter = next((row for row in reversed(held.charters) if row.in_force <= day), held.charters[0])
        key = (tenant, charter.version)
        if key not in self._chosen:
            hours = {**held.calendar.hours, **charter.hours}
            self._chosen[key] = Rules(
                charter,
                {name: self.library.compiled(held.calendar, week) for name, week in hours.items()},
                held.revision,
            )
        return self._chosen[key]

    def _of(self, tenant: str) -> TenantRules:
        """What is enacted, or, for what nothing enacted yet, the files by their dates."""
        if tenant not in self._tenants:
            charters = tuple(charter for _, charter in self.library.charters_of(tenant))
            if not charters:
                raise NotEnacted(f"there is no charter of tenant {tenant!r} among the files")
            calendar = self.library.newest_calendar(charters[-1].calendar)[1]
            self._tenants[tenant] = TenantRules(charters, calendar, REVISION)
        return self._tenants[tenant]

    def _set(self, tenant: str, held: TenantRules) -> None:
        self._tenants[tenant] = held
        self._chosen = {key: rules for key, rules in self._chosen.items() if key[0] != tenant}

    def _except(self, tenant: str, event: Event) -> TenantRules:
        held, data = self._of(tenant), event.data
        if data.local and not held.charters[-1].policy.local_holiday_excluded:
            return held
        day = date.fromisoformat(data.date or "")
        if data.closed is False:
            file = calendars.open_on(held.calendar, day, _opening(held.calendar, day, data.hours or ()))
        else:
            file = calendars.close(held.calendar, day, Closure("임시휴무", "closed by decision"))
        return held._replace(calendar=file)


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
