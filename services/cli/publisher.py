"""`gihan publisher`: the keys of publishing systems, for NATS and for HTTP, made and revoked together.

The one rule: a secret is shown once, to whoever asked for it. The server gets the public half, the database a digest.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
import typer

from contracts.nkeys import Nkey
from deploy import permissions
from deploy.joining import data_folder, environment_of, reload_nats
from deploy.provision import create_readers
from deploy.publishers import REGISTER, PublisherError, Register
from deploy.secret_files import write_secret
from deploy.seeds import make_seeds, write_users
from services.chassis import broker, logs, postgres
from services.chassis.clock import RealClock
from services.chassis.settings import Settings
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Data
from services.cli.running import read_tenants
from services.intake import keys
from services.intake.judge import Publisher
from services.rules.instants import Instant, text
from services.rules.tenants import Tenant

app = typer.Typer(no_args_is_help=True, help="The keys of publishing systems.")

TenantId = Annotated[str, typer.Argument(help="The municipality.")]
SourceId = Annotated[str, typer.Argument(help="The publishing system.")]
Out = Annotated[Path | None, typer.Option(help="Folder to write seed and key to, instead of showing them.")]

_UTC = ZoneInfo("UTC")


class Made(NamedTuple):
    """A new pair of secrets."""

    nkey: Nkey
    api_key: str


class _Desk:
    """What the commands work with: the register of a data folder, the database, and the server to tell."""

    def __init__(self, data: Path, settings: Settings, conn: asyncpg.Connection, embedded: bool) -> None:
        self.tenants = read_tenants()
        self._data = data
        self._settings = settings
        self._conn = conn
        self._embedded = embedded

    @property
    def register(self) -> Register:
        """As it is in the file now."""
        return Register(self._data / REGISTER)

    def publisher(self, tenant: str, source: str) -> Publisher:
        """Raises PublisherError for a system that the tenants' file does not name."""
        known: Tenant | None = self.tenants.get(tenant)
        if known is None or source not in known.sources:
            raise PublisherError(
                f"The tenants' file names no system {tenant}/{source}. Add it there (GIHAN_TENANTS_FILE, else "
                "deploy/tenants.yaml) and try again."
            )
        return Publisher(tenant, source)

    async def make(self, publisher: Publisher, first: bool) -> Made:
        """A pair of secrets beside the live one, or the `first`. Raises PublisherError."""
        register, now = self.register, await RealClock().now()
        if first and register.live(*publisher):
            raise PublisherError(
                f"{'/'.join(publisher)} has a key. Make its successor with `gihan publisher rotate`; the seed that the "
                f"first start made is in {self._data / 'secrets' / 'nats'}, the API key in its publishers.json."
            )
        nkey = register.add(*publisher, text(now, _UTC))
        api_key = await keys.issue(self._conn, *publisher, now)
        register.save()
        await self.apply(permissions.publisher(*publisher), nkey)
        return Made(nkey, api_key)

    async def revoke(self, publisher: Publisher, everything: bool) -> dict[str, list[str]]:
        """Revokes the older pair, or all; returns what is gone."""
        register, now = self.register, await RealClock().now()
        gone = register.revoke(*publisher, text(now, _UTC), everything=everything)
        register.save()
        live = [key.name for key in await keys.listed(self._conn, *publisher) if key.revoked is None]
        ended = live if everything else live[:-1]
        for name in ended:
            await keys.revoke(self._conn, *publisher, name, now)
        await self.apply()
        return {"nkeys": gone, "api_keys": ended}

    async def apply(self, user: str = "", nkey: Nkey | None = None) -> None:
        """Writes users.conf and has the embedded server read it; with a key, returns once that is let in."""
        nc = await broker.connect(self._settings)
        await create_readers(nc, self.tenants)  # before the server reads anew: for a moment it then does not answer
        await nc.close()
        make_seeds(self._data, self.tenants, text(await RealClock().now(), _UTC))
        path = write_users(self._data, self.tenants)
        if not (self._embedded and reload_nats(self._data)):
            typer.echo(
                f"Copy {path} to each nats-server, whose configuration includes it, and have it read again: "
                "nats-server --signal reload",
                err=True,
            )
        if self._embedded and nkey is not None:
            address = self._settings.nats_url.rpartition("@")[2]
            url = f"nats://{user}:{nkey.seed}@{address}"
            await (await broker.connect(Settings(nats_url=url, database_url="", service=user))).close()

    async def listed(self) -> list[dict[str, Any]]:
        """Every key of every system, without a secret."""
        rows: list[dict[str, Any]] = []
        register = self.register
        for names in permissions.publishers(self.tenants):
            rows += [_row(names, "nats", key.nkey, key.created, key.revoked) for key in register.keys(*names)]
            rows += [
                _row(names, "http", key.name, _text(key.created), _text(key.revoked))
                for key in await keys.listed(self._conn, *names)
            ]
        return rows


def _row(names: tuple[str, str], door: str, key: str, created: str | None, revoked: str | None) -> dict[str, Any]:
    tenant, source = names
    return {"tenant": tenant, "source": source, "door": door, "key": key, "created": created, "revoked": revoked}


def _text(instant: Instant | None) -> str | None:
    return None if instant is None else text(instant, _UTC)


@asynccontextmanager
async def _desk(data: Path | None) -> AsyncIterator[_Desk]:
    logs.configure("publisher", "critical")
    there = (data or data_folder()).absolute()
    embedded = "NATS_URL" not in os.environ
    environment = dict(os.environ) | (environment_of(there, "operator") if embedded else {})
    settings = Settings.from_env("operator", environment)
    conn = await postgres.connect(settings)
    try:
        yield _Desk(there, settings, conn, embedded)
    finally:
        await conn.close()


async def _make(tenant: str, source: str, data: Path | None, first: bool) -> Made:
    async with _desk(data) as desk:
        return await desk.make(desk.publisher(tenant, source), first)


def _show(made: Made, tenant: str, source: str, out: Path | None, as_json: bool) -> None:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for kind, secret in (("seed", made.nkey.seed), ("key", made.api_key)):
            path = out / f"{tenant}.{source}.{kind}"
            write_secret(path, secret.encode())
            typer.echo(path)
        return
    if as_json:
        typer.echo(json.dumps({"nkey": made.nkey.public, "seed": made.nkey.seed, "api_key": made.api_key}))
        return
    typer.echo(f"NATS user  {permissions.publisher(tenant, source)} ({made.nkey.public})")
    typer.echo(f"NATS seed  {made.nkey.seed}")
    typer.echo(f"API key    {made.api_key}")
    typer.echo("They are shown this once. Give them to the system that publishes, and keep them nowhere else.")


@app.command()
def add(tenant: TenantId, source: SourceId, out: Out = None, data: Data = None, as_json: AsJson = False) -> None:
    """The first keys of a system that the tenants' file names: a seed for NATS and a key for HTTP."""
    with plain_errors():
        _show(asyncio.run(_make(tenant, source, data, first=True)), tenant, source, out, as_json)


@app.command()
def rotate(tenant: TenantId, source: SourceId, out: Out = None, data: Data = None, as_json: AsJson = False) -> None:
    """New keys beside the old ones, which go on working until they are revoked."""
    with plain_errors():
        _show(asyncio.run(_make(tenant, source, data, first=False)), tenant, source, out, as_json)


@app.command()
def revoke(
    tenant: TenantId,
    source: SourceId,
    everything: Annotated[bool, typer.Option("--all", help="All keys, not only the older of two.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Ends the older of two live keys, for NATS and HTTP, at once; connections by it are closed."""

    async def run() -> dict[str, list[str]]:
        async with _desk(data) as desk:
            return await desk.revoke(desk.publisher(tenant, source), everything)

    with plain_errors():
        gone = asyncio.run(run())
    typer.echo(json.dumps(gone) if as_json else "\n".join(f"revoked {key}" for keys in gone.values() for key in keys))


@app.command("list")
def list_command(data: Data = None, as_json: AsJson = False) -> None:
    """Every key that a system has or had, without a secret."""

    async def run() -> list[dict[str, Any]]:
        async with _desk(data) as desk:
            return await desk.listed()

    with plain_errors():
        rows = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        name = f"{row['tenant']}/{row['source']}"
        until = f"revoked {row['revoked']}" if row["revoked"] else "live"
        typer.echo(f"{name:<28} {row['door']:<5} {row['key']:<57} {row['created'] or 'at provisioning':<33} {until}")


@app.command()
def apply(data: Data = None) -> None:
    """Writes nats-server's list of users anew (after a change of the tenants' file), and has it read."""

    async def run() -> None:
        async with _desk(data) as desk:
            await desk.apply()

    with plain_errors():
        asyncio.run(run())
