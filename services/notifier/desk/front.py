"""The front page of the desk: a list, its filters, and the approval of several remedies at once.

The one rule it protects: each remedy of several is approved or refused by itself, and the page says which was which.
"""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from services.notifier.desk import lists
from services.notifier.desk.lists import DUES, LISTS, STATES, WANTS, Filter
from services.notifier.desk.site import Visit
from services.notifier.desk.words import Line, line, named, task_name
from services.notifier.tasks import acting
from services.notifier.tasks.life import NotPossible


async def show(request: Request) -> Response:
    """The list that the address asks for."""
    visit = await Visit.of(request)
    return await _list(visit, [])


async def approve_all(request: Request) -> Response:
    """Approves what was ticked, each on its own; the page then says what became of each."""
    visit = await Visit.of(request)
    form = await visit.sent()
    ticked = list(dict.fromkeys(str(key) for key in form.getlist("key")))[: lists.PAGE]
    seen = {
        row["key"]: row for key in ticked if (row := await lists.one(visit.site.pool, visit.caller, visit.tenant, key))
    }
    now = await visit.site.clock.now()
    done = await acting.approve_all(visit.ledger, now, visit.actor, list(seen)) if seen else {}
    lines = {one.key: one for one in await _lines(visit, list(seen.values()))}
    results = [
        (lines[key], named(visit.speaker, "refused", came.code) if isinstance(came, NotPossible) else "")
        for key, came in done.items()
    ]
    return await _list(visit, results)


async def _list(visit: Visit, results: Sequence[tuple[Line, str]]) -> Response:
    asked = dict(visit.request.query_params)
    wanted = Filter.of(asked)
    now = await visit.site.clock.now()
    page = await lists.read(visit.site.pool, visit.caller, visit.tenant, wanted, now, asked.get("behind", ""))
    return visit.page(
        "list",
        wanted=wanted,
        lines=await _lines(visit, page.rows),
        next=visit.path("", **wanted.query, behind=page.behind) if page.behind else None,
        listening=visit.path("changes", **wanted.query, behind=asked.get("behind")),
        results=results,
        may_approve="approver" in visit.actor.roles,
        **await _choices(visit),
    )


async def _lines(visit: Visit, rows: Sequence[dict[str, Any]]) -> list[Line]:
    says, now = visit.site.sayings.of(visit.tenant.id), await visit.site.clock.now()
    return [line(row, visit.speaker, says, now) for row in rows]


async def _choices(visit: Visit) -> dict[str, Any]:
    """What the filters offer."""
    departments = await visit.site.pool.fetch(
        "select distinct department from read.staff where tenant = $1 order by department", visit.tenant.id
    )
    kinds = {code: task_name(visit.speaker, code) for codes in LISTS.values() for code in codes}
    says = visit.site.sayings.of(visit.tenant.id)
    return {
        "departments": [(row["department"], row["department"]) for row in departments],
        "kinds": sorted(kinds.items(), key=lambda one: one[1]),
        "promises": sorted((id, _short(texts[visit.language])) for id, texts in says.items()),
        "lists": LISTS,
        "states": [(one, visit.speaker.say(f"list_state.{one}")) for one in (*STATES, "all")],
        "dues": [(one, visit.speaker.say(f"list_due.{one}")) for one in DUES],
        "waits": [(one, visit.speaker.say(f"waits.{one}")) for one in WANTS],
    }


def _short(text: str, most: int = 50) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
