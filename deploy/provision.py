"""Provisioning: makes a NATS and a PostgreSQL ready for Gihan, as often as one likes.

The one rule it protects: what exists is compared and never silently changed. A stream that differs from the
table is reported and left as it is.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import uuid4

import asyncpg
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import APIError, NotFoundError

from contracts.streams import STREAMS
from deploy import permissions, roles
from deploy.bootstrap import enact_files
from services.chassis import broker, postgres
from services.chassis.clock import RealClock
from services.chassis.settings import Settings, of_others
from services.intake import keys
from services.rules.instants import Instant
from services.rules.tenants import Tenant

NOT_STORED = 10049
"""nats-server's code where it cannot make the files of a stream."""
ATTEMPTS, AGAIN_SECONDS = 20, 0.25


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What a run had to make; all empty when everything stood already."""

    migrations: tuple[str, ...]
    streams: tuple[str, ...]
    publishers: tuple[str, ...]
    enacted: tuple[str, ...]


async def provision(
    nats_url: str,
    database_url: str,
    tenants: Mapping[str, Tenant],
    *,
    monitor_url: str | None,
    publisher_keys: Mapping[str, str],
    replicas: int = 1,
    now: Instant | None = None,
) -> Provisioned:
    """Applies migrations, creates missing streams, enacts the files, admits publishers. Safe to run again.

    `nats_url` is that of the user `operator`; `publisher_keys` are API keys by "<tenant>/<source>", of which the
    database gets the hash alone. `now` dates what is enacted (default: the present). Raises BrokerError where the
    server is lazy or a stream differs, and DatabaseError.
    """
    settings = Settings(nats_url=nats_url, database_url=database_url, service="operator", **of_others())
    await broker.check_sync(monitor_url)
    migrations = await postgres.migrate(database_url, settings.database_password, tls=settings.database_tls)
    nc = await broker.connect(settings)
    try:
        streams = await create_streams(nc, replicas)
        await broker.check(nc, monitor_url, STREAMS, replicas)
        await create_readers(nc, tenants)
        enacted = await enact_files(nc, tenants.values(), now)
        connection = await postgres.connect(settings)
        try:
            moment = await RealClock().now() if now is None else now
            await roles.grant(connection)
            publishers = await _admit_publishers(connection, tenants, publisher_keys, moment)
        finally:
            await connection.close()
    finally:
        await nc.close()
    return Provisioned(tuple(migrations), tuple(streams), tuple(publishers), tuple(enacted))


async def create_streams(nc: Client, replicas: int = 1) -> list[str]:
    """Creates the streams that do not exist, each with an id of its own."""
    # A cluster that has just come together first chooses a leader for each stream.
    jetstream = nc.jetstream(timeout=30)
    created = []
    for stream in STREAMS:
        try:
            await jetstream.stream_info(stream.name)
        except NotFoundError:
            config = broker.stream_config(stream, replicas)
            await _make(jetstream, replace(config, metadata={broker.UUID_KEY: uuid4().hex}))
            created.append(stream.name)
    return created


async def _make(jetstream: JetStreamContext, config: StreamConfig) -> None:
    """Makes a stream. One of its name that was deleted a moment ago may still be on its way off the disk."""
    for attempt in range(ATTEMPTS):
        try:
            await jetstream.add_stream(config)
            return
        except APIError as error:
            if error.err_code == NOT_STORED and attempt + 1 < ATTEMPTS:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            raise broker.BrokerError(
                f"NATS did not make the stream {config.name} on {config.num_replicas} server(s) (error "
                f"{error.err_code}). It needs as many servers as GIHAN_REPLICAS says, and on each 1.5 GiB of room for "
                "INBOX and RECEIPTS."
            ) from None


async def create_readers(nc: Client, tenants: Mapping[str, Tenant]) -> None:
    """Makes the consumers of RECEIPTS by which publishers read what they are told, as far as there are none.

    One that is not asked for stays where it is: what it was told is there for thirty days.
    """
    names = [(permissions.consumer(*who), list(permissions.heard(*who))) for who in permissions.publishers(tenants)]
    await asyncio.gather(
        *(
            nc.jetstream().add_consumer(
                "RECEIPTS", ConsumerConfig(name=name, durable_name=name, filter_subjects=subjects, ack_wait=30)
            )
            for name, subjects in names
        )
    )


async def _admit_publishers(
    connection: asyncpg.Connection, tenants: Mapping[str, Tenant], made: Mapping[str, str], now: Instant
) -> list[str]:
    """Enters the keys that are not known yet. A key that was entered before stays, alive or revoked."""
    admitted = []
    for publisher in permissions.publishers(tenants):
        name = "/".join(publisher)
        if name in made and await keys.admit(connection, *publisher, made[name], now):
            admitted.append(name)
    return admitted
