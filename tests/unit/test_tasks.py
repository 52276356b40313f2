"""Tasks that belong together end together, also one that does not hear the first cancellation."""

import asyncio

import pytest

from services.chassis import tasks
from services.chassis.tasks import until_one_ends


async def deaf(heard: list[str]) -> None:
    """Swallows the first cancellation, as libraries do where it arrives with an answer."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        heard.append("once")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        heard.append("twice")
        raise


async def failing() -> None:
    raise ConnectionError("gone")


async def test_all_are_ended_when_one_fails_and_its_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    heard: list[str] = []
    together = [
        asyncio.create_task(deaf(heard)),
        asyncio.create_task(asyncio.sleep(60)),
        asyncio.create_task(failing()),
    ]
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionError, match="gone"):
            await until_one_ends(together)
    assert heard == ["once", "twice"]
    assert all(task.done() for task in together)


async def test_all_are_ended_when_whoever_waits_for_them_is_cancelled() -> None:
    running = asyncio.create_task(asyncio.sleep(60))
    waiting = asyncio.create_task(until_one_ends([running]))
    await asyncio.sleep(0)
    waiting.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert running.cancelled()
