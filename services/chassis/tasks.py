"""Ending tasks: what was started is over when the service is.

The one rule: a cancellation is repeated until it is heard. Libraries that wait with asyncio.wait_for swallow one that
arrives together with the answer (Python 3.11), and the task would run on.
"""

import asyncio
from collections.abc import Iterable

AGAIN_SECONDS = 0.2


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
