"""Standing: what follows from the facts of one case at an instant.

The one rule: it is worked out from the facts alone, in the order of time, as if it were done for the first time. No
fact is judged by when it became known, so any order of arrival ends in the same standing.

The scan walks the facts by moment. Before each it lets the time up to it pass (deadlines run out, rounds begin), then
judges the fact: an impossible one is refused by name and changes nothing, any other has its effects. A
classification is read first, since it says what the petition was from the day of its receipt.
"""

from services.rules import admission, consequences, promises, refusals, remedies
from services.rules.effects import EFFECTS, close
from services.rules.facts import Fact, closes
from services.rules.instants import Instant
from services.rules.runs import Run
from services.rules.scan import Scan
from services.rules.state import Finding, Rules, Standing


def work_out(facts: tuple[Fact, ...], clock: Instant, rules: Rules, home: bool = False) -> Standing:
    """The standing of a case whose facts are given in any order, when the partition's clock stands at `clock`.

    `home`: it is the tenant's own, in which its yearly duties run. Raises OutOfCalendar where a period ends beyond
    the calendar.
    """
    scan = Scan(facts, clock, rules)
    if home:
        promises.open_duties(scan)
    return of_scan(scan)


def of_scan(scan: Scan) -> Standing:
    """The standing after the scan has walked all facts of its case."""
    for fact in scan.facts:
        _let_pass(scan, fact.moment)
        _take(scan, fact)
    _let_pass(scan, max([scan.clock, *(fact.time for fact in scan.facts)]))
    for run in scan.runs.values():
        if run.state == "broken":
            remedies.of_breach(scan, run)
    deadlines = {key: scan.frozen(run) for key, run in scan.runs.items()}
    return Standing(deadlines, scan.findings, scan.closed, scan.next_at(deadlines))


def _let_pass(scan: Scan, moment: Instant) -> None:
    """Lets every instant before `moment` happen, in order."""
    while True:
        run = min(
            (run for run in scan.runs.values() if run.state == "open" and run.due is not None and run.due < moment),
            key=lambda run: (run.due, run.promise.id, run.occurrence),
            default=None,
        )
        begun = min((round for round in scan.rounds if round.at < moment), key=lambda round: round.at, default=None)
        turn = min((at for at in scan.turns if at < moment), default=None)
        instants = [run.due if run else None, begun.at if begun else None, turn]
        at = min((at for at in instants if at is not None), default=None)
        if at is None:
            return
        scan.moment, scan.cause = at, None
        if run is not None and run.due == at:
            _break(scan, run)
        elif begun is not None and begun.at == at:
            scan.rounds.remove(begun)
            if begun.run.yearly is not None:
                promises.open_year(scan, begun.run.promise, begun.run.yearly[0] + 1, begun.run.yearly[1], begun.at)
            else:
                promises.open_round(scan, begun.run, begun.run.rounds + 1, begun.at)
        else:
            scan.turns.remove(at)
            scan.recount(turned=at)


def _break(scan: Scan, run: Run) -> None:
    """A due instant has passed: broken, or lapsed where the office owes nothing; what a breach starts begins."""
    assert run.due is not None
    run.state = "broken" if run.promise.owed_by == "office" else "lapsed"
    service = scan.charter.services.get(scan.petition.data.service or "")
    run.deemed = run.promise.within.period and service is not None and service.deemed_acceptance
    for promise, start in scan.charter.starting_at_breach.get(run.promise.id, ()):
        promises.open_run(scan, promise, start, run.due, run.data, run.occurrence, "breach")


def _take(scan: Scan, fact: Fact) -> None:
    """Judges a fact and gives it its effects; what is refused is found, and does nothing."""
    scan.moment, scan.cause = fact.moment, fact
    refused = admission.refusal(scan.charter, fact)
    if refused:
        scan.find(Finding("event.refused", f"refused:{fact.key}", fact.time, code=refused))
        return
    # The facts of a petition that is not received yet wait: without a receipt they mean nothing.
    if scan.receipt is None and fact.type.startswith(refusals.WANT_RECEIPT):
        return
    refused = refusals.judge(scan, fact)
    if refused:
        scan.find(Finding("event.refused", f"refused:{fact.key}", fact.time, code=refused))
        return
    effect = EFFECTS.get(fact.type)
    if effect is not None:
        effect(scan, fact)
    promises.meet(scan, fact)
    promises.end(scan, fact)
    if closes(fact):
        close(scan)
    promises.open_runs(scan, fact)
    remedies.measure(scan, fact)
    for finding in consequences.of_fact(fact, scan.petition, scan.rules):
        scan.find(finding)
    if fact.type == "fault.confirmed":
        remedies.of_fault(scan, fact)
