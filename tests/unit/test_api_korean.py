"""Every code that the front door answers with has a Korean sentence of its own."""

import ast
from pathlib import Path

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
