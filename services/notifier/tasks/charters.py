"""What a charter says of a remedy beyond the decision: the tasks beside the money, by when it is found, its tariff.

The one rule: the charter is the one that the decision names.
"""

from functools import cache

from contracts import files
from services.rules import counting
from services.rules.calendar import Calendar, OutOfCalendar
from services.rules.charter import Charter, Match, Remedy
from services.rules.consequences import TRY_AGAIN
from services.rules.counting import Span
from services.rules.instants import Instant
from services.rules.rulebook import Library


@cache
def _library() -> Library:
    return Library(files.read())


@cache
def named(label: str | None) -> Charter | None:
    """The charter that a decision names, such as anseong@1; None for one that is not among the files."""
    tenant, _, version = (label or "").partition("@")
    charters = [charter for _, charter in _library().charters_of(tenant)]
    return next((charter for charter in charters if charter.version == version), None)


def remedy(label: str | None, clause: str) -> Remedy | None:
    """A remedy of a charter, or None."""
    charter = named(label)
    return None if charter is None else next((one for one in charter.remedies if one.id == clause), None)


def calendar(label: str | None) -> Calendar | None:
    """The newest calendar of a charter, in office hours."""
    charter = named(label)
    if charter is None:
        return None
    _, file = _library().newest_calendar(charter.calendar)
    return _library().compiled(file, file.hours["office"])


def find_by(label: str | None, clause: str, start: Instant, working_days: int) -> Instant | None:
    """By when an approver says whether there was a just reason; `working_days` where the charter does not say it. Dates
    that a decision closed since the calendar was written are not counted out: the date is the office's own."""
    of_charter, calendar_of_charter = remedy(label, clause), calendar(label)
    if calendar_of_charter is None:
        return None
    within = of_charter.find_within if of_charter is not None else None
    try:
        return counting.due(calendar_of_charter, start, within or Span(working_days, "working_days"))
    except OutOfCalendar:
        return None


def of_duty(label: str | None, promise: str | None) -> frozenset[str]:
    """The tasks of a duty of the municipality, which says itself when they are done; of any other promise none."""
    charter = named(label)
    of_charter = None if charter is None else charter.promises.get(promise or "")
    if of_charter is None or of_charter.kind != "duty":
        return frozenset()
    return frozenset(of_charter.tasks).union(*(yearly.tasks for yearly in of_charter.yearly))


def names_of(label: str | None, promise: str | None) -> frozenset[str]:
    """What a report may call a promise of a charter: its own name, and that of the law's promise that it says again."""
    charter = named(label)
    again = charter.said_again.items() if charter is not None else ()
    return frozenset() if promise is None else frozenset([promise, *(law for law, own in again if own == promise)])


def unasked(label: str | None) -> tuple[str, ...]:
    """The clauses of a charter that say how every remedy comes to the citizen."""
    charter = named(label)
    rows = () if charter is None else charter.remedies
    return tuple(one.id for one in rows if any(trigger.unasked for trigger in one.triggers))


@cache
def tasks(tenant: str) -> frozenset[str]:
    """Every task that a charter of the tenant may want."""
    found = {TRY_AGAIN}
    for _, charter in _library().charters_of(tenant):
        for promise in charter.promises.values():
            found |= {*promise.tasks, *(task for yearly in promise.yearly for task in yearly.tasks)}
        for one in charter.remedies:
            found |= {*one.tasks, *one.repeated_tasks}
        for clause in charter.clauses.values():
            found |= {*clause.tasks, *(task for _, _, task in clause.desks)}
    return frozenset(found)


@cache
def ends_of_lateness(tenant: str) -> tuple[tuple[str, Match], ...]:
    """The events that end lateness for which a tariff of the tenant pays, each with its promise."""
    return tuple(
        (promise, match)
        for _, charter in _library().charters_of(tenant)
        for one in charter.remedies
        if one.tariff is not None
        for promise in sorted(set().union(*(trigger.breach for trigger in one.triggers)))
        for match in charter.promises[promise].until
    )


def worth(
    label: str | None, clause: str, broken_at: Instant, ended_at: Instant | None, now: Instant
) -> tuple[int, bool]:
    """What a tariff brings, and whether that is the last word: lateness is over, or brings no more. Raises LookupError
    where the clause has no tariff."""
    of_charter, calendar_of_charter = remedy(label, clause), calendar(label)
    if of_charter is None or of_charter.tariff is None or calendar_of_charter is None:
        raise LookupError(f"{clause} has no tariff in {label}")
    tariff = of_charter.tariff
    days = tariff.days(calendar_of_charter, broken_at, ended_at if ended_at is not None else now)
    return tariff.amount(days), ended_at is not None or tariff.settled(days)
