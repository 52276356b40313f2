"""`gihan dead`: the letters that INBOX brought and the judge refused.

The one rule: whoever opens, changes or gives in a letter says why; name and reason stand in the access record.
"""

import asyncio
import getpass
import json
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import asyncpg
import typer
from nats.aio.client import Client

from contracts.envelope import Accepted, Refused
from deploy.joining import data_folder, environment_of
from services.chassis import broker, logs, postgres
from services.chassis.settings import Settings
from services.chassis.vault import VaultError, open_vault
from services.chassis.vault.purposes import reader_of
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Data
from services.intake.dead import DeadError, Desk, Letter, letter_named, letters

app = typer.Typer(no_args_is_help=True, help="Letters that INBOX brought and that were refused.")

Name = Annotated[str, typer.Argument(help="The letter's name, as `gihan dead list` shows it.")]
Purpose = Annotated[str, typer.Option(help="Why; kept in the access record.")]
By = Annotated[str, typer.Option("--by", help="Who; kept in the access record. Default: the user of this machine.")]
OfTenant = Annotated[str | None, typer.Option(help="Of one tenant.")]
OfSource = Annotated[str | None, typer.Option(help="Of one source.")]
OfReason = Annotated[str | None, typer.Option(help="Refused with this code.")]


class Place(NamedTuple):
    """What a command works with."""

    nc: Client
    pool: asyncpg.Pool
    desk: Desk


@asynccontextmanager
async def _place(data: Path | None, purpose: str, by: str) -> AsyncIterator[Place]:
    logs.configure("dead", "critical")
    there = (data or data_folder()).absolute()
    environment: dict[str, str] = dict(os.environ)
    if "NATS_URL" not in environment:
        environment.setdefault("GIHAN_VAULT_KEYS", str(there / "secrets" / "vault"))
        environment |= environment_of(there, "dead")
    settings = Settings.from_env("dead", environment)
    vault = open_vault(settings)
    pool = await postgres.connect_pool(settings, max_size=2)
    try:
        nc = await broker.connect(settings)
        try:
            reader = reader_of("operator", by or getpass.getuser(), socket.gethostname())
            yield Place(nc, pool, Desk(nc, pool, vault, reader, purpose))
        finally:
            await nc.close()
    finally:
        await pool.close()


@app.command("list")
def list_command(
    tenant: OfTenant = None,
    source: OfSource = None,
    reason: OfReason = None,
    settled: Annotated[bool, typer.Option("--settled", help="Those that are settled or too old, too.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """The letters that wait, with the reason. Opens none."""

    async def run() -> list[Letter]:
        async with _place(data, "list", "") as place:
            found = await letters(place.nc, place.pool, tenant, source, reason)
        return [letter for letter in found if letter.open or settled]

    with plain_errors():
        found = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps([letter.as_json() for letter in found], ensure_ascii=False))
        return
    for letter in found:
        state = "" if letter.open else "  (settled)"
        where = f" at {letter.pointer}" if letter.pointer else ""
        typer.echo(
            f"{letter.letter}  {letter.time}  {letter.tenant}/{letter.source}  {letter.subject.partition('.')[2]}"
            f"  {letter.code}{where}{state}"
        )
    typer.echo(f"{len(found)} letters")


@app.command()
def show(letter: Name, purpose: Purpose, by: By = "", data: Data = None, as_json: AsJson = False) -> None:
    """Opens a letter: what came, what was put in its place, and what was done with it. May show personal data."""

    async def run() -> dict[str, Any]:
        async with _place(data, purpose, by) as place:
            found = await letter_named(place.nc, place.pool, letter)
            contents = [content.decode(errors="replace") for content in await place.desk.read(found)]
            history = await place.desk.history(found)
        return {
            **found.as_json(),
            "contents": contents,
            "history": [{**step._asdict(), "at": step.at.isoformat()} for step in history],
        }

    with plain_errors():
        shown = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps(shown, ensure_ascii=False))
        return
    for name, value in shown.items():
        if name not in ("contents", "history"):
            typer.echo(f"{name:<10} {value}")
    for number, content in enumerate(shown["contents"]):
        typer.echo(f"-- {'as it came' if number == 0 else f'put in its place ({number})'}\n{content}")
    for step in shown["history"]:
        typer.echo(f"-- {step['at']}  {step['what']} by {step['by']}: {step['purpose']}")


@app.command()
def fix(
    letter: Name,
    purpose: Purpose,
    file: Annotated[Path | None, typer.Option(help="The event to put in its place.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="POINTER=VALUE, such as /data/kind=inquiry; JSON where it is JSON, else a text."),
    ] = None,
    without: Annotated[list[str] | None, typer.Option("--remove", help="POINTER of a field to take out.")] = None,
    by: By = "",
    data: Data = None,
) -> None:
    """Puts a file, or the newest content with some fields changed, in the place of a letter. What came is kept."""

    async def run() -> None:
        async with _place(data, purpose, by) as place:
            found = await letter_named(place.nc, place.pool, letter)
            if file is not None:
                content = await asyncio.to_thread(file.read_bytes)
            else:
                content = changed((await place.desk.read(found))[-1], changes or [], without or [])
            await place.desk.fix(found, content)

    with plain_errors():
        if (file is None) == (not changes and not without):
            raise ValueError("give --file, or --set and --remove")
        asyncio.run(run())
    typer.echo(f"{letter} has other content now. `gihan dead redrive {letter}` gives it in again.")


@app.command()
def redrive(
    purpose: Purpose,
    names: Annotated[
        list[str] | None, typer.Argument(help="Letters; or choose them by tenant, source, reason.")
    ] = None,
    tenant: OfTenant = None,
    source: OfSource = None,
    reason: OfReason = None,
    by: By = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Gives letters in again as their source. What is accepted is settled, and its key destroyed; ends with 1 where
    anything is still refused."""

    async def run() -> list[tuple[Letter, Accepted | Refused | str]]:
        async with _place(data, purpose, by) as place:
            if names:
                found = [await letter_named(place.nc, place.pool, name) for name in names]
            else:
                waiting = await letters(place.nc, place.pool, tenant, source, reason)
                found = [letter for letter in waiting if letter.open]
            return [(letter, await _redriven(place.desk, letter)) for letter in found]

    with plain_errors():
        if not (names or tenant or source or reason):
            raise ValueError("name letters, or choose them by --tenant, --source or --reason")
        done = asyncio.run(run())
    rows = [{"letter": letter.letter, **_as_row(answer)} for letter, answer in done]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        for row in rows:
            typer.echo("  ".join(str(value) for value in row.values()))
    if any(not isinstance(answer, Accepted) for _, answer in done):
        raise typer.Exit(1)


async def _redriven(desk: Desk, letter: Letter) -> Accepted | Refused | str:
    """The answer; or why there was none, so that the letters after it are given in all the same."""
    try:
        return await desk.redrive(letter)
    except (DeadError, VaultError) as error:
        return str(error)


def _as_row(answer: Accepted | Refused | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"status": "left", "detail": answer}
    return answer.model_dump(mode="json", exclude_none=True)


def changed(content: bytes, changes: Sequence[str], without: Sequence[str]) -> bytes:
    """An event with fields set (POINTER=VALUE) and taken out. Raises ValueError, which shows no content."""
    try:
        event = json.loads(content)
    except ValueError:
        raise ValueError("what came is not JSON, so no field of it can be set: give --file") from None
    for change in changes:
        pointer, equals, value = change.partition("=")
        if not equals:
            raise ValueError("--set wants POINTER=VALUE, such as /data/kind=inquiry")
        parent, name = _parent(event, pointer)
        try:
            parsed: Any = json.loads(value)
        except ValueError:
            parsed = value
        parent[name] = parsed
    for pointer in without:
        parent, name = _parent(event, pointer)
        if name not in parent:
            raise ValueError(f"{pointer}: there is no such field")
        del parent[name]
    return json.dumps(event, ensure_ascii=False).encode()


def _parent(event: Any, pointer: str) -> tuple[dict[str, Any], str]:
    """The object that holds (or will hold) the field of an RFC 6901 pointer, and the field's name."""
    if not pointer.startswith("/"):
        raise ValueError(f"{pointer}: a pointer begins with /, such as /data/kind")
    *path, name = (step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/"))
    for step in path:
        event = event.get(step) if isinstance(event, dict) else None
    if not isinstance(event, dict):
        raise ValueError(f"{pointer}: the event has no object there; only fields of objects can be set")
    return event, name
