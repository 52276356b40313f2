"""Promises: how runs begin and are kept - at an event, round after round, year after year.

The one rule: a run is named by its promise and by what began it, so that it is the same one whenever the case is
worked out anew.
"""

from collections.abc import Iterator
from datetime import date, timedelta

from services.rules import consequences, counting
from services.rules.charter import Promise, Start, Yearly
from services.rules.counting import Span
from services.rules.demands import all_hold, matches
from services.rules.effective import key_of
from services.rules.facts import Data, Fact
from services.rules.instants import Instant, midnight, of_datetime
from services.rules.runs import Round, Run, span_of
from services.rules.scan import Scan
from services.rules.state import Finding


def meet(scan: Scan, fact: Fact) -> None:
    """What the fact keeps. Of the rounds of a recurring promise that are open it keeps the oldest alone."""
    counted: set[str] = set()
    for run in [run for run in scan.unmet.values() if fact.type in run.promise.meeting]:
        if run.live and run.promise.id in counted:
            continue
        if run.met_by(fact, scan.petition):
            if run.live and run.rounds:
                counted.add(run.promise.id)
            run.met_at = scan.moment
            was_live = run.live
            scan.settle(run, "met" if was_live else run.state)
            if was_live:
                # What is met while its clock stands still was due as if the clock had run on from here.
                run.due = run.due or scan.due(run, scan.moment)
                if fact.data.reached is False:
                    task = consequences.TRY_AGAIN
                    key = f"task:{run.promise.id}:{run.occurrence}:{task}"
                    scan.find(
                        Finding("task.created", key, fact.time, run.promise.id, run.occurrence, run.due, task=task)
                    )


def end(scan: Scan, fact: Fact) -> None:
    """What takes a promise's object away without meeting it, such as a cancelled appointment."""
    for run in [run for run in scan.unmet.values() if run.promise.ends and run.live]:
        if any(matches(match, fact.type, fact.data, scan.petition) for match in run.promise.ends):
            scan.settle(run, "void")


def open_runs(scan: Scan, fact: Fact) -> None:
    """Opens what starts at a fact; a case opened again starts what a receipt does."""
    type = "complaint.received" if fact.type == "complaint.reopened" else fact.type
    data = scan.petition.data if type == "complaint.received" else fact.data
    starting = scan.charter.starting.get(type)
    if not starting:
        return
    key = key_of(fact)
    for promise, start in starting:
        assert start.match is not None
        if all_hold(start.match.where, data, scan.petition):
            open_run(scan, promise, start, scan.moment, data, key, type)


def open_run(
    scan: Scan, promise: Promise, start: Start, moment: Instant, data: Data, occurrence: str, started_by: str
) -> None:
    """Opens one run, unless the promise says nothing to these data, or has it already."""
    if scan.closed and promise.ends_with_case:
        return
    begin, petition = moment, scan.petition
    if start.from_receipt and scan.receipt is not None:
        begin, occurrence = scan.received, key_of(scan.receipt)
    span = span_of(promise, data, petition)
    within = promise.within
    if span is None and not within.or_at and not within.at:
        return
    if start.after_due_of and not any(_is_overdue(run, start.after_due_of, moment) for run in scan.runs.values()):
        return
    if promise.kind == "recurring":
        open_round(scan, Run(promise, occurrence, begin, data, span, started_by, 0), 1)
        return
    run = Run(promise, occurrence, begin, data, span, started_by, 0)
    run.began = moment if started_by == "breach" else None
    if (promise.id, occurrence) in scan.runs or (promise.first_of_year and _ran_in_year_of(scan, promise, begin)):
        return
    if not _name_due(scan, run):
        return
    scan.begin(run)
    if start.skip_when_past and run.due is not None and run.due < moment:
        return
    # What starts while its clock stands still is told as if the clock ran on from there; it stands all the same.
    stops = run.stops
    run.first_due = run.due or scan.due(run, moment)
    run.stops = stops
    scan.add(run)
    for task in promise.tasks if promise.kind != "duty" else ():
        key = f"task:{promise.id}:{occurrence}:{task}"
        timely = run.began is not None
        scan.find(Finding("task.created", key, moment, promise.id, occurrence, run.due, task=task, by_time=timely))


def _is_overdue(run: Run, promise: str, moment: Instant) -> bool:
    """Whether what a promise gave is past at a moment and was not done, broken or without its object by then."""
    past = run.promise.id == promise and run.due is not None and run.due < moment
    return past and run.state in ("broken", "void") and run.met_at is None


def _name_due(scan: Scan, run: Run) -> bool:
    """Sets the instant that the data name where the promise goes by one; False where it is wanted and not there."""
    within = run.promise.within
    if within.or_at:
        named = getattr(run.data, within.or_at)
        run.at = None if named is None else of_datetime(named)
    if within.at:
        run.day = getattr(run.data, within.at) or ""
        run.at = scan.named(run.day or None)
        return run.at is not None
    if within.before_at:
        named = getattr(run.data, within.before_at)
        if named is None or run.span is None:
            return False
        run.at = counting.before(scan.rules.calendar(run.promise.hours), of_datetime(named), run.span)
    return True


def _ran_in_year_of(scan: Scan, promise: Promise, moment: Instant) -> bool:
    year = scan.rules.date_of(moment).year
    return any(
        run.promise.id == promise.id and scan.rules.date_of(run.start).year == year for run in scan.runs.values()
    )


def open_duties(scan: Scan) -> None:
    """Opens the yearly duties of the year in which the tenant went live; the years before it are not judged."""
    first = min(scan.facts, key=lambda fact: (fact.type != "charter.enacted", fact.time), default=None)
    if first is None:
        return
    since = first.time if first.data.go_live is None else of_datetime(first.data.go_live)
    begins = max(since, midnight(scan.charter.in_force, scan.rules.calendar("office").zone))
    if begins > scan.until:
        scan.awaits = begins
        return
    for promise in scan.charter.promises.values():
        for yearly in promise.yearly:
            open_year(scan, promise, scan.rules.date_of(since).year, yearly, since)


def open_year(scan: Scan, promise: Promise, year: int, yearly: Yearly, since: Instant) -> None:
    """The duty of one year: from 1 January, or the day of the charter, to the end of its date; never rolled.

    A date that was over before the charter came into force, or before `since`, is not promised.
    """
    zone, last = scan.rules.calendar("office").zone, date(year, yearly.month, yearly.day)
    start = midnight(max(date(year, 1, 1), scan.charter.in_force), zone)
    run = Run(promise, _name_of_year(promise, year, yearly), start, Data(), None, "", 0)
    run.yearly, run.began = (year, yearly), max(start, since)
    run.at = run.first_due = midnight(last + timedelta(days=1), zone)
    scan.begin(run)
    if run.at > run.began:
        scan.add(run)
    scan.rounds.append(Round(midnight(date(year + 1, 1, 1), zone), run))


def of_duty(scan: Scan, run: Run) -> Iterator[Finding]:
    """The tasks of a duty, from as long ahead of its date as the charter says until it is done, late or not.
    Nobody has to end them by hand: what keeps the duty takes them back."""
    if run.met_at is not None or run.state not in ("open", "broken") or run.due is None:
        return
    at = run.start if run.began is None else run.began
    if run.promise.ahead is not None:
        at = max(at, counting.before((run.rules or scan.rules).calendar("office"), run.due, run.promise.ahead))
        if at >= scan.until and at > run.start:
            scan.ends_of_days.append(at)
            return
    for task in run.promise.tasks if run.yearly is None else run.yearly[1].tasks:
        key = f"task:{run.promise.id}:{run.occurrence}:{task}"
        yield Finding("task.created", key, at, run.promise.id, run.occurrence, run.due, task=task, by_time=True)


def _name_of_year(promise: Promise, year: int, yearly: Yearly) -> str:
    """The year and what is to happen in it, so that a version that moves the date moves this duty; a number where the
    same is to happen more than once."""
    like = [row for row in promise.yearly if row.until[:1] == yearly.until[:1]]
    number = like.index(yearly)
    return f"{year} {yearly.until[0].type}" + (f" {number + 1}" if number else "")


def open_round(scan: Scan, parent: Run, number: int, began: Instant | None = None) -> Run:
    """Opens a round of a recurring promise; the one after it follows when its counted time is over."""
    promise, span = parent.promise, parent.span
    assert span is not None
    origin = parent.occurrence.rpartition("#")[0] if parent.rounds else parent.occurrence
    occurrence = f"{origin}#{number + parent.ahead}"
    run = Run(promise, occurrence, parent.start, parent.data, span, parent.started_by, number)
    run.ahead, run.rules = parent.ahead, parent.rules
    run.began = began
    scan.begin(run)
    run.first_due = run.due
    scan.add(run)
    scan.rounds.append(Round(over(scan, run), run))
    return run


def over(scan: Scan, run: Run) -> Instant:
    """When the counted time of a round is over, so that the next one begins; its last date may roll on."""
    span = run.span
    assert span is not None
    calendar = (run.rules or scan.rules).calendars[run.promise.hours if span.unit in counting.WORKING else "office"]
    found = counting.due(calendar, run.start, Span(span.amount * run.rounds, span.unit), roll=False)
    assert found is not None
    return found
