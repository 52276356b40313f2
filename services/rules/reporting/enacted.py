"""Enacted: which versions of a charter had come into force by an instant, and since when the city was live.

The one rule: as the log says, taken back what was taken back; the files by their dates where it enacts nothing.
"""

from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.rules.charter import Charter
from services.rules.facts import in_effect
from services.rules.instants import Instant, midnight, of_datetime
from services.rules.rulebook import Rulebook
from services.rules.stating import fact_of


class Enacted(NamedTuple):
    """The versions, the newest last, and the instant from which promises count."""

    charters: tuple[Charter, ...]
    live_since: Instant


def enacted(rulebook: Rulebook, tenant: str, as_of: Instant, zone: ZoneInfo) -> Enacted:
    """What had come into force by `as_of`; the first version is in force from its enacting on. Raises NotEnacted."""
    ours = [fact_of(event, sequence) for sequence, event in rulebook.enacted if event.tenant == tenant]
    facts = [fact for fact in in_effect(ours) if fact.type == "charter.enacted"] if ours else []
    if facts:
        facts.sort(key=lambda fact: fact.sequence)
        charters = [rulebook.library.charter(fact.data.sha256 or "") for fact in facts]
        first = facts[0]
        live_since = first.time if first.data.go_live is None else of_datetime(first.data.go_live)
    else:
        charters, live_since = [charter for _, charter in rulebook.library.charters_of(tenant)], 0
    there = [charter for charter in charters[1:] if midnight(charter.in_force, zone) <= as_of]
    return Enacted((*charters[:1], *sorted(there, key=lambda charter: charter.in_force)), live_since)
