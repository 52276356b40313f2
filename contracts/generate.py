"""Writes what others read of the contracts: JSON Schemas, AsyncAPI and OpenAPI. `--check` only compares.

The one rule: the models and the table of streams are the only source; no generated file is edited by hand.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from contracts.decisions import DECISIONS
from contracts.envelope import (
    MEDIA_TYPE,
    UPCASTERS,
    Accepted,
    Contract,
    Envelope,
    Refused,
    StoredEnvelope,
    schema_name,
)
from contracts.events import CLOCK_TYPE, FACTS, INBOX_TYPES, ClockAdvanced, stored_model
from contracts.notices import NOTICES
from contracts.streams import PARTITIONS, STREAMS

HERE = Path(__file__).parent
SCHEMAS = "schemas"
COMMAND = "python -m contracts.generate"
_OPENAPI_MODULE = "services.intake.openapi"

Json = dict[str, Any]


def schema(model: type[Contract], id: str, title: str) -> Json:
    """JSON Schema 2020-12 of a model. Absent values are left out of events, so null is not offered here."""
    content = _plain(model.model_json_schema())
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": id, "title": title}
    return head | {name: value for name, value in content.items() if name != "title"}


def _plain(node: Any) -> Any:
    """The schema without what the generator adds for Python's sake: titles of fields, null as a default."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {name: value for name, value in node.items() if not (name == "default" and value is None)}
    if isinstance(words := node.get("description"), str):
        node["description"] = " ".join(words.split())
    if choices := [choice for choice in node.get("anyOf", ()) if choice != {"type": "null"}]:
        del node["anyOf"]
        node |= choices[0] if len(choices) == 1 else {"anyOf": choices}
    properties = {
        name: {key: inner for key, inner in value.items() if key != "title"}
        for name, value in node.get("properties", {}).items()
    }
    return {
        name: {key: _plain(inner) for key, inner in properties.items()} if name == "properties" else _plain(value)
        for name, value in node.items()
    }


def schemas() -> dict[str, Json]:
    """Every schema by its file name below contracts/."""
    found = {
        "envelope": schema(Envelope, "urn:gihan:envelope", "An event as published"),
        "stored/envelope": schema(StoredEnvelope, "urn:gihan:stored:envelope", "An event as stored"),
        "accepted": schema(Accepted, "urn:gihan:accepted", "The answer to an event that is recorded"),
        "refused": schema(Refused, "urn:gihan:refused", "The answer to an event that is refused"),
    }
    for type, model in {**FACTS, **DECISIONS, **NOTICES}.items():
        found[_file(type)] = schema(model, schema_name(type, UPCASTERS.current(type)), type)
    stored = {type: stored_model(type) for type in FACTS} | {CLOCK_TYPE: ClockAdvanced}
    for type, model in stored.items():
        id = schema_name(type, UPCASTERS.current(type)).replace("urn:gihan:", "urn:gihan:stored:")
        found[f"stored/{_file(type)}"] = schema(model, id, f"{type}, as stored")
    return {f"{SCHEMAS}/{name}.json": content for name, content in found.items()}


def _file(type: str) -> str:
    return f"{type}.{UPCASTERS.current(type)}"


def asyncapi() -> Json:
    """AsyncAPI 3.0: the subjects, what goes over them, and the streams that keep it."""
    stored = [f"stored.{type}" for type in FACTS]
    channels = {
        "door": _channel("door.{tenant}.{source}", "Events, answered at once.", FACTS),
        "inbox": _channel(
            "inbox.{tenant}.{source}.{noun}.{verb}",
            "Events without personal data, answered later.",
            INBOX_TYPES,
        ),
        "receipts": _channel(
            "receipts.{tenant}.{source}",
            "What became of a publisher's events.",
            ("accepted", "refused"),
        ),
        "feed": _channel("feed.{tenant}.{source}", "Decisions on a publisher's own cases.", DECISIONS),
        "cases": _channel("cases.{partition}.{tenant}.{noun}.{verb}", "Facts. Inside Gihan only.", stored),
        "clock": _channel("cases.{partition}.clock", "Time. Inside Gihan only.", (CLOCK_TYPE,)),
        "sla": _channel("sla.{partition}.{tenant}.{noun}.{verb}", "Decisions.", DECISIONS),
        "notices": _channel("notices.{partition}.{tenant}.{noun}.{verb}", "What was sent and done.", NOTICES),
    }
    operations = {
        "answerEvents": _operation("receive", "door", "A publisher asks, and is answered once the log has it.")
        | {"reply": {"channel": {"$ref": "#/channels/doorReply"}}},
        "takeEvents": _operation("receive", "inbox", "A publisher leaves an event and goes on."),
        "sendReceipts": _operation("send", "receipts", "What became of each event."),
        "sendFeed": _operation("send", "feed", "Decisions for the owner of a case."),
        "sendDecisions": _operation("send", "sla", "Decisions for the municipality's own users."),
        "sendNotices": _operation("send", "notices", "Results for the municipality's own users."),
    }
    answers = {name: {"$ref": f"#/components/messages/{name}"} for name in ("accepted", "refused")}
    channels["doorReply"] = {
        "address": None,
        "description": "The reply subject of the request; an array is answered by an array.",
        "messages": answers,
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Gihan",
            "version": "1",
            "description": "Deadlines of municipal service charters: CloudEvents 1.0, structured JSON.",
        },
        "defaultContentType": MEDIA_TYPE,
        "channels": channels,
        "operations": operations,
        "components": {"messages": _messages(), "parameters": _parameters()},
        "x-partitions": PARTITIONS,
        "x-streams": [asdict(stream) for stream in STREAMS],
    }


def _channel(address: str, description: str, messages: Iterable[str]) -> Json:
    names = [part.split("}")[0] for part in address.split("{")[1:]]
    return {
        "address": address,
        "description": description,
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }


def _operation(action: str, channel: str, summary: str) -> Json:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _parameters() -> Json:
    return {
        "tenant": {"description": "The municipality."},
        "source": {"description": "The publishing system."},
        "noun": {"description": "The first word of the type."},
        "verb": {"description": "The second word of the type."},
        "partition": {"description": f"0 to {PARTITIONS - 1}: crc32 of tenant.case modulo {PARTITIONS}."},
    }


def _messages() -> Json:
    found: Json = {
        name: {
            "name": name,
            "contentType": "application/json",
            "payload": {"$ref": f"./{SCHEMAS}/{name}.json"},
        }
        for name in ("accepted", "refused")
    }
    for type, model in FACTS.items():
        found[type] = _message(type, model, "envelope", _file(type))
        found[f"stored.{type}"] = _message(type, model, "stored/envelope", f"stored/{_file(type)}")
    found[CLOCK_TYPE] = _message(CLOCK_TYPE, ClockAdvanced, "stored/envelope", f"stored/{_file(CLOCK_TYPE)}")
    for type, model in {**DECISIONS, **NOTICES}.items():
        found[type] = _message(type, model, "stored/envelope", _file(type))
    return found


def _message(type: str, model: type[Contract], envelope: str, data: str) -> Json:
    of_type = {"type": {"const": type}, "data": {"$ref": f"./{SCHEMAS}/{data}.json"}}
    return {
        "name": type,
        "summary": (model.__doc__ or "").strip(),
        "payload": {"allOf": [{"$ref": f"./{SCHEMAS}/{envelope}.json"}, {"type": "object", "properties": of_type}]},
    }


def openapi() -> str | None:
    """The OpenAPI document that intake prints of itself, or nothing where intake is not there.

    It is asked as a process of its own, since contracts import nothing of the services. Raises RuntimeError
    where it cannot say.
    """
    root = HERE.parent
    if not (root / Path(*_OPENAPI_MODULE.split("."))).with_suffix(".py").is_file():
        return None
    asked = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", _OPENAPI_MODULE], cwd=root, capture_output=True, text=True, check=False
    )
    if asked.returncode:
        raise RuntimeError(f"{_OPENAPI_MODULE} cannot print its document:\n{asked.stderr[-2000:]}")
    return asked.stdout


def documents() -> dict[str, str]:
    """Every generated file by its path below contracts/."""
    found = {name: json.dumps(content, ensure_ascii=False, indent=2) + "\n" for name, content in schemas().items()}
    plain = json.loads(json.dumps(asyncapi()))  # no shared objects, so no aliases in the YAML
    found["asyncapi.yaml"] = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)
    if (document := openapi()) is not None:
        found["openapi.yaml"] = document
    return found


def differences(wanted: Mapping[str, str], folder: Path) -> list[str]:
    """What a file below the folder lacks to be as wanted: one line a file, none where all is well."""
    found = []
    for name, content in wanted.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{path}: missing")
        elif path.read_text(encoding="utf-8") != content:
            found.append(f"{path}: stale")
    return found + [f"{path}: stray, nothing generates it" for path in _strays(wanted, folder)]


def _strays(wanted: Mapping[str, str], folder: Path) -> list[Path]:
    present = sorted((folder / SCHEMAS).rglob("*.json"))
    return [path for path in present if path.relative_to(folder).as_posix() not in wanted]


def write(wanted: Mapping[str, str], folder: Path) -> None:
    """Writes what is wanted and removes schemas that nothing generates any more."""
    for path in _strays(wanted, folder):
        path.unlink()
    for name, content in wanted.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Writes, or with --check compares; 1 where something differs."""
    if arguments not in ([], ["--check"]):
        print(f"usage: {COMMAND} [--check]", file=sys.stderr)
        return 2
    wanted = documents()
    if not arguments:
        write(wanted, HERE)
        print(f"{len(wanted)} files are up to date")
        return 0
    found = differences(wanted, HERE)
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print(f"The contracts have changed. Write them anew with: {COMMAND}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
