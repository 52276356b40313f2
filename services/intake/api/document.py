"""Intake's OpenAPI document: the routes as they are, and every type of event as the contract has it.

The one rule: what it says of events and of resources comes from the contract's models, never from a second description.
"""

import json
from functools import cache
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from contracts.envelope import Contract, Envelope
from contracts.events import FACTS
from services.intake.api import examples
from services.intake.api.events import MOST
from services.intake.api.resources import BODIES
from services.intake.api.serving import ProblemDocument

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"
_ABOUT = """\
Deadlines of municipal service charters. Other systems publish what happened to a petition; Gihan works out every \
deadline that follows. Events are CloudEvents 1.0 in structured JSON. A resource such as a complaint is a simpler way \
to write an event. Every problem has the form of RFC 9457, in Korean or English as Accept-Language says."""
_TAGS = {
    "events": "What happened, one by one or many at a time.",
    "complaints": "Petitions and commendations, filed without writing an event.",
    "appointments": "Agreed times with an officer.",
    "callbacks": "Notes for an officer who could not be reached.",
    "faults": "Broken promises and faults, as citizens report them.",
    "cases": "How a case stands, by when what is promised, and why.",
    "privacy": "What is kept of a person, for that person.",
    "open311": "The same for software that speaks GeoReport v2. Problems have its own form.",
    "health": "For whoever runs Gihan.",
}


def document(app: FastAPI) -> Json:
    """The whole document."""
    content = FastAPI.openapi(app)
    content["info"]["description"] = _ABOUT
    content["tags"] = [{"name": name, "description": words} for name, words in _TAGS.items()]
    schemas: Json = content.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema(ref_template=_REFERENCE)
    names = _event_schemas(schemas)
    paths: Json = content["paths"]
    for operation in (operation for path in paths.values() for operation in path.values()):
        if "HTTPValidationError" in json.dumps(operation["responses"].get("422", "")):
            del operation["responses"]["422"]  # this one has a form of its own for what is wrong
    for path in ("/v1/events", "/v1/check"):
        paths[path]["post"]["requestBody"] = _events_body()
    for path, type in BODIES.items():
        paths[f"/v1/{path}"]["post"]["requestBody"] = _resource_body(schemas, path, type, names[type])
    plain: Json = _plain(content)
    return plain


def _event_schemas(schemas: Json) -> dict[str, Json]:
    """Adds the schema of every type of event; returns where the schema of each type's data is."""
    models: list[type[Contract]] = [Envelope, *FACTS.values()]
    places, definitions = models_json_schema([(m, "validation") for m in models], ref_template=_REFERENCE)
    schemas |= definitions["$defs"]
    for name, model in FACTS.items():
        schemas[name] = {
            "title": name,
            "description": " ".join((model.__doc__ or "").split()),
            "allOf": [
                places[Envelope, "validation"],
                {"properties": {"type": {"const": name}, "data": places[model, "validation"]}},
            ],
        }
    return {name: places[model, "validation"] for name, model in FACTS.items()}


def _events_body() -> Json:
    events = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in FACTS]}
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [events, {"type": "array", "items": events, "minItems": 1, "maxItems": MOST}]},
                "examples": {
                    "complaint": {"summary": "A petition is received", "value": examples.COMPLAINT_EVENT},
                    "array": {
                        "summary": "Two events of one case",
                        "value": [examples.COMPLAINT_EVENT, examples.COMPLETED_EVENT],
                    },
                },
            }
        },
    }


def _resource_body(schemas: Json, path: str, type: str, place: Json) -> Json:
    """The data of a type, with `case` and `time` beside it where the path does not name the case."""
    data: Json = json.loads(json.dumps(schemas[place["$ref"].rpartition("/")[2]]))
    more: Json = {"time": {"type": "string", "format": "date-time", "description": "When it happened; else now."}}
    if "{case}" not in path:
        more["case"] = {
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
            "description": "An id of your own for the case; else Gihan makes one.",
        }
    data["properties"] = {**data.get("properties", {}), **more}
    if path == "commendations":
        data["properties"].pop("kind")
        data["required"].remove("kind")
    return {
        "required": True,
        "content": {"application/json": {"schema": data, "examples": {"example": {"value": examples.RESOURCES[path]}}}},
    }


def _plain(node: Any) -> Any:
    """The document without null as a choice or a default: what is absent is left out."""
    if isinstance(node, list):
        return [_plain(part) for part in node]
    if not isinstance(node, dict):
        return node
    node = {name: value for name, value in node.items() if not (name == "default" and value is None)}
    choices = [choice for choice in node.get("anyOf", ()) if choice != {"type": "null"}]
    if choices:
        rest = {name: value for name, value in node.items() if name != "anyOf"}
        node = {**choices[0], **rest} if len(choices) == 1 else {**rest, "anyOf": choices}
    return {name: _plain(value) for name, value in node.items()}


@cache
def described(app: FastAPI) -> Json:
    """The document of an application, made once."""
    return document(app)
