"""What would enact rules, a charter or a calendar that this program does not have never reaches the log."""

from hashlib import sha256
from typing import Any

import pytest

from contracts import files
from contracts.events import published_model
from services.cli.running import read_tenants
from services.intake import enacting
from services.intake.judge import Publisher, Refusal, judge
from services.rules.instants import instant

NOW = instant("2026-03-12T10:00:00+09:00")
SEOUL = read_tenants()["seoul"]
FILES = files.read()


def digest(name: str) -> str:
    return sha256(FILES[name]).hexdigest()


CHARTER = {"version": "1", "sha256": digest("charters/seoul-1.yaml"), "in_force": "2021-11-15", "applies": "new_cases"}
CALENDAR_FILE = max(name for name in FILES if name.startswith("calendars/kr"))


def event(type: str, data: dict[str, Any]) -> dict[str, Any]:
    head = {"specversion": "1.0", "id": "e-1", "source": SEOUL.administrator, "type": type, "tenant": "seoul"}
    return {**head, "time": "2026-03-12T09:59:00+09:00", "data": data}


def refused(type: str, data: dict[str, Any]) -> tuple[str, str | None, str]:
    with pytest.raises(Refusal) as caught:
        judge(event(type, data), Publisher("seoul", SEOUL.administrator), {"seoul": SEOUL}, NOW)
    return caught.value.code, caught.value.pointer, caught.value.detail


def test_what_is_here_may_be_enacted() -> None:
    charter = enacting.admission.library().charter(str(CHARTER["sha256"]))
    known = {**CHARTER, "version": charter.version, "in_force": charter.in_force.isoformat()}
    sha, calendar = enacting.admission.library().newest_calendar("kr")
    named = {"calendar": "kr", "version": calendar.version, "sha256": sha, "horizon": calendar.horizon.isoformat()}
    for type, data in (
        ("charter.enacted", known),
        ("calendar.enacted", named),
        ("rules.enacted", {"revision": "1", "applies": "new_cases"}),
        ("survey.published", {"where": ["homepage"], "year": 2026}),
    ):
        assert enacting.missing(SEOUL, published_model(type).model_validate(data)) is None


def test_a_revision_that_this_program_does_not_know_is_refused_with_the_way_there() -> None:
    code, pointer, detail = refused("rules.enacted", {"revision": "99", "applies": "new_cases"})
    assert (code, pointer) == ("unknown_revision", "/data/revision")
    assert "install" in detail
    assert "revision 1 " in detail
    assert "99" not in detail


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "0" * 64},
        {"sha256": digest("charters/mapo-1.yaml")},  # another city's promises
        {"version": "2"},
        {"in_force": "2031-01-01"},
        {"sha256": digest(CALENDAR_FILE)},
    ],
)
def test_a_charter_that_is_not_this_tenants_own_file_is_refused(changes: dict[str, Any]) -> None:
    code, pointer, detail = refused("charter.enacted", CHARTER | changes)
    assert (code, pointer) == ("unknown_charter", "/data/sha256")
    assert "contracts/charters" in detail


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "0" * 64},
        {"sha256": CHARTER["sha256"]},
        {"calendar": "us"},
        {"version": "0"},
        {"horizon": "2099-12-31"},
    ],
)
def test_a_calendar_that_is_no_file_here_is_refused(changes: dict[str, Any]) -> None:
    sha, file = enacting.admission.library().newest_calendar("kr")
    named = {"calendar": "kr", "version": file.version, "sha256": sha, "horizon": file.horizon.isoformat()}
    code, pointer, detail = refused("calendar.enacted", named | changes)
    assert (code, pointer) == ("unknown_calendar", "/data/sha256")
    assert "contracts/calendars" in detail


def test_only_who_may_enact_is_told_what_is_here() -> None:
    """Another system is refused for what it is, before anything is said of files."""
    with pytest.raises(Refusal) as caught:
        judge(
            {**event("rules.enacted", {"revision": "99", "applies": "new_cases"}), "source": "web"},
            Publisher("seoul", "web"),
            {"seoul": SEOUL},
            NOW,
        )
    assert caught.value.code == "not_administrator"
