"""A petition is watched by its citizen until its deadline is broken: the apology, the compensation, and what follows.

GIHAN_SCREENSHOTS names a folder where the pages are kept as pictures.
"""

import os
import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.conftest import City
from tests.browser.test_filing import fill_in

TUESDAY, THURSDAY = "2026-11-03", "2026-11-05"


async def keep(page: Page, name: str) -> None:
    """Keeps the page as a picture, where somebody wants pictures."""
    if folder := os.environ.get("GIHAN_SCREENSHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def test_deadline_is_broken_and_made_good(city: City, page: Page) -> None:
    """Three days promised for an answer. On Thursday at 09:30 they are over; for an hour, which the slowest system may
    need to report, it is being checked; then the page says sorry and what is owed. Nobody had to ask."""
    await page.goto("/ko/anseong/new/inquiry")
    await fill_in(page)
    await page.get_by_role("button", name="민원 내기").click()
    await keep(page, "received")
    receipt = await page.inner_text(".number")
    await page.get_by_role("link", name="진행 상황 보기").click()
    link, case = page.url, await city.case_of(receipt)
    await expect(page.locator(".state")).to_have_text("접수되었습니다. 담당자가 정해지기를 기다리고 있습니다.")
    first = page.locator(".card", has_text="문의에는 어떤 방법으로 하셨든 3일")
    await expect(first.locator(".badge")).to_have_text("진행 중")
    await expect(first.locator(".if-late")).to_contain_text("1만 원")

    await city.step(f"{TUESDAY}T10:00:00+09:00")
    await city.tell(
        *("anseong", "documents", "complaint.assigned", case, f"{TUESDAY}T10:00:00+09:00"),
        department="도로과",
        officer="k-1024",
    )
    await page.goto(link)
    await expect(page.locator(".state")).to_have_text("도로과에서 처리하고 있습니다.")
    assert "k-1024" not in await page.content()
    await first.locator("summary").click()
    await expect(first.locator(".steps")).to_contain_text("5일 이하이므로 하루를 근무시간 8시간으로 셈")
    await keep(page, "running")

    await city.step(f"{THURSDAY}T09:45:00+09:00")
    await page.goto(link)
    await expect(page.get_by_role("heading", name="약속한 기한이 지났습니다.")).to_be_visible()
    await expect(first.locator(".badge")).to_have_text("확인 중")
    await expect(page.locator(".sorry")).to_have_count(0)
    await expect(page.locator(".owed")).to_have_count(0)

    await city.step(f"{THURSDAY}T10:45:00+09:00")
    await page.goto(link)
    await expect(page.locator(".sorry")).to_contain_text("진심으로 사과드립니다")
    await expect(page.locator(".owed .worth")).to_have_text("10,000원 상당")
    await expect(page.locator(".owed")).to_contain_text("신청하지 않으셔도")
    await expect(first.locator(".badge")).to_have_text("지키지 못함")
    await expect(page.locator(".history")).to_contain_text("지켜지지 못한 약속: 법령이나 그 밖의 문의에는")
    await expect(page.locator(".history")).to_contain_text("알려 드림(문자): 지키지 못한 약속들에 대한 사과")
    await keep(page, "broken")

    await page.get_by_role("link", name="지켜지지 않은 약속 알리기").click()
    await page.get_by_role("button", name="알리기").click()
    await expect(page.locator("#ground-error")).to_be_visible()
    await page.get_by_label("불친절했습니다").check()
    await page.get_by_label("전화로").check()
    await page.fill("#text", "전화를 먼저 끊었습니다.")
    await page.get_by_role("button", name="알리기").click()
    await expect(page.get_by_role("heading", name="알려 주셔서 고맙습니다")).to_be_visible()
    await city.settle()
    await page.get_by_role("link", name="민원으로 돌아가기").click()
    await expect(page.locator(".history")).to_contain_text("불편 신고")
    assert "끊었습니다" not in await page.content()

    await city.tell(
        *("anseong", "documents", "complaint.completed", case, f"{THURSDAY}T10:45:00+09:00"),
        outcome="answered",
        by="k-1024",
    )
    await page.goto(link)
    await expect(page.locator(".state")).to_have_text("답변을 드렸습니다.")
    await page.get_by_role("link", name="어떠셨는지 알려 주기").click()
    await page.get_by_label(
        "불만족", exact=True
    ).first.check()  # of the case as a whole; the other questions may stay open
    await page.get_by_role("button", name="보내기").click()
    await expect(page.get_by_role("heading", name="고맙습니다")).to_be_visible()
    await page.goto(f"{link}/survey")
    await expect(page.locator("main")).to_contain_text("이미 답해 주셨습니다")

    # The city says of itself what it did: none of what fell due was kept, and nobody was satisfied.
    await page.goto("/ko/anseong/charter")
    await expect(page.locator("#anseong-inquiry .record")).to_have_text(
        re.compile(r"^\d건 가운데 0건을 지켰습니다. 건수가 적어 비율은 내지 않습니다.$")
    )
    await expect(page.locator("main")).to_contain_text("1분이 답했고 0분이 만족했습니다")
    await keep(page, "charter")

    # A link that others may have seen is closed by hand; the new one opens.
    await page.goto(link)
    await page.locator("summary", has_text="못 쓰게 하고").click()
    await page.get_by_role("button", name="새로 받기").click()
    new = await page.inner_text(".address")
    assert (await page.goto(link)).status == 404  # type: ignore[union-attr]
    await keep(page, "closed-link")
    assert (await page.goto(new)).status == 200  # type: ignore[union-attr]
