"""Cases: one with its deadlines and what is owed, its history, lists and filters, and why a date is the date.

The one rule it protects: a case that the caller may not know of is not there, and neither is a fact in it, nor what
follows from that fact.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import AwareDatetime, BaseModel, Field

from services.chassis.http import Problem, reads_korean
from services.intake.api import cursors, reading
from services.intake.api.answers import HISTORY_PAGE, Cases, Detail, History, deadline, page_of, remedy, summary
from services.intake.api.callers import Asking
from services.intake.api.reading import Visible
from services.intake.api.serving import TAGGED, Given, Parts, problems, tagged
from services.reading import visibility, visible
from services.reading.visibility import Caller
from services.reading.visible import Row
from services.rules.calendar import OutOfCalendar
from services.rules.explaining.text import as_json, in_words
from services.rules.instants import Instant, of_datetime

router = APIRouter(prefix="/v1", tags=["cases"])


class Explained(BaseModel):
    """Why a deadline is when it is."""

    case: str
    promise: str
    explanations: list[dict[str, Any]] = Field(
        description="One for each run of the promise in the case, in order of start: the clause, versions, steps that "
        "follow one another without a gap and count exactly the period, extensions, suspensions, readings of the law, "
        "moves with their causes, due, state. Of a measure one for each event measured. Where the case has none, one "
        "of state unstarted, whose obstacles say why."
    )


Cursor = Annotated[str | None, Query(description="`next` of the page before.", max_length=300)]


@router.get(
    "/cases",
    summary="List and search cases",
    response_model=Cases,
    response_model_exclude_none=True,
    responses={**TAGGED, **problems(422)},
)
async def listed(
    request: Request,
    parts: Given,
    caller: Asking,
    state: Annotated[
        Literal["open", "closed", "late"] | None, Query(description="late: with a broken promise.")
    ] = None,
    promise: Annotated[str | None, Query(description="In which this promise runs or ran.", max_length=64)] = None,
    due_before: Annotated[AwareDatetime | None, Query(description="Where something must be done before this.")] = None,
    department: Annotated[str | None, Query(description="That lie with it now.", max_length=200)] = None,
    officer: Annotated[str | None, Query(max_length=64)] = None,
    kind: Annotated[str | None, Query(max_length=64)] = None,
    opened_by: Annotated[
        str | None, Query(description="The type of event, such as callback.requested.", max_length=64)
    ] = None,
    receipt: Annotated[str | None, Query(description="The one with this receipt number.", max_length=40)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Cursor = None,
) -> Response:
    """Your own cases alone: of a system those that it opened, of staff those of their department."""
    filters = {
        "closed": {"open": False, "closed": True}.get(state or ""),
        "late": True if state == "late" else None,
        "promise": promise,
        "due_before": None if due_before is None else of_datetime(due_before),
        "department": department,
        "officer": officer,
        "kind": kind,
        "opened_by": opened_by,
        "receipt": receipt,
    }
    _check_texts(filters)
    before = reading.FIRST_PAGE if cursor is None else str(cursors.place(cursor, str)[0])
    page = await reading.listed(parts, caller, filters, limit, before)
    tenant = parts.tenants[caller.tenant]
    due = await _next_dues(parts, caller, page.rows)
    items = [summary(row, due.get(row["case"]), tenant) for row in page.rows]
    found = Cases(items=items, next=None if page.next is None else cursors.cursor(page.next))
    return tagged(request, found.model_dump_json(exclude_none=True).encode())


@router.get(
    "/cases/{case}",
    summary="Read a case",
    response_model=Detail,
    response_model_exclude_none=True,
    responses={**TAGGED, **problems(404, 422)},
)
async def read(case: str, request: Request, parts: Given, caller: Asking) -> Response:
    """How it stands, what is promised by when, what is owed and what happened."""
    found = await reading.visible_case(parts, caller, case)
    name, tenant = found.row["case"], parts.tenants[caller.tenant]
    async with parts.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        runs = await reading.deadlines(connection, caller.tenant, [name])
        owed = await reading.remedies(connection, caller.tenant, name)
        events = await reading.history(connection, caller.tenant, name, (0, -1), HISTORY_PAGE + 1)
    runs = [run for run in runs if not visibility.tells_of(found.hidden, run)]
    korean = reads_korean(request.headers.get("accept-language", "ko"))
    detail = Detail(
        **summary(found.row, _next_due(runs), tenant).model_dump(),
        language=found.row["language"],
        notify_by=found.row["notify_by"],
        deadlines=[deadline(parts, run, tenant, korean) for run in runs],
        remedies=[remedy(parts, row, tenant, korean) for row in owed if not visibility.tells_of(found.hidden, row)],
        history=page_of(found, events, tenant),
    )
    return tagged(request, detail.model_dump_json(exclude_none=True).encode())


@router.get(
    "/cases/{case}/history",
    summary="What happened in a case, and what followed",
    response_model=History,
    response_model_exclude_none=True,
    responses={**TAGGED, **problems(404, 422)},
)
async def told(case: str, request: Request, parts: Given, caller: Asking, cursor: Cursor = None) -> Response:
    """Facts in the order in which they came to be known, each with the decisions that it brought."""
    behind = (0, -1)
    if cursor is not None:
        sequence, number = cursors.place(cursor, int, int)
        behind = int(sequence), int(number)
    found = await reading.visible_case(parts, caller, case)
    async with parts.pool.acquire() as connection:
        events = await reading.history(connection, caller.tenant, found.row["case"], behind, HISTORY_PAGE + 1)
    page = page_of(found, events, parts.tenants[caller.tenant])
    return tagged(request, page.model_dump_json(exclude_none=True).encode())


@router.get(
    "/cases/{case}/deadlines/{promise}/explain",
    summary="Why a deadline is when it is",
    response_model=Explained,
    responses={
        **problems(
            404,
            409,
            422,
            of_404="You have no such case, or nothing is promised in it by that name.",
            of_409="The rules cannot date this case; an operator has to look at it.",
        ),
        200: {**TAGGED[200], "content": {"text/plain": {"schema": {"type": "string"}}}},
        304: TAGGED[304],
    },
)
async def explain(
    case: str,
    promise: str,
    request: Request,
    parts: Given,
    caller: Asking,
    lang: Annotated[Literal["ko", "en"], Query(description="Of the text.")] = "ko",
    at: Annotated[
        AwareDatetime | None,
        Query(description="As it was known then: by the facts recorded and the rules enacted by that time alone."),
    ] = None,
    hindsight: Annotated[
        bool, Query(description="With `at`: as it was then by all that is known now, what came late too.")
    ] = False,
) -> Response:
    """Of your own cases alone, as folded by now. With `Accept: text/plain` in plain sentences."""
    unknown = Problem(HTTPStatus.NOT_FOUND, "unknown_deadline", "You have no case with a deadline of this name.")
    try:
        found = await reading.visible_case(parts, caller, case)
    except Problem:
        raise unknown from None
    name = found.row["case"]
    if found.hidden and await _is_hidden(parts, caller, found, promise):
        raise unknown
    try:
        moment = None if at is None else of_datetime(at)
        answers = await parts.explainer.explain(caller.tenant, name, promise, moment, hindsight)
    except OutOfCalendar:
        detail = "A period of this case ends where no calendar reaches."
        raise Problem(HTTPStatus.CONFLICT, "out_of_calendar", detail) from None
    if not answers:
        raise unknown
    if "text/plain" in request.headers.get("accept", ""):
        return PlainTextResponse("\n".join(in_words(one, lang) for one in answers))
    return tagged(request, {"case": name, "promise": promise, "explanations": [as_json(one) for one in answers]})


async def _is_hidden(parts: Parts, caller: Caller, found: Visible, promise: str) -> bool:
    """Whether a run of the promise began with what the caller may not know of."""
    async with parts.pool.acquire() as connection:
        runs = await reading.deadlines(connection, caller.tenant, [found.row["case"]])
    ours = [run for run in runs if run["promise"] == promise]
    # A promise that never ran, or was only measured, is told of where nothing is hidden.
    return not ours or any(visibility.tells_of(found.hidden, run) for run in ours)


async def _next_dues(parts: Parts, caller: Caller, rows: list[Row]) -> dict[str, int]:
    """The next date of each case, from the runs that the caller may know of."""
    cases = [row["case"] for row in rows if row["open_deadlines"]]
    if not cases:
        return {}
    async with parts.pool.acquire() as connection:
        runs = await reading.deadlines(connection, caller.tenant, cases)
        hidden = await visible.hidden(connection, caller, cases)
    known: dict[str, list[Row]] = {}
    for run in runs:
        if not visibility.tells_of(hidden.get(run["case"], frozenset()), run):
            known.setdefault(run["case"], []).append(run)
    return {case: due for case, held in known.items() if (due := _next_due(held)) is not None}


def _next_due(runs: Sequence[Row]) -> Instant | None:
    """The first date of the runs that are open; a run that is suspended, or waits for a date, has none."""
    return min((run["due"] for run in runs if run["state"] == "open" and run["due"] is not None), default=None)


def _check_texts(filters: dict[str, Any]) -> None:
    for name, value in filters.items():
        if isinstance(value, str) and "\x00" in value:
            detail = "A text holds a character that no text can hold."
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_text", detail, f"/{name}")
