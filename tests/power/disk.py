"""A disk whose power can be cut: an ext4 file system in an image file, mounted over a loop device.

The one rule: after a cut the disk holds what its device had been given, and nothing else. What programs had written
and not synced lives in the memory of the file system above the device, and is not in a copy of the image.
"""

import os
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

COPIES = 5
"""Attempts at a copy during which the device was given nothing."""


class NotPossible(Exception):
    """File systems cannot be mounted here; says what was tried and what the system answered."""


class Disk:
    """`with Disk(folder, image):` has `folder` on a disk of its own until the block is left."""

    def __init__(self, folder: Path, image: Path, megabytes: int = 4096) -> None:
        self._folder = folder
        self._image = image
        self._megabytes = megabytes
        self._cuts = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as file:
            file.truncate(self._megabytes << 20)
        # Tables are written now: a thread that writes them later would disturb the copies.
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self._image)
        self._mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", "--lazy", self._folder)
        self._image.unlink()

    def sync(self) -> None:
        """Brings everything written so far to the device."""
        _run("sync", "--file-system", self._folder)

    def cut(self) -> None:
        """Has what the device holds at this moment take the place of the file system, as after a power cut.

        Every program that writes there must be stopped already, and must be killed afterwards: until then it keeps the
        old file system, which nothing else can reach any more.
        """
        self._cuts += 1
        copy = self._image.with_suffix(f".{self._cuts}")
        for _ in range(COPIES):
            before = self._writes()
            _run("cp", "--sparse=always", self._image, copy)
            if self._writes() == before:
                break
        else:
            raise RuntimeError(f"{self._folder} was written to during each of {COPIES} copies: stop all programs on it")
        _run("umount", "--lazy", self._folder)
        self._image.unlink()
        copy.rename(self._image)
        self._mount()

    def _writes(self) -> str:
        """How many writes the device was given so far, and how large."""
        device = Path(_run("findmnt", "--noheadings", "--output", "SOURCE", self._folder)).name
        return "/".join((Path("/sys/block") / device / "stat").read_text().split()[4:7])

    def _mount(self) -> None:
        # The journal is committed by fsync alone, so that what was not synced stays out for as long as a run lasts.
        _run("mount", "-o", "loop,noatime,commit=300", self._image, self._folder)


class Small:
    """`with Small(folder, megabytes):` has `folder` on a disk that is easily full, in memory."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self._folder = folder
        self._megabytes = megabytes
        self._ballast = folder / "ballast"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self._megabytes}m,mode=755", "tmpfs", self._folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", "--lazy", self._folder)

    def fill(self) -> None:
        """Leaves no room at all."""
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass

    def free(self) -> None:
        """Takes out what `fill` put in."""
        self._ballast.unlink()


def signal_all(pids: Iterable[int | None], number: signal.Signals) -> None:
    """Sends a signal to those that still run."""
    for pid in pids:
        if pid is not None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def family(pid: int) -> list[int]:
    """A process and all its descendants, parents first."""
    found = [pid]
    for one in found:
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, tasks.read_text().split())
    return found


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPossible(f"`{' '.join(map(str, command))}` failed: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()
