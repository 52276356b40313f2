"""Scan: one case while it is being worked out, and when each of its runs is due.

The one rule: a due instant is counted anew from the run's start, its amounts and the pauses of the case, never patched.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Final

import msgspec

from services.rules import admission, counting
from services.rules.charter import Charter, Petition, Promise
from services.rules.counting import Gap, Span
from services.rules.demands import period_of
from services.rules.effective import in_effect, in_order, key_of, moment_of
from services.rules.facts import Data, Fact
from services.rules.instants import NEVER, Instant, instant, of_datetime
from services.rules.law import LawRules
from services.rules.runs import Pause, Round, Run, Stop
from services.rules.state import Deadline, Finding, Rules, State

SUPPLEMENT: Final = "supplement"
"""The ground of the time in which the petitioner supplements."""

FEE: Final = "fee"
"""The ground of the time in which a fee that was asked for is not paid. It adds no time: what waits for it is due as
before once it is paid."""

DATE_LENGTH: Final = len("2026-11-02")
CLOSING_TO_MIDNIGHT: Final = Span(6, "calendar_hours")
"""What a period counted in dates loses where the last date is read as over at 18:00."""


class Scan:
    """The case as far as it has been read: `moment` is where the scan stands.

    `taken` counts the facts read, `verdicts` has what was said of each by key: the rule that refused it, or nothing.
    The last of them has effect from `read_to` on, and the receipt from `received`. Time is let pass up to `until`, and
    `passed` is the last instant at which it brought something. `awaits` is when a later version comes to govern, where
    that is ahead.

    Of the `runs`, `unmet` are those that something can still happen to. `touched` are those that changed and `fresh`
    the findings made since somebody last looked (`warm`); `looks_ahead` where a fact was judged by what came after it.
    `quiet_until` is the instant up to which time brings nothing, where that is known. `reports_gone` are reports of
    faults that were taken back: what a finding is about does not change with that.
    """

    def __init__(
        self, facts: Iterable[Fact], clock: Instant, rules: Rules, verdicts: Mapping[str, str] | None = None
    ) -> None:
        self.rules = rules
        self.charter: Charter = rules.charter
        self.clock = clock
        facts = tuple(facts)
        self.facts = list(in_effect(facts))
        self.reports_gone: tuple[Fact, ...] = ()
        if len(self.facts) < len(facts):
            standing = {key_of(fact) for fact in self.facts}
            gone = [fact for fact in facts if fact.type == "fault.reported" and key_of(fact) not in standing]
            self.reports_gone = tuple(gone)
        self.taken = 0
        self.read_to: Instant | None = None
        self.passed: Instant | None = None
        self.verdicts = dict(verdicts or {})
        self.until = clock
        for fact in self.facts:
            if fact.time > self.until:
                self.until = fact.time
        self.awaits: Instant | None = None
        self.lives: list[tuple[Instant, Instant | None]] = []
        self.runs: dict[tuple[str, str], Run] = {}
        self.unmet: dict[tuple[str, str], Run] = {}
        self.touched: dict[tuple[str, str], Run] = {}
        self.fresh: list[Finding] = []
        self.looks_ahead = False
        self.quiet_until: Instant | None = None
        self.rounds: list[Round] = []
        self.ends_of_days: list[Instant] = []
        self.findings: dict[str, Finding] = {}
        self.law = self.charter.law.rules if self.charter.law else LawRules()
        self.moment: Instant = 0
        self.pauses: list[Pause] = []
        self.turns: list[Instant] = []
        self.extensions = 0
        self.asked_longer = 0
        self.opened: Instant = 0
        self.closed = False
        self.receipt = self._receipt()
        self.received: Instant = moment_of(self.receipt) if self.receipt is not None else NEVER
        info = self.info()
        self.petition = Petition(info, period_of(self.charter, info) if self.receipt else None, self.charter.policy)
        self.forget_pauses()

    def _receipt(self) -> Fact | None:
        for fact in self.facts:
            if fact.type == "complaint.received" and not self.barred(fact):
                return fact
        return None

    def barred(self, fact: Fact) -> str:
        """The code with which the fact is not let in, or nothing: as judged before, where it was."""
        known = self.verdicts.get(key_of(fact))
        return admission.refusal(self.charter, fact) if known is None else known

    def report(self, named: str | None) -> Fact | None:
        """The report of a fault that a finding names by its id, also one that was taken back since; of several sources'
        the one that has effect first, whatever becomes of it."""
        found = [
            fact for fact in (*self.facts, *self.reports_gone) if fact.type == "fault.reported" and fact.id == named
        ]
        return min(found, key=in_order, default=None)

    def info(self) -> Data:
        """The data of the receipt, as later classified."""
        if self.receipt is None:
            return Data()
        info = self.receipt.data
        for fact in self.facts:
            if fact.type == "complaint.classified" and moment_of(fact) >= moment_of(self.receipt):
                changes = {
                    name: value
                    for name in ("class_", "kind", "period")
                    if (value := getattr(fact.data, name)) is not None
                }
                info = msgspec.structs.replace(info, **changes)
        return info

    def add(self, run: Run) -> None:
        """Takes a run in that has begun."""
        self.runs[run.key] = self.unmet[run.key] = self.touched[run.key] = run
        self.quiet_until = None

    def settle(self, run: Run, state: State) -> None:
        """Ends a run: nothing more can happen to one that is met or void."""
        run.state = state
        self.touched[run.key] = run
        del self.unmet[run.key]

    def replace_runs(self, runs: dict[tuple[str, str], Run]) -> None:
        """Goes on with other runs than it has begun itself."""
        self.runs = self.touched = runs
        self.unmet = {key: run for key, run in runs.items() if run.met_at is None and run.state != "void"}
        self.quiet_until = None

    def open_pause(self, ground: str) -> Pause | None:
        """The pause on a ground that nothing has ended yet."""
        ours = (pause for pause in self.pauses if not pause.declared)
        return next((pause for pause in ours if pause.ground == ground and pause.end is None), None)

    def is_demand(self, run: Run) -> bool:
        """Whether a run is the petitioner's time to supplement."""
        return run.promise.owed_by == "citizen" and run.started_by == "complaint.supplement_requested"

    def consultations(self, fact: Fact) -> list[Run]:
        """The open runs of the consultation that a fact names."""
        return [
            run
            for run in self.unmet.values()
            if run.live and run.promise.owed_by == "consulted" and run.data.consultation == fact.data.consultation
        ]

    def lapsed_demands(self) -> int:
        """How many demands for more papers ran out unanswered since the case was opened."""
        return sum(
            self.is_demand(run) and run.state == "lapsed" and run.met_at is None and run.start >= self.opened
            for run in self.runs.values()
        )

    def pause(self, ground: str, begin: Instant, cap: Instant | None, fact: Fact) -> None:
        """Stops the clocks that stop on a ground."""
        self.quiet_until = None
        self.pauses.append(Pause(ground, begin, key_of(fact), cap))
        self.turns += [at for at in (begin, cap) if at is not None and at > self.moment]

    def forget_pauses(self) -> None:
        """No clock of this case stands still but for what its tenant declared for all."""
        self.pauses, self.turns, self.quiet_until = [], [], None
        for one in self.rules.declared:
            rule = self.law.suspension_by(one.ground)
            if one.ground == "force_majeure" and self.charter.policy.force_majeure == "extends":
                continue
            if rule.allows(self.petition.data.kind, self.rules.date_of(one.begin)):
                pause = Pause(one.ground, one.begin, key_of(one.declared_by), one.end, declared=True)
                pause.ended_by = key_of(one.lifted_by) if one.lifted_by else ""
                self.pauses.append(pause)
                self.turns += [at for at in (one.begin, one.end) if at > self.moment]

    def days_on(self, begin: Instant, days: int) -> Instant:
        """When so many dates are over, that of `begin` the first."""
        calendar = self.rules.calendar("office")
        return calendar.midnight(calendar.ordinal(begin) + days)

    def recount(self, turned: Instant | None = None) -> None:
        """Counts anew what is open; `turned` where time itself stopped a clock or let it go on, or moved a date at
        once, since it is known when the stop that begins will be over."""
        self.quiet_until = None
        for run in self.unmet.values():
            if run.live:
                due, state = run.due, run.state
                self.begin(run)
                self.touched[run.key] = run
                if run.state != state or run.due != due:
                    run.turned = turned

    def begin(self, run: Run) -> None:
        """Counts a run, from nothing."""
        run.rules = run.rules or self.rules
        run.due = self.due(run)
        run.state = "suspended" if run.due is None else "open"

    def due(self, run: Run, resumed: Instant | None = None) -> Instant | None:
        """The due instant; None while suspended. `resumed` ends the suspensions that are still open."""
        if run.at is not None:
            return run.at
        promise, span, rules = run.promise, run.span, run.rules or self.rules
        if span is None:
            return None
        calendar = rules.calendars[promise.hours if span.unit in counting.WORKING else "office"]
        policy, start = rules.charter.policy, run.start
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
            run.stops = stops = self.stops_of(promise, resumed) if self.pauses else ()
            if stops or run.extensions:
                longer, gaps = [amount for amount, _ in run.extensions], [stop.gap for stop in stops]
                due = counting.due(calendar, start, span, longer, gaps)
            else:
                due = counting.due(calendar, start, span)
        if due is not None and policy.day_end == "18:00" and counting.in_dates(span):
            return counting.before(calendar, due, CLOSING_TO_MIDNIGHT)
        return due

    def stops_of(self, promise: Promise, resumed: Instant | None) -> tuple[Stop, ...]:
        """The time that does not count for a promise, as far as the scan has come."""
        if promise.suspends == "none":
            return ()
        dates = promise.suspends == "dates" and self.charter.policy.pause_mode == "day_inclusive"
        stops = []
        for pause in self.pauses:
            if (pause.ground == FEE) is not (promise.suspends == "fee"):
                continue
            if pause.ground == FEE and (pause.end is not None or resumed is not None):
                continue
            if pause.begin <= self.moment:
                end = pause.end_at(self.moment)
                ended_by = pause.ended_by if pause.declared or (end is not None and end == pause.end) else ""
                if end is None and resumed is not None:
                    end = max(pause.begin, resumed)
                gap = Gap(pause.begin, end, dates and not self.law.suspension_by(pause.ground).exact)
                stops.append(Stop(gap, pause.ground, pause.begun_by, ended_by))
        return tuple(stops)

    def named(self, respond_by: str | None) -> Instant | None:
        """A named instant, or the end of a named date, which a closed one hands on (Decree art. 24(4))."""
        if respond_by is None or len(respond_by) > DATE_LENGTH:
            return None if respond_by is None else instant(respond_by)
        calendar = self.rules.calendar("office")
        return calendar.midnight(calendar.roll(date.fromisoformat(respond_by).toordinal()) + 1)

    def find(self, finding: Finding) -> None:
        """Keeps a finding; of several under one key that which came first in time."""
        if keep(self.findings, finding):
            self.fresh.append(finding)

    def frozen(self, run: Run) -> Deadline:
        """The run as it leaves the scan."""
        if run.due != run.warned_for:
            run.warned_for, run.warn_at = run.due, self._warn_at(run)
        provisional = False
        if run.due is not None and run.span is not None and run.at is None:
            calendar = (run.rules or self.rules).calendars[run.promise.hours]
            provisional = run.due > calendar.horizon and counting.depends_on_calendar(run.span.unit)
        return Deadline(
            run.promise.id,
            run.occurrence,
            run.start,
            run.due,
            run.first_due,
            run.state,
            None if run.due is None else run.warn_at,
            run.met_at,
            provisional,
            run.began,
            run.turned,
            run.deemed and run.state == "broken",
        )

    def _warn_at(self, run: Run) -> Instant | None:
        """When to warn of a run: the first of its warnings that lies after its beginning."""
        warnings, due = run.promise.warn, run.due
        if due is None or not warnings:
            return None
        calendar = (run.rules or self.rules).calendars[run.promise.hours]
        for span in warnings:
            if span.unit in counting.WORKING and not calendar.reaches(due):
                continue  # the citizen named an instant that no calendar knows
            at = counting.before(calendar, due, span)
            # A warning that would come before the run began is none; a shorter one may still fit.
            if at > (run.began or run.start):
                return at
        return None

    def next_at(self, deadlines: Iterable[Deadline]) -> Instant | None:
        """The earliest instant at which time alone changes something, given the deadlines that stand."""
        earliest: Instant = NEVER if self.awaits is None else self.awaits
        for round in self.rounds:
            earliest = min(earliest, round.at)
        for at in self.ends_of_days:
            earliest = min(earliest, at)
        if self.turns and any(run.live for run in self.unmet.values()):
            earliest = min(earliest, min(self.turns))
        for deadline in deadlines:
            due, warn_at = deadline.due, deadline.warn_at
            if due is not None and deadline.state == "open":
                earliest = min(earliest, due)
                if warn_at is not None and warn_at >= self.clock:
                    earliest = min(earliest, warn_at)
        return None if earliest == NEVER else earliest


def keep(findings: dict[str, Finding], finding: Finding) -> bool:
    """Puts a finding among others, unless one of its key came before it in time; says whether it did."""
    known = findings.get(finding.key)
    if known is not None and finding.at >= known.at:
        return False
    findings[finding.key] = finding
    return True


def instant_of(moment: datetime | None, otherwise: Instant) -> Instant:
    """A named time as an instant, or another where none is named."""
    return otherwise if moment is None else of_datetime(moment)
