"""The whole API against its own document: whatever is sent, the answer is documented and no error of ours.

A seed that failed is printed; with GIHAN_API_SEED it is repeated. `make api` walks every edge of every schema, too.
"""

import asyncio
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import uvicorn
from api_world import APPLICANT, COMPLAINT, World, start
from fastapi import FastAPI
from nats.aio.client import Client

from services.chassis.settings import Settings
from services.intake.api import callers
from services.rules.tenants import Tenant

CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "unsupported_method", "allow_header_conformance", "ignored_auth"),
)
WHOLE = os.environ.get("GIHAN_API") == "whole"
LIMIT_SECONDS = 7_200 if WHOLE else 1_500
AUDIT = {"sub": "k-20", "roles": ["audit", "privacy"]}
"""Who may read whatever there is, and has ways of their own that a system has not."""


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """The application, whose lifespan runs already, on a port of this machine; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


@pytest.mark.timeout(LIMIT_SECONDS + 60)
@pytest.mark.parametrize(
    "who", ["web", pytest.param("staff", marks=pytest.mark.skipif(not WHOLE, reason="with GIHAN_API=whole"))]
)
async def test_no_answer_is_undocumented(
    who: str,
    settings: Callable[..., Settings],
    tenants: dict[str, Tenant],
    nc: Client,
    pool: asyncpg.Pool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Examples, edges and random requests, right and wrong, to every operation, where there is a case: by the system
    that opened it, and by a member of staff."""
    seed = int(os.environ.get("GIHAN_API_SEED", random.randrange(2**31)))
    phases, examples = ("examples,coverage,fuzzing", "200") if WHOLE else ("examples,fuzzing", "25")
    # It comes without a key, and for whole persons, more often than anybody may, and is to be told something else.
    for burst in ("_WRONG_BURST", "_WHOLE_BURST"):
        monkeypatch.setattr(callers, burst, 1_000_000.0)
    async with AsyncExitStack() as stack:
        world: World = await start(stack, settings, tenants, nc, pool, tmp_path)
        # The shortest id there is, which a generator comes upon, and the number of the document's examples.
        case = {**COMPLAINT, "case": "0", "applicant": {**APPLICANT, "mobile": "010-0000-0000"}}
        assert (await world.ask("web", "POST", "/v1/complaints", json=case)).status_code == 201
        key = world.token(**AUDIT) if who == "staff" else world.keys[who]
        address = await stack.enter_async_context(listening(world.app))
        # A file, so that a walk which never comes to its end can still be read.
        told = tmp_path / "schemathesis.txt"
        with told.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", "--no-color"),
                *("--phases", phases, "--checks", ",".join(CHECKS), "--continue-on-failure"),
                *("--seed", str(seed), "--max-examples", examples, "--no-shrink", "--warnings", "off"),
                *("--header", f"Authorization: Bearer {key}", "--suppress-health-check", "all"),
                *("--exclude-path", "/metrics", "--exclude-path-regex", "^/health|^/status"),
                cwd=tmp_path,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
            )
        print(f"GIHAN_API_SEED={seed}: {told}", flush=True)
        async with asyncio.timeout(LIMIT_SECONDS):
            await process.wait()
    print(told.read_text()[-20_000:])
    assert process.returncode == 0, f"GIHAN_API_SEED={seed}"
