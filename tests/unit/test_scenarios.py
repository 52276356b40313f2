"""Scenarios: every clause of the five charters has stories of its own, in tests/scenarios/<tenant>/<clause>.yaml.

The one rule: a clause without a story that tells it apart from its absence counts as untested.
"""

from collections import Counter

import pytest

from contracts import files
from services.cli.charters import coverage, scenarios
from services.cli.charters.scenarios import Scenario
from services.rules.rulebook import Library

LIBRARY = Library(files.read())
LEAST = 3
STORIES = scenarios.read()


@pytest.mark.parametrize("scenario", STORIES, ids=lambda scenario: scenario.id)
def test_scenario(scenario: Scenario) -> None:
    assert scenarios.told(scenario, LIBRARY) == list(scenario.expect)


def test_every_clause_has_a_story() -> None:
    told = {scenario.clause for scenario in STORIES}
    for tenant in ("seoul", "anseong", "mapo", "yeonje", "miryang"):
        charter = LIBRARY.charters_of(tenant)[-1][1]
        law = {promise.id for promise in charter.law.promises} if charter.law else set()
        ours = {*charter.promises, *charter.clauses, *(remedy.id for remedy in charter.remedies)} - law
        assert ours <= told, ours - told


def test_every_kind_of_clause_in_every_city_has_three_stories() -> None:
    told = Counter(scenario.clause for scenario in STORIES)
    kinds: Counter[tuple[str, str]] = Counter()
    for row in coverage.coverage():
        kinds[row["tenant"], row["kind"]] += told[row["id"]]
    assert {kind for _, kind in kinds} == {
        *("deadline", "recurring", "measure", "duty", "remedy", "admission", "notice", "task", "workflow", "conduct")
    }
    assert {name: count for name, count in kinds.items() if count < LEAST} == {}


def test_every_deadline_and_every_remedy_has_three_stories() -> None:
    told = Counter(scenario.clause for scenario in STORIES)
    rows = [row["id"] for row in coverage.coverage() if row["kind"] in ("deadline", "recurring", "remedy")]
    assert {name: told[name] for name in rows if told[name] < LEAST} == {}


def test_ten_whole_cases_are_told_two_for_each_city() -> None:
    whole = Counter(scenario.tenant for scenario in STORIES if scenario.clause == scenarios.WHOLE)
    assert whole == dict.fromkeys(("seoul", "anseong", "mapo", "yeonje", "miryang"), 2)
