"""A proxy between a service and what it talks to, which does to the connection what networks do.

The one rule: bytes are passed on as they came or not at all; nothing is ever made up.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Mode = Literal["pass", "slow", "frozen", "deaf", "refusing"]
"""pass: as if it were not there. slow: every piece comes late. frozen: nothing moves, and nobody is told (half-open).
deaf: what the client says arrives, what is answered is lost. refusing: connections are closed at once."""

PIECE_BYTES = 1 << 16
SLOW_SECONDS = 0.15


class Proxy:
    """`async with Proxy(open, port=... or path=...) as proxy:` listens and passes on; `mode` may change at any time.

    `open` makes a connection to the real server. After being deaf or refusing, all connections are cut: what was lost
    is lost.
    """

    def __init__(self, open: Callable[[], Awaitable[Streams]], *, port: int = 0, path: Path | None = None) -> None:
        self._open = open
        self.port = port
        self._path = path
        self._mode: Mode = "pass"
        self._moving = asyncio.Event()
        self._moving.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def mode(self) -> Mode:
        """What is done to the connections now."""
        return self._mode

    async def __aenter__(self) -> "Proxy":
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._moving.set()
        self.cut()

    def set(self, mode: Mode) -> None:
        """Changes what is done."""
        old, self._mode = self._mode, mode
        if mode == "frozen":
            self._moving.clear()
        else:
            self._moving.set()
        if "refusing" in (old, mode) or old == "deaf":
            self.cut()

    def cut(self) -> None:
        """Ends every connection, on both sides, without a word."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._moving.wait()
            if self._mode == "refusing":
                return
            there_reader, there_writer = await self._open()
            self._writers.add(there_writer)
            try:
                await asyncio.gather(
                    self._pass_on(reader, there_writer, answers=False),
                    self._pass_on(there_reader, writer, answers=True),
                )
            finally:
                self._writers.discard(there_writer)
                there_writer.transport.abort()
        except OSError:
            return  # one side is gone, so the other goes
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        while piece := await reader.read(PIECE_BYTES):
            if self._mode == "slow":
                await asyncio.sleep(SLOW_SECONDS)
            await self._moving.wait()
            if self._mode == "deaf" and answers:
                continue
            writer.write(piece)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
