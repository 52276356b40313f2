"""Health and the HTTP shell, asked over HTTP on a served application."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from decimal import Decimal

import httpx
import pytest
import uvicorn
from fastapi import Request
from pydantic import BaseModel, ConfigDict

from deploy.embedded import free_ports
from services.chassis.health import Health
from services.chassis.http import MAX_HEAD_BYTES, Connection, Problem, create_app


class Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int


@asynccontextmanager
async def no_lifespan(_):
    yield


@pytest.fixture
async def served(eventually):
    """serve(health) -> an HTTP client on an application with a few routes that go wrong."""
    running = []

    async def serve(health: Health) -> httpx.AsyncClient:
        app = create_app("test", "1", no_lifespan, health)

        @app.post("/wish")
        async def wish(wish: Wish) -> dict[str, int]:
            return {"number": wish.number}

        @app.get("/busy")
        async def busy() -> None:
            raise Problem(429, "held_back", "Too much at once. Send again later.", retry_after=7)

        @app.post("/listen")
        async def listen(request: Request) -> int:
            return len(await request.body())

        @app.get("/broken")
        async def broken() -> None:
            raise ValueError("홍길동 010-0000-0000")

        [port] = free_ports(1)
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, http=Connection))
        server.install_signal_handlers = lambda: None
        task = asyncio.create_task(server.serve())
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)
        running.append((server, task, client))
        await eventually(lambda: server.started)
        return client

    yield serve
    for server, task, client in running:
        await client.aclose()
        server.should_exit = True
        await task


async def test_a_part_is_red_until_its_first_beat_when_down_and_when_frozen(served, eventually):
    health = Health("test")
    fold = health.part("fold", frozen_after_seconds=2.0)
    client = await served(health)

    async def red() -> dict[str, str]:
        answer = await client.get("/health/ready")
        assert answer.status_code == (503 if answer.json()["red"] else 200)
        return answer.json()["red"]

    assert await red() == {"fold": "has not come round yet"}
    fold.beat(position=41)
    assert await red() == {}
    fold.down("the log has a gap after 41: restore the log before starting again")
    assert await red() == {"fold": "the log has a gap after 41: restore the log before starting again"}
    fold.beat(position=42)
    assert await red() == {}
    await eventually(red)  # no beat any more
    assert (await red())["fold"].startswith("frozen")
    assert (await client.get("/health/live")).status_code == 200


async def test_a_dead_server_is_red_in_time_and_green_again(served, eventually):
    health = Health("test")
    alive = True

    async def look() -> None:
        if not alive:
            await asyncio.sleep(3600)

    health.check("server", look, every_seconds=0.1, timeout_seconds=0.2)
    client = await served(health)

    async def status() -> int:
        return (await client.get("/health/ready")).status_code

    await eventually(lambda: is_(status(), 200))
    alive = False
    await eventually(lambda: is_(status(), 503))
    alive = True
    await eventually(lambda: is_(status(), 200))


async def is_(answer, wanted: int) -> bool:
    return await answer == wanted


async def test_status_and_metrics_show_what_the_parts_report(served):
    health = Health("test")
    health.part("fold").beat(position=42)

    async def deadlines() -> dict[str, Decimal]:
        return {"open_deadlines": Decimal(7)}  # what a sum comes as from PostgreSQL

    async def broken() -> dict[str, int]:
        raise RuntimeError("홍길동")

    health.status += [deadlines, broken]
    client = await served(health)
    report = (await client.get("/status")).json()
    assert (report["ready"], report["open_deadlines"], report["unknown"]) == (True, 7, ["RuntimeError"])
    assert report["parts"]["fold"]["position"] == 42
    metrics = (await client.get("/metrics")).text
    assert 'gihan_part_ready{part="fold",service="test"} 1.0' in metrics
    assert 'gihan_part_fact{fact="position",part="fold",service="test"} 42.0' in metrics


@pytest.mark.parametrize("path", ["/status", "/metrics"])
async def test_what_a_service_stands_at_is_for_operators(path):
    """Without a token for this machine alone, and not through a proxy on it; with one for whoever holds it. Health is
    everybody's."""

    async def answer(app, address: str, **headers: str) -> int:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            assert (await http.get("/health/live", headers=headers)).status_code == 200
            return (await http.get(path, headers=headers)).status_code

    local = create_app("test", "1", no_lifespan, Health("test"))
    assert [await answer(local, address) for address in ("127.0.0.1", "127.8.0.1", "::1")] == [200, 200, 200]
    assert [await answer(local, address) for address in ("10.0.0.1", "2001:db8::1", "localhost.evil")] == [401] * 3
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert await answer(local, "127.0.0.1", **{header: "127.0.0.1"}) == 401
    guarded = create_app("test", "1", no_lifespan, Health("test"), status_token="s3cret")
    assert await answer(guarded, "10.0.0.1", Authorization="Bearer s3cret") == 200
    for address, given in (("127.0.0.1", ""), ("127.0.0.1", "Bearer"), ("10.0.0.1", "Bearer s3cre"), ("::1", "s3cret")):
        assert await answer(guarded, address, Authorization=given) == 401


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({"number": "홍길동"}, 422, [{"pointer": "/number", "code": "int_parsing"}]),
        ({"number": 1, "홍길동": 1}, 422, [{"pointer": "", "code": "extra_forbidden"}]),
        ({}, 422, [{"pointer": "/number", "code": "missing"}]),
        ('{"number": 홍길동', 400, None),
        ("x" * (4 << 20) + "x", 413, None),
    ],
)
async def test_a_problem_names_the_field_and_never_what_was_sent(served, body, status, expected):
    client = await served(Health("test"))
    content = body if isinstance(body, str) else json.dumps(body)
    answer = await client.post("/wish", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert "홍길동" not in answer.text
    problem = answer.json()
    assert problem["instance"] == f"urn:gihan:request:{answer.headers['x-request-id']}"
    if expected is not None:
        assert [{key: error[key] for key in ("pointer", "code")} for error in problem["errors"]] == expected


async def test_problems_carry_code_retry_and_safe_headers(served):
    client = await served(Health("test"))
    busy = await client.get("/busy", headers={"x-request-id": "r-1"})
    assert (busy.status_code, busy.headers["retry-after"], busy.json()["code"]) == (429, "7", "held_back")
    assert busy.headers["x-request-id"] == "r-1"
    assert busy.headers["x-content-type-options"] == "nosniff"
    page = {"origin": "https://page.example", "access-control-request-method": "GET"}
    for answer in (busy, await client.get("/busy", headers=page), await client.options("/busy", headers=page)):
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert (await client.get("/nothing")).json()["code"] == "not_found"
    assert (await client.delete("/busy")).json()["code"] == "method_not_allowed"
    assert (await client.get("/docs")).status_code == 404


async def test_an_unexpected_error_is_a_problem_and_its_text_goes_nowhere(served, capsys):
    client = await served(Health("test"))
    answer = await client.get("/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    printed = capsys.readouterr()
    assert "홍길동" not in answer.text + printed.out + printed.err


@pytest.mark.parametrize("begun", [b"GET /busy HTTP/1.1\r\nHost: test\r\nX-Long: ", b"GET /"], ids=["header", "path"])
async def test_a_head_without_end_is_cut_off(served, begun):
    """Or whoever sends one would have all our memory."""
    client = await served(Health("test"))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(begun)
    sent = 0
    with suppress(ConnectionError):
        while not reader.at_eof() and sent < 100 * MAX_HEAD_BYTES:
            writer.write(b"x" * 1_000)
            await asyncio.wait_for(writer.drain(), 30)
            sent += 1_000
            await asyncio.sleep(0)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    assert MAX_HEAD_BYTES <= sent < 100 * MAX_HEAD_BYTES
    # Others are served as before, with heads of a size that somebody may need.
    answer = await client.get("/busy", headers={"X-Long": "x" * (MAX_HEAD_BYTES // 2)})
    assert answer.json()["code"] == "held_back"


async def test_what_is_no_http_is_refused(served):
    client = await served(Health("test"))
    for sent in (b"\x16\x03\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_whoever_hangs_up_in_the_middle_is_no_failure_of_ours(served, eventually, capsys):
    """Nor may anybody fill the log with traces by it."""
    client = await served(Health("test"))
    _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(b"POST /listen HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nonly this")
    await writer.drain()
    await asyncio.sleep(0)
    writer.close()
    said = []

    def gone() -> bool:
        said.append(capsys.readouterr())
        return any("client_gone" in one.out + one.err for one in said)

    await eventually(gone, 30)
    assert not [one for one in said if "request_failed" in one.out + one.err]
    assert (await client.post("/listen", content=b"whole")).json() == 5
