"""What every part of a transaction stands on: where a log is folded to, and what others are told.

The one rule: what is told is gathered and written at the end of the same transaction, in the order in which it was
said; what NOTICES told before the ledger was lost is left out.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
import msgspec

from contracts.streams import STREAMS, notices_subject, partition
from services.chassis.failpoints import failpoint
from services.chassis.logs import OperatorError
from services.chassis.outbox import Outbox
from services.notifier.notices import Event, Telling
from services.notifier.pacing import Pace
from services.rules import instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant

NOTIFIER = "gihan/notifier"
RECEIPTS_KEPT = next(s.max_age_seconds for s in STREAMS if s.name == "RECEIPTS") * instants.SECOND

CaseKey = tuple[str, str]
Row = asyncpg.Record


class Position(NamedTuple):
    """How far a log is folded: the sequence, the stream's own id, and the SHA-256 of the entry there."""

    sequence: int
    stream_id: str | None
    digest: bytes | None


class Recovery(NamedTuple):
    """A lost ledger that is being worked out anew: when it began by the clock, and where CASES and SLA ended then."""

    began_at: Instant
    cases: int
    sla: int


class Fenced(OperatorError):
    """Another notifier has taken over."""


class Transaction:
    """What one transaction reads and writes; `recovery` is set while it works out anew what was lost."""

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
        self.paces = paces
        self.recovery = recovery
        self.tenants = tenants
        self._events: dict[int, list[tuple[str, str, bytes]]] = defaultdict(list)
        self._tellings: list[tuple[str, str, bytes]] = []

    async def close(self, outbox: Outbox) -> None:
        """Writes what was gathered. Lanes in order."""
        if self.recovery is not None:
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

    def zone(self, tenant: str) -> ZoneInfo:
        """The time zone of a tenant."""
        return self.tenants[tenant].zone

    async def was_told(self, id: str) -> bool:
        """Whether NOTICES held an event already when a lost ledger began to be worked out anew."""
        if self.recovery is None:
            return False
        return bool(await self.connection.fetchval("SELECT 1 FROM notifier.told WHERE id = $1", id))

    def folds(self, log: str, old: Position) -> None:
        """This transaction folds a log from a position on. What it held when the ledger was lost is no news."""
        if self.recovery is not None:
            lost_at = self.recovery.cases if log == "CASES" else self.recovery.sla
            self.recovery = self.recovery if old.sequence < lost_at else None

    async def _leave_out_what_was_told(self) -> None:
        ids = [event[0] for events in self._events.values() for event in events]
        ids += [key for key, _, _ in self._tellings]
        rows = await self.connection.fetch("SELECT id FROM notifier.told WHERE id = ANY($1::text[])", ids)
        told = {row["id"] for row in rows}
        for lane, events in self._events.items():
            self._events[lane] = [event for event in events if event[0] not in told]
        self._tellings = [telling for telling in self._tellings if telling[0] not in told]

    def tell_publisher(self, telling: Telling, event: Event) -> None:
        """Something for RECEIPTS. What is older than it keeps is not told again after a loss."""
        if self.recovery is not None and instants.instant(event.time) < self.now - RECEIPTS_KEPT:
            return
        self._tellings.append((telling.key, telling.subject, telling.body))

    def tell(self, row: Row, type: str, id: str, data: Mapping[str, Any]) -> None:
        """An event of the row's case on NOTICES; absent values are left out."""
        tenant, case = row["tenant"], row["case_id"]
        lane = partition(tenant, case)
        event = {
            "specversion": "1.0",
            "id": id,
            "source": NOTIFIER,
            "type": type,
            "subject": case,
            "time": instants.text(self.now, self.tenants[tenant].zone),
            "tenant": tenant,
            "case": case,
            "data": {name: value for name, value in data.items() if value is not None},
        }
        self._events[lane].append((id, notices_subject(lane, tenant, type), msgspec.json.encode(event)))
