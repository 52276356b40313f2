"""A city of the week: its systems, its cases, and how what happens becomes a delivery.

The one rule: each city has a chance of its own, so that cities do not disturb each other.
"""

import json
import random
from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple, TypeVar

from contracts.events import INBOX_TYPES
from services.cli.demo.week.delivery import Data, Delivery, Door, Expect
from services.cli.demo.week.hours import DAY, GRID, SHIFTS, WEEK_ENDS, office_after
from services.cli.demo.week.people import People
from services.rules.instants import MINUTE, SECOND, local, midnight, text
from services.rules.tenants import Tenant

T = TypeVar("T")

ENDINGS = frozenset(
    (
        "complaint.completed",
        "complaint.rejected",
        "complaint.returned",
        "complaint.transferred",
        "complaint.withdrawn",
        "complaint.closed_without_answer",
    )
)
AFTERWARDS = ("fault.", "delay.")
"""What may still be said about a case that has ended."""


class Fact(NamedTuple):
    """Something that happens to a case at `happened` and is reported at `delivered` (minutes of the week)."""

    type: str
    data: Data
    happened: int
    delivered: int


class City:
    """The week of one municipality; the stories told of it fill `deliveries`."""

    def __init__(self, seed: int, start: date, tenant: Tenant) -> None:
        self.random = random.Random(f"{seed}/{tenant.id}")  # noqa: S311 - chance for a story, not for a secret
        self.tenant = tenant
        self.people = People(self.random, tenant)
        self.monday = midnight(start, tenant.zone)
        self.deliveries: list[Delivery] = []
        self.size = self.random.uniform(0.8, 1.3)
        self._cases = 0
        self._events: dict[str, int] = {}

    # What happens to a case

    def open(
        self,
        at: int,
        type: str,
        data: Data,
        systems: Sequence[str],
        prefix: str,
        *,
        happened: int | None = None,
    ) -> tuple[str, str]:
        """Sends the event that opens a case; returns the case and the source that now owns it."""
        case, owner = self.next_case(prefix), self.source(*systems)
        self.send(at, type, case, data, source=owner, happened=happened)
        return case, owner

    def fact(self, at: int, type: str, data: Data) -> Fact:
        """Something that is reported when it happens."""
        return Fact(type, data, at, at)

    def owed(self, at: int, allowance: float, type: str, data: Data) -> list[Fact]:
        """Something owed within `allowance` office minutes: mostly in time, or late, told late, forgotten."""
        chance = self.random.random()
        if chance < 0.78:
            return [self.fact(office_after(at, allowance * self.random.uniform(0.15, 0.8)), type, data)]
        if chance < 0.90:
            return [self.fact(office_after(at, allowance * self.random.uniform(1.15, 1.7)), type, data)]
        if chance < 0.94:
            happened = office_after(at, allowance * 0.5)
            return [Fact(type, data, happened, office_after(at, allowance * 1.4))]
        return []

    def follow(self, case: str, owner: str, opened: int, facts: list[Fact]) -> None:
        """Sends what follows the opening, one fact a step, up to what ends the case."""
        order = sorted(facts, key=lambda fact: (fact.delivered, fact.happened))
        end = min((fact for fact in order if fact.type in ENDINGS), key=lambda fact: fact.happened, default=None)
        last, report = opened, ""
        for fact in order:
            belated = end is not None and fact is not end and fact.happened >= end.happened
            if belated and not fact.type.startswith(AFTERWARDS):
                continue
            last = max(fact.delivered, last + 5)
            about = {"about": report} if fact.type in ("fault.confirmed", "fault.dismissed") else {}
            speaker = self._speaker(owner)
            id = self.send(last, fact.type, case, fact.data | about, source=speaker, happened=fact.happened)
            report = id if fact.type == "fault.reported" else report

    # How it is sent

    def send(
        self,
        at: int,
        type: str,
        case: str,
        data: Data,
        *,
        source: str,
        happened: int | None = None,
        door: Door | None = None,
        expect: Expect = "accepted",
        why: str = "",
    ) -> str:
        """Adds one delivery, unless it falls after the week; returns the event's id."""
        event = self.event(at if happened is None else happened, type, case, data, source)
        if at <= WEEK_ENDS:
            self.deliveries.append(
                Delivery(
                    at=self.monday + at * MINUTE,
                    door=door or self._door(type),
                    tenant=self.tenant.id,
                    source=source,
                    type=type,
                    id=event["id"],
                    case=case,
                    body=encoded(event),
                    expect=expect,
                    why=why,
                )
            )
        return str(event["id"])

    def event(self, happened: int, type: str, case: str, data: Data, source: str) -> Data:
        """An event in its envelope, with the next id of its source."""
        number = self._events[source] = self._events.get(source, 0) + 1
        return {
            "specversion": "1.0",
            "id": f"{source}-{number:05}",
            "source": source,
            "type": type,
            "subject": case,
            # A little before the step that may report it, so that no two happen at one instant by design.
            "time": text(self.monday + happened * MINUTE - self.random.randrange(300) * SECOND, self.tenant.zone),
            "tenant": self.tenant.id,
            "data": data,
        }

    def next_case(self, prefix: str) -> str:
        """The name of a new case."""
        self._cases += 1
        return f"{prefix}-{local(self.monday, self.tenant.zone):%Y%m%d}-{self._cases:04}"

    def source(self, *systems: str) -> str:
        """One of these systems, or of all where the city has none of them."""
        known = [system for system in systems if system in self.tenant.sources] or sorted(self.tenant.sources)
        return self.random.choice(known)

    def _speaker(self, owner: str) -> str:
        """Who reports the progress of a case: a back office that is a partner, or the case's own system."""
        partners = [source for source in ("documents", "desk") if source in self.tenant.partners]
        return self.random.choice([owner, *partners])

    def _door(self, type: str) -> Door:
        doors: tuple[Door, ...] = ("http", "http", "door")
        if type in INBOX_TYPES:
            doors = ("http", "door", "inbox", "inbox", "inbox")
        return self.random.choice(doors)

    # Time and chance

    def text(self, minute: int) -> str:
        """RFC 3339 text of a minute of the week, with the offset of the city's zone."""
        return text(self.monday + minute * MINUTE, self.tenant.zone)

    def office_moment(self, day: int) -> int:
        """A minute on the grid at which the office is open."""
        opens, closes = self.random.choices(SHIFTS, weights=(3, 5))[0]
        return day * DAY + self.random.randrange(opens, closes - 30, GRID)

    def officer(self) -> tuple[str, str]:
        """Somebody in office, with the department."""
        return self.random.choice(self.people.officers)

    def pick(self, *choices: T) -> T:
        """One of these, each as likely."""
        return self.random.choice(choices)

    def weighted(self, weights: Mapping[T, int]) -> T:
        """One of these by weight."""
        return self.random.choices(list(weights), weights=list(weights.values()))[0]


def encoded(event: Data) -> bytes:
    """The bytes that a system sends."""
    return json.dumps(event, ensure_ascii=False).encode()
