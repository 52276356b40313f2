"""Attributes as the core reads them: what Python itself says, whatever was read at the same place before.

Worth most where the core is compiled (`make wheel`), which remembers for each place in the code where a field stood.
"""

from datetime import UTC, datetime, time, timedelta
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rules.demands import walk
from services.rules.effective import key_of
from services.rules.facts import Data, Fact, Memo


class Slotted:
    """Fields at fixed offsets, in another order than a fact's."""

    __slots__ = ("id", "other", "source")

    def __init__(self, source: str, id: str) -> None:
        self.source = source
        self.id = id


class Computed:
    """No fields at all."""

    @property
    def source(self) -> str:
        return "computed"

    @property
    def id(self) -> str:
        return "by a property"


class Answering:
    """Answers for itself whatever it is asked."""

    def __getattr__(self, name: str) -> str:
        return f"answer to {name}"


def kinds() -> list[Any]:
    return [
        Fact(1, "desk", "first", "complaint.received", 0),
        Slotted("slotted", "second"),
        SimpleNamespace(source="named", id="third"),
        Computed(),
        Answering(),
    ]


@pytest.mark.parametrize("order", permutations(range(len(kinds())), 3))
def test_one_place_reads_values_of_several_types(order: tuple[int, ...]) -> None:
    values = kinds()
    for number in (*order, *order):
        value = values[number]
        assert key_of(value) == f"{value.source}/{value.id}"


NAMES = [name for name in Data.__struct_fields__ if name not in ("memo", "period")]


@given(
    asked=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(NAMES)), max_size=40),
    values=st.lists(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=3)), min_size=3, max_size=3),
)
def test_one_place_reads_fields_of_several_names(asked: list[tuple[int, str]], values: list[dict[str, Any]]) -> None:
    data = [Data(**value) for value in values]
    for number, name in asked:
        # A name that nobody else holds: the next one may stand where it stood.
        assert walk(("".join(name),), data[number]) == values[number].get(name)


def test_a_path_goes_through_values_of_two_types() -> None:
    data = Data(officer="officer-1", memo=Memo(taken_by="officer-2"))
    for _ in range(3):
        assert walk(("memo", "taken_by"), data) == "officer-2"
        assert walk(("officer",), data) == "officer-1"


class Borrowing:
    """Has what computes an attribute of another type."""

    hour = time.__dict__["hour"]


def test_one_place_reads_what_types_compute() -> None:
    moment = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    asked: list[tuple[Any, str, Any]] = [
        (moment, "hour", 9),
        (moment, "tzinfo", UTC),
        (moment.date(), "year", 2026),
        (moment.time(), "hour", 9),
        (timedelta(days=2), "days", 2),
        (7, "imag", 0),
        (SimpleNamespace(hour=4), "hour", 4),
    ]
    for number in (0, 1, 2, 3, 0, 4, 5, 6, 0, 3, 2, 6, 1, 1):
        value, name, expected = asked[number]
        assert walk((name,), value) == expected


def test_what_computes_an_attribute_of_another_type_refuses() -> None:
    borrowing: Any = Borrowing()
    for _ in range(2):
        with pytest.raises(TypeError, match="hour"):
            walk(("hour",), borrowing)


def test_a_type_that_changes_is_asked_anew() -> None:
    class Changing(Slotted):
        __slots__ = ()

    value: Any = Changing("before", "x")
    assert [key_of(value), key_of(value)] == ["before/x"] * 2
    Changing.source = property(lambda self: "after")  # type: ignore[assignment]
    assert key_of(value) == "after/x"
    del Changing.source
    assert key_of(value) == "before/x"


def test_a_field_that_is_not_set_is_told_of() -> None:
    value: Any = Slotted("set", "set")
    assert [key_of(value), key_of(value)] == ["set/set"] * 2
    del value.id
    with pytest.raises(AttributeError, match="id"):
        key_of(value)
    value.id = "again"
    assert key_of(value) == "set/again"
