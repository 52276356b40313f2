"""Health of a service: is every part of it alive, and what does it stand at.

The one rule it protects: a part is ready only by proof. A loop that has not come round in time is red,
whatever its process says of itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from services.chassis import logs
from services.chassis.tasks import end

__all__ = ["CollectorRegistry", "Counter", "Gauge", "Health", "Part"]

Status = Callable[[], Awaitable[Mapping[str, Any]]]

FROZEN_SECONDS = 10.0
"""How long a part may stay away: red well before fifteen seconds are over."""


class Part:
    """One loop or connection of a service. Red from the start, until its first beat.

    `standby` is set while another instance does its work: then it is not ready, and not red either.
    """

    def __init__(self, name: str, frozen_after_seconds: float) -> None:
        self.name = name
        self.frozen_after_seconds = frozen_after_seconds
        self.standby = False
        self.facts: dict[str, Any] = {}
        self._beat_at = time.monotonic()
        self._trouble: str | None = "has not come round yet"
        self._task: asyncio.Task[None] | None = None

    def beat(self, **facts: Any) -> None:
        """Says that the loop came round and all is well; `facts` (positions, lags) are shown by /status."""
        self._beat_at = time.monotonic()
        self._trouble = None
        self.standby = False
        self.facts.update(facts)

    def stand_by(self) -> None:
        """Says that the part is well and waits for its turn: another instance holds the lease on its work."""
        self.beat()
        self.standby = True
        self._task = None  # that of its last turn

    def runs(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """Names the task in which the part runs, which nothing should end but the end of the service."""
        self._task = task
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Leaves word of what ended a part."""
        if not task.cancelled():
            logs.get_logger().critical("part_ended", part=self.name, exc_info=task.exception())

    def down(self, trouble: str) -> None:
        """Says that the part does not work: what is wrong and what to do, without any value. A beat clears it."""
        if trouble != self._trouble:
            logs.get_logger().warning("part_down", part=self.name)
        self._trouble = trouble

    @property
    def age_seconds(self) -> float:
        """Seconds since the last beat (monotonic)."""
        return time.monotonic() - self._beat_at

    @property
    def trouble(self) -> str | None:
        """What is wrong, or None."""
        if self._task is not None and self._task.done():
            return "has ended: start this service again"
        if self._trouble is None and self.age_seconds > self.frozen_after_seconds:
            return f"frozen: has not come round for {self.age_seconds:.0f} s"
        return self._trouble


class Health:
    """The parts of a service, its checks and what it reports. `async with health:` runs the checks."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.parts: dict[str, Part] = {}
        self.status: list[Status] = []
        """Callables whose answers are merged into /status; append to it."""
        self.registry = CollectorRegistry()
        """Where the service registers metrics of its own."""
        self.registry.register(_PartCollector(self))
        self._checks: list[Callable[[], Awaitable[None]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._running = False

    def part(self, name: str, frozen_after_seconds: float = FROZEN_SECONDS) -> Part:
        """The part `name`, red until its first beat, and again when no beat came for `frozen_after_seconds`."""
        return self.parts.setdefault(name, Part(name, frozen_after_seconds))

    def check(
        self,
        name: str,
        look: Callable[[], Awaitable[Any]],
        every_seconds: float = 1,
        timeout_seconds: float = 2,
    ) -> Part:
        """A part whose beat is `look` succeeding in time; with the defaults it is red within 3 s of its death."""
        part = self.part(name, frozen_after_seconds=every_seconds + timeout_seconds + 1)

        async def watch() -> None:
            while True:
                try:
                    async with asyncio.timeout(timeout_seconds):
                        await look()
                except logs.OperatorError as error:
                    part.down(str(error))
                except Exception as error:
                    part.down(f"does not answer ({logs.error_code(error)}): look at whether it runs and is reachable")
                else:
                    part.beat()
                await asyncio.sleep(every_seconds)

        self._checks.append(watch)
        if self._running:
            self._start_checks()
        return part

    def _start_checks(self) -> None:
        """Starts the checks that do not run yet: a service adds its own while it starts up."""
        while self._checks:
            self._tasks.append(asyncio.ensure_future(self._checks.pop()()))

    async def __aenter__(self) -> Self:
        self._running = True
        self._start_checks()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end(self._tasks)
        self._tasks = []
        self._running = False

    def red(self) -> dict[str, str]:
        """The parts that are not well, and what is wrong with each. Empty: ready."""
        return {name: part.trouble for name, part in self.parts.items() if part.trouble is not None}

    def standby(self) -> list[str]:
        """The parts that are well and wait for their turn, since another instance does their work."""
        return [name for name, part in self.parts.items() if part.standby and part.trouble is None]

    async def report(self) -> dict[str, Any]:
        """What /status shows: readiness, each part with its facts, and what the service adds."""
        red = self.red()
        report: dict[str, Any] = {
            "service": self.service,
            "ready": not red,
            "parts": {
                name: {
                    "trouble": red.get(name),
                    "standby": part.standby,
                    "beat_seconds_ago": round(part.age_seconds, 1),
                    **part.facts,
                }
                for name, part in self.parts.items()
            },
        }
        for status in self.status:
            try:
                async with asyncio.timeout(5):
                    report.update(await status())
            except Exception as error:
                # A status page must answer above all while something is broken.
                report.setdefault("unknown", []).append(logs.error_code(error))
        return report


class _PartCollector:
    """Metrics of the parts, worked out when asked for."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        labels = ["service", "part"]
        ready = GaugeMetricFamily("gihan_part_ready", "1 while the part is well", labels=labels)
        age = GaugeMetricFamily("gihan_part_beat_age_seconds", "Seconds since the last beat", labels=labels)
        facts = GaugeMetricFamily("gihan_part_fact", "A number that the part reports", labels=[*labels, "fact"])
        for name, part in self._health.parts.items():
            ready.add_metric([self._health.service, name], float(part.trouble is None))
            age.add_metric([self._health.service, name], part.age_seconds)
            for fact, value in part.facts.items():
                if isinstance(value, (int, float)):
                    facts.add_metric([self._health.service, name, fact], value)
        dropped = CounterMetricFamily("gihan_log_dropped", "Fields kept out of the log", labels=["cause"])
        for cause, number in logs.dropped.items():
            dropped.add_metric([cause], number)
        return [ready, age, facts, dropped]
