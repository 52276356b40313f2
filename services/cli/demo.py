"""`gihan demo`: a working week of every municipality through the whole system, on a stepped clock.

The one rule: nothing is taken on trust. What the running system decided is compared with what another process
works out from CASES alone, and what it sent with what the gateways took; any difference is an error.
"""

import asyncio
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import asyncpg
from nats.aio.client import Client
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy import permissions
from deploy.embedded import Embedded
from services.chassis import broker, clock, logs, postgres
from services.chassis.logs import OperatorError
from services.chassis.settings import Settings
from services.cli import demo_compare, demo_links, remedies, running
from services.cli.demo_compare import Decided
from services.cli.demo_driver import Doors, Driver
from services.cli.week import Delivery, week
from services.rules.instants import DAY, HOUR, Instant, local, midnight
from services.rules.tenants import Tenant

MONDAY = date(2026, 4, 6)
"""The first day of a week without a public holiday."""

WIDTH = 110
"""Of the table, in columns, where the output is no terminal."""


@dataclass(slots=True)
class City:
    """A line of the table. `won` is what was proposed as compensation and not withdrawn."""

    name: str
    cases: int = 0
    started: int = 0
    kept: int = 0
    warned: int = 0
    broken: int = 0
    retracted: int = 0
    messages: int = 0
    won: int = 0


KINDS = {
    "deadline.started": "started",
    "deadline.met": "kept",
    "deadline.warned": "warned",
    "deadline.breached": "broken",
    "breach.retracted": "retracted",
}
"""The columns that count decisions."""


@dataclass(slots=True)
class Outcome:
    """What the week came to. `differences` is empty where every comparison held."""

    seed: int
    seconds: float
    steps: int
    deliveries: int
    retries: int
    restarts: dict[str, int]
    decisions: int
    messages: int
    answers: dict[str, int]
    cities: dict[str, City]
    differences: list[str]
    samples: dict[str, str] = field(default_factory=dict)
    """The key of one message of each kind that is shown."""


OnStep = Callable[[int, Instant, running.Gihan], None]


class _Run(NamedTuple):
    """A running Gihan, and what the driver and the comparisons need to reach it."""

    gihan: running.Gihan
    pool: asyncpg.Pool
    nc: Client
    doors: Doors


async def run(data: Path | None, seed: int, keep: bool, progress: bool, as_json: bool = False) -> int:
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
        task = bar.add_task("Servers and services start", total=len(_steps(deliveries, tenants)))

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


@asynccontextmanager
async def played(
    home: Path,
    seed: int,
    deliveries: Sequence[Delivery],
    tenants: Mapping[str, Tenant],
    on_step: OnStep,
    sign_on: bool = False,
) -> AsyncIterator[tuple[Outcome, running.Gihan]]:
    """What came of deliveries of the week, compared, while the system that they went through is still up.

    `on_step` is told of each step before it is taken: its number, its instant, and the running system.
    """
    began = time.monotonic()
    async with _running(home, tenants, sign_on=sign_on) as run:
        driver = Driver(run.pool, run.nc, run.doors)
        steps = _steps(deliveries, tenants)
        for number, (at, now) in enumerate(steps):
            on_step(number, at, run.gihan)
            await driver.step(at, now)
        outcome = await _outcome(run, seed, deliveries, tenants)
        outcome.steps, outcome.seconds = len(steps), round(time.monotonic() - began, 1)
        yield outcome, run.gihan


def _steps(deliveries: Sequence[Delivery], tenants: Mapping[str, Tenant]) -> list[tuple[Instant, list[Delivery]]]:
    """The steps of the week, then one to the end of Friday and one to the next Monday morning."""
    monday = _monday(tenants)
    steps = [(at, list(group)) for at, group in groupby(deliveries, key=lambda delivery: delivery.at)]
    return [*steps, (monday + 4 * DAY + 18 * HOUR, []), (monday + 7 * DAY + 9 * HOUR, [])]


def _home(data: Path | None) -> Path:
    if data is None:
        return Path(tempfile.mkdtemp(prefix="gihan-demo-"))
    if data.exists() and any(data.iterdir()):
        raise OperatorError(f"{data} is not empty. The demo's clock begins in {MONDAY:%B %Y}: name a new folder.")
    return data.absolute()


@asynccontextmanager
async def _running(
    home: Path, tenants: Mapping[str, Tenant], at: Instant | None = None, sign_on: bool = False
) -> AsyncIterator[_Run]:
    """Servers, gateways and services, a connection for every publishing system; all ended with the block.

    The clock stands at `at`, else at Monday morning.
    """
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(Embedded(home / "data", tenants))
        await running.provisioned(servers, tenants, _monday(tenants))
        pool = await postgres.connect_pool(_settings(servers, "operator"))
        stack.push_async_callback(pool.close)
        # Before any service looks at it, so that nothing is dated in 1970.
        await clock.step(pool, _monday(tenants) + 8 * HOUR if at is None else at)
        gihan = await stack.enter_async_context(running.start_services(servers, home, "stepped", sign_on))
        connections = {}
        for user in ("operator", *(permissions.publisher(*name) for name in permissions.publishers(tenants))):
            connections[user] = await broker.connect(_settings(servers, user))
            stack.push_async_callback(connections[user].close)
        intake = gihan.services.url("intake")
        doors = await stack.enter_async_context(Doors(intake, servers.publisher_keys, connections))
        yield _Run(gihan, pool, connections["operator"], doors)


def _settings(servers: Embedded, user: str) -> Settings:
    return Settings(nats_url=servers.nats_url(user), database_url=servers.database_url, service=user)


def _monday(tenants: Mapping[str, Tenant]) -> Instant:
    return min(midnight(MONDAY, tenant.zone) for tenant in tenants.values())


async def _outcome(run: _Run, seed: int, deliveries: Sequence[Delivery], tenants: Mapping[str, Tenant]) -> Outcome:
    """Reads the results of the run and compares them."""
    log = run.gihan.servers.logs / "refold.log"
    live, again = await asyncio.gather(
        demo_compare.live_decisions(run.pool), demo_compare.refolded(run.gihan.servers.nats_url("replay"), log)
    )
    answers = [*run.doors.answers, *await demo_compare.inbox_answers(run.nc, deliveries)]
    notices = await demo_compare.read_all(run.nc, "NOTICES")
    sent = [event["data"]["key"] for _, event in notices if event.get("type") == "notice.sent"]
    ledger = await run.pool.fetch("select key, means, attempts from read.notices where state = 'sent'")
    repeated = {row["key"] for row in ledger if row["means"] == "email" and row["attempts"] > 1}
    cities = await _cities(run.pool, live, tenants)
    return Outcome(
        seed=seed,
        seconds=0,
        steps=0,
        deliveries=len(deliveries),
        retries=run.doors.retries,
        restarts=_restarts(run.gihan),
        decisions=len(live),
        messages=len(sent),
        answers=dict(sorted(Counter(answer for _, answer in answers).items())),
        cities=cities,
        samples=await demo_links.chosen(run.pool),
        differences=[
            *demo_compare.of_answers(answers),
            *demo_compare.of_decisions(live, again),
            *demo_compare.of_messages([row["key"] for row in ledger], sent, _record(run.gihan.gateway), repeated),
            *await _book(run),
        ],
    )


async def _book(run: _Run) -> list[str]:
    """Where the book of money is another than the logs say."""
    nc = await broker.connect(_settings(run.gihan.servers, "replay"))
    try:
        return await remedies.differences(nc, run.pool)
    finally:
        await nc.close()


def _restarts(gihan: running.Gihan) -> dict[str, int]:
    """How often each process had to be started again, where it had to."""
    counts = {service: gihan.services.restarts(service) for service in permissions.SERVICES}
    for name, keeper in (("nats-server", gihan.servers.nats), ("PostgreSQL", gihan.servers.postgres)):
        counts[name] = keeper.restarts if keeper is not None else 0
    return {name: count for name, count in counts.items() if count}


def _record(folder: Path | None) -> list[dict[str, str]]:
    """The gateways' own record: a line for each attempt that reached them."""
    assert folder is not None, "on a stepped clock the development gateways are always used"
    path = folder / "record.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


async def _cities(pool: asyncpg.Pool, live: Sequence[Decided], tenants: Mapping[str, Tenant]) -> dict[str, City]:
    cities = {tenant.id: City(tenant.name_en) for tenant in tenants.values()}
    for decided in live:
        if column := KINDS.get(decided.decision):
            setattr(cities[decided.tenant], column, getattr(cities[decided.tenant], column) + 1)
    for column, query in (
        ("cases", "select tenant, count(*) from read.subject_refs group by tenant"),
        ("messages", "select tenant, count(*) from read.notices where state = 'sent' group by tenant"),
        ("won", "select tenant, sum(amount)::bigint from read.tasks where state <> 'withdrawn' group by tenant"),
    ):
        for tenant, number in await pool.fetch(query):
            setattr(cities[tenant], column, number or 0)
    return cities


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
    for line in [*running.addresses(gihan), *demo_links.show(gihan, outcome.samples)]:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        console.print("Ending.")
