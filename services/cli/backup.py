"""`gihan backup`: the streams, the vault and intake's book as one folder of files; `restore` puts it back.

The one rule: a backup is whole or is not there. Effects are copied before their causes (NOTICES, SLA, RECEIPTS, DEAD,
CASES) and PostgreSQL last, so a running system may be copied: whatever a stream names, the vault of the same backup
holds. The master key is never in it.
"""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import asyncpg
import typer
from nats.aio.client import Client
from nats.errors import Error as NatsError

from deploy.embedded import AlreadyRuns, Embedded
from deploy.joining import data_folder, environment_of
from deploy.permissions import BACKED_UP
from services.chassis import broker
from services.chassis.clock import RealClock
from services.chassis.logs import error_code
from services.chassis.settings import Settings
from services.chassis.vault import Vault, open_vault
from services.cli.copying import (
    FORMAT,
    LONG_SECONDS,
    MANIFEST,
    PATIENCE_SECONDS,
    SCHEMAS,
    BackupError,
    Done,
    ask,
    done_of,
    patient,
    sha256_of,
    show,
    table_names,
)
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Data
from services.cli.running import read_tenants
from services.rules import instants
from services.rules.fold import REVISION

_CHUNK_BYTES = 128 * 1024


def backup_command(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Copies the logs, the vault and intake's book to a folder, also while everything runs."""
    with plain_errors():
        there = (data or data_folder()).absolute()
        done = asyncio.run(_backup(there, folder.absolute()))
        kept = os.environ.get("GIHAN_VAULT_KEYS") or there / "secrets" / "vault"
    if as_json:
        typer.echo(json.dumps(done._asdict()))
        return
    show(done)
    typer.echo(f"The vault's master keys are not in it, and without them nobody reads a name: keep {kept} elsewhere.")


async def _backup(data: Path, folder: Path) -> Done:
    if "NATS_URL" in os.environ:
        return await backup(Settings.from_env("backup"), folder)
    keys = {"GIHAN_VAULT_KEYS": str(data / "secrets" / "vault")}
    try:
        async with Embedded(data, read_tenants()) as servers:
            return await backup(Settings.from_env("backup", servers.environment("backup")), folder)
    except AlreadyRuns:
        return await backup(Settings.from_env("backup", environment_of(data, "backup") | keys), folder)


async def backup(settings: Settings, folder: Path) -> Done:
    """Copies the streams and the tables to a new `folder`, which is there only when everything is in it.

    The NATS user is `backup`, which can do nothing else. Raises BackupError, BrokerError and DatabaseError.
    """
    partial = _begin(folder)
    try:
        manifest = await _take(settings, partial)
        await asyncio.to_thread(_complete, partial, folder, manifest)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return done_of(manifest)


def _begin(folder: Path) -> Path:
    """An empty folder beside the one to be made."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} exists and is not empty. Name a new one: a backup is never written over another.")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    return partial


def _complete(partial: Path, folder: Path, manifest: dict[str, Any]) -> None:
    """Adds the sum of each file and the manifest, and gives the folder its name once everything is on the disk."""
    manifest["files"] = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in sorted(partial.iterdir())
    }
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for path in (*partial.iterdir(), partial):
        _sync(path)
    partial.replace(folder)
    _sync(folder.parent)


async def _take(settings: Settings, folder: Path) -> dict[str, Any]:
    nc = await broker.connect(settings)
    try:
        streams = {name: await _take_stream(nc, name, folder) for name in BACKED_UP}
        server = str(nc.connected_server_version)
    finally:
        await nc.close()
    connection = await patient(settings)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {
                "format": FORMAT,
                "made_at": instants.text(await RealClock().now(), ZoneInfo("UTC")),
                "vault_keys": await _key_marks(settings, connection),
                "versions": {
                    "rules": REVISION,
                    "nats-server": server,
                    "postgresql": await connection.fetchval("show server_version"),
                    "migrations": await _migrations(connection),
                },
                "streams": streams,
                "tables": {name: await _take_table(connection, name, folder) for name in await table_names(connection)},
                "sequences": {name: await _next_of(connection, name) for name in await _sequences(connection)},
                "positions": {
                    str(row["partition"]): row["sequence"]
                    for row in await connection.fetch("select partition, sequence from read.fold_position")
                },
            }
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise BackupError(
            f"PostgreSQL could not be copied ({error_code(error)}). Nothing was kept; try again."
        ) from None
    finally:
        await connection.close()


async def _take_stream(nc: Client, name: str, folder: Path) -> dict[str, Any]:
    """Has the server send its own copy of a stream, as it stood at one moment, into a file."""
    inbox = nc.new_inbox()
    chunks = await nc.subscribe(inbox, pending_msgs_limit=-1, pending_bytes_limit=-1)
    wanted = {
        "deliver_subject": inbox,
        # Publishers read RECEIPTS through consumers of their own; every other position lives in PostgreSQL.
        "no_consumers": name != "RECEIPTS",
        "jsck": True,
        "chunk_size": _CHUNK_BYTES,
    }
    answer = await ask(nc, f"$JS.API.STREAM.SNAPSHOT.{name}", json.dumps(wanted).encode())
    path = folder / f"{name}.snapshot"
    try:
        with path.open("wb") as file:
            while True:
                chunk = await chunks.next_msg(timeout=PATIENCE_SECONDS)
                if not chunk.data:
                    break
                file.write(chunk.data)
                if chunk.reply:  # the server sends on when it is told that the last ones came
                    await nc.publish(chunk.reply, b"")
    except (NatsError, TimeoutError) as error:
        raise BackupError(f"The copy of {name} broke off ({error_code(error)}). Nothing was kept; try again.") from None
    finally:
        await chunks.unsubscribe()
    status = (chunk.headers or {}).get("Status", "204")
    if status != "204":
        raise BackupError(f"nats-server broke off the copy of {name} (status {status}). Nothing was kept; try again.")
    return {
        "file": path.name,
        "uuid": (answer["config"].get("metadata") or {}).get(broker.UUID_KEY),
        **{field: answer["state"][field] for field in ("messages", "first_seq", "last_seq")},
        "config": answer["config"],
        "state": answer["state"],
    }


async def _take_table(connection: asyncpg.Connection, table: str, folder: Path) -> dict[str, Any]:
    columns = [
        row["column_name"]
        for row in await connection.fetch(
            "select column_name from information_schema.columns where table_schema || '.' || table_name = $1"
            " order by ordinal_position",
            table,
        )
    ]
    path = folder / f"{table}.copy"
    schema, _, name = table.partition(".")
    copied = await connection.copy_from_table(
        name, schema_name=schema, columns=columns, output=path, format="binary", timeout=LONG_SECONDS
    )
    return {"file": path.name, "columns": columns, "rows": int(copied.rpartition(" ")[2])}


async def _sequences(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        "select schemaname || '.' || sequencename as name from pg_sequences where schemaname = any($1::text[])"
        " order by 1",
        list(SCHEMAS),
    )
    return [row["name"] for row in rows]


async def _next_of(connection: asyncpg.Connection, sequence: str) -> int:
    value: int = await connection.fetchval(f"select last_value + is_called::int from {sequence}")  # noqa: S608
    return value


async def _migrations(connection: asyncpg.Connection) -> list[str]:
    return [row["name"] for row in await connection.fetch("select name from chassis.migrations order by name")]


async def _key_marks(settings: Settings, connection: asyncpg.Connection) -> dict[str, str | None]:
    """A mark of each master key that the vault is wrapped in: tells it from another, and nothing about either. Whoever
    makes backups need not have the keys: then there are no marks."""
    master = None if settings.vault_keys is None else open_vault(settings).master
    return {epoch: None if master is None else master.mark(epoch) for epoch in sorted(await Vault.usage(connection))}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
