"""Tasks that facts end, on real servers; and what two people do to one remedy at the same moment."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from nats.aio.client import Client

from contracts.streams import PARTITIONS, cases_subject, notices_mark, partition
from services.chassis import clock
from services.chassis.health import Health
from services.chassis.outbox import Outbox
from services.chassis.settings import ROOT, Settings
from services.notifier import pacing
from services.notifier.ledger import Ledger
from services.notifier.tasks import acting
from services.notifier.tasks.life import Actor, Item, NotPossible
from services.rules import tenants
from tests.integration.test_compensation import (
    _ALL,
    ANN,
    BEA,
    CLERK,
    LATE,
    OPEN,
    Eventually,
    Office,
    _empty,
    office,  # noqa: F401 - a fixture
)
from tests.integration.test_notifier import (  # noqa: F401 - fixtures
    AFTER_HOLD,
    DUE,
    TENANT,
    World,
    _lose_ledger,
    gateway,
    health,
    working,
    world,
)

LATER, LATER_STILL = "2026-03-12T18:30:00+09:00", "2026-03-12T18:40:00+09:00"
AGAIN = {"task": "try_again", "promise": "anseong-visit-callback", "occurrence": "web/e1", "charter": "anseong@1"}
"""A call in time reached nobody: it is to be tried again by when the promise is due."""
SURVEY = {"task": "hold_survey", "promise": "anseong-survey", "occurrence": "2026 survey.conducted"}
SURVEY |= {"charter": "anseong@1", "due": "2026-12-01T00:00:00+09:00"}
OWED = {name: value for name, value in LATE.items() if name != "needs"}


async def happened(office: Office, type: str, at: str, data: dict[str, Any], case: str = "c1") -> str:  # noqa: F811
    """A fact of another time than that of the decisions; returns its id."""
    id = f"e{office._count('fact')}"
    subject = cases_subject(partition(TENANT, case), TENANT, type)
    await office._append("CASES", subject, {"id": id, "source": "web", "type": type, "time": at, "data": data}, case)
    return id


async def story(office: Office, eventually: Eventually) -> None:  # noqa: F811
    """A call that is tried again, taken back and made; a survey that is held, taken back, and then not wanted."""
    await office.decide("task.created", AGAIN)
    first = await happened(office, "callback.made", LATER, {"by": "kim", "reached": True})
    await eventually(office.quiet, 60)
    assert await office.tasks() == {"try_again": "done"}
    key = (await office.keys())["try_again"]
    assert await office.refused(acting.finish, CLERK, key, "reached") == "wrong_state"
    await happened(office, "fact.voided", LATER, {"source": "web", "id": first, "code": "wrong_case"})
    await happened(office, "callback.made", LATER, {"by": "kim", "reached": False})
    await eventually(office.quiet, 60)
    assert await office.tasks() == {"try_again": "assigned"}
    await happened(office, "callback.made", LATER_STILL, {"by": "kim", "reached": True})
    await office.decide("task.created", SURVEY, TENANT)
    held = await happened(office, "survey.conducted", LATER, {"where": ["homepage"], "year": 2026}, TENANT)
    await eventually(office.quiet, 60)
    # The promise itself says whether that was the survey of this year.
    assert await office.tasks() == {"try_again": "done", "hold_survey": "assigned"}
    cause = {"cause": {"source": "web", "id": held}}
    await office.decide("task.withdrawn", SURVEY | cause, TENANT)
    await eventually(office.quiet, 60)
    assert await office.tasks() == {"try_again": "done", "hold_survey": "done"}
    void = await happened(office, "fact.voided", LATER, {"source": "web", "id": held, "code": "other"}, TENANT)
    await office.decide("task.created", SURVEY | {"cause": {"source": "web", "id": void}}, TENANT)
    await eventually(office.quiet, 60)
    assert (await office.tasks())["hold_survey"] == "assigned"
    await office.decide("task.withdrawn", SURVEY, TENANT)
    await eventually(office.quiet, 60)
    assert (await office.tasks())["hold_survey"] == "withdrawn"


async def test_what_facts_end_is_told_once_and_is_the_same_when_the_ledger_is_worked_out_anew(
    world: World,  # noqa: F811
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
    pool: asyncpg.Pool,
) -> None:
    office = Office(world.nc, world.pool, world.vault, world.gateway)  # noqa: F811
    nc = await connect("notifier")
    async with working(office, settings("notifier"), nc, Health("notifier")) as notifier:
        await office.received()
        await office.fact("complaint.assigned", {"department": "건축과", "officer": "kim"})
        await clock.step(pool, AFTER_HOLD)
        await eventually(lambda: notifier.ledger is not None, 60)
        office.notifier = notifier
        await story(office, eventually)
    told = await office._stored("NOTICES", "notices.>")
    of_tasks = Counter(event["type"] for event in told if event["type"].startswith("task."))
    assert of_tasks == {"task.assigned": 3, "task.done": 3, "task.reopened": 1}
    assert len({event["id"] for event in told}) == len(told)
    [done] = [one["data"] for one in told if one["type"] == "task.done" and one["data"]["task"] == "hold_survey"]
    assert (done["by"], done["outcome"], done["fact"]["source"]) == ("web", "done", "web")
    before = [await pool.fetch(query) for query in _ALL]

    await _lose_ledger(pool)
    async with working(office, settings("notifier"), nc, Health("notifier")):
        await eventually(office.quiet, 60)
        await eventually(lambda: _empty(pool, "notifier.recovery"), 60)
        assert await office._stored("NOTICES", "notices.>") == told
        for query, rows in zip(_ALL, before, strict=True):
            assert await pool.fetch(query) == rows


async def test_a_fact_that_comes_and_goes_names_each_end_by_itself(office: Office, eventually: Eventually) -> None:  # noqa: F811
    """Named, taken back, restored, and taken back again: done twice, to be done again twice, four events."""
    await office.decide("task.created", AGAIN)
    made = await happened(office, "callback.made", LATER, {"by": "kim", "reached": True})
    await eventually(office.quiet, 60)
    first = await happened(office, "fact.voided", LATER, {"source": "web", "id": made, "code": "other"})
    for taken_back in (first, made):
        await eventually(office.quiet, 60)
        await happened(office, "fact.voided", LATER, {"source": "web", "id": taken_back, "code": "other"})
    await eventually(office.quiet, 60)
    told = [one for one in await office._stored("NOTICES", "notices.>") if one["type"].startswith("task.")]
    assert [one["type"] for one in told] == [
        "task.assigned",
        "task.done",
        "task.reopened",
        "task.done",
        "task.reopened",
    ]
    assert len({one["id"] for one in told}) == 5


async def test_a_task_is_of_whoever_had_the_case_at_its_cause(office: Office, eventually: Eventually) -> None:  # noqa: F811
    """The case has gone on to lee when the decision about kim's time is folded; the next one is about lee's."""
    kims = office.last["CASES"]
    await office.fact("complaint.transferred", {"to_department": "세무과", "reason": "x"})
    await office.fact("complaint.assigned", {"department": "세무과", "officer": "lee"})
    await office.decide("remedy.proposed", OWED, cause=kims)
    await office.decide("task.created", AGAIN)
    await eventually(office.quiet, 60)
    rows = await office.pool.fetch("SELECT task, department, officer, at_fault FROM read.tasks ORDER BY task")
    assert [tuple(row) for row in rows] == [
        ("apology", "건축과", "kim", ["kim"]),
        ("compensation", "건축과", "kim", ["kim"]),
        ("try_again", "세무과", "lee", ["lee"]),
    ]


async def test_audit_acts_where_somebody_is_named_and_nowhere_else(office: Office, eventually: Eventually) -> None:  # noqa: F811
    """Three of audit bring an amount to the citizen; of a case that complains of nobody they decide nothing."""
    one, two, three = (Actor(TENANT, f"aud-{number}", frozenset({"audit"}), "감사과") for number in (1, 2, 3))
    report = await happened(office, "fault.reported", LATER, {"ground": "error", "officer": "kim"})
    await happened(
        office, "fault.confirmed", LATER, {"about": report, "ground": "error", "officer": "kim", "by": "aud-3"}
    )
    incident = {"incident": f"fault:web/{report}", "key": f"{TENANT}/c1/fault:web/{report}/mapo-redress"}
    await office.decide("remedy.proposed", OPEN | incident)
    await office.received("d1")
    await office.fact("complaint.assigned", {"department": "건축과", "officer": "kim"}, "d1")
    await office.decide("remedy.proposed", OPEN | {"key": f"{TENANT}/d1/x/y"}, "d1")
    await eventually(office.quiet, 60)
    rows = await office.pool.fetch("SELECT \"case\", key FROM read.tasks WHERE task = 'compensation'")
    keys = {row["case"]: row["key"] for row in rows}
    assert await office.refused(acting.enter_amount, one, keys["d1"], 9_000) == "wrong_role"
    await office.act(acting.enter_amount, one, keys["c1"], 9_000)
    assert await office.refused(acting.approve, one, keys["c1"]) == "four_eyes"
    assert (await office.act(acting.approve, two, keys["c1"])).state == "approved"
    assert await office.refused(acting.issue, two, keys["c1"], "by_hand") == "own_approval"
    assert (await office.act(acting.issue, three, keys["c1"], "by_hand")).state == "issued"
    assert await office.sums() == (9_000, 0, 0, 9_000, 9_000, 0)


async def another(office: Office) -> Ledger:  # noqa: F811
    """The ledger of a second session: no lock of the process keeps it from the first, those of the database must."""
    known = tenants.parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
    outbox = Outbox(
        stream="NOTICES",
        table="notifier.outbox",
        relay_table="notifier.relay",
        mark=notices_mark,
        lanes=range(PARTITIONS),
    )
    generation = await office.pool.fetchval("SELECT generation FROM chassis.leases WHERE name = 'notifier'")
    return Ledger(office.pool, outbox, known, pacing.of(known), generation)


def outcome(result: Item | BaseException) -> str:
    if isinstance(result, NotPossible):
        return result.code
    assert isinstance(result, Item), result
    return result.state


async def test_of_two_who_approve_at_once_one_has_approved(office: Office, eventually: Eventually) -> None:  # noqa: F811
    for number in range(5):
        await office.received(f"d{number}")
        await office.decide("remedy.proposed", OWED | {"key": f"{TENANT}/d{number}/x/y"}, f"d{number}")
    await eventually(office.quiet, 60)
    rows = await office.pool.fetch("SELECT key FROM read.tasks WHERE task = 'compensation'")
    second, now = await another(office), await office.now()
    for row in rows:
        both = await asyncio.gather(
            acting.approve(office.ledger, now, ANN, row["key"]),
            acting.approve(second, now, BEA, row["key"]),
            return_exceptions=True,
        )
        assert sorted(map(outcome, both)) == ["approved", "wrong_state"]
    await eventually(office.quiet, 60)
    assert Counter(await office.told())["remedy.approved"] == 5
    assert await office.sums() == (25_000, 0, 0, 25_000, 0, 25_000)


async def test_two_who_hand_out_at_once_have_handed_out_one_voucher(office: Office, eventually: Eventually) -> None:  # noqa: F811
    await office.decide("remedy.proposed", OWED)
    await eventually(office.quiet, 60)
    key = (await office.keys())["compensation"]
    await office.act(acting.approve, BEA, key)
    second, now = await another(office), await office.now()
    both = await asyncio.gather(
        acting.issue(office.ledger, now, CLERK, key, "voucher", "AB-1"),
        acting.issue(second, now, CLERK._replace(staff="eun"), key, "voucher", "AB-2"),
        return_exceptions=True,
    )
    assert sorted(map(outcome, both)) == ["issued", "wrong_state"]
    await eventually(office.quiet, 60)
    assert Counter(await office.told())["remedy.issued"] == 1
    assert await office.sums() == (5_000, 0, 0, 5_000, 5_000, 0)


@pytest.mark.parametrize("case", ["d1", "d2", "d3"])
async def test_what_is_withdrawn_while_it_is_handed_out_is_kept_or_was_not_handed_out(
    office: Office,  # noqa: F811
    eventually: Eventually,
    case: str,
) -> None:
    """Whichever comes first, the book says what the citizen has."""
    await office.received(case)
    await office.decide("remedy.proposed", OWED | {"key": f"{TENANT}/{case}/x/y"}, case)
    await eventually(office.quiet, 60)
    key = (await office.keys())["compensation"]
    await office.act(acting.approve, BEA, key)
    now = await office.now()
    results = await asyncio.gather(
        office.decide("remedy.withdrawn", OWED | {"key": f"{TENANT}/{case}/x/y"}, case),
        acting.issue(office.ledger, now, CLERK, key, "by_hand"),
        return_exceptions=True,
    )
    await eventually(office.quiet, 60)
    issued = isinstance(results[1], Item)
    state = (await office.tasks())["compensation"]
    assert (issued, state) in ((True, "kept"), (False, "withdrawn"))
    assert await office.sums() == ((5_000, 0, 0, 5_000, 5_000, 0) if issued else (5_000, 5_000, 0, 0, 0, 0))
    assert Counter(await office.told())["remedy.kept"] == int(issued)
