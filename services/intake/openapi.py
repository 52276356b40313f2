"""Intake's OpenAPI document: `python -m services.intake.openapi` prints it as YAML.

The one rule: what it says of events comes from the contract's models, never from a second description.
"""

from typing import Any

import yaml
from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from contracts.envelope import Contract, Envelope
from contracts.events import FACTS
from services.chassis.settings import Settings
from services.intake.app import build_app
from services.intake.judge import MAX_EVENTS

_HEAD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "web-2026-000123",
    "source": "web",
    "type": "complaint.received",
    "subject": "m-2026-000123",
    "time": "2026-03-12T09:30:00+09:00",
    "tenant": "seoul",
}
_COMPLAINT: dict[str, Any] = {
    **_HEAD,
    "data": {
        "channel": "web",
        "kind": "inquiry",
        "title": "가로등이 꺼져 있습니다",
        "text": "공원 입구의 가로등이 사흘째 꺼져 있습니다.",
        "applicant": {
            "name": "홍길동",
            "address": "서울시 중구 1",
            "mobile": "010-0000-0000",
            "email": "gildong@citizen.example",
        },
        "notify_by": "sms",
        "language": "ko",
    },
}
_COMPLETED: dict[str, Any] = {
    **_HEAD,
    "id": "web-2026-000124",
    "type": "complaint.completed",
    "data": {"outcome": "answered", "by": "k-1024"},
}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of intake, with a schema for every type of event."""
    content = app.openapi()
    schemas = content["components"]["schemas"]
    models: list[type[Contract]] = [Envelope, *FACTS.values()]
    names, definitions = models_json_schema(
        [(m, "validation") for m in models], ref_template="#/components/schemas/{model}"
    )
    schemas |= definitions["$defs"]
    for name, model in FACTS.items():
        schemas[name] = {
            "title": name,
            "allOf": [
                names[Envelope, "validation"],
                {"properties": {"type": {"const": name}, "data": names[model, "validation"]}},
            ],
        }
    events = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in FACTS]}
    content["paths"]["/v1/events"]["post"]["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [events, {"type": "array", "items": events, "maxItems": MAX_EVENTS}]},
                "examples": {
                    "complaint": {"summary": "A petition is received", "value": _COMPLAINT},
                    "array": {"summary": "Two events of one case", "value": [_COMPLAINT, _COMPLETED]},
                },
            }
        },
    }
    return content


if __name__ == "__main__":
    app = build_app(Settings(nats_url="", database_url="", service="intake"))
    print(yaml.safe_dump(document(app), allow_unicode=True, sort_keys=False, width=110), end="")  # noqa: T201
