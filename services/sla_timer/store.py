"""The projection in PostgreSQL: cases, decisions and the position of a partition, loaded and saved together.

The one rule: state, decisions and position are written in one transaction, and only where the generation and the old
position are still the ones that were read.

Tables are named without a schema: the pool says which projection is meant, the live one or one that is being rebuilt.
"""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from services.chassis.failpoints import failpoint
from services.chassis.logs import OperatorError
from services.rules.instants import Instant
from services.rules.state import Case, Decision

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Case).decode

SCHEMA = "sla_timer"
"""The schema of the live projection."""

CaseKey = tuple[str, str]
Connection = asyncpg.Connection | PoolConnectionProxy


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
    """A decision as it is kept: its number, what it says, and the message that says it."""

    number: int
    subject: str
    body: bytes
    case: CaseKey
    decision: Decision
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
    open_deadlines = sum(deadline.state in ("open", "suspended") for deadline in case.deadlines)
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


async def load(connection: Connection, keys: Sequence[CaseKey]) -> dict[CaseKey, Case]:
    """The cases that exist among `keys`, in one query."""
    rows = await connection.fetch(
        "select state from cases c join unnest($1::text[], $2::text[]) as k (tenant, case_id) using (tenant, case_id)",
        [key[0] for key in keys],
        [key[1] for key in keys],
    )
    cases = [_decode(row["state"]) for row in rows]
    return {(case.tenant, case.id): case for case in cases}


async def due_before(connection: Connection, partition: int, limit: Instant, most: int) -> list[Case]:
    """Up to `most` cases with an instant before `limit`, in the order in which a tick takes them."""
    rows = await connection.fetch(
        "select state from cases where partition = $1 and next_at < $2 "
        'order by next_at, tenant collate "C", case_id collate "C" limit $3',
        partition,
        limit,
        most,
    )
    return [_decode(row["state"]) for row in rows]


async def open_cases(connection: Connection, partition: int, tenant: str, after: str, most: int) -> list[Case]:
    """Up to `most` open cases of a tenant with ids after `after`, in order."""
    rows = await connection.fetch(
        "select state from cases where partition = $1 and tenant = $2 "
        'and (not closed or next_at is not null) and case_id collate "C" > $3 order by case_id collate "C" limit $4',
        partition,
        tenant,
        after,
        most,
    )
    return [_decode(row["state"]) for row in rows]


async def stuck_cases(connection: Connection, partition: int, tenant: str, after: str, most: int) -> list[Case]:
    """Up to `most` cases of a tenant that the rules failed on, with ids after `after`, in order."""
    rows = await connection.fetch(
        "select state from cases where partition = $1 and stuck and tenant = $2 "
        'and case_id collate "C" > $3 order by case_id collate "C" limit $4',
        partition,
        tenant,
        after,
        most,
    )
    return [_decode(row["state"]) for row in rows]


async def save(
    connection: Connection,
    before: Position,
    after: Position,
    cases: Sequence[Case],
    rows: Sequence[Row],
    enacting: Sequence[tuple[int, bytes]] = (),
) -> Instant | None:
    """Writes what a step changed, inside the caller's transaction; returns the partition's next instant.

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
    await connection.executemany(
        "insert into enacted (partition, sequence, body) values ($1, $2, $3)",
        [(before.partition, sequence, body) for sequence, body in enacting],
    )
    kept = [columns(case) for case in cases]
    await connection.execute(
        "insert into cases (tenant, case_id, partition, state, closed, stuck, open_deadlines, next_at) "
        "select t, c, $1, s, o, k, d, n from unnest($2::text[], $3::text[], $4::bytea[], $5::bool[], $6::bool[], "
        "$7::int[], $8::bigint[]) as u (t, c, s, o, k, d, n) on conflict (tenant, case_id) do update "
        "set state = excluded.state, closed = excluded.closed, stuck = excluded.stuck, "
        "open_deadlines = excluded.open_deadlines, next_at = excluded.next_at",
        before.partition,
        [case.tenant for case in cases],
        [case.id for case in cases],
        *([getattr(row, name) for row in kept] for name in Columns._fields),
    )
    await failpoint("store.after_cases")
    await connection.execute(
        "insert into decisions (lane, number, subject, body, tenant, case_id, kind, promise, occurrence, "
        "due, at, cause_sequence) select $1, * from unnest($2::bigint[], $3::text[], $4::bytea[], $5::text[], "
        "$6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[])",
        before.partition,
        [row.number for row in rows],
        [row.subject for row in rows],
        [row.body for row in rows],
        [row.case[0] for row in rows],
        [row.case[1] for row in rows],
        [row.decision.kind for row in rows],
        [row.decision.promise or None for row in rows],
        [row.decision.occurrence or None for row in rows],
        [row.decision.due for row in rows],
        [row.decision.at for row in rows],
        [row.cause_sequence for row in rows],
    )
    return await next_instant(connection, before.partition)


async def next_instant(connection: Connection | asyncpg.Pool, partition: int) -> Instant | None:
    """The earliest instant of a partition at which time alone changes something."""
    found: Instant | None = await connection.fetchval("select min(next_at) from cases where partition = $1", partition)
    return found
