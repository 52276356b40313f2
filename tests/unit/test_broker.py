"""The connection to NATS, against as much of a server as it takes to connect to one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.chassis import broker
from services.chassis.settings import Settings

INFO = b'INFO {"server_id": "s", "version": "2.15.1", "max_payload": 1048576, "headers": true, "proto": 1}\r\n'
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def serving(guests: list[asyncio.StreamWriter]) -> Serve:
    """Greets, and answers pings."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guests.append(writer)
        writer.write(INFO)
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    return serve


async def test_a_connection_comes_back_however_long_the_server_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own patience ends after sixty attempts, for ever."""
    monkeypatch.setattr(broker, "_RECONNECT_SECONDS", 0.001)
    attempts, choose = 0, broker.Connection.next_server

    def counted(self: broker.Connection, *arguments: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return choose(self, *arguments)

    monkeypatch.setattr(broker.Connection, "next_server", counted)
    guests: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(serving(guests), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    nc = await broker.connect(Settings(nats_url=f"nats://127.0.0.1:{port}", database_url="", service="test"))
    try:
        server.close()
        guests[0].close()
        async with asyncio.timeout(30):
            while attempts < 100:
                assert not nc.is_closed, f"given up after {attempts} attempts"
                await asyncio.sleep(0.01)
            async with await asyncio.start_server(serving(guests), "127.0.0.1", port):
                while not nc.is_connected:  # noqa: ASYNC110 - what another task does
                    await asyncio.sleep(0.01)
                await nc.flush()
                await nc.close()
    finally:
        await nc.close()
