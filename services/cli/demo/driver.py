"""Drives Gihan on the stepped clock: moves it, hands over what happens, and waits until all is quiet.

The one rule: a step is over only when nothing is left to do in it, in any process. So neither the speed of a
process nor the death of one changes what comes out.

What is done in a step to T: the clock moves to T; ticks are written and folded until no partition has an
instant before T, and what follows from them is sent; then the deliveries of T are made, and everything settles
again. `Look.unmet` lists what rest means.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import asyncpg
import httpx
from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.streams import PARTITIONS, door_subject, inbox_subject
from services.chassis import broker, clock
from services.chassis.logs import OperatorError
from services.cli.demo.week.delivery import Delivery
from services.rules.instants import Instant

POLL_SECONDS = 0.003
PATIENCE_SECONDS = 90.0
"""How long a step may take to settle; a killed process is up again well before."""
RETRY_SECONDS = 0.1
NEVER: Instant = 2**62
"""Later than anything is due."""
BUSY = frozenset((408, 429, 500, 502, 503, 504))
BUSY_CODES = frozenset(("held_back", "unavailable", "internal"))
"""Answers of HTTP and of the door that ask for the same again, a little later."""

TROUBLES = (
    OSError,
    TimeoutError,
    NatsError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    httpx.TransportError,
)
"""What a killed server or service looks like from here: try again."""

_LOOK = """
select
    (select count(*) from read.event_fate
      where status = 'pending' or (status = 'waiting' and receipt is not null)) as unappended,
    (select jsonb_agg(jsonb_build_array(partition, sequence, next_at, decisions - sent)) from read.fold_position)
        as partitions,
    n.cases_sequence, n.sla_sequence, n.open_notices, n.next_release, n.unpublished
from read.notifier n
"""


class NotSettled(OperatorError):
    """A step did not come to rest in time; says which condition is unmet."""


class Ends(NamedTuple):
    """Where the logs end: messages in INBOX, last sequences of CASES, SLA and NOTICES."""

    inbox: int
    cases: int
    sla: int
    notices: int


class Look(NamedTuple):
    """What one query of the database and one look at the logs show."""

    ends: Ends
    unappended: int
    partitions: Mapping[int, tuple[int, Instant | None, int]]
    """Of each partition: the sequence folded, the next open instant, decisions not yet published."""
    notifier_cases: int
    notifier_sla: int
    open_notices: int
    next_release: Instant | None
    unpublished: int

    def unmet(self, at: Instant) -> list[str]:
        """Every condition of rest that does not hold yet, in words."""
        early = [number for number, (_, due, _) in self.partitions.items() if due is not None and due < at]
        behind = sum(count for _, _, count in self.partitions.values())
        conditions = (
            (early, f"partitions {early} have an instant before the step"),
            (len(self.partitions) < PARTITIONS, f"only {len(self.partitions)} of {PARTITIONS} partitions exist"),
            (self.ends.inbox, f"INBOX holds {self.ends.inbox} messages"),
            (self.unappended, f"{self.unappended} events are reserved but not in the log"),
            (behind, f"{behind} decisions are not published"),
            (self.notifier_cases != self.ends.cases, "notifier has not folded CASES to its end"),
            (self.notifier_sla != self.ends.sla, "notifier has not folded SLA to its end"),
            (self.open_notices, f"{self.open_notices} messages are due"),
            (self.next_release is not None and self.next_release <= at, "a held message is due"),
            (self.unpublished, f"{self.unpublished} results of notifier are not published"),
        )
        return [text for unmet, text in conditions if unmet]

    @property
    def lag(self) -> int:
        """What is on its way through the logs: reserved, decided or told and not published, stored and not folded by
        notifier. Messages on their way to gateways do not count."""
        behind = sum(count for _, _, count in self.partitions.values())
        unfolded = self.ends.cases - self.notifier_cases + self.ends.sla - self.notifier_sla
        return self.ends.inbox + self.unappended + behind + unfolded + self.unpublished


class Driver:
    """Moves the clock of one running Gihan. `nc` may read the streams' state and CASES."""

    def __init__(self, pool: asyncpg.Pool, nc: Client, doors: "Doors") -> None:
        self._pool = pool
        self._nc = nc
        self._doors = doors

    async def step(self, at: Instant, deliveries: Sequence[Delivery] = ()) -> None:
        """One step to `at`. Raises NotSettled."""
        await self._patiently(clock.step, self._pool, at)
        # Rest here too: else a warning might be overtaken by the fact that makes it needless, or not.
        await self._until_quiet(at)
        await asyncio.gather(*map(self._doors.deliver, deliveries))
        await self._until_quiet(at)

    async def settled(self, limit_seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until nothing is left to happen, now or later. Raises NotSettled."""
        await self._until_quiet(NEVER, limit_seconds)

    async def _patiently(self, action: Any, *arguments: Any) -> Any:
        """Tries again for as long as a server is away."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await action(*arguments)
            except TROUBLES:
                if time.monotonic() > limit:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _until_quiet(self, at: Instant, limit_seconds: float = PATIENCE_SECONDS) -> None:
        """Quiet is what two looks in a row agree on, with the ends of the logs unchanged between them."""
        limit = time.monotonic() + limit_seconds
        while unmet := await self._patiently(self._unquiet, at):
            if time.monotonic() > limit:
                raise NotSettled(
                    f"Not everything came to rest within {limit_seconds:.0f} s: {'; '.join(unmet)}. "
                    "Look at the services' logs and at /health/ready."
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _unquiet(self, at: Instant) -> list[str]:
        """What is not at rest, in words; nothing where all is."""
        look = await self.look()
        if unmet := look.unmet(at):
            return unmet
        ends = await self._last_of_partitions()
        folded = {number: sequence for number, (sequence, _, _) in look.partitions.items()}
        unmet = [
            f"partition {number} is folded to {folded[number]} of {last}"
            for number, last in ends.items()
            if folded[number] < last
        ]
        if await self._ends() != look.ends:
            unmet.append("the logs are still growing")
        return unmet

    async def look(self) -> Look:
        """One look at the database and the logs."""
        # The ends are read before the database and once more after it (see _until_quiet): what is written in
        # between is noticed.
        ends = await self._ends()
        row = (await self._pool.fetch(_LOOK))[0]
        partitions = {number: (sequence, due, open) for number, sequence, due, open in json.loads(row[1] or "[]")}
        return Look(ends, row[0], partitions, *row[2:])

    async def _ends(self) -> Ends:
        js = self._nc.jetstream()
        names = ("INBOX", "CASES", "SLA", "NOTICES")
        inbox, *logs = [info.state for info in await asyncio.gather(*map(js.stream_info, names))]
        return Ends(inbox.messages, *(state.last_seq for state in logs))

    async def _last_of_partitions(self) -> dict[int, int]:
        async def last(number: int) -> int:
            found = await broker.last_message(self._nc, "CASES", f"cases.{number}.>")
            return found[0] if found else 0

        numbers = range(PARTITIONS)
        return dict(zip(numbers, await asyncio.gather(*map(last, numbers)), strict=True))


class Doors:
    """The publishing systems: each with its own key and its own connection, as they would be in a city.

    `answers` keeps the last answer to each delivery through HTTP and the door; INBOX answers on RECEIPTS.
    """

    def __init__(self, url: str, keys: Mapping[str, str], connections: Mapping[str, Client]) -> None:
        self.answers: list[tuple[Delivery, str]] = []
        self.retries = 0
        self._keys = keys
        self._connections = connections
        self._http = httpx.AsyncClient(base_url=url, timeout=10, limits=httpx.Limits(max_connections=16))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def deliver(self, delivery: Delivery) -> None:
        """Hands one message over, again and again with the same bytes until it is answered."""
        limit = time.monotonic() + PATIENCE_SECONDS
        hand_over = {"http": self._post, "door": self._ask, "inbox": self._leave}[delivery.door]
        while True:
            try:
                answer = await hand_over(delivery)
            except TROUBLES as error:
                if time.monotonic() > limit:
                    raise NotSettled(
                        f"{delivery.type} of {delivery.tenant}/{delivery.source} got no answer through "
                        f"{delivery.door} within {PATIENCE_SECONDS:.0f} s ({type(error).__name__})."
                    ) from None
                self.retries += 1
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if answer:
                self.answers.append((delivery, answer))
            return

    async def _post(self, delivery: Delivery) -> str:
        key = self._keys[f"{delivery.tenant}/{delivery.source}"]
        response = await self._http.post(
            "/v1/events",
            content=delivery.body,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"},
        )
        if response.status_code in BUSY:
            raise ConnectionError(f"HTTP {response.status_code}")
        return str(response.json()["status"]) if response.is_success else "refused"

    async def _ask(self, delivery: Delivery) -> str:
        reply = await self._connection(delivery).request(
            door_subject(delivery.tenant, delivery.source), delivery.body, timeout=10
        )
        answer = json.loads(reply.data)
        if answer.get("code") in BUSY_CODES:
            raise ConnectionError(f"door: {answer['code']}")
        return str(answer["status"])

    async def _leave(self, delivery: Delivery) -> str:
        subject = inbox_subject(delivery.tenant, delivery.source, delivery.type)
        await self._connection(delivery).jetstream().publish(subject, delivery.body, timeout=5)
        return ""

    def _connection(self, delivery: Delivery) -> Client:
        return self._connections[f"{delivery.tenant}.{delivery.source}"]
