"""Known: what a report is counted from beside the cases themselves.

The one rule: all of it is as it was known at `as_of`, and nothing of it is personal.
"""

from collections.abc import Mapping
from typing import NamedTuple

from services.rules.instants import Instant


class Posting(NamedTuple):
    """From when on a member of staff belonged to a department."""

    since: Instant
    department: str


TAKING_BACK = ("breach.retracted", "remedy.withdrawn")


class TakenBack(NamedTuple):
    """A breach that turned out to be none, or a remedy that was no longer owed: the kind of the decision that said so.
    Dated by when it had been due."""

    kind: str
    promise: str
    at: Instant


class Settled(NamedTuple):
    """What became of a remedy by people's hands: the amount that was approved and the one that was paid, in whole units
    of the currency; or that a payment under another name of its incident covers it. `clause` is the remedy's, `at` when
    it was first proposed or, where that is not known any more, decided."""

    clause: str
    at: Instant
    declined: bool = False
    approved: int | None = None
    paid: int | None = None
    covered: bool = False


class Known(NamedTuple):
    """What was known of a city at `as_of`.

    `live_since`: what was past before is neither counted nor owed. `postings` are in order of time, by staff id;
    `answers` to the survey by the key of the fact, as scores from 1 to 5 by question; `settled` by the key of the
    remedy.
    """

    tenant: str
    as_of: Instant
    live_since: Instant = 0
    postings: Mapping[str, tuple[Posting, ...]] = {}
    taken_back: tuple[TakenBack, ...] = ()
    answers: Mapping[str, Mapping[str, int]] = {}
    settled: Mapping[str, Settled] = {}
