"""The sweep: every service is killed at each of its failpoints, comes back by itself, and what stands is audited.

Goal: a crash, an error or a long sleep between any two durable effects loses nothing and doubles nothing. Method: a
whole Gihan under load; every failpoint of every service has an order, carried out once by the first process that comes
by, so that each life of a process ends at the next place it reaches; then quiet, then the audit. A failpoint that
nobody reaches fails the test.

GIHAN_FAULTS=full: twenty kills at each instead of three, and two of each service that fall asleep at each.
`python -m tests.faults.test_failpoints kill fold.after_facts` strikes some failpoints alone, once.
"""

import asyncio
import itertools
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from contracts.streams import partition
from deploy import processes
from services.chassis.clock import RealClock
from services.chassis.failpoints import FAILPOINTS
from services.chassis.logs import configure
from services.chassis.tasks import end
from services.cli.auditing.audit import Report, in_words
from services.cli.auditing.evidence import Book, Outage
from services.cli.demo.driver import BUSY_CODES
from services.notifier.reports import Marks
from services.rules.instants import text
from tests.faults import test_erasing, workload
from tests.faults.orders import Orders, allowed
from tests.faults.test_two import is_stopped
from tests.faults.world import CITY, World, running_world

FULL = os.environ.get("GIHAN_FAULTS") == "full"
PATIENCE_SECONDS = 90.0
"""Without any strike for so long a sweep has failed."""
AGAIN_SECONDS = 15.0
"""Without any strike for so long the rarest occasions are made once more."""
ASLEEP_SECONDS = 7.0
LOAD_SECONDS, LOADS = 20.0, 3
RATE = 1.5

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
        "gathering.after_whole",
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
        "reports.after_asking",
        "reports.before_telling",
        "bounces.after_keeping",
    ),
}


BOUNCED = ("bounces.after_keeping", "reports.before_telling")
"""Reached only where something was reported."""
BY_HAND = {
    "compensation.after_step",
    "compensation.after_covering",
    "compensation.after_parting",
    "finding.after_door",
}
"""Reached only where a person acts at the desk: tests/integration/test_compensation.py and test_covering.py strike
there."""

ADOPTING = ("intake.after_adopt", "intake.after_adopted_append")
"""Reached only where an instance of intake ended between reserving a batch and appending it."""
SWEEPING = frozenset((*ADOPTING, "sweep.after_fence", "sweep.after_batch"))
"""Reached only by an instance of intake that finds another one dead."""
ALL = tuple((service, name) for service, names in PLACES.items() for name in names)


class Strike(NamedTuple):
    """An order carried out: by whom, where, and how many seconds after the first orders were given."""

    service: str
    name: str
    seconds: float


class Sweep:
    """Strikes at one world under load."""

    def __init__(self, world: World, orders: Orders, tenants: Path) -> None:
        self.world = world
        self.strikes: list[Strike] = []
        self._orders = orders
        self._tenants = tenants
        self._book = Book()
        self._marks = Marks.of_file(world.servers.secrets / "reports.key")
        self._bounces = 0
        self._loads = 0
        self._told = 0

    async def run(self, action: str, times: int, places: Mapping[str, Sequence[str]]) -> Report:
        """Every failpoint of `places` so many times, under load; then quiet, and what the auditor says."""
        begins = await RealClock().now()
        striking = asyncio.create_task(self._strike(action, times, places))
        helping = [asyncio.create_task(self._wake_stopped())]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._load(striking))
                await striking
            await self.world.ready()
        finally:
            self._orders.clear()
            await end([*helping, striking])
        self._book.outages.append(Outage("sweep", begins, await RealClock().now()))
        # Gateways would go on saying what became of thousands of messages while the auditor reads.
        await self.world.tell_gateways({"reports": "none"})
        await self.world.fall_silent()
        return await self.world.audit(self._book)

    async def _strike(self, action: str, times: int, places: Mapping[str, Sequence[str]]) -> None:
        """Gives the orders and watches them being carried out."""
        loop = asyncio.get_running_loop()
        begun = last = loop.time()
        tries = 0
        left = {(service, name): times for service, names in places.items() for name in names}
        for service, name in left:
            await self._order(service, name, action)
        if action != "kill":  # nothing dies of it, and some places are reached by a process that starts
            for process in [name for name in self.world.processes if name.partition("-")[0] in places]:
                self.world.kill(process)
        while left:
            for service, name in [place for place in left if self._orders.struck(*place)]:
                last, tries = loop.time(), 0
                self.strikes.append(Strike(service, name, last - begun))
                left[service, name] -= 1
                if left[service, name]:
                    await self._order(service, name, action)
                else:
                    del left[service, name]
            waited = loop.time() - last
            assert waited < PATIENCE_SECONDS, f"nobody comes by {sorted(left)}"
            if waited > AGAIN_SECONDS * (1 + tries):
                tries += 1
                await self._occasion({name for _, name in left}, action)
            await asyncio.sleep(0.05)

    async def _order(self, service: str, name: str, action: str) -> None:
        """Gives an order, and does what chance would not: a batch left to be adopted, a new tenant, whose keys the next
        notifier makes, a charter enacted again, cases of one partition that are due at one instant, and a mail that
        came back.
        """
        self._orders.give(service, name, action)
        if name in ADOPTING:
            self._orders.give(service, "intake.after_reserve", action)
        if name == "vault.after_tenant_keys":
            with self._tenants.open("a", encoding="utf-8") as file:
                file.write(NEW_TENANT.format(number=len(self.strikes)))
        if name in BOUNCED:
            self._bounce()
        if name == "fold.after_home":
            self._told += 1
            await enact_again(self.world, f"again-{self._told}")
        if name == "fold.after_tick_slice":
            await self._open_together()

    async def _occasion(self, names: Collection[str], action: str) -> None:
        """Once more what chance would not do, where the first time may have come to nothing."""
        if not SWEEPING.isdisjoint(names):
            # With two of intake asleep at a time nobody swept what one of them had left.
            self._orders.give("intake", "intake.after_reserve", action)
        if "fold.after_tick_slice" in names:
            # Taken in only after they were due, by an intake that dies again and again, they are late without a tick.
            await self._open_together()

    async def _open_together(self) -> None:
        self._told += 1
        await open_together(self.world, f"together-{self._told}")

    def _bounce(self) -> None:
        """A mail server reports on a mail, with a true mark; nobody knows the message."""
        self._bounces += 1
        key = f"nobody-{self._bounces}"
        box = bounces_of(self._tenants.parent)
        (box / "tmp" / key).write_text(BOUNCE.format(id=f"{key}.{self._marks.of(key)}"), encoding="ascii")
        (box / "tmp" / key).rename(box / "new" / key)

    async def _load(self, striking: asyncio.Task[None]) -> None:
        """Publishers of one seed after another, for as long as there is anything to strike; never more of them than
        this machine keeps up with, since who retries is a load too.
        """
        running: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            while not striking.done():
                if len(running) < LOADS:
                    self._loads += 1
                    load = workload.Workload(self.world, self._loads, RATE, self._book)
                    running.add(group.create_task(load.run(LOAD_SECONDS)))
                await asyncio.wait([striking], timeout=LOAD_SECONDS)
                running = {load for load in running if not load.done()}

    async def _wake_stopped(self) -> None:
        """Lets a process that has stopped itself go on, when another one has had the time to take over."""
        since: dict[str, float] = {}
        while True:
            now = asyncio.get_running_loop().time()
            asleep = [name for name in self.world.processes if is_stopped(self.world, name)]
            since = {name: since.get(name, now) for name in asleep}
            for name in asleep:
                pid = self.world.processes[name].pid
                if now - since[name] > ASLEEP_SECONDS and pid is not None:
                    os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(0.2)


BOUNCE = """Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example
Original-Envelope-Id: {id}

Action: failed
Status: 5.1.1

--b--
"""


def bounces_of(folder: Path) -> Path:
    """The mailbox of a sweep."""
    return folder / "bounces"


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
    data = json.loads(body)["data"]
    await _state(world, [await _event("administration", id, "charter.enacted", "rapids", data)])


async def open_together(world: World, id: str) -> None:
    """Three petitions of one partition at one instant: their answers are due together, and nobody gives any."""
    names = (f"{id}-{number}" for number in itertools.count())
    together = itertools.islice((name for name in names if partition("rapids", name) == 0), 3)
    data = {"channel": "web", "kind": "inquiry", "title": "A street lamp"}
    data |= {"applicant": {"name": "Anon", "address": "None"}}
    events = [await _event("web", name, "complaint.received", name, data) for name in together]
    await _state(world, [event | {"time": events[0]["time"]} for event in events])


async def _event(source: str, id: str, type: str, subject: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """An event of the first city that happens now."""
    event = {"specversion": "1.0", "id": id, "source": source, "type": type, "subject": subject, "tenant": "rapids"}
    return event | {"time": text(await RealClock().now(), workload.ZONE), "data": data}


async def _state(world: World, events: Sequence[Mapping[str, Any]]) -> None:
    """Sends events of one source to intake until it takes them, dead as it may be now and then."""
    key = world.servers.publisher_keys[f"rapids/{events[0]['source']}"]
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
        for _ in range(400):
            with suppress(httpx.TransportError):
                answer = await http.post(
                    f"{world.intakes[0]}/v1/events", json=events, headers={"Authorization": f"Bearer {key}"}
                )
                if answer.status_code < 500:
                    assert answer.status_code == 200, answer.text
                    refused = {one["code"] for one in answer.json() if "code" in one}
                    assert refused <= BUSY_CODES, answer.text
                    if not refused:
                        return
            await asyncio.sleep(0.3)
    raise AssertionError(f"intake does not take {events[0]['type']}")


@asynccontextmanager
async def sweeping(folder: Path, copies: int) -> AsyncIterator[Sweep]:
    """A world that obeys orders, whose supervisor starts what was killed again without growing patience."""
    with allowed(folder / "orders") as orders, pytest.MonkeyPatch.context() as patch:
        patch.setattr(workload, "PATIENCE_SECONDS", 900.0)  # intake dies again and again for as long as a round lasts
        patch.setattr(processes, "_LONGEST_PAUSE_SECONDS", processes._SHORTEST_PAUSE_SECONDS)
        async with running_world(folder / "world", copies) as world:
            tenants = folder / "tenants.yaml"
            tenants.write_bytes((CITY / "tenants.yaml").read_bytes())
            for part in ("new", "cur", "tmp"):
                (bounces_of(folder) / part).mkdir(parents=True)
            for name in [name for name in world.processes if name.startswith("notifier")]:
                _tell(world, name, "GIHAN_TENANTS_FILE", str(tenants))
                _tell(world, name, "GIHAN_BOUNCES", str(bounces_of(folder)))
            for name in [name for name in world.processes if name.startswith("sla_timer")]:
                _tell(world, name, "GIHAN_SLICE_CASES", "1")  # two cases due at once are more than a slice
            await world.tell_gateways({"reports": "delivered"})
            yield Sweep(world, orders, tenants)


def _tell(world: World, process: str, name: str, value: str) -> None:
    """A variable of a process, from its next start on."""
    told: Any = world.processes[process].command.environment
    told[name] = value


def table(strikes: Sequence[Strike], action: str) -> list[str]:
    """The strikes for people: a line each failpoint."""
    counts = Counter((strike.service, strike.name) for strike in strikes)
    lines = [f"  {counts[place]:>3} {place[0]:<10} {place[1]}" for place in ALL if counts[place]]
    names = {strike.name for strike in strikes}
    return [*lines, f"{len(strikes)} times `{action}` at {len(names)} failpoints in {strikes[-1].seconds:.0f} s"]


def test_every_failpoint_has_a_service_that_reaches_it() -> None:
    swept = {name for places in (PLACES, test_erasing.PLACES) for names in places.values() for name in names}
    assert swept | BY_HAND == set(FAILPOINTS)


async def swept(folder: Path, action: str, times: int, copies: int = 1) -> None:
    """One sweep over all failpoints, which must find nothing and reach everything."""
    async with sweeping(folder, copies) as sweep:
        report = await sweep.run(action, times, PLACES)
    words = "\n".join([*table(sweep.strikes, action), *in_words(report)])
    print(words)
    assert not report.violations, words
    assert Counter((strike.service, strike.name) for strike in sweep.strikes) == Counter(dict.fromkeys(ALL, times))


@pytest.mark.timeout(3600 if FULL else 600)
async def test_a_kill_at_any_failpoint_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    await swept(tmp_path, "kill", 20 if FULL else 3)


@pytest.mark.timeout(600)
async def test_an_error_at_any_failpoint_is_got_over_without_a_restart(tmp_path: Path) -> None:
    await swept(tmp_path, "raise", 1)


@pytest.mark.timeout(900)
@pytest.mark.skipif(not FULL, reason="two of each, stopped at every failpoint: make chaos-full")
async def test_a_process_that_sleeps_at_any_failpoint_wakes_up_harmless(tmp_path: Path) -> None:
    """Two of each: the other one takes over, and the late one is fenced."""
    await swept(tmp_path, "stop", 1, copies=2)


async def main(action: str, names: Sequence[str]) -> bool:
    """Strikes these failpoints alone, once in every service that reaches them."""
    places = {service: tuple(name for name in of_service if name in names) for service, of_service in PLACES.items()}
    folder = Path(tempfile.mkdtemp(prefix="gihan-failpoints-"))
    async with sweeping(folder, copies=2 if action == "stop" else 1) as sweep:
        report = await sweep.run(action, 1, places)
    print(*table(sweep.strikes, action), *in_words(report), f"data and logs: {folder}", sep="\n")
    return not report.violations


if __name__ == "__main__":
    configure("failpoints", "critical")
    sys.exit(0 if asyncio.run(main(sys.argv[1], sys.argv[2:] or sorted(set(FAILPOINTS) - BY_HAND))) else 1)
