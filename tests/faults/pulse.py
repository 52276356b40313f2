"""Pulses: publishers that send one event after the other, each until it is answered, and note every answer.

The one rule: they never stop by themselves, so the longest time between two answers is the time that service was away.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count, pairwise
from typing import NamedTuple

import httpx

from services.chassis.clock import RealClock
from services.cli.auditing.evidence import Book
from services.cli.demo.driver import BUSY
from tests.faults.workload import Parcel
from tests.faults.world import World

BEAT_SECONDS = 0.1
PATIENCE_SECONDS = 20.0


class Answer(NamedTuple):
    """One answer of intake: when it came (monotonic), its status, after how many seconds, and its Retry-After."""

    at: float
    status: int
    seconds: float
    retry_after: str


class Pulses:
    """Answers to the pulses so far; what was accepted stands in the book as well."""

    def __init__(self, world: World, book: Book) -> None:
        self.answers: list[Answer] = []
        self._world = world
        self._book = book

    @property
    def accepted(self) -> list[float]:
        """When events were taken in."""
        return [answer.at for answer in self.answers if answer.status == 200]

    def gap(self, since: float) -> float:
        """The longest time from `since` on in which nothing was taken in, up to now."""
        marks = [since, *(at for at in self.accepted if at > since), time.monotonic()]
        return max(later - sooner for sooner, later in pairwise(marks))

    @asynccontextmanager
    async def beating(self, number: int = 3) -> AsyncIterator[None]:
        """So many pulses until the block is left; every event has its answer then."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for name in range(number):
                group.create_task(self._beat(name, stop))
            try:
                yield
            finally:
                stop.set()

    async def _beat(self, name: int, stop: asyncio.Event) -> None:
        clock = RealClock()
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as http:
            for number in count(1):
                if stop.is_set():
                    return
                id = f"pulse-{name}-{number}"
                data = {"rings": 2, "department": "Roads"}
                body = Parcel("rapids", "call-centre", id, id, "call.answered", data, 0.0).body(await clock.now())
                while not await self._send(http, id, body):  # noqa: ASYNC110 - each time is another sending
                    await asyncio.sleep(BEAT_SECONDS)
                await asyncio.sleep(BEAT_SECONDS)

    async def _send(self, http: httpx.AsyncClient, id: str, body: dict[str, object]) -> bool:
        began = time.monotonic()
        key = self._world.servers.publisher_keys["rapids/call-centre"]
        with suppress(httpx.HTTPError):
            answer = await http.post(
                f"{self._world.intakes[0]}/v1/events",
                content=json.dumps(body),
                headers={"Authorization": f"Bearer {key}"},
            )
            now = time.monotonic()
            self.answers.append(Answer(now, answer.status_code, now - began, answer.headers.get("retry-after", "")))
            if answer.status_code not in BUSY:
                said = answer.json()
                event = {"tenant": "rapids", "source": "call-centre", "id": id, "type": "call.answered", "door": "http"}
                told = {name: said[name] for name in ("status", "case", "receipt") if name in said}
                self._book.promised.append({"poison": False, "body": body, "case": id} | event | told)
                return True
        return False
