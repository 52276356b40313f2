"""Tariffs: what lateness costs, where a charter pays by how late a result came.

The one rule: the amount follows from two instants and the charter's rows alone. The day on which a promise was due is
not counted (Civil Act art. 157), and what came late at all came at least one day late.
"""

from typing import Literal

import msgspec

from services.rules.calendar import Calendar
from services.rules.instants import Instant


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from"}):
    """From the `first` late day on: `each` for every day, on top of what the rows before bring, or `sum` in all."""

    first: int
    each: int = 0
    sum: int = 0


class Tariff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows by the number of late days, and the most that is paid whatever the days."""

    unit: Literal["calendar_days", "working_days"]
    rows: tuple[Row, ...]
    at_most: int | None = None

    def amount(self, days: int) -> int:
        """What so many late days bring, in whole units of the currency."""
        brought = 0
        for row, last in zip(self.rows, [row.first - 1 for row in self.rows[1:]] + [days], strict=True):
            if days >= row.first:
                brought = row.sum or brought + row.each * (min(days, last) - row.first + 1)
        return brought if self.at_most is None else min(brought, self.at_most)

    def settled(self, days: int) -> bool:
        """Whether being later still would bring no more."""
        return self.amount(days) == self.at_most or (days >= self.rows[-1].first and not self.rows[-1].each)

    def days(self, calendar: Calendar, due: Instant, ended: Instant) -> int:
        """How many days late something was that was due at one instant and came after it, at another."""
        first, last = calendar.ordinal(due - 1), calendar.ordinal(ended)
        if self.unit == "calendar_days":
            return max(1, last - first)
        return max(1, sum(calendar.is_open(ordinal) for ordinal in range(first + 1, last + 1)))


def parse_tariff(row: object) -> Tariff:
    """A tariff from its data in a charter. Raises ValueError that says what does not fit."""
    try:
        tariff = msgspec.convert(row, Tariff)
    except msgspec.ValidationError as error:
        raise ValueError(f"tariff: {error}") from error
    firsts = [row.first for row in tariff.rows]
    if not firsts or firsts[0] != 1 or firsts != sorted(set(firsts)):
        raise ValueError("tariff: rows begin at day 1, each later than the one before")
    if any((row.each > 0) is (row.sum > 0) or row.each < 0 or row.sum < 0 for row in tariff.rows):
        raise ValueError("tariff: a row has either each or sum, above 0")
    reached = [tariff.amount(row.first) for row in tariff.rows]
    if reached != sorted(reached):
        raise ValueError("tariff: being later brings less")
    return tariff
