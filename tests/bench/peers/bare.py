"""The bare pipeline: consume, decode, write the same rows; no rules.

`python -m tests.bench.peers.bare ROWS`: what the log and the database allow a pipeline of one process at all. The
rows are those that we have written (the file ROWS): for each message the rows of its case, once a batch, and its
decisions. Each batch is one transaction, which commits while the next batch is being read.
"""

import asyncio
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from services.chassis import broker
from services.chassis.cursor import Entry, LogCursor
from services.chassis.settings import Settings
from services.rules.facts import decode_event
from tests.bench.peers.projection import MOVE, connect_pool, place_of, run

BATCH = 2000

CaseKey = tuple[str, str]


class Table(NamedTuple):
    """A table of ours: its columns with their types, and its key."""

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]

    def upsert(self) -> str:
        """One statement for any number of rows."""
        arrays = ", ".join(f"${place}::{kind}[]" for place, (_, kind) in enumerate(self.columns, 1))
        names = [name for name, _ in self.columns]
        update = ", ".join(f"{name} = excluded.{name}" for name in names if name not in self.key)
        return (
            f"insert into {self.name} ({', '.join(names)}) select * from unnest({arrays}) "
            f"on conflict ({', '.join(self.key)}) do update set {update}"
        )


class Rows(NamedTuple):
    """What we have written: by table the rows of each case, and the decisions by the place of their cause."""

    tables: Mapping[Table, Mapping[CaseKey, Sequence[Sequence[Any]]]]
    decisions: Table
    by_cause: Mapping[int, Sequence[Sequence[Any]]]


async def copy_rows(connection: asyncpg.Connection) -> Rows:
    """Reads the rows of the projection that we have made, whatever its layout is by now."""
    tables = {}
    names = await connection.fetch(
        "select table_name from information_schema.columns where table_schema = 'sla_timer' "
        "and column_name in ('tenant', 'case_id') group by 1 having count(*) = 2"
    )
    by_cause: dict[int, list[Sequence[Any]]] = {}
    decisions = await _table(connection, "decisions")
    for row in await connection.fetch("select * from sla_timer.decisions order by lane, number"):
        by_cause.setdefault(row["cause_sequence"], []).append(tuple(row))
    for name in sorted({row["table_name"] for row in names} - {"decisions"}):
        table = await _table(connection, name)
        by_case: dict[CaseKey, list[Sequence[Any]]] = {}
        for row in await connection.fetch(f"select * from {table.name}"):
            by_case.setdefault((row["tenant"], row["case_id"]), []).append(tuple(row))
        tables[table] = by_case
    return Rows(tables, decisions, by_cause)


async def _table(connection: asyncpg.Connection, name: str) -> Table:
    columns = await connection.fetch(
        "select column_name, udt_name from information_schema.columns where table_schema = 'sla_timer' "
        "and table_name = $1 order by ordinal_position",
        name,
    )
    key = await connection.fetch(
        "select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey) "
        "where i.indrelid = $1::regclass and i.indisprimary",
        f"sla_timer.{name}",
    )
    types = tuple((row["column_name"], row["udt_name"]) for row in columns)
    return Table(f"sla_timer.{name}", types, tuple(row["attname"] for row in key))


async def main(arguments: Sequence[str]) -> None:
    """Consumes until ended."""
    rows: Rows = pickle.loads(Path(arguments[0]).read_bytes())  # noqa: ASYNC240 - nothing runs yet
    pool = await connect_pool(2)
    nc = await broker.connect(Settings.from_env("bench"))
    writing: asyncio.Task[None] | None = None
    async with LogCursor(nc, stream="CASES", after=0, batch_size=BATCH) as cursor:
        while True:
            entries = await cursor.read(BATCH, 0.5)
            batch = _decoded(entries)
            if writing is not None:
                await writing
            writing = asyncio.create_task(_write(pool, rows, batch))


def _decoded(entries: Sequence[Entry]) -> list[tuple[Entry, CaseKey]]:
    """As everybody must: the events, and which case each is about. The markers of batches are no events."""
    found = []
    for entry in entries:
        if entry.subject.startswith("cases."):
            event = decode_event(entry.data)
            found.append((entry, (event.tenant, event.case_id)))
    return found


async def _write(pool: asyncpg.Pool, rows: Rows, batch: Sequence[tuple[Entry, CaseKey]]) -> None:
    keys = sorted({key for _, key in batch})
    positions = {place_of(entry.subject): entry.sequence for entry, _ in batch}
    async with pool.acquire() as connection, connection.transaction():
        for table, by_case in rows.tables.items():
            await _upsert(connection, table, [row for key in keys for row in by_case.get(key, ())])
        decided = [row for entry, _ in batch for row in rows.by_cause.get(entry.sequence, ())]
        await _upsert(connection, rows.decisions, decided)
        await connection.executemany(MOVE, list(positions.items()))


async def _upsert(connection: asyncpg.Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        await connection.execute(table.upsert(), *([row[place] for row in rows] for place in range(len(table.columns))))


if __name__ == "__main__":
    run(main, sys.argv[1:])
