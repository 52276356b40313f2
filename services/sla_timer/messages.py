"""What sla_timer writes to the log: decisions and ticks as CloudEvents.

The one rule: bytes follow from the decision and its number alone, so that a replay writes the same.
"""

from functools import lru_cache
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
_text = lru_cache(maxsize=1 << 13)(instants.text)
"""What one fact brings is told at one instant, and a due instant is named again when it is met: three of four texts."""


class _Reference(msgspec.Struct, gc=False):
    source: str
    id: str


class _Data(msgspec.Struct, omit_defaults=True, gc=False):
    promise: str = ""
    occurrence: str = ""
    due: str | None = None
    first_due: str | None = None
    provisional: bool = False
    remedy: str = ""
    incident: str = ""
    key: str = ""
    amount: int | None = None
    currency: str = ""
    needs: tuple[str, ...] = ()
    task: str = ""
    reason: str = ""
    code: str = ""
    about: _Reference | None = None
    cause: _Reference | None = None
    charter: str = ""
    calendar: str = ""
    rules: str = ""


class _Told(msgspec.Struct, gc=False):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    tenant: str
    case: str
    cause_sequence: int
    data: _Data


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
    office = rules.calendars["office"]
    zone, due, first_due = office.zone, decision.due, decision.first_due
    due_text = None if due is None else _text(due, zone)
    first_text = due_text if first_due == due else None if first_due is None else _text(first_due, zone)
    data = _Data(
        decision.promise,
        decision.occurrence,
        due_text,
        first_text,
        decision.provisional,
        decision.remedy,
        decision.incident,
        decision.key,
        decision.amount or None,
        rules.charter.currency if decision.kind == "remedy.proposed" else "",
        decision.needs,
        decision.task,
        decision.reason,
        decision.code,
        _reference(decision.about) if decision.about else None,
        None if cause is None else _Reference(cause.source, cause.id),
        case.charter or rules.charter.label,
        office.version,
        rules.revision,
    )
    told = _Told(
        "1.0",
        f"{partition}-{number}",
        SOURCE,
        decision.kind,
        case.id,
        _text(decision.at, zone),
        case.tenant,
        case.id,
        cause_sequence,
        data,
    )
    return sla_subject(partition, case.tenant, decision.kind), _encode(told)


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


def _reference(key: str) -> _Reference:
    source, _, id = key.partition("/")
    return _Reference(source, id)
