"""The auditor reads real servers, as a user who can only read, and sees what does not belong there."""

from collections.abc import Callable

import asyncpg

from services.chassis.settings import Settings
from services.cli.auditing.audit import audit, in_words
from services.cli.auditing.evidence import Book


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
