"""Which events the demands of a charter can match at all, and whether one event can match two of them.

The one rule: what an event may say is read from the contract of its type, and from nowhere else.
"""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from contracts.events import FACTS, stored_model
from services.rules.charter import Condition, Match, Start

COMPUTED = frozenset({"period_days", "has_period"})
"""What a demand may name that no event carries."""


def obstacles(match: Match) -> Iterator[str]:
    """What keeps an event from ever matching: no such type, no such field, or a value that the field never has."""
    if match.type not in FACTS:
        yield f"There is no event {match.type}"
        return
    for condition in match.where:
        path = ".".join(condition.path)
        # What an event does not carry is looked for in the petition that it is about.
        possible = [_values(type, condition.path) for type in (match.type, "complaint.received")]
        values = next((found for found in possible if found is not None), None)
        if values is None and path not in COMPUTED:
            yield f"{match.type} has no field {path}"
        elif values and (wrong := _never(condition, values)):
            yield f"{path} of {match.type} is never {' or '.join(wrong)}"


def values(type: str, field: str) -> frozenset[str] | None:
    """The values that a field of an event may have, none where its contract lists none; None without such a field."""
    return _values(type, (field,))


def both(one: Start, other: Start) -> bool:
    """Whether one event can start both."""
    if one.match is None or other.match is None or one.match.type != other.match.type:
        return False
    pairs = [(a, b) for a in one.match.where for b in other.match.where if a.path == b.path]
    return not any(_apart(a, b) for a, b in pairs)


def _apart(one: Condition, other: Condition) -> bool:
    if one.test == other.test == "any_of":
        return not set(one.values) & set(other.values)
    if {one.test, other.test} == {"any_of", "none_of"}:
        chosen, barred = (one, other) if one.test == "any_of" else (other, one)
        return set(chosen.values) <= set(barred.values)
    return False


def _never(condition: Condition, values: frozenset[str]) -> list[str]:
    if condition.test != "any_of":
        return []
    return [value for value in condition.values if isinstance(value, str) and value not in values]


def _values(type: str, path: tuple[str, ...]) -> frozenset[str] | None:
    annotation = _annotation(stored_model(type), path)
    return None if annotation is None else _listed(annotation)


def _annotation(model: type[BaseModel], path: tuple[str, ...]) -> Any:
    """The annotation of a field named by its path, or None where there is none."""
    for name, info in model.model_fields.items():
        if (info.alias or name) != path[0]:
            continue
        if len(path) == 1:
            return info.annotation
        inner = (info.annotation, *get_args(info.annotation))
        models = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
        return next((found for one in models if (found := _annotation(one, path[1:])) is not None), None)
    return None


def _listed(annotation: Any) -> frozenset[str]:
    arguments = get_args(annotation)
    values = {value for value in arguments if isinstance(value, str)}
    return frozenset(values).union(*(_listed(inner) for inner in arguments if not isinstance(inner, str)))
