"""Sections about citizens: what they were owed, how long they waited, and what they said.

The one rule: nothing is told of a group so small that it points to a person (`services.rules.reporting`).
"""

from collections.abc import Iterable

from services.intake.pages.words import Speaker
from services.intake.reporting.parts import NOTHING, WITHHELD, Bar, Plot, Section, Table, month_name, place, span
from services.rules.reporting.report import MONTHS, Amends, Answers, Question, Report


def amends(report: Report, speaker: Speaker) -> Section:
    """What was owed and paid."""
    say, book = speaker.say, report.compensation
    columns = ("proposed", "declined", "unsaid", "owed", "paid", "left")
    names = tuple(say(f"amends.{column}") for column in columns)
    said = {line.promise: line.says[speaker.language] for line in report.lines}
    says = [say("amends.withdrawn", count=book.withdrawn)] if book.withdrawn else []
    if not book.year.proposed:
        return Section("amends", say("amends.title"), (*says, say("report.none")), ())

    def row(name: str, amends: Amends) -> tuple[str, ...]:
        numbers = (amends.owed, amends.paid, amends.owed - amends.paid)
        money = (speaker.amount(number, book.currency) for number in numbers)
        return (name, str(amends.proposed), str(amends.declined), str(amends.unsaid), *money)

    promises = [row(said.get(one.name, one.name) or say("amends.fault"), one.amends) for one in book.promises]
    parts: list[Table | Plot] = [
        Table(
            say("amends.by_promise"),
            (say("amends.promise"), *names),
            (*promises, row(say("heads.year"), book.year)),
        ),
        Plot(
            say("amends.by_month"),
            tuple(
                Bar(month_name(month, speaker), amends.owed, speaker.amount(amends.owed, book.currency))
                for month, amends in zip(MONTHS, book.months, strict=True)
            ),
            max(amends.owed for amends in book.months) or 1,
        ),
    ]
    if book.departments:
        rows = tuple(row(place(one.name, speaker), one.amends) for one in book.departments)
        parts.append(Table(say("amends.by_department"), (say("places.department"), *names), rows))
    return Section("amends", say("amends.title"), tuple(says), tuple(parts))


def times(report: Report, speaker: Speaker) -> Section:
    """How long answers took."""
    say, times = speaker.say, report.times
    if not times.year.count:
        return Section("times", say("times.title"), (say("times.lead"), say("report.none")), ())
    counted = (say("times.count"), say("times.middle"))
    bars = tuple(
        Bar(month_name(month, speaker), row.minutes and row.minutes // 60, span(row, speaker))
        for month, row in zip(MONTHS, times.months, strict=True)
    )
    kinds = tuple((speaker.kind(row.name), str(row.count), span(row, speaker)) for row in times.kinds)
    parts: list[Table | Plot] = [
        Plot(say("times.by_month"), bars, max(bar.value or 0 for bar in bars) or 1),
        Table(
            say("times.by_kind"),
            (say("times.kind"), *counted),
            (*kinds, (say("heads.year"), str(times.year.count), span(times.year, speaker))),
        ),
    ]
    if times.departments:
        rows = tuple((place(row.name, speaker), str(row.count), span(row, speaker)) for row in times.departments)
        parts.append(Table(say("times.by_department"), (say("places.department"), *counted), rows))
    return Section("times", say("times.title"), (say("times.lead"),), tuple(parts))


def survey(report: Report, speaker: Speaker) -> Section:
    """What petitioners said of closed cases."""
    say, survey = speaker.say, report.survey
    rate = speaker.percent(survey.answered, survey.closed) or NOTHING
    says = (say("survey.lead", closed=survey.closed, answered=survey.answered, rate=rate), say("survey.few"))
    parts = [part for question in survey.questions for part in _question(question, speaker)]
    return Section("survey", say("survey.title"), says, tuple(parts))


def _question(question: Question, speaker: Speaker) -> Iterable[Table | Plot]:
    say, asked = speaker.say, speaker.say(f"survey.{question.question}")
    if question.year.scores is None:
        return
    bars = tuple(
        Bar(say(f"survey.score_{score}"), question.year.scores[score - 1], str(question.year.scores[score - 1]))
        for score in (5, 4, 3, 2, 1)
    )
    yield Plot(asked, bars, max(question.year.scores))
    columns = tuple(say(f"survey.{name}") for name in ("answers", "average", "satisfied"))
    months = tuple(
        (month_name(month, speaker), *_answers(row, speaker))
        for month, row in zip(MONTHS, question.months, strict=True)
    )
    head = (say("survey.month"), *columns)
    year = (say("heads.year"), *_answers(question.year, speaker))
    yield Table(f"{asked} {say('survey.by_month')}", head, (*months, year))
    if question.departments:
        rows = tuple((place(row.name, speaker), *_answers(row, speaker)) for row in question.departments)
        yield Table(f"{asked} {say('survey.by_department')}", (say("places.department"), *columns), rows)


def _answers(row: Answers, speaker: Speaker) -> tuple[str, ...]:
    if row.scores is None:
        return (WITHHELD,) * 3
    if row.hundredths is None:
        return ("0", NOTHING, NOTHING)
    average = f"{row.hundredths // 100}.{row.hundredths % 100:02}"
    return (str(row.count), average, speaker.percent(row.satisfied, row.count) or NOTHING)
