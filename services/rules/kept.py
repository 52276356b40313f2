"""Kept: a case as last returned, with the scan that it was worked out by, so that it can be read on.

The one rule: what was said of the facts before stands, whatever comes (`reads_on`); only then is a fact read on.
"""

from typing import Final

import msgspec

from services.rules import bookmark
from services.rules.effective import closes, moment_of
from services.rules.facts import Fact
from services.rules.fold import in_order, of_deadline, of_finding, told_first, warn
from services.rules.instants import NEVER, Instant
from services.rules.remedies import of_breach
from services.rules.rulebook import Rulebook
from services.rules.runs import run_of
from services.rules.scan import Scan, keep
from services.rules.standing import walk
from services.rules.state import Case, Decision, Finding, Rules

REACHING_BACK: Final = frozenset({"complaint.received", "complaint.classified", "fact.voided", "fault.reported"})
"""Types of facts that may change what follows from facts before them."""


class Kept:
    """A warm case: as last returned, with the scan that it was worked out by and what was told of it."""

    __slots__ = (
        "brought",
        "case",
        "changed_after_closing",
        "deadlines",
        "earliest",
        "findings",
        "live",
        "may_be_marked",
        "rules",
        "scan",
        "version",
        "voids",
    )

    def __init__(self, case: Case, scan: Scan, rules: Rules, rulebook: Rulebook) -> None:
        self.case = case
        self.scan = scan
        self.rules = rules
        self.version = rulebook.version(case.tenant)
        self.may_be_marked = bookmark.may_be_marked(case.facts)
        self.earliest: Instant = NEVER
        self.voids = False
        closed_at: Instant = NEVER
        for fact in case.facts or scan.facts:
            self.earliest = min(self.earliest, fact.time)
            self.voids = self.voids or fact.type == "fact.voided"
            if closes(fact):
                closed_at = min(closed_at, moment_of(fact))
        self.changed_after_closing = closed_at < NEVER and rulebook.changed_since(case.tenant, closed_at)
        self.deadlines = {run_of(deadline): deadline for deadline in case.deadlines}
        self.live = {key: self.deadlines[key] for key, run in scan.unmet.items() if run.live}
        self.findings = {finding.key: finding for finding in case.findings}
        self.brought: dict[str, Finding] = {}
        self._bring()
        scan.touched, scan.fresh = {}, []

    def reads_on(self, fact: Fact | None, rulebook: Rulebook) -> bool:
        """Whether what follows from the facts so far stands whatever this one says, by the same rules."""
        if self.scan.looks_ahead or self.changed_after_closing or self.version != rulebook.version(self.case.tenant):
            return False
        if fact is None:
            return True
        moment, scan = moment_of(fact), self.scan
        # A taking back may stand in the log before what it names.
        if fact.type in REACHING_BACK or self.voids or fact.time < self.earliest:
            return False
        if scan.read_to is not None and moment <= scan.read_to:
            return False
        if scan.passed is not None and moment <= scan.passed:
            return False
        return not (closes(fact) and rulebook.changed_since(self.case.tenant, moment))

    def read_on(self, fact: Fact | None, clock: Instant) -> tuple[Case, list[Decision]]:
        """The case after a fact that it does not hold, or after time alone, and the decisions, in order."""
        scan, case, now = self.scan, self.case, clock
        scan.clock = clock
        scan.until = max(scan.until, clock)
        if fact is not None:
            scan.until, now = max(scan.until, fact.time), fact.time
        walk(scan)
        facts = case.facts if fact is None else (*case.facts, fact)
        if fact is not None and self.may_be_marked:
            self.may_be_marked = not closes(fact) and fact.type != bookmark.UPDATING
        silent = not scan.touched and not scan.fresh and not scan.looks_ahead and scan.closed == case.closed
        if silent and clock <= (case.next_at or NEVER):
            # It says nothing, and no warning is due: what time will bring is as it was.
            self.case = Case(
                case.tenant,
                case.id,
                facts,
                case.deadlines,
                case.findings,
                case.warned,
                scan.closed,
                case.next_at,
                case.charter or self.rules.charter.label,
            )
            return self.case, []
        decisions: list[Decision] = []
        broke = self._deadlines(fact, now, decisions)
        if broke:
            self._bring()
        if scan.fresh or broke:
            self._findings(fact, now, decisions)
        self.case = Case(
            case.tenant,
            case.id,
            facts,
            tuple(self.deadlines.values()),
            tuple(self.findings.values()),
            warn(case, self.live.values(), clock, fact, decisions),
            scan.closed,
            scan.next_at(self.live.values()),
            case.charter or self.rules.charter.label,
        )
        return self.case, in_order(decisions)

    def told_anew(self, cause: Fact, clock: Instant) -> list[Decision]:
        """The decisions, in order, after deadlines were counted anew for a cause that is no fact of the case."""
        case, decisions = self.case, list[Decision]()
        self._deadlines(cause, cause.time, decisions)
        self.case = msgspec.structs.replace(
            case,
            deadlines=tuple(self.deadlines.values()),
            warned=warn(case, self.live.values(), clock, cause, decisions),
            next_at=self.scan.next_at(self.live.values()),
        )
        return in_order(decisions)

    def _deadlines(self, fact: Fact | None, now: Instant, decisions: list[Decision]) -> bool:
        """Takes over the runs that changed; says whether one broke."""
        scan, broke = self.scan, False
        for key, run in scan.touched.items():
            old = self.deadlines.get(key)
            new = told_first(old, scan.frozen(run))
            if new == old:
                continue
            decisions.extend(of_deadline(old, new, fact, now))
            self.deadlines[key] = new
            if run.live:
                self.live[key] = new
            else:
                self.live.pop(key, None)
                broke |= run.state == "broken"
        scan.touched = {}
        return broke

    def _findings(self, fact: Fact | None, now: Instant, decisions: list[Decision]) -> None:
        """Takes over what was found, then what breaches bring, in the order of the runs."""
        scan, told = self.scan, self.findings
        self.findings = dict(scan.findings)
        for finding in self.brought.values():
            keep(self.findings, finding)
        names = dict.fromkeys([finding.key for finding in scan.fresh])
        names.update(dict.fromkeys(self.brought))
        decisions += [of_finding(self.case, self.findings[name], fact, now) for name in names if name not in told]
        scan.fresh = []

    def _bring(self) -> None:
        """What breaches bring, in the order of the runs and not in that of their due instants."""
        self.brought = {}
        for run in self.scan.runs.values():
            if run.state == "broken":
                for finding in of_breach(run):
                    keep(self.brought, finding)
