"""What one transaction writes: messages as they are wanted, planned, taken back, and come back.

The one rule: a key is wanted once. Means and recipient are chosen as the case is when a message goes; where there is
none, or nobody, that is an end of its own which is told, never silence. What is retracted before it went is never sent;
after that a correction follows.
"""

import json

from services.chassis.logs import get_logger
from services.notifier import gathering, texts
from services.notifier.gateways import Found
from services.notifier.ledger.planning import Planning
from services.notifier.ledger.transaction import CaseKey, Row
from services.notifier.notices import CaseView, Event, Notice, Retraction, Task, TaskWithdrawal, key_of
from services.notifier.tasks import store
from services.rules import instants

AHEAD = 5 * instants.MINUTE
"""So far may the time of a fact lie ahead of our clock (the contract of events)."""
POST_LETTER = "post_letter"
"""The task of a message that goes by post."""
BY_POST = "by_post"
"""Why a message failed for which there is such a task."""
RETURNED = "returned"
"""Why a message failed by one means, while the next one is tried."""


class Work(Planning):
    """What one transaction writes."""

    async def want(self, notice: Notice, event: Event, view: CaseView) -> None:
        """A message is wanted; a key that is known already changes nothing, but for one restored from NOTICES, which
        does not say what it was about."""
        if notice.once and await self._stands(notice, event):
            return
        tenant = self.tenants[event.tenant]
        language = (view.language if notice.audience == "citizen" else None) or tenant.language
        hold = notice.hold_until
        if hold is not None and notice.after_hours:
            hold = self.paces[event.tenant].after_working_hours(hold, notice.after_hours)
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
            self.now if self.recovery is None else min(self.now, instants.instant(event.time) - AHEAD),
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

    async def plan(self, row: Row, view: CaseView) -> None:
        """Chooses the means of a message that may go out, as the case is now, or until when it has to wait; settles it
        where there is nobody or no means.
        """
        if row["template"] == "escalation_unanswered" and view.ended:
            await self.settle(row, "suppressed", "closed")
            return
        if row["audience"] == "officer" and not (row["template"] == gathering.OFFICER_DIGEST and row["recipient"]):
            row = await self.addressed(row, await self.on_rung(row, view))
        tried = await self.connection.fetch(
            "SELECT means FROM notifier.attempts WHERE key = $1 AND outcome IN ('rejected', 'gave_up', 'undelivered')",
            row["key"],
        )
        wanted = self.means_to(row, view)
        left = [means for means in wanted if means not in {attempt["means"] for attempt in tried}]
        if left:
            await self.let_go(row, left[0])
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
        if retraction.unless_paid is not None and await self._is_paid(retraction.unless_paid):
            return
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

    async def _is_paid(self, key: str) -> bool:
        state = await self.connection.fetchval("SELECT state FROM notifier.tasks WHERE key = $1", key)
        return state in ("issued", "acknowledged", "kept")

    async def _post(self, row: Row, view: CaseView) -> bool:
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
            self.tell_notice(row, "notice.delivered", "delivered", code)
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
            self.tell_notice(row, "notice.failed", f"returned-{attempt}", RETURNED)
