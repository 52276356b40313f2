"""The values of the fold: a case with its facts and its standing, and the decisions that follow.

The one rule: frozen values of plain kinds, so that equal histories are equal bytes.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final, Literal, NamedTuple

import msgspec

from services.rules.calendar import Calendar
from services.rules.charter import Charter
from services.rules.declared import Declared
from services.rules.facts import Fact
from services.rules.instants import Instant

DecisionKind = Literal[
    "deadline.started",
    "deadline.moved",
    "deadline.suspended",
    "deadline.resumed",
    "deadline.warned",
    "deadline.met",
    "deadline.breached",
    "deadline.voided",
    "breach.retracted",
    "measure.breached",
    "measure.retracted",
    "remedy.proposed",
    "remedy.withdrawn",
    "task.created",
    "task.withdrawn",
    "notice.requested",
    "event.refused",
    "event.accepted",
]

KINDS: tuple[str, ...] = DecisionKind.__args__  # type: ignore[attr-defined]
"""The kinds of decisions, in the order in which those of one step are written."""

RANK = {kind: place for place, kind in enumerate(KINDS)}


State = Literal["open", "suspended", "met", "broken", "lapsed", "void"]
"""Where a run stands."""


class Deadline(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One run of a promise in a case.

    `due` is None while suspended. `state` says where it stands; a broken one stays broken when it is met late
    (`met_at`), unless a fact takes the breach back. `warn_at` is None where nothing warns. `began` is set where time
    itself began the run (a round after a round, or the breach of another promise), to that instant; `turned` where
    time itself last stopped it, let it go on, or moved its date by a stop. What nobody in the office owes lapses
    instead of being broken. `deemed`: its breach has the effect that the petition counts as accepted.
    """

    promise: str
    occurrence: str
    start: Instant
    due: Instant | None
    first_due: Instant | None
    state: State
    warn_at: Instant | None = None
    met_at: Instant | None = None
    provisional: bool = False
    began: Instant | None = None
    turned: Instant | None = None
    deemed: bool = False


class Finding(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A consequence that stands or does not: a measure broken, a remedy, a task, or a fact refused.

    `at` is the instant it follows from; which of the fields are set depends on `kind`, the kind of decision that
    announces it. `by_time`: time brought it, so that it is dated at that instant also where a fact brings it to light.
    """

    kind: Literal["measure.breached", "remedy.proposed", "task.created", "notice.requested", "event.refused"]
    key: str
    at: Instant
    promise: str = ""
    occurrence: str = ""
    due: Instant | None = None
    remedy: str = ""
    incident: str = ""
    amount: int | None = None
    needs: tuple[str, ...] = ()
    task: str = ""
    code: str = ""
    by_time: bool = False


TAKEN_BACK: Mapping[str, DecisionKind] = {
    "measure.breached": "measure.retracted",
    "remedy.proposed": "remedy.withdrawn",
    "task.created": "task.withdrawn",
    "event.refused": "event.accepted",
}
"""What is written when a finding no longer stands. A message that was asked for cannot be called back."""


class Standing(NamedTuple):
    """What follows from the facts of a case at an instant: deadlines and findings, by their keys.

    `next_at` is the earliest instant (not before the clock) at which time alone changes something.
    """

    deadlines: dict[tuple[str, str], Deadline]
    findings: dict[str, Finding]
    closed: bool
    next_at: Instant | None
    charter: str = ""
    """The version of the charter that governs, by its label; empty: the one of the receipt."""
    lives: "Lives" = ()


Lives = tuple[tuple[Instant, Instant | None], ...]
"""When the case was closed, each time with the instant at which it was opened again, if it was."""


class Case(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A case: its facts in order, and its standing as last worked out.

    `warned` names the runs and due instants warned of. `stuck` holds the name of the error that stopped the case.
    """

    tenant: str
    id: str
    facts: tuple[Fact, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    findings: tuple[Finding, ...] = ()
    warned: tuple[tuple[str, str, Instant], ...] = ()
    closed: bool = False
    next_at: Instant | None = None
    charter: str = ""
    stuck: str = ""


class Apart(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a deadline and the fact that began its run do not say of it: the run's place among those of its case, the
    type that started it, the instant and the date that were named, and of `until` the places of what it has seen."""

    run: int
    started_by: str
    at: Instant | None = None
    day: str = ""
    extensions: tuple[tuple[int, str], ...] = ()
    seen: tuple[int, ...] = ()


class Halt(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Time that does not count in a case, as `runs.Pause` has it."""

    ground: str
    begin: Instant
    begun_by: str
    end: Instant | None = None
    ended_by: str = ""
    cap: Instant | None = None


class Bookmark(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How far a case was read: what its facts and its standing do not say of the scan (`bookmark`).

    `by` names the rules that read it. `begun` has for each deadline the place of the fact that began its run, `found`
    how many findings are the scan's own, and `rounds` when the next ones begin, each with the run before it.
    """

    by: str
    begun: list[int] = []
    found: int = 0
    passed: Instant | None = None
    rounds: list[tuple[Instant, int]] = []
    apart: list[Apart] = []
    halts: list[Halt] = []
    turns: list[Instant] = []
    extensions: int = 0
    asked_longer: int = 0


class Decision(msgspec.Struct, frozen=True, gc=False):
    """A decision, before the shell gives it a number. Instants in microseconds; absent values None or empty.

    `suspended` says of a start that its due instant is only the first told: the run stands still already.
    """

    kind: DecisionKind
    at: Instant
    promise: str = ""
    occurrence: str = ""
    due: Instant | None = None
    first_due: Instant | None = None
    provisional: bool = False
    remedy: str = ""
    incident: str = ""
    key: str = ""
    amount: int | None = None
    needs: tuple[str, ...] = ()
    task: str = ""
    reason: str = ""
    code: str = ""
    about: str = ""
    suspended: bool = False


class Decided(msgspec.Struct, frozen=True, gc=False):
    """A decision with the case it is about."""

    tenant: str
    case: str
    decision: Decision


class Rules(NamedTuple):
    """What a case is judged by: charter, calendars by name of their hours, and the revision of the rules.

    `stages` are what else comes to govern the case, in order; `declared` is the time that the tenant declared not to
    count. What was over before `live_since`, when the tenant went live, is nothing that it owes amends for.
    """

    charter: Charter
    calendars: Mapping[str, Calendar]
    revision: str
    stages: tuple["Stage", ...] = ()
    declared: tuple[Declared, ...] = ()
    live_since: Instant = 0

    def calendar(self, hours: str) -> Calendar:
        """The calendar with the named weekly hours."""
        return self.calendars[hours]

    def date_of(self, moment: Instant) -> date:
        """The local date of an instant."""
        return date.fromordinal(self.calendars["office"].ordinal(moment))


NEW_CASES: Final = "new_cases"
OPEN_FROM_TODAY: Final = "open_from_today"
RETROACTIVE: Final = "retroactive"
"""How a charter may apply. `new_cases` is a stage of the tenant's own case alone: its yearly duties."""

REOPENED: Final = "reopened"
"""A stage that begins with the next life of a case: what was enacted while it was closed."""


class Stage(NamedTuple):
    """Rules that come to govern a case at the instant `at`.

    `applies` says what of it they reach. `waits`: they were known before that instant, so that time must come there
    first.
    """

    rules: Rules
    at: Instant
    waits: bool
    applies: str
