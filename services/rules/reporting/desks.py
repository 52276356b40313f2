"""Desks: which department had a case, and when.

The one rule: a case lies with the department that it was last assigned to by that time; before the first, with the one
that it was meant for.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping

from services.rules.facts import Fact
from services.rules.instants import Instant
from services.rules.reporting.known import Posting

_ASSIGNING = frozenset({"complaint.assigned", "complaint.handed_over", "complaint.transferred", "call.answered"})
_MEANT = frozenset({"callback.requested", "appointment.booked"})


class Desks:
    """The departments of one case."""

    def __init__(self, facts: Iterable[Fact], postings: Mapping[str, tuple[Posting, ...]]) -> None:
        """From the facts of the case in order of effect."""
        self._since: list[Instant] = []
        self._departments: list[str] = []
        self._meant = ""
        for fact in facts:
            if fact.type in _ASSIGNING:
                department = fact.data.department or fact.data.to_department or _of_officer(fact, postings)
                if department:
                    self._since.append(fact.moment)
                    self._departments.append(department)
            elif fact.type in _MEANT:
                self._meant = self._meant or _of_officer(fact, postings)

    def at(self, moment: Instant) -> str:
        """The department that had the case; empty where it lay with none yet."""
        place = bisect_right(self._since, moment)
        return self._departments[place - 1] if place else self._meant


def _of_officer(fact: Fact, postings: Mapping[str, tuple[Posting, ...]]) -> str:
    """The department to which the officer whom a fact names belonged then, as far as that is known."""
    known = postings.get(fact.data.officer or "", ())
    before = [posting for posting in known if posting.since <= fact.time]
    return before[-1].department if before else known[0].department if known else ""
