"""`gihan replay`: what CASES alone says, beside what the running system holds.

The one rule: it reads. NATS lets its user publish nothing but requests to read, PostgreSQL refuses its session every
write, and what it finds rests on the log, the files and the same rules as the live fold. (`--rebuild`, in a file of
its own, writes into the projection alone.)
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
from nats.aio.client import Client

from contracts import files
from contracts.streams import PARTITIONS, partition
from services.chassis import broker, postgres
from services.chassis.logs import OperatorError
from services.chassis.settings import Settings
from services.cli.explain import Asked
from services.cli.folded import Folded, Place, Standing, Told, digest, folded, plain, whole
from services.cli.rebuild import rebuild
from services.cli.simulate import Zones
from services.rules import instants
from services.rules.instants import Instant
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


# -- verify -------------------------------------------------------------------------------------------------------


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


# -- as known then, and one case ----------------------------------------------------------------------------------


async def known(settings: Settings, until: Instant | None, numbers: Sequence[int]) -> AsyncIterator[Folded]:
    """Partitions as the log says they stood at `until` (None: at its end), without any database."""
    library = Library(files.read())
    nc = await broker.connect(settings)
    try:
        last = (await nc.jetstream().stream_info("CASES")).state.last_seq
        for number in numbers:
            yield await folded(nc, library, number, last, until)
    finally:
        await nc.close()


async def history(settings: Settings, tenant: str, case_id: str, until: Instant | None) -> dict[str, Any]:
    """One case from its partition of the log alone: its facts, its decisions and its standing. Raises ValueError."""
    number = partition(tenant, case_id)
    async for found in known(settings, until, [number]):
        case = found.world.cases.get((tenant, case_id))
        if case is None:
            break
        zone = Zones()[tenant]
        told = [row for row in found.told if (row.tenant, row.case_id) == (tenant, case_id)]
        return standing_of(case, zone) | {
            "facts": [
                {"sequence": fact.sequence, "at": instants.text(fact.time, zone), "type": fact.type, "event": fact.key}
                for fact in case.facts
            ],
            "decisions": [_decision_of(row, number, zone) for row in told],
        }
    raise ValueError(f"the log knows no case {tenant}/{case_id} by then")


def _decision_of(row: Told, number: int, zone: ZoneInfo) -> dict[str, Any]:
    line = {"id": f"{number}-{row.number}", "at": instants.text(row.at, zone), "kind": row.kind, "promise": row.promise}
    due = None if row.due is None else instants.text(row.due, zone)
    kept = {**line, "due": due, "cause_sequence": row.cause_sequence}
    return {name: value for name, value in kept.items() if value is not None}


INSTANTS = ("start", "due", "first_due", "warn_at", "met_at", "began", "turned", "at")
"""Fields of deadlines and findings that hold instants."""


def standing_of(case: Case, zone: ZoneInfo) -> dict[str, Any]:
    """A case as it stands: deadlines and findings with what is set of them, instants with the offset of a zone."""
    plain: Mapping[str, list[dict[str, Any]]] = msgspec.to_builtins(case)
    return {
        "tenant": case.tenant,
        "case": case.id,
        "closed": case.closed,
        **({"stuck": case.stuck} if case.stuck else {}),
        **{
            what: [
                {n: instants.text(v, zone) if n in INSTANTS else v for n, v in row.items() if v is not None}
                for row in plain.get(what, [])
            ]
            for what in ("deadlines", "findings")
        },
    }


# -- the command --------------------------------------------------------------------------------------------------


async def show_verdicts(settings: Settings, numbers: Sequence[int], as_json: bool) -> int:
    """Prints each partition's verdict and the hash of all; returns 1 where any differs."""
    verdicts = []
    async for verdict in verify(settings, numbers):
        verdicts.append(verdict)
        if as_json:
            print(json.dumps(verdict._asdict(), ensure_ascii=False), flush=True)
            continue
        print(
            f"partition {verdict.partition:>2}  sequence {verdict.sequence:>8}  cases {verdict.cases:>6}  "
            f"decisions {verdict.decisions:>7}  live {verdict.live[:16]}  folded {verdict.folded[:16]}  "
            f"{'DIFFERENT' if verdict.difference else 'equal'}",
            flush=True,
        )
        if verdict.difference:
            print(f"    {verdict.difference}", flush=True)
    live, again = whole(verdict.live for verdict in verdicts), whole(verdict.folded for verdict in verdicts)
    if as_json:
        print(json.dumps({"live": live, "folded": again, "equal": live == again}))
    else:
        print(f"all  live {live}  folded {again}  {'equal' if live == again else 'DIFFERENT'}")
    return int(live != again)


async def show_rebuilt(settings: Settings, numbers: Sequence[int], as_json: bool) -> None:
    """Rebuilds partitions, and prints for each partition how many live rows were other than the log says."""
    async for row in rebuild(settings, numbers):
        words = f"cases {row.cases:>6}  decisions {row.decisions:>6}  enacted {row.enacted:>3}"
        line = f"partition {row.partition:>2}  sequence {row.sequence:>8}  mended: {words}"
        print(json.dumps(row._asdict()) if as_json else line, flush=True)


async def show_known(settings: Settings, until: Instant, as_json: bool) -> None:
    """Prints the cases as known at an instant: a JSON object a line, or a line for each tenant."""
    zones = Zones()
    cases: dict[str, Counter[str]] = defaultdict(Counter)
    deadlines: dict[str, Counter[str]] = defaultdict(Counter)
    async for found in known(settings, until, range(PARTITIONS)):
        for _, case in sorted(found.world.cases.items()):
            if as_json:
                print(json.dumps(standing_of(case, zones[case.tenant]), ensure_ascii=False))
            cases[case.tenant]["closed" if case.closed else "open"] += 1
            deadlines[case.tenant].update(deadline.state for deadline in case.deadlines)
    if not as_json:
        for tenant in sorted(cases):
            print(f"{tenant:<10} cases {_counted(cases[tenant])}; deadlines {_counted(deadlines[tenant]) or 'none'}")
        print(f"{sum(map(Counter.total, cases.values()))} cases were known by then.")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))


async def show_case(settings: Settings, asked: Asked, until: Instant | None, as_json: bool) -> None:
    """Prints what the log says of one case."""
    told = await history(settings, asked.tenant, asked.case, until)
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
        return
    state = "stuck" if "stuck" in told else "closed" if told["closed"] else "open"
    print(f"{told['tenant']}/{told['case']}: {state}")
    for heading in ("facts", "decisions", "deadlines", "findings"):
        print(f"\n{heading}")
        for row in told[heading]:
            print("  " + "  ".join(f"{name} {value}" for name, value in row.items()))
