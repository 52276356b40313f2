"""Reading cases for whoever may know of them, over the views in schema `read`.

The one rule it protects: every row passes `visibility` before anything of it is answered. A case that is not there and
one that is not the caller's to know of are answered alike.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from services.chassis.http import Problem
from services.intake.api.serving import Parts
from services.reading import visibility
from services.reading.visibility import Caller
from services.reading.visible import Connection, Row, hidden, plain, readable
from services.rules.instants import Instant, text
from services.rules.tenants import Tenant

SCANNED = 1_000
"""Cases looked at for one page at most: a filter that few of them meet brings a short page with a cursor."""

_WINDOW = (
    'with seen as materialized (select "case", receipt from read.case_list'
    " where tenant = $1 and receipt < $2 order by receipt desc limit $3)"
    " select l.*, (select min(receipt) from seen) as last_seen, (select count(*) from seen) as looked_at"
    ' from read.case_list l join seen using ("case") where l.tenant = $1'
)
# An aggregate is worked out for each case of the window; an `exists` would be made a join with all the runs there are.
_RUNS = 'from read.case_deadlines d where d.tenant = l.tenant and d."case" = l."case"'
_FILTERS = {
    "source": "l.source = {}",
    "receipt": "l.receipt = {}",
    "kind": "l.kind = {}",
    "service": "l.opening -> 'data' ->> 'service' = {}",
    "opened_by": "l.opening ->> 'type' = {}",
    "since": "(l.opening ->> 'at')::bigint >= {}",
    "until": "(l.opening ->> 'at')::bigint <= {}",
    "department": "l.desk ->> 'department' = {}",
    "officer": "l.desk ->> 'officer' = {}",
    "closed": "l.closed = {}",
    "late": f"coalesce((select bool_or(d.state = 'broken') {_RUNS}), false) = {{}}",
    "promise": f"(select bool_or(d.promise = {{}}) {_RUNS})",
    "due_before": f"(select bool_or(d.state = 'open' and d.due < {{}}) {_RUNS})",
}
FIRST_PAGE = "~"
"""Behind every receipt number."""


class Page(NamedTuple):
    """Cases of a page, newest first, and the receipt number behind which the next page begins, if there is one."""

    rows: list[Row]
    next: str | None


class Visible(NamedTuple):
    """A case that the caller may read, and the facts in it that the caller may not know of."""

    row: Row
    hidden: frozenset[str]


async def listed(parts: Parts, caller: Caller, filters: Mapping[str, Any], limit: int, before: str) -> Page:
    """A page of the cases that a caller may know of, behind a receipt number."""
    wanted = {name: value for name, value in filters.items() if value is not None}
    if caller.role == "publisher":
        wanted["source"] = caller.source
    conditions = "".join(f" and {_FILTERS[name].format(f'${place}')}" for place, name in enumerate(wanted, 4))
    # Where only the source counts, no row that is found will be left out again.
    most = limit + 1 if caller.role == "publisher" else SCANNED
    query = f"{_WINDOW}{conditions} order by l.receipt desc limit {most}"
    async with parts.pool.acquire() as connection:
        found = await connection.fetch(query, caller.tenant, before, SCANNED, *wanted.values())
        if not found:
            return Page([], await _behind(connection, caller.tenant, before))
        rows = await readable(connection, caller, [plain(record) for record in found])
        rows = await _without_hidden_runs(connection, caller, rows, wanted)
    page = rows[:limit]
    if len(rows) > limit:
        return Page(page, page[-1]["receipt"])
    return Page(page, found[0]["last_seen"] if found[0]["looked_at"] == SCANNED else None)


async def _behind(connection: Connection, tenant: str, before: str) -> str | None:
    """Where to go on when nothing in the window fits; None where it reached the end."""
    last: str | None = await connection.fetchval(
        "select receipt from read.case_list where tenant = $1 and receipt < $2 order by receipt desc offset $3 limit 1",
        tenant,
        before,
        SCANNED - 1,
    )
    return last


async def visible_case(parts: Parts, caller: Caller, case: str) -> Visible:
    """A case that the caller may read. Raises Problem 404."""
    async with parts.pool.acquire() as connection:
        record = None
        if "\x00" not in case:
            record = await connection.fetchrow(
                'select * from read.case_list where tenant = $1 and "case" = $2', caller.tenant, case.lower()
            )
        rows = await readable(connection, caller, [plain(record)]) if record is not None else []
        if not rows:
            detail = "There is no such case, or it is not yours to know of."
            raise Problem(HTTPStatus.NOT_FOUND, "unknown_case", detail)
        name = rows[0]["case"]
        return Visible(rows[0], (await hidden(connection, caller, [name])).get(name, frozenset()))


async def is_visible(parts: Parts, caller: Caller, case: str) -> bool:
    """Whether the caller may read a case."""
    try:
        await visible_case(parts, caller, case)
    except Problem:
        return False
    return True


async def _without_hidden_runs(
    connection: Connection, caller: Caller, rows: list[Row], wanted: Mapping[str, Any]
) -> list[Row]:
    """The rows that fit also without the runs that began with what the caller may not know of."""
    if wanted.keys().isdisjoint(("promise", "due_before", "late")):
        return rows
    sealed = await hidden(connection, caller, [row["case"] for row in rows])
    runs: dict[str, list[Row]] = {}
    for run in await deadlines(connection, caller.tenant, sorted(sealed)):
        if not visibility.tells_of(sealed[run["case"]], run):
            runs.setdefault(run["case"], []).append(run)
    return [row for row in rows if row["case"] not in sealed or _fits(runs.get(row["case"], []), wanted)]


def _fits(runs: Sequence[Row], wanted: Mapping[str, Any]) -> bool:
    """Whether runs meet the filters that are about runs, as the query has them."""
    limit = wanted.get("due_before")
    return (
        ("late" not in wanted or any(run["state"] == "broken" for run in runs))
        and ("promise" not in wanted or any(run["promise"] == wanted["promise"] for run in runs))
        and (limit is None or any(run["state"] == "open" and (run["due"] or limit) < limit for run in runs))
    )


async def deadlines(connection: Connection, tenant: str, cases: Sequence[str]) -> list[Row]:
    """Every run of every promise in the cases, in order of beginning."""
    rows = await connection.fetch(
        'select * from read.case_deadlines where tenant = $1 and "case" = any($2::text[])'
        " order by started, promise, occurrence",
        tenant,
        cases,
    )
    return [dict(row) for row in rows]


async def remedies(connection: Connection, tenant: str, case: str) -> list[Row]:
    """What the case is owed."""
    rows = await connection.fetch(
        'select * from read.case_remedies where tenant = $1 and "case" = $2 order by at, key', tenant, case
    )
    return [plain(row) for row in rows]


async def last_changes(connection: Connection, tenant: str, cases: Sequence[str]) -> dict[str, Instant]:
    """When something was last recorded of each case."""
    rows = await connection.fetch(
        'select "case", max(recorded) as at from read.case_facts where tenant = $1 and "case" = any($2::text[])'
        ' group by "case"',
        tenant,
        cases,
    )
    return {row["case"]: row["at"] for row in rows}


async def history(connection: Connection, tenant: str, case: str, behind: tuple[int, int], limit: int) -> list[Row]:
    """Facts and decisions of a case behind a place (sequence, number), in the order of the log."""
    rows = await connection.fetch(
        'select * from read.case_history where tenant = $1 and "case" = $2 and (sequence, number) > ($3, $4)'
        " order by sequence, number limit $5",
        tenant,
        case,
        *behind,
        limit,
    )
    return [plain(row) for row in rows]


def moment(at: Instant | None, tenant: Tenant) -> str | None:
    """An instant as it is answered: RFC 3339 with the offset of the tenant."""
    return None if at is None else text(at, tenant.zone)


def without_references(data: Any) -> Any:
    """Data of an event as people read it: what points into the vault is of no use to them."""
    if isinstance(data, list):
        return [without_references(part) for part in data]
    if not isinstance(data, dict):
        return data
    return {
        name: without_references(value)
        for name, value in data.items()
        if not name.endswith("_ref") and not name.startswith("has_")
    }
