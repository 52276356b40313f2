"""Complaints, commendations, appointments, callbacks and faults: simpler than the events that they become.

The one rule: a resource has no field of its own. Its body is the data of a type of event, as the contract has it, with
`case` and `time` where the caller wants to name them.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from services.chassis.http import Problem
from services.intake.api.callers import Asking
from services.intake.api.filing import Filed, IdempotencyKey, answer, body_of, file
from services.intake.api.reading import visible_case
from services.intake.api.serving import Given, Parts, problems
from services.reading.visibility import Caller
from services.reading.visible import plain

router = APIRouter(prefix="/v1")

BODIES = {
    "complaints": "complaint.received",
    "commendations": "complaint.received",
    "appointments": "appointment.booked",
    "callbacks": "callback.requested",
    "callbacks/{case}/made": "callback.made",
    "callbacks/{case}/rescheduled": "callback.rescheduled",
    "cases/{case}/faults": "fault.reported",
}
"""The type of event whose data each resource takes."""

OfCase = Annotated[str, Path(description="The case.", max_length=64)]

_PROBLEMS: dict[str, Any] = {
    "status_code": HTTPStatus.CREATED,
    "response_model": Filed,
    "response_model_exclude_none": True,
    "responses": {
        201: {"headers": {"Location": {"description": "Where the case is.", "schema": {"type": "string"}}}},
        **problems(400, 404, 409, 413, 422),
    },
}


async def _filed(
    request: Request, parts: Parts, caller: Caller, type: str, key: str | None, case: str | None = None, **fixed: Any
) -> Response:
    body = {**await body_of(request), **fixed}
    accepted = await file(parts, caller, type, body, key, case)
    return await answer(parts, caller, accepted, type, body)


@router.post("/complaints", tags=["complaints"], summary="File a complaint", **_PROBLEMS)
async def complain(request: Request, parts: Given, caller: Asking, key: IdempotencyKey = None) -> Response:
    """Opens a case and answers with its receipt number, after the log has acknowledged."""
    return await _filed(request, parts, caller, BODIES["complaints"], key)


@router.post("/commendations", tags=["complaints"], summary="Commend somebody", **_PROBLEMS)
async def commend(request: Request, parts: Given, caller: Asking, key: IdempotencyKey = None) -> Response:
    """A complaint of the kind `commendation`, which need not be said."""
    return await _filed(request, parts, caller, BODIES["commendations"], key, kind="commendation")


@router.post("/appointments", tags=["appointments"], summary="Book an appointment", **_PROBLEMS)
async def book(request: Request, parts: Given, caller: Asking, key: IdempotencyKey = None) -> Response:
    """Opens a case of its own; what the charter promises for appointments counts from here."""
    return await _filed(request, parts, caller, BODIES["appointments"], key)


@router.delete(
    "/appointments/{case}",
    tags=["appointments"],
    summary="Cancel an appointment",
    **{**_PROBLEMS, "status_code": HTTPStatus.OK, "responses": problems(400, 404, 409, 422)},
)
async def cancel(case: OfCase, parts: Given, caller: Asking, key: IdempotencyKey = None) -> Response:
    """Gives up the time that was booked last and not cancelled since."""
    found = await visible_case(parts, caller, case)
    record = await parts.pool.fetchrow(
        'select type, data from read.case_facts where tenant = $1 and "case" = $2 and not voided'
        " and type in ('appointment.booked', 'appointment.cancelled') order by sequence desc limit 1",
        caller.tenant,
        found.row["case"],
    )
    booked = None if record is None else plain(record)
    if booked is None or (booked["type"] == "appointment.cancelled" and key is None):
        raise Problem(HTTPStatus.NOT_FOUND, "unknown_appointment", "There is no such appointment, or it was cancelled.")
    body = {name: booked["data"][name] for name in ("at", "officer", "assistance_needed") if name in booked["data"]}
    accepted = await file(parts, caller, "appointment.cancelled", body, key, found.row["case"])
    response = await answer(parts, caller, accepted, "appointment.cancelled", body)
    response.status_code = HTTPStatus.OK
    return response


@router.post("/callbacks", tags=["callbacks"], summary="Ask for a call back", **_PROBLEMS)
async def ask_for_call(request: Request, parts: Given, caller: Asking, key: IdempotencyKey = None) -> Response:
    """Opens a case, or names one in `case`."""
    return await _filed(request, parts, caller, BODIES["callbacks"], key)


@router.post("/callbacks/{case}/made", tags=["callbacks"], summary="Say that the call was made", **_PROBLEMS)
async def call_made(
    case: OfCase, request: Request, parts: Given, caller: Asking, key: IdempotencyKey = None
) -> Response:
    """A call that reached nobody counts, and brings a task to try again."""
    return await _filed(request, parts, caller, BODIES["callbacks/{case}/made"], key, case)


@router.post("/callbacks/{case}/rescheduled", tags=["callbacks"], summary="Ask for another time", **_PROBLEMS)
async def reschedule(
    case: OfCase, request: Request, parts: Given, caller: Asking, key: IdempotencyKey = None
) -> Response:
    """The citizen wants to be called by another time."""
    return await _filed(request, parts, caller, BODIES["callbacks/{case}/rescheduled"], key, case)


@router.post("/cases/{case}/faults", tags=["faults"], summary="Report a broken promise or a fault", **_PROBLEMS)
async def report_fault(
    case: OfCase, request: Request, parts: Given, caller: Asking, key: IdempotencyKey = None
) -> Response:
    """The officer whom it names, and that officer's department, do not see it."""
    return await _filed(request, parts, caller, BODIES["cases/{case}/faults"], key, case)
