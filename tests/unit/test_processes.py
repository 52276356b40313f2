"""Keeping a child alive: one that is slow to start is waited for, one that falls silent is replaced."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from deploy import processes
from deploy.processes import Command, Keeper


class Child:
    """A child that sleeps, and answers as told."""

    def __init__(self, folder: Path, start_seconds: float) -> None:
        self.answers = True
        command = Command("child", [sys.executable, "-c", "import time; time.sleep(60)"], folder / "log", {})
        self.keeper = Keeper(command, self._look, start_seconds=start_seconds)

    async def _look(self) -> None:
        if not self.answers:
            raise ConnectionError

    async def pid_after(self, other: int | None) -> int:
        """The number of a child that is not `other`."""
        async with asyncio.timeout(30):
            while (pid := self.keeper.pid) in (None, other):  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(0.01)
        assert pid is not None
        return pid


async def restarted(child: Child) -> int:
    """Kills the child; returns the number of the next one, which does not answer."""
    first = await child.pid_after(None)
    child.answers = False
    os.kill(first, signal.SIGKILL)
    return await child.pid_after(first)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_LOOK_EVERY_SECONDS", 0.01)


async def test_a_child_that_has_not_answered_yet_is_given_time_to_start(tmp_path: Path) -> None:
    child = Child(tmp_path, start_seconds=60)
    await child.keeper.start()
    second = await restarted(child)
    await asyncio.sleep(0.5)  # fifty looks, of which four missed ones would end it
    assert child.keeper.pid == second
    assert child.keeper.restarts == 1
    await child.keeper.stop()


async def test_a_child_that_takes_too_long_to_start_is_replaced(tmp_path: Path) -> None:
    child = Child(tmp_path, start_seconds=0.2)
    await child.keeper.start()
    second = await restarted(child)
    assert await child.pid_after(second) != second
    await child.keeper.stop()


async def test_a_child_that_falls_silent_is_replaced(tmp_path: Path) -> None:
    child = Child(tmp_path, start_seconds=60)
    await child.keeper.start()
    first = await child.pid_after(None)
    child.answers = False
    assert await child.pid_after(first) != first
    await child.keeper.stop()
