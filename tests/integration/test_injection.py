"""Hostile texts by the ways in that test_api_hostile and test_pages do not take: door, INBOX, GeoReport, a directory.

The one rule: a text is a text. It is kept as it was written, sealed, or refused with a reason; it names no subject,
calls no address, ends no header, and runs nowhere.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import asyncpg
import pytest
from api_world import COMPLAINT, MONDAY, World, start
from nats.aio.client import Client
from nats.errors import Error as NatsError
from test_api_hostile import MARK, NASTY, UNKEEPABLE

from contracts.streams import STREAMS
from services.chassis.cursor import LogCursor
from services.chassis.settings import Settings
from services.chassis.vault import Vault
from services.cli.golive import staff_events
from services.intake.judge import Import
from services.rules.tenants import Tenant

HEAD = {"specversion": "1.0", "source": "kiosk", "time": MONDAY, "tenant": "seoul"}
CONTROL = tuple(text for text in NASTY.values() if any(ord(one) < 32 and one not in "\r\n\t" for one in text))
"""What no text may hold; all else of the corpus is kept as it is."""
PETITION = {"jurisdiction_id": "seoul", "service_code": "inquiry", "first_name": "길동", "last_name": "홍"}
PETITION |= {"phone": "010-0000-0001", "attribute[applicant_address]": "서울시 중구 1"}
Connect = Callable[[str], Awaitable[Client]]


@pytest.fixture
async def world(
    settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client, pool: asyncpg.Pool, tmp_path: Path
) -> AsyncIterator[World]:
    """A running city."""
    async with AsyncExitStack() as stack:
        yield await start(stack, settings, tenants, nc, pool, tmp_path)


@pytest.fixture
async def listener() -> AsyncIterator[tuple[str, list[bytes]]]:
    """An address of this machine, and whatever calls it."""
    calls: list[bytes] = []

    async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await reader.read(200))
        writer.close()

    server = await asyncio.start_server(heard, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/{MARK}", calls


async def read_back(world: World, settings: Callable[..., Settings], case: str) -> list[str]:
    """What the vault holds of a case, for somebody who may read it."""
    keys = settings("intake").vault_keys
    assert keys is not None
    vault = Vault(keys)
    rows = await world.pool.fetch("select text_ref from vault.texts where case_id = $1", case)
    async with world.pool.acquire() as conn:
        return [await vault.read_text(conn, "seoul", row["text_ref"], "handle", "clerk/kim") for row in rows]


async def said_in_streams(nc: Client) -> str:
    """Every subject and every body of every stream; of INBOX, whose letters go, another test says that none is left."""
    found: list[str] = []
    for stream in (stream for stream in STREAMS if stream.name != "INBOX"):
        async with LogCursor(nc, stream=stream.name, after=0, subject=">") as cursor:
            while cursor.pending:
                found += [f"{one.subject} {one.data!r}" for one in await cursor.read(500, 0.5)]
    return "\n".join(found)


async def door(kiosk: Client, event: Any) -> dict[str, Any]:
    raw = event if isinstance(event, bytes) else json.dumps(event).encode()
    answer: dict[str, Any] = json.loads((await kiosk.request("door.seoul.kiosk", raw, timeout=30)).data)
    return answer


async def test_a_hostile_text_at_the_door_is_sealed_as_it_was_written(
    world: World, settings: Callable[..., Settings], connect: Connect, nc: Client
) -> None:
    """CRLF, bidi, templates, formulas, SQL, markup, subjects, addresses: in every text of a petition."""
    kiosk = await connect("seoul.kiosk")
    for number, text in enumerate(NASTY.values()):
        name = f"홍길동 {text}"[:100].replace("\r\n", " ")
        person = {"name": name, "address": "서울시 중구 1", "mobile": "010-0000-0001"}
        data = {"channel": "visit", "kind": "inquiry", "title": "가로등", "text": text, "applicant": person}
        event = {**HEAD, "id": f"n-{number}", "type": "complaint.received", "subject": f"n-{number}", "data": data}
        answer = await door(kiosk, event)
        assert MARK not in json.dumps(answer)
        if text in CONTROL:
            assert answer["status"] == "refused"
            continue
        if answer["status"] == "refused":  # a name has no place for what is hidden in it; the text alone has
            assert answer["pointer"] == "/data/applicant/name"
            data["applicant"] = {**person, "name": "홍길동"}
            assert (await door(kiosk, event))["status"] == "accepted"
        assert text in await read_back(world, settings, f"n-{number}")
    await world.folded()
    said = await said_in_streams(nc)
    assert "n-0" in said
    assert MARK not in said


async def test_what_is_no_json_does_not_close_the_door(world: World, connect: Connect) -> None:
    """Bombs of depth and number, halves of pairs, bytes that are no text: refused one by one, and the next is heard."""
    kiosk = await connect("seoul.kiosk")
    for raw in (*UNKEEPABLE, b"[" + b"[]," * 50_000 + b"[]]", b'{"a":' + b"1" * 200_000 + b"}"):
        answer = await door(kiosk, raw)
        refused = answer if isinstance(answer, dict) else answer[0]
        assert refused["status"] == "refused"
    call = {**HEAD, "id": "c-1", "type": "call.answered", "data": {"rings": 2, "department": "세무과"}}
    assert (await door(kiosk, call))["status"] == "accepted"


async def test_no_name_of_an_event_reaches_into_a_subject(world: World, connect: Connect, nc: Client) -> None:
    """Dots, stars, blanks and line breaks in what subjects are made of."""
    kiosk = await connect("seoul.kiosk")
    call = {
        **HEAD,
        "id": "c-1",
        "type": "call.answered",
        "subject": "t-1",
        "data": {"rings": 2, "department": "세무과"},
    }
    for field in ("id", "subject", "tenant", "source", "type"):
        for tail in (".x", ".>", ".*", "*", ">", " x", "\r\nPUB cases.0.clock 0\r\n", "\x00", "/../x", "$JS.API"):
            answer = await door(kiosk, {**call, field: f"{call[field]}{tail}"})
            assert answer["status"] == "refused", (field, tail)
    for subject in ("inbox.seoul.kiosk.call.*", "inbox.seoul.kiosk.call.answered.x", "inbox.seoul.web.call.answered"):
        await kiosk.publish(subject, json.dumps(call).encode())
    with pytest.raises((NatsError, ValueError)):
        await kiosk.publish("inbox.seoul.kiosk.call answered", b"{}")
    await kiosk.flush()
    assert (await nc.jetstream().stream_info("INBOX")).state.messages == 0
    assert await world.pool.fetchval("select count(*) from read.event_fate") == 0


async def test_georeport_takes_words_and_stays_well_formed(world: World, settings: Callable[..., Settings]) -> None:
    key = {"api_key": world.keys["web"]}
    for number, text in enumerate(NASTY.values()):
        form = "xml" if number % 2 else "json"
        fields = PETITION | key | {"description": text, "media_url": text, "address_string": text, "lat": text}
        answer = await world.http.post(f"/open311/v2/requests.{form}", data=fields)
        assert MARK not in answer.text
        assert answer.status_code == (400 if text in CONTROL else 200), answer.text
        if form == "xml":
            ElementTree.fromstring(answer.content)
        if answer.status_code == 200:
            case = await world.pool.fetchval('select "case" from read.case_list order by receipt desc limit 1')
            kept = await read_back(world, settings, case)
            assert any(text.replace("\r\n", "\n").strip() in one for one in kept), text
        quoted = "".join(f"%{byte:02x}" for byte in text.encode())
        for path in (f"requests/{quoted}.{form}", f"tokens/{quoted}.{form}", f"services/{quoted}.{form}"):
            answer = await world.http.get(f"/open311/v2/{path}", params={"jurisdiction_id": "seoul", **key})
            assert answer.status_code in (400, 404), answer.text
            assert MARK not in answer.text
        for name in ("service_code", "start_date", "status", "service_request_id", "jurisdiction_id"):
            query = {"jurisdiction_id": "seoul", **key, name: text}
            answer = await world.http.get(f"/open311/v2/requests.{form}", params=query)
            assert answer.status_code in (200, 400, 404), answer.text
            assert MARK not in answer.text


async def test_no_address_that_was_sent_is_ever_called(
    world: World, connect: Connect, listener: tuple[str, list[bytes]]
) -> None:
    """In a text, a schema's name, a link to a picture, a key's issuer, an address to answer to."""
    address, calls = listener
    kiosk = await connect("seoul.kiosk")
    petition = {**COMPLAINT, "title": address, "text": f"보십시오 {address}"}
    event = {**HEAD, "id": "s-1", "type": "complaint.received", "subject": "s-1", "data": petition}
    assert (await door(kiosk, event))["status"] == "accepted"
    assert (await door(kiosk, {**event, "id": "s-2", "dataschema": address}))["status"] == "refused"
    fields = PETITION | {"api_key": world.keys["web"], "description": address, "media_url": address}
    assert (await world.http.post("/open311/v2/requests.json", data=fields)).status_code == 200
    for header in ("Referer", "Origin", "X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "Callback-URL", "Host"):
        await world.ask("web", "POST", "/v1/complaints", json=petition, headers={header: address})
    wrong = await world.http.get("/v1/cases", headers={"Authorization": f"Bearer {world.token(iss=address)}"})
    assert wrong.status_code == 401
    await world.folded()
    assert calls == []


async def test_a_directory_with_formulas_is_a_directory(
    world: World, settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client
) -> None:
    """Cells that a spreadsheet would run are names like others, sealed; what is no name is refused."""
    formula = f"=cmd|' /C calc'!A0{MARK}"
    rows = f'staff,name,department,phone,email,head\nk-1,"{formula}",도로과,02-000-0000,,\n'
    events = [line.event for line in staff_events(rows, "csv", tenants["seoul"], MONDAY)]
    administrator = Import("seoul", tenants["seoul"].administrator)
    answers = await world.app.state.parts.doors.receive(json.dumps(events).encode(), administrator, "import")
    assert [answer.status for answer in answers] == ["accepted"]
    keys = settings("intake").vault_keys
    assert keys is not None
    async with world.pool.acquire() as conn:
        known = await Vault(keys).read_staff(conn, "seoul", "k-1", "handle", "clerk/kim")
    assert known["name"] == formula
    assert MARK not in await said_in_streams(nc)
