"""Effective: from when a fact has effect, what names it, whether it ends its case, and which facts stand.

The one rule: this follows from the facts by themselves. It is asked several times of every fact, and stands apart from
their values (`facts`), which msgspec makes and which therefore stay interpreted in a compiled core.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from services.rules.instants import Instant, of_datetime

if TYPE_CHECKING:
    from services.rules.facts import Elsewhere, Event, Fact

_NAMING_A_MOMENT: Final = {
    "complaint.supplement_requested": "dispatched_at",
    "complaint.supplement_received": "arrived_at",
    "complaint.suspended": "from_",
    "complaint.resumed": "at",
}
"""The field in which a fact may say that it has effect earlier than it happened."""

ANSWERING: Final = frozenset({"complaint.completed", "complaint.rejected"})
VOIDING: Final = frozenset({"complaint.returned", "complaint.withdrawn", "complaint.closed_without_answer"})
TRANSFERRED: Final = "complaint.transferred"
CLOSING: Final = ANSWERING | VOIDING | {TRANSFERRED}
"""What may end a case."""


def key_of(fact: "Fact") -> str:
    """What names the fact in its tenant."""
    return f"{fact.source}/{fact.id}"


def moment_of(fact: "Fact") -> Instant:
    """The instant from which the fact has effect: no later than when it happened, earlier where its data say
    so (a demand dispatched, papers arrived, a suspension begun or ended)."""
    time: Instant = fact.time
    field = _NAMING_A_MOMENT.get(fact.type)
    if field is None:
        return time
    named = getattr(fact.data, field)
    return time if named is None else min(time, of_datetime(named))


def recorded_at(event: "Event | Elsewhere") -> Instant:
    """When intake recorded an event; where that is not said, when it happened."""
    recorded = event.recordedtime
    return of_datetime(event.time if recorded is None else recorded)


def happened_at(event: "Event") -> Instant:
    """When an event happened: as its publisher says, and no later than it was recorded. What has been told has
    happened; a publisher whose clock is ahead would otherwise have promises broken whose due instant is still to come.
    """
    time, recorded = event.time, event.recordedtime
    return of_datetime(time if recorded is None or time <= recorded else recorded)


def closes(fact: "Fact") -> bool:
    """Whether a fact ends a case: by an answer, without one, or by its going to another agency."""
    type = fact.type
    return type in CLOSING and (type != TRANSFERRED or fact.data.to_agency is not None)


def in_effect(facts: "Iterable[Fact]") -> "tuple[Fact, ...]":
    """The facts that were not taken back, in order of effect: by moment, then by time, ties by the log.

    A taking back can itself be taken back. It stands in the log after what it names, so the last is read first.
    """
    facts = tuple(facts)
    if len(facts) == 1 and facts[0].type != "fact.voided":
        return facts
    voided: set[str] = set()
    voids = [fact for fact in facts if fact.type == "fact.voided"]
    for void in sorted(voids, key=lambda void: void.sequence, reverse=True):
        if key_of(void) not in voided:
            voided.add(f"{void.data.source}/{void.data.id}")
    kept = [fact for fact in facts if fact.type != "fact.voided" and key_of(fact) not in voided] if voids else facts
    return tuple(sorted(kept, key=in_order))


def in_order(fact: "Fact") -> tuple[Instant, Instant, int]:
    """The order of effect: by moment, then by time, ties by the log."""
    return moment_of(fact), fact.time, fact.sequence
