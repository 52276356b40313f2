"""Leftovers: processes of an earlier run of which nobody is the parent any more.

The one rule: what still runs on a data folder is ended before anything is started there.
"""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from services.chassis.logs import OperatorError


class LeftoverError(OperatorError):
    """Processes of an earlier run stay; names them."""


async def end_leftovers(argument: str, title: str | None, gentle: signal.Signals) -> None:
    """Ends processes of an earlier run that was killed, known by an argument or by the title they gave themselves.

    They have been told to end when their parent died; this waits for it, and insists after five seconds. Raises
    LeftoverError where one stays.
    """
    loop = asyncio.get_running_loop()
    insist = loop.time() + 5
    told: set[int] = set()
    while left := running(argument, title):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                if loop.time() > insist:
                    os.kill(pid, signal.SIGKILL)
                elif pid not in told:
                    os.kill(pid, gentle)
                    told.add(pid)
        if loop.time() > insist + 10:
            raise LeftoverError(f"Processes {sorted(left)} of an earlier run cannot be ended. End them by hand.")
        await asyncio.sleep(0.05)


def running(argument: str, title: str | None = None) -> list[int]:
    """The processes of this machine that bear an argument, or a title that begins so."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text(encoding="utf-8", errors="replace")
        except OSError:  # ended meanwhile
            continue
        words = "\0" + command
        if f"\0{argument}\0" in words or (title is not None and command.startswith(title)):
            found.append(int(folder.name))
    return found
