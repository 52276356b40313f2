"""Sections about the promises: at a glance, each promise by month, by department, and the city's own duties.

The one rule: no share stands without the number it is of.
"""

from collections.abc import Iterable, Sequence

from services.intake.pages.words import ENOUGH, EVENTS, Speaker
from services.intake.reporting.parts import NOTHING, WITHHELD, Bar, Plot, Section, Table, month_name, place, span
from services.rules.reporting.report import MONTHS, Duty, Handling, Line, Report, Tally


def summary(report: Report, speaker: Speaker) -> Section:
    """At a glance: the promises with a date, answers, amends, and what petitioners said."""
    say, dated = speaker.say, [line for line in report.lines if line.group == "deadlines"]
    year = _sum(line.year for line in dated)
    rows = [
        (say("summary.kept"), _kept_of(year, speaker)),
        (say("summary.missed"), str(year.broken)),
        (say("summary.answered"), _answered_in(report.times.year, speaker)),
    ]
    currency, satisfied = report.compensation.currency, report.survey.questions[0].year
    rows += [
        (say("summary.owed"), speaker.amount(report.compensation.year.owed, currency)),
        (say("summary.paid"), speaker.amount(report.compensation.year.paid, currency)),
        (say("summary.satisfied"), speaker.percent(satisfied.satisfied, satisfied.count) or NOTHING),
    ]
    months = [_sum(line.months[month - 1] for line in dated) for month in MONTHS]
    bars = tuple(
        Bar(month_name(month, speaker), _permille(tally), _kept_of_short(tally, speaker))
        for month, tally in zip(MONTHS, months, strict=True)
    )
    parts = (
        Table(say("summary.title"), (say("summary.what"), say("summary.number")), tuple(rows)),
        Plot(say("summary.by_month"), bars, 1000),
    )
    return Section("summary", say("summary.title"), (), parts)


def lines(group: str, report: Report, speaker: Speaker) -> Section:
    """The promises of one sort: the year, what was measured, and month by month."""
    say = speaker.say
    lines = [line for line in report.lines if line.group == group]
    says = [say("law.lead")] if group == "law" else []
    if not lines:
        return Section(group, say(f"{group}.title"), (*says, say("report.none")), ())
    head = tuple(say(f"heads.{name}") for name in ("promise", "kept", "broken", "rate", "open", "void", "retracted"))
    rows = tuple((line.says[speaker.language], *_record(line, speaker)) for line in lines)
    parts: list[Table | Plot] = [Table(say(f"{group}.title"), head, rows)]
    measured = [line for line in lines if line.values is not None]
    if measured:
        columns = ("numbers", "count", "middle", "ninth", "yes")
        values = tuple(_values(line, speaker) for line in measured)
        parts.append(Table(say("measures.numbers"), tuple(say(f"measures.{name}") for name in columns), values))
    months = (say("heads.promise"), *(month_name(month, speaker) for month in MONTHS), say("heads.year"))
    by_month = tuple(
        (line.says[speaker.language], *(_cell(tally, line.judged) for tally in (*line.months, line.year)))
        for line in lines
        if line.year.all
    )
    if by_month:
        parts.append(Table(say("heads.months"), months, by_month, wide=True))
    return Section(group, say(f"{group}.title"), tuple(says), tuple(parts))


def _record(line: Line, speaker: Speaker) -> tuple[str, ...]:
    year = line.year
    kept = str(year.kept) if line.judged else NOTHING
    rate = speaker.percent(year.kept, year.kept + year.broken) if line.judged else None
    return (kept, str(year.broken), rate or NOTHING, str(year.open), str(year.void), str(line.retracted))


def _values(line: Line, speaker: Speaker) -> tuple[str, ...]:
    assert line.values is not None
    values, said = line.values, line.says[speaker.language]
    if values.yes is not None:
        share = speaker.percent(values.yes, values.count) or f"{values.yes}/{values.count}"
        return (said, str(values.count), NOTHING, NOTHING, share)
    return (said, str(values.count), str(values.middle), str(values.ninth), NOTHING)


def places(report: Report, speaker: Speaker) -> Section:
    """Each promise by department and month, as far as it is told."""
    say = speaker.say
    head = (say("places.department"), *(month_name(month, speaker) for month in MONTHS), say("heads.year"))
    tables = tuple(
        Table(
            line.says[speaker.language],
            head,
            tuple(
                (
                    place(row.department, speaker),
                    *(_cell(tally, line.judged) for tally in (*row.months, row.year)),
                )
                for row in line.places
            ),
            wide=True,
        )
        for line in report.lines
        if line.places
    )
    says = (say("places.lead"), say("places.why")) if tables else (say("report.none"), say("places.why"))
    return Section("places", say("places.title"), says, tables)


def duties(duties: Sequence[Duty], speaker: Speaker) -> Section:
    """What the city owes as a whole."""
    say = speaker.say
    rows = tuple(
        (
            duty.says[speaker.language],
            ", ".join(speaker.word(EVENTS, type) for type in duty.wants),
            say("duties.undated") if duty.due is None else speaker.when(duty.due, ends=True).text,
            state_of(duty, speaker),
        )
        for duty in duties
    )
    if not rows:
        return Section("duties", say("duties.title"), (say("report.none"),), ())
    head = tuple(say(f"duties.{name}") for name in ("duty", "wants", "due", "state"))
    return Section("duties", say("duties.title"), (), (Table(say("duties.title"), head, rows),))


def state_of(duty: Duty, speaker: Speaker) -> str:
    """How a duty stands, in words."""
    if duty.met_at is not None and duty.state in ("met", "broken"):
        name = "met" if duty.state == "met" else "late"
        return speaker.say(f"duties.{name}", when=speaker.when(duty.met_at).text)
    return speaker.say(f"duties.{duty.state}")


def _cell(tally: Tally | None, judged: bool) -> str:
    """How many were kept of how many that were judged; * where that is withheld."""
    if tally is None:
        return WITHHELD
    if not judged:
        return str(tally.broken) if tally.broken else NOTHING
    total = tally.kept + tally.broken
    return f"{tally.kept}/{total}" if total else NOTHING


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total += tally
    return total


def _permille(tally: Tally) -> int | None:
    total = tally.kept + tally.broken
    return 1000 * tally.kept // total if total >= ENOUGH else None


def _kept_of(tally: Tally, speaker: Speaker) -> str:
    total = tally.kept + tally.broken
    said = speaker.say("summary.kept_of", kept=tally.kept, total=total)
    share = speaker.percent(tally.kept, total)
    return f"{share} ({said})" if share else said


def _kept_of_short(tally: Tally, speaker: Speaker) -> str:
    total = tally.kept + tally.broken
    return speaker.percent(tally.kept, total) or (f"{tally.kept}/{total}" if total else NOTHING)


def _answered_in(row: Handling, speaker: Speaker) -> str:
    if not row.count:
        return "0"
    return speaker.say("summary.answered_in", count=row.count, time=span(row, speaker))
