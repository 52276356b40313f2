"""Runs: a promise at work in a case while it is being worked out, with what its due instant is counted from.

The one rule: these live as long as one scan of one case; what leaves it is frozen (`state`).
"""

from typing import Final, NamedTuple

from services.rules.charter import PERIOD_UNITS, Match, Petition, Promise, Yearly
from services.rules.counting import Gap, Span
from services.rules.demands import all_hold, answers, field
from services.rules.effective import key_of
from services.rules.facts import Data, Fact
from services.rules.instants import Instant
from services.rules.state import Deadline, Rules, State

NONE_SEEN: Final[frozenset[Match]] = frozenset()
"""What most runs have seen of several events that are all wanted."""


def run_of(deadline: Deadline) -> tuple[str, str]:
    """What names in its case the run that a deadline is of."""
    return (deadline.promise, deadline.occurrence)


class Stop(NamedTuple):
    """Time that does not count in a run, on what ground, and the facts (by key) that began and ended it; its end may
    follow from none."""

    gap: Gap
    ground: str
    begun_by: str
    ended_by: str


class Run:
    """A deadline while the scan is on: the same as Deadline, with what its due instant is counted from.

    `extensions` are amounts with the key of the fact that brought each; `stops` is the time that did not count when it
    was last counted; `day` the date that the facts name for it, as they write it. `rules` are those by which it is
    judged, also where a later version governs what begins. `ahead`: by how much the number of a round is ahead of its
    `rounds`, where a later version took over with a rhythm of its own.
    """

    __slots__ = (
        "ahead",
        "at",
        "began",
        "data",
        "day",
        "deemed",
        "due",
        "extensions",
        "first_due",
        "key",
        "met_at",
        "occurrence",
        "promise",
        "rounds",
        "rules",
        "seen",
        "span",
        "start",
        "started_by",
        "state",
        "stops",
        "turned",
        "warn_at",
        "warned_for",
        "yearly",
    )

    def __init__(
        self,
        promise: Promise,
        occurrence: str,
        start: Instant,
        data: Data,
        span: Span | None,
        started_by: str,
        rounds: int,
    ) -> None:
        self.promise = promise
        self.occurrence = occurrence
        self.key = (promise.id, occurrence)
        self.start = start
        self.data = data
        self.span = span
        self.started_by = started_by
        self.rounds = rounds
        self.ahead = 0
        self.rules: Rules | None = None
        self.at: Instant | None = None
        self.began: Instant | None = None
        self.extensions: tuple[tuple[int, str], ...] = ()
        self.stops: tuple[Stop, ...] = ()
        self.day = ""
        self.state: State = "open"
        self.due: Instant | None = None
        self.first_due: Instant | None = None
        self.met_at: Instant | None = None
        self.turned: Instant | None = None
        self.deemed = False
        self.seen: frozenset[Match] = NONE_SEEN
        self.warned_for: Instant | None = None
        self.warn_at: Instant | None = None
        self.yearly: tuple[int, Yearly] | None = None

    @property
    def until(self) -> tuple[Match, ...]:
        return self.promise.until if self.yearly is None else self.yearly[1].until

    def name(self, occurrence: str) -> None:
        """Gives it another occurrence."""
        self.occurrence, self.key = occurrence, (self.promise.id, occurrence)

    def met_by(self, fact: Fact, petition: Petition) -> bool:
        """Whether the fact meets it, alone or as the last of all that are wanted."""
        if self.yearly is not None and fact.data.year not in (None, self.yearly[0]):
            return False  # it is about another year
        type, data, until, wants_all = fact.type, fact.data, self.until, self.promise.until_all
        held = False
        for match in until:
            if match.type == type and all_hold(match.where, data, petition) and answers(match.where, data, self.data):
                if not wants_all:
                    return True
                held = True
                self.seen |= {match}
        return held and self.seen.issuperset(until)

    @property
    def live(self) -> bool:
        return self.state in ("open", "suspended")


def span_of(promise: Promise, data: Data, petition: Petition) -> Span | None:
    """The span that the case's data give a promise, or None where it promises them nothing."""
    within = promise.within
    if within.period:
        period = petition.period
        return None if period is None else Span(period.amount, PERIOD_UNITS[period.unit])
    if within.by:
        value = field(tuple(within.by.split(".")), data, petition)
        return within.table.get(str(value), within.span)
    return within.span


class Pause:
    """Time that does not count, from `begin` on. `cap` is when it counts again at the latest, whatever is said;
    `begun_by` and `ended_by` are keys of facts. `declared`: for every case of the tenant, and over at `cap`."""

    __slots__ = ("begin", "begun_by", "cap", "declared", "end", "ended_by", "ground")

    def __init__(
        self, ground: str, begin: Instant, begun_by: str, cap: Instant | None = None, declared: bool = False
    ) -> None:
        self.ground = ground
        self.begin = begin
        self.begun_by = begun_by
        self.end: Instant | None = None
        self.ended_by = ""
        self.cap = cap
        self.declared = declared

    def finish(self, end: Instant, by: Fact) -> None:
        """Ends it, as a fact says."""
        self.end, self.ended_by = end, key_of(by)

    def end_at(self, now: Instant) -> Instant | None:
        """Where it ends, as far as that is known at an instant. A cap of days ends the date before it."""
        if self.cap is None or (self.end is not None and self.end < self.cap):
            return self.end
        if self.end is None and now < self.cap:
            return None
        return self.cap if self.declared else self.cap - 1


class Round:
    """The next round of a recurring promise: it begins at `at`, when the counted time of the round before is over.
    That round may be due later, where its last date rolled on."""

    __slots__ = ("at", "run")

    def __init__(self, at: Instant, run: Run) -> None:
        self.at = at
        self.run = run
