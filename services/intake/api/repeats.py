"""Repeats: earlier cases of the same petitioner, for whoever decides whether a petition is one more of the same.

The one rule it protects: that two cases are one person's is known to the vault alone. Asking needs a sign-on, leaves
an access record first, and shows no case that the caller may not read anyway. Who filed what is confidential is told
for a purpose alone that reads what is confidential: a case of the same person under a name would say who it was.
"""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from services.chassis.http import Problem
from services.chassis.vault.purposes import purposes, reader_of
from services.intake.api import reading
from services.intake.api.answers import Cases, summary
from services.intake.api.callers import Asking
from services.intake.api.serving import TAGGED, Given, problems, tagged
from services.reading import visible

router = APIRouter(prefix="/v1", tags=["cases"])

PURPOSES = {"audit": "confidential_report"}
"""For what a role compares cases; all others handle them."""
OCCASION = "repeats"


@router.get(
    "/cases/{case}/earlier",
    summary="Earlier cases of the same petitioner",
    response_model=Cases,
    response_model_exclude_none=True,
    responses={**TAGGED, **problems(404, 422)},
)
async def earlier(case: str, request: Request, parts: Given, caller: Asking) -> Response:
    """For staff alone, newest first: those that they may read. What a closing as a repeat must name is among them."""
    if caller.role == "publisher":
        raise Problem(HTTPStatus.FORBIDDEN, "not_allowed", "This is for staff with a sign-on of their own.")
    found = (await reading.visible_case(parts, caller, case)).row
    purpose = PURPOSES.get(caller.role, "handle")
    reader = reader_of(caller.role, caller.staff, request.client.host if request.client else "")
    async with parts.pool.acquire() as connection:
        sealed = await connection.fetchval(_SEALED, caller.tenant, found["case"])
        allowed = purposes()[purpose].confidential or not sealed
        await connection.execute(
            "select vault.record_access($1, $2, $3, $4, $5)",
            caller.tenant,
            reader,
            f"{purpose}:{OCCASION}",
            "case" if allowed else "refused.case",
            found["case"],
        )
        if not allowed:
            detail = "Who filed this case is confidential. Audit alone may compare it with others."
            raise Problem(HTTPStatus.FORBIDDEN, "not_allowed", detail)
        records = await connection.fetch(
            _EARLIER, caller.tenant, found["case"], found["receipt"], reading.SCANNED, purposes()[purpose].confidential
        )
        rows = await visible.readable(connection, caller, [visible.plain(record) for record in records])
    items = [summary(row, None, parts.tenants[caller.tenant]) for row in rows]
    return tagged(request, Cases(items=items).model_dump_json(exclude_none=True).encode())


_SEALED = 'select confidential from read.subject_refs where tenant = $1 and "case" = $2'
_EARLIER = (
    'select l.* from read.same_person s join read.case_list l on l.tenant = s.tenant and l."case" = s.other'
    ' join read.subject_refs o on o.tenant = s.tenant and o."case" = s.other'
    ' where s.tenant = $1 and s."case" = $2 and l.receipt < $3 and ($5 or not o.confidential)'
    " order by l.receipt desc limit $4"
)
