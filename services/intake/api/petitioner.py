"""What stands sealed behind a case: who petitioned, and what was written; and the cases of a telephone number.

The one rule it protects: personal data leaves the vault for a purpose of the closed list, to staff alone, with an
access record before anything is told, and never of a case that the caller may not read anyway. What is asked about a
person stands in no address, since addresses are logged by whatever lies in between.
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from contracts.events import PII_FIELDS
from services.chassis.http import Problem
from services.chassis.vault.keys import Connection, Erased, MasterKeyMissing, VaultError
from services.chassis.vault.purposes import purposes, reader_of
from services.chassis.vault.reading import NotAllowed
from services.intake.api import cursors, reading
from services.intake.api.answers import Cases, summary
from services.intake.api.callers import Asking
from services.intake.api.filing import body_of
from services.intake.api.serving import Given, Parts, problems
from services.reading import visibility, visible
from services.reading.visibility import Caller
from services.reading.visible import Row

router = APIRouter(prefix="/v1", tags=["cases"])

PAGE = 50
"""Texts on a page."""
_NUMBER = re.compile(r"[0-9+()\-. ]{7,40}")
_LOOK_UP_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["number"],
                "additionalProperties": False,
                "properties": {
                    "number": {
                        "type": "string",
                        "pattern": f"^{_NUMBER.pattern}$",
                        "description": "A telephone number, however it is written.",
                    }
                },
            },
            "examples": {"number": {"summary": "A telephone number", "value": {"number": "010-0000-0000"}}},
        }
    },
}


class Written(BaseModel):
    """A text of a case, with the event in which it came."""

    at: str
    type: str
    source: str
    id: str
    field: str = Field(description="Where it stood in the data of the event, such as `memo.matter`.")
    voided: bool = Field(description="Taken back since.")
    text: str


class Petitioner(BaseModel):
    """Who petitioned and what was written, as far as the purpose shows it."""

    case: str
    erased: bool = Field(description="Nothing is kept any more of the person.")
    name: str | None = None
    address: str | None = None
    phone: str | None = None
    mobile: str | None = None
    email: str | None = None
    texts: list[Written]
    next: str | None = Field(default=None, description="Give it as `cursor` for further texts; absent at the end.")


class _Reader(NamedTuple):
    """Who reads, as the access record names one, and for what."""

    name: str
    purpose: str


class _Reference(NamedTuple):
    """Where a text stands sealed: its reference, the fact in which it came, and the field there."""

    ref: str
    fact: Row
    field: str


@router.get(
    "/cases/{case}/petitioner",
    summary="Who petitioned, and what was written",
    response_model=Petitioner,
    response_model_exclude_none=True,
    responses=problems(404, 422, of_403="This is for staff, and what is confidential for audit alone."),
)
async def petitioner(
    case: str,
    request: Request,
    parts: Given,
    caller: Asking,
    cursor: Annotated[str | None, Query(description="`next` of the page before.", max_length=300)] = None,
) -> Petitioner:
    """For staff alone: of cases that they may read, for the purpose `handle`; for audit `confidential_report`. Each
    reading, and each refusal, stands in the access record."""
    reader = _reader(request, caller, "handle")
    begin = 0 if cursor is None else int(cursors.place(cursor, int)[0])
    found = await reading.visible_case(parts, caller, case)
    name = found.row["case"]
    async with parts.pool.acquire() as connection:
        try:
            person, erased = await _person(parts, connection, caller, name, reader)
            references = await _references(connection, caller, found, reader)
            page = references[begin : begin + PAGE]
            texts = [await _read(parts, connection, caller, one, reader) for one in page]
        except NotAllowed:
            detail = "Who filed this case is confidential, or not for your role to read. The attempt is on record."
            raise Problem(HTTPStatus.FORBIDDEN, "not_allowed", detail) from None
        except MasterKeyMissing:
            raise _unavailable() from None
    more = cursors.cursor(begin + PAGE) if len(references) > begin + PAGE else None
    told = [text for text in texts if text is not None]
    return Petitioner.model_validate({**person, "case": name, "erased": erased, "texts": told, "next": more})


@router.post(
    "/look-ups",
    summary="Cases of a telephone number",
    response_model=Cases,
    response_model_exclude_none=True,
    responses=problems(400, 413, 422, of_403="This is for staff with a sign-on of their own."),
    openapi_extra={"requestBody": _LOOK_UP_BODY},
)
async def look_up(request: Request, parts: Given, caller: Asking) -> Cases:
    """For staff alone: those that they may read, newest first. The number is compared by a keyed digest and kept
    nowhere; whom it led to is on record, also where none of their cases is shown."""
    reader = _reader(request, caller, "look_up")
    number = _number(await body_of(request))
    async with parts.pool.acquire() as connection:
        try:
            refs = await parts.vault.look_up(connection, caller.tenant, number, reader.purpose, reader.name)
        except NotAllowed:
            raise _for_staff() from None
        except MasterKeyMissing:
            raise _unavailable() from None
        records = await connection.fetch(_CASES_OF, caller.tenant, refs, reading.SCANNED)
        rows = await visible.readable(connection, caller, [visible.plain(record) for record in records])
    return Cases(items=[summary(row, None, parts.tenants[caller.tenant]) for row in rows])


def _reader(request: Request, caller: Caller, purpose: str) -> _Reader:
    """Whoever asks, for a purpose; audit reads for its own. Raises Problem 403 for a publishing system."""
    if caller.role == "publisher":
        raise _for_staff()
    name = reader_of(caller.role, caller.staff, request.client.host if request.client else "")
    return _Reader(name, "confidential_report" if caller.role == "audit" else purpose)


async def _person(
    parts: Parts, connection: Connection, caller: Caller, case: str, reader: _Reader
) -> tuple[dict[str, str], bool]:
    """What is known of the petitioner, and whether that was erased."""
    ref = await connection.fetchval(
        'select subject_ref from read.subject_refs where tenant = $1 and "case" = $2', caller.tenant, case
    )
    if ref is None:
        return {}, False
    try:
        known = await parts.vault.read_person(connection, caller.tenant, ref, reader.purpose, reader.name)
    except (NotAllowed, MasterKeyMissing):
        raise
    except VaultError:
        return {}, True
    return known, False


async def _references(
    connection: Connection, caller: Caller, found: reading.Visible, reader: _Reader
) -> list[_Reference]:
    """The texts of a case that are there for the purpose, oldest first; without those of facts hidden from the caller.

    Those that are confidential are not asked for where the purpose does not read them: nobody tried to.
    """
    sealed = await connection.fetch(
        "select text_ref from vault.texts where tenant = $1 and case_id = $2 and ($3 or not confidential)",
        caller.tenant,
        found.row["case"],
        purposes()[reader.purpose].confidential,
    )
    there = {row["text_ref"] for row in sealed}
    facts = await connection.fetch(
        'select * from read.case_facts where tenant = $1 and "case" = $2 order by sequence',
        caller.tenant,
        found.row["case"],
    )
    return [
        _Reference(ref, fact, field)
        for fact in map(visible.plain, facts)
        if not visibility.tells_of(found.hidden, fact)
        for field, ref in _texts(fact)
        if ref in there
    ]


def _texts(fact: Row) -> Iterator[tuple[str, str]]:
    """(field as it was published, reference) of each text of a fact, in the order of the contract."""
    for pii in PII_FIELDS.get(fact["type"], ()):
        found: Any = fact["data"]
        for step in pii.ref_path.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        if isinstance(found, str):
            yield pii.path, found


async def _read(
    parts: Parts, connection: Connection, caller: Caller, one: _Reference, reader: _Reader
) -> Written | None:
    try:
        text = await parts.vault.read_text(connection, caller.tenant, one.ref, reader.purpose, reader.name)
    except Erased:  # between the list and the reading
        return None
    fact = one.fact
    return Written(
        at=reading.moment(fact["occurred"], parts.tenants[caller.tenant]) or "",
        type=fact["type"],
        source=fact["source"],
        id=fact["id"],
        field=one.field,
        voided=fact["voided"],
        text=text,
    )


def _number(body: dict[str, object]) -> str:
    number = body.get("number")
    if not isinstance(number, str) or not _NUMBER.fullmatch(number):
        detail = "Write a telephone number of 7 to 40 characters: digits, spaces, and + ( ) - . between them."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "string_pattern_mismatch", detail, "/number")
    if len(body) > 1:
        detail = "There is a field here that is not known."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "extra_forbidden", detail, "")
    return number


def _for_staff() -> Problem:
    return Problem(HTTPStatus.FORBIDDEN, "not_allowed", "This is for staff with a sign-on of their own.")


def _unavailable() -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "The vault cannot be read now.", retry_after=60)


_CASES_OF = (
    'select l.* from read.case_list l where l.tenant = $1 and l."case" in'
    " (select case_id from vault.subjects where tenant = $1 and subject_ref = any($2::text[]))"
    " order by l.receipt desc limit $3"
)
