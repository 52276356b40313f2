"""`gihan charter coverage`: every clause is listed with the tests that fail without it."""

from services.cli.charters import coverage


def test_each_clause_of_a_charter_has_a_test_that_fails_without_it() -> None:
    rows = {row["id"]: row for row in coverage.coverage("yeonje", prove=True)}
    assert len(rows) == 17
    assert [name for name, row in rows.items() if not row["proved"]] == []


def test_a_row_says_how_the_clause_is_kept() -> None:
    rows = {row["id"]: row for row in coverage.coverage()}
    assert len(rows) == 125
    assert rows["seoul-visit-guide"] == {
        "id": "seoul-visit-guide",
        "tenant": "seoul",
        "kind": "conduct",
        "section": "1-가",
        "kept_by": "report",
        "status": "listed",
        "report": {"type": "fault.reported", "data": {"promise": "seoul-visit-guide"}},
        "tests": ["tests/unit/test_scenarios.py::test_scenario[seoul-visit-guide: a citizen can name it in a report]"],
    }
    assert {name: rows[name]["status"] for name in ("mapo-survey", "mapo-lunch", "mapo-delivery")} == {
        "mapo-survey": "kept",
        "mapo-lunch": "kept",
        "mapo-delivery": "kept",
    }
    assert rows["mapo-disclosure"]["kind"] == "workflow"


def test_a_charter_without_a_clause_no_longer_names_it() -> None:
    document = b"""
promises: [{id: a}, {id: b}]
remedies: [{id: r, "on": [{breach: [a, b]}, {breach: any, except: [a]}]}]
"""
    left = coverage.without(document, "a").decode()
    assert "a" not in [line.strip(" -") for line in left.splitlines()]
    assert "b" in [line.strip(" -") for line in left.splitlines()]
