"""The projection in PostgreSQL: cases, decisions and the position of a partition, loaded and saved together.

The one rule: state, decisions and position are written in one transaction, and only where the generation and the old
position are still the ones that were read.

Tables are named without a schema: the pool says which projection is meant, the live one or one that is being rebuilt.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from services.chassis.failpoints import failpoint
from services.chassis.logs import OperatorError
from services.rules.instants import Instant
from services.rules.state import Case

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Case).decode

SCHEMA = "sla_timer"
"""The schema of the live projection."""

CaseKey = tuple[str, str]
Connection = asyncpg.Connection | PoolConnectionProxy
CHECK_BYTES = 4
LIVE = ("open", "suspended")
"""States of a deadline that can still be met or broken."""


class AtHand(NamedTuple):
    """What a reader has of cases: `known` gives those that need not be read; `recall` is told of the others, each with
    the bookmark that it was saved with."""

    known: Callable[[CaseKey], Case | None] = lambda _: None
    recall: Callable[[Case, bytes | None], None] = lambda _case, _bookmark: None


NOTHING = AtHand()


class Superseded(OperatorError):
    """Another folder has taken this partition over: nothing was written."""


class Position(NamedTuple):
    """Where a partition stands. Instants in microseconds."""

    partition: int
    generation: int
    sequence: int
    event_id: str | None
    stream_id: str | None
    clock: Instant
    tick_sequence: int
    ticks: int
    decisions: int


class Row(NamedTuple):
    """A decision as it is kept, column by column: its number in the partition (`lane`), the message that says it, and
    what it is searched by."""

    lane: int
    number: int
    subject: str
    body: bytes
    tenant: str
    case_id: str
    kind: str
    promise: str | None
    occurrence: str | None
    due: Instant | None
    at: Instant
    cause_sequence: int


class Columns(NamedTuple):
    """What the table keeps of a case: the whole of it as JSON, and what it is searched by."""

    state: bytes
    closed: bool
    stuck: bool
    open_deadlines: int
    next_at: Instant | None


def columns(case: Case) -> Columns:
    """The columns of a case."""
    open_deadlines = 0
    for deadline in case.deadlines:  # a generator would take as long as the encoding
        if deadline.state in LIVE:
            open_deadlines += 1
    return Columns(_encode(case), case.closed, bool(case.stuck), open_deadlines, case.next_at)


async def take_over(pool: asyncpg.Pool, partition: int, generation: int) -> Position:
    """The position of a partition, now owned by `generation`. Raises Superseded where a newer one owns it."""
    row = await pool.fetchrow(
        "update partitions set generation = $2 where partition = $1 and generation < $2 returning *",
        partition,
        generation,
    )
    if row is None:
        raise Superseded(f"Partition {partition} already belongs to a newer generation than {generation}.")
    return Position(**row)


async def enacted(pool: asyncpg.Pool, partition: int) -> list[tuple[int, bytes]]:
    """(sequence, body) of the enacting events folded so far, in order."""
    rows = await pool.fetch("select sequence, body from enacted where partition = $1 order by sequence", partition)
    return [(row["sequence"], row["body"]) for row in rows]


def cases_of(rows: Iterable[asyncpg.Record | Mapping[str, Any]], at_hand: AtHand) -> list[Case]:
    """The cases of rows, as they are at hand, or as they were saved."""
    return [at_hand.known((row["tenant"], row["case_id"])) or _case(row, at_hand) for row in rows]


def _case(row: asyncpg.Record | Mapping[str, Any], at_hand: AtHand) -> Case:
    state, bookmark = row["state"], row["bookmark"]
    case = _decode(state)
    # Whoever knows no bookmarks writes a case and leaves an old one beside it.
    fits = bookmark is not None and bookmark == checked(state, bookmark[CHECK_BYTES:])
    at_hand.recall(case, bookmark[CHECK_BYTES:] if fits else None)
    return case


def checked(state: bytes, bookmark: bytes) -> bytes:
    """A bookmark with what says beside which state it was saved."""
    return crc32(state).to_bytes(CHECK_BYTES) + bookmark


async def load(connection: Connection, keys: Sequence[CaseKey], at_hand: AtHand = NOTHING) -> list[Case]:
    """The cases that exist among `keys`, in one query."""
    rows = await connection.fetch(
        "select tenant, case_id, state, bookmark from cases c "
        "join unnest($1::text[], $2::text[]) as k (tenant, case_id) using (tenant, case_id)",
        [key[0] for key in keys],
        [key[1] for key in keys],
    )
    return cases_of(rows, at_hand)


async def due_before(
    connection: Connection, partition: int, limit: Instant, most: int, at_hand: AtHand = NOTHING
) -> list[Case]:
    """Up to `most` cases with an instant before `limit`, in the order in which a tick takes them."""
    rows = await connection.fetch(
        "select tenant, case_id, state, bookmark from cases where partition = $1 and next_at < $2 "
        'order by next_at, tenant collate "C", case_id collate "C" limit $3',
        partition,
        limit,
        most,
    )
    return cases_of(rows, at_hand)


async def open_cases(
    connection: Connection, partition: int, tenant: str, after: str, most: int, at_hand: AtHand = NOTHING
) -> list[Case]:
    """Up to `most` open cases of a tenant with ids after `after`, in order."""
    rows = await connection.fetch(
        "select tenant, case_id, state, bookmark from cases where partition = $1 and tenant = $2 "
        'and (not closed or next_at is not null) and case_id collate "C" > $3 order by case_id collate "C" limit $4',
        partition,
        tenant,
        after,
        most,
    )
    return cases_of(rows, at_hand)


async def stuck_cases(
    connection: Connection, partition: int, tenant: str, after: str, most: int, at_hand: AtHand = NOTHING
) -> list[Case]:
    """Up to `most` cases of a tenant that the rules failed on, with ids after `after`, in order."""
    rows = await connection.fetch(
        "select tenant, case_id, state, bookmark from cases where partition = $1 and stuck and tenant = $2 "
        'and case_id collate "C" > $3 order by case_id collate "C" limit $4',
        partition,
        tenant,
        after,
        most,
    )
    return cases_of(rows, at_hand)


_UPSERT = (
    "insert into cases (tenant, case_id, partition, state, closed, stuck, open_deadlines, next_at, bookmark) "
    "select t, c, $1, s, o, k, d, n, b from unnest($2::text[], $3::text[], $4::bytea[], $5::bool[], $6::bool[], "
    "$7::int[], $8::bigint[], $9::bytea[]) as u (t, c, s, o, k, d, n, b) on conflict (tenant, case_id) do update "
    "set state = excluded.state, closed = excluded.closed, stuck = excluded.stuck, "
    "open_deadlines = excluded.open_deadlines, next_at = excluded.next_at, bookmark = excluded.bookmark"
)


async def save(
    connection: Connection,
    before: Position,
    after: Position,
    cases: Collection[Case],
    rows: Sequence[Row],
    enacting: Sequence[tuple[int, bytes]] = (),
    bookmark: Callable[[Case], bytes | None] = lambda _: None,
) -> None:
    """Writes what a step changed, inside the caller's transaction; cases with what `bookmark` gives for them.

    Raises Superseded when the partition no longer stands where `before` says.
    """
    done = await connection.execute(
        "update partitions set sequence = $4, event_id = $5, stream_id = $6, clock = $7, "
        "tick_sequence = $8, ticks = $9, decisions = $10 "
        "where partition = $1 and generation = $2 and sequence = $3 and decisions = $11",
        before.partition,
        before.generation,
        before.sequence,
        after.sequence,
        after.event_id,
        after.stream_id,
        after.clock,
        after.tick_sequence,
        after.ticks,
        after.decisions,
        before.decisions,
    )
    if done != "UPDATE 1":
        raise Superseded(f"Partition {before.partition} has moved on under another folder.")
    await failpoint("store.after_position")
    if enacting:
        await connection.executemany(
            "insert into enacted (partition, sequence, body) values ($1, $2, $3)",
            [(before.partition, sequence, body) for sequence, body in enacting],
        )
    if cases:
        kept = [columns(case) for case in cases]
        await connection.execute(
            _UPSERT,
            before.partition,
            [case.tenant for case in cases],
            [case.id for case in cases],
            *zip(*kept, strict=True),
            [
                None if (mark := bookmark(case)) is None else checked(row.state, mark)
                for case, row in zip(cases, kept, strict=True)
            ],
        )
    await failpoint("store.after_cases")
    if rows:
        await connection.copy_records_to_table("decisions", columns=Row._fields, records=rows)


async def next_instant(connection: Connection | asyncpg.Pool, partition: int) -> Instant | None:
    """The earliest instant of a partition at which time alone changes something."""
    found: Instant | None = await connection.fetchval("select min(next_at) from cases where partition = $1", partition)
    return found
