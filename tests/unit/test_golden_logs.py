"""Golden logs: what each revision of the rules decided is pinned to the byte.

The one rule: decisions are never made anew for a revision that a log has enacted. Where this test fails, either
the change is a mistake, or it is a new revision with files of its own.
"""

import json
from pathlib import Path

import pytest
from stories import SEOUL, at

from services.cli.simulate import read_events, simulate
from services.rules import instants
from services.rules.fold import REVISION
from services.rules.world import Decided

LOGS = Path(__file__).parents[1] / "golden" / "logs"
UNTIL = "12-31 00:00"


def line(row: Decided) -> str:
    """Every field of a decision that is there, instants in Korean time."""
    fields = {
        name: instants.text(value, SEOUL) if name in ("at", "due", "first_due") else value
        for name, value in row.decision._asdict().items()
        if value not in (None, "", False, ())
    }
    return json.dumps({"tenant": row.tenant, "case": row.case, **fields}, ensure_ascii=False)


@pytest.mark.parametrize(("log", "revision"), [("week-1", "1")])
def test_a_log_is_folded_to_the_same_bytes_as_ever(log: str, revision: str) -> None:
    assert revision == REVISION
    with (LOGS / f"{log}.jsonl").open("rb") as file:
        events = read_events(file)
    decided = "".join(f"{line(row)}\n" for row in simulate(events, at(UNTIL)))
    assert decided == (LOGS / f"{log}.decisions.jsonl").read_text(encoding="utf-8")


def test_the_log_tells_of_every_kind_of_decision() -> None:
    kinds = {json.loads(row)["kind"] for row in (LOGS / "week-1.decisions.jsonl").read_text("utf-8").splitlines()}
    assert kinds == {
        *(
            f"deadline.{verb}"
            for verb in ("started", "moved", "suspended", "resumed", "warned", "met", "breached", "voided")
        ),
        *(
            "breach.retracted",
            "measure.breached",
            "remedy.proposed",
            "remedy.withdrawn",
            "task.created",
            "event.refused",
            "notice.requested",
        ),
        *("event.accepted", "measure.retracted", "task.withdrawn"),
    }
