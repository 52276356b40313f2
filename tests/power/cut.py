"""`python -m tests.power.cut`: cuts the power under NATS, PostgreSQL and the whole of Gihan, and counts what is lost.

The one rule: the book of what was acknowledged is kept outside of the disks, and a control run with the servers'
lazy settings must lose something of it. If it does not, this test could not see a loss, and says so by failing.
"""

import argparse
import asyncio
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeVar

import asyncpg
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from contracts.streams import cases_subject, intake_mark
from deploy import provision
from deploy.embedded import Embedded
from services.chassis import broker, logs
from services.chassis.cursor import CursorStale, Entry, LogCursor
from services.chassis.logs import OperatorError
from services.chassis.settings import Settings
from services.chassis.tasks import end
from services.cli import running
from services.cli.demo import compare
from services.cli.demo.demo import MONDAY, played
from services.cli.demo.driver import TROUBLES
from services.cli.demo.week.delivery import Delivery
from services.cli.demo.week.plan import week
from services.rules.instants import DAY, Instant, midnight
from tests.power.disk import Disk, NotPossible, family, signal_all
from tests.power.servers import Node, cluster, urls

T = TypeVar("T")

BUSY_SECONDS = (1.0, 2.5)
"""For how long publishers write before the power is cut."""
PUBLISHERS = 3
"""Of each kind: atomic batches closed by a marker, and single messages, each acknowledged."""
PATIENCE_SECONDS = 60.0
CITIES = ("anseong", "mapo")
CUTS = 3
"""Cuts in one Monday of the whole system."""


class Result(NamedTuple):
    """One run: cuts, what had been acknowledged before them, and how much of that was gone afterwards."""

    cuts: int
    acknowledged: int
    lost: int
    wrong: Sequence[str] = ()
    """What else was not as it must be."""


async def cut_power(disks: Iterable[Disk], pids: Iterable[int | None]) -> None:
    """All programs stand still, the disks go back to what their devices hold, and the programs are gone."""
    pids = list(pids)
    signal_all(pids, signal.SIGSTOP)
    for disk in disks:
        await asyncio.to_thread(disk.cut)
    await asyncio.sleep(0.2)  # what was acknowledged is on its way; a kill could make the network drop it
    signal_all(pids, signal.SIGKILL)


async def until_there(look: Callable[[], Awaitable[T]], seconds: float = PATIENCE_SECONDS) -> T:
    """Asks again while servers recover and a cluster finds its leaders."""
    limit = time.monotonic() + seconds
    while True:
        try:
            return await look()
        except (*TROUBLES, OperatorError, CursorStale, LookupError):
            if time.monotonic() > limit:
                raise
        await asyncio.sleep(0.2)


# -- NATS


class Book:
    """What the log acknowledged: sequence, subject and the content's hash."""

    def __init__(self) -> None:
        self.entries: dict[int, tuple[str, bytes]] = {}

    def enter(self, sequence: int, subject: str, body: bytes) -> None:
        self.entries[sequence] = subject, hashlib.sha256(body).digest()

    def missing(self, log: Sequence[Entry]) -> int:
        """How many acknowledged messages the log does not hold as they were."""
        held = {entry.sequence: (entry.subject, hashlib.sha256(entry.data).digest()) for entry in log}
        return sum(held.get(sequence) != entry for sequence, entry in self.entries.items())


async def nats_alone(home: Path, chance: random.Random, strict: bool) -> Result:
    """One nats-server on a disk of its own."""
    return await _nats([Node("alone", home / "alone", running.read_tenants(), strict)], home, chance, strict)


async def nats_cluster(home: Path, chance: random.Random, strict: bool) -> Result:
    """Three nats-servers, each on a disk of its own, which all lose power together."""
    return await _nats(cluster(home, running.read_tenants(), strict), home, chance, strict)


async def _nats(nodes: Sequence[Node], home: Path, chance: random.Random, strict: bool) -> Result:
    book = Book()
    with ExitStack() as stack:
        disks = [stack.enter_context(Disk(node.store, home / f"{node.name}.img")) for node in nodes]
        stack.callback(lambda: [node.kill() for node in nodes])
        await _start(nodes)
        async with _client(nodes) as nc:
            await until_there(lambda: provision.create_streams(nc, len(nodes)))
        if not strict:  # else the streams would be lost as such, and nothing said of their messages
            for disk in disks:
                disk.sync()
        async with _publishing(nodes, book, chance):
            await asyncio.sleep(chance.uniform(*BUSY_SECONDS))
            await cut_power(disks, [node.pid for node in nodes])
        for node in nodes:
            node.kill()
        try:
            await _start(nodes)
        except TimeoutError:
            return Result(1, len(book.entries), len(book.entries), ["the servers do not find their log again"])
        async with _client(nodes) as nc:
            log = await until_there(lambda: read_cases(nc))
        wrong = [*await _uneven(nodes), *torn(log)]
    return Result(1, len(book.entries), book.missing(log), wrong)


async def _start(nodes: Sequence[Node]) -> None:
    for node in nodes:
        node.start()
    for node in nodes:
        await node.well()


@asynccontextmanager
async def _client(nodes: Sequence[Node]) -> AsyncIterator[Client]:
    nc = await broker.connect(Settings(nats_url=urls(nodes, "test"), database_url="", service="test"))
    try:
        yield nc
    finally:
        await nc.close()


async def read_cases(nc: Client) -> list[Entry]:
    """Every message of CASES. A log that is gone altogether is empty."""
    try:
        last = (await nc.jetstream().stream_info("CASES")).state.last_seq
    except NotFoundError:
        return []
    log: list[Entry] = []
    async with LogCursor(nc, stream="CASES", after=0) as cursor:
        while last and (not log or log[-1].sequence < last):
            log += await cursor.read(1000, 5.0)
    return log


def torn(log: Sequence[Entry]) -> list[str]:
    """Batches of which a part stands in the log: neither all of it nor nothing."""
    held = Counter(tuple(entry.data.split(b" ", 3)[:3]) for entry in log if entry.data.startswith(b"cut"))
    return [
        f"{number} messages of a batch of {int(batch[2])} and a marker stand in the log"
        for batch, number in held.items()
        if number != int(batch[2]) + 1
    ]


async def _uneven(nodes: Sequence[Node]) -> list[str]:
    """Waits until every node's own copy of CASES has the same extent; says how they differ if that never comes."""

    async def look() -> None:
        states = {node.name: await node.extent("CASES") for node in nodes}
        if len(set(states.values())) > 1:
            raise LookupError(f"the nodes' copies of CASES differ: {states}")

    try:
        await until_there(look)
    except LookupError as error:
        return [str(error)]
    return []


@asynccontextmanager
async def _publishing(nodes: Sequence[Node], book: Book, chance: random.Random) -> AsyncIterator[None]:
    """Publishers of both kinds write until the block is left."""
    tasks = []
    for number in range(PUBLISHERS):
        seeds = random.Random(chance.random()), random.Random(chance.random())
        tasks.append(asyncio.create_task(_batches(nodes, f"cut{number}", book, seeds[0])))
        tasks.append(asyncio.create_task(_singles(nodes, number, book, seeds[1])))
    try:
        yield
    finally:
        await end(tasks)


async def _batches(nodes: Sequence[Node], name: str, book: Book, chance: random.Random) -> None:
    """Atomic batches, as intake and the relay write them."""
    subject, marker = cases_subject(3, "seoul", "complaint.received"), 0
    async with _client(nodes) as nc:
        for number in count(1):
            size = chance.randint(1, 200)
            head = f"{name} {number} {size} ".encode()
            messages = [(subject, head + chance.randbytes(600)) for _ in range(size)]
            closing = intake_mark(name), head
            try:
                marker = await broker.publish_batch(nc, messages, closing, marker)
            except broker.BatchUnknown:
                return
            for sequence, message in enumerate([*messages, closing], marker - len(messages)):
                book.enter(sequence, *message)


async def _singles(nodes: Sequence[Node], number: int, book: Book, chance: random.Random) -> None:
    """Messages one by one, as the ticker writes them."""
    subject = cases_subject(number, "seoul", "call.answered")
    async with _client(nodes) as nc:
        while True:
            body = chance.randbytes(chance.randint(1, 2000))
            try:
                acknowledged = await nc.jetstream().publish(subject, body, timeout=3)
            except (NatsError, OSError, TimeoutError):
                return
            book.enter(acknowledged.seq, subject, body)


# -- PostgreSQL


async def postgres_alone(home: Path, chance: random.Random, strict: bool) -> Result:
    """PostgreSQL on a disk of its own, written to by several sessions."""
    book: dict[int, str] = {}
    with Disk(home / "data", home / "postgres.img") as disk:
        async with Embedded(home / "data", {}) as servers:
            assert servers.postgres is not None
            url, ids = servers.database_url, count(1)
            await _execute(url, "create table book (id bigint primary key, body text not null)")
            seeds = [random.Random(chance.random()) for _ in range(2 * PUBLISHERS)]
            writers = [asyncio.create_task(_commits(url, strict, ids, book, seed)) for seed in seeds]
            await asyncio.sleep(chance.uniform(*BUSY_SECONDS))
            await cut_power([disk], family(servers.postgres.pid or 0))
            await end(writers)
            kept = await until_there(lambda: _rows(url))
    return Result(1, len(book), sum(kept.get(id) != body for id, body in book.items()))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=5)
    await connection.execute(statement)
    await connection.close()


async def _rows(url: str) -> dict[int, str]:
    connection = await asyncpg.connect(url, timeout=5, command_timeout=30)
    try:
        return {row["id"]: row["body"] for row in await connection.fetch("select id, body from book")}
    finally:
        connection.terminate()


async def _commits(url: str, strict: bool, ids: Iterable[int], book: dict[int, str], chance: random.Random) -> None:
    connection = await asyncpg.connect(url, timeout=5, command_timeout=5)
    if not strict:
        await connection.execute("set synchronous_commit = off")
    while True:
        rows = [(next(iter(ids)), chance.randbytes(200).hex()) for _ in range(chance.randint(1, 50))]
        try:
            async with connection.transaction():
                await connection.executemany("insert into book values ($1, $2)", rows)
        except TROUBLES:
            return
        book.update(rows)


# -- the whole system


async def system(home: Path, chance: random.Random, strict: bool) -> Result:
    """Gihan with the Monday of two cities: every program but the gateways loses power, again and again.

    All comparisons of the demo must hold in the end, and CASES must hold what was acknowledged, once.
    """
    tenants = running.read_tenants()
    until = midnight(MONDAY, tenants[CITIES[0]].zone) + DAY
    seed = chance.randint(1, 10**6)
    deliveries = [one for one in week(seed, MONDAY, tenants) if one.at < until and one.tenant in CITIES]
    steps = set(chance.sample(range(4, len({one.at for one in deliveries})), CUTS))
    cuts: list[asyncio.Task[None]] = []
    with Disk(home / "data", home / "data.img") as disk:

        def on_step(number: int, at: Instant, gihan: running.Gihan) -> None:
            if number in steps:
                cuts.append(asyncio.create_task(_black_out(disk, gihan, chance.uniform(0, 0.3))))

        async with played(home, seed, deliveries, tenants, on_step) as (outcome, gihan):
            for cut in cuts:
                await cut
            copies = await _copies(gihan)
    expected = {_key(one) for one in deliveries if one.expect in ("accepted", "repeated") and one.id}
    twice = [f"{'/'.join(key)} stands {number} times in one case" for key, number in copies.items() if number > 1]
    return Result(len(cuts), len(expected), len(expected - copies.keys()), [*outcome.differences, *twice])


async def _black_out(disk: Disk, gihan: running.Gihan, after_seconds: float) -> None:
    await asyncio.sleep(after_seconds)  # into the middle of what the step does
    servers = (gihan.servers.nats, gihan.servers.postgres)
    pids = [pid for keeper in servers if keeper is not None and keeper.pid for pid in family(keeper.pid)]
    await cut_power([disk], [*pids, *(gihan.services.pid(service) for service in ("intake", "sla_timer", "notifier"))])


async def _copies(gihan: running.Gihan) -> Counter[tuple[str, str, str]]:
    """How often each fact stands in CASES: in one partition and case, as some go to several."""
    nc = await broker.connect(Settings(nats_url=gihan.servers.nats_url("replay"), database_url="", service="replay"))
    try:
        entries = await compare.read_all(nc, "CASES")
    finally:
        await nc.close()
    places = Counter(
        (subject, event["source"], event["id"], event["case"])
        for subject, event in entries
        if subject.startswith("cases.") and "tenant" in event
    )
    found: Counter[tuple[str, str, str]] = Counter()
    for (subject, source, id, _), number in places.items():
        key = subject.split(".")[2], source, id
        found[key] = max(found[key], number)
    return found


def _key(delivery: Delivery) -> tuple[str, str, str]:
    return delivery.tenant, delivery.source, delivery.id


# -- the command


class Trial(NamedTuple):
    """A row of the table. A lazy one is a control: it must lose something."""

    name: str
    run: Callable[[Path, random.Random, bool], Awaitable[Result]]
    strict: bool
    runs: int


TRIALS: Mapping[str, Sequence[Trial]] = {
    "nats": (
        Trial("NATS alone", nats_alone, True, 10),
        Trial("NATS alone, lazy (control)", nats_alone, False, 2),
    ),
    "cluster": (
        Trial("NATS, three replicas, all cut", nats_cluster, True, 5),
        Trial("NATS, three replicas, lazy (control)", nats_cluster, False, 2),
    ),
    "postgres": (
        Trial("PostgreSQL", postgres_alone, True, 10),
        Trial("PostgreSQL, synchronous_commit off (control)", postgres_alone, False, 2),
    ),
    "system": (Trial("Gihan whole, two cities' Monday", system, True, 2),),
}


async def main(names: Sequence[str], seed: int, runs: int | None) -> int:
    """Runs the trials and prints a line for each; returns 0 where all is as it must be."""
    logs.configure("power", "critical")
    failed = False
    print(
        f"seed {seed}\n{'trial':<46} {'runs':>4} {'cuts':>4} {'acknowledged':>12} {'lost':>7} {'seconds':>7}  verdict"
    )
    for trial in (trial for name in names for trial in TRIALS[name]):
        began = time.monotonic()
        results = []
        for number in range(runs or trial.runs):
            chance = random.Random(f"{seed}/{trial.name}/{number}")
            with tempfile.TemporaryDirectory(prefix="gihan-power-", ignore_cleanup_errors=True) as home:
                results.append(await trial.run(Path(home), chance, trial.strict))
        lost, wrong = sum(one.lost for one in results), [words for one in results for words in one.wrong]
        bad = bool(lost or wrong) if trial.strict else not lost
        verdict = ("LOST" if trial.strict else "BLIND: it must lose something") if bad else "as it must be"
        sums = sum(one.cuts for one in results), sum(one.acknowledged for one in results), lost
        print(
            f"{trial.name:<46} {len(results):>4} {sums[0]:>4} {sums[1]:>12} {sums[2]:>7} "
            f"{time.monotonic() - began:>7.0f}  {verdict}",
            *(f"  {words}" for words in (wrong if trial.strict else [])),
            sep="\n",
            flush=True,
        )
        failed |= bad
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", nargs="*", help=f"some of {', '.join(TRIALS)}; default all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randint(1, 10**6))
    parser.add_argument("--runs", type=int, help="of each trial, in place of its own number")
    given = parser.parse_args()
    if unknown := set(given.trials) - TRIALS.keys():
        parser.error(f"unknown: {', '.join(unknown)}")
    for variable in ("NATS_URL", "DATABASE_URL"):
        os.environ.pop(variable, None)
    try:
        sys.exit(asyncio.run(main(given.trials or list(TRIALS), given.seed, given.runs)))
    except NotPossible as error:
        sys.exit(f"The power cannot be cut here: {error}")
