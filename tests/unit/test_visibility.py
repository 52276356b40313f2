"""What a row gives away of a fact that its reader may not know of."""

import pytest

from services.intake.api.reading import _fits
from services.reading.visibility import Caller, Role, may_publish, tells_of

HIDDEN = frozenset({"web/fault-7"})


def row(what: str, **data: object) -> dict[str, object]:
    return {"what": what, "source": "web", "id": "other", "occurrence": "1", "data": data}


@pytest.mark.parametrize(
    "told",
    [
        {**row("fact"), "id": "fault-7"},
        row("decision", cause={"source": "web", "id": "fault-7"}),
        row("decision", about={"source": "web", "id": "fault-7"}),
        row("decision", incident="web/fault-7:officer"),
        {**row("decision"), "occurrence": "web/fault-7"},
        {**row("decision"), "occurrence": "web/fault-7#2"},
        row("decision", key="task:seoul-remedy:fault:web/fault-7:caution"),
    ],
)
def test_a_row_that_names_a_hidden_fact_tells_of_it(told: dict[str, object]) -> None:
    assert tells_of(HIDDEN, told)


@pytest.mark.parametrize(
    "told",
    [
        row("fact", cause="line_busy"),  # callback.made says in a word why nobody was reached
        row("fact", about="web/fault-7 is not an event when it stands as a text"),
        row("decision", cause={"source": "web", "id": "fault-70"}),
        row("decision", cause=None, about=None),
        row("decision", incident="web/fault-70"),
        row("decision", incident="web/fault-7-1"),
    ],
)
def test_a_row_of_something_else_does_not(told: dict[str, object]) -> None:
    assert not tells_of(HIDDEN, told)


def test_a_run_that_waits_for_its_date_is_due_before_no_date() -> None:
    assert not _fits([{"state": "open", "due": None}], {"due_before": 7})
    assert _fits([{"state": "open", "due": None}, {"state": "open", "due": 6}], {"due_before": 7})


@pytest.mark.parametrize(
    ("role", "files", "finds"),
    [
        ("publisher", True, True),
        ("clerk", True, False),
        ("approver", True, True),
        ("head", True, True),
        ("audit", False, True),
    ],
)
def test_audit_reads_and_files_nothing_and_clerks_find_nothing(role: Role, files: bool, finds: bool) -> None:
    caller = Caller("seoul", "desk", "seoul/staff/k-1", role, "도로과", "k-1")
    for type in ("complaint.received", "complaint.completed", "fault.reported", "fact.voided", "callback.made"):
        assert may_publish(caller, type) is files
    for type in ("fault.confirmed", "fault.dismissed"):
        assert may_publish(caller, type) is finds
