"""A loop whose time is simulated: nothing sleeps, and the same seed takes the same steps.

The one rule: it has no sockets and no threads. Where nothing can run, time jumps to the next timer; where there is no
timer either, the world hangs, and that is an error.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import Any


class Hangs(AssertionError):
    """Every task waits for something that cannot come."""


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash is its number: sets of tasks, of which asyncio has many, keep one order in every run."""

    def __init__(self, *args: Any, loop: "SimulatedLoop", **more: Any) -> None:
        loop.tasks += 1
        self.number = loop.tasks
        super().__init__(*args, loop=loop, **more)

    def __hash__(self) -> int:
        return self.number


class Step:
    """What is to be called once, of which asyncio's own handle would take twice as long; `cancel` takes it back."""

    __slots__ = ("_args", "_call", "_context", "_when")

    def __init__(
        self, call: Callable[..., object], args: tuple[Any, ...], context: Context | None, when: float = 0.0
    ) -> None:
        self._call: Callable[..., object] | None = call
        self._args = args
        self._context = copy_context() if context is None else context
        self._when = when

    def when(self) -> float:
        """Its time, in simulated seconds."""
        return self._when

    def cancel(self) -> None:
        """It will not be called."""
        self._call = None
        self._args = ()

    def cancelled(self) -> bool:
        """Whether it was taken back."""
        return self._call is None

    def run(self) -> None:
        """Calls it, unless it was taken back. What it raises ends the history: callbacks are not to fail."""
        if self._call is not None:
            self._context.run(self._call, *self._args)


class SimulatedLoop(asyncio.BaseEventLoop):
    """`passed` is the simulated time in seconds since the loop was made."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.tasks = 0
        self._ready: deque[Step]
        self._timers = 0
        self._scheduled: list[tuple[float, int, Step]]
        """By time, then in the order in which they were set."""
        super().__init__()
        self.set_task_factory(lambda _, coro, **more: NumberedTask(coro, loop=self, **more))

    def time(self) -> float:
        return self.passed

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Step:
        step = Step(callback, args, context)
        self._ready.append(step)
        return step

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Step:
        return self.call_at(self.passed + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Step:
        step = Step(callback, args, context, when)
        self._timers += 1
        heappush(self._scheduled, (when, self._timers, step))
        return step

    def _run_once(self) -> None:
        """One turn: what can run now. Where nothing can, time jumps."""
        ready, timers = self._ready, self._scheduled
        while timers and timers[0][2].cancelled():
            heappop(timers)
        if not ready:
            if not timers:
                raise Hangs("nothing can run and no timer is set")
            self.passed = max(self.passed, timers[0][0])
        while timers and timers[0][0] <= self.passed:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            ready.popleft().run()
