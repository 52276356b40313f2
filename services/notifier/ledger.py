"""The ledger: messages, attempts, tasks and positions in PostgreSQL, and the events that tell of them on
NOTICES.

The one rule: a state and the event that tells of it are written in one transaction, which carries the
generation of the lease, so that a notifier that lost its place changes nothing.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, cast
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from contracts.streams import STREAMS, notices_subject, partition
from services.chassis.failpoints import failpoint
from services.chassis.logs import OperatorError, get_logger
from services.chassis.outbox import Connection, Outbox
from services.chassis.vault.people import references_of_same
from services.notifier import gathering, texts
from services.notifier.gateways import Found
from services.notifier.notices import (
    RUNGS,
    CaseView,
    Event,
    Notice,
    Retraction,
    Task,
    TaskWithdrawal,
    Telling,
    key_of,
)
from services.notifier.pacing import Pace, Wait
from services.notifier.tasks import store
from services.rules import instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant

AHEAD = 5 * instants.MINUTE
"""So far may the time of a fact lie ahead of our clock (the contract of events)."""

LEASE = "notifier"
NOTIFIER = "gihan/notifier"

POST_LETTER = "post_letter"
"""The task of a message that goes by post."""
BY_POST = "by_post"
"""Why a message failed for which there is such a task."""
RETURNED = "returned"
"""Why a message failed by one means, while the next one is tried."""

RECEIPTS_KEPT = next(s.max_age_seconds for s in STREAMS if s.name == "RECEIPTS") * instants.SECOND

CaseKey = tuple[str, str]


class Position(NamedTuple):
    """How far a log is folded: the sequence, the stream's own id, and the SHA-256 of the entry there."""

    sequence: int
    stream_id: str | None
    digest: bytes | None


_UNANSWERED = (
    "INSERT INTO notifier.attempts (key, number, means, repeated, started_at, outcome, code) "
    "SELECT key, attempts, means, false, wanted_at, 'unanswered', 'ledger_lost' FROM notifier.notices "
    "WHERE state = 'unknown'"
)


class Result(NamedTuple):
    """What came of a message, as NOTICES tells: its state, when it was told, and the data of the event."""

    tenant: str
    case: str
    state: str
    at: Instant
    data: Mapping[str, Any]


class Recovery(NamedTuple):
    """A lost ledger that is being worked out anew: when it began by the clock, and where CASES and SLA ended then."""

    began_at: Instant
    cases: int
    sla: int


class Fenced(OperatorError):
    """Another notifier has taken over."""


class Ledger:
    """Transactions of one holder of the lease, one at a time (so no two of them can wait for each other)."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        outbox: Outbox,
        tenants: Mapping[str, Tenant],
        paces: Mapping[str, Pace],
        generation: int,
    ) -> None:
        self.pool = pool
        self.tenants = tenants
        self._paces = paces
        self.outbox = outbox
        self._generation = generation
        self._turn = asyncio.Lock()
        self.changed = asyncio.Event()
        """Set when a transaction was committed, and then replaced: take it before you look, and wait for it after."""
        self.recovery: Recovery | None = None
        """Set while a lost ledger is worked out anew."""

    @asynccontextmanager
    async def writing(self, now: Instant) -> AsyncIterator["Work"]:
        """A transaction; `now` dates what it tells. Raises Fenced where another notifier has taken over."""
        async with self._turn, self.pool.acquire() as connection, connection.transaction():
            await self._check_turn(connection, "FOR SHARE")
            # The pool's proxy is a connection in all but its type.
            work = Work(cast(asyncpg.Connection, connection), self.tenants, self._paces, now, self.recovery)
            yield work
            await work.close(self.outbox)
        self.outbox.wake()
        self.changed.set()
        self.changed = asyncio.Event()

    def reading(self, connection: asyncpg.Connection | PoolConnectionProxy, now: Instant) -> "Work":
        """What a transaction would see, for whoever only looks."""
        return Work(cast(asyncpg.Connection, connection), self.tenants, self._paces, now)

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

    async def recover(self, now: Instant, means: str, tenants: Sequence[str]) -> int:
        """Attempts by a means that were left without a result become unknown; returns how many."""
        async with self.writing(now) as work:
            rows = await work.connection.fetch(
                "UPDATE notifier.notices SET state = 'unknown' WHERE state = 'sending' AND means = $1 "
                "AND tenant = ANY($2::text[]) RETURNING *",
                means,
                list(tenants),
            )
            for row in rows:
                await work.end_attempt(row, "unanswered", "interrupted")
                work.tell_result(row, "unknown", "interrupted")
        return len(rows)

    async def numbered(self) -> dict[int, int]:
        """The last number of each lane that has any."""
        rows = await self.pool.fetch("SELECT lane, max(number) AS last FROM notifier.outbox GROUP BY lane")
        return {row["lane"]: row["last"] for row in rows}

    async def recovery_under_way(self) -> Recovery | None:
        """The recovery that has not come to its end, or None."""
        row = await self.pool.fetchrow("SELECT began_at, cases, sla FROM notifier.recovery")
        return None if row is None else Recovery(*row)

    async def end_recovery(self, now: Instant) -> None:
        """Both logs are folded beyond where they ended, and what was due then is let go: from now on all is new."""
        async with self.writing(now) as work:
            await work.end_recovery()
        self.recovery = None

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
            for group in await gathering.grouped(work, notices):
                if len(group) == 1 or work.doubtful(group) or not await gathering.say_as_one(work, group, views):
                    for row in group:
                        await work.plan(row, views[row["tenant"], row["case_id"]])
            await failpoint("release.after_messages")
            await store.release(work)
        return await self.next_release()

    async def next_release(self) -> Instant | None:
        """The earliest instant at which something held is to be let go."""
        found: Instant | None = await self.pool.fetchval(
            "SELECT least(next_release, (SELECT next_overdue FROM read.tasks_overdue)) FROM read.notifier"
        )
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

    def __init__(
        self,
        connection: asyncpg.Connection,
        tenants: Mapping[str, Tenant],
        paces: Mapping[str, Pace],
        now: Instant,
        recovery: Recovery | None = None,
    ) -> None:
        self.connection = connection
        self.now = now
        self._paces = paces
        self._recovery = recovery
        self._tenants = tenants
        self._events: dict[int, list[tuple[str, str, bytes]]] = defaultdict(list)
        self._tellings: list[tuple[str, str, bytes]] = []

    async def close(self, outbox: Outbox) -> None:
        """Writes what was gathered. Lanes in order."""
        if self._recovery is not None:
            await self._leave_out_what_was_told()
        await failpoint("ledger.after_states")
        if self._tellings:
            await self.connection.executemany(
                "INSERT INTO notifier.tellings (key, subject, body) VALUES ($1, $2, $3)", self._tellings
            )
            await failpoint("ledger.after_tellings")
        for lane in sorted(self._events):
            await outbox.append(self.connection, lane, [event[1:] for event in self._events[lane]])

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

    async def goes_live(self, fact: Event) -> None:
        """Keeps since when a tenant is live: the first charter that its log enacts says so."""
        live = instants.instant(fact.data.get("go_live") or fact.time)
        await self.connection.execute(
            "INSERT INTO notifier.tenants (tenant, live_since) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            fact.tenant,
            live,
        )

    async def live_since(self) -> dict[str, Instant]:
        """Since when each tenant is live."""
        rows = await self.connection.fetch("SELECT tenant, live_since FROM notifier.tenants")
        return {row["tenant"]: row["live_since"] for row in rows}

    async def describe_staff(self, fact: Event) -> None:
        """Keeps of a member of staff what is not personal."""
        await self.connection.execute(
            "INSERT INTO notifier.staff (tenant, staff, department, has_email, superior, head) "
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, staff) DO UPDATE SET department = "
            "excluded.department, has_email = excluded.has_email, superior = excluded.superior, head = excluded.head",
            fact.tenant,
            fact.data["staff"],
            fact.data["department"],
            bool(fact.data.get("has_email")),
            fact.data.get("superior"),
            bool(fact.data.get("head")),
        )

    async def staff(self, tenant: str, staff: str | None) -> asyncpg.Record | None:
        """What is known of a member of staff, or None."""
        return await self.connection.fetchrow(
            "SELECT * FROM notifier.staff WHERE tenant = $1 AND staff = $2", tenant, staff
        )

    async def staffs(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], asyncpg.Record]:
        """What is known of many, by tenant and id; who is not known is left out."""
        rows = await self.connection.fetch(
            "SELECT s.* FROM unnest($1::text[], $2::text[]) AS wanted (tenant, staff) "
            "JOIN notifier.staff s USING (tenant, staff)",
            [tenant for tenant, _ in wanted],
            [staff for _, staff in wanted],
        )
        return {(row["tenant"], row["staff"]): row for row in rows}

    async def _on_rung(self, row: asyncpg.Record, view: CaseView) -> str | None:
        """The member of staff who is told: whoever stands on the rung, or above it where nobody there has mail."""
        tenant, officer = row["tenant"], await self.staff(row["tenant"], view.officer)
        for rung in RUNGS[RUNGS.index(row["rung"]) :]:
            found = None
            if rung == "officer":
                found = officer
            elif rung == "audit":
                found = await self.staff(tenant, self._tenants[tenant].messages.audit)
            elif officer is not None and officer["superior"]:
                found = await self.staff(tenant, officer["superior"])
            else:
                found = await self._head_of(tenant, view.department or (officer["department"] if officer else None))
            if found is not None and found["has_email"]:
                name: str = found["staff"]
                return name
        return None

    async def _head_of(self, tenant: str, department: str | None) -> asyncpg.Record | None:
        return await self.connection.fetchrow(
            "SELECT * FROM notifier.staff WHERE tenant = $1 AND department = $2 AND head "
            "ORDER BY has_email DESC, staff LIMIT 1",
            tenant,
            department,
        )

    # Messages

    async def want(self, notice: Notice, event: Event, view: CaseView) -> None:
        """A message is wanted; a key that is known already changes nothing, but for one restored from NOTICES, which
        does not say what it was about."""
        if notice.once and await self._stands(notice, event):
            return
        tenant = self._tenants[event.tenant]
        language = (view.language if notice.audience == "citizen" else None) or tenant.language
        hold = notice.hold_until
        if hold is not None and notice.after_hours:
            hold = self._paces[event.tenant].after_working_hours(hold, notice.after_hours)
        row = await self.connection.fetchrow(
            "INSERT INTO notifier.notices (key, tenant, case_id, audience, recipient, template, version, "
            "language, arguments, promise, topic, cause, state, release_at, wanted_at, rung, only_by, bundle) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'held', $13, $14, $15, $16, $17) "
            "ON CONFLICT (key) DO UPDATE SET topic = excluded.topic, arguments = excluded.arguments, "
            "audience = excluded.audience, rung = excluded.rung, only_by = excluded.only_by, bundle = excluded.bundle "
            "WHERE notices.topic = '' RETURNING *",
            notice.key,
            event.tenant,
            event.case,
            notice.audience,
            view.subject_ref if notice.audience == "citizen" else None,
            notice.template,
            texts.catalogue(language).version,
            language,
            json.dumps(dict(notice.arguments)),
            notice.promise,
            notice.topic,
            json.dumps(notice.cause),
            hold,
            self.now if self._recovery is None else min(self.now, instants.instant(event.time) - AHEAD),
            notice.rung,
            notice.only_by,
            notice.bundle,
        )
        if row is not None and row["state"] == "held" and hold is None:
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
        """Chooses the means of a message that may go out, as the case is now, or until when it has to wait; settles it
        where there is nobody or no means.
        """
        if row["template"] == "escalation_unanswered" and view.ended:
            await self.settle(row, "suppressed", "closed")
            return
        if row["audience"] == "officer" and not (row["template"] == gathering.OFFICER_DIGEST and row["recipient"]):
            row = await self._addressed(row, await self._on_rung(row, view))
        tried = await self.connection.fetch(
            "SELECT means FROM notifier.attempts WHERE key = $1 AND outcome IN ('rejected', 'gave_up', 'undelivered')",
            row["key"],
        )
        wanted = self._means(row, view)
        left = [means for means in wanted if means not in {attempt["means"] for attempt in tried}]
        if left:
            await self._let_go(row, left[0])
        elif row["audience"] == "officer" and row["recipient"] is None:
            await self.settle(row, "failed", "nobody")
            get_logger().error(
                "nobody_to_escalate_to",
                tenant=row["tenant"],
                case=row["case_id"],
                key=row["key"],
                template=row["template"],
            )
        elif row["audience"] == "citizen" and view.notify_by == "none":
            await self.settle(row, "suppressed", "not_wanted")
        else:
            why = "undelivered" if row["returned"] else "refused" if tried else "no_means"
            posted = row["audience"] == "citizen" and not row["only_by"] and await self._post(row, view)
            await self.settle(row, "failed", BY_POST if posted else why)

    async def _addressed(self, row: asyncpg.Record, staff: str | None) -> asyncpg.Record:
        addressed = await self.connection.fetchrow(
            "UPDATE notifier.notices SET recipient = $2 WHERE key = $1 RETURNING *", row["key"], staff
        )
        assert addressed is not None
        return addressed

    async def _let_go(self, row: asyncpg.Record, means: str) -> None:
        """Gives a message to the courier of a means, or lets it wait for morning or for a digest."""
        wait, doubted = None, self._may_have_gone(row)
        if doubted:
            wait = self._waits_still(row)
            doubted = wait is None
        elif not row["attempts"]:
            wait = await self._wait(row)
        planned = await self.connection.fetchrow(
            "UPDATE notifier.notices SET state = $2, means = $3, gathers = $4, release_at = coalesce($5, release_at), "
            "let_go_at = $6 WHERE key = $1 RETURNING *",
            row["key"],
            "pending" if wait is None else "held",
            means,
            row["gathers"] if wait is None else wait.gathers,
            None if wait is None else wait.until,
            self.now if wait is None else None,
        )
        assert planned is not None
        if doubted:
            await self.doubt(planned)

    def _waits_still(self, row: asyncpg.Record) -> Wait | None:
        """What a message waited for already when the ledger was lost, so that it cannot have gone. The earliest time
        at which it can have begun to wait says so; who began later waits for the same or longer."""
        then = row["wanted_at"] if row["release_at"] is None else row["release_at"]
        wait = self._usual_wait(row, then)
        assert self._recovery is not None
        return wait if wait is not None and wait.until > self._recovery.began_at else None

    def _usual_wait(self, row: asyncpg.Record, now: Instant) -> Wait | None:
        """What a message waits for, however many others there were; what has waited for a digest goes."""
        pace = self._paces[row["tenant"]]
        if row["gathers"] or row["template"] == gathering.OFFICER_DIGEST:
            return None
        if row["audience"] == "officer":
            return pace.for_officer(row["template"], json.loads(row["arguments"]).get("due"), now)
        return pace.for_citizen(row["template"], now)

    async def _wait(self, row: asyncpg.Record) -> Wait | None:
        """What a message waits for now."""
        pace = self._paces[row["tenant"]]
        if row["gathers"] or row["audience"] == "officer" or pace.cap(row["template"]) is None:
            return self._usual_wait(row, self.now)
        today = await self.connection.fetchval(
            "SELECT count(*) FROM notifier.notices WHERE tenant = $1 AND recipient = ANY($2::text[]) "
            "AND let_go_at >= $3 AND state IN ('pending', 'sending', 'sent', 'unknown')",
            row["tenant"],
            await references_of_same(self.connection, row["tenant"], row["recipient"]),
            pace.midnight(self.now),
        )
        return pace.for_citizen(row["template"], self.now, today)

    def _means(self, row: asyncpg.Record, view: CaseView) -> list[str]:
        if row["audience"] == "officer":
            return ["email"] if row["recipient"] is not None else []
        order = {"email": ["email", "sms"], "post": [], "none": []}.get(view.notify_by or "", ["sms", "email"])
        if row["only_by"] is not None:
            order = [] if view.notify_by == "none" else [row["only_by"]]
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
        for key in sorted({row["part_of"] for row in rows} - {None}):
            rows += await gathering.take_out(self, key, retraction.outcome)
        if retraction.correction is None:
            return
        for row in rows:
            if row["reason"] == BY_POST:
                withdrawal = TaskWithdrawal(key_of(row["key"], POST_LETTER), retraction.correction.cause)
                await store.withdraw(self, withdrawal, event)
        if any(row["state"] in gathering.GONE for row in rows):
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

    async def settle_sent(self, keys: Sequence[str], code: str) -> None:
        """Messages that a gateway took with the same code."""
        settled = await self.connection.fetch(
            "UPDATE notifier.notices SET state = 'sent', reason = $2, settled_at = $3 WHERE key = ANY($1::text[]) "
            "RETURNING *",
            list(keys),
            code,
            self.now,
        )
        for row in sorted(settled, key=lambda row: int(row["number"])):
            self.tell_result(row, "sent", code)

    async def _post(self, row: asyncpg.Record, view: CaseView) -> bool:
        """Somebody is to write a letter, where an address is known; False where none is."""
        if not view.has_address:
            return False
        cause = json.loads(row["cause"])
        task = Task(
            key=key_of(row["key"], POST_LETTER),
            incident=row["key"],
            clause="",
            task=POST_LETTER,
            cause=cause,
            promise=row["promise"],
            officer=view.officer,
        )
        event = Event(cause["id"], cause["source"], "", "", {}, row["tenant"], row["case_id"])
        await store.assign(self, task, event, view)
        return True

    async def learn(self, key: str, attempt: int, found: Found, code: str) -> None:
        """What became of an attempt that a gateway took, as it says: the message arrived, or it will not and the next
        means is tried. What contradicts an end that is known already changes nothing."""
        ended = await self.connection.fetchrow(
            "UPDATE notifier.attempts SET outcome = $3, code = $4, ended_at = $5, ask_at = NULL "
            "WHERE key = $1 AND number = $2 AND outcome IN ('accepted', 'unanswered', 'not_taken') RETURNING means",
            key,
            attempt,
            found.value,
            code,
            self.now,
        )
        row = await self.connection.fetchrow("SELECT * FROM notifier.notices WHERE key = $1", key)
        if ended is None or row is None or (row["attempts"], row["means"]) != (attempt, ended["means"]):
            return
        if row["state"] in ("unknown", "pending"):  # its answer was lost; now it is known to have been taken
            await self.settle(row, "sent", code)
        elif row["state"] != "sent":
            return
        if found is Found.DELIVERED:
            self._tell_notice(row, "notice.delivered", "delivered", code)
            return
        row = await self.connection.fetchrow(
            "UPDATE notifier.notices SET returned = returned + 1 WHERE key = $1 RETURNING *", key
        )
        assert row is not None
        if row["retracted"]:  # nobody needs it any more
            await self.settle(row, "failed", "retracted")
            return
        await self.plan(row, (await self.views([(row["tenant"], row["case_id"])]))[row["tenant"], row["case_id"]])
        if await self.connection.fetchval("SELECT state FROM notifier.notices WHERE key = $1", key) == "pending":
            self._tell_notice(row, "notice.failed", f"returned-{attempt}", RETURNED)

    async def ask_later(self, key: str, attempt: int, ask_at: Instant | None) -> None:
        """When the gateway is to be asked what became of an attempt; None: no more."""
        await self.connection.execute(
            "UPDATE notifier.attempts SET ask_at = $3, asked = asked + 1 WHERE key = $1 AND number = $2",
            key,
            attempt,
            ask_at,
        )

    async def begin_attempts(self, keys: Sequence[str], gateway: str) -> list[asyncpg.Record]:
        """Attempts are about to be made at these messages; their rows as of now, in order. One by a means of which an
        earlier one had no answer is a repetition."""
        started = await self.connection.fetch(
            "UPDATE notifier.notices SET state = 'sending', attempts = attempts + 1 WHERE key = ANY($1::text[]) "
            "RETURNING *",
            list(keys),
        )
        await self.connection.execute(
            "INSERT INTO notifier.attempts (key, number, means, gateway, repeated, started_at) "
            "SELECT n.key, n.attempts, n.means, $2, EXISTS (SELECT 1 FROM notifier.attempts a "
            "WHERE a.key = n.key AND a.means = n.means AND a.outcome = 'unanswered'), $3 "
            "FROM notifier.notices n WHERE n.key = ANY($1::text[])",
            list(keys),
            gateway,
            self.now,
        )
        return sorted(started, key=lambda row: int(row["number"]))

    async def end_taken(self, taken: Sequence[tuple[str, int, str, str | None, Instant | None]]) -> None:
        """Attempts that a gateway took: key, number, its code, its name for the message, and when to ask after it."""
        await self.connection.executemany(
            "UPDATE notifier.attempts SET outcome = 'accepted', code = $3, ref = $4, ask_at = $5, ended_at = $6 "
            "WHERE key = $1 AND number = $2",
            [(*one, self.now) for one in taken],
        )

    async def still_unknown(self, row: asyncpg.Record) -> asyncpg.Record | None:
        """The row of a message as of now; None where something was learned of it since it was read."""
        return await self.connection.fetchrow(
            "SELECT * FROM notifier.notices WHERE key = $1 AND state = 'unknown' AND attempts = $2",
            row["key"],
            row["attempts"],
        )

    async def mark(self, row: asyncpg.Record, state: str) -> None:
        """A message is in another state, of which nobody is told."""
        await self.connection.execute("UPDATE notifier.notices SET state = $2 WHERE key = $1", row["key"], state)

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
        if row["returned"] and state != "unknown":  # it was told as sent before, and came back
            suffix = f"{state}-{row['returned']}"
        self._tell_notice(row, f"notice.{state}", suffix, outcome)

    def _tell_notice(self, row: asyncpg.Record, type: str, suffix: str, outcome: str) -> None:
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
            "into": row["part_of"],
        }
        self.tell(row, type, f"{row['key']}-{suffix}", data)

    def zone(self, tenant: str) -> ZoneInfo:
        """The time zone of a tenant."""
        return self._tenants[tenant].zone

    # Recovery

    async def begin_recovery(self, recovery: Recovery) -> None:
        """From here on, what becomes due is unknown; what was still waiting to go out is, too."""
        self._recovery = recovery
        await self.connection.execute("INSERT INTO notifier.recovery VALUES (true, $1, $2, $3)", *recovery)
        for row in await self.connection.fetch("SELECT * FROM notifier.notices WHERE state = 'pending'"):
            await self.doubt(row)
        # Stands for attempts of which nothing is known any more; the next one is marked as a repetition by it.
        await self.connection.execute(f"{_UNANSWERED} ON CONFLICT DO NOTHING")

    async def restore(self, results: Sequence[Result]) -> None:
        """Results that NOTICES tells, in their order, into a ledger that does not know them. One that came back is due
        again, by another means."""
        await self.connection.executemany(
            "INSERT INTO notifier.notices AS n (tenant, case_id, state, key, audience, recipient, template, version, "
            "language, arguments, promise, topic, cause, means, reason, attempts, wanted_at, settled_at, release_at, "
            "part_of, let_go_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '{}', $10, '', $11, $12, $13, $14, $15, $16, $17, $18, $15) "
            "ON CONFLICT (key) DO UPDATE SET means = excluded.means, state = excluded.state, reason = excluded.reason, "
            "attempts = excluded.attempts, settled_at = excluded.settled_at, part_of = excluded.part_of, "
            "release_at = coalesce(excluded.release_at, n.release_at), returned = n.returned + "
            "CASE WHEN n.state = 'sent' AND excluded.state IN ('failed', 'held') THEN 1 ELSE 0 END "
            "WHERE n.state NOT IN ('sent', 'failed', 'suppressed') "
            "OR (n.state = 'sent' AND excluded.state IN ('failed', 'held'))",
            [
                (
                    *(one.tenant, one.case, one.state, one.data["key"]),
                    "officer" if "staff" in one.data else "citizen",
                    one.data.get("staff") or one.data.get("subject_ref"),
                    *(one.data["template"], int(one.data["version"]), one.data["language"], one.data.get("promise")),
                    *(json.dumps(one.data.get("cause") or {}), one.data.get("means"), one.data.get("outcome")),
                    *(one.data.get("attempt") or 0, one.at, None if one.state in ("unknown", "held") else one.at),
                    *(one.at if one.state == "held" else None, one.data.get("into")),
                )
                for one in results
            ],
        )
        await self.connection.executemany(
            "INSERT INTO notifier.attempts (key, number, means, repeated, started_at, outcome, code, ended_at) "
            "VALUES ($1, $2, $3, false, $4, 'undelivered', 'returned', $4) "
            "ON CONFLICT (key, number) DO UPDATE SET outcome = excluded.outcome",
            [
                (one.data["key"], one.data["attempt"], one.data["means"], one.at)
                for one in results
                if one.state == "held"
            ],
        )

    async def restore_letters(self, letters: Sequence[Result]) -> None:
        """Messages that went by post, as NOTICES tells: no decision brings their tasks anew."""
        await self.connection.executemany(
            "INSERT INTO notifier.tasks (key, tenant, case_id, incident, clause, task, promise, officer, cause, state, "
            "revision, wanted_at) VALUES ($1, $2, $3, $4, '', $5, $6, $7, $8, 'assigned', 1, $9) "
            "ON CONFLICT DO NOTHING",
            [
                (
                    *(one.data["key"], one.tenant, one.case, one.data["incident"], POST_LETTER),
                    *(one.data.get("promise"), one.data.get("assignee"), json.dumps(one.data["cause"]), one.at),
                )
                for one in letters
            ],
        )

    async def end_recovery(self) -> None:
        """What nobody wants any more cannot be written anew."""
        await gathering.restore(self)
        for row in await self.connection.fetch(
            "SELECT * FROM notifier.notices WHERE topic = '' AND state = 'unknown' ORDER BY number"
        ):
            await self.settle(row, "failed", "ledger_lost")
        await self.connection.execute("DELETE FROM notifier.recovery")
        await self.connection.execute("DELETE FROM notifier.told")

    async def was_told(self, id: str) -> bool:
        """Whether NOTICES held an event already when a lost ledger began to be worked out anew."""
        if self._recovery is None:
            return False
        return bool(await self.connection.fetchval("SELECT 1 FROM notifier.told WHERE id = $1", id))

    def folds(self, log: str, old: Position) -> None:
        """This transaction folds a log from a position on. What it held when the ledger was lost is no news."""
        if self._recovery is not None:
            lost_at = self._recovery.cases if log == "CASES" else self._recovery.sla
            self._recovery = self._recovery if old.sequence < lost_at else None

    def _may_have_gone(self, row: asyncpg.Record) -> bool:
        """Whether a message that becomes due may have been sent before the ledger was lost."""
        if self._recovery is None or (row["attempts"] and not row["returned"]):
            return False
        return row["release_at"] is None or row["release_at"] <= self._recovery.began_at

    def doubtful(self, rows: Sequence[asyncpg.Record]) -> bool:
        """Whether any of these may have been sent before the ledger was lost: then each is asked after by itself."""
        return any(self._may_have_gone(row) for row in rows)

    async def doubt(self, row: asyncpg.Record) -> None:
        """A message of which nobody knows any more whether it was attempted."""
        doubted = await self.connection.fetchrow(
            "UPDATE notifier.notices SET state = 'unknown', attempts = attempts + 1 WHERE key = $1 RETURNING *",
            row["key"],
        )
        assert doubted is not None
        await self.connection.execute(f"{_UNANSWERED} AND key = $1", row["key"])
        self.tell_result(doubted, "unknown", "ledger_lost")

    async def _leave_out_what_was_told(self) -> None:
        ids = [event[0] for events in self._events.values() for event in events]
        ids += [key for key, _, _ in self._tellings]
        rows = await self.connection.fetch("SELECT id FROM notifier.told WHERE id = ANY($1::text[])", ids)
        told = {row["id"] for row in rows}
        for lane, events in self._events.items():
            self._events[lane] = [event for event in events if event[0] not in told]
        self._tellings = [telling for telling in self._tellings if telling[0] not in told]

    # What others are told

    def tell_publisher(self, telling: Telling, event: Event) -> None:
        """Something for RECEIPTS. What is older than it keeps is not told again after a loss."""
        if self._recovery is not None and instants.instant(event.time) < self.now - RECEIPTS_KEPT:
            return
        self._tellings.append((telling.key, telling.subject, telling.body))

    def tell(self, row: asyncpg.Record, type: str, id: str, data: Mapping[str, Any]) -> None:
        """An event of the row's case on NOTICES; absent values are left out."""
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
        self._events[lane].append((id, notices_subject(lane, tenant, type), msgspec.json.encode(event)))
