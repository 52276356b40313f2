"""The auditor reads real servers, as a user who can only read, and sees what does not belong there."""

from collections.abc import Callable

import asyncpg

from services.chassis import clock
from services.chassis.settings import Settings
from services.cli.auditing.audit import audit, in_words
from services.cli.auditing.evidence import Book, gather
from services.rules.instants import instant


async def test_an_invented_decision_is_seen(settings: Callable[..., Settings], pool: asyncpg.Pool) -> None:
    report = await audit(settings("replay"), Book(), settled=True)
    assert in_words(report)[0].startswith("no violation of I1 to I14")
    await pool.execute(
        "insert into sla_timer.decisions (lane, number, subject, body, tenant, case_id, kind, at, cause_sequence) "
        "values (3, 1, 'sla.3.seoul.deadline.breached', '{}', 'seoul', 'c1', 'deadline.breached', 0, 0)"
    )
    report = await audit(settings("replay"), Book(), settled=True)
    assert [one._replace(what="") for one in report.violations] == [("I2", "", "decision 3-1")]
    assert report.violations[0].what == "only the database holds it"


async def test_a_stepped_clock_is_seen_without_being_told(
    settings: Callable[..., Settings], pool: asyncpg.Pool
) -> None:
    """Else whatever a demo decided between two of its steps would be called late."""
    assert not (await gather(settings("replay", clock="real"), Book())).stepped
    now = instant("2026-11-02T10:00:00+09:00")
    await clock.step(pool, now)
    found = await gather(settings("replay", clock="real"), Book())
    assert (found.stepped, found.now) == (True, now)
