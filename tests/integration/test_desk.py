"""The desk on real servers: who gets in, what each may know of, and that a step is taken once, by two pairs of eyes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from api_world import APPLICANT, MONDAY
from desk_world import Browser, Office, office
from nats.aio.client import Client

from services.chassis.settings import Settings
from services.rules.tenants import Tenant

LATE = {"channel": "web", "kind": "statutory", "title": "허가", "applicant": APPLICANT, "service": "건축허가"}
HOURS = {"period": {"amount": 3, "unit": "hours"}}


@pytest.fixture
async def desk(
    settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client, pool: asyncpg.Pool, tmp_path: Path
) -> AsyncIterator[Office]:
    async with office(settings, tenants, nc, pool, tmp_path) as running:
        yield running


async def tell(desk: Office, source: str, type: str, case: str, at: str = MONDAY, **data: Any) -> None:
    """Has a system of the city publish an event."""
    head = {"specversion": "1.0", "id": f"{type}-{case}", "source": source, "type": type}
    event = {**head, "subject": case, "tenant": "seoul", "time": at, "data": data}
    answer = await desk.world.ask(source, "POST", "/v1/events", json=event)
    assert answer.is_success, answer.text


async def late_case(desk: Office, case: str, department: str = "도로과", officer: str = "k-9") -> None:
    """A petition whose three hours pass unanswered."""
    await tell(desk, "web", "complaint.received", case, **LATE, **HOURS)
    await tell(desk, "desk", "complaint.assigned", case, department=department, officer=officer)


async def key_of(desk: Office, case: str, task: str = "compensation") -> str:
    found: str = await desk.pool.fetchval('select key from read.tasks where "case" = $1 and task = $2', case, task)
    assert found is not None, (case, task)
    return found


async def test_whoever_is_not_signed_in_gets_nothing_but_the_way_in(desk: Office) -> None:
    browser = Browser(desk.app)
    for path in ("/desk/ko/", "/desk/en/tasks/" + "0" * 32, "/desk/en/cases/c1", "/desk/ko/trail", "/desk/en/keys"):
        away = await browser.get(path)
        assert (away.status_code, urlpath(away)) == (303, "/desk/in"), path
    assert (await browser.get("/desk/en/changes")).status_code == 204
    for path in ("/desk/en/approve", "/desk/out", f"/desk/en/tasks/{'0' * 32}/approve"):
        assert (await browser.post(path, data={"form": "x"})).status_code == 401, path
    assert (await browser.get("/desk/nothing")).status_code == 404


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


@pytest.mark.parametrize(
    "to",
    [
        *("https://evil.example/", "//evil.example", "/desk/ko//evil.example", "/desk/../v1", "/desk/en/%2e%2e/"),
        *("/desk/en/\\evil.example", "javascript:alert(1)", "/desk/in", "/desk/en/?a=b#c", "/desk/fr/"),
    ],
)
async def test_nobody_is_led_elsewhere(desk: Office, to: str) -> None:
    browser = Browser(desk.app)
    back = await browser.get(await desk.granted(browser, to))
    assert (back.status_code, back.headers["location"]) == (303, "/desk")


async def test_a_session_ends_when_it_is_idle_or_old(desk: Office) -> None:
    minute = 60 * 1_000_000
    for column, minutes in (("seen", 31), ("begun", 601)):
        browser = await desk.signed_in()
        assert (await browser.get("/desk/en/")).status_code == 200
        await desk.pool.execute(f"update notifier.desk_sessions set {column} = {column} - $1", minutes * minute)
        assert urlpath(await browser.get("/desk/en/")) == "/desk/in", column
    # The next sign-in sweeps what is over.
    await desk.signed_in()
    assert await desk.pool.fetchval("select count(*) from notifier.desk_sessions") == 1


async def test_no_other_page_can_send_a_form(desk: Office) -> None:
    await late_case(desk, "d1")
    await desk.step("2026-11-02T16:00:00+09:00")
    await desk.folded()
    key = await key_of(desk, "d1")
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
    taken = await browser.post(f"/desk/en/tasks/{key}/decline", data=mine, headers={"Sec-Fetch-Site": "same-origin"})
    assert taken.status_code == 303
    assert await desk.pool.fetchval("select state from read.tasks where key = $1", key) == "declined"


async def test_a_remedy_is_found_approved_and_paid_by_several_people(desk: Office) -> None:
    """Whether there was a just reason is found by one and approved by another; several are approved each on its own."""
    for case in ("m1", "m2", "m3"):
        await late_case(desk, case)
    await desk.step("2026-11-02T16:00:00+09:00")
    await desk.folded()
    keys = [await key_of(desk, case) for case in ("m1", "m2", "m3")]
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
    steps = await desk.pool.fetch("select step, staff from read.task_steps where key = $1 order by number", keys[0])
    assert [tuple(row) for row in steps][-3:] == [("approved", "a-2"), ("issued", "k-20"), ("acknowledged", "k-20")]


async def found(desk: Office, *keys: str) -> None:
    """Returns when the findings have come back from the log."""
    async with asyncio.timeout(60):
        for key in keys:
            while await desk.pool.fetchval("select finding from read.tasks where key = $1", key) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def urlpath(answer: httpx.Response) -> str:
    return httpx.URL(answer.headers["location"]).path
