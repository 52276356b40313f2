"""Appending: batches of reserved events go into the log, each at most once, and only then is the answer yes.

The one rule it protects: in any doubt the log decides. Every batch is closed by a marker of this instance, written
with the marker before it as the expected last one; whatever happened to a reply, a process or a connection, the last
marker says which batches stand. An instance that finds another's marker there has been declared dead, and ends.
"""

import asyncio
import json
import secrets
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

import asyncpg
from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.envelope import Accepted, Refused
from contracts.streams import intake_mark, receipts_subject
from services.chassis import broker, postgres
from services.chassis.clock import Clock
from services.chassis.cursor import WrongLog, check_log, reconnects
from services.chassis.failpoints import failpoint
from services.chassis.health import Health
from services.chassis.lease import Lease
from services.chassis.logs import error_code, get_logger
from services.chassis.settings import Settings
from services.chassis.tasks import end
from services.chassis.vault import Connection, Vault
from services.intake.judge import Judged, Refusal
from services.intake.refill import refill
from services.intake.reserve import (
    Batch,
    CaseKey,
    Key,
    Notice,
    Pending,
    copies,
    reserve,
)
from services.rules.tenants import Tenant

COMPANY_SECONDS = 0.003
"""How long a first event waits for others to share its batch."""
MAX_UNFOLDED = 5_000
"""Events of one tenant that may lie between intake and the fold before the tenant is held back."""
AHEAD_EVENTS = 300
"""So many must wait for the next batch to be reserved before the one under way stands in the log. A batch has a dozen
statements however small it is; whether the limit itself gains anything has not been measured apart."""
ANSWER_SECONDS = 8.0
"""How long a publisher is kept waiting for the log: less than the ten seconds after which many would hang up."""
_RETRY_SECONDS = 0.05
_RESTART_SECONDS = 0.5
_ROOM_SECONDS = 1.0
_TRIAL = "insert into intake.batches select 'trial of room', number, 0 from generate_series(1, 5000) as number"


class Fenced(Exception):
    """This instance was declared dead, or cannot know how it stands: it must go on under a new name."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What a marker says: the last batch of an instance and, where another fenced it off, where that batch ended."""

    batch: int
    sequence: int
    fenced: bool
    stands_at: int
    """Sequence of the marker itself: what the next one must expect."""

    @classmethod
    async def last(cls, nc: Client, instance: str) -> "Marker":
        """The last marker of an instance; batch 0 where there is none."""
        found = await broker.last_message(nc, "CASES", intake_mark(instance))
        if found is None:
            return cls(0, 0, False, 0)
        sequence, body = found
        content = json.loads(body)
        fenced = "fenced_by" in content
        return cls(content["batch"], content["sequence"] if fenced else sequence, fenced, sequence)


class _Together:
    """Events that were sent together and are answered together."""

    def __init__(self, count: int) -> None:
        self.answers: list[Accepted | Refusal | None] = [None] * count
        self._left = count
        self._all: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, place: int, answer: Accepted | Refusal) -> None:
        """Answers one of them; its first answer counts."""
        if self.answers[place] is None:
            self.answers[place] = answer
            self._left -= 1
            if not self._left and not self._all.done():
                self._all.set_result(None)

    async def wait(self, seconds: float) -> list[Accepted | Refusal]:
        """The answers, in order; after `seconds` what is not known yet is unavailable."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if self._left:
                    await self._all
        return [answer or unavailable() for answer in self.answers]


@dataclass(slots=True)
class _Item:
    event: Judged
    together: _Together
    place: int

    def settle(self, answer: Accepted | Refusal) -> None:
        self.together.settle(self.place, answer)


class Queues:
    """Events that wait for a batch: one queue per tenant, served in turn."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[_Item]] = {}
        self._filled = asyncio.Event()

    def put(self, item: _Item) -> None:
        self._queues.setdefault(item.event.tenant.id, deque()).append(item)
        self._filled.set()

    def wake(self) -> None:
        """Has `wait` return although nothing came."""
        self._filled.set()

    def count(self) -> int:
        """How many events wait, of all tenants."""
        return sum(map(len, self._queues.values()))

    def waiting(self, tenant: str) -> int:
        return len(self._queues.get(tenant, ()))

    async def wait(self, seconds: float) -> None:
        """Returns once an event is there, a few milliseconds later for its company, or after `seconds`."""
        if any(self._queues.values()):
            return
        self._filled.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._filled.wait()
        except TimeoutError:
            return
        await asyncio.sleep(COMPANY_SECONDS)

    def take(self) -> list[_Item]:
        """Events for one batch: one of each tenant in turn, each key once, at most as many messages as it holds."""
        taken: dict[Key, _Item] = {}
        room = broker.BATCH_LIMIT
        ready = deque(queue for _, queue in sorted(self._queues.items()) if queue)
        while ready:
            queue = ready.popleft()
            item = queue[0]
            key, size = item.event.key, copies(item.event)
            # A repeat of an event in this batch waits for the next one, and its tenant with it.
            if key not in taken and size <= room:
                taken[key] = queue.popleft()
                room -= size
                if queue:
                    ready.append(queue)
        return list(taken.values())


class Appender:
    """The append loop of this process. `submit` answers when the log has the event."""

    def __init__(
        self,
        settings: Settings,
        pool: asyncpg.Pool,
        nc: Client,
        vault: Vault,
        clock: Clock,
        tenants: Mapping[str, Tenant],
        health: Health,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._nc = nc
        self._vault = vault
        self._clock = clock
        self._tenants = tenants
        self._part = health.part("append")
        self._queues = Queues()
        self._opened: set[CaseKey] = set()
        self._orphans: deque[tuple[str, int]] = deque()
        self._unfolded: dict[str, dict[int, deque[tuple[int, int]]]] = defaultdict(lambda: defaultdict(deque))
        self._unfolded_count: Counter[str] = Counter()
        self.instance = ""
        self._lease = Lease(settings, "intake")
        self._conn: Connection
        self._settling: Connection
        self._under_way: asyncio.Task[None] | None = None
        self._number = 0
        self._marker = 0

    async def submit(self, events: Sequence[Judged]) -> list[Accepted | Refusal]:
        """Appends events that came together; the answers, in order, come after the log has acknowledged them."""
        together = _Together(len(events))
        for place, event in enumerate(events):
            tenant = event.tenant.id
            if max(self.unfolded(tenant), self._queues.waiting(tenant)) > MAX_UNFOLDED:
                together.settle(place, _held_back())
            else:
                self._queues.put(_Item(event, together, place))
        return await together.wait(ANSWER_SECONDS)

    def adopt(self, instance: str, number: int) -> None:
        """Has a batch that a dead instance reserved, and did not append, appended by this one."""
        self._orphans.append((instance, number))

    def release(self, cases: Iterable[CaseKey]) -> None:
        """Has facts that still wait, although their case is open, follow with the next batch."""
        self._opened.update(cases)

    def unfolded(self, tenant: str) -> int:
        """How many events of a tenant this process appended that no fold has reached yet."""
        return self._unfolded_count[tenant]

    async def run(self) -> None:
        """Appends until cancelled, under a new name whenever the old one is in doubt."""
        while True:
            self.instance = f"i{secrets.token_hex(8)}"
            self._number = self._marker = 0
            try:
                async with (
                    Lease(self._settings, f"intake/{self.instance}") as self._lease,
                    # The same for all batches: the pool would tidy them up after each.
                    self._pool.acquire() as self._conn,
                    self._pool.acquire() as self._settling,
                ):
                    await self.check_log()
                    await refill(self._pool, self._nc, self._part)
                    try:
                        await self._serve()
                    finally:
                        await end(filter(None, [self._under_way]))
                        self._under_way = None
            except Exception as error:
                said = str(error) if isinstance(error, WrongLog) else "look at PostgreSQL, NATS and the log"
                self._part.down(f"starts anew after {error_code(error)}: {said}")
                get_logger().warning("instance_ended", instance=self.instance, exc_info=error)
                await asyncio.sleep(_RESTART_SECONDS)

    async def check_log(self) -> None:
        """Raises WrongLog unless the last batch that this database knows to be in the log closes where it did."""
        last = await self._pool.fetchrow(
            "select instance, number, marker_sequence from intake.batches where marker_sequence is not null"
            " order by marker_sequence desc limit 1"
        )
        if last is not None:
            await check_log(
                self._nc,
                "CASES",
                last["marker_sequence"],
                None,
                lambda subject, body: (
                    (subject, json.loads(body).get("batch")) == (intake_mark(last["instance"]), last["number"])
                ),
            )

    async def _serve(self) -> None:
        connection = -1
        while True:
            if self._lease.lost.is_set():
                raise Fenced
            if self._under_way is not None and self._under_way.done():
                await self._brought_in()
            if connection != reconnects(self._nc):  # what answers now may be another log
                connection = reconnects(self._nc)
                await self._brought_in()
                await self.check_log()
            self._part.beat(instance=self.instance, batch=self._number)
            while self._orphans:
                await self._brought_in()
                await self._adopt(*self._orphans.popleft())
            if not self._opened:
                await self._queues.wait(seconds=1)
            if self._queues.count() < AHEAD_EVENTS:
                await self._brought_in()
            if (items := self._queues.take()) or self._opened:
                await self._handle(items)

    async def _handle(self, items: Sequence[_Item]) -> None:
        """One batch: reserved while the one before it is on its way into the log, then on its own way."""
        opened, self._opened = self._opened, set()
        try:
            batch = await self._reserve([item.event for item in items], opened)
        except postgres.LOST as error:
            # Whether the reservation stands is open. The sweeper finds out, under this instance's old name.
            for item in items:
                item.settle(unavailable())
            raise Fenced from error
        except postgres.NO_ROOM as error:
            for item in items:
                item.settle(unavailable())
            get_logger().error("reservation_failed", count=len(items), error=error_code(error))
            await self._until_room()
            return
        except Exception as error:
            get_logger().error("reservation_failed", count=len(items), exc_info=error)
            if len(items) > 1:  # it was rolled back: alone, only the one that cannot be kept is refused
                for item in items:
                    await self._handle([item])
            elif items:
                items[0].settle(Refusal("internal", "Something failed on our side; nothing was kept.", status=500))
            return
        self._opened |= batch.left
        try:
            await self._brought_in()
        except BaseException:
            for item in items:
                item.settle(unavailable())
            raise
        self._under_way = asyncio.create_task(self._bring_in(self._number, batch, items), name="bring in a batch")

    async def _brought_in(self) -> None:
        """Returns once the batch under way is answered, so that batches reach the log in the order of their numbers;
        raises what kept it from that."""
        if self._under_way is not None:
            await self._under_way
            self._under_way = None

    async def _bring_in(self, number: int, batch: Batch, items: Sequence[_Item]) -> None:
        """Appends a reserved batch and answers for it."""
        try:
            if batch.messages:
                await failpoint("intake.after_reserve")
                sequence = await self._append(number, batch.messages)
                await failpoint("intake.after_append")
                await self._settle(self._settling, self.instance, number, sequence, batch.notices)
                await failpoint("intake.before_answer")
            else:
                await self._notify(batch.notices)
        except BaseException:
            for item in items:
                item.settle(unavailable())
            self._queues.wake()  # what keeps this batch from the log is not to wait for the next one
            raise
        self._answer(items, batch)

    async def _until_room(self) -> None:
        """Returns once PostgreSQL stores again; until then this part is red, whether or not events come."""
        while True:
            self._part.down("PostgreSQL cannot store: look at the room on its disk, and at whether it can be written")
            await asyncio.sleep(_ROOM_SECONDS)
            try:
                async with self._pool.acquire() as conn:
                    trial = conn.transaction()
                    await trial.start()
                    await conn.execute(_TRIAL)  # more than fits into the room left in pages that exist
                    await trial.rollback()
                return
            except (*postgres.LOST, *postgres.NO_ROOM):
                if self._lease.lost.is_set():
                    raise Fenced from None

    async def _reserve(self, events: Sequence[Judged], opened: set[CaseKey]) -> Batch:
        now = await self._clock.now()
        batch = await reserve(
            self._conn, self._vault, self._tenants, events, opened, now, self.instance, self._number + 1
        )
        if batch.messages:
            self._number += 1
        return batch

    async def _append(self, number: int, messages: Sequence[tuple[str, bytes]]) -> int:
        """Brings a batch into the log and returns its marker's sequence, however often the reply is lost."""
        body = json.dumps({"batch": number, "count": len(messages)}).encode()
        pause = _RETRY_SECONDS
        while True:
            try:
                self._marker = await broker.publish_batch(
                    self._nc, messages, (intake_mark(self.instance), body), self._marker
                )
                return self._marker
            except (broker.BatchRefused, broker.BatchUnknown) as error:
                self._part.down("the log does not acknowledge: look at NATS and at the room on its disk")
                get_logger().warning("batch_unanswered", instance=self.instance, exc_info=error)
            if self._lease.lost.is_set():
                raise Fenced
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)
            try:
                marker = await Marker.last(self._nc, self.instance)
            except (NatsError, TimeoutError, OSError):
                continue
            if marker.fenced or marker.batch not in (number - 1, number):
                raise Fenced
            self._marker = marker.stands_at
            if marker.batch == number:
                return self._marker

    async def _adopt(self, instance: str, number: int) -> None:
        """Appends under this instance's name a batch that a dead one had reserved but not appended."""
        async with self._pool.acquire() as conn, conn.transaction():
            count = await conn.fetchval(
                "delete from intake.batches where instance = $1 and number = $2 and marker_sequence is null"
                " returning count",
                instance,
                number,
            )
            if count is None:
                return  # another sweeper was faster
            await conn.execute("insert into intake.batches values ($1, $2, $3)", self.instance, self._number + 1, count)
            rows = await conn.fetch(
                "update intake.reservations set instance = $3, batch = $4 where instance = $1 and batch = $2"
                " returning place, subjects, bodies",
                instance,
                number,
                self.instance,
                self._number + 1,
            )
        self._number += 1
        await failpoint("intake.after_adopt")
        messages = [
            message
            for row in sorted(rows, key=lambda row: int(row["place"]))
            for message in zip(row["subjects"], row["bodies"], strict=True)
        ]
        sequence = await self._append(self._number, messages)
        await failpoint("intake.after_adopted_append")
        await self.resolve(self.instance, self._number, sequence)

    async def resolve(self, instance: str, number: int, sequence: int) -> None:
        """Writes down where a batch stands in the log that somebody reserved in former times."""
        rows = await self._pool.fetch(
            "select r.tenant, r.source, r.id, r.case_id, c.receipt from intake.reservations r"
            " join intake.cases c using (tenant, case_id) where instance = $1 and batch = $2 and waited",
            instance,
            number,
        )
        notices = [Notice(r["tenant"], accepted(r["source"], r["id"], r["case_id"], r["receipt"])) for r in rows]
        await self._settle(self._pool, instance, number, sequence, notices)

    async def _settle(
        self, conn: Connection | asyncpg.Pool, instance: str, number: int, sequence: int, notices: Sequence[Notice]
    ) -> None:
        """Writes down where a batch stands in the log, after telling the sources of those in it that waited."""
        if notices:
            await self._notify(notices)
            await failpoint("intake.after_receipts")
        await conn.execute(
            "update intake.batches set marker_sequence = $3 where instance = $1 and number = $2",
            instance,
            number,
            sequence,
        )

    async def _notify(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            try:
                await tell(self._nc, notice.tenant, notice.answer.source or "", notice.answer)
            except (NatsError, TimeoutError, OSError) as error:
                # The answer stands in read.event_fate, where GET /v1/events finds it.
                get_logger().warning("receipt_unsent", tenant=notice.tenant, error=error_code(error))

    def _answer(self, items: Sequence[_Item], batch: Batch) -> None:
        for item in items:
            answer = batch.answers[item.event.key]
            if isinstance(answer, Pending):
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._queues.put, item)
            else:
                item.settle(answer)
        self._count_unfolded(self._marker - len(batch.messages), batch.messages)

    def _count_unfolded(self, first: int, messages: Sequence[tuple[str, bytes]]) -> None:
        """Notes per tenant and partition how many messages of a batch the fold has before it, and where they end."""
        ends: dict[tuple[str, str], tuple[int, int]] = {}
        for place, (subject, _) in enumerate(messages):
            _, number, tenant, _ = subject.split(".", 3)
            ends[tenant, number] = first + place, ends.get((tenant, number), (0, 0))[1] + 1
        for (tenant, number), last in ends.items():
            self._unfolded[tenant][int(number)].append(last)
            self._unfolded_count[tenant] += last[1]

    async def watch_fold(self) -> None:
        """Forgets, five times a second, what the fold has reached; until cancelled."""
        while True:
            await asyncio.sleep(0.2)
            try:
                rows = await self._pool.fetch("select partition, sequence from read.fold_position")
            except (*postgres.LOST, asyncpg.PostgresError):
                continue  # PostgreSQL's own health check tells
            for row in rows:
                for tenant, numbers in self._unfolded.items():
                    while (queue := numbers[row["partition"]]) and queue[0][0] <= row["sequence"]:
                        self._unfolded_count[tenant] -= queue.popleft()[1]


def accepted(source: str, id: str, case: str, receipt: str | None) -> Accepted:
    """The answer to an event that stands in the log."""
    return Accepted(status="accepted", source=source, id=id, case=case, receipt=receipt)


async def tell(nc: Client, tenant: str, source: str, answer: Accepted | Refused, letter: str = "") -> None:
    """Puts an answer on RECEIPTS. A repeat carries the same Nats-Msg-Id; `letter` stands for an unreadable id."""
    await nc.jetstream().publish(
        receipts_subject(tenant, source),
        answer.model_dump_json(exclude_none=True).encode(),
        timeout=3,
        stream="RECEIPTS",
        headers={"Nats-Msg-Id": f"{tenant}.{source}.{answer.id or letter}.{answer.status}"},
    )


def unavailable() -> Refusal:
    """What is said when it is not known whether an event was taken in."""
    return Refusal(
        "unavailable",
        "No answer from the log in time. Send the same event again, with the same id: it is kept once.",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        retry_after=2,
    )


def _held_back() -> Refusal:
    return Refusal(
        "held_back",
        "Too many events of this tenant are still being worked on. Send this one again in a moment.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        retry_after=1,
    )
