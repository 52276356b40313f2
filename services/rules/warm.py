"""Warm cases: one worked on of late is read on from where it stands, not from its first fact.

The one rule: what comes out is what `fold` decides from the facts alone. A case is read on only where nothing that
comes can change what was said of the facts before; all else is worked out anew, and a test of random histories holds
the two against each other.
"""

from datetime import date
from itertools import islice
from typing import Final

import msgspec

from services.rules import bookmark
from services.rules.choosing import rules_of
from services.rules.effective import closes
from services.rules.facts import Fact
from services.rules.fold import (
    REVISION,
    REVISIONS,
    decided,
    evolve,
    holds,
    refold,
    stuck_by,
    with_fact,
)
from services.rules.governing import scan_of
from services.rules.instants import Instant, midnight
from services.rules.kept import Kept
from services.rules.routing import OFFICER
from services.rules.rulebook import Rulebook
from services.rules.scan import Scan
from services.rules.shifting import shift
from services.rules.standing import of_scan
from services.rules.state import Bookmark, Case, Decision, Rules

MOST: Final = 20_000
"""So many cases of a partition are kept warm; one takes some five kilobytes."""

EDITION = f"1-{REVISION}"
"""What a bookmark is read by beside the files: raised with whatever changes in it, or in how a scan is read on."""

SHIFTING: Final = "calendar.exception"
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
        self._kept: dict[CaseKey, Kept] = {}
        self._passing: list[CaseKey] = []
        """Those beyond the most that are kept, until `let_pass`."""

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
        kept = Kept(case, bookmark.take_up(case, mark, 0, rules), rules, self.rulebook)
        kept.version -= back
        self._keep(kept)

    def recall_in_passing(self, case: Case, laid: bytes | None) -> None:
        """`recall` for a case that is not likely to be worked on again soon: it displaces no other, and `let_pass` lets
        it go."""
        self._passing.append((case.tenant, case.id))
        self.recall(case, laid)

    def let_pass(self) -> None:
        """Lets the cases grow cold that were recalled in passing."""
        for key in self._passing:
            self._kept.pop(key, None)
        self._passing = []

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

    def let_go(self, key: CaseKey) -> None:
        """Lets a case grow cold."""
        self._kept.pop(key, None)

    def forget(self) -> None:
        """Lets all cases grow cold."""
        self._kept.clear()
        self._passing = []

    def fold(self, case: Case, fact: Fact | None, clock: Instant) -> tuple[Case, list[Decision], Rules]:
        """`fold.fold`, and the rules by which it was done. Raises NotEnacted."""
        if fact is not None and not case.facts and opens_alone(case, fact):
            rules = self.rulebook.rules_for(case.tenant, fact.time, fact.sequence)
            if not rules.stages and REVISIONS[rules.revision] is evolve:
                return self._opened(case, fact, clock, rules)
        key = (case.tenant, case.id)
        kept = self._kept.pop(key, None)
        if kept is not None and kept.case is case and kept.reads_on(fact, self.rulebook):
            if fact is not None and holds(case, fact):
                self._kept[key] = kept
                return case, [], kept.rules
            if fact is not None:
                kept.scan.facts.append(fact)
            try:
                changed, decisions = kept.read_on(fact, clock)
            except Exception as error:
                return stuck_by(error, case if fact is None else with_fact(case, fact)), [], kept.rules
            self._kept[key] = kept
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
            self._keep(Kept(changed, scan, rules, self.rulebook))
        return changed, decisions, rules

    def _shifted(self, kept: Kept, cause: Fact, clock: Instant) -> tuple[Case, list[Decision], Rules] | None:
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
            kept = Kept(case, Scan((fact,), clock, rules), rules, self.rulebook)
            changed, decisions = kept.read_on(fact, clock)
        except Exception as error:
            return stuck_by(error, with_fact(case, fact)), [], rules
        self._keep(kept)
        return changed, decisions, rules

    def _keep(self, kept: Kept) -> None:
        if len(self._kept) >= self._most + len(self._passing):
            # Many at once: the first of a dictionary is the slower to find the more was taken from its beginning.
            for key in list(islice(self._kept, self._most // 16 or 1)):
                del self._kept[key]
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
