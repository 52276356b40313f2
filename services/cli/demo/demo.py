"""`gihan demo`: a working week of every municipality through the whole system, on a stepped clock.

The one rule: nothing is taken on trust. What the running system decided is compared with what another process
works out from CASES alone, and what it sent with what the gateways took; any difference is an error.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import asyncpg
from nats.aio.client import Client

from deploy import permissions
from deploy.embedded import Embedded
from services.chassis import broker, clock, postgres
from services.chassis.settings import Settings
from services.cli import remedies, running
from services.cli.demo import compare, links
from services.cli.demo.compare import Decided
from services.cli.demo.driver import Doors, Driver
from services.cli.demo.week.delivery import Delivery
from services.rules.instants import DAY, HOUR, Instant, midnight
from services.rules.tenants import Tenant

MONDAY = date(2026, 4, 6)
"""The first day of a week without a public holiday."""


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
        steps = steps_of(deliveries, tenants)
        for number, (at, now) in enumerate(steps):
            on_step(number, at, run.gihan)
            await driver.step(at, now)
        outcome = await _outcome(run, seed, deliveries, tenants)
        outcome.steps, outcome.seconds = len(steps), round(time.monotonic() - began, 1)
        yield outcome, run.gihan


def steps_of(deliveries: Sequence[Delivery], tenants: Mapping[str, Tenant]) -> list[tuple[Instant, list[Delivery]]]:
    """The steps of the week, then one to the end of Friday and one to the next Monday morning."""
    monday = _monday(tenants)
    steps = [(at, list(group)) for at, group in groupby(deliveries, key=lambda delivery: delivery.at)]
    return [*steps, (monday + 4 * DAY + 18 * HOUR, []), (monday + 7 * DAY + 9 * HOUR, [])]


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
        compare.live_decisions(run.pool), compare.refolded(run.gihan.servers.nats_url("replay"), log)
    )
    answers = [*run.doors.answers, *await compare.inbox_answers(run.nc, deliveries)]
    notices = await compare.read_all(run.nc, "NOTICES")
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
        samples=await links.chosen(run.pool),
        differences=[
            *compare.of_answers(answers),
            *compare.of_decisions(live, again),
            *compare.of_messages([row["key"] for row in ledger], sent, _record(run.gihan.gateway), repeated),
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
