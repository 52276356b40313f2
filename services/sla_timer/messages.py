"""What sla_timer writes to the log: decisions and ticks as CloudEvents.

The one rule: bytes follow from the decision and its number alone, so that a replay writes the same.
"""

from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from contracts.streams import sla_subject
from services.rules import instants
from services.rules.facts import Fact
from services.rules.instants import Instant
from services.rules.state import Case, Decision, Rules

SOURCE = "gihan/sla_timer"
_UTC = ZoneInfo("UTC")
_encode = msgspec.json.Encoder().encode


def decision_message(
    decision: Decision,
    case: Case,
    rules: Rules,
    cause: Fact | None,
    partition: int,
    number: int,
    cause_sequence: int,
) -> tuple[str, bytes]:
    """(subject, CloudEvent bytes) of one decision. Times carry the offset of the tenant's calendar."""
    office = rules.calendar("office")
    zone = office.zone
    data: dict[str, Any] = {
        "promise": decision.promise,
        "occurrence": decision.occurrence,
        "due": _text(decision.due, zone),
        "first_due": _text(decision.first_due, zone),
        "provisional": decision.provisional,
        "remedy": decision.remedy,
        "incident": decision.incident,
        "key": decision.key,
        "amount": decision.amount,
        "currency": rules.charter.currency if decision.kind == "remedy.proposed" else "",
        "needs": decision.needs,
        "task": decision.task,
        "reason": decision.reason,
        "code": decision.code,
        "about": _reference(decision.about),
        "cause": _reference(cause.key) if cause is not None else None,
        "charter": case.charter or rules.charter.label,
        "calendar": office.version,
        "rules": rules.revision,
    }
    event = {
        "specversion": "1.0",
        "id": f"{partition}-{number}",
        "source": SOURCE,
        "type": decision.kind,
        "subject": case.id,
        "time": instants.text(decision.at, zone),
        "tenant": case.tenant,
        "case": case.id,
        "cause_sequence": cause_sequence,
        "data": {name: value for name, value in data.items() if value not in ("", None, False, ())},
    }
    return sla_subject(partition, case.tenant, decision.kind), _encode(event)


def tick_message(partition: int, number: int, to: Instant) -> bytes:
    """The CloudEvent bytes of one tick."""
    moment = instants.text(to, _UTC)
    event = {
        "specversion": "1.0",
        "id": f"{partition}-{number}",
        "source": SOURCE,
        "type": "clock.advanced",
        "time": moment,
        "partition": partition,
        "data": {"to": moment},
    }
    return _encode(event)


def _text(moment: Instant | None, zone: ZoneInfo) -> str | None:
    return None if moment is None else instants.text(moment, zone)


def _reference(key: str) -> dict[str, str] | None:
    source, _, id = key.partition("/")
    return {"source": source, "id": id} if key else None
