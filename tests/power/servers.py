"""nats-servers of the tests' own: one alone or three as a cluster, started, stopped and frozen one by one.

The one rule: nobody restarts them but the test. They have the users, permissions and settings of an installation.
"""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from deploy import embedded, permissions
from deploy.embedded import free_ports
from services.rules.tenants import Tenant

SIZE = 3
START_SECONDS = 30.0


class Node:
    """One nats-server, with its store at `folder`/store and everything else outside that."""

    def __init__(self, name: str, folder: Path, tenants: Mapping[str, Tenant], sync: bool = True) -> None:
        self.name = name
        self.store = folder / "store"
        self.port, self.monitor_port, self.route_port = free_ports(3)
        self.process: subprocess.Popen[bytes] | None = None
        self.frozen = False
        self._folder = folder
        self._tenants = tenants
        self._sync = sync
        self._routes: Sequence[str] = ()
        self.store.mkdir(parents=True, exist_ok=True)

    @property
    def monitor_url(self) -> str:
        return f"http://127.0.0.1:{self.monitor_port}"

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def url(self, user: str) -> str:
        """The address for a user; the password of each is its own name."""
        return f"nats://{user}:{user}@127.0.0.1:{self.port}"

    def join(self, routes: Sequence[str]) -> None:
        """Makes it one of a cluster, which reaches the others at `routes`."""
        self._routes = routes

    def start(self) -> None:
        """Starts the server; `well` says when it is ready."""
        self.frozen = False
        path = self._folder / "nats.conf"
        path.write_text(json.dumps(self._configuration()))
        with (self._folder / "nats.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(embedded.nats_server()), "--config", path], stdout=log, stderr=log, start_new_session=True
            )

    async def well(self) -> None:
        """Waits until the server says that it is ready."""
        async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(trust_env=False, timeout=2) as http:
            while True:
                try:
                    (await http.get(f"{self.monitor_url}/healthz")).raise_for_status()
                    return
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)

    async def ask(self, path: str) -> Any:
        """What the server's monitoring says."""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
            return (await http.get(self.monitor_url + path)).raise_for_status().json()

    async def extent(self, stream: str) -> tuple[int, ...]:
        """What this node's own copy of a stream holds: messages, bytes, first and last sequence."""
        accounts = (await self.ask("/jsz?accounts=true&streams=true")).get("account_details", [])
        states = {one["name"]: one["state"] for account in accounts for one in account.get("stream_detail") or []}
        return tuple(states[stream][field] for field in ("messages", "bytes", "first_seq", "last_seq"))

    def freeze(self) -> None:
        self.frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.frozen = False
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it at once, frozen or not, and waits until it is gone."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)

    def _configuration(self) -> dict[str, Any]:
        users: list[dict[str, Any]] = [
            {
                "user": name,
                "password": name,
                "permissions": {
                    "publish": {"allow": list(may.publish)},
                    "subscribe": {"allow": list(may.subscribe)},
                    **({"allow_responses": {"max": 1, "expires": "2m"}} if may.answers else {}),
                },
            }
            for name, may in permissions.table(self._tenants).items()
        ]
        users.append({"user": "test", "password": "test"})
        jetstream: dict[str, Any] = {"store_dir": str(self.store), "max_file_store": 1 << 50}
        if self._sync:
            jetstream["sync_interval"] = "always"
        cluster = {
            "name": "gihan",
            "listen": f"127.0.0.1:{self.route_port}",
            "routes": list(self._routes),
            # Routes go where they are told alone, so that a test can stand in between.
            "no_advertise": True,
            "advertise": "127.0.0.1:1",
        }
        return {
            "server_name": self.name,
            "listen": f"127.0.0.1:{self.port}",
            "http": f"127.0.0.1:{self.monitor_port}",
            "jetstream": jetstream,
            "max_payload": 1 << 20,
            "authorization": {"users": users},
            **({"cluster": cluster} if self._routes else {}),
        }


def cluster(folder: Path, tenants: Mapping[str, Tenant], sync: bool = True) -> list[Node]:
    """Three nodes that know each other, not started yet."""
    nodes = [Node(f"n{number}", folder / f"n{number}", tenants, sync) for number in range(1, SIZE + 1)]
    for node in nodes:
        node.join([f"nats://127.0.0.1:{other.route_port}" for other in nodes if other is not node])
    return nodes


def urls(nodes: Sequence[Node], user: str) -> str:
    """The addresses of all nodes as one NATS_URL."""
    return ",".join(node.url(user) for node in nodes)
