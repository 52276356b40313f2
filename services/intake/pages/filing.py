"""Filing a petition: what is asked for, what is said beside a field, and the event that it becomes.

The one rule: nothing typed is lost. Whatever is wrong comes back in the form with its field, and a form that was sent
twice is one petition.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response

from contracts.envelope import Accepted
from contracts.events import PERSON_DETAILS
from services.chassis.contacts import mobile_number, takes_mail
from services.chassis.pages import PageError
from services.chassis.vault import mask_resident_numbers
from services.intake import admission
from services.intake.judge import Publisher, Refusal
from services.intake.pages.site import SOURCE, VISITOR, Visit
from services.rules.admission import Judgement, judge
from services.rules.charter import Charter, Petition
from services.rules.demands import all_hold, period_of
from services.rules.facts import Data
from services.rules.instants import Instant, text

KINDS = (
    *("inquiry", "suggestion", "grievance", "service_grievance", "handling_grievance", "inquiry_law", "disclosure"),
    *("commendation", "corruption_report", "other"),
)
"""The kinds of petitions that need no form of their own."""
LIMITS = {"title": 200, "text": 10_000, "name": 200, "address": 200, "mobile": 20, "phone": 20, "email": 200}
"""The longest text of each field, in characters, as the contract of complaint.received has it or below."""
NOTIFY = ("sms", "email", "none")
FILED_AN_HOUR = 60
"""Petitions from one address: a public computer in a hall files more than a citizen."""

_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NUMBER = re.compile(r"[+]?[0-9][0-9 ().-]{6,18}")


class Asked(NamedTuple):
    """Which details of the petitioner the charter wants: those without which nothing is registered, and those that it
    asks for besides."""

    required: frozenset[str]
    wanted: frozenset[str]


class Field(NamedTuple):
    """A field at fault, and what to do."""

    name: str
    message: str


class Given(NamedTuple):
    """What a form became. `again`: it had been sent before, and this is what it became then."""

    receipt: str
    case: str
    again: bool


async def choose(request: Request) -> Response:
    """The kinds of petitions, each with how long an answer takes."""
    visit = Visit.of(request)
    charter = admission.charter_of(visit.tenant, await visit.site.clock.now())
    kinds = []
    for kind in KINDS:
        period = period_of(charter, Data(kind=kind)) if charter else None
        span = visit.speaker.span(period.amount, period.unit) if period else ""
        kinds.append((kind, span))
    return visit.page("new", kinds=kinds)


async def show(request: Request) -> Response:
    """The empty form of a kind."""
    visit = _visit(request)
    return await _form(visit, {"notify_by": "sms"}, [])


async def send(request: Request) -> Response:
    """Files what was typed, or shows it again with what is wrong."""
    visit = _visit(request)
    typed, now = await visit.form(), await visit.site.clock.now()
    visitor = visit.visitor()
    name = visit.site.signer.name_of(typed.get("form", ""), "file", visit.tenant.id, visitor)
    if name is None or visitor != request.cookies.get(VISITOR):
        return await _form(visit, typed, [Field("", visit.speaker.say("errors.expired_form"))])
    if wrong := list(_wrong(visit, typed, now)):
        return await _form(visit, typed, wrong)
    if not await visit.site.throttle.allows(FILED_AN_HOUR, now, "file", visit.tenant.id, visit.address):
        return await _form(
            visit, typed, [Field("", visit.speaker.say("errors.too_many"))], HTTPStatus.TOO_MANY_REQUESTS
        )
    data = _petition(typed, visit.request.path_params["kind"], visit.language)
    try:
        given = await hand_in(visit, f"web-{name}", "complaint.received", data, now)
    except Refusal as refusal:
        return await _form(visit, typed, [_field(visit, typed, refusal, now)], _status(refusal))
    link = visit.site.signer.link(visit.tenant.id, given.case, given.receipt, 0)
    return visit.go("received", f"{link}?again" if given.again else link)


async def hand_in(
    visit: Visit, id: str, type: str, data: Mapping[str, Any], now: Instant, case: str | None = None
) -> Given:
    """Gives an event in at the door that every system uses.

    A form that was sent before gets the answer that it got then, also where something in it was changed since: what is
    in the log stays. Raises Refusal.
    """
    event = {
        "specversion": "1.0",
        "id": id,
        "source": SOURCE,
        "type": type,
        "time": text(now, visit.tenant.zone),
        "tenant": visit.tenant.id,
        "data": data,
        **({"subject": case} if case else {}),
    }
    try:
        answer = await visit.site.doors.receive(orjson.dumps(event), Publisher(visit.tenant.id, SOURCE), "page")
    except Refusal as refusal:
        if refusal.code != "other_content":
            raise
        query = "select * from read.event_fate where tenant = $1 and source = $2 and id = $3"
        row = await visit.site.pool.fetchrow(query, visit.tenant.id, SOURCE, id)
        if row is None or row["status"] == "refused":
            raise
        return Given(row["receipt"] or "", row["case"], True)
    assert isinstance(answer, Accepted)
    return Given(answer.receipt or "", answer.case, False)


def free_text(visit: Visit, name: str, label: str, value: str, limit: int) -> Iterator[Field]:
    """What is wrong with a text that somebody typed."""
    say = visit.speaker.say
    field = say(label)
    if len(value) > limit:
        yield Field(name, say("errors.too_long", field=field, limit=f"{limit:,}"))
    elif _UNSEEN.search(value):
        yield Field(name, say("errors.unreadable", field=field))
    elif mask_resident_numbers(value) != value:
        yield Field(name, say("errors.resident_number", field=field))


def asked_by(charter: Charter | None, kind: str) -> Asked:
    """Which details a charter wants for a petition of a kind that comes over the web."""
    if charter is None:
        return Asked(frozenset(), frozenset())

    everything = dict.fromkeys(PERSON_DETAILS, True)
    required = frozenset(one for one in PERSON_DETAILS if _judged(charter, kind, everything | {one: False}).refused)
    wanted = _judged(charter, kind, dict.fromkeys(PERSON_DETAILS, False)).asks
    return Asked(required, frozenset(wanted) - required)


def _judged(charter: Charter, kind: str, given: Mapping[str, bool]) -> Judgement:
    """What a charter says to a petition of a kind over the web, by which details of the petitioner are there."""
    flags = {f"has_{detail}": given[detail] for detail in PERSON_DETAILS}
    return judge(charter, "complaint.received", msgspec.convert({"channel": "web", "kind": kind, **flags}, Data))


def promises_for(visit: Visit, charter: Charter | None, kind: str) -> list[str]:
    """What the charter promises whoever files a petition of this kind."""
    if charter is None:
        return []
    data = Data(channel="web", kind=kind)
    petition = Petition(data, period_of(charter, data), charter.policy)
    found = [
        promise.says[visit.language]
        for promise, start in charter.starting.get("complaint.received", ())
        if promise.owed_by == "office" and start.match is not None and all_hold(start.match.where, data, petition)
    ]
    return list(dict.fromkeys(found))


def _visit(request: Request) -> Visit:
    visit = Visit.of(request)
    if request.path_params["kind"] not in KINDS or not visit.takes_petitions:
        raise PageError(HTTPStatus.NOT_FOUND, "not_found")
    return visit


async def _form(
    visit: Visit, typed: Mapping[str, str], wrong: list[Field], status: int = HTTPStatus.UNPROCESSABLE_ENTITY
) -> Response:
    kind, visitor = visit.request.path_params["kind"], visit.visitor()
    charter = admission.charter_of(visit.tenant, await visit.site.clock.now())
    answer = visit.page(
        "file",
        status if wrong else HTTPStatus.OK,
        kind=kind,
        typed=typed,
        wrong=wrong,
        errors={field.name: field.message for field in reversed(wrong)},
        asked=asked_by(charter, kind),
        promises=promises_for(visit, charter, kind),
        form=visit.site.signer.form("file", visit.tenant.id, visitor),
        limits=LIMITS,
    )
    return visit.with_cookie(answer, visitor)


def _wrong(visit: Visit, typed: Mapping[str, str], now: Instant) -> Iterator[Field]:
    """What a person can be told before anything is handed in."""
    say, kind = visit.speaker.say, visit.request.path_params["kind"]
    required = asked_by(admission.charter_of(visit.tenant, now), kind).required
    for name in LIMITS:
        value = typed.get(name, "")
        label = f"file.{name}_field" if name in ("title", "text") else f"file.{name}"
        if not value and (name in ("title", "text") or name in required):
            yield Field(name, say("errors.required", field=say(label)))
        else:
            yield from free_text(visit, name, label, value, LIMITS[name])
        if value and name in ("mobile", "phone") and not _NUMBER.fullmatch(unicodedata.normalize("NFKC", value)):
            yield Field(name, say("errors.number", field=say(label)))
        if value and name == "email" and not (takes_mail(value) and "." in value.rpartition("@")[2]):
            yield Field(name, say("errors.email", field=say(label)))
    chosen = typed.get("notify_by", "")
    if chosen not in NOTIFY:
        yield Field("notify_by", say("errors.choose", field=say("file.notify")))
    if chosen == "sms" and mobile_number(typed.get("mobile", "")) is None:
        yield Field("mobile", say("errors.sms_needs_mobile"))
    if chosen == "email" and not typed.get("email"):
        yield Field("email", say("errors.email_needs_email"))


def _petition(typed: Mapping[str, str], kind: str, language: str) -> dict[str, Any]:
    return {
        "channel": "web",
        "kind": kind,
        "title": typed["title"],
        "text": typed["text"],
        "applicant": {detail: typed[detail] for detail in PERSON_DETAILS if typed.get(detail)},
        "notify_by": typed["notify_by"],
        "language": language,
        "tracking_announced": True,
        **({"urgent": True} if "urgent" in typed else {}),
    }


def _field(visit: Visit, typed: Mapping[str, str], refusal: Refusal, now: Instant) -> Field:
    """A refusal of the door as something said beside a field, in the citizen's language."""
    say = visit.speaker.say
    if refusal.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INTERNAL_SERVER_ERROR):
        return Field("", say("errors.not_kept"))
    if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Field("", say("errors.too_many"))
    name = (refusal.pointer or "").rpartition("/")[2]
    if name in LIMITS:
        label = f"file.{name}_field" if name in ("title", "text") else f"file.{name}"
        return Field(name, say("errors.refused", field=say(label)))
    charter, kind = admission.charter_of(visit.tenant, now), visit.request.path_params["kind"]
    given = {detail: bool(typed.get(detail)) for detail in PERSON_DETAILS}
    asks = _judged(charter, kind, given).asks if charter else ()
    missing = [detail for detail in asks if detail in LIMITS and not typed.get(detail)]
    # Where every detail is there and the charter refuses all the same, a name such as "anonymous" is no name.
    missing = missing or [detail for detail in PERSON_DETAILS if detail in asked_by(charter, kind).required]
    fields = ", ".join(say(f"file.{detail}") for detail in missing)
    return Field(missing[0] if missing else "", say("errors.asked", fields=fields))


def _status(refusal: Refusal) -> int:
    return refusal.status if refusal.status >= HTTPStatus.BAD_REQUEST else HTTPStatus.UNPROCESSABLE_ENTITY
