"""Intake on real servers: an event is kept at most once, answered only when the log has it, and names no person."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from fastapi import FastAPI
from nats.aio.client import Client

from contracts.envelope import StoredEnvelope
from contracts.events import stored_model
from contracts.streams import STREAMS, dead_subject, door_subject, inbox_subject, intake_mark, receipts_subject
from deploy import provision
from deploy.embedded import Embedded
from services.chassis import broker
from services.chassis.clock import step
from services.chassis.cursor import read_up_to
from services.chassis.settings import Settings
from services.chassis.vault import open_vault
from services.intake import append, refill
from services.intake.app import DURABLE, build_app
from services.intake.dead import letters
from services.intake.doors import Inbox
from services.intake.judge import Publisher, judge
from services.intake.reserve import Batch, reserve
from services.rules.instants import instant
from services.rules.tenants import Tenant
from tests.integration.emptying import empty

NOW = "2026-03-12T10:00:00+09:00"
Eventually = Callable[..., Awaitable[Any]]


@pytest.fixture
async def start(
    settings: Callable[..., Settings], pool: asyncpg.Pool, nc: Client
) -> AsyncIterator[Callable[[], Awaitable[FastAPI]]]:
    """await start(): intake, running in this process at NOW until the test is over, on an empty log: another test's
    would be taken over into the fresh database. Settings may be named that are other than usual."""
    for stream in STREAMS:
        await nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(nc)
    await step(pool, instant(NOW))
    stops: list[Any] = []

    async def run(**more: object) -> FastAPI:
        app = build_app(settings("intake", **more))
        context = app.router.lifespan_context(app)
        await context.__aenter__()
        stops.append(context)
        return app

    yield run
    for context in stops:
        await context.__aexit__(None, None, None)


@pytest.fixture
async def app(start: Callable[[], Awaitable[FastAPI]]) -> FastAPI:
    """One running intake."""
    return await start()


@pytest.fixture
async def http(app: FastAPI, pool: asyncpg.Pool) -> AsyncIterator[Callable[[str], httpx.AsyncClient]]:
    """http("web"): a client with the API key of that source of Seoul."""
    clients: list[httpx.AsyncClient] = []
    for source in ("web", "desk", "kiosk", "administration"):
        digest = hashlib.sha256(f"key of {source}".encode()).digest()
        await pool.execute("insert into intake.publishers values ('seoul', $1, $2)", source, digest)

    def client(source: str) -> httpx.AsyncClient:
        clients.append(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://intake",
                headers={"Authorization": f"Bearer key of {source}"},
            )
        )
        return clients[-1]

    yield client
    for opened in clients:
        await opened.aclose()


def event(id: str, type: str, subject: str | None, source: str = "web", **data: Any) -> dict[str, Any]:
    """An event of Seoul."""
    named = {} if subject is None else {"subject": subject}
    head = {"specversion": "1.0", "id": id, "source": source, "type": type, "time": NOW, "tenant": "seoul"}
    return {**head, **named, "data": data}


def complaint(id: str, subject: str | None, source: str = "web", **data: Any) -> dict[str, Any]:
    """A petition, with a person behind it."""
    given = {
        "channel": "web",
        "kind": "inquiry",
        "title": "가로등",
        "applicant": {"name": "홍길동", "address": "서울시 중구 1", "mobile": "010-0000-0001"},
    }
    return event(id, "complaint.received", subject, source, **(given | data))


async def log_of(nc: Client, *cases: str) -> list[dict[str, Any]]:
    """The stored events of these cases, in order, each checked against its contract."""
    last = (await nc.jetstream().stream_info("CASES")).state.last_seq
    found = [orjson.loads(entry.data) async for entry in read_up_to(nc, "CASES", last, subject="cases.>")]
    for stored in found:
        StoredEnvelope.model_validate(stored)
        stored_model(stored["type"]).model_validate(stored["data"])
    return [stored for stored in found if stored["subject"] in cases]


async def post(client: httpx.AsyncClient, *events: dict[str, Any]) -> Any:
    """The answer to one event, or to several in an array."""
    return (await client.post("/v1/events", json=events[0] if len(events) == 1 else list(events))).json()


async def fates(pool: asyncpg.Pool) -> dict[str, str]:
    """Status of every event, by id."""
    return {r["id"]: r["status"] for r in await pool.fetch("select id, status from read.event_fate")}


async def test_an_event_is_answered_only_when_the_log_has_it(
    http: Callable[[str], httpx.AsyncClient],
    nc: Client,
    pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    gate = asyncio.Event()
    publish = broker.publish_batch

    async def held(*arguments: Any) -> int:
        await gate.wait()
        return await publish(*arguments)

    monkeypatch.setattr(broker, "publish_batch", held)
    asked = asyncio.create_task(post(http("web"), complaint("a1", "A-1")))
    await eventually(lambda: _is(fates(pool), {"a1": "pending"}))
    assert await log_of(nc, "a-1") == []
    assert not asked.done()
    gate.set()
    assert await asked == {
        "status": "accepted",
        "source": "web",
        "id": "a1",
        "case": "a-1",
        "receipt": "000000001-3",
    }
    (stored,) = await log_of(nc, "a-1")
    ref = await pool.fetchval("select subject_ref from read.subject_refs where \"case\" = 'a-1'")
    assert stored["data"]["subject_ref"] == ref
    assert (stored["data"]["has_mobile"], stored["data"]["has_email"]) == (True, False)
    assert (stored["recordedtime"], stored["case"]) == (NOW, "a-1")


async def _is(look: Awaitable[Any], wanted: Any) -> bool:
    return bool(await look == wanted)


async def test_the_same_again_gets_the_first_answer_and_other_content_409(
    http: Callable[[str], httpx.AsyncClient], nc: Client
) -> None:
    web = http("web")
    first = await post(web, complaint("b1", None))
    spaced = json.dumps(complaint("b1", None), indent=2, ensure_ascii=False)
    assert (await web.post("/v1/events", content=spaced)).json() == first
    # Twice at the same moment, in one array and in two requests.
    answers = await asyncio.gather(*(post(web, *[complaint("b2", "b-2")] * 3) for _ in range(3)))
    assert {json.dumps(answer) for group in answers for answer in group} == {json.dumps(answers[0][0])}
    other = await web.post("/v1/events", json=complaint("b1", None, title="신호등"))
    assert (other.status_code, other.json()["code"], other.json()["pointer"]) == (409, "other_content", "/id")
    assert [e["id"] for e in await log_of(nc, "b-2", first["case"])] == ["b1", "b2"]
    fate = (await web.get("/v1/events/web/B1")).json()
    assert fate == {
        "status": "accepted",
        "source": "web",
        "id": "b1",
        "type": "complaint.received",
        "case": first["case"],
        "receipt": first["receipt"],
        "backdated": False,
    }
    assert (await http("kiosk").get("/v1/events/web/b1")).status_code == 404
    assert (await web.get("/v1/events/web/b1", headers={"Authorization": "Bearer wrong"})).status_code == 401


async def test_an_id_is_its_sources_own(http: Callable[[str], httpx.AsyncClient], nc: Client) -> None:
    """What another publisher calls by the same name is another event."""
    answers = [await post(http(source), complaint("n1", f"n-{source}", source)) for source in ("web", "kiosk")]
    assert [(a["status"], a["source"], a["case"]) for a in answers] == [
        ("accepted", "web", "n-web"),
        ("accepted", "kiosk", "n-kiosk"),
    ]
    assert [(e["source"], e["id"]) for e in await log_of(nc, "n-web", "n-kiosk")] == [("web", "n1"), ("kiosk", "n1")]


async def test_a_bad_event_in_an_array_leaves_the_others_alone(
    http: Callable[[str], httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    route = append.reserve.__globals__["route"]

    def broken(type: str, tenant: str, case: str, data: dict[str, Any], routes: Any = None) -> Any:
        if data.get("service") == "breaks":
            raise RuntimeError("a fault of ours")
        return route(type, tenant, case, data, routes)

    monkeypatch.setitem(append.reserve.__globals__, "route", broken)
    answers = await post(
        http("web"),
        complaint("c1", "c-1"),
        {"id": "c2"},
        complaint("c3", "c-3", service="breaks"),
        complaint("c4", "c-4"),
        "nothing",
    )
    assert [(a["status"], a.get("id"), a.get("code")) for a in answers] == [
        ("accepted", "c1", None),
        ("refused", "c2", "missing"),
        ("refused", "c3", "internal"),
        ("accepted", "c4", None),
        ("refused", None, "model_type"),
    ]


async def test_an_array_of_bad_events_is_answered_at_once(http: Callable[[str], httpx.AsyncClient]) -> None:
    async with asyncio.timeout(60):  # nothing comes back of which the append loop could wake them
        answers = await post(http("web"), {"id": "b1"}, {"id": "b2"})
    assert [(a["status"], a["id"]) for a in answers] == [("refused", "b1"), ("refused", "b2")]


async def test_facts_wait_for_the_opening_of_their_case(
    http: Callable[[str], httpx.AsyncClient], nc: Client, pool: asyncpg.Pool, eventually: Eventually
) -> None:
    web, told = http("web"), await nc.subscribe(receipts_subject("seoul", "*"))
    early = event("d1", "complaint.assigned", "d-1", department="도로과", officer="k1")
    late = event("d2", "applicant.updated", "d-1", applicant={"mobile": "010-0000-0002"}, language="en")
    stranger = event("d3", "complaint.withdrawn", "d-1", source="kiosk")
    waits = {"status": "waiting", "source": "web", "id": "d1", "case": "d-1"}
    assert await post(web, early) == waits
    assert (await post(web, late))["status"] == "waiting"
    assert (await post(http("kiosk"), stranger))["status"] == "waiting"
    assert await post(web, early) == waits
    assert await log_of(nc, "d-1") == []
    opened = await post(web, complaint("d4", "d-1"))
    assert (await post(web, early)) == {**waits, "status": "accepted", "receipt": opened["receipt"]}
    assert [e["id"] for e in await log_of(nc, "d-1")] == ["d4", "d1", "d2"]
    assert await fates(pool) == {"d1": "accepted", "d2": "accepted", "d3": "refused", "d4": "accepted"}
    heard = sorted([(await told.next_msg(2)).data for _ in range(3)])
    assert [(m["status"], m["id"], m.get("code")) for m in map(json.loads, heard)] == [
        ("accepted", "d1", None),
        ("accepted", "d2", None),
        ("refused", "d3", "other_source"),
    ]
    row = await pool.fetchrow("select * from read.subject_refs where \"case\" = 'd-1'")
    assert (row["has_name"], row["has_mobile"], row["language"]) == (True, True, "en")


async def test_only_owner_and_partners_report_on_a_case(http: Callable[[str], httpx.AsyncClient]) -> None:
    await post(http("web"), complaint("e1", "e-1"))
    foreign = await http("kiosk").post("/v1/events", json=event("e2", "complaint.withdrawn", "e-1", source="kiosk"))
    assert (foreign.status_code, foreign.json()["code"], foreign.json()["pointer"]) == (403, "other_source", "/subject")
    partner = event("e3", "complaint.assigned", "e-1", source="desk", department="도로과", officer="k1")
    assert (await post(http("desk"), partner))["status"] == "accepted"


async def test_copies_go_where_the_event_matters(http: Callable[[str], httpx.AsyncClient], nc: Client) -> None:
    staff = event(
        "f1",
        "staff.described",
        None,
        source="administration",
        staff="K1",
        name="이순신",
        department="도로과",
        phone="000-000-0009",
    )
    assert (await post(http("administration"), staff))["case"] == "seoul"
    report = event("f3", "fault.reported", "f-1", ground="unkind", officer="k1", text="불친절")
    found = event("f4", "fault.confirmed", "f-1", about="f3", ground="unkind")
    void = event("f5", "fact.voided", "f-1", source="web", code="typing_error")
    void["data"] = {"source": "web", "id": "f4", "code": "typing_error"}
    answers = await post(http("web"), complaint("f2", "f-1"), report, found, void)
    assert [a["status"] for a in answers] == ["accepted"] * 4
    stored = await log_of(nc, "f-1", "seoul")
    assert sorted(e["case"] for e in stored if e["id"] == "f1") == ["_all"] * 16
    assert [e["case"] for e in stored if e["id"] == "f4"] == ["f-1", "_officer-k1"]
    assert {e["data"]["officer"] for e in stored if e["id"] == "f4"} == {"k1"}
    assert [(e["case"], e["routes"]) for e in stored if e["id"] == "f5"] == [
        ("f-1", ["f-1", "_officer-k1"]),
        ("_officer-k1", ["f-1", "_officer-k1"]),
    ]
    void |= {"id": "f6", "data": {"source": "web", "id": "none", "code": "other"}}
    assert (await post(http("web"), void))["code"] == "unknown_fact"


async def test_details_that_change_get_a_reference_of_their_own(
    http: Callable[[str], httpx.AsyncClient], pool: asyncpg.Pool, settings: Callable[..., Settings]
) -> None:
    await post(http("web"), complaint("g1", "g-1"))
    before = await pool.fetchval("select subject_ref from read.subject_refs")
    await post(http("web"), event("g2", "applicant.updated", "g-1", applicant={"mobile": "", "email": "a@b.example"}))
    after = await pool.fetchval("select subject_ref from read.subject_refs")
    vault = open_vault(settings("test"))
    async with pool.acquire() as conn:
        assert await vault.read_person(conn, "seoul", after, "handle", "clerk/t") == {
            "name": "홍길동",
            "address": "서울시 중구 1",
            "email": "a@b.example",
        }
        assert await vault.read_person(conn, "seoul", before, "handle", "clerk/t") == {
            "name": "홍길동",
            "address": "서울시 중구 1",
            "mobile": "010-0000-0001",
        }
        assert await vault.verify_access_chain(conn, "seoul") is None
    assert await pool.fetchval("select count(distinct person) from vault.subjects") == 1


_RESERVED = (
    "select tenant, source, id, type, case_id, officer, occurred, recorded, subjects, bodies, subject_ref, instance, "
    "batch, place from intake.reservations order by batch, place, source, id"
)


async def test_reservations_that_were_lost_come_back_from_the_log(
    http: Callable[[str], httpx.AsyncClient],
    start: Callable[[], Awaitable[FastAPI]],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without its tables intake answers as before: first answers, owners, copies, and receipt numbers that go on, also
    where the filling breaks off once."""
    web = http("web")
    opened = await post(web, complaint("l1", "l-1", notify_by="email", language="en"))
    report = event("l2", "fault.reported", "l-1", ground="unkind", officer="k1", text="불친절")
    await post(web, report, event("l3", "fault.confirmed", "l-1", about="l2", ground="unkind"))
    await post(web, event("l4", "applicant.updated", "l-1", applicant={"email": "a@b.example"}, notify_by="sms"))
    await post(web, complaint("l5", "l-5"), event("l6", "complaint.withdrawn", "l-5"))
    known = [await pool.fetch(query) for query in (_RESERVED, "table read.subject_refs order by 2")]
    fate = [await web.get(f"/v1/events/web/l{n}") for n in range(1, 7)]
    await empty(pool, "truncate intake.reservations, intake.batches, intake.cases restart identity")
    await pool.execute("select setval('intake.receipt_numbers', 1)")
    write, fails = refill._write, iter([False, True])

    async def breaks_off(*arguments: Any) -> int:
        if next(fails, False):
            raise OSError("broken off")
        return await write(*arguments)

    monkeypatch.setattr(refill, "GROUP_MESSAGES", 1)
    monkeypatch.setattr(refill, "_write", breaks_off)
    await start()
    await eventually(lambda: _is(pool.fetchval("select count(*) from intake.reservations"), 6), 30)
    assert next(fails, None) is None
    assert [await pool.fetch(query) for query in (_RESERVED, "table read.subject_refs order by 2")] == known
    assert [(await web.get(f"/v1/events/web/l{n}")).json() for n in range(1, 7)] == [one.json() for one in fate]
    # The same, whoever's hash is gone: the first answer, and nothing is appended.
    assert await post(web, complaint("l1", "l-1", notify_by="email", language="en")) == opened
    assert (await post(web, complaint("l1", "l-1", title="신호등")))["receipt"] == opened["receipt"]
    foreign = await http("kiosk").post("/v1/events", json=event("l7", "complaint.withdrawn", "l-1", source="kiosk"))
    assert (foreign.status_code, foreign.json()["code"]) == (403, "other_source")
    void = event("l8", "fact.voided", "l-1")
    void["data"] = {"source": "web", "id": "l3", "code": "typing_error"}
    assert (await post(web, void))["status"] == "accepted"
    stored = await log_of(nc, "l-1")
    assert [e["id"] for e in stored if e["case"] == "l-1"] == ["l1", "l2", "l3", "l4", "l8"]
    assert [e["routes"] for e in stored if e["id"] == "l8"] == [["l-1", "_officer-k1"]] * 2
    # Two numbers were given before.
    assert (await post(web, complaint("l9", "l-9")))["receipt"].startswith("000000003-")


async def test_a_lost_reply_is_found_in_the_log(
    http: Callable[[str], httpx.AsyncClient], nc: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = broker.publish_batch
    calls = 0

    async def loses(*arguments: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise broker.BatchUnknown("not sent at all")
        sequence = await publish(*arguments)
        if calls == 2:
            raise broker.BatchUnknown("sent, and the reply was lost")
        return sequence

    monkeypatch.setattr(broker, "publish_batch", loses)
    assert (await post(http("web"), complaint("h1", "h-1")))["status"] == "accepted"
    assert (await post(http("web"), event("h2", "complaint.withdrawn", "h-1")))["status"] == "accepted"
    assert [e["id"] for e in await log_of(nc, "h-1")] == ["h1", "h2"]


async def reserve_as(
    instance: str,
    pool: asyncpg.Pool,
    settings: Settings,
    tenants: dict[str, Tenant],
    *events: dict[str, Any],
    number: int = 1,
) -> Batch:
    """What an instance leaves behind that dies right after its reservation."""
    vault = open_vault(settings)
    judged = [judge(e, Publisher("seoul", "web"), tenants, instant(NOW)) for e in events]
    async with pool.acquire() as conn:
        return await reserve(conn, vault, tenants, judged, set(), instant(NOW), instance, number)


async def test_what_a_dead_instance_reserved_is_appended_once(
    start: Callable[[], Awaitable[FastAPI]],
    nc: Client,
    pool: asyncpg.Pool,
    settings: Callable[..., Settings],
    tenants: dict[str, Tenant],
    eventually: Eventually,
) -> None:
    await start()
    test = settings("test")
    unsent = await reserve_as("dead-1", pool, test, tenants, complaint("i1", "i-1"), complaint("i2", "i-2"))
    sent = await reserve_as("dead-2", pool, test, tenants, complaint("i3", "i-3"))
    body = json.dumps({"batch": 1, "count": 1}).encode()
    await broker.publish_batch(nc, sent.messages, (intake_mark("dead-2"), body), 0)
    await eventually(lambda: _is(fates(pool), {"i1": "accepted", "i2": "accepted", "i3": "accepted"}))
    assert sorted(e["id"] for e in await log_of(nc, "i-1", "i-2", "i-3")) == ["i1", "i2", "i3"]
    for row in await pool.fetch("select id, sequence from read.event_fate"):
        message = await nc.jetstream().get_msg("CASES", row["sequence"])
        assert json.loads(message.data or b"")["id"] == row["id"]
    # The dead one comes to life again, and is shut out.
    with pytest.raises(broker.BatchRefused):
        await broker.publish_batch(nc, unsent.messages, (intake_mark("dead-1"), body), 0)


async def test_a_batch_is_reserved_while_the_one_before_it_is_on_its_way(
    http: Callable[[str], httpx.AsyncClient],
    nc: Client,
    pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    """The second one comes behind the first all the same: the log has both in the order of their reservations."""
    gate, publish = asyncio.Event(), broker.publish_batch
    begun: list[int] = []

    async def held(client: Client, messages: Any, mark: tuple[str, bytes], after: int) -> int:
        begun.append(json.loads(mark[1])["batch"])
        await gate.wait()
        return await publish(client, messages, mark, after)

    monkeypatch.setattr(broker, "publish_batch", held)
    monkeypatch.setattr(append, "AHEAD_EVENTS", 1)
    first = asyncio.create_task(post(http("web"), complaint("p1", "p-1")))
    await eventually(lambda: _is(fates(pool), {"p1": "pending"}))
    second = asyncio.create_task(post(http("web"), event("p2", "complaint.withdrawn", "p-1")))
    await eventually(lambda: _is(fates(pool), {"p1": "pending", "p2": "pending"}))
    assert begun == [1]
    gate.set()
    assert [(await asked)["status"] for asked in (first, second)] == ["accepted", "accepted"]
    assert begun == [1, 2]
    assert [e["id"] for e in await log_of(nc, "p-1")] == ["p1", "p2"]


@pytest.mark.parametrize("appended", [False, True])
async def test_what_a_dead_instance_had_under_way_and_what_it_had_reserved_behind_it(
    appended: bool,
    start: Callable[[], Awaitable[FastAPI]],
    nc: Client,
    pool: asyncpg.Pool,
    settings: Callable[..., Settings],
    tenants: dict[str, Tenant],
    eventually: Eventually,
) -> None:
    """Whether or not the first of two batches came into the log before the end, each event stands there once."""
    test = settings("test")
    first = await reserve_as("dead-3", pool, test, tenants, complaint("q1", "q-1"))
    await reserve_as("dead-3", pool, test, tenants, event("q2", "complaint.withdrawn", "q-1"), number=2)
    if appended:
        body = json.dumps({"batch": 1, "count": 1}).encode()
        await broker.publish_batch(nc, first.messages, (intake_mark("dead-3"), body), 0)
    await start()
    await eventually(lambda: _is(fates(pool), {"q1": "accepted", "q2": "accepted"}))
    assert [e["id"] for e in await log_of(nc, "q-1")] == ["q1", "q2"]


async def test_an_instance_that_was_declared_dead_goes_on_under_a_new_name(
    http: Callable[[str], httpx.AsyncClient], app: FastAPI, nc: Client, pool: asyncpg.Pool, eventually: Eventually
) -> None:
    web = http("web")
    await post(web, complaint("j1", "j-1"))
    name = await pool.fetchval("select instance from intake.batches")
    last = await append.Marker.last(nc, name)
    body = json.dumps({"batch": 1, "sequence": last.sequence, "fenced_by": "another"}).encode()
    await broker.publish_batch(nc, [], (intake_mark(name), body), last.stands_at)
    answer = await web.post("/v1/events", json=complaint("j2", "j-2"))
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    await eventually(lambda: _is(fates(pool), {"j1": "accepted", "j2": "accepted"}))
    assert (await post(web, complaint("j2", "j-2")))["status"] == "accepted"
    assert [e["id"] for e in await log_of(nc, "j-1", "j-2")] == ["j1", "j2"]


async def test_a_tenant_that_runs_ahead_of_the_fold_is_held_back(
    http: Callable[[str], httpx.AsyncClient],
    pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    monkeypatch.setattr(append, "MAX_UNFOLDED", 2)
    await post(http("web"), *(complaint(f"k{n}", f"k-{n}") for n in range(3)))
    held = await http("web").post("/v1/events", json=complaint("k9", "k-9"))
    assert (held.status_code, held.json()["code"], held.headers["Retry-After"]) == (429, "held_back", "1")
    await pool.execute("update sla_timer.partitions set sequence = 1000000")

    async def goes_on() -> bool:
        return (await http("web").post("/v1/events", json=complaint("k9", "k-9"))).status_code == 200

    await eventually(goes_on)


async def test_the_door_answers_and_inbox_reports(
    app: FastAPI,
    nc: Client,
    pool: asyncpg.Pool,
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
    settings: Callable[..., Settings],
) -> None:
    web = await connect("seoul.web")
    told = await web.subscribe(receipts_subject("seoul", "web"))

    async def door(*events: Any) -> Any:
        raw = json.dumps(events[0] if len(events) == 1 else list(events)).encode()
        return json.loads((await web.request(door_subject("seoul", "web"), raw, timeout=30)).data)

    opened = await door(complaint("l1", "l-1"))
    assert opened["status"] == "accepted"
    assert [a["status"] for a in await door(complaint("l1", "l-1"), complaint("l2", "l-1", tenant="x"))] == [
        "accepted",
        "refused",
    ]
    assert (await door({"id": "l3"}))["code"] == "missing"

    js = web.jetstream()
    subject = inbox_subject("seoul", "web", "complaint.withdrawn")
    good = json.dumps(event("l4", "complaint.withdrawn", "l-1")).encode()
    poison = [b"\xff", b"{}", json.dumps(complaint("l5", "l-1")).encode(), good.replace(b"l-1", b"seoul")]
    for raw in (*poison, good):
        await js.publish(subject, raw)
    heard = [json.loads((await told.next_msg(30)).data) for _ in range(5)]
    assert sorted((m["status"], m.get("id", ""), m.get("code", "")) for m in heard) == [
        ("accepted", "l4", ""),
        ("refused", "", "not_utf8"),
        ("refused", "", "wrong_type"),
        ("refused", "l4", "wrong_subject"),
        ("refused", "l5", "wrong_type"),
    ]
    await eventually(lambda: _is(_messages(nc, "INBOX"), 0))
    letter = json.loads((await nc.jetstream().get_last_msg("DEAD", dead_subject("seoul", "web"))).data or b"")
    vault = open_vault(settings("test"))
    async with pool.acquire() as conn:
        sealed = base64.b64decode(letter["sealed"])
        (content,) = await vault.read_letter(conn, "seoul", letter["letter"], sealed, "dead_letter", "operator/t")
        assert content in poison


async def test_a_refused_letter_stays_in_inbox_until_it_is_buried(
    start: Callable[..., Awaitable[FastAPI]],
    nats: Embedded,
    nc: Client,
    pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    """FastStream acknowledges nothing by itself, and leaves INBOX as provisioned, even as a user who may change it."""

    async def never(_: Inbox) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Inbox, "bury", never)
    await start(nats_url=nats.nats_url("test"))
    await broker.check(nc, nats.monitor_url, STREAMS)
    subject = inbox_subject("seoul", "web", "complaint.withdrawn")
    await nc.jetstream().publish(subject, b"no event")
    await nc.jetstream().publish(subject, json.dumps(event("q1", "complaint.withdrawn", "q-1")).encode())
    # The bad one is refused at once; the good one, which came after it, is acknowledged only after the database has it.
    await eventually(lambda: _taken(nc, 1), 30)
    assert await fates(pool) == {"q1": "waiting"}
    info = await nc.jetstream().consumer_info("INBOX", DURABLE)
    assert (info.num_ack_pending, await _messages(nc, "INBOX")) == (1, 1)


async def test_a_letter_that_is_buried_again_after_the_log_forgot_its_id_is_one_letter(
    start: Callable[..., Awaitable[FastAPI]],
    nats: Embedded,
    nc: Client,
    pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
    settings: Callable[..., Settings],
) -> None:
    """Dead between DEAD and the receipt, twice, and longer than the window in which the log knows an id again."""
    closed, broken = Inbox._close, iter((True, True))

    async def close(inbox: Inbox, *given: Any) -> None:
        if next(broken, False):
            raise ConnectionError
        await closed(inbox, *given)

    monkeypatch.setattr(Inbox, "_close", close)
    await start(nats_url=nats.nats_url("test"))
    js = nc.jetstream()
    config = (await js.stream_info("DEAD")).config
    window, config.duplicate_window = config.duplicate_window, 0.1
    await js.update_stream(config)
    try:
        before = {letter.letter for letter in await letters(nc, pool)}
        lying = await _messages(nc, "DEAD")
        await js.publish(inbox_subject("seoul", "web", "complaint.withdrawn"), b"no event")
        await eventually(lambda: _is(_messages(nc, "INBOX"), 0))
        assert await _messages(nc, "DEAD") == lying + 3
    finally:
        config.duplicate_window = window
        await js.update_stream(config)
    (letter,) = [letter for letter in await letters(nc, pool) if letter.letter not in before]
    async with pool.acquire() as conn:
        sealed = [orjson.loads(one)["sealed"] for one in await _bodies(nc, "DEAD", 3)]
        vault = open_vault(settings("test"))
        for one in sealed:
            read = vault.read_letter(conn, "seoul", letter.letter, base64.b64decode(one), "dead_letter", "operator/t")
            assert await read == [b"no event"]


async def _bodies(nc: Client, stream: str, last: int) -> list[bytes]:
    """The last messages of a stream."""
    end = (await nc.jetstream().stream_info(stream)).state.last_seq
    return [(await nc.jetstream().get_msg(stream, end - place)).data or b"" for place in range(last)]


async def _taken(nc: Client, most: int) -> bool:
    """Whether all letters were handed out and at most so many are left in INBOX."""
    info = await nc.jetstream().consumer_info("INBOX", DURABLE)
    return info.num_pending == 0 and info.delivered.stream_seq == 2 and await _messages(nc, "INBOX") <= most


async def _messages(nc: Client, stream: str) -> int:
    return (await nc.jetstream().stream_info(stream)).state.messages


async def test_no_name_or_number_is_found_in_any_file_or_log(
    http: Callable[[str], httpx.AsyncClient],
    nc: Client,
    nats: Embedded,
    servers: Embedded,
    pool: asyncpg.Pool,
    capsys: pytest.CaptureFixture[str],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
) -> None:
    planted = [
        "Planted-Kim",
        "010-7777-1234",
        "planted@mail.example",
        "Planted-Road",
        "Planted-words",
        "900101-1234567",
    ]
    name, mobile, email, address, words, number = planted
    applicant = {"name": name, "mobile": mobile, "email": email, "address": address}
    web, text = http("web"), f"{words} {number} {mobile}"
    await post(web, complaint("m1", "m-1", applicant=applicant, title=words, text=text))
    await post(web, event("m2", "applicant.updated", "m-1", applicant=applicant))
    await post(web, event("m3", "complaint.rejected", "m-1", law="Act 1", reason=text, remedies=[text]))
    memo = {"caller": name, "phone": mobile, "matter": text, "reply_wanted": True}
    await post(web, event("m4", "callback.requested", None, via="phone", memo=memo, wanted_place=address))
    await post(web, event("m5", "complaint.reopened", "m-9", reason=text))
    await post(web, complaint("m6", "m-6", applicant={name: email}), {name: text})
    await post(web, complaint("m1", "m-1", applicant=applicant, title="other " + words))
    publisher = await connect("seoul.web")
    told = await publisher.subscribe(receipts_subject("seoul", "web"))
    letter = event("m7", "complaint.withdrawn", "m-1", **{"applicant": applicant, name: text})
    await publisher.jetstream().publish(
        inbox_subject("seoul", "web", "complaint.withdrawn"), json.dumps(letter).encode()
    )
    assert planted[0] not in (await told.next_msg(30)).data.decode()
    await eventually(lambda: _is(_messages(nc, "INBOX"), 0))
    await pool.execute("checkpoint")
    files = [path for path in (*nats.data.rglob("*"), *servers.data.rglob("*")) if path.is_file()]
    # INBOX keeps a taken letter in its block until the block goes; what a publisher wrongly puts there stays a while.
    files = [path for path in files if "INBOX" not in path.parts]
    assert any("CASES" in path.parts for path in files)
    assert any("pg_wal" in path.parts for path in files)
    for path in files:
        content = path.read_bytes()
        assert not [word for word in planted if word.encode() in content], path
    output = capsys.readouterr()
    assert "event_taken" in output.out + output.err
    assert not [word for word in planted if word in output.out + output.err]


async def test_ready_and_red(app: FastAPI, http: Callable[[str], httpx.AsyncClient], eventually: Eventually) -> None:
    async def ready() -> bool:
        return (await http("web").get("/health/ready")).status_code == 200

    await eventually(ready)
    parts = (await http("web").get("/status")).json()["parts"]
    assert sorted(parts) == ["append", "inbox", "letters", "nats", "postgres", "sign of life", "sweeper", "vault"]
