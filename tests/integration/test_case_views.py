"""The views over cases: what they say follows from facts and decisions alone, and is what the fold holds."""

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest

from contracts.streams import partition
from services.chassis import postgres
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


async def test_a_ledger_of_former_days_learns_what_the_owner_may_not_hear_of(pool: asyncpg.Pool) -> None:
    """Faults that another system reported, and what takes one back; not the owner's own, nor what was refused."""
    await pool.execute("insert into notifier.cases values ('seoul', 'c-1', '{\"owner\": \"web\"}')")
    await pool.execute("insert into notifier.cases values ('seoul', 'c-2', '{\"owner\": \"desk\"}')")
    void = {"source": "desk", "id": "f1", "code": "typing_error"}
    for case in ("c-1", "c-2"):
        for source, id, type, data, refusal in (
            ("web", f"{case}-f0", "fault.reported", {}, None),
            ("desk", f"{case}-f1", "fault.reported", {}, None),
            ("desk", f"{case}-f2", "fault.reported", {}, "other_source"),
            ("desk", f"{case}-v1", "fact.voided", {**void, "id": f"{case}-f1"}, None),
            ("desk", f"{case}-v2", "fact.voided", {**void, "id": "other"}, None),
        ):
            await pool.execute(
                "insert into intake.reservations (tenant, source, id, type, case_id, occurred, recorded, subjects,"
                " bodies, waited, refusal) values ('seoul', $1, $2, $3, $4, 0, 0, '{}', $5, false, $6)",
                *(source, id, type, case, [orjson.dumps({"data": data})], refusal),
            )
    await pool.execute("drop table intake.erasures")
    await pool.execute((postgres.MIGRATIONS / "021_doors.sql").read_text(encoding="utf-8"))
    views = {row["case_id"]: orjson.loads(row["view"]) for row in await pool.fetch("select * from notifier.cases")}
    assert views == {
        "c-1": {"owner": "web", "unheard": ["desk/c-1-f1", "desk/c-1-v1"]},
        "c-2": {"owner": "desk", "unheard": ["web/c-2-f0"]},
    }
