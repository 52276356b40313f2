"""A case as the office sees it: its deadlines and why they are when they are, what happened, what is to be done.

The one rule it protects: what the reader may not know of is not there: no fact, no decision that follows from it, no
explanation that would name it. No name, number or word of a citizen stands here.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from services.chassis.pages import PageError
from services.notifier.desk import lists
from services.notifier.desk.site import Visit
from services.notifier.desk.words import line, named
from services.reading import visibility, visible
from services.reading.visible import Row
from services.rules.calendar import OutOfCalendar
from services.rules.explaining.text import in_words
from services.rules.explaining.words import EVENTS

TONES = {"met": "good", "broken": "bad", "suspended": "wait", "open": "now"}
LISTED = 200
HISTORY = 300
"""Facts and decisions shown at most, the newest."""


class Seen(NamedTuple):
    """A case that the reader may know of, and what in it is hidden."""

    row: Row
    hidden: frozenset[str]


async def listed(request: Request) -> Response:
    """Cases that another office took in for the one that has them: newest first, those alone that are open."""
    visit = await Visit.of(request)
    place = visit.request.query_params.get("behind", "~").replace("\x00", "")[:40]
    async with visit.site.pool.acquire() as connection:
        found = await connection.fetch(
            "select * from read.case_list where tenant = $1 and receipt < $2 and opening -> 'data' ? 'office'"
            " and closed is not true order by receipt desc limit $3",
            *(visit.tenant.id, place, LISTED),
        )
        rows = await visible.readable(connection, visit.caller, [visible.plain(record) for record in found])
    behind = found[-1]["receipt"] if len(found) == LISTED else None
    return visit.page(
        "cases",
        rows=[
            {
                "case": row["case"],
                "receipt": row["receipt"],
                "office": row["opening"]["data"]["office"],
                "opened": visit.speaker.when(row["opening"]["at"]),
                "kind": visit.speaker.kind(row["kind"]) if row["kind"] else "",
                "department": (row["desk"] or {}).get("department") or "",
            }
            for row in rows
        ],
        next=visit.path("cases", behind=behind) if behind else None,
    )


async def show(request: Request) -> Response:
    """The page of a case."""
    visit = await Visit.of(request)
    seen = await _seen(visit)
    name = seen.row["case"]
    async with visit.site.pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        told = await _rows(connection, "read.case_deadlines", visit, name, "started, promise")
        history = await connection.fetch(
            'select * from read.case_history where tenant = $1 and "case" = $2'
            " order by sequence desc, number desc limit $3",
            *(visit.tenant.id, name, HISTORY),
        )
        tasks = await lists.known(
            connection, visit.caller, visit.tenant, await _rows(connection, "read.tasks", visit, name, "wanted_at, key")
        )
    runs = [run for run in told if not visibility.tells_of(seen.hidden, run)]
    says, now = visit.site.sayings.of(visit.tenant.id), await visit.site.clock.now()
    return visit.page(
        "case",
        row=seen.row,
        desk=seen.row["desk"] or {},
        opened=visit.speaker.when(seen.row["opening"]["at"]),
        kind=visit.speaker.kind(seen.row["kind"]) if seen.row["kind"] else "",
        runs=[_run(visit, run) for run in runs],
        why=await _why(visit, seen, told, runs),
        history=[
            _happening(visit, row) for one in history if not visibility.tells_of(seen.hidden, row := visible.plain(one))
        ],
        lines=[line(task, visit.speaker, says, now) for task in tasks],
    )


async def _seen(visit: Visit) -> Seen:
    case = visit.request.path_params["case"].lower().replace("\x00", "")
    async with visit.site.pool.acquire() as connection:
        record = await connection.fetchrow(
            'select * from read.case_list where tenant = $1 and "case" = $2', visit.tenant.id, case
        )
        rows = await visible.readable(connection, visit.caller, [visible.plain(record)]) if record else []
        if not rows:
            raise PageError(HTTPStatus.NOT_FOUND, "no_case")
        return Seen(rows[0], (await visible.hidden(connection, visit.caller, [case])).get(case, frozenset()))


async def _rows(connection: visible.Connection, view: str, visit: Visit, case: str, order: str) -> list[Row]:
    found = await connection.fetch(
        f'select * from {view} where tenant = $1 and "case" = $2 order by {order}',  # noqa: S608 - names of our own
        visit.tenant.id,
        case,
    )
    return [dict(row) for row in found]


def _run(visit: Visit, run: Row) -> dict[str, Any]:
    when, says = visit.speaker.when, visit.site.sayings.of(visit.tenant.id).get(run["promise"], {})
    return {
        "promise": run["promise"],
        "says": says.get(visit.language, run["promise"]),
        "state": named(visit.speaker, "run", run["state"]),
        "tone": TONES.get(run["state"], ""),
        "due": when(run["due"], ends=True) if run["due"] is not None else None,
        "first_due": when(run["first_due"], ends=True) if run["first_due"] not in (None, run["due"]) else None,
        "settled": when(run["settled"]) if run["settled"] is not None else None,
        "provisional": run["provisional"],
    }


async def _why(visit: Visit, seen: Seen, told: Sequence[Row], runs: Sequence[Row]) -> list[list[str]]:
    """The explanations in lines. Where something is hidden, of those promises alone whose every run may be known."""
    try:
        answers = await visit.site.explainer.explain(visit.tenant.id, seen.row["case"]) or ()
    except OutOfCalendar:
        return []
    if seen.hidden:
        open_runs = {(run["promise"], run["occurrence"]) for run in runs}
        every = {run["promise"] for run in told}
        sealed = {run["promise"] for run in told if (run["promise"], run["occurrence"]) not in open_runs}
        answers = tuple(one for one in answers if one.promise in every - sealed)
    return [in_words(one, visit.language).splitlines() for one in answers]


def _happening(visit: Visit, row: Row) -> dict[str, Any]:
    """A line of what happened."""
    fact = row["what"] == "fact"
    decided = named(visit.speaker, "decided", row["type"].replace(".", "_"))
    promise = visit.site.sayings.of(visit.tenant.id).get(row["promise"] or "", {}).get(visit.language, "")
    return {
        "at": visit.speaker.when(row["at"]),
        "what": visit.speaker.word(EVENTS, row["type"]) if fact else decided,
        "promise": promise,
        "source": row["source"] if fact else "",
        "voided": row["voided"],
        "fact": fact,
    }
