"""Standing: what follows from the facts of one case at an instant.

The one rule: it is worked out from the facts alone, in the order of time, as if it were done for the first time. No
fact is judged by when it became known, so any order of arrival ends in the same standing.

The scan walks the facts by moment. Before each it lets the time up to it pass (deadlines run out, rounds begin), then
judges the fact: an impossible one is refused by name and changes nothing, any other has its effects. A
classification is read first, since it says what the petition was from the day of its receipt.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta

import msgspec

from services.rules import admission, consequences, counting
from services.rules.charter import Charter, Match, Petition, Promise, Remedy, Start, Trigger, Yearly
from services.rules.counting import Gap, Span
from services.rules.facts import Data, Fact, in_effect
from services.rules.instants import Instant, instant, midnight, of_datetime
from services.rules.law import LawRules
from services.rules.state import Deadline, Finding, Rules, Standing

VOIDING = frozenset({"complaint.returned", "complaint.withdrawn", "complaint.closed_without_answer"})
ANSWERING = frozenset({"complaint.completed", "complaint.rejected"})
OF_AN_OPEN_CASE = frozenset(
    {
        *VOIDING,
        *ANSWERING,
        "complaint.transferred",
        "complaint.extended",
        "complaint.suspended",
        "complaint.supplement_requested",
        "complaint.supplement_extended",
    }
)
WANT_RECEIPT = ("complaint.", "disclosure.", "guardian.", "delay.", "objection.")
SUPPLEMENT = "supplement"
DATE_LENGTH = len("2026-11-02")
CLOSING_TO_MIDNIGHT = Span(6, "calendar_hours")
"""What a period counted in dates loses where the last date is read as over at 18:00."""


class _Run:
    """A deadline while the scan is on: the same as Deadline, with what its due instant is counted from."""

    __slots__ = (
        "at",
        "began",
        "data",
        "deemed",
        "due",
        "extensions",
        "first_due",
        "met_at",
        "occurrence",
        "promise",
        "rounds",
        "seen",
        "span",
        "start",
        "started_by",
        "state",
        "turned",
        "yearly",
    )

    def __init__(
        self,
        promise: Promise,
        occurrence: str,
        start: Instant,
        data: Data,
        span: Span | None,
        started_by: str,
        rounds: int,
    ) -> None:
        self.promise = promise
        self.occurrence = occurrence
        self.start = start
        self.data = data
        self.span = span
        self.started_by = started_by
        self.rounds = rounds
        self.at: Instant | None = None
        self.began: Instant | None = None
        self.extensions: list[int] = []
        self.state = "open"
        self.due: Instant | None = None
        self.first_due: Instant | None = None
        self.met_at: Instant | None = None
        self.turned: Instant | None = None
        self.deemed = False
        self.seen: set[Match] = set()
        self.yearly: tuple[int, Yearly] | None = None

    @property
    def until(self) -> tuple[Match, ...]:
        return self.promise.until if self.yearly is None else self.yearly[1].until

    def met_by(self, fact: Fact, petition: Petition) -> bool:
        """Whether the fact meets it, alone or as the last of all that are wanted."""
        if self.yearly is not None and fact.data.year not in (None, self.yearly[0]):
            return False  # it is about another year
        held = [match for match in self.until if match.type == fact.type and match.holds(fact.data, petition)]
        if not self.promise.until_all:
            return bool(held)
        self.seen.update(held)
        return bool(held) and self.seen.issuperset(self.until)

    @property
    def live(self) -> bool:
        return self.state in ("open", "suspended")


class _Pause:
    """Time that does not count, from `begin` on. `cap` is when it counts again at the latest, whatever is said."""

    __slots__ = ("begin", "cap", "end", "ground")

    def __init__(self, ground: str, begin: Instant, cap: Instant | None = None) -> None:
        self.ground = ground
        self.begin = begin
        self.end: Instant | None = None
        self.cap = cap

    def end_at(self, now: Instant) -> Instant | None:
        """Where it ends, as far as that is known at an instant. A cap ends the date before it."""
        if self.cap is None or (self.end is not None and self.end < self.cap):
            return self.end
        return self.cap - 1 if self.end is not None or now >= self.cap else None


class _Round:
    """The next round of a recurring promise: it begins at `at`, when the counted time of the round before is over.
    That round may be due later, where its last date rolled on."""

    __slots__ = ("at", "run")

    def __init__(self, at: Instant, run: _Run) -> None:
        self.at = at
        self.run = run


def work_out(facts: tuple[Fact, ...], clock: Instant, rules: Rules, home: bool = False) -> Standing:
    """The standing of a case whose facts are given in any order, when the partition's clock stands at `clock`.

    `home`: it is the tenant's own, in which its yearly duties run. Raises OutOfCalendar where a period ends beyond
    the calendar.
    """
    scan = _Scan(facts, clock, rules)
    if home:
        scan.open_duties()
    return scan.standing()


class _Scan:
    def __init__(self, facts: tuple[Fact, ...], clock: Instant, rules: Rules) -> None:
        self.rules = rules
        self.charter: Charter = rules.charter
        self.clock = clock
        self.facts = in_effect(facts)
        self.runs: dict[tuple[str, str], _Run] = {}
        self.rounds: list[_Round] = []
        self.ends_of_days: list[Instant] = []
        self.findings: dict[str, Finding] = {}
        self.law = self.charter.law.rules if self.charter.law else LawRules()
        self.moment: Instant = 0
        self.pauses: list[_Pause] = []
        self.turns: list[Instant] = []
        self.extensions = 0
        self.asked_longer = 0
        self.opened: Instant = 0
        self.closed = False
        self.receipt = next(
            (f for f in self.facts if f.type == "complaint.received" and not admission.refusal(self.charter, f)), None
        )
        info = self._info()
        self.petition = Petition(info, self.charter.period_of(info) if self.receipt else None, self.charter.policy)

    def standing(self) -> Standing:
        for fact in self.facts:
            self._pass(fact.moment)
            self._take(fact)
        self._pass(max([self.clock, *(fact.time for fact in self.facts)]))
        for run in self.runs.values():
            if run.state == "broken":
                self._remedies_of_breach(run)
        deadlines = {key: self._frozen(run) for key, run in self.runs.items()}
        return Standing(deadlines, self.findings, self.closed, self._next_at(deadlines))

    # -- what the petition is ---------------------------------------------------------------------------------

    def _info(self) -> Data:
        """The data of the receipt, as later classified."""
        if self.receipt is None:
            return Data()
        info = self.receipt.data
        for fact in self.facts:
            if fact.type == "complaint.classified" and fact.moment >= self.receipt.moment:
                changes = {
                    name: value
                    for name in ("class_", "kind", "period")
                    if (value := getattr(fact.data, name)) is not None
                }
                info = msgspec.structs.replace(info, **changes)
        return info

    # -- time -------------------------------------------------------------------------------------------------

    def _pass(self, moment: Instant) -> None:
        """Lets every instant before `moment` happen, in order."""
        while True:
            run = min(
                (run for run in self.runs.values() if run.state == "open" and run.due is not None and run.due < moment),
                key=lambda run: (run.due, run.promise.id, run.occurrence),
                default=None,
            )
            begun = min((round for round in self.rounds if round.at < moment), key=lambda round: round.at, default=None)
            turn = min((at for at in self.turns if at < moment), default=None)
            instants = [run.due if run else None, begun.at if begun else None, turn]
            at = min((at for at in instants if at is not None), default=None)
            if at is None:
                return
            self.moment = at
            if run is not None and run.due == at:
                self._break(run)
            elif begun is not None and begun.at == at:
                self.rounds.remove(begun)
                if begun.run.yearly is not None:
                    self._open_year(begun.run.promise, begun.run.yearly[0] + 1, begun.run.yearly[1], begun.at)
                else:
                    self._begin_round(begun.run, begun.run.rounds + 1, begun.at)
            else:
                self.turns.remove(at)
                self._recount(turned=at)

    def _break(self, run: _Run) -> None:
        assert run.due is not None
        run.state = "broken" if run.promise.owed_by == "office" else "lapsed"
        service = self.charter.services.get(self.petition.data.service or "")
        run.deemed = run.promise.within.period and service is not None and service.deemed_acceptance
        for promise, start in self.charter.starting_at_breach.get(run.promise.id, ()):
            self._start(promise, start, run.due, run.data, run.occurrence, "breach")

    # -- facts ------------------------------------------------------------------------------------------------

    def _take(self, fact: Fact) -> None:
        self.moment = fact.moment
        refused = admission.refusal(self.charter, fact)
        if refused:
            self._find(Finding("event.refused", f"refused:{fact.key}", fact.time, code=refused))
            return
        # The facts of a petition that is not received yet wait: without a receipt they mean nothing.
        if self.receipt is None and fact.type.startswith(WANT_RECEIPT):
            return
        refused = self._judge(fact)
        if refused:
            self._find(Finding("event.refused", f"refused:{fact.key}", fact.time, code=refused))
            return
        effect = _EFFECTS.get(fact.type)
        if effect is not None:
            effect(self, fact)
        self._meet(fact)
        self._end(fact)
        if fact.type in ANSWERING or fact.type in VOIDING or _leaves_agency(fact):
            self._close()
        self._start_all(fact)
        self._measure(fact)
        for finding in consequences.of_fact(fact, self.petition, self.rules):
            self._find(finding)
        if fact.type == "fault.confirmed":
            self._remedies_of_fault(fact)

    def _judge(self, fact: Fact) -> str:
        """The name of the rule that the fact breaks, or nothing."""
        if self.receipt is not None and fact.type.startswith(WANT_RECEIPT):
            if fact.moment < self.receipt.moment:
                return "before_receipt"
            if fact.type == "complaint.received" and fact is not self.receipt:
                return "received_already"
        if self.closed and fact.type in OF_AN_OPEN_CASE:
            return "case_closed"
        if fact.type == "complaint.reopened" and not self.closed:
            return "case_open"
        judge = _JUDGES.get(fact.type)
        return judge(self, fact) if judge else ""

    def _judge_extension(self, fact: Fact) -> str:
        law, data, period = self.charter.law, fact.data, self.petition.period
        if period is None or self.receipt is None:
            return "extension_without_period"
        if law is None:
            return ""
        extension = law.disclosure_extension if self.petition.data.kind == "disclosure" else law.extension
        received = self.rules.date_of(self.receipt.moment)
        late = any(run.promise.extends and run.state == "broken" and run.met_at is None for run in self.runs.values())
        judged = {
            "extension_too_often": self.extensions >= extension.maximum,
            "extension_without_consent": self.extensions >= 1 and extension.second_needs_consent and not data.consent,
            "extension_ground_not_allowed": not extension.allows(data.ground, received),
            "extension_in_another_unit": data.unit != period.unit,
            "extension_too_long": (data.amount or 0) > period.amount,
            "extension_too_late": late,
        }
        return next((name for name, broken in judged.items() if broken), "")

    def _judge_suspension(self, fact: Fact) -> str:
        ground = fact.data.ground or ""
        rule = self.law.suspension_by(ground)
        begin = _instant(fact.data.from_, fact.moment)
        if not rule.allows(self.petition.data.kind, self.rules.date_of(begin)):
            return "suspension_ground_not_allowed"
        if rule.at_most_days is None:
            return "suspended_already" if self._open_pause(ground) else ""
        times = sum(pause.ground == ground for pause in self.pauses)
        return "suspended_too_often" if times > (1 if rule.once_more_days else 0) else ""

    def _judge_resumption(self, fact: Fact) -> str:
        return "" if self._open_pause(fact.data.ground or "") else "not_suspended"

    def _judge_demand(self, fact: Fact) -> str:
        """Of a demand for more papers: when one has lapsed, the next is the last, and short."""
        supplement, lapsed = self.law.supplement, self._lapsed_demands()
        if supplement is None or not lapsed:
            return ""
        if lapsed > 1:
            return "supplement_requested_too_often"
        last = self._named(fact.data.respond_by)
        sent = _instant(fact.data.dispatched_at, fact.moment)
        longest = counting.due(self.rules.calendar("office"), sent, supplement.last_demand)
        return "last_demand_too_long" if last is not None and longest is not None and last > longest else ""

    def _judge_longer(self, fact: Fact) -> str:
        """Of more time that the petitioner asks for to supplement."""
        if not self._open_pause(SUPPLEMENT):
            return "supplement_not_requested"
        supplement, lapsed = self.law.supplement, self._lapsed_demands()
        if supplement is None:
            return ""
        demanded = [run for run in self.runs.values() if self._is_demand(run) and run.live]
        judged = {
            "supplement_extended_too_late": not demanded,
            "supplement_extended_too_often": self.asked_longer >= supplement.extensions or lapsed > 0,
        }
        return next((name for name, broken in judged.items() if broken), "")

    def _judge_supplement(self, fact: Fact) -> str:
        return "" if self._open_pause(SUPPLEMENT) else "supplement_not_requested"

    def _judge_closing(self, fact: Fact) -> str:
        not_for = self.law.closing_not_for.get(fact.data.ground or "", frozenset())
        return "closing_ground_not_allowed" if self.petition.data.kind in not_for else ""

    def _judge_longer_objection(self, fact: Fact) -> str:
        runs = [run for run in self.runs.values() if run.promise.extended_by == fact.type and run.met_at is None]
        if not runs:
            return "objection_not_received"
        if any(run.extensions for run in runs):
            return "extension_too_often"
        return "" if any(run.live for run in runs) else "extension_too_late"

    def _judge_report(self, fact: Fact) -> str:
        known = self.charter.knows(fact.data.promise) if fact.data.promise else True
        return "" if known else "unknown_promise"

    def _open_pause(self, ground: str) -> _Pause | None:
        return next((pause for pause in self.pauses if pause.ground == ground and pause.end is None), None)

    def _is_demand(self, run: _Run) -> bool:
        return run.promise.owed_by == "citizen" and run.started_by == "complaint.supplement_requested"

    def _lapsed_demands(self) -> int:
        """How many demands for more papers ran out unanswered since the case was opened."""
        return sum(
            self._is_demand(run) and run.state == "lapsed" and run.met_at is None and run.start >= self.opened
            for run in self.runs.values()
        )

    # -- effects ----------------------------------------------------------------------------------------------

    def _suspend(self, fact: Fact) -> None:
        ground = SUPPLEMENT if fact.type == "complaint.supplement_requested" else fact.data.ground or ""
        begin = _instant(fact.data.dispatched_at if ground == SUPPLEMENT else fact.data.from_, fact.moment)
        known, rule = self._open_pause(ground), self.law.suspension_by(ground)
        if known is not None and known.cap is not None:
            # A second stretch on a ground with a limit: it follows the first, or begins where that was over.
            cap = self._days_on(max(begin, known.cap), rule.once_more_days)
            known.end = begin
            self._pause(ground, begin, cap)
        elif known is None:
            again = any(pause.ground == ground for pause in self.pauses)
            limit = rule.once_more_days if again else rule.at_most_days
            self._pause(ground, begin, None if rule.at_most_days is None else self._days_on(begin, limit or 0))
        self._recount()

    def _pause(self, ground: str, begin: Instant, cap: Instant | None) -> None:
        self.pauses.append(_Pause(ground, begin, cap))
        self.turns += [at for at in (begin, cap) if at is not None and at > self.moment]

    def _days_on(self, begin: Instant, days: int) -> Instant:
        """When so many dates are over, that of `begin` the first."""
        calendar = self.rules.calendar("office")
        return calendar.midnight(calendar.ordinal(begin) + days)

    def _resume(self, fact: Fact) -> None:
        ground = SUPPLEMENT if fact.type == "complaint.supplement_received" else fact.data.ground or ""
        pause = self._open_pause(ground)
        assert pause is not None
        end = _instant(fact.data.arrived_at if ground == SUPPLEMENT else fact.data.at, fact.moment)
        if end < pause.begin:
            self.pauses.remove(pause)  # it was only announced
        pause.end = end
        if ground == SUPPLEMENT:
            self.asked_longer = 0
        self._recount()

    def _give_longer(self, fact: Fact) -> None:
        self.asked_longer += 1
        for run in self.runs.values():
            if run.live and self._is_demand(run):
                run.at = self._named(fact.data.respond_by)
        self._recount()

    def _extend_objection(self, fact: Fact) -> None:
        for run in self.runs.values():
            if run.live and run.promise.extended_by == fact.type and run.span is not None:
                run.extensions.append(run.span.amount)
        self._recount()

    def _extend(self, fact: Fact) -> None:
        self.extensions += 1
        for run in self.runs.values():
            if run.live and run.promise.extends:
                run.extensions.append(fact.data.amount or 0)
        self._recount()

    def _reschedule(self, fact: Fact) -> None:
        for run in self.runs.values():
            if run.live and run.promise.within.or_at and run.started_by == "callback.requested":
                run.at = _instant(fact.data.wanted_at, fact.moment)
        self._recount()

    def _reopen(self, fact: Fact) -> None:
        """The case is open again, with clocks of its own; suspensions that never ended end with the old ones."""
        self.closed = False
        self.extensions = 0
        self.asked_longer = 0
        self.opened = fact.moment
        self.pauses = []
        self.turns = []

    def _close(self) -> None:
        """A case that is over ends what was promised about it; what is not met by now has lost its object."""
        self.closed = True
        for run in self.runs.values():
            if run.live and run.promise.ends_with_case:
                run.state = "void"
        self.rounds = [round for round in self.rounds if not round.run.promise.ends_with_case]

    # -- promises ---------------------------------------------------------------------------------------------

    def _meet(self, fact: Fact) -> None:
        """What the fact keeps. Of the rounds of a recurring promise that are open it keeps the oldest alone."""
        counted: set[str] = set()
        for run in self.runs.values():
            if run.met_at is not None or run.state == "void" or (run.live and run.promise.id in counted):
                continue
            if run.met_by(fact, self.petition):
                if run.live and run.rounds:
                    counted.add(run.promise.id)
                run.met_at = fact.moment
                if run.live:
                    run.state = "met"
                    # What is met while its clock stands still was due as if the clock had run on from here.
                    run.due = run.due or self._due(run, fact.moment)
                    if fact.data.reached is False:
                        task = consequences.TRY_AGAIN
                        key = f"task:{run.promise.id}:{run.occurrence}:{task}"
                        self._find(
                            Finding("task.created", key, fact.time, run.promise.id, run.occurrence, run.due, task=task)
                        )

    def _end(self, fact: Fact) -> None:
        """What takes a promise's object away without meeting it, such as a cancelled appointment."""
        for run in self.runs.values():
            if run.live and any(
                match.type == fact.type and match.holds(fact.data, self.petition) for match in run.promise.ends
            ):
                run.state = "void"

    def _start_all(self, fact: Fact) -> None:
        type = "complaint.received" if fact.type == "complaint.reopened" else fact.type
        data = self.petition.data if type == "complaint.received" else fact.data
        for promise, start in self.charter.starting.get(type, ()):
            assert start.match is not None
            if start.match.holds(data, self.petition):
                self._start(promise, start, fact.moment, data, fact.key, type)

    def _start(
        self, promise: Promise, start: Start, moment: Instant, data: Data, occurrence: str, started_by: str
    ) -> None:
        if self.closed and promise.ends_with_case:
            return
        begin, petition = moment, self.petition
        if start.from_receipt and self.receipt is not None:
            begin, occurrence = self.receipt.moment, self.receipt.key
        span = promise.span_for(data, petition)
        within = promise.within
        if span is None and not within.or_at and not within.at:
            return
        if start.after_due_of and not any(
            run.promise.id == start.after_due_of and run.state == "broken" and run.met_at is None
            for run in self.runs.values()
        ):
            return
        if promise.kind == "recurring":
            self._begin_round(_Run(promise, occurrence, begin, data, span, started_by, 0), 1)
            return
        run = _Run(promise, occurrence, begin, data, span, started_by, 0)
        run.began = moment if started_by == "breach" else None
        if (promise.id, occurrence) in self.runs or (promise.first_of_year and self._ran_in_year_of(promise, begin)):
            return
        if within.or_at:
            named = getattr(data, within.or_at)
            run.at = None if named is None else of_datetime(named)
        if within.at:
            run.at = self._named(getattr(data, within.at))
            if run.at is None:
                return
        if within.before_at:
            named = getattr(data, within.before_at)
            if named is None or span is None:
                return
            run.at = counting.before(self.rules.calendar(promise.hours), of_datetime(named), span)
        self._count(run)
        if start.skip_when_past and run.due is not None and run.due < moment:
            return
        # What starts while its clock stands still is told as if the clock ran on from there.
        run.first_due = run.due or self._due(run, moment)
        self.runs[(promise.id, occurrence)] = run
        for task in promise.tasks:
            key = f"task:{promise.id}:{occurrence}:{task}"
            timely = run.began is not None
            self._find(Finding("task.created", key, moment, promise.id, occurrence, run.due, task=task, by_time=timely))

    def _ran_in_year_of(self, promise: Promise, moment: Instant) -> bool:
        year = self.rules.date_of(moment).year
        return any(
            run.promise.id == promise.id and self.rules.date_of(run.start).year == year for run in self.runs.values()
        )

    def open_duties(self) -> None:
        """Opens the yearly duties of the year in which the tenant began; the years before it are not judged."""
        enacted = [fact.time for fact in self.facts if fact.type == "charter.enacted"]
        since = min(enacted or [fact.time for fact in self.facts], default=None)
        for promise in self.charter.promises.values() if since is not None else ():
            for yearly in promise.yearly:
                self._open_year(promise, self.rules.date_of(since or 0).year, yearly, since or 0)

    def _open_year(self, promise: Promise, year: int, yearly: Yearly, began: Instant) -> None:
        """The duty of one year: from 1 January, or the day of the charter, to the end of its date; never rolled."""
        zone, last = self.rules.calendar("office").zone, date(year, yearly.month, yearly.day)
        start = midnight(max(date(year, 1, 1), self.charter.in_force), zone)
        run = _Run(promise, f"{last}", start, Data(), None, "", 0)
        run.yearly, run.began = (year, yearly), max(start, began)
        run.at = run.first_due = midnight(last + timedelta(days=1), zone)
        self._count(run)
        if run.at > start:
            self.runs[(promise.id, run.occurrence)] = run
        self.rounds.append(_Round(midnight(date(year + 1, 1, 1), zone), run))

    def _begin_round(self, parent: _Run, number: int, began: Instant | None = None) -> None:
        promise, span = parent.promise, parent.span
        assert span is not None
        origin = parent.occurrence.rpartition("#")[0] if parent.rounds else parent.occurrence
        occurrence = f"{origin}#{number}"
        run = _Run(promise, occurrence, parent.start, parent.data, span, parent.started_by, number)
        run.began = began
        self._count(run)
        run.first_due = run.due
        self.runs[(promise.id, occurrence)] = run
        calendar = self.rules.calendar(promise.hours if span.unit in counting.WORKING else "office")
        over = counting.due(calendar, run.start, Span(span.amount * number, span.unit), roll=False)
        assert over is not None
        self.rounds.append(_Round(over, run))

    def _recount(self, turned: Instant | None = None) -> None:
        """Counts anew what is open; `turned` where time itself stopped a clock or let it go on."""
        for run in self.runs.values():
            if run.live:
                before = run.state
                self._count(run)
                if run.state != before:
                    run.turned = turned

    def _count(self, run: _Run) -> None:
        run.due = self._due(run)
        run.state = "suspended" if run.due is None else "open"

    def _due(self, run: _Run, resumed: Instant | None = None) -> Instant | None:
        """The due instant; None while suspended. `resumed` ends the suspensions that are still open."""
        if run.at is not None:
            return run.at
        promise, span = run.promise, run.span
        if span is None:
            return None
        calendar = self.rules.calendar(promise.hours if span.unit in counting.WORKING else "office")
        policy, start = self.charter.policy, run.start
        if run.rounds:
            passed = Span(span.amount * run.rounds, span.unit)
            if not promise.grace:
                due: Instant | None = counting.due(calendar, start, passed)
            elif policy.progress_send_by == "next_working_day":
                due = counting.end_of_next_working_day(calendar, start, passed)
            else:
                due = counting.due(calendar, start, passed, roll=False)
        else:
            if policy.after_hours_receipt == "next_open" and span.unit == "statutory_days":
                start = calendar.opening(start)
            due = counting.due(calendar, start, span, run.extensions, self._gaps_of(promise, resumed))
        if due is not None and policy.day_end == "18:00" and counting.in_dates(span):
            return counting.before(calendar, due, CLOSING_TO_MIDNIGHT)
        return due

    def _gaps_of(self, promise: Promise, resumed: Instant | None) -> list[Gap]:
        if promise.suspends == "none":
            return []
        dates = promise.suspends == "dates" and self.charter.policy.pause_mode == "day_inclusive"
        gaps = []
        for pause in self.pauses:
            if pause.begin <= self.moment:
                end = pause.end_at(self.moment)
                if end is None and resumed is not None:
                    end = max(pause.begin, resumed)
                gaps.append(Gap(pause.begin, end, dates and not self.law.suspension_by(pause.ground).exact))
        return gaps

    def _named(self, respond_by: str | None) -> Instant | None:
        """A named instant, or the end of a named date, which a closed one hands on (Decree art. 24(4))."""
        if respond_by is None or len(respond_by) > DATE_LENGTH:
            return None if respond_by is None else instant(respond_by)
        calendar = self.rules.calendar("office")
        return calendar.midnight(calendar.roll(date.fromisoformat(respond_by).toordinal()) + 1)

    # -- consequences -----------------------------------------------------------------------------------------

    def _find(self, finding: Finding) -> None:
        """Keeps a finding; of several under one key that which came first in time."""
        known = self.findings.get(finding.key)
        if known is None or finding.at < known.at:
            self.findings[finding.key] = finding

    def _measure(self, fact: Fact) -> None:
        for promise in self.charter.measuring.get(fact.type, ()):
            assert promise.measured is not None
            if not promise.measured.holds(fact.data, self.petition):
                continue
            at, by_time = fact.time, False
            if promise.noted:
                judged = self._unnoted(promise, fact)
                if judged is None:
                    continue
                at, by_time = judged
            elif not self._breaks(promise, fact):
                continue
            key = f"measure:{promise.id}:{fact.key}"
            self._find(Finding("measure.breached", key, at, promise.id, fact.key, by_time=by_time))
            for remedy in self.charter.remedies:
                for trigger in remedy.triggers:
                    if promise.id in trigger.breach:
                        incident = promise.id if remedy.once_per_promise else f"{promise.id}:{fact.key}"
                        self._remedy(remedy.id, trigger, incident, at, promise.id, fact.key, None, by_time)

    def _unnoted(self, promise: Promise, fact: Fact) -> tuple[Instant, bool] | None:
        """When it was certain that what had to be noted was not, and whether time alone made it so; else None.

        It had to be noted before the event that ends the call, and where none is reported before the day ends.
        """
        office = self.rules.calendar("office")
        until = midnight(self.rules.date_of(fact.moment) + timedelta(days=1), office.zone)
        ended = next((f for f in self.facts if f.type == promise.noted_before and f.moment >= fact.moment), None)
        limit = until if ended is None else ended.moment
        for other in self.facts:
            held = any(match.type == other.type and match.holds(other.data, self.petition) for match in promise.noted)
            if held and other.moment <= limit:
                return None
        if ended is not None:
            return ended.time, False
        if max(self.clock, self.facts[-1].time) > until:
            return until, True
        self.ends_of_days.append(until)
        return None

    def _breaks(self, promise: Promise, fact: Fact) -> bool:
        """Whether an event breaks what is measured on it: by its number, its time, or what it should wait for."""
        if promise.after_lapses is not None:
            name, times = promise.after_lapses
            lapsed = [run for run in self.runs.values() if run.promise.id == name and run.state == "lapsed"]
            return sum(run.met_at is None and run.start >= self.opened for run in lapsed) < times
        if promise.timing is None:
            value = getattr(fact.data, promise.field[0]) if promise.field[0] else None
            return value is not None and promise.exceeds(value)
        timing, since = promise.timing, self._since(promise, fact)
        if since is None or since > fact.moment:
            return False
        calendar = self.rules.calendar(promise.hours)
        if timing.within is not None and fact.moment > (counting.due(calendar, since, timing.within) or 0):
            return True
        over = timing.not_before and counting.due(calendar, since, timing.not_before, roll=False)
        return isinstance(over, Instant) and fact.moment < over

    def _since(self, promise: Promise, fact: Fact) -> Instant | None:
        """What the time of a measured event is counted from, or None where that is not there."""
        assert promise.timing is not None
        since = promise.timing.since
        earlier = {other.type for other in self.facts if other.moment <= fact.moment and other is not fact}
        if promise.timing.unless in earlier or (promise.timing.first and fact.type in earlier):
            return None
        if since is None:
            named = getattr(fact.data, promise.timing.field)
            return None if named is None else of_datetime(named)
        moments = [
            other.moment
            for other in self.facts
            if other.type == since.type
            and other.moment <= fact.moment
            and other is not fact
            and since.holds(other.data, self.petition)
        ]
        return max(moments, default=None)

    def _remedies_of_breach(self, run: _Run) -> None:
        assert run.due is not None
        for remedy in self.charter.remedies:
            for trigger in remedy.triggers:
                if run.promise.id in trigger.breach:
                    incident = run.promise.id if remedy.once_per_promise else f"{run.promise.id}:{run.occurrence}"
                    self._remedy(remedy.id, trigger, incident, run.due, run.promise.id, run.occurrence, run.due)

    def _remedies_of_fault(self, fact: Fact) -> None:
        """A confirmed fault is an incident of its own, unless it names a promise broken in this case."""
        named = fact.data.about or fact.data.promise or ""
        reported = next((other for other in self.facts if other.type == "fault.reported" and named == other.id), None)
        if reported is not None and reported.data.promise:
            named = reported.data.promise
        broken = self._broken_in(named)
        for remedy in self.charter.remedies:
            for trigger in remedy.triggers:
                if fact.data.ground not in trigger.fault:
                    continue
                if not all(condition.holds(fact.data, self.petition) for condition in trigger.where):
                    continue
                incident = f"fault:{reported.key if reported else fact.key}"
                if broken is not None:
                    incident = named if remedy.once_per_promise else f"{named}:{broken}"
                self._remedy(remedy.id, trigger, incident, fact.time, "", "", None)

    def _broken_in(self, promise: str) -> str | None:
        """The occurrence in which a promise was first broken in this case, as far as the scan has come."""
        breaches = [
            (run.due or 0, run.occurrence)
            for run in self.runs.values()
            if run.promise.id == promise and run.state == "broken"
        ]
        breaches += [
            (finding.at, finding.occurrence)
            for finding in self.findings.values()
            if finding.kind == "measure.breached" and finding.promise == promise
        ]
        return min(breaches)[1] if breaches else None

    def _remedy(
        self,
        remedy_id: str,
        trigger: Trigger,
        incident: str,
        at: Instant,
        promise: str,
        occurrence: str,
        due: Instant | None,
        by_time: bool = False,
    ) -> None:
        by_time |= due is not None  # a breach is dated by its due instant, whatever brought it to light
        remedy = next(row for row in self.charter.remedies if row.id == remedy_id)
        if remedy.money:
            self._find(
                Finding(
                    "remedy.proposed",
                    f"remedy:{remedy.id}:{incident}",
                    at,
                    promise,
                    occurrence,
                    due,
                    remedy.id,
                    incident,
                    remedy.amount,
                    trigger.needs,
                    by_time=by_time,
                )
            )
            self._unasked(remedy, incident, at, due, by_time)
            return
        for task in remedy.tasks:
            self._find(
                Finding(
                    "task.created",
                    f"task:{remedy.id}:{incident}:{task}",
                    at,
                    promise,
                    occurrence,
                    due,
                    remedy.id,
                    incident,
                    task=task,
                    by_time=by_time,
                )
            )

    def _unasked(self, remedy: Remedy, incident: str, at: Instant, due: Instant | None, by_time: bool) -> None:
        """The tasks of a clause that says how every remedy comes to the citizen."""
        for clause in self.charter.remedies:
            if any(trigger.unasked for trigger in clause.triggers):
                named = f"{remedy.id}:{incident}"
                for task in clause.tasks:
                    key = f"task:{clause.id}:{named}:{task}"
                    self._find(
                        Finding("task.created", key, at, "", "", due, clause.id, named, task=task, by_time=by_time)
                    )

    # -- the result -------------------------------------------------------------------------------------------

    def _frozen(self, run: _Run) -> Deadline:
        calendar = self.rules.calendar(run.promise.hours)
        warn_at = None
        for span in run.promise.warn if run.due is not None else ():
            if span.unit in counting.WORKING and not calendar.reaches(run.due or 0):
                continue  # the citizen named an instant that no calendar knows
            at = counting.before(calendar, run.due or 0, span)
            # A warning that would come before the run began is none; a shorter one may still fit.
            if at > (run.began or run.start):
                warn_at = at
                break
        counted = run.span is not None and run.at is None and counting.depends_on_calendar(run.span.unit)
        return Deadline(
            run.promise.id,
            run.occurrence,
            run.start,
            run.due,
            run.first_due,
            run.state,  # type: ignore[arg-type]
            warn_at,
            run.met_at,
            counted and run.due is not None and run.due > calendar.horizon,
            run.began,
            run.turned,
            run.deemed and run.state == "broken",
        )

    def _next_at(self, deadlines: Mapping[tuple[str, str], Deadline]) -> Instant | None:
        instants = [round.at for round in self.rounds] + self.ends_of_days
        if any(run.live for run in self.runs.values()):
            instants += self.turns
        for deadline in deadlines.values():
            if deadline.state == "open" and deadline.due is not None:
                instants.append(deadline.due)
                if deadline.warn_at is not None and deadline.warn_at >= self.clock:
                    instants.append(deadline.warn_at)
        return min(instants, default=None)


class Stop(msgspec.Struct, frozen=True):
    """Time that does not count in a run, on what ground, and the facts (by key) that began and ended it."""

    gap: Gap
    ground: str
    begun_by: str
    ended_by: str


class Move(msgspec.Struct, frozen=True):
    """A fact that changed the due instant of a run; None stands for no due instant while suspended."""

    fact: Fact
    before: Instant | None
    after: Instant | None


class Course(msgspec.Struct, frozen=True):
    """A run with what its due instant is counted from. `at` is a due instant named by the citizen, or counted back
    from `ahead_of`; `extensions` are amounts with the facts (by key) that brought them."""

    deadline: Deadline
    promise: Promise
    span: Span | None
    at: Instant | None
    ahead_of: Instant | None
    started_by: str
    rounds: int
    extensions: tuple[tuple[int, str], ...]
    stops: tuple[Stop, ...]
    moves: tuple[Move, ...]


def runs(facts: tuple[Fact, ...], clock: Instant, rules: Rules) -> dict[tuple[str, str], Course]:
    """The runs of a case as `work_out` finds them, each with what it is counted from.

    Raises OutOfCalendar where a period ends beyond the calendar.
    """
    return _Traced(facts, clock, rules).courses()


class _Traced(_Scan):
    """The same scan, noting which fact did what; it changes nothing of what the scan decides."""

    def __init__(self, facts: tuple[Fact, ...], clock: Instant, rules: Rules) -> None:
        super().__init__(facts, clock, rules)
        self.gaps_seen: list[Gap] = []
        self.stops: dict[int, tuple[Stop, ...]] = {}
        self.extended: dict[int, list[str]] = {}
        self.moves: dict[int, list[Move]] = {}

    def courses(self) -> dict[tuple[str, str], Course]:
        deadlines = self.standing().deadlines
        return {key: self._course(run, deadlines[key]) for key, run in self.runs.items()}

    def _course(self, run: _Run, deadline: Deadline) -> Course:
        ahead_of = getattr(run.data, run.promise.within.before_at) if run.promise.within.before_at else None
        return Course(
            deadline,
            run.promise,
            run.span,
            run.at,
            None if ahead_of is None else of_datetime(ahead_of),
            run.started_by,
            run.rounds,
            tuple(zip(run.extensions, self.extended.get(id(run), []), strict=True)),
            self.stops.get(id(run), ()),
            tuple(self.moves.get(id(run), ())),
        )

    def _take(self, fact: Fact) -> None:
        before = [(run, run.due, len(run.extensions)) for run in self.runs.values()]
        super()._take(fact)
        for run, due, extensions in before:
            self.extended.setdefault(id(run), []).extend([fact.key] * (len(run.extensions) - extensions))
            if run.due != due and run.state in ("open", "suspended"):
                self.moves.setdefault(id(run), []).append(Move(fact, due, run.due))

    def _due(self, run: _Run, resumed: Instant | None = None) -> Instant | None:
        self.gaps_seen = []
        due = super()._due(run, resumed)
        self.stops[id(run)] = tuple(self._stop(place, gap) for place, gap in enumerate(self.gaps_seen))
        return due

    def _gaps_of(self, promise: Promise, resumed: Instant | None) -> list[Gap]:
        self.gaps_seen = super()._gaps_of(promise, resumed)
        return self.gaps_seen

    def _stop(self, place: int, gap: Gap) -> Stop:
        """The gap with the facts that say its beginning and its end; its end may follow from none."""
        begun_by: dict[str, Fact] = {}
        for fact in self.facts:
            if _says(fact, _BEGINS, gap.start):
                begun_by.setdefault(_ground(fact), fact)
        # Of gaps that begin together each has a ground of its own.
        number = sum(other.start == gap.start for other in self.gaps_seen[:place])
        ground, begun = list(begun_by.items())[min(number, len(begun_by) - 1)]
        ended = (fact for fact in self.facts if _ground(fact) == ground and fact.moment >= begun.moment)
        ended_by = next((fact.key for fact in ended if _says(fact, _ENDS, gap.end, gap.start)), "")
        return Stop(gap, ground, begun.key, ended_by)


_BEGINS = {"complaint.supplement_requested": "dispatched_at", "complaint.suspended": "from_"}
_ENDS = {"complaint.supplement_received": "arrived_at", "complaint.resumed": "at"}


def _says(fact: Fact, fields: Mapping[str, str], at: Instant | None, earliest: Instant = 0) -> bool:
    """Whether a fact names an instant in the field of its type, or happened then."""
    field = fields.get(fact.type)
    return field is not None and max(earliest, _instant(getattr(fact.data, field), fact.moment)) == at


def _ground(fact: Fact) -> str:
    return SUPPLEMENT if fact.type.startswith("complaint.supplement") else fact.data.ground or ""


def _leaves_agency(fact: Fact) -> bool:
    return fact.type == "complaint.transferred" and fact.data.to_agency is not None


def _instant(moment: datetime | None, otherwise: Instant) -> Instant:
    return otherwise if moment is None else of_datetime(moment)


_JUDGES: Mapping[str, Callable[[_Scan, Fact], str]] = {
    "fault.reported": _Scan._judge_report,
    "complaint.extended": _Scan._judge_extension,
    "complaint.suspended": _Scan._judge_suspension,
    "complaint.resumed": _Scan._judge_resumption,
    "complaint.supplement_requested": _Scan._judge_demand,
    "complaint.supplement_extended": _Scan._judge_longer,
    "complaint.supplement_received": _Scan._judge_supplement,
    "complaint.closed_without_answer": _Scan._judge_closing,
    "objection.extended": _Scan._judge_longer_objection,
}

_EFFECTS: Mapping[str, Callable[[_Scan, Fact], None]] = {
    "complaint.supplement_requested": _Scan._suspend,
    "complaint.supplement_extended": _Scan._give_longer,
    "complaint.supplement_received": _Scan._resume,
    "complaint.suspended": _Scan._suspend,
    "complaint.resumed": _Scan._resume,
    "complaint.extended": _Scan._extend,
    "objection.extended": _Scan._extend_objection,
    "complaint.reopened": _Scan._reopen,
    "callback.rescheduled": _Scan._reschedule,
}
