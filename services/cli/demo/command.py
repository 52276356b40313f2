"""`gihan demo`: the week played before somebody's eyes, and what came of it as a table.

The one rule: it ends with 0 only where every comparison held, and what differs stays on the disk to be looked at.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from services.chassis import logs
from services.chassis.logs import OperatorError
from services.cli import running
from services.cli.demo import links
from services.cli.demo.demo import MONDAY, City, Outcome, played, steps_of
from services.cli.demo.week.plan import week
from services.cli.errors import plain_errors
from services.cli.options import AsJson
from services.rules.instants import Instant, local

WIDTH = 110
"""Of the table, in columns, where the output is no terminal."""


def demo(
    seed: Annotated[int, typer.Option(help="Seed of the generated week.")] = 1,
    keep: Annotated[
        bool | None, typer.Option(help="Leave it running afterwards, with links; default: where a terminal is watched.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder; default a new one, removed afterwards.")] = None,
    as_json: AsJson = False,
) -> None:
    """A working week of five cities through the whole system, on a stepped clock."""
    with plain_errors():
        watched = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
        stays = watched if keep is None else keep
        raise typer.Exit(asyncio.run(_run(data, seed, stays, sys.stderr.isatty(), as_json)))


async def _run(data: Path | None, seed: int, keep: bool, progress: bool, as_json: bool = False) -> int:
    """Runs the demo and prints what came of it; returns 0 where every comparison held, else 1.

    `data` must be empty or new; without it a folder is made, and removed in the end unless something differs.
    `keep` leaves the system up until interrupted. Raises OperatorError where the demo cannot be run.
    """
    # What this process would log is told by the services' own logs, or raised; the terminal is for people.
    logs.configure("demo", "critical")
    console = Console(stderr=as_json)
    console.width = max(console.width, WIDTH)
    home = _home(data)
    try:
        outcome = await _demo(home, seed, keep, progress, as_json, console)
    except Exception:
        console.print(f"The demo broke off. Data and logs: {home}")
        raise
    if data is None and not outcome.differences:
        shutil.rmtree(home, ignore_errors=True)
    else:
        console.print(f"Data, logs and what the gateways took: {home}")
    return 1 if outcome.differences else 0


async def _demo(home: Path, seed: int, keep: bool, progress: bool, as_json: bool, console: Console) -> Outcome:
    tenants = running.read_tenants()
    deliveries = week(seed, MONDAY, tenants)
    zone = next(iter(tenants.values())).zone
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not progress, transient=True) as bar:
        task = bar.add_task("Servers and services start", total=len(steps_of(deliveries, tenants)))

        def show_step(number: int, at: Instant, gihan: running.Gihan) -> None:
            bar.update(task, completed=number, description=f"{local(at, zone):%a %d %b %H:%M}")

        async with played(home, seed, deliveries, tenants, show_step, sign_on=keep) as (outcome, gihan):
            bar.stop()
            if as_json:
                print(json.dumps(asdict(outcome), ensure_ascii=False), flush=True)
            _show(console, outcome)
            if keep:
                await _stay(console, gihan, outcome)
            else:
                console.print(
                    "At a terminal, or with --keep, it ends with links to the desk, three messages and a city's report."
                )
    return outcome


def _home(data: Path | None) -> Path:
    if data is None:
        return Path(tempfile.mkdtemp(prefix="gihan-demo-"))
    if data.exists() and any(data.iterdir()):
        raise OperatorError(f"{data} is not empty. The demo's clock begins in {MONDAY:%B %Y}: name a new folder.")
    return data.absolute()


def _show(console: Console, outcome: Outcome) -> None:
    table = Table(title=f"A week of {len(outcome.cities)} cities (seed {outcome.seed})", show_footer=True)
    names = [field.name for field in fields(City)]
    headings = {"messages": "messages sent", "won": "compensation in won"}
    rows = [[getattr(city, name) for name in names] for city in outcome.cities.values()]
    for place, name in enumerate(names):
        total = "all" if place == 0 else f"{sum(row[place] for row in rows):,}"
        table.add_column(headings.get(name, name), total, justify="right" if place else "left")
    for row in rows:
        table.add_row(row[0], *(f"{number:,}" for number in row[1:]))
    console.print(table)
    answers = ", ".join(f"{number} {answer}" for answer, number in outcome.answers.items())
    console.print(f"{outcome.deliveries} deliveries in {outcome.steps} steps: {answers}.")
    console.print(f"{outcome.seconds:.0f} seconds; {outcome.retries} sendings repeated for want of an answer.")
    for name, count in outcome.restarts.items():
        console.print(f"{name} was started again, times: {count}.")
    if outcome.differences:
        console.print(f"[bold red]DIFFERENT[/] in {len(outcome.differences)} places:")
        for words in outcome.differences[:50]:
            console.print(f"  {words}", markup=False, highlight=False)
        return
    console.print(
        f"[bold green]EQUAL[/]: {outcome.decisions} decisions, case by case and promise by promise, live and from "
        f"CASES alone; {outcome.messages} messages in the ledger, on NOTICES and at the gateways, each once; "
        "every answer of a door as expected."
    )


async def _stay(console: Console, gihan: running.Gihan, outcome: Outcome) -> None:
    """Leaves everything running until Ctrl-C."""
    console.print("Still running. The clock stands where the week ended and does not move. Ctrl-C ends it.")
    for line in [*running.addresses(gihan), *links.show(gihan, outcome.samples)]:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        console.print("Ending.")
