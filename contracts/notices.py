"""Notices: every type on NOTICES, which is what was sent by which means, and what became of each task.

The one rule: people appear by reference only. A notice holds its key, its template and the outcome, never its
words.
"""

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from pydantic import Field, StrictInt

from contracts.decisions import Currency, Opaque
from contracts.envelope import (
    ClauseId,
    Code,
    Contract,
    EventRef,
    Id,
    Label,
    Reference,
    Timestamp,
    Version,
    Won,
)

Voucher = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9-]{0,31}$")]
"""The number of a voucher. Never that of an account or of a person."""

Model = TypeVar("Model", bound=Contract)

NOTICES: dict[str, type[Contract]] = {}
"""The model of every type on NOTICES."""


def notice(name: str) -> Callable[[type[Model]], type[Model]]:
    """Registers the model of a type on NOTICES."""

    def keep(model: type[Model]) -> type[Model]:
        NOTICES[name] = model
        return model

    return keep


class Notice(Contract):
    """A message and one result of it."""

    key: Opaque = Field(description="Names the message; a gateway sees the same key at every attempt.")
    template: Code
    version: Version = Field(description="Of the template.")
    language: Literal["ko", "en"]
    means: Literal["sms", "email", "post", "none"] | None = None
    subject_ref: Reference | None = Field(default=None, description="The citizen it is for.")
    staff: Id | None = Field(default=None, description="The official it is for.")
    promise: ClauseId | None = None
    cause: EventRef | None = Field(default=None, description="The fact or decision that it tells of.")
    attempt: Annotated[StrictInt, Field(ge=0, le=1_000)] | None = Field(
        default=None, description="1 for the first; absent where none was made."
    )
    outcome: Code | None = Field(default=None, description="What the gateway or the rule said, as a word.")
    into: Opaque | None = Field(default=None, description="The key of the message that tells it in its place.")


@notice("notice.sent")
class NoticeSent(Notice):
    """The gateway took the message."""


@notice("notice.delivered")
class NoticeDelivered(Notice):
    """The gateway reports that the message arrived."""


@notice("notice.failed")
class NoticeFailed(Notice):
    """The message will not arrive, and is not tried again by this means."""

    outcome: Code


@notice("notice.unknown")
class NoticeUnknown(Notice):
    """Nobody can say whether the message was sent; it is asked after before any second attempt."""


@notice("notice.suppressed")
class NoticeSuppressed(Notice):
    """The message was not sent: its ground was gone before, or another message tells the same."""

    outcome: Code


class Task(Contract):
    """Internal work."""

    key: Opaque
    task: Code
    incident: Opaque | None = None
    remedy: ClauseId | None = None
    promise: ClauseId | None = None
    amount: Won | None = None
    currency: Currency | None = None
    department: Label | None = None
    assignee: Id | None = Field(default=None, description="A staff id.")
    due: Timestamp | None = None
    cause: EventRef | None = None


@notice("task.assigned")
class TaskAssigned(Task):
    """The task lies with a department or an official."""


@notice("task.done")
class TaskDone(Task):
    """The task was done, or a fact says so."""

    by: Id = Field(description="The staff id of who ended it at the desk, else the system that published the fact.")
    outcome: Code | None = None
    fact: EventRef | None = Field(default=None, description="The fact that says so; absent where somebody did.")


@notice("task.reopened")
class TaskReopened(Task):
    """The fact that had ended the task was taken back."""

    fact: EventRef


@notice("task.overdue")
class TaskOverdue(Task):
    """The task, or the finding that a remedy waits for, was not done by `due`."""

    due: Timestamp


class Remedy(Contract):
    """A step in the life of a remedy."""

    key: Opaque = Field(description="Of the remedy.proposed.")
    remedy: ClauseId
    incident: Opaque | None = None
    amount: Won | None = None
    currency: Currency | None = None
    by: Id | None = Field(default=None, description="A staff id.")
    reason: Code | None = None
    cause: EventRef | None = Field(default=None, description="The remedy.proposed.")


@notice("remedy.entered")
class RemedyEntered(Remedy):
    """Somebody entered how much it is, where the charter leaves that open."""

    amount: Won
    currency: Currency
    by: Id


@notice("remedy.approved")
class RemedyApproved(Remedy):
    """An approver said yes, and how much."""

    amount: Won
    currency: Currency
    by: Id


@notice("remedy.declined")
class RemedyDeclined(Remedy):
    """An approver said no."""

    by: Id
    reason: Code


@notice("remedy.issued")
class RemedyIssued(Remedy):
    """The citizen was paid or given the voucher."""

    amount: Won
    currency: Currency
    by: Id
    means: Literal["voucher", "transfer", "by_hand"] | None = None
    voucher: Voucher | None = Field(default=None, description="The number printed on the voucher.")


@notice("remedy.acknowledged")
class RemedyAcknowledged(Remedy):
    """The citizen has said that it arrived, or it came back."""

    by: Id = Field(description="The staff id of who took it down.")
    outcome: Code


@notice("remedy.kept")
class RemedyKept(Remedy):
    """Withdrawn after it was issued: what the citizen has stays, and the incident counts as paid."""


@notice("remedy.covered")
class RemedyCovered(Remedy):
    """The incident was paid for under another name before: nothing more is owed for it."""

    covered_by: Opaque = Field(description="The key of the remedy that was issued and then withdrawn.")


@notice("remedy.separated")
class RemedySeparated(Remedy):
    """What counted as covered is owed: an approver said that it is another incident, or the payment is claimed by the
    remedy that it was made for, which is proposed anew (without `by`)."""


NOTICE_TYPES: tuple[str, ...] = tuple(NOTICES)
