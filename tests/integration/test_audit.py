"""The auditor reads real servers, as a user who can only read, and sees what does not belong there."""

from collections.abc import Callable
from dataclasses import replace

import asyncpg

from services.chassis import clock
from services.chassis.settings import Settings
from services.cli.auditing.audit import audit, in_words
from services.cli.auditing.evidence import Book, gather


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


async def test_it_judges_by_the_clock_that_was_stepped(settings: Callable[..., Settings], pool: asyncpg.Pool) -> None:
    """Who joins a running system is not told of it, and on another clock every breach would seem to be late."""
    told_nothing = replace(settings("replay"), clock="real")
    assert not (await gather(told_nothing, Book())).stepped
    await clock.step(pool, 1_000_000)
    evidence = await gather(told_nothing, Book())
    assert (evidence.stepped, evidence.now) == (True, 1_000_000)
