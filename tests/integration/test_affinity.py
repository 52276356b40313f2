"""Affinity on real servers: the instances of intake share the cities among themselves, and nothing rests on it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import asyncpg
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.streams import STREAMS, door_subject, handed_on_subject
from deploy import provision
from services.chassis.clock import step
from services.chassis.settings import Settings
from services.intake import affinity
from services.intake.affinity import Affinity
from services.intake.app import build_app
from services.intake.judge import Publisher, Refusal
from services.rules.instants import instant
from services.rules.tenants import Tenant

NOW = "2026-03-12T10:00:00+09:00"
WEB = Publisher("seoul", "web")
ARRAY = b'[{"id": "1"}]'
Connect = Callable[[str], Awaitable[Client]]
Eventually = Callable[..., Awaitable[Any]]


@pytest.fixture(autouse=True)
def lasting_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No turn ends in the middle of a test."""
    monkeypatch.setattr(affinity, "TURN_SECONDS", 1e12)


@pytest.fixture
async def two(connect: Connect, tenants: dict[str, Tenant], eventually: Eventually) -> AsyncIterator[list[Affinity]]:
    """Two that have heard of each other."""
    first, second = [Affinity(await connect("intake"), tenants) for _ in range(2)]
    async with first.present(), second.present():
        await eventually(lambda: _agree([first, second], tenants))
        yield [first, second]


def _agree(them: list[Affinity], tenants: dict[str, Tenant]) -> bool:
    """Whether they say the same of every city, and each of them has some."""
    said = [[one.instance(tenant) for tenant in tenants] for one in them]
    return said.count(said[0]) == len(said) and set(said[0]) == {one.name for one in them}


def _has(one: Affinity, tenants: dict[str, Tenant]) -> Publisher:
    """A publisher of a city that this instance has."""
    return Publisher(next(tenant for tenant in tenants if one.instance(tenant) == one.name), "web")


async def test_alone_it_has_every_city(connect: Connect, tenants: dict[str, Tenant]) -> None:
    alone = Affinity(await connect("intake"), tenants)
    async with alone.present():
        assert {alone.instance(tenant) for tenant in tenants} == {alone.name}
        assert await alone.hand_on(ARRAY, WEB) is None


async def test_the_cities_are_dealt_out_to_those_that_are_there(
    connect: Connect, tenants: dict[str, Tenant], eventually: Eventually
) -> None:
    async with AsyncExitStack() as staying:
        staying_on = [Affinity(await connect("intake"), tenants) for _ in range(2)]
        for one in staying_on:
            await staying.enter_async_context(one.present())
        leaving = Affinity(await connect("intake"), tenants)
        async with leaving.present():
            everybody = [*staying_on, leaving]
            await eventually(lambda: _agree(everybody, tenants))
            shares = [[leaving.instance(tenant) for tenant in tenants].count(one.name) for one in everybody]
            assert max(shares) - min(shares) <= 1
        # It says that it goes: nobody waits for its silence.
        await eventually(lambda: _agree(staying_on, tenants), affinity.LAPSE_SECONDS / 2)


async def test_in_turn_each_has_the_city_that_is_one_too_many(
    two: list[Affinity], tenants: dict[str, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(tenants) == 5
    first, _ = two
    monkeypatch.setattr(affinity, "TURN_SECONDS", 4.0)
    said = []
    for turn in range(4):
        monkeypatch.setattr(time, "time", lambda now=turn * 4.0 + 1.0: now)
        assert _agree(two, tenants)
        said.append([first.instance(tenant) == first.name for tenant in sorted(tenants)])
    assert said[0] == said[2] != said[1] == said[3]
    assert [before != after for before, after in zip(said[0], said[1], strict=True)] == [False] * 4 + [True]


async def test_what_is_silent_is_not_counted_on(
    two: list[Affinity], tenants: dict[str, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = two
    monkeypatch.setattr(affinity, "LAPSE_SECONDS", 0)
    assert {first.instance(tenant) for tenant in tenants} == {first.name}


async def test_what_is_handed_on_comes_back_answered(
    two: list[Affinity], tenants: dict[str, Tenant], connect: Connect
) -> None:
    first, second = two
    publisher = _has(second, tenants)

    async def take(message: Msg) -> None:
        await message.respond(b"answer to " + message.data)

    colleague = await connect("intake")
    await colleague.subscribe(handed_on_subject(second.name, "*", "*"), cb=take)
    await colleague.flush()
    assert await first.hand_on(ARRAY, publisher) == b"answer to " + ARRAY
    assert await first.hand_on(ARRAY, _has(first, tenants)) is None
    assert await second.hand_on(ARRAY, publisher) is None


async def test_one_that_went_without_a_word_is_forgotten_at_once(
    two: list[Affinity], tenants: dict[str, Tenant]
) -> None:
    first, second = two
    publisher = _has(second, tenants)  # nobody listens under its name
    assert await first.hand_on(ARRAY, publisher) is None
    assert first.instance(publisher.tenant) == first.name


async def test_one_that_does_not_answer_leaves_it_open_whether_anything_was_kept(
    two: list[Affinity], tenants: dict[str, Tenant], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    frozen = await connect("intake")
    await frozen.subscribe(handed_on_subject(second.name, "*", "*"))
    await frozen.flush()
    monkeypatch.setattr(affinity, "ANSWER_SECONDS", -0.9)
    with pytest.raises(Refusal) as refused:
        await first.hand_on(ARRAY, _has(second, tenants))
    assert refused.value.code == "unavailable"


async def test_each_city_is_taken_in_by_one_of_two_intakes(
    settings: Callable[..., Settings],
    pool: asyncpg.Pool,
    nc: Client,
    connect: Connect,
    tenants: dict[str, Tenant],
    eventually: Eventually,
) -> None:
    for stream in STREAMS:
        await nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(nc)
    await step(pool, instant(NOW))
    doors = {tenant: await connect(f"{tenant}.web") for tenant in tenants}
    rounds = count(1)

    async def sent(arrays: int) -> dict[str, set[str]]:
        """By which instances the arrays of each city were taken in, all of which were accepted."""
        round = next(rounds)

        async def send(tenant: str, number: int) -> None:
            events = [_complaint(tenant, f"{round}-{number}-{place}") for place in range(3)]
            raw = json.dumps(events).encode()
            reply = await doors[tenant].request(door_subject(tenant, "web"), raw, timeout=30)
            assert [answer["status"] for answer in json.loads(reply.data)] == ["accepted"] * 3

        await asyncio.gather(*(send(tenant, number) for tenant in tenants for number in range(arrays)))
        rows = await pool.fetch("select tenant, instance from intake.reservations where id like $1", f"{round}-%")
        return {tenant: {row["instance"] for row in rows if row["tenant"] == tenant} for tenant in tenants}

    async def shared_out() -> bool:
        taken = await sent(arrays=6)
        return all(len(names) == 1 for names in taken.values()) and len(set.union(*taken.values())) == 2

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_running(settings("intake")))
        async with _running(settings("intake")):
            await eventually(shared_out)
        assert len(set.union(*(await sent(arrays=1)).values())) == 1


def _running(settings: Settings) -> Any:
    app = build_app(settings)
    return app.router.lifespan_context(app)


def _complaint(tenant: str, id: str) -> dict[str, Any]:
    applicant = {"name": "홍길동", "address": "서울시 중구 1", "mobile": "010-0000-0001"}
    data = {"channel": "web", "kind": "inquiry", "title": "가로등", "applicant": applicant}
    named = {"id": id, "source": "web", "tenant": tenant, "subject": f"{tenant}-{id}"}
    return {"specversion": "1.0", "type": "complaint.received", "time": NOW, **named, "data": data}
