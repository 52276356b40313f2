"""Repeats: earlier cases of the same petitioner, for whoever decides whether a petition is one more of the same.

The one rule it protects: that two cases are one person's is known to the vault alone. Asking needs a sign-on, leaves
an access record first, and shows no case that the caller may not read anyway.
"""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from services.chassis.http import Problem
from services.intake.api import reading
from services.intake.api.answers import Cases, summary
from services.intake.api.callers import Asking
from services.intake.api.serving import TAGGED, Given, problems, tagged
from services.reading import visible

router = APIRouter(prefix="/v1", tags=["cases"])

PURPOSE = "handle:repeats"


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
    async with parts.pool.acquire() as connection:
        await connection.execute(
            "select vault.record_access($1, $2, $3, 'case', $4)",
            caller.tenant,
            f"{caller.role}/{caller.staff}",
            PURPOSE,
            found["case"],
        )
        records = await connection.fetch(
            'select l.* from read.same_person s join read.case_list l on l.tenant = s.tenant and l."case" = s.other'
            ' where s.tenant = $1 and s."case" = $2 and l.receipt < $3 order by l.receipt desc limit $4',
            caller.tenant,
            found["case"],
            found["receipt"],
            reading.SCANNED,
        )
        rows = await visible.readable(connection, caller, [visible.plain(record) for record in records])
    items = [summary(row, None, parts.tenants[caller.tenant]) for row in rows]
    return tagged(request, Cases(items=items).model_dump_json(exclude_none=True).encode())
