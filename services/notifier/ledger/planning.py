"""By which means a message can go, and until when it waits.

The one rule: a message waits, a decision never does; and what may have gone before the ledger was lost waits for
nothing but the answer of its gateway.
"""

import json
from collections.abc import Sequence

from services.chassis.vault.people import references_of_same
from services.notifier import gathering
from services.notifier.ledger.cases import Cases
from services.notifier.ledger.results import Results
from services.notifier.ledger.transaction import Row
from services.notifier.notices import CaseView
from services.notifier.pacing import Wait
from services.rules.instants import Instant


class Planning(Cases, Results):
    """Messages on their way to a courier."""

    async def addressed(self, row: Row, staff: str | None) -> Row:
        """The row of a message for staff, with whom it is for."""
        addressed = await self.connection.fetchrow(
            "UPDATE notifier.notices SET recipient = $2 WHERE key = $1 RETURNING *", row["key"], staff
        )
        assert addressed is not None
        return addressed

    async def let_go(self, row: Row, means: str) -> None:
        """Gives a message to the courier of a means, or lets it wait for morning or for a digest."""
        wait, doubted = None, self.may_have_gone(row)
        if doubted:
            wait = await self._waits_still(row)
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

    async def _waits_still(self, row: Row) -> Wait | None:
        """What a message waited for already when the ledger was lost, so that it cannot have gone. The earliest time
        at which it can have begun to wait says so; who began later waits for the same or longer."""
        assert self.recovery is not None
        then, began_at = row["wanted_at"] if row["release_at"] is None else row["release_at"], self.recovery.began_at
        wait = self._usual_wait(row, then)
        pace = self.paces[row["tenant"]]
        if wait is None and self._is_capped(row) and pace.midnight(then) == pace.midnight(began_at):
            # What is known to have been sent by then counted, and a day's count only grows.
            wait = pace.for_citizen(row["template"], then, await self._gone_since_midnight(row, then, ("sent",)))
        return wait if wait is not None and wait.until > began_at else None

    def _usual_wait(self, row: Row, now: Instant) -> Wait | None:
        """What a message waits for, however many others there were; what has waited for a digest goes."""
        pace = self.paces[row["tenant"]]
        if row["gathers"] or row["template"] == gathering.OFFICER_DIGEST:
            return None
        if row["audience"] == "officer":
            return pace.for_officer(row["template"], json.loads(row["arguments"]).get("due"), now)
        return pace.for_citizen(row["template"], now)

    async def _wait(self, row: Row) -> Wait | None:
        """What a message waits for now."""
        if not self._is_capped(row):
            return self._usual_wait(row, self.now)
        today = await self._gone_since_midnight(row, self.now, ("pending", *gathering.GONE))
        return self.paces[row["tenant"]].for_citizen(row["template"], self.now, today)

    def _is_capped(self, row: Row) -> bool:
        """Whether so many others in a day make it wait."""
        capped = row["audience"] == "citizen" and self.paces[row["tenant"]].cap(row["template"]) is not None
        return capped and not row["gathers"]

    async def _gone_since_midnight(self, row: Row, until: Instant, states: Sequence[str]) -> int:
        """How many messages to its recipient, now in these states, were let go on the day of an instant up to then."""
        gone: int = await self.connection.fetchval(
            "SELECT count(*) FROM notifier.notices WHERE tenant = $1 AND recipient = ANY($2::text[]) "
            "AND let_go_at >= $3 AND let_go_at <= $4 AND state = ANY($5::text[])",
            row["tenant"],
            await references_of_same(self.connection, row["tenant"], row["recipient"]),
            self.paces[row["tenant"]].midnight(until),
            until,
            list(states),
        )
        return gone

    def means_to(self, row: Row, view: CaseView) -> list[str]:
        """The means by which whom it is for can be reached, as wished first."""
        if row["audience"] == "officer":
            return ["email"] if row["recipient"] is not None else []
        order = {"email": ["email", "sms"], "post": [], "none": []}.get(view.notify_by or "", ["sms", "email"])
        if row["only_by"] is not None:
            order = [] if view.notify_by == "none" else [row["only_by"]]
        known = {"sms": view.has_mobile, "email": view.has_email}
        return [means for means in order if known[means]]
