"""Bookmarks: how far a case was read, kept beside it, so that one that has grown cold is read on as a warm one is.

The one rule: a scan that is taken up from a bookmark is the scan that was laid down. What a case and its rules say
already is not written a second time; a scan of which more would have to be said gets no bookmark, and its case is read
from the first fact.
"""

from collections.abc import Mapping
from typing import Final

from services.rules.charter import Match, Promise
from services.rules.effective import closes, key_of
from services.rules.facts import Data, Fact
from services.rules.instants import Instant
from services.rules.runs import Pause, Round, Run, span_of
from services.rules.scan import Scan
from services.rules.state import Apart, Bookmark, Case, Deadline, Halt, Rules

PETITION: Final = -1
"""In the place of a fact: what a run was begun by are the data of the petition, as classified."""

RECEIPT: Final = "complaint.received"
UPDATING: Final = "applicant.updated"
VOIDING: Final = "fact.voided"


def may_be_marked(facts: tuple[Fact, ...]) -> bool:
    """Whether a case with these facts may get a bookmark: nothing in it was taken back, given other details, received
    twice or closed."""
    receipts = 0
    for fact in facts:
        receipts += fact.type == RECEIPT
        if fact.type in (UPDATING, VOIDING) or receipts > 1 or closes(fact):
            return False
    return True


def lay(scan: Scan, facts: tuple[Fact, ...], deadlines: Mapping[tuple[str, str], Deadline], by: str) -> Bookmark | None:
    """The bookmark of a scan that has read all facts of a case that may be marked; None where it says too little.

    `deadlines` are those of the case, and `by` names the rules (`Rulebook.edition`).
    """
    if scan.looks_ahead or scan.awaits is not None or list(scan.runs) != list(deadlines):
        return None
    origins = {id(fact.data): place for place, fact in enumerate(facts)}
    origins[id(scan.petition.data)] = PETITION
    begun: list[int] = []
    apart: list[Apart] = []
    for number, run in enumerate(scan.runs.values()):
        origin = origins.get(id(run.data))
        if origin is None:
            return None
        begun.append(origin)
        started_by = RECEIPT if origin == PETITION else facts[origin].type
        if run.at is not None or run.extensions or run.seen or run.day or run.started_by != started_by:
            seen = tuple(place for place, match in enumerate(run.until) if match in run.seen)
            apart.append(Apart(number, run.started_by, run.at, run.day, run.extensions, seen))
    rounds: list[tuple[Instant, int]] = []
    if scan.rounds:
        places = {id(run): number for number, run in enumerate(scan.runs.values())}
        for round in scan.rounds:
            if id(round.run) not in places:
                return None  # another run has taken its name
            rounds.append((round.at, places[id(round.run)]))
    return Bookmark(
        by,
        begun,
        len(scan.findings),
        scan.passed,
        rounds,
        apart,
        [_halt(pause) for pause in scan.pauses if not pause.declared] if scan.pauses else [],
        list(scan.turns),
        scan.extensions,
        scan.asked_longer,
    )


def take_up(case: Case, bookmark: Bookmark, clock: Instant, rules: Rules) -> Scan:
    """The scan of a case as it was when the bookmark was laid, by the same rules."""
    # Of a fact that waits for a receipt nothing was said, which is read as nothing that refuses it.
    verdicts = {key_of(fact): "" for fact in case.facts}
    for finding in case.findings:
        if finding.kind == "event.refused":
            verdicts[finding.key.removeprefix("refused:")] = finding.code
    scan = Scan(case.facts, clock, rules, verdicts)
    scan.taken = len(scan.facts)
    scan.read_to = scan.facts[-1].moment
    scan.passed = bookmark.passed
    scan.moment = max(scan.read_to, scan.passed or 0)
    runs = [
        _run(deadline, origin, case.facts, scan)
        for deadline, origin in zip(case.deadlines, bookmark.begun, strict=True)
    ]
    for one in bookmark.apart:
        _set_apart(runs[one.run], one)
    for run in runs:
        scan.runs[run.key] = run
        if run.met_at is None and run.state != "void":
            scan.unmet[run.key] = run
    scan.rounds = [Round(at, runs[number]) for at, number in bookmark.rounds]
    for finding in case.findings[: bookmark.found]:
        scan.findings[finding.key] = finding
    scan.pauses += [_pause(halt) for halt in bookmark.halts]
    scan.turns = list(bookmark.turns)
    scan.extensions = bookmark.extensions
    scan.asked_longer = bookmark.asked_longer
    return scan


def _run(deadline: Deadline, origin: int, facts: tuple[Fact, ...], scan: Scan) -> Run:
    promise: Promise = scan.charter.promises[deadline.promise]
    petition = scan.petition
    data: Data = petition.data if origin == PETITION else facts[origin].data
    started_by = RECEIPT if origin == PETITION else facts[origin].type
    rounds = int(deadline.occurrence.rpartition("#")[2]) if promise.kind == "recurring" else 0
    span = span_of(promise, data, petition)
    run = Run(promise, deadline.occurrence, deadline.start, data, span, started_by, rounds)
    run.rules = scan.rules
    run.state = deadline.state
    run.due = run.warned_for = deadline.due
    run.warn_at = deadline.warn_at
    run.first_due = deadline.first_due
    run.met_at = deadline.met_at
    run.began = deadline.began
    run.turned = deadline.turned
    run.deemed = deadline.deemed
    return run


def _set_apart(run: Run, one: Apart) -> None:
    until: tuple[Match, ...] = run.until
    run.started_by, run.at, run.day = one.started_by, one.at, one.day
    run.extensions = one.extensions
    run.seen = frozenset(until[place] for place in one.seen)


def _halt(pause: Pause) -> Halt:
    return Halt(pause.ground, pause.begin, pause.begun_by, pause.end, pause.ended_by, pause.cap)


def _pause(halt: Halt) -> Pause:
    pause = Pause(halt.ground, halt.begin, halt.begun_by, halt.cap)
    pause.end, pause.ended_by = halt.end, halt.ended_by
    return pause
