"""Calling a gateway over HTTP.

The one rule: a request that may have left us without an answer is never told as one that did not.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from services.notifier import texts
from services.notifier.gateways import BAD_NUMBER, Answer, Found, Letter, Means, Outcome, Told, each, mobile

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
UNREACHED = Told(Found.UNREACHABLE, "no_answer")
_NOT_OURS = (401, 402, 403, 404, 405)
"""The gateway knows neither us nor our service, or wants to be paid: nothing that another message would change."""
_NOT_NOW = (408, 425, 429)


class Line:
    """A connection pool to one gateway."""

    def __init__(self, url: str) -> None:
        # No proxy from the environment and no redirect: a text goes where the settings say, or nowhere.
        self._http = httpx.AsyncClient(
            base_url=url,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )

    async def post(self, path: str, **request: Any) -> httpx.Response | Answer:
        """What came back, or where nothing did, what that means for what was handed over."""
        try:
            return await self._http.post(path, **request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return Answer(Outcome.UNREACHABLE, "no_connection")
        except httpx.HTTPError:
            return Answer(Outcome.UNANSWERED, "no_answer")

    async def get(self, path: str, headers: Mapping[str, str] | None = None, **query: str) -> Any:
        """The JSON that is said to a question; None where nothing is said, or nothing that can be read."""
        try:
            response = await self._http.get(path, params=query or None, headers=headers)
            return response.json() if response.is_success else None
        except (httpx.HTTPError, ValueError):
            return None

    async def status(self, path: str) -> int | None:
        """The status that is answered to a question; None where nothing is."""
        try:
            return (await self._http.get(path)).status_code
        except httpx.HTTPError:
            return None

    async def close(self) -> None:
        """Gives connections back."""
        await self._http.aclose()


def of_status(response: httpx.Response, code: str | None = None) -> Answer:
    """What a status says of what was handed over with the request."""
    status = response.status_code
    code = code or f"http_{status}"
    if 200 <= status < 300:
        return Answer(Outcome.ACCEPTED, code)
    if status in _NOT_OURS or 300 <= status < 400:
        return Answer(Outcome.UNREACHABLE, code)
    if status in _NOT_NOW or status >= 500:
        return Answer(Outcome.DEFERRED, code)
    return Answer(Outcome.REJECTED, code)


def read(response: httpx.Response) -> dict[str, Any]:
    """The JSON object that an answer holds, empty where it holds none."""
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class OneByOne(ABC):
    """What gateways do alike that take one text in a request."""

    means: Means = "sms"
    together = 50

    def __init__(self, name: str, url: str, rate: float) -> None:
        self.name = name
        self.rate = rate
        self.line = Line(url)

    async def send(self, letters: Sequence[Letter]) -> list[Answer]:
        """Hands over texts."""
        return await each(self._send, letters)

    async def _send(self, letter: Letter) -> Answer:
        number = mobile(letter)
        if number is None:
            return BAD_NUMBER
        kind, text = texts.sms_text(letter.message)
        response = await self.hand_over(letter, number, kind, text)
        if isinstance(response, Answer):
            return response
        answer = of_status(response)
        return answer if answer.outcome is not Outcome.ACCEPTED else self.taken(answer, response)

    @abstractmethod
    async def hand_over(self, letter: Letter, number: str, kind: str, text: str) -> httpx.Response | Answer:
        """One request with a text; `kind` is SMS or LMS."""

    def taken(self, answer: Answer, response: httpx.Response) -> Answer:
        """What the gateway says beside having taken a text."""
        return answer

    async def close(self) -> None:
        """Gives connections back."""
        await self.line.close()
