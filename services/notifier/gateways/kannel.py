"""Kannel: a city's own line to its carrier, through smsbox (`sendsms`).

The one rule: Kannel keeps no name of ours and cannot be asked after anything, so a message without an answer is handed
over again, and the ledger marks it as repeated. What became of one it tells by itself, at an address that is made for
that attempt alone.

Everything goes in headers and body of a POST: an address with a number and a text in it would stand in logs.
"""

from collections.abc import Callable, Sequence

from services.notifier import texts
from services.notifier.gateways import BAD_NUMBER, Answer, Found, Letter, Means, Told, each, mobile, sender
from services.notifier.gateways.calling import Line, of_status
from services.rules.instants import Instant

REPORTED = 1 + 2 + 16
"""Of what Kannel can report: arrived (1), did not (2), refused by the carrier (16). Not that it is on its way."""
FATES = {"1": Found.DELIVERED, "2": Found.UNDELIVERED, "16": Found.UNDELIVERED}


class KannelGateway:
    """Texts, one in a request. `report_to` makes the address at which Kannel reports on a letter, without the status;
    None where there is none."""

    means: Means = "sms"
    together = 50
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
        self.name = name
        self.rate = rate
        self._login = {"X-Kannel-Username": user, "X-Kannel-Password": password}
        self._report_to = report_to
        self._line = Line(url)

    async def send(self, letters: Sequence[Letter]) -> list[Answer]:
        """Hands over texts."""
        return await each(self._send, letters)

    async def _send(self, letter: Letter) -> Answer:
        number = mobile(letter)
        if number is None:
            return BAD_NUMBER
        _, text = texts.sms_text(letter.message)
        headers = {
            **self._login,
            "X-Kannel-From": sender(letter.tenant),
            "X-Kannel-To": number,
            "X-Kannel-Coding": "2",  # UCS-2: the alphabet of plain texts has no Korean
            "Content-Type": "text/plain; charset=UTF-8",
        }
        if self._report_to is not None:
            headers |= {"X-Kannel-DLR-Mask": str(REPORTED), "X-Kannel-DLR-Url": f"{self._report_to(letter)}?status=%d"}
        response = await self._line.post("/cgi-bin/sendsms", content=text.encode(), headers=headers)
        if isinstance(response, Answer):
            return response
        return of_status(response)

    async def find(self, letter: Letter, since: Instant) -> Told:
        """It cannot be asked."""
        return Told(Found.CANNOT_SAY)

    async def report(self, ref: str) -> Told:
        """It cannot be asked."""
        return Told(Found.CANNOT_SAY)

    async def close(self) -> None:
        """Gives connections back."""
        await self._line.close()
