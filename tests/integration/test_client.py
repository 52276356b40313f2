"""The client for publishing systems, on real servers: sent again under the same id until it is answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from clients import publisher
from clients.publisher import Message, Publisher, Unanswered
from contracts.envelope import Accepted, Refused
from deploy.embedded import Embedded


@pytest.fixture
async def kiosk(nats: Embedded) -> AsyncIterator[Publisher]:
    address = nats.nats_url("operator").rpartition("@")[2]
    seed = urlsplit(nats.nats_url("seoul.kiosk")).password or ""
    async with Publisher(f"nats://{address}", "seoul", "kiosk", seed + "\n") as client:
        yield client


class Door:
    """Intake's end of the door, as far as these tests go: what it heard, and what it is to say next."""

    def __init__(self, *plan: str) -> None:
        self.plan = list(plan)
        self.heard: list[list[dict[str, object]]] = []

    async def answer(self, message) -> None:
        events = json.loads(message.data)
        self.heard.append(events)
        word = self.plan.pop(0) if self.plan else "accepted"
        if word == "silence":
            return
        if word == "too much":
            await message.respond(b'{"status":"refused","code":"wrong_number","detail":"Split it.","pointer":""}')
            return
        answers = []
        for number, event in enumerate(events):
            answer = {"status": "accepted", "source": "kiosk", "id": event["id"], "case": "m-1"}
            if word == "held" and number:
                answer = {"status": "refused", "source": "kiosk", "code": "held_back", "detail": "Later."}
            answers.append(answer)
        await message.respond(json.dumps(answers).encode())


async def listen(connect, door: Door) -> None:
    intake = await connect("intake")
    await intake.subscribe("door.*.*", queue="intake", cb=door.answer)
    await intake.flush()


async def test_what_is_not_answered_is_sent_again_under_the_same_id(connect, kiosk, monkeypatch):
    monkeypatch.setattr(publisher, "_ANSWER_SECONDS", 0.3)
    door = Door("silence", "accepted")
    await listen(connect, door)
    time = datetime(2026, 3, 12, 9, 30, tzinfo=UTC)
    answer = await kiosk.send("complaint.assigned", {"department": "roads", "officer": "k-7"}, case="m-1", time=time)
    assert isinstance(answer, Accepted)
    (first,), *again = door.heard
    assert again
    assert all(events == [first] for events in again)
    assert first["id"] == answer.id
    assert (first["source"], first["tenant"], first["subject"]) == ("kiosk", "seoul", "m-1")
    assert first["time"] == "2026-03-12T09:30:00+00:00"


async def test_only_what_was_held_back_is_sent_again(connect, kiosk):
    door = Door("held", "accepted")
    await listen(connect, door)
    events = [kiosk.event("guardian.requested", {}, case=f"m-{n}", id=f"e-{n}") for n in range(3)]
    answers = await kiosk.send_all(events)
    assert [answer.id for answer in answers] == ["e-0", "e-1", "e-2"]
    assert [[event["id"] for event in heard] for heard in door.heard] == [["e-0", "e-1", "e-2"], ["e-1", "e-2"]]


async def test_a_refusal_is_an_answer(connect, kiosk):
    door = Door("too much")
    await listen(connect, door)
    answer = await kiosk.send("guardian.requested", {}, case="m-1")
    assert isinstance(answer, Refused)
    assert answer.code == "wrong_number"
    assert len(door.heard) == 1


async def test_silence_ends_with_an_error(connect, kiosk, monkeypatch):
    monkeypatch.setattr(publisher, "_ANSWER_SECONDS", 0.1)
    with pytest.raises(Unanswered):
        await kiosk.send("guardian.requested", {}, case="m-1", patience_seconds=0.5)


async def test_what_may_be_personal_is_not_left_lying(nc, kiosk):
    before = (await nc.jetstream().stream_info("INBOX")).state.last_seq
    with pytest.raises(ValueError, match="personal data"):
        await kiosk.leave(kiosk.event("complaint.received", {"title": "가로등"}))
    await kiosk.leave(kiosk.event("call.answered", {"rings": 2}, case="t-1"))
    after = await nc.jetstream().get_last_msg("INBOX", "inbox.seoul.kiosk.call.answered")
    assert after.seq == before + 1
    assert "Nats-Msg-Id" not in (after.headers or {})


async def test_receipts_and_decisions_are_told_from_where_they_were_acknowledged(nc, nats, kiosk):
    for subject, body in (
        ("receipts.seoul.kiosk", {"status": "refused", "id": "e-1", "code": "late", "detail": "Too late."}),
        ("receipts.seoul.web", {"status": "accepted", "id": "another's"}),
        ("feed.seoul.kiosk", {"id": "3-17", "type": "deadline.breached", "case": "m-1"}),
    ):
        await nc.jetstream().publish(subject, json.dumps(body).encode())

    async def some(client: Publisher, count: int) -> list[Message]:
        found: list[Message] = []
        async with asyncio.timeout(30):
            async for message in client.messages():
                found.append(message)
                if len(found) > count:
                    break
        return found

    await nc.jetstream().publish("feed.seoul.kiosk", b'{"id": "3-18"}')
    found = await some(kiosk, 2)
    assert [(message.kind, message.key) for message in found] == [
        ("receipt", "e-1.refused"),
        ("decision", "3-17"),
        ("decision", "3-18"),
    ]


def test_a_time_without_a_zone_is_refused():
    client = Publisher("nats://nowhere", "seoul", "kiosk", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY")
    with pytest.raises(ValueError, match="time zone"):
        client.event("call.ended", {}, time=datetime(2026, 3, 12, 9, 30))
