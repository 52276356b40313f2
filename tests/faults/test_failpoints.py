"""The sweep: every service is killed at each of its failpoints, comes back by itself, and what stands is audited.

Goal: a crash between any two durable effects loses nothing and doubles nothing. Method: a whole Gihan under load; in
a round every failpoint of every service has an order to kill, carried out once by the first process that comes by, so
that each life of a process ends at the next place it reaches; then quiet, then the audit. A failpoint that nobody
reaches fails the test.

GIHAN_FAULTS=full: twenty rounds instead of three. `python -m tests.faults.test_failpoints fold.after_facts` strikes
some failpoints alone, once.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from deploy import processes
from services.chassis.clock import RealClock
from services.chassis.failpoints import FAILPOINTS
from services.chassis.logs import configure
from services.cli.audit import Report, in_words
from services.cli.evidence import Book, Outage
from services.rules.instants import text
from tests.faults import workload
from tests.faults.orders import Orders, allowed
from tests.faults.world import CITY, World, running_world

FULL = os.environ.get("GIHAN_FAULTS") == "full"
ROUNDS = 20 if FULL else 3
PATIENCE_SECONDS = 90.0
"""Without any strike for so long a round has failed."""
LOAD_SECONDS = 15.0
RATE = 3.0

PLACES: dict[str, tuple[str, ...]] = {
    "intake": (
        "vault.after_index",
        "vault.after_subjects",
        "reserve.after_vault",
        "reserve.after_reservations",
        "intake.after_append",
        "intake.before_answer",
        "intake.after_receipts",
        "inbox.after_accept",
        "inbox.after_receipt",
        "inbox.after_letter_key",
        "inbox.after_dead",
        "lease.after_lock",
        "batch.before_marker",
        "intake.after_reserve",
        "sweep.after_fence",
        "intake.after_adopt",
        "intake.after_adopted_append",
        "sweep.after_batch",
    ),
    "sla_timer": (
        "lease.after_lock",
        "fold.after_take_over",
        "fold.before_batch",
        "fold.after_facts",
        "fold.after_tick_slice",
        "fold.after_home",
        "fold.after_enacting_slice",
        "store.after_position",
        "store.after_cases",
        "ticker.before_pass",
        "ticker.after_tick",
        "batch.before_marker",
        "relay.before_pass",
        "relay.after_publish",
        "relay.before_settle",
        "relay.after_lane",
    ),
    "notifier": (
        "vault.after_tenant_keys",
        "notifier.after_lease",
        "vault.after_access_record",
        "notifier.after_cases",
        "notifier.after_sla",
        "ledger.after_states",
        "ledger.after_tellings",
        "release.after_messages",
        "release.after_commit",
        "compensation.after_task",
        "compensation.after_withdrawal",
        "receipts.after_publish",
        "relay.after_publish",
        "delivery.after_recovery",
        "delivery.after_result",
        "delivery.after_gateway",
        "delivery.after_attempt",
        "delivery.after_asking",
        "delivery.after_reconciling",
    ),
}


class Strike(NamedTuple):
    """An order carried out: in which round, by whom, where, and how many seconds after the round began."""

    round: int
    service: str
    name: str
    seconds: float


class Sweep:
    """Rounds of strikes on one world under load."""

    def __init__(self, world: World, orders: Orders, tenants: Path) -> None:
        self.world = world
        self.strikes: list[Strike] = []
        self.book = Book()
        self._orders = orders
        self._tenants = tenants
        self._loads = 0

    async def round(self, number: int, places: Mapping[str, Sequence[str]]) -> Report:
        """Every failpoint of `places` once, under load; then quiet, and what the auditor says."""
        begins = await RealClock().now()
        for service, names in places.items():
            for name in names:
                self._orders.give(service, name, "kill")
        striking = asyncio.create_task(self._strike(number, places))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._lead(number))
                group.create_task(self._load(striking))
                await striking
        finally:
            self._orders.clear()
        await self.world.ready()
        self.book.outages.append(Outage(f"round {number}", begins, await RealClock().now()))
        await self.world.settle()
        return await self.world.audit(self.book)

    async def _lead(self, number: int) -> None:
        """Does what chance would not: a new tenant, whose keys the next notifier makes, and a charter enacted again."""
        with self._tenants.open("a", encoding="utf-8") as file:
            file.write(NEW_TENANT.format(number=number))
        await enact_again(self.world, f"again-{number}")

    async def _strike(self, number: int, places: Mapping[str, Sequence[str]]) -> None:
        """Watches the orders being carried out."""
        loop = asyncio.get_running_loop()
        begun = last = loop.time()
        left = {(service, name) for service, names in places.items() for name in names}
        while left:
            for service, name in sorted(left):
                if self._orders.struck(service, name):
                    left.remove((service, name))
                    last = loop.time()
                    self.strikes.append(Strike(number, service, name, last - begun))
            assert loop.time() - last < PATIENCE_SECONDS, f"nobody comes by {sorted(left)}"
            await asyncio.sleep(0.1)

    async def _load(self, striking: asyncio.Task[None]) -> None:
        """Publishers of one seed after another, for as long as there is anything to strike."""
        async with asyncio.TaskGroup() as group:
            while not striking.done():
                self._loads += 1
                load = workload.Workload(self.world, self._loads, RATE, self.book)
                group.create_task(load.run(LOAD_SECONDS))
                await asyncio.wait([striking], timeout=LOAD_SECONDS)


NEW_TENANT = """
new-{number}:
  name_ko: 새로시
  name_en: New
  zone: Asia/Seoul
  calendar: kr
  administrator: administration
  sources: {{administration: {{}}}}
  partners: []
  sms_sender: "000-000-0003"
  email_sender: petition@new.example
"""


async def enact_again(world: World, id: str) -> None:
    """The first city enacts the charter that it has, once more: nothing changes, and every partition folds it."""
    body = await world.pool.fetchval(
        "select body from read.enacted where body like '%\"charter.enacted\"%' and body like '%\"rapids\"%' limit 1"
    )
    event = {"specversion": "1.0", "id": id, "source": "administration", "type": "charter.enacted"}
    event |= {"subject": "rapids", "tenant": "rapids", "time": text(await RealClock().now(), workload.ZONE)}
    key = world.servers.publisher_keys["rapids/administration"]
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
        for _ in range(400):
            with suppress(httpx.TransportError):
                answer = await http.post(
                    f"{world.intakes[0]}/v1/events",
                    json={**event, "data": json.loads(body)["data"]},
                    headers={"Authorization": f"Bearer {key}"},
                )
                if answer.status_code < 500:
                    assert answer.status_code == 200, answer.text
                    return
            await asyncio.sleep(0.3)
    raise AssertionError("intake does not take a charter")


@asynccontextmanager
async def sweeping(folder: Path) -> AsyncIterator[Sweep]:
    """A world that obeys orders, whose supervisor starts what was killed again without growing patience."""
    with allowed(folder / "orders") as orders, pytest.MonkeyPatch.context() as patch:
        patch.setattr(workload, "PATIENCE_SECONDS", 900.0)  # intake dies again and again for as long as a round lasts
        patch.setattr(processes, "_LONGEST_PAUSE_SECONDS", processes._SHORTEST_PAUSE_SECONDS)
        async with running_world(folder / "world") as world:
            tenants = folder / "tenants.yaml"
            tenants.write_bytes((CITY / "tenants.yaml").read_bytes())
            told: Any = world.processes["notifier"].command.environment
            told["GIHAN_TENANTS_FILE"] = str(tenants)
            yield Sweep(world, orders, tenants)


def table(strikes: Sequence[Strike]) -> list[str]:
    """The strikes for people: a line each failpoint."""
    lines = [f"{len(strikes)} kills at {len({strike.name for strike in strikes})} failpoints"]
    counts = Counter((strike.service, strike.name) for strike in strikes)
    for service, names in PLACES.items():
        lines += [f"  {counts[service, name]:>3} {service:<10} {name}" for name in names if counts[service, name]]
    rounds = {strike.round: strike.seconds for strike in strikes}
    return [*lines, *(f"round {number} took {seconds:.0f} s" for number, seconds in rounds.items())]


def test_every_failpoint_has_a_service_that_reaches_it() -> None:
    assert {name for names in PLACES.values() for name in names} == set(FAILPOINTS)


@pytest.mark.timeout(400 * ROUNDS)
async def test_a_kill_at_any_failpoint_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    async with sweeping(tmp_path) as sweep:
        for number in range(1, ROUNDS + 1):
            report = await sweep.round(number, PLACES)
            words = "\n".join([*table(sweep.strikes), *in_words(report)])
            print(words)
            assert not report.violations, words
    assert len(sweep.strikes) == ROUNDS * sum(map(len, PLACES.values()))


async def main(names: Sequence[str]) -> bool:
    """Strikes these failpoints alone, once in every service that reaches them."""
    places = {service: tuple(name for name in all_of if name in names) for service, all_of in PLACES.items()}
    folder = Path(tempfile.mkdtemp(prefix="gihan-failpoints-"))
    async with sweeping(folder) as sweep:
        report = await sweep.round(1, places)
        print(*table(sweep.strikes), *in_words(report), f"data and logs: {folder}", sep="\n")
    return not report.violations


if __name__ == "__main__":
    configure("failpoints", "critical")
    sys.exit(0 if asyncio.run(main(sys.argv[1:] or list(FAILPOINTS))) else 1)
