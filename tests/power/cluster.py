"""`python -m tests.power.cluster`: the whole of Gihan on three nats-servers, which are killed, frozen and cut off.

The one rule: publishers never stop. What counts is for how long nobody was answered, and what the auditor says of
everything that was answered.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from deploy.embedded import Embedded, free_ports
from deploy.supervisor import Supervisor
from services.chassis import broker, logs, postgres
from services.chassis.clock import RealClock
from services.cli import running
from services.cli.auditing.audit import Report, in_words
from services.cli.auditing.evidence import Book, Measure, Outage
from services.cli.demo.driver import TROUBLES, Doors, Driver
from services.rules.tenants import Tenant, parse
from tests.faults.proxy import Proxy
from tests.faults.pulse import Pulses
from tests.faults.workload import Workload
from tests.faults.world import CITY, World, _environment
from tests.power.servers import Node, cluster, urls

BACK_SECONDS = 15.0
"""By when publishers are answered again."""
FAULT_SECONDS = 20.0
"""How long a server stays away: longer than an election and all time limits together."""
QUORUM_LOST_SECONDS = 6.0
CAUGHT_UP_SECONDS = 30.0
RATE = 0.5
"""New cases a second beside the pulses."""


class Cluster(Embedded):
    """PostgreSQL as embedded, and three nats-servers that a test can do without."""

    def __init__(self, data: Path, tenants: Mapping[str, Tenant]) -> None:
        super().__init__(data, tenants)
        self.nodes = cluster(data, tenants)
        self.lines: dict[tuple[str, str], Proxy] = {}
        self._stack = AsyncExitStack()

    def nats_url(self, user: str) -> str:
        return urls(self.nodes, user)

    async def _start_nats(self) -> None:
        self.monitor_url = ",".join(node.monitor_url for node in self.nodes)
        for node in self.nodes:
            others = [other for other in self.nodes if other is not node]
            for other in others:
                far = partial(asyncio.open_connection, "127.0.0.1", other.route_port)
                line = Proxy(far, port=free_ports(1)[0])
                self.lines[node.name, other.name] = await self._stack.enter_async_context(line)
            node.join([f"nats://127.0.0.1:{self.lines[node.name, other.name].port}" for other in others])
        for node in self.nodes:
            self._stack.callback(node.kill)
            node.start()
        for node in self.nodes:
            await node.well()

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()
        await super().__aexit__(None, None, None)

    def set_lines(self, node: Node, mode: str) -> None:
        """What happens to all that a node says to the others, and they to it. Clients still reach every node."""
        for ends, line in self.lines.items():
            if node.name in ends:
                line.set(mode)  # type: ignore[arg-type]


class Case(NamedTuple):
    """One fault: what was done, and the longest time that no publisher was answered."""

    fault: str
    waited_seconds: float


class Clustered:
    """A running Gihan on a cluster, under publishers who never stop."""

    def __init__(self, world: World, servers: Cluster, chance: random.Random) -> None:
        self.world = world
        self.servers = servers
        self.book = Book()
        self._chance = chance
        self.pulses = Pulses(world, self.book)

    async def leader(self) -> Node:
        """The server that leads CASES."""
        async with asyncio.timeout(60):
            while True:
                with suppress(*TROUBLES):
                    info = await self.world.nc.jetstream(timeout=2).stream_info("CASES")
                    name = info.cluster.leader if info.cluster else None
                    if found := [node for node in self.servers.nodes if node.name == name and node.pid]:
                        return found[0]
                await asyncio.sleep(0.2)

    # faults

    async def kill(self) -> Case:
        """The leader is killed, and started again later."""
        leader = await self.leader()
        return await self._case("leader killed", leader.kill, self._restart(leader))

    async def freeze(self) -> Case:
        """The leader stands still (SIGSTOP), with everything that was sent to it."""
        leader = await self.leader()

        async def thaw() -> None:
            leader.thaw()

        return await self._case("leader frozen", leader.freeze, thaw)

    async def cut_off(self) -> Case:
        """The leader reaches its clients, and no other server."""
        leader = await self.leader()

        async def mend() -> None:
            self.servers.set_lines(leader, "pass")

        return await self._case("leader cut off", lambda: self.servers.set_lines(leader, "frozen"), mend)

    async def lose_quorum(self) -> Case:
        """Two of three are killed; publishers wait. Counted from the moment when they are started again."""
        leader = await self.leader()
        other = self._chance.choice([node for node in self.servers.nodes if node is not leader])
        leader.kill()
        other.kill()
        await asyncio.sleep(1.0)  # what was acknowledged just before is being answered
        before = len(self.pulses.accepted)
        await asyncio.sleep(QUORUM_LOST_SECONDS)
        if len(self.pulses.accepted) != before:
            self.book.measured.append(Measure("I1", "answers while one server of three ran", 1, 0))
        return await self._back("quorum lost, then found again", lambda: [node.start() for node in (leader, other)])

    async def kill_all(self) -> Case:
        """All three are killed and started again at once."""

        def act() -> None:
            for node in self.servers.nodes:
                node.kill()
            for node in self.servers.nodes:
                node.start()

        return await self._back("all three killed, started again", act)

    async def lose_disk(self) -> Case:
        """The leader is gone with its disk. Once the others have a new one, an empty server takes its place."""
        leader = await self.leader()

        def act() -> None:
            leader.kill()
            shutil.rmtree(leader.store)
            leader.store.mkdir()

        case = await self._back("leader lost with its disk", act)
        _, _, _, last = await (await self.leader()).extent("CASES")
        leader.start()
        await self._all_well()
        async with asyncio.timeout(60):
            while not await self._holds(leader, last):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.2)
        return case

    async def _holds(self, node: Node, last: int) -> bool:
        """Whether a server's own copy of CASES is whole up to a sequence."""
        try:
            messages, _, first, end = await node.extent("CASES")
        except KeyError:
            return False
        return first == 1 and messages == end >= last

    def _restart(self, node: Node) -> Callable[[], Awaitable[None]]:
        async def restart() -> None:
            node.start()

        return restart

    async def _case(self, fault: str, act: Callable[[], object], undo: Callable[[], Awaitable[None]]) -> Case:
        case = await self._back(fault, act)
        await asyncio.sleep(max(0.0, FAULT_SECONDS - case.waited_seconds))
        await undo()
        await self._all_well()
        return case

    async def _back(self, fault: str, act: Callable[[], object]) -> Case:
        """Does it, and measures the longest that nobody was answered, until publishers are answered steadily again."""
        began = time.monotonic()
        act()
        async with asyncio.timeout(120):
            while not self._steady(began):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)
        case = Case(fault, round(self.pulses.gap(began), 1))
        self.book.measured.append(
            Measure("I12", f"seconds without an answer: {fault}", case.waited_seconds, BACK_SECONDS)
        )
        await self._all_well()
        return case

    def _steady(self, began: float) -> bool:
        """Whether publishers are answered again, after a time in which they were not."""
        now, accepted = time.monotonic(), self.pulses.accepted
        answered = len(accepted) > 20 and accepted[-20] > max(began, now - 5.0) and now - accepted[-1] < 1.0
        return answered and (self.pulses.gap(began) > 1.0 or now - began > BACK_SECONDS)

    async def _all_well(self) -> None:
        for node in self.servers.nodes:
            if node.pid and not node.frozen and not self._cut_off(node):
                await node.well()

    def _cut_off(self, node: Node) -> bool:
        return any(line.mode == "frozen" for ends, line in self.servers.lines.items() if node.name in ends)

    # publishers

    @asynccontextmanager
    async def publishing(self, seed: int) -> AsyncIterator[None]:
        """Pulses (one event after the other, each until it is answered) beside whole cases, until the block is left."""
        stop = asyncio.Event()
        cases = asyncio.create_task(self._cases(seed, stop))
        try:
            async with self.pulses.beating():
                await asyncio.sleep(2.0)
                yield
        finally:
            stop.set()
            await cases

    async def _cases(self, seed: int, stop: asyncio.Event) -> None:
        for number in count(1):
            if stop.is_set():
                return
            await Workload(self.world, 1000 * seed + number, RATE, self.book).run(10.0)


@asynccontextmanager
async def clustered(folder: Path, seed: int) -> AsyncIterator[Clustered]:
    """Gihan on three servers, in `folder`, ready; ended with the block."""
    tenants = parse((CITY / "tenants.yaml").read_bytes())
    told = {"GIHAN_CONTRACTS": str(CITY), "GIHAN_TENANTS_FILE": str(CITY / "tenants.yaml"), "GIHAN_REPLICAS": "3"}
    with _environment(told):
        async with AsyncExitStack() as stack:
            servers = await stack.enter_async_context(Cluster(folder / "data", tenants))
            await running.provisioned(servers, tenants)
            world = World(folder, servers, tenants)
            keeper, environment = await running.start_gateways(world.gateway, servers.logs)
            stack.push_async_callback(keeper.stop)
            world.supervisors.append(await stack.enter_async_context(Supervisor(servers, environment=environment)))
            world.nc = await broker.connect(world.settings("operator"))
            stack.push_async_callback(world.nc.close)
            world.pool = await postgres.connect_pool(world.settings("operator"))
            stack.callback(world.pool.terminate)
            nobody = await stack.enter_async_context(Doors("http://127.0.0.1", {}, {}))
            world.driver = Driver(world.pool, world.nc, nobody)
            yield Clustered(world, servers, random.Random(seed))


async def run(folder: Path, seed: int, faults: list[str]) -> tuple[list[Case], Report, int]:
    """Does one fault after the other; returns what was measured, what the auditor says, and the events answered."""
    clock = RealClock()
    async with clustered(folder, seed) as on:
        begins = await clock.now()
        async with on.publishing(seed):
            cases = [await getattr(on, fault)() for fault in faults]
        on.book.outages.append(Outage("cluster", begins, await clock.now()))
        await on.world.ready()
        await on.world.settle()
        return cases, await on.world.audit(on.book), len(on.book.promised)


FAULTS = ("kill", "freeze", "cut_off", "lose_quorum", "kill_all", "lose_disk")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", help=f"some of {', '.join(FAULTS)}; default all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=2, help="how often each")
    given = parser.parse_args()
    logs.configure("cluster", "critical")
    folder = Path(tempfile.mkdtemp(prefix="gihan-cluster-"))
    faults = [fault for _ in range(given.times) for fault in given.faults or FAULTS]
    cases, report, answered = asyncio.run(run(folder, given.seed, faults))
    print(f"seed {given.seed}: {answered} events answered")
    for case in cases:
        print(f"  {case.waited_seconds:>5} s without an answer: {case.fault}")
    print(*in_words(report), sep="\n")
    if report.violations:
        sys.exit(f"FAILED. Data and logs: {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
