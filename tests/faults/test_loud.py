"""A dead timer is loud: whatever dies or freezes is red within five and fifteen seconds, and somebody says why.

Goal: no part can stop in silence. Method: a whole Gihan on the real clock, its processes killed for good or frozen, its
loops frozen at failpoints; what a dead process cannot say is asked of the others.
"""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.faults.orders import Orders, allowed
from tests.faults.world import World, running_world

KILLED_SECONDS = 5.0
FROZEN_SECONDS = 15.0
COMPLAINT = {
    "channel": "web",
    "kind": "inquiry",
    "title": "가로등",
    "applicant": {"name": "홍길동", "address": "여울시 1", "mobile": "010-0000-0001"},
}
WATCHED_BY = {"sla_timer": "notifier", "notifier": "sla_timer", "intake": "notifier"}


@pytest.fixture(scope="module")
async def orders(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Orders]:
    with allowed(tmp_path_factory.mktemp("orders")) as orders:
        yield orders


@pytest.fixture(scope="module")
async def world(orders: Orders, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One of each service."""
    async with running_world(tmp_path_factory.mktemp("loud")) as world:
        yield world


async def red(world: World, process: str) -> dict[str, str]:
    """What a process says is not well with it; empty where it says nothing at all."""
    async with httpx.AsyncClient(timeout=1, trust_env=False) as http:
        try:
            return dict((await http.get(f"{world.urls()[process]}/health/ready")).json()["red"])
        except httpx.HTTPError:
            return {}


async def within(seconds: float, look: Callable[[], Awaitable[Any]]) -> Any:
    """What `look` finds once it finds anything. Fails after `seconds`."""
    begun = time.monotonic()
    while not (found := await look()):
        assert time.monotonic() - begun < seconds, f"not within {seconds:.0f} s"
        await asyncio.sleep(0.1)
    assert time.monotonic() - begun < seconds, f"only after {time.monotonic() - begun:.1f} s"
    return found


async def says(world: World, process: str, part: str, words: str) -> bool:
    """Whether a process says of a part that it is red, in these words."""
    return words in (await red(world, process)).get(part, "")


async def publish(world: World, id: str, type: str, subject: str, **data: Any) -> None:
    """One event of the source web of the first city, of now."""
    now = datetime.now(UTC).isoformat()
    event = {"specversion": "1.0", "id": id, "source": "web", "type": type, "subject": subject, "time": now}
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        answer = await http.post(
            f"{world.intakes[0]}/v1/events",
            json={**event, "tenant": "rapids", "data": data},
            headers={"Authorization": f"Bearer {world.servers.publisher_keys['rapids/web']}"},
        )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("victim", sorted(WATCHED_BY))
async def test_a_killed_process_is_told_by_another(world: World, victim: str) -> None:
    await world.ready()
    keeper = world.processes[victim]
    world.kill(victim)
    begun = time.monotonic()
    await keeper.stop()  # nobody starts it again
    try:
        words = f"no {victim} has given a sign of life"
        await within(
            KILLED_SECONDS - (time.monotonic() - begun), lambda: says(world, WATCHED_BY[victim], victim, words)
        )
    finally:
        await keeper.start()
    await world.ready()


async def test_a_frozen_timer_is_told_by_the_notifier_with_the_deadline_that_waits(world: World) -> None:
    """Stopped with a deadline due in three seconds: silent, then late, by metric and by reason."""
    await world.ready()
    await publish(world, "frozen-1", "complaint.received", "frozen-1", **COMPLAINT)
    await within(20, lambda: world.pool.fetchval("select 1 from read.decisions where \"case\" = 'frozen-1'"))
    async with world.stopped("sla_timer"):
        begun = time.monotonic()
        await within(
            FROZEN_SECONDS, lambda: says(world, "notifier", "sla_timer", "no sla_timer has given a sign of life")
        )
        left = FROZEN_SECONDS - (time.monotonic() - begun)
        await within(left, lambda: says(world, "notifier", "deadlines", "has not moved for"))
        assert await oldest_due(world, "notifier") > 5
    await world.ready()
    await within(20, lambda: is_low(world))
    kinds = [
        row["kind"]
        for row in await world.pool.fetch(
            "select kind from read.decisions where \"case\" = 'frozen-1' and promise = 'rapids-assign' order by number"
        )
    ]
    assert kinds[:2] == ["deadline.started", "deadline.breached"]


async def test_a_frozen_notifier_is_told_by_the_timer(world: World) -> None:
    await world.ready()
    async with world.stopped("notifier"):
        await within(
            FROZEN_SECONDS, lambda: says(world, "sla_timer", "notifier", "no notifier has given a sign of life")
        )
    await world.ready()


async def test_a_frozen_loop_is_red_by_name_while_the_others_go_on(world: World, orders: Orders) -> None:
    """Ticker, one fold and the relay are frozen, each at a place of its own, in a process that lives on."""
    await world.ready()
    frozen = ("ticker.before_pass", "fold.before_batch", "relay.before_pass")
    for name in frozen:
        orders.give("sla_timer", name, "sleep")
    await asyncio.gather(*(orders.wait("sla_timer", name) for name in frozen))

    async def found() -> set[str]:
        parts = await red(world, "sla_timer")
        assert all(why.startswith("frozen: has not come round for") for why in parts.values())
        return parts.keys() if len(parts) >= len(frozen) else set()

    parts = await within(FROZEN_SECONDS, found)
    assert {re.sub(r"\d+", "N", part) for part in parts} == {"ticker", "relay", "fold N"}
    assert len(parts) == len(frozen)
    pid = world.processes["sla_timer"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await world.ready()


async def oldest_due(world: World, process: str) -> float:
    """The metric, as a process tells it."""
    async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
        text = (await http.get(f"{world.urls()[process]}/metrics")).text
    found = re.search(r"^gihan_oldest_due_seconds ([\d.e+-]+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def is_low(world: World) -> bool:
    return all([await oldest_due(world, process) < 3 for process in ("sla_timer", "notifier")])
