"""The wiring of intake: HTTP, the NATS door and INBOX in front; the append loop and the sweeper behind.

The one rule it protects: a publisher is who its key or its NATS subject says, never who its event says.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import asyncpg
from fastapi import FastAPI
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage
from faststream.nats.prometheus import NatsPrometheusMiddleware
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig
from nats.js.errors import NotFoundError

from contracts import files
from contracts.streams import STREAMS, handed_on_subject
from services.chassis import broker, postgres
from services.chassis.clock import open_clock
from services.chassis.health import Gauge, Health
from services.chassis.http import create_app
from services.chassis.logs import OperatorError, get_logger
from services.chassis.settings import Settings
from services.chassis.tasks import end
from services.chassis.vault import open_vault
from services.chassis.watch import watch
from services.intake import admission, open311
from services.intake.affinity import Affinity
from services.intake.api import cases, check, events, korean, petitioner, reference, repeats, resources, subject_access
from services.intake.api.callers import Gate
from services.intake.api.document import described
from services.intake.api.serving import Parts
from services.intake.append import Appender
from services.intake.doors import HOLD_SECONDS, Doors, Inbox, json_of
from services.intake.erasure import carry_out
from services.intake.judge import Import, Publisher, Refusal
from services.intake.pages.app import Pages
from services.intake.reserve import refused_answer
from services.intake.retention import keep
from services.intake.sweep import sweep
from services.reading.explain import Explainer
from services.rules import tenants as tenants_file
from services.rules.rulebook import Library

VERSION = "1"
DURABLE = "intake"
"""The consumer of INBOX that all instances of intake share."""
_DOOR_WORKERS = 64
_INBOX_WORKERS = 250
"""Letters dealt with at a time; they share the batches of the append loop."""
_INBOX_PENDING = 5_000
"""Letters under way at most: those judged, and those refused that wait to be buried."""
_ACK_WAIT_SECONDS = 4 * HOLD_SECONDS
"""A letter that a dead process held comes again after this."""


def build_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application; everything starts and stops with its lifespan."""
    health = Health("intake")
    pages = Pages(settings.pages_key_file) if settings.pages_key_file else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tenants = tenants_file.parse(settings.tenants_file.read_bytes())
        admission.prepare(tenants)
        vault = open_vault(settings)
        nc = await broker.connect(settings)
        pool = await postgres.connect_pool(settings)
        clock = await open_clock(settings, pool)
        tasks: list[asyncio.Task[None]] = []
        try:
            await broker.check(nc, settings.nats_monitor_url, STREAMS, settings.replicas)
            appender = Appender(settings, pool, nc, vault, clock, tenants, health)
            await appender.check_log()
            async with pool.acquire() as conn:
                await carry_out(conn, vault)
            health.check("nats", lambda: nc.flush(timeout=2))
            health.check("postgres", lambda: pool.fetchval("select 1"))
            watch(health, pool)
            letters = Gauge("gihan_dead_letters", "Refused letters that nobody has settled", registry=health.registry)
            health.check("letters", lambda: _count_letters(pool, letters), every_seconds=5)
            sweeper = health.part("sweeper")
            tasks = [
                health.part("append").runs(asyncio.create_task(appender.run(), name="append")),
                sweeper.runs(asyncio.create_task(sweep(appender, settings, pool, nc, clock, sweeper), name="sweep")),
                asyncio.create_task(appender.watch_fold(), name="watch fold"),
            ]
            keeping = health.part("vault")
            tasks.append(
                keeping.runs(asyncio.create_task(keep(pool, vault, tenants, clock, settings, keeping), name="vault"))
            )
            doors = Doors(tenants, clock, appender)
            app.state.parts = Parts(pool, clock, doors, Explainer(pool), tenants, Library(files.read()), vault)
            app.state.gate = Gate(settings, pool, clock, tenants)
            if pages is not None:
                pages.open(app.state.parts)
            inbox = Inbox(doors, clock, pool, nc, vault)
            tasks.append(asyncio.create_task(inbox.bury(), name="bury"))
            affinity = Affinity(nc, tenants)
            stream = _stream_broker(settings, nc, health, doors, inbox, affinity)
            await stream.start()
            await nc.flush()  # until the server has the subscriptions, whoever asks at the door finds nobody
            health.check("inbox", InboxWatch(nc).look, every_seconds=2)
            try:
                async with affinity.present():
                    yield
            finally:
                await stream.stop()
        finally:
            await end(tasks)
            await clock.close()
            pool.terminate()
            await nc.close()

    app = create_app("Gihan intake", VERSION, lifespan, health, korean.say, settings.status_token)
    for router in (
        events.router,
        check.router,
        resources.router,
        cases.router,
        repeats.router,
        petitioner.router,
        subject_access.router,
        reference.router,
        open311.router,
    ):
        app.include_router(router)
    app.router.routes.insert(0, events.DIRECT)
    app.openapi = partial(described, app)  # type: ignore[method-assign]
    if pages is not None:
        pages.mount(app)
    return app


async def _count_letters(pool: asyncpg.Pool, letters: Gauge) -> None:
    letters.set(await pool.fetchval("select count(*) from vault.letters"))


async def _answered(
    doors: Doors, raw: bytes, publisher: Publisher, route: str, affinity: Affinity | None = None
) -> bytes:
    try:
        if affinity is not None and raw.startswith(b"["):
            elsewhere = await affinity.hand_on(raw, publisher)
            if elsewhere is not None:
                return elsewhere
        answer: Any = await doors.receive(raw, publisher, route)
    except Refusal as refusal:
        answer = refused_answer(refusal, publisher.source)
    return json_of(answer)


class _Doorman(NatsBroker):
    """FastStream on the connection of this process: where that is moved to another server, the doors move with it."""

    def __init__(self, nc: Client, **options: Any) -> None:
        super().__init__(**options)
        self._nc = nc

    async def _connect(self) -> Client:
        self.config.connect(self._nc)
        return self._nc

    async def stop(self, *error: Any) -> None:
        """Ends the subscriptions. The connection is not FastStream's to close: facts are still on their way."""
        self._connection = None
        await super().stop(*error)


def _stream_broker(
    settings: Settings, nc: Client, health: Health, doors: Doors, inbox: Inbox, affinity: Affinity
) -> NatsBroker:
    """FastStream's part: the door (request and reply) and INBOX (acknowledged by hand, never declared).

    INBOX is pushed, not pulled: a batch pull waits for its time-out before it hands out what came, and a fetch that is
    cancelled at that moment loses its message until the server sends it again.
    """
    prefix = f"_INBOX_{settings.service}"
    stream = _Doorman(
        nc,
        graceful_timeout=8,
        logger=None,
        apply_types=False,  # else it has a thread of a pool find what a handler asks for, message by message
        middlewares=(NatsPrometheusMiddleware(registry=health.registry, app_name="intake"),),
    )

    @stream.subscriber(
        "door.*.*", queue="intake", max_workers=_DOOR_WORKERS, decoder=_sent, ack_policy=AckPolicy.MANUAL
    )
    async def door(sent: _Sent) -> bytes:
        return await _answered(doors, sent.raw, Publisher(sent.tenant, sent.source), "door", affinity)

    to_us = handed_on_subject(affinity.name, "*", "*")

    @stream.subscriber(to_us, max_workers=_DOOR_WORKERS, decoder=_sent, ack_policy=AckPolicy.MANUAL)
    async def handed_on(sent: _Sent) -> bytes:
        return await _answered(doors, sent.raw, Publisher(sent.tenant, sent.source), "door")

    @stream.subscriber("import.*.*", queue="intake", max_workers=1, decoder=_sent, ack_policy=AckPolicy.MANUAL)
    async def go_live(sent: _Sent) -> bytes:
        return await _answered(doors, sent.raw, Import(sent.tenant, sent.source), "import")

    @stream.subscriber(
        "inbox.>",
        stream=JStream("INBOX", declare=False),
        queue=DURABLE,  # with a queue the consumer is durable under its name
        config=ConsumerConfig(ack_wait=_ACK_WAIT_SECONDS, max_deliver=-1, max_ack_pending=_INBOX_PENDING),
        max_workers=_INBOX_WORKERS,
        inbox_prefix=f"{prefix}.".encode(),
        ack_policy=AckPolicy.MANUAL,
        decoder=_letter,
    )
    async def letters(letter: Msg) -> None:
        await inbox.handle(letter)

    return stream


class _Sent(NamedTuple):
    """What came, and the tenant and the source whose door it came through."""

    raw: bytes
    tenant: str
    source: str


async def _sent(message: NatsMessage) -> _Sent:
    letter = await _letter(message)
    tenant, source = letter.subject.split(".")[-2:]
    return _Sent(letter.data, tenant, source)


async def _letter(message: NatsMessage) -> Msg:
    letter = message.raw_message
    assert not isinstance(letter, list)
    return letter


class InboxWatch:
    """Whether letters are taken out of INBOX: while some lie there, the consumer that all instances share must move."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._place: tuple[Any, ...] = ()

    async def look(self) -> None:
        """Raises when INBOX stands still. Ends the process when its consumer is gone: nothing would ever come again."""
        try:
            info = await self._nc.jetstream().consumer_info("INBOX", DURABLE)
        except NotFoundError:
            get_logger().critical("inbox_consumer_gone")
            os.kill(os.getpid(), signal.SIGTERM)
            raise
        place = (info.delivered, info.ack_floor, info.num_ack_pending, info.num_pending)
        stands_still = bool(info.num_pending) and place == self._place
        self._place = place
        if stands_still:
            raise OperatorError("letters lie in INBOX and none was handled: look at the log of intake")
