"""Scenarios: every clause of the five charters has stories of its own, in tests/scenarios/<tenant>/<clause>.yaml.

The one rule: a clause without a story that tells it apart from its absence counts as untested.
"""

import pytest

from contracts import files
from services.cli import scenarios
from services.cli.scenarios import Scenario
from services.rules.rulebook import Library

LIBRARY = Library(files.read())
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
