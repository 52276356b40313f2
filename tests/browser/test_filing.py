"""A citizen files a petition on a telephone, without scripts, and follows it: the path that every test run walks."""

import re

from playwright.async_api import BrowserContext, Page, expect

from tests.browser.conftest import City


async def fill_in(page: Page) -> None:
    """A petition of somebody who does not exist."""
    await page.fill("#title", "가로등이 꺼져 있습니다")
    await page.fill("#text", "공원 입구의 가로등이 사흘째 꺼져 있습니다.\n고쳐 주십시오.")
    await page.fill("#name", "홍길동")
    await page.fill("#address", "안성시 중앙로 1")
    await page.fill("#mobile", "010-0000-4321")


async def test_files_and_follows(city: City, context: BrowserContext, page: Page) -> None:
    """Nothing typed is lost where something is wrong; receipt number, promised dates and link come at once; both ways
    lead back to the petition, and wrong digits to nothing."""
    await page.goto("/anseong")
    assert page.url == f"{city.url}/ko/anseong"
    await page.get_by_role("link", name="민원 내기").last.click()
    await page.get_by_role("link", name=re.compile("^묻고 싶습니다")).click()

    await fill_in(page)
    await page.fill("#text", "주민등록번호는 900101-1234567 입니다.")
    await page.get_by_role("button", name="민원 내기").click()
    await expect(page).to_have_title(re.compile("^오류: "))
    await expect(page.locator("#text-error")).to_contain_text("주민등록번호")
    await expect(page.locator("#name")).to_have_value("홍길동")
    await expect(page.locator("#text")).to_have_value("주민등록번호는 900101-1234567 입니다.")

    await fill_in(page)
    form, address = await page.locator("input[name=form]").input_value(), page.url
    await page.get_by_role("button", name="민원 내기").click()
    await expect(page.get_by_role("heading", name="접수되었습니다")).to_be_visible()
    receipt = await page.inner_text(".number")
    # Received on Monday 09:30: three days of eight working hours, and seven days with Monday as the first.
    await expect(page.locator(".dates time").nth(0)).to_have_attribute("datetime", "2026-11-05T09:30:00+09:00")
    await expect(page.locator(".dates time").nth(1)).to_have_attribute("datetime", "2026-11-11T00:00:00+09:00")
    await page.get_by_role("link", name="진행 상황 보기").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"민원 {receipt}")
    assert "홍길동" not in await page.content()

    # The same form sent again, with other words in it, is the same petition.
    fields = {"form": form, "title": "다른 제목", "text": "다른 내용", "notify_by": "none"}
    again = await (await context.request.post(address, form=fields)).text()
    assert receipt in again
    assert "전에 접수되었으므로" in again

    await page.get_by_role("link", name="민원 찾아보기").click()
    await page.fill("#receipt", receipt.replace("-", ""))
    await page.fill("#digits", "1234")
    await page.get_by_role("button", name="찾아보기").click()
    await expect(page.get_by_role("alert")).to_contain_text("찾지 못했습니다")
    await page.fill("#digits", "4321")
    await page.get_by_role("button", name="찾아보기").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"민원 {receipt}")
    await expect(page.locator("body")).to_contain_text("이 화면의 주소는 2026년 11월 2일(월) 10:00까지만 열립니다")

    (cookie,) = await context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("gihan_form", True, "Lax")
