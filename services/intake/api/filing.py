"""How a request becomes an event: the fields of a resource are the data of a type, and the door does the rest.

The one rule it protects: a resource is only a simpler way to write an event. It is judged, kept and answered as any
event is, under an id that follows from the Idempotency-Key.
"""

import hashlib
import re
import secrets
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from contracts.envelope import Accepted
from contracts.events import FACTS, part
from services.chassis.http import Problem
from services.intake import admission
from services.intake.api.reading import visible_case
from services.intake.api.serving import Parts, problem
from services.intake.judge import Publisher, Refusal
from services.intake.parsing import parse
from services.reading.visibility import Caller, may_publish
from services.rules.instants import Instant, instant, text
from services.rules.tenants import Tenant

_KEY = re.compile(r'"([ !#-\[\]-~]{1,255})"|([!#-+\--~]{1,255})')
"""A text as RFC 9651 writes it; without the quotes it is taken too."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A text of your own that names this request for ever, in double quotes. The same again gets the "
        "first answer; with other content it is refused.",
        examples=['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
    ),
]


class Filed(BaseModel):
    """What was asked for is on record: the log has it."""

    status: str = Field(description="accepted, or waiting where the case is not open yet.")
    case: str
    receipt: str | None = Field(default=None, description="The receipt number, by which a citizen asks for the case.")
    source: str
    id: str = Field(description="The event that this became; its fate is at /v1/events/{source}/{id}.")
    asks: list[str] | None = Field(default=None, description="Details that the charter still asks for.")
    marks: list[str] | None = Field(default=None, description="How the charter marks what came in.")


def event_id(caller: Caller, key: str | None) -> str:
    """The id of the event that a request becomes: the same for the same Idempotency-Key. Raises Problem 400.

    A key is its source's; of those who share one, its member of staff's.
    """
    if key is None:
        return f"r-{secrets.token_hex(16)}"
    found = _KEY.fullmatch(key)
    if found is None:
        detail = "Idempotency-Key must be a text of 1 to 255 characters in double quotes."
        raise Problem(HTTPStatus.BAD_REQUEST, "wrong_key", detail)
    named = f"{caller.staff}|{found[1] or found[2]}" if caller.staff else found[1] or found[2]
    return f"k-{hashlib.sha256(named.encode()).hexdigest()[:40]}"


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object that a request carries. Raises Problem."""
    try:
        value = parse(await request.body())
    except Refusal as refusal:
        raise problem(refusal) from None
    if not isinstance(value, dict):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "dict_type", "Send a JSON object.", "")
    return value


async def file(
    parts: Parts, caller: Caller, type: str, body: dict[str, Any], key: str | None, case: str | None = None
) -> Accepted:
    """Publishes an event of the type with the body as its data; `case` and `time` in it go into the envelope.

    Raises Problem, whose pointers are those of the body.
    """
    tenant = _tenant(parts, caller)
    data = {name: value for name, value in body.items() if name not in ("case", "time")}
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id(caller, key),
        "source": caller.source,
        "type": type,
        "tenant": caller.tenant,
        "data": data,
    }
    subject = case if case is not None else body.get("case")
    if subject is not None:
        event["subject"] = subject
    if "time" in body:
        event["time"] = body["time"]
    await check_stating(parts, caller, type, subject)
    try:
        return await _take(parts, caller, tenant, event)
    except Refusal as refusal:
        raise _in_body(refusal, keyed=key is not None) from None


async def check_stating(parts: Parts, caller: Caller, type: object, subject: object) -> None:
    """Whether a caller may state such a thing of such a case. Raises Problem; what is not a text, the judge refuses.

    A publishing system is judged by the door itself, which knows the owner of every case and its partners.
    """
    if caller.role == "publisher":
        return
    if isinstance(type, str) and not may_publish(caller, type):
        detail = "This is not for your role to state: findings are an approver's, and audit states nothing else."
        raise Problem(HTTPStatus.FORBIDDEN, "not_allowed", detail, "/type")
    if isinstance(subject, str) and not await _is_new(parts, caller, subject.lower()):
        await visible_case(parts, caller, subject)


async def _is_new(parts: Parts, caller: Caller, case: str) -> bool:
    known = await parts.pool.fetchval(
        'select 1 from read.case_list where tenant = $1 and "case" = $2', caller.tenant, case
    )
    return known is None


async def _take(parts: Parts, caller: Caller, tenant: Tenant, event: dict[str, Any]) -> Accepted:
    """Has the event judged and kept. Where the caller names no time, it is that of the first request of this key."""
    publisher, now = Publisher(caller.tenant, caller.source), await parts.clock.now()
    if "time" in event:
        return await parts.doors.take(event, publisher, now, "http")
    for _ in range(2):
        known = await _occurred(parts, event)
        moment = now if known is None else known
        try:
            return await parts.doors.take({**event, "time": text(moment, tenant.zone)}, publisher, now, "http")
        except Refusal as refusal:
            # The same request, sent twice at once: the other one has named the time since we looked.
            if refusal.code != "other_content" or known is not None:
                raise
    raise AssertionError("a time that is known is not asked for again")


async def _occurred(parts: Parts, event: dict[str, Any]) -> Instant | None:
    found: Instant | None = await parts.pool.fetchval(
        "select occurred from read.event_fate where tenant = $1 and source = $2 and id = $3",
        event["tenant"],
        event["source"],
        event["id"],
    )
    return found


def _in_body(refusal: Refusal, keyed: bool) -> Problem:
    """A refusal of the event as one of the request that became it."""
    if refusal.code == "other_content" and keyed:
        detail = "This Idempotency-Key was used before, with other content. Give a new request a new key."
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "key_reused", detail)
    if refusal.pointer is not None:
        pointer = "/case" if refusal.pointer == "/subject" else refusal.pointer.removeprefix("/data")
        refusal.pointer = pointer
    return problem(refusal)


async def answer(parts: Parts, caller: Caller, accepted: Accepted, type: str, body: dict[str, Any]) -> Response:
    """201 with the place of the case, and what the charter has to say of what came in."""
    content = accepted.model_dump(mode="json", exclude_none=True)
    data = FACTS[type].model_validate({name: value for name, value in body.items() if name not in ("case", "time")})
    time = instant(body["time"]) if "time" in body else await parts.clock.now()
    judgement = admission.judge(parts.tenants[caller.tenant], type, part(type, data), time)
    content |= {name: list(found) for name in ("asks", "marks") if (found := getattr(judgement, name))}
    return JSONResponse(content, HTTPStatus.CREATED, {"Location": f"/v1/cases/{accepted.case}"})


def _tenant(parts: Parts, caller: Caller) -> Tenant:
    tenant = parts.tenants[caller.tenant]
    if caller.role != "publisher" and caller.source not in tenant.sources:
        raise Problem(HTTPStatus.FORBIDDEN, "unknown_tenant", "This tenant has no desk that takes events of its staff.")
    return tenant
