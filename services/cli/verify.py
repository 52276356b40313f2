"""`gihan replay --verify`: the live projection of a partition beside its fold from CASES.

The one rule: it reads. Both are taken as they stood at one place of the log, and the first difference is said by name.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import asyncpg
import msgspec
from nats.aio.client import Client

from contracts import files
from contracts.streams import PARTITIONS
from services.chassis import broker, postgres
from services.chassis.logs import OperatorError
from services.chassis.settings import Settings
from services.cli.folded import Folded, Place, Standing, Told, digest, folded, plain
from services.rules.rulebook import Library
from services.rules.state import Case
from services.rules.world import CaseKey
from services.sla_timer import store

FETCH_ROWS = 1000
STEP_SECONDS = 60.0
"""How long a step of the live fold that takes several transactions is waited for."""

_encode = msgspec.json.Encoder().encode
_decode_case = msgspec.json.Decoder(Case).decode


class NotFolded(OperatorError):
    """The live projection cannot be compared as it stands."""


# -- the live projection ------------------------------------------------------------------------------------------


class Live:
    """What the live projection holds of a partition, within one read-only snapshot."""

    def __init__(self, connection: asyncpg.Connection, number: int) -> None:
        self._connection = connection
        self._number = number

    async def place(self) -> Place:
        """Where the partition stands."""
        row = await self._connection.fetchrow(
            "select sequence, event_id, clock, tick_sequence, ticks, decisions from sla_timer.partitions "
            "where partition = $1",
            self._number,
        )
        if row is None:
            raise NotFolded(f"The database knows no partition {self._number}: run `gihan provision`.")
        return Place(*row)

    async def between_steps(self) -> bool:
        """Whether no event is folded in part: one that touches very many cases takes several transactions."""
        ahead = await self._connection.fetchval(
            "select exists (select from sla_timer.decisions d join sla_timer.partitions p on p.partition = d.lane "
            "where d.lane = $1 and d.cause_sequence > p.sequence)",
            self._number,
        )
        return not ahead

    async def standing(self) -> Standing:
        """All that is held, in digests."""
        found = Standing(await self.place())
        cursor = self._connection.cursor
        async for row in cursor(f"{_CASES} where partition = $1", self._number, prefetch=FETCH_ROWS):
            found.cases[row["tenant"], row["case_id"]] = digest(_plain_row(row))
        async for row in cursor(f"{_DECISIONS} where lane = $1 order by number", self._number, prefetch=FETCH_ROWS):
            found.decisions.append(digest(Told(*row)))
        enacted = "select sequence, body from sla_timer.enacted where partition = $1"
        async for row in cursor(enacted, self._number):
            found.enacted[row["sequence"]] = digest(row["body"].decode())
        return found

    async def case(self, key: CaseKey) -> tuple[Any, ...] | None:
        """A case as it is compared, or None."""
        row = await self._connection.fetchrow(f"{_CASES} where tenant = $1 and case_id = $2", *key)
        return None if row is None else _plain_row(row)

    async def decision(self, number: int) -> Told | None:
        """A decision, or None."""
        row = await self._connection.fetchrow(f"{_DECISIONS} where lane = $1 and number = $2", self._number, number)
        return None if row is None else Told(*row)


_CASES = "select tenant, case_id, state, closed, stuck, open_deadlines, next_at from sla_timer.cases"
_DECISIONS = (
    "select number, subject, convert_from(body, 'UTF8'), tenant, case_id, kind, promise, occurrence, due, at, "
    "cause_sequence from sla_timer.decisions"
)


def _plain_row(row: asyncpg.Record) -> tuple[Any, ...]:
    # Encoded anew: a release that wrote it before may have left out what is written today.
    state = store.columns(_decode_case(row["state"])).state
    return (msgspec.Raw(state), row["closed"], row["stuck"], row["open_deadlines"], row["next_at"])


# -- beside its fold ---------------------------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What came of one partition: both hashes, and the first difference in words (empty: equal)."""

    partition: int
    sequence: int
    cases: int
    decisions: int
    live: str
    folded: str
    difference: str


async def verify(settings: Settings, numbers: Sequence[int] = range(PARTITIONS)) -> AsyncIterator[Verdict]:
    """Compares partitions of the live projection with their fold from CASES up to the same place."""
    library = Library(files.read())
    nc = await broker.connect(settings)
    try:
        connection = await postgres.connect(settings, read_only=True)
        try:
            # A snapshot stays open while the log is folded beside it.
            await connection.execute("set idle_in_transaction_session_timeout = 0")
            for number in numbers:
                yield await _verify(nc, connection, library, number)
        finally:
            await connection.close()
    finally:
        await nc.close()


async def _verify(nc: Client, connection: asyncpg.Connection, library: Library, number: int) -> Verdict:
    live = Live(connection, number)
    limit = asyncio.get_running_loop().time() + STEP_SECONDS
    while True:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if await live.between_steps():
                here = await live.standing()
                there = await folded(nc, library, number, here.place.sequence)
                again = there.standing()
                words = "" if here.hash == again.hash else await _difference(here, again, live, there)
                counts = (here.place.sequence, len(here.cases), len(here.decisions))
                return Verdict(number, *counts, here.hash, again.hash, words)
        if asyncio.get_running_loop().time() > limit:
            raise NotFolded(
                f"Partition {number} has been within one event for {STEP_SECONDS:.0f} s: look at sla_timer's readiness."
            )
        await asyncio.sleep(0.2)


async def _difference(here: Standing, there: Standing, live: Live, again: Folded) -> str:
    """The first difference of two standings in words: the first decision, else case, else enacting event, else the
    place."""
    for number, (one, other) in enumerate(zip_longest(here.decisions, there.decisions), 1):
        if one != other:
            words = _unlike(await live.decision(number), None if other is None else again.told[number - 1])
            return f"decision {again.world.number}-{number}: {words}"
    for key in sorted(here.cases.keys() | there.cases.keys()):
        if here.cases.get(key) != there.cases.get(key):
            case = again.world.cases.get(key)
            return f"case {'/'.join(key)}: {_unlike(await live.case(key), None if case is None else plain(case))}"
    for sequence in sorted(here.enacted.keys() | there.enacted.keys()):
        if here.enacted.get(sequence) != there.enacted.get(sequence):
            return f"the enacting event at {sequence} is not the same, or missing on one side"
    return f"the place: {_unlike(here.place, there.place)}"


def _unlike(live: Any, folded: Any) -> str:
    """Where two values differ first, in words. What the log holds is never personal, so values may be shown."""
    path, one, other = _first_unlike(_open(live), _open(folded), "")
    return f"{path or 'all of it'}: live {_short(one)}, folded {_short(other)}"


def _open(value: Any) -> Any:
    """A value in plain lists and dictionaries; JSON inside it as well."""
    if isinstance(value, (Told, Place)):
        opened = value._asdict()
        return opened | {"body": json.loads(opened["body"])} if "body" in opened else opened
    return None if value is None else json.loads(_encode(value))


def _first_unlike(one: Any, other: Any, path: str) -> tuple[str, Any, Any]:
    if isinstance(one, dict) and isinstance(other, dict):
        parts: Iterable[tuple[Any, Any, Any]] = (
            (n, one.get(n), other.get(n)) for n in sorted(one.keys() | other.keys())
        )
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        parts = ((n, a, b) for n, (a, b) in enumerate(zip(one, other, strict=True)))
    else:
        return path, one, other
    for name, a, b in parts:
        if a != b:
            return _first_unlike(a, b, f"{path}/{name}")
    return path, one, other


def _short(value: Any) -> str:
    words = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return words if len(words) <= 120 else words[:117] + "..."
