"""Kannel itself: bearerbox, smsbox and its fake carrier, from Debian. A text in Korean goes out, and what became of it
comes back to an address that only Kannel knows."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.chassis.clock import RealClock
from services.chassis.settings import ROOT
from services.notifier.gateways import Letter, Outcome
from services.notifier.gateways.kannel import FATES, KannelGateway
from services.notifier.reports import Marks
from services.notifier.texts import Message
from services.rules.tenants import parse

BEARERBOX, SMSBOX = Path("/usr/sbin/bearerbox"), Path("/usr/sbin/smsbox")
CARRIER = Path("/usr/lib/kannel/test/fakesmsc")
TEXT = "[안성시] 민원이 접수되었습니다. 접수번호 R-1"

missing = [str(path) for path in (BEARERBOX, SMSBOX, CARRIER) if not path.exists()]
pytestmark = pytest.mark.skipif(
    bool(missing), reason=f"Kannel is not tested for real: {missing} are not there (apt install kannel kannel-extras)"
)

CONFIGURATION = """
group = core
admin-port = {admin}
admin-password = none
smsbox-port = {box}
dlr-storage = internal
log-file = "{folder}/bearerbox.log"
log-level = 1
box-allow-ip = "127.0.0.1"
admin-allow-ip = "127.0.0.1"

group = smsc
smsc = fake
smsc-id = carrier
port = {carrier}
connect-allow-ip = 127.0.0.1

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
sendsms-interface = 127.0.0.1
log-file = "{folder}/smsbox.log"
log-level = 1

group = sendsms-user
username = gihan
password = secret
max-messages = 10
concatenation = true
"""


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@asynccontextmanager
async def running(*arguments: str | Path, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *map(str, arguments), stdout=output, stderr=output, env={"PATH": os.environ["PATH"]}
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def until_open(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def kannel(folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """Kannel with a carrier that takes everything; the address of smsbox, and what the carrier saw."""
    admin, box, carrier, sendsms = _free_ports(4)
    file = folder / "kannel.conf"
    file.write_text(CONFIGURATION.format(folder=folder, admin=admin, box=box, carrier=carrier, sendsms=sendsms))
    seen = folder / "carrier.log"
    async with running(BEARERBOX, file, log=folder / "bearerbox.out"):
        await until_open(carrier)
        await until_open(box)
        # It says nothing by itself, and writes down what it is given.
        silent = ("-H", "127.0.0.1", "-r", str(carrier), "-m", "0", "100 200 text unused")
        async with running(CARRIER, *silent, log=seen), running(SMSBOX, file, log=folder / "smsbox.out"):
            await until_open(sendsms)
            yield f"http://127.0.0.1:{sendsms}", seen


async def letter(text: str = TEXT, attempt: int = 1) -> Letter:
    tenant = parse((ROOT / "deploy" / "tenants.yaml").read_bytes())["anseong"]
    contact, message = {"mobile": "010-9876-5432"}, Message("-", (text,))
    return Letter("k1", attempt, tenant, "ko", "receipt", contact, message, await RealClock().now())


async def test_a_korean_text_goes_out_and_comes_back_as_delivered(tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def report(request: Request) -> Response:
        await told.put(f"{request.url.path}?{request.url.query}")
        return Response(status_code=204)

    marks = Marks(bytes(32))
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        app = Starlette(routes=[Route("/{rest:path}", report)])
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        serving = asyncio.create_task(server.serve([here]))
        base = f"http://127.0.0.1:{here.getsockname()[1]}"
        async with kannel(tmp_path) as (url, seen):
            gateway = KannelGateway("line", url, "gihan", "secret", report_to=marks.address(base))
            (answer,) = await _send(gateway, await letter())
            assert (answer.outcome, answer.code) == (Outcome.ACCEPTED, "http_202")
            async with asyncio.timeout(60):
                path, _, query = (await told.get()).partition("?")
            assert path == f"/reports/k1/1/{marks.of('k1', 1)}"
            assert FATES[query.removeprefix("status=")].value == "delivered"
            # The carrier was given UCS-2 in hexadecimal digits or percent signs; either way it is the text.
            async with asyncio.timeout(60):
                while not _korean(seen):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.1)
            assert "01098765432" in seen.read_text(errors="replace")
            stranger = KannelGateway("line", url, "gihan", "wrong")
            (refused,) = await _send(stranger, await letter())
            assert (refused.outcome, refused.code) == (Outcome.UNREACHABLE, "http_403")
            await stranger.close()
            await gateway.close()
        server.should_exit = server.force_exit = True
        await serving


async def _send(gateway: KannelGateway, letter: Letter) -> Any:
    """Smsbox answers 503 until it has found its bearerbox."""
    async with asyncio.timeout(60):
        while True:
            answers = await gateway.send([letter])
            if answers[0].outcome is not Outcome.DEFERRED:
                return answers
            await asyncio.sleep(0.2)


def _korean(seen: Path) -> bool:
    wanted = TEXT.encode("utf-16-be")
    shown = seen.read_bytes()
    plain = shown.replace(b"+", b" ")
    percent = b"".join(
        bytes([int(part[:2], 16)]) + part[2:] if place else part
        for place, part in enumerate(plain.split(b"%"))
        if not place or len(part) >= 2
    )
    return wanted in percent or wanted.hex().encode() in shown.lower()
