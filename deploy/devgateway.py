"""The development gateway: a text-message gateway over HTTP and an SMTP server in one process, for demos and tests.

The one rule: it keeps two files and never mixes them. `record.jsonl` has keys and outcomes and nothing personal;
`texts.jsonl` has numbers, addresses and texts, and belongs outside every data folder.

It knows a message by its key: a text handed over twice is taken once, a mail with a known Message-ID is recorded as a
duplicate. `PUT /faults` makes it fail as real gateways do, and with `reports` say what became of a text.
"""

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

HOST = "127.0.0.1"
MAX_MAIL_BYTES = 1 << 20
SILENCE_SECONDS = 30.0
SLOW_SECONDS = 0.3
FAULTS = {
    "none": "accepted",
    "slow": "accepted",
    "defer": "deferred",
    "reject": "rejected",
    "silent": "accepted",
    "hang": "unheard",
}
"""What `PUT /faults {"sms" or "smtp": ...}` takes, and what is recorded then. slow: taken after a while; defer: not
now; reject: never; silent: taken, but the answer is lost; hang: neither taken nor answered."""
REPORTS = {"none": 200, "delivered": 201, "undelivered": 410}
"""What `PUT /faults {"reports": ...}` takes: what became of the texts that were taken, and the status that says so."""


class Record:
    """What was taken, by key, and the two files that say so. Survives a restart of the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._record = folder / "record.jsonl"
        self._texts = folder / "texts.jsonl"
        self.taken: set[tuple[str, str]] = set()
        """Means and key of what was taken."""
        if self._record.exists():
            lines = map(json.loads, self._record.read_text(encoding="utf-8").splitlines())
            self.taken = {(line["means"], line["key"]) for line in lines if line["outcome"] == "accepted"}

    def note(self, keys: Sequence[str], means: str, outcome: str) -> None:
        """Lines of the record: accepted, duplicate, deferred, rejected or unheard."""
        _append(self._record, [{"key": key, "means": means, "outcome": outcome} for key in keys])

    def take(self, contents: Sequence[Mapping[str, Any]], means: str) -> None:
        """Takes messages, each once per key and means."""
        known = [(means, content["key"]) in self.taken for content in contents]
        new = [{**content, "means": means} for content, twice in zip(contents, known, strict=True) if not twice]
        _append(self._texts, new)
        lines = [
            {"key": content["key"], "means": means, "outcome": "duplicate" if twice else "accepted"}
            for content, twice in zip(contents, known, strict=True)
        ]
        _append(self._record, lines)
        self.taken |= {(means, str(content["key"])) for content in contents}


def _append(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


class DevGateway:
    """Both gateways, their record, and the faults that are switched on."""

    def __init__(self, folder: Path) -> None:
        self.record = Record(folder)
        self.faults = {"sms": "none", "smtp": "none", "reports": "none"}

    def http(self) -> Starlette:
        """The HTTP side."""
        routes = [
            Route("/messages", self._post, methods=["POST"]),
            Route("/messages/{key}", self._get),
            Route("/faults", self._put_faults, methods=["PUT"]),
        ]
        return Starlette(routes=routes)

    async def _post(self, request: Request) -> Response:
        """Texts, each with its key. Where reports are switched on the answer names each, so that it is asked after."""
        contents = await request.json()
        keys, fault = [str(content["key"]) for content in contents], self.faults["sms"]
        if fault in ("defer", "reject", "hang"):
            self.record.note(keys, "sms", FAULTS[fault])
            if fault == "hang":
                await asyncio.sleep(SILENCE_SECONDS)
            return JSONResponse({"status": fault}, 400 if fault == "reject" else 503)
        if fault == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        self.record.take(contents, "sms")
        if fault == "silent":
            await asyncio.sleep(SILENCE_SECONDS)
        named = self.faults["reports"] != "none"
        return JSONResponse({"messages": {key: key if named else None for key in keys}})

    async def _get(self, request: Request) -> Response:
        key = request.path_params["key"]
        if ("sms", key) in self.record.taken:
            return JSONResponse({"key": key, "status": "accepted"}, REPORTS[self.faults["reports"]])
        return JSONResponse({"key": key, "status": "unknown"}, 404)

    async def _put_faults(self, request: Request) -> Response:
        wanted = await request.json()
        if not wanted.keys() <= self.faults.keys() or any(
            value not in (REPORTS if name == "reports" else FAULTS) for name, value in wanted.items()
        ):
            detail = f"name sms or smtp, and one of {list(FAULTS)}; or reports, and one of {list(REPORTS)}"
            return JSONResponse({"detail": detail}, 422)
        self.faults |= wanted
        return JSONResponse(self.faults)

    async def smtp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One SMTP conversation (RFC 5321, the least that a client needs)."""
        session = _Session(self, reader, writer)
        try:
            await session.run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            writer.close()


class _Session:
    def __init__(self, gateway: DevGateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._gateway = gateway
        self._reader = reader
        self._writer = writer
        self._to = ""

    async def run(self) -> None:
        await self._say("220 gihan development gateway")
        while True:
            line = (await self._reader.readuntil(b"\r\n")).decode("utf-8", "replace").strip()
            verb = line[:4].upper()
            match verb:
                case "EHLO" | "HELO" | "MAIL" | "RSET" | "NOOP":
                    await self._say("250 OK")
                case "RCPT":
                    self._to = line.partition(":")[2].strip(" <>")
                    await self._say(self._judge())
                case "DATA":
                    await self._say("354 end with a line of one dot")
                    if not await self._receive():
                        return
                case "QUIT":
                    await self._say("221 bye")
                    return
                case _:
                    await self._say("502 not known here")

    def _judge(self) -> str:
        return {"defer": "451 try later", "reject": "550 no such mailbox"}.get(self._gateway.faults["smtp"], "250 OK")

    async def _receive(self) -> bool:
        """Takes the mail; False where the answer is to be lost."""
        content = (await self._reader.readuntil(b"\r\n.\r\n"))[:-5].replace(b"\r\n..", b"\r\n.")
        mail = message_from_bytes(content, policy=policy.default)
        key = str(mail["Message-ID"]).strip("<>").partition("@")[0].partition(".")[0]
        if self._gateway.faults["smtp"] == "hang":
            self._gateway.record.note([key], "email", FAULTS["hang"])
            await asyncio.sleep(SILENCE_SECONDS)
            return False
        if self._gateway.faults["smtp"] == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        body = mail.get_body(("plain",))
        text = body.get_content().replace("\r\n", "\n") if body is not None else ""
        content_of = {"key": key, "to": self._to, "subject": str(mail["Subject"]), "text": text}
        self._gateway.record.take([content_of], "email")
        if self._gateway.faults["smtp"] == "silent":
            return False
        await self._say("250 taken")
        return True

    async def _say(self, line: str) -> None:
        self._writer.write(line.encode() + b"\r\n")
        await self._writer.drain()


async def serve(folder: Path, http_port: int, smtp_port: int) -> None:
    """Serves both gateways on loopback until SIGTERM or SIGINT; prints the ports as one JSON line."""
    gateway = DevGateway(folder)
    smtp = await asyncio.start_server(gateway.smtp, HOST, smtp_port, limit=MAX_MAIL_BYTES)
    config = uvicorn.Config(
        gateway.http(), host=HOST, port=http_port, log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn offers no event for it
        await asyncio.sleep(0.01)
    if server.started:
        ports = {"http": server.servers[0].sockets[0].getsockname()[1], "smtp": smtp.sockets[0].getsockname()[1]}
        print(json.dumps(ports), flush=True)  # noqa: T201 - whoever starts the process reads this line
    await serving
    smtp.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="SMS and SMTP gateways for development: nothing leaves this machine")
    parser.add_argument("--dir", type=Path, required=True, help="folder of record.jsonl and texts.jsonl")
    parser.add_argument("--http-port", type=int, default=0, help="0: any free port")
    parser.add_argument("--smtp-port", type=int, default=0, help="0: any free port")
    given = parser.parse_args()
    asyncio.run(serve(given.dir, given.http_port, given.smtp_port))


if __name__ == "__main__":
    main()
