"""The system: three services as processes, real servers, every door; and processes killed in the middle.

Goal: a killed process changes nothing in the outcome. Method: the Monday of the demo's week is played once
undisturbed and once with a process killed by SIGKILL at fixed steps; both must agree with what CASES alone says, and
with each other.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli import running
from services.cli.demo import demo
from services.cli.demo.demo import MONDAY, Outcome, played
from services.cli.demo.week.delivery import Delivery
from services.cli.demo.week.plan import week
from services.rules.instants import DAY, Instant, midnight

SEED = 7
CITIES = ("anseong", "mapo")


@pytest.fixture(scope="module")
def deliveries() -> list[Delivery]:
    """The Monday of two cities; the seed is in the outcome and in the name of a failure."""
    tenants = running.read_tenants()
    end = midnight(MONDAY, tenants["anseong"].zone) + DAY
    return [row for row in week(SEED, MONDAY, tenants) if row.at < end and row.tenant in CITIES]


async def play(home: Path, deliveries: list[Delivery], on_step: demo.OnStep) -> Outcome:
    """One run through a system of its own."""
    async with played(home, SEED, deliveries, running.read_tenants(), on_step) as (outcome, _):
        return outcome


@pytest.mark.timeout(240)
async def test_killing_any_process_changes_nothing(tmp_path: Path, deliveries: list[Delivery]) -> None:
    """Each service, nats-server and PostgreSQL are killed once; the tables are the same."""
    undisturbed = await play(tmp_path / "calm", deliveries, lambda number, at, gihan: None)
    assert undisturbed.differences == []
    assert undisturbed.decisions > 100
    assert undisturbed.messages > 20

    victims: dict[int, Callable[[running.Gihan], int | None]] = {
        8: lambda gihan: gihan.services.pid("sla_timer"),
        16: lambda gihan: gihan.services.pid("intake"),
        24: lambda gihan: gihan.services.pid("notifier"),
        32: lambda gihan: gihan.servers.nats.pid if gihan.servers.nats else None,
        40: lambda gihan: gihan.servers.postgres.pid if gihan.servers.postgres else None,
    }
    killed: list[int] = []

    def kill(number: int, at: Instant, gihan: running.Gihan) -> None:
        if number in victims:
            pid = victims[number](gihan)
            assert pid is not None, f"step {number}: nobody to kill"
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    disturbed = await play(tmp_path / "killed", deliveries, kill)
    assert len(killed) == len(victims)
    assert disturbed.differences == []
    assert disturbed.cities == undisturbed.cities
    assert disturbed.decisions == undisturbed.decisions
    assert sum(disturbed.restarts.values()) >= len(victims)
