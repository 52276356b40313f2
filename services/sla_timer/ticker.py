"""The ticker: time enters the log as events.

The one rule: a tick is written only when an instant lies in the past, the one before it is folded, and the clock can
be believed. A wrong tick cannot be taken back.
"""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime

import asyncpg
from nats.aio.client import Client

from contracts.streams import clock_subject
from services.chassis import broker, logs
from services.chassis.clock import Clock, SteppedClock
from services.chassis.failpoints import failpoint
from services.chassis.health import Part
from services.chassis.tasks import end
from services.rules.instants import SECOND, Instant, of_datetime
from services.sla_timer.folder import Folder
from services.sla_timer.messages import tick_message

SKEW_SECONDS = 2
"""How far our clock may be from PostgreSQL's and NATS's before no tick is written."""


LOOK_AGAIN = SECOND // 10
"""After so long a tick that was written and is not folded yet is looked at again."""


class ClocksDiffer(logs.OperatorError):
    """Our time is not that of PostgreSQL or NATS: no tick, and an alarm, until it is set right."""


class Ticker:
    """Writes the ticks of all partitions that this process folds."""

    def __init__(
        self, nc: Client, pool: asyncpg.Pool, clock: Clock, settle_seconds: float, folders: Sequence[Folder], part: Part
    ) -> None:
        self._nc = nc
        self._pool = pool
        self._clock = clock
        self._settle = int(settle_seconds * SECOND)
        self._folders = folders
        self._part = part
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Says that a partition was folded on: its next instant may be another."""
        self._changed.set()

    async def run(self) -> None:
        """Ticks until cancelled."""
        while True:
            self._changed.clear()
            try:
                await failpoint("ticker.before_pass")
                now = await self._clock.now()
                waiting = [folder for folder in self._folders if self._wants_tick(folder, now)]
                if waiting:
                    await self._compare_clocks(now)
                    await asyncio.gather(*(self._tick(folder, now - self._settle) for folder in waiting))
                self._part.beat()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                said = str(error) if isinstance(error, logs.OperatorError) else logs.error_code(error)
                self._part.down(f"no tick can be written: {said}")
                logs.get_logger().error("tick_failed", error=logs.error_code(error))
                await asyncio.sleep(0.5)
                continue
            await self._wait(now)

    def _wants_tick(self, folder: Folder, now: Instant) -> bool:
        return folder.position is not None and folder.next_at is not None and folder.next_at < now - self._settle

    async def _tick(self, folder: Folder, to: Instant) -> None:
        """Appends one tick, if the last one in the log is folded. A refusal means that another wrote it: fine."""
        position = folder.position
        if position is None or await _last_tick(self._nc, folder.partition) > position.tick_sequence:
            return
        if to <= position.clock:
            return  # we were held up, and another has ticked since
        body = tick_message(folder.partition, position.ticks + 1, to)
        headers = {"Nats-Expected-Last-Subject-Sequence": str(position.tick_sequence)}
        reply = await self._nc.request(clock_subject(folder.partition), body, timeout=5, headers=headers)
        await failpoint("ticker.after_tick")
        refused = json.loads(reply.data).get("error")
        if refused and refused.get("err_code") != 10071:
            raise TickRefused(f"the log refused a tick (error {refused.get('err_code')})")

    async def _compare_clocks(self, now: Instant) -> None:
        if isinstance(self._clock, SteppedClock):
            return
        theirs: datetime = await self._pool.fetchval("select clock_timestamp()")
        reply = await self._nc.request("$JS.API.STREAM.INFO.CASES", b"", timeout=2)
        log_time = datetime.fromisoformat(json.loads(reply.data)["ts"])
        for name, other in (("PostgreSQL", of_datetime(theirs)), ("NATS", of_datetime(log_time))):
            if abs(other - now) > SKEW_SECONDS * SECOND:
                raise ClocksDiffer(
                    f"this machine's clock and that of {name} are more than {SKEW_SECONDS} s apart; set them right"
                )

    async def _was_folded(self) -> None:
        await self._changed.wait()

    async def _wait(self, now: Instant) -> None:
        """Until the clock reaches the next instant, was moved, or something was folded. An instant that has passed
        already waits for the fold of its tick, which wakes us: without a pause that would be a busy loop.
        """
        ours = [folder for folder in self._folders if folder.position is not None]
        instants = [folder.next_at for folder in ours if folder.next_at is not None]
        until = min(instants) + self._settle + 1 if instants else None
        if until is not None and until <= now:
            until = now + LOOK_AGAIN
        moved = asyncio.ensure_future(self._clock.wait(until))
        folded = asyncio.ensure_future(self._was_folded())
        try:
            await asyncio.wait({moved, folded}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end([moved, folded])


class TickRefused(logs.OperatorError):
    """The log did not take a tick."""


async def _last_tick(nc: Client, partition: int) -> int:
    """The sequence of the last tick in the log of a partition, 0 where there is none."""
    found = await broker.last_message(nc, "CASES", clock_subject(partition))
    return found[0] if found else 0
