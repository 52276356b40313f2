"""Who reads what stands sealed behind a case: for a purpose, on record, and nobody whose business it is not."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from api_world import APPLICANT, COMPLAINT, MONDAY, World, start
from nats.aio.client import Client

from services.chassis.settings import Settings
from services.intake.api import petitioner
from services.intake.erasure import erase, find
from services.rules.instants import instant
from services.rules.tenants import Tenant

CLERK = {"roles": ["clerk"], "department": "도로과", "staff": "k-7"}
HEAD = {"roles": ["clerk", "head"], "department": "도로과", "staff": "k-8"}
OTHER = {"roles": ["clerk"], "department": "세무과", "staff": "k-9"}
AUDIT = {"roles": ["audit"], "department": "감사과", "staff": "k-20"}
NUMBER = APPLICANT["mobile"]


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


async def filed(world: World, case: str, department: str = "도로과", **data: Any) -> str:
    """A petition that lies with a department; its receipt number."""
    answer = await world.ask("web", "POST", "/v1/complaints", json={**COMPLAINT, "case": case, **data})
    assert answer.status_code == 201, answer.text
    await told(world, case, "complaint.assigned", department=department, officer="k-7")
    return str(answer.json()["receipt"])


async def records(world: World) -> list[tuple[str, str, str]]:
    """(reader, purpose, kind) of every access record, in order."""
    rows = await world.pool.fetch("select reader, purpose, kind from vault.access order by number")
    return [(row["reader"], row["purpose"], row["kind"]) for row in rows]


async def test_the_office_that_has_a_case_reads_who_petitioned_and_what_was_written(world: World) -> None:
    await filed(world, "p-1", text="공원 입구의 가로등이 꺼져 있습니다.")
    memo = {"matter": "언제 고치나", "phone": NUMBER, "reply_wanted": True}
    await told(world, "p-1", "callback.requested", "desk", via="phone", memo=memo)
    await world.folded()
    answer = await world.staff(CLERK, "GET", "/v1/cases/P-1/petitioner")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert {name: found[name] for name in ("case", "erased", "name", "address", "mobile")} == {
        "case": "p-1",
        "erased": False,
        "name": "홍길동",
        "address": "서울시 중구 1",
        "mobile": NUMBER,
    }
    assert "phone" not in found
    assert [(text["type"], text["field"], text["text"], text["voided"]) for text in found["texts"]] == [
        ("complaint.received", "title", "가로등", False),
        ("complaint.received", "text", "공원 입구의 가로등이 꺼져 있습니다.", False),
        ("callback.requested", "memo.matter", "언제 고치나", False),
    ]
    assert await records(world) == [
        ("clerk/k-7@127.0.0.1", "handle", "person"),
        *[("clerk/k-7@127.0.0.1", "handle", "text")] * 3,
    ]
    # Whoever leads the office too; another office and other systems, the owner's included, not.
    assert (await world.staff(HEAD, "GET", "/v1/cases/p-1/petitioner")).json()["name"] == "홍길동"
    assert (await world.staff(OTHER, "GET", "/v1/cases/p-1/petitioner")).status_code == 404
    assert (await world.ask("web", "GET", "/v1/cases/p-1/petitioner")).status_code == 403
    assert {reader for reader, _, _ in await records(world)} == {"clerk/k-7@127.0.0.1", "head/k-8@127.0.0.1"}


async def test_of_a_confidential_case_audit_alone_reads_and_the_attempt_of_others_is_on_record(world: World) -> None:
    await filed(world, "c-1", kind="corruption_report", text="계약을 나누었다")
    await world.folded()
    refused = await world.staff(CLERK, "GET", "/v1/cases/c-1/petitioner")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert await records(world) == [("clerk/k-7@127.0.0.1", "handle", "refused.person")]
    found = (await world.staff(AUDIT, "GET", "/v1/cases/c-1/petitioner")).json()
    assert (found["name"], found["texts"][-1]["text"]) == ("홍길동", "계약을 나누었다")
    assert (await records(world))[1:] == [
        ("audit/k-20@127.0.0.1", "confidential_report", "person"),
        *[("audit/k-20@127.0.0.1", "confidential_report", "text")] * 2,
    ]


async def test_the_text_of_a_fault_is_told_to_audit_and_not_to_whom_it_names(world: World) -> None:
    await filed(world, "f-1")
    await world.pool.execute("insert into notifier.staff values ('seoul', 'k-7', '도로과', false)")
    await told(world, "f-1", "fault.reported", "desk", ground="unkind", via="phone", officer="k-7", text="반말을 했다")
    await world.folded()

    async def texts(who: dict[str, Any]) -> list[str]:
        return [text["text"] for text in (await world.staff(who, "GET", "/v1/cases/f-1/petitioner")).json()["texts"]]

    assert await texts(CLERK) == ["가로등"]
    assert await texts(AUDIT) == ["가로등", "반말을 했다"]
    assert await texts({**AUDIT, "staff": "k-7"}) == ["가로등"]
    # What is not theirs to read was not asked for: nobody stands on record for an attempt that was none.
    assert not [kind for _, _, kind in await records(world) if kind.startswith("refused")]


async def test_long_cases_are_read_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(petitioner, "PAGE", 2)
    await filed(world, "l-1", text="하나")
    await told(world, "l-1", "delay.explained", reason="둘", expected="2026-11-20")
    await world.folded()
    first = (await world.staff(CLERK, "GET", "/v1/cases/l-1/petitioner")).json()
    assert [text["text"] for text in first["texts"]] == ["가로등", "하나"]
    rest = (await world.staff(CLERK, "GET", f"/v1/cases/l-1/petitioner?cursor={first['next']}")).json()
    assert ([text["text"] for text in rest["texts"]], "next" in rest) == (["둘"], False)
    wrong = await world.staff(CLERK, "GET", "/v1/cases/l-1/petitioner?cursor=bm8")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "wrong_cursor")


async def test_a_number_leads_to_the_cases_that_one_may_read(world: World) -> None:
    await filed(world, "n-1")
    await filed(world, "n-2", "세무과")
    await filed(world, "n-3", applicant={"name": "김철수", "address": "서울시 중구 2", "mobile": "010-0000-0002"})
    await filed(world, "n-4", kind="corruption_report")
    await filed(world, "n-5")
    await world.folded()

    async def found(who: dict[str, Any], number: str) -> list[str]:
        answer = await world.staff(who, "POST", "/v1/look-ups", json={"number": number})
        assert answer.status_code == 200, answer.text
        assert number not in answer.text
        return [row["case"] for row in answer.json()["items"]]

    assert await found(CLERK, "010 0000 0001") == ["n-5", "n-1"]
    assert await found(HEAD, "+82-10-0000-0001") == ["n-5", "n-1"]
    assert await found(OTHER, NUMBER) == ["n-2"]
    assert await found(AUDIT, NUMBER) == ["n-5", "n-4", "n-2", "n-1"]
    assert await found(CLERK, "02-123-4567") == []
    assert {(reader.partition("/")[0], purpose, kind) for reader, purpose, kind in await records(world)} == {
        ("clerk", "look_up", "lookup"),
        ("head", "look_up", "lookup"),
        ("audit", "confidential_report", "lookup"),
    }
    assert (await world.ask("web", "POST", "/v1/look-ups", json={"number": NUMBER})).status_code == 403


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "string_pattern_mismatch"),
        ({"number": 1012345678}, "string_pattern_mismatch"),
        ({"number": "12"}, "string_pattern_mismatch"),
        ({"number": "' or 1=1 --"}, "string_pattern_mismatch"),
        ({"number": "010-0000-0001\n"}, "string_pattern_mismatch"),
        ({"number": "010-0000-0001", "name": "x"}, "extra_forbidden"),
        ([], "dict_type"),
    ],
)
async def test_what_is_no_number_is_refused_without_being_repeated(world: World, body: Any, code: str) -> None:
    answer = await world.staff(CLERK, "POST", "/v1/look-ups", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert "1=1" not in answer.text
    assert await records(world) == []


async def test_of_whom_was_erased_nothing_is_read_nor_found(world: World) -> None:
    receipt = await filed(world, "e-1", text="지워질 글")
    await world.folded()
    vault = world.app.state.parts.vault
    async with world.pool.acquire() as connection:
        ref, known = await find(connection, "seoul", None, receipt)
        await erase(connection, vault, "seoul", ref, known.person, "operator/test", instant(MONDAY))
    answer = (await world.staff(CLERK, "GET", "/v1/cases/e-1/petitioner")).json()
    assert answer == {"case": "e-1", "erased": True, "texts": []}
    assert (await world.staff(CLERK, "POST", "/v1/look-ups", json={"number": NUMBER})).json()["items"] == []


async def test_without_its_master_key_the_vault_is_said_to_be_away(
    world: World, settings: Callable[..., Settings]
) -> None:
    """And not that there is nobody, or that something failed on our side."""
    await filed(world, "k-1")
    await world.folded()
    folder = settings("intake").vault_keys
    assert folder is not None
    keys = {path: path.read_bytes() for path in folder.glob("*.key")}
    try:
        for path in keys:
            path.unlink()
        answer = await world.staff(CLERK, "GET", "/v1/cases/k-1/petitioner")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "retry-after" in answer.headers
    finally:
        for path, key in keys.items():
            path.write_bytes(key)
