"""Counting a year: a case at a time, so that a city need not fit into memory.

The one rule: the order of the cases changes nothing.
"""

from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

from services.rules.charter import Charter, Promise
from services.rules.facts import in_effect
from services.rules.instants import Instant, local
from services.rules.reporting.amends import AmendsBook
from services.rules.reporting.desks import Desks
from services.rules.reporting.duties import duties
from services.rules.reporting.known import Known
from services.rules.reporting.report import Report
from services.rules.reporting.surveys import SurveyBook
from services.rules.reporting.tallies import Tallies
from services.rules.reporting.times import TimesBook
from services.rules.routing import OFFICER
from services.rules.state import Case


class Counting:
    """The report of one city and year while it is being counted."""

    def __init__(self, known: Known, year: int, zone: ZoneInfo, charters: Sequence[Charter]) -> None:
        """`charters` are the versions that were enacted by then, the newest last. Raises ValueError without any."""
        if not charters:
            raise ValueError(f"no charter of {known.tenant} was in force by then")
        self._known = known
        self._year = year
        self._zone = zone
        self._charters = charters
        self._by_label = {charter.label: charter for charter in charters}
        self._promises: dict[str, Promise] = {}
        for charter in charters:
            self._promises |= charter.promises
        self._own = {charter.label: _own(charter) for charter in charters}
        self._tallies = Tallies(known, year, self._date_of)
        self._amends = AmendsBook(known, self._tallies.month_of)
        self._times = TimesBook(self._tallies.month_of)
        self._survey = SurveyBook(known, self._tallies.month_of)
        self._home: Case | None = None
        self._cases = self._stuck = 0

    def take(self, case: Case) -> None:
        """Counts a case as it stood then. Cases of other tenants and of officers are passed over."""
        if case.tenant != self._known.tenant or case.id.startswith(OFFICER) or not case.facts:
            return
        if case.id == case.tenant:
            self._home = case
            return
        self._cases += 1
        if case.stuck:
            self._stuck += 1
            return
        refused = {finding.key for finding in case.findings if finding.kind == "event.refused"}
        facts = [fact for fact in in_effect(case.facts) if f"refused:{fact.key}" not in refused]
        desks = Desks(facts, self._known.postings)
        charter = self._by_label.get(case.charter, self._charters[-1])
        self._tallies.runs(case, desks, self._promises)
        self._tallies.measures(case, facts, desks, charter, self._own[charter.label])
        self._amends.take(case, desks)
        self._times.take(case, facts, desks)
        self._survey.take(case, facts, desks)

    def report(self) -> Report:
        """What was counted."""
        charter = self._charters[-1]
        return Report(
            self._known.tenant,
            self._year,
            self._known.as_of,
            charter.label,
            dict(charter.name),
            self._tallies.lines(reversed(self._charters)),
            duties(self._home, charter, self._promises, self._year, self._known.as_of, self._zone, self._date_of),
            self._amends.compensation(charter.currency),
            self._times.times(),
            self._survey.survey(),
            self._cases,
            self._stuck,
        )

    def _date_of(self, moment: Instant) -> date:
        return local(moment, self._zone).date()


def _own(charter: Charter) -> frozenset[str]:
    """The promises that are the charter's own, and not its law's."""
    law = charter.law.promises if charter.law else ()
    return frozenset(charter.promises) - {promise.id for promise in law}
