"""How much one caller may ask for: a rate, and a number of requests at a time.

The one rule it protects: whoever asks too much is told so at once, with the seconds to wait, and slows nobody else.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from services.chassis.http import Problem

_MOST_CALLERS = 10_000
"""So many are remembered; the one that was silent longest is forgotten first, and begins anew."""


class Rate:
    """A bucket of tokens for each caller: `per_second` flow in, and `burst` fit."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Takes a token of the caller's. Raises Problem 429 where there is none."""
        now = self._clock()
        tokens, at = self._buckets.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._per_second)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - 1 if allowed else tokens), now
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_requests",
                "You ask too often. Wait as long as Retry-After says.",
                retry_after=max(1, math.ceil((1 - tokens) / self._per_second)),
            )


class Concurrency:
    """How many requests of each caller are under way."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: dict[str, int] = {}

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """Counts a request while it lasts. Raises Problem 429 where too many are under way."""
        under_way = self._under_way.get(caller, 0)
        if under_way >= self._most:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_at_once",
                "Too many of your requests are under way. Send the next one when one is answered.",
                retry_after=1,
            )
        self._under_way[caller] = under_way + 1
        try:
            yield
        finally:
            if self._under_way[caller] == 1:
                del self._under_way[caller]
            else:
                self._under_way[caller] -= 1
