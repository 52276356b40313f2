"""Facts: stored events as the fold reads them, and the case they belong to.

The one rule: only fields that a rule may read stand here; personal data cannot, since the log has none. Fields that
a rule does not know are passed over, so a newer publisher does no harm.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from services.rules import effective
from services.rules.effective import ANSWERING as ANSWERING
from services.rules.effective import VOIDING as VOIDING
from services.rules.effective import closes as closes
from services.rules.effective import in_effect as in_effect
from services.rules.instants import Instant

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with an offset; one without names no instant and is no event's."""


class Period(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A handling period as published: unit is hours, days, weeks, months or years."""

    amount: int
    unit: str


class Memo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was noted for an absent officer, without who and what."""

    reply_wanted: bool | None = None
    taken_by: str | None = None
    matter_ref: str | None = None


class Data(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, rename={"from_": "from"}):
    """The data of every type in one flat shape; absent fields are None. Instants are aware datetimes."""

    channel: str | None = None
    kind: str | None = None
    service: str | None = None
    period: Period | None = None
    class_: str | None = msgspec.field(default=None, name="class")
    urgent: bool | None = None
    compound: bool | None = None
    guardian_wanted: bool | None = None
    arrived_at: Moment | None = None
    delivery: str | None = None
    office: str | None = None
    about: str | None = None
    repeats: tuple[str, ...] | None = None
    consultation: str | None = None
    tracking_announced: bool | None = None
    distant: bool | None = None
    department: str | None = None
    officer: str | None = None
    approver: str | None = None
    to_department: str | None = None
    to_agency: str | None = None
    by: str | None = None
    dispatched_at: Moment | None = None
    respond_by: str | None = None
    ground: str | None = None
    from_: Moment | None = None
    until: Moment | None = None
    system: str | None = None
    at: Moment | None = None
    amount: int | None = None
    unit: str | None = None
    consent: bool | None = None
    outcome: str | None = None
    source: str | None = None
    id: str | None = None
    code: str | None = None
    by_head: bool | None = None
    decision: str | None = None
    via: str | None = None
    cause: str | None = None
    wanted_at: Moment | None = None
    memo: Memo | None = None
    reached: bool | None = None
    promise: str | None = None
    assistance_needed: bool | None = None
    bell: bool | None = None
    desk: str | None = None
    seconds_to_officer: int | None = None
    seconds_to_attention: int | None = None
    rings: int | None = None
    seconds_to_answer: int | None = None
    wait_seconds: int | None = None
    line_busy: bool | None = None
    duration_seconds: int | None = None
    hangup_delay_seconds: int | None = None
    settled_without_transfer: bool | None = None
    has_name: bool | None = None
    has_address: bool | None = None
    has_phone: bool | None = None
    has_mobile: bool | None = None
    has_email: bool | None = None
    where: tuple[str, ...] | None = None
    year: int | None = None
    version: str | int | None = None
    over_objection: bool | None = None
    local: bool | None = None
    sha256: str | None = None
    in_force: str | None = None
    applies: str | None = None
    go_live: Moment | None = None
    calendar: str | None = None
    revision: str | int | None = None
    date: str | None = None
    name: str | None = None
    closed: bool | None = None
    hours: tuple[str, ...] | None = None
    to: Moment | None = None


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An event as it stands in the log or in a file of events. Its fields are in the order in which intake writes them:
    each is looked for behind the one before it."""

    id: str
    source: str = ""
    type: str
    subject: str = ""
    time: Moment
    tenant: str = ""
    recordedtime: Moment | None = None
    data: Data = Data()
    case: str = ""
    partition: int | None = None
    routes: tuple[str, ...] | None = None
    imported: bool = False

    @property
    def case_id(self) -> str:
        """The case the event concerns: the extension `case`, or the subject, lower-cased."""
        return self.case or self.subject.lower()

    @property
    def recorded(self) -> Instant:
        """When intake recorded it; where that is not said, when it happened."""
        return effective.recorded_at(self)


class Elsewhere(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An event as far as whoever does not fold it must know of it, in the same order."""

    id: str
    source: str = ""
    type: str
    subject: str = ""
    time: Moment
    tenant: str = ""
    recordedtime: Moment | None = None
    case: str = ""
    routes: tuple[str, ...] | None = None


decode_event = msgspec.json.Decoder(Event).decode
"""An Event from its JSON bytes. Raises msgspec.DecodeError (msgspec.ValidationError where a field is of the wrong
kind), whose text names the field's path."""

decode_elsewhere = msgspec.json.Decoder(Elsewhere).decode
"""An Elsewhere from the JSON bytes of an event, and the same errors as far as that is wrong."""


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A fact in the state of a case. `sequence` is its place in the log, `time` when it happened, no
    later than it was recorded; `origin` the case that it is about, where this is a copy for another one."""

    sequence: int
    source: str
    id: str
    type: str
    time: Instant
    data: Data = Data()
    origin: str = ""

    @property
    def key(self) -> str:
        """What names the fact in its tenant."""
        return effective.key_of(self)

    @property
    def moment(self) -> Instant:
        """The instant from which the fact has effect, no later than when it happened."""
        return effective.moment_of(self)
