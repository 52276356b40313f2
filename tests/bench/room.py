"""The room in which rivals run: real servers, a log filled beforehand, a fresh database for each run, and meters.

The one rule: everybody gets the same. One nats-server that syncs every write, one PostgreSQL with fsync and
synchronous_commit, started as `gihan up` starts them, whoever is being measured.
"""

import asyncio
import ctypes
import os
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from contracts.streams import STREAMS, intake_mark
from deploy import permissions, provision
from deploy.bootstrap import enact_files
from deploy.embedded import Embedded, free_ports
from services.chassis import broker, postgres
from services.chassis.settings import ROOT, Settings
from services.rules.instants import Instant
from services.rules.tenants import parse
from tests.bench.machine import Meter

ADMIN = "bench"
"""A NATS user who may do everything; real installations have none."""
PATIENCE_SECONDS = 900
MARK = intake_mark("bench")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_numbers = count(1)


class Room:
    """Both servers, provisioned, with the charters enacted as of an instant."""

    def __init__(self, servers: Embedded, nc: Client, template: str) -> None:
        self.servers = servers
        self.nc = nc
        self.database_url = ""
        """The fresh database of the present run."""
        self._template = template

    @property
    def folder(self) -> Path:
        """Where files of a run may be put."""
        return self.servers.data

    async def fill(self, messages: Iterable[tuple[str, bytes]]) -> int:
        """Appends to CASES in atomic batches; returns how many messages that were."""
        found = await broker.last_message(self.nc, "CASES", MARK)
        last = found[0] if found else 0
        rest, number = iter(messages), 0
        while batch := list(islice(rest, broker.BATCH_LIMIT)):
            last = await broker.publish_batch(self.nc, batch, (MARK, b"{}"), last, timeout_seconds=30)
            number += len(batch)
        return number

    async def fresh_database(self, *, empty: bool = False) -> str:
        """A new database with our tables, or with none, in place of the one of the run before."""
        if self.database_url:
            await until(self._drop)
        name = f"bench_{next(_numbers)}"
        await _execute(
            self.servers.database_url, f"create database {name}" + ("" if empty else f" template {self._template}")
        )
        await _execute(self.servers.database_url, "checkpoint")
        self.database_url = _other(self.servers.database_url, name)
        return self.database_url

    async def _drop(self) -> bool:
        try:
            await _execute(self.servers.database_url, f"drop database {_name(self.database_url)} with (force)")
        except asyncpg.InsufficientPrivilegeError:
            return False  # an autovacuum worker is in it: nobody's to end, and gone soon
        return True

    async def fresh_sla(self) -> None:
        """An empty SLA: with a fresh database, what was decided in the run before must be published again."""
        await self.nc.jetstream().delete_stream("SLA")
        await provision.create_streams(self.nc)

    async def stream(self, name: str) -> None:
        """An empty stream with the settings of our logs, for rivals: <name>.<partition>.<tenant>.<noun>.<verb>"""
        js = self.nc.jetstream()
        if name in {info.config.name for info in await js.streams_info()}:
            await js.delete_stream(name)
        await js.add_stream(
            StreamConfig(
                name=name,
                subjects=[f"{name.lower()}.>"],
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,
                allow_atomic=True,
            )
        )

    async def forget_consumers(self, stream: str) -> None:
        """Deletes every consumer: a durable one would go on where the run before ended."""
        js = self.nc.jetstream()
        for info in await js.consumers_info(stream):
            await js.delete_consumer(stream, info.name)

    def settings(self, user: str = ADMIN) -> Settings:
        """What a process would be told."""
        return Settings(
            nats_url=self.servers.nats_url(user),
            nats_monitor_url=self.servers.monitor_url,
            database_url=self.database_url,
            service=user,
            clock="stepped",
            settle_seconds=0.0,
        )

    def environment(self, service: str, **more: str) -> dict[str, str]:
        """The environment of a process of the present run; the clock is the row that a driver steps."""
        named = self.servers.environment(service) if service in permissions.SERVICES else {}
        named.pop("DATABASE_PASSWORD_FILE", None)  # each run has a database of its own, whose address says who may in
        return {
            **os.environ,
            **named,
            "NATS_URL": self.servers.nats_url(service),
            "DATABASE_URL": self.database_url,
            "GIHAN_PORT": str(free_ports(1)[0]),
            "GIHAN_CLOCK": "stepped",
            **more,
        }

    @asynccontextmanager
    async def process(self, module: str, *arguments: str, service: str = ADMIN, **more: str) -> AsyncIterator[Process]:
        """A program of ours or of a rival, ended with the block. What it prints goes to <folder>/logs."""
        log = self.servers.logs / f"{module}-{next(_numbers)}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", module, *arguments, env=self.environment(service, **more), stdout=output,
                stderr=output, cwd=ROOT,
                # A rival never outlives the bench, however that ends.
                preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    async with asyncio.timeout(15):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()
            elif process.returncode:
                print(f"{module} ended with {process.returncode}:", log.read_text()[-3000:], sep="\n", file=sys.stderr)

    def meter(self, processes: Mapping[str, Sequence[int | None]]) -> Meter:
        """Meters of named processes and of both servers, started now."""
        assert self.servers.nats is not None
        assert self.servers.postgres is not None
        return Meter({**processes, "nats": [self.servers.nats.pid], "postgres": [self.servers.postgres.pid]})


@asynccontextmanager
async def open_room(enacted_at: Instant | None = None) -> AsyncIterator[Room]:
    """Servers in a folder of their own, gone afterwards; with `enacted_at` the files are enacted as of that instant."""
    folder = Path(tempfile.mkdtemp(prefix="gihan-bench-"))
    tenants = parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
    table = permissions.table
    permissions.table = lambda tenants: (
        table(tenants)
        | {  # type: ignore[assignment]
            ADMIN: permissions.Permissions((">",), (">",), answers=True)
        }
    )
    try:
        async with Embedded(folder, tenants) as servers:
            template = "bench_template"
            await _execute(servers.database_url, f"create database {template}")
            await postgres.migrate(_other(servers.database_url, template))
            nc = await broker.connect(Settings(nats_url=servers.nats_url(ADMIN), database_url="", service=ADMIN))
            try:
                await provision.create_streams(nc)
                await broker.check(nc, servers.monitor_url, STREAMS)
                if enacted_at is not None:
                    await enact_files(nc, tenants.values(), enacted_at)
                yield Room(servers, nc, template)
            finally:
                await nc.close()
    finally:
        permissions.table = table
        shutil.rmtree(folder, ignore_errors=True)


async def until(
    look: Callable[[], Awaitable[Any]],
    processes: Sequence[asyncio.subprocess.Process] = (),
    pause_seconds: float = 0.02,
) -> Any:
    """The first true answer of `look`. Raises TimeoutError after fifteen minutes, or at once where a process ended."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while True:
        if found := await look():
            return found
        if time.monotonic() > limit or any(process.returncode is not None for process in processes):
            raise TimeoutError("what was waited for does not come")
        await asyncio.sleep(pause_seconds)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=5, command_timeout=120)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _name(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


def _other(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()
