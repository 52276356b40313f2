"""Ending tasks: what was started is over when the service is.

The one rule: a cancellation is repeated until it is heard. Libraries that wait with asyncio.wait_for swallow one that
arrives together with the answer (Python 3.11), and the task would run on.
"""

import asyncio
from collections.abc import Iterable

AGAIN_SECONDS = 0.2


async def until_one_ends(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Returns when one of the tasks is over, and raises what it raised; the others are ended first. Unlike a TaskGroup
    it cancels until it is heard."""
    running = set(tasks)
    try:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(running)
    for task in done:
        task.result()


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels tasks and returns when they are over; what they raised is dropped."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        done, running = await asyncio.wait(running, timeout=AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()
