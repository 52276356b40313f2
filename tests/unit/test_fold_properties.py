"""Properties of the fold over random histories of one case: any order of arrival ends in the same standing, decisions
are exactly what changed, and time changes nothing but by passing.

A projector of its own reads the decisions alone, as a consumer of the log would, and must know the standing.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from stories import LIBRARY, SEOUL, at

from services.rules.facts import Data, Fact, Memo, Period
from services.rules.fold import fold, in_order, order
from services.rules.instants import DAY, HOUR, MINUTE, local
from services.rules.rulebook import Rulebook
from services.rules.runs import run_of
from services.rules.state import Case, Decision, Rules

START = at("11-02 00:00")
END = at("12-31 00:00")
SHORT = settings(max_examples=250)


@dataclass
class Run:
    """What a reader of decisions knows of one deadline."""

    due: int | None
    broken: bool = False
    met: bool = False
    void: bool = False
    suspended: bool = False

    @property
    def state(self) -> str:
        for name in ("void", "broken", "met", "suspended"):
            if getattr(self, name):
                return name
        return "open"


@dataclass
class Reader:
    """Reads decisions one after the other and refuses one that says what was known."""

    runs: dict[tuple[str, str], Run] = field(default_factory=dict)
    findings: set[tuple[str, ...]] = field(default_factory=set)
    warned: set[tuple[str, str, int | None]] = field(default_factory=set)

    def read(self, one: Decision) -> None:
        noun, verb = one.kind.split(".")
        if one.kind == "deadline.warned":
            named = (one.promise, one.occurrence, one.due)
            assert named not in self.warned
            self.warned.add(named)
        elif one.kind == "notice.requested":
            return  # what was asked for is not called back, and may be asked for again
        elif noun in ("deadline", "breach"):
            getattr(self, f"_{verb}")(one, (one.promise, one.occurrence))
        elif verb in ("proposed", "breached", "created", "refused"):
            assert _named(one) not in self.findings
            self.findings.add(_named(one))
        else:
            self.findings.remove(_named(one))

    def _started(self, one: Decision, key: tuple[str, str]) -> None:
        assert one.due is not None
        assert key not in self.runs or self.runs[key].void
        self.runs[key] = Run(one.due)

    def _moved(self, one: Decision, key: tuple[str, str]) -> None:
        run = self.runs[key]
        assert one.due is not None
        if one.reason == "reopened":
            assert run.met or run.void
            # It runs again, also where it stood still when it ended; else it would be said to be suspended.
            run.met = run.void = run.suspended = False
        else:
            assert one.due != run.due
        run.due = one.due

    def _suspended(self, one: Decision, key: tuple[str, str]) -> None:
        run = self.runs[key]
        assert not run.suspended or run.met or run.void
        if one.reason == "reopened":
            run.met = run.void = False
        run.suspended, run.due = True, None

    def _resumed(self, one: Decision, key: tuple[str, str]) -> None:
        run = self.runs[key]
        assert run.suspended
        assert one.due is not None
        run.suspended, run.due = False, one.due

    def _met(self, one: Decision, key: tuple[str, str]) -> None:
        run = self.runs[key]
        assert one.due is not None
        assert not run.met or run.void
        run.met, run.void, run.suspended, run.due = True, False, False, one.due

    def _breached(self, one: Decision, key: tuple[str, str]) -> None:
        run = self.runs[key]
        assert not run.broken
        assert one.at == one.due == run.due
        run.broken, run.met = True, False

    def _retracted(self, one: Decision, key: tuple[str, str]) -> None:
        assert self.runs[key].broken
        self.runs[key].broken = False

    def _voided(self, one: Decision, key: tuple[str, str]) -> None:
        assert not self.runs[key].void
        self.runs[key].void = True


def _named(one: Decision) -> tuple[str, ...]:
    if one.kind.startswith("event."):
        return ("event", one.about)
    if one.kind.startswith("measure."):
        return ("measure", one.promise, one.occurrence)
    who = (one.remedy, one.incident) if one.remedy else (one.promise, one.occurrence)
    return (one.kind.split(".")[0], *who, one.task)


def known(case: Case) -> tuple[dict[tuple[str, str], tuple[str, int | None]], set[tuple[str, ...]]]:
    """The standing of a case in the words of the reader; what is void is as good as absent."""
    runs: dict[tuple[str, str], tuple[str, int | None]] = {
        run_of(deadline): (deadline.state, deadline.due)
        for deadline in case.deadlines
        if deadline.state not in ("void", "lapsed")
    }
    findings: set[tuple[str, ...]] = set()
    for one in case.findings:
        if one.kind == "event.refused":
            findings.add(("event", one.key.removeprefix("refused:")))
        elif one.kind == "measure.breached":
            findings.add(("measure", one.promise, one.occurrence))
        elif one.kind != "notice.requested":
            who = (one.remedy, one.incident) if one.remedy else (one.promise, one.occurrence)
            findings.add((one.kind.split(".")[0], *who, one.task))
    return runs, findings


def read_standing(reader: Reader) -> tuple[dict[tuple[str, str], tuple[str, int | None]], set[tuple[str, ...]]]:
    return {key: (run.state, run.due) for key, run in reader.runs.items() if not run.void}, reader.findings


# -- random histories -----------------------------------------------------------------------------------------

KINDS = ["inquiry", "grievance", "service_grievance", "suggestion", "handling_grievance", "disclosure", "other"]
PERIODS = [None, Period(5, "days"), Period(15, "days"), Period(1, "months"), Period(3, "hours")]
GROUNDS = ["hearing", "outage", "site_visit"]
RECEIPT = st.builds(
    lambda kind, channel, period, compound: (
        "complaint.received",
        Data(kind=kind, channel=channel, period=period, compound=compound, guardian_wanted=compound),
    ),
    st.sampled_from(KINDS),
    st.sampled_from(["visit", "web"]),
    st.sampled_from(PERIODS),
    st.sampled_from([None, True]),
)


def _of(type: str, **choices: Any) -> st.SearchStrategy[tuple[str, Data]]:
    return st.fixed_dictionaries({name: st.sampled_from(values) for name, values in choices.items()}).map(
        lambda data: (type, Data(**data))
    )


HAPPENINGS = st.one_of(
    _of("complaint.completed"),
    _of("complaint.withdrawn"),
    _of("complaint.reopened"),
    _of("complaint.transferred", to_agency=[None, "elsewhere"]),
    _of("complaint.classified", kind=[None, *KINDS], period=PERIODS, class_=[None, "simple", "ordinary"]),
    _of("complaint.progress_notified", by=["sms", "phone"]),
    _of("complaint.direction_notified", by=["sms", "phone"]),
    _of("complaint.reply_date_notified"),
    _of("complaint.assigned", officer=["o1", None]),
    _of("complaint.extended", amount=[3, 7], unit=["days"], ground=["fact_check", "surge"], consent=[None, True]),
    _of("complaint.supplement_requested", respond_by=[None, "2026-11-06", "2026-11-14"]),
    _of("complaint.supplement_extended", respond_by=["2026-11-20"]),
    _of("complaint.rejected"),
    _of("complaint.returned"),
    _of("objection.received", by=[None, "third_party"]),
    _of("objection.extended"),
    _of("objection.decided"),
    _of("complaint.supplement_received"),
    _of("complaint.suspended", ground=GROUNDS),
    _of("complaint.resumed", ground=GROUNDS),
    _of("guardian.requested"),
    _of("delay.explained", by_head=[None, True]),
    _of("disclosure.decided", decision=["open"], over_objection=[None, True]),
    _of("disclosure.notified"),
    _of("disclosure.fee_asked"),
    _of("disclosure.fee_paid"),
    _of("disclosure.disclosed"),
    _of("applicant.updated", has_mobile=[True, False]),
    _of("complaint.handed_over", distant=[None, True]),
    _of("consultation.requested", consultation=["a", "b"], respond_by=["2026-11-06", "2026-11-20"]),
    _of("consultation.extended", consultation=["a", "b"], respond_by=["2026-11-10"]),
    _of("consultation.answered", consultation=["a", "b"]),
    _of("callback.requested", via=["visit", "phone"], memo=[Memo(reply_wanted=True)]),
    _of("callback.rescheduled", wanted_at=[local(at("11-12 10:00"), SEOUL), local(at("11-05 16:00"), SEOUL)]),
    _of("callback.made", reached=[True, False]),
    _of("visit.guided", seconds_to_officer=[10, 90]),
    _of("fault.confirmed", ground=["standard", "late", "careless"], about=[None, "anseong-visit-find", "f1"]),
)

MOMENT_FIELDS = {
    "complaint.supplement_requested": "dispatched_at",
    "complaint.supplement_received": "arrived_at",
    "complaint.suspended": "from_",
    "complaint.resumed": "at",
}


@st.composite
def histories(draw: st.DrawFn, voids: bool = True) -> list[Fact]:
    """Facts of one case at different times, most of them after a receipt, some taken back."""
    opening = draw(st.lists(RECEIPT, min_size=1, max_size=1)) if draw(st.integers(0, 9)) else []
    stated = opening + draw(st.lists(HAPPENINGS, min_size=1, max_size=9))
    quarters = draw(st.lists(st.integers(1, 30 * 96), min_size=len(stated), max_size=len(stated), unique=True))
    receipt_first: bool = draw(st.booleans())
    if opening and receipt_first:
        quarters.insert(0, quarters.pop(quarters.index(min(quarters))))
    facts = []
    for number, ((type, data), quarter) in enumerate(zip(stated, quarters, strict=True)):
        time = START + quarter * 15 * MINUTE
        if type in MOMENT_FIELDS and draw(st.booleans()):
            earlier = local(time, SEOUL) - timedelta(hours=draw(st.integers(-60, 60)))
            fields = {name: getattr(data, name) for name in data.__struct_fields__}
            data = Data(**(fields | {MOMENT_FIELDS[type]: earlier}))
        facts.append(Fact(0, "desk", f"f{number}", type, time, data))
    for number in range(draw(st.integers(0, 2)) if voids else 0):
        target = draw(st.sampled_from(facts))
        if target.type != "fact.voided":
            void = Data(source="desk", id=target.id, code="other")
            facts.append(Fact(0, "desk", f"v{number}", "fact.voided", END - DAY + number * HOUR, void))
    return facts


TENANTS = st.sampled_from(["anseong", "seoul", "mapo", "yeonje", "miryang"])
BOOK = Rulebook(LIBRARY)


def rules_of(tenant: str) -> Rules:
    return BOOK.rules_for(tenant, START)


def told(
    tenant: str,
    arrivals: Sequence[Fact],
    clocks: Sequence[int] = (),
    end: int = END,
    rules: Rules | None = None,
    step: Callable[[int, list[Decision]], None] = lambda cause, decisions: None,
) -> tuple[Case, list[Decision], Reader]:
    """Folds arrivals in order, a tick before each for which there is a clock, and a tick to `end` at last; `step` hears
    what each of these brings, by its number. Checks at every step that a reader of the decisions knows the standing,
    and that the next instant was told truly."""
    rules, case, reader, decided = rules or rules_of(tenant), Case(tenant, "c1"), Reader(), []
    steps: list[tuple[Fact | None, int]] = []
    clock = 0
    for number, fact in enumerate(arrivals):
        if number < len(clocks):
            clock = max(clock, clocks[number])
            steps.append((None, clock))
        steps.append((_numbered(fact, number), clock))
    for place, (cause, now) in enumerate([*steps, (None, end)], 1):
        before = case
        case, decisions = fold(case, cause, now, rules)
        assert not case.stuck
        if cause is None and (before.next_at is None or before.next_at >= now):
            assert decisions == []
            assert known(case) == known(before)
        assert case.next_at is None or case.next_at >= now
        assert decisions == sorted(decisions, key=order)
        for one in decisions:
            reader.read(one)
        assert read_standing(reader) == known(case)
        decided += decisions
        step(place, decisions)
    return case, decided, reader


def _numbered(fact: Fact, number: int) -> Fact:
    return Fact(number + 1, fact.source, fact.id, fact.type, fact.time, fact.data)


def standing_of(case: Case) -> tuple[object, ...]:
    """All that must not depend on the order of arrival: not the date first told, nor what was warned of."""
    deadlines = {
        run_of(one): (one.start, one.due, one.state, one.warn_at, one.met_at, one.provisional, one.began)
        for one in case.deadlines
    }
    return deadlines, {one.key: one for one in case.findings}, case.closed, case.next_at


@SHORT
@given(TENANTS, histories(), st.data())
def test_any_order_of_arrival_ends_in_the_same_standing(tenant: str, facts: list[Fact], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(facts))
    clocks = data.draw(st.lists(st.integers(0, 40 * 24).map(lambda hours: START + hours * HOUR), max_size=6))
    first, _, _ = told(tenant, facts)
    second, _, _ = told(tenant, shuffled, clocks)
    assert standing_of(first) == standing_of(second)
    note(f"{len(first.deadlines)} deadlines")


@SHORT
@given(TENANTS, histories(), st.data())
def test_repeated_facts_change_nothing(tenant: str, facts: list[Fact], data: st.DataObject) -> None:
    repeats = data.draw(st.lists(st.sampled_from(facts), min_size=1, max_size=5))
    assert told(tenant, [*facts, *repeats])[1] == told(tenant, facts)[1]


def _opening(draw: st.DrawFn) -> tuple[str, int, Data]:
    type, data = draw(RECEIPT)
    return type, START + draw(st.integers(1, 20 * 24)) * HOUR, data


@st.composite
def announced(draw: st.DrawFn) -> list[Fact]:
    """Facts of one case, or its receipt alone, and stops that begin, or are over, after the last of them."""
    facts = draw(histories()) if draw(st.booleans()) else [Fact(0, "desk", "f0", *_opening(draw))]
    last = max(fact.time for fact in facts)
    for number in range(draw(st.integers(0, 3))):
        type = draw(st.sampled_from(["complaint.suspended", "complaint.suspended", "complaint.resumed"]))
        moment = local(last + draw(st.integers(0, 300)) * HOUR, SEOUL)
        data = Data(ground=draw(st.sampled_from(GROUNDS)), **{MOMENT_FIELDS[type]: moment})
        facts.append(Fact(0, "desk", f"a{number}", type, last + number, data))
    return facts


@SHORT
@given(TENANTS, announced(), st.lists(st.integers(0, 58 * 24), min_size=1, max_size=8))
def test_a_tick_split_into_smaller_ones_decides_the_same_but_for_warnings_and_stops_within_it(
    tenant: str, facts: list[Fact], hours: list[int]
) -> None:
    def unwarned(decided: list[Decision]) -> Counter[Decision]:
        return Counter(one for one in decided if one.kind != "deadline.warned")

    rules = rules_of(tenant)
    stated = known_of(tenant, facts)
    at_once, decided = fold(stated, None, END, rules)
    case, pieces = stated, list[Decision]()
    for clock in [*sorted(START + hour * HOUR for hour in hours), END]:
        case, found = fold(case, None, clock, rules)
        pieces += found
    assert standing_of(case) == standing_of(at_once)
    assert unwarned(in_one_leap(stated, pieces)) == unwarned(decided)


def known_of(tenant: str, facts: Sequence[Fact]) -> Case:
    """A case after its facts, the clock not looked at since."""
    case = Case(tenant, "c1")
    for number, fact in enumerate(facts):
        case, _ = fold(case, _numbered(fact, number), 0, rules_of(tenant))
    return case


def in_one_leap(before: Case, pieces: list[Decision]) -> list[Decision]:
    """What several ticks decided, in the words of one that leaps over all their instants: of a clock that stopped and
    ran, in whatever turns, it tells the last alone; where it ran before and after, only that the date moved; where it
    was not known before, with which date it runs or stands still."""
    stood = {run_of(one): one for one in before.deadlines}
    turns = {_run_of(one): one for one in pieces if _turns(one)}
    leapt = []
    for one in pieces:
        last, was = turns.get(_run_of(one)), stood.get(_run_of(one))
        if not _turns(one):
            if one.kind == "deadline.started" and last is not None:
                one = replace(one, due=last.due or one.first_due, suspended=last.due is None)
            leapt.append(one)
        elif one is last:
            stops, stopped = one.due is None, was is not None and was.due is None
            if stops and not stopped:
                leapt.append(one)
            elif stopped and not stops:
                leapt.append(replace(one, kind="deadline.resumed", reason=""))
            elif was is not None and one.due != was.due:
                leapt.append(replace(one, kind="deadline.moved", reason="suspended"))
    for one in turns.values():
        note(f"{one.kind} {one.reason}")
    return leapt


def _turns(one: Decision) -> bool:
    """Whether a decision tells what a stop does to a clock."""
    return one.kind in ("deadline.suspended", "deadline.resumed") or one.reason == "suspended"


def _run_of(one: Decision) -> tuple[str, str]:
    return one.promise, one.occurrence


def test_a_stop_within_one_leap_of_the_clock_is_why_the_date_moved() -> None:
    """Announced for the next day and over when it has lasted as long as it may, while nobody looked at the clock."""
    stop = Data(ground="site_visit", from_=local(at("11-03 09:00"), SEOUL))
    stated = known_of(
        "anseong",
        [
            Fact(0, "desk", "f0", "complaint.received", at("11-02 10:00"), Data(kind="grievance", channel="visit")),
            Fact(0, "desk", "f1", "complaint.suspended", at("11-02 15:00"), stop),
        ],
    )

    def course(clock: int, case: Case) -> tuple[Case, list[tuple[str, int, str]]]:
        case, decided = fold(case, None, clock, rules_of("anseong"))
        return case, [(one.kind, one.at, one.reason) for one in decided if _turns(one)]

    stopped, told_then = course(at("11-03 09:30"), stated)
    (_, resumed_at, _), *others = course(END, stopped)[1]
    assert told_then
    assert {one[:2] for one in told_then} == {("deadline.suspended", at("11-03 09:00"))}
    assert at("11-03 09:00") < resumed_at < END
    _, leapt = course(END, stated)
    assert len(leapt) == len(others) + 1
    assert set(leapt) == {("deadline.moved", resumed_at, "suspended")}


@SHORT
@given(TENANTS, histories(voids=False))
def test_a_fact_taken_back_leaves_the_standing_as_if_never_stated(tenant: str, facts: list[Fact]) -> None:
    *others, wrong = facts
    void = Fact(0, "desk", "v", "fact.voided", END - DAY, Data(source="desk", id=wrong.id, code="other"))
    without = Fact(0, "desk", "n", "applicant.updated", END - DAY)
    assert standing_of(told(tenant, [*others, wrong, void])[0]) == standing_of(told(tenant, [*others, without])[0])


@given(st.data())
def test_decisions_of_a_step_are_sorted_by_their_order_however_many(data: st.DataObject) -> None:
    """One by one or by `sorted`; equal ones stay as they came, which their reasons tell."""
    kinds = st.sampled_from(["deadline.started", "deadline.suspended", "deadline.breached"])
    names, dues = st.sampled_from(["a", "b"]), st.sampled_from([None, 0, 5, 7])
    drawn = data.draw(st.lists(st.tuples(kinds, names, names, dues, st.booleans()), max_size=40))
    decisions = [
        Decision(kind, 1, promise, occurrence, due, reason=str(number), suspended=suspended)
        for number, (kind, promise, occurrence, due, suspended) in enumerate(drawn)
    ]
    assert in_order(decisions) == sorted(decisions, key=order)
