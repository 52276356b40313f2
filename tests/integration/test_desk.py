"""The desk on real servers: who gets in, what each may know of, and that a step is taken once, by two pairs of eyes."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import uvicorn
from api_world import APPLICANT, MONDAY
from desk_world import Browser, Office, office
from nats.aio.client import Client

from deploy.embedded import free_ports
from services.chassis import signon
from services.chassis.settings import Settings
from services.notifier.desk import app, changes, signing_in
from services.rules.tenants import Tenant

LATE = {"channel": "web", "kind": "statutory", "title": "허가", "applicant": APPLICANT, "service": "건축허가"}
HOURS = {"period": {"amount": 3, "unit": "hours"}}


@pytest.fixture
async def desk(
    settings: Callable[..., Settings],
    tenants: dict[str, Tenant],
    nc: Client,
    pool: asyncpg.Pool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Office]:
    for module in (signing_in, signon):  # on a machine that has much else to do
        monkeypatch.setattr(module, "_FETCH_SECONDS", 60.0)
    async with office(settings, tenants, nc, pool, tmp_path) as running:
        yield running


async def tell(desk: Office, source: str, type: str, case: str, at: str = MONDAY, **data: Any) -> None:
    """Has a system of the city publish an event."""
    head = {"specversion": "1.0", "id": f"{type.replace('.', '-')}-{case}", "source": source, "type": type}
    event = {**head, "subject": case, "tenant": "seoul", "time": at, "data": data}
    answer = await desk.world.ask(source, "POST", "/v1/events", json=event)
    assert answer.is_success, answer.text


async def late_case(desk: Office, case: str, department: str = "도로과", officer: str = "k-9") -> None:
    """A petition whose three hours pass unanswered."""
    await tell(desk, "web", "complaint.received", case, **LATE, **HOURS)
    await tell(desk, "desk", "complaint.assigned", case, department=department, officer=officer)


async def test_whoever_is_not_signed_in_gets_nothing_but_the_way_in(desk: Office) -> None:
    browser = Browser(desk.app)
    for path in ("/desk/ko/", "/desk/en/tasks/" + "0" * 32, "/desk/en/cases/c1", "/desk/ko/trail", "/desk/en/keys"):
        away = await browser.get(path)
        assert (away.status_code, urlpath(away)) == (303, "/desk/in"), path
    assert (await browser.get("/desk/en/changes")).status_code == 204
    for path in ("/desk/en/approve", "/desk/out", f"/desk/en/tasks/{'0' * 32}/approve"):
        assert (await browser.post(path, data={"form": "x"})).status_code == 401, path
    assert (await browser.get("/desk/nothing")).status_code == 404
    for address in ("/desk/", "/desk/ko"):
        assert (await browser.get(address, headers={"Accept-Language": "ko"})).headers["location"] == "/desk/ko/"


async def test_signing_in_leads_back_and_signing_out_ends_it(desk: Office) -> None:
    browser = Browser(desk.app)
    back = await browser.get(await desk.granted(browser, "/desk/en/trail?staff=k-1", staff="K-7", role="approver"))
    assert back.headers["location"] == "/desk/en/trail?staff=k-1"
    cookie = next(one for one in back.headers.get_list("set-cookie") if one.startswith("gihan_desk="))
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    token = cookie.partition("=")[2].partition(";")[0]
    page = await browser.get("/desk/en/trail")
    assert "k-7" in page.text
    assert "approver" in page.text
    assert page.headers["cache-control"] == "no-store"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    kept = await desk.pool.fetch("select * from notifier.desk_sessions")
    assert token not in str(kept)

    assert (await browser.post("/desk/out", data={"form": "wrong"})).status_code == 403
    out = await browser.hand_in("/desk/out", "/desk/en/trail")
    assert out.status_code == 200
    assert f"{desk.issuer}/end?client_id=desk" in out.text
    assert await desk.pool.fetchval("select count(*) from notifier.desk_sessions") == 0
    browser.cookies.set("gihan_desk", token, domain="127.0.0.1")
    assert urlpath(await browser.get("/desk/en/")) == "/desk/in"


async def test_a_code_is_for_the_browser_that_asked_for_it(desk: Office) -> None:
    mine, thief = Browser(desk.app), Browser(desk.app)
    back = await desk.granted(mine)
    assert (await thief.get(back)).status_code == 403  # has no cookie of a sign-in
    await thief.get("/desk/in")
    assert (await thief.get(back)).status_code == 403  # has one of its own
    forged = back.copy_set_param("state", "forged")
    assert (await mine.get(forged)).status_code == 403
    assert (await mine.get(back.copy_set_param("iss", "https://elsewhere.example"))).status_code == 403
    again = await desk.granted(mine)
    assert (await mine.get(again)).status_code == 303
    assert (await mine.get(again)).status_code == 403  # once
    assert not [cookie for cookie in thief.cookies.jar if cookie.name == "gihan_desk"]


async def test_who_knocks_too_often_waits_and_keeps_nobody_else_out(
    settings: Callable[..., Settings],
    tenants: dict[str, Tenant],
    nc: Client,
    pool: asyncpg.Pool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each knock has the sign-on asked in our name; three are let through here, and one more in a thousand seconds."""
    monkeypatch.setattr(app, "DOOR_BURST", 3.0)
    monkeypatch.setattr(app, "DOOR_RATE", 0.001)
    monkeypatch.setattr(signing_in, "_FETCH_SECONDS", 60.0)
    async with office(settings, tenants, nc, pool, tmp_path) as desk:
        browser = Browser(desk.app)
        assert (await browser.get("/desk/in")).status_code == 303
        for _ in range(2):
            assert (await browser.get("/desk/back?code=guessed&state=guessed")).status_code == 403
        for path in ("/desk/in", "/desk/back?code=guessed&state=guessed"):
            refused = await browser.get(path, headers={"Accept-Language": "en"})
            assert refused.status_code == 429, path
            assert 1 <= int(refused.headers["retry-after"]) <= 1000
            assert "You ask too often" in refused.text
        assert (await browser.get("/desk/left")).status_code == 200
        other = Browser(desk.app, "10.0.0.9")
        assert (await other.get("/desk/in")).status_code == 303


async def test_a_session_ends_when_it_is_idle_or_old(desk: Office) -> None:
    minute = 60 * 1_000_000
    for column, minutes in (("seen", 31), ("begun", 601)):
        browser = await desk.signed_in()
        assert (await browser.get("/desk/en/")).status_code == 200
        await desk.pool.execute(f"update notifier.desk_sessions set {column} = {column} - $1", minutes * minute)
        assert urlpath(await browser.get("/desk/en/")) == "/desk/in", column
    # A page that renews itself does not keep a session alive; somebody who asks for one does.
    browser = await desk.signed_in()
    newest = "begun = (select max(begun) from notifier.desk_sessions)"
    aged = f"update notifier.desk_sessions set seen = seen - $1 where {newest} returning seen"
    seen = f"select seen from notifier.desk_sessions where {newest}"
    left = await desk.pool.fetchval(aged, 20 * minute)
    assert (await browser.get("/desk/en/", headers={"X-Gihan-Live": "1"})).status_code == 200
    assert await desk.pool.fetchval(seen) == left
    assert (await browser.get("/desk/en/")).status_code == 200
    assert await desk.pool.fetchval(seen) > left
    # The next sign-in sweeps what is over.
    await desk.pool.execute("update notifier.desk_sessions set seen = seen - $1", 40 * minute)
    await desk.signed_in()
    assert await desk.pool.fetchval("select count(*) from notifier.desk_sessions") == 1


async def test_no_other_page_can_send_a_form(desk: Office) -> None:
    await late_case(desk, "d1")
    await desk.step("2026-11-02T16:00:00+09:00")
    key = await desk.task("d1")
    browser, other = await desk.signed_in(role="approver"), await desk.signed_in(role="approver")
    theirs = await other.form("/desk/en/")
    for form in ("", "x", theirs, "ö"):
        answer = await browser.post(f"/desk/en/tasks/{key}/decline", data={"form": form, "reason": "no_loss"})
        assert answer.status_code == 403, form
    mine = {"form": await browser.form("/desk/en/"), "reason": "no_loss"}
    for site in ("cross-site", "same-site", "none"):
        answer = await browser.post(f"/desk/en/tasks/{key}/decline", data=mine, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403, site
    assert await desk.pool.fetchval("select state from read.tasks where key = $1", key) == "assigned"
    browser.headers["Sec-Fetch-Site"] = "same-origin"
    assert (await browser.hand_in(f"/desk/en/tasks/{key}/decline", reason="no_loss")).status_code == 303
    assert await desk.pool.fetchval("select state from read.tasks where key = $1", key) == "declined"


async def test_the_desk_is_found_by_its_name_alone(desk: Office) -> None:
    somebody = await desk.signed_in(role="clerk")
    for path in ("/desk", "/desk/"):
        sent = await somebody.get(path, headers={"accept-language": "en"})
        assert (sent.status_code, sent.headers["location"]) == (303, "/desk/en/"), path
    assert (await somebody.get("/desk/en/")).status_code == 200


async def test_a_remedy_is_found_approved_and_paid_by_several_people(desk: Office) -> None:
    """Whether there was a just reason is found by one and approved by another; several are approved each on its own."""
    for case in ("m1", "m2", "m3"):
        await late_case(desk, case)
    await desk.step("2026-11-02T16:00:00+09:00")
    keys = [await desk.task(case) for case in ("m1", "m2", "m3")]
    finder, approver = (
        await desk.signed_in(role="approver", staff="a-1"),
        await desk.signed_in(role="approver", staff="a-2"),
    )
    page = f"/desk/en/tasks/{keys[0]}"
    assert "finding wanted" in (await finder.get(page)).text
    refused = await finder.hand_in(f"{page}/approve", page)
    assert refused.status_code == 409
    assert "First somebody must find" in refused.text
    for key in keys[:2]:
        sent = await finder.hand_in(f"/desk/en/tasks/{key}/find", page, finding="confirmed")
        assert sent.status_code == 303, sent.text
    await found(desk, keys[0], keys[1])

    # The finder's own eyes are no second pair; the third has no finding yet.
    mine = await finder.hand_in("/desk/en/approve", page, key=keys)
    assert mine.status_code == 200
    assert mine.text.count("cannot approve it") == 2
    both = await approver.hand_in("/desk/en/approve", page, key=[*keys, "0" * 32])
    assert both.text.count(": approved.") == 2
    assert both.text.count("First somebody must find") == 1
    states = [await desk.pool.fetchval("select state from read.tasks where key = $1", key) for key in keys]
    assert states == ["approved", "approved", "assigned"]

    clerk = await desk.signed_in(role="clerk", staff="k-20")
    issue = {"means": "voucher", "voucher": "V-17"}
    assert (await clerk.hand_in(f"{page}/approve", page)).status_code == 409
    assert (await clerk.hand_in(f"{page}/issue", page, **issue)).status_code == 303
    assert (await clerk.hand_in(f"{page}/issue", page, **issue)).status_code in (303, 409)
    assert (await clerk.hand_in(f"{page}/acknowledge", page, word="signed")).status_code == 303
    told = (await clerk.get(page)).text
    for line in ("approved", "V-17", "a-2", "k-20"):
        assert line in told
    letter = await clerk.hand_in(f"{page}/letter", page, language="ko")
    assert (letter.status_code, letter.headers["content-type"]) == (200, "application/pdf"), letter.text
    assert letter.content.startswith(b"%PDF-")
    readers = await desk.pool.fetch("select distinct reader from vault.access where purpose = 'apology'")
    assert [row["reader"].rpartition("/")[2] for row in readers] == ["k-20"]
    steps = await desk.pool.fetch("select step, staff from read.task_steps where key = $1 order by number", keys[0])
    assert [tuple(row) for row in steps][-3:] == [("approved", "a-2"), ("issued", "k-20"), ("acknowledged", "k-20")]


async def test_what_is_paid_already_says_by_what_and_an_approver_tells_it_apart(desk: Office) -> None:
    """The page names the payment; a clerk cannot tell it apart, and who does cannot approve it."""
    await late_case(desk, "m1")
    await late_case(desk, "m2")
    await desk.step("2026-11-02T16:00:00+09:00")
    paid, covered = await desk.task("m1"), await desk.task("m2")
    # As if both had been of one case.
    await desk.pool.execute(
        "update notifier.tasks set case_id = 'm1', incident = 'fault:web/r1' where key = $1", covered
    )
    finder, approver, clerk = [
        await desk.signed_in(role=role, staff=staff)
        for role, staff in (("approver", "a-1"), ("approver", "a-2"), ("clerk", "k-20"))
    ]
    page, other = f"/desk/en/tasks/{paid}", f"/desk/en/tasks/{covered}"
    for one in (page, other):
        assert (await finder.hand_in(f"{one}/find", one, finding="confirmed")).status_code == 303
    await found(desk, paid, covered)
    assert (await approver.hand_in(f"{page}/approve", page)).status_code == 303
    assert (await clerk.hand_in(f"{page}/issue", page, means="voucher", voucher="V-18")).status_code == 303
    await desk.pool.execute(
        "update notifier.tasks set state = 'covered', covered_by = $2 where key = $1", covered, paid
    )
    told = (await approver.get(other)).text
    for line in ("Paid already", "V-18", f"/desk/en/tasks/{paid}", "It is another incident"):
        assert line in told
    assert "Approve" not in told
    assert "It is another incident" not in (await clerk.get(other)).text
    assert (await clerk.hand_in(f"{other}/separate", other)).status_code == 409
    assert (await approver.hand_in(f"{other}/separate", other)).status_code == 303
    refused = await approver.hand_in(f"{other}/approve", other)
    assert (refused.status_code, "cannot approve it" in refused.text) == (409, True)
    assert "said that it is another incident" in (await clerk.get("/desk/en/trail")).text
    assert "Paid in this case" not in (await clerk.get(other)).text
    await desk.pool.execute("update notifier.tasks set state = 'kept' where key = $1", paid)
    assert "Paid in this case" in (await clerk.get(other)).text
    third = await desk.signed_in(role="approver", staff="a-3")
    assert (await third.hand_in(f"{other}/approve", other)).status_code == 303


async def test_nobody_sees_what_is_not_theirs_to_know_of(desk: Office) -> None:
    """A department sees its own; whom a fault or a grievance names sees nothing of it, on no page; audit sees all."""
    described = {"staff": "k-9", "department": "도로과", "name": "김철수", "phone": "02-000-0009"}
    await tell(desk, "administration", "staff.described", "seoul", **described)
    await late_case(desk, "v1")
    await tell(desk, "web", "fault.reported", "v1", ground="repeat_visit", officer="k-9", text="두 번 왔습니다.")
    about = {"about": "fault-reported-v1", "ground": "repeat_visit", "officer": "k-9"}
    await tell(desk, "desk", "fault.confirmed", "v1", **about)
    grievance = {
        "channel": "web",
        "kind": "service_grievance",
        "title": "불친절",
        "applicant": APPLICANT,
        "about": "v1",
    }
    await tell(desk, "web", "complaint.received", "v2", **grievance)
    await tell(desk, "desk", "complaint.assigned", "v2", department="환경과", officer="k-30")
    await desk.step("2026-11-02T16:00:00+09:00")
    late, fault = await desk.task("v1", without="fault"), await desk.task("v1", without="statutory")
    await desk.world.folded()

    named = await desk.signed_in(staff="k-9")
    colleague = await desk.signed_in(staff="k-10", role="head")
    other = await desk.signed_in(staff="k-30", department="환경과", role="approver")
    audit = await desk.signed_in(staff="k-40", department="감사과", role="audit")
    sees = {
        (who, page): (await browser.get(page)).status_code == 200
        for who, browser in (("named", named), ("colleague", colleague), ("other", other), ("audit", audit))
        for page in (f"/desk/en/tasks/{late}", f"/desk/en/tasks/{fault}", "/desk/en/cases/v1", "/desk/en/cases/v2")
    }
    expected = {"named": (1, 0, 1, 0), "colleague": (1, 0, 1, 0), "other": (0, 0, 0, 1), "audit": (1, 1, 1, 1)}
    assert sees == {
        (who, page): bool(seen)
        for who, seen_by in expected.items()
        for page, seen in zip(
            (f"/desk/en/tasks/{late}", f"/desk/en/tasks/{fault}", "/desk/en/cases/v1", "/desk/en/cases/v2"),
            seen_by,
            strict=True,
        )
    }
    for browser in (named, colleague, other):
        for page in ("/desk/en/", "/desk/en/?state=all", "/desk/en/trail", "/desk/en/cases/v1"):
            text = (await browser.get(page)).text
            assert fault not in text, page
            assert "a fault was" not in text.lower(), page
    told = (await audit.get("/desk/en/cases/v1")).text
    assert "A fault was confirmed" in told
    assert fault in told
    assert "김철수" not in told
    assert "홍길동" not in told
    # What one may not see one cannot touch either.
    for browser, key in ((colleague, fault), (other, late)):
        answer = await browser.hand_in(f"/desk/en/tasks/{key}/decline", reason="no_loss")
        assert answer.status_code == 404
        answer = await browser.hand_in("/desk/en/approve", key=[key])
        assert "What became" not in answer.text
    trail = (await audit.get("/desk/en/trail")).text
    assert trail.count("<h2") == 2
    assert "A message is written to a citizen or an official." in trail
    assert "<td>a person&#39;s details</td>" in trail
    assert (await colleague.get("/desk/en/trail")).text.count("<h2") == 1


async def test_a_fault_that_names_a_promise_gives_itself_away_by_no_task(desk: Office) -> None:
    """What is owed for it goes by the promise's name, and is hidden like the report all the same; audit acts on it."""
    await tell(desk, "web", "complaint.received", "v3", **LATE, period={"amount": 7, "unit": "days"})
    await tell(desk, "desk", "complaint.assigned", "v3", department="도로과", officer="k-9")
    blamed = {"ground": "repeat_visit", "officer": "k-9"}
    await tell(desk, "web", "fault.reported", "v3", promise="seoul-statutory-period", **blamed)
    await tell(desk, "desk", "fault.confirmed", "v3", about="fault-reported-v3", **blamed)
    key = await desk.task("v3", without="fault")
    apology = await desk.task("v3", "apology")
    await desk.world.folded()
    colleague = await desk.signed_in(staff="k-10", role="approver")
    audit = await desk.signed_in(staff="k-40", department="감사과", role="audit")
    for hidden in (key, apology):
        assert (await colleague.get(f"/desk/en/tasks/{hidden}")).status_code == 404
        for page in ("/desk/en/?state=all", "/desk/en/trail", "/desk/en/cases/v3"):
            assert hidden not in (await colleague.get(page)).text
    page = await audit.get(f"/desk/en/tasks/{key}")
    assert page.status_code == 200
    assert f"{key}/approve" in page.text
    await audit.hand_in(f"/desk/en/tasks/{key}/approve")
    assert await desk.task("v3", state="approved") == key


async def test_a_list_is_read_page_by_page_and_narrowed(desk: Office) -> None:
    """Every task once, the earliest date first and those without one last, however many share a date."""
    await desk.pool.execute(
        "insert into notifier.tasks"
        " (key, tenant, case_id, incident, clause, task, cause, state, wanted_at, due, lies_with)"
        " select md5(n::text), 'seoul', 'seoul', n::text, 'seoul-survey-improve', 'improve', '{}',"
        " case when n % 10 = 0 then 'done' else 'assigned' end, n % 3,"
        " case when n % 4 = 0 then null else 1762000000000000 + (n % 5) * 86400000000 end, 'head'"
        " from generate_series(1, 130) n"
    )
    clerk = await desk.signed_in()
    keys: list[str] = []
    address: str | None = "/desk/en/"
    while address:
        text = (await clerk.get(address)).text
        keys += re.findall(r'data-key="([0-9a-f]{32})"', text)
        found = re.search(r'class="button" href="([^"]+)"', text)
        address = found[1].replace("&amp;", "&") if found else None
    expected = await desk.pool.fetch(
        "select key from notifier.tasks where state = 'assigned' order by due nulls last, wanted_at, key"
    )
    assert keys == [row["key"] for row in expected]
    assert len(keys) == 117

    async def count(query: str) -> int:
        return (await clerk.get(f"/desk/en/?{query}")).text.count("data-key=")

    assert await count("state=ended") == 13
    assert await count("list=duty") == 0
    assert await count("list=improvement&state=ended&due=none") == 6
    assert await count("kind=improve&promise=seoul-survey-improve&state=ended") == 13
    assert await count("department=%EB%8F%84%EB%A1%9C%EA%B3%BC&state=ended") == 0
    # What nobody can have meant is left out, and what is written into an address is never a part of the page.
    for query in ("state=%00", "behind=1.2.x", f"behind={'9' * 19}.{'9' * 19}.{'f' * 32}", "list=%3Cb%3E", "due=';--"):
        answer = await clerk.get(f"/desk/en/?{query}")
        assert answer.status_code == 200, query
        assert "<b>" not in answer.text
    for path in ("tasks/%00", "tasks/'", "cases/%00", "cases/%3Cscript%3E", "tasks/" + "x" * 3000):
        answer = await clerk.get(f"/desk/en/{path}")
        assert answer.status_code == 404, path
        assert "<script>" not in answer.text


async def test_an_open_page_hears_of_changes_until_it_is_signed_out(
    desk: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "QUIET_SECONDS", 1.0)
    browser = await desk.signed_in()
    (port,) = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(desk.app, port=port, log_config=None, lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(60):
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        cookies = {cookie.name: cookie.value or "" for cookie in browser.cookies.jar}
        address = f"http://127.0.0.1:{port}/desk/en/changes"
        async with (
            httpx.AsyncClient(trust_env=False, cookies=cookies, timeout=60) as http,
            http.stream("GET", address) as stream,
        ):
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 5000"
            await late_case(desk, "l1")
            await desk.step("2026-11-02T16:00:00+09:00")
            told = json.loads((await until(lines, "data: ")).removeprefix("data: "))
            assert told["count"] >= 1
            assert all(re.fullmatch("[0-9a-f]{32}", key) for key in told["changed"])
            await desk.pool.execute("delete from notifier.desk_sessions")
            assert await until(lines, "event: ") == "event: over"
            assert await until(lines, "data: ") == "data: {}"
            with pytest.raises(StopAsyncIteration):
                await until(lines, "never")
    finally:
        server.should_exit = True
        await serving


async def until(lines: AsyncIterator[str], begin: str) -> str:
    """The next line that begins so."""
    async with asyncio.timeout(60):
        while not (line := await anext(lines)).startswith(begin):
            pass
    return line


async def found(desk: Office, *keys: str) -> None:
    """Returns when the findings have come back from the log."""
    async with asyncio.timeout(60):
        for key in keys:
            while await desk.pool.fetchval("select finding from read.tasks where key = $1", key) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def urlpath(answer: httpx.Response) -> str:
    return httpx.URL(answer.headers["location"]).path
