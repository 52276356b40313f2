"""Times: how long petitions took from receipt to answer.

The one rule: elapsed time from the first receipt to the last answer, in whole minutes, for every petition that was
answered in the year and is not open again; the middle one is told, since one old case moves an average.
"""

from collections.abc import Sequence

from services.rules.facts import ANSWERING, Fact
from services.rules.instants import MINUTE
from services.rules.reporting.amends import MonthOf
from services.rules.reporting.desks import Desks
from services.rules.reporting.report import MONTHS, Handling, Times
from services.rules.reporting.withheld import OTHERS, groups
from services.rules.state import Case


class TimesBook:
    """Takes the times of a year."""

    def __init__(self, month_of: MonthOf) -> None:
        self._month_of = month_of
        self._rows: list[tuple[int, str, str, int]] = []

    def take(self, case: Case, facts: Sequence[Fact], desks: Desks) -> None:
        """Takes the time of a case, whose facts are in order of effect."""
        received = next((fact for fact in facts if fact.type == "complaint.received"), None)
        answers = [fact for fact in facts if fact.type in ANSWERING]
        if received is None or not answers or not case.closed:
            return
        answered = answers[-1].moment
        month = self._month_of(answered)
        if month is not None and answered >= received.moment:
            classified = [fact.data.kind for fact in facts if fact.type == "complaint.classified" and fact.data.kind]
            kind = (classified or [received.data.kind or "other"])[-1]
            self._rows.append((month, kind, desks.at(answered), (answered - received.moment) // MINUTE))

    def times(self) -> Times:
        """What was taken."""
        rows = self._rows
        departments = {name: [row[3] for row in rows if row[2] == name] for name in sorted({row[2] for row in rows})}
        told: dict[str, list[int]] = {}
        for department, name in groups({name: len(times) for name, times in departments.items()}).items():
            told.setdefault(name, []).extend(departments[department])
        kinds = sorted({row[1] for row in rows})
        return Times(
            _handling("", [row[3] for row in rows]),
            tuple(_handling(str(month), [row[3] for row in rows if row[0] == month]) for month in MONTHS),
            tuple(_handling(kind, [row[3] for row in rows if row[1] == kind]) for kind in kinds),
            tuple(_handling(name, told[name]) for name in sorted(told, key=lambda name: (name == OTHERS, name))),
        )


def _handling(name: str, minutes: list[int]) -> Handling:
    ranked = sorted(minutes)
    half = len(ranked) // 2
    if not ranked:
        return Handling(name, 0, None)
    middle = ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) // 2
    return Handling(name, len(ranked), middle)
