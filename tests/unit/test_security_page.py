"""docs/security.md names the test that shows each line: there is one of each name."""

import ast
import re

from services.chassis.settings import ROOT


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+(?:\.py)?)`", page))
    files = list((ROOT / "tests").glob("**/test_*.py"))
    found = {path.name for path in files}
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert len(named) > 30
    assert sorted(named - found) == []
