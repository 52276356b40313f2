"""What is withheld of departments: nobody who subtracts what is told from the city's numbers finds fewer than five."""

import itertools
import random

import pytest

from services.rules.reporting.withheld import FEW, OTHERS, groups, without_months


def test_small_departments_are_told_together() -> None:
    assert groups({"민원과": 40, "세무과": 12, "복지과": 3, "건설과": 2}) == {
        "민원과": "민원과",
        "세무과": "세무과",
        "복지과": OTHERS,
        "건설과": OTHERS,
    }


def test_a_small_department_takes_the_next_smallest_with_it() -> None:
    """Alone it would be the city's number less what is told; two that are three together would still be few."""
    assert groups({"a": 1, "b": 9, "c": 30}) == {"a": OTHERS, "b": OTHERS, "c": "c"}
    assert groups({"a": 1, "b": 2, "c": 6, "d": 30}) == {"a": OTHERS, "b": OTHERS, "c": OTHERS, "d": "d"}


def test_a_city_without_two_that_can_be_told_tells_none() -> None:
    assert groups({"a": 400}) == {}
    assert groups({"a": 4, "b": 400}) == {}
    assert groups({"a": 0, "b": 400}) == {}
    assert groups({}) == {}


def test_months_of_two_at_least_are_not_told() -> None:
    assert without_months({"a": [5, 6], "b": [7, 0]}) == set()
    assert without_months({"a": [5, 1], "b": [50, 60], "c": [7, 8]}) == {"a", "c"}
    assert without_months({"a": [5, 1], "b": [5, 4], "c": [7, 8]}) == {"a", "b"}


@pytest.mark.parametrize("seed", range(40))
def test_no_small_number_can_be_worked_out(seed: int) -> None:
    """Every table that fits what is told is tried: whatever is the same in all of them is nought, or five and more."""
    chance = random.Random(seed)
    table = {name: [chance.choice((0, 0, 1, 2, 3, 5, 6)) for _ in range(3)] for name in "abc"[: chance.randint(2, 3)]}
    named = groups({name: sum(counts) for name, counts in table.items()})
    rows: dict[str, list[int]] = {}
    for name, told in named.items():
        before = rows.get(told, [0, 0, 0])
        rows[told] = [one + more for one, more in zip(before, table[name], strict=True)]
    silent = sorted(without_months(rows))
    assert all(sum(counts) >= FEW for counts in rows.values())
    for name, counts in rows.items():
        assert name in silent or all(not 0 < count < FEW for count in counts)
    if not silent:
        return
    city = [sum(rows[name][month] for name in silent) for month in range(3)]
    fitting = _tables([sum(rows[name]) for name in silent], city)
    assert [rows[name] for name in silent] in fitting
    for row, month in itertools.product(range(len(silent)), range(3)):
        found = {each[row][month] for each in fitting}
        assert len(found) > 1 or not 0 < min(found) < FEW, (seed, silent, rows)


def _tables(sums: list[int], columns: list[int]) -> list[list[list[int]]]:
    """Every table of whole numbers with these sums."""
    if not sums:
        return [[]] if not any(columns) else []
    first = [
        [one, two, sums[0] - one - two]
        for one in range(min(sums[0], columns[0]) + 1)
        for two in range(min(sums[0] - one, columns[1]) + 1)
        if sums[0] - one - two <= columns[2]
    ]
    return [
        [row, *rest]
        for row in first
        for rest in _tables(sums[1:], [column - cell for column, cell in zip(columns, row, strict=True)])
    ]
