"""Explaining over HTTP and on the command line, from what sla_timer folded: the rules are those the log enacted."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from nats.aio.client import Client

from contracts.streams import STREAMS
from deploy import bootstrap, provision
from services.chassis import clock
from services.chassis.settings import Settings
from services.cli.explain import Asked, from_system
from services.intake.app import build_app as build_intake
from services.rules.explaining.text import as_json, in_words
from services.rules.instants import instant
from services.rules.tenants import Tenant
from services.sla_timer.app import build_app as build_sla_timer

MONDAY = "2026-11-02T10:00:00+09:00"
THURSDAY = "2026-11-05T10:00:00+09:00"
PATH = "/v1/cases/{case}/deadlines/{promise}/explain"


def event(id: str, type: str, time: str, source: str = "web", **data: Any) -> dict[str, Any]:
    head = {"specversion": "1.0", "id": id, "source": source, "type": type, "subject": "s-1", "tenant": "seoul"}
    return {**head, "time": time, "data": data}


RECEIVED = event(
    "w-1",
    "complaint.received",
    MONDAY,
    channel="web",
    kind="inquiry",
    title="가로등",
    applicant={"name": "홍길동", "address": "서울시 중구 1", "mobile": "010-0000-0001"},
)
SUPPLEMENT = event(
    "w-2",
    "complaint.supplement_requested",
    "2026-11-04T10:00:00+09:00",
    items=["도면"],
    respond_by="2026-11-13",
    dispatched_at="2026-11-04T10:00:00+09:00",
)
HOLIDAY = event(
    "a-1", "calendar.exception", THURSDAY, "administration", date="2026-11-03", closed=True, name="임시공휴일"
)
HOLIDAY.pop("subject")  # it concerns every case


async def test_publisher_is_told_why_of_its_own_cases(
    settings: Callable[..., Settings],
    tenants: dict[str, Tenant],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Callable[..., Awaitable[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """JSON and text, suspended and moved by a holiday declared late; to others the case does not exist."""
    for source in ("web", "desk", "administration"):
        digest = hashlib.sha256(f"key of {source}".encode()).digest()
        await pool.execute("insert into intake.publishers values ('seoul', $1, $2)", source, digest)
    for stream in STREAMS:
        await nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(nc)
    await bootstrap.enact_files(nc, tenants.values())
    await clock.step(pool, instant(THURSDAY))
    intake, sla_timer = build_intake(settings("intake")), build_sla_timer(settings("sla_timer"))
    async with (
        intake.router.lifespan_context(intake),
        sla_timer.router.lifespan_context(sla_timer),
        httpx.AsyncClient(transport=httpx.ASGITransport(intake), base_url="http://intake") as http,
    ):

        async def ask(source: str = "web", promise: str = "statutory-period", **more: Any) -> httpx.Response:
            key = {"Authorization": f"Bearer key of {source}", **more.pop("headers", {})}
            return await http.get(PATH.format(case="S-1", promise=promise), headers=key, **more)

        async def publish(source: str, *events: dict[str, Any]) -> None:
            sent = await http.post(
                "/v1/events", json=list(events), headers={"Authorization": f"Bearer key of {source}"}
            )
            assert [row["status"] for row in sent.json()] == ["accepted"] * len(events)

        await publish("web", RECEIVED, SUPPLEMENT)

        async def suspended() -> bool:
            answer = await ask()
            return answer.status_code == 200 and answer.json()["explanations"][0]["state"] == "suspended"

        await eventually(suspended)
        body = (await ask()).json()
        assert (body["case"], body["promise"]) == ("s-1", "statutory-period")
        (one,) = body["explanations"]
        assert [(row["start"], row.get("end"), row["counted"], row["why"]) for row in one["steps"]] == [
            (MONDAY, "2026-11-04T00:00:00+09:00", 2, "period"),
            ("2026-11-04T00:00:00+09:00", None, 0, "suspension"),
        ]
        assert (one["charter"], one["calendar"]) == ("seoul@1", "kr@2026.1")
        assert "홍길동" not in json.dumps(body, ensure_ascii=False)

        told = await ask(headers={"Accept": "text/plain"}, params={"lang": "en"})
        assert told.headers["content-type"].startswith("text/plain")
        assert "Counted so far: 2 days of 7 days; 5 days left\n" in told.text
        assert "남은 기간 5일" in (await ask(headers={"Accept": "text/plain"})).text

        # The rules that were read once go on with what the log enacts later.
        await publish("administration", HOLIDAY)

        async def moved() -> bool:
            steps = (await ask()).json()["explanations"][0]["steps"]
            return [row["why"] for row in steps] == ["period", "holiday", "suspension"]

        await eventually(moved)

        for refused in (await ask("desk"), await ask(promise="mapo-handover")):
            assert (refused.status_code, refused.json()["code"]) == (404, "unknown_deadline")
        assert (await ask("nobody")).status_code == 401
        assert (await ask(params={"lang": "fr"})).status_code in (400, 422)

        # A promise that never began says why not.
        (never,) = (await ask(promise="statutory-objection")).json()["explanations"]
        assert (never["state"], [row["why"] for row in never["obstacles"]]) == ("unstarted", ["never_happened"])

        # All of it was recorded on Thursday: nothing was known on Monday, in hindsight the petition was there.
        monday = {"at": MONDAY}
        assert (await ask(params=monday)).status_code == 404
        (then,) = (await ask(params={**monday, "hindsight": "true"})).json()["explanations"]
        assert (then["state"], then["remaining"]) == ("open", 0)
        assert (await ask(params={"at": THURSDAY})).json()["explanations"][0]["state"] == "suspended"
        assert (await ask(params={"at": "2026-11-05T10:00:00"})).status_code in (400, 422)

        reader = settings("replay")
        question = Asked("seoul", "s-1", "statutory-period")
        (found,) = await from_system(reader, question, None)
        assert in_words(found, "ko") == (await ask(headers={"Accept": "text/plain"})).text
        with pytest.raises(ValueError, match="nothing is known"):
            await from_system(reader, question, instant(MONDAY))
        (before,) = await from_system(reader, question, instant(MONDAY), hindsight=True)
        assert as_json(before) == then
