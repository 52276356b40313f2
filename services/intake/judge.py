"""Judging an event by itself alone: form, tenant, source, type, time and subject.

The one rule it protects: whatever is refused is refused with a code, a place and advice, and never with a
value that was sent. Every door uses this one judge; what needs other events to decide is reserve.py's part.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
import orjson
from pydantic import TypeAdapter, ValidationError

from contracts.envelope import UPCASTERS, Contract, Envelope, Id, UnknownVersion, parse_time, version_of
from contracts.events import MUNICIPAL_TYPES, OPENING_TYPES, Parted, part, published_model
from services.chassis.http import describe_invalid
from services.intake import admission, enacting
from services.rules.instants import DAY, MINUTE, Instant, of_datetime
from services.rules.tenants import Tenant

MAX_EVENT_BYTES = 64 * 1024
MAX_EVENTS = 500
AHEAD_MINUTES = 5
"""How far a publisher's clock may run ahead of ours."""

_ID: TypeAdapter[str] = TypeAdapter(Id)
_MEMBERS = frozenset(Envelope.model_fields)
_NAMED = "[a-z0-9][a-z0-9_-]{0,63}"
_HEAD = re.compile(rf"{_NAMED}\n{_NAMED}\n{_NAMED}\n{_NAMED}\n[a-z]+(?:_[a-z]+)*\.[a-z]+(?:_[a-z]+)*")
"""Id, source, tenant, subject and type as they are kept, a line each."""


class Publisher(NamedTuple):
    """Who sends, as the door has made sure: a source of a tenant."""

    tenant: str
    source: str


class Import(Publisher):
    """A source whose open cases are brought over at go-live: of any age, and marked in the log."""

    __slots__ = ()


class Refusal(Exception):
    """An event that is not let in: a code for machines, a JSON pointer, and advice; never a value."""

    def __init__(
        self,
        code: str,
        detail: str,
        pointer: str | None = None,
        status: int = HTTPStatus.UNPROCESSABLE_ENTITY,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.pointer = pointer
        self.status = int(status)
        self.retry_after = retry_after
        self.id: str | None = None
        """Id of the event, once it could be read."""
        self.others: tuple[Refusal, ...] = ()
        """Where several fields are wrong: what is wrong with the others."""


class Judged(msgspec.Struct, frozen=True, gc=False):
    """An event that is right by itself. `content` is what its hash is taken of; `data` may be personal."""

    key: tuple[str, str, str]
    """(tenant, source, id) names an event for ever."""
    tenant: Tenant
    source: str
    id: str
    type: str
    case: str
    time: Instant
    stated_time: str
    """The time as the log has it, with the offset that it was stated with."""
    data: Contract
    parted: Parted
    """The same data, what is personal apart from the rest."""
    content: bytes
    imported: bool = False
    """Brought over at go-live."""

    def __repr__(self) -> str:
        return f"Judged({self.key}, {self.type})"

    @property
    def opens(self) -> bool:
        """Whether this event may open its case."""
        return self.type in OPENING_TYPES

    @property
    def municipal(self) -> bool:
        """Whether it concerns the municipality itself; its subject is then the tenant's id."""
        return self.case == self.tenant.id


def readable_id(value: Any) -> str | None:
    """The id of what may be an event, where it can be read: to name it in an answer."""
    try:
        return _ID.validate_python(value.get("id")) if isinstance(value, dict) else None
    except ValidationError:
        return None


def judge(value: Any, publisher: Publisher, tenants: Mapping[str, Tenant], now: Instant) -> Judged:
    """The event in a parsed JSON value. Raises Refusal with the first thing that is wrong."""
    content = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if len(content) > MAX_EVENT_BYTES:
        raise too_large()
    head = _quick_head(value) or _careful_head(value)
    tenant = _tenant(head, publisher, tenants)
    data = _data(head)
    time = of_datetime(head.time)
    imported = isinstance(publisher, Import)
    _check_time(time, tenant, now, of_any_age=imported)
    parted = part(head.type, data)
    _check_admission(head.type, parted, time, tenant)
    case = _case(head, tenant)
    if missing := enacting.missing(tenant, data):
        raise Refusal(missing.code, missing.detail, f"/data/{missing.field}")
    return Judged(
        (tenant.id, head.source, head.id),
        tenant,
        head.source,
        head.id,
        head.type,
        case,
        time,
        head.time.isoformat(),
        data,
        parted,
        content,
        imported,
    )


class _Head(NamedTuple):
    """What an envelope says, checked."""

    id: str
    source: str
    tenant: str
    subject: str | None
    type: str
    time: datetime
    dataschema: str | None
    data: dict[str, Any]


def _quick_head(value: Any) -> _Head | None:
    """What `_careful_head` makes of an envelope in which nothing is odd; None where something may be."""
    try:
        if not value.keys() <= _MEMBERS or value["specversion"] != "1.0" or value.get("dataschema") is not None:
            return None
        id, source, tenant, type_, data = value["id"], value["source"], value["tenant"], value["type"], value["data"]
        subject = value.get("subject")
        if not _HEAD.fullmatch("\n".join((id, source, tenant, id if subject is None else subject, type_))):
            return None
        if type(data) is not dict or value.get("datacontenttype") not in (None, "application/json"):
            return None
        return _Head(id, source, tenant, subject, type_, parse_time(value["time"]), None, data)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _careful_head(value: Any) -> _Head:
    try:
        envelope = Envelope.model_validate(value)
    except ValidationError as error:
        raise _invalid(error, ()) from None
    return _Head(*(getattr(envelope, name) for name in _Head._fields))


def _tenant(head: _Head, publisher: Publisher, tenants: Mapping[str, Tenant]) -> Tenant:
    tenant = tenants.get(head.tenant)
    if tenant is None:
        raise Refusal("unknown_tenant", "This tenant is not served here. Look at the spelling.", "/tenant")
    if head.tenant != publisher.tenant:
        raise Refusal("wrong_tenant", "You may publish for your own tenant only.", "/tenant", HTTPStatus.FORBIDDEN)
    if head.source != publisher.source:
        raise Refusal(
            "wrong_source",
            "The source must be the one that your key or user stands for.",
            "/source",
            HTTPStatus.FORBIDDEN,
        )
    return tenant


def _data(head: _Head) -> Contract:
    try:
        model = published_model(head.type)
    except KeyError:
        raise Refusal("unknown_type", "There is no such type; see the list of events.", "/type") from None
    try:
        version = 1 if head.dataschema is None else version_of({"type": head.type, "dataschema": head.dataschema})
        return model.model_validate(UPCASTERS.upcast(head.type, version, head.data))
    except UnknownVersion:
        raise Refusal(
            "unknown_version", "Name a version of this type that exists, or leave it out.", "/dataschema"
        ) from None
    except ValidationError as error:
        raise _invalid(error, ("data",)) from None


def _check_time(time: Instant, tenant: Tenant, now: Instant, of_any_age: bool) -> None:
    if time > now + AHEAD_MINUTES * MINUTE:
        raise Refusal(
            "time_in_future",
            f"The time lies more than {AHEAD_MINUTES} minutes ahead. Set the clock of the sending system.",
            "/time",
        )
    if time < now - tenant.backdate_days * DAY and not of_any_age:
        raise Refusal(
            "too_old",
            f"The time lies more than {tenant.backdate_days} days back, which is this tenant's limit.",
            "/time",
        )


def _check_admission(type: str, parted: Parted, time: Instant, tenant: Tenant) -> None:
    """Refuses what the tenant's own charter does not register, before anything of it is kept."""
    judgement = admission.judge(tenant, type, parted, time)
    if judgement.refused:
        asked = ", ".join(judgement.asks)
        raise Refusal(judgement.refused, f"This city does not register it without these details: {asked}.", "/data")


def _case(head: _Head, tenant: Tenant) -> str:
    """The case that the event is about. Where an opening event names none, its id makes one."""
    if head.type in MUNICIPAL_TYPES:
        if head.source != tenant.administrator:
            raise Refusal(
                "not_administrator",
                "Only the tenant's administrator may publish this type.",
                "/type",
                HTTPStatus.FORBIDDEN,
            )
        if head.subject not in (None, tenant.id):
            raise Refusal("wrong_subject", "The subject of this type is the tenant's own id.", "/subject")
        return tenant.id
    if head.subject == tenant.id and not (head.type == "fact.voided" and head.source == tenant.administrator):
        raise Refusal("wrong_subject", "The tenant's own id names no case. Give the id of one.", "/subject")
    if head.subject is not None:
        return head.subject
    if head.type not in OPENING_TYPES:
        raise Refusal("missing", "Name the case: only an event that opens one may leave it out.", "/subject")
    noun = head.type.partition(".")[0]
    return f"{noun}-{hashlib.sha256(f'{tenant.id}|{head.source}|{head.id}'.encode()).hexdigest()[:20]}"


def _invalid(error: ValidationError, before: tuple[str, ...]) -> Refusal:
    first, *others = (
        _wrong(entry, before) for entry in error.errors(include_url=False, include_context=False, include_input=False)
    )
    first.others = tuple(others)
    if others:
        first.detail += f" ({len(others)} more fields are wrong.)"
    return first


def _wrong(entry: Mapping[str, Any], before: tuple[str, ...]) -> Refusal:
    place = entry["loc"]
    # An unknown field is described by the object that holds it; its own name is cut off there.
    known = (*known_path(place[:-1]), "") if entry["type"] == "extra_forbidden" else known_path(place)
    told = describe_invalid({**entry, "loc": before + known})
    return Refusal(told["code"], told["detail"].removeprefix("Value error, "), told["pointer"])


def too_large() -> Refusal:
    """Said of an event that is longer than MAX_EVENT_BYTES."""
    detail = f"An event may have {MAX_EVENT_BYTES // 1024} KiB at most. Shorten its texts."
    return Refusal("too_large", detail, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def known_path(path: Sequence[str | int]) -> tuple[str | int, ...]:
    """The path as far as its names are ours: a name that the publisher made up is something that was sent."""
    names = _field_names()
    known = next((i for i, step in enumerate(path) if isinstance(step, str) and step not in names), len(path))
    return tuple(path[:known])


@cache
def _field_names() -> frozenset[str]:
    models = [Contract]
    for model in models:
        models.extend(model.__subclasses__())
    return frozenset(info.alias or name for model in models for name, info in model.model_fields.items())
