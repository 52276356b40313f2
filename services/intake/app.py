"""The wiring of intake: HTTP, the NATS door and INBOX in front; the append loop and the sweeper behind.

The one rule it protects: a publisher is who its key or its NATS subject says, never who its event says.
"""

import asyncio
import hashlib
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any, Literal

import asyncpg
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage
from faststream.nats.prometheus import NatsPrometheusMiddleware
from nats.aio.client import Client
from nats.js.api import ConsumerConfig
from nats.js.errors import NotFoundError
from pydantic import AwareDatetime, BaseModel, Field

from contracts.envelope import Accepted, Refused
from contracts.streams import STREAMS
from services.chassis import broker, postgres
from services.chassis.clock import open_clock
from services.chassis.health import Gauge, Health
from services.chassis.http import Problem, create_app
from services.chassis.logs import OperatorError, get_logger
from services.chassis.settings import Settings, SettingsError
from services.chassis.tasks import end
from services.chassis.vault import Vault
from services.chassis.watch import watch
from services.intake import admission
from services.intake.append import Appender
from services.intake.doors import HOLD_SECONDS, Doors, Inbox, json_of
from services.intake.explain import Explainer
from services.intake.judge import AHEAD_MINUTES, Publisher, Refusal
from services.intake.reserve import refused_answer
from services.intake.sweep import sweep
from services.rules import tenants as tenants_file
from services.rules.calendar import OutOfCalendar
from services.rules.explaining.text import as_json, in_words
from services.rules.instants import MINUTE, of_datetime

VERSION = "1"
DURABLE = "intake"
"""The consumer of INBOX that all instances of intake share."""
_KEY_SECONDS = 10.0
"""How long a key is taken to be what the database said."""
_DOOR_WORKERS = 64
_INBOX_WORKERS = 250
"""Letters dealt with at a time; they share the batches of the append loop."""
_INBOX_PENDING = 5_000
"""Letters under way at most: those judged, and those refused that wait to be buried."""
_ACK_WAIT_SECONDS = 4 * HOLD_SECONDS
"""A letter that a dead process held comes again after this."""


class Fate(BaseModel):
    """What became of an event. What the law refuses later is told on RECEIPTS."""

    status: Literal["accepted", "waiting", "pending", "refused"] = Field(
        description="pending: on its way into the log; ask again in a moment."
    )
    source: str
    id: str
    type: str
    case: str
    receipt: str | None = Field(default=None, description="The receipt number of the case.")
    backdated: bool = Field(description="It happened more than five minutes before it came.")
    code: str | None = Field(default=None, description="Why it was refused.")


class Explained(BaseModel):
    """Why a deadline is when it is."""

    case: str
    promise: str
    explanations: list[dict[str, Any]] = Field(
        description="One for each run of the promise in the case, in order of start: the clause, versions, steps that "
        "follow one another without a gap and count exactly the period, extensions, suspensions, readings of the law, "
        "moves with their causes, due, state. Of a measure one for each event measured. Where the case has none, one "
        "of state unstarted, whose obstacles say why."
    )


class Publishers:
    """Who stands behind an API key. Keys are 256 random bits, so their plain SHA-256 tells nothing."""

    def __init__(self) -> None:
        self.pool: asyncpg.Pool | None = None
        self._known: dict[bytes, tuple[Publisher, float]] = {}

    async def __call__(
        self, key: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
    ) -> Publisher:
        """The publisher of a request. Raises Problem 401."""
        assert self.pool is not None
        digest = hashlib.sha256(key.credentials.encode() if key else b"").digest()
        publisher, until = self._known.get(digest, (None, 0.0))
        if publisher is None or until < time.monotonic():
            row = await self.pool.fetchrow("select tenant, source from intake.publishers where key_sha256 = $1", digest)
            if row is None:
                self._known.pop(digest, None)
                raise Problem(
                    HTTPStatus.UNAUTHORIZED,
                    "unknown_key",
                    "Send the API key of your system as `Authorization: Bearer <key>`.",
                )
            publisher = Publisher(row["tenant"], row["source"])
            self._known[digest] = publisher, time.monotonic() + _KEY_SECONDS
        return publisher


def build_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application; everything starts and stops with its lifespan."""
    health = Health("intake")
    publishers = Publishers()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tenants = tenants_file.parse(settings.tenants_file.read_bytes())
        admission.prepare(tenants)
        vault = Vault(_master_key(settings))
        nc = await broker.connect(settings)
        pool = await postgres.connect_pool(settings)
        clock = await open_clock(settings, pool)
        tasks: list[asyncio.Task[None]] = []
        try:
            await broker.check(nc, settings.nats_monitor_url, STREAMS, settings.replicas)
            appender = Appender(settings, pool, nc, vault, clock, tenants, health)
            await appender.check_log()
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
            publishers.pool = pool
            app.state.pool = pool
            app.state.explainer = Explainer(pool)
            app.state.doors = doors = Doors(tenants, clock, appender)
            inbox = Inbox(doors, clock, pool, nc, vault)
            tasks.append(asyncio.create_task(inbox.bury(), name="bury"))
            stream = _stream_broker(settings, nc, health, doors, inbox)
            await stream.start()
            health.check("inbox", InboxWatch(nc).look, every_seconds=2)
            try:
                yield
            finally:
                await stream.stop()
        finally:
            await end(tasks)
            await clock.close()
            pool.terminate()
            await nc.close()

    app = create_app("Gihan intake", VERSION, lifespan, health)
    _add_routes(app, publishers)
    return app


async def _count_letters(pool: asyncpg.Pool, letters: Gauge) -> None:
    letters.set(await pool.fetchval("select count(*) from vault.letters"))


def _master_key(settings: Settings) -> bytes:
    if settings.vault_key_file is None:
        raise SettingsError("GIHAN_VAULT_KEY_FILE is not set: it names the file of 32 bytes that opens the vault.")
    try:
        return settings.vault_key_file.read_bytes()
    except OSError as error:
        raise SettingsError(f"The file named by GIHAN_VAULT_KEY_FILE cannot be read ({error.strerror}).") from None


def _add_routes(app: FastAPI, publishers: Publishers) -> None:
    problems: dict[int | str, dict[str, Any]] = {
        status: {"description": description}
        for status, description in {
            400: "It is not JSON, or not a text that can be kept.",
            401: "The key is missing or unknown.",
            403: "The case is another source's, or the event names another publisher.",
            409: "The id was used before, with other content.",
            413: "It is larger than 64 KiB.",
            422: "A field is missing or wrong; `pointer` says which.",
            429: "Too many events of this tenant are still being worked on; see Retry-After.",
            503: "No answer from the log in time. Send the same again, with the same id.",
        }.items()
    }

    @app.post(
        "/v1/events",
        tags=["events"],
        summary="Publish one event, or an array of up to 500",
        response_model=Accepted | list[Accepted | Refused],
        response_model_exclude_none=True,
        responses=problems,
    )
    async def publish(request: Request, publisher: Annotated[Publisher, Depends(publishers)]) -> Response:
        """Answers after the log has acknowledged. An array is answered with an array, event by event."""
        try:
            answer = await app.state.doors.receive(await request.body(), publisher, "http")
        except Refusal as refusal:
            raise problem(refusal) from None
        return Response(json_of(answer), media_type="application/json")

    @app.get(
        "/v1/events/{source}/{id}",
        tags=["events"],
        summary="What became of an event",
        response_model=Fate,
        response_model_exclude_none=True,
        responses={401: problems[401], 404: {"description": "You have published no such event."}},
    )
    async def fate(source: str, id: str, publisher: Annotated[Publisher, Depends(publishers)]) -> Fate:
        """Of your own events alone."""
        row = await app.state.pool.fetchrow(
            "select * from read.event_fate where tenant = $1 and source = $2 and id = $3",
            publisher.tenant,
            source.lower(),
            id.lower(),
        )
        if row is None or row["source"] != publisher.source:
            raise Problem(HTTPStatus.NOT_FOUND, "unknown_event", "You have published no event of this name.")
        backdated = row["recorded"] - row["occurred"] > AHEAD_MINUTES * MINUTE
        return Fate(**{**dict(row), "code": row["refusal"], "backdated": backdated})

    @app.get(
        "/v1/cases/{case}/deadlines/{promise}/explain",
        tags=["cases"],
        summary="Why a deadline is when it is",
        response_model=Explained,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            401: problems[401],
            404: {"description": "You have no such case, or nothing is promised in it by that name."},
            409: {"description": "The rules cannot date this case; an operator has to look at it."},
        },
    )
    async def explain(
        case: str,
        promise: str,
        request: Request,
        publisher: Annotated[Publisher, Depends(publishers)],
        lang: Annotated[Literal["ko", "en"], Query(description="Of the text.")] = "ko",
        at: Annotated[
            AwareDatetime | None,
            Query(description="As it was known then: by the facts recorded and the rules enacted by that time alone."),
        ] = None,
        hindsight: Annotated[
            bool, Query(description="With `at`: as it was then by all that is known now, what came late too.")
        ] = False,
    ) -> Response:
        """Of your own cases alone, as folded by now. With `Accept: text/plain` in plain sentences."""
        case = case.lower()
        owner = await app.state.pool.fetchval(
            'select source from read.subject_refs where tenant = $1 and "case" = $2', publisher.tenant, case
        )
        found = None
        if owner == publisher.source:
            try:
                moment = None if at is None else of_datetime(at)
                found = await app.state.explainer.explain(publisher.tenant, case, promise, moment, hindsight)
            except OutOfCalendar:
                raise Problem(
                    HTTPStatus.CONFLICT, "out_of_calendar", "A period of this case ends where no calendar reaches."
                ) from None
        if not found:
            raise Problem(HTTPStatus.NOT_FOUND, "unknown_deadline", "You have no case with a deadline of this name.")
        if "text/plain" in request.headers.get("accept", ""):
            return PlainTextResponse("\n".join(in_words(one, lang) for one in found))
        return JSONResponse({"case": case, "promise": promise, "explanations": [as_json(one) for one in found]})


def problem(refusal: Refusal) -> Problem:
    """A refusal as a problem document."""
    return Problem(refusal.status, refusal.code, refusal.detail, refusal.pointer, refusal.retry_after)


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


def _stream_broker(settings: Settings, nc: Client, health: Health, doors: Doors, inbox: Inbox) -> NatsBroker:
    """FastStream's part: the door (request and reply) and INBOX (acknowledged by hand, never declared).

    INBOX is pushed, not pulled: a batch pull waits for its time-out before it hands out what came, and a fetch that is
    cancelled at that moment loses its message until the server sends it again.
    """
    prefix = f"_INBOX_{settings.service}"
    stream = _Doorman(
        nc,
        graceful_timeout=8,
        logger=None,
        middlewares=(NatsPrometheusMiddleware(registry=health.registry, app_name="intake"),),
    )

    @stream.subscriber("door.*.*", queue="intake", max_workers=_DOOR_WORKERS, decoder=_raw, ack_policy=AckPolicy.MANUAL)
    async def door(message: NatsMessage) -> bytes:
        letter = message.raw_message
        assert not isinstance(letter, list)
        _, tenant, source = letter.subject.split(".")
        try:
            answer: Any = await doors.receive(letter.data, Publisher(tenant, source), "door")
        except Refusal as refusal:
            answer = refused_answer(refusal, source)
        return json_of(answer)

    @stream.subscriber(
        "inbox.>",
        stream=JStream("INBOX", declare=False),
        queue=DURABLE,  # with a queue the consumer is durable under its name
        config=ConsumerConfig(ack_wait=_ACK_WAIT_SECONDS, max_deliver=-1, max_ack_pending=_INBOX_PENDING),
        max_workers=_INBOX_WORKERS,
        inbox_prefix=f"{prefix}.".encode(),
        ack_policy=AckPolicy.MANUAL,
        decoder=_raw,
    )
    async def letters(message: NatsMessage) -> None:
        raw = message.raw_message
        assert not isinstance(raw, list)
        await inbox.handle(raw)

    return stream


async def _raw(message: NatsMessage) -> bytes:
    return message.body if isinstance(message.body, bytes) else b""


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
