"""Seeded publishers: what they send, through which door, again and again until it is answered, and the book they keep.

The one rule: a publisher is honest and stubborn. It sends the same bytes under the same id until it has an answer, and
writes down what it was told.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from nats.aio.client import Client

from contracts.events import INBOX_TYPES
from contracts.streams import door_subject, inbox_subject
from services.chassis import broker
from services.chassis.clock import RealClock
from services.cli.auditing.evidence import Book
from services.cli.demo.driver import BUSY, BUSY_CODES, TROUBLES
from services.rules.instants import SECOND, Instant, text
from tests.faults.world import World

CANARY = "canary-{seed}-plover-{number}"
"""Stands in every name and text, and must stand nowhere in clear."""
ZONE = ZoneInfo("Asia/Seoul")
MILLISECOND = SECOND // 1000
RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 3.0
ANSWER_SECONDS = 4.0
PATIENCE_SECONDS = 120.0
SENDING = 24
"""Sendings under way at a time: more would starve the proxies, which run in this process too, of a busy machine."""


class NoAnswer(Exception):
    """A publisher was stubborn for long enough: somebody is not served."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One event, to be sent `after` so many seconds from its case's beginning; dated then, or `late` seconds before."""

    tenant: str
    source: str
    case: str
    id: str
    type: str
    data: Mapping[str, Any]
    after: float
    late: float = 0.0
    door: str = "http"
    poison: bool = False

    def body(self, began: Instant) -> dict[str, Any]:
        """The CloudEvent, for a case that began at `began`."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.case,
            "time": text(began + round((self.after - self.late) * 1000) * MILLISECOND, ZONE),
            "tenant": self.tenant,
            "data": dict(self.data),
        }


@dataclass(slots=True)
class Workload:
    """Cases of both cities, `rate` new ones a second for `seconds`, and everything that happens to them."""

    world: World
    seed: int
    rate: float = 2.0
    book: Book = field(default_factory=Book)
    sent: int = 0
    retries: int = 0

    def __post_init__(self) -> None:
        self.book.canaries.append(CANARY.partition("{number}")[0].format(seed=self.seed))

    async def run(self, seconds: float) -> None:
        """Publishes until every event is answered. Raises a group of NoAnswer where one is not for two minutes."""
        chance = random.Random(f"workload {self.seed}")
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False))
            connections = {}
            for tenant in self.world.tenants.values():
                for source in tenant.sources:
                    name = f"{tenant.id}.{source}"
                    connections[name] = await broker.connect(self.world.settings(name))
                    stack.push_async_callback(connections[name].close)
            doors = _Doors(self, http, connections, chance)
            async with asyncio.TaskGroup() as group:
                for number, parcels in enumerate(stories(self.seed, self.world.tenants, int(self.rate * seconds))):
                    begins = number / self.rate
                    for parcel in parcels:
                        group.create_task(doors.deliver(parcel, begins))


def stories(seed: int, tenants: Mapping[str, Any], cases: int) -> Iterator[list[Parcel]]:
    """What happens to each case, one list a case; the same for the same seed."""
    chance = random.Random(f"stories {seed}")
    names = sorted(tenants)
    for number in range(cases):
        story = chance.choices((_petition, _callback, _call), (5, 2, 1))[0]
        tenant = chance.choice(names)
        parcels = list(story(_Teller(chance, seed, number, tenant)))
        yield [_through_a_door(chance, parcel) for parcel in _twice(chance, parcels)]
    yield [_staff(seed, tenant) for tenant in names]


class _Teller:
    """Makes the events of one case."""

    def __init__(self, chance: random.Random, seed: int, number: int, tenant: str) -> None:
        self.chance = chance
        self.canary = CANARY.format(seed=seed, number=number)
        self._case = f"s{seed}-c{number}"
        self._tenant = tenant
        self._events = 0

    def tell(self, type: str, after: float, source: str = "web", late: float = 0.0, **data: Any) -> Parcel:
        self._events += 1
        data = {name.rstrip("_"): value for name, value in data.items()}
        return Parcel(self._tenant, source, self._case, f"{self._case}-{self._events}", type, data, after, late)

    def person(self) -> dict[str, str]:
        """Somebody who can be reached in one way, in both or in none."""
        ways = {"mobile": f"010{self.chance.randrange(10**8):08}", "email": f"{self.canary}@mail.example"}
        chosen = self.chance.choice((("mobile",), ("email",), ("mobile", "email"), ()))
        return {"name": self.canary, "address": f"{self.canary} road"} | {way: ways[way] for way in chosen}


def _petition(teller: _Teller) -> Iterator[Parcel]:
    chance = teller.chance
    kind = chance.choice(("grievance", "inquiry"))
    early = chance.random() < 0.15  # what follows overtakes the opening
    yield teller.tell(
        "complaint.received",
        1.5 if early else 0.0,
        late=1.5 if early else 0.0,
        channel="web",
        kind=kind,
        title="A street lamp",
        text=f"{teller.canary} writes",
        applicant=teller.person(),
    )
    if chance.random() < 0.6:
        late = chance.choice((0.0, 0.0, 3.0))  # in time, and known only afterwards
        after = chance.uniform(0.5, 2.5)
        yield teller.tell("complaint.assigned", after + late, "desk", late, department="Roads", officer="officer-1")
    if chance.random() < 0.3:
        began = chance.uniform(0.5, 3.0)
        yield teller.tell("complaint.suspended", began, "desk", ground="inspection")
        yield teller.tell("complaint.resumed", began + chance.uniform(1, 4), "desk", ground="inspection")
    for word in range(chance.randrange(3)):
        yield teller.tell("complaint.progress_notified", 2.0 + 3 * word, "desk", by="sms")
    ends = chance.uniform(2.0, 12.0)
    if chance.random() < 0.2:  # answered by mistake, taken back, answered again
        wrong = teller.tell("complaint.completed", 1.8, "desk", outcome="answered", by="officer-1")
        yield wrong
        yield teller.tell("fact.voided", ends - 0.1, "desk", source_=wrong.source, id_=wrong.id, code="typing_error")
    if chance.random() < 0.2:
        yield teller.tell("applicant.updated", ends / 2, applicant={"email": f"{teller.canary}@other.example"})
    if chance.random() < 0.4:
        yield teller.tell("delay.explained", ends - 0.2, "desk", reason=f"{teller.canary} rain", expected="2027-01-01")
    late = chance.choice((0.0, 0.0, 0.0, min(6.0, ends)))
    yield teller.tell("complaint.completed", ends + late, "desk", late, outcome="answered", by="officer-1")


def _callback(teller: _Teller) -> Iterator[Parcel]:
    chance = teller.chance
    yield teller.tell(
        "callback.requested",
        0.0,
        "call-centre",
        via="phone",
        memo={"caller": teller.canary, "phone": "01000000000", "reply_wanted": True},
        officer="officer-1",
    )
    late = chance.choice((0.0, 0.0, 4.0))
    yield teller.tell("callback.made", chance.uniform(1, 8) + late, "call-centre", late, by="officer-1", reached=True)


def _call(teller: _Teller) -> Iterator[Parcel]:
    rings = teller.chance.randrange(1, 6)
    answered = teller.tell("call.answered", 0.0, "call-centre", rings=rings, department="Roads")
    yield answered
    if teller.chance.random() < 0.3:
        yield teller.tell("fact.voided", 2.0, "call-centre", source_="call-centre", id_=answered.id, code="other")
    if teller.chance.random() < 0.5:
        yield replace(teller.tell("call.ended", 1.0, "call-centre", nonsense=1), door="inbox", poison=True)


def _staff(seed: int, tenant: str) -> Parcel:
    data = {
        "staff": "officer-1",
        "name": CANARY.format(seed=seed, number="staff"),
        "department": "Roads",
        "phone": "000-0000-1001",
        "email": f"{CANARY.format(seed=seed, number='staff')}@city.example",
    }
    return Parcel(tenant, "administration", tenant, f"s{seed}-staff", "staff.described", data, 0.0)


def _twice(chance: random.Random, parcels: list[Parcel]) -> Iterator[Parcel]:
    """Some events are sent again, at once or a little later, as impatient systems do."""
    for parcel in parcels:
        yield parcel
        if chance.random() < 0.15 and not parcel.poison:
            again = chance.choice((0.0, 0.3, 3.0))
            yield replace(parcel, after=parcel.after + again, late=parcel.late + again)


def _through_a_door(chance: random.Random, parcel: Parcel) -> Parcel:
    doors = ["http", "http", "door", *(["inbox"] if parcel.type in INBOX_TYPES else [])]
    return parcel if parcel.poison else replace(parcel, door=chance.choice(doors))


class _Doors:
    """Hands parcels over and writes the answers into the book."""

    def __init__(
        self, workload: Workload, http: httpx.AsyncClient, connections: Mapping[str, Client], chance: random.Random
    ) -> None:
        self._workload = workload
        self._http = http
        self._connections = connections
        self._chance = chance
        self._began = asyncio.get_running_loop().time()
        self._clock = RealClock()
        self._turns = asyncio.Semaphore(SENDING)
        self._zero: asyncio.Future[Instant] = asyncio.ensure_future(self._clock.now())

    async def deliver(self, parcel: Parcel, begins: float) -> None:
        """Sends one parcel in its time, until it is answered."""
        await asyncio.sleep(max(0.0, self._began + begins + parcel.after - asyncio.get_running_loop().time()))
        body = parcel.body(await self._zero + int(begins * SECOND))
        content = json.dumps(body).encode()
        hand_over: Callable[[Parcel, bytes], Awaitable[dict[str, Any]]]
        hand_over = {"http": self._post, "door": self._ask, "inbox": self._leave}[parcel.door]
        sendings = 0
        limit = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            sendings += 1
            try:
                async with self._turns:
                    answer = await hand_over(parcel, content)
                break
            except TROUBLES:
                if asyncio.get_running_loop().time() > limit:
                    raise NoAnswer(
                        f"{parcel.tenant}/{parcel.source}/{parcel.id} ({parcel.type}) found no answer through "
                        f"{parcel.door} within {PATIENCE_SECONDS:.0f} s"
                    ) from None
                self._workload.retries += 1
                # As polite as it is stubborn.
                longest = min(RETRY_SECONDS * 2**sendings, LONGEST_RETRY_SECONDS)
                await asyncio.sleep(longest * self._chance.uniform(0.5, 1))
        self._workload.sent += 1
        self._workload.book.promised.append(
            {"tenant": parcel.tenant, "source": parcel.source, "id": parcel.id, "type": parcel.type}
            | {"door": parcel.door, "poison": parcel.poison, "sendings": sendings, "body": body, "case": parcel.case}
            | {name: answer[name] for name in ("status", "case", "receipt", "code") if name in answer}
        )

    async def _post(self, parcel: Parcel, content: bytes) -> dict[str, Any]:
        world = self._workload.world
        key = world.servers.publisher_keys[f"{parcel.tenant}/{parcel.source}"]
        response = await self._http.post(
            f"{self._chance.choice(world.intakes)}/v1/events",
            content=content,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"},
        )
        if response.status_code in BUSY:
            raise ConnectionError(f"HTTP {response.status_code}")
        answer: dict[str, Any] = response.json()
        return answer if response.is_success else {"status": "refused", "code": answer.get("code", "")}

    async def _ask(self, parcel: Parcel, content: bytes) -> dict[str, Any]:
        client = self._connections[f"{parcel.tenant}.{parcel.source}"]
        reply = await client.request(door_subject(parcel.tenant, parcel.source), content, timeout=ANSWER_SECONDS)
        answer: dict[str, Any] = json.loads(reply.data)
        if answer.get("code") in BUSY_CODES:
            raise ConnectionError(f"door: {answer['code']}")
        return answer

    async def _leave(self, parcel: Parcel, content: bytes) -> dict[str, Any]:
        client = self._connections[f"{parcel.tenant}.{parcel.source}"]
        subject = inbox_subject(parcel.tenant, parcel.source, parcel.type)
        await client.jetstream().publish(subject, content, timeout=ANSWER_SECONDS)
        return {"status": "left"}
