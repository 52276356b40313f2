"""A loop whose time is simulated: nothing sleeps, and the same seed takes the same steps.

The one rule: it has no sockets and no threads. Where nothing can run, time jumps to the next timer; where there is no
timer either, the world hangs, and that is an error.
"""

import asyncio
from selectors import BaseSelector, SelectorKey
from typing import Any


class Hangs(AssertionError):
    """Every task waits for something that cannot come."""


class _NoSelector(BaseSelector):
    """Knows no files; a wait for them moves the time of its loop."""

    def __init__(self) -> None:
        self.loop: SimulatedLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        assert self.loop is not None
        if timeout is None:
            raise Hangs("nothing can run and no timer is set")
        self.loop.passed += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        raise AssertionError("a simulated world has no files: something opened a socket")

    def unregister(self, fileobj: Any) -> SelectorKey:
        raise AssertionError("a simulated world has no files")

    def get_map(self) -> dict[Any, SelectorKey]:
        return {}


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash is its number: sets of tasks, of which asyncio has many, keep one order in every run."""

    def __init__(self, *args: Any, loop: "SimulatedLoop", **more: Any) -> None:
        loop.tasks += 1
        self.number = loop.tasks
        super().__init__(*args, loop=loop, **more)

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`passed` is the simulated time in seconds since the loop was made."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.tasks = 0
        selector = _NoSelector()
        super().__init__(selector)
        selector.loop = self
        self.set_task_factory(lambda _, coro, **more: NumberedTask(coro, loop=self, **more))

    def time(self) -> float:
        return self.passed

    def _make_self_pipe(self) -> None:
        """Needed to be woken from other threads; there are none."""

    def _close_self_pipe(self) -> None:
        """See above."""

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no files to hear from."""
