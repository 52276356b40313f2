"""A letter in hand is held: while one is being dealt with, INBOX hears so again and again, and no longer. One that
cannot be dealt with now comes again after a pause."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest

from services.chassis.clock import RealClock
from services.intake import doors
from services.intake.append import unavailable
from services.intake.doors import Inbox
from services.intake.judge import Refusal


class Letter:
    """As much of a message of INBOX as is looked at."""

    subject = "inbox.rapids.web.call.ended"
    data = b"{}"

    def __init__(self, delivered: int = 1) -> None:
        self.metadata = SimpleNamespace(sequence=SimpleNamespace(stream=1), num_delivered=delivered)
        self.said: list[str] = []
        self.held = asyncio.Event()

    async def in_progress(self) -> None:
        self.said.append("in progress")
        if len(self.said) == 3:
            self.held.set()

    async def nak(self, delay: float = 0) -> None:
        self.said.append(f"again in {delay} s")


@pytest.mark.parametrize("trouble", [unavailable(), ConnectionError()], ids=["no answer", "an error"])
async def test_a_letter_that_cannot_be_dealt_with_now_comes_again_after_a_pause(
    trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once it would come thousands of times a second, and hold up all others."""
    letter = Letter()
    monkeypatch.setattr(Inbox, "_take", AsyncMock(side_effect=trouble))
    nothing = cast(Any, None)
    await Inbox(nothing, RealClock(), nothing, nothing, nothing).handle(cast(Any, letter))
    assert letter.said == ["again in 2.0 s"]


@pytest.mark.parametrize(("delivered", "said"), [(1, ["again in 2.0 s"]), (3, ["again in 2.0 s"]), (4, [])])
async def test_a_failure_of_ours_is_tried_again_before_the_letter_is_buried(
    delivered: int, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = Letter(delivered)
    monkeypatch.setattr(Inbox, "_take", AsyncMock(side_effect=Refusal("internal", "It failed here.", status=500)))
    buried: list[Any] = []
    monkeypatch.setattr(Inbox, "_lay", lambda _, grave: buried.append(grave.letter))
    nothing = cast(Any, None)
    await Inbox(nothing, RealClock(), nothing, nothing, nothing).handle(cast(Any, letter))
    assert letter.said == said
    assert buried == ([] if said else [letter])


async def test_a_letter_is_held_while_it_is_dealt_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "HOLD_SECONDS", 0.001)
    letter = Letter()

    async def slow(*_: Any) -> None:
        async with asyncio.timeout(10):
            await letter.held.wait()
        raise ConnectionError

    monkeypatch.setattr(Inbox, "_take", slow)
    nothing = cast(Any, None)
    before = asyncio.all_tasks()
    await Inbox(nothing, RealClock(), nothing, nothing, nothing).handle(cast(Any, letter))
    assert letter.said[-1] == "again in 2.0 s"
    assert letter.said.count("in progress") >= 3
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() - before if not task.done()]
