"""nats-server's configuration: where it listens and what it keeps, and who may come in by which key.

The rules it protects: no secret stands in it. A user is known by the public half of its key, and `users.conf`, which
may be copied to every server of a cluster, lets nobody in who reads it. And each publisher lives in an account of its
own: a server does not ask whether somebody may write where he wants the answer to his request to go, so beside the
streams a publisher could have an answer written into the log of facts.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.permissions import Permissions

ACCOUNT = "GIHAN"
"""The account of our own users and of the streams; the server's own SYS has no user at all."""
MAIN, USERS = "nats.conf", "users.conf"
LIMITS = {"max_connections": 100, "max_subscriptions": 1000}
"""What one publishing system may hold open, so that a leak in it is not everybody's."""

_INBOX = re.compile(r"(inbox\.[^.]+\.[^.]+)\..+")


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
    publishers = {user: may for user, may in users.items() if may.publisher}
    accounts: dict[str, Any] = {
        ACCOUNT: {
            "jetstream": "enabled",
            "users": _entries({user: may for user, may in users.items() if not may.publisher}, keys),
            "exports": [_export(user, *way) for user, may in publishers.items() for way in _ways(may)],
        },
        "SYS": {"users": []},
    }
    for user, may in publishers.items():
        imports = [{kind: {"account": ACCOUNT, "subject": subject}} for kind, subject in _ways(may)]
        accounts[user] = {"users": _entries({user: may}, keys), "imports": imports, "limits": LIMITS}
    return _lines({"accounts": accounts, "system_account": "SYS"})


def _ways(may: Permissions) -> list[tuple[str, str]]:
    """What a publisher reaches in our account: services that it asks, streams of messages that it hears."""
    services = dict.fromkeys(_INBOX.sub(r"\1.*.*", subject) for subject in may.publish)
    heard = [subject for subject in may.subscribe if not subject.startswith("_INBOX_")]
    return [*(("service", subject) for subject in services), *(("stream", subject) for subject in heard)]


def _export(user: str, kind: str, subject: str) -> dict[str, Any]:
    many = {"response_type": "stream"} if ".MSG.NEXT." in subject else {}
    return {kind: subject, "accounts": [user], **many}


def _entries(users: Mapping[str, Permissions], keys: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [_entry(key, may) for user, may in users.items() for key in keys.get(user, ())]


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
