"""Remedies: measures taken on events, and what a city owes when a promise was broken.

The one rule: an incident is paid for once, and its key says which: a run of a promise, a promise where the charter
counts it once, or a confirmed fault that names no broken promise. Amounts are the charter's own, never guessed. What
was over before the city went live is shown as broken, and nothing is owed for it.
"""

from collections.abc import Iterator
from datetime import timedelta

from services.rules import counting
from services.rules.charter import Charter, Promise, Remedy, Trigger
from services.rules.demands import all_hold, matches
from services.rules.effective import moment_of
from services.rules.facts import Fact
from services.rules.instants import Instant, midnight, of_datetime
from services.rules.runs import Run
from services.rules.scan import Scan
from services.rules.state import Finding, Rules


def measure(scan: Scan, fact: Fact) -> None:
    """Judges the numbers and times that a charter measures on a fact."""
    for promise in scan.charter.measuring.get(fact.type, ()):
        assert promise.measured is not None
        if not all_hold(promise.measured.where, fact.data, scan.petition):
            continue
        at, by_time = fact.time, False
        if promise.noted:
            judged = _unnoted(scan, promise, fact)
            if judged is None:
                continue
            at, by_time = judged
        elif not _breaks(scan, promise, fact):
            continue
        key = f"measure:{promise.id}:{fact.key}"
        scan.find(Finding("measure.breached", key, at, promise.id, fact.key, by_time=by_time))
        for remedy in scan.charter.remedies:
            for trigger in remedy.triggers:
                if promise.id in trigger.breach:
                    named = scan.charter.said_again.get(promise.id, promise.id)
                    incident = named if remedy.once_per_promise else f"{named}:{fact.key}"
                    brought = _remedy(scan.rules, remedy, trigger, incident, at, promise.id, fact.key, None, by_time)
                    for finding in brought:
                        scan.find(finding)


def _unnoted(scan: Scan, promise: Promise, fact: Fact) -> tuple[Instant, bool] | None:
    """When it was certain that what had to be noted was not, and whether time alone made it so; else None."""
    limit, ended = to_note_by(scan, promise, fact)
    if note(scan, promise, limit) is not None:
        return None
    if ended is not None:
        return ended.time, False
    scan.looks_ahead = True
    if max(scan.clock, scan.facts[-1].time) > limit:
        return limit, True
    scan.ends_of_days.append(limit)
    return None


def to_note_by(scan: Scan, promise: Promise, fact: Fact) -> tuple[Instant, Fact | None]:
    """By when something had to be noted: before the event that ends the call, and where none is reported before the
    day ends."""
    office = scan.rules.calendar("office")
    ended = next((f for f in scan.facts if f.type == promise.noted_before and moment_of(f) >= moment_of(fact)), None)
    if ended is not None:
        return moment_of(ended), ended
    return midnight(scan.rules.date_of(moment_of(fact)) + timedelta(days=1), office.zone), None


def note(scan: Scan, promise: Promise, limit: Instant) -> Fact | None:
    """What noted it by then."""
    for other in scan.facts:
        held = any(matches(match, other.type, other.data, scan.petition) for match in promise.noted)
        if held and moment_of(other) <= limit:
            return other
    return None


def _breaks(scan: Scan, promise: Promise, fact: Fact) -> bool:
    """Whether an event breaks what is measured on it: by its number, its time, or what it should wait for."""
    if promise.after_lapses is not None:
        name, times = promise.after_lapses
        lapsed = [run for run in scan.runs.values() if run.promise.id == name and run.state == "lapsed"]
        return sum(run.met_at is None and run.start >= scan.opened for run in lapsed) < times
    if promise.timing is None:
        value = getattr(fact.data, promise.field[0]) if promise.field[0] else None
        return value is not None and promise.exceeds(value)
    timing, since = promise.timing, timed_from(scan, promise, fact)
    if since is None or since > moment_of(fact):
        return False
    calendar = scan.rules.calendar(promise.hours)
    if timing.within is not None and moment_of(fact) > (counting.due(calendar, since, timing.within) or 0):
        return True
    over = timing.not_before and counting.due(calendar, since, timing.not_before, roll=False)
    return isinstance(over, Instant) and moment_of(fact) < over


def timed_from(scan: Scan, promise: Promise, fact: Fact) -> Instant | None:
    """What the time of a measured event is counted from, or None where that is not there."""
    assert promise.timing is not None
    if promise.timing.unless or promise.timing.first:
        moment = moment_of(fact)
        earlier = {other.type for other in scan.facts if moment_of(other) <= moment and other is not fact}
        if promise.timing.unless in earlier or (promise.timing.first and fact.type in earlier):
            return None
    if not promise.timing.since:
        named = getattr(fact.data, promise.timing.field)
        return None if named is None else of_datetime(named)
    begun = begun_by(scan, promise, fact)
    return None if begun is None else moment_of(begun)


def begun_by(scan: Scan, promise: Promise, fact: Fact) -> Fact | None:
    """The latest event before a measured one from which its time is counted."""
    since = promise.timing.since if promise.timing else ()
    types, moment = [match.type for match in since], moment_of(fact)
    found = [
        other
        for other in scan.facts
        if other.type in types
        and moment_of(other) <= moment
        and other is not fact
        and any(matches(match, other.type, other.data, scan.petition) for match in since)
    ]
    return max(found, key=moment_of, default=None)


def of_breach(run: Run) -> Iterator[Finding]:
    """What a broken run brings, by the charter that it was promised in."""
    assert run.due is not None
    assert run.rules is not None
    rules = run.rules
    for remedy in rules.charter.remedies:
        for trigger in remedy.triggers:
            if run.promise.id in trigger.breach:
                named = rules.charter.said_again.get(run.promise.id, run.promise.id)
                incident = named if remedy.once_per_promise else f"{named}:{run.occurrence}"
                yield from _remedy(rules, remedy, trigger, incident, run.due, run.promise.id, run.occurrence, run.due)


def of_fault(scan: Scan, fact: Fact) -> Iterator[Finding]:
    """A confirmed fault is an incident of its own, unless it names a promise that ran or was measured in this case.

    Then it is that incident, broken or not: a breach that is retracted, or that comes only later, makes no second one
    of what was found already. Nor does a report that is taken back while the finding about it stands.
    """
    named = fact.data.about or fact.data.promise or ""
    reported = scan.report(named)
    if reported is not None and reported.data.promise:
        named = reported.data.promise
    named = scan.charter.said_again.get(named, named)
    promise = scan.charter.promises.get(named)
    judged = promise is not None and promise.kind != "duty"
    occurrence = _named_run(scan, named, (reported or fact).moment) if judged else None
    for remedy in scan.charter.remedies:
        for trigger in remedy.triggers:
            if fact.data.ground not in trigger.fault:
                continue
            if not all_hold(trigger.where, fact.data, scan.petition):
                continue
            if judged and remedy.once_per_promise:
                incident = named
            elif occurrence is not None:
                incident = f"{named}:{occurrence}"
            else:
                incident = f"fault:{reported.key if reported else fact.key}"
            yield from _remedy(scan.rules, remedy, trigger, incident, fact.time, "", "", None)


def _named_run(scan: Scan, promise: str, moment: Instant) -> str | None:
    """The occurrence that a fault means which names a promise at a moment: the one first broken, as far as the scan has
    come; else the run that was begun last by then, or the first one after; None where there is none."""
    runs = [run for run in scan.runs.values() if run.promise.id == promise]
    broken = [(run.due or 0, run.occurrence) for run in runs if run.state == "broken"]
    broken += [
        (finding.at, finding.occurrence)
        for finding in scan.findings.values()
        if finding.kind == "measure.breached" and finding.promise == promise
    ]
    if broken:
        return min(broken)[1]
    begun = [(run.start, run.occurrence) for run in runs]
    return max((one for one in begun if one[0] <= moment), default=min(begun, default=(0, None)))[1]


def _remedy(
    rules: Rules,
    remedy: Remedy,
    trigger: Trigger,
    incident: str,
    at: Instant,
    promise: str,
    occurrence: str,
    due: Instant | None,
    by_time: bool = False,
) -> Iterator[Finding]:
    if at < rules.live_since:
        return
    by_time |= due is not None  # a breach is dated by its due instant, whatever brought it to light
    if remedy.money:
        yield Finding(
            "remedy.proposed",
            f"remedy:{remedy.id}:{incident}",
            at,
            promise,
            occurrence,
            due,
            remedy.id,
            incident,
            remedy.amount,
            trigger.needs,
            by_time=by_time,
        )
        yield from _unasked(rules.charter, remedy, incident, at, due, by_time)
        return
    for task in remedy.tasks:
        yield Finding(
            "task.created",
            f"task:{remedy.id}:{incident}:{task}",
            at,
            promise,
            occurrence,
            due,
            remedy.id,
            incident,
            task=task,
            by_time=by_time,
        )


def _unasked(
    charter: Charter, remedy: Remedy, incident: str, at: Instant, due: Instant | None, by_time: bool
) -> Iterator[Finding]:
    """The tasks of a clause that says how every remedy comes to the citizen."""
    for clause in charter.remedies:
        if any(trigger.unasked for trigger in clause.triggers):
            named = f"{remedy.id}:{incident}"
            for task in clause.tasks:
                key = f"task:{clause.id}:{named}:{task}"
                yield Finding("task.created", key, at, "", "", due, clause.id, named, task=task, by_time=by_time)
