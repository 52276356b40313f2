"""`gihan simulate` on all cores: each process folds some of the partitions, and the decisions are put in order.

The one rule: what comes out does not depend on how many processes there were.
"""

import gc
import multiprocessing
import os
import shutil
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import typer

from contracts import files
from contracts.streams import PARTITIONS
from services.cli.errors import plain_errors
from services.cli.options import Contracts, instant
from services.cli.progress import Tell, progress
from services.cli.simulate import FOLDING, EventFile, new_world
from services.cli.zones import Zones
from services.rules.heads import Heads, joined
from services.rules.instants import Instant
from services.rules.lines import Lines, Row, ordered, written
from services.rules.rulebook import Library
from services.rules.simulation import Step
from services.rules.world import World

SMALL_BYTES = 8_000_000
"""A file below this is simulated sooner than other processes have started."""

START = multiprocessing.get_context("fork") if sys.platform == "linux" else multiprocessing.get_context("spawn")
"""How a process begins: where that is safe, with the charters that this one has read. Nothing here runs in threads."""


def simulate(
    file: Annotated[Path, typer.Argument(help="CloudEvents without personal data, one a line; - for standard input.")],
    until: Annotated[str | None, typer.Option(help="RFC 3339: how far the clock goes on at the end.")] = None,
    contracts: Contracts = None,
    workers: Annotated[int | None, typer.Option(help="Processes; default: every core, for a large file.")] = None,
) -> None:
    """Folds a file of events without any server; prints the decisions, a JSON object a line."""
    with plain_errors(), tempfile.NamedTemporaryFile() as copy:
        if str(file) == "-" or file.is_fifo():  # it is walked over more than once
            with nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as source:
                shutil.copyfileobj(source, copy)
            copy.flush()
            file = Path(copy.name)
        limit = None if until is None else instant(until)
        with progress(prints=True) as tell:
            sys.stdout.writelines(simulated(file, limit, contracts, workers or workers_for(file), tell))


def cores() -> int:
    """How many processes there may be at the same time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(path: Path) -> int:
    """How many processes a file is worth."""
    return 1 if EventFile(path).size() < SMALL_BYTES else cores()


def simulated(path: Path, until: Instant | None, contracts: Path | None, workers: int, tell: Tell) -> Iterator[str]:
    """The decisions as lines of JSON, in order, by so many processes; some lines at a time, each with its end. `tell`
    hears from time to time how much more was read (in bytes) and folded (in events).

    What was decided before an error comes before it; of several errors the first in the file is raised.
    """
    workers = max(1, min(workers, PARTITIONS))
    library = _library(contracts)
    if workers == 1:
        with _no_collector():
            yield from written(_steps(EventFile(path), until, library, range(PARTITIONS), tell, None))
        return
    known, errors = _read_together(path, workers, tell), dict[Row, Exception]()
    events = len(known.cases)
    work = [(path, until, contracts, range(number, PARTITIONS, workers), known) for number in range(workers)]
    with _processes(_work, work) as pipes:
        for rows in _merged([_received(pipe, lambda more: tell(FOLDING, more, events), errors) for pipe in pipes]):
            wrong = next((place for place, row in enumerate(rows) if row in errors), None) if errors else None
            yield "".join([row.rpartition("\0")[2] for row in rows[:wrong]])
            if wrong is not None:
                raise errors[rows[wrong]]


@contextmanager
def _processes(work: Callable[..., None], each: Sequence[tuple[object, ...]]) -> Iterator[list[Connection]]:
    """A process for each of the arguments, which gets the end of a pipe as its last one; what they hand over. None is
    left behind."""
    processes, received = [], list[Connection]()
    try:
        for arguments in each:
            receiver, sender = START.Pipe(duplex=False)
            process = START.Process(target=work, args=(*arguments, sender), daemon=True)
            process.start()
            sender.close()
            processes.append(process)
            received.append(receiver)
        yield received
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _read_together(path: Path, workers: int, tell: Tell) -> Heads:
    """The heads of a file, read by this process and others; this one's part says how far they are."""
    events = EventFile(path)
    (_, first), *others = events.parts(workers)
    with _no_collector(), _processes(_read, [(path, begin, end) for begin, end in others]) as pipes:
        return joined([events.heads(0, first, tell), *[pipe.recv() for pipe in pipes]])


def _read(path: Path, begin: int, end: int, sender: Connection) -> None:
    """One process: hands over the heads of a part."""
    gc.disable()
    sender.send(EventFile(path).heads(begin, end))


def _steps(
    events: EventFile,
    until: Instant | None,
    library: Library,
    own: Sequence[int],
    tell: Tell,
    known: Heads | None,
) -> Iterator[tuple[Step, Lines]]:
    """The steps of some partitions."""
    world = new_world(library, own)
    yield from events.steps(until, world, Zones(library), tell, known)
    if events.size() >= SMALL_BYTES:
        _leave_standing(world)


def _leave_standing(world: World) -> None:
    """Lets a world end with its process: to take it down case by case takes a tenth of the time in which it was made.
    What holds itself is left to the collector, which does not look at what is frozen, not even at the end."""
    circle: list[object] = [world]
    circle.append(circle)
    gc.freeze()


@cache
def _library(contracts: Path | None) -> Library:
    return Library(files.read(contracts))


def _work(
    path: Path, until: Instant | None, contracts: Path | None, own: range, known: Heads, sender: Connection
) -> None:
    """One process: hands over its lines and how many events it has folded, and at last None; before that the error that
    stopped it with its place: behind all that was decided up to the last event walked over."""
    gc.disable()
    events, library = EventFile(path), _library(contracts)

    def tell(stage: str, more: int, whole: int) -> None:
        sender.send(more)

    try:
        for batch in ordered(_steps(events, until, library, own, tell, known)):
            sender.send(batch)
    except Exception as error:
        sender.send((f"{events.walked + 1:012} {own.start:02}\0", error))
    sender.send(None)


def _received(pipe: Connection, tell: Callable[[int], None], errors: dict[Row, Exception]) -> Iterator[list[Row]]:
    """The batches of one process, none of them empty."""
    while (message := pipe.recv()) is not None:
        if isinstance(message, int):
            tell(message)
        elif isinstance(message, tuple):
            row, error = message
            errors[row] = error
            yield [row]
        elif message:
            yield message


def _merged(streams: Sequence[Iterator[list[Row]]]) -> Iterator[list[Row]]:
    """All rows in order, given those of each process in order. Text is compared and sorted a batch at a time, which
    costs a tenth of merging values one by one."""
    waiting = [next(stream, []) for stream in streams]
    while any(waiting):
        bound = min(rows[-1] for rows in waiting if rows)
        ready: list[Row] = []
        for number, rows in enumerate(waiting):
            cut = bisect_right(rows, bound)
            ready += rows[:cut]
            waiting[number] = rows[cut:] or (next(streams[number], []) if cut else [])
        ready.sort()
        yield ready


@contextmanager
def _no_collector() -> Iterator[None]:
    """Frozen values and scans hold no cycles, so that looking for them costs a third and finds none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
