"""The reference of the API as pages, made from its own OpenAPI document; they need no network but ours and no script.

The one rule: the pages say what the document says, so that neither can be right alone.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.intake.api.document import described

router = APIRouter(prefix="/docs", include_in_schema=False)

_PAGES = Path(__file__).parent / "pages"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-cache",
}
_DEEPEST = 4
_METHODS = ("get", "post", "delete")


class Field(NamedTuple):
    """A line of the table that explains a schema."""

    path: str
    kind: str
    required: bool
    personal: bool
    description: str


class Operation(NamedTuple):
    """A method on a path."""

    anchor: str
    method: str
    path: str
    content: dict[str, Any]
    fields: list[Field]
    examples: list[tuple[str, str]]


@router.get("")
async def reference(request: Request) -> Response:
    """Every operation, by subject."""
    app: FastAPI = request.app
    document = described(app)
    page = _environment().get_template("reference.html")
    return HTMLResponse(
        page.render(info=document["info"], tags=document["tags"], operations=_operations(document)), headers=_HEADERS
    )


@router.get("/events")
async def events(request: Request) -> Response:
    """Every type of event with its data."""
    document = described(request.app)
    schemas = document["components"]["schemas"]
    types = [
        (name, schema.get("description", ""), list(_fields(schema["allOf"][1]["properties"]["data"], schemas)))
        for name, schema in schemas.items()
        if "allOf" in schema and "." in name
    ]
    envelope = list(_fields(schemas["Envelope"], schemas, deepest=1))
    page = _environment().get_template("events.html")
    return HTMLResponse(page.render(info=document["info"], types=types, envelope=envelope), headers=_HEADERS)


@router.get("/style.css")
async def style() -> Response:
    """The one style sheet."""
    return Response((_PAGES / "style.css").read_bytes(), headers=_HEADERS, media_type="text/css")


def _operations(document: dict[str, Any]) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = {}
    schemas = document["components"]["schemas"]
    for path, item in document["paths"].items():
        for method in (name for name in _METHODS if name in item):
            content = item[method]
            bodies = content.get("requestBody", {}).get("content", {})
            media: dict[str, Any] = next(iter(bodies.values()), {})
            schema = media.get("schema", {})
            examples = [
                (example.get("summary", "Example"), json.dumps(example["value"], ensure_ascii=False, indent=2))
                for example in media.get("examples", {}).values()
            ]
            anchor = f"{method}{path}".replace("/", "-").replace("{", "").replace("}", "")
            fields = [] if "oneOf" in schema else list(_fields(schema, schemas))
            found.setdefault(content["tags"][0], []).append(Operation(anchor, method, path, content, fields, examples))
    return found


def _fields(
    schema: dict[str, Any], schemas: dict[str, Any], before: str = "", deepest: int = _DEEPEST
) -> Iterator[Field]:
    """Every field of an object, and those inside it."""
    schema = _resolved(schema, schemas)
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        full = {**_resolved(field, schemas), **field}
        path = f"{before}{name}"
        personal = "x-personal-data" in full
        yield Field(path, _kind(field, schemas), name in required, personal, full.get("description", ""))
        if deepest > 1 and "properties" in full:
            yield from _fields(full, schemas, f"{path}.", deepest - 1)


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return schemas[reference.rpartition("/")[2]] if reference else schema


def _kind(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """What a field holds, in a few words."""
    schema = _resolved(schema, schemas)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(choice, schemas) for choice in schema["anyOf"]))
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}), schemas)}"
    return str(schema.get("format") or schema.get("type") or "any")


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
