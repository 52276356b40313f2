"""Which cases, and what in them, somebody may know of: the rows of the views held against `visibility`.

The one rule it protects: every row passes here before anything of it is told, whichever page or answer it is for.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from services.reading import visibility
from services.reading.visibility import Caller, Case, Named

Connection = asyncpg.Connection | PoolConnectionProxy | asyncpg.Pool
Row = dict[str, Any]

_JSON = frozenset({"opening", "desk", "data", "cause"})


def plain(record: asyncpg.Record) -> Row:
    """A row with its JSON columns read."""
    return {
        name: orjson.loads(value) if name in _JSON and isinstance(value, str) else value
        for name, value in record.items()
    }


async def readable(connection: Connection, caller: Caller, rows: Sequence[Row]) -> list[Row]:
    """Those of the rows of read.case_list that a caller may know of."""
    cases = await standing(connection, caller, rows)
    return [row for row, case in zip(rows, cases, strict=True) if visibility.may_read(caller, case)]


async def standing(connection: Connection, caller: Caller, rows: Sequence[Row]) -> list[Case]:
    """What has to be known of the cases in rows of read.case_list to say who may read them, in their order."""
    about = {case for row in rows if (case := visibility.complains_of(row))}
    named = await _named(connection, caller.tenant, about) if about and caller.role != "publisher" else {}
    return [visibility.case_of(row, named.get(visibility.complains_of(row) or "", Named())) for row in rows]


async def _named(connection: Connection, tenant: str, cases: Iterable[str]) -> dict[str, Named]:
    rows = await connection.fetch(
        'select "case", array_remove(array_agg(department), null) as departments,'
        " array_remove(array_agg(officer), null) as officers"
        ' from read.case_desks where tenant = $1 and "case" = any($2::text[]) group by "case"',
        tenant,
        sorted(cases),
    )
    return {row["case"]: Named(frozenset(row["departments"]), frozenset(row["officers"])) for row in rows}


async def hidden(connection: Connection, caller: Caller, cases: Sequence[str]) -> dict[str, frozenset[str]]:
    """The facts of each case that the caller may not know of; cases without any are left out."""
    facts: dict[str, list[Row]] = {}
    for record in await connection.fetch(
        'select "case", source, id, type, data from read.case_facts where tenant = $1 and "case" = any($2::text[])'
        " and (type like 'fault.%' or type = 'fact.voided')",
        caller.tenant,
        cases,
    ):
        facts.setdefault(record["case"], []).append(plain(record))
    officers = {fact["data"]["officer"] for held in facts.values() for fact in held if fact["data"].get("officer")}
    staff = await connection.fetch(
        "select staff, department from read.staff where tenant = $1 and staff = any($2::text[])",
        caller.tenant,
        sorted(officers),
    )
    departments = {row["staff"]: row["department"] for row in staff}
    found = {case: visibility.hidden_facts(caller, held, departments) for case, held in facts.items()}
    return {case: keys for case, keys in found.items() if keys}
