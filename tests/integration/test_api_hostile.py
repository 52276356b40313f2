"""What attackers and broken programs send: refused with advice, or kept as the plain text that it is.

The one rule: never an error of ours, never the value back in a problem, never anything in clear where it does not
belong, and nothing that was sent is ever run.
"""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from api_world import APPLICANT, COMPLAINT, MONDAY, World, start
from nats.aio.client import Client

from services.chassis.settings import Settings
from services.chassis.vault import Vault
from services.rules.tenants import Tenant

MARK = "zq7marke"
"""Stands in every hostile value, so that it is found wherever it should not be."""

NASTY = {
    "crlf": f"{MARK}\r\nSet-Cookie: a=b\r\n\r\n<script>",
    "bidi": f"{MARK}\u202e\u2066gnp.exe\u2069",
    "template": f"{MARK}{{{{7*7}}}}${{7*7}}<%= 7*7 %>{{% import os %}}#{{7*7}}",
    "csv": f"=cmd|' /C calc'!A0{MARK}",
    "sql": f"'; drop table intake.cases; -- {MARK}",
    "html": f"<img src=x onerror=alert(1)>{MARK}",
    "subject": f"cases.0.seoul.>*.{MARK}",
    "path": f"../../etc/passwd%00{MARK}",
    "log4j": f"${{jndi:ldap://127.0.0.1/{MARK}}}",
    "ssrf": f"http://169.254.169.254/latest/{MARK}",
    "zero width": f"\u200b\u200d\ufeff{MARK}",
    "astral": f"{MARK}\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "combining": MARK + "\u0301" * 100,
    "line separators": f"{MARK}\u2028\u2029",
    "control": f"{MARK}\x1b[31m\x07",
}
UNKEEPABLE = (
    b'{"title": "\\ud800"}',
    b'{"title": "\\udfff\\ud800"}',
    b'{"title": "\\u0000"}',
    b'{"title": "\xff\xfe"}',
    b'{"title": "\xed\xa0\x80"}',
    b'{"a": 1, "a": 2}',
    b'{"n": NaN}',
    b'{"n": Infinity}',
    b'{"n": 1e999}',
    b'{"n": 123456789012345678901234567890}',
    b"[" * 100_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b"\xef\xbb\xbf{}",
    b"",
    b"{",
    b"\x00",
    gzip.compress(b"{}"),
)


@pytest.fixture
async def world(
    settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client, pool: asyncpg.Pool, tmp_path: Path
) -> AsyncIterator[World]:
    """A running city."""
    async with AsyncExitStack() as stack:
        yield await start(stack, settings, tenants, nc, pool, tmp_path, http_concurrency=4)


def refused_well(answer: httpx.Response, *statuses: int) -> None:
    """A problem document with advice, and nothing in it that was sent."""
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["detail"]
    assert body["code"]
    assert MARK not in answer.text
    assert not any(MARK in value for value in answer.headers.values())


async def test_texts_are_kept_as_they_are_and_personal(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Where any text may stand, a hostile one may; it goes into the vault, and is seen nowhere else."""
    for number, text in enumerate(NASTY.values()):
        body = {**COMPLAINT, "case": f"n-{number}", "text": text}
        answer = await world.ask("web", "POST", "/v1/complaints", json=body)
        if any(ord(character) < 32 and character not in "\r\n\t" for character in text):
            refused_well(answer, 422)
        else:
            assert answer.status_code == 201, answer.text
            assert MARK not in answer.text
    assert await world.pool.fetchval("select count(*) from read.case_facts") == len(NASTY) - 1
    await world.folded()
    kept = await world.pool.fetch(
        "select r::text as row from intake.reservations r union all select d::text from"
        " sla_timer.decisions d union all select s::text from sla_timer.cases s"
    )
    for row in kept:
        assert MARK not in row["row"]
        assert MARK.encode().hex() not in row["row"]  # bytea is printed as hexadecimal digits
    for path in ("/v1/cases", "/v1/cases/n-0", "/v1/cases/n-0/history"):
        assert MARK not in (await world.ask("web", "GET", path)).text
    assert MARK not in (await world.http.get("/metrics")).text
    assert MARK not in caplog.text


async def test_narrow_fields_let_nothing_through(world: World) -> None:
    fields = ("case", "channel", "kind", "time", "about", "notify_by", "period", "applicant", "unknown", MARK)
    for field in fields:
        for text in NASTY.values():
            refused_well(await world.ask("web", "POST", "/v1/complaints", json={**COMPLAINT, field: text}), 422)
    assert await world.pool.fetchval("select count(*) from read.event_fate") == 0


async def test_paths_queries_and_headers_are_never_run(world: World) -> None:
    """Where a name is wanted, a hostile one is no name: nothing is found, and nothing breaks."""
    for text in NASTY.values():
        for path in (
            "/v1/cases/{}",
            "/v1/cases/{}/history",
            "/v1/cases/{}/deadlines/{}/explain",
            "/v1/events/web/{}",
            "/v1/events/{}/x",
        ):
            quoted = "".join(f"%{byte:02x}" for byte in text.encode())
            refused_well(await world.ask("web", "GET", path.format(quoted, quoted)), 404, 422)
        for name in ("promise", "department", "officer", "kind", "opened_by", "receipt"):
            answer = await world.ask("web", "GET", "/v1/cases", params={name: text})
            assert (answer.status_code, answer.json().get("items", [])) in ((200, []), (422, []))
            assert MARK not in answer.text
        for name in ("cursor", "due_before", "state", "limit"):
            refused_well(await world.ask("web", "GET", "/v1/cases", params={name: text}), 422)
    for name in ("Authorization", "Idempotency-Key", "If-None-Match", "Accept-Language", "X-Request-Id", "Accept"):
        for value in (f"Bearer {MARK}", f'"{MARK}', MARK * 500, "*", "\x80\xff", "ko;q=nan,en;q=-1", ",;,", 'W/"*"'):
            headers = [("Authorization", f"Bearer {world.keys['web']}"), (name, value.encode("latin-1"))]
            answer = await world.http.post("/v1/complaints", json={**COMPLAINT, "case": "_"}, headers=headers)
            refused_well(answer, 400, 401, 422, 429)
    assert await world.pool.fetchval("select count(*) from read.event_fate") == 0


async def test_what_is_no_json_is_refused_before_anything_is_read_of_it(world: World) -> None:
    for path in ("/v1/events", "/v1/complaints", "/v1/callbacks", "/v1/cases/x/faults"):
        for raw in UNKEEPABLE:
            refused_well(await world.ask("web", "POST", path, content=raw), 400, 422)
        for value in (None, True, 1, "x", [], [[]], {}, [None]):
            answer = await world.ask("web", "POST", path, json=value)
            if path == "/v1/events" and isinstance(value, list) and value:
                assert [row["status"] for row in answer.json()] == ["refused"] * len(value)
            else:
                refused_well(answer, 400, 422)


async def test_size_has_limits(world: World) -> None:
    """One event of 64 KiB, a body of 4 MiB, also where it does not say how long it is."""
    long = {**COMPLAINT, "text": "가" * 30_000}
    refused_well(await world.ask("web", "POST", "/v1/complaints", json=long), 413, 422)
    refused_well(await world.ask("web", "POST", "/v1/events", content=b" " * (4 << 20) + b"{}"), 413)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    refused_well(await world.ask("web", "POST", "/v1/events", content=endless()), 413)
    many = await world.ask("web", "GET", "/v1/cases", params={"cursor": "A" * 5_000})
    refused_well(many, 422)
    facade = "/open311/v2/requests.json"
    form = {"headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    for content, status, code in (
        (b"description=" + b"x" * (5 << 20), 413, "request_entity_too_large"),
        ("&".join(f"k{number}=v" for number in range(2_000)).encode(), 400, "unreadable_form"),
    ):
        answer = await world.ask("web", "POST", facade, content=content, **form)
        assert (answer.status_code, answer.json()[0]["description"].partition(":")[0]) == (status, code)


async def test_a_wrong_method_and_a_missing_key_are_told_what_would_do(world: World) -> None:
    for path, allowed in (
        ("/v1/complaints", "POST"),
        ("/v1/cases", "GET"),
        ("/v1/appointments/a-1", "DELETE"),
        ("/v1/subject-access", "POST"),
        ("/health/live", "GET"),
    ):
        answer = await world.ask("web", "PUT", path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    answer = await world.http.get("/v1/cases")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_a_slash_too_many_leads_to_no_other_host(world: World) -> None:
    """And what is sent there goes nowhere: its sender is told."""
    evil = {"Host": "evil.example"}
    answer = await world.ask("web", "GET", "/v1/cases/", headers=evil)
    assert (answer.status_code, answer.headers["location"]) == (307, "/v1/cases")
    for path in ("//evil.example/", "/%5Cevil.example/", "/v1/cases/%0d%0aLocation:x/"):
        answer = await world.ask("web", "GET", path, headers=evil)
        assert not answer.headers.get("location", "/").startswith(("//", "/\\", "http"))
    answer = await world.ask("web", "POST", "/v1/complaints/", json=COMPLAINT)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_nobody_speaks_for_another(world: World) -> None:
    """Neither for another source nor tenant, nor as the tenant itself, nor into a case that is another's."""
    event = {"specversion": "1.0", "id": "x-1", "source": "web", "type": "complaint.received", "time": MONDAY}
    event |= {"tenant": "seoul", "data": COMPLAINT}
    for change, code in (
        ({"source": "desk"}, "wrong_source"),
        ({"tenant": "mapo"}, "wrong_tenant"),
        ({"tenant": "atlantis"}, "unknown_tenant"),
        ({"subject": "seoul"}, "wrong_subject"),
        ({"subject": "_all"}, "value_error"),
        ({"subject": "_officer-k-1"}, "value_error"),
        ({"type": "charter.enacted", "data": {}}, "missing"),
        ({"type": "clock.advanced"}, "unknown_type"),
        ({"type": "deadline.breached"}, "unknown_type"),
        ({"recordedtime": MONDAY}, "extra_forbidden"),
        ({"receipt": "000000001-0"}, "extra_forbidden"),
        ({"imported": True}, "extra_forbidden"),
        ({"routes": ["_all"]}, "extra_forbidden"),
        ({"dataschema": "http://169.254.169.254/"}, "string_pattern_mismatch"),
    ):
        answer = await world.ask("web", "POST", "/v1/events", json={**event, **change})
        refused_well(answer, 403, 422)
        assert answer.json()["code"] == code, change
    await world.ask("desk", "POST", "/v1/complaints", json={**COMPLAINT, "case": "d-1"})
    answer = await world.ask("kiosk", "POST", "/v1/cases/d-1/faults", json={"ground": "late"})
    refused_well(answer, 403)
    assert answer.json()["code"] == "other_source"
    # A body cannot name what the key and the path say already.
    for more in ({"source": "desk"}, {"tenant": "mapo"}, {"id": "x"}, {"type": "fault.confirmed"}, {"subject": "d-1"}):
        refused_well(await world.ask("web", "POST", "/v1/complaints", json={**COMPLAINT, **more}), 422)


async def test_nothing_is_enacted_at_which_the_fold_would_stop(world: World) -> None:
    """Not even by the administrator, who is told what to do first; and what was filed goes on."""
    for type, data, code in (
        ("rules.enacted", {"revision": "99", "applies": "new_cases"}, "unknown_revision"),
        (
            "charter.enacted",
            {"version": "9", "sha256": "f" * 64, "in_force": "2026-12-01", "applies": "new_cases"},
            "unknown_charter",
        ),
        (
            "calendar.enacted",
            {"calendar": "kr", "version": "9", "sha256": "f" * 64, "horizon": "2029-12-31"},
            "unknown_calendar",
        ),
    ):
        event = {"specversion": "1.0", "id": code, "source": "administration", "type": type, "tenant": "seoul"}
        answer = await world.ask("administration", "POST", "/v1/events", json={**event, "time": MONDAY, "data": data})
        refused_well(answer, 422)
        assert answer.json()["code"] == code
    await world.ask("web", "POST", "/v1/complaints", json={**COMPLAINT, "case": "after-1"})
    await world.folded()
    assert (await world.ask("web", "GET", "/v1/cases/after-1")).json()["state"] == "open"


async def test_guessing_a_key_is_slowed_down(world: World) -> None:
    """Twenty wrong ones, then 429 with the time to wait; whoever has a key is not slowed down by that."""
    wrong = 0
    while (
        guess := await world.http.get("/v1/cases", headers={"Authorization": f"Bearer guess-{wrong}"})
    ).status_code == 401:
        wrong += 1
        assert wrong < 2_000
    assert wrong >= 20
    refused_well(guess, 429)
    assert int(guess.headers["retry-after"]) >= 1
    assert (await world.ask("web", "GET", "/v1/cases")).status_code == 200


async def test_resident_registration_numbers_are_never_kept(world: World, settings: Callable[..., Settings]) -> None:
    """Refused where a short public name stands; blanked in every text, before it is sealed."""
    number = "900101-1234567"
    body = {**COMPLAINT, "case": "r-1", "title": f"제 번호는 {number}", "text": f"다시 {number}"}
    body |= {"applicant": {**APPLICANT, "name": f"홍길동 {number}"}}
    assert (await world.ask("web", "POST", "/v1/complaints", json=body)).status_code == 201
    refused_well(await world.ask("web", "POST", "/v1/complaints", json={**COMPLAINT, "office": number}), 422)
    keys = settings("intake").vault_keys
    assert keys is not None
    vault = Vault(keys)
    refs = json.loads(await world.pool.fetchval('select data from read.case_facts where "case" = $1', "r-1"))
    async with world.pool.acquire() as connection:
        texts = [
            await vault.read_text(connection, "seoul", refs[name], "handle", "clerk/t")
            for name in ("title_ref", "text_ref")
        ]
        person: dict[str, Any] = await vault.read_person(connection, "seoul", refs["subject_ref"], "handle", "clerk/t")
    assert texts == ["제 번호는 ******-*******", "다시 ******-*******"]
    assert person["name"] == "홍길동 ******-*******"
