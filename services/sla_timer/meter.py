"""What the folders of a process tell of what they have folded: numbers for /metrics, and lines in the log.

The one rule: ids, types and counts alone, and only of what is committed.
"""

from collections import Counter as TallyCounter
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from services.chassis import logs
from services.chassis.health import Counter
from services.sla_timer.batch import Batch, Read

BATCH_LINES = 10
"""Up to so many events a batch leaves a line in the log for each."""


class Meter:
    """The counters of a process, and its lines."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter("gihan_folded_events", "Events of CASES folded.", registry=registry)
        self.decisions = Counter("gihan_decisions", "Decisions by kind.", ["kind"], registry=registry)

    def folded(self, partition: int, batch: Batch, run: Sequence[Read]) -> None:
        """Counts what a batch has folded, and leaves a line for each event; a backlog leaves one for each batch."""
        self.events.inc(len(run))
        for kind, number in TallyCounter(row.kind for row in batch.rows).items():
            self.decisions.labels(kind).inc(number)
        if len(run) > BATCH_LINES:
            logs.canonical(
                "folded_batch",
                partition=partition,
                sequence=batch.after.sequence,
                events=len(run),
                decisions=len(batch.rows),
            )
            return
        decided = TallyCounter(row.cause_sequence for row in batch.rows)
        for entry, event in run:
            logs.canonical(
                "folded",
                partition=partition,
                sequence=entry.sequence,
                type=event.type,
                tenant=event.tenant or None,
                case=event.case_id or None,
                source=event.source,
                id=event.id,
                decisions=decided[entry.sequence],
            )
