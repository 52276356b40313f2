"""Where the time goes: samples of the running services, written to docs/bench/profile-*.md.

The one rule: what is sampled is the service as it runs, on real servers under the load of the bench; a stack belongs
to the part of the service that stands lowest in it.

    python -m tests.bench.profiling [--only fold,intake] [--quick]
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import asyncpg
import uvloop

from tests.bench import intake, live
from tests.bench.machine import children, command_of, describe
from tests.bench.results import FOLDER
from tests.bench.room import Room, open_room, until
from tests.bench.workload import Workload

CASES, CASES_QUICK = 30_000, 2_000
RATE = 199
"""Samples a second; not a divisor of what timers do."""
MOST_SECONDS = 600
SHOWN = 25
WAITING = "Condition.wait (threading.py"
"""Where a worker thread without work stands, which py-spy takes for busy."""
PARTS = {"relay": ("outbox.py",), "fold": ("folder.py",)}
"""Parts of sla_timer by the file that drives each; what is neither is the rest: ticker, leases, connections."""


class Stack(NamedTuple):
    """Frames, outermost first, each "function (file)", and how often they were seen."""

    frames: tuple[str, ...]
    samples: int


class Sampler:
    """py-spy on one process, until it ends or `stop` is called."""

    def __init__(self, pid: int, path: Path) -> None:
        self._pid = pid
        self._path = path
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Begins to sample."""
        program = Path(sys.executable).with_name("py-spy")
        # Without stopping the process for each look: one that ends while it is stopped never ends.
        arguments = ["record", "--nonblocking", "--pid", str(self._pid), "--rate", str(RATE)]
        arguments += ["--duration", str(MOST_SECONDS)]
        self._process = await asyncio.create_subprocess_exec(
            program, *arguments, "--function", "--format", "raw", "--output", self._path,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    async def stop(self) -> list[Stack]:
        """Ends the sampling and returns what was seen."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(2)
        await self._process.wait()
        return _read(self._path)


def _read(path: Path) -> list[Stack]:
    stacks = []
    for line in path.read_text(encoding="utf-8").splitlines():
        frames, _, samples = line.rpartition(" ")
        stack = Stack(tuple(frames.split(";")), int(samples))
        if not stack.frames[-1].startswith(WAITING):
            stacks.append(stack)
    return stacks


async def of_sla_timer(quick: bool, folder: Path) -> dict[str, list[Stack]]:
    """A backlog folded and published by one process: the stacks of its fold, of its relay, and the rest."""
    workload = Workload(CASES_QUICK if quick else CASES)
    async with open_room(enacted_at=workload.start) as room:
        await room.fill((message.subject, message.body) for message in workload.messages())
        log = await live.pure_fold(room.nc, live.LOG)
        connection = await asyncpg.connect(await room.fresh_database(), command_timeout=600)
        try:
            await connection.execute("update chassis.clock set now = $1", log.clock)
            stacks = await _sampled(room, connection, log, folder)
        finally:
            await connection.close()
    return {part: [stack for stack in stacks if _part(stack) == part] for part in (*PARTS, "rest")}


async def _sampled(room: Room, connection: asyncpg.Connection, log: live.Log, folder: Path) -> list[Stack]:
    async with live.ONE.start(room) as processes:
        await until(partial(live.is_warm, connection, live.ONE, log), processes)
        sampler = Sampler(processes[0].pid, folder / "sla_timer.raw")
        await sampler.start()
        await until(partial(live.at_end, connection, live.ONE, log), processes)
        await until(partial(live.published_all, connection), processes)
        return await sampler.stop()


def _part(stack: Stack) -> str:
    for part, files in PARTS.items():
        if any(f"/{file}" in frame for frame in stack.frames for file in files):
            return part
    return "rest"


async def of_intake(quick: bool, folder: Path) -> dict[str, list[Stack]]:
    """Every intake that the measurement of intake starts, sampled until it ends."""
    measuring = asyncio.create_task(intake.measure(quick))
    samplers: dict[int, Sampler] = {}
    while not measuring.done():
        for pid in children():
            if pid not in samplers and "services.intake" in command_of(pid):
                samplers[pid] = Sampler(pid, folder / f"intake-{pid}.raw")
                await samplers[pid].start()
        await asyncio.wait({measuring}, timeout=0.2)
    measuring.result()
    return {"intake": [stack for sampler in samplers.values() for stack in await sampler.stop()]}


def as_table(part: str, parts: Mapping[str, Sequence[Stack]], machine: str) -> str:
    """The profile of a part as Markdown: what costs most by itself, and with all that it calls."""
    stacks = parts[part]
    total = sum(stack.samples for stack in stacks)
    beside = sum(stack.samples for other in parts.values() for stack in other)
    alone: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    rooms: Counter[str] = Counter()
    for frames, samples in stacks:
        alone[frames[-1]] += samples
        whole.update(dict.fromkeys(frames, samples))
        rooms[next((room for frame in reversed(frames) if (room := _room(frame))), "start and event loop")] += samples
    share = f"{total / max(beside, 1):.0%} of the {beside:,} samples of its process, {RATE} a second; {machine}."
    lines = [f"# Where the time of {part} goes", "", share, ""]
    for title, counts in (
        ("By room: the innermost code of ours or of a library that is at work", rooms),
        ("By itself", alone),
        ("With all that it calls", whole),
    ):
        lines += [f"## {title}", "", "| share | |", "|---:|---|"]
        lines += [f"| {samples / max(total, 1):.1%} | {name} |" for name, samples in counts.most_common(SHOWN)]
        lines.append("")
    return "\n".join(lines)


def _room(frame: str) -> str:
    """The file of ours, or the library, in which a frame stands; empty where it is Python's own."""
    path = frame.rpartition("(")[2].rpartition(":")[0]
    for ours in ("services/", "contracts/", "deploy/"):
        if ours in path:
            return path[path.index(ours) :]
    if "site-packages" in path or "/" in path:
        return path.split("site-packages/")[-1].split("/")[0]
    return ""


async def _profile(quick: bool, only: Sequence[str]) -> list[Path]:
    written = []
    with tempfile.TemporaryDirectory(prefix="gihan-bench-") as name:
        folder = Path(name)
        found = describe(folder)
        core = found["core of Gihan"]
        machine = f"{found['cpu']}, {found['cores']} cores, the core {core}"
        # What is compiled is seen as one piece, inside whoever calls it.
        suffix = "" if core == "compiled" else f"-{core}"
        FOLDER.mkdir(parents=True, exist_ok=True)
        for service, sampled in (("fold", of_sla_timer), ("intake", of_intake)):
            parts = await sampled(quick, folder) if service in only else {}
            for part in parts:
                written.append(FOLDER / f"profile-{part}{suffix}.md")
                written[-1].write_text(as_table(part, parts, machine), encoding="utf-8")
    return written


def main() -> None:
    """Samples and writes."""
    parser = argparse.ArgumentParser(description="Samples sla_timer and intake under load.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="fold,intake")
    chosen = parser.parse_args()
    for path in uvloop.run(_profile(chosen.quick, chosen.only.split(","))):
        print(f"written: {path}")


if __name__ == "__main__":
    main()
