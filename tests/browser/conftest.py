"""A whole Gihan on a stepped clock, and Chromium in front of its pages.

Where Chromium is not installed every test here is skipped, and says so. GIHAN_CHROMIUM names another program.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
from nats.aio.client import Client
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from deploy.embedded import Embedded
from services.chassis import broker, clock, postgres
from services.chassis.settings import Settings
from services.cli import running
from services.cli.demo.driver import Doors, Driver
from services.rules.instants import instant, text

START = "2026-11-02T09:30:00+09:00"
"""A Monday of a week without a holiday."""


# Five seconds, the default, are too few for a page beside everything else that a machine tests.
expect.set_options(timeout=30_000)


def chromium() -> str | None:
    """The browser: that which GIHAN_CHROMIUM names, else the one of this machine."""
    return os.environ.get("GIHAN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips aloud where there is no browser."""
    if chromium() is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="Chromium is not installed: apt-get install chromium"))


class City:
    """A running Gihan as the other systems of a city reach it, and its clock."""

    def __init__(self, gihan: running.Gihan, pool: asyncpg.Pool, nc: Client, doors: Doors) -> None:
        self.gihan = gihan
        self.pool = pool
        self.url = gihan.services.url("intake")
        self._driver = Driver(pool, nc, doors)
        self._numbers = count(1)

    async def step(self, at: str) -> None:
        """Moves the clock; returns when everything that follows has happened."""
        await self._driver.step(instant(at))

    async def settle(self) -> None:
        """Returns when all that was handed in is folded and told."""
        await self._driver.step(await self.pool.fetchval("select now from chassis.clock"))

    async def tell(self, tenant: str, source: str, type: str, case: str, at: str, **data: Any) -> dict[str, Any]:
        """Has a system of the city publish an event, and waits until all that follows has happened."""
        head = {"specversion": "1.0", "id": f"b-{next(self._numbers)}", "source": source, "type": type}
        event = {**head, "subject": case, "tenant": tenant, "time": at, "data": data}
        key = self.gihan.servers.publisher_keys[f"{tenant}/{source}"]
        async with httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False) as http:
            answer = await http.post("/v1/events", json=event, headers={"Authorization": f"Bearer {key}"})
        assert answer.is_success, answer.text
        await self.settle()
        told: dict[str, Any] = answer.json()
        return told

    async def now(self) -> str:
        """The time by the clock of the city."""
        return text(await self.pool.fetchval("select now from chassis.clock"), ZoneInfo("Asia/Seoul"))

    async def case_of(self, receipt: str) -> str:
        """The case with a receipt number."""
        found: str = await self.pool.fetchval('select "case" from read.subject_refs where receipt = $1', receipt)
        return found


@pytest.fixture(scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[City]:
    """The five cities, at START: for each file anew, since none can turn its clock back for the next."""
    home = tmp_path_factory.mktemp("city")
    tenants = running.read_tenants()
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(Embedded(home / "data", tenants))
        await running.provisioned(servers, tenants, instant("2026-11-02T00:00:00+09:00"))
        settings = Settings(
            nats_url=servers.nats_url("operator"), database_url=servers.database_url, service="operator"
        )
        pool = await postgres.connect_pool(settings)
        stack.push_async_callback(pool.close)
        await clock.step(pool, instant(START))
        gihan = await stack.enter_async_context(running.start_services(servers, home, clock="stepped", sign_on=True))
        nc = await broker.connect(settings)
        stack.push_async_callback(nc.close)
        doors = await stack.enter_async_context(Doors(gihan.services.url("intake"), servers.publisher_keys, {}))
        yield City(gihan, pool, nc, doors)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def context(browser: Browser, city: City) -> AsyncIterator[BrowserContext]:
    """A citizen's telephone, 360 px wide, with scripts switched off."""
    context = await browser.new_context(
        base_url=city.url, viewport={"width": 360, "height": 760}, locale="ko-KR", java_script_enabled=False
    )
    yield context
    await context.close()


@pytest.fixture
async def page(context: BrowserContext) -> Page:
    """A page on that telephone."""
    return await context.new_page()
