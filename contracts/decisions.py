"""Decisions: every type that sla_timer writes on SLA, with its data.

The one rule: a decision names what it rests on (the promise, the versions of charter, calendar and rules, and
the event that brought it), so that anybody can work it out again from CASES. It holds no personal data and no
free text.
"""

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from pydantic import Field, StrictBool

from contracts.envelope import (
    ClauseId,
    Code,
    Contract,
    DateOrTime,
    EventRef,
    Timestamp,
    Version,
    VersionOf,
    Won,
)

Opaque = Annotated[str, Field(pattern=r"^[!-~]{1,300}$")]
"""A key that Gihan makes; compare it, never take it apart."""

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]

Model = TypeVar("Model", bound=Contract)

DECISIONS: dict[str, type[Contract]] = {}
"""The model of every decision type, in the order in which decisions of one step are written."""


def decision(name: str) -> Callable[[type[Model]], type[Model]]:
    """Registers the model of a decision type."""

    def keep(model: type[Model]) -> type[Model]:
        DECISIONS[name] = model
        return model

    return keep


class Decision(Contract):
    """What every decision rests on."""

    cause: EventRef | None = Field(default=None, description="The fact that brought it; absent for the clock.")
    charter: VersionOf | None = None
    calendar: VersionOf | None = None
    rules: Version | None = Field(default=None, description="The revision of the rules.")
    reason: Code | None = Field(default=None, description="Such as reopened.")


class OfPromise(Decision):
    """A decision about one run of a promise in a case."""

    promise: ClauseId
    occurrence: Opaque = Field(description="Names one run of the promise in the case.")
    due: Timestamp | None = Field(default=None, description="What is done exactly then is on time.")
    first_due: DateOrTime | None = Field(default=None, description="The date first told to the citizen.")
    provisional: StrictBool | None = Field(default=None, description="The due lies past the calendar's horizon.")


@decision("deadline.started")
class DeadlineStarted(OfPromise):
    """A promise runs; `due` is by when."""

    due: Timestamp


@decision("deadline.moved")
class DeadlineMoved(OfPromise):
    """The due instant is another than decided before."""

    due: Timestamp


@decision("deadline.suspended")
class DeadlineSuspended(OfPromise):
    """The clock of the promise stands still."""


@decision("deadline.resumed")
class DeadlineResumed(OfPromise):
    """The clock of the promise runs on; `due` is by when now."""

    due: Timestamp


@decision("deadline.warned")
class DeadlineWarned(OfPromise):
    """The due instant is near."""

    due: Timestamp


@decision("deadline.met")
class DeadlineMet(OfPromise):
    """The promise was kept."""

    due: Timestamp


@decision("deadline.breached")
class DeadlineBreached(OfPromise):
    """The due instant passed and the promise was not kept."""

    due: Timestamp


@decision("deadline.voided")
class DeadlineVoided(OfPromise):
    """The promise no longer runs, and never counts as kept or broken."""


@decision("breach.retracted")
class BreachRetracted(OfPromise):
    """A breach turned out to be none, since a fact came late."""


@decision("measure.breached")
class MeasureBreached(OfPromise):
    """A number lay outside what was promised."""


@decision("measure.retracted")
class MeasureRetracted(OfPromise):
    """A broken measure turned out to be none."""


class OfRemedy(Decision):
    """A decision about what the citizen is owed."""

    remedy: ClauseId
    incident: Opaque = Field(description="One run of a promise in a case, or one reported fault.")
    key: Opaque = Field(description="Tenant, case, incident and remedy clause; paid once.")
    promise: ClauseId | None = None
    occurrence: Opaque | None = None
    due: Timestamp | None = None
    amount: Won | None = Field(default=None, description="Absent where an approver enters it.")
    currency: Currency | None = None
    needs: list[Literal["finding", "amount"]] | None = Field(
        default=None, max_length=2, description="What an approver must still say before anything is paid."
    )


@decision("remedy.proposed")
class RemedyProposed(OfRemedy):
    """The charter owes the citizen something."""


@decision("remedy.withdrawn")
class RemedyWithdrawn(OfRemedy):
    """What was proposed is no longer owed."""


class OfTask(Decision):
    """A decision about internal work."""

    task: Code = Field(description="Such as caution, courtesy_training, apology, head_explains or try_again.")
    key: Opaque | None = None
    incident: Opaque | None = None
    remedy: ClauseId | None = None
    promise: ClauseId | None = None
    occurrence: Opaque | None = None
    due: Timestamp | None = None


@decision("task.created")
class TaskCreated(OfTask):
    """Somebody has to do something."""


@decision("task.withdrawn")
class TaskWithdrawn(OfTask):
    """The task is no longer wanted."""


@decision("notice.requested")
class NoticeRequested(Decision):
    """A message must go out because a clause says so."""

    promise: ClauseId | None = None
    occurrence: Opaque | None = None
    key: Opaque | None = None
    code: Code | None = Field(default=None, description="Which message.")
    due: Timestamp | None = None


@decision("event.refused")
class EventRefused(Decision):
    """A fact contradicts the rest of its case or the law, and counts for nothing."""

    about: EventRef
    code: Code
    promise: ClauseId | None = None


@decision("event.accepted")
class EventAccepted(Decision):
    """A fact refused before counts after all."""

    about: EventRef
    code: Code | None = None
    promise: ClauseId | None = None


DECISION_TYPES: tuple[str, ...] = tuple(DECISIONS)
