"""Watching each other: what a dead or a frozen service cannot say of itself, another one says.

The one rule it protects: silence is red. Each process gives signs of life in the database, each is looked for by
another service, and an instant that has come without anything being decided is seen from outside of the timer.
"""

import time
from collections.abc import Sequence

import asyncpg

from services.chassis.clock import Clock, Instant
from services.chassis.health import Gauge, Health
from services.chassis.logs import OperatorError

SIGN_SECONDS = 0.5
SILENT_SECONDS = 3.5
"""Without a sign of life for so long a service is red: seen from outside within five seconds of its death."""
STILL_SECONDS = 8.0
"""For so long something may be due in a partition in which nothing moves."""


class Silent(OperatorError):
    """A service gives no sign of life."""


class StandsStill(OperatorError):
    """Something is due, and the partition it is due in does not move."""


def watch(health: Health, pool: asyncpg.Pool, *services: str) -> None:
    """Gives signs of life of this service, and makes each of `services` a part that is red while it gives none."""

    async def give() -> None:
        await pool.execute(
            "insert into chassis.signs_of_life values ($1, clock_timestamp()) "
            "on conflict (service) do update set at = clock_timestamp()",
            health.service,
        )

    async def look(service: str) -> None:
        silent = await pool.fetchval(
            "select extract(epoch from clock_timestamp() - at)::float8 from chassis.signs_of_life where service = $1",
            service,
        )
        if silent is None or silent > SILENT_SECONDS:
            since = "since it was set up" if silent is None else f"for {silent:.0f} s"
            raise Silent(f"no {service} has given a sign of life {since}: look at whether it runs, and at its log")

    health.check("sign of life", give, every_seconds=SIGN_SECONDS)
    for service in services:
        health.check(service, lambda service=service: look(service), every_seconds=SIGN_SECONDS)  # type: ignore[misc]


def watch_time(health: Health, pool: asyncpg.Pool, clock: Clock, settle_seconds: float) -> None:
    """Makes the age of the oldest instant that is due and not decided a metric, and a part that is red once the
    partition in which it is due stands still.
    """
    oldest = Gauge(
        "gihan_oldest_due_seconds",
        "Age of the oldest due or warning instant that is not decided; 0 where there is none",
        registry=health.registry,
    )
    stands = _Stands(oldest, settle_seconds)

    async def look() -> None:
        stands.look(await pool.fetch("select * from read.fold_position"), await clock.now(), time.monotonic())

    health.check("deadlines", look)


class _Stands:
    """Where each partition stands in which something is due, and since when it stands there."""

    def __init__(self, oldest: Gauge, settle_seconds: float) -> None:
        self._oldest = oldest
        self._settle = int(settle_seconds * 1e6)
        self._seen: dict[int, tuple[tuple[int, ...], float]] = {}

    def look(self, rows: Sequence[asyncpg.Record], now: Instant, at: float) -> None:
        """Takes in read.fold_position as it is `now`; `at` is monotonic. Raises StandsStill."""
        due = [row for row in rows if row["next_at"] is not None and row["next_at"] < now - self._settle]
        self._oldest.set(max((now - row["next_at"] for row in due), default=0) / 1e6)
        before, self._seen = self._seen, {}
        for row in due:
            place = (row["sequence"], row["clock"], row["decisions"], row["next_at"])
            known, since = before.get(row["partition"], (place, at))
            self._seen[row["partition"]] = place, since if known == place else at
        for partition, (_, since) in self._seen.items():
            if at - since > STILL_SECONDS:
                raise StandsStill(
                    f"partition {partition} has not moved for {at - since:.0f} s while something in it is due: look "
                    "at sla_timer, its ticker and its fold"
                )
