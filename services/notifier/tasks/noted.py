"""What the facts of a case say of its tasks and of what may be owed in it: reports, findings, who is named, when
lateness ended, and which tasks are done.

The one rule: worked out from the facts of the case alone, so that a fact that is taken back leaves nothing behind, and
one whose taking back is taken back counts again.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from services.rules.charter import Match, Petition
from services.rules.demands import matches
from services.rules.facts import Data, Fact, closes
from services.rules.instants import Instant
from services.rules.routing import OFFICER

FINDINGS = {"fault.confirmed": "confirmed", "fault.dismissed": "dismissed"}


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A report, a finding, an end of lateness (`ended`), what ends tasks, or a taking back of one of these (`voids`).

    `about` is a promise, or the report that a finding is about. `ends` has the outcome by task, of those that were
    wanted before `at`.
    """

    about: str = ""
    officer: str | None = None
    finding: str = ""
    by: str | None = None
    ended: Instant | None = None
    voids: str = ""
    at: Instant | None = None
    ends: dict[str, str] = {}


_NOTHING: Mapping[str, str] = {}
Noted = Mapping[str, Entry]
"""Entries by the source and id of their fact, in the order of the log."""


def evolve(
    noted: Noted,
    fact: Fact,
    data: Mapping[str, Any],
    lateness: Sequence[tuple[str, Match]],
    tasks: Mapping[str, str] = _NOTHING,
) -> Noted:
    """What is noted after one more fact; `lateness` are the events that end it, by promise, and `tasks` the outcomes
    of the tasks that the fact ends."""
    entry = None
    if fact.type == "fault.reported":
        entry = Entry(data.get("promise") or "", data.get("officer"))
    elif fact.type in FINDINGS:
        entry = Entry(data.get("about") or "", data.get("officer"), FINDINGS[fact.type], data.get("by"))
    elif fact.type == "fact.voided" and f"{data['source']}/{data['id']}" in noted:
        entry = Entry(voids=f"{data['source']}/{data['id']}")
    elif lateness:
        entry = next((Entry(promise, ended=fact.time) for promise, match in lateness if _ends(fact, match)), None)
    if tasks:
        entry = msgspec.structs.replace(entry or Entry(), at=fact.time, ends=dict(tasks))
    return noted if entry is None else {**noted, fact.key: entry}


def _ends(fact: Fact, match: Match) -> bool:
    return closes(fact) or matches(match, fact.type, fact.data, Petition())


def of_event(source: str, id: str, type: str, time: Instant, data: Mapping[str, Any]) -> Fact:
    """The fact of an event as the rules read it."""
    return Fact(0, source, id, type, time, msgspec.convert(data, Data))


def finding(noted: Noted, names: Collection[str]) -> tuple[str, Entry] | None:
    """The last finding about a promise (by any of its names), or about a report that names it, with the fact's key.
    A report that is taken back leaves the finding about it what it was."""
    about = {*names} | {key.partition("/")[2] for key, entry in noted.items() if entry.about in names}
    found = [(key, entry) for key, entry in _standing(noted).items() if entry.finding and entry.about in about]
    return found[-1] if found else None


def named(noted: Noted) -> set[str]:
    """The staff whom a report or a confirmed finding names."""
    return {entry.officer for entry in _standing(noted).values() if entry.officer and entry.finding != "dismissed"}


def at_fault(noted: Noted, case: str, officer: str | None) -> tuple[str, ...]:
    """Who decides nothing of what is owed in a case: whoever had it then (`officer`), or is named in it. A case that
    counts an officer's faults is about that officer."""
    about = {case.removeprefix(OFFICER)} if case.startswith(OFFICER) else set()
    return tuple(sorted(about | named(noted) | ({officer} if officer else set())))


def late_until(noted: Noted, promise: str, broken_at: Instant) -> Instant | None:
    """When lateness ended that began at an instant, or None while it goes on."""
    ends = (entry.ended for entry in _standing(noted).values() if entry.about == promise and entry.ended is not None)
    return min((at for at in ends if at > broken_at), default=None)


def ending(noted: Noted, task: str, brought_by: str | None, since: Instant) -> tuple[str, str] | None:
    """The first fact after an instant that ended a task wanted since then, with the outcome; `brought_by` is the fact
    that brought it. What a report brought is ended by a finding about that report alone, and nothing else is by one."""
    standing = _standing(noted)
    brought = noted.get(brought_by or "")
    is_report = brought is not None and not (brought.finding or brought.ended or brought.voids or brought.ends)
    report = (brought_by or "").partition("/")[2] if is_report else ""
    for key, entry in standing.items():
        if task in entry.ends and (entry.at or 0) > since and report == (entry.about if entry.finding else ""):
            return key, entry.ends[task]
    return None


def turns(noted: Noted, fact: str) -> int:
    """How often a fact was taken back or restored: what takes it back, what takes that back, and so on."""
    about = {fact}
    for key, entry in noted.items():  # a taking back stands behind what it names
        if entry.voids in about:
            about.add(key)
    return len(about) - 1


def _standing(noted: Noted) -> dict[str, Entry]:
    gone: set[str] = set()
    for key, entry in reversed(list(noted.items())):  # a taking back stands behind what it names
        if entry.voids and key not in gone:
            gone.add(entry.voids)
    return {key: entry for key, entry in noted.items() if not entry.voids and key not in gone}
