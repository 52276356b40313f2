"""The ledger: messages, attempts, tasks and positions in PostgreSQL, and the events that tell of them on
NOTICES.

The one rule: a state and the event that tells of it are written in one transaction, which carries the
generation of the lease, so that a notifier that lost its place changes nothing.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, cast

import asyncpg
import msgspec

from contracts.streams import notices_subject, partition
from services.chassis.failpoints import failpoint
from services.chassis.logs import OperatorError
from services.chassis.outbox import Connection, Outbox
from services.notifier import texts
from services.notifier.notices import (
    COMPENSATION,
    CaseView,
    Event,
    Notice,
    Retraction,
    Task,
    TaskWithdrawal,
    Telling,
)
from services.rules import instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant

LEASE = "notifier"
NOTIFIER = "gihan/notifier"
OPEN_STATES = ("pending", "sending", "unknown")

CaseKey = tuple[str, str]


class Position(NamedTuple):
    """How far a log is folded: the sequence, the stream's own id, and the SHA-256 of the entry there."""

    sequence: int
    stream_id: str | None
    digest: bytes | None


class Fenced(OperatorError):
    """Another notifier has taken over."""


class Ledger:
    """Transactions of one holder of the lease, one at a time (so no two of them can wait for each other)."""

    def __init__(self, pool: asyncpg.Pool, outbox: Outbox, tenants: Mapping[str, Tenant], generation: int) -> None:
        self.pool = pool
        self.tenants = tenants
        self.outbox = outbox
        self._generation = generation
        self._turn = asyncio.Lock()
        self.changed = asyncio.Event()
        """Set when a transaction was committed, and then replaced: take it before you look, and wait for it after."""

    @asynccontextmanager
    async def writing(self, now: Instant) -> AsyncIterator["Work"]:
        """A transaction; `now` dates what it tells. Raises Fenced where another notifier has taken over."""
        async with self._turn, self.pool.acquire() as connection, connection.transaction():
            await self._check_turn(connection, "FOR SHARE")
            # The pool's proxy is a connection in all but its type.
            work = Work(cast(asyncpg.Connection, connection), self.tenants, now)
            yield work
            await work.close(self.outbox)
        self.outbox.wake()
        self.changed.set()
        self.changed = asyncio.Event()

    async def check_turn(self) -> None:
        """Raises Fenced where another notifier has taken over: one that slept must not call a gateway any more."""
        await self._check_turn(self.pool)

    async def _check_turn(self, connection: Connection | asyncpg.Pool, lock: str = "") -> None:
        held = await connection.fetchval(
            f"SELECT 1 FROM chassis.leases WHERE name = $1 AND generation = $2 {lock}",  # noqa: S608 - a constant
            LEASE,
            self._generation,
        )
        if held is None:
            raise Fenced("Another notifier has taken over; this one has stopped and waits for its turn.")

    async def position(self, log: str) -> Position:
        """How far a log is folded."""
        row = await self.pool.fetchrow("SELECT sequence, stream_id, digest FROM notifier.position WHERE log = $1", log)
        assert row is not None
        return Position(*row)

    async def recover(self, now: Instant, means: str) -> int:
        """Attempts by a means that were left without a result become unknown; returns how many."""
        async with self.writing(now) as work:
            rows = await work.connection.fetch(
                "UPDATE notifier.notices SET state = 'unknown' WHERE state = 'sending' AND means = $1 RETURNING *",
                means,
            )
            for row in rows:
                await work.end_attempt(row, "unanswered", "interrupted")
                work.tell_result(row, "unknown", "interrupted")
        return len(rows)

    async def release(self, now: Instant) -> Instant | None:
        """Lets go what was held until `now`; returns the next instant at which something is due to be let
        go.
        """
        async with self.writing(now) as work:
            notices = await work.connection.fetch(
                "SELECT * FROM notifier.notices WHERE state = 'held' AND release_at <= $1 ORDER BY number",
                now,
            )
            views = await work.views({(row["tenant"], row["case_id"]) for row in notices})
            for row in notices:
                await work.plan(row, views[row["tenant"], row["case_id"]])
            await failpoint("release.after_messages")
            tasks = await work.connection.fetch(
                "UPDATE notifier.tasks SET state = 'assigned', revision = revision + 1 "
                "WHERE state = 'held' AND release_at <= $1 RETURNING *",
                now,
            )
            for row in sorted(tasks, key=lambda task: (task["release_at"], task["key"])):
                work.tell_assigned(row)
        return await self.next_release()

    async def next_release(self) -> Instant | None:
        """The earliest instant at which something held is to be let go."""
        found: Instant | None = await self.pool.fetchval("SELECT next_release FROM read.notifier")
        return found

    async def tellings(self, limit: int) -> list[asyncpg.Record]:
        """What publishers are still to be told, in order."""
        return await self.pool.fetch("SELECT * FROM notifier.tellings ORDER BY number LIMIT $1", limit)

    async def told(self, numbers: Collection[int]) -> None:
        """RECEIPTS has acknowledged these."""
        await self.pool.execute("DELETE FROM notifier.tellings WHERE number = ANY($1::bigint[])", list(numbers))


async def wait(changed: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set, or after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await changed.wait()


class Work:
    """What one transaction writes."""

    def __init__(self, connection: asyncpg.Connection, tenants: Mapping[str, Tenant], now: Instant) -> None:
        self.connection = connection
        self.now = now
        self._tenants = tenants
        self._events: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
        self._tellings: list[tuple[str, str, bytes]] = []

    async def close(self, outbox: Outbox) -> None:
        """Writes what was gathered. Lanes in order."""
        await failpoint("ledger.after_states")
        if self._tellings:
            await self.connection.executemany(
                "INSERT INTO notifier.tellings (key, subject, body) VALUES ($1, $2, $3)", self._tellings
            )
            await failpoint("ledger.after_tellings")
        for lane in sorted(self._events):
            await outbox.append(self.connection, lane, self._events[lane])

    async def move(self, log: str, old: Position, new: Position) -> None:
        """Moves the position of a log. Raises Fenced where it does not stand at `old`."""
        moved = await self.connection.fetchval(
            "UPDATE notifier.position SET sequence = $3, stream_id = $4, digest = $5 "
            "WHERE log = $1 AND sequence = $2 RETURNING 1",
            log,
            old.sequence,
            *new,
        )
        if moved is None:
            raise Fenced(f"The position in {log} is not {old.sequence}: another notifier has folded on.")

    # Cases and staff

    async def views(self, cases: Collection[CaseKey]) -> dict[CaseKey, CaseView]:
        """The views of cases; an empty one where nothing is known."""
        found: dict[CaseKey, CaseView] = {case: CaseView() for case in cases}
        rows = await self.connection.fetch(
            "SELECT c.* FROM unnest($1::text[], $2::text[]) AS wanted (tenant, case_id) "
            "JOIN notifier.cases c USING (tenant, case_id)",
            [tenant for tenant, _ in cases],
            [case for _, case in cases],
        )
        for row in rows:
            found[row["tenant"], row["case_id"]] = msgspec.json.decode(row["view"], type=CaseView)
        return found

    async def save_views(self, views: Mapping[CaseKey, CaseView]) -> None:
        """Writes views back."""
        await self.connection.execute(
            "INSERT INTO notifier.cases SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[]) "
            "ON CONFLICT (tenant, case_id) DO UPDATE SET view = excluded.view",
            [tenant for tenant, _ in views],
            [case for _, case in views],
            [msgspec.json.encode(view).decode() for view in views.values()],
        )

    async def describe_staff(self, fact: Event) -> None:
        """Keeps of a member of staff what is not personal."""
        await self.connection.execute(
            "INSERT INTO notifier.staff VALUES ($1, $2, $3, $4) ON CONFLICT (tenant, staff) "
            "DO UPDATE SET department = excluded.department, has_email = excluded.has_email",
            fact.tenant,
            fact.data["staff"],
            fact.data["department"],
            bool(fact.data.get("has_email")),
        )

    async def staff(self, tenant: str, staff: str | None) -> asyncpg.Record | None:
        """What is known of a member of staff, or None."""
        return await self.connection.fetchrow(
            "SELECT * FROM notifier.staff WHERE tenant = $1 AND staff = $2", tenant, staff
        )

    # Messages

    async def want(self, notice: Notice, event: Event, view: CaseView) -> None:
        """A message is wanted; a key that is known already changes nothing."""
        if notice.once and await self._stands(notice, event):
            return
        tenant = self._tenants[event.tenant]
        language = (view.language if notice.audience == "citizen" else None) or tenant.language
        row = await self.connection.fetchrow(
            "INSERT INTO notifier.notices (key, tenant, case_id, audience, recipient, template, version, "
            "language, arguments, promise, topic, cause, state, release_at, wanted_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'held', $13, $14) "
            "ON CONFLICT (key) DO NOTHING RETURNING *",
            notice.key,
            event.tenant,
            event.case,
            notice.audience,
            view.subject_ref if notice.audience == "citizen" else notice.staff,
            notice.template,
            texts.catalogue(language).version,
            language,
            json.dumps(dict(notice.arguments)),
            notice.promise,
            notice.topic,
            json.dumps(notice.cause),
            notice.hold_until,
            self.now,
        )
        if row is not None and notice.hold_until is None:
            await self.plan(row, view)

    async def _stands(self, notice: Notice, event: Event) -> bool:
        found = await self.connection.fetchval(
            "SELECT 1 FROM notifier.notices WHERE tenant = $1 AND case_id = $2 AND topic = $3 "
            "AND NOT retracted LIMIT 1",
            event.tenant,
            event.case,
            notice.topic,
        )
        return found is not None

    async def plan(self, row: asyncpg.Record, view: CaseView) -> None:
        """Chooses the means of a message that may go out, as the case is now; settles it where there is
        none.
        """
        tried = await self.connection.fetch(
            "SELECT means FROM notifier.attempts WHERE key = $1 AND outcome IN ('rejected', 'gave_up')",
            row["key"],
        )
        wanted = await self._means(row, view)
        left = [means for means in wanted if means not in {attempt["means"] for attempt in tried}]
        if left:
            await self.connection.execute(
                "UPDATE notifier.notices SET state = 'pending', means = $2 WHERE key = $1",
                row["key"],
                left[0],
            )
        elif row["audience"] == "citizen" and view.notify_by == "none":
            await self.settle(row, "suppressed", "not_wanted")
        else:
            await self.settle(row, "failed", "refused" if tried else "no_means")

    async def _means(self, row: asyncpg.Record, view: CaseView) -> list[str]:
        if row["audience"] == "officer":
            staff = await self.staff(row["tenant"], row["recipient"])
            return ["email"] if staff is not None and staff["has_email"] else []
        order = {"email": ["email", "sms"], "post": [], "none": []}.get(view.notify_by or "", ["sms", "email"])
        known = {"sms": view.has_mobile, "email": view.has_email}
        return [means for means in order if known[means]]

    async def plan_again(self, case: CaseKey, view: CaseView) -> None:
        """Chooses the means of a case's waiting messages anew, since the citizen's wishes changed."""
        rows = await self.connection.fetch(
            "SELECT * FROM notifier.notices WHERE tenant = $1 AND case_id = $2 AND state = 'pending' "
            "AND audience = 'citizen' ORDER BY number",
            *case,
        )
        for row in rows:
            await self.plan(row, view)

    async def retract(self, retraction: Retraction, event: Event, view: CaseView) -> None:
        """Suppresses what was not sent about a topic; where something went out, a correction follows."""
        rows = await self.connection.fetch(
            "UPDATE notifier.notices SET retracted = true "
            "WHERE tenant = $1 AND case_id = $2 AND topic = $3 AND NOT retracted RETURNING *",
            event.tenant,
            event.case,
            retraction.topic,
        )
        for row in sorted(rows, key=lambda row: int(row["number"])):
            if row["state"] in ("held", "pending"):
                await self.settle(row, "suppressed", retraction.outcome)
        if any(row["state"] in ("sending", "sent", "unknown") for row in rows):
            await self.want(retraction.correction, event, view)

    async def settle(self, row: asyncpg.Record, state: str, outcome: str) -> None:
        """A message reached its last state (sent, failed, suppressed), which is told on NOTICES."""
        settled = await self.connection.fetchrow(
            "UPDATE notifier.notices SET state = $2, reason = $3, settled_at = $4 WHERE key = $1 RETURNING *",
            row["key"],
            state,
            outcome,
            self.now,
        )
        assert settled is not None
        self.tell_result(settled, state, outcome)

    async def end_attempt(self, row: asyncpg.Record, outcome: str, code: str) -> None:
        """Writes what came of the last attempt."""
        await self.connection.execute(
            "UPDATE notifier.attempts SET outcome = $3, code = $4, ended_at = $5 WHERE key = $1 AND number = $2",
            row["key"],
            row["attempts"],
            outcome,
            code,
            self.now,
        )

    def tell_result(self, row: asyncpg.Record, state: str, outcome: str) -> None:
        """A result of a message on NOTICES."""
        suffix = f"unknown-{row['attempts']}" if state == "unknown" else state
        data = {
            "key": row["key"],
            "template": row["template"],
            "version": str(row["version"]),
            "language": row["language"],
            "means": row["means"],
            "subject_ref" if row["audience"] == "citizen" else "staff": row["recipient"],
            "promise": row["promise"],
            "cause": json.loads(row["cause"]),
            "attempt": row["attempts"] or None,
            "outcome": outcome,
        }
        self._tell(row, f"notice.{state}", f"{row['key']}-{suffix}", data)

    # Tasks

    async def assign(self, task: Task, event: Event, view: CaseView) -> None:
        """A task, once per key; one that was withdrawn is assigned anew, one that was issued never again."""
        row = await self.connection.fetchrow(
            "INSERT INTO notifier.tasks AS t (key, tenant, case_id, incident, clause, task, promise, officer, "
            "amount, currency, needs, cause, state, revision, release_at, wanted_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
            "CASE $13 WHEN 'held' THEN 0 ELSE 1 END, $14, $15) "
            "ON CONFLICT (key) DO UPDATE SET amount = excluded.amount, needs = excluded.needs, "
            "state = CASE t.state WHEN 'withdrawn' THEN excluded.state ELSE t.state END, "
            "release_at = CASE t.state WHEN 'withdrawn' THEN excluded.release_at ELSE t.release_at END, "
            "revision = t.revision + CASE t.state WHEN 'withdrawn' THEN excluded.revision ELSE 0 END "
            "RETURNING *, revision IS DISTINCT FROM old.revision AND state = 'assigned' AS newly_assigned",
            task.key,
            event.tenant,
            event.case,
            task.incident,
            task.clause,
            task.task,
            task.promise,
            task.officer,
            task.amount,
            task.currency,
            list(task.needs),
            json.dumps(task.cause),
            "assigned" if task.hold_until is None else "held",
            task.hold_until,
            self.now,
        )
        assert row is not None
        await failpoint("compensation.after_task")
        if row["newly_assigned"]:
            self.tell_assigned(row)
        if task.notice is not None and row["state"] in ("held", "assigned"):
            await self.want(task.notice, event, view)

    async def withdraw(self, withdrawal: TaskWithdrawal) -> None:
        """A task is no longer wanted; a remedy that was issued is kept, which is told."""
        row = await self.connection.fetchrow(
            "UPDATE notifier.tasks SET state = CASE state WHEN 'issued' THEN 'kept' ELSE 'withdrawn' END "
            "WHERE key = $1 AND state IN ('held', 'assigned', 'issued') RETURNING *",
            withdrawal.key,
        )
        await failpoint("compensation.after_withdrawal")
        if row is not None and row["state"] == "kept" and row["task"] == COMPENSATION:
            data = {
                "key": row["key"],
                "remedy": row["clause"],
                "incident": row["incident"],
                "amount": row["amount"],
            }
            data["currency"] = row["currency"]
            self._tell(row, "remedy.kept", f"{row['key']}-kept-{row['revision']}", data)

    def tell_assigned(self, row: asyncpg.Record) -> None:
        """A task lies with somebody now."""
        data = {
            "key": row["key"],
            "task": row["task"],
            "incident": row["incident"] or None,
            "remedy": row["clause"] or None,
            "promise": row["promise"],
            "amount": row["amount"],
            "currency": row["currency"],
            "assignee": row["officer"],
            "cause": json.loads(row["cause"]),
        }
        self._tell(row, "task.assigned", f"{row['key']}-assigned-{row['revision']}", data)

    # What others are told

    def tell_publisher(self, telling: Telling) -> None:
        """Something for RECEIPTS."""
        self._tellings.append((telling.key, telling.subject, telling.body))

    def _tell(self, row: asyncpg.Record, type: str, id: str, data: Mapping[str, Any]) -> None:
        tenant, case = row["tenant"], row["case_id"]
        lane = partition(tenant, case)
        event = {
            "specversion": "1.0",
            "id": id,
            "source": NOTIFIER,
            "type": type,
            "subject": case,
            "time": instants.text(self.now, self._tenants[tenant].zone),
            "tenant": tenant,
            "case": case,
            "data": {name: value for name, value in data.items() if value is not None},
        }
        self._events[lane].append((notices_subject(lane, tenant, type), msgspec.json.encode(event)))
