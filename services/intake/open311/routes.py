"""The methods of GeoReport v2, over the same door and the same views as the API.

The one rule it protects: who may know what holds here too. Reading asks for a key, and shows a system its own cases.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from contracts.envelope import parse_time
from services.chassis.http import Problem, reads_korean
from services.intake.api import reading
from services.intake.api.callers import entered
from services.intake.api.filing import file
from services.intake.api.reading import moment
from services.intake.api.serving import Given, Parts
from services.intake.open311 import forms, services
from services.reading import visibility, visible
from services.reading.visibility import Caller
from services.reading.visible import Row
from services.rules.charter import Charter
from services.rules.instants import DAY, of_datetime

router = APIRouter(prefix="/open311/v2", tags=["open311"], route_class=forms.FacadeRoute)

MOST = 1_000
_WINDOWS = 10
"""How many windows of cases are looked at for one list."""
_DAYS = 90
"""Cases of so many days are listed where no date is named."""
_MOST_FIELDS = 60
_MOST_NAMED = 50
_HANGUL = re.compile("[\uac00-\ud7a3]")

_FORMS: Mapping[int | str, dict[str, Any]] = {
    status: {"description": description, "content": {"application/json": {}, "application/xml": {}}}
    for status, description in {
        400: "A parameter is missing or wrong.",
        401: "The key is missing or unknown.",
        403: "It is not yours to do.",
        404: "There is no such thing.",
        409: "It contradicts what was sent before.",
        413: "It is too large.",
        429: "You ask too often.",
        503: "No answer in time.",
    }.items()
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "As GeoReport v2 has it.", "content": {"application/json": {}, "application/xml": {}}},
    **_FORMS,
}


def _query(*names: str) -> dict[str, Any]:
    """How the parameters of a method are documented."""
    return {
        "parameters": [
            {"name": name, "in": "query", "required": name == "jurisdiction_id", "schema": {"type": "string"}}
            for name in ("jurisdiction_id", *names)
        ]
    }


@router.get("/discovery.{form}", summary="Where and what this is", responses=_ANSWERS)
async def discover(form: str, request: Request, parts: Given) -> Response:
    """The endpoint, for whoever knows the host alone. Asks for no key and no municipality."""
    _check(form)
    changed = max(versions[-1][1].in_force for name in parts.tenants if (versions := parts.library.charters_of(name)))
    endpoint = {
        "specification": "http://wiki.open311.org/GeoReport_v2",
        "url": str(request.base_url.replace(path=router.prefix)),
        "changeset": changed.isoformat(),
        "type": "production",
        "formats": ["text/xml", "application/json"],
    }
    item = {
        "changeset": changed.isoformat(),
        "contact": "The municipality whose jurisdiction_id you use.",
        "key_service": "A municipality gives its systems their keys.",
        "endpoints": [endpoint],
    }
    return forms.single(request, item, forms.DISCOVERY)


@router.get("/services.{form}", summary="Services", responses=_ANSWERS, openapi_extra=_query())
async def list_services(form: str, request: Request, parts: Given) -> Response:
    """The kinds of petition of a municipality (`jurisdiction_id`)."""
    _check(form)
    charter, korean = _charter(parts, _jurisdiction(parts, request.query_params)), _korean(request)
    items = [
        {
            "service_code": service.code,
            "service_name": service.name(korean),
            "description": service.name(korean),
            "metadata": True,
            "type": "realtime",
            "keywords": "",
            "group": "",
        }
        for service in services.offered(charter)
    ]
    return forms.listing(request, items, forms.SERVICES)


@router.get("/services/{code}.{form}", summary="Definition of a service", responses=_ANSWERS, openapi_extra=_query())
async def define_service(code: str, form: str, request: Request, parts: Given) -> Response:
    """What a petition for the service may say beside the usual fields."""
    _check(form)
    charter = _charter(parts, _jurisdiction(parts, request.query_params))
    service = services.find(charter, code)
    definition = {"service_code": service.code, "attributes": services.attributes(charter)}
    return forms.single(request, definition, forms.DEFINITION)


_FIELDS = (
    *("jurisdiction_id", "service_code", "api_key", "description", "lat", "long", "address_string", "address_id"),
    *("email", "device_id", "account_id", "first_name", "last_name", "phone", "media_url"),
    *("attribute[applicant_address]", "attribute[notify_by]"),
)
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["jurisdiction_id", "service_code"],
                    "properties": {name: {"type": "string"} for name in _FIELDS},
                }
            }
        },
    }
}


@router.post("/requests.{form}", summary="File a petition", responses=_ANSWERS, openapi_extra=_FORM)
async def file_request(form: str, request: Request, parts: Given) -> Response:
    """Answers with its id after the log has acknowledged; the place and links of media become part of its text."""
    _check(form)
    async with request.form(max_files=0, max_fields=_MOST_FIELDS) as given:
        fields = {name: value for name, value in given.items() if isinstance(value, str)}
    tenant = _jurisdiction(parts, fields)
    async with _asking(request, fields, tenant) as caller:
        service = services.find(_charter(parts, tenant), fields.get("service_code", ""))
        body = _petition(service, fields, _korean(request))
        accepted = await file(parts, caller, "complaint.received", body, request.headers.get("idempotency-key"))
        item = {"service_request_id": accepted.case, "service_notice": accepted.receipt}
    return forms.listing(request, [item], forms.REQUESTS)


@router.get(
    "/requests.{form}",
    summary="Petitions",
    responses=_ANSWERS,
    openapi_extra=_query("api_key", "service_request_id", "service_code", "start_date", "end_date", "status"),
)
async def list_requests(form: str, request: Request, parts: Given) -> Response:
    """Those of your own system, newest first: of 90 days where no date is named, 1,000 at most."""
    _check(form)
    query = request.query_params
    tenant = _jurisdiction(parts, query)
    async with _asking(request, query, tenant) as caller:
        if names := query.get("service_request_id"):
            rows = [row for name in names.split(",")[:_MOST_NAMED] if (row := await _find(parts, caller, name.strip()))]
        else:
            rows = await _listed(parts, caller, query)
        items = await _described(parts, caller, rows, _korean(request))
    return forms.listing(request, items, forms.REQUESTS)


@router.get("/requests/{id}.{form}", summary="A petition", responses=_ANSWERS, openapi_extra=_query("api_key"))
async def read_request(id: str, form: str, request: Request, parts: Given) -> Response:
    """One of your own system."""
    _check(form)
    tenant = _jurisdiction(parts, request.query_params)
    async with _asking(request, request.query_params, tenant) as caller:
        found = await reading.visible_case(parts, caller, id)
        items = await _described(parts, caller, [found.row], _korean(request))
    return forms.listing(request, items, forms.REQUESTS)


@router.get(
    "/tokens/{token}.{form}", summary="The petition behind a token", responses=_ANSWERS, openapi_extra=_query("api_key")
)
async def read_token(token: str, form: str, request: Request, parts: Given) -> Response:
    """A token is the id of the event that a petition became; petitions are answered with their id at once."""
    _check(form)
    tenant = _jurisdiction(parts, request.query_params)
    async with _asking(request, request.query_params, tenant) as caller:
        case = None
        if "\x00" not in token:
            case = await parts.pool.fetchval(
                'select "case" from read.event_fate where tenant = $1 and source = $2 and id = $3',
                caller.tenant,
                caller.source,
                token.lower(),
            )
        if case is None:
            raise Problem(HTTPStatus.NOT_FOUND, "unknown_event", "You have published no event of this name.")
    return forms.listing(request, [{"service_request_id": case, "token": token.lower()}], forms.REQUESTS)


def _check(form: str) -> None:
    if form not in ("json", "xml"):
        raise Problem(HTTPStatus.NOT_FOUND, "not_found", "Ask for .json or .xml.")


def _korean(request: Request) -> bool:
    return reads_korean(request.headers.get("accept-language", "ko"))


def _jurisdiction(parts: Parts, given: Mapping[str, str]) -> str:
    name = given.get("jurisdiction_id")
    if not name:
        raise Problem(HTTPStatus.BAD_REQUEST, "missing", "Name the municipality in jurisdiction_id.")
    if name.lower() not in parts.tenants:
        raise Problem(HTTPStatus.NOT_FOUND, "unknown_tenant", "This municipality is not served here.")
    return name.lower()


@asynccontextmanager
async def _asking(request: Request, given: Mapping[str, str], tenant: str) -> AsyncIterator[Caller]:
    """The system behind `api_key`, or behind an Authorization header. Raises Problem."""
    async with entered(request, given.get("api_key")) as caller:
        if caller.tenant != tenant:
            raise Problem(HTTPStatus.FORBIDDEN, "wrong_tenant", "Your key is another municipality's.")
        yield caller


def _charter(parts: Parts, tenant: str) -> Charter | None:
    versions = parts.library.charters_of(tenant)
    return versions[-1][1] if versions else None


def _is_answer(charter: Charter | None, run: Row) -> bool:
    """Whether a promise is kept by answering the petition."""
    promise = charter.promises.get(run["promise"]) if charter else None
    return promise is not None and any(match.type == "complaint.completed" for match in promise.until)


def _petition(service: services.Service, fields: Mapping[str, str], korean: bool) -> dict[str, Any]:
    """The data of a complaint in the fields of the form."""
    description = fields.get("description", "").replace("\r\n", "\n").replace("\r", "\n").strip()
    place = ", ".join(fields[name] for name in ("lat", "long") if fields.get(name))
    lines = [description, *(fields.get(name, "") for name in ("address_string", "address_id")), place]
    text = "\n".join(line for line in (*lines, fields.get("media_url", "")) if line)
    first, last = fields.get("first_name", "").strip(), fields.get("last_name", "").strip()
    phone = fields.get("phone", "")
    digits = "".join(character for character in phone if character.isdigit())
    applicant = {
        "name": f"{last}{first}" if _HANGUL.search(first + last) else f"{first} {last}".strip(),
        "address": fields.get("attribute[applicant_address]", ""),
        "mobile" if digits.startswith(("010", "8210")) else "phone": phone,
        "email": fields.get("email", ""),
    }
    means = fields.get("attribute[notify_by]")
    return {
        "channel": "web",
        "title": (description.partition("\n")[0] or service.name(korean))[:200],
        **({"text": text} if text else {}),
        "applicant": {name: value for name, value in applicant.items() if value},
        **({"notify_by": means} if means else {}),
        **service.data,
    }


async def _find(parts: Parts, caller: Caller, case: str) -> Row | None:
    try:
        return (await reading.visible_case(parts, caller, case)).row
    except Problem:
        return None


async def _listed(parts: Parts, caller: Caller, query: Mapping[str, str]) -> list[Row]:
    now = await parts.clock.now()
    start, end = (_date(query, name) for name in ("start_date", "end_date"))
    service = (
        services.find(_charter(parts, caller.tenant), query["service_code"]) if query.get("service_code") else None
    )
    status = query.get("status", "")
    if status not in ("", "open", "closed"):
        raise Problem(HTTPStatus.BAD_REQUEST, "invalid", "A status is open or closed.")
    filters = {
        "opened_by": "complaint.received",
        "closed": {"open": False, "closed": True}.get(status),
        "kind": service.data["kind"] if service else None,
        "service": service.data.get("service") if service else None,
        "since": start if start is not None else (end if end is not None else now) - _DAYS * DAY,
        "until": end,
    }
    rows: list[Row] = []
    before = reading.FIRST_PAGE
    for _ in range(_WINDOWS):
        page = await reading.listed(parts, caller, filters, MOST - len(rows), before)
        rows += page.rows
        if page.next is None or len(rows) >= MOST:
            break
        before = page.next
    return rows


def _date(query: Mapping[str, str], name: str) -> int | None:
    try:
        return of_datetime(parse_time(query[name])) if query.get(name) else None
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "value_error", str(error)) from None


async def _described(parts: Parts, caller: Caller, rows: list[Row], korean: bool) -> list[dict[str, Any]]:
    """Petitions as GeoReport has them; who petitioned and what is in the text is nobody's to read here."""
    tenant, cases = parts.tenants[caller.tenant], [row["case"] for row in rows]
    async with parts.pool.acquire() as connection:
        runs = await reading.deadlines(connection, caller.tenant, cases)
        sealed = await visible.hidden(connection, caller, cases)
        changed = await reading.last_changes(connection, caller.tenant, cases)
    expected: dict[str, int] = {}
    for run in runs:
        if run["state"] != "open" or run["due"] is None:
            continue
        hidden = visibility.tells_of(sealed.get(run["case"], frozenset()), run)
        if not hidden and _is_answer(parts.charter(caller.tenant, run["charter"]), run):
            expected[run["case"]] = min(run["due"], expected.get(run["case"], run["due"]))
    items = []
    for row in rows:
        data = row["opening"]["data"]
        service = services.of_case(_charter(parts, caller.tenant), row["kind"], data.get("service"))
        items.append(
            {
                "service_request_id": row["case"],
                "status": "closed" if row["closed"] else "open",
                "service_name": service.name(korean) if service else None,
                "service_code": service.code if service else None,
                "agency_responsible": (row["desk"] or {}).get("department"),
                "service_notice": row["receipt"],
                "requested_datetime": moment(row["opening"]["at"], tenant),
                "updated_datetime": moment(changed.get(row["case"]), tenant),
                "expected_datetime": moment(expected.get(row["case"]), tenant),
            }
        )
    return items
