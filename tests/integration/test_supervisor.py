"""The supervisor, with the real services: ready, back after a crash at the same address, and stopped with it."""

import asyncio
import os
import signal

import httpx
import pytest

from deploy.permissions import SERVICES
from deploy.processes import ProcessError
from deploy.provision import provision
from deploy.supervisor import Supervisor


async def test_a_killed_service_comes_back_at_the_same_address_and_none_is_left(
    nats, database, tenants, monkeypatch, eventually
):
    monkeypatch.setattr(nats, "database_url", database)
    await provision(
        nats.nats_url("operator"), database, tenants, monitor_url=nats.monitor_url, publisher_keys=nats.publisher_keys
    )
    gateways = {"SMTP_URL": "smtp://127.0.0.1:9", "SMS_URL": "http://127.0.0.1:9"}
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        Supervisor(nats, clock="stepped", environment=gateways) as services,
    ):
        before = {service: services.pid(service) for service in SERVICES}
        assert None not in before.values()
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: all(services.restarts(service) == 1 for service in SERVICES))
        await services.wait_ready()
        for service, pid in before.items():
            assert services.pid(service) not in (None, pid)
            assert services.restarts(service) == 1
            report = (await http.get(services.url(service) + "/status")).raise_for_status().json()
            assert (report["service"], report["ready"]) == (service, True)
        last = [services.pid(service) for service in SERVICES]
    for pid in last:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_stranger_at_the_address_of_a_service_is_named(nats, monkeypatch):
    """While a service is down, another process may take its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nNot Found")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as stranger:
        services = Supervisor(nats, clock="stepped", environment={})
        port = stranger.sockets[0].getsockname()[1]
        monkeypatch.setattr(services, "_urls", dict.fromkeys(SERVICES, f"http://127.0.0.1:{port}"))
        with pytest.raises(ProcessError, match=r"something else answers at .* \(HTTP 404\)"):
            await services.wait_ready(0.5)
