"""A person's own copy of what is kept of them, made by staff who answer such requests.

The one rule it protects: it is opened for one purpose alone, by staff whose sign-on says so, of a person whom they have
identified; who, for whom and by what paper stands in the access record before anything is told.
"""

from http import HTTPStatus
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.chassis.http import Problem, reads_korean
from services.chassis.signon import PRIVACY
from services.chassis.vault import Connection, MasterKeyMissing, NotAllowed, Vault
from services.chassis.vault.purposes import reader_of
from services.intake.api import cursors, examples
from services.intake.api.callers import Asking, Gate
from services.intake.api.filing import body_of
from services.intake.api.serving import Given, problems
from services.intake.subject_access import whom
from services.intake.subject_access.dossier import PAGE, gather
from services.intake.subject_access.held import Held
from services.intake.subject_access.page import HEADERS, page
from services.intake.subject_access.whom import PURPOSE, Asker, Checked, Person
from services.intake.subject_access.words import Words

router = APIRouter(prefix="/v1", tags=["privacy"])


class Wanted(BaseModel):
    """Who asks for their own data, as the officer saw it."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"oneOf": [{"required": ["number"]}, {"required": ["receipt"]}]},
    )

    name: str = Field(min_length=1, max_length=200, description="As it stands on the paper.")
    number: str | None = Field(
        default=None,
        pattern=r"^[0-9+()\-. ]{7,40}$",
        description="A telephone number of theirs, however it is written.",
    )
    receipt: str | None = Field(
        default=None, min_length=1, max_length=40, description="The receipt number of a petition of theirs."
    )
    checked: Checked = Field(description="By what you know who asks, or that they may ask for somebody else.")

    @model_validator(mode="after")
    def _by_one_of_both(self) -> Self:
        if (self.number is None) == (self.receipt is None):
            raise ValueError(
                "give the person's telephone number, or the receipt number of a case of theirs: one of the two"
            )
        return self


_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}},
    **problems(
        400,
        404,
        413,
        422,
        of_403="This is for staff whose sign-on names `privacy` beside their role.",
        of_404="Nobody has both; or what there is complains of you or your department.",
    ),
}
_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": Wanted.model_json_schema(),
            "examples": {
                "number": {"summary": "By a telephone number", "value": examples.BY_NUMBER},
                "receipt": {"summary": "By a receipt number, for somebody else", "value": examples.BY_RECEIPT},
            },
        }
    },
}


@router.post(
    "/subject-access",
    summary="All that is kept of a person, for that person",
    response_model=Held,
    response_model_exclude_none=True,
    responses=_DOCUMENTED,
    openapi_extra={"requestBody": _BODY},
)
async def subject_access(
    request: Request,
    parts: Given,
    caller: Asking,
    cursor: Annotated[str | None, Query(description="`next` of the part before.", max_length=300)] = None,
) -> Response:
    """For staff with `privacy` in their sign-on, of a person whose paper they have seen: details, texts, messages,
    money, who read it when and for what, how long it stays and why. With `Accept: text/html` as a page to print.
    Reports that complain of you or your department are left out. Somebody erased is found by a receipt number alone."""
    if not caller.privacy:
        detail = "This is for staff whose sign-on lets them answer persons who ask for their own data."
        raise Problem(HTTPStatus.FORBIDDEN, "not_allowed", detail)
    gate: Gate = request.app.state.gate
    gate.whole_persons.take(caller.name)
    begin = 0 if cursor is None else int(cursors.place(cursor, int)[0])
    wanted = _wanted(await body_of(request))
    tenant = parts.tenants[caller.tenant]
    reader = reader_of(PRIVACY, caller.staff, request.client.host if request.client else "")
    asker = Asker(caller, reader, f"{PURPOSE}:{wanted.checked}")
    words = Words("ko" if reads_korean(request.headers.get("accept-language", "ko")) else "en", tenant)
    now = await parts.clock.now()
    async with parts.pool.acquire() as connection:
        try:
            person = await _person(connection, parts.vault, asker, wanted)
            found = person and await gather(connection, parts.vault, tenant, asker, person, words, now, begin, PAGE)
        except NotAllowed:
            raise Problem(HTTPStatus.FORBIDDEN, "not_allowed", "This is not for your role to read.") from None
        except MasterKeyMissing:
            detail = "The vault cannot be read now."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, retry_after=60) from None
    if found is None:
        detail = (
            "Nobody has this name and this number together. Look at the paper and at both again. Somebody erased is "
            "found by a receipt number alone."
        )
        raise Problem(HTTPStatus.NOT_FOUND, "unknown_person", detail)
    held, more = found
    held = held.model_copy(update={"next": cursors.cursor(begin + PAGE) if more else None})
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(page(held, words), headers={**HEADERS, "Content-Language": words.language})
    return Response(held.model_dump_json(exclude_none=True), media_type="application/json")


async def _person(connection: Connection, vault: Vault, asker: Asker, wanted: Wanted) -> Person | None:
    if wanted.number is not None:
        return await whom.by_number(connection, vault, asker, wanted.name, wanted.number)
    return await whom.by_receipt(connection, vault, asker, wanted.name, wanted.receipt or "")


def _wanted(body: dict[str, Any]) -> Wanted:
    try:
        return Wanted.model_validate(body)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from None
