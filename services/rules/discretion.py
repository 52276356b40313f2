"""Discretion: what would give away a fact that not everybody may know of.

The one rule it protects: a publishing system learns of the faults alone that it reported itself, by whatever way it is
told of a case; and what is hidden is hidden with all that follows from it.
"""

from collections.abc import Mapping, Set
from typing import Any

FAULTS = ("fault.reported", "fault.confirmed", "fault.dismissed")


def key_of(event: Mapping[str, Any]) -> str:
    """How a fact is named by what follows from it: its source and id."""
    return f"{event.get('source')}/{event.get('id')}"


def is_of_another(system: str, fact: Mapping[str, Any]) -> bool:
    """Whether a fact is a fault of which a publishing system may not know."""
    return fact["type"] in FAULTS and fact["source"] != system


def takes_back(hidden: Set[str], fact: Mapping[str, Any]) -> bool:
    """Whether a fact takes a hidden one back, and so tells of it."""
    return fact["type"] == "fact.voided" and key_of(fact["data"]) in hidden


def tells_of(hidden: Set[str], row: Mapping[str, Any]) -> bool:
    """Whether a fact or decision, a deadline or a remedy would give one of the hidden facts away."""
    if not hidden:
        return False
    data = row.get("data") or row
    # A fact may have a `cause` of its own, in words: only what is an object names an event.
    events = (row, *(one for one in (data.get("cause"), data.get("about")) if isinstance(one, Mapping)))
    if any(key_of(event) in hidden for event in events):
        return True
    traces = (row.get("occurrence"), data.get("occurrence"), data.get("incident"), data.get("key"))
    return any(part.partition("#")[0] in hidden for trace in traces if trace for part in str(trace).split(":"))
