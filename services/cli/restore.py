"""`gihan restore`: a backup put back in the place of what there is.

The one rule: nothing is put back that was not compared with its manifest first, and nothing is changed before every
reason to refuse has been looked at.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import asyncpg
import typer
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from deploy import roles
from deploy.embedded import Embedded
from deploy.joining import data_folder
from deploy.provision import create_streams
from services.chassis import broker, postgres
from services.chassis.logs import error_code, get_logger
from services.chassis.settings import Settings
from services.chassis.vault import open_vault
from services.chassis.vault.access import set_aside, take_up
from services.cli.copying import (
    LONG_SECONDS,
    BackupError,
    Done,
    ask,
    done_of,
    patient,
    read_manifest,
    refuse_running,
    show,
    table_names,
)
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Data
from services.cli.reappend import Reappended, reappend
from services.cli.running import read_tenants
from services.intake import erasure

_PROVISIONED = "intake.publishers"
"""Filled by provisioning, so rows in it do not make a database one that is in use."""
_OURS = ("chassis", "vault", "intake", "sla_timer", "notifier", "read")
_RECEIPTS_AHEAD = 1_000_000
"""So many receipt numbers are skipped by a restored database: what was given after the backup is not given again."""
_PIECE_BYTES = 16 * 1024
_ATTEMPTS = 5

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


def restore_command(
    folder: Annotated[Path | None, typer.Argument(help="A backup; none with --reappend alone.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of what there is.")] = False,
    only: Annotated[str | None, typer.Option(help="log or database; default both.")] = None,
    again: Annotated[
        bool, typer.Option("--reappend", help="Then append what the database knows and the log lacks.")
    ] = False,
    without_names: Annotated[
        bool, typer.Option("--without-names", help="Although its master keys are gone: all but the personal data.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Puts a backup back, while no service runs."""
    with plain_errors():
        if folder is None and not again:
            raise ValueError("name the folder of a backup, or say --reappend")
        parts = parts_of(only)
        there = (data or data_folder()).absolute()
        done, written = asyncio.run(_restore(there, folder, parts, replace, without_names, again))
    if as_json:
        typer.echo(json.dumps({"restored": done and done._asdict(), "reappended": written and written._asdict()}))
        return
    if done is not None:
        show(done)
    if written is not None:
        typer.echo(
            f"appended again behind {written.last_before}: {written.facts} facts, {written.others} ticks and rules; "
            f"{written.unknown} places of which nothing is known. The projections begin anew."
        )


async def _restore(
    data: Path,
    folder: Path | None,
    parts: tuple[Part, ...],
    replace: bool,
    without_names: bool,
    again: bool,
) -> tuple[Done | None, Reappended | None]:
    if "NATS_URL" in os.environ:
        return await _put_back(Settings.from_env("restore"), folder, parts, replace, without_names, again)
    async with Embedded(data, read_tenants()) as servers:
        settings = Settings.from_env("restore", servers.environment("restore"))
        return await _put_back(settings, folder, parts, replace, without_names, again)


async def _put_back(
    settings: Settings,
    folder: Path | None,
    parts: tuple[Part, ...],
    replace: bool,
    without_names: bool,
    again: bool,
) -> tuple[Done | None, Reappended | None]:
    done = None if folder is None else await restore(settings, folder, parts, replace, without_names)
    return done, await reappend(settings) if again else None


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
    done = done_of(manifest)
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
            found += [f"table {table}" for table in await table_names(connection) if await _in_use(connection, table)]
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
    connection = await patient(settings)
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
                    timeout=LONG_SECONDS,
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
    where = (await ask(nc, f"$JS.API.STREAM.RESTORE.{name}", begun))["deliver_subject"]
    with (folder / said["file"]).open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            await ask(nc, where, piece)
    await ask(nc, where, b"", LONG_SECONDS)
    info = await nc.jetstream().stream_info(name)
    made = (info.config.metadata or {}).get(broker.UUID_KEY), info.state.last_seq, info.state.messages
    aged = info.config.max_age != 0  # what has an age may have lost entries to it since
    if made != (said["uuid"], said["last_seq"], made[2] if aged else said["messages"]):
        raise BackupError(f"nats-server made another stream {name} of the backup. Do not start on it; restore again.")
