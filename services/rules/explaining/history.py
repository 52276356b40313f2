"""History: how the dates of a case came to be what they are, in the order in which it became known.

The one rule: it is the fold itself, done over again over the facts of the case and what the log enacted meanwhile, so
that every date named here is one that was told then.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from services.rules.choosing import rules_of
from services.rules.explaining.course import Key
from services.rules.explaining.explain import Cause, Moved, Told
from services.rules.facts import Event, Fact
from services.rules.fold import fold, refold
from services.rules.instants import Instant
from services.rules.rulebook import Rulebook
from services.rules.runs import run_of
from services.rules.state import Case, Deadline
from services.rules.stating import fact_of
from services.rules.world import reaches


class _Entry(NamedTuple):
    """Something that became known at `recorded`: a fact of the case, or (`event`) what enacts rules."""

    fact: Fact
    recorded: Instant
    event: Event | None


def history(case: Case, clock: Instant, rulebook: Rulebook, recorded: Mapping[str, Instant]) -> dict[Key, Told]:
    """What was told of each run of a case up to `clock`. `recorded` says when facts became known, by key; one that is
    not there became known when it happened. Raises NotEnacted."""
    past = _Past(Case(case.tenant, case.id), Rulebook(rulebook.library))
    for entry in _entries(case, rulebook, recorded):
        if past.case.facts:
            past.let_pass(min(entry.recorded, clock))
        past.take(entry)
    past.let_pass(clock)
    return {
        run_of(deadline): Told(deadline.first_due, tuple(past.moves.get(run_of(deadline), ())))
        for deadline in past.case.deadlines
    }


def _entries(case: Case, rulebook: Rulebook, recorded: Mapping[str, Instant]) -> list[_Entry]:
    """In the order of the log; of one place in it, what enacts rules first."""
    entries = [_Entry(fact, recorded.get(fact.key, fact.time), None) for fact in case.facts]
    entries += [
        _Entry(fact_of(event, sequence), event.recorded, event)
        for sequence, event in rulebook.enacted
        if event.tenant == case.tenant
    ]
    return sorted(entries, key=lambda entry: (entry.fact.sequence, entry.event is None))


class _Past:
    """The case and its rules as they were known, while time goes by again."""

    def __init__(self, case: Case, rulebook: Rulebook) -> None:
        self.case = case
        self.rulebook = rulebook
        self.clock: Instant = 0
        self.known: dict[Key, Deadline] = {}
        self.moves: dict[Key, list[Moved]] = {}

    def let_pass(self, limit: Instant) -> None:
        """Lets every instant before `limit` happen, one after the other."""
        while self.case.next_at is not None and self.case.next_at < limit:
            at, charter = self.case.next_at, self.case.charter
            self.clock = max(self.clock, at + 1)
            self.case, _ = refold(self.case, None, self.clock, rules_of(self.rulebook, self.case, None))
            came = "clock.advanced" if self.case.charter == charter else "charter.enacted"
            self._note(Cause(came, at, name="" if self.case.charter == charter else self.case.charter))
        self.clock = max(self.clock, limit)

    def take(self, entry: _Entry) -> None:
        """Folds what became known."""
        cause = Cause(entry.fact.type, entry.fact.moment, entry.fact.key, recorded=entry.recorded)
        if entry.event is None:
            rules = rules_of(self.rulebook, self.case, entry.fact)
            self.case, _ = fold(self.case, entry.fact, self.clock, rules)
            if entry.fact.type == "fact.voided":
                cause = msgspec.structs.replace(cause, name=f"{entry.fact.data.source}/{entry.fact.data.id}")
        else:
            name = self._name(entry.event)
            self.rulebook.enact(entry.event, entry.fact.sequence)
            if not self.case.facts or not reaches(entry.event, self.case):
                return
            self.case, _ = refold(self.case, entry.fact, self.clock, rules_of(self.rulebook, self.case, None))
            cause = msgspec.structs.replace(cause, name=name)
        self._note(cause)

    def _name(self, event: Event) -> str:
        """What an event enacts, or takes back, by name."""
        data = event.data
        if event.type == "charter.enacted":
            return self.rulebook.library.charter(data.sha256 or "").label
        if event.type == "calendar.enacted":
            file = self.rulebook.library.calendar(data.sha256 or "")
            return f"{file.id}@{file.version}"
        if event.type == "rules.enacted":
            return str(data.revision)
        if event.type == "fact.voided":
            voided = (row for _, row in self.rulebook.enacted if (row.source, row.id) == (data.source, data.id))
            return next((self._name(row) for row in voided), "")
        return f"{data.date or ''} {data.name or ''}".strip()

    def _note(self, cause: Cause) -> None:
        """Keeps what changed the due instant of a run, or made a provisional one certain."""
        for deadline in self.case.deadlines:
            before = self.known.get(run_of(deadline))
            if before is not None and deadline.state == "void":
                continue  # nobody is told a date for what no longer applies
            self.known[run_of(deadline)] = deadline
            if before is None:
                continue
            settled = before.provisional and not deadline.provisional and deadline.state == "open"
            if before.due != deadline.due or settled:
                self.moves.setdefault(run_of(deadline), []).append(Moved(before.due, deadline.due, cause))
