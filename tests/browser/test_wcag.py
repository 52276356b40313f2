"""Every page, in both languages, on a telephone and on a desk: WCAG 2.2 AA by axe, and the keyboard alone.

What axe cannot judge is tested beside it: pages fit into 320 px without scrolling sideways, what can be pressed is
large enough for a finger, and everything works without a mouse.
"""

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import City
from tests.browser.test_following import keep

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = {"telephone": 360, "desk": 1200}
AXE = Axe()


async def file(page: Page, language: str) -> str:
    """Files a petition and returns the address of its page."""
    await page.goto(f"/{language}/anseong/new/grievance")
    await page.fill("#title", "소음")
    await page.fill("#text", "밤에 공사 소리가 납니다.")
    await page.check("input[value=none]")
    await page.click("form button")
    return str(await page.inner_text(".address"))


async def every_page(city: City, page: Page, language: str) -> list[tuple[str, str]]:
    """(name, address) of every page that an address leads to."""
    root = f"/{language}/anseong"
    open_case = await file(page, language)
    received = page.url
    closed_case = await file(page, language)
    case, now = await city.case_of(await page.inner_text(".number")), await city.now()
    await city.tell("anseong", "documents", "complaint.completed", case, now, outcome="granted", by="k-1")
    assigned = await file(page, language)
    case = await city.case_of(await page.inner_text(".number"))
    await city.tell(*("anseong", "documents", "complaint.assigned", case, now), department="도로과", officer="k-1")
    return [
        ("cities", f"/{language}/"),
        ("home", root),
        ("new", f"{root}/new"),
        ("form", f"{root}/new/inquiry"),
        ("received", received),
        ("follow", f"{root}/follow"),
        ("case", open_case),
        ("case-closed", closed_case),
        ("report", f"{open_case}/report"),
        ("survey", f"{closed_case}/survey"),
        ("survey-too-soon", f"{open_case}/survey"),
        ("talk", f"{assigned}/talk"),
        ("thanks", f"{open_case}/thanks/report"),
        ("renewed", open_case.replace("/p/", "/renewed/")),
        ("charter", f"{root}/charter"),
        ("year", f"{root}/report"),
        ("problem", f"{root}/nothing/here"),
    ]


async def faults_of(page: Page) -> list[str]:
    """What is wrong with the page as it stands, a line each."""
    found = await AXE.run(page, options={"runOnly": {"type": "tag", "values": TAGS}})
    lines = [
        f"{row['id']}: {row['help']}: {node['html'][:120]}"
        for row in found.response["violations"]
        for node in row["nodes"]
    ]
    wide = await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    small = await page.evaluate(
        """[...document.querySelectorAll('button, summary, input[type=radio], input[type=checkbox], nav a, .tile')]
        .map(e => (e.closest('label') || e)).filter(e => e.offsetParent)
        .filter(e => e.getBoundingClientRect().height < 44).map(e => e.outerHTML.slice(0, 80))"""
    )
    return lines + (["it scrolls sideways"] if wide else []) + [f"too small for a finger: {one}" for one in small]


async def test_the_judge_sees_faults(browser: Browser) -> None:
    """A page without a title, with a picture without words, grey on white, and a button too small for a finger."""
    page = await browser.new_page()
    await page.set_content("<img src='x.png'><p style='color: #bbb'>grey</p><button style='height: 20px'>x</button>")
    faults = "\n".join(await faults_of(page))
    await page.close()
    for fault in ("document-title", "image-alt", "color-contrast", "too small for a finger"):
        assert fault in faults


@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("language", ["ko", "en"])
async def test_every_page_is_for_everybody(city: City, browser: Browser, language: str, width: str) -> None:
    """No page has a fault, also with every detail opened and every error shown."""
    context = await browser.new_context(base_url=city.url, viewport={"width": WIDTHS[width], "height": 800})
    page = await context.new_page()
    outside: list[str] = []
    page.on("request", lambda sent: outside.append(sent.url) if not sent.url.startswith(city.url) else None)
    page.on(
        "console",
        lambda said: outside.append(said.text) if said.type == "error" and "status of 4" not in said.text else None,
    )
    faults: dict[str, list[str]] = {}
    for name, address in await every_page(city, page, language):
        await page.goto(address)
        for summary in await page.locator("summary").all():
            await summary.click()
        assert await page.get_attribute("html", "lang") == language
        assert await page.locator("h1").count() == 1
        faults[name] = await faults_of(page)
        if name in ("new", "form", "case", "year") and (language, width) in (("ko", "telephone"), ("en", "desk")):
            await keep(page, f"{name}-{language}-{width}")
        if await page.locator("form .send button").count():
            await page.locator("form .send button").click()
            faults[f"{name} with errors"] = await faults_of(page)
            await expect(page.get_by_role("alert")).to_be_visible()
    await context.close()
    assert {name: lines for name, lines in faults.items() if lines} == {}
    assert outside == []


async def test_pages_fit_into_320_pixels(city: City, browser: Browser) -> None:
    """A page that is enlarged four times on a desk is 320 px wide (WCAG 1.4.10)."""
    context = await browser.new_context(base_url=city.url, viewport={"width": 320, "height": 640})
    page = await context.new_page()
    for _, address in await every_page(city, page, "en"):
        await page.goto(address)
        assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), address
    await context.close()


async def test_keyboard_alone_files_a_petition(city: City, browser: Browser) -> None:
    """From the first key to the receipt number: the link past the menu, visible focus, errors that lead to fields."""
    context = await browser.new_context(base_url=city.url, viewport={"width": 1200, "height": 800})
    page = await context.new_page()
    press, write = page.keyboard.press, page.keyboard.insert_text

    async def focused() -> str:
        found: str = await page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
        return found

    async def tab_to(name: str) -> None:
        for _ in range(40):
            await press("Tab")
            if await focused() == name:
                outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", f"nobody sees that {name} has the focus"
                return
        raise AssertionError(f"no key leads to {name}")

    await page.goto("/en/anseong/new/suggestion")
    await press("Tab")
    assert await focused() == "Skip to the content"
    await press("Enter")
    await tab_to("title")
    await write("A bench at the bus stop")
    await tab_to("File the petition")
    await press("Enter")
    # The list of errors has the focus; its first line leads to the field.
    await page.get_by_role("alert").wait_for()
    assert (await focused()).startswith("Please look at this")
    await press("Tab")
    await press("Enter")
    assert await page.evaluate("location.hash") == "#text"
    await tab_to("text") if await focused() != "text" else None
    await write("Older people wait there standing.")
    await tab_to("mobile")
    await write("010-0000-7777")
    await tab_to("File the petition")
    await press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("We have received it")
    await context.close()
