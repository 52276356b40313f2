"""The supervisor: runs the three services as processes of this machine.

The one rule it protects: the services are processes like any other, told everything by their environment,
so that killing one shows what a crash would do.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Literal, Self

import httpx

from deploy.embedded import Embedded, free_ports
from deploy.permissions import SERVICES
from deploy.processes import Command, Keeper, ProcessError
from services.chassis.settings import ROOT

_READY_SECONDS = 60.0


def _desk_url(service: str, port: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Where the desk is, where staff can sign in and nobody named another address."""
    if service != "notifier" or "GIHAN_OIDC_CLIENT" not in environment or "GIHAN_DESK_URL" in environment:
        return {}
    return {"GIHAN_DESK_URL": f"http://127.0.0.1:{port}"}


class Supervisor:
    """`async with Supervisor(servers) as services:` runs intake, sla_timer and notifier until the block is
    left.

    Entered when all three are ready. `environment` is added to what each is told (gateways, for example). The
    output of each goes to <data>/logs/<service>.log. A service that ends, or whose process stops answering,
    is started again at the same address.
    """

    def __init__(
        self,
        servers: Embedded,
        clock: Literal["real", "stepped"] = "real",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        self._urls = {service: f"http://127.0.0.1:{port}" for service, port in ports.items()}
        self._keepers = {
            service: Keeper(
                Command(
                    service,
                    [sys.executable, "-m", f"services.{service}"],
                    servers.logs / f"{service}.log",
                    {
                        **os.environ,
                        **(environment or {}),
                        **servers.environment(service),
                        "GIHAN_PORT": str(port),
                        "GIHAN_PUBLIC_URL": os.environ.get("GIHAN_PUBLIC_URL", self._urls["intake"]),
                        "GIHAN_CLOCK": clock,
                        **_desk_url(service, port, {**os.environ, **(environment or {})}),
                        "PYTHONPATH": str(ROOT),
                    },
                ),
                lambda service=service: self._get(service, "/health/live"),  # type: ignore[misc]
            )
            for service, port in ports.items()
        }

    def url(self, service: str) -> str:
        """The base address of a service; it stays the same over restarts."""
        return self._urls[service]

    def pid(self, service: str) -> int | None:
        """The process id of a service while it runs."""
        return self._keepers[service].pid

    def keeper(self, service: str) -> Keeper:
        """What keeps a service alive."""
        return self._keepers[service]

    def restarts(self, service: str) -> int:
        """How often a service had to be started again."""
        return self._keepers[service].restarts

    async def wait_ready(self, limit_seconds: float = _READY_SECONDS) -> None:
        """Waits until every service is ready; raises ProcessError naming the red parts of the one that is not."""
        await asyncio.gather(*(self._wait_ready(service, limit_seconds) for service in SERVICES))

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.TaskGroup() as together:
                for keeper in self._keepers.values():
                    together.create_task(keeper.start())
            await self.wait_ready()
        except BaseException as error:
            await self.__aexit__(None, None, None)
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers.values()))

    async def _get(self, service: str, path: str) -> httpx.Response:
        async with httpx.AsyncClient(timeout=3, trust_env=False) as http:
            return (await http.get(self._urls[service] + path)).raise_for_status()

    async def _wait_ready(self, service: str, limit_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.time() + limit_seconds
        red: object = "no answer"
        while loop.time() < limit:
            try:
                await self._get(service, "/health/ready")
                return
            except httpx.HTTPStatusError as error:
                red = _red(error.response)
            except httpx.HTTPError:
                red = "no answer"
            await asyncio.sleep(0.05)
        log = self._keepers[service].command.log
        raise ProcessError(f"{service} is not ready after {limit_seconds:.0f} s: {red}. Its log: {log}")


def _red(answer: httpx.Response) -> object:
    """The red parts of a service that says so itself. While it is down, another process may take its port."""
    try:
        return answer.json()["red"]
    except (ValueError, KeyError, TypeError):
        return f"something else answers at {answer.url} (HTTP {answer.status_code})"
