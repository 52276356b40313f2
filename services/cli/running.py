"""`gihan up` and `gihan provision`: what one machine runs, started together and ended together."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, NamedTuple

import httpx
import typer

from deploy import devissuer, permissions
from deploy import provision as provisioning
from deploy.embedded import Embedded, free_ports
from deploy.joining import data_folder
from deploy.processes import Command, Keeper
from deploy.supervisor import Supervisor
from services.chassis import settings
from services.chassis.settings import ROOT
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Data
from services.rules import tenants as tenants_file
from services.rules.instants import Instant
from services.rules.tenants import Tenant


def up(data: Data = None) -> None:
    """Runs the embedded servers and the three services, until interrupted."""
    with plain_errors():
        asyncio.run(_up(data or data_folder()))


def provision(
    upgrade: Annotated[
        bool,
        typer.Option("--upgrade", help="After a new release: add to streams what it needs."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what --upgrade would do, and do nothing.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Makes streams, tables and publishers, and enacts the files; as often as one likes."""
    with plain_errors(), TemporaryDirectory(prefix="gihan-") as nothing:
        folder = data or data_folder()
        if dry_run and not folder.exists():
            folder = Path(nothing)  # so that none is left behind
        made = asyncio.run(_provision(folder, upgrade, dry_run))
    if as_json:
        typer.echo(json.dumps(made))
        return
    for what, names in made.items():
        separator = "\n  " if what == "changes" else ", "
        typer.echo(f"{what}: {separator.join(names) or '-'}")


async def _provision(data: Path, upgrade: bool, dry_run: bool) -> dict[str, list[str]]:
    tenants = read_tenants()
    async with Embedded(data, tenants) as servers:
        if dry_run:
            return await planned(servers, tenants)
        return await provisioned(servers, tenants, upgrade=upgrade)


class Gihan(NamedTuple):
    """A running Gihan. `gateway` is the folder of the development gateways' record, None where real ones are used;
    `desk` the address at which staff sign in, None where there is no sign-on."""

    servers: Embedded
    services: Supervisor
    gateway: Path | None
    desk: str | None


def read_tenants() -> dict[str, Tenant]:
    """The tenants of this installation: GIHAN_TENANTS_FILE, else deploy/tenants.yaml."""
    path = Path(os.environ.get("GIHAN_TENANTS_FILE") or ROOT / "deploy" / "tenants.yaml")
    return tenants_file.parse(path.read_bytes())


async def provisioned(
    servers: Embedded, tenants: Mapping[str, Tenant], now: Instant | None = None, upgrade: bool = False
) -> dict[str, list[str]]:
    """Provisions the servers; returns what had to be made. `now` dates what is enacted (default: the present)."""
    made = await provisioning.provision(
        servers.nats_url("operator"),
        servers.database_url,
        tenants,
        monitor_url=servers.monitor_url,
        publisher_keys=servers.publisher_keys,
        replicas=settings.replicas(os.environ),
        upgrade=upgrade,
        now=now,
    )
    return {name: list(getattr(made, name)) for name in made.__dataclass_fields__}


async def planned(servers: Embedded, tenants: Mapping[str, Tenant]) -> dict[str, list[str]]:
    """What an upgrade of the servers would make and change; does nothing of it."""
    would = await provisioning.plan(
        servers.nats_url("operator"),
        servers.database_url,
        tenants,
        monitor_url=servers.monitor_url,
        replicas=settings.replicas(os.environ),
    )
    return {name: list(getattr(would, name)) for name in would.__dataclass_fields__ if name != "publishers"}


@asynccontextmanager
async def start_services(
    servers: Embedded, home: Path, clock: Literal["real", "stepped"] = "real", sign_on: bool = False
) -> AsyncIterator[Gihan]:
    """The three services on provisioned servers, with the development gateways where no real ones are named, and with
    `sign_on` the development sign-on where there is no other."""
    async with AsyncExitStack() as stack:
        environment: dict[str, str] = {}
        gateway = None
        if clock == "stepped" or not {"SMS_URL", "SMTP_URL"} & os.environ.keys():
            gateway = home / "gateway"
            keeper, environment = await start_gateways(gateway, servers.logs)
            stack.push_async_callback(keeper.stop)
        if sign_on and "GIHAN_OIDC_ISSUER" not in os.environ:
            keeper, issuer = await start_issuer(servers.logs)
            stack.push_async_callback(keeper.stop)
            environment = {**environment, **issuer}
        services = await stack.enter_async_context(Supervisor(servers, clock=clock, environment=environment))
        has_desk = "GIHAN_OIDC_CLIENT" in {**os.environ, **environment}
        desk = os.environ.get("GIHAN_DESK_URL") or services.url("notifier")
        yield Gihan(servers, services, gateway, f"{desk}/desk" if has_desk else None)


async def start_gateways(folder: Path, logs: Path) -> tuple[Keeper, dict[str, str]]:
    """Starts the development gateways; returns their keeper, and where they are as the environment of a service. They
    keep their addresses over a restart."""
    http_port, smtp_port = free_ports(2)
    sms = f"http://127.0.0.1:{http_port}"
    arguments: list[str | Path] = [sys.executable, "-m", "deploy.devgateway", "--dir", folder]
    arguments += ["--http-port", str(http_port), "--smtp-port", str(smtp_port)]

    async def look() -> None:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            await http.get(f"{sms}/messages/none")

    keeper = Keeper(Command("gateways", arguments, logs / "gateways.log", {"PYTHONPATH": str(ROOT)}), look)
    await keeper.start()
    return keeper, {"SMS_URL": sms, "SMTP_URL": f"smtp://127.0.0.1:{smtp_port}"}


async def start_issuer(logs: Path) -> tuple[Keeper, dict[str, str]]:
    """Starts the development sign-on; returns its keeper, and what services are told of it."""
    (port,) = free_ports(1)
    issuer = f"http://127.0.0.1:{port}"
    arguments: list[str | Path] = [sys.executable, "-m", "deploy.devissuer", "--port", str(port)]
    for tenant in read_tenants().values():
        arguments += ["--tenant", f"{tenant.id}={tenant.name_ko}"]

    async def look() -> None:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            (await http.get(f"{issuer}/keys")).raise_for_status()

    keeper = Keeper(Command("sign-on", arguments, logs / "sign-on.log", {"PYTHONPATH": str(ROOT)}), look)
    await keeper.start()
    told = {"ISSUER": issuer, "KEYS": f"{issuer}/keys", "CLIENT": devissuer.CLIENT, "AUDIENCE": devissuer.AUDIENCE}
    return keeper, {f"GIHAN_OIDC_{name}": value for name, value in told.items()}


def addresses(gihan: Gihan) -> list[str]:
    """Where to look, a line each."""
    lines = []
    for service in permissions.SERVICES:
        url = gihan.services.url(service)
        lines.append(f"{service:<10} {url}/status  {url}/health/ready  {url}/metrics")
    lines.append(f"citizens   {gihan.services.url('intake')}/")
    lines.append(f"API        {gihan.services.url('intake')}/openapi.json")
    lines.append(f"API keys   {gihan.servers.secrets / 'publishers.json'}")
    if gihan.gateway is not None:
        lines.append(f"gateways   {gihan.gateway / 'texts.jsonl'} (for development: nothing leaves this machine)")
    return lines


async def _up(data: Path) -> None:
    """Runs everything on the real clock until interrupted (Ctrl-C or SIGTERM)."""
    tenants = read_tenants()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Embedded(data, tenants) as servers:
        await provisioned(servers, tenants)
        # Beside the data folder, not in it: what the gateways took is the one place where texts stand in clear.
        async with start_services(servers, data.with_name(f"{data.name}-gateways"), sign_on=True) as gihan:
            print("\n".join(addresses(gihan)), f"desk       {gihan.desk}", "Ctrl-C ends it.", sep="\n", flush=True)
            await stop.wait()
