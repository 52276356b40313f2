"""Amends: what a city owed for broken promises, and paid.

The one rule: one amount for each key of a remedy, owed once and paid once. What was proposed is owed until an approver
declines it or it is withdrawn; what was paid before it was withdrawn stays owed and paid, and what that payment covers
is not counted again.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from services.rules.instants import Instant
from services.rules.reporting.desks import Desks
from services.rules.reporting.known import Known, Settled
from services.rules.reporting.report import MONTHS, Amends, Compensation, Owing
from services.rules.reporting.withheld import OTHERS, groups
from services.rules.state import Case

MonthOf = Callable[[Instant], int | None]


class _Row(NamedTuple):
    """One remedy: the month in which it was proposed, the promise broken and the department that had the case."""

    month: int
    promise: str
    department: str
    amends: Amends


class AmendsBook:
    """Counts the remedies of a year."""

    def __init__(self, known: Known, month_of: MonthOf) -> None:
        self._known = known
        self._month_of = month_of
        self._rows: list[_Row] = []
        self._seen: set[str] = set()

    def take(self, case: Case, desks: Desks) -> None:
        """Counts what a case is owed."""
        for finding in case.findings:
            if finding.kind != "remedy.proposed":
                continue
            key = f"{case.tenant}/{case.id}/{finding.incident}/{finding.remedy}"
            self._seen.add(key)
            month, settled = self._month_of(finding.at), self._known.settled.get(key)
            if month is not None and not (settled is not None and settled.covered):
                owed = _owed(finding.amount, settled)
                self._rows.append(_Row(month, finding.promise, desks.at(finding.at), owed))

    def compensation(self, currency: str) -> Compensation:
        """What was counted, with what was paid before it was withdrawn."""
        rows = [*self._rows, *self._kept()]
        months = [_sum(row.amends for row in rows if row.month == month) for month in MONTHS]
        departments = _by(rows, lambda row: row.department)
        named = groups({name: amends.proposed for name, amends in departments.items()})
        told: dict[str, Amends] = {}
        for department, name in named.items():
            told[name] = told.get(name, Amends()) + departments[department]
        withdrawn = [row for row in self._known.taken_back if row.kind == "remedy.withdrawn"]
        return Compensation(
            currency,
            _sum(months),
            sum(self._month_of(row.at) is not None for row in withdrawn),
            tuple(months),
            tuple(Owing(name, amends) for name, amends in sorted(_by(rows, lambda row: row.promise).items())),
            tuple(Owing(name, told[name]) for name in sorted(told, key=lambda name: (name == OTHERS, name))),
        )

    def _kept(self) -> list[_Row]:
        """What was paid and then withdrawn: the citizen keeps it."""
        rows = []
        for key, settled in self._known.settled.items():
            month = self._month_of(settled.at)
            if key not in self._seen and settled.paid is not None and month is not None:
                rows.append(_Row(month, "", "", Amends(proposed=1, owed=settled.paid, paid=settled.paid)))
        return rows


def _owed(amount: int | None, settled: Settled | None) -> Amends:
    if settled is not None and settled.declined:
        return Amends(proposed=1, declined=1)
    said = amount if settled is None or settled.approved is None else settled.approved
    paid = 0 if settled is None or settled.paid is None else settled.paid
    if said is None:
        return Amends(proposed=1, unsaid=1)
    return Amends(proposed=1, owed=said, paid=paid)


def _by(rows: list[_Row], name: Callable[[_Row], str]) -> Mapping[str, Amends]:
    found: dict[str, Amends] = {}
    for row in rows:
        found[name(row)] = found.get(name(row), Amends()) + row.amends
    return found


def _sum(parts: Iterable[Amends]) -> Amends:
    total = Amends()
    for part in parts:
        total += part
    return total
