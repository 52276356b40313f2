"""Citizens' pages on real servers, under attack: forged forms, guessed digits, tampered links, hostile texts."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from html import unescape
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from fastapi import FastAPI
from nats.aio.client import Client

from contracts.streams import STREAMS
from deploy import bootstrap, provision
from services.chassis import clock
from services.chassis.settings import Settings
from services.intake.app import build_app as build_intake
from services.intake.judge import Publisher
from services.intake.pages import following
from services.rules.instants import HOUR, MINUTE, instant
from services.rules.tenants import Tenant
from services.sla_timer.app import build_app as build_sla_timer

NOW = "2026-11-02T10:00:00+09:00"
FORM, FOLLOW = "/ko/seoul/new/inquiry", "/ko/seoul/follow"
PETITION = {
    "title": "가로등",
    "text": "가로등이 꺼졌습니다",
    "name": "홍길동",
    "address": "서울시 중구 세종대로 1",
    "mobile": "010-0000-4321",
    "notify_by": "sms",
}
Eventually = Callable[..., Awaitable[Any]]


class Citizen:
    """A browser without scripts, as far as forms go."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def send(self, address: str, fields: Mapping[str, str], **more: Any) -> httpx.Response:
        """Opens a form, fills it in and sends it."""
        form = hidden((await self.http.get(address)).text)
        return await self.http.post(address, data={"form": form, **fields}, **more)

    async def file(self, address: str = FORM, **fields: str) -> tuple[str, str]:
        """Files a petition; returns its receipt number and the address of its page."""
        sent = await self.send(address, PETITION | fields)
        assert sent.status_code == 303, unescape(sent.text)
        link = sent.headers["location"].rpartition("/")[2]
        page = await self.http.get(sent.headers["location"])
        found = re.search(r'class="number">([0-9-]+)<', page.text)
        assert found
        return found[1], f"/ko/{address.split('/')[2]}/p/{link}"

    async def look_up(self, receipt: str, digits: str) -> httpx.Response:
        """Looks for a petition."""
        return await self.send(FOLLOW, {"receipt": receipt, "digits": digits})


def hidden(page: str) -> str:
    """The hidden field of a form."""
    found = re.search(r'name="form" value="([^"]+)"', page)
    assert found, page
    return found[1]


@pytest.fixture
async def intake(
    settings: Callable[..., Settings], pool: asyncpg.Pool, nc: Client, tenants: dict[str, Tenant]
) -> AsyncIterator[FastAPI]:
    """intake and sla_timer in this process, on an empty log with the charters enacted."""
    for stream in STREAMS:
        await nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(nc)
    await bootstrap.enact_files(nc, tenants.values())
    await clock.step(pool, instant(NOW))
    intake, sla_timer = build_intake(settings("intake")), build_sla_timer(settings("sla_timer"))
    async with intake.router.lifespan_context(intake), sla_timer.router.lifespan_context(sla_timer):
        yield intake


@pytest.fixture
async def visit(intake: FastAPI) -> AsyncIterator[Callable[..., Citizen]]:
    """visit(): a browser of its own; visit("10.0.0.9"): at another address."""
    opened: list[httpx.AsyncClient] = []

    def make(address: str = "127.0.0.1") -> Citizen:
        transport = httpx.ASGITransport(intake, raise_app_exceptions=False, client=(address, 1))
        opened.append(httpx.AsyncClient(transport=transport, base_url="http://city"))
        return Citizen(opened[-1])

    yield make
    for client in opened:
        await client.aclose()


@pytest.fixture
def citizen(visit: Callable[..., Citizen]) -> Citizen:
    """One browser."""
    return visit()


async def filed(pool: asyncpg.Pool) -> int:
    """How many petitions were taken in."""
    count: int = await pool.fetchval("select count(*) from intake.reservations where type = 'complaint.received'")
    return count


async def accesses(pool: asyncpg.Pool) -> int:
    """How often the vault was read for a second factor."""
    count: int = await pool.fetchval("select count(*) from vault.access where purpose = 'second_factor'")
    return count


async def test_a_form_from_elsewhere_files_nothing(
    citizen: Citizen, visit: Callable[..., Citizen], pool: asyncpg.Pool
) -> None:
    """Without the cookie, with a forged one, with a form of another browser, city or page; nothing typed is lost."""
    stranger = visit()
    theirs = hidden((await stranger.http.get(FORM)).text)
    mine = hidden((await citizen.http.get(FORM)).text)
    assert mine != theirs
    mapo = hidden((await citizen.http.get("/ko/mapo/new/inquiry")).text)
    follow = hidden((await citizen.http.get(FOLLOW)).text)
    for form in ("", "web-1", theirs, mapo, follow, f"x{mine}"):
        sent = await citizen.http.post(FORM, data={"form": form, **PETITION})
        assert sent.status_code == 422
        assert 'value="홍길동"' in sent.text
    bare = visit()
    assert (await bare.http.post(FORM, data={"form": mine, **PETITION})).status_code == 422
    bare.http.cookies.set("gihan_form", "0" * 32 + ".forged")
    assert (await bare.http.post(FORM, data={"form": mine, **PETITION})).status_code == 422
    assert await filed(pool) == 0
    assert (await citizen.http.post(FORM, data={"form": mine, **PETITION})).status_code == 303
    assert await filed(pool) == 1


async def test_a_form_sent_many_times_is_one_petition(citizen: Citizen, pool: asyncpg.Pool) -> None:
    form = hidden((await citizen.http.get(FORM)).text)
    sent = await asyncio.gather(
        *(citizen.http.post(FORM, data={"form": form, **PETITION, "title": f"제목 {n}"}) for n in range(8))
    )
    assert {answer.status_code for answer in sent} == {303}
    assert len({answer.headers["location"].partition("?")[0] for answer in sent}) == 1
    assert await filed(pool) == 1


async def test_no_resident_registration_number_is_taken(citizen: Citizen, pool: asyncpg.Pool) -> None:
    for field in ("title", "text", "name", "address"):
        sent = await citizen.send(FORM, PETITION | {field: "제 번호는 900101-1234567 입니다"})
        assert sent.status_code == 422
        assert f'id="{field}-error"' in sent.text
        assert "900101-1234567" in sent.text  # theirs to take out
    assert await filed(pool) == 0


WRONG: tuple[tuple[dict[str, str], set[str]], ...] = (
    ({"title": ""}, {"title"}),
    ({"text": " \n "}, {"text"}),
    ({"title": "x" * 201}, {"title"}),
    ({"text": "x" * 10_001}, {"text"}),
    ({"title": "a\x07b"}, {"title"}),
    ({"name": ""}, {"name"}),
    ({"name": "익명"}, {"name"}),
    ({"address": ""}, {"address"}),
    ({"mobile": ""}, {"mobile"}),
    ({"mobile": "call me"}, {"mobile"}),
    ({"mobile": "02-120-0000"}, {"mobile"}),  # no text reaches it
    ({"email": "nobody"}, {"email"}),
    ({"email": "홍@시청.example"}, {"email"}),  # no mail can be handed over for it
    ({"notify_by": "pigeon"}, {"notify_by"}),
    ({"notify_by": "email"}, {"email"}),
    ({"title": "", "text": "", "mobile": "x"}, {"title", "text", "mobile"}),
)


async def test_errors_stand_beside_their_fields(citizen: Citizen, pool: asyncpg.Pool) -> None:
    """In words, in the language of the page, with a link from the top; and everything typed is still there."""
    for fields, at_fault in WRONG:
        for language in ("ko", "en"):
            sent = await citizen.send(f"/{language}/seoul/new/inquiry", PETITION | fields)
            assert sent.status_code == 422
            assert set(re.findall(r'id="(\w+)-error"', sent.text)) == at_fault, fields
            assert set(re.findall(r'<a href="#(\w+)"', sent.text)) >= at_fault
            kept = (PETITION | fields)["address"]
            assert f'value="{kept}"' in sent.text
    assert await filed(pool) == 0


async def test_a_question_that_was_not_answered_is_not_quoted_with_a_colon(citizen: Citizen) -> None:
    """What is missing is said behind the question as it stands on the page."""
    for language, said in (
        ("ko", "진행 상황을 어떻게 알려 드릴까요? 하나를 골라 주십시오."),
        ("en", "How shall we tell you of progress? Please choose one."),
    ):
        sent = await citizen.send(f"/{language}/seoul/new/inquiry", PETITION | {"notify_by": ""})
        assert said in unescape(sent.text)


@pytest.mark.parametrize("mobile", ["010.0000.4321", "+82 10 0000 4321", "０１０－００００－４３２１"])
async def test_a_number_is_taken_as_people_write_it(citizen: Citizen, mobile: str) -> None:
    receipt, _ = await citizen.file(mobile=mobile)
    assert (await citizen.look_up(receipt, "4321")).status_code == 303


async def test_what_no_longer_asks_anything_is_not_for_citizens_to_do(
    citizen: Citizen, pool: asyncpg.Pool, eventually: Eventually
) -> None:
    """Papers that were asked for are theirs to bring until the petition is answered without them."""
    _, link = await citizen.file()
    await told_by_desk(
        citizen, pool, "complaint.supplement_requested", items=["plan"], respond_by="2026-11-20", dispatched_at=NOW
    )

    async def page_says(words: str) -> bool:
        return words in (await citizen.http.get(link)).text

    await eventually(lambda: page_says("하실 일"), 30)
    await told_by_desk(citizen, pool, "complaint.completed", outcome="answered", by="k-1")
    await eventually(lambda: page_says("답변을 드렸습니다"), 30)
    assert not await page_says("하실 일")


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "${7*7} #{7*7} %(x)s {0} {title}",
    "'; drop table intake.reservations; --",
    "=cmd|' /C calc'!A0",
    "\u202egnirts\u2066\u2069",
    "http://169.254.169.254/latest",
    "a" * 190,
    "\ufffe\uffff\U0001f4a9",
)


async def test_hostile_words_are_words(citizen: Citizen, pool: asyncpg.Pool) -> None:
    """Shown again they are text; taken in they are sealed; and no page about the case repeats them."""
    for words in HOSTILE:
        again = await citizen.send(FORM, PETITION | {"title": words, "name": words, "mobile": "x"})
        assert again.status_code == 422
        assert "<script>" not in again.text
        assert "<img" not in again.text
        assert ">49<" not in again.text
        assert words in unescape(again.text)
        taken = {"title": words, "text": words, "name": f"홍길동 {words}"[:200], "address": words}
        sent = await citizen.send(FORM, PETITION | taken)
        assert sent.status_code == 303
        for address in (sent.headers["location"], sent.headers["location"].replace("received", "p")):
            page = await citizen.http.get(address)
            assert page.status_code == 200
            assert words not in unescape(page.text)
        rows = await pool.fetch("select bodies from intake.reservations where source = 'web'")
        assert not [row for row in rows if words.encode() in row["bodies"][0]]


async def test_no_byte_brings_a_page_down(citizen: Citizen) -> None:
    """Also bytes that are no text, and bodies that are no form."""
    form = hidden((await citizen.http.get(FORM)).text)
    for field in ("title", "text", "name", "form", "notify_by", "extra"):
        for value in ("a\x00b", "\ud800", "x\r\nSet-Cookie: a=b"):
            fields = {"form": form, **PETITION, field: value}
            body = "&".join(f"{name}={_quoted(text)}" for name, text in fields.items())
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            sent = await citizen.http.post(FORM, content=body, headers=kind)
            assert sent.status_code in (303, 422)
            assert "a" not in sent.cookies
    for kind_of, content in BODIES:
        sent = await citizen.http.post(FORM, content=content, headers={"Content-Type": kind_of})
        assert sent.status_code in (400, 422)
        assert "<h1>" in sent.text


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


BODIES = (
    (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\nc\r\n--x--",
    ),
    ("multipart/form-data", b"x"),
    ("application/x-www-form-urlencoded", b"a=b&" * 5000),
    ("application/json", b"{}"),
    ("text/plain", b"\xff\xfe"),
)


async def test_digits_are_not_guessed(citizen: Citizen, visit: Callable[..., Citizen], pool: asyncpg.Pool) -> None:
    """Of a hundred tries at once five are looked at, from however many addresses; then even the right digits wait. The
    link opens all the while, and after an hour the digits do too."""
    receipt, link = await citizen.file()
    forms = []
    for number in range(4):
        other = visit(f"10.0.0.{number}")
        forms.append((other, hidden((await other.http.get(FOLLOW)).text)))
    tries = [
        other.http.post(FOLLOW, data={"form": form, "receipt": receipt, "digits": f"{1000 + n}"})
        for n in range(25)
        for other, form in forms
    ]
    answers = [answer.status_code for answer in await asyncio.gather(*tries)]
    assert sorted(answers) == [422] * 5 + [429] * 95
    assert await accesses(pool) == 5
    assert (await citizen.look_up(receipt, "4321")).status_code == 429
    assert await accesses(pool) == 5
    assert (await citizen.http.get(link)).status_code == 200
    await clock.step(pool, instant(NOW) + HOUR)
    assert (await citizen.look_up(receipt, "4321")).status_code == 303


async def test_one_address_does_not_try_every_receipt(citizen: Citizen, pool: asyncpg.Pool) -> None:
    answers = [(await citizen.look_up(following.receipt_number(number), "0000")).status_code for number in range(1, 36)]
    assert answers == [422] * 30 + [429] * 5
    # Whose address it was stands nowhere.
    digests = [row["digest"] for row in await pool.fetch("select digest from intake.tries")]
    assert {len(digest) for digest in digests} == {32}
    assert not [digest for digest in digests if b"127.0" in digest]


async def test_a_wrong_answer_tells_nothing(citizen: Citizen, pool: asyncpg.Pool) -> None:
    """An unknown receipt number, wrong digits, a petition without a telephone, one of another city and a report of
    corruption are answered with the same words. A report is not even looked at."""
    receipt, _ = await citizen.file()
    silent, _ = await citizen.file(mobile="", notify_by="none")
    elsewhere, _ = await citizen.file("/ko/anseong/new/inquiry")
    before = await accesses(pool)
    sealed, _ = await citizen.file("/ko/seoul/new/corruption_report")
    answers = [
        await citizen.look_up(following.receipt_number(777_777), "4321"),
        await citizen.look_up(receipt, "1234"),
        await citizen.look_up(silent, "4321"),
        await citizen.look_up(elsewhere, "4321"),
        await citizen.look_up(sealed, "4321"),
    ]
    # What was typed is shown again; apart from it and the form's own field they are alike.
    plain = {re.sub(r'value="[^"]*"', "", answer.text) for answer in answers}
    assert (len(plain), {answer.status_code for answer in answers}) == (1, {422})
    assert await accesses(pool) - before == 2

    found = await citizen.look_up(receipt, "4321")
    assert found.status_code == 303
    record = await pool.fetchrow("select * from vault.access order by number desc limit 1")
    assert (record["purpose"], record["reader"], record["kind"]) == ("second_factor", "intake/pages", "person")


async def test_what_a_look_up_opens_closes_again(citizen: Citizen, pool: asyncpg.Pool) -> None:
    receipt, _ = await citizen.file()
    address = (await citizen.look_up(receipt, "4321")).headers["location"]
    assert (await citizen.http.get(address)).status_code == 200
    await clock.step(pool, instant(NOW) + 30 * MINUTE)
    over = await citizen.http.get(address)
    assert (over.status_code, "시간이 지났습니다" in over.text) == (410, True)
    for path in ("report", "survey", "renew"):
        assert (await citizen.http.post(f"{address}/{path}", data={"ground": "late"})).status_code == 410


async def test_a_link_that_was_changed_opens_nothing(citizen: Citizen, pool: asyncpg.Pool) -> None:
    """Nor does one of another city, of another case, or one that was taken back; and the page says the same of all."""
    _, link = await citizen.file()
    _, other = await citizen.file()
    head, _, mac = link.rpartition("/")[2].partition(".")
    tampered = [
        link.replace("/seoul/", "/mapo/"),
        f"/ko/seoul/p/{head}.{mac[:-1]}",
        f"/ko/seoul/p/{head}.{'A' * 22}",
        f"/ko/seoul/p/{other.rpartition('/')[2].partition('.')[0]}.{mac}",
        f"/ko/seoul/p/{head}-zzzzzz.{mac}",
        "/ko/seoul/p/x",
        "/ko/seoul/p/%00",
        f"/ko/seoul/p/{'9' * 5000}.x",
    ]
    answers = [await citizen.http.get(address) for address in tampered]
    assert {answer.status_code for answer in answers} == {404}
    renewed = await citizen.http.post(f"{link}/renew")
    fresh = renewed.headers["location"].replace("/renewed/", "/p/")
    assert (await citizen.http.get(fresh)).status_code == 200
    for path in ("", "/report", "/survey", "/thanks/report"):
        assert (await citizen.http.get(f"{link}{path}")).status_code == 404
    assert (await citizen.http.get(other)).status_code == 200


async def test_no_page_and_no_log_names_anybody(
    citizen: Citizen, pool: asyncpg.Pool, capsys: pytest.CaptureFixture[str], eventually: Eventually
) -> None:
    """Neither the petitioner nor their words, also of a report of corruption; nor is the link in any log."""
    for kind in ("inquiry", "corruption_report", "service_grievance"):
        _, link = await citizen.file(f"/ko/seoul/new/{kind}", email="gildong@citizen.example")
        await citizen.send(f"{link}/report", {"ground": "late", "text": "세 번이나 전화했습니다"})
        mac = link.rpartition(".")[2]

        async def reported(link: str = link) -> bool:
            return "불편 신고" in (await citizen.http.get(link)).text

        await eventually(reported, 30)
        for language in ("ko", "en"):
            for path in ("", "/report", "/survey", "/thanks/report"):
                page = await citizen.http.get(link.replace("/ko/", f"/{language}/") + path)
                assert page.status_code == 200
                for word in ("홍길동", "세종대로", "0000-4321", "citizen.example", "가로등", "세 번이나"):
                    assert word not in page.text
        output = capsys.readouterr()
        assert "event_taken" in output.out + output.err
        for word in (mac, "홍길동", "0000-4321", "가로등"):
            assert word not in output.out + output.err


async def test_what_citizens_tell_becomes_events(citizen: Citizen, pool: asyncpg.Pool, eventually: Eventually) -> None:
    """A report of a broken promise, once for each form; the survey once for each closing, and only then."""
    _, link = await citizen.file()
    early = await citizen.http.post(f"{link}/survey", data={"satisfaction": "5"})
    assert "끝난 다음에" in early.text
    form = hidden((await citizen.http.get(f"{link}/report")).text)
    told = {"form": form, "ground": "unkind", "via": "phone", "promise": "seoul-phone-manners", "text": "끊었습니다"}
    for _ in range(2):
        assert (await citizen.http.post(f"{link}/report", data=told)).status_code == 303
    (row,) = await pool.fetch("select * from intake.reservations where type = 'fault.reported'")
    data = orjson.loads(row["bodies"][0])["data"]
    assert {name: data[name] for name in ("ground", "via", "promise")} == {
        "ground": "unkind",
        "via": "phone",
        "promise": "seoul-phone-manners",
    }
    assert data["text_ref"]
    assert "text" not in data
    # A form of this case reports on no other; a promise that no charter has is left out.
    _, other = await citizen.file()
    assert (await citizen.http.post(f"{other}/report", data=told)).status_code == 422
    assert (await citizen.send(f"{other}/report", {"ground": "late", "promise": "no-such"})).status_code == 303
    assert (
        await pool.fetchval(
            "select count(*) from intake.reservations where type = 'fault.reported' and"
            " convert_from(bodies[1], 'UTF8') like '%no-such%'"
        )
        == 0
    )

    await told_by_desk(citizen, pool, "complaint.completed", outcome="answered", by="k-1")

    async def closed() -> bool:
        return "답변을 드렸습니다" in (await citizen.http.get(link)).text

    await eventually(closed, 30)
    bad = await citizen.http.post(f"{link}/survey", data={"satisfaction": "6"})
    assert (bad.status_code, 'id="satisfaction-error"' in bad.text) == (422, True)
    for score in ("2", "5"):
        await citizen.http.post(f"{link}/survey", data={"satisfaction": score, "comment": "느렸습니다"})
    answers = await pool.fetch("select * from read.survey_answers")
    assert [(row["tenant"], row["satisfaction"]) for row in answers] == [("seoul", 2)]
    assert "이미 답해 주셨습니다" in (await citizen.http.get(f"{link}/survey")).text


async def test_a_talk_is_booked_in_office_hours(citizen: Citizen, pool: asyncpg.Pool, eventually: Eventually) -> None:
    """With the officer of the petition, whose id is shown nowhere; never in the past, on a weekend or at lunch."""
    _, link = await citizen.file()
    assert "정해지지 않았습니다" in (await citizen.http.get(f"{link}/talk")).text
    await told_by_desk(citizen, pool, "complaint.assigned", department="도로과", officer="k-77")

    async def assigned() -> bool:
        return "도로과에서 처리하고" in (await citizen.http.get(link)).text

    await eventually(assigned, 30)
    for day, clock_time in (
        ("2026-11-02", "09:30"),  # it is ten o'clock
        ("2026-11-03", "12:30"),
        ("2026-11-07", "10:00"),
        ("2026-11-03", "18:00"),
        ("", "10:00"),
        ("2026-11-03", "25:00"),
        ("9999-12-31", "23:59"),
        ("0001-01-01", "00:00"),
    ):
        sent = await citizen.send(f"{link}/talk", {"date": day, "time": clock_time})
        assert (sent.status_code, 'id="date-error"' in sent.text) == (422, True), day
    right = {"date": "2026-11-03", "time": "14:00", "assistance": "yes"}
    assert (await citizen.send(f"{link}/talk", right)).status_code == 303
    (row,) = await pool.fetch("select bodies from intake.reservations where type = 'appointment.booked'")
    data = orjson.loads(row["bodies"][0])["data"]
    assert data == {"at": "2026-11-03T14:00:00+09:00", "officer": "k-77", "assistance_needed": True}

    async def booked() -> bool:
        return "방문 예약" in (await citizen.http.get(link)).text

    await eventually(booked, 30)
    assert "k-77" not in (await citizen.http.get(link)).text


async def told_by_desk(citizen: Citizen, pool: asyncpg.Pool, type: str, **data: Any) -> None:
    """Has the desk state a fact of the petition that was filed first."""
    case = await pool.fetchval("select case_id from intake.reservations order by arrival limit 1")
    head = {"specversion": "1.0", "id": f"d-{type.partition('.')[2]}", "source": "desk", "type": type}
    event = {**head, "subject": case, "time": NOW, "tenant": "seoul", "data": data}
    doors = citizen.http._transport.app.state.parts.doors  # type: ignore[attr-defined]
    await doors.receive(orjson.dumps(event), Publisher("seoul", "desk"), "http")


async def test_reports_of_a_case_have_an_end(citizen: Citizen, pool: asyncpg.Pool) -> None:
    _, link = await citizen.file()
    answers = [(await citizen.send(f"{link}/report", {"ground": "late"})).status_code for _ in range(12)]
    assert answers == [303] * 10 + [429] * 2


async def test_headers(citizen: Citizen) -> None:
    """No script, no frame, no other host, no address told on, nothing kept; the API keeps its own."""
    page = await citizen.http.get(FORM)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers.get_list("content-security-policy") == [policy]
    cookie = page.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie
    safe = await citizen.http.get(f"https://city{FORM}", headers={"Cookie": ""})
    assert "secure" in safe.headers["set-cookie"].lower()
    assert "<script" not in page.text
    assert " style=" not in page.text
    assert re.findall(r'(?:href|src|action)="(?:https?:)?//', page.text) == []
    sheet = await citizen.http.get("/pages/pages.css")
    assert (sheet.status_code, sheet.headers["cache-control"]) == (200, "public, max-age=3600")
    api = await citizen.http.get("/v1/events/web/x")
    assert api.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_where_addresses_lead(citizen: Citizen) -> None:
    """A city has an address without a language; what is no page says so in a page; the API is not in the way."""
    english = {"Accept-Language": "en-GB,en;q=0.9,ko;q=0.1"}
    for path, headers, target in (
        ("/", {}, "/ko/"),
        ("/seoul", {}, "/ko/seoul"),
        ("/seoul", english, "/en/seoul"),
    ):
        answer = await citizen.http.get(path, headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (303, target)
        assert answer.headers["vary"] == "Accept-Language"
    for path in ("/ko/atlantis", "/ko/seoul/x", "/en/seoul/new/bribe", "/ko/seoul/new/statutory", "/pages/../app.py"):
        assert (await citizen.http.get(path)).status_code == 404
    assert "<h1>" in (await citizen.http.get("/ko/atlantis")).text
    assert (await citizen.http.get("/atlantis")).headers["content-type"] == "application/problem+json"
    for_people = await citizen.http.get("/atlantis", headers=english | {"Accept": "text/html"})
    assert (for_people.status_code, for_people.headers["location"]) == (303, "/en/atlantis")
    assert (await citizen.http.get("/health/live")).json()["status"] == "live"
    assert (await citizen.http.post("/ko/seoul")).status_code == 405
    for path, target in (("/ko", "/ko/"), ("/en", "/en/"), ("/ko/seoul/", "/ko/seoul"), ("/seoul/", "/seoul")):
        answer = await citizen.http.get(path, headers={"Host": "evil.example"})
        assert (answer.status_code // 100, answer.headers["location"]) == (3, target)  # a path, and no host


@pytest.mark.parametrize(
    "sent",
    [
        {"content": b"text=" + b"x" * (5 << 20)},
        {"content": "&".join(f"k{number}=v" for number in range(2_000)).encode()},
        {"data": {"text": "x"}, "files": {"photo": ("a.png", b"x")}},
    ],
    ids=["too large", "too many fields", "a file"],
)
async def test_a_form_that_cannot_be_read_is_answered_with_a_page_that_says_so(
    citizen: Citizen, sent: dict[str, Any]
) -> None:
    headers = {} if "files" in sent else {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await citizen.http.post("/ko/seoul/new/inquiry", headers=headers, **sent)
    assert answer.status_code in (400, 413)
    assert "보내신 내용을 읽지 못했습니다" in answer.text
    assert "접수된 것은 없습니다" in answer.text


async def test_a_failure_of_ours_is_a_page_that_tells_nothing(
    citizen: Citizen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, link = await citizen.file()

    async def fail(*_: object) -> None:
        raise RuntimeError("홍길동 010-0000-4321")

    monkeypatch.setattr(following.cases, "read", fail)
    page = await citizen.http.get(link)
    assert (page.status_code, "지금은 열리지 않습니다" in page.text) == (500, True)
    assert "홍길동" not in page.text
    output = capsys.readouterr()
    assert "request_failed" in output.out + output.err
    assert "홍길동" not in output.out + output.err


async def test_petitions_from_one_address_have_an_end(citizen: Citizen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.intake.pages.filing.FILED_AN_HOUR", 2)
    answers = [await citizen.send(FORM, PETITION) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [303, 303, 429]
    assert 'value="홍길동"' in answers[-1].text


async def test_how_well_a_promise_was_kept(citizen: Citizen, pool: asyncpg.Pool) -> None:
    """Kept, broken, broken and retracted, met late, reopened, voided: by hand, in the decisions themselves."""
    runs: dict[str, list[tuple[str, str | None]]] = {
        "kept": [("deadline.started", None), ("deadline.met", None)],
        "broken": [("deadline.started", None), ("deadline.breached", None)],
        "late": [("deadline.started", None), ("deadline.breached", None), ("deadline.met", None)],
        "retracted": [
            ("deadline.started", None),
            ("deadline.breached", None),
            ("breach.retracted", None),
            ("deadline.met", None),
        ],
        "retracted-open": [("deadline.started", None), ("deadline.breached", None), ("breach.retracted", None)],
        "reopened": [("deadline.started", None), ("deadline.met", None), ("deadline.moved", "reopened")],
        "moved": [("deadline.started", None), ("deadline.met", None), ("deadline.moved", None)],
        "void": [("deadline.started", None), ("deadline.voided", None)],
        "running": [("deadline.started", None)],
    }
    number = await pool.fetchval("select coalesce(max(number), 0) from sla_timer.decisions where lane = 3")
    for case, decisions in runs.items():
        for kind, reason in decisions:
            number += 1
            body = orjson.dumps({"data": {"reason": reason} if reason else {}})
            await pool.execute(
                "insert into sla_timer.decisions (lane, number, subject, body, tenant, case_id, kind, promise,"
                " occurrence, due, at, cause_sequence) values (3, $1, '', $2, 'seoul', $3, $4, 'p', 'o', 5, 5, 1)",
                number,
                body,
                case,
                kind,
            )
    rows = await pool.fetch("select \"case\", kept from read.promises_kept where promise = 'p'")
    assert {row["case"]: row["kept"] for row in rows} == {
        "kept": True,
        "broken": False,
        "late": False,
        "retracted": True,
        "moved": True,
    }
