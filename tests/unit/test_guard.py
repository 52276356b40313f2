"""The guard of a gateway: pauses that grow, one message to try with, and no more a second than is allowed."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from services.notifier import guard
from services.notifier.gateways import Answer, Outcome
from services.notifier.guard import Breaker, Bucket, pause


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The monotonic clock, which stands until it is moved; pauses are the longest that chance may make them."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(guard, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    monkeypatch.setattr(guard.random, "uniform", lambda low, high: high)
    return now


def answers(*outcomes: str) -> list[Answer]:
    return [Answer(Outcome(outcome), "-") for outcome in outcomes]


def test_pauses_double_up_to_their_limit(at: Any) -> None:
    assert [pause(times) for times in (1, 2, 3, 5, 6, 50)] == [0.4, 0.8, 1.6, 6.4, 10.0, 10.0]
    assert pause(50, longest=900) == 900


def test_chance_spreads_pauses() -> None:
    found = {pause(3) for _ in range(50)}
    assert len(found) > 1
    assert all(0.8 <= seconds <= 1.6 for seconds in found)


def test_who_is_not_there_is_left_alone_at_once_and_tried_with_growing_pauses(at: Any) -> None:
    breaker = Breaker()
    assert breaker.state == "closed"
    for seconds in (0.4, 0.8, 1.6):
        breaker.judge(answers("accepted", "unreachable"))
        assert (breaker.state, round(breaker.wait_seconds, 6)) == ("open", seconds)
        at.seconds += seconds
        assert (breaker.state, breaker.wait_seconds) == ("trying", 0)
    breaker.judge(answers("accepted"))
    assert (breaker.state, breaker.failures, breaker.wait_seconds) == ("closed", 0, 0)


@pytest.mark.parametrize("trouble", ["deferred", "unanswered"])
def test_who_takes_nothing_is_left_alone_after_three_rounds(at: Any, trouble: str) -> None:
    breaker = Breaker()
    states = []
    for _ in range(3):
        breaker.judge(answers(trouble, trouble))
        states.append(breaker.state)
    assert states == ["closed", "closed", "open"]
    at.seconds += 10
    assert breaker.state == "trying"
    breaker.judge(answers(trouble))
    assert breaker.state == "open"


def test_a_gateway_that_judges_some_of_its_messages_works(at: Any) -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.judge(answers("deferred", "rejected"))
    assert breaker.state == "closed"
    breaker.judge([])
    assert breaker.failures == 0


def test_so_many_a_second_and_no_more(at: Any) -> None:
    bucket = Bucket(4)
    assert bucket.allows(100) == 4  # what it may take at once after a rest
    bucket.spend(4)
    assert (bucket.allows(100), bucket.wait_seconds) == (0, 0.25)
    sent = 0
    for _ in range(50):
        at.seconds += 0.25
        number = bucket.allows(100)
        bucket.spend(number)
        sent += number
    assert sent == 50
    at.seconds += 3600
    assert bucket.allows(100) == 4


def test_less_than_one_a_second(at: Any) -> None:
    bucket = Bucket(0.5)
    assert bucket.allows(10) == 1
    bucket.spend(1)
    assert (bucket.allows(10), bucket.wait_seconds) == (0, 2.0)
    at.seconds += 2
    assert bucket.allows(10) == 1


def test_without_a_rate_all_go(at: Any) -> None:
    bucket = Bucket(0)
    assert (bucket.allows(10_000), bucket.wait_seconds) == (10_000, 0)
    bucket.spend(10_000)
    assert bucket.allows(10_000) == 10_000
