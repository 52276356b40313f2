"""A log that refused a write in the middle of a batch, and a server that cannot reach its log.

Goal: the relay publishes every number once, whatever is left of a batch; a connection leaves a server of no use.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError

from contracts.streams import sla_mark
from deploy.embedded import Embedded, free_ports
from services.chassis import broker
from services.chassis.cursor import LogCursor
from services.chassis.health import Part
from services.chassis.outbox import ChainBroken, Outbox
from services.chassis.settings import Settings
from tests.faults.proxy import Proxy

Eventually = Callable[..., Awaitable[Any]]
LANE = 7
SUBJECT = f"sla.{LANE}.seoul.deadline.met"


@pytest.fixture
async def outbox(nc: Client, pool: asyncpg.Pool) -> Outbox:
    """The relay's outbox, with five decisions that were not sent yet, over a log that is empty."""
    await pool.execute("create table outbox (lane smallint, number bigint, subject text, body bytea)")
    await pool.execute(
        "create table relay (lane smallint primary key, sent bigint, chain bytea, marker_sequence bigint)"
    )
    return Outbox(stream="SLA", table="outbox", relay_table="relay", mark=sla_mark, lanes=[LANE])


async def decide(pool: asyncpg.Pool, outbox: Outbox, *bodies: bytes) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await outbox.append(connection, LANE, [(SUBJECT, body) for body in bodies])


async def published(nc: Client) -> list[bytes]:
    """What SLA holds of the lane, without markers."""
    last = (await nc.jetstream().stream_info("SLA")).state.last_seq
    found: list[bytes] = []
    async with LogCursor(nc, stream="SLA", after=0) as cursor:
        position = 0
        while position < last:
            for entry in await cursor.read(100, 1.0):
                position = entry.sequence
                if entry.subject == SUBJECT:
                    found.append(entry.data)
    return found


@pytest.fixture
async def empty(nc: Client) -> None:
    """An empty SLA."""
    config = (await nc.jetstream().stream_info("SLA")).config
    await nc.jetstream().delete_stream("SLA")
    await nc.jetstream().add_stream(config)


async def test_the_relay_goes_on_after_what_is_left_of_a_batch(
    empty: None, outbox: Outbox, nc: Client, pool: asyncpg.Pool, eventually: Eventually
) -> None:
    await decide(pool, outbox, b"1", b"2")
    relay = asyncio.create_task(outbox.run(nc, pool, Part("relay", 60)))
    await eventually(lambda: broker.last_message(nc, "SLA", sla_mark(LANE)))
    relay.cancel()
    await asyncio.gather(relay, return_exceptions=True)
    await decide(pool, outbox, b"3", b"4", b"5")
    for body in (b"3", b"4"):  # as far as the disk took them; no marker
        await nc.jetstream().publish(SUBJECT, body)

    again = Outbox(stream="SLA", table="outbox", relay_table="relay", mark=sla_mark, lanes=[LANE])
    relay = asyncio.create_task(again.run(nc, pool, Part("relay", 60)))
    await eventually(lambda: pool.fetchval("select sent = 5 from relay"))
    relay.cancel()
    await asyncio.gather(relay, return_exceptions=True)
    assert await published(nc) == [b"1", b"2", b"3", b"4", b"5"]
    found = await broker.last_message(nc, "SLA", sla_mark(LANE))
    assert found is not None
    assert json.loads(found[1])["last"] == 5


async def test_messages_of_another_after_the_marker_stop_the_relay(
    empty: None, outbox: Outbox, nc: Client, pool: asyncpg.Pool
) -> None:
    await decide(pool, outbox, b"1", b"2")
    await nc.jetstream().publish(SUBJECT, b"not ours")
    with pytest.raises(ChainBroken, match="this outbox did not write"):
        async with asyncio.timeout(30):
            await outbox.run(nc, pool, Part("relay", 60))
    assert await published(nc) == [b"not ours"]


@pytest.fixture
async def line(nats: Embedded) -> Any:
    """A line to the server, which can be frozen; the server itself stands for the second of a cluster."""
    far = urlsplit(nats.nats_url("operator")).port
    async with Proxy(partial(asyncio.open_connection, "127.0.0.1", far), port=free_ports(1)[0]) as proxy:
        yield proxy


async def connect(nats: Embedded, line: Proxy) -> Client:
    """A connection over the line that knows the server's own address, too."""
    direct = nats.nats_url("test")
    both = f"{direct.replace(str(urlsplit(direct).port), str(line.port))},{direct}"
    while True:
        connection = await broker.connect(Settings(nats_url=both, database_url="", service="test"))
        if port_of(connection) == line.port:
            return connection
        await connection.close()


def port_of(connection: Client) -> int | None:
    url = connection.connected_url
    return url.port if url is not None else None


async def test_a_connection_leaves_a_server_that_answers_nothing_of_use(
    nats: Embedded, line: Proxy, nc: Client, eventually: Eventually
) -> None:
    """It has nobody behind the subject: pings are answered, requests are not."""
    connection = await connect(nats, line)
    assert port_of(connection) == line.port

    async def ask() -> bool:
        with pytest.raises(NoRespondersError):
            await connection.request("nobody.listens", b"", timeout=1)
        return port_of(connection) == urlsplit(nats.nats_url("test")).port

    assert not await ask()  # once is nothing
    await eventually(ask, 20)
    await connection.close()


async def test_a_frozen_server_is_left_with_all_that_it_did_not_take(
    nats: Embedded, line: Proxy, nc: Client, eventually: Eventually
) -> None:
    """More was written than the network holds, so that the connection could never be closed in order."""
    connection = await connect(nats, line)
    line.set("frozen")
    for _ in range(30):
        await connection.publish("nobody.listens", bytes(900_000))
    await eventually(lambda: port_of(connection) == urlsplit(nats.nats_url("test")).port, 30)
    await connection.flush()
    await connection.close()
