"""Words of the desk: what promises, amends and clauses are called, and how a task is told in a line.

The one rule it protects: what a charter says is told in the charter's own words, and a code without any as itself.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from services.notifier.tasks import kinds
from services.reading.speaking import Moment, Speaker
from services.rules.instants import Instant
from services.rules.rulebook import Library


class Line(NamedTuple):
    """A task as a row of a list."""

    key: str
    task: str
    says: str
    case: str
    receipt: str | None
    readable: bool
    department: str
    officer: str
    due: Moment | None
    overdue: bool
    amount: str
    wants: tuple[str, ...]
    state: str
    ready: bool
    """Whether it waits for an approval alone."""


def line(row: Mapping[str, Any], speaker: Speaker, says: Mapping[str, Mapping[str, str]], now: Instant) -> Line:
    """A row of lists.read in words."""
    about = says.get(row["promise"] or "") or says.get(row["remedy"] or "") or {}
    ready = row["remedy_key"] is not None and row["state"] == "assigned" and not row["wants"]
    return Line(
        key=row["key"],
        task=task_name(speaker, row["task"]),
        says=about.get(speaker.language, row["promise"] or row["remedy"] or ""),
        case=row["case"],
        receipt=row["receipt"],
        readable=row["readable"],
        department=row["department"] or "",
        officer=row["officer"] or "",
        due=speaker.when(row["due"], ends=True) if row["due"] is not None else None,
        overdue=row["due"] is not None and row["due"] < now and row["open"],
        amount=speaker.amount(row["amount"], row["currency"] or "KRW") if row["amount"] is not None else "",
        wants=tuple(speaker.say(f"wants.{one}") for one in row["wants"]),
        state=speaker.say(f"state.{row['state']}"),
        ready=ready,
    )


def task_name(speaker: Speaker, task: str) -> str:
    """What a task is called."""
    kind = kinds.of(task)
    return kind.ko if speaker.language == "ko" else kind.en


def named(speaker: Speaker, group: str, code: str) -> str:
    """What a code is called, the code itself where nobody named it."""
    try:
        return speaker.say(f"{group}.{code}")
    except KeyError:
        return code


class Sayings:
    """What promises, remedies and clauses of a city say, by id, in its newest charter that has them."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self.of = cache(self._read)

    def _read(self, tenant: str) -> Mapping[str, Mapping[str, str]]:
        found: dict[str, Mapping[str, str]] = {}
        for _, charter in self._library.charters_of(tenant):
            found |= {one.id: one.says for one in charter.promises.values()}
            found |= {one.id: one.says for one in charter.remedies}
            found |= {one.id: one.says for one in charter.clauses.values()}
        return found
