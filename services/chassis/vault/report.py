"""The access report: who read what of whom, why and how often, in a stretch of time.

The one rule it protects: the report itself names no citizen. It counts, and says whether the chain it was counted from
still holds.
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
