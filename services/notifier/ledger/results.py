"""How far a message has come: its attempts, its ends, and the doubt about what a lost ledger may have sent.

The one rule: whatever changes what is known of a message is told on NOTICES by the same transaction.
"""

import json
from collections.abc import Sequence

from services.notifier.ledger.transaction import Row, Transaction
from services.rules.instants import Instant

UNANSWERED = (
    "INSERT INTO notifier.attempts (key, number, means, repeated, started_at, outcome, code) "
    "SELECT key, attempts, means, false, wanted_at, 'unanswered', 'ledger_lost' FROM notifier.notices "
    "WHERE state = 'unknown'"
)
"""Stands for attempts of which nothing is known any more; the next one is marked as a repetition by it."""


class Results(Transaction):
    """The states of messages and the rows of attempts."""

    async def settle(self, row: Row, state: str, outcome: str) -> None:
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

    async def mark(self, row: Row, state: str) -> None:
        """A message is in another state, of which nobody is told."""
        await self.connection.execute("UPDATE notifier.notices SET state = $2 WHERE key = $1", row["key"], state)

    async def begin_attempts(self, keys: Sequence[str], gateway: str) -> list[Row]:
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

    async def end_attempt(self, row: Row, outcome: str, code: str) -> None:
        """Writes what came of the last attempt."""
        await self.connection.execute(
            "UPDATE notifier.attempts SET outcome = $3, code = $4, ended_at = $5 WHERE key = $1 AND number = $2",
            row["key"],
            row["attempts"],
            outcome,
            code,
            self.now,
        )

    async def ask_later(self, key: str, attempt: int, ask_at: Instant | None) -> None:
        """When the gateway is to be asked what became of an attempt; None: no more."""
        await self.connection.execute(
            "UPDATE notifier.attempts SET ask_at = $3, asked = asked + 1 WHERE key = $1 AND number = $2",
            key,
            attempt,
            ask_at,
        )

    async def still_unknown(self, row: Row) -> Row | None:
        """The row of a message as of now; None where something was learned of it since it was read."""
        return await self.connection.fetchrow(
            "SELECT * FROM notifier.notices WHERE key = $1 AND state = 'unknown' AND attempts = $2",
            row["key"],
            row["attempts"],
        )

    def may_have_gone(self, row: Row) -> bool:
        """Whether a message that becomes due may have been sent before the ledger was lost."""
        if self.recovery is None or (row["attempts"] and not row["returned"]):
            return False
        return row["release_at"] is None or row["release_at"] <= self.recovery.began_at

    def doubtful(self, rows: Sequence[Row]) -> bool:
        """Whether any of these may have been sent before the ledger was lost: then each is asked after by itself."""
        return any(self.may_have_gone(row) for row in rows)

    async def doubt(self, row: Row) -> None:
        """A message of which nobody knows any more whether it was attempted."""
        doubted = await self.connection.fetchrow(
            "UPDATE notifier.notices SET state = 'unknown', attempts = attempts + 1 WHERE key = $1 RETURNING *",
            row["key"],
        )
        assert doubted is not None
        await self.connection.execute(f"{UNANSWERED} AND key = $1", row["key"])
        self.tell_result(doubted, "unknown", "ledger_lost")

    def tell_result(self, row: Row, state: str, outcome: str) -> None:
        """A result of a message on NOTICES."""
        suffix = f"unknown-{row['attempts']}" if state == "unknown" else state
        if row["returned"] and state != "unknown":  # it was told as sent before, and came back
            suffix = f"{state}-{row['returned']}"
        self.tell_notice(row, f"notice.{state}", suffix, outcome)

    def tell_notice(self, row: Row, type: str, suffix: str, outcome: str) -> None:
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
