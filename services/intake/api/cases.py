"""Cases: one with its deadlines and what is owed, its history, lists and filters, and why a date is the date.

The one rule it protects: a case that the caller may not know of is not there, and neither is a fact in it, nor what
follows from that fact.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import AwareDatetime, BaseModel, Field

from services.chassis.http import Problem, reads_korean
from services.intake.api import cursors, reading, visibility
from services.intake.api.callers import Asking
from services.intake.api.reading import Row, Visible, moment
from services.intake.api.serving import TAGGED, Given, Parts, problems, tagged
from services.intake.api.visibility import Caller
from services.rules.calendar import OutOfCalendar
from services.rules.explaining.text import as_json, in_words
from services.rules.instants import of_datetime
from services.rules.tenants import Tenant

router = APIRouter(prefix="/v1", tags=["cases"])

State = Literal["pending", "open", "closed", "stuck"]
_HISTORY_PAGE = 100


class Summary(BaseModel):
    """A case in a list."""

    case: str
    receipt: str = Field(description="The receipt number, by which a citizen asks for it.")
    source: str = Field(description="The system that opened it.")
    opened_by: str = Field(description="The type of event that opened it.")
    opened_at: str
    kind: str | None = None
    state: State = Field(
        description="pending: accepted, its deadlines not worked out yet; stuck: an operator looks at it."
    )
    department: str | None = None
    officer: str | None = None
    due: str | None = Field(default=None, description="The next date by which something must be done.")


class Deadline(BaseModel):
    """One run of a promise in a case."""

    promise: str = Field(description="The clause of the charter or the law.")
    says: str | None = Field(default=None, description="The promise in plain words.")
    by: Literal["charter", "law"] | None = Field(default=None, description="Whose promise it is.")
    state: Literal["open", "suspended", "met", "broken", "lapsed", "void"]
    started: str
    promised: str | None = Field(default=None, description="The date first told to the citizen; nothing moves it.")
    due: str | None = Field(
        default=None, description="The date that holds by charter and law now; absent while time stands still."
    )
    provisional: bool = Field(description="The calendar does not reach so far yet.")
    settled: str | None = Field(default=None, description="When it was met, broken or ended.")
    explain: str = Field(description="Where it says why this is the date.")


class Remedy(BaseModel):
    """What the city owes for a promise that it broke."""

    remedy: str
    says: str | None = None
    promise: str | None = None
    amount: int | None = Field(default=None, description="In whole units; absent where an approver enters it.")
    currency: str | None = None
    state: Literal["proposed", "withdrawn", "held", "assigned", "issued", "kept"]
    at: str


class Entry(BaseModel):
    """A fact or a decision in the history of a case."""

    at: str = Field(description="When it happened, or from when it holds.")
    recorded: str | None = Field(default=None, description="Of a fact: when it came to be known.")
    what: Literal["fact", "decision"]
    type: str
    source: str
    id: str
    voided: bool = Field(description="Taken back since.")
    promise: str | None = None
    due: str | None = None
    data: dict[str, Any] = Field(description="As the contract has it, without personal data and references to it.")


class History(BaseModel):
    """A page of the history, oldest first."""

    items: list[Entry]
    next: str | None = Field(default=None, description="Give it as `cursor` for the next page.")


class Detail(Summary):
    """A case with its deadlines, what is owed, and the first page of its history."""

    language: str | None = None
    notify_by: str | None = None
    deadlines: list[Deadline]
    remedies: list[Remedy]
    history: History


class Cases(BaseModel):
    """A page of cases, newest first. It may be short, or empty, while more follow."""

    items: list[Summary]
    next: str | None = Field(default=None, description="Give it as `cursor` for the next page; absent at the end.")


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
        events = await reading.history(connection, caller.tenant, name, (0, -1), _HISTORY_PAGE + 1)
    runs = [run for run in runs if not visibility.tells_of(found.hidden, run)]
    korean = reads_korean(request.headers.get("accept-language", "ko"))
    open_dues = [run["due"] for run in runs if run["state"] == "open"]
    detail = Detail(
        **summary(found.row, min(open_dues, default=None), tenant).model_dump(),
        language=found.row["language"],
        notify_by=found.row["notify_by"],
        deadlines=[_deadline(parts, run, tenant, korean) for run in runs],
        remedies=[_remedy(parts, row, tenant, korean) for row in owed if not visibility.tells_of(found.hidden, row)],
        history=_page(found, events, tenant),
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
        events = await reading.history(connection, caller.tenant, found.row["case"], behind, _HISTORY_PAGE + 1)
    page = _page(found, events, parts.tenants[caller.tenant])
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
        hidden = await reading.hidden(connection, caller, cases)
    due: dict[str, int] = {}
    for run in runs:
        seen = not visibility.tells_of(hidden.get(run["case"], frozenset()), run)
        if seen and run["state"] == "open" and run["due"] is not None:
            due[run["case"]] = min(run["due"], due.get(run["case"], run["due"]))
    return due


def summary(row: Row, due: int | None, tenant: Tenant) -> Summary:
    """A row of read.case_list as it is answered."""
    desk, opening = row["desk"] or {}, row["opening"]
    return Summary(
        case=row["case"],
        receipt=row["receipt"],
        source=row["source"],
        opened_by=opening["type"],
        opened_at=moment(opening["at"], tenant) or "",
        kind=row["kind"],
        state="pending"
        if row["closed"] is None
        else "stuck"
        if row["stuck"]
        else "closed"
        if row["closed"]
        else "open",
        department=desk.get("department"),
        officer=desk.get("officer"),
        due=moment(due, tenant),
    )


def _deadline(parts: Parts, run: Row, tenant: Tenant, korean: bool) -> Deadline:
    charter = parts.charter(tenant.id, run["charter"])
    promise = charter.promises.get(run["promise"]) if charter else None
    in_law = charter is not None and charter.law is not None and promise in charter.law.promises
    return Deadline(
        promise=run["promise"],
        says=promise.says["ko" if korean else "en"] if promise else None,
        by=None if promise is None else "law" if in_law else "charter",
        state=run["state"],
        started=moment(run["started"], tenant) or "",
        promised=moment(run["first_due"], tenant),
        due=moment(run["due"], tenant),
        provisional=run["provisional"],
        settled=moment(run["settled"], tenant),
        explain=f"/v1/cases/{run['case']}/deadlines/{run['promise']}/explain",
    )


def _remedy(parts: Parts, row: Row, tenant: Tenant, korean: bool) -> Remedy:
    charter = parts.charter(tenant.id, row["charter"])
    clause = next((one for one in charter.remedies if one.id == row["remedy"]), None) if charter else None
    return Remedy(
        remedy=row["remedy"],
        says=clause.says["ko" if korean else "en"] if clause else None,
        promise=row["promise"],
        amount=row["amount"],
        currency=row["currency"],
        state=row["payment"]
        if row["payment"] not in (None, "withdrawn")
        else "withdrawn"
        if row["withdrawn"]
        else "proposed",
        at=moment(row["at"], tenant) or "",
    )


def _page(found: Visible, rows: list[Row], tenant: Tenant) -> History:
    page = rows[:_HISTORY_PAGE]
    items = [_entry(row, tenant) for row in page if not visibility.tells_of(found.hidden, row)]
    more = len(rows) > _HISTORY_PAGE
    return History(items=items, next=cursors.cursor(page[-1]["sequence"], page[-1]["number"]) if more else None)


def _entry(row: Row, tenant: Tenant) -> Entry:
    return Entry(
        at=moment(row["at"], tenant) or "",
        recorded=moment(row["recorded"], tenant),
        what=row["what"],
        type=row["type"],
        source=row["source"],
        id=row["id"],
        voided=row["voided"],
        promise=row["promise"],
        due=moment(row["due"], tenant),
        data=reading.without_references(row["data"]),
    )


def _check_texts(filters: dict[str, Any]) -> None:
    for name, value in filters.items():
        if isinstance(value, str) and "\x00" in value:
            detail = "A text holds a character that no text can hold."
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_text", detail, f"/{name}")
