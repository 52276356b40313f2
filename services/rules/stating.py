"""Stating: the fact that a stored event states.

The one rule: from the event alone. It is done once for every event and copy, and stands apart from `facts` for the same
reason as `effective`.
"""

from typing import Final

from services.rules.effective import happened_at
from services.rules.facts import Event, Fact

COPIED: Final = ("fault.confirmed", "fault.dismissed")
"""Types of which the case of the officer keeps a copy."""


def fact_of(event: Event, sequence: int) -> Fact:
    """The fact that an event states."""
    type, origin = event.type, ""
    if type in COPIED and (about := event.subject.lower()) != event.case_id:
        origin = about
    return Fact(sequence, event.source, event.id, type, happened_at(event), event.data, origin)
