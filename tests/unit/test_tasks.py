"""Tasks that end together: the first error ends them all, also one whose library swallows a cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from services.chassis.tasks import Together


class Failed(Exception):
    """What ends the block."""


async def fails() -> None:
    await asyncio.sleep(0.01)
    raise Failed


async def swallows(heard: list[str]) -> None:
    """Goes on after its first cancellation, as asyncio.wait_for does where the answer comes at the same moment."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        heard.append("once")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        heard.append("twice")
        raise


async def together(heard: list[str], *others: Coroutine[Any, Any, None]) -> None:
    """A block with a task that swallows, and others."""
    async with asyncio.timeout(5), Together() as block:
        block.create_task(swallows(heard))
        for other in others:
            block.create_task(other)


async def test_the_first_error_ends_them_all_and_is_raised() -> None:
    heard: list[str] = []
    with pytest.raises(Failed):
        await together(heard, fails())
    assert heard == ["once", "twice"]


async def test_a_cancelled_block_ends_its_tasks() -> None:
    heard: list[str] = []
    task = asyncio.create_task(together(heard))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert heard == ["once", "twice"]


async def test_an_error_in_the_block_itself_ends_its_tasks() -> None:
    heard: list[str] = []

    async def block() -> None:
        async with Together() as tasks:
            tasks.create_task(swallows(heard))
            await fails()

    with pytest.raises(Failed):
        await block()
    assert heard == ["once", "twice"]
