"""What a person is told of what is kept of them: all of it, nothing of others, by whoever answers such requests."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from api_world import APPLICANT, COMPLAINT, MONDAY, World, start
from nats.aio.client import Client

from services.chassis.settings import Settings
from services.intake.api import callers, examples
from services.intake.erasure import erase, find
from services.intake.subject_access import dossier
from services.rules.instants import instant
from services.rules.tenants import Tenant

PRIVACY = {"roles": ["clerk", "privacy"], "department": "민원과", "staff": "k-30"}
READER = "privacy/k-30@127.0.0.1"
PURPOSE = "subject_access:identity_card"
CLERK = {"roles": ["clerk"], "department": "도로과", "staff": "k-7"}
WHO = {"name": APPLICANT["name"], "number": APPLICANT["mobile"], "checked": "identity_card"}
OTHER = {"name": "김철수", "address": "서울시 중구 2", "mobile": "010-0000-0002"}


@pytest.fixture
async def world(
    settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client, pool: asyncpg.Pool, tmp_path: Path
) -> AsyncIterator[World]:
    """A running city."""
    async with AsyncExitStack() as stack:
        yield await start(stack, settings, tenants, nc, pool, tmp_path)


async def told(world: World, case: str, type: str, source: str = "web", **data: Any) -> None:
    """An event of a case on record."""
    event = {"specversion": "1.0", "source": source, "type": type, "subject": case, "tenant": "seoul", "time": MONDAY}
    event |= {"id": f"{type.replace('.', '-')}-{case}".replace("_", "-"), "data": data}
    answer = await world.ask(source, "POST", "/v1/events", json=event)
    assert answer.status_code == 200, answer.text


async def filed(world: World, case: str, **data: Any) -> str:
    """A petition; its receipt number."""
    answer = await world.ask("web", "POST", "/v1/complaints", json={**COMPLAINT, "case": case, **data})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["receipt"])


async def asked(world: World, who: dict[str, Any] = PRIVACY, path: str = "", **body: Any) -> dict[str, Any]:
    """The document for the person of WHO, or of `body`."""
    answer = await world.staff(who, "POST", f"/v1/subject-access{path}", json=body or WHO)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


async def code(world: World, who: dict[str, Any] = PRIVACY, **body: Any) -> tuple[int, str]:
    """How a request is refused."""
    answer = await world.staff(who, "POST", "/v1/subject-access", json=body or WHO)
    assert "홍길동" not in answer.text
    return answer.status_code, answer.json()["code"]


async def test_a_person_is_told_everything_that_is_kept_of_them(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    receipt = await filed(world, "a-1", text="공원 입구의 가로등이 꺼져 있습니다.")
    await told(world, "a-1", "complaint.assigned", department="도로과", officer="k-7")
    await told(world, "a-1", "applicant.updated", applicant={"email": "gildong@citizen.example"})
    await told(world, "a-1", "delay.explained", reason="부품이 늦게 옵니다", expected="2026-11-20")
    await told(world, "a-1", "complaint.completed", outcome="answered", by="k-7")
    await told(world, "a-1", "survey.answered", satisfaction=2, comment="늦었습니다")
    await filed(world, "a-2", kind="corruption_report", title="계약을 나누었다")
    await filed(world, "a-3", applicant=OTHER, title="남의 민원")
    await world.pool.execute(
        "insert into notifier.notices (key, tenant, case_id, audience, template, version, language, arguments, topic,"
        " cause, means, state, wanted_at, settled_at) values ('n-1', 'seoul', 'a-1', 'citizen', 'receipt', 1, 'ko',"
        " '{}', 'receipt', '{}', 'sms', 'sent', $1, $1)",
        instant(MONDAY),
    )
    await world.folded()
    assert (await world.staff(CLERK, "GET", "/v1/cases/a-1/petitioner")).status_code == 200
    found = await asked(world)
    assert (found["tenant"], found["erased"], "next" in found) == ("seoul", False, False)
    assert "제35조" in found["says"]
    report, petition = found["cases"]  # newest first
    assert (report["case"], report["kind"], [text["text"] for text in report["texts"]]) == (
        "a-2",
        "corruption_report",
        ["계약을 나누었다"],
    )
    assert (petition["receipt"], petition["petitioner"], petition["closed"]) == (receipt, True, True)
    assert petition["details"] == [
        {"at": MONDAY, **APPLICANT},
        {"at": MONDAY, **APPLICANT, "email": "gildong@citizen.example"},
    ]
    assert [(text["by"], text["type"], text["field"], text["text"]) for text in petition["texts"]] == [
        ("you", "complaint.received", "title", "가로등"),
        ("you", "complaint.received", "text", "공원 입구의 가로등이 꺼져 있습니다."),
        ("office", "delay.explained", "reason", "부품이 늦게 옵니다"),
        ("you", "survey.answered", "comment", "늦었습니다"),
    ]
    assert [(one["type"], one.get("where")) for one in petition["history"][:3]] == [
        ("complaint.received", None),
        ("complaint.assigned", "도로과"),
        ("applicant.updated", None),
    ]
    assert petition["messages"] == [
        {"at": MONDAY, "template": "receipt", "says": "접수 안내", "means": "sms", "state": "sent"}
    ]
    # An inquiry that was closed: three years from the 1 January after 2 November 2026. The report is open.
    assert (petition["kept"]["years"], petition["kept"]["until"]) == (3, "2030-01-01")
    assert (report["kept"]["years"], "until" in report["kept"]) == (10, False)
    readings = [(one["role"], one["purpose"], one["what"], one["times"]) for one in found["readings"]]
    assert sorted(readings) == [
        ("clerk", "handle", "person", 1),
        ("clerk", "handle", "text", 4),
        ("privacy", "subject_access", "lookup", 1),
        ("privacy", "subject_access", "person", 3),
        ("privacy", "subject_access", "text", 5),
    ]
    text = json.dumps(found, ensure_ascii=False)
    assert "남의 민원" not in text
    assert "김철수" not in text
    assert "k-7" not in text  # who of the staff it was
    assert {one["purpose"] for one in found["purposes"]} >= {"handle", "notify", "subject_access"}
    rows = await world.pool.fetch("select kind, purpose from vault.access where reader = $1 order by number", READER)
    assert {row["purpose"] for row in rows} == {PURPOSE}
    assert rows[0]["kind"] == "lookup"
    written = capsys.readouterr()
    assert "event_taken" in written.out + written.err
    for personal in ("홍길동", APPLICANT["mobile"], "가로등"):
        assert personal not in written.out + written.err


async def test_the_examples_of_the_reference_are_right(world: World) -> None:
    receipt = await filed(world, "x-1", applicant={**APPLICANT, "mobile": "010-0000-0000"})
    await world.folded()
    assert examples.BY_RECEIPT["receipt"] == receipt  # the first one of a city
    for body in (examples.BY_NUMBER, examples.BY_RECEIPT):
        assert [case["case"] for case in (await asked(world, **body))["cases"]] == ["x-1"]
    page = (await world.http.get("/docs")).text
    assert all(words in page for words in ("/v1/subject-access", "By a telephone number", "A telephone number"))


async def test_the_page_to_print_says_the_same_and_runs_nothing(world: World) -> None:
    await filed(world, "h-1", title="<script>alert(1)</script>{{7*7}}", text='"><img src=x onerror=alert(1)>')
    await world.folded()
    for language, words in (("ko", "개인정보 보호법 제35조"), ("en", "article 35 of the Personal Information")):
        headers = {"Accept": "text/html", "Accept-Language": language}
        answer = await world.staff(PRIVACY, "POST", "/v1/subject-access", json=WHO, headers=headers)
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["content-language"] == language
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert words in answer.text
        assert "<script" not in answer.text
        assert "<img" not in answer.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}" in answer.text


@pytest.mark.parametrize("role", ["clerk", "approver", "head", "audit"])
async def test_nobody_answers_without_the_role_for_it(world: World, role: str) -> None:
    await filed(world, "r-1")
    who = {"roles": [role], "department": "민원과", "staff": "k-30"}
    assert await code(world, who) == (403, "not_allowed")
    assert (await world.ask("web", "POST", "/v1/subject-access", json=WHO)).status_code == 403
    assert (await world.http.post("/v1/subject-access", json=WHO)).status_code == 401
    assert await world.pool.fetchval("select count(*) from vault.access") == 0
    assert len((await asked(world, {**who, "roles": [role, "privacy"]}))["cases"]) == 1
    # And with that role alone nobody comes in at all.
    assert await code(world, {**who, "roles": ["privacy"]}) == (403, "not_allowed")


async def test_a_name_and_a_number_must_be_the_same_persons(world: World) -> None:
    receipt = await filed(world, "w-1")
    others = await filed(world, "w-2", applicant={**OTHER, "mobile": APPLICANT["mobile"]})  # of one household
    await world.folded()
    assert [case["case"] for case in (await asked(world))["cases"]] == ["w-1"]
    by_receipt = {"name": "홍 길동", "receipt": receipt, "checked": "power_of_attorney"}
    assert [case["case"] for case in (await asked(world, **by_receipt))["cases"]] == ["w-1"]
    nobody = (404, "unknown_person")
    assert await code(world, **{**WHO, "name": "박영희"}) == nobody
    assert await code(world, **{**WHO, "number": "010-0000-0003"}) == nobody
    assert await code(world, **{**by_receipt, "receipt": others}) == nobody
    assert await code(world, **{**by_receipt, "receipt": "none"}) == nobody
    assert await code(world, **{**by_receipt, "name": "!"}) == nobody
    # Of another city: nobody, too.
    assert await code(world, {**PRIVACY, "tenant": "miryang"}) == nobody
    lookups = await world.pool.fetch("select ref from vault.access where kind = 'lookup' order by number")
    assert [row["ref"] == "nobody" for row in lookups] == [False, True, True, True]


@pytest.mark.parametrize(
    ("body", "pointer", "wrong"),
    [
        ({"name": "홍길동", "checked": "identity_card"}, "", "value_error"),
        ({**WHO, "receipt": "1"}, "", "value_error"),
        ({**WHO, "checked": "his face"}, "/checked", "literal_error"),
        ({**WHO, "number": "' or 1=1 --"}, "/number", "string_pattern_mismatch"),
        ({**WHO, "name": ""}, "/name", "string_too_short"),
        ({**WHO, "홍길동": "1"}, "", "extra_forbidden"),
    ],
)
async def test_a_wrong_request_is_refused_by_field_and_repeats_nothing(
    world: World, body: dict[str, Any], pointer: str, wrong: str
) -> None:
    for language in ("ko", "en"):
        headers = {"Accept-Language": language}
        answer = await world.staff(PRIVACY, "POST", "/v1/subject-access", json=body, headers=headers)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["pointer"], error["code"]) == (pointer, wrong)
        assert not any(value in answer.text for value in ("홍길동", "1=1", "his face"))
        assert any("가" <= letter <= "힣" for letter in error["detail"]) is (language == "ko")


async def test_who_is_complained_of_does_not_learn_it_by_answering(world: World) -> None:
    """Neither that there is a report, nor who filed it, nor that somebody stands behind its receipt number."""
    receipt = await filed(world, "s-1", kind="corruption_report", title="민원과 이야기", departments=["민원과"])
    await world.folded()
    nobody = (404, "unknown_person")
    assert await code(world) == nobody
    assert await code(world, name="홍길동", receipt=receipt, checked="identity_card") == nobody
    other = {**PRIVACY, "department": "감사과", "staff": "k-31"}
    assert [case["case"] for case in (await asked(world, other))["cases"]] == ["s-1"]
    await filed(world, "s-2")
    await world.folded()
    found = await asked(world)
    assert [case["case"] for case in found["cases"]] == ["s-2"]
    assert "민원과 이야기" not in json.dumps(found, ensure_ascii=False)


async def test_what_is_said_of_an_officer_is_not_told_and_a_fault_not_to_whom_it_names(world: World) -> None:
    await filed(world, "f-1")
    await world.pool.execute("insert into notifier.staff values ('seoul', 'k-30', '민원과', false)")
    await told(world, "f-1", "fault.reported", "desk", ground="unkind", via="phone", officer="k-30", text="반말을 했다")
    found = {"about": "fault-reported-f-1", "ground": "unkind", "reason": "직원의 사정"}
    await told(world, "f-1", "fault.confirmed", "desk", **found)
    await world.folded()
    (case,) = (await asked(world))["cases"]
    assert [text["text"] for text in case["texts"]] == ["가로등"]
    assert [one["type"] for one in case["history"]] == ["complaint.received"]
    other = {**PRIVACY, "department": "세무과", "staff": "k-31"}
    (case,) = (await asked(world, other))["cases"]
    assert [text["text"] for text in case["texts"]] == ["가로등", "반말을 했다"]
    assert [one["type"] for one in case["history"]] == ["complaint.received", "fault.reported", "fault.confirmed"]


async def test_of_a_note_in_another_persons_case_its_words_alone_are_told(world: World) -> None:
    await filed(world, "c-1", applicant=OTHER, text="김철수의 글")
    memo = {"caller": APPLICANT["name"], "phone": APPLICANT["mobile"], "matter": "대신 묻습니다", "reply_wanted": True}
    await told(world, "c-1", "callback.requested", "desk", via="phone", memo=memo)
    await world.folded()
    (case,) = (await asked(world))["cases"]
    assert (case["petitioner"], case["history"], case["messages"], case["owed"]) == (False, [], [], [])
    assert "kind" not in case
    assert case["details"] == [{"at": MONDAY, "name": "홍길동", "phone": APPLICANT["mobile"]}]
    assert [text["text"] for text in case["texts"]] == ["대신 묻습니다"]
    (theirs,) = (await asked(world, name="김철수", number=OTHER["mobile"], checked="identity_card"))["cases"]
    assert [text["text"] for text in theirs["texts"]] == ["가로등", "김철수의 글"]


async def test_whoever_was_erased_gets_a_clear_answer(world: World) -> None:
    receipt = await filed(world, "e-1", text="지워질 글")
    await world.folded()
    vault = world.app.state.parts.vault
    async with world.pool.acquire() as connection:
        ref, known = await find(connection, "seoul", None, receipt)
        await erase(connection, vault, "seoul", ref, known.person, "operator/test", instant(MONDAY))
    assert await code(world) == (404, "unknown_person")  # by a number nobody finds them any more
    found = await asked(world, name="홍길동", receipt=receipt, checked="identity_card")
    assert found["erased"] is True
    (case,) = found["cases"]
    assert (case["receipt"], case["details"], case["texts"], case["history"]) == (receipt, [], [], [])
    assert ("erase", "erased") in [(one["purpose"], one["what"]) for one in found["readings"]]
    page = await world.staff(
        PRIVACY,
        "POST",
        "/v1/subject-access",
        json={"name": "홍길동", "receipt": receipt, "checked": "identity_card"},
        headers={"Accept": "text/html"},
    )
    assert "남아 있는 것이 없습니다" in page.text


async def test_many_cases_come_in_parts_and_not_as_often_as_one_likes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dossier, "PAGE", 2)
    monkeypatch.setattr("services.intake.api.subject_access.PAGE", 2)
    for number in (1, 2, 3):
        await filed(world, f"m-{number}")
    await world.folded()
    first = await asked(world)
    assert [case["case"] for case in first["cases"]] == ["m-3", "m-2"]
    rest = await asked(world, path=f"?cursor={first['next']}")
    assert ([case["case"] for case in rest["cases"]], "next" in rest) == (["m-1"], False)
    for _ in range(int(callers._WHOLE_BURST) - 2):
        await asked(world)
    answer = await world.staff(PRIVACY, "POST", "/v1/subject-access", json=WHO)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert int(answer.headers["retry-after"]) > 0
    assert len((await asked(world, {**PRIVACY, "staff": "k-31"}))["cases"]) == 2  # a colleague goes on
