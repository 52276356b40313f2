"""The examples of docs/publishers.md for the nats command line, said to a real server as that tool says them.

The tool itself is no package here. What it puts on the wire for each of these commands is plain: it proves its key,
names an inbox below its prefix, and publishes the body as it is.
"""

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import pytest
from nats.aio.client import Client

from contracts.nkeys import Nkey
from contracts.streams import STREAMS
from deploy import provision
from deploy.embedded import Embedded
from services.chassis.clock import step
from services.chassis.settings import ROOT, Settings
from services.intake.app import build_app
from services.rules.instants import instant
from services.rules.tenants import Tenant

NOW = "2026-03-12T10:00:00+09:00"
HEAD = {"specversion": "1.0", "source": "kiosk", "time": NOW, "tenant": "seoul"}
APPLICANT = {"name": "홍길동", "address": "서울시 중구 1", "mobile": "010-0000-0001"}
COMPLAINT = {"channel": "web", "kind": "inquiry", "title": "가로등 {{Count}}", "applicant": APPLICANT}
FILES = {
    "event.json": {**HEAD, "id": "e-1", "type": "complaint.received", "subject": "m-1", "data": COMPLAINT},
    "call.json": {**HEAD, "id": "c-1", "type": "call.answered", "data": {"rings": 2, "department": "세무과"}},
}
VALUES = ("--context", "--server", "--nkey", "--inbox-prefix", "--timeout")
SWITCHES = ("--no-templates", "--force-stdin")


class Command(NamedTuple):
    """A command of the page: its words without flags, its flags, and the file that it reads."""

    words: list[str]
    flags: dict[str, str]
    file: str | None


def commands() -> list[Command]:
    """The commands of the page, in order. Fails at a flag that this test would not know how to say."""
    page = (ROOT / "docs" / "publishers.md").read_text(encoding="utf-8")
    section = page.partition("## The nats command line")[2].partition("\n## ")[0]
    found = []
    for line in re.findall(r"^    nats (.+)$", section, re.MULTILINE):
        parts, words, flags = iter(shlex.split(line)), [], {}
        file = None
        for part in parts:
            if part == "<":
                file = next(parts)
            elif part.startswith("--"):
                assert part in VALUES + SWITCHES, part
                flags[part] = next(parts) if part in VALUES else ""
            else:
                words.append(part)
        found.append(Command(words, flags, file))
    return found


class Tool:
    """What the nats command line says on a connection of its own, with the settings of a saved context."""

    def __init__(self, address: str, seeds: Path, context: Command) -> None:
        self._address = address
        self._seed = (seeds / context.flags["--nkey"]).read_text().strip()
        self._prefix = context.flags["--inbox-prefix"]

    async def __aenter__(self) -> "Tool":
        host, port = self._address.split(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        nonce = json.loads((await self._reader.readline()).removeprefix(b"INFO "))["nonce"]
        nkey = Nkey.of_seed(self._seed)
        login = {"verbose": False, "nkey": nkey.public, "sig": nkey.signature(nonce).decode(), "headers": True}
        login |= {"no_responders": True}
        self._writer.write(b"CONNECT " + json.dumps(login).encode() + b"\r\nPING\r\n")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def request(self, subject: str, body: bytes) -> Any:
        """The first reply."""
        reply = f"{self._prefix}.R2QxhQ7zkYZDkCkcBOVTGd.kFpKlYsv"
        self.subscribe(reply)
        self._writer.write(f"PUB {subject} {reply} {len(body)}\r\n".encode() + body + b"\r\n")
        return await self.next()

    def publish(self, subject: str, body: bytes) -> None:
        """Fire and forget."""
        self._writer.write(f"PUB {subject} {len(body)}\r\n".encode() + body + b"\r\n")

    def subscribe(self, subject: str) -> None:
        """Has messages sent, which `next` reads."""
        self._writer.write(f"SUB {subject} 1\r\n".encode())

    async def next(self) -> Any:
        """The next message's JSON. Raises PermissionError where the server refuses something."""
        async with asyncio.timeout(60):
            while True:
                line = await self._reader.readline()
                if line.startswith(b"-ERR"):
                    raise PermissionError(line.decode())
                if line == b"PING\r\n":
                    self._writer.write(b"PONG\r\n")
                elif line.startswith((b"MSG", b"HMSG")):
                    *_, size = line.split()
                    body = await self._reader.readexactly(int(size) + 2)
                    if line.startswith(b"HMSG"):
                        body = body[int(line.split()[-2]) :]
                    return json.loads(body)


@pytest.fixture
async def page(
    settings: Callable[..., Settings],
    pool: asyncpg.Pool,
    nc: Client,
    nats: Embedded,
    tenants: dict[str, Tenant],
    tmp_path: Path,
) -> AsyncIterator[tuple[Callable[[], Tool], list[Command], Path]]:
    """A running intake, and a folder with the files that the page speaks of."""
    for stream in STREAMS:
        await nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(nc)
    await provision.create_readers(nc, tenants)
    await step(pool, instant(NOW))
    address = nats.nats_url("operator").rpartition("@")[2]
    (tmp_path / "kiosk.seed").write_text(urlsplit(nats.nats_url("seoul.kiosk")).password or "")
    for name, content in FILES.items():
        (tmp_path / name).write_text(json.dumps(content))
    context, *others = commands()
    assert context.words == ["context", "save", "gihan"]
    assert {command.flags["--context"] for command in others} == {"gihan"}
    app = build_app(settings("intake"))
    async with app.router.lifespan_context(app):
        yield lambda: Tool(address, tmp_path, context), others, tmp_path


def said(command: Command, folder: Path) -> tuple[str, bytes]:
    """The subject of a command, and its body from file or command line."""
    assert "--no-templates" in command.flags  # else the tool would put its own words for {{...}}
    _, subject, *body = command.words
    assert (command.file is not None) == ("--force-stdin" in command.flags)
    return subject, (folder / command.file).read_bytes() if command.file else body[0].encode()


async def test_the_examples_are_what_they_say(
    page: tuple[Callable[[], Tool], list[Command], Path], pool: asyncpg.Pool
) -> None:
    tool, (door, inbox, hear, waiting), folder = page
    async with tool() as asking, tool() as hearing:
        assert hear.words == ["subscribe", "receipts.seoul.kiosk"]
        hearing.subscribe(hear.words[1])
        answer = await asking.request(*said(door, folder))
        assert (answer["status"], answer["id"], answer["case"]) == ("accepted", "e-1", "m-1")
        asking.publish(*said(inbox, folder))
        receipt = await hearing.next()
        assert (receipt["status"], receipt["id"]) == ("accepted", "c-1")
    async with tool() as asking:  # kept, whoever heard it live
        kept = await asking.request(*said(waiting, folder))
        assert kept["id"] == "c-1"
    assert dict(await pool.fetch("select id, status from read.event_fate")) == {"e-1": "accepted", "c-1": "accepted"}


async def test_a_reply_to_another_inbox_is_refused_by_the_server(
    page: tuple[Callable[[], Tool], list[Command], Path],
) -> None:
    tool, (door, *_), folder = page
    async with tool() as asking:
        asking._prefix = "_INBOX"
        with pytest.raises(PermissionError):
            await asking.request(*said(door, folder))
