"""The development gateway (`deploy.devgateway`): texts in demos, tests and measurements.

The one rule: it knows a message by our key, so it can always say whether it took it.
"""

from collections.abc import Sequence

from services.notifier import texts
from services.notifier.gateways import BAD_NUMBER, Answer, Found, Letter, Means, Outcome, Told, mobile
from services.notifier.gateways.calling import UNREACHED, Line, of_status, read
from services.rules.instants import Instant


class DevelopmentGateway:
    """Text messages, all that it is handed in one request."""

    means: Means = "sms"
    together = 200
    finds = True
    reports = True

    def __init__(self, url: str, name: str = "sms", rate: float = 0) -> None:
        self.name = name
        self.rate = rate
        self._line = Line(url)

    async def send(self, letters: Sequence[Letter]) -> list[Answer]:
        """Hands over texts; decides itself which are short and which are long ones."""
        answers = dict.fromkeys((letter.key for letter in letters), BAD_NUMBER)
        wanted = [_content(letter, number) for letter in letters if (number := mobile(letter)) is not None]
        if wanted:
            answers |= await self._hand_over(wanted)
        return [answers[letter.key] for letter in letters]

    async def _hand_over(self, contents: Sequence[dict[str, str]]) -> dict[str, Answer]:
        keys = [content["key"] for content in contents]
        response = await self._line.post("/messages", json=contents)
        if isinstance(response, Answer):
            return dict.fromkeys(keys, response)
        answer = of_status(response)
        if answer.outcome is not Outcome.ACCEPTED:
            return dict.fromkeys(keys, answer)
        told = read(response).get("messages", {})
        lost = Answer(Outcome.UNANSWERED, "no_answer")
        # It names a message only where it will report on it.
        return {key: answer._replace(ref=told[key]) if key in told else lost for key in keys}

    async def find(self, letter: Letter, since: Instant) -> Told:
        """Asks by our key."""
        return await self._ask(letter.key)

    async def report(self, ref: str) -> Told:
        """Asks by its name for the message, which is our key."""
        return await self._ask(ref)

    async def _ask(self, key: str) -> Told:
        status = await self._line.status(f"/messages/{key}")
        found = {200: Found.TAKEN, 201: Found.DELIVERED, 410: Found.UNDELIVERED, 404: Found.NOT_TAKEN}
        return Told(found[status]) if status in found else UNREACHED

    async def close(self) -> None:
        """Gives connections back."""
        await self._line.close()


def _content(letter: Letter, number: str) -> dict[str, str]:
    kind, text = texts.sms_text(letter.message)
    subject = letter.message.subject if kind == "LMS" else ""
    return {
        "key": letter.key,
        "from": letter.tenant.sms_sender,
        "to": number,
        "kind": kind,
        "subject": subject,
        "text": text,
    }
