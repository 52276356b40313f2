"""A simulation on all cores: each process folds some of the partitions, and their decisions are put in order again.

The one rule: what comes out does not depend on how many processes there were.
"""

import heapq
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from contracts import files
from contracts.streams import PARTITIONS
from services.cli.simulate import EventFile, Zones, line_of, new_world, steps
from services.rules.instants import Instant
from services.rules.rulebook import Library
from services.rules.world import step_order

ROWS = 2_000
"""So many lines a process hands over at once."""

SMALL_BYTES = 8_000_000
"""A file below this is simulated sooner than other processes have started."""

PLACES = {"before": 0, "with": 1, "with_home": 2}

Row = tuple[tuple[object, ...], str]
"""A line, with what orders it among all others."""


def cores() -> int:
    """How many processes there may be at the same time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(path: Path) -> int:
    """How many processes a file is worth."""
    return 1 if path.stat().st_size < SMALL_BYTES else cores()


def simulated(
    path: Path, until: Instant | None, contracts: Path | None, workers: int, told: Callable[[int], None]
) -> Iterator[str]:
    """The decisions as lines of JSON, in order, by so many processes. `told` hears how many events have been read.

    Raises whatever a process raised first, in the order of the file.
    """
    workers = max(1, min(workers, PARTITIONS))
    if workers == 1:
        yield from (line for _, line in _lines(path, until, contracts, range(PARTITIONS), told))
        return
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(workers)]
    processes = [
        context.Process(
            target=_work, args=(path, until, contracts, range(number, PARTITIONS, workers), sender), daemon=True
        )
        for number, (_, sender) in enumerate(pipes)
    ]
    try:
        for process, (_, sender) in zip(processes, pipes, strict=True):
            process.start()
            sender.close()
        received = [_received(pipe, told if number == 0 else _ignore) for number, (pipe, _) in enumerate(pipes)]
        yield from (line for _, line in heapq.merge(*received, key=lambda row: row[0]))
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(path: Path, until: Instant | None, contracts: Path | None, own: Sequence[int], sender: Connection) -> None:
    """One process: hands over its lines, how far it has read, and at last None or the error that stopped it."""
    try:
        batch: list[Row] = []
        for row in _lines(path, until, contracts, own, sender.send):
            batch.append(row)
            if len(batch) == ROWS:
                sender.send(batch)
                batch = []
        sender.send(batch)
        sender.send(None)
    except Exception as error:
        sender.send(error)


def _lines(
    path: Path, until: Instant | None, contracts: Path | None, own: Sequence[int], told: Callable[[int], None]
) -> Iterator[Row]:
    zones = Zones(contracts)
    world = new_world(Library(files.read(contracts)), own)
    for step, decided in steps(EventFile(path), until, world):
        if step.place == "with" and step.event % 10_000 == 0:
            told(step.event)
        for row in decided:
            line = json.dumps(line_of(row, zones[row.tenant]), ensure_ascii=False)
            yield (step.event, PLACES[step.place], step.at, *step_order(row)), line


def _received(pipe: Connection, told: Callable[[int], None]) -> Iterator[Row]:
    while (message := pipe.recv()) is not None:
        if isinstance(message, Exception):
            raise message
        if isinstance(message, int):
            told(message)
        else:
            yield from message


def _ignore(_: int) -> None:
    """Nobody listens to the other processes' progress."""
