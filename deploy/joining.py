"""Joining: a process that starts no servers reaches those that somebody else runs in a data folder.

The one rule: where they are is read from what the servers themselves wrote down, never from a second note of ours.
"""

import os
import signal
from pathlib import Path

from deploy import nats, postgresql
from deploy.leftovers import running
from deploy.roles import role_of
from deploy.seeds import seed_file
from services.chassis.logs import OperatorError


class NothingRuns(OperatorError):
    """No servers run in this data folder; says how to start or to reach some."""


def data_folder() -> Path:
    """The data folder of this installation: GIHAN_DATA, else `data` in the present folder."""
    return Path(os.environ.get("GIHAN_DATA", "data")).absolute()


def environment_of(data: Path, user: str) -> dict[str, str]:
    """Where the servers run that somebody started in a data folder (`gihan up`), for a process that only joins them.

    `user` is the NATS user to be. Raises NothingRuns where nothing runs there.
    """
    try:
        listen, http = nats.addresses(data / "nats")
        seed = seed_file(data, user)
        # The fifth line of PostgreSQL's own note is the folder of its socket.
        sockets = (data / "postgres" / "postmaster.pid").read_text(encoding="utf-8").splitlines()[4]
        if not seed.exists():
            raise FileNotFoundError(seed)
    except (OSError, ValueError, KeyError, IndexError):
        raise NothingRuns(
            f"Nothing runs in {data}. Start it with `gihan up`, name its folder with --data, or set NATS_URL and "
            "DATABASE_URL to reach servers elsewhere."
        ) from None
    return {
        "GIHAN_SERVICE": user,
        "NATS_URL": f"nats://{user}@{listen}",
        "NATS_PASSWORD_FILE": str(seed),
        "NATS_MONITOR_URL": f"http://{http}",
        **postgresql.environment(data, role_of(user) or postgresql.DATABASE, sockets),
    }


def reload_nats(data: Path) -> bool:
    """Has the nats-server of a data folder read its configuration again, without a restart; False where none runs."""
    servers = running(f"--config={data.absolute() / 'nats' / nats.MAIN}")
    for pid in servers:
        os.kill(pid, signal.SIGHUP)
    return bool(servers)
