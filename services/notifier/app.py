"""The notifier as a process: FastAPI with the health routes, and the one active holder of the lease behind
it.

The one rule: whoever does not hold the lease does nothing. Losing it, or being fenced, ends everything that
runs under it; then the process waits for its next turn.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, cast

import asyncpg
from fastapi import FastAPI
from nats.aio.client import Client

from contracts.streams import PARTITIONS, STREAMS, notices_mark
from services.chassis import broker, postgres
from services.chassis.clock import Clock, open_clock
from services.chassis.failpoints import failpoint
from services.chassis.health import Gauge, Health, Part
from services.chassis.http import create_app
from services.chassis.lease import Lease
from services.chassis.logs import OperatorError, error_code, get_logger
from services.chassis.outbox import Outbox
from services.chassis.settings import Settings
from services.chassis.tasks import Together, end
from services.chassis.vault import open_vault
from services.chassis.watch import watch, watch_time
from services.notifier import bounces, pacing, recovery, reports
from services.notifier.composing import Composer
from services.notifier.delivery import Courier, Meters
from services.notifier.desk.app import Desk
from services.notifier.fold import Fold
from services.notifier.gateways import Gateway
from services.notifier.gateways.opening import opened, serves
from services.notifier.ledger import LEASE, Fenced, Ledger, wait
from services.notifier.reports import Marks
from services.rules import tenants

VERSION = "0.1.0"
PAUSE_SECONDS = 0.5
TELLINGS = 200


class LeaseLost(OperatorError):
    """The session that held the lease is gone."""


class Notifier:
    """Everything that runs while this process holds the lease."""

    def __init__(
        self, settings: Settings, pool: asyncpg.Pool, nc: Client, clock: Clock, gateways: list[Gateway], health: Health
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._nc = nc
        self._clock = clock
        self._gateways = gateways
        self._health = health
        self._tenants = tenants.parse(settings.tenants_file.read_bytes())
        self._paces = pacing.of(self._tenants)
        self._vault = open_vault(settings)
        self._composer = Composer(settings, self._vault, self._tenants)
        self._parts = {
            name: health.part(name)
            for name in ("cases", "sla", "release", "outbox", "receipts", "reports", *_parts(gateways, settings))
        }
        self._meters = Meters(health.registry)
        health.status.append(self._status)
        self.ledger: Ledger | None = None
        """While this process holds the lease; whoever acts for a person does so through it, or not at all."""
        self._outbox: Outbox | None = None
        age = Gauge(
            "gihan_outbox_age_seconds", "For how long results have been waiting to go out", registry=health.registry
        )
        age.set_function(lambda: 0.0 if self._outbox is None else self._outbox.age_seconds)

    def open(self, desk: Desk) -> AbstractAsyncContextManager[None]:
        """Opens the desk on what this process has; steps are taken there while it holds the lease."""
        return desk.open(self._pool, self._nc, self._clock, self._tenants, self._vault, lambda: self.ledger)

    async def run(self) -> None:
        """Takes the lease, works until it is lost, and begins again; until cancelled."""
        ended_by = ""
        while True:
            try:
                async with Lease(self._settings, LEASE, self._stand_by) as lease:
                    await self._work(lease)
            except Exception as trouble:
                code = error_code(trouble)
                if code != ended_by:
                    get_logger().error("turn_ended", exc_info=trouble)
                ended_by = code
            finally:
                self.ledger = None
            await asyncio.sleep(PAUSE_SECONDS)

    def _stand_by(self) -> None:
        for part in self._parts.values():
            part.stand_by()

    async def _work(self, lease: Lease) -> None:
        self._outbox = outbox = Outbox(
            stream="NOTICES",
            table="notifier.outbox",
            relay_table="notifier.relay",
            mark=notices_mark,
            lanes=range(PARTITIONS),
        )
        ledger = Ledger(self._pool, outbox, self._tenants, self._paces, lease.generation)
        async with self._pool.acquire() as connection, connection.transaction():
            await self._vault.carry_out(connection)
            # A wrong master key shows here, before it could look as if nobody could be written to.
            await self._vault.tenant_keys(cast(asyncpg.Connection, connection), self._tenants)
        await failpoint("notifier.after_lease")
        await recovery.begin(ledger, self._nc, await self._clock.now())
        fold = Fold(ledger, self._nc, self._clock, self._tenants)
        self.ledger = ledger
        async with Together() as group:
            group.create_task(_watch(lease))
            self._keep(group, "cases", fold.follow_cases)
            self._keep(group, "sla", fold.follow_sla)
            self._keep(group, "release", lambda part: self._release(ledger, fold, part))
            self._keep(group, "outbox", lambda part: outbox.run(self._nc, self._pool, part))
            self._keep(group, "receipts", lambda part: self._tell(ledger, part))
            self._keep(group, "reports", lambda part: reports.take_in(ledger, self._clock, part))
            for gateway in self._gateways:
                self._deliver(group, ledger, gateway)
            if self._settings.bounces is not None and self._settings.reports_key_file is not None:
                folder, marks = self._settings.bounces, Marks.of_file(self._settings.reports_key_file)
                self._keep(group, "bounces", lambda part: bounces.watch(folder, self._pool, marks, part))

    def _deliver(self, group: Together, ledger: Ledger, gateway: Gateway) -> None:
        part = self._parts[f"delivery-{gateway.name}"]
        tenants = serves(gateway, self._tenants)
        courier = Courier(ledger, gateway, tenants, self._composer, self._clock, part, self._meters)
        self._keep(group, part.name, lambda _: courier.run())
        if gateway.reports:
            self._keep(group, f"reports-{gateway.name}", lambda part: reports.ask(ledger, gateway, self._clock, part))

    def _keep(self, group: Together, name: str, run: Callable[[Part], Awaitable[None]]) -> None:
        """Runs a part, and again after what passes; being fenced ends the whole turn."""
        part = self._parts[name]

        async def again() -> None:
            while True:
                try:
                    await run(part)
                except Fenced:
                    raise
                except Exception as error:
                    # One part's trouble, whatever it is, must not end the others; red and in the log it is loud.
                    said = str(error) if isinstance(error, OperatorError) else "look at the log of this service"
                    part.down(f"failed ({error_code(error)}) and is tried again: {said}")
                    get_logger().error("part_failed", part=name, exc_info=error)
                await asyncio.sleep(PAUSE_SECONDS)

        part.runs(group.create_task(again(), name=name))

    async def _release(self, ledger: Ledger, fold: Fold, part: Part) -> None:
        """Lets go what was held. Waits at first for the logs' ends: what an outage held up may retract it."""
        while not fold.caught_up.is_set():
            part.beat()
            await wait(fold.caught_up, 1.0)
        if ledger.recovery is not None:
            now = await self._clock.now()
            await ledger.release(now)
            await recovery.end(ledger, now)
        while True:
            changed = ledger.changed
            now = await self._clock.now()
            due = await ledger.next_release()
            if due is not None and due <= now:
                due = await ledger.release(now)
                await failpoint("release.after_commit")
            part.beat()
            await self._until(due, changed)

    async def _until(self, due: int | None, changed: asyncio.Event) -> None:
        """Returns when `due` has come, when the ledger has changed, or after a second."""
        waits = [asyncio.ensure_future(self._clock.wait(due)), asyncio.ensure_future(wait(changed, 1.0))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(waits)

    async def _tell(self, ledger: Ledger, part: Part) -> None:
        """Brings receipts and feeds to RECEIPTS. A repetition carries the same key, in the body and as
        Nats-Msg-Id.
        """
        stream = self._nc.jetstream()
        while True:
            changed = ledger.changed
            rows = await ledger.tellings(TELLINGS)
            async with asyncio.TaskGroup() as group:
                for row in rows:
                    headers = {"Nats-Msg-Id": row["key"]}
                    group.create_task(
                        stream.publish(row["subject"], row["body"], stream="RECEIPTS", headers=headers, timeout=5)
                    )
            if rows:
                await failpoint("receipts.after_publish")
            await ledger.told([row["number"] for row in rows])
            part.beat()
            if not rows:
                await wait(changed, 1.0)

    async def _status(self) -> dict[str, Any]:
        """Positions, and whether anything is still to be delivered or published at the present instant."""
        row = await self._pool.fetchrow("SELECT * FROM read.notifier, read.tasks_overdue")
        assert row is not None
        release = min((at for at in (row["next_release"], row["next_overdue"]) if at is not None), default=None)
        overdue = release is not None and release <= await self._clock.now()
        return {
            "cases_sequence": row["cases_sequence"],
            "sla_sequence": row["sla_sequence"],
            "open_notices": row["open_notices"],
            "unpublished": row["unpublished"],
            "next_release": release,
            "overdue_tasks": row["overdue"],
            "idle": not (row["open_notices"] or row["unpublished"] or overdue),
        }


async def _count(pool: asyncpg.Pool, unknown: Gauge, undeliverable: Gauge, nobody: Gauge) -> None:
    (row,) = await pool.fetch(
        "SELECT count(*) FILTER (WHERE state = 'unknown') AS unknown, "
        "count(*) FILTER (WHERE reason IN ('erased', 'no_recipient', 'no_words')) AS undeliverable, "
        "count(*) FILTER (WHERE reason = 'nobody') AS nobody FROM notifier.notices "
        "WHERE state IN ('unknown', 'failed')"
    )
    unknown.set(row["unknown"])
    undeliverable.set(row["undeliverable"])
    nobody.set(row["nobody"])


async def _count_overdue(pool: asyncpg.Pool, overdue: Gauge) -> None:
    overdue.set(await pool.fetchval("SELECT overdue FROM read.tasks_overdue"))


async def _watch(lease: Lease) -> None:
    await lease.lost.wait()
    raise LeaseLost("The session with PostgreSQL that held the lease is gone.")


def _parts(gateways: Sequence[Gateway], settings: Settings) -> Iterator[str]:
    """The names of the parts that bring messages, and of those that hear what became of them."""
    for gateway in gateways:
        yield f"delivery-{gateway.name}"
        if gateway.reports:
            yield f"reports-{gateway.name}"
    if settings.bounces is not None and settings.reports_key_file is not None:
        yield "bounces"


def make_app(settings: Settings) -> FastAPI:
    """The application; its lifespan opens connections, compares the streams, and starts to work."""
    health = Health("notifier")
    desk = Desk(settings) if settings.desk_url else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        gateways = opened(settings, tenants.parse(settings.tenants_file.read_bytes()))
        pool = await postgres.connect_pool(settings)
        if settings.reports_key_file is not None:
            app.include_router(reports.routes(Marks.of_file(settings.reports_key_file), lambda: pool))
        nc = await broker.connect(settings)
        await broker.check(nc, settings.nats_monitor_url, STREAMS, settings.replicas)
        clock = await open_clock(settings, pool)
        health.check("nats", lambda: nc.flush(timeout=2))
        health.check("postgres", lambda: pool.fetchval("SELECT 1"))
        watch(health, pool, "sla_timer", "intake")
        watch_time(health, pool, clock, settings.settle_seconds)
        unknown = Gauge(
            "gihan_notices_unknown", "Messages of which it is not known whether they went out", registry=health.registry
        )
        undeliverable = Gauge(
            "gihan_notices_undeliverable",
            "Messages that reached nobody, since their recipient was erased or is unknown",
            registry=health.registry,
        )
        nobody = Gauge(
            "gihan_notices_nobody",
            "Warnings and breaches for which nobody of the municipality is known who could be told",
            registry=health.registry,
        )
        overdue = Gauge(
            "gihan_tasks_overdue", "Tasks and findings that were not done by their date", registry=health.registry
        )
        health.check("notices", lambda: _count(pool, unknown, undeliverable, nobody), every_seconds=5)
        health.check("tasks", lambda: _count_overdue(pool, overdue), every_seconds=5)
        notifier = Notifier(settings, pool, nc, clock, gateways, health)
        working = asyncio.create_task(notifier.run(), name="notifier")
        try:
            async with notifier.open(desk) if desk is not None else nullcontext():
                yield
        finally:
            await end([working])
            for gateway in gateways:
                await gateway.close()
            await clock.close()
            await nc.close()
            async with asyncio.timeout(5):
                await pool.close()

    app = create_app("Gihan notifier", VERSION, lifespan, health, status_token=settings.status_token)
    if desk is not None:
        desk.mount(app)
    return app
