"""`gihan charter coverage`: every clause of the charters, how it is kept, and the tests that show it.

The one rule: a test counts for a clause only where it fails once the clause is gone, and `--prove` takes it out to see.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from contracts import files
from services.cli.charters import scenarios
from services.cli.charters.scenarios import Scenario
from services.rules.charter import Charter, Clause
from services.rules.rulebook import Library

TEST = "tests/unit/test_scenarios.py::test_scenario"
KEPT_BY = {
    "task": "task",
    "notice": "notice",
    "admission": "admission",
    "workflow": "page",
    "conduct": "report",
}
"""How a clause is kept that no rule with a clock, a number or amends keeps."""


def coverage(tenant: str | None = None, prove: bool = False) -> Iterator[dict[str, Any]]:
    """One object for each clause of the newest charters: id, tenant, kind, section, kept_by, status, tests, for
    conduct how to report against it, and with `prove` whether a test named for it fails without it.

    `status`: kept; partly, where a page, a message or a desk is still to come; listed, where no event can show it.
    """
    contents = files.read()
    library = Library(contents)
    stories = scenarios.read()
    for name in [tenant] if tenant else library.tenants():
        charter = library.charters_of(name)[-1][1]
        for row in _clauses(charter):
            told = [story for story in stories if story.clause == row["id"]]
            if not told and name not in {story.tenant for story in stories}:
                continue  # a charter for backtests only, with no document behind it
            row["tests"] = [f"{TEST}[{story.id}]" for story in told]
            if prove:
                row["proved"] = _fails_without(row["id"], f"charters/{name}-{charter.version}.yaml", told, contents)
            yield row


def _clauses(charter: Charter) -> Iterator[dict[str, Any]]:
    law = {promise.id for promise in charter.law.promises} if charter.law else set()
    for promise in charter.promises.values():
        if promise.id not in law:
            yield _row(charter, promise.id, promise.clause or promise.kind, promise.section, "rule", "kept")
    for remedy in charter.remedies:
        yield _row(charter, remedy.id, "remedy", remedy.section, "rule", "kept")
    for clause in charter.clauses.values():
        row = _row(charter, clause.id, clause.kind, clause.section, KEPT_BY[clause.kind], _status(clause))
        if clause.still:
            row["still"] = clause.still
        if clause.kind == "conduct":
            row["report"] = {"type": "fault.reported", "data": {"promise": clause.id}}
        yield row


def _row(charter: Charter, id: str, kind: str, section: str, kept_by: str, status: str) -> dict[str, Any]:
    return {
        "id": id,
        "tenant": charter.tenant,
        "kind": kind,
        "section": section,
        "kept_by": kept_by,
        "status": status,
    }


def _status(clause: Clause) -> str:
    if clause.kind == "conduct":
        return "listed"
    return "partly" if clause.still else "kept"


def _fails_without(id: str, name: str, stories: Iterable[Scenario], contents: Mapping[str, bytes]) -> bool:
    """Whether a story of the clause comes out otherwise when its charter lacks it."""
    library = Library({**contents, name: without(contents[name], id)})
    return any(scenarios.told(story, library) != list(story.expect) for story in stories)


def without(document: bytes, id: str) -> bytes:
    """A charter file without one clause, and without what names it."""
    content = yaml.load(document, Loader=yaml.CSafeLoader)
    for rows in ("promises", "remedies", "clauses"):
        content[rows] = [row for row in content.get(rows) or [] if row["id"] != id]
    for remedy in content["remedies"]:
        for trigger in remedy["on"]:
            for key in ("breach", "except"):
                if isinstance(trigger.get(key), list):
                    trigger[key] = [name for name in trigger[key] if name != id]
    text: str = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    return text.encode()
