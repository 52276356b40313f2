"""A simulated process: tasks that can be killed, frozen and started again, and whose every word to the outside passes
one gate.

The one rule: what a killed process still does in its cleanup reaches nobody, as after SIGKILL.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from random import Random

CURRENT: ContextVar["Process"] = ContextVar("process")
"""The process whose task is running."""


class Process:
    """One life of a service: from its start to its death."""

    def __init__(self, name: str, random: Random, main: Callable[[], Coroutine[None, None, None]]) -> None:
        self.name = name
        self.dead = False
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._random = random
        context = copy_context()
        context.run(CURRENT.set, self)
        self._task = asyncio.get_running_loop().create_task(main(), name=name, context=context)

    async def gate(self) -> None:
        """A word to the outside or an answer from there: takes its time, waits while frozen, ends with the process."""
        slow = self._random.random() < 0.01
        await asyncio.sleep(self._random.uniform(0.05, 2.0) if slow else self._random.uniform(0.0001, 0.004))
        if not self._thawed.is_set():
            await self._thawed.wait()
        if self.dead:
            raise asyncio.CancelledError

    def freeze(self) -> None:
        """Stops it, as SIGSTOP does."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Lets it go on."""
        self._thawed.set()

    async def kill(self) -> None:
        """Ends it, as SIGKILL does."""
        self.dead = True
        self.thaw()
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.01)

    def failure(self) -> BaseException | None:
        """What ended it other than being killed."""
        if not self._task.done() or self.dead or self._task.cancelled():
            return None
        return self._task.exception()
