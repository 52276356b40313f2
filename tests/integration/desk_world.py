"""The desk for tests: a city with its API, the notifier in this process, and the development sign-on."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import uvicorn
from api_world import World, start
from fastapi import FastAPI
from nats.aio.client import Client

from deploy.devissuer import CLIENT, Issuer
from deploy.embedded import free_ports
from services.chassis import clock
from services.chassis.settings import Settings
from services.notifier.app import make_app
from services.rules.instants import instant
from services.rules.tenants import Tenant

DESK = "http://127.0.0.1:8999"
"""Where browsers think that the desk is; they reach it without a network."""


class Browser(httpx.AsyncClient):
    """Somebody's browser in front of the desk, following where it is led."""

    def __init__(self, app: FastAPI, address: str = "127.0.0.1") -> None:
        super().__init__(transport=httpx.ASGITransport(app, client=(address, 1)), base_url=DESK, follow_redirects=False)

    async def form(self, page: str) -> str:
        """The token of the forms of a page."""
        found = re.search(r'name="form" value="([^"]+)"', (await self.get(page)).text)
        assert found is not None, f"{page} has no form"
        return found[1]

    async def hand_in(self, path: str, page: str = "/desk/en/", **fields: Any) -> httpx.Response:
        """The answer to a form of a page, filled in; sent again while the notifier's turn ends and begins anew."""
        form = await self.form(page)
        async with asyncio.timeout(60):
            while (answer := await self.post(path, data={"form": form, **fields})).status_code == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
        return answer


class Office:
    """The running city as its staff meet it."""

    def __init__(self, world: World, app: FastAPI, issuer: str) -> None:
        self.world = world
        self.pool = world.pool
        self.app = app
        self.issuer = issuer

    async def step(self, at: str) -> None:
        """Moves the clock."""
        await clock.step(self.pool, instant(at))

    async def granted(self, browser: Browser, to: str = "", **person: str) -> httpx.URL:
        """Begins to sign in and says who one is; the address to which the sign-on sends the browser back."""
        away = await browser.get("/desk/in", params={"to": to})
        assert away.status_code == 303, away.text
        asked = {name: values[0] for name, values in parse_qs(urlsplit(away.headers["location"]).query).items()}
        said = {"tenant": "seoul", "role": "clerk", "department": "도로과", **person}
        async with httpx.AsyncClient(trust_env=False) as http:
            page = await http.get(away.headers["location"])
            assert page.status_code == 200, page.text
            back = await http.post(f"{self.issuer}/authorize", data={**asked, **said})
        assert back.status_code == 303, back.text
        return httpx.URL(back.headers["location"])

    async def signed_in(self, **person: str) -> Browser:
        """A browser of somebody who is signed in."""
        browser = Browser(self.app)
        back = await browser.get(await self.granted(browser, **person))
        assert back.status_code == 303, back.text
        return browser

    async def task(self, case: str, task: str = "compensation", without: str = "~", state: str = "assigned") -> str:
        """The key of a task of a case, once it is there in that state; `without` is what its incident does not name."""
        query = (
            'select key from read.tasks where "case" = $1 and task = $2 and state = $3'
            " and position($4 in incident) = 0 order by key"
        )
        async with asyncio.timeout(60):
            while (key := await self.pool.fetchval(query, case, task, state, without)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return str(key)


@asynccontextmanager
async def office(
    settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client, pool: asyncpg.Pool, folder: Path
) -> AsyncIterator[Office]:
    """The city, its desk and its sign-on, on Monday morning."""
    async with AsyncExitStack() as stack:
        world = await start(stack, settings, tenants, nc, pool, folder)
        (port,) = free_ports(1)
        issuer = f"http://127.0.0.1:{port}"
        names = {tenant.id: tenant.name_en for tenant in tenants.values()}
        server = uvicorn.Server(uvicorn.Config(Issuer(issuer, names).app(), port=port, log_config=None))
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(server.serve())
        told = {"oidc_issuer": issuer, "oidc_keys": f"{issuer}/keys", "oidc_client": CLIENT, "desk_url": DESK}
        nowhere = {"sms_url": "http://127.0.0.1:9", "smtp_url": "smtp://127.0.0.1:9"}
        app = make_app(settings("notifier", **told, **nowhere))
        await stack.enter_async_context(app.router.lifespan_context(app))
        # The files were enacted at the machine's time, which may lie behind that Monday: the city was live before.
        async with asyncio.timeout(60):
            while await pool.execute("update notifier.tenants set live_since = 0") != "UPDATE 2":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        try:
            yield Office(world, app, issuer)
        finally:
            server.should_exit = True
            await serving
