"""The envelope of every event (CloudEvents 1.0, structured JSON) and the plain values its data is made of.

The one rule: what is in an envelope is never personal. Ids, types and times stand in clear in logs, subjects
and databases, so their forms are narrow, and a message about a wrong one names the field, never the value.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt
from pydantic.json_schema import WithJsonSchema

MEDIA_TYPE = "application/cloudevents+json"

ID_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
"""Ids from outside, after lower-casing. A leading underscore is kept for Gihan's own cases."""

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_CASE = re.compile(r"_all|(_officer-)?[a-z0-9][a-z0-9_-]{0,63}")
_TYPE = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")
_OWN_SOURCE = re.compile(r"(gihan/)?[a-z0-9][a-z0-9_-]{0,63}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_SCHEMA = re.compile(r"urn:gihan:([a-z_.]+):([1-9]\d{0,3})")
_LONG_NUMBER = re.compile(r"\d(?:[ .-]?\d){8}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

FIRST_YEAR, LAST_YEAR = 1970, 2999


def parse_time(text: object) -> datetime:
    """The aware datetime of an RFC 3339 text with an offset; digits beyond the microsecond are cut off.

    Raises ValueError where the text is none, names no offset, or lies outside the years 1970 to 2999.
    """
    if isinstance(text, datetime):
        if text.tzinfo is None:
            raise ValueError("a time needs an offset such as +09:00")
        return text
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise ValueError("write a time as RFC 3339 with an offset, such as 2026-03-12T18:00:00+09:00")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError("there is no such date or time of day; check month, day, hour and offset") from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"a time must lie in the years {FIRST_YEAR} to {LAST_YEAR}")
    return moment


def _parse_date(text: object) -> date:
    if isinstance(text, date) and not isinstance(text, datetime):
        return text
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise ValueError("write a date as YYYY-MM-DD, such as 2026-03-12")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("there is no such date; check month and day") from None
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(f"a date must lie in the years {FIRST_YEAR} to {LAST_YEAR}")
    return day


def _parse_date_or_time(text: object) -> date | datetime:
    if isinstance(text, datetime) or (isinstance(text, str) and len(text) > len("2026-03-12")):
        return parse_time(text)
    return _parse_date(text)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _shaped(form: re.Pattern[str], advice: str, lower: bool = True) -> Callable[[object], object]:
    """A validator that takes a text of this form, in lower case. One call, since every event has half a dozen."""

    def check(value: object) -> object:
        if isinstance(value, str):
            value = value.lower() if lower else value
            if not form.fullmatch(value):
                raise ValueError(advice)
        return value

    return check


def single_line(text: str) -> str:
    """The text itself. Raises ValueError where it holds a line break or another control character."""
    if _CONTROL.search(text):
        raise ValueError("control characters and line breaks have no place here; leave them out")
    return text


def _no_contact(text: str) -> str:
    if "@" in text or _LONG_NUMBER.search(text):
        raise ValueError("this looks like an address or a number of a person; such data has no place in this field")
    return text


def _text_of_number(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Timestamp = Annotated[datetime, BeforeValidator(parse_time), WithJsonSchema({"type": "string", "format": "date-time"})]
"""An instant: RFC 3339 with an offset."""

Date = Annotated[date, BeforeValidator(_parse_date), WithJsonSchema({"type": "string", "format": "date"})]
"""A date of the tenant's calendar, without a time of day."""

DateOrTime = Annotated[
    datetime | date,
    BeforeValidator(_parse_date_or_time),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}),
]
"""An instant, or a date, which stands for its end (24:00 in the tenant's time zone)."""

_SHAPE = "use letters a to z, digits, '-' and '_', at most 64, beginning with a letter or digit"

Id = Annotated[
    str,
    BeforeValidator(_shaped(_ID, _SHAPE)),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}),
]
"""An id from outside; compared and kept in lower case."""

EventId = Id
"""The id of an event, unique for its tenant and source."""

Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{4,64}$")]
"""Names what the vault holds; means nothing outside it."""

CaseId = Annotated[
    str,
    BeforeValidator(_shaped(_CASE, _SHAPE)),
    WithJsonSchema({"type": "string", "pattern": "^(_all|(_officer-)?[a-z0-9][a-z0-9_-]{0,63})$"}),
]
"""A case in the log: a case of a publisher, `_all`, or the case that counts findings about an officer."""

EventType = Annotated[
    str,
    BeforeValidator(
        _shaped(_TYPE, "write a type as <noun>.<verb> in lower case, such as complaint.received", lower=False)
    ),
    WithJsonSchema({"type": "string", "pattern": "^[a-z]+(_[a-z]+)*[.][a-z]+(_[a-z]+)*$"}),
]

OwnSource = Annotated[
    str,
    BeforeValidator(_shaped(_OWN_SOURCE, _SHAPE)),
    WithJsonSchema({"type": "string", "pattern": "^(gihan/)?[a-z0-9][a-z0-9_-]{0,63}$"}),
]
"""A source in the log: a publishing system, or a part of Gihan such as gihan/sla_timer."""

Label = Annotated[
    str,
    Field(min_length=1, max_length=200),
    AfterValidator(single_line),
    AfterValidator(_no_contact),
]
"""A short public name (a department, a desk, a system) that stands in clear: telephone numbers and e-mail
addresses are refused."""

Citation = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(single_line)]
"""A law and its article."""

Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A word that machines read."""

Version = Annotated[
    str,
    BeforeValidator(_text_of_number),
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
                {"type": "integer", "minimum": 0},
            ]
        }
    ),
]
"""A version or revision; a whole number is taken as its text."""

VersionOf = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}@[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""A file and its version, such as anseong@1."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ClauseId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""A clause of a charter, or a deadline of the law such as statutory-period."""

Seconds = Annotated[StrictInt, Field(ge=0, le=31_536_000)]
Won = Annotated[StrictInt, Field(ge=0, le=1_000_000_000_000)]
"""An amount of money in whole units of its currency."""


class Contract(BaseModel):
    """What every model here has in common: nothing unknown is let in, and an error never repeats a value."""

    model_config = ConfigDict(
        defer_build=True,  # built at the first use: two of the three services validate none
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Envelope(Contract):
    """An event as a publisher sends it."""

    specversion: Literal["1.0"] = Field(description="The version of CloudEvents.")
    id: Id = Field(description="Names the event for ever, with tenant and source.")
    source: Id = Field(description="The publishing system.")
    type: EventType = Field(description="<noun>.<verb>")
    subject: Id | None = Field(
        default=None,
        description="The case, the visit or call, or the tenant's own id. An event that opens a case may "
        "leave it to Gihan.",
    )
    time: Timestamp = Field(description="When it happened.")
    tenant: Id = Field(description="The municipality.")
    data: dict[str, Any] = Field(description="What happened, as the type says.")
    datacontenttype: Literal["application/json"] | None = None
    dataschema: str | None = Field(
        default=None,
        pattern=r"^urn:gihan:[a-z_.]+:[1-9][0-9]{0,3}$",
        description="urn:gihan:<type>:<version>; without it, version 1.",
    )


class StoredEnvelope(Contract):
    """An event as it stands in a log: a fact on CASES, a tick, a decision on SLA, or a result on NOTICES."""

    specversion: Literal["1.0"]
    id: Annotated[str, Field(pattern=ID_PATTERN)]
    source: OwnSource
    type: EventType
    subject: CaseId | None = Field(default=None, description="As published; a tick has none.")
    time: Timestamp
    tenant: Id | None = Field(default=None, description="A tick has none.")
    data: dict[str, Any]
    dataschema: str | None = Field(default=None, pattern=r"^urn:gihan:[a-z_.]+:[1-9][0-9]{0,3}$")
    datacontenttype: Literal["application/json"] | None = None
    recordedtime: Timestamp | None = Field(default=None, description="When intake recorded it.")
    case: CaseId | None = Field(default=None, description="The case that this copy concerns.")
    receipt: str | None = Field(
        default=None, max_length=40, description="The receipt number of the case, on the event that opened it."
    )
    partition: Annotated[StrictInt, Field(ge=0, le=15)] | None = Field(default=None, description="Of a tick.")
    routes: list[CaseId] | None = Field(
        default=None, max_length=16, description="Of fact.voided: the cases that the fact taken back went to."
    )
    imported: StrictBool | None = Field(default=None, description="Set by gihan import alone.")
    cause_sequence: Annotated[StrictInt, Field(ge=0)] | None = Field(
        default=None, description="Of a decision: the CASES sequence of the fact or tick that brought it."
    )


class EventRef(Contract):
    """An event, named by its source and id (the tenant is that of the event that names it)."""

    source: OwnSource
    id: Annotated[str, BeforeValidator(_lower), Field(pattern=ID_PATTERN)]


class _Answer(Contract):
    """What an answer at once and a later message on receipts have in common."""

    key: str | None = Field(
        default=None, max_length=100, description="Of a later message: the same in each repeat of it."
    )


class Accepted(_Answer):
    """An event is recorded, or waits for the opening of its case; or one refused before counts after all."""

    status: Literal["accepted", "waiting"] = Field(description="waiting: the event that opens its case has not come.")
    source: Id
    id: Id
    case: CaseId
    receipt: str | None = Field(default=None, max_length=40, description="The receipt number of the case.")
    code: Code | None = None
    detail: str | None = Field(default=None, max_length=500)


class Refused(_Answer):
    """An event is refused, at once or later by the law: what is wrong and where, never the value."""

    status: Literal["refused"]
    source: Id | None = None
    id: Id | None = Field(default=None, description="Absent where none could be read.")
    case: CaseId | None = Field(default=None, description="Where the law refused it later.")
    code: Code
    pointer: str | None = Field(default=None, max_length=200, description="JSON pointer to the field at fault.")
    detail: str = Field(max_length=500, description="What is wrong and what to do.")


class UnknownVersion(ValueError):
    """The log holds a version of a type that this program does not know."""


Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class Upcasters:
    """Pure functions, each of which brings the data of a type from one version to the next."""

    def __init__(self) -> None:
        self._steps: dict[str, list[Upcaster]] = {}

    def register(self, type: str, version: int) -> Callable[[Upcaster], Upcaster]:
        """Decorates the function that brings data of `version` to the next. Versions follow without a gap."""

        def keep(step: Upcaster) -> Upcaster:
            steps = self._steps.setdefault(type, [])
            if version != len(steps) + 1:
                raise ValueError(f"{type}: the next upcaster starts from version {len(steps) + 1}, not {version}")
            steps.append(step)
            return step

        return keep

    def current(self, type: str) -> int:
        """The version that is written today."""
        return len(self._steps.get(type, ())) + 1

    def upcast(self, type: str, version: int, data: dict[str, Any]) -> dict[str, Any]:
        """The data as of the current version. Raises UnknownVersion for one that is still to come."""
        steps = self._steps.get(type, [])
        if not 1 <= version <= len(steps) + 1:
            raise UnknownVersion(
                f"{type}: version {version} is not known here (current: {len(steps) + 1}); "
                "run a release that knows it, nothing was changed"
            )
        for step in steps[version - 1 :]:
            data = step(data)
        return data


UPCASTERS = Upcasters()


def schema_name(type: str, version: int) -> str:
    """The name of a version of a type, as `dataschema` carries it."""
    return f"urn:gihan:{type}:{version}"


def version_of(event: Mapping[str, Any]) -> int:
    """The version of an event's data, from its `dataschema`; 1 where it has none. Raises UnknownVersion."""
    schema = event.get("dataschema")
    if schema is None:
        return 1
    named = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    if named is None or named[1] != event.get("type"):
        raise UnknownVersion("dataschema must be urn:gihan:<type>:<version>, with the type of the event")
    return int(named[2])


def current_data(event: Mapping[str, Any], upcasters: Upcasters = UPCASTERS) -> dict[str, Any]:
    """The data of an event read from a log or a door, brought up to the current version of its type."""
    data: dict[str, Any] = event["data"]
    return upcasters.upcast(event["type"], version_of(event), data)
