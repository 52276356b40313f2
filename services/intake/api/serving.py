"""What every route has in common: the parts of intake that it uses, its problems as documented, and tagged answers.

The one rule it protects: an answer that depends on who asks is never kept by anything between them and us.
"""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple

import asyncpg
import orjson
from fastapi import Depends, Request, Response
from pydantic import BaseModel, Field

from services.chassis.clock import Clock
from services.chassis.http import PROBLEM, Problem
from services.chassis.vault import Vault
from services.intake.doors import Doors
from services.intake.judge import Refusal
from services.reading.explain import Explainer
from services.rules.charter import Charter
from services.rules.rulebook import Library
from services.rules.tenants import Tenant


class Parts(NamedTuple):
    """What routes work with."""

    pool: asyncpg.Pool
    clock: Clock
    doors: Doors
    explainer: Explainer
    tenants: Mapping[str, Tenant]
    library: Library
    vault: Vault

    def charter(self, tenant: str, label: str | None) -> Charter | None:
        """The version of a charter that a decision names."""
        return next((one for _, one in self.library.charters_of(tenant) if one.label == label), None)


async def _parts(request: Request) -> Parts:  # a plain function would go to a thread each time
    parts: Parts = request.app.state.parts
    return parts


Given = Annotated[Parts, Depends(_parts)]


class ProblemDocument(BaseModel):
    """A problem (RFC 9457), in Korean or English as Accept-Language says; never with a value that was sent."""

    title: str
    status: int
    code: str = Field(description="For machines; never changes.")
    detail: str = Field(description="What is wrong, and what to do.")
    pointer: str | None = Field(default=None, description="JSON pointer to the field at fault.")
    instance: str | None = Field(default=None, description="Names the request; look for it in the log.")
    errors: list[dict[str, str]] | None = Field(
        default=None, description="Of several fields: pointer, code and detail of each."
    )


_MEANING = {
    400: "It is not JSON, or not a text that can be kept.",
    401: "The key or token is missing, unknown or over.",
    403: "It is not yours to do.",
    404: "There is no such thing, or it is not yours to know of.",
    409: "The id was used before, with other content.",
    413: "It is too large.",
    422: "A field is missing or wrong; `pointer` says which.",
    429: "You ask too often, too much at once, or more than is worked off; see Retry-After.",
    503: "No answer in time. Send the same again, with the same id.",
}


def problems(*statuses: int, **meaning: str) -> dict[int | str, dict[str, Any]]:
    """How a route documents its problems; those of who asks and how often come with every route."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, 401, 403, 429, 503}):
        described: dict[str, Any] = {
            "description": meaning.get(f"of_{status}", _MEANING[status]),
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        if status in (429, 503):
            described["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
            }
        found[status] = described
    return found


TAGGED: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"ETag": {"description": "Changes with the answer.", "schema": {"type": "string"}}}},
    304: {"description": "Nothing has changed since the answer with the tag in If-None-Match."},
}
"""How a route documents that its answers carry a tag."""


def tagged(request: Request, content: Any) -> Response:
    """A JSON answer with its tag; 304 without content where the caller has it already."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization, Accept, Accept-Language"}
    known = {part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def problem(refusal: Refusal) -> Problem:
    """A refusal as a problem document."""
    return Problem(refusal.status, refusal.code, refusal.detail, refusal.pointer, refusal.retry_after)
