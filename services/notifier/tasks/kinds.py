"""The kinds of tasks: with whom each lies, what people call it, how it may end, and which facts say that it has.

The one rule: a charter may name any kind; one that is not in the file still reaches somebody.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

DESK = "to_"


class Ending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fact that says that a task has ended, and how; `where` are flags that its data must have."""

    fact: str
    outcome: str
    where: dict[str, bool] = {}


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of task. `due: promise`: by when the promise that wants it is due, else it has no date of its own."""

    lies_with: str
    ko: str
    en: str
    outcomes: tuple[str, ...]
    about_officer: bool = False
    due: str = ""
    ended_by: tuple[Ending, ...] = ()


@cache
def known() -> dict[str, Kind]:
    """Every kind of the file, by the code that charters use."""
    file = Path(__file__).with_name("kinds.yaml")
    return msgspec.convert(yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader), dict[str, Kind])


def of(task: str) -> Kind:
    """The kind of a task, or what holds for one that the file does not know."""
    if task in known():
        return known()[task]
    words = task.replace("_", " ")
    if task.startswith(DESK):
        return Kind(task.removeprefix(DESK), words, words, ("taken", "handed_on"))
    return Kind("department", words, words, ("done", "not_possible"))


def ended_by(type: str, data: Mapping[str, Any], tasks: Collection[str]) -> dict[str, str]:
    """The outcomes of those of the tasks that a fact ends."""
    return {
        task: one.outcome
        for task, one in _endings().get(type, ())
        if task in tasks and all(data.get(field) is value for field, value in one.where.items())
    }


@cache
def _endings() -> Mapping[str, Sequence[tuple[str, Ending]]]:
    found: dict[str, list[tuple[str, Ending]]] = {}
    for task, kind in known().items():
        for one in kind.ended_by:
            found.setdefault(one.fact, []).append((task, one))
    return found
