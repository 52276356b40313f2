"""The ways out: text messages and e-mail, each gateway in a file of its own, and here what they share.

The one rule: an answer says what is certain. Refused for good, refused for now, never reached, and "it may
have been taken" are four different things, and only the last one has to be asked after before another
attempt.

`opening` makes them from the settings; `development` is the gateway of demos and tests; `solapi`, `sens` and
`kannel` speak to those; `email` is SMTP.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

from services.chassis.contacts import mobile_number
from services.notifier.texts import Message
from services.rules.instants import Instant
from services.rules.tenants import Tenant

Means = Literal["sms", "email"]

SUBJECT_BYTES = 40


class Outcome(StrEnum):
    """How an attempt ended."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    """Refused for good: the same again would be refused again."""
    DEFERRED = "deferred"
    """The gateway answered that it cannot now."""
    UNREACHABLE = "unreachable"
    """Nothing was handed over: no connection, or the gateway knows neither us nor our account."""
    UNANSWERED = "unanswered"
    """It was handed over and no answer came: it may have been taken."""


class Answer(NamedTuple):
    """The outcome of an attempt, the gateway's own code, which holds nothing personal, and its name for the message,
    by which it can be asked later what became of it."""

    outcome: Outcome
    code: str
    ref: str | None = None


class Found(StrEnum):
    """What a gateway says when asked after a message."""

    TAKEN = "taken"
    NOT_TAKEN = "not_taken"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    """It was taken and will not arrive."""
    CANNOT_SAY = "cannot_say"
    UNREACHABLE = "unreachable"


class Told(NamedTuple):
    """What a gateway says of a message, with its code and its name for it, as in an Answer."""

    found: Found
    code: str = "asked_after"
    ref: str | None = None


class Letter(NamedTuple):
    """One message on its way: what, to whom, from whom. `key` is the same at every attempt, `attempt` counts them;
    `template` is what it was written from, and `at` when this attempt begins."""

    key: str
    attempt: int
    tenant: Tenant
    language: str
    template: str
    contact: Mapping[str, str]
    message: Message
    at: Instant


class Gateway(Protocol):
    """A way out. Nothing here raises for what the other side does."""

    name: str
    """As the tenants' file names it; also in metrics and logs."""
    means: Means
    rate: float
    """Messages a second that it takes from us; 0: as many as it can."""
    together: int
    """How many letters it is handed at a time."""
    finds: bool
    """Whether it can say if it took a message of which we have no answer."""
    reports: bool
    """Whether it can be asked what became of a message that it took."""

    async def send(self, letters: Sequence[Letter]) -> list[Answer]:
        """One attempt at each of at most `together` letters, answered in their order."""

    async def find(self, letter: Letter, since: Instant) -> Told:
        """Whether an attempt at this letter, made at `since`, was taken."""

    async def report(self, ref: str) -> Told:
        """What became of the message that the gateway calls `ref`."""

    async def close(self) -> None:
        """Gives connections back."""


async def each(send: Callable[[Letter], Awaitable[Answer]], letters: Sequence[Letter]) -> list[Answer]:
    """The answers of a gateway that takes one letter at a time."""
    return list(await asyncio.gather(*map(send, letters)))


def mobile(letter: Letter) -> str | None:
    """The number of a letter's recipient in digits; None where no text can be sent to it."""
    return mobile_number(letter.contact.get("mobile", ""))


BAD_NUMBER = Answer(Outcome.REJECTED, "bad_number")


def short_subject(letter: Letter) -> str:
    """The subject of a long text: as much of it as SUBJECT_BYTES of CP949 hold."""
    return letter.message.subject.encode("cp949", "ignore")[:SUBJECT_BYTES].decode("cp949", "ignore")


def sender(tenant: Tenant) -> str:
    """The registered number that a tenant's texts come from, in digits."""
    return re.sub(r"\D", "", tenant.sms_sender)
