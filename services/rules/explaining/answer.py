"""Answer: why, for whatever is asked of a case - every deadline, measure and duty of it, now or as it was known once.

The one rule: what was known at an instant are the facts recorded by then and the rules enacted by then, and nothing
else. Seen in hindsight it is what had happened by then, by all that is known today.
"""

from collections.abc import Mapping
from datetime import date

import msgspec

from services.rules.choosing import rules_of
from services.rules.counting import WORKING
from services.rules.explaining.course import Key, Reading, read
from services.rules.explaining.explain import Explanation, Told, explain
from services.rules.explaining.history import history
from services.rules.explaining.measured import Measured, measures
from services.rules.explaining.steps import Step
from services.rules.explaining.unstarted import Unstarted, unstarted
from services.rules.facts import in_effect
from services.rules.instants import Instant
from services.rules.rulebook import Rulebook
from services.rules.state import Case, Rules

Answer = Explanation | Measured | Unstarted

LOCAL = "local_holiday_excluded"


def why(
    case: Case,
    clock: Instant,
    rulebook: Rulebook,
    recorded: Mapping[str, Instant],
    promise: str = "",
    at: Instant | None = None,
    hindsight: bool = False,
) -> tuple[Answer, ...] | None:
    """Why each run and measure of a promise (without one: of all) is as it is, or why there is none; empty where the
    charter has no such promise, None where nothing was known of the case.

    `clock` is that of the partition; `recorded` says when facts became known, by key. With `at`: as it was known at
    that instant; with `hindsight` as well: as it was then by what is known now. An instant that is still to come tells
    how it will stand if nothing more happens. Raises OutOfCalendar and NotEnacted.
    """
    if at is None:
        return _of_case(case, clock, rulebook, promise, history(case, clock, rulebook, recorded))
    if hindsight:
        facts = [fact for fact in in_effect(case.facts) if fact.moment <= at]
        happened = tuple(msgspec.structs.replace(fact, time=min(fact.time, at)) for fact in facts)
        if not happened:
            return None
        rules = rules_of(rulebook, case, None)
        return _of_case(msgspec.structs.replace(case, facts=happened), at, rulebook, promise, None, rules)
    known = tuple(fact for fact in case.facts if recorded.get(fact.key, fact.time) <= at)
    if not known:
        return None
    case, then = msgspec.structs.replace(case, facts=known), _known_by(rulebook, at, known[0].sequence)
    return _of_case(case, at, then, promise, history(case, at, then, recorded))


def _known_by(rulebook: Rulebook, at: Instant, began: int) -> Rulebook:
    """The rulebook as it was known at an instant; what stood in the log before the case began was."""
    known = Rulebook(rulebook.library)
    for sequence, event in rulebook.enacted:
        if event.recorded <= at or sequence <= began:
            known.enact(event, sequence)
    return known


def _of_case(
    case: Case,
    clock: Instant,
    rulebook: Rulebook,
    promise: str,
    told: Mapping[Key, Told] | None,
    rules: Rules | None = None,
) -> tuple[Answer, ...]:
    home = case.id == case.tenant
    reading = read(case.facts, clock, rules or rules_of(rulebook, case, None), home)
    runs = (_with_local_days(one, rulebook, reading) for one in explain(reading, promise, told))
    found: list[Answer] = [*runs, *measures(reading, promise)]
    if promise and not found:
        found.extend(one for one in [unstarted(reading, promise, home)] if one is not None)
    return tuple(found)


def _with_local_days(one: Explanation, rulebook: Rulebook, reading: Reading) -> Explanation:
    """The explanation with the reading that decided about a day off of this city alone, where one fell into it."""
    excluded = reading.scan.charter.policy.local_holiday_excluded
    office, tenant = reading.scan.rules.calendar("office"), reading.scan.charter.tenant
    taken_back = {f"{row.data.source}/{row.data.id}" for _, row in rulebook.enacted if row.type == "fact.voided"}
    for _, event in rulebook.enacted:
        if event.tenant != tenant or not event.data.local or f"{event.source}/{event.id}" in taken_back:
            continue
        begins = office.midnight(date.fromisoformat(event.data.date or "").toordinal())
        within = [step for step in one.steps if step.start <= begins and (step.end is None or begins < step.end)]
        if any(step.why == "holiday" if excluded else _by_working_time(one, step) for step in within):
            return msgspec.structs.replace(one, readings={**one.readings, LOCAL: str(excluded).lower()})
    return one


def _by_working_time(one: Explanation, step: Step) -> bool:
    """Whether a step is part of a period in which a closed date would not count."""
    unit = one.span.unit if one.span else ""
    return step.why != "suspension" and unit in (*WORKING, "working_days", "statutory_days")
