"""Governing: which version of a charter judges a case, or which part of it, when versions follow each other.

The one rule: a case keeps the version of its receipt unless a later one says that it reaches open cases; and what was
met or broken by then stays, unless it says that it reaches back. That follows from the facts alone, as all else.

A version `retroactive` judges an open case from its receipt. One `open_from_today` takes over at its instant. What is
still open is counted by its terms from where it began, and the open round of a recurring promise takes the next date of
its rhythm; a date that would already be past stays as told, since nobody breaks a promise before it is made. What it
promises anew counts where it is still to be kept, what it no longer promises is void, and a fact keeps the verdict that
it was given. In the tenant's own case every version takes over the yearly duties; what an event began there keeps its
terms where the version is for new cases.
"""

from services.rules import promises, standing
from services.rules.demands import matches
from services.rules.effective import key_of, moment_of
from services.rules.facts import Fact
from services.rules.instants import Instant
from services.rules.runs import Run
from services.rules.scan import Scan
from services.rules.state import NEW_CASES, REOPENED, RETROACTIVE, Finding, Lives, Rules, Stage, Standing

Key = tuple[str, str]


def work_out(facts: tuple[Fact, ...], clock: Instant, rules: Rules, home: bool = False) -> Standing:
    """The standing of a case whose facts are given in any order, when the partition's clock stands at `clock`.

    `home`: it is the tenant's own, in which its yearly duties run. Raises OutOfCalendar where a period ends beyond the
    calendar.
    """
    return standing.of_scan(scan_of(facts, clock, rules, home))


def scan_of(facts: tuple[Fact, ...], clock: Instant, rules: Rules, home: bool = False) -> Scan:
    """The scan of a case, read up to the last version that reaches it, which `standing.of_scan` reads to its end."""
    scan = Scan(facts, clock, rules)
    if home:
        promises.open_duties(scan)
    for stage in rules.stages:
        standing.walk(scan, stage.at)
        if scan.closed and stage.applies != REOPENED:
            continue  # it was not open on that day
        if stage.waits and clock <= stage.at:
            scan.awaits = stage.at
            break
        if stage.applies == RETROACTIVE and not home:
            scan = Scan(facts, clock, stage.rules)
        else:
            scan = _taken_over(scan, stage, home)
    return scan


def lives(facts: tuple[Fact, ...], rules: Rules) -> Lives:
    """When the case was closed and opened again, by the verdict of the standing itself."""
    try:
        return work_out(facts, max(fact.time for fact in facts), rules).lives
    except Exception:  # whatever it is makes the case stuck where the fold meets it
        return ()


def _taken_over(old: Scan, stage: Stage, home: bool) -> Scan:
    """The scan as the version reads on from its instant: its own up to there, with what the one before settled."""
    at = stage.at
    new = Scan(old.facts, old.clock, stage.rules, old.verdicts)
    new.reports_gone = old.reports_gone
    until, new.until = new.until, max(new.until, at)
    if home:
        promises.open_duties(new)
    standing.walk(new, at)
    new.until, new.moment = until, at
    if stage.applies == NEW_CASES:
        _keep_begun(old, new)
    else:
        _follow_breaches(old, new)
        _follow_rounds(old, new, at)
    told = _settle(old, new, at)
    _keep_findings(old, new, told)
    new.lives, new.ends_of_days = old.lives, old.ends_of_days
    new.replace_runs(new.runs)
    return new


def _over(run: Run, at: Instant) -> bool:
    """Whether a run is settled by an instant, or will be when time has come there."""
    return not run.live or (run.due is not None and run.due < at)


def _keep_begun(old: Scan, new: Scan) -> None:
    """What events have begun goes on as it was; only the duties of the year are the new version's."""
    yearly = {key: run for key, run in new.runs.items() if run.yearly is not None}
    new.runs = {key: run for key, run in old.runs.items() if run.yearly is None} | yearly
    new.rounds = [round for round in new.rounds if round.run.yearly is not None]
    new.rounds += [round for round in old.rounds if round.run.yearly is None]


def _follow_breaches(old: Scan, new: Scan) -> None:
    """What the new version lets a breach begin follows from the breaches that there were, whatever its own dates."""
    new.runs = {key: run for key, run in new.runs.items() if run.started_by != "breach"}
    for broken in [run for run in old.runs.values() if run.state in ("broken", "lapsed")]:
        for promise, start in new.charter.starting_at_breach.get(broken.promise.id, ()):
            assert broken.due is not None
            promises.open_run(new, promise, start, broken.due, broken.data, broken.occurrence, "breach")
            begun = new.runs.get((promise.id, broken.occurrence))
            for fact in new.facts[: new.taken]:
                if begun is not None and moment_of(fact) > broken.due and new.verdicts.get(key_of(fact)) == "":
                    _meet_or_end(new, begun, fact)


def _meet_or_end(scan: Scan, run: Run, fact: Fact) -> None:
    """What a fact that was read before does to a run."""
    if run.live and run.met_by(fact, scan.petition):
        run.met_at, run.state = moment_of(fact), "met"
    elif run.live and any(matches(end, fact.type, fact.data, scan.petition) for end in run.promise.ends):
        run.state = "void"


def _follow_rounds(old: Scan, new: Scan, at: Instant) -> None:
    """Numbers the rounds of the new rhythm on from those of the old one.

    The round that is open takes the date of the new rhythm that is next; where it is settled already, the round after
    it does. Rounds of the new rhythm before that never were promised.
    """
    known, kept = _last_rounds(old), dict[Key, Run]()
    for group, last in _last_rounds(new).items():
        before = known.get(group)
        if before is None:
            kept |= {} if _over(last, at) else {(last.promise.id, last.occurrence): last}
            continue
        # By the new rhythm the word for these days was given, or is still to come by a date told for the days before.
        given = _over(last, at) or (last.due or at) <= _told_for_days_before(old, before, at)
        open_now = not _over(before, at)
        last.ahead = before.rounds + before.ahead + (not open_now) - last.rounds - given
        if not given:
            last.name(f"{group[1]}#{last.rounds + last.ahead}")
            kept[last.key] = last
        elif open_now:
            new.rounds = [round for round in new.rounds if round.run is not last]
            named = (last.promise.id, promises.open_round(new, last, last.rounds + 1).occurrence)
            kept[named] = new.runs[named]
    new.runs = {key: run for key, run in new.runs.items() if not run.rounds} | kept


def _told_for_days_before(old: Scan, last: Run, at: Instant) -> Instant:
    """The latest date told for a round whose time is over and whose last date rolled on; 0 where there is none."""
    origin = last.occurrence.rpartition("#")[0]
    open_rounds = [run for run in old.runs.values() if run.rounds and run is not last and not _over(run, at)]
    ours = [run for run in open_rounds if run.promise.id == last.promise.id and run.occurrence.startswith(f"{origin}#")]
    return max((run.due or 0 for run in ours), default=0)


def _last_rounds(scan: Scan) -> dict[Key, Run]:
    """The latest round of every recurring promise, by promise and what began it."""
    found: dict[Key, Run] = {}
    for run in scan.runs.values():
        if run.rounds:
            group = (run.promise.id, run.occurrence.rpartition("#")[0])
            if group not in found or found[group].rounds + found[group].ahead < run.rounds + run.ahead:
                found[group] = run
    return found


def _settle(old: Scan, new: Scan, at: Instant) -> set[Key]:
    """Joins the runs: what was settled stays as it is. Returns those that the version tells of, or no longer does."""
    told: set[Key] = set()
    runs = dict(old.runs)
    for key, run in old.runs.items():
        anew = new.runs.get(key)
        if _over(run, at) or anew is run:
            continue
        if anew is None and _goes_on(new, run):
            continue
        if anew is not None and (anew.state in ("broken", "lapsed") or (anew.live and _over(anew, at))):
            continue  # past by the new terms
        told.add(key)
        if anew is None:
            run.state = "void"
        else:
            anew.first_due, anew.began = run.first_due, run.began
            runs[key] = anew
    for key, run in new.runs.items():
        if key not in runs and not _over(run, at):
            told.add(key)
            runs[key] = run
            run.began = None if run.began is None else max(run.began, at)
    new.runs = runs
    return told


def _goes_on(new: Scan, run: Run) -> bool:
    """Whether a run that the version does not tell of stays all the same: a round whose time is over and whose last
    date only rolled on, or the duty of a year in which its new date was over before the version came into force."""
    return any(
        round.run.promise.id == run.promise.id and (run.rounds or round.run.occurrence == run.occurrence)
        for round in new.rounds
    )


def _keep_findings(old: Scan, new: Scan, told: set[Key]) -> None:
    """What was found by then stands; the tasks that a run brings at its start go with the run."""

    def of_told(finding: Finding) -> bool:
        named = (finding.promise, finding.occurrence)
        return finding.kind == "task.created" and not finding.remedy and named in told

    live = {key for key, run in new.runs.items() if run.state != "void"}
    found = {name: one for name, one in old.findings.items() if not of_told(one)}
    found |= {name: one for name, one in new.findings.items() if of_told(one) and (one.promise, one.occurrence) in live}
    new.findings = found
