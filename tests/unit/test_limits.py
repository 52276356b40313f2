"""Rate and concurrency of callers, on a clock of the test's own."""

import pytest

from services.chassis.http import Problem
from services.chassis.limits import Concurrency, Rate


def test_a_bucket_fills_again_and_is_one_caller_s_own() -> None:
    now = [100.0]
    rate = Rate(2.0, 3.0, lambda: now[0])
    for _ in range(3):
        rate.take("a")
    with pytest.raises(Problem) as refused:
        rate.take("a")
    assert (refused.value.status, refused.value.retry_after) == (429, 1)
    rate.take("b")
    now[0] += 0.5  # one token
    rate.take("a")
    with pytest.raises(Problem):
        rate.take("a")
    now[0] += 1_000.0  # no more than fit
    for _ in range(3):
        rate.take("a")
    with pytest.raises(Problem):
        rate.take("a")


def test_the_wait_that_is_told_is_long_enough() -> None:
    now = [0.0]
    rate = Rate(0.1, 1.0, lambda: now[0])
    rate.take("a")
    with pytest.raises(Problem) as refused:
        rate.take("a")
    assert refused.value.retry_after == 10
    now[0] += 10.0
    rate.take("a")


def test_requests_under_way_are_counted_until_they_end_however_they_do() -> None:
    at_once = Concurrency(2)
    with at_once.one("a"), at_once.one("a"), at_once.one("b"):
        with pytest.raises(Problem) as refused, at_once.one("a"):
            pass
        assert (refused.value.status, refused.value.code) == (429, "too_many_at_once")
    with pytest.raises(RuntimeError), at_once.one("a"):
        raise RuntimeError
    with at_once.one("a"), at_once.one("a"):
        pass
