"""Ending tasks: what was started is over when the service is.

The one rule: a cancellation is repeated until it is heard. Libraries that wait with asyncio.wait_for swallow one that
arrives together with the answer (Python 3.11), and the task would run on.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any, Self

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


class Together:
    """Tasks that live and end together, as in asyncio.TaskGroup, but none of them can outlive its cancellation.

    The block lasts until the first task ends, then ends the others and raises what that one raised.
    """

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def create_task(self, work: Coroutine[Any, Any, None], name: str | None = None) -> asyncio.Task[None]:
        """Starts a task of the block."""
        self._tasks.append(asyncio.create_task(work, name=name))
        return self._tasks[-1]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended: set[asyncio.Task[None]] = set()
        try:
            if error is None:
                ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(self._tasks)
        for task in ended:
            task.result()
