"""What stands between us and a gateway: how fast it is spoken to, and whether at all while it is in trouble.

The one rule: a gateway in trouble is left alone for a while that grows, and then tried with a single message; what
waits meanwhile is not lost and not counted against anybody. Seconds are those of the monotonic clock.
"""

import random
import time
from collections.abc import Collection

from services.notifier.gateways import Answer, Outcome

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
ROUNDS_IN_TROUBLE = 3
"""After so many rounds running of which nothing came to an end, the gateway is left alone; one that cannot be reached,
at once."""
BURST_SECONDS = 1.0
"""A gateway that had nothing to do takes as much at once as it takes in this time."""

_ENDS = (Outcome.ACCEPTED, Outcome.REJECTED)


def pause(times: int, longest: float = LONGEST_PAUSE_SECONDS) -> float:
    """Seconds before the next try: doubling, with a limit, and spread so that not all come back at once."""
    seconds = min(longest, FIRST_PAUSE_SECONDS * 2.0 ** min(times, 20))
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


class Breaker:
    """Whether a gateway is spoken to: `closed` (it is), `open` (it is left alone) or `trying` (one message)."""

    def __init__(self) -> None:
        self.failures = 0
        """Rounds running that ended in trouble."""
        self._until = 0.0
        self._broken = False

    @property
    def state(self) -> str:
        """One of closed, open, trying."""
        if not self._broken:
            return "closed"
        return "open" if time.monotonic() < self._until else "trying"

    @property
    def wait_seconds(self) -> float:
        """For how long it is still left alone."""
        return max(0.0, self._until - time.monotonic()) if self._broken else 0.0

    def failed(self, unreached: bool) -> None:
        """A round ended in trouble; `unreached` where the gateway was not there at all."""
        self.failures += 1
        if unreached or self._broken or self.failures >= ROUNDS_IN_TROUBLE:
            self._broken = True
            self._until = time.monotonic() + pause(self.failures)

    def succeeded(self) -> None:
        """The gateway did its work."""
        self.failures = 0
        self._broken = False

    def judge(self, answers: Collection[Answer]) -> None:
        """Learns from the answers of a round."""
        outcomes = {answer.outcome for answer in answers}
        if Outcome.UNREACHABLE in outcomes:
            self.failed(unreached=True)
        elif outcomes & set(_ENDS):
            self.succeeded()
        elif outcomes:
            self.failed(unreached=False)


class Bucket:
    """Lets so many messages a second go (a token bucket); with a rate of 0, all."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._most = max(1.0, rate * BURST_SECONDS)
        self._tokens = self._most
        self._filled_at = time.monotonic()

    @property
    def tokens(self) -> float:
        """How many may go now."""
        now = time.monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now
        return self._tokens

    def allows(self, wanted: int) -> int:
        """How many of those may go now."""
        return wanted if self.rate <= 0 else min(wanted, int(self.tokens))

    def spend(self, number: int) -> None:
        """So many went."""
        if self.rate > 0:
            self._tokens = self.tokens - number

    @property
    def wait_seconds(self) -> float:
        """Until one more may go."""
        return 0.0 if self.rate <= 0 else max(0.0, (1.0 - self.tokens) / self.rate)
