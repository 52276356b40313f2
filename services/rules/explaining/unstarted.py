"""Unstarted: why a case has nothing of a promise, in place of silence.

The one rule: every way in which the promise could have begun is named, with what stood in its way as the scan judged
it; nothing is guessed about facts that are not there.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from services.rules.charter import Clause, Match, Promise, Start
from services.rules.demands import holds
from services.rules.explaining.course import Reading
from services.rules.explaining.explain import Cause, Named, cause_of, named
from services.rules.facts import Fact
from services.rules.instants import Instant
from services.rules.refusals import WANT_RECEIPT
from services.rules.runs import span_of

Why = Literal[
    "never_happened",
    "refused",
    "not_received",
    "does_not_fit",
    "nothing_to_judge",
    "no_period",
    "not_broken",
    "over_by_then",
    "case_closed",
    "city_duty",
    "no_clock",
]


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """Why one way to begin was none.

    never_happened: no event `type`. refused: one came (`cause`) and was refused by the rule `code`. not_received: it
    came, the petition did not. does_not_fit: its `field` was `found` (None: absent) where the promise wants `test`
    `wanted`. nothing_to_judge: it carries neither the number nor the time. no_period: the petition has no period.
    not_broken: the promise `other`, which `says` so, was not. over_by_then: too late to begin, or the year has one.
    case_closed: by then. city_duty: it is owed to everybody, not in this case. no_clock: `code` says how the clause is
    kept.
    """

    why: Why
    type: str = ""
    cause: Cause | None = None
    code: str = ""
    field: str = ""
    test: str = ""
    wanted: tuple[Any, ...] = ()
    found: Any = None
    other: str = ""
    says: Mapping[str, str] | None = None


class Unstarted(Named, frozen=True):
    """A promise that never began in a case by an instant, and why not; one obstacle for each way to begin."""

    at: Instant
    obstacles: tuple[Obstacle, ...]
    state: str = "unstarted"


def unstarted(reading: Reading, promise: str, home: bool) -> Unstarted | None:
    """Why a case has nothing of a promise, remedy or clause; None where the charter has none of that name."""
    scan, charter = reading.scan, reading.scan.charter
    row = charter.promises.get(promise)
    if row is None:
        return _without_clock(reading, promise)
    obstacles: list[Obstacle] = []
    for obstacle in _obstacles(reading, row, home):
        if obstacle not in obstacles:
            obstacles.append(obstacle)
    head = msgspec.structs.asdict(named(row, scan.rules, scan.rules.calendar("office")))
    return Unstarted(**head, at=scan.clock, obstacles=tuple(obstacles))


def _without_clock(reading: Reading, name: str) -> Unstarted | None:
    scan = reading.scan
    charter = scan.charter
    clause = charter.clauses.get(name) or next((row for row in charter.remedies if row.id == name), None)
    if clause is None:
        return None
    kind = clause.kind if isinstance(clause, Clause) else "remedy"
    return Unstarted(
        kind=kind,
        promise=name,
        section=clause.section,
        document=charter.name,
        law="",
        says=clause.says,
        charter=charter.label,
        calendar=scan.rules.calendar("office").version,
        rules=scan.rules.revision,
        zone=scan.rules.calendar("office").zone.key,
        at=scan.clock,
        obstacles=(Obstacle(why="no_clock", code=kind),),
    )


def _obstacles(reading: Reading, promise: Promise, home: bool) -> Iterator[Obstacle]:
    if promise.kind == "duty" and not home:
        yield Obstacle(why="city_duty")
        return
    if promise.measured is not None:
        yield _at_event(reading, promise.measured, promise, None)
    for start in promise.starts:
        if start.match is None:
            says = reading.scan.charter.promises[start.breach].says
            yield Obstacle(why="not_broken", other=start.breach, says=says)
        else:
            yield _at_event(reading, start.match, promise, start)


def _at_event(reading: Reading, match: Match, promise: Promise, start: Start | None) -> Obstacle:
    """What stood in the way of the event that came nearest: one let in before one refused, the last of them."""
    scan = reading.scan
    types = {match.type} | ({"complaint.reopened"} if match.type == "complaint.received" else set())
    facts = [fact for fact in scan.facts if fact.type in types]
    refusals = {fact.key: scan.findings.get(f"refused:{fact.key}") for fact in facts}
    refused = {key: finding.code for key, finding in refusals.items() if finding is not None}
    taken = [fact for fact in facts if fact.key not in refused]
    if not facts:
        return Obstacle(why="never_happened", type=match.type)
    if not taken:
        fact = facts[-1]
        return Obstacle(why="refused", type=fact.type, cause=cause_of(fact), code=refused[fact.key])
    fact = taken[-1]
    if scan.receipt is None and fact.type.startswith(WANT_RECEIPT):
        return Obstacle(why="not_received", type=fact.type, cause=cause_of(fact))
    return _of_fact(reading, match, promise, start, fact)


def _of_fact(reading: Reading, match: Match, promise: Promise, start: Start | None, fact: Fact) -> Obstacle:
    scan = reading.scan
    data = scan.petition.data if match.type == "complaint.received" and start is not None else fact.data
    for condition in match.where:
        if not holds(condition, data, scan.petition):
            return Obstacle(
                why="does_not_fit",
                type=fact.type,
                cause=cause_of(fact),
                field=".".join(condition.path),
                test=condition.test,
                wanted=condition.values,
                found=condition.value(data, scan.petition),
            )
    why: Why = "over_by_then"
    if start is None:
        why = "nothing_to_judge"
    elif start.after_due_of:
        says = scan.charter.promises[start.after_due_of].says
        return Obstacle(why="not_broken", type=fact.type, cause=cause_of(fact), other=start.after_due_of, says=says)
    elif span_of(promise, data, scan.petition) is None:
        why = "no_period" if not (promise.within.or_at or promise.within.at) else "nothing_to_judge"
    elif promise.within.before_at:
        why = "nothing_to_judge"
    elif promise.ends_with_case and _closed_at(reading, fact.moment):
        why = "case_closed"
    return Obstacle(why=why, type=fact.type, cause=cause_of(fact))


def _closed_at(reading: Reading, moment: Instant) -> bool:
    return any(closed <= moment and (again is None or moment < again) for closed, again in reading.standing.lives)
