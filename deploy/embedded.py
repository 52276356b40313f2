"""The embedded servers: a real nats-server and a real PostgreSQL in a data folder of Gihan's own.

The one rule it protects: an embedded server is as strict as a real one. It syncs every write, asks everybody for a key
or a password, listens on this machine alone; and one program at a time runs those of a data folder.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from zoneinfo import ZoneInfo

import httpx

from deploy import nats, permissions, postgresql
from deploy.leftovers import end_leftovers
from deploy.processes import Command, Keeper, plain_environment
from deploy.roles import role_of
from deploy.secret_files import kept_passwords, write_secret
from deploy.seeds import make_seeds, seed_file, write_users
from services.chassis.clock import RealClock
from services.chassis.logs import OperatorError
from services.chassis.vault.keys import FIRST, MasterKeys
from services.rules.instants import text
from services.rules.tenants import Tenant

_UTC = ZoneInfo("UTC")
_FIRST_PORT, _PORTS = 15_000, 17_000


class EmbeddedError(OperatorError):
    """The servers cannot be started here; says why and what to do."""


class AlreadyRuns(EmbeddedError):
    """Another process runs the servers of this data folder."""


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
        self._sockets = self.data / "postgres"

    @property
    def secrets(self) -> Path:
        """The folder of keys and passwords, which only its owner can read."""
        return self.data / "secrets"

    @property
    def logs(self) -> Path:
        """The folder of what servers and services print."""
        return self.data / "logs"

    def nats_url(self, user: str) -> str:
        """The address of NATS for `user`: a service, `operator`, `replay` or a publisher "<tenant>.<source>"."""
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
            variables |= postgresql.environment(self.data, role_of(service) or postgresql.DATABASE, self._sockets)
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
        if self._sockets != self.data / "postgres":
            shutil.rmtree(self._sockets, ignore_errors=True)
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
        binary = nats_server()
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
            Command("nats-server", [binary, marker], self.logs / "nats.log", plain_environment()),
            self._look_at_nats,
            before=lambda: end_leftovers(marker, None, signal.SIGTERM),
        )
        await self.nats.start()

    async def _look_at_nats(self) -> None:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            (await http.get(f"{self.monitor_url}/healthz")).raise_for_status()

    # PostgreSQL

    async def _start_postgres(self) -> None:
        server = await postgresql.made(self.data, self.logs / "postgres.log")
        self.postgres, self.database_url, self._sockets = server.keeper, server.url, server.sockets
        await self.postgres.start()
        await postgresql.create_database(server)


def _take_lock(data: Path) -> IO[str]:
    lock = (data / "lock").open("a+", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise AlreadyRuns(
            f"Gihan already runs on the data folder {data} (process {owner}). Stop it first, or choose another folder "
            "with --data or GIHAN_DATA."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


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


def nats_server() -> Path:
    """The program of nats-server that was installed. Raises EmbeddedError."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise EmbeddedError(
            "nats-server is not installed. Install requirements.txt, or point NATS_URL and NATS_MONITOR_URL at a "
            "server of your own."
        )
    return Path(found)
