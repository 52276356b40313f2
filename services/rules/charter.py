"""Charters and laws: what a city promises and what the law demands, read from files.

The one rule: nothing about a city is code. A promise says in data what starts it, how long it runs, in which unit,
what meets it and what a breach brings; this module turns that into values that the fold can look up by event type.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Literal

import msgspec
import yaml

from services.rules import counting, demands
from services.rules.calendar import WeekHours, parse_hours
from services.rules.counting import Span
from services.rules.facts import Data, Period
from services.rules.law import LawRules, parse_law_rules
from services.rules.policy import Policy, parse_policy
from services.rules.tariffs import Tariff, parse_tariff

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

DEMANDS: Mapping[str, Test] = {
    "not": "none_of",
    "at_least": "at_least",
    "present": "present",
    "includes": "includes",
    "same": "same",
}
"""What a charter calls them; a mere value or a list of values is `any_of`."""


class Condition(msgspec.Struct, frozen=True):
    """One demand on a field: one of `values` (or none of them), at least a number, merely present, or the same as in
    the event that began the run which this one is to meet."""

    path: tuple[str, ...]
    test: Test
    values: tuple[Any, ...]
    field: str = ""
    """The field itself, where the path names one of the data and nothing in it."""
    absent: Any = None

    def holds(self, data: Data, petition: "Petition") -> bool:
        """Whether the data meet the demand; what they do not carry is looked up in the petition they are about."""
        return demands.holds(self, data, petition)

    def value(self, data: Data, petition: "Petition") -> Any:
        """What stands in the field, None where nothing does."""
        return demands.field(self.path, data, petition)


class Match(msgspec.Struct, frozen=True):
    """A type of event, with demands on its data."""

    type: str
    where: tuple[Condition, ...]

    def holds(self, data: Data, petition: "Petition") -> bool:
        """Whether data of an event of this type meet every demand."""
        return demands.all_hold(self.where, data, petition)


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

    def place(self, type: str) -> int:
        """Which of the steps an event of a type is."""
        return next(place for place, step in enumerate(self.steps) if step.type == type)


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


class ExtensionRules(msgspec.Struct, frozen=True):
    """How often and on what grounds a period may be extended (Decree art. 21; Disclosure Act art. 11(2))."""

    maximum: int
    second_needs_consent: bool
    grounds: tuple[tuple[date | None, frozenset[str] | None], ...]
    """(received from, allowed grounds or None for any), the last that holds for the date of receipt counts."""

    def allows(self, ground: str | None, received: date) -> bool:
        """Whether a ground is good for a case received on a date."""
        allowed: frozenset[str] | None = None
        for since, grounds in self.grounds:
            if since is None or received >= since:
                allowed = grounds
        return allowed is None or ground in allowed


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

    @property
    def label(self) -> str:
        """How decisions name the charter."""
        return f"{self.tenant}@{self.version}"

    def knows(self, clause: str) -> bool:
        """Whether the charter or its law has a promise, a remedy or a clause of that name."""
        return clause in self.promises or clause in self.clauses or any(remedy.id == clause for remedy in self.remedies)

    def period_of(self, data: Data) -> Period | None:
        """The handling period of a case: as set, or that of its service, or that of its kind in law."""
        if data.period is not None:
            return data.period
        service = self.services.get(data.service or "")
        if service is not None and service.period is not None:
            return service.period
        return self.law.periods.get(data.kind or "") if self.law else None


def parse_law(document: bytes) -> Law:
    """A law from its YAML file. Raises ValueError that names what is at fault."""
    content = yaml.load(document, Loader=yaml.CSafeLoader)
    try:
        extension = content["extension"]
        disclosure = extension["disclosure"]
        return Law(
            id=content["law"],
            version=str(content["version"]),
            name=content["name"],
            periods={kind: Period(**period) for kind, period in content["periods"].items()},
            extension=ExtensionRules(
                maximum=extension["maximum"],
                second_needs_consent=extension["second_needs_consent"],
                grounds=tuple(_grounds(row) for row in extension["grounds"]),
            ),
            disclosure_extension=ExtensionRules(
                maximum=disclosure["maximum"],
                second_needs_consent=False,
                grounds=((None, frozenset(disclosure["any_of"])),),
            ),
            promises=tuple(_promise(row, {}) for row in content["promises"]),
            rules=parse_law_rules(content),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"law file: {error} is missing, unknown or of the wrong kind") from error


def parse_charter(document: bytes, laws: Mapping[str, bytes]) -> Charter:
    """A charter from its YAML file; `laws` are the law files by the name that charters give them.

    Raises ValueError that names the promise and the field at fault.
    """
    content = yaml.load(document, Loader=yaml.CSafeLoader)
    try:
        law = parse_law(laws[content["law"]]) if content.get("law") else None
        defaults = content.get("defaults") or {}
        own = tuple(_promise(row, defaults) for row in content["promises"])
        promises = {promise.id: promise for promise in (*(law.promises if law else ()), *own)}
        # A duty is owed to everybody: missing it compensates nobody.
        own_ids = frozenset(promise.id for promise in own if promise.kind != "duty")
        remedies = tuple(_remedy(row, own_ids) for row in content.get("remedies") or ())
        clauses = {row["id"]: _clause(row) for row in content.get("clauses") or ()}
        return Charter(
            tenant=content["tenant"],
            version=str(content["version"]),
            in_force=content["in_force"],
            calendar=content["calendar"],
            currency=content.get("currency", "KRW"),
            name=content["name"],
            hours={name: parse_hours(week) for name, week in (content.get("hours") or {}).items()},
            law=law,
            promises=promises,
            remedies=remedies,
            policy=parse_policy(content.get("policy") or {}),
            services=_services(content.get("services") or ()),
            said_again=_said_again(own, {promise.id: promise for promise in law.promises} if law else {}),
            **_indexes(promises, clauses),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"charter file: {error} is missing, unknown or of the wrong kind") from error


def _said_again(own: Sequence[Promise], of_law: Mapping[str, Promise]) -> dict[str, str]:
    """The own promises by those of the law that they say again. Raises ValueError where one cannot be the same."""
    found: dict[str, str] = {}
    for promise in own:
        law = of_law.get(promise.same_as)
        if not promise.same_as:
            continue
        if law is None:
            raise ValueError(f"promise {promise.id}: same_as names no promise of the law")
        if (promise.kind, promise.starts, promise.measured) != (law.kind, law.starts, law.measured):
            raise ValueError(f"promise {promise.id}: same_as wants the kind and the start of {law.id}")
        if law.id in found:
            raise ValueError(f"promise {promise.id}: {found[law.id]} is the same as {law.id} already")
        found[law.id] = promise.id
    return found


def _services(rows: Any) -> dict[str, Service]:
    try:
        return {service.name: service for service in msgspec.convert(rows, tuple[Service, ...])}
    except msgspec.ValidationError as error:
        raise ValueError(f"services: {error}") from error


def _indexes(promises: Mapping[str, Promise], clauses: Mapping[str, Clause]) -> dict[str, Any]:
    starting: dict[str, list[tuple[Promise, Start]]] = {}
    at_breach: dict[str, list[tuple[Promise, Start]]] = {}
    measuring: dict[str, list[Promise]] = {}
    for promise in promises.values():
        for start in promise.starts:
            if start.match is not None:
                starting.setdefault(start.match.type, []).append((promise, start))
            else:
                at_breach.setdefault(start.breach, []).append((promise, start))
        if promise.measured is not None:
            measuring.setdefault(promise.measured.type, []).append(promise)
    listening: dict[str, list[Clause]] = {}
    for clause in clauses.values():
        for type in dict.fromkeys(match.type for match in (*clause.on, *(desk[0] for desk in clause.desks))):
            listening.setdefault(type, []).append(clause)
    walking: dict[str, list[Workflow]] = {}
    rows: tuple[Promise | Clause, ...] = (*promises.values(), *clauses.values())
    for workflow in [row.workflow for row in rows if row.workflow]:
        for step in workflow.steps[1:]:
            walking.setdefault(step.type, []).append(workflow)
    return {
        "walking": {type: tuple(rows) for type, rows in walking.items()},
        "starting": {type: tuple(rows) for type, rows in starting.items()},
        "starting_at_breach": {name: tuple(rows) for name, rows in at_breach.items()},
        "measuring": {type: tuple(rows) for type, rows in measuring.items()},
        "clauses": clauses,
        "listening": {type: tuple(rows) for type, rows in listening.items()},
        "admitting": _of_those(listening, lambda clause: clause.kind == "admission"),
        "refusing": _of_those(listening, lambda clause: clause.kind == "admission" and bool(clause.refuse)),
        "asking": _of_those(listening, lambda clause: bool(clause.tasks or clause.notice or clause.desks)),
        "meeting": frozenset(type for promise in promises.values() for type in promise.meeting),
        "ending": frozenset(match.type for promise in promises.values() for match in promise.ends),
    }


def _of_those(
    listening: Mapping[str, Sequence[Clause]], fits: Callable[[Clause], bool]
) -> dict[str, tuple[Clause, ...]]:
    found = {type: tuple(clause for clause in clauses if fits(clause)) for type, clauses in listening.items()}
    return {type: clauses for type, clauses in found.items() if clauses}


def _promise(row: dict[str, Any], defaults: Mapping[str, Any]) -> Promise:
    try:
        if row["kind"] == "recurring" and row["every"]["amount"] < 1:
            raise ValueError("every (1 or more)")
        starts = tuple(_start(entry) for entry in row.get("start") or ())
        by_complaint = any(start.match and start.match.type.startswith("complaint.") for start in starts)
        ends = row.get("ends", "case_closed" if by_complaint else "never")
        warn = row.get("warn", defaults.get("warn"))
        until = tuple(_match(entry) for name in ("until", "until_each", "until_all") for entry in row.get(name) or ())
        yearly = tuple(_yearly(entry) for entry in row.get("each_year") or ())
        return Promise(
            id=row["id"],
            section=row.get("section", ""),
            kind=row["kind"],
            says=row["says"],
            starts=starts,
            within=_within({} if row["kind"] == "measure" else row.get("within") or row.get("every") or {}),
            until=until,
            ends_with_case=ends == "case_closed",
            ends=() if isinstance(ends, str) else tuple(_match(entry) for entry in ends),
            suspends=row.get("suspends", "none"),
            extends=row.get("extends", False),
            warn=tuple(_span(span) for span in (warn if isinstance(warn, list) else [warn]) if span),
            tasks=tuple(row.get("tasks") or ()),
            hours=row.get("hours", "office"),
            grace=row.get("grace") == "next_working_day",
            measured=_match(row) if row["kind"] == "measure" else None,
            field=tuple(row.get("field", "").split(".")),
            limit=next(iter(row["limit"].items())) if row.get("limit") else None,
            owed_by=row.get("owed_by", "office"),
            extended_by=row.get("extended_by", ""),
            timing=_timing(row) if "within" in row or "not_before" in row else None,
            after_lapses=next(iter(row["after_lapses"].items())) if row.get("after_lapses") else None,
            since=row["since"] if isinstance(row.get("since"), str) else "",
            noted=tuple(_match(entry) for entry in row.get("noted") or ()),
            noted_before=row.get("noted_before", ""),
            yearly=yearly,
            until_all="until_all" in row,
            first_of_year=row.get("first_of_year", False),
            ahead=_span(row["ahead"]) if "ahead" in row else None,
            clause=row.get("clause", ""),
            same_as=row.get("same_as", ""),
            workflow=_workflow(row),
            meeting=frozenset(match.type for match in (*until, *(match for one in yearly for match in one.until))),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        entries: list[Any] = [row, *(row.get("start") or ()), *(row.get("until") or ())]
        if any(True in entry for entry in entries):
            raise ValueError(f'promise {row.get("id", "?")}: YAML reads a bare on: as true; write "on":') from error
        raise ValueError(f"promise {row.get('id', '?')}: {error} is missing, unknown or of the wrong kind") from error


def _workflow(row: dict[str, Any]) -> Workflow | None:
    """A step is the name of an event, or one with demands on its data."""
    steps = [{"on": step} if isinstance(step, str) else step for step in row.get("steps") or ()]
    return Workflow(row["id"], tuple(map(_match, steps)), frozenset(row.get("optional") or ())) if steps else None


def _timing(row: dict[str, Any]) -> Timing | None:
    """Of a measure; a promise's own span is read elsewhere."""
    since = row.get("since")
    if row["kind"] != "measure" or since is None:
        return None
    named = isinstance(since, str)
    return Timing(
        since=() if named else tuple(_match(entry) for entry in (since if isinstance(since, list) else [since])),
        field=since if named else "",
        within=_span(row["within"]) if "within" in row else None,
        not_before=_span(row["not_before"]) if "not_before" in row else None,
        first=row.get("first", False),
        unless=row.get("unless", ""),
    )


def _yearly(entry: dict[str, Any]) -> Yearly:
    month, _, day = entry["due"].partition("-")
    until = tuple(_match(match) for match in entry["until"])
    return Yearly(int(month), int(day), until, tuple(entry.get("tasks") or ()))


def _start(entry: dict[str, Any]) -> Start:
    return Start(
        match=_match(entry) if "on" in entry else None,
        breach=entry.get("breach", ""),
        from_receipt=entry.get("count_from") == "receipt",
        skip_when_past=entry.get("when_past") == "skip",
        after_due_of=entry.get("after_due_of", ""),
    )


def _within(row: dict[str, Any]) -> Within:
    if row.get("period"):
        return Within(period=True)
    if "by" in row:
        otherwise = row.get("otherwise")
        return Within(
            by=row["by"],
            table={str(name): _span(span) for name, span in row["table"].items()},
            span=None if otherwise is None else _span(otherwise),
        )
    if not row:
        return Within()
    if "at" in row:
        return Within(at=row["at"])
    return Within(span=_span(row), or_at=row.get("or_at", ""), before_at=row.get("before", ""))


def _span(row: dict[str, Any]) -> Span:
    if row["unit"] not in counting.UNITS:
        raise ValueError(f"unit {row['unit']!r}")
    return Span(row["amount"], row["unit"])


def _match(entry: dict[str, Any]) -> Match:
    return Match(entry["on"], _conditions(entry.get("where") or {}))


def _conditions(where: Mapping[str, Any]) -> tuple[Condition, ...]:
    return tuple(_condition(path, demand) for path, demand in where.items())


def _condition(path: str, demand: Any) -> Condition:
    names = tuple(path.split("."))
    direct = len(names) == 1 and path not in demands.DERIVED
    field = demands.attribute(path) if direct else ""
    test: Test = "any_of"
    values = tuple(demand) if isinstance(demand, list) else (demand,)
    if isinstance(demand, dict):
        ((named, value),) = demand.items()
        if named not in DEMANDS:
            raise ValueError(f"demand {named!r} on {path}")
        test, values = DEMANDS[named], tuple(value) if isinstance(value, list) and named == "not" else (value,)
    return Condition(names, test, values, field, demands.DEFAULTS.get(path) if direct else None)


def _remedy(row: dict[str, Any], own: frozenset[str]) -> Remedy:
    try:
        return Remedy(
            id=row["id"],
            section=row.get("section", ""),
            says=row["says"],
            triggers=tuple(_trigger(entry, own) for entry in row["on"]),
            once_per_promise=row.get("incident") == "promise",
            money="amount" in row,
            amount=row.get("amount"),
            tasks=tuple(row.get("tasks") or ()),
            repeated=row["repeated"]["from"] if "repeated" in row else 0,
            repeated_tasks=tuple(row["repeated"]["tasks"]) if "repeated" in row else (),
            tariff=parse_tariff(row["tariff"]) if "tariff" in row else None,
            find_within=_span(row["find_within"]) if "find_within" in row else None,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"remedy {row.get('id', '?')}: {error} is missing, unknown or of the wrong kind") from error


def _clause(row: dict[str, Any]) -> Clause:
    try:
        return Clause(
            id=row["id"],
            section=row["section"],
            kind=row["kind"],
            says=row["says"],
            on=tuple(_match(entry) for entry in row.get("on") or ()),
            outside=row.get("outside", ""),
            tasks=tuple(row.get("tasks") or ()),
            notice=row.get("notice", ""),
            once=row.get("once", False),
            refuse=row.get("refuse", ""),
            mark=row.get("mark", ""),
            asks=tuple(row.get("asks") or ()),
            desks=tuple((_match(desk), desk.get("outside", ""), desk["task"]) for desk in row.get("desks") or ()),
            workflow=_workflow(row),
            still=row.get("still", ""),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"clause {row.get('id', '?')}: {error} is missing, unknown or of the wrong kind") from error


def _trigger(entry: dict[str, Any], own: frozenset[str]) -> Trigger:
    breach = entry.get("breach") or ()
    named = own if breach == "any" else frozenset(breach)
    return Trigger(
        breach=named - frozenset(entry.get("except") or ()),
        fault=frozenset(entry.get("fault") or ()),
        where=_conditions(entry.get("where") or {}),
        needs=tuple(entry.get("needs") or ()),
        unasked=entry.get("remedy") == "any",
    )


def _grounds(row: dict[str, Any]) -> tuple[date | None, frozenset[str] | None]:
    return row.get("received_from"), None if row.get("any") else frozenset(row["any_of"])
