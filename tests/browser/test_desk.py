"""The desk in Chromium: signing in, approval by a second pair of eyes, live changes, keys, and WCAG 2.2 AA by axe."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page

from tests.browser.conftest import City
from tests.browser.test_following import keep

OFFICE = "도로과"


@pytest.fixture
async def desk(browser: Browser, city: City) -> AsyncIterator[BrowserContext]:
    """A browser on an office desk, with scripts."""
    context = await browser.new_context(
        base_url=city.gihan.services.url("notifier"), viewport={"width": 1280, "height": 900}, locale="ko-KR"
    )
    yield context
    await context.close()


async def sign_in(page: Page, role: str, staff: str, department: str = OFFICE, language: str = "ko") -> None:
    """By the development sign-on, as a member of staff of Anseong."""
    await page.goto(f"/desk/{language}/")
    await page.select_option("select[name=tenant]", "anseong")
    await page.check(f"input[name=role][value={role}]")
    await page.fill("input[name=department]", department)
    await page.fill("input[name=staff]", staff)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(re.compile(f"/desk/{language}/"))


async def late_case(city: City, case: str, kind: str = "inquiry") -> None:
    """A petition of the office's whose three days pass unanswered, and the hour that the slowest system has."""
    applicant = {"name": "홍길동", "address": "안성시 중앙로 1", "mobile": "010-0000-4321"}
    received = {"channel": "web", "kind": kind, "title": "가로등", "applicant": applicant}
    start = await city.now()
    await city.tell("anseong", "web", "complaint.received", case, start, **received)
    assigned = {"department": OFFICE, "officer": "k-1024"}
    await city.tell("anseong", "documents", "complaint.assigned", case, start, **assigned)


async def test_try(city: City, desk: BrowserContext) -> None:
    await late_case(city, "desk-1")
    await late_case(city, "desk-2")
    await city.step("2026-11-05T12:00:00+09:00")
    page = await desk.new_page()
    await sign_in(page, "approver", "approver-1")
    await keep(page, "desk-list")
    await page.goto("/desk/ko/cases/desk-1")
    await keep(page, "desk-case")
    await page.goto("/desk/ko/")
    await page.locator("tr th a").first.click()
    await keep(page, "desk-item")
    for path in ("cases", "trail", "keys", "nothing"):
        await page.goto(f"/desk/ko/{path}")
        await keep(page, f"desk-{path}")
