"""What delivery reads of the logs (`Event`), and what may follow from one entry: messages, tasks, words to publishers.

The one rule: plain values under keys that are the same for ever, so that whoever works one out again names the same.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from services.rules.instants import Instant

COMPENSATION = "compensation"
"""The task that a remedy owed to a citizen brings."""

Audience = Literal["citizen", "officer"]
Rung = Literal["officer", "head", "audit"]
RUNGS: tuple[Rung, ...] = ("officer", "head", "audit")
"""The ladder: where nobody stands on a rung, the next one is told."""


class Event(msgspec.Struct, frozen=True):
    """A fact or decision as it stands in a log, as far as delivery looks at it. A tick has no tenant and no
    case.
    """

    id: str
    source: str
    type: str
    time: str
    data: dict[str, Any]
    tenant: str = ""
    case: str = ""
    cause_sequence: int = 0
    imported: bool = False


class Notice(msgspec.Struct, frozen=True):
    """A message that is wanted. `topic` is what it tells of, by which it can be retracted; `hold_until` is
    the instant before which it must not go out, since a slow source may still prove it wrong.
    """

    key: str
    template: str
    topic: str
    cause: dict[str, str]
    audience: Audience = "citizen"
    rung: Rung | None = None
    arguments: Mapping[str, Any] = {}
    promise: str | None = None
    hold_until: Instant | None = None
    after_hours: int = 0
    """So many working hours later than that."""
    only_by: str | None = None
    """The one means by which it goes; none: as the citizen wishes."""
    bundle: str | None = None
    """Messages of a case with the same one are told as one, where they are let go together."""
    once: bool = False
    """Not wanted while another message about the same topic stands."""


class Retraction(msgspec.Struct, frozen=True):
    """What was said about `topic` no longer holds: unsent messages are suppressed, a sent one brings
    `correction`.
    """

    topic: str
    outcome: str
    correction: Notice | None
    unless_paid: str | None = None
    """The key of a remedy's task: what was paid stays said."""


class Task(msgspec.Struct, frozen=True):
    """Work for the municipality. `task` is COMPENSATION where the citizen is owed something."""

    key: str
    incident: str
    clause: str
    task: str
    cause: dict[str, str]
    promise: str | None = None
    officer: str | None = None
    amount: int | None = None
    currency: str | None = None
    needs: tuple[str, ...] = ()
    hold_until: Instant | None = None
    notice: Notice | None = None
    """What the citizen is told of it, once it stands."""
    remedy_key: str | None = None
    """Of the remedy.proposed; none for a task without money."""
    occurrence: str | None = None
    charter: str | None = None
    department: str | None = None
    at_fault: tuple[str, ...] = ()
    """Staff who had the case or are named as at fault."""
    proposed_at: Instant | None = None
    broken_at: Instant | None = None
    """When the promise was due."""
    due: Instant | None = None
    """By when it is to be done; of a remedy: found."""
    waits: bool = False
    """Not assigned before the remedy beside it is approved."""


class TaskWithdrawal(msgspec.Struct, frozen=True):
    """A task is no longer wanted. What is issued already stays with the citizen."""

    key: str
    cause: dict[str, str]


class Telling(msgspec.Struct, frozen=True):
    """Something for a publisher, on RECEIPTS. The key tells repeats apart."""

    key: str
    subject: str
    body: bytes


Consequence = Notice | Retraction | Task | TaskWithdrawal | Telling


def key_of(*parts: str) -> str:
    """An opaque key, the same for the same parts for ever: 32 hexadecimal digits."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
