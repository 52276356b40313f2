"""The desk in Chromium: signing in, an approval by a second pair of eyes, live changes, keys, and WCAG 2.2 AA by axe.

GIHAN_SCREENSHOTS names a folder where the pages are kept as pictures.
"""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import City
from tests.browser.test_following import keep
from tests.browser.test_wcag import WIDTHS, faults_of

OFFICE = "도로과"
LONG = 120_000
"""Milliseconds: a page waits so long for what other processes still have to do."""


async def browser_of(browser: Browser, city: City, width: int = 1280, scripts: bool = True) -> BrowserContext:
    """A browser on an office desk."""
    desk = city.gihan.services.url("notifier")
    return await browser.new_context(
        base_url=desk, viewport={"width": width, "height": 900}, locale="ko-KR", java_script_enabled=scripts
    )


@pytest.fixture
async def desk(browser: Browser, city: City) -> AsyncIterator[BrowserContext]:
    """A browser with scripts."""
    context = await browser_of(browser, city)
    context.set_default_timeout(LONG)
    yield context
    await context.close()


async def sign_in(page: Page, role: str, staff: str, language: str = "ko") -> None:
    """By the development sign-on, as a member of staff of Anseong's office."""
    await page.goto(f"/desk/{language}/")
    await page.select_option("select[name=tenant]", "anseong")
    await page.check(f"input[name=role][value={role}]")
    await page.fill("input[name=department]", OFFICE)
    await page.fill("input[name=staff]", staff)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(re.compile(f"/desk/{language}/$"))


async def petition(city: City, case: str) -> None:
    """A petition that lies with the office."""
    applicant = {"name": "홍길동", "address": "안성시 중앙로 1", "mobile": "010-0000-4321"}
    received = {"channel": "web", "kind": "inquiry", "title": "가로등", "applicant": applicant}
    now = await city.now()
    await city.tell("anseong", "web", "complaint.received", case, now, **received)
    await city.tell("anseong", "documents", "complaint.assigned", case, now, department=OFFICE, officer="k-1024")


async def days_later(city: City, days: int) -> None:
    """A working day some days on, at noon: three days and the hour that the slowest system has are over."""
    day = int((await city.now())[8:10]) + days
    await city.step(f"2026-11-{day:02}T12:00:00+09:00")


@pytest.mark.timeout(600)
async def test_what_is_owed_is_approved_by_somebody_else_and_paid(city: City, desk: BrowserContext) -> None:
    """The list tells of a broken promise without being loaded again; a remedy is approved together with another one,
    paid, and stands in the trail. The rows are walked and ticked by keys."""
    page = await desk.new_page()
    await sign_in(page, "approver", "approver-1")
    await petition(city, "desk-1")
    await petition(city, "desk-2")
    await days_later(city, 3)
    rows = page.locator("tr[data-key]")
    owed = rows.filter(has_text="10,000원")
    await expect(owed).to_have_count(2, timeout=LONG)
    await expect(page.locator("#live")).to_contain_text("바뀐 줄")
    await keep(page, "desk-list")

    # The officer of the case has the box too, and no right: each is judged by itself.
    officer = await (await browser_of(desk.browser, city)).new_page()  # type: ignore[arg-type]
    await sign_in(officer, "approver", "k-1024")
    await officer.locator("tr[data-key] input").first.check()
    await officer.get_by_role("button", name="고른 것 승인하기").click()
    await expect(officer.locator(".done")).to_contain_text("이 민원을 맡았거나")
    await officer.context.close()

    # Beside what the year asks of the city these two are the first.
    await page.get_by_role("link", name="사과와 보상").click()
    await page.wait_for_url(re.compile("list=amends"))
    await page.keyboard.press("j")
    assert await page.evaluate("document.activeElement.closest('tr[data-key]') !== null")
    await page.keyboard.press("x")
    await page.keyboard.press("j")
    await page.keyboard.press("x")
    await expect(page.locator("tr[data-key] input:checked")).to_have_count(2)
    await page.get_by_role("button", name="고른 것 승인하기").click()
    await expect(page.locator(".done li")).to_have_count(2)
    await expect(page.locator(".done")).to_contain_text("승인했습니다")
    await keep(page, "desk-approved")

    await page.locator(".done a").first.click()
    await expect(page.locator("main")).to_contain_text("승인됨")
    remedy = page.url
    await page.get_by_label("직접 전달", exact=True).check()
    await page.get_by_role("button", name="지급했음").click()
    await expect(page.locator("main")).to_contain_text("승인한 사람은 지급할 수 없습니다")

    # Somebody else hands it out.
    clerk = await (await browser_of(desk.browser, city)).new_page()  # type: ignore[arg-type]
    await sign_in(clerk, "clerk", "clerk-1")
    await page.context.close()
    page = clerk
    await page.goto(remedy.partition("?")[0])
    await page.get_by_label("상품권", exact=True).check()
    await page.fill("#voucher", "V-2026-17")
    await keep(page, "desk-task")
    await page.get_by_role("button", name="지급했음").click()
    await expect(page.get_by_role("status")).to_contain_text("지급했다고 적었습니다")
    await expect(page.locator(".history")).to_contain_text("V-2026-17")
    await page.get_by_role("link", name=re.compile(r"^\d{9}-\d$")).click()
    await page.locator("summary").first.click()
    await expect(page.locator("main")).to_contain_text("5일 이하이므로 하루를 근무시간 8시간으로 셈")
    assert "홍길동" not in await page.content()
    await keep(page, "desk-case")
    await page.get_by_role("link", name="처리 기록").click()
    await expect(page.locator("table")).to_contain_text("지급함")
    await keep(page, "desk-trail")

    await page.keyboard.press("?")
    await page.wait_for_url(re.compile("/keys$"))
    await page.check("#keys-off")
    await page.keyboard.press("g")
    assert page.url.endswith("/keys")
    await page.get_by_role("button", name="나가기").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("나갔습니다")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("language", "width", "scripts"), [("ko", "telephone", False), ("en", "desk", True)])
async def test_every_page_of_the_desk_is_for_everybody(
    city: City, browser: Browser, language: str, width: str, scripts: bool
) -> None:
    """No page has a fault by axe, scrolls sideways, or has a target too small for a finger."""
    await petition(city, f"wcag-{language}")
    await days_later(city, 6)
    # What judges is a script of its own, which the pages' rules do not let run on them.
    context = await browser.new_context(
        base_url=city.gihan.services.url("notifier"), viewport={"width": WIDTHS[width], "height": 800}, bypass_csp=True
    )
    context.set_default_timeout(LONG)
    page = await context.new_page()
    if not scripts:
        await page.route("**/desk.js", lambda route: route.abort())
    await sign_in(page, "approver", "approver-2", language)
    await page.locator("tr[data-key] th a").first.wait_for()
    key = await page.locator("tr[data-key]", has=page.locator("input")).first.get_attribute("data-key")
    root, faults = f"/desk/{language}", dict[str, list[str]]()
    pages = ("", "?state=all", f"tasks/{key}", f"cases/wcag-{language}", "cases", "trail", "keys", "nothing")
    for name in pages:
        await page.goto(f"{root}/{name}")
        for summary in await page.locator("summary").all():
            await summary.click()
        assert await page.get_attribute("html", "lang") == language
        assert await page.locator("h1").count() == 1
        faults[name] = await faults_of(page)
    await page.goto(root + "/")
    await page.locator("tr[data-key] input").first.check()
    await page.locator(".send button").click()
    faults["approved"] = await faults_of(page)
    await context.close()
    assert {name: lines for name, lines in faults.items() if lines} == {}
