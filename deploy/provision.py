"""Provisioning: makes a NATS and a PostgreSQL ready for Gihan, as often as one likes.

The one rule it protects: what exists is compared and never silently changed. A stream that differs from the
table is reported and left as it is, before anything else is touched; what a new release needs of it is added by an
upgrade that somebody asked for.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import uuid4

import asyncpg
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import APIError, NotFoundError

from contracts.streams import STREAMS, Stream
from deploy import permissions, roles, upgrading
from deploy.bootstrap import check_enacted, enact_files, is_enacted
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
    changes: tuple[str, ...]
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
    upgrade: bool = False,
    now: Instant | None = None,
) -> Provisioned:
    """Applies migrations, creates missing streams, enacts the files, admits publishers. Safe to run again.

    `nats_url` is that of the user `operator`; `publisher_keys` are API keys by "<tenant>/<source>", of which the
    database gets the hash alone. An `upgrade` adds to streams of an older release what this one needs. `now` dates what
    is enacted (default: the present). Raises BrokerError (the server is lazy, a stream differs), DatabaseError,
    and NotEnacted where the log names a file that is not here.
    """
    settings = Settings(nats_url=nats_url, database_url=database_url, service="operator", **of_others())
    await broker.check_sync(monitor_url)
    nc = await broker.connect(settings)
    try:
        there = await existing(nc)
        await check_enacted(nc)
        if upgrade:
            changes = await upgrading.planned(nc, there, replicas)
        else:
            changes = []
            await broker.check(nc, monitor_url, there, replicas)
        migrations = await postgres.migrate(database_url, settings.database_password, tls=settings.database_tls)
        await upgrading.carry_out(nc, changes)
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
    return Provisioned(tuple(migrations), tuple(streams), tuple(map(str, changes)), tuple(publishers), tuple(enacted))


async def plan(
    nats_url: str, database_url: str, tenants: Mapping[str, Tenant], *, monitor_url: str | None, replicas: int = 1
) -> Provisioned:
    """What an upgrade would do, as `provision` tells it, but for the keys of publishers; does nothing of it."""
    settings = Settings(nats_url=nats_url, database_url=database_url, service="operator", **of_others())
    await broker.check_sync(monitor_url)
    nc = await broker.connect(settings)
    try:
        there = await existing(nc)
        await check_enacted(nc)
        return Provisioned(
            changes=tuple(map(str, await upgrading.planned(nc, there, replicas))),
            streams=tuple(stream.name for stream in STREAMS if stream not in there),
            migrations=tuple(
                await postgres.migrate(
                    database_url, settings.database_password, tls=settings.database_tls, dry_run=True
                )
            ),
            publishers=(),
            enacted=tuple([tenant.id for tenant in tenants.values() if not await is_enacted(nc, tenant)]),
        )
    finally:
        await nc.close()


async def existing(nc: Client) -> list[Stream]:
    """The streams of the table that the server has, in whatever shape."""
    jetstream = nc.jetstream(timeout=30)
    there = []
    for stream in STREAMS:
        with suppress(NotFoundError):
            await jetstream.stream_info(stream.name)
            there.append(stream)
    return there


async def create_streams(nc: Client, replicas: int = 1) -> list[str]:
    """Creates the streams that do not exist, each with an id of its own."""
    # A cluster that has just come together first chooses a leader for each stream.
    there = await existing(nc)
    missing = [stream for stream in STREAMS if stream not in there]
    for stream in missing:
        config = broker.stream_config(stream, replicas)
        await _make(nc.jetstream(timeout=30), replace(config, metadata={broker.UUID_KEY: uuid4().hex}))
    return [stream.name for stream in missing]


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
