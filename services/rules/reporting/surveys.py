"""Surveys: what the petitioners of closed cases said, by question, month and department.

The one rule: of a group smaller than ten no answer is told, and no group can be worked out from the others: who
answered must be able to trust that nobody reads their answer out of a table. A petition has one voice: its last answer.
"""

from collections.abc import Mapping, Sequence

from services.rules.facts import Fact, closes
from services.rules.reporting.amends import MonthOf
from services.rules.reporting.desks import Desks
from services.rules.reporting.known import Known
from services.rules.reporting.report import MONTHS, Answers, Question, Survey
from services.rules.reporting.withheld import OTHERS, groups
from services.rules.state import Case

ENOUGH = 10
"""The smallest group of which answers are told."""
SATISFACTION = "satisfaction"
"""The question that everybody answers."""

_Row = tuple[int, str, Mapping[str, int]]
"""Month, department, scores by question."""


class SurveyBook:
    """Counts the answers of a year."""

    def __init__(self, known: Known, month_of: MonthOf) -> None:
        self._known = known
        self._month_of = month_of
        self._closed = [0] * 12
        self._answered = [0] * 12
        self._rows: list[_Row] = []

    def take(self, case: Case, facts: Sequence[Fact], desks: Desks) -> None:
        """Counts a case, whose facts are in order of effect: its last closing with whether it was answered for, and the
        last answer."""
        closings = [fact for fact in facts if closes(fact)]
        answers = [fact for fact in facts if fact.type == "survey.answered" and self._known.answers.get(fact.key)]
        month = self._month_of(closings[-1].moment) if closings and case.closed else None
        if month is not None:
            self._closed[month - 1] += 1
            self._answered[month - 1] += bool(answers)
        month = self._month_of(answers[-1].time) if answers else None
        if month is not None:
            self._rows.append((month, desks.at(answers[-1].time), self._known.answers[answers[-1].key]))

    def survey(self) -> Survey:
        """What was counted."""
        names = sorted({name for _, _, scores in self._rows for name in scores} | {SATISFACTION})
        names.sort(key=lambda name: name != SATISFACTION)
        return Survey(
            sum(self._closed),
            sum(self._answered),
            tuple(zip(self._closed, self._answered, strict=True)),
            tuple(self._question(name) for name in names),
        )

    def _question(self, name: str) -> Question:
        rows = [(month, department, scores[name]) for month, department, scores in self._rows if name in scores]
        months = [[score for month, _, score in rows if month == at] for at in MONTHS]
        told_months = _told([len(scores) for scores in months])
        departments: dict[str, list[int]] = {}
        for _, department, score in rows:
            departments.setdefault(department, []).append(score)
        named = groups({department: len(scores) for department, scores in departments.items()}, ENOUGH)
        told: dict[str, list[int]] = {}
        for department, as_name in named.items():
            told.setdefault(as_name, []).extend(departments[department])
        return Question(
            name,
            _answers("", [score for _, _, score in rows], len(rows) >= ENOUGH),
            tuple(
                _answers(str(month), scores, not scores or month in told_months)
                for month, scores in zip(MONTHS, months, strict=True)
            ),
            tuple(
                _answers(place, told[place], True) for place in sorted(told, key=lambda name: (name == OTHERS, name))
            ),
        )


def _told(counts: Sequence[int]) -> set[int]:
    """The months of which answers are told: those with enough; where one alone has too few, its smallest neighbour is
    not told either, since the year would give it away."""
    few = [month for month, count in zip(MONTHS, counts, strict=True) if 0 < count < ENOUGH]
    enough = sorted((count, month) for month, count in zip(MONTHS, counts, strict=True) if count >= ENOUGH)
    hidden = sum(counts[month - 1] for month in few)
    while few and enough and (len(few) < 2 or hidden < ENOUGH):
        count, month = enough.pop(0)
        few.append(month)
        hidden += count
    return {month for _, month in enough}


def _answers(name: str, scores: Sequence[int], told: bool) -> Answers:
    return Answers(name, tuple(sum(score == of for score in scores) for of in range(1, 6)) if told else None)
