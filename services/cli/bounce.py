"""`gihan bounce < mail`: what a mail server sends back, handed over by that server (a pipe in its aliases).

The one rule: a mail is not lost because something is away. What cannot be kept now ends with 75, after which the mail
server keeps it and tries again.
"""

import asyncio
import os
import sys
from pathlib import Path

import typer

from deploy.joining import data_folder, environment_of
from services.chassis import logs, postgres
from services.chassis.settings import Settings, SettingsError
from services.cli.options import Data
from services.notifier import bounces
from services.notifier.reports import Marks

TRY_AGAIN = os.EX_TEMPFAIL


def bounce(data: Data = None) -> None:
    """Takes in a delivery status notification (RFC 3464) from standard input. Any other mail changes nothing."""
    logs.configure("bounce", "critical")
    try:
        settings = _settings((data or data_folder()).absolute())
        assert settings.reports_key_file is not None
        marks = Marks.of_file(settings.reports_key_file)
        taken = asyncio.run(_take(settings, marks, sys.stdin.buffer.read()))
    except (*postgres.LOST, logs.OperatorError) as error:
        why = str(error) if isinstance(error, logs.OperatorError) else logs.error_code(error)
        typer.echo(f"The mail was not taken in: {why}", err=True)
        raise typer.Exit(TRY_AGAIN) from None
    typer.echo("kept" if taken else "no report about a mail of ours: nothing was done")


def _settings(data: Path) -> Settings:
    environment = dict(os.environ)
    if "NATS_URL" not in environment:
        environment.setdefault("GIHAN_REPORTS_KEY_FILE", str(data / "secrets" / "reports.key"))
        environment |= environment_of(data, "notifier")
    settings = Settings.from_env("bounce", environment)
    if settings.reports_key_file is None:
        raise SettingsError("GIHAN_REPORTS_KEY_FILE is not set: without it nobody knows a true report.")
    return settings


async def _take(settings: Settings, marks: Marks, content: bytes) -> bool:
    pool = await postgres.connect_pool(settings, max_size=1)
    try:
        return await bounces.take(pool, marks, content)
    finally:
        await pool.close()
