"""Warm cases: one worked on of late is read on from where it stands, not from its first fact.

The one rule: what comes out is what `fold` decides from the facts alone. A case is read on only where nothing that
comes can change what was said of the facts before; all else is worked out anew, and a test of random histories holds
the two against each other.
"""

from datetime import date

import msgspec

from services.rules import bookmark
from services.rules.choosing import rules_of
from services.rules.facts import Fact, closes
from services.rules.fold import (
    REVISION,
    REVISIONS,
    decided,
    evolve,
    holds,
    in_order,
    of_deadline,
    of_finding,
    refold,
    stuck_by,
    told_first,
    warn,
    with_fact,
)
from services.rules.governing import scan_of
from services.rules.instants import NEVER, Instant, midnight
from services.rules.remedies import of_breach
from services.rules.routing import OFFICER
from services.rules.rulebook import Rulebook
from services.rules.scan import Scan, keep
from services.rules.shifting import shift
from services.rules.standing import of_scan, walk
from services.rules.state import Bookmark, Case, Decision, Finding, Rules

REACHING_BACK = frozenset({"complaint.received", "complaint.classified", "fact.voided", "fault.reported"})
"""Types of facts that may change what follows from facts before them."""

MOST = 20_000
"""So many cases of a partition are kept warm; one takes some five kilobytes."""

EDITION = f"1-{REVISION}"
"""What a bookmark is read by beside the files: raised with whatever changes in it, or in how a scan is read on."""

SHIFTING = "calendar.exception"
"""The type of the event that closes or opens a date."""

CaseKey = tuple[str, str]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Bookmark).decode


class Warm:
    """The cases of a partition that were worked on of late, and its rulebook.

    A case is handed in as it was last returned. One that comes from elsewhere is as good, and worked out anew, unless
    it is recalled with its bookmark.
    """

    def __init__(self, rulebook: Rulebook, most: int = MOST) -> None:
        self.rulebook = rulebook
        self._most = most
        self._kept: dict[CaseKey, _Kept] = {}

    def case(self, key: CaseKey) -> Case | None:
        """The case as last returned, where it is warm."""
        kept = self._kept.get(key)
        return kept.case if kept else None

    def bookmark(self, case: Case) -> bytes | None:
        """What a case must be kept with to be recalled later; None where it has grown cold, or would not pay."""
        kept = self._kept.get((case.tenant, case.id))
        if kept is None or kept.case is not case or not kept.may_be_marked:
            return None
        edition = self._edition(case.tenant)
        if kept.version != self.rulebook.version(case.tenant):
            return None
        laid = bookmark.lay(kept.scan, case.facts, kept.deadlines, edition)
        return None if laid is None else _encode(laid)

    def recall(self, case: Case, laid: bytes | None) -> None:
        """Makes a case that was kept elsewhere warm again, if its bookmark is of the rules that hold, or that held
        until the last event closed or opened a date. Nobody may hold the case as it stands after that."""
        if laid is None or not case.facts or case.stuck:
            return
        mark = _decode(laid)
        back = 0 if mark.by == self._edition(case.tenant) else 1
        if back and not (self._was_shifted(case.tenant) and mark.by == self._edition(case.tenant, back)):
            return
        rules = self._rules_of_marked(case)
        if rules.stages or REVISIONS[rules.revision] is not evolve or rules.charter.label != case.charter:
            return
        kept = _Kept(case, bookmark.take_up(case, mark, 0, rules), rules, self.rulebook)
        kept.version -= back
        self._keep(kept)

    def _was_shifted(self, tenant: str) -> bool:
        """Whether the last event that enacted anything closed or opened a date of the tenant."""
        last = self.rulebook.enacted[-1][1] if self.rulebook.enacted else None
        return last is not None and last.type == SHIFTING and last.tenant == tenant

    def _edition(self, tenant: str, back: int = 0) -> str:
        return f"{EDITION}-{self.rulebook.edition(tenant, back)}"

    def _rules_of_marked(self, case: Case) -> Rules:
        """The rules of a case that may be marked: as `choosing` has them."""
        received = next((fact.time for fact in case.facts if fact.type == bookmark.RECEIPT), None)
        if received is None:
            received = min(fact.time for fact in case.facts)
        return self.rulebook.rules_for(case.tenant, received, case.facts[0].sequence)

    def forget(self) -> None:
        """Lets all cases grow cold."""
        self._kept.clear()

    def fold(self, case: Case, fact: Fact | None, clock: Instant) -> tuple[Case, list[Decision], Rules]:
        """`fold.fold`, and the rules by which it was done. Raises NotEnacted."""
        if fact is not None and not case.facts and opens_alone(case, fact):
            rules = self.rulebook.rules_for(case.tenant, fact.time, fact.sequence)
            if not rules.stages and REVISIONS[rules.revision] is evolve:
                return self._opened(case, fact, clock, rules)
        kept = self._kept.pop((case.tenant, case.id), None)
        if kept is not None and kept.case is case and kept.reads_on(fact, self.rulebook):
            if fact is not None and holds(case, fact):
                changed, decisions = case, list[Decision]()
            else:
                if fact is not None:
                    kept.scan.facts.append(fact)
                try:
                    changed, decisions = kept.read_on(fact, clock)
                except Exception as error:
                    return stuck_by(error, case if fact is None else with_fact(case, fact)), [], kept.rules
            self._kept[case.tenant, case.id] = kept
            return changed, decisions, kept.rules
        rules = rules_of(self.rulebook, case, fact)
        if fact is None:
            return self.refold(case, None, clock, rules)
        if holds(case, fact):
            return case, [], rules
        return self.refold(with_fact(case, fact), fact, clock, rules)

    def refold(
        self, case: Case, cause: Fact | None, clock: Instant, rules: Rules | None = None
    ) -> tuple[Case, list[Decision], Rules]:
        """`fold.refold`, and the rules by which it was done: from the first fact on. Raises NotEnacted."""
        # Whatever comes of it, the case as it stood is not the case any more.
        kept = self._kept.pop((case.tenant, case.id), None)
        if kept is not None and kept.case is case and cause is not None and cause.type == SHIFTING:
            shifted = self._shifted(kept, cause, clock)
            if shifted is not None:
                return shifted
        rules = rules or rules_of(self.rulebook, case, None)
        special = rules.stages or case.id == case.tenant or case.id.startswith(OFFICER)
        if case.stuck or special or REVISIONS[rules.revision] is not evolve:
            return *refold(case, cause, clock, rules), rules
        try:
            scan = scan_of(case.facts, clock, rules)
            standing = of_scan(scan)
            changed, decisions = decided(case, standing, clock, rules, cause)
        except Exception as error:
            return stuck_by(error, case), [], rules
        if not scan.looks_ahead:
            self._keep(_Kept(changed, scan, rules, self.rulebook))
        return changed, decisions, rules

    def _shifted(self, kept: "_Kept", cause: Fact, clock: Instant) -> tuple[Case, list[Decision], Rules] | None:
        """A warm case for which a date was closed or opened; None where it must be worked out anew."""
        case, tenant = kept.case, kept.case.tenant
        if not kept.may_be_marked or kept.scan.looks_ahead or kept.version != self.rulebook.version(tenant) - 1:
            return None
        rules = self._rules_of_marked(case)
        same = rules.charter is kept.rules.charter and rules.declared == kept.rules.declared
        if not same or rules.stages or REVISIONS[rules.revision] is not evolve:
            return None
        since = midnight(date.fromisoformat(cause.data.date or ""), rules.calendar("office").zone)
        kept.scan.clock, kept.scan.until = clock, max(kept.scan.until, clock)
        try:
            if not shift(kept.scan, case.facts, rules, since):
                return None
        except Exception:
            return None  # what is wrong with it shows where it is worked out from its first fact
        kept.rules, kept.version = rules, kept.version + 1
        decisions = kept.told_anew(cause, clock)
        self._keep(kept)
        return kept.case, decisions, rules

    def _opened(self, case: Case, fact: Fact, clock: Instant, rules: Rules) -> tuple[Case, list[Decision], Rules]:
        """A new case with its first fact."""
        try:
            kept = _Kept(case, Scan((fact,), clock, rules), rules, self.rulebook)
            changed, decisions = kept.read_on(fact, clock)
        except Exception as error:
            return stuck_by(error, with_fact(case, fact)), [], rules
        self._keep(kept)
        return changed, decisions, rules

    def _keep(self, kept: "_Kept") -> None:
        if len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        self._kept[kept.case.tenant, kept.case.id] = kept


def opens_alone(case: Case, fact: Fact) -> bool:
    """Whether the rules for a case that begins with this fact follow from its time alone."""
    return not (
        closes(fact)
        or fact.type == "fact.voided"
        or case.id == case.tenant
        or case.id.startswith(OFFICER)
        or case.stuck
    )


class _Kept:
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
        self.earliest = min(fact.time for fact in case.facts or scan.facts)
        self.voids = any(fact.type == "fact.voided" for fact in case.facts)
        closings = [fact.moment for fact in case.facts if closes(fact)]
        self.changed_after_closing = bool(closings) and rulebook.changed_since(case.tenant, min(closings))
        self.deadlines = {deadline.key: deadline for deadline in case.deadlines}
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
        moment, scan = fact.moment, self.scan
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
        names = dict.fromkeys([*(finding.key for finding in scan.fresh), *self.brought])
        new = [self.findings[name] for name in names if name not in told]
        decisions.extend(of_finding(self.case, finding, fact, now) for finding in new)
        scan.fresh = []

    def _bring(self) -> None:
        """What breaches bring, in the order of the runs and not in that of their due instants."""
        self.brought = {}
        for run in self.scan.runs.values():
            if run.state == "broken":
                for finding in of_breach(run):
                    keep(self.brought, finding)
