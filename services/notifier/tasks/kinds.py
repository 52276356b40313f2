"""The kinds of tasks: with whom each lies, what people call it, and how it may end.

The one rule: a charter may name any kind; one that is not in the file still reaches somebody.
"""

from functools import cache
from pathlib import Path

import msgspec
import yaml

DESK = "to_"


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of task. `due: promise`: by when the promise that wants it is due, else it has no date of its own."""

    lies_with: str
    ko: str
    en: str
    outcomes: tuple[str, ...]
    about_officer: bool = False
    due: str = ""


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
