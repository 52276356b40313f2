"""The matrix of HTTP routes and callers, tried cell by cell; docs/permissions-http.md is what came out.

The one rule: a route that lets somebody in whom it did not let in before, or a new route, shows in a page that is
reviewed. Where the page differs, the table as it is now is written beside it, in a file that the failure names.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from api_world import APPLICANT, COMPLAINT, MONDAY, World, start
from nats.aio.client import Client

from services.chassis.settings import ROOT, Settings
from services.rules.tenants import Tenant

DOCUMENT = ROOT / "docs" / "permissions-http.md"
HEAD = """# Who may ask what over HTTP

Each route of intake, tried by a test (`tests/integration/test_permissions_http.py`) with the credentials of each kind
of caller, on a case that is none of theirs. in: the request is looked at (and finds no such case, or a field missing);
401: without credentials that count (/status and /metrics are for operators, by their token or from the machine
itself); 403: not with this role: audit reads, and states nothing but findings. What of a case a caller may then read
is decided by `services/reading/visibility.py` and tested there: a publishing system reads cases of its own, staff those
of their department, and nobody a complaint about themselves.
"""
ROLES = ("clerk", "approver", "head", "audit")
_addresses = count(1)
BODIES: dict[str, Any] = {
    "/v1/complaints": COMPLAINT,
    "/v1/events": {
        "specversion": "1.0",
        "id": "try-1",
        "source": "web",
        "type": "fault.confirmed",
        "subject": "nobodys",
        "tenant": "seoul",
        "time": MONDAY,
        "data": {"ground": "careless"},
    },
    "/v1/callbacks": {"via": "phone", "memo": {"caller": APPLICANT["name"]}},
}
PLACES = {
    "source": "web",
    "id": "none",
    "case": "nobodys",
    "promise": "none",
    "code": "none",
    "form": "json",
    "token": "x",
}


@pytest.fixture
async def world(
    settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client, pool: asyncpg.Pool, tmp_path: Path
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await start(stack, settings, tenants, nc, pool, tmp_path)


async def test_each_route_lets_in_whom_the_page_says(
    world: World, tmp_path: Path, eventually: Callable[..., Awaitable[object]]
) -> None:
    transport = httpx.ASGITransport(world.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://intake") as http:

        async def ready() -> bool:
            return (await http.get("/health/ready")).status_code == 200

        await eventually(ready)
    callers: dict[str, str | None] = {"nobody": None, "a wrong key": "wrong", "publisher": world.keys["web"]}
    for role in ROLES:
        callers[role] = world.token(roles=[role], department="도로과", staff=f"k-{role}")
    callers["clerk with privacy"] = world.token(roles=["clerk", "privacy"], department="도로과", staff="k-p")
    callers["staff of no role"] = world.token(roles=["gardener"], department="도로과", staff="k-x")
    lines = [f"| route | {' | '.join(callers)} |", "|---" * (len(callers) + 1) + "|"]
    for path, operations in world.app.openapi()["paths"].items():
        for method in operations:
            cells = [await cell(world, method.upper(), path, credentials) for credentials in callers.values()]
            lines.append(f"| `{method.upper()} {path}` | {' | '.join(cells)} |")
    now = HEAD + "\n" + "\n".join(lines) + "\n"
    (tmp_path / DOCUMENT.name).write_text(now, encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == now, f"as it is now: {tmp_path / DOCUMENT.name}"


async def cell(world: World, method: str, path: str, credentials: str | None) -> str:
    """What a caller meets at a route, who comes from an address of its own: wrong keys are counted by address."""
    form = {"jurisdiction_id": "seoul", **({} if credentials is None else {"api_key": credentials})}
    more: dict[str, Any] = {}
    if path.startswith("/open311"):
        more = {"data" if method == "POST" else "params": form}
    elif method == "POST":
        more = {"json": BODIES.get(path, {})}
    headers = {} if credentials is None else {"Authorization": f"Bearer {credentials}"}
    address = next(_addresses)
    transport = httpx.ASGITransport(world.app, client=(f"10.0.{address // 250}.{address % 250}", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://intake") as http:
        answer = await http.request(method, path.format(**PLACES), headers=headers, **more)
    assert answer.status_code < 500, (method, path, answer.text)
    assert answer.status_code != 429, (method, path)
    return str(answer.status_code) if answer.status_code in (401, 403) else "in"
