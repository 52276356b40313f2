"""Judging an event by itself alone: form, tenant, source, type, time and subject.

The one rule it protects: whatever is refused is refused with a code, a place and advice, and never with a
value that was sent. Every door uses this one judge; what needs other events to decide is reserve.py's part.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple, NoReturn

import orjson
from pydantic import TypeAdapter, ValidationError

from contracts.envelope import Contract, Envelope, Id, UnknownVersion, current_data
from contracts.events import MUNICIPAL_TYPES, OPENING_TYPES, published_model
from services.chassis.http import describe_invalid
from services.intake import admission, enacting
from services.rules.instants import DAY, MINUTE, Instant, of_datetime
from services.rules.tenants import Tenant

MAX_EVENT_BYTES = 64 * 1024
MAX_EVENTS = 500
MAX_DEPTH = 16
AHEAD_MINUTES = 5
"""How far a publisher's clock may run ahead of ours."""

_MAX_NUMBER = 2**53
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
"""An escaped character that cannot be kept, or half of one that can."""
_APART = (b" :", b"\t:", b"\n:", b"\r:")
"""Where a colon may be that stands apart from its name."""
_ID: TypeAdapter[str] = TypeAdapter(Id)


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


@dataclass(frozen=True, slots=True)
class Judged:
    """An event that is right by itself. `content` is what its hash is taken of; `data` may be personal."""

    key: tuple[str, str, str]
    """(tenant, source, id) names an event for ever."""
    tenant: Tenant
    source: str
    id: str
    type: str
    case: str
    time: Instant
    envelope: Envelope = field(repr=False)
    data: Contract = field(repr=False)
    content: bytes = field(repr=False)
    imported: bool = False
    """Brought over at go-live."""

    @property
    def opens(self) -> bool:
        """Whether this event may open its case."""
        return self.type in OPENING_TYPES

    @property
    def municipal(self) -> bool:
        """Whether it concerns the municipality itself; its subject is then the tenant's id."""
        return self.case == self.tenant.id


def parse(raw: bytes) -> Any:
    """The JSON value in `raw`: one event, or a list of them. Raises Refusal."""
    value = _quickly(raw)
    if value is None:
        value = _carefully(raw)
    if isinstance(value, dict) and len(raw) > MAX_EVENT_BYTES:
        raise _too_large()
    return value


def _quickly(raw: bytes) -> dict[str, Any] | list[Any] | None:
    """What `_carefully` makes of a text in which nothing is wrong; None where something may be.

    An object that names a field twice shows in the count: outside of texts `":` ends a name, and inside them it can
    only make the count too large.
    """
    if _SUSPECT.search(raw) or any(apart in raw for apart in _APART):
        return None
    try:
        value = orjson.loads(raw)
        return value if isinstance(value, (dict, list)) and _count_members(value, 0) == raw.count(b'":') else None
    except ValueError:
        return None


def _count_members(value: dict[str, Any] | list[Any], depth: int) -> int:
    """How many members the objects in a value have. Raises ValueError where a number or the depth is beyond limits."""
    if depth == MAX_DEPTH:
        raise ValueError
    parts: Iterable[Any] = value
    count = 0
    if type(value) is dict:
        parts = value.values()
        count = len(value)
    for part in parts:
        kind = type(part)
        if kind is dict or kind is list:
            count += _count_members(part, depth + 1)
        elif (kind is int or kind is float) and not -_MAX_NUMBER < part < _MAX_NUMBER:
            raise ValueError
    return count


def _carefully(raw: bytes) -> Any:
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _malformed("not_utf8", "The text is not UTF-8. Send JSON in UTF-8.") from None
    except (ValueError, RecursionError):
        raise _malformed("not_json", "The text is not JSON, or nested too deeply. Send a JSON document.") from None
    for path, part in _walk(value, ()):
        if isinstance(part, str):
            _check_text(part, path)
        elif isinstance(part, float) and not math.isfinite(part):
            raise _malformed("not_a_number", "A number is too large to be one.", path)
        elif isinstance(part, int) and abs(part) > _MAX_NUMBER:
            raise _malformed("not_a_number", "A whole number must lie within 2^53.", path)
    return value


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
        raise _too_large()
    try:
        envelope = Envelope.model_validate(value)
    except ValidationError as error:
        raise _invalid(error, ()) from None
    tenant = _tenant(envelope, publisher, tenants)
    data = _data(envelope)
    time = of_datetime(envelope.time)
    imported = isinstance(publisher, Import)
    _check_time(time, tenant, now, of_any_age=imported)
    _check_admission(envelope.type, data, time, tenant)
    case = _case(envelope, tenant)
    if missing := enacting.missing(tenant, data):
        raise Refusal(missing.code, missing.detail, f"/data/{missing.field}")
    return Judged(
        key=(tenant.id, envelope.source, envelope.id),
        tenant=tenant,
        source=envelope.source,
        id=envelope.id,
        type=envelope.type,
        case=case,
        time=time,
        envelope=envelope,
        data=data,
        content=content,
        imported=imported,
    )


def _tenant(envelope: Envelope, publisher: Publisher, tenants: Mapping[str, Tenant]) -> Tenant:
    tenant = tenants.get(envelope.tenant)
    if tenant is None:
        raise Refusal("unknown_tenant", "This tenant is not served here. Look at the spelling.", "/tenant")
    if envelope.tenant != publisher.tenant:
        raise Refusal("wrong_tenant", "You may publish for your own tenant only.", "/tenant", HTTPStatus.FORBIDDEN)
    if envelope.source != publisher.source:
        raise Refusal(
            "wrong_source",
            "The source must be the one that your key or user stands for.",
            "/source",
            HTTPStatus.FORBIDDEN,
        )
    return tenant


def _data(envelope: Envelope) -> Contract:
    try:
        model = published_model(envelope.type)
    except KeyError:
        raise Refusal("unknown_type", "There is no such type; see the list of events.", "/type") from None
    try:
        named = {"type": envelope.type, "dataschema": envelope.dataschema, "data": envelope.data}
        return model.model_validate(current_data(named))
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


def _check_admission(type: str, data: Contract, time: Instant, tenant: Tenant) -> None:
    """Refuses what the tenant's own charter does not register, before anything of it is kept."""
    judgement = admission.judge(tenant, type, data, time)
    if judgement.refused:
        asked = ", ".join(judgement.asks)
        raise Refusal(judgement.refused, f"This city does not register it without these details: {asked}.", "/data")


def _case(envelope: Envelope, tenant: Tenant) -> str:
    """The case that the event is about. Where an opening event names none, its id makes one."""
    if envelope.type in MUNICIPAL_TYPES:
        if envelope.source != tenant.administrator:
            raise Refusal(
                "not_administrator",
                "Only the tenant's administrator may publish this type.",
                "/type",
                HTTPStatus.FORBIDDEN,
            )
        if envelope.subject not in (None, tenant.id):
            raise Refusal("wrong_subject", "The subject of this type is the tenant's own id.", "/subject")
        return tenant.id
    if envelope.subject == tenant.id and not (
        envelope.type == "fact.voided" and envelope.source == tenant.administrator
    ):
        raise Refusal("wrong_subject", "The tenant's own id names no case. Give the id of one.", "/subject")
    if envelope.subject is not None:
        return envelope.subject
    if envelope.type not in OPENING_TYPES:
        raise Refusal("missing", "Name the case: only an event that opens one may leave it out.", "/subject")
    noun = envelope.type.partition(".")[0]
    return f"{noun}-{hashlib.sha256(f'{tenant.id}|{envelope.source}|{envelope.id}'.encode()).hexdigest()[:20]}"


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
    known = (*_known(place[:-1]), "") if entry["type"] == "extra_forbidden" else _known(place)
    told = describe_invalid({**entry, "loc": before + known})
    return Refusal(told["code"], told["detail"].removeprefix("Value error, "), told["pointer"])


def _too_large() -> Refusal:
    detail = f"An event may have {MAX_EVENT_BYTES // 1024} KiB at most. Shorten its texts."
    return Refusal("too_large", detail, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _malformed(code: str, detail: str, path: Sequence[str | int] = ()) -> Refusal:
    pointer = "".join(f"/{step}" for step in _known(path)) or None
    return Refusal(code, detail, pointer, HTTPStatus.BAD_REQUEST)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _malformed("duplicate_key", "An object names the same field twice. Send each field once.")
    return members


def _no_constant(_: str) -> NoReturn:
    raise _malformed("not_a_number", "NaN and Infinity are not JSON. Leave the field out.")


def _walk(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value below this one, and every name of a member."""
    if len(path) > MAX_DEPTH:
        raise _malformed("too_deep", f"Values are nested more than {MAX_DEPTH} deep.", path)
    if isinstance(value, dict):
        for name, part in value.items():
            yield path, name
            yield from _walk(part, (*path, name))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _walk(part, (*path, place))
    else:
        yield path, value


def _check_text(text: str, path: Sequence[str | int]) -> None:
    if _UNKEEPABLE.search(text):
        raise _malformed("bad_text", "A text holds a character that no text can hold (NUL, half a pair).", path)


def _known(path: Sequence[str | int]) -> tuple[str | int, ...]:
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
