"""nats-server's configuration: where it listens and what it keeps, and who may come in by which key.

The one rule it protects: no secret stands in it. A user is known by the public half of its key, and `users.conf`, which
may be copied to every server of a cluster, lets nobody in who reads it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.permissions import Permissions

ACCOUNT = "GIHAN"
"""The account in which all users and streams are; the server's own SYS has no user at all."""
MAIN, USERS = "nats.conf", "users.conf"


def server_conf(folder: Path, listen: str, http: str) -> bytes:
    """nats.conf of an embedded server that keeps its streams below `folder`; it includes users.conf beside it."""
    return _lines(
        {
            "server_name": "gihan",
            "listen": listen,
            "http": http,
            # The disk is the limit. At one of its own (else three quarters of the disk) the server would take no
            # more messages and still call itself well, so that nobody restarts it when there is room again.
            "jetstream": {"store_dir": str(folder), "sync_interval": "always", "max_file_store": 1 << 50},
            "max_payload": 1 << 20,
            # Two seconds, the default, are too few for a client on a machine that is starting everything at once.
            "authorization": {"timeout": 10},
        },
        f"include {json.dumps(USERS)}",
    )


def users_conf(users: Mapping[str, Permissions], keys: Mapping[str, Sequence[str]]) -> bytes:
    """users.conf: an entry for each public key of a user. One without a key cannot come in."""
    entries = [_entry(key, may) for user, may in users.items() for key in keys.get(user, ())]
    accounts = {ACCOUNT: {"jetstream": "enabled", "users": entries}, "SYS": {"users": []}}
    return _lines({"accounts": accounts, "system_account": "SYS"})


def addresses(folder: Path) -> tuple[str, str]:
    """(address for clients, address of the monitoring) that nats.conf in a folder names. Raises OSError, ValueError."""
    found = dict(
        line.split(": ", 1) for line in (folder / MAIN).read_text(encoding="utf-8").splitlines() if ": " in line
    )
    if not {"listen", "http"} <= found.keys():
        raise ValueError("no address in it")
    return json.loads(found["listen"]), json.loads(found["http"])


def _entry(key: str, may: Permissions) -> dict[str, Any]:
    permissions: dict[str, Any] = {
        "publish": {"allow": list(may.publish)},
        "subscribe": {"allow": list(may.subscribe)},
    }
    if may.answers:
        permissions["allow_responses"] = {"max": 1, "expires": "2m"}
    return {"nkey": key, "permissions": permissions}


def _lines(settings: Mapping[str, Any], *more: str) -> bytes:
    """Each setting on a line of its own, its value in JSON, which the server's own format includes."""
    return "\n".join([*(f"{name}: {json.dumps(value)}" for name, value in settings.items()), *more, ""]).encode()
