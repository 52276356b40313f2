"""The system without its database: a day of a city, the folder of PostgreSQL deleted, everything started anew.

Goal: the logs are enough. Method: the Monday of the demo's week goes through the whole system; then the database is
made anew by provisioning alone. The table must be the same, no message may be sent a second time, and publishers must
get their first answers again. Lost is what no log holds: names and texts of the vault, and what waited outside the log.
"""

import shutil
from pathlib import Path

import pytest

from deploy.joining import environment_of
from services.chassis import broker
from services.chassis.settings import Settings
from services.cli import running
from services.cli.demo import demo
from services.cli.demo.demo import MONDAY
from services.cli.demo.driver import Driver
from services.cli.demo.week.delivery import Delivery
from services.cli.demo.week.plan import week
from services.cli.verify import verify
from services.rules.instants import DAY, midnight

SEED = 3
CITY = "anseong"


@pytest.mark.timeout(300)
async def test_a_day_without_its_database(tmp_path: Path) -> None:
    """PostgreSQL's folder is deleted between two runs on the same logs."""
    tenants = running.read_tenants()
    end = midnight(MONDAY, tenants[CITY].zone) + DAY
    deliveries = [row for row in week(SEED, MONDAY, tenants) if row.at < end and row.tenant == CITY]
    steps = demo.steps_of(deliveries, tenants)

    async with demo._running(tmp_path, tenants) as run:
        driver = Driver(run.pool, run.nc, run.doors)
        for at, now in steps:
            await driver.step(at, now)
        before = await demo._outcome(run, SEED, deliveries, tenants)
        record = demo._record(run.gihan.gateway)
        facts = await broker.last_message(run.nc, "CASES", "cases.*.*.*.*")
        notices = (await run.nc.jetstream().stream_info("NOTICES")).state.last_seq
        receipts = await run.pool.fetch('select "case", receipt from read.subject_refs order by "case"')
        answers = {delivery.id: answer for delivery, answer in run.doors.answers if delivery.expect == "accepted"}
    assert before.differences == []
    assert before.decisions > 100
    assert before.messages > 20
    assert len(answers) > 20

    shutil.rmtree(tmp_path / "data" / "postgres")
    async with demo._running(tmp_path, tenants, steps[-1][0]) as run:
        await Driver(run.pool, run.nc, run.doors).step(steps[-1][0])
        after = await demo._outcome(run, SEED, deliveries, tenants)
        assert after.differences == []
        assert (after.cities, after.decisions, after.messages) == (before.cities, before.decisions, before.messages)
        assert demo._record(run.gihan.gateway) == record
        assert (await run.nc.jetstream().stream_info("NOTICES")).state.last_seq == notices
        assert await run.pool.fetch('select "case", receipt from read.subject_refs order by "case"') == receipts
        settings = Settings.from_env("replay", environment_of(tmp_path / "data", "replay"))
        assert [verdict.difference async for verdict in verify(settings)] == [""] * 16
        for delivery in _direct(deliveries):
            await run.doors.deliver(delivery)
        assert {delivery.id: answer for delivery, answer in run.doors.answers} == answers
        # Ticks may have come, since a fold that lags behind sees instants pass; facts have not.
        assert await broker.last_message(run.nc, "CASES", "cases.*.*.*.*") == facts


def _direct(deliveries: list[Delivery]) -> list[Delivery]:
    """Those that were accepted at once, by HTTP or at the door."""
    return [delivery for delivery in deliveries if delivery.door != "inbox" and delivery.expect == "accepted"]
