"""Demands: whether the data of an event meet what a charter asks of them.

The one rule: what an event does not carry is looked for in the petition that it is about, and an absent field means
what the contract of events says it means.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from services.rules import counting
from services.rules.counting import Span
from services.rules.facts import Data, Period

if TYPE_CHECKING:
    from services.rules.charter import Charter, Condition, Match, Petition

DEFAULTS: Final[Mapping[str, Any]] = {"cause": "absent", "line_busy": True}
"""What an absent field means (the contract of events)."""

DERIVED = frozenset({"period_days", "has_period", "policy"})
"""What a demand may name besides the fields of the data."""


def matches(match: "Match", type: str, data: Data, petition: "Petition") -> bool:
    """Whether an event of a type, with these data, is one that a charter speaks of."""
    return match.type == type and all_hold(match.where, data, petition)


def all_hold(where: "tuple[Condition, ...]", data: Data, petition: "Petition") -> bool:
    """Whether data meet every demand."""
    for condition in where:  # noqa: SIM110 - asked several times of every fact
        if not holds(condition, data, petition):
            return False
    return True


def answers(where: "tuple[Condition, ...]", data: Data, begun: Data) -> bool:
    """Whether data name the same as those of the event that began a run, where they must."""
    for one in where:  # noqa: SIM110 - as above
        if one.test == "same" and walk(one.path, data) != walk(one.path, begun):
            return False
    return True


def holds(condition: "Condition", data: Data, petition: "Petition") -> bool:
    """Whether data meet one demand."""
    name, test = condition.field, condition.test
    if not name:
        value = field(condition.path, data, petition)
    else:
        value = getattr(data, name)
        if value is None:
            value = getattr(petition.data, name)
        if value is None:
            value = condition.absent
    if test == "any_of":
        return value in condition.values
    if test == "none_of":
        return value not in condition.values
    if test == "present":
        return (value is not None) is bool(condition.values[0])
    if test == "same":
        return value is not None
    if test == "includes":
        return value is not None and condition.values[0] in value
    return value is not None and bool(value >= condition.values[0])


def period_of(charter: "Charter", data: Data) -> Period | None:
    """The handling period of a case with these data: as set, or that of its service, or that of its kind in law."""
    if data.period is not None:
        return data.period
    service = charter.services.get(data.service or "")
    if service is not None and service.period is not None:
        return service.period
    return charter.law.periods.get(data.kind or "") if charter.law else None


def field(path: tuple[str, ...], data: Data, petition: "Petition") -> Any:
    """What stands in a field, or is computed; None where nothing does."""
    name, period = path[0], petition.period
    if name == "period_days":
        return None if period is None else counting.days_of(Span(period.amount, period.unit))
    if name == "has_period":
        return period is not None
    if name == "policy":
        return getattr(petition.policy, path[1])
    value = walk(path, data)
    if value is None:
        value = walk(path, petition.data)
    return DEFAULTS.get(name) if value is None else value


def walk(path: tuple[str, ...], data: Data) -> Any:
    """What the data themselves have at the end of a path."""
    value: Any = data
    for part in path:
        value = getattr(value, attribute(part))
        if value is None:
            return None
    return value


def attribute(name: str) -> str:
    """The name of a field in Python, which keeps one word for itself."""
    return "class_" if name == "class" else name
