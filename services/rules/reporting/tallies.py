"""Tallies: how often promises were kept, by month and department.

The one rule: a run belongs to the month in which it was due, and to the department that had the case when it was kept,
broken or last looked at. What somebody else owed, and what was past before the city was live, is not counted.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Literal

from services.rules.charter import Charter, Clause, Petition, Promise
from services.rules.demands import all_hold
from services.rules.facts import Fact
from services.rules.instants import SECOND, Instant, of_datetime
from services.rules.reporting.desks import Desks
from services.rules.reporting.known import Known
from services.rules.reporting.report import MONTHS, Group, Line, Place, Tally, Values
from services.rules.reporting.withheld import OTHERS, groups, without_months
from services.rules.state import Case, Deadline

What = Literal["kept", "broken", "open", "void"]
Key = tuple[str, int]
"""A department and a month."""

_OF_STATE: Mapping[str, What] = {"met": "kept", "broken": "broken", "void": "void"}
"""Every other state runs on."""


class _Counts:
    """What was counted of one promise."""

    def __init__(self) -> None:
        self.tallies: dict[Key, dict[What, int]] = {}
        self.values: list[int | bool] = []

    def add(self, department: str, month: int, what: What) -> None:
        tally = self.tallies.setdefault((department, month), {"kept": 0, "broken": 0, "open": 0, "void": 0})
        tally[what] += 1


class Tallies:
    """Counts the promises of a year."""

    def __init__(self, known: Known, year: int, date_of: Callable[[Instant], date]) -> None:
        self._known = known
        self._year = year
        self._date_of = date_of
        self._counts: dict[str, _Counts] = {}

    def month_of(self, moment: Instant) -> int | None:
        """The month in which something was due, None outside the year. Midnight ends the day before it."""
        day = self._date_of(moment - 1)
        return day.month if day.year == self._year and moment >= self._known.live_since else None

    def runs(self, case: Case, desks: Desks, promises: Mapping[str, Promise]) -> None:
        """Counts the runs of a case."""
        for run in case.deadlines:
            promise = promises.get(run.promise)
            if promise is None or promise.kind == "duty" or promise.owed_by != "office":
                continue
            month = self.month_of(run.due or run.first_due or run.start)
            if month is not None:
                department = desks.at(_looked_at(run, self._known.as_of))
                self._of(run.promise).add(department, month, _OF_STATE.get(run.state, "open"))

    def measures(self, case: Case, facts: Iterable[Fact], desks: Desks, charter: Charter, own: frozenset[str]) -> None:
        """Counts the events of a case that its charter measures; `own` are the promises that are no law's."""
        broken = {
            (finding.promise, finding.occurrence): finding.at
            for finding in case.findings
            if finding.kind == "measure.breached"
        }
        receipt = next((fact for fact in facts if fact.type == "complaint.received"), None)
        petition = Petition() if receipt is None else Petition(receipt.data, policy=charter.policy)
        for fact in facts:
            for promise in charter.measuring.get(fact.type, ()):
                if promise.id not in own or promise.measured is None:
                    continue
                if not all_hold(promise.measured.where, fact.data, petition):
                    continue
                value = _value(promise, fact)
                month = self.month_of(fact.time)
                if month is None or (value is None and not promise.noted):
                    continue
                missed = broken.pop((promise.id, fact.key), None) is not None
                if value is not None:
                    self._of(promise.id).values.append(value)
                if promise.limit or promise.noted:
                    today = self._date_of(fact.time) == self._date_of(self._known.as_of)
                    waits = bool(promise.noted) and not missed and today
                    what: What = "broken" if missed else "open" if waits else "kept"
                    self._of(promise.id).add(desks.at(fact.time), month, what)
        for (name, _), at in broken.items():
            month = self.month_of(at)
            if month is not None:
                self._of(name).add(desks.at(at), month, "broken")

    def lines(self, charters: Iterable[Charter]) -> tuple[Line, ...]:
        """What was counted of every promise: those of the charters, the newest first, then those of the law. A promise
        of the law that nothing was asked of is left out."""
        said: dict[str, Line] = {}
        for charter in charters:
            law = {promise.id for promise in charter.law.promises} if charter.law else set()
            for promise in charter.promises.values():
                if promise.kind == "duty" or promise.owed_by != "office" or promise.id in said:
                    continue
                timed = promise.kind != "measure"
                group: Group = "law" if promise.id in law else "deadlines" if timed else "measures"
                if group != "law" or promise.id in self._counts:
                    judged = timed or (group == "measures" and bool(promise.limit or promise.noted))
                    said[promise.id] = self._line(promise, group, judged)
            # The steps of a workflow are a measure that is told of only where one came out of order.
            for clause in charter.clauses.values():
                if clause.id in self._counts and clause.id not in said:
                    said[clause.id] = self._line(clause, "measures", judged=False)
        rank = {"deadlines": 0, "measures": 1, "law": 2}
        return tuple(sorted(said.values(), key=lambda line: rank[line.group]))

    def _of(self, promise: str) -> _Counts:
        return self._counts.setdefault(promise, _Counts())

    def _line(self, promise: Promise | Clause, group: Group, judged: bool) -> Line:
        counts = self._of(promise.id)
        table: dict[str, list[Tally]] = {}
        for (department, month), tally in counts.tallies.items():
            table.setdefault(department, [Tally()] * 12)[month - 1] += Tally(**tally)
        months = tuple(_sum(rows[month - 1] for rows in table.values()) for month in MONTHS)
        taken_back = [row for row in self._known.taken_back if row.kind == "breach.retracted"]
        return Line(
            promise.id,
            group,
            promise.section,
            dict(promise.says),
            judged,
            months,
            _sum(months),
            sum(row.promise == promise.id and self.month_of(row.at) is not None for row in taken_back),
            _places(table),
            _values(promise.since or promise.field[0], counts.values) if isinstance(promise, Promise) else None,
        )


def _looked_at(run: Deadline, as_of: Instant) -> Instant:
    """When a run was kept or broken, else now."""
    if run.state == "met" and run.met_at is not None:
        return run.met_at
    return min(run.due, as_of) if run.state == "broken" and run.due is not None else as_of


def _value(promise: Promise, fact: Fact) -> int | bool | None:
    """The number that an event carries for a measure, where it carries one; time in seconds."""
    if promise.since:
        named = getattr(fact.data, promise.since)
        return None if named is None else max(fact.time - of_datetime(named), 0) // SECOND
    value: int | bool | None = getattr(fact.data, promise.field[0]) if promise.field[0] else None
    return value


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total += tally
    return total


def _places(table: Mapping[str, list[Tally]]) -> tuple[Place, ...]:
    """The departments as they are told, in the order of their names, those told together last: what was judged alone,
    since what runs or no longer applies would be one more number that could be few."""
    table = {name: [Tally(month.kept, month.broken) for month in months] for name, months in table.items()}
    named = groups({department: _sum(months).all for department, months in table.items()})
    told: dict[str, list[Tally]] = {}
    for department, name in named.items():
        before = told.get(name, [Tally()] * 12)
        told[name] = [one + more for one, more in zip(before, table[department], strict=True)]
    silent = without_months({name: [tally.all for tally in months] for name, months in told.items()})
    return tuple(
        Place(name, tuple(None if name in silent else month for month in told[name]), _sum(told[name]))
        for name in sorted(told, key=lambda name: (name == OTHERS, name == "", name))
    )


def _values(field: str, values: list[int | bool]) -> Values | None:
    if not values:
        return None
    if isinstance(values[0], bool):
        return Values(field, len(values), yes=sum(values))
    ranked = sorted(values)
    return Values(field, len(ranked), ranked[(len(ranked) - 1) // 2], ranked[-(-9 * len(ranked) // 10) - 1])
