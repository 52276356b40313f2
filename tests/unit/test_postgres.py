"""Sessions are opened a few at a time, so that many that are wanted at once all come about."""

import asyncio
from typing import Any

import asyncpg
import pytest

from services.chassis import postgres
from services.chassis.settings import Settings


async def test_of_many_sessions_wanted_at_once_a_few_are_opened_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is so slow that more than four at once would come too late; one that fails makes room, too."""
    opening, most, number = 0, 0, 0

    async def connect(*_: Any, **__: Any) -> int:
        nonlocal opening, most, number
        opening, number = opening + 1, number + 1
        most, mine = max(most, opening), number
        for _turn in range(10):
            await asyncio.sleep(0)
        opening -= 1
        if mine == 3:
            raise ConnectionRefusedError
        return mine

    monkeypatch.setattr(asyncpg, "connect", connect)
    settings = Settings(nats_url="", database_url="", service="sla_timer")
    found = await asyncio.gather(*(postgres.connect(settings) for _ in range(32)), return_exceptions=True)
    assert most == 4
    assert sum(isinstance(one, postgres.DatabaseError) for one in found) == 1
    assert sorted(one for one in found if isinstance(one, int)) == [1, 2, *range(4, 33)]
