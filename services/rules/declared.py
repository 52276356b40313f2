"""Declared times: failures of a system and force majeure, which a municipality declares for all of its cases at once.

The one rule: what a declaration takes out follows from all that was said about it, in whatever order it was said; and
what was settled when a case closed keeps what was known then.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from services.rules.effective import in_effect
from services.rules.facts import Fact
from services.rules.instants import Instant, of_datetime

DECLARING: Final = {
    "outage.declared": "outage",
    "outage.lifted": "outage",
    "force_majeure.declared": "force_majeure",
    "force_majeure.revoked": "force_majeure",
}
"""What declares such a time or takes it back, with the ground on which the law stops a clock."""


class Declared(NamedTuple):
    """A stretch of time that a fact declared, and the one that lifted it, if one did."""

    ground: str
    begin: Instant
    end: Instant
    declared_by: Fact
    lifted_by: Fact | None = None


def stretches(facts: Iterable[Fact]) -> list[Declared]:
    """What stands declared by facts given in any order.

    A lifting says when a system really was up again: it ends every failure of that system that it touches, and where
    none was declared it says itself from when. A revocation takes its own stretch out of what was declared.
    """
    found: list[Declared] = []
    for fact in in_effect(facts):
        ground, begin, end = DECLARING[fact.type], *_span(fact)
        if fact.type == "outage.lifted":
            ours = [one for one in found if _is_of(one, fact) and one.begin <= end and begin <= one.end]
            found = [one for one in found if one not in ours]
            found += [one._replace(end=end, lifted_by=fact) for one in ours] or [Declared(ground, begin, end, fact)]
        elif fact.type == "force_majeure.revoked":
            found = [part for one in found for part in (_without(one, fact) if one.ground == ground else [one])]
        else:
            found.append(Declared(ground, begin, end, fact))
    return [one for one in found if one.begin < one.end]


def known_to(lives: Sequence[tuple[Instant, Sequence[Fact]]]) -> tuple[Declared, ...]:
    """The declared times that count in a case: in each of its lives, given with the instant up to which it lasts, those
    that were known when it ended."""
    found, since = list[Declared](), 0
    for until, facts in lives:
        cut = [one._replace(begin=max(one.begin, since), end=min(one.end, until)) for one in stretches(facts)]
        found += [one for one in cut if one.begin < one.end]
        since = until
    return tuple(found)


def _span(fact: Fact) -> tuple[Instant, Instant]:
    """From when until when; an end that is not said is the fact's own time."""
    begin = fact.time if fact.data.from_ is None else of_datetime(fact.data.from_)
    return begin, fact.time if fact.data.until is None else of_datetime(fact.data.until)


def _is_of(one: Declared, lifting: Fact) -> bool:
    return one.ground == "outage" and one.declared_by.data.system == lifting.data.system


def _without(one: Declared, revoking: Fact) -> Iterator[Declared]:
    begin, end = _span(revoking)
    yield one._replace(end=min(one.end, begin), lifted_by=revoking if begin < one.end else one.lifted_by)
    yield one._replace(begin=max(one.begin, end))
