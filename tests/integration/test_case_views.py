"""The views over cases: what they say follows from facts and decisions alone, and is what the fold holds."""

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from contracts.streams import partition
from services.cli.simulate import new_world, read_events, simulate
from services.rules.choosing import rules_of
from services.rules.instants import of_datetime
from services.sla_timer.messages import decision_message

LOGS = Path(__file__).parents[1] / "golden" / "logs"
COLUMNS = ("tenant", "case", "promise", "occurrence", "state", "due", "first_due", "provisional")


@pytest.mark.parametrize("days_more", [0, 3, 60])
async def test_the_deadlines_of_a_week_are_those_that_the_fold_holds(pool: asyncpg.Pool, days_more: int) -> None:
    """Every state and date of a log that brings every kind of decision, read back from the decisions alone."""
    with (LOGS / "week-1.jsonl").open("rb") as file:
        events = read_events(file)
    until = of_datetime(max(event.time for event in events).astimezone(ZoneInfo("Asia/Seoul")) + timedelta(days_more))
    world, rows = new_world(), []
    for number, told in enumerate(simulate(events, until, world=world), 1):
        lane = partition(told.tenant, told.case)
        case = world.partitions[lane].cases[told.tenant, told.case]
        rules = rules_of(world.partitions[lane].rulebook, case, None)
        decision = told.decision
        subject, body = decision_message(decision, case, rules, None, lane, number, number)
        names = (told.tenant, told.case, decision.kind, decision.promise or None, decision.occurrence or None)
        rows.append((lane, number, subject, body, *names, decision.due, decision.at, number))
    await pool.copy_records_to_table("decisions", schema_name="sla_timer", records=rows)

    held = {
        (tenant, id, d.promise, d.occurrence, d.state, d.due, d.first_due, d.provisional)
        for each in world.partitions
        for (tenant, id), case in each.cases.items()
        for d in case.deadlines
    }
    # A run that the facts no longer know is void, and stands in the decisions alone.
    told_of = {tuple(row[name] for name in COLUMNS) for row in await pool.fetch("select * from read.case_deadlines")}
    states = {row[4] for row in held}
    assert {"open", "met", "broken", "void"} <= states
    dates_of_ended = {"void", "lapsed"}
    assert {row for row in held if row[4] not in dates_of_ended} == {
        row for row in told_of if row[4] not in dates_of_ended
    }
    assert {row[:5] for row in held} <= {row[:5] for row in told_of}
    assert {row[4] for row in told_of - held} <= {"void", "lapsed"}
