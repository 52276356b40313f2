"""Subjects, partitions and streams: where every message goes, and what the server is told about each stream.

The one rule: a subject never holds a case or a person, and each stream lists the exact forms that it takes,
so that the server itself refuses a wrong one.
"""

from dataclasses import dataclass
from typing import Literal
from zlib import crc32

from contracts.decisions import DECISION_TYPES
from contracts.events import FACT_TYPES, INBOX_TYPES
from contracts.notices import NOTICE_TYPES

PARTITIONS = 16
"""Fixed for ever: the partition of a case is part of every subject in the log."""

DAY_SECONDS = 86_400


def partition(tenant: str, case: str) -> int:
    """The partition of a case, 0 to 15. Ids are in lower case by now, as the envelope makes them."""
    return crc32(f"{tenant}.{case}".encode()) % PARTITIONS


def cases_subject(partition: int, tenant: str, type: str) -> str:
    """Where a fact goes: cases.<p>.<tenant>.<noun>.<verb>"""
    return f"cases.{partition}.{tenant}.{type}"


def clock_subject(partition: int) -> str:
    """Where a partition's ticks go."""
    return f"cases.{partition}.clock"


def sla_subject(partition: int, tenant: str, type: str) -> str:
    """Where a decision goes."""
    return f"sla.{partition}.{tenant}.{type}"


def notices_subject(partition: int, tenant: str, type: str) -> str:
    """Where a result of notifier goes."""
    return f"notices.{partition}.{tenant}.{type}"


def receipts_subject(tenant: str, source: str) -> str:
    """Where a publisher reads what became of its events."""
    return f"receipts.{tenant}.{source}"


def feed_subject(tenant: str, source: str) -> str:
    """Where a publisher reads the decisions on its own cases."""
    return f"feed.{tenant}.{source}"


def door_subject(tenant: str, source: str) -> str:
    """Where a publisher asks, and is answered at once."""
    return f"door.{tenant}.{source}"


def handed_on_subject(instance: str, tenant: str, source: str) -> str:
    """Where an instance of intake is handed what came through another one's door."""
    return f"intake.{instance}.{tenant}.{source}"


def present_subject(instance: str) -> str:
    """Where an instance of intake says to the others that it is there."""
    return f"intake.present.{instance}"


def gone_subject(instance: str) -> str:
    """Where an instance of intake says that it ends."""
    return f"intake.gone.{instance}"


def import_subject(tenant: str, source: str) -> str:
    """Where open cases of a source are brought over at go-live, by the user who alone may."""
    return f"import.{tenant}.{source}"


def inbox_subject(tenant: str, source: str, type: str) -> str:
    """Where a publisher leaves an event of one of INBOX_TYPES without waiting."""
    return f"inbox.{tenant}.{source}.{type}"


def dead_subject(tenant: str, source: str) -> str:
    """Where a refused letter of INBOX goes, sealed."""
    return f"dead.{tenant}.{source}"


def intake_mark(instance: str) -> str:
    """The marker that closes the batches of one running intake."""
    return f"mark.intake.{instance}"


def sla_mark(partition: int) -> str:
    """The marker that closes a partition's batches of decisions."""
    return f"mark.sla.{partition}"


def notices_mark(partition: int) -> str:
    """The marker that closes a partition's batches of results."""
    return f"mark.notices.{partition}"


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream and its settings, in the server's own words (`max_age_seconds` 0 and -1 elsewhere: no limit).

    Direct reads are off on purpose: a follower may answer late, and a marker read late is a wrong marker.
    """

    name: str
    description: str
    subjects: tuple[str, ...]
    retention: Literal["limits", "workqueue"] = "limits"
    discard: Literal["new", "old"] = "new"
    storage: Literal["file"] = "file"
    max_age_seconds: int = 0
    max_bytes: int = -1
    max_msgs: int = -1
    duplicate_window_seconds: int = 120
    deny_delete: bool = False
    deny_purge: bool = False
    allow_atomic: bool = False
    allow_direct: bool = False


def _log(name: str, description: str, subjects: tuple[str, ...]) -> Stream:
    return Stream(name, description, subjects, deny_delete=True, deny_purge=True, allow_atomic=True)


STREAMS: tuple[Stream, ...] = (
    _log(
        "CASES",
        "Facts and time: the truth. Written by intake and by the tickers of sla_timer.",
        (*(f"cases.*.*.{type}" for type in FACT_TYPES), "cases.*.clock", "mark.intake.*"),
    ),
    _log(
        "SLA",
        "Decisions that follow from CASES. Written by sla_timer.",
        (*(f"sla.*.*.{type}" for type in DECISION_TYPES), "mark.sla.*"),
    ),
    _log(
        "NOTICES",
        "What was sent and done. Written by notifier and by the desk.",
        (*(f"notices.*.*.{type}" for type in NOTICE_TYPES), "mark.notices.*"),
    ),
    Stream(
        "INBOX",
        "Events without personal data, left by publishers and gone once intake has judged them.",
        tuple(f"inbox.*.*.{type}" for type in INBOX_TYPES),
        retention="workqueue",
        max_bytes=256 << 20,
        max_msgs=1_000_000,
    ),
    Stream(
        "RECEIPTS",
        "What became of each event, and the decisions on a publisher's own cases.",
        ("receipts.*.*", "feed.*.*"),
        discard="old",
        max_age_seconds=30 * DAY_SECONDS,
        max_bytes=1 << 30,
    ),
    Stream(
        "DEAD",
        "Refused letters of INBOX, sealed, with the reason in clear.",
        ("dead.*.*",),
        max_age_seconds=30 * DAY_SECONDS,
    ),
)
