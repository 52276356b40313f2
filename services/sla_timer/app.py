"""The wiring of sla_timer: connections, folders, ticker and relay, behind the HTTP shell of the chassis."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI
from nats.aio.client import Client

from contracts import files
from contracts.streams import PARTITIONS, STREAMS, sla_mark
from services.chassis import broker, logs, postgres
from services.chassis.clock import Clock, open_clock
from services.chassis.health import Gauge, Health, Part
from services.chassis.http import create_app
from services.chassis.outbox import Outbox
from services.chassis.settings import Settings
from services.chassis.tasks import end
from services.chassis.watch import watch, watch_time
from services.rules import warm
from services.rules.fold import REVISION
from services.rules.instants import SECOND
from services.rules.rulebook import Library
from services.sla_timer.folder import Folder
from services.sla_timer.meter import Meter
from services.sla_timer.store import SCHEMA
from services.sla_timer.ticker import Ticker

LANES = range(PARTITIONS)
TURNS = 3
"""So many partitions are folded at a time: one decides while the others' decisions are read and written. With two, both
waited for PostgreSQL at once for a fifth of the time."""


def build_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application; everything starts and stops with its lifespan."""
    health = Health("sla_timer")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        nc = await broker.connect(settings)
        pool = await postgres.connect_pool(settings, schema=SCHEMA)
        clock = await open_clock(settings, pool)
        try:
            await broker.check(nc, settings.nats_monitor_url, STREAMS, settings.replicas)
            health.check("nats", lambda: nc.flush(timeout=2))
            health.check("postgres", lambda: pool.fetchval("select 1"))
            watch(health, pool, "notifier")
            watch_time(health, pool, clock, settings.settle_seconds)
            tasks = _start(settings, nc, pool, clock, health)
            try:
                yield
            finally:
                await end(tasks)
        finally:
            await clock.close()
            pool.terminate()
            await nc.close()

    return create_app("Gihan sla_timer", f"rules {REVISION}", lifespan, health, status_token=settings.status_token)


def _start(
    settings: Settings, nc: Client, pool: asyncpg.Pool, clock: Clock, health: Health
) -> list[asyncio.Task[None]]:
    library = Library(files.read())
    outbox = Outbox(
        stream="SLA", table="sla_timer.decisions", relay_table="sla_timer.relay", mark=sla_mark, lanes=LANES
    )

    def committed() -> None:
        outbox.wake()
        ticker.wake()

    age = Gauge(
        "gihan_outbox_age_seconds", "For how long decisions have been waiting to go out", registry=health.registry
    )
    age.set_function(lambda: outbox.age_seconds)
    stuck = Gauge(
        "gihan_cases_stuck", "Cases that the rules failed on and that wait for a mend", registry=health.registry
    )
    health.check("cases", lambda: _count_stuck(pool, stuck), every_seconds=5)
    meter = Meter(health.registry)
    turns = asyncio.Semaphore(TURNS)
    folders = [
        Folder(number, settings, nc, pool, library, health.part(f"fold {number}"), meter, committed, turns)
        for number in LANES
    ]
    health.status.append(lambda: _status(pool, clock, outbox, folders))
    ticker = Ticker(nc, pool, clock, settings.settle_seconds, folders, health.part("ticker"))
    relay = health.part("relay")
    running: list[tuple[str, Coroutine[Any, Any, None]]] = [
        *((f"fold {folder.partition}", folder.run()) for folder in folders),
        ("ticker", ticker.run()),
        ("relay", _relay(outbox, nc, pool, relay)),
    ]
    return [health.part(name).runs(asyncio.create_task(run, name=name)) for name, run in running]


async def _count_stuck(pool: asyncpg.Pool, stuck: Gauge) -> None:
    stuck.set(await pool.fetchval("select count(*) from sla_timer.cases where stuck"))


async def _relay(outbox: Outbox, nc: Client, pool: asyncpg.Pool, part: Part) -> None:
    """Keeps the relay running: after any trouble it says so and begins again from what the log holds."""
    while True:
        try:
            await outbox.run(nc, pool, part)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            said = str(error) if isinstance(error, logs.OperatorError) else logs.error_code(error)
            part.down(f"decisions do not go out: {said}")
            logs.get_logger().error("relay_failed", error=logs.error_code(error))
            await asyncio.sleep(0.5)


async def _status(pool: asyncpg.Pool, clock: Clock, outbox: Outbox, folders: Sequence[Folder]) -> Mapping[str, Any]:
    """Positions, lag and what is open: what an operator looks at first."""
    now = await clock.now()
    row = await pool.fetchrow(
        "select jsonb_object_agg(partition, sequence) as positions, sum(decisions) as decisions, "
        "sum(decisions - sent) as waiting, min(next_at) as next_at from read.fold_position"
    )
    counts = await pool.fetchrow(
        "select count(*) as cases, count(*) filter (where stuck) as stuck, "
        "coalesce(sum(open_deadlines), 0) as open_deadlines from sla_timer.cases"
    )
    assert row is not None
    assert counts is not None
    next_at = row["next_at"]
    return {
        "positions": json.loads(row["positions"]),
        "lag": sum(folder.pending for folder in folders),
        "decisions": int(row["decisions"]),
        "outbox_waiting": int(row["waiting"]),
        "outbox_age_seconds": round(outbox.age_seconds, 1),
        "cases": counts["cases"],
        "cases_stuck": counts["stuck"],
        "open_deadlines": int(counts["open_deadlines"]),
        "oldest_due_undecided_seconds": round(max(0, now - next_at) / SECOND, 1) if next_at is not None else 0.0,
        "rules": REVISION,
        "core": "interpreted" if warm.__file__.endswith(".py") else "compiled",
    }
