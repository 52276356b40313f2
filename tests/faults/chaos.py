"""The chaos runner: seeded publishers, seeded faults, then quiet, then the audit.

`python -m tests.faults.chaos --seed 7 --minutes 1` or `make chaos SEED=7`. The one rule: the seed alone decides what is
sent and what is done to whom and when, so that a run which finds something can be repeated.
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from deploy.permissions import SERVICES
from services.chassis import logs
from services.chassis.clock import RealClock
from services.cli.auditing.audit import Report, in_words
from services.cli.auditing.evidence import Measure, Outage
from services.cli.demo.driver import TROUBLES, NotSettled
from tests.faults.workload import NoAnswer, Workload, stories
from tests.faults.world import World, running_world

FAULTS_EACH_MINUTE = 55
CALM_SECONDS = 6.0
"""Before the first fault, so that promptness is seen undisturbed too."""
READY_SECONDS = 120.0
SETTLE_SECONDS = 90.0
CAUGHT_UP_SECONDS = 15.0
"""I12: by when lag and outboxes are empty after the last fault."""
RED_SECONDS = 5.0
"""I13: by when readiness is red."""
LIVE_SECONDS = 1.0
RSS_MEGABYTES = 300.0
LOOK_SECONDS = 1.0
INBOX_SECONDS = 12.0
"""How long an intake may be away after its consumer of INBOX was deleted."""

CHANCES = {"kill": 6, "stop": 5, "line": 8, "gateway": 3, "consumer": 2}
EVERYTHING = "everything"
"""The target of a kill that takes all processes at once, as when a machine is switched off and on."""
MODES = ("slow", "frozen", "deaf", "refusing")
GATEWAY_FAULTS = ("defer", "hang", "silent", "reject")


__all__ = ["Chaos", "Fault", "Outcome", "run", "schedule", "stories", "table"]


class Fault(NamedTuple):
    """What is done, to whom, for how long; `pause` seconds pass before the next begins."""

    kind: str
    target: str
    how: str
    seconds: float
    pause: float

    @property
    def name(self) -> str:
        """In words, for the table."""
        return " ".join(filter(None, (self.kind, self.how, self.target)))


def schedule(seed: int, seconds: float, copies: int) -> Iterator[Fault]:
    """The faults of a run; the same for the same arguments."""
    chance = random.Random(f"faults {seed}")
    processes = [*SERVICES, "nats", "postgres"]
    processes += [f"{service}-{number}" for number in range(2, copies + 1) for service in SERVICES]
    lines = [f"{service}-{server}" for service in SERVICES for server in ("nats", "postgres")] + ["sms", "smtp"]
    passed = 0.0
    while passed < seconds:
        kind = chance.choices(list(CHANCES), list(CHANCES.values()))[0]
        pause = chance.uniform(0.2, 2 * 60 / FAULTS_EACH_MINUTE - 0.2)
        match kind:
            case "kill":
                fault = Fault(kind, chance.choice([*processes, "gateways", EVERYTHING]), "", 0.0, pause)
            case "stop":
                fault = Fault(kind, chance.choice(processes), "", chance.choice((0.5, 1.5, 3.0, 7.5)), pause)
            case "line":
                fault = Fault(kind, chance.choice(lines), chance.choice(MODES), chance.uniform(0.5, 5.0), pause)
            case "gateway":
                how = chance.choice(GATEWAY_FAULTS)
                fault = Fault(kind, chance.choice(("sms", "smtp")), how, chance.uniform(1.0, 6.0), pause)
            case _:
                fault = Fault(kind, chance.choice(("CASES", "SLA", "INBOX")), "", 0.0, pause)
        passed += pause
        yield fault


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    seed: int
    faults: Counter[str]
    report: Report
    sent: int
    retries: int
    caught_up_seconds: float
    settled_seconds: float
    unsettled: str = ""

    @property
    def held(self) -> bool:
        """Whether every guarantee did."""
        return not self.report.violations and not self.unsettled


@dataclass(slots=True)
class Chaos:
    """One run on a world that is up."""

    world: World
    workload: Workload
    done: Counter[str] = field(default_factory=Counter)
    disturbed: Counter[str] = field(default_factory=Counter)
    _clock: RealClock = field(default_factory=RealClock)

    async def run(self, seconds: float, copies: int) -> Outcome:
        """Faults for `seconds` under load, then quiet, then the audit."""
        watching = [asyncio.create_task(watch()) for watch in (self._watch_positions, self._watch_services)]
        publishing = asyncio.create_task(self.workload.run(CALM_SECONDS + seconds))
        book = self.workload.book
        unsettled, caught_up, settled = "", 0.0, 0.0
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(CALM_SECONDS)
            begins = await self._clock.now()
            await self._disturb(seconds, copies)
            await self.world.ready(READY_SECONDS)
            book.outages.append(Outage("chaos", begins, await self._clock.now()))
            quiet = loop.time()
            try:
                await publishing
                quiet = loop.time()
                caught_up = await self._until_caught_up(quiet)
                await self.world.settle(SETTLE_SECONDS)
            except* NoAnswer as group:
                unsettled = f"{group.exceptions[0]}, and {len(group.exceptions) - 1} more"
            except* (NotSettled, TimeoutError) as group:
                unsettled = str(group.exceptions[0]) or "lag and outboxes are not empty after the last fault"
            settled = loop.time() - quiet
        finally:
            for task in (*watching, publishing):
                task.cancel()
            await asyncio.gather(*watching, publishing, return_exceptions=True)
        book.measured.append(Measure("I12", "seconds until lag and outboxes were empty", caught_up, CAUGHT_UP_SECONDS))
        self._write_book()
        report = await self.world.audit(book, settled=not unsettled)
        return Outcome(
            self.workload.seed,
            self.done,
            report,
            self.workload.sent,
            self.workload.retries,
            round(caught_up, 1),
            round(settled, 1),
            unsettled,
        )

    async def _disturb(self, seconds: float, copies: int) -> None:
        """Begins each fault in its time, several at once where they overlap; returns when all are over."""
        async with asyncio.TaskGroup() as group:
            for fault in schedule(self.workload.seed, seconds, copies):
                group.create_task(self._do(fault))
                self.done[fault.name] += 1
                await asyncio.sleep(fault.pause)

    async def _do(self, fault: Fault) -> None:
        world = self.world
        self.disturbed[fault.target] += 1
        try:
            match fault.kind:
                case "kill":
                    for name in world.processes if fault.target == EVERYTHING else (fault.target,):
                        world.kill(name)
                    await asyncio.sleep(RED_SECONDS)
                case "stop":
                    async with world.stopped(fault.target):
                        await self._while_stopped(fault)
                    await asyncio.sleep(1.0)
                case "line":
                    async with world.line(fault.target, fault.how):
                        await asyncio.sleep(fault.seconds)
                case "gateway":
                    async with world.gateways(fault.target, fault.how):
                        await asyncio.sleep(fault.seconds)
                case _:
                    await self._delete_consumer(fault.target)
        finally:
            self.disturbed[fault.target] -= 1

    async def _delete_consumer(self, stream: str) -> None:
        chance = random.Random(f"{self.workload.seed} {self.done}")
        intakes = [name for name in self.world.urls() if name.startswith("intake")] if stream == "INBOX" else []
        self.disturbed.update(intakes)
        with suppress(*TROUBLES):
            await self.world.delete_consumer(stream, chance.choice)
        if intakes:  # without its consumer an intake ends, to be started again
            await asyncio.sleep(INBOX_SECONDS)
        self.disturbed.subtract(intakes)

    async def _while_stopped(self, fault: Fault) -> None:
        """A server that stands still for long must turn every service red."""
        if fault.target not in ("nats", "postgres") or fault.seconds <= RED_SECONDS + 1:
            await asyncio.sleep(fault.seconds)
            return
        keeper = self.world.processes[fault.target]
        frozen = keeper.pid
        await asyncio.sleep(RED_SECONDS)
        for name, url in self.world.urls().items():
            # One that was killed meanwhile is up again.
            if (
                keeper.pid == frozen
                and not self.disturbed[name]
                and await self._status(f"{url}/health/ready", 1.0) == 200
            ):
                self._measured("I13", f"{name} is ready {RED_SECONDS:.0f} s after {fault.target} froze", 1, 0)
        await asyncio.sleep(fault.seconds - RED_SECONDS)

    async def _until_caught_up(self, since: float) -> float:
        """Seconds until nothing is on its way. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                with suppress(*TROUBLES):
                    if (await self.world.driver.look()).lag == 0:
                        return loop.time() - since
                await asyncio.sleep(0.1)

    # bystanders

    async def _watch_positions(self) -> None:
        """Notes where every partition stands, again and again."""
        while True:
            with suppress(*TROUBLES):
                rows = await self.world.pool.fetch("select partition, sequence, decisions from sla_timer.partitions")
                self.workload.book.positions += [dict(row) for row in rows]
            await asyncio.sleep(LOOK_SECONDS)

    async def _watch_services(self) -> None:
        """Whether undisturbed services say that they live, and how much memory they take."""
        silent: Counter[tuple[str, int | None]] = Counter()
        lived: set[tuple[str, int | None]] = set()
        largest: Counter[str] = Counter()
        while True:
            for name, url in self.world.urls().items():
                who = name, self.world.processes[name].pid
                megabytes = _resident_megabytes(who[1])
                if megabytes > max(largest[name], RSS_MEGABYTES):
                    self._measured("I14", f"megabytes of {name}", megabytes, RSS_MEGABYTES)
                largest[name] = max(largest[name], int(megabytes))
                if self.disturbed[name]:
                    silent[who] = 0
                elif await self._status(f"{url}/health/live", LIVE_SECONDS) == 200:
                    lived.add(who)
                    silent[who] = 0
                elif who in lived and who[1] == self.world.processes[name].pid and not self.disturbed[name]:
                    silent[who] += 1
                if silent[who] == 3:  # once may be this machine's fault
                    self._measured("I13", f"times that {name} did not say that it lives", 3, 2)
            await asyncio.sleep(LOOK_SECONDS)

    async def _status(self, url: str, limit_seconds: float) -> int:
        async with httpx.AsyncClient(timeout=limit_seconds, trust_env=False) as http:
            try:
                return (await http.get(url)).status_code
            except httpx.HTTPError:
                return 0

    def _measured(self, invariant: str, what: str, value: float, limit: float) -> None:
        self.workload.book.measured.append(Measure(invariant, what, value, limit))

    def _write_book(self) -> None:
        """Leaves the book beside the data, for `gihan audit --book`."""
        book = self.workload.book
        kinds: dict[str, list[Any]] = {
            "promised": book.promised,
            "canary": book.canaries,
            "outage": [outage._asdict() for outage in book.outages],
            "position": book.positions,
            "measured": [measure._asdict() for measure in book.measured],
        }
        with (self.world.folder / "book.jsonl").open("w", encoding="utf-8") as file:
            for kind, rows in kinds.items():
                file.writelines(json.dumps({kind: row}) + "\n" for row in rows)


def _resident_megabytes(pid: int | None) -> float:
    with suppress(OSError, ValueError):
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        return int(text.partition("VmRSS:")[2].split()[0]) / 1024
    return 0.0


async def run(seed: int, seconds: float, folder: Path, copies: int = 1, rate: float = 2.0) -> Outcome:
    """A run in `folder`, which must be new or empty."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(running_world(folder, copies))
        return await Chaos(world, Workload(world, seed, rate)).run(seconds, copies)


def table(outcome: Outcome) -> list[str]:
    """The outcome for people."""
    lines = [f"seed {outcome.seed}: {outcome.faults.total()} faults"]
    lines += [f"  {count:>4} {name}" for name, count in sorted(outcome.faults.items())]
    lines.append(f"{outcome.sent} events answered, {outcome.retries} sendings repeated")
    lines.append(
        f"lag and outboxes empty after {outcome.caught_up_seconds} s, all at rest after {outcome.settled_seconds} s"
    )
    lines += [outcome.unsettled] if outcome.unsettled else []
    return lines + in_words(outcome.report)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Publishers, faults, quiet, audit.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults go on")
    parser.add_argument("--copies", type=int, default=1, help="how many of each service")
    given = parser.parse_args()
    logs.configure("chaos", "critical")
    folder = Path(tempfile.mkdtemp(prefix=f"gihan-chaos-{given.seed}-"))
    outcome = asyncio.run(run(given.seed, given.minutes * 60, folder, given.copies))
    print(*table(outcome), sep="\n")
    if outcome.held:
        shutil.rmtree(folder)
        return
    print(f"FAILED. Data, logs and book: {folder}")
    copies = f" COPIES={given.copies}" if given.copies > 1 else ""
    print(f"Repeat with: make chaos SEED={given.seed} MINUTES={given.minutes:g}{copies}")
    sys.exit(1)


if __name__ == "__main__":
    main()
