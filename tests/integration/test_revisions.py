"""A mend on real servers: a case on which revision 1 fails is stuck, and the enacting of revision 2 works it out anew.

Revision 1 is made to fail by the test alone, on a case that holds a certain fact.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from nats.aio.client import Client
from test_sla_timer import MONDAY, Log, _all_sent, _folded_to_end, _nothing_before, fresh, running

from contracts.streams import PARTITIONS, partition
from services.chassis import clock
from services.chassis.settings import Settings
from services.cli.verify import verify
from services.rules.facts import Fact
from services.rules.fold import REVISIONS, evolve
from services.rules.instants import Instant, instant
from services.rules.routing import ALL
from services.rules.state import Case, Decision, Rules

__all__ = ["fresh"]

Eventually = Callable[..., Awaitable[Any]]
DUE = "2026-04-09T10:00:00+09:00"
"""An inquiry of Monday at ten is to be answered within three days."""


def flawed(case: Case, at: Instant, rules: Rules, cause: Fact | None) -> tuple[Case, list[Decision]]:
    if any(fact.type == "delay.explained" for fact in case.facts):
        raise ZeroDivisionError
    return evolve(case, at, rules, cause)


async def test_a_stuck_case_is_mended_by_the_next_revision_and_a_replay_agrees(
    fresh: None,
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twelve cases, four of them in one partition, every second one stuck; a restart before the mend, and slices of one
    case while it is folded."""
    monkeypatch.setitem(REVISIONS, "1", flawed)
    monkeypatch.setitem(REVISIONS, "2", evolve)
    await clock.step(pool, instant(MONDAY))
    together = [name for name in (f"s{n}" for n in range(400)) if partition("anseong", name) == 3][:4]
    logs = [Log(nc, pool, "anseong", name) for name in (*together, *(f"m{n}" for n in range(8)))]
    failing = logs[::2]

    async def rest() -> None:
        await eventually(lambda: _folded_to_end(nc, pool), 30)
        await eventually(lambda: _all_sent(pool), 30)

    async with running(settings("sla_timer", slice_cases=1)):
        for log in logs:
            await log.state("complaint.received", MONDAY, channel="phone", kind="inquiry")
        for log in failing:
            await log.state("delay.explained", "2026-04-06T11:00:00+09:00", expected="2026-04-10")
        await rest()
        await clock.step(pool, instant("2026-04-10T09:00:00+09:00"))
        await eventually(lambda: _nothing_before(pool, instant("2026-04-10T09:00:00+09:00")), 30)
        await rest()
    broken = "deadline.breached anseong-inquiry"
    assert await pool.fetchval("select count(*) from sla_timer.cases where stuck") == len(failing)
    assert [log.case for log in logs if broken in await log.decided()] == [log.case for log in logs[1::2]]

    async with running(settings("sla_timer", slice_cases=1)):
        for number in range(PARTITIONS):
            wide = Log(nc, pool, "anseong", ALL)
            wide.partition = number
            await wide.state("rules.enacted", "2026-04-10T09:00:00+09:00", revision="2", applies="new_cases")
        await rest()
        await clock.step(pool, instant("2026-04-30T00:00:00+09:00"))
        await eventually(lambda: _nothing_before(pool, instant("2026-04-30T00:00:00+09:00")), 30)
        await rest()
    assert not await pool.fetchval("select count(*) from sla_timer.cases where stuck")
    rows = await pool.fetch(
        "select case_id, due, at from sla_timer.decisions where kind = 'deadline.breached' "
        "and promise = 'anseong-inquiry' order by case_id"
    )
    assert [tuple(row) for row in rows] == [
        (name, instant(DUE), instant(DUE)) for name in sorted(log.case for log in logs)
    ]
    lane = await pool.fetch(
        "select case_id from sla_timer.decisions where lane = 3 and kind = 'deadline.breached' "
        "and promise = 'anseong-inquiry' order by number"
    )
    at_once, later = ([log.case for log in some if log.partition == 3] for some in (logs[1::2], failing))
    assert [row["case_id"] for row in lane] == [*sorted(at_once), *sorted(later)]
    for log in logs:
        assert {event["data"]["rules"] for event in await log.emitted(0)} == {"1", "2"}
    verdicts = [verdict async for verdict in verify(settings("replay"))]
    assert [verdict.difference for verdict in verdicts] == [""] * PARTITIONS
