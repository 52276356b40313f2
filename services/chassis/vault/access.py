"""The access record as a whole: the report of a stretch of time, and how the record outlives a restore.

The one rule it protects: who read what stays known, and the report itself names no citizen. It counts, and says whether
the chain it was counted from still holds.
"""

from datetime import datetime
from typing import NamedTuple

from services.chassis.vault.keys import Connection
from services.chassis.vault.reading import Head, Reading


class Line(NamedTuple):
    """Readings of one kind by one reader for one purpose: how many, of how many persons, letters or texts, when."""

    reader: str
    purpose: str
    kind: str
    times: int
    references: int
    first: datetime
    last: datetime


class Report(NamedTuple):
    """The readings of one tenant. `broken_at` is the number of the first record that was changed or is missing; `head`
    the last record, which kept elsewhere shows later whether all was written anew."""

    tenant: str
    lines: list[Line]
    refused: int
    records: int
    broken_at: int | None
    head: Head | None


async def access_report(
    conn: Connection, vault: Reading, tenant: str, begin: datetime, end: datetime, known: Head | None = None
) -> Report:
    """The report of a tenant from `begin` (included) to `end`; the chain is verified from its beginning, and against a
    `known` head of former days."""
    rows = await conn.fetch(
        "select reader, split_part(purpose, ':', 1) as purpose, kind, count(*) as times,"
        " count(distinct ref) as references, min(at) as first, max(at) as last"
        " from vault.access where tenant = $1 and at >= $2 and at < $3 group by 1, 2, 3 order by 4 desc, 1, 2, 3",
        tenant,
        begin,
        end,
    )
    head = await conn.fetchrow("select number, hash from vault.access_head where tenant = $1", tenant)
    lines = [Line(**row) for row in rows]
    return Report(
        tenant=tenant,
        lines=lines,
        refused=sum(line.times for line in lines if line.kind.startswith("refused.")),
        records=sum(line.times for line in lines),
        broken_at=await vault.verify_access_chain(conn, tenant, known),
        head=None if head is None else Head(head["number"], head["hash"].hex()),
    )


async def set_aside(conn: Connection) -> None:
    """Keeps the access record of a database whose tables are about to be replaced; one kept before, by a restore that
    broke off, stays where there is none."""
    if await conn.fetchval("select to_regclass('vault.access') is not null"):
        await conn.execute("drop schema if exists kept cascade; create schema kept")
        await conn.execute("create table kept.access as table vault.access")


async def take_up(conn: Connection) -> int:
    """Continues the restored access record with what was set aside, where that goes on from it; how many records."""
    if not await conn.fetchval("select to_regclass('kept.access') is not null"):
        return 0
    taken: int = await conn.fetchval(_TAKE_UP)
    await conn.execute(
        "insert into vault.access_head select distinct on (tenant) tenant, number, hash from vault.access"
        " order by tenant, number desc"
        " on conflict (tenant) do update set number = excluded.number, hash = excluded.hash"
    )
    await conn.execute("drop schema kept cascade")
    return taken


_TAKE_UP = """
with goes_on as (
    select k.* from kept.access k left join vault.access_head h using (tenant)
    where k.number > coalesce(h.number, 0) and (h.number is null or h.number = 0 or exists (
        select from kept.access same where same.tenant = k.tenant and same.number = h.number and same.hash = h.hash))
), taken as (insert into vault.access select * from goes_on returning 1)
select count(*) from taken
"""
