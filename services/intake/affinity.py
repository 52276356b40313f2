"""Affinity: a tenant's arrays are taken in by one of the instances of intake, whichever door they came through.

The one rule it protects: nothing rests on it. Whoever takes an event in locks its case. But arrays that are sent side
by side speak of the same cases, and dealt out by chance they would have the instances wait for each other's locks most
of the time. So each instance says that it is there, and an array goes on, as it is, to the one that has the tenant.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from contracts.streams import gone_subject, handed_on_subject, present_subject
from services.chassis.tasks import end
from services.intake.append import ANSWER_SECONDS, unavailable
from services.intake.judge import Publisher

PRESENT_SECONDS = 1.0
"""How often an instance says that it is there."""
LAPSE_SECONDS = 3.0
"""One that has been silent for so long is not counted on."""
TURN_SECONDS = 4.0
"""How long an instance has a tenant that is one too many for all to have as many."""


class Affinity:
    """What this instance knows of the others, and to whom it hands arrays on. `name` is its own."""

    def __init__(self, nc: Client, tenants: Iterable[str]) -> None:
        self.name = secrets.token_hex(8)
        self._nc = nc
        self._places = {tenant: place for place, tenant in enumerate(sorted(tenants))}
        self._heard: dict[str, float] = {}
        """When each of the others was heard last (the event loop's time)."""

    def instance(self, tenant: str) -> str:
        """The name of the instance that takes a tenant's arrays in: tenants in order are dealt out to the instances.

        What does not go round evenly, the last tenants, each instance has in its turn, by the clock of its machine.
        Where two clocks differ, two instances have a tenant for as long as they do, and lock its cases in turn.
        """
        now = asyncio.get_running_loop().time()
        others = [name for name, heard in self._heard.items() if now - heard < LAPSE_SECONDS]
        names = sorted([self.name, *others])
        place = self._places.get(tenant, 0)
        if place >= len(self._places) - len(self._places) % len(names):
            place += int(time.time() // TURN_SECONDS)
        return names[place % len(names)]

    async def hand_on(self, raw: bytes, publisher: Publisher) -> bytes | None:
        """The answer of the instance that takes this in; None where that is this one, or is gone.

        Raises Refusal where no answer comes: it is not known then whether anything was kept.
        """
        name = self.instance(publisher.tenant)
        if name == self.name:
            return None
        try:
            subject = handed_on_subject(name, *publisher)
            return bytes((await self._nc.request(subject, raw, timeout=ANSWER_SECONDS + 1)).data)
        except NoRespondersError:
            self._heard.pop(name, None)
            return None
        except (NatsError, TimeoutError, OSError):
            raise unavailable() from None

    @asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Hears of the others, and is heard of, until the block ends."""
        heard = [await self._nc.subscribe(subject("*"), cb=self._hear) for subject in (present_subject, gone_subject)]
        saying = asyncio.create_task(self._say(), name="affinity")
        try:
            yield
        finally:
            await end([saying])
            with suppress(NatsError, OSError):  # unheard, it lapses
                await self._nc.publish(gone_subject(self.name))
                for subscription in heard:
                    await subscription.unsubscribe()

    async def _say(self) -> None:
        while True:
            with suppress(NatsError, OSError):
                await self._nc.publish(present_subject(self.name))
            await asyncio.sleep(PRESENT_SECONDS)

    async def _hear(self, message: Msg) -> None:
        name = message.subject.rpartition(".")[2]
        if message.subject == gone_subject(name):
            self._heard.pop(name, None)
        elif name != self.name:
            self._heard[name] = asyncio.get_running_loop().time()
