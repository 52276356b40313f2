"""`gihan backup` and `gihan restore`: the streams, the vault and intake's book as one folder of files, and back.

The one rule: a backup is whole or is not there, and nothing is put back that was not compared with its manifest first.
Effects are copied before their causes (NOTICES, SLA, RECEIPTS, DEAD, CASES) and PostgreSQL last, so a running system
may be copied: whatever a stream names, the vault of the same backup holds. The master key is never in it.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from deploy import roles
from deploy.permissions import BACKED_UP, SERVICES
from deploy.provision import create_streams
from services.chassis import broker, postgres
from services.chassis.clock import RealClock
from services.chassis.logs import OperatorError, error_code, get_logger
from services.chassis.settings import Settings
from services.chassis.vault import Vault, open_vault
from services.chassis.vault.access import set_aside, take_up
from services.intake import erasure
from services.rules import instants
from services.rules.fold import REVISION

FORMAT = 2
MANIFEST = "manifest.json"
SCHEMAS = ("vault", "intake")
"""What the log cannot give back. Every other table is a projection, worked out again from the streams."""
_PROVISIONED = "intake.publishers"
"""Filled by provisioning, so rows in it do not make a database one that is in use."""
_OURS = ("chassis", "vault", "intake", "sla_timer", "notifier", "read")
_RECEIPTS_AHEAD = 1_000_000
"""So many receipt numbers are skipped by a restored database: what was given after the backup is not given again."""
_CHUNK_BYTES = 128 * 1024
_PIECE_BYTES = 16 * 1024
_ATTEMPTS = 5
_PATIENCE_SECONDS = 30.0
_LONG_SECONDS = 3600.0

Part = Literal["log", "database"]


def parts_of(only: str | None) -> tuple[Part, ...]:
    """What is to be put back. Raises ValueError for what there is not."""
    if only is None:
        return ("log", "database")
    if only == "log":
        return ("log",)
    if only == "database":
        return ("database",)
    raise ValueError("--only is log or database")


class BackupError(OperatorError):
    """A backup cannot be taken or put back; says why and what to do."""


class Done(NamedTuple):
    """What was copied or put back: entries by stream, rows by table."""

    streams: dict[str, int]
    tables: dict[str, int]


# Taking


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
    return _done(manifest)


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
        path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(partial.iterdir())
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
    connection = await _patient(settings)
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
                "tables": {table: await _take_table(connection, table, folder) for table in await _tables(connection)},
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
    answer = await _ask(nc, f"$JS.API.STREAM.SNAPSHOT.{name}", json.dumps(wanted).encode())
    path = folder / f"{name}.snapshot"
    try:
        with path.open("wb") as file:
            while True:
                chunk = await chunks.next_msg(timeout=_PATIENCE_SECONDS)
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
        name, schema_name=schema, columns=columns, output=path, format="binary", timeout=_LONG_SECONDS
    )
    return {"file": path.name, "columns": columns, "rows": int(copied.rpartition(" ")[2])}


# Looking at a backup


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
        if not path.is_file() or path.stat().st_size != said["bytes"] or _sha256(path) != said["sha256"]:
            raise BackupError(f"{path} is missing or damaged. Nothing was changed; use another copy of this backup.")
    return manifest


# Putting back


async def restore(
    settings: Settings, folder: Path, parts: Sequence[Part], replace: bool, without_names: bool = False
) -> Done:
    """Puts the log, the database, or both back from a backup. The NATS user is `restore`.

    Who was erased since the backup is erased in it before anything can open it. With `without_names` what no master key
    opens any more is left out. Raises BackupError where the backup is damaged, a service still runs, or the target
    holds anything and `replace` is not set; then nothing was changed.
    """
    manifest = await asyncio.to_thread(read_manifest, folder)
    if "database" in parts:
        _refuse_other_release(manifest)
        _refuse_other_keys(manifest, settings, without_names)
    nc = await broker.connect(settings)
    try:
        await refuse_running(settings)
        if not replace:
            await _refuse_full(nc, settings, manifest, parts)
        if "database" in parts:
            await _put_database(settings, folder, manifest)
        if "log" in parts:
            for name, stream in manifest["streams"].items():
                await _put_stream(nc, name, stream, folder)
            await create_streams(nc)  # INBOX, which is not part of a backup, and whatever came with a newer release
    finally:
        await nc.close()
    done = _done(manifest)
    return Done(done.streams if "log" in parts else {}, done.tables if "database" in parts else {})


def _refuse_other_release(manifest: Mapping[str, Any]) -> None:
    made = manifest["versions"]["migrations"]
    known = sorted(path.name for path in postgres.MIGRATIONS.glob("[0-9]*.sql"))
    if made != known:
        raise BackupError(
            f"The backup has the tables of migration {made[-1]}, this release those of {known[-1]}. Restore it "
            "with the release that made it, then upgrade. Nothing was changed."
        )


def _refuse_other_keys(manifest: Mapping[str, Any], settings: Settings, without_names: bool) -> None:
    master = open_vault(settings).master
    for epoch, mark in manifest["vault_keys"].items():
        here = master.mark(epoch)
        if here is None and not without_names:
            raise BackupError(
                f"The master key {epoch}.key is not in {master.folder}: put back what was kept apart. If it was "
                "destroyed with its time, nobody reads a name in this backup any more; repeat with --without-names to "
                "have the rest. Nothing was changed."
            )
        if here is not None and mark is not None and here != mark:
            raise BackupError(
                f"{epoch}.key in {master.folder} is not the master key that the vault in this backup was sealed with. "
                "Put the key that was kept apart in its place. Nothing was changed."
            )


async def refuse_running(settings: Settings) -> None:
    """Raises BackupError while a service is connected to the database: it would write meanwhile."""
    connection = await postgres.connect(settings)
    try:
        names = [f"gihan/{service}" for service in SERVICES]
        rows = await connection.fetch(
            "select distinct application_name from pg_stat_activity"
            " where datname = current_database() and application_name = any($1::text[]) order by 1",
            names,
        )
    finally:
        await connection.close()
    if rows:
        running = ", ".join(row["application_name"] for row in rows)
        raise BackupError(f"Still running: {running}. Stop every service first; nothing was changed.")


async def _refuse_full(nc: Client, settings: Settings, manifest: Mapping[str, Any], parts: Sequence[Part]) -> None:
    found = []
    if "log" in parts:
        for name in manifest["streams"]:
            try:
                state = (await nc.jetstream().stream_info(name)).state
            except NotFoundError:
                continue
            if state.last_seq:
                found.append(f"stream {name} ({state.messages} entries)")
    if "database" in parts:
        connection = await postgres.connect(settings)
        try:
            found += [f"table {table}" for table in await _tables(connection) if await _in_use(connection, table)]
        finally:
            await connection.close()
    if found:
        raise BackupError(
            f"The target is in use: {', '.join(found)}. Nothing was changed. Look at what you would lose; then repeat "
            "with --replace."
        )


async def _in_use(connection: asyncpg.Connection, table: str) -> bool:
    return table != _PROVISIONED and await connection.fetchval(f"select exists (select from {table})")  # noqa: S608


async def _put_database(settings: Settings, folder: Path, manifest: Mapping[str, Any]) -> None:
    """A database made anew: tables by the migrations, rows from the backup, all of them or none."""
    connection = await _patient(settings)
    try:
        await set_aside(connection)
        for schema in _OURS:
            await connection.execute(f"drop schema if exists {schema} cascade")
        await postgres.migrate(settings.database_url, settings.database_password, tls=settings.database_tls)
        await roles.grant(connection)
        async with connection.transaction():
            for table, said in manifest["tables"].items():
                schema, _, name = table.partition(".")
                copied = await connection.copy_to_table(
                    name,
                    schema_name=schema,
                    columns=said["columns"],
                    source=folder / said["file"],
                    format="binary",
                    timeout=_LONG_SECONDS,
                )
                if int(copied.rpartition(" ")[2]) != said["rows"]:
                    raise BackupError(f"Table {table} took other than {said['rows']} rows. The database is empty now.")
            for name, following in manifest["sequences"].items():
                ahead = _RECEIPTS_AHEAD if name == "intake.receipt_numbers" else 0
                await connection.execute("select setval($1::text::regclass, $2, false)", name, following + ahead)
            vault = open_vault(settings)
            await take_up(connection)
            await vault.give_up(connection)
            await erasure.carry_out(connection, vault)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise BackupError(
            f"PostgreSQL did not take the backup ({error_code(error)}). The database is empty now."
        ) from None
    finally:
        await connection.close()


async def _put_stream(nc: Client, name: str, said: Mapping[str, Any], folder: Path) -> None:
    """Replaces a stream by the one in the backup, under its own id. Raises BackupError when nothing came of it.

    nats-server stores what it is given message by message, each synced, and breaks off (leaving a part of the stream)
    when one piece takes it more than five seconds; so pieces are small, what came of them is compared, and on a busy
    disk it is begun again.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        with contextlib.suppress(NotFoundError):
            await nc.jetstream().delete_stream(name)
        try:
            await _send_stream(nc, name, said, folder)
        except BackupError as error:
            if attempt == _ATTEMPTS:
                raise BackupError(
                    f"nats-server broke the restore of {name} off {attempt} times. The last time: {error} Its disk is "
                    "probably too slow or too busy: free it of other work and repeat the command."
                ) from None
            get_logger().warning("restore_repeated", stream=name, attempt=attempt, error=error_code(error))
        else:
            return


async def _send_stream(nc: Client, name: str, said: Mapping[str, Any], folder: Path) -> None:
    """Gives nats-server its own copy back, and compares the stream that it makes of it."""
    begun = json.dumps({"config": said["config"], "state": said["state"]}).encode()
    where = (await _ask(nc, f"$JS.API.STREAM.RESTORE.{name}", begun))["deliver_subject"]
    with (folder / said["file"]).open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            await _ask(nc, where, piece)
    await _ask(nc, where, b"", _LONG_SECONDS)
    info = await nc.jetstream().stream_info(name)
    made = (info.config.metadata or {}).get(broker.UUID_KEY), info.state.last_seq, info.state.messages
    aged = info.config.max_age != 0  # what has an age may have lost entries to it since
    if made != (said["uuid"], said["last_seq"], made[2] if aged else said["messages"]):
        raise BackupError(f"nats-server made another stream {name} of the backup. Do not start on it; restore again.")


# What both need


async def _patient(settings: Settings) -> asyncpg.Connection:
    """A session whose statements may take long: whole tables go through it."""
    connection = await postgres.connect(settings)
    await connection.execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
    return connection


async def _tables(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        "select schemaname || '.' || tablename as name from pg_tables where schemaname = any($1::text[]) order by 1",
        list(SCHEMAS),
    )
    return [row["name"] for row in rows]


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


async def _ask(nc: Client, subject: str, body: bytes, seconds: float = _PATIENCE_SECONDS) -> dict[str, Any]:
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


def _done(manifest: Mapping[str, Any]) -> Done:
    return Done(
        {name: said["messages"] for name, said in manifest["streams"].items()},
        {name: said["rows"] for name, said in manifest["tables"].items()},
    )


async def _key_marks(settings: Settings, connection: asyncpg.Connection) -> dict[str, str | None]:
    """A mark of each master key that the vault is wrapped in: tells it from another, and nothing about either. Whoever
    makes backups need not have the keys: then there are no marks."""
    master = None if settings.vault_keys is None else open_vault(settings).master
    return {epoch: None if master is None else master.mark(epoch) for epoch in sorted(await Vault.usage(connection))}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
