"""Processes that share a piece of work: each has its share, and what comes of it is given as soon as it is there.

The one rule: nobody is left behind. The processes end with whoever started them: at once where that ends in order, and
when they have something to tell where it was killed.
"""

import asyncio
import gc
import json
import pickle
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import uvloop

from services.chassis.tasks import end

Work = Callable[[Any, Any], AsyncIterator[Any]]
"""Is given what everybody has and its own share, and gives what JSON can say; must not raise."""


class Ended(Exception):
    """A process has ended before its share was done."""


async def shared(module: str, given: Any, shares: Sequence[Any]) -> AsyncIterator[Any]:
    """What comes of each share in a process of its own, which runs a module that does `serve`. Raises Ended.

    (multiprocessing would import there all that the command line consists of.)
    """
    answers = asyncio.Queue[Any]()
    processes: list[Process] = []
    tasks: list[asyncio.Task[None]] = []
    try:
        for share in shares:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
            )
            processes.append(process)
            tasks.append(asyncio.create_task(_receive(process, pickle.dumps((given, share)), answers)))
        working = len(processes)
        while working:
            answer = await answers.get()
            if isinstance(answer, Ended):
                raise answer
            if answer is None:
                working -= 1
            else:
                yield answer
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
        await end(tasks)


async def _receive(process: Process, order: bytes, answers: asyncio.Queue[Any]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(order)
    process.stdin.close()
    async for line in process.stdout:
        answers.put_nowait(json.loads(line))
    answers.put_nowait(Ended() if await process.wait() else None)


def serve(work: Work) -> None:
    """Does a share of the work, as whoever started this process has ordered."""
    given, share = pickle.load(sys.stdin.buffer)  # noqa: S301 - it comes from the program itself
    # Frozen values and scans hold no cycles, so that looking for them again and again costs a fifth and finds none.
    gc.freeze()
    gc.disable()
    uvloop.run(_tell(work(given, share)))


async def _tell(answers: AsyncIterator[Any]) -> None:
    async for answer in answers:
        print(json.dumps(answer), flush=True)
        gc.collect()
