"""`gihan vault` and `gihan erase`: the keys of the vault, who read what, and forgetting.

The one rule: no command here shows a name, a number or a text; and what cannot be undone is asked about first.
"""

import asyncio
import getpass
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
import typer

from deploy.joining import data_folder, environment_of
from services.chassis import logs, postgres
from services.chassis.clock import Instant, open_clock
from services.chassis.failpoints import arm
from services.chassis.settings import Settings
from services.chassis.vault import Head, Rotation, Vault, open_vault
from services.chassis.vault.access import Report, access_report
from services.chassis.vault.purposes import reader_of
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Data
from services.cli.running import read_tenants
from services.intake import erasure, retention
from services.rules.instants import local

app = typer.Typer(no_args_is_help=True, help="The vault: its master keys, its access record, what is kept too long.")

By = Annotated[str, typer.Option("--by", help="Who; kept in the access record. Default: the user of this machine.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
_UTC = ZoneInfo("UTC")


class Place(NamedTuple):
    """What a command works with."""

    pool: asyncpg.Pool
    vault: Vault
    now: Instant
    keep_days: int


@asynccontextmanager
async def opened(data: Path | None) -> AsyncIterator[Place]:
    """The vault of a data folder, or of the environment's servers, while a command lasts."""
    logs.configure("vault", "critical")
    environment: dict[str, str] = dict(os.environ)
    if "DATABASE_URL" not in environment:
        there = (data or data_folder()).absolute()
        environment.setdefault("GIHAN_VAULT_KEYS", str(there / "secrets" / "vault"))
        environment |= environment_of(there, "operator")
    settings = Settings.from_env("vault", environment)
    arm(settings)
    vault = open_vault(settings)
    pool = await postgres.connect_pool(settings, max_size=2)
    try:
        clock = await open_clock(settings, pool)
        try:
            yield Place(pool, vault, await clock.now(), settings.vault_keep_days)
        finally:
            await clock.close()
    finally:
        await pool.close()


@app.command()
def keys(data: Data = None, as_json: AsJson = False) -> None:
    """The master keys: which are here, how many keys of the vault each opens, which are missing."""

    async def run() -> list[dict[str, Any]]:
        async with opened(data) as place, place.pool.acquire() as conn:
            used = await place.vault.usage(conn)
            here = place.vault.master.epochs
        return [
            {"epoch": epoch, "keys": used[epoch], "here": epoch in here, "seals": epoch == here[-1]}
            for epoch in sorted({*here, *used})
        ]

    with plain_errors():
        rows = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        for row in rows:
            state = "seals" if row["seals"] else "opens" if row["here"] else "IS MISSING: put it back"
            typer.echo(f"{row['epoch']}.key  {row['keys']:>9} keys  {state}")
    if not all(row["here"] for row in rows):
        raise typer.Exit(1)


@app.command()
def rotate(data: Data = None, as_json: AsJson = False) -> None:
    """Today's master key, every key wrapped anew by it, and old master keys destroyed. Intake does so every day."""

    async def run() -> Rotation:
        async with opened(data) as place:
            return await place.vault.rotate(place.pool, local(place.now, _UTC).date(), place.keep_days)

    with plain_errors():
        done = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps(done._asdict()))
    else:
        typer.echo(f"{done.epoch}.key seals; {done.wrapped} keys wrapped anew.")
        for epoch in done.destroyed:
            typer.echo(f"{epoch}.key destroyed: backups up to its last day show no name any more.")
        for epoch, number in done.unreadable.items():
            typer.echo(f"{epoch}.key IS MISSING: {number} keys do not open. Put it back.")
    if done.unreadable:
        raise typer.Exit(1)


@app.command("give-up")
def give_up(yes: Yes = False, data: Data = None) -> None:
    """Lets go of what no master key opens any more, so that it counts as erased and the rest can work."""

    async def run() -> dict[str, int]:
        async with opened(data) as place, place.pool.acquire() as conn:
            lost = await place.vault.unreadable(conn)
            if lost and (yes or typer.confirm(f"{sum(lost.values())} keys of {', '.join(lost)}: gone for good?")):
                return await place.vault.give_up(conn)
            return {}

    with plain_errors():
        lost = asyncio.run(run())
    typer.echo(f"{sum(lost.values())} keys let go" if lost else "nothing let go")


@app.command()
def verify(
    known: Annotated[
        list[str] | None, typer.Option("--head", help="TENANT:NUMBER:HASH, as a former report showed it.")
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Whether the access record is as it was written. Ends with 1 where it is not, and says from which record on."""
    with plain_errors():
        found = asyncio.run(_reports(data, None, datetime.min.replace(tzinfo=_UTC), None, _heads(known or [])))
    if as_json:
        typer.echo(json.dumps({one.tenant: one.broken_at for one in found}))
    else:
        for one in found:
            typer.echo(f"{one.tenant:<12} {_chain(one)}")
    if any(one.broken_at is not None for one in found):
        raise typer.Exit(1)


@app.command("access-report")
def report(
    month: Annotated[str, typer.Option(help="Such as 2026-11, by the calendar of each tenant.")],
    tenant: Annotated[str | None, typer.Option(help="Of one tenant.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Who read what, why and how often, in a month. Shows no personal data. Ends with 1 where the record is broken."""
    with plain_errors():
        try:
            begin = datetime.strptime(month, "%Y-%m")  # noqa: DTZ007 - each tenant's zone is put in
        except ValueError:
            raise ValueError(f"--month {month} is no month: write one such as 2026-11") from None
        found = asyncio.run(_reports(data, tenant, begin, (begin + timedelta(days=32)).replace(day=1), {}))
    if as_json:
        rows = [{**one._asdict(), "lines": [line._asdict() for line in one.lines]} for one in found]
        typer.echo(json.dumps({"month": month, "tenants": rows}, default=str))
    else:
        for one in found:
            typer.echo(f"{one.tenant}  {month}: {one.records} records, {one.refused} refused. {_chain(one)}")
            for line in one.lines:
                typer.echo(
                    f"  {line.reader:<24} {line.purpose:<20} {line.kind:<16} {line.times:>7} times"
                    f" {line.references:>7} references  {line.first:%d %H:%M} to {line.last:%d %H:%M} UTC"
                )
    if any(one.broken_at is not None for one in found):
        raise typer.Exit(1)


@app.command()
def retain(data: Data = None, as_json: AsJson = False) -> None:
    """Erases what is past its time (contracts/retention.yaml). Intake does so every day."""

    async def run() -> int:
        async with opened(data) as place:
            return await retention.retain(place.pool, place.vault, read_tenants(), place.now)

    with plain_errors():
        cases = asyncio.run(run())
    typer.echo(json.dumps({"cases": cases}) if as_json else f"{cases} cases were past their time and are erased.")


def erase(
    whom: Annotated[str, typer.Argument(help="TENANT/REF, a subject_ref as events carry it; TENANT with --receipt.")],
    receipt: Annotated[str | None, typer.Option(help="Receipt number of a case of the person.")] = None,
    yes: Yes = False,
    by: By = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Erases a person: every name, number, address and text of theirs, in all their cases. Cannot be undone."""
    with plain_errors():
        tenant, slash, ref = whom.partition("/")
        if bool(slash) == (receipt is not None):
            raise ValueError("give TENANT/REF, or TENANT and --receipt")
        reader = reader_of("operator", by or getpass.getuser(), socket.gethostname())
        done = asyncio.run(_erase(data, tenant, ref or None, receipt, yes, reader))
    if as_json:
        typer.echo(json.dumps(done))
    elif done["erased"]:
        typer.echo(f"Erased: nobody reads it any more. In backups it can be read until {done['in_backups_until']}.")
    else:
        typer.echo("nothing was erased")


async def _erase(
    data: Path | None, tenant: str, ref: str | None, receipt: str | None, yes: bool, reader: str
) -> dict[str, Any]:
    async with opened(data) as place, place.pool.acquire() as conn:
        found, known = await erasure.find(conn, tenant, ref, receipt)
        counts = {"references": known.references, "cases": known.cases, "texts": known.texts}
        told = ", ".join(f"{number} {name}" for name, number in counts.items())
        if not yes and not typer.confirm(f"One person of {tenant}: {told}. Erase for good?"):
            return {"erased": False, **counts}
        await erasure.erase(conn, place.vault, tenant, found, known.person, reader, place.now)
        until = local(place.now, _UTC).date() + timedelta(days=place.keep_days + 1)
        return {"erased": True, **counts, "in_backups_until": until.isoformat()}


async def _reports(
    data: Path | None, tenant: str | None, begin: datetime, end: datetime | None, known: dict[str, Head]
) -> list[Report]:
    tenants = read_tenants()
    if tenant is not None and tenant not in tenants:
        raise ValueError(f"there is no tenant {tenant}: {', '.join(tenants)}")
    async with opened(data) as place, place.pool.acquire() as conn:
        rows = await conn.fetch("select tenant from vault.access_head order by tenant")
        return [
            await access_report(
                conn,
                place.vault,
                name,
                begin if begin.tzinfo else begin.replace(tzinfo=tenants[name].zone),
                datetime.max.replace(tzinfo=_UTC) if end is None else end.replace(tzinfo=tenants[name].zone),
                known.get(name),
            )
            for name in (row["tenant"] for row in rows)
            if name in tenants and tenant in (None, name)
        ]


def _heads(given: list[str]) -> dict[str, Head]:
    heads = {}
    for one in given:
        tenant, number, digest = (*one.split(":"), "", "")[:3]
        if not (tenant and number.isdigit() and digest):
            raise ValueError("--head wants TENANT:NUMBER:HASH, as a report shows it")
        heads[tenant] = Head(int(number), digest)
    return heads


def _chain(one: Report) -> str:
    if one.broken_at is not None:
        return f"THE RECORD IS BROKEN from number {one.broken_at} on: compare it with a backup."
    head = "" if one.head is None else f" Last record {one.tenant}:{one.head.number}:{one.head.hash}"
    return f"The record holds.{head}"
