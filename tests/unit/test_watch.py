"""Watching each other: what is due and does not move is red, what is worked off is not; how parts end and wait."""

import asyncio
from typing import Any

import pytest
from prometheus_client import Gauge
from structlog.testing import capture_logs

from services.chassis.health import Health
from services.chassis.tasks import end
from services.chassis.watch import STILL_SECONDS, StandsStill, _Stands

SECOND = 1_000_000


def row(partition: int, next_at: int | None, sequence: int = 7, decisions: int = 3) -> Any:
    """A row of read.fold_position."""
    return {"partition": partition, "next_at": next_at, "sequence": sequence, "decisions": decisions, "clock": 0}


@pytest.fixture
def oldest() -> Gauge:
    return Gauge("gihan_oldest_due_seconds", "...", registry=None)


def test_the_age_is_that_of_the_oldest_instant_past_settling(oldest: Gauge) -> None:
    stands = _Stands(oldest, settle_seconds=1)
    stands.look([row(0, None), row(1, 100 * SECOND)], 100 * SECOND + SECOND, at=0)
    assert oldest._value.get() == 0  # a second may settle
    stands.look([row(0, 95 * SECOND), row(1, 100 * SECOND)], 102 * SECOND, at=1)
    assert oldest._value.get() == 7
    stands.look([row(0, None), row(1, 200 * SECOND)], 103 * SECOND, at=2)
    assert oldest._value.get() == 0


def test_a_partition_that_stands_still_while_something_is_due_is_red(oldest: Gauge) -> None:
    stands = _Stands(oldest, settle_seconds=0)
    due = [row(0, 1), row(1, None), row(2, 10**18)]
    stands.look(due, SECOND, at=100)
    stands.look(due, SECOND, at=100 + STILL_SECONDS)
    with pytest.raises(StandsStill, match="partition 0 has not moved for 8 s"):
        stands.look(due, SECOND, at=100.1 + STILL_SECONDS)


@pytest.mark.parametrize("moved", [row(0, 1, sequence=8), row(0, 1, decisions=4), row(0, 2)])
def test_a_partition_that_moves_is_not_red_however_late_it_is(oldest: Gauge, moved: Any) -> None:
    stands = _Stands(oldest, settle_seconds=0)
    stands.look([row(0, 1)], 10**15, at=100)
    stands.look([moved], 10**15, at=101 + STILL_SECONDS)
    stands.look([moved], 10**15, at=101 + 2 * STILL_SECONDS)


async def test_a_part_whose_task_has_ended_is_red_at_once() -> None:
    health = Health("test")

    async def loop() -> None:
        while True:
            health.part("ticker").beat()
            await asyncio.sleep(0.01)

    task = health.part("ticker").runs(asyncio.create_task(loop()))
    await asyncio.sleep(0.03)
    assert health.red() == {}
    task.cancel()
    await asyncio.wait([task])
    assert health.red() == {"ticker": "has ended: start this service again"}


async def test_what_ended_a_part_is_in_the_log_unless_it_was_told_to_end() -> None:
    async def fail() -> None:
        raise KeyError("010-0000-0001")

    health = Health("test")
    with capture_logs() as lines:
        await asyncio.wait([health.part("fold 1").runs(asyncio.create_task(fail()))])
        told = health.part("ticker").runs(asyncio.create_task(asyncio.sleep(60)))
        await end([told])
        await asyncio.sleep(0)
    assert [(line["event"], line["part"], type(line["exc_info"])) for line in lines] == [
        ("part_ended", "fold 1", KeyError)
    ]


def test_a_part_that_waits_for_its_turn_is_standby_and_frozen_when_it_stops_waiting() -> None:
    health = Health("test")
    part = health.part("fold 0", frozen_after_seconds=60)
    part.stand_by()
    assert (health.red(), health.standby()) == ({}, ["fold 0"])
    part.beat()
    assert (health.red(), health.standby()) == ({}, [])
    part.stand_by()
    part.frozen_after_seconds = -1
    assert (list(health.red()), health.standby()) == (["fold 0"], [])


async def test_the_task_of_the_last_turn_does_not_count_while_it_waits_for_the_next() -> None:
    part = Health("test").part("cases")
    part.beat()
    task = part.runs(asyncio.create_task(asyncio.sleep(0)))
    await asyncio.wait([task])
    assert part.trouble is not None
    part.stand_by()
    assert part.trouble is None
