"""Keeps a child process alive: starts it, looks after it, restarts it, stops it.

The one rule it protects: a child never outlives the program that started it, however that program ends.
"""

import asyncio
import contextlib
import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.chassis.logs import OperatorError, error_code, get_logger

_SHORTEST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_LIVED_WELL_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 2.0
_LOOK_TIMEOUT_SECONDS = 3.0
_LOOKS_BEFORE_KILL = 4

_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP = 28, 1 << 2
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION_3 = 0x20080522

# Loaded here and not in the child: between fork and exec nothing should allocate more than it must.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ProcessError(OperatorError):
    """A child did not come up; names its log file."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, where its output goes, and which signals end it (kindly, and when the parent is gone)."""

    name: str
    arguments: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGTERM
    account: pwd.struct_passwd | None = None
    """The user to run as, when we are root and the program refuses to be."""


class Keeper:
    """A child process that is started again whenever it ends or stops answering, until it is told to stop.

    `look` raises while the child is not well. `before` runs before every start. After a crash the child
    comes back at the same address: within 0.1 s at first, then in steps up to 5 s while it keeps crashing.
    """

    def __init__(
        self,
        command: Command,
        look: Callable[[], Awaitable[object]],
        *,
        before: Callable[[], Awaitable[None]] | None = None,
        start_seconds: float = 30.0,
        stop_seconds: float = 10.0,
    ) -> None:
        self.command = command
        self.restarts = 0
        self._look = look
        self._before = before
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the child runs."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    async def start(self) -> None:
        """Starts the child and waits until `look` succeeds. Raises ProcessError when it ends or takes too long."""
        await self._spawn()
        try:
            await self.wait_well(self._start_seconds)
        except BaseException:
            await self._end()
            raise
        self._watch = asyncio.create_task(self._keep(), name=f"keeper {self.command.name}")

    async def wait_well(self, limit_seconds: float) -> None:
        """Waits until the child answers; raises ProcessError after `limit_seconds` or when the first start fails."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + limit_seconds
        cause = "no answer"
        while loop.time() < limit:
            if self._watch is None and self.pid is None:
                cause = "it ended"
                break
            try:
                async with asyncio.timeout(_LOOK_TIMEOUT_SECONDS):
                    await self._look()
                return
            except Exception as error:
                cause = error_code(error)
            await asyncio.sleep(0.02)
        raise ProcessError(
            f"{self.command.name} did not come up ({cause}). The end of {self.command.log}:\n" + _tail(self.command.log)
        )

    async def stop(self) -> None:
        """Ends the child: kindly first, with SIGKILL when it takes too long."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        await self._end()

    async def _spawn(self) -> None:
        if self._before is not None:
            await self._before()
        command = self.command
        with command.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(command.environment),
                # A session of its own: Ctrl-C goes to us alone, and we stop the children in the right order.
                start_new_session=True,
                preexec_fn=_preparation(command),
            )

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.command.stop_signal)
            # A frozen process takes the signal only once it runs again.
            process.send_signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(self._stop_seconds):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _SHORTEST_PAUSE_SECONDS
        while True:
            born = loop.time()
            await self._until_unwell(started=self.restarts == 0)
            if loop.time() - born > _LIVED_WELL_SECONDS:
                pause = _SHORTEST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self.restarts += 1
            get_logger().warning("process_restarted", name=self.command.name, count=self.restarts)
            try:
                await self._spawn()
            except (OSError, OperatorError) as error:
                get_logger().error("process_not_started", name=self.command.name, error=error_code(error))

    async def _until_unwell(self, started: bool) -> None:
        """Returns when the child has ended, which it is made to when it does not answer several looks running.

        One that has not answered yet is given the time to start: it may be waiting for others, and a new one would too.
        """
        process = self._process
        if process is None:
            return
        misses = 0
        loop = asyncio.get_running_loop()
        patience = loop.time() + self._start_seconds
        ended = asyncio.ensure_future(process.wait())
        try:
            while misses < _LOOKS_BEFORE_KILL:
                await asyncio.wait([ended], timeout=_LOOK_EVERY_SECONDS)
                if ended.done():
                    return
                try:
                    async with asyncio.timeout(_LOOK_TIMEOUT_SECONDS):
                        await self._look()
                    misses, started = 0, True
                except Exception:
                    misses += started or loop.time() > patience
            get_logger().error("process_silent", name=self.command.name, pid=process.pid)
            await self._end()
        finally:
            ended.cancel()


def plain_environment() -> dict[str, str]:
    """What a server gets of our environment; secrets and addresses of others stay out."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
    return {name: value for name in kept if (value := os.environ.get(name)) is not None}


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
    except OSError:
        return "(no log)"


def _preparation(command: Command) -> Callable[[], None]:
    """What the child does between fork and exec: gives up root if told to, and ties its life to ours."""
    parent = os.getpid()

    def prepare() -> None:
        if command.account is not None:
            become(command.account)
        if _libc is not None:
            # After the change of user, which clears it.
            _libc.prctl(_PR_SET_PDEATHSIG, int(command.orphan_signal), 0, 0, 0)
        if os.getppid() != parent:  # it ended before the line above took hold
            os._exit(1)

    return prepare


def become(account: pwd.struct_passwd) -> None:
    """Gives up root for `account`, for good, keeping one right: to reach files in folders closed to others.

    A data folder or an environment below a home folder of root could otherwise not be reached by an
    unprivileged user without opening that home to everybody.
    """
    os.setgroups([])
    if _libc is None:
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        return
    _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    # Without it access(2), by which PostgreSQL looks for its own programs, would not count the right that is kept.
    _libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
        if _keep(1 << capability):
            _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)
            return
    _keep(0)


def _keep(bits: int) -> bool:
    """Gives up every right of root but those in `bits`; False where even these are not to be had."""
    assert _libc is not None
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)
    return bool(_libc.capset(header, data) == 0)
