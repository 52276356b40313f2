"""Shifting: a date to come is closed or opened by decision, and what was counted past it is counted anew.

The one rule: what comes of it is what the case worked out from its first fact would say. The date lies after all that
was read, so that nothing before it can differ; where a fact was judged by what lies ahead, or a clock ever stood still,
the case is worked out anew.
"""

from services.rules import promises
from services.rules.facts import Fact
from services.rules.instants import Instant
from services.rules.scan import Scan
from services.rules.state import Rules


def shift(scan: Scan, facts: tuple[Fact, ...], rules: Rules, since: Instant) -> bool:
    """Counts what lies behind `since` by `rules`, which differ from the scan's in the dates from there on alone, and
    says whether that is all there is to it; if not, the scan is of no use any more.

    The facts are those of a case that may have a bookmark: one never closed.
    """
    if scan.until >= since or scan.pauses or any(fact.data.respond_by is not None for fact in facts):
        return False
    if any(finding.due is not None and finding.due >= since for finding in scan.findings.values()):
        return False
    scan.rules = rules
    scan.quiet_until = None
    for run in scan.runs.values():
        run.rules = rules
        if run.due is None or run.promise.within.at or run.promise.within.before_at:
            return False
        if run.due >= since:
            run.due = scan.due(run)
            # Its warning is counted back across the date, also where the instant itself is another's word.
            run.warned_for = None
            scan.touched[run.key] = run
    for round in scan.rounds:
        if round.at >= since:
            round.at = promises.over(scan, round.run)
    return True
