"""Live folding, measured: the service itself on real servers, a backlog of facts before it, every write durable.

The one rule: what is measured is the program that runs in production, started as it is started there. Figures are CPU
microseconds for each event of CASES, by process, and events a second of the wall clock.

    .venv/bin/python tests/bench/folding.py [--quick] [--profile FILE]
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any
from unittest.mock import patch
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
from nats.aio.client import Client

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from contracts import files  # noqa: E402
from contracts.streams import PARTITIONS, STREAMS, cases_subject, clock_subject, intake_mark, partition  # noqa: E402
from deploy import bootstrap, permissions, provision  # noqa: E402
from deploy.embedded import Embedded  # noqa: E402
from services.chassis import broker, postgres  # noqa: E402
from services.chassis.cursor import read_up_to  # noqa: E402
from services.chassis.settings import Settings  # noqa: E402
from services.rules.facts import decode_event  # noqa: E402
from services.rules.instants import DAY, instant, of_datetime  # noqa: E402
from services.rules.rulebook import Library, Rulebook  # noqa: E402
from services.rules.state import Case  # noqa: E402
from services.rules.stating import fact_of  # noqa: E402
from services.rules.tenants import parse  # noqa: E402
from services.rules.warm import Warm  # noqa: E402
from services.sla_timer import store  # noqa: E402

TENANTS = ("anseong", "mapo", "miryang", "seoul", "yeonje")
BEGIN = datetime(2026, 4, 6, 9, 0, tzinfo=ZoneInfo("Asia/Seoul"))
TICK_EVENTS = 5000
"""After so many facts the clock of every partition is moved to the time of the last."""
MEANS = ("phone", "sms", "email", "post")
LIMIT_SECONDS = 600.0

Message = tuple[str, bytes]


# -- facts --------------------------------------------------------------------------------------------------------


class Facts:
    """Facts as they stand in the log, about 600 bytes each, of so many cases open at once."""

    def __init__(self, open_cases: int, seed: int = 1) -> None:
        self.random = Random(seed)
        self._open_cases = open_cases
        self._number = 0
        self._lives: list[Iterator[Message]] = []
        self.now = BEGIN

    def openings(self) -> Iterator[Message]:
        """The first fact of each case that is open from the start."""
        for _ in range(self._open_cases):
            life = self._complaint()
            self._lives.append(life)
            self.now += timedelta(milliseconds=20)
            yield next(life)

    def further(self) -> Iterator[Message]:
        """What goes on with the open cases, each one that ends followed by another; and ticks."""
        number = 0
        while True:
            if self.random.random() < 0.2:
                yield from self._at_once()
            place = self.random.randrange(len(self._lives))
            fact = next(self._lives[place], None)
            if fact is None:
                self._lives[place] = self._complaint()
                fact = next(self._lives[place])
            yield fact
            number += 1
            self.now += timedelta(milliseconds=200)
            if number % TICK_EVENTS == 0:
                yield from (tick(lane, number, self.now) for lane in range(PARTITIONS))

    def _complaint(self) -> Iterator[Message]:
        state = self._case("c")
        kind = self.random.choice(("inquiry", "suggestion", "other", "grievance", "inquiry_law"))
        yield state(
            "complaint.received",
            channel=self.random.choice(("web", "phone", "visit")),
            kind=kind,
            notify_by="sms",
            departments=["civil-affairs"],
            **{"class": self.random.choice(("simple", "ordinary", "complex"))},
        )
        yield state("complaint.assigned", department="civil-affairs", officer=f"kim-{self._number % 50}")
        if self.random.random() < 0.5:
            yield state("complaint.procedure_explained", by=self.random.choice(MEANS))
        if self.random.random() < 0.5:
            yield state("complaint.progress_notified", by=self.random.choice(MEANS))
        yield state("complaint.completed", outcome="answered", by=f"kim-{self._number % 50}")

    def _at_once(self) -> Iterator[Message]:
        state = self._case("d")
        if self.random.random() < 0.5:
            yield state(
                "call.answered", rings=self.random.randint(1, 5), seconds_to_answer=9, department="civil-affairs"
            )
        else:
            yield state("visit.guided", seconds_to_officer=self.random.randint(5, 400))

    def _case(self, letter: str) -> Callable[..., Message]:
        self._number += 1
        return self.state_of(self.random.choice(TENANTS), f"{letter}{self._number:09}")

    def state_of(self, tenant: str, case: str) -> Callable[..., Message]:
        """What states a fact of a case at the present instant."""

        def state(type: str, **data: Any) -> Message:
            moment = self.now.isoformat()
            event = {
                "specversion": "1.0",
                "id": str(UUID(int=self.random.getrandbits(128))),
                "source": "documents",
                "type": type,
                "subject": case,
                "time": moment,
                "recordedtime": moment,
                "datacontenttype": "application/json",
                "tenant": tenant,
                "case": case,
                "subject_ref": str(UUID(int=self.random.getrandbits(128))),
                "data": data
                | {"text_ref": str(UUID(int=self.random.getrandbits(128))), "has_name": True, "has_mobile": True},
            }
            return cases_subject(partition(tenant, case), tenant, type), json.dumps(event).encode()

        return state


def tick(lane: int, number: int, to: datetime) -> Message:
    """A tick of a partition, as sla_timer writes it."""
    event = {
        "specversion": "1.0",
        "id": f"{lane}-bench-{number}",
        "source": "gihan/sla_timer",
        "type": "clock.advanced",
        "time": to.isoformat(),
        "partition": lane,
        "data": {"to": to.isoformat()},
    }
    return clock_subject(lane), json.dumps(event).encode()


async def publish(nc: Client, messages: Iterator[Message], first: int = 1) -> int:
    """Appends messages in atomic batches, as intake does; returns the number of the next batch."""
    expected = await broker.last_message(nc, "CASES", intake_mark("bench"))
    marker = expected[0] if expected else 0
    while batch := list(islice(messages, 999)):
        marker = await broker.publish_batch(nc, batch, (intake_mark("bench"), b"{}"), marker)
        first += 1
    return first


# -- the servers and the service ----------------------------------------------------------------------------------


class Bench:
    """Both servers, provisioned, with what is needed to start the service on them and to look on."""

    def __init__(self, servers: Embedded, nc: Client, pool: asyncpg.Pool, folder: Path) -> None:
        self.servers, self.nc, self.pool, self.folder = servers, nc, pool, folder
        self.ports = iter(range(18700, 18800))

    @asynccontextmanager
    async def service(self, profile: str = "", **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """sla_timer as a process of its own."""
        env = {
            **os.environ,
            **self.servers.environment("sla_timer"),
            "GIHAN_CLOCK": "stepped",
            "GIHAN_PORT": str(next(self.ports)),
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        log = (self.folder / "sla_timer.log").open("ab")
        arguments = [__file__, "--serve", "--profile", profile] if profile else ["-m", "services.sla_timer"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=ROOT, env=env, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
            await process.wait()

    async def folded(self) -> int:
        """How many entries of CASES are folded; waits until it is all of them, and all decisions are out."""
        limit = time.monotonic() + LIMIT_SECONDS
        ends = [await broker.last_message(self.nc, "CASES", f"cases.{lane}.>") for lane in range(PARTITIONS)]
        while time.monotonic() < limit:
            rows = await self.pool.fetch("select partition, sequence from sla_timer.partitions")
            if all(row["sequence"] >= (ends[row["partition"]] or (0, b""))[0] for row in rows):
                return sum(row["sequence"] for row in rows)
            await asyncio.sleep(0.02)
        raise TimeoutError("not folded in time")

    async def sent(self) -> None:
        """Waits until every decision is on SLA."""
        waiting = True
        while waiting:
            await asyncio.sleep(0.02)
            waiting = await self.pool.fetchval("select bool_or(decisions > sent) from read.fold_position")

    def cpu(self, pids: Sequence[int]) -> dict[str, float]:
        """CPU seconds so far: of the service's processes, of NATS, and of PostgreSQL with all its children."""
        assert self.servers.nats is not None
        assert self.servers.postgres is not None
        nats, main = self.servers.nats.pid or 0, self.servers.postgres.pid or 0
        return {
            "python": sum(_cpu(pid) for pid in pids),
            "nats": _cpu(nats),
            "postgres": _cpu(main) + sum(_cpu(pid) for pid in _children(main)),
        }


@asynccontextmanager
async def bench(begin: datetime = BEGIN) -> AsyncIterator[Bench]:
    """Fresh servers with the five charters enacted."""
    tenants = parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
    table = permissions.table
    anything = permissions.Permissions((">",), (">",), answers=True)
    with (
        patch.object(permissions, "table", lambda tenants: table(tenants) | {"bench": anything}),
        tempfile.TemporaryDirectory(prefix="gihan-bench-") as folder,
    ):
        async with Embedded(Path(folder), tenants) as servers:
            await postgres.migrate(servers.database_url)
            nc = await broker.connect(Settings(nats_url=servers.nats_url("bench"), database_url="", service="bench"))
            await provision.create_streams(nc)
            await broker.check(nc, servers.monitor_url, STREAMS)
            await bootstrap.enact_files(
                nc, [tenants[name] for name in TENANTS], instant(begin.replace(year=2026, month=1).isoformat())
            )
            pool = await postgres.connect_pool(
                Settings(nats_url="", database_url=servers.database_url, service="bench"), max_size=2
            )
            try:
                yield Bench(servers, nc, pool, Path(folder))
            finally:
                pool.terminate()
                await nc.close()


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # Its own time and that of children that have ended.
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _memory(pid: int) -> int:
    """Peak resident megabytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


# -- what is measured ---------------------------------------------------------------------------------------------


async def live(
    events: int, open_cases: int, processes: int = 1, profile: str = "", others: int = 0
) -> dict[str, float]:
    """A backlog of `events` about `open_cases` folded by so many processes, while `others` are open besides."""
    async with bench() as world:
        if others:
            async with world.service():
                await world.folded()  # what enacts the charters, before there is a case
            await seed(world, others)
        facts = Facts(open_cases)
        await publish(world.nc, facts.openings())
        async with contextlib.AsyncExitStack() as stack:
            services = [
                await stack.enter_async_context(
                    world.service(profile if number == 0 else "", GIHAN_PARTITIONS=_share(number, processes))
                )
                for number in range(processes)
            ]
            pids = [service.pid for service in services]
            await world.folded()
            await world.sent()
            began = await world.pool.fetchval("select sum(decisions) from sla_timer.partitions")
            for service in services:
                service.send_signal(signal.SIGSTOP)  # stopped while the backlog is written
            await publish(world.nc, islice(facts.further(), events))
            await asyncio.sleep(1.0)
            before, start = world.cpu(pids), time.monotonic()
            for service in services:
                service.send_signal(signal.SIGCONT)
            await world.folded()
            wall = time.monotonic() - start
            await world.sent()
            all_wall = time.monotonic() - start
            after = world.cpu(pids)
            decided = await world.pool.fetchval("select sum(decisions) from sla_timer.partitions") - began
            memory = max(_memory(pid) for pid in pids)
        sizes = await world.pool.fetchrow(
            "select pg_total_relation_size('sla_timer.cases') / 1e6 as cases_mb, "
            "pg_total_relation_size('sla_timer.decisions') / 1e6 as decisions_mb, "
            "(select avg(length(state)) from sla_timer.cases) as state_bytes"
        )
    return {
        "events": events,
        "open_cases": open_cases,
        "others": others,
        "processes": processes,
        "events_per_second": round(events / wall),
        "events_per_second_sent": round(events / all_wall),
        "decisions_per_event": round(float(decided) / events, 2),
        **{f"{name}_us": round((after[name] - before[name]) / events * 1e6, 1) for name in after},
        "memory_mb": memory,
        **{name: round(float(value)) for name, value in (sizes or {}).items()},
    }


def _share(number: int, of: int) -> str:
    """The partitions that one of several processes goes for."""
    return f"{PARTITIONS * number // of}-{PARTITIONS * (number + 1) // of - 1}"


async def burst(open_cases: int, due: int) -> dict[str, float]:
    """The service with `open_cases` open: its start, and deadlines that are all due at one instant, on the real clock.

    Lags are from the due instant to where the log had stored the last one, in milliseconds.
    """
    zone = BEGIN.tzinfo
    async with bench() as world:
        async with world.service():
            await world.folded()  # what enacts the charters, before there is a case
        await seed(world, open_cases)
        facts = Facts(0)
        facts.now = datetime.now(zone) - timedelta(hours=1)
        await publish(world.nc, (facts.state_of("mapo", f"w{n}")("call.answered", rings=1) for n in range(100)))
        started = time.monotonic()
        async with world.service(GIHAN_CLOCK="real", GIHAN_SETTLE_SECONDS="0") as service:
            await world.folded()
            start_seconds = time.monotonic() - started
            falls_due = datetime.now(zone).replace(microsecond=0) + timedelta(seconds=max(20, due / 250))
            facts.now = falls_due - timedelta(minutes=10)
            arrivals = (
                facts.state_of("anseong", f"v{number}")("visit.arrived", assistance_needed=True, desk="civil-affairs")
                for number in range(due)
            )
            await publish(world.nc, arrivals)
            await world.folded()
            await world.sent()
            ready = (falls_due - datetime.now(zone)).total_seconds()
            assert ready > 1, f"not folded {-ready:.0f} s after they fell due"
            info = await world.nc.jetstream().stream_info("SLA")
            before = world.cpu([service.pid])
            await asyncio.sleep(ready + 1)
            await world.sent()
            broken, counted = 0, "select count(*) from sla_timer.decisions where kind = 'deadline.breached'"
            while broken < due:
                await asyncio.sleep(0.1)
                broken = await world.pool.fetchval(counted)
            await world.sent()
            after = world.cpu([service.pid])
            lags: dict[str, list[float]] = {"breached": [], "all": []}
            async for entry in read_up_to(world.nc, "SLA", 10**12, after=info.state.last_seq, subject="sla.>"):
                lag = entry.stored_at / 1000 - falls_due.timestamp() * 1000
                lags["all"].append(lag)
                if entry.subject.endswith("deadline.breached"):
                    lags["breached"].append(lag)
            return {
                "open_cases": open_cases,
                "due": due,
                "start_seconds": round(start_seconds, 1),
                "breached": len(lags["breached"]),
                "decisions": len(lags["all"]),
                "first_ms": round(min(lags["breached"])),
                "last_breached_ms": round(max(lags["breached"])),
                "last_ms": round(max(lags["all"])),
                **{f"{name}_ms": round((after[name] - before[name]) * 1000) for name in after},
                "memory_mb": _memory(service.pid),
            }


async def seed(world: Bench, open_cases: int) -> None:
    """Puts open cases into the projection, each as it is after its receipt, waiting for an instant weeks from now."""
    library = Library(files.read())
    rulebook = Rulebook(library)
    random, warm = Random(2), Warm(rulebook)
    facts = Facts(0)
    facts.now = datetime.now(BEGIN.tzinfo).replace(microsecond=0)
    patterns = []
    for tenant in TENANTS:
        _, body = facts.state_of(tenant, "pattern")("complaint.received", channel="web", kind="suggestion")
        case, _, _ = warm.fold(Case(tenant, "pattern"), fact_of(decode_event(body), 1), 0)
        patterns.append((tenant, store.columns(case)))
    base = of_datetime(facts.now) + 14 * DAY

    def rows(first: int, last: int) -> Iterator[tuple[Any, ...]]:
        for number in range(first, last):
            tenant, kept = patterns[number % len(patterns)]
            name = f"s{number:08}"
            state = kept.state.replace(b'"pattern"', f'"{name}"'.encode())
            next_at = base + random.randrange(14 * DAY)
            yield (tenant, name, partition(tenant, name), state, False, False, kept.open_deadlines, next_at)

    columns = ("tenant", "case_id", "partition", "state", "closed", "stuck", "open_deadlines", "next_at")
    async with world.pool.acquire() as connection:
        await connection.execute("set statement_timeout = 0")
        for first in range(0, open_cases, 50_000):
            await connection.copy_records_to_table(
                "cases",
                schema_name="sla_timer",
                columns=columns,
                records=rows(first, min(first + 50_000, open_cases)),
                timeout=600,
            )
        await connection.execute("vacuum analyze sla_timer.cases", timeout=600)


async def measure(quick: bool) -> dict[str, Any]:
    """All of it."""
    events = 20_000 if quick else 100_000
    return {
        "live": await live(events, 10_000),
        "live_by_two": await live(events, 10_000, 2),
        "live_among_many": await live(events, 10_000, others=100_000 if quick else 1_000_000),
        "burst": await burst(10_000 if quick else 1_000_000, 2_000 if quick else 10_000),
    }


def _serve(profile: str) -> None:
    """The service, looked at every few milliseconds of its CPU time: which functions of ours it was in."""
    from services.chassis.http import run
    from services.sla_timer.app import build_app

    inner, outer = Counter[str](), Counter[str]()

    def look(_: int, frame: FrameType | None) -> None:
        names: list[str] = []
        while frame is not None:
            path = frame.f_code.co_filename
            names.append(f"{Path(path).parent.name}/{Path(path).stem}.{frame.f_code.co_name}:{frame.f_lineno}")
            frame = frame.f_back
        if any(name.startswith("rules/warm.") for name in names):
            names = ["rules"]
        inner[names[0]] += 1
        outer.update({name.partition(":")[0] for name in names})

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # what uvicorn leaves it to, once it has ended
    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, 0.002, 0.002)
    try:
        run("sla_timer", build_app)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        lines = [
            f"{kind} {number / max(inner.total(), 1):6.1%} {name}"
            for kind, found in (("in", outer), ("at", inner))
            for name, number in found.most_common(70)
        ]
        Path(profile).write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Prints what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--profile", default="")
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("--open", type=int, default=10_000)
    parser.add_argument("--others", type=int, default=0)
    parser.add_argument("--burst", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    if asked.serve:
        _serve(asked.profile)
    elif asked.burst:
        print(json.dumps(asyncio.run(burst(asked.open, asked.burst))))
    elif asked.events:
        print(json.dumps(asyncio.run(live(asked.events, asked.open, asked.processes, asked.profile, asked.others))))
    else:
        print(json.dumps(asyncio.run(measure(asked.quick)), indent=1))


if __name__ == "__main__":
    main()
