"""Standing: what follows from the facts of one case at an instant.

The one rule: it is worked out from the facts alone, in the order of time, as if it were done for the first time. No
fact is judged by when it became known, so any order of arrival ends in the same standing.

The scan walks the facts by moment. Before each it lets the time up to it pass (deadlines run out, rounds begin), then
judges the fact: an impossible one is refused by name and changes nothing, any other has its effects. A
classification is read first, since it says what the petition was from the day of its receipt.
"""

from services.rules import admission, consequences, promises, refusals, remedies, workflows
from services.rules.effective import closes, key_of, moment_of
from services.rules.effects import EFFECTS, close
from services.rules.facts import Fact
from services.rules.instants import NEVER, Instant
from services.rules.runs import Round, Run
from services.rules.scan import Scan, keep
from services.rules.state import Finding, Standing


def of_scan(scan: Scan) -> Standing:
    """The standing after the scan has walked all facts of its case."""
    walk(scan)
    findings = dict(scan.findings)
    for run in scan.runs.values():
        if run.state == "broken":
            for finding in remedies.of_breach(run):
                keep(findings, finding)
        if run.promise.kind == "duty":
            for finding in promises.of_duty(scan, run):
                keep(findings, finding)
    deadlines = {key: scan.frozen(run) for key, run in scan.runs.items()}
    label, lives = scan.charter.label, tuple(scan.lives)
    return Standing(deadlines, findings, scan.closed, scan.next_at(deadlines.values()), label, lives)


def walk(scan: Scan, at: Instant | None = None) -> None:
    """Reads on, up to what has effect by an instant and what time has brought before it; without one, to the end."""
    while scan.taken < len(scan.facts):
        fact = scan.facts[scan.taken]
        moment = moment_of(fact)
        if at is not None and moment > at:
            break
        _let_pass(scan, moment)
        scan.moment = scan.read_to = moment
        _take(scan, fact)
        scan.taken += 1
    _let_pass(scan, scan.until if at is None else min(at, scan.until))


def _let_pass(scan: Scan, moment: Instant) -> None:
    """Lets every instant before `moment` happen, in order."""
    while scan.quiet_until is None or scan.quiet_until < moment:
        scan.quiet_until = at = _next(scan)
        if at >= moment:
            return
        scan.moment = scan.passed = at
        over = [run for run in scan.unmet.values() if run.due == at and run.state == "open"]
        begun = [round for round in scan.rounds if round.at == at]
        if over:
            _break(scan, min(over, key=lambda run: run.key))
        elif begun:
            _begin(scan, begun[0])
        else:
            scan.turns.remove(at)
            scan.recount(turned=at)
        scan.quiet_until = None


def _next(scan: Scan) -> Instant:
    """The earliest instant at which time brings something."""
    earliest: Instant = NEVER
    for run in scan.unmet.values():
        if run.due is not None and run.due < earliest and run.state == "open":
            earliest = run.due
    for round in scan.rounds:
        if round.at < earliest:
            earliest = round.at
    for at in scan.turns:
        if at < earliest:
            earliest = at
    return earliest


def _begin(scan: Scan, round: Round) -> None:
    """The next round of a recurring promise begins, or the next year of a duty."""
    scan.rounds.remove(round)
    if round.run.yearly is None:
        promises.open_round(scan, round.run, round.run.rounds + 1, round.at)
        return
    year, yearly = round.run.yearly
    promises.open_year(scan, round.run.promise, year + 1, yearly, round.at)


def _break(scan: Scan, run: Run) -> None:
    """A due instant has passed: broken, or lapsed where the office owes nothing; what a breach starts begins."""
    assert run.due is not None
    run.state = "broken" if run.promise.owed_by == "office" else "lapsed"
    scan.touched[run.key] = run
    service = scan.charter.services.get(scan.petition.data.service or "")
    run.deemed = run.promise.within.period and service is not None and service.deemed_acceptance
    for promise, start in scan.charter.starting_at_breach.get(run.promise.id, ()):
        promises.open_run(scan, promise, start, run.due, run.data, run.occurrence, "breach")


def _take(scan: Scan, fact: Fact) -> None:
    """Judges a fact and gives it its effects; what is refused is found, and does nothing."""
    charter, type, key = scan.charter, fact.type, key_of(fact)
    judged = scan.verdicts.get(key)
    refused = admission.refusal(charter, fact) if judged is None else judged
    # The facts of a petition that is not received yet wait: without a receipt they mean nothing.
    if not refused and scan.receipt is None and type.startswith(refusals.WANT_RECEIPT):
        return
    if not refused and judged is None:
        refused = refusals.judge(scan, fact)
    scan.verdicts[key] = refused
    if refused:
        scan.find(Finding("event.refused", f"refused:{key}", fact.time, code=refused))
        return
    was_closed = scan.closed
    effect = EFFECTS.get(type)
    if effect is not None:
        effect(scan, fact)
    if type in charter.meeting:
        promises.meet(scan, fact)
    if type in charter.ending:
        promises.end(scan, fact)
    if closes(fact):
        close(scan)
    if scan.closed and not was_closed:
        scan.lives.append((scan.moment, None))
    elif was_closed and not scan.closed:
        scan.lives[-1] = (scan.lives[-1][0], scan.moment)
    promises.open_runs(scan, fact)
    if type in charter.measuring:
        remedies.measure(scan, fact)
    if type in charter.walking:
        workflows.watch(scan, fact)
    if type in charter.asking:
        for finding in consequences.of_fact(fact, scan.petition, scan.rules):
            scan.find(finding)
    if type == "fault.confirmed":
        for finding in remedies.of_fault(scan, fact):
            scan.find(finding)
