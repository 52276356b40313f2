"""Events: published one by one or many at a time, and what became of each.

The one rule it protects: a publisher is who its key says, never who its event says.
"""

from http import HTTPStatus
from typing import Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.routing import Route

from contracts.envelope import Accepted, Refused
from services.chassis.http import Problem, said
from services.intake.api.callers import Asking, entered
from services.intake.api.filing import check_stating, event_id
from services.intake.api.reading import is_visible
from services.intake.api.serving import TAGGED, Given, Parts, problem, problems, tagged
from services.intake.doors import json_of
from services.intake.judge import AHEAD_MINUTES, Publisher, Refusal
from services.intake.parsing import parse
from services.reading.visibility import Caller
from services.rules.instants import MINUTE

MOST = 1_000
"""Events in one request."""

router = APIRouter(prefix="/v1", tags=["events"])


class Fate(BaseModel):
    """What became of an event. What the law refuses later is told on RECEIPTS."""

    status: Literal["accepted", "waiting", "pending", "refused"] = Field(
        description="pending: on its way into the log; ask again in a moment."
    )
    source: str
    id: str
    type: str
    case: str
    receipt: str | None = Field(default=None, description="The receipt number of the case.")
    backdated: bool = Field(description="It happened more than five minutes before it came.")
    code: str | None = Field(default=None, description="Why it was refused.")


@router.post(
    "/events",
    summary="Publish one event, or an array of up to 1,000",
    response_model=Accepted | list[Accepted | Refused],
    response_model_exclude_none=True,
    responses=problems(400, 404, 409, 413, 422),
    openapi_extra={
        "security": [{"HTTPBearer": []}],
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string"},
                "description": "Names a single event that has no id of its own, in double quotes.",
            }
        ],
    },
)
async def publish(request: Request) -> Response:
    """Answers after the log has acknowledged. An array is answered with an array, event by event."""
    # The busiest route by far: it asks for its parts itself, since the framework's way costs twice as much (`DIRECT`).
    parts: Parts = request.app.state.parts
    key = request.headers.get("idempotency-key")
    async with entered(request) as caller:
        body = await request.body()
        try:
            if key is not None or caller.role != "publisher":
                body = await _completed(parts, caller, body, key)
            answer = await parts.doors.receive(body, Publisher(caller.tenant, caller.source), "http", MOST)
        except Refusal as refusal:
            raise problem(refusal) from None
    content = [_told(one) for one in answer] if isinstance(answer, list) else answer
    return Response(json_of(content), media_type="application/json")


DIRECT = Route("/v1/events", publish, methods=["POST"])
"""The same, before all other routes and without FastAPI, which would look for what it has to fill in and find nothing:
half of what a request costs until it is judged. The route above says in the document what it takes."""


@router.get(
    "/events/{source}/{id}",
    summary="What became of an event",
    response_model=Fate,
    response_model_exclude_none=True,
    responses={**TAGGED, **problems(404, 422, of_404="You have published no such event.")},
)
async def fate(source: str, id: str, request: Request, parts: Given, caller: Asking) -> Response:
    """Of your own events alone."""
    row = None
    if source.lower() == caller.source and "\x00" not in id:
        row = await parts.pool.fetchrow(
            "select * from read.event_fate where tenant = $1 and source = $2 and id = $3",
            caller.tenant,
            caller.source,
            id.lower(),
        )
    # Staff share a source: what one of them published is not for all of them to know.
    if row is None or (caller.role != "publisher" and not await is_visible(parts, caller, row["case"])):
        raise Problem(HTTPStatus.NOT_FOUND, "unknown_event", "You have published no event of this name.")
    backdated = row["recorded"] - row["occurred"] > AHEAD_MINUTES * MINUTE
    found = Fate(**{**dict(row), "code": row["refusal"], "backdated": backdated})
    return tagged(request, found.model_dump(exclude_none=True))


async def _completed(parts: Parts, caller: Caller, body: bytes, key: str | None) -> bytes:
    """The body with the id that follows from the key, after staff were asked whether they may state it."""
    value = parse(body)
    events = value if isinstance(value, list) else [value]
    if key is not None and isinstance(value, dict) and "id" not in value:
        value["id"] = event_id(caller, key)
        body = orjson.dumps(value)
    for event in events[:MOST]:
        if isinstance(event, dict):
            await check_stating(parts, caller, event.get("type"), event.get("subject"))
    return body


def _told(answer: Accepted | Refused) -> Accepted | Refused:
    """An answer in the language of the reader."""
    if isinstance(answer, Refused):
        return answer.model_copy(update={"detail": said(answer.code, answer.detail)})
    return answer
