"""Charters and laws: what a city promises and what the law demands, as values that are looked up by type of event.

The one rule: nothing about a city is code. A promise says in data what starts it, how long it runs, in which unit,
what meets it and what a breach brings. `charter_files` makes these values from files, `charter_rows` from their rows.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

import msgspec

from services.rules import demands
from services.rules.calendar import WeekHours
from services.rules.counting import Span
from services.rules.facts import Data, Period
from services.rules.law import ExtensionRules, LawRules
from services.rules.policy import Policy
from services.rules.tariffs import Tariff

PERIOD_UNITS = {
    "hours": "working_hours",
    "days": "statutory_days",
    "weeks": "weeks",
    "months": "months",
    "years": "years",
}
"""How a handling period is counted (Act art. 19)."""


class Petition(msgspec.Struct, frozen=True):
    """What a case is about: the data of its receipt as later classified, and its handling period if it has one."""

    data: Data = Data()
    period: Period | None = None
    policy: Policy = Policy()


Test = Literal["any_of", "none_of", "at_least", "present", "includes", "same"]


class Condition(msgspec.Struct, frozen=True):
    """One demand on a field: one of `values` (or none of them), at least a number, merely present, or the same as in
    the event that began the run which this one is to meet."""

    path: tuple[str, ...]
    test: Test
    values: tuple[Any, ...]
    field: str = ""
    """The field itself, where the path names one of the data and nothing in it."""
    absent: Any = None

    def value(self, data: Data, petition: "Petition") -> Any:
        """What stands in the field, None where nothing does."""
        return demands.field(self.path, data, petition)


class Match(msgspec.Struct, frozen=True):
    """A type of event, with demands on its data."""

    type: str
    where: tuple[Condition, ...]


class Start(msgspec.Struct, frozen=True):
    """What starts a promise: a matching event, or the breach of another promise."""

    match: Match | None = None
    breach: str = ""
    from_receipt: bool = False
    skip_when_past: bool = False
    after_due_of: str = ""


class Within(msgspec.Struct, frozen=True):
    """How long: a span, the handling period, a table by a field, a named instant (less a span), or the end of a named
    date."""

    span: Span | None = None
    period: bool = False
    at: str = ""
    or_at: str = ""
    before_at: str = ""
    by: str = ""
    table: Mapping[str, Span] = {}


class Timing(msgspec.Struct, frozen=True):
    """When one event must come: within a span of an earlier instant, or not before it is over.

    The instant is that of the latest event that one of `since` matches, or the one that the event itself names in
    `field`.
    With `first` only the first event of its type is judged, and none after an event of the type `unless`.
    """

    since: tuple[Match, ...] = ()
    field: str = ""
    within: Span | None = None
    not_before: Span | None = None
    first: bool = False
    unless: str = ""


class Yearly(msgspec.Struct, frozen=True):
    """A date of every year by whose end something must have happened; never rolled. `tasks` bring it about."""

    month: int
    day: int
    until: tuple[Match, ...]
    tasks: tuple[str, ...] = ()


class Promise(msgspec.Struct, frozen=True):
    """One promise of a charter, or one deadline of a law.

    What somebody else than the office owes lapses when it is over, and is no breach. `timing` and `after_lapses`
    (a promise and how often it must have lapsed before) are measures taken on an event and those before it. `ahead`
    says how long before the date of a duty its tasks are created.
    """

    id: str
    section: str
    kind: Literal["deadline", "recurring", "measure", "duty"]
    says: Mapping[str, str]
    starts: tuple[Start, ...] = ()
    within: Within = Within()
    until: tuple[Match, ...] = ()
    ends_with_case: bool = False
    ends: tuple[Match, ...] = ()
    suspends: Literal["dates", "exact", "fee", "none"] = "none"
    extends: bool = False
    warn: tuple[Span, ...] = ()
    tasks: tuple[str, ...] = ()
    hours: str = "office"
    grace: bool = False
    measured: Match | None = None
    field: tuple[str, ...] = ()
    limit: tuple[str, int] | None = None
    owed_by: Literal["office", "citizen", "third_party", "consulted", "nobody"] = "office"
    extended_by: str = ""
    timing: Timing | None = None
    after_lapses: tuple[str, int] | None = None
    since: str = ""
    noted: tuple[Match, ...] = ()
    noted_before: str = ""
    yearly: tuple[Yearly, ...] = ()
    until_all: bool = False
    first_of_year: bool = False
    ahead: Span | None = None
    clause: str = ""
    workflow: "Workflow | None" = None
    meeting: frozenset[str] = frozenset()
    """The types of event that may meet it."""
    same_as: str = ""
    """The promise of the law that it says again: breaking both is one incident."""

    def exceeds(self, value: int) -> bool:
        """Whether a measured value breaks the limit."""
        if self.limit is None:
            return False
        test, bound = self.limit
        if test == "at_most":
            return value > bound
        return value >= bound if test == "below" else value < bound


class Workflow(msgspec.Struct, frozen=True):
    """Steps that a case of one kind walks through: the first says which kind; those not `optional` are all taken."""

    id: str
    steps: tuple[Match, ...]
    optional: frozenset[str] = frozenset()


class Trigger(msgspec.Struct, frozen=True):
    """What brings a remedy: breaches of promises, confirmed faults, or (`unasked`) any remedy that is proposed."""

    breach: frozenset[str] = frozenset()
    fault: frozenset[str] = frozenset()
    where: tuple[Condition, ...] = ()
    needs: tuple[str, ...] = ()
    unasked: bool = False


class Remedy(msgspec.Struct, frozen=True):
    """What a citizen gets when a promise was broken. `money`: it pays; `amount` None: a `tariff` works it out once the
    lateness is over, else an approver enters it. `find_within`: by when an approver says if there was a just reason."""

    id: str
    section: str
    says: Mapping[str, str]
    triggers: tuple[Trigger, ...]
    once_per_promise: bool
    money: bool
    amount: int | None
    tasks: tuple[str, ...]
    repeated: int = 0
    repeated_tasks: tuple[str, ...] = ()
    tariff: Tariff | None = None
    find_within: Span | None = None


class Clause(msgspec.Struct, frozen=True):
    """A promise that no clock and no number keeps: what it wants at certain events, or merely what it says.

    `outside` names weekly hours: it applies only when they are closed. `refuse`, `mark` and `asks` are for what comes
    in: refused with a code, or let in with a mark, and the details asked for. `desks` are (match, closed hours, task):
    the first that fits takes it in.
    `still` names what other than rules and events is missing yet.
    """

    id: str
    section: str
    kind: Literal["task", "notice", "admission", "workflow", "conduct"]
    says: Mapping[str, str]
    on: tuple[Match, ...] = ()
    outside: str = ""
    tasks: tuple[str, ...] = ()
    notice: str = ""
    once: bool = False
    refuse: str = ""
    mark: str = ""
    asks: tuple[str, ...] = ()
    desks: tuple[tuple[Match, str, str], ...] = ()
    workflow: Workflow | None = None
    still: str = ""


class Law(msgspec.Struct, frozen=True):
    """The deadlines and periods that hold whatever a charter says."""

    id: str
    version: str
    name: Mapping[str, str]
    periods: Mapping[str, Period]
    extension: ExtensionRules
    disclosure_extension: ExtensionRules
    promises: tuple[Promise, ...]
    rules: LawRules = LawRules()


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A statutory service: its period, and whether it counts as accepted when that is over without an answer."""

    name: str
    period: Period | None = None
    deemed_acceptance: bool = False


class Charter(msgspec.Struct, frozen=True):
    """A charter's version with its law: promises by what starts, meets and measures them."""

    tenant: str
    version: str
    label: str
    """How decisions name it: tenant@version."""
    in_force: date
    calendar: str
    currency: str
    name: Mapping[str, str]
    hours: Mapping[str, WeekHours]
    law: Law | None
    promises: Mapping[str, Promise]
    remedies: tuple[Remedy, ...]
    starting: Mapping[str, tuple[tuple[Promise, Start], ...]]
    starting_at_breach: Mapping[str, tuple[tuple[Promise, Start], ...]]
    measuring: Mapping[str, tuple[Promise, ...]]
    policy: Policy = Policy()
    services: Mapping[str, Service] = {}
    clauses: Mapping[str, Clause] = {}
    listening: Mapping[str, tuple[Clause, ...]] = {}
    walking: Mapping[str, tuple[Workflow, ...]] = {}
    admitting: Mapping[str, tuple[Clause, ...]] = {}
    """Of the clauses listening to a type, those that may refuse or mark what comes in."""
    refusing: Mapping[str, tuple[Clause, ...]] = {}
    """Of those, the ones that may refuse it."""
    asking: Mapping[str, tuple[Clause, ...]] = {}
    """Of the clauses listening to a type, those that bring a task or a message."""
    meeting: frozenset[str] = frozenset()
    """The types of event that may meet a promise."""
    ending: frozenset[str] = frozenset()
    """The types of event that may end a promise without meeting it."""
    said_again: Mapping[str, str] = {}
    """The charter's own promise by the one of the law that it says again: an incident bears the charter's name."""

    def knows(self, clause: str) -> bool:
        """Whether the charter or its law has a promise, a remedy or a clause of that name."""
        return clause in self.promises or clause in self.clauses or any(remedy.id == clause for remedy in self.remedies)
