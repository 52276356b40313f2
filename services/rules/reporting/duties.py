"""Duties: what a charter wants of the city itself in a year, and how it stands.

The one rule: what the record holds comes first; of a year that has not come, and of a duty that something else begins,
the charter says what will be wanted.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from services.rules.charter import Charter, Promise, Yearly
from services.rules.instants import Instant, midnight
from services.rules.reporting.report import Duty
from services.rules.state import Case


def duties(
    case: Case | None,
    charter: Charter,
    promises: Mapping[str, Promise],
    year: int,
    as_of: Instant,
    zone: ZoneInfo,
    date_of: Callable[[Instant], date],
) -> tuple[Duty, ...]:
    """The duties of a year in the order of their dates, from the city's own case (None: nothing is folded of it)."""
    found = list(_of_record(case, promises, year, date_of)) if case is not None else []
    known = {(duty.promise, duty.wants) for duty in found}
    found += [duty for duty in _to_come(charter, year, as_of, zone) if (duty.promise, duty.wants) not in known]
    return tuple(sorted(found, key=lambda duty: (duty.due is None, duty.due or 0, duty.promise, duty.wants)))


def _of_record(
    case: Case, promises: Mapping[str, Promise], year: int, date_of: Callable[[Instant], date]
) -> Iterator[Duty]:
    for run in case.deadlines:
        promise = promises.get(run.promise)
        due = run.due or run.first_due or run.start
        if promise is None or promise.kind != "duty" or date_of(due - 1).year != year:
            continue
        wants = tuple(dict.fromkeys(match.type for match in promise.until))
        for yearly in promise.yearly:
            if run.occurrence.partition(" ")[2].partition(" ")[0] == yearly.until[0].type:
                wants = _wanted(yearly)
        begins = run.start if run.began is None else run.began
        yield Duty(promise.id, dict(promise.says), wants, run.state, begins, due, run.met_at)


def _to_come(charter: Charter, year: int, as_of: Instant, zone: ZoneInfo) -> Iterator[Duty]:
    for promise in charter.promises.values():
        if promise.kind != "duty":
            continue
        for yearly in promise.yearly:
            begins = midnight(max(date(year, 1, 1), charter.in_force), zone)
            due = midnight(date(year, yearly.month, yearly.day) + timedelta(days=1), zone)
            if due > max(begins, as_of):
                yield Duty(promise.id, dict(promise.says), _wanted(yearly), "planned", begins, due)
        if promise.starts:
            wants = tuple(dict.fromkeys(match.type for match in promise.until))
            yield Duty(promise.id, dict(promise.says), wants, "waiting")


def _wanted(yearly: Yearly) -> tuple[str, ...]:
    return tuple(dict.fromkeys(match.type for match in yearly.until))
