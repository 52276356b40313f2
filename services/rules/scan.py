"""Scan: one case while it is being worked out, and when each of its runs is due.

The one rule: a due instant is counted anew from the run's start, its amounts and the pauses of the case, never patched.
"""

from collections.abc import Mapping
from datetime import date, datetime

import msgspec

from services.rules import admission, counting
from services.rules.charter import Charter, Petition, Promise
from services.rules.counting import Gap, Span
from services.rules.facts import Data, Fact, in_effect
from services.rules.instants import Instant, instant, of_datetime
from services.rules.law import LawRules
from services.rules.runs import Move, Pause, Round, Run, Stop
from services.rules.state import Deadline, Finding, Rules

SUPPLEMENT = "supplement"
"""The ground of the time in which the petitioner supplements."""

DATE_LENGTH = len("2026-11-02")
CLOSING_TO_MIDNIGHT = Span(6, "calendar_hours")
"""What a period counted in dates loses where the last date is read as over at 18:00."""


class Scan:
    """The case as far as it has been read: `moment` is where the scan stands, `cause` the fact being taken, None for
    time."""

    def __init__(self, facts: tuple[Fact, ...], clock: Instant, rules: Rules) -> None:
        self.rules = rules
        self.charter: Charter = rules.charter
        self.clock = clock
        self.facts = in_effect(facts)
        self.runs: dict[tuple[str, str], Run] = {}
        self.rounds: list[Round] = []
        self.ends_of_days: list[Instant] = []
        self.findings: dict[str, Finding] = {}
        self.law = self.charter.law.rules if self.charter.law else LawRules()
        self.moment: Instant = 0
        self.cause: Fact | None = None
        self.pauses: list[Pause] = []
        self.turns: list[Instant] = []
        self.extensions = 0
        self.asked_longer = 0
        self.opened: Instant = 0
        self.closed = False
        self.receipt = next(
            (f for f in self.facts if f.type == "complaint.received" and not admission.refusal(self.charter, f)), None
        )
        info = self.info()
        self.petition = Petition(info, self.charter.period_of(info) if self.receipt else None, self.charter.policy)

    def info(self) -> Data:
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

    def open_pause(self, ground: str) -> Pause | None:
        """The pause on a ground that nothing has ended yet."""
        return next((pause for pause in self.pauses if pause.ground == ground and pause.end is None), None)

    def is_demand(self, run: Run) -> bool:
        """Whether a run is the petitioner's time to supplement."""
        return run.promise.owed_by == "citizen" and run.started_by == "complaint.supplement_requested"

    def lapsed_demands(self) -> int:
        """How many demands for more papers ran out unanswered since the case was opened."""
        return sum(
            self.is_demand(run) and run.state == "lapsed" and run.met_at is None and run.start >= self.opened
            for run in self.runs.values()
        )

    def pause(self, ground: str, begin: Instant, cap: Instant | None, fact: Fact) -> None:
        """Stops the clocks that stop on a ground."""
        self.pauses.append(Pause(ground, begin, fact.key, cap))
        self.turns += [at for at in (begin, cap) if at is not None and at > self.moment]

    def days_on(self, begin: Instant, days: int) -> Instant:
        """When so many dates are over, that of `begin` the first."""
        calendar = self.rules.calendar("office")
        return calendar.midnight(calendar.ordinal(begin) + days)

    def recount(self, turned: Instant | None = None) -> None:
        """Counts anew what is open; `turned` where time itself stopped a clock or let it go on."""
        for run in self.runs.values():
            if run.live:
                before = run.state
                self.count(run)
                if run.state != before:
                    run.turned = turned

    def begin(self, run: Run) -> None:
        """Counts a run for the first time."""
        run.due = self.due(run)
        run.state = "suspended" if run.due is None else "open"

    def count(self, run: Run) -> None:
        """Counts a run anew, and notes what moved it."""
        before = run.due
        self.begin(run)
        if run.due != before:
            run.moves.append(Move(self.cause, self.moment, before, run.due))

    def due(self, run: Run, resumed: Instant | None = None) -> Instant | None:
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
            run.stops = self.stops_of(promise, resumed)
            due = counting.due(
                calendar, start, span, [amount for amount, _ in run.extensions], [stop.gap for stop in run.stops]
            )
        if due is not None and policy.day_end == "18:00" and counting.in_dates(span):
            return counting.before(calendar, due, CLOSING_TO_MIDNIGHT)
        return due

    def stops_of(self, promise: Promise, resumed: Instant | None) -> list[Stop]:
        """The time that does not count for a promise, as far as the scan has come."""
        if promise.suspends == "none":
            return []
        dates = promise.suspends == "dates" and self.charter.policy.pause_mode == "day_inclusive"
        stops = []
        for pause in self.pauses:
            if pause.begin <= self.moment:
                end = pause.end_at(self.moment)
                ended_by = pause.ended_by if end is not None and end == pause.end else ""
                if end is None and resumed is not None:
                    end = max(pause.begin, resumed)
                gap = Gap(pause.begin, end, dates and not self.law.suspension_by(pause.ground).exact)
                stops.append(Stop(gap, pause.ground, pause.begun_by, ended_by))
        return stops

    def named(self, respond_by: str | None) -> Instant | None:
        """A named instant, or the end of a named date, which a closed one hands on (Decree art. 24(4))."""
        if respond_by is None or len(respond_by) > DATE_LENGTH:
            return None if respond_by is None else instant(respond_by)
        calendar = self.rules.calendar("office")
        return calendar.midnight(calendar.roll(date.fromisoformat(respond_by).toordinal()) + 1)

    def find(self, finding: Finding) -> None:
        """Keeps a finding; of several under one key that which came first in time."""
        known = self.findings.get(finding.key)
        if known is None or finding.at < known.at:
            self.findings[finding.key] = finding

    def frozen(self, run: Run) -> Deadline:
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

    def next_at(self, deadlines: Mapping[tuple[str, str], Deadline]) -> Instant | None:
        instants = [round.at for round in self.rounds] + self.ends_of_days
        if any(run.live for run in self.runs.values()):
            instants += self.turns
        for deadline in deadlines.values():
            if deadline.state == "open" and deadline.due is not None:
                instants.append(deadline.due)
                if deadline.warn_at is not None and deadline.warn_at >= self.clock:
                    instants.append(deadline.warn_at)
        return min(instants, default=None)


def instant_of(moment: datetime | None, otherwise: Instant) -> Instant:
    """A named time as an instant, or another where none is named."""
    return otherwise if moment is None else of_datetime(moment)
