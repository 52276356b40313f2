"""The sweeper goes on after whatever a sweep comes to: what dead instances left must not wait for a restart."""

import asyncio
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from services.chassis.health import Health
from services.chassis.tasks import end
from services.intake import sweep as sweeping


# The first is of a session that was cut off in the middle of a word; the second stands for anything.
@pytest.mark.parametrize("error", [asyncpg.InternalClientError("cannot switch to state"), KeyError("place")])
async def test_a_sweep_that_fails_is_red_and_the_next_one_comes(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Health("intake").part("sweeper")
    troubles: list[str | None] = []

    async def unfinished(*_: Any) -> set[tuple[str, int]]:
        troubles.append(part.trouble)  # as the sweep before left it
        if len(troubles) == 2:
            raise error
        return set()

    async def nothing(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(sweeping, "SWEEP_SECONDS", 0)
    monkeypatch.setattr(sweeping, "_unfinished", unfinished)
    monkeypatch.setattr(sweeping, "_left_waiting", nothing)
    monkeypatch.setattr(sweeping, "forget_expired", nothing)
    appender: Any = SimpleNamespace(instance="i1", release=lambda _: None)
    clock: Any = SimpleNamespace(now=nothing)
    unused: Any = None
    task = asyncio.create_task(sweeping.sweep(appender, unused, unused, unused, clock, part))
    async with asyncio.timeout(30):
        while len(troubles) < 4 and not task.done():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    assert not task.done()
    await end([task])
    assert [bool(trouble) for trouble in troubles[:4]] == [True, False, True, False]
    assert type(error).__name__ in (troubles[2] or "")
