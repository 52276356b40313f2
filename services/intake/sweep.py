"""The sweeper: finishes what dead instances of intake left between reservation and log.

The one rule it protects: an instance is fenced off in the log before anything of it is touched. After its fencing
marker nothing that the dead one still sends can be stored, so what it appended is known and the rest is free.
"""

import asyncio
import json

import asyncpg
from nats.aio.client import Client

from contracts.streams import intake_mark
from services.chassis import broker
from services.chassis.clock import Clock
from services.chassis.failpoints import failpoint
from services.chassis.health import Part
from services.chassis.lease import Lease
from services.chassis.logs import canonical, error_code, get_logger
from services.chassis.settings import Settings
from services.intake.append import Appender, Marker
from services.intake.dead import forget_expired

SWEEP_SECONDS = 1.0
_ALIVE_SECONDS = 1.0
"""How long the lock of an instance is tried for; a living one holds it."""

Open = set[tuple[str, int]]
"""Batches (instance, number) of which it is not known whether they stand in the log."""


async def sweep(
    appender: Appender, settings: Settings, pool: asyncpg.Pool, nc: Client, clock: Clock, part: Part
) -> None:
    """Looks for unfinished batches, facts that wait without need and letters kept too long, until cancelled."""
    seen: Open = set()
    while True:
        try:
            unfinished = await _unfinished(pool, appender.instance)
            # A living instance's batch is open for moments only: what was open a second ago deserves a look.
            for instance in sorted({instance for instance, _ in unfinished & seen}):
                await _finish(appender, settings, nc, instance, unfinished)
            seen = unfinished
            appender.release(await _left_waiting(pool))
            await forget_expired(pool, await clock.now())
            part.beat(pending=len(unfinished))
        except Exception as error:  # whatever it is: a dead instance's batches must not wait for ever
            part.down(f"cannot look after unfinished batches ({error_code(error)}): look at PostgreSQL and NATS")
            get_logger().warning("sweep_failed", exc_info=error)
        await asyncio.sleep(SWEEP_SECONDS)


async def _unfinished(pool: asyncpg.Pool, own: str) -> Open:
    rows = await pool.fetch(
        "select instance, number from intake.batches where marker_sequence is null and instance <> $1", own
    )
    return {(row["instance"], row["number"]) for row in rows}


async def _left_waiting(pool: asyncpg.Pool) -> list[tuple[str, str]]:
    rows = await pool.fetch(
        "select distinct tenant, case_id from intake.reservations r join intake.cases c using (tenant, case_id)"
        " where r.instance is null and r.refusal is null and c.owner is not null limit 100"
    )
    return [(row["tenant"], row["case_id"]) for row in rows]


async def _finish(appender: Appender, settings: Settings, nc: Client, instance: str, unfinished: Open) -> None:
    try:
        async with asyncio.timeout(_ALIVE_SECONDS) as limit, Lease(settings, f"intake/{instance}"):
            limit.reschedule(None)
            marker = await _fence(nc, instance, appender.instance)
            await failpoint("sweep.after_fence")
            for number in sorted(number for name, number in unfinished if name == instance):
                stands = number == marker.batch
                if stands:
                    await appender.resolve(instance, number, marker.sequence)
                else:
                    appender.adopt(instance, number)
                canonical("batch_swept", instance=instance, batch=number, outcome="stands" if stands else "adopted")
                await failpoint("sweep.after_batch")
    except TimeoutError:
        return  # it lives


async def _fence(nc: Client, instance: str, own: str) -> Marker:
    """Closes the log to an instance; returns what its last marker said."""
    marker = await Marker.last(nc, instance)
    if not marker.fenced:
        body = {"batch": marker.batch, "sequence": marker.sequence, "fenced_by": own}
        await broker.publish_batch(nc, [], (intake_mark(instance), json.dumps(body).encode()), marker.stands_at)
    return marker
