"""Every code that the front door answers with has a Korean sentence of its own."""

import ast
from pathlib import Path

import pytest
from pydantic import ValidationError

from contracts.envelope import Contract, Date, EventType, Id, Timestamp
from services.chassis.settings import ROOT
from services.intake.api import korean

CODE_FIRST, CODE_SECOND = ("Refusal", "_malformed", "Missing", "refusal_of"), ("Problem",)


def codes(source: str) -> set[str]:
    """The codes that a module's source gives out as plain words."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        place = 0 if node.func.id in CODE_FIRST else 1 if node.func.id in CODE_SECOND else None
        if place is not None and len(node.args) > place and isinstance(node.args[place], ast.Constant):
            found.add(str(node.args[place].value))
    return found


def test_every_code_has_a_korean_sentence() -> None:
    folders = ("services/intake", "services/chassis")
    files = [path for folder in folders for path in Path(ROOT, folder).glob("**/*.py")]
    found = set().union(*(codes(path.read_text(encoding="utf-8")) for path in files))
    assert {"unknown_tenant", "unknown_charter", "not_json", "too_many_requests", "other_source"} <= found
    assert sorted(found - set(korean._CODES)) == []


class Values(Contract):
    """One field of each form that publishers get wrong."""

    id: Id | None = None
    type: EventType | None = None
    time: Timestamp | None = None
    date: Date | None = None


@pytest.mark.parametrize(
    "value",
    [
        {"id": "../web"},
        {"type": "Complaint Received"},
        {"time": "yesterday"},
        {"time": "2026-03-12T18:00:00"},
        {"time": "2026-13-12T18:00:00+09:00"},
        {"time": "9999-03-12T18:00:00+09:00"},
        {"date": "12.3.2026"},
        {"date": "2026-02-30"},
        {"date": "1066-10-14"},
    ],
)
def test_every_form_of_a_value_is_explained_in_korean(value: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as wrong:
        Values.model_validate(value)
    (error,) = wrong.value.errors()
    assert korean.say(error["type"], error["msg"]) != korean._CODES["value_error"]
