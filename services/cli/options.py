"""Options that several commands have, and what follows from them.

The one rule: the same word means the same after every command.
"""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from deploy.joining import data_folder, environment_of
from services.chassis.settings import Settings
from services.rules import instants
from services.rules.explaining.words import Language
from services.rules.instants import Instant

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[Path | None, typer.Option(help="Data folder; default GIHAN_DATA, else ./data.")]
Contracts = Annotated[
    Path | None,
    typer.Option(help="Folder with charters, calendars and law of your own; default GIHAN_CONTRACTS, else none."),
]


def instant(text: str) -> Instant:
    """A time as typed. Raises ValueError that says how to write one."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text} is no time: write one such as 2026-03-12T18:00:00+09:00") from None
    return instants.instant(text)


def language(name: str) -> Language:
    """ko or en. Raises ValueError."""
    if name == "ko":
        return "ko"
    if name == "en":
        return "en"
    raise ValueError("--lang is ko or en")


def settings_of_reader(data: Path | None) -> Settings:
    """Those of whoever only reads: of the environment, else of what runs in a data folder."""
    joined = {} if "NATS_URL" in os.environ else environment_of(data or data_folder(), "replay")
    return Settings.from_env("replay", os.environ | joined)
