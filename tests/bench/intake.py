"""How fast intake takes events in: over HTTP one by one, and through the NATS door in arrays of 100.

The one rule: what was answered yes is looked for afterwards. Every accepted event must stand in CASES once, and what
it said of a person nowhere but in the vault. Servers, durability and charters are those of an installation; the fold
alone is absent (its position is set ahead, or intake would hold tenants back).

    python -m tests.bench.intake [--quick] [--instances 2]
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import asyncpg
import httpx
import orjson
import uvloop
from nats.aio.client import Client

from deploy import provision
from deploy.embedded import Embedded, free_ports
from deploy.processes import Command, Keeper
from services.chassis import broker, postgres
from services.chassis.cursor import LogCursor
from services.chassis.settings import ROOT, Settings
from services.chassis.vault import Vault
from services.rules.tenants import Tenant, parse

SEED = 20261122
INSTANCES = 2
"""Intakes side by side: one Python process uses one of two cores."""
ARRAY = 100
DOOR_EVENTS, DOOR_EVENTS_QUICK = 150_000, 16_000
DOOR_UNDER_WAY = 6
"""Arrays that each publisher has under way at a time; there is one publisher for each city."""
HTTP_COMPLAINTS, HTTP_COMPLAINTS_QUICK = 15_000, 3_000
HTTP_CONNECTIONS = 200
"""With a hundred all requests wait for the same two batches, and a third of the machine waits for them."""
WARMING = 200
"""Complaints before the clock runs."""
FAR_AHEAD = 1 << 60
LOOKED_AT = 200
"""How many of the persons and texts are read back from the vault."""
BARS = {"door": 10_000, "http": 1_500}
"""Events a second that design asks for."""
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_SECRET = "비밀낱말"
"""Stands in every name, address and text, so that one of them anywhere else is found."""


class Workload:
    """Complaints with their first steps, of about 600 bytes an event, always the same."""

    def __init__(self, moment: str) -> None:
        self._random = random.Random(SEED)
        self._moment = moment
        self.people: dict[str, tuple[str, str]] = {}
        """(tenant, name) of the applicant, by the id of the event."""

    def complaint(self, tenant: str, case: str, population: int) -> dict[str, Any]:
        """A complaint.received; some of its people come more than once."""
        number = self._random.randrange(population)
        name = f"{_SECRET}{number}"
        event = self._event(
            tenant,
            case,
            "complaint.received",
            channel="web",
            kind=self._random.choice(("inquiry", "grievance", "suggestion", "inquiry_law", "other")),
            title=f"{_SECRET} 골목 가로등이 꺼져 있습니다",
            text=f"{_SECRET} 어두워서 다니기 어렵습니다. 골목 끝의 가로등이 지난주부터 켜지지 않습니다. "
            "아이들이 학원에서 돌아오는 길이라 걱정이 됩니다. 살펴보시고 언제 고쳐지는지 알려 주십시오. "
            "지난달에도 같은 등이 꺼져 전화로 말씀드렸는데 그때는 이틀 만에 고쳐 주셨습니다. "
            "이번에는 등 두 개가 함께 꺼졌고 기둥 아래 덮개도 열려 있어 비가 오면 위험해 보입니다.",
            applicant={
                "name": name,
                "address": f"{_SECRET}로 {number}길 {number % 90 + 1}, 301호",
                "mobile": f"010-{number // 10_000 % 10_000:04}-{number % 10_000:04}",
                **({"email": f"u{number}@example.kr"} if number % 3 == 0 else {}),
            },
            notify_by="sms",
            language="ko",
            departments=["도로관리과"],
        )
        self.people[event["id"]] = tenant, name
        return event

    def steps(self, tenant: str, case: str) -> list[dict[str, Any]]:
        """What follows a complaint."""
        officer = f"officer-{self._random.randrange(300):04}"
        return [
            self._event(
                tenant,
                case,
                "complaint.assigned",
                department="도로관리과 가로등팀",
                officer=officer,
                approver="head-0001",
            ),
            self._event(
                tenant,
                case,
                "complaint.procedure_explained",
                by="sms",
            ),
        ]

    def _event(self, tenant: str, case: str, type: str, **data: Any) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": f"{case}-{type.partition('.')[2]}-{self._random.getrandbits(32):08x}",
            "source": "web",
            "type": type,
            "subject": case,
            "time": self._moment,
            "tenant": tenant,
            "datacontenttype": "application/json",
            "data": data,
        }


def arrays(workload: Workload, tenant: str, name: str, count: int) -> list[bytes]:
    """Arrays for the door: a third complaints, the rest about the complaints of the array before."""
    made = []
    before: deque[dict[str, Any]] = deque()
    for number in range(count):
        events = []
        for place in range(ARRAY):
            if place % 3 == 0 or not before:
                case = f"{tenant}-{name}-{number:05}{place:02}"
                events.append(workload.complaint(tenant, case, count * ARRAY // 3))
                before.extend(workload.steps(tenant, case))
            else:
                events.append(before.popleft())
        made.append(json.dumps(events, ensure_ascii=False).encode())
    return made


@dataclass
class Run:
    """What one way in achieved."""

    accepted: list[tuple[str, str]] = field(default_factory=list)
    """(tenant, id)"""
    refused: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds by process."""

    def table(self) -> dict[str, Any]:
        """The figures."""
        waits, done = sorted(self.waits), len(self.accepted)
        return {
            "events": done,
            "refused": dict(self.refused),
            "bytes_an_event": round(self.bytes / max(done, 1)),
            "events_a_second": round(done / self.seconds),
            "p50_ms": round(waits[len(waits) // 2] * 1000, 1),
            "p99_ms": round(waits[len(waits) * 99 // 100] * 1000, 1),
            "cpu_us_an_event": {name: round(used / done * 1e6, 1) for name, used in self.cpu.items()},
            "cores_used": round(sum(self.cpu.values()) / self.seconds, 2),
        }


class City:
    """Servers, provisioned with five charters, and intakes before them."""

    def __init__(self, folder: Path, instances: int) -> None:
        self.tenants: dict[str, Tenant] = parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
        self.servers = Embedded(folder, self.tenants)
        self.ports = free_ports(instances)
        self.keepers: list[Keeper] = []

    async def start(self, stack: AsyncExitStack) -> None:
        servers = await stack.enter_async_context(self.servers)
        await provision.provision(
            servers.nats_url("operator"),
            servers.database_url,
            self.tenants,
            publisher_keys=servers.publisher_keys,
            monitor_url=servers.monitor_url,
        )
        database = await asyncpg.connect(servers.database_url)
        await database.execute("update sla_timer.partitions set sequence = $1", FAR_AHEAD)
        await database.close()
        for number, port in enumerate(self.ports):
            keeper = Keeper(
                Command(
                    f"intake-{number + 1}",
                    [sys.executable, "-P", "-m", "services.intake"],
                    servers.logs / f"intake-{number + 1}.log",
                    {
                        **os.environ,
                        **servers.environment("intake"),
                        "GIHAN_PORT": str(port),
                        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
                    },
                ),
                lambda port=port: _ready(port),  # type: ignore[misc]
            )
            await keeper.start()
            stack.push_async_callback(keeper.stop)
            self.keepers.append(keeper)

    def cpu(self) -> dict[str, float]:
        """CPU seconds used so far, by process."""
        assert self.servers.postgres is not None
        assert self.servers.nats is not None
        used = {keeper.command.name: _cpu(keeper.pid) for keeper in self.keepers}
        postmaster = self.servers.postgres.pid
        used["postgres"] = _cpu(postmaster) + sum(map(_cpu, _children(postmaster)))
        used["nats"] = _cpu(self.servers.nats.pid)
        used["generator"] = time.process_time()
        return used


async def _ready(port: int) -> None:
    async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
        (await http.get(f"http://127.0.0.1:{port}/health/ready")).raise_for_status()


def _cpu(pid: int | None) -> float:
    """CPU seconds of a process and of those children that it has outlived."""
    try:
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, numbers[11:15])) * _TICK_SECONDS


def _children(pid: int | None) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


async def through_the_door(city: City, workload: Workload, events: int, name: str) -> Run:
    """Arrays of 100 through the NATS door, a publisher for each city."""
    run = Run()
    lots = {tenant: arrays(workload, tenant, name, events // ARRAY // len(city.tenants)) for tenant in city.tenants}
    async with AsyncExitStack() as stack:
        publishers = {}
        for tenant in city.tenants:
            url = city.servers.nats_url(f"{tenant}.web")
            nc = await broker.connect(Settings(nats_url=url, database_url="", service=f"{tenant}.web"))
            stack.push_async_callback(nc.close)
            publishers[tenant] = nc
        run.bytes = sum(len(array) for lot in lots.values() for array in lot)
        before, begun = city.cpu(), time.perf_counter()
        await asyncio.gather(
            *(
                _publish(publishers[tenant], tenant, mine, run)
                for tenant, lot in lots.items()
                for mine in [iter(lot)]
                for _ in range(DOOR_UNDER_WAY)
            )
        )
        _finish(run, city, before, begun)
    return run


async def _publish(nc: Client, tenant: str, lot: Iterator[bytes], run: Run) -> None:
    for array in lot:
        begun = time.perf_counter()
        reply = await nc.request(f"door.{tenant}.web", array, timeout=30)
        run.waits.append(time.perf_counter() - begun)
        answers = orjson.loads(reply.data)
        for answer in answers if isinstance(answers, list) else [answers]:
            _count(run, tenant, answer)


def _count(run: Run, tenant: str, answer: dict[str, Any]) -> None:
    if answer.get("status") in ("accepted", "waiting"):
        run.accepted.append((tenant, answer["id"]))
    else:
        run.refused[str(answer.get("code"))] += 1


def _finish(run: Run, city: City, before: dict[str, float], begun: float) -> None:
    run.seconds = time.perf_counter() - begun
    run.cpu = {name: used - before[name] for name, used in city.cpu().items()}


async def over_http(city: City, workload: Workload, complaints: int, name: str) -> Run:
    """One complaint a request over connections that stay open."""
    run = Run()
    requests: list[tuple[str, bytes]] = []
    for number in range(complaints):
        tenant = list(city.tenants)[number % len(city.tenants)]
        event = workload.complaint(tenant, f"{tenant}-{name}-{number:06}", complaints)
        body = json.dumps(event, ensure_ascii=False).encode()
        run.bytes += len(body)
        key = city.servers.publisher_keys[f"{tenant}/web"]
        head = (
            f"POST /v1/events HTTP/1.1\r\nHost: intake\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/cloudevents+json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append((tenant, head.encode() + body))
    lot = iter(requests)
    loop = asyncio.get_running_loop()
    before, begun = city.cpu(), time.perf_counter()
    clients = []
    for number in range(HTTP_CONNECTIONS):
        port = city.ports[number % len(city.ports)]
        clients.append((await loop.create_connection(lambda: _Browser(lot, run), "127.0.0.1", port))[1])
    await asyncio.gather(*(client.done for client in clients))
    _finish(run, city, before, begun)
    return run


class _Browser(asyncio.Protocol):
    """A connection that sends one request after the other: as little work as can be, since it shares the machine."""

    def __init__(self, lot: Iterator[tuple[str, bytes]], run: Run) -> None:
        self._lot = lot
        self._run = run
        self._got = b""
        self._tenant = ""
        self._begun = 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        following = next(self._lot, None)
        if following is None:
            self._transport.close()
            return
        self._tenant, request = following
        self._begun = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._got = b""
        self._run.waits.append(time.perf_counter() - self._begun)
        _count(self._run, self._tenant, orjson.loads(body))
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def check(city: City, workload: Workload, accepted: list[tuple[str, str]]) -> dict[str, Any]:
    """Raises AssertionError unless CASES holds each accepted event once, without a word about a person, and the vault
    opens to what was said."""
    assert len(accepted) == len(set(accepted)), "an event was answered twice"
    settings = Settings(
        nats_url=city.servers.nats_url("replay"), database_url=city.servers.database_url, service="replay"
    )
    nc = await broker.connect(settings)
    found: Counter[tuple[str, str]] = Counter()
    refs: dict[str, tuple[str, str]] = {}
    try:
        async with LogCursor(nc, stream="CASES", after=0, batch_size=2000) as cursor:
            entries = await cursor.read(2000, 5.0)
            while entries:
                for entry in entries:
                    assert _SECRET.encode() not in entry.data, "the log holds what is for the vault alone"
                    if entry.subject.startswith("cases.") and b'"source":"web"' in entry.data:
                        event = orjson.loads(entry.data)
                        found[event["tenant"], event["id"]] += 1
                        if event["type"] == "complaint.received":
                            refs[event["id"]] = event["data"]["subject_ref"], event["data"]["text_ref"]
                entries = await cursor.read(2000, 1.0) if cursor.pending else []
    finally:
        await nc.close()
    missing = set(accepted) - found.keys()
    assert not missing, f"{len(missing)} accepted events do not stand in the log"
    assert max(found.values()) == 1, "an event stands in the log twice"
    pool = await postgres.connect_pool(settings)
    try:
        vault = Vault(city.servers.secrets / "vault")
        chosen = random.Random(SEED).sample(sorted(refs), min(LOOKED_AT, len(refs)))
        async with pool.acquire() as connection:
            for id in chosen:
                (tenant, name), (subject_ref, text_ref) = workload.people[id], refs[id]
                person = await vault.read_person(connection, tenant, subject_ref, "handle", "clerk/bench")
                assert person["name"] == name, "the vault holds another person"
                said = await vault.read_text(connection, tenant, text_ref, "handle", "clerk/bench")
                assert said.startswith(_SECRET), "the vault holds another text"
            sealed = await connection.fetchval("select count(*) from vault.subjects")
            assert sealed == len(refs), f"{sealed} people are sealed, {len(refs)} were sent"
            rows = await connection.fetchval("select count(*) from read.event_fate where sequence is not null")
            assert rows >= len(accepted), "a reservation does not know where its event stands"
    finally:
        await pool.close()
    return {"in_the_log_once": len(found), "read_back_from_the_vault": len(chosen)}


async def measure(quick: bool, instances: int = INSTANCES, rounds: int = 1) -> list[dict[str, Any]]:
    """Rates, waits and CPU of both ways in, round after round on the same servers, checked. The same work each time."""
    door, http = (DOOR_EVENTS_QUICK, HTTP_COMPLAINTS_QUICK) if quick else (DOOR_EVENTS, HTTP_COMPLAINTS)
    workload = Workload(datetime.now(UTC).isoformat())
    with tempfile.TemporaryDirectory(prefix="gihan-bench-") as folder:
        async with AsyncExitStack() as stack:
            city = City(Path(folder), instances)
            await city.start(stack)
            accepted = (await over_http(city, workload, WARMING, "warm")).accepted
            tables: list[dict[str, Any]] = []
            for number in range(rounds):
                runs = {
                    "door": await through_the_door(city, workload, door, f"door{number}"),
                    "http": await over_http(city, workload, http, f"http{number}"),
                }
                accepted += [one for run in runs.values() for one in run.accepted]
                tables.append({name: run.table() | {"bar": BARS[name]} for name, run in runs.items()})
            checked = await check(city, workload, accepted)
    return [{"instances": instances, **row, "checked": checked} for row in tables]


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description="How fast intake takes events in.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--instances", type=int, default=INSTANCES)
    chosen = parser.parse_args()
    print(table(uvloop.run(measure(chosen.quick, chosen.instances))[0]))


def table(result: dict[str, Any]) -> str:
    """The figures of `measure` as a table in Markdown."""
    rows = [
        "| way in | events/s | bar | p50, p99 ms | CPU us an event: intakes, postgres, nats, generator | cores |",
        "|---|---|---|---|---|---|",
    ]
    for name, bar in BARS.items():
        run = result[name]
        cpu = run["cpu_us_an_event"]
        intakes = round(sum(used for process, used in cpu.items() if process.startswith("intake-")), 1)
        costs = ", ".join(f"{used}" for used in (intakes, cpu["postgres"], cpu["nats"], cpu["generator"]))
        waits = f"{run['p50_ms']}, {run['p99_ms']}"
        rows.append(f"| {name} | {run['events_a_second']} | {bar} | {waits} | {costs} | {run['cores_used']} |")
    checked, door = result["checked"], result["door"]
    rows.append(
        f"\n{result['instances']} intakes; {door['bytes_an_event']} bytes an event through the door; "
        f"{checked['in_the_log_once']} events stand in CASES once, {checked['read_back_from_the_vault']} persons and "
        f"texts were read back from the vault; refused: {sum(sum(result[name]['refused'].values()) for name in BARS)}."
    )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
