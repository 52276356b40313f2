"""Copying: what taking a backup and putting it back share.

The one rule: a backup is compared with its manifest, file by file, before anybody relies on it, and no service writes
while one is put back.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import typer
from nats.aio.client import Client
from nats.errors import Error as NatsError

from deploy.permissions import SERVICES
from services.chassis import postgres
from services.chassis.logs import OperatorError, error_code
from services.chassis.settings import Settings

FORMAT = 2
MANIFEST = "manifest.json"
SCHEMAS = ("vault", "intake")
"""What the log cannot give back. Every other table is a projection, worked out again from the streams."""
PATIENCE_SECONDS = 30.0
"""How long nats-server may take for an answer, or for the next piece."""
LONG_SECONDS = 3600.0
"""How long a whole table or stream may take."""
LEAVING_SECONDS = 5.0
"""How long PostgreSQL may show a service that has stopped: a session ends some moments after its client has gone."""


class BackupError(OperatorError):
    """A backup cannot be taken or put back; says why and what to do."""


class Done(NamedTuple):
    """What was copied or put back: entries by stream, rows by table."""

    streams: dict[str, int]
    tables: dict[str, int]


# The files


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a backup, once every file has been compared with it. Raises BackupError."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        form = manifest["format"]
        files = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise BackupError(f"{folder} holds no backup: its {MANIFEST} is missing or cannot be read.") from None
    if form != FORMAT:
        raise BackupError(
            f"{folder} is a backup of format {form}; this release reads {FORMAT}. Use the one that made it."
        )
    for name, said in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != said["bytes"] or sha256_of(path) != said["sha256"]:
            raise BackupError(f"{path} is missing or damaged. Nothing was changed; use another copy of this backup.")
    return manifest


def sha256_of(path: Path) -> str:
    """The sum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def done_of(manifest: Mapping[str, Any]) -> Done:
    """What a manifest counts."""
    return Done(
        {name: said["messages"] for name, said in manifest["streams"].items()},
        {name: said["rows"] for name, said in manifest["tables"].items()},
    )


def show(done: Done) -> None:
    """Prints what was copied or put back, a line each."""
    for name, count in {**done.streams, **done.tables}.items():
        typer.echo(f"{name:<24} {count:>9}")


# The servers


async def refuse_running(settings: Settings) -> None:
    """Raises BackupError while a service is connected to the database: it would write meanwhile.

    One that has stopped just now is waited for.
    """
    names = [f"gihan/{service}" for service in SERVICES]
    connection = await postgres.connect(settings)
    try:
        until = time.monotonic() + LEAVING_SECONDS
        while running := await _connected(connection, names):
            if time.monotonic() > until:
                raise BackupError(
                    f"Still running: {', '.join(running)}. Stop every service first; nothing was changed."
                )
            await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def _connected(connection: asyncpg.Connection, names: list[str]) -> list[str]:
    rows = await connection.fetch(
        "select distinct application_name from pg_stat_activity"
        " where datname = current_database() and application_name = any($1::text[]) order by 1",
        names,
    )
    return [row["application_name"] for row in rows]


async def patient(settings: Settings) -> asyncpg.Connection:
    """A session whose statements may take long: whole tables go through it."""
    connection = await postgres.connect(settings)
    await connection.execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
    return connection


async def table_names(connection: asyncpg.Connection) -> list[str]:
    """The tables of a backup, with their schemas."""
    rows = await connection.fetch(
        "select schemaname || '.' || tablename as name from pg_tables where schemaname = any($1::text[]) order by 1",
        list(SCHEMAS),
    )
    return [row["name"] for row in rows]


async def ask(nc: Client, subject: str, body: bytes, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
    """The answer of nats-server to a request. Raises BackupError with its words where it refuses."""
    try:
        reply = await nc.request(subject, body, timeout=seconds)
    except (NatsError, TimeoutError) as error:
        raise BackupError(
            f"nats-server did not answer ({error_code(error)}). Look at it and repeat the command."
        ) from None
    answer: dict[str, Any] = json.loads(reply.data) if reply.data else {}
    if failure := answer.get("error"):
        raise BackupError(f"nats-server refused: {failure.get('description')} (error {failure.get('err_code')}).")
    return answer
