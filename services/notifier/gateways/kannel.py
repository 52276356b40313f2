"""Kannel: a city's own line to its carrier, through smsbox (`sendsms`).

The one rule: Kannel keeps no name of ours and cannot be asked after anything, so a message without an answer is handed
over again, and the ledger marks it as repeated. What became of one it tells by itself, at an address that is made for
that attempt alone.

Everything goes in headers and body of a POST: an address with a number and a text in it would stand in logs.
"""

from collections.abc import Callable

import httpx

from services.notifier.gateways import Answer, Found, Letter, Told, sender
from services.notifier.gateways.calling import OneByOne
from services.rules.instants import Instant

REPORTED = 1 + 2 + 16
"""Of what Kannel can report: arrived (1), did not (2), refused by the carrier (16). Not that it is on its way."""
FATES = {"1": Found.DELIVERED, "2": Found.UNDELIVERED, "16": Found.UNDELIVERED}


class KannelGateway(OneByOne):
    """Texts, one in a request. `report_to` makes the address at which Kannel reports on a letter, without the status;
    None where there is none."""

    finds = False
    reports = False

    def __init__(
        self,
        name: str,
        url: str,
        user: str,
        password: str,
        *,
        rate: float = 0,
        report_to: Callable[[Letter], str] | None = None,
    ) -> None:
        super().__init__(name, url, rate)
        self._login = {"X-Kannel-Username": user, "X-Kannel-Password": password}
        self._report_to = report_to

    async def hand_over(self, letter: Letter, number: str, kind: str, text: str) -> httpx.Response | Answer:
        """A text of any length: Kannel parts it."""
        headers = {
            **self._login,
            "X-Kannel-From": sender(letter.tenant),
            "X-Kannel-To": number,
            "X-Kannel-Coding": "2",  # UCS-2: the alphabet of plain texts has no Korean
            "Content-Type": "text/plain; charset=UTF-8",
        }
        if self._report_to is not None:
            headers |= {"X-Kannel-DLR-Mask": str(REPORTED), "X-Kannel-DLR-Url": f"{self._report_to(letter)}?status=%d"}
        return await self.line.post("/cgi-bin/sendsms", content=text.encode(), headers=headers)

    async def find(self, letter: Letter, since: Instant) -> Told:
        """It cannot be asked."""
        return Told(Found.CANNOT_SAY)

    async def report(self, ref: str) -> Told:
        """It cannot be asked."""
        return Told(Found.CANNOT_SAY)
