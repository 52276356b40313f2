"""A partition of CASES folded in memory, in a form that can be compared: digests and one canonical hash.

The one rule: equal histories have equal hashes. It is the core's own fold in the order of the log, and the messages
are those of the live service, to the byte.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from nats.aio.client import Client

from services.chassis.cursor import read_up_to
from services.rules.choosing import rules_of
from services.rules.facts import Event, decode_event
from services.rules.instants import Instant, of_datetime
from services.rules.routing import ALL
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case
from services.rules.stating import fact_of
from services.rules.world import CaseKey, Partition
from services.sla_timer import store
from services.sla_timer.messages import decision_message

CLOCK = "clock.advanced"

_encode = msgspec.json.Encoder().encode


class Place(NamedTuple):
    """Where a partition stands, as far as the log decides it. The clock in microseconds."""

    sequence: int = 0
    event_id: str | None = None
    clock: Instant = 0
    tick_sequence: int = 0
    ticks: int = 0
    decisions: int = 0


class Told(NamedTuple):
    """A decision with every column that is kept of it."""

    number: int
    subject: str
    body: str
    tenant: str
    case_id: str
    kind: str
    promise: str | None
    occurrence: str | None
    due: Instant | None
    at: Instant
    cause_sequence: int


@dataclass(slots=True)
class Standing:
    """Digests of all that a projection holds of one partition: equal histories have equal hashes."""

    place: Place
    cases: dict[CaseKey, bytes] = field(default_factory=dict)
    decisions: list[bytes] = field(default_factory=list)
    enacted: dict[int, bytes] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """The canonical hash: place, cases in order of their names, decisions and what is enacted in order."""
        total = sha256(_encode(self.place))
        for key in sorted(self.cases):
            total.update(_encode(key) + self.cases[key])
        for digest in (*self.decisions, *(digest for _, digest in sorted(self.enacted.items()))):
            total.update(digest)
        return total.hexdigest()


def digest(value: Any) -> bytes:
    """SHA-256 of a value as JSON."""
    return sha256(_encode(value)).digest()


def whole(hashes: Iterable[str]) -> str:
    """The hash of all partitions together, from theirs in order."""
    return sha256("".join(hashes).encode()).hexdigest()


def plain(case: Case) -> tuple[Any, ...]:
    """A case as it is compared: the whole of it, and what the table is searched by."""
    state, *searched = store.columns(case)
    return (msgspec.Raw(state), *searched)


class Folded:
    """One partition folded in memory from its entries of CASES: what the projection must hold at that place."""

    def __init__(self, library: Library, number: int) -> None:
        self.world = Partition(Rulebook(library), number)
        self.place = Place()
        self.told: list[Told] = []
        self.enacted: dict[int, bytes] = {}
        # What enacts is asked of a rulebook of its own: the world's own answers once and tells nobody.
        self._enacting = Rulebook(library)

    def take(self, sequence: int, data: bytes, event: Event | None = None) -> list[Told]:
        """Folds the entry at a sequence; returns the decisions that it brings. Raises NotEnacted."""
        event = event or decode_event(data)
        cause = None if event.type == CLOCK else fact_of(event, sequence)
        decided = self.world.take(event, sequence)
        if event.case_id == ALL and self._enacting.enact(event, sequence):
            self.enacted[sequence] = data
        told: list[Told] = []
        for row in decided:
            tenant, case_id, decision = row.tenant, row.case, row.decision
            case = self.world.cases[tenant, case_id]
            rules = rules_of(self.world.rulebook, case, None)
            number = self.place.decisions + len(told) + 1
            subject, body = decision_message(decision, case, rules, cause, self.world.number, number, sequence)
            names = (tenant, case_id, decision.kind, decision.promise or None, decision.occurrence or None)
            told.append(Told(number, subject, body.decode(), *names, decision.due, decision.at, sequence))
        self.told += told
        self.place = self.place._replace(
            sequence=sequence, event_id=event.id, clock=self.world.clock, decisions=self.place.decisions + len(told)
        )
        if event.type == CLOCK:
            self.place = self.place._replace(tick_sequence=sequence, ticks=self.place.ticks + 1)
        return told

    def pass_to(self, moment: Instant) -> None:
        """Lets time pass beyond the log: every instant before `moment` happens, each by itself."""
        while (at := self.world.next_at()) is not None and at < moment:
            self.world.tick(at + 1)
        self.world.clock = max(self.world.clock, moment)

    def standing(self) -> Standing:
        """What is held now, in digests."""
        return Standing(
            self.place,
            {key: digest(plain(case)) for key, case in self.world.cases.items()},
            [digest(row) for row in self.told],
            {sequence: digest(body.decode()) for sequence, body in self.enacted.items()},
        )


async def folded(nc: Client, library: Library, number: int, last: int, until: Instant | None = None) -> Folded:
    """A partition folded from the log up to the sequence `last`; with `until`, of that only what was known then."""
    result = Folded(library, number)
    async for entry in read_up_to(nc, "CASES", last, subject=f"cases.{number}.>"):
        event = decode_event(entry.data)
        if until is None or _known_by(event, until):
            result.take(entry.sequence, entry.data, event)
    if until is not None:
        result.pass_to(until)
    return result


def _known_by(event: Event, until: Instant) -> bool:
    """Whether an entry was recorded by an instant; of a tick, whether the clock had come so far."""
    if event.type == CLOCK:
        assert event.data.to is not None
        return of_datetime(event.data.to) <= until
    return event.recorded <= until
