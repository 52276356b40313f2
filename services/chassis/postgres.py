"""Connections to PostgreSQL, and the migrations.

The one rule it protects: no call waits for ever. Every connection has time limits on both sides, is in UTC
and names its process.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import asyncpg

from services.chassis.logs import OperatorError, error_code
from services.chassis.settings import ROOT, Settings
from services.chassis.tls import Tls

MIGRATIONS = ROOT / "deploy" / "migrations"

_COMMAND_TIMEOUT_SECONDS = 15
_CONNECT_TIMEOUT_SECONDS = 5
_MIGRATION_LOCK = 0x676968616E  # "gihan", as a number that no other program is likely to lock

LOST = (
    # InternalClientError: the connection broke in the middle of an exchange, and the driver lost its place in it.
    *(OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError),
    *(asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError),
)
"""What leaves open whether a transaction was committed."""
_CONNECTION_ERRORS = (*LOST, asyncpg.PostgresError, ValueError)
NO_ROOM = (asyncpg.InsufficientResourcesError, asyncpg.PostgresSystemError)
"""What rolled a transaction back because the server cannot write: its disk is full, or fails."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


class DatabaseError(OperatorError):
    """PostgreSQL cannot be reached, or a migration does not fit what the database already holds."""


async def connect_pool(settings: Settings, max_size: int = 8, schema: str | None = None) -> asyncpg.Pool:
    """A pool of 1 to `max_size` connections. Raises DatabaseError when PostgreSQL cannot be reached.

    `schema` is where statements find tables that they name without one.
    """
    try:
        return await asyncpg.create_pool(
            settings.database_url,
            password=settings.database_password,
            ssl=settings.database_tls.client() if settings.database_tls else None,
            min_size=1,
            max_size=max_size,
            timeout=_CONNECT_TIMEOUT_SECONDS,
            command_timeout=_COMMAND_TIMEOUT_SECONDS,
            max_inactive_connection_lifetime=300,
            connection_class=_Session,
            reset=_reset,
            server_settings=_server_settings(settings.service) | ({"search_path": schema} if schema else {}),
        )
    except _CONNECTION_ERRORS as error:
        raise _unreachable(error) from None


def _noted(method: _Method) -> _Method:
    """A method of a session that leaves word where its caller is cut off."""

    @wraps(method)
    async def noting(session: "_Session", *arguments: Any, **named: Any) -> Any:
        try:
            return await method(session, *arguments, **named)
        except (asyncio.CancelledError, TimeoutError):
            session.cut_off = True
            raise

    return cast(_Method, noting)


class _Session(asyncpg.Connection):
    """A connection that knows whether whoever used it was cut off in the middle of a statement.

    asyncpg prepares a statement and then executes it, and says only with the second that this was all. Where it is cut
    off between the two, the server waits for the rest with its locks held, and no time limit of its own ends that.
    """

    cut_off = False

    execute = _noted(asyncpg.Connection.execute)
    executemany = _noted(asyncpg.Connection.executemany)
    fetch = _noted(asyncpg.Connection.fetch)
    fetchrow = _noted(asyncpg.Connection.fetchrow)
    fetchval = _noted(asyncpg.Connection.fetchval)
    copy_records_to_table = _noted(asyncpg.Connection.copy_records_to_table)


async def _reset(session: asyncpg.Connection) -> None:
    """What is done to a connection that comes back: nothing asked of the server, unless it waits for the rest of a
    statement. Nobody sets or locks anything for longer than a transaction in a connection of a pool. (asyncpg itself
    ends a transaction left open.)"""
    if isinstance(session, _Session) and session.cut_off:
        await asyncpg.Connection.execute(session, "select")
        session.cut_off = False


async def connect(settings: Settings, read_only: bool = False) -> asyncpg.Connection:
    """A session of its own, for locks and listening; close it yourself. Raises DatabaseError as connect_pool.

    In a `read_only` one the server refuses to write.
    """
    try:
        return await asyncpg.connect(
            settings.database_url,
            password=settings.database_password,
            ssl=settings.database_tls.client() if settings.database_tls else None,
            timeout=_CONNECT_TIMEOUT_SECONDS,
            command_timeout=_COMMAND_TIMEOUT_SECONDS,
            server_settings=_server_settings(settings.service)
            | ({"default_transaction_read_only": "on"} if read_only else {}),
        )
    except _CONNECTION_ERRORS as error:
        raise _unreachable(error) from None


def _server_settings(service: str) -> dict[str, str]:
    return {
        "application_name": f"gihan/{service}",
        "timezone": "UTC",
        "statement_timeout": "10s",
        "lock_timeout": "5s",
        # As long as a lease lasts in silence: a frozen holder keeps no rows from whoever takes over.
        "idle_in_transaction_session_timeout": "5s",
        "jit": "off",
    }


def _unreachable(error: Exception) -> DatabaseError:
    return DatabaseError(
        f"PostgreSQL cannot be reached or does not let us in ({error_code(error)}). "
        "Look at DATABASE_URL and at whether the server runs."
    )


async def migrate(
    database_url: str,
    password: str | None = None,
    folder: Path = MIGRATIONS,
    tls: Tls | None = None,
    dry_run: bool = False,
) -> list[str]:
    """Applies the files NNN_name.sql of `folder` in order, each once and in one transaction; returns the
    new ones, which a `dry_run` leaves where they are.

    A file that has changed since it was applied, or that comes before one already applied, is refused with
    DatabaseError: a database is mended by a further migration.
    """
    files = _files(folder)
    connection: asyncpg.Connection | None = None
    try:
        connection = await asyncpg.connect(
            database_url,
            password=password,
            ssl=tls.client() if tls else None,
            timeout=_CONNECT_TIMEOUT_SECONDS,
            command_timeout=600,
        )
        if dry_run:
            return [path.name for path in _missing(files, await _applied(connection))]
        return await _apply(connection, files)
    except _CONNECTION_ERRORS as error:
        raise _unreachable(error) from None
    finally:
        if connection is not None:
            await connection.close(timeout=_CONNECT_TIMEOUT_SECONDS)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.sql") if re.fullmatch(r"\d{3}_[a-z_]+\.sql", path.name))


async def _applied(connection: asyncpg.Connection) -> dict[str, str]:
    """Hashes of the migrations that a database has had, by name."""
    if await connection.fetchval("select to_regclass('chassis.migrations')") is None:
        return {}
    return {row["name"]: row["sha256"] for row in await connection.fetch("table chassis.migrations")}


def _missing(files: list[Path], applied: Mapping[str, str]) -> list[Path]:
    """The files that are still to be applied. Raises DatabaseError as `migrate`."""
    missing = [path for path in files if path.name not in applied]
    for path in files:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if applied.get(path.name, digest) != digest:
            raise DatabaseError(
                f"Migration {path.name} has changed since it was applied. Restore the file and write the "
                "change "
                "as a further migration."
            )
    if missing and applied and missing[0].name < max(applied):
        raise DatabaseError(
            f"Migration {missing[0].name} comes before {max(applied)}, which is applied already. Number it later."
        )
    return missing


async def _apply(connection: asyncpg.Connection, files: list[Path]) -> list[str]:
    await connection.execute("select pg_advisory_lock($1)", _MIGRATION_LOCK)
    await connection.execute(
        "create schema if not exists chassis;"
        "create table if not exists chassis.migrations (name text primary key, sha256 text not null)"
    )
    missing = _missing(files, await _applied(connection))
    for path in missing:
        text = path.read_text(encoding="utf-8")
        try:
            async with connection.transaction():
                await connection.execute(text)
                await connection.execute(
                    "insert into chassis.migrations values ($1, $2)",
                    path.name,
                    hashlib.sha256(text.encode()).hexdigest(),
                )
        except asyncpg.PostgresError as error:
            # PostgreSQL's message names objects only; its detail, which may show values, is left out.
            raise DatabaseError(f"Migration {path.name} failed: {error_code(error)}: {error.args[0]}") from None
    return [path.name for path in missing]
