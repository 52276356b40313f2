"""What the rivals that run jobs at an instant have in common.

The one rule: each gets its tables analysed, its jobs enqueued before the instant, and the best of its settings that
were tried. A job notes the time and does nothing else.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from services.chassis.settings import Settings

AHEAD_SECONDS = 1.5
"""What the instant is ahead besides the time that it takes to enqueue what is due then."""
PATIENCE_SECONDS = 240.0


class Noted:
    """When the jobs of one run ran."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.at: list[float] = []

    def note(self) -> None:
        """A job runs now."""
        self.at.append(time.time())

    async def last_ms(self, due: datetime) -> float:
        """Milliseconds from the instant to the last job, once all have run."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while len(self.at) < self.expected:
            if time.monotonic() > limit:
                raise TimeoutError(f"{len(self.at)} of {self.expected} jobs have run")
            await asyncio.sleep(0.05)
        assert len(self.at) == self.expected, f"{len(self.at)} jobs ran of {self.expected}"
        assert min(self.at) >= due.timestamp(), "a job ran before its instant"
        return (max(self.at) - due.timestamp()) * 1000


def ahead(due: int, enqueued_per_second: int) -> float:
    """Seconds to an instant at which so many jobs are due, all of them enqueued before it."""
    return AHEAD_SECONDS + due / enqueued_per_second


def soon(seconds: float) -> datetime:
    """An instant to come."""
    return datetime.fromtimestamp(time.time() + seconds, UTC)


def execute(statement: str, *values: object) -> None:
    """One statement in the database of this run, by itself."""
    with psycopg.connect(Settings.from_env().database_url, autocommit=True) as connection:
        connection.execute(statement, values)  # type: ignore[arg-type]


def answer(arguments: Sequence[str], name: str, run: Callable[[int, int, int], list[float]]) -> None:
    """Runs `run(pending, due, runs)` and writes the lags to the file that was named."""
    pending, due, runs, path = arguments
    lags = run(int(pending), int(due), int(runs))
    Path(path).write_text(json.dumps({"name": name, "last_ms": lags}))
