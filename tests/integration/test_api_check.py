"""POST /v1/check: what would be said to events, as in earnest, and nothing of it kept or told to anybody."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from api_world import APPLICANT, COMPLAINT, MONDAY, World, start
from nats.aio.client import Client

from contracts.streams import STREAMS
from services.chassis.settings import Settings
from services.rules.tenants import Tenant

SECRET = "홍길동의 비밀"
CLERK = {"sub": "k-7", "roles": ["clerk"], "department": "도로과"}
HEAD = {"specversion": "1.0", "source": "web", "time": MONDAY, "tenant": "seoul"}
RIGHT = {**HEAD, "id": "e-1", "type": "complaint.received", "subject": "m-1", "data": COMPLAINT}
OUTAGE = {"system": "portal", "from": MONDAY, "until": MONDAY}
FINDING = {"type": "fault.dismissed", "data": {"ground": "late", "reason": SECRET}}

WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"id": "a b"}, "/id", "value_error"),
    ({"time": "2026-11-02T10:05:01+09:00"}, "/time", "time_in_future"),
    ({"time": "2026-09-01T10:00:00+09:00"}, "/time", "too_old"),
    ({"tenant": "busan"}, "/tenant", "unknown_tenant"),
    ({"tenant": "mapo"}, "/tenant", "wrong_tenant"),
    ({"source": "kiosk"}, "/source", "wrong_source"),
    ({"type": "complaint.eaten"}, "/type", "unknown_type"),
    (
        {"type": "outage.declared", "data": {"system": "portal", "from": MONDAY, "until": MONDAY}},
        "/type",
        "not_administrator",
    ),
    ({"subject": "seoul"}, "/subject", "wrong_subject"),
    ({"data": {**COMPLAINT, "kind": SECRET}}, "/data/kind", "literal_error"),
    ({"data": {**COMPLAINT, SECRET: 1}}, "/data", "extra_forbidden"),
    ({"data": {**COMPLAINT, "applicant": {"name": "익명", "address": "서울시 중구 1"}}}, "/data", "anonymous"),
    ({"recordedtime": MONDAY}, "", "extra_forbidden"),
    ({"dataschema": "urn:gihan:complaint.received:9"}, "/dataschema", "unknown_version"),
]


@pytest.fixture
async def world(
    settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client, pool: asyncpg.Pool, tmp_path: Path
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await start(stack, settings, tenants, nc, pool, tmp_path)


async def checked(world: World, events: Any, **more: Any) -> list[dict[str, Any]]:
    answer = await world.ask("web", "POST", "/v1/check", json=events, **more)
    assert answer.status_code == 200, answer.text
    return list(answer.json())


async def kept(world: World, nc: Client) -> dict[str, int]:
    """How much there is of everything that taking an event in leaves behind."""
    tables = await world.pool.fetch(
        "select schemaname || '.' || tablename as name from pg_tables"
        " where schemaname in ('intake', 'vault', 'notifier')"
    )
    rows = {row["name"]: await world.pool.fetchval(f"select count(*) from {row['name']}") for row in tables}
    streams = {one.name: (await nc.jetstream().stream_info(one.name)).state.last_seq for one in STREAMS}
    return rows | {name: last for name, last in streams.items() if name not in ("CASES", "SLA")}


async def test_events_are_judged_one_by_one_in_their_order(world: World) -> None:
    assert await checked(world, RIGHT) == [
        {"id": "e-1", "type": "complaint.received", "case": "m-1", "right": True, "wrong": []}
    ]
    found = await checked(world, [{**RIGHT, "type": "complaint.eaten"}, {**RIGHT, "id": "E-2", "subject": None}, 7])
    assert [(row.get("id"), row["right"], [one["code"] for one in row["wrong"]]) for row in found] == [
        ("e-1", False, ["unknown_type"]),
        ("e-2", True, []),
        (None, False, ["model_type"]),
    ]
    # Where the caller names no case, the one that would be opened.
    assert found[1]["case"].startswith("complaint-")


async def test_what_is_wrong_is_what_taking_it_in_says(world: World) -> None:
    for changes, pointer, code in WRONG:
        event = {**RIGHT, **changes}
        answer = await world.ask("web", "POST", "/v1/check", json=event)
        [row] = answer.json()
        first = row["wrong"][0]
        assert (first.get("pointer"), first["code"], row["right"]) == (pointer, code, False)
        assert SECRET not in answer.text
        in_earnest = (await world.ask("web", "POST", "/v1/events", json=event)).json()
        assert (in_earnest.get("pointer"), in_earnest["code"]) == (pointer, code)


async def test_every_wrong_field_is_named_in_the_language_of_the_reader(world: World) -> None:
    event = {**RIGHT, "data": {"channel": "telepathy", "kind": "quarrel", "applicant": APPLICANT}}
    for language, words in (("en", "Field required"), ("ko", "꼭 있어야 하는 항목이 빠졌습니다.")):
        [row] = await checked(world, event, headers={"Accept-Language": language})
        said = {one["pointer"]: one["detail"] for one in row["wrong"]}
        assert set(said) == {"/data/channel", "/data/kind", "/data/title"}
        assert words in said["/data/title"]


async def test_nothing_of_a_trial_is_kept_and_nobody_is_told(world: World, nc: Client) -> None:
    before = await kept(world, nc)
    await checked(world, [RIGHT, {**RIGHT, "id": "e-2", "type": "complaint.eaten"}])
    assert await kept(world, nc) == before
    # Afterwards the id is free for whatever it is then used for.
    taken = {**RIGHT, "data": {**COMPLAINT, "title": "다른 제목"}}
    assert (await world.ask("web", "POST", "/v1/events", json=taken)).json()["status"] == "accepted"


async def test_what_is_no_event_at_all_is_refused_as_a_whole(world: World) -> None:
    for body, status, code in (
        (b"", 400, "not_json"),
        (b"\xff", 400, "not_utf8"),
        (b'{"id": 1, "id": 2}', 400, "duplicate_key"),
        (b"[" * 40 + b"]" * 40, 400, "too_deep"),
        (b"[]", 422, "wrong_number"),
        (json.dumps([7] * 1_001).encode(), 422, "wrong_number"),
        (b'{"a": "' + b"x" * 70_000 + b'"}', 413, "too_large"),
        (b"x" * (17 << 20), 413, "request_entity_too_large"),
    ):
        answer = await world.ask("web", "POST", "/v1/check", content=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_thousand_are_judged_at_once(world: World) -> None:
    found = await checked(world, [{**RIGHT, "id": f"e-{number}"} for number in range(1_000)])
    assert [row["right"] for row in found] == [True] * 1_000


async def test_whoever_asks_is_judged_as_themselves(world: World) -> None:
    """A clerk may not find faults, an approver may; and nobody without a key learns anything."""
    event = {**RIGHT, "source": "desk", **FINDING}
    answer = await world.staff(CLERK, "POST", "/v1/check", json=event)
    [row] = answer.json()
    assert (row["right"], row["wrong"][0]["code"], row["wrong"][0]["pointer"]) == (False, "not_allowed", "/type")
    [row] = (await world.staff({**CLERK, "roles": ["approver"]}, "POST", "/v1/check", json=event)).json()
    assert row["right"]
    assert (await world.http.request("POST", "/v1/check", json=event)).status_code == 401
