"""Lists: what is to be done, by whom and until when, of what the reader may know.

The one rule it protects: every task passes the rules of its case before a word of it is told. Whose task it is may know
of it, unless its case complains of them.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import asyncpg

from services.notifier.tasks import kinds
from services.reading import visibility, visible
from services.reading.visibility import Caller, Case
from services.reading.visible import Connection, Row
from services.rules import instants
from services.rules.instants import DAY, Instant
from services.rules.tenants import Tenant

PAGE = 50
_WINDOW, _WINDOWS = 200, 10
"""Tasks looked at for one page at most: few of them the reader's bring a short page and a way on."""
_NEVER = 2**63 - 1
"""In the place of the due instant of what has none: it comes last."""

LISTS: Mapping[str, tuple[str, ...]] = {
    "duty": ("to_duty_desk", "to_situation_room"),
    "admission": (
        *("to_administration", "to_audit", "to_audit_and_law", "to_civil_affairs_and_cadastre"),
        *("to_civil_affairs_and_passports", "to_land_and_civil_affairs", "to_planning_and_audit"),
    ),
    "notes": ("complete_memo", "try_again"),
    "visits": ("guide_first", "prepare_meeting", "guardian"),
    "documents": ("hand_over_document", "post_document", "hand_over_unasked", "post_letter"),
    "amends": ("compensation", "apology", "correction", "consultation", "head_explains", "priority_handling"),
    "staff": ("caution", "courtesy_training", "retraining", "personnel_measure", "commend"),
    "improvement": ("improve", "action_plan"),
    "duties": ("hold_survey", "publish_survey", "publish_assessment", "publish_booklet"),
}
"""The lists by name, and the tasks that stand in each."""

STATES: Mapping[str, tuple[str, ...]] = {
    "open": ("assigned", "approved"),
    "held": ("held",),
    "ended": ("done", "declined", "issued", "acknowledged", "withdrawn", "kept", "covered"),
}
DUES = ("overdue", "today", "week", "none")
WANTS = ("finding", "amount", "approval", "issue")
"""What a remedy waits for."""
_WAITS = {
    "finding": "'finding' = any(t.wants)",
    "amount": "'amount' = any(t.wants)",
    "approval": "t.remedy_key is not null and t.state = 'assigned' and cardinality(t.wants) = 0",
    "issue": "t.state = 'approved'",
}
_BEHIND = re.compile(r"(\d{1,19})\.(\d{1,19})\.([0-9a-f]{32})")


class Filter(NamedTuple):
    """What of the tasks is asked for; empty parts ask for all."""

    list: str = ""
    state: str = "open"
    department: str = ""
    promise: str = ""
    kind: str = ""
    due: str = ""
    wants: str = ""
    case: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> "Filter":
        """The filter in an address; what it has wrong is left out."""
        given = {name: asked.get(name, "").strip()[:200].replace("\x00", "") for name in cls._fields}
        known = {"list": LISTS, "state": {**STATES, "all": ()}, "due": DUES, "wants": WANTS}
        given |= {name: "" for name, values in known.items() if given[name] not in values}
        return cls(**{**given, "state": given["state"] or "open", "case": given["case"].lower()})

    @property
    def query(self) -> dict[str, str]:
        """The filter as the parts of an address."""
        return {name: value for name, value in self._asdict().items() if value and (name, value) != ("state", "open")}


class Page(NamedTuple):
    """Tasks in the order of their dates, and behind which place the next page begins, if there is one."""

    rows: list[Row]
    behind: str | None


async def read(
    pool: asyncpg.Pool, caller: Caller, tenant: Tenant, wanted: Filter, now: Instant, behind: str = ""
) -> Page:
    """A page of the tasks that the reader may know of, each with `receipt` and the department that has its case now."""
    conditions, values = _conditions(wanted, tenant, now)
    found = _BEHIND.fullmatch(behind)
    place: tuple[int, int, str] = (int(found[1]), int(found[2]), found[3]) if found else (-1, -1, "")
    rows: list[Row] = []
    async with pool.acquire() as connection:
        for _ in range(_WINDOWS):
            window = await connection.fetch(
                f"select t.*, coalesce(t.due, {_NEVER}) as by from read.tasks t where t.tenant = $1"  # noqa: S608
                f" and (coalesce(t.due, {_NEVER}), t.wanted_at, t.key) > ($2, $3, $4){conditions}"
                f" order by coalesce(t.due, {_NEVER}), t.wanted_at, t.key limit {_WINDOW}",
                *(tenant.id, *(min(part, _NEVER) if isinstance(part, int) else part for part in place), *values),
            )
            rows += await known(connection, caller, tenant, [dict(row) for row in window])
            if window:
                place = _place(dict(window[-1]))
            if len(rows) > PAGE:
                return Page(rows[:PAGE], _text(_place(rows[PAGE - 1])))
            if len(window) < _WINDOW:
                return Page(rows, None)
    return Page(rows, _text(place))


async def one(pool: asyncpg.Pool, caller: Caller, tenant: Tenant, key: str) -> Row | None:
    """A task that the reader may know of, by its key."""
    async with pool.acquire() as connection:
        row = await connection.fetchrow(
            "select * from read.tasks where tenant = $1 and key = $2", caller.tenant, key.replace("\x00", "")
        )
        rows = await known(connection, caller, tenant, [dict(row)]) if row else []
    return rows[0] if rows else None


async def known(connection: Connection, caller: Caller, tenant: Tenant, tasks: Sequence[Row]) -> list[Row]:
    """Those of the tasks that the reader may know of."""
    names = sorted({task["case"] for task in tasks})
    found = await connection.fetch(
        'select * from read.case_list where tenant = $1 and "case" = any($2::text[])', caller.tenant, names
    )
    rows = [visible.plain(record) for record in found]
    cases = {
        row["case"]: (row, case)
        for row, case in zip(rows, await visible.standing(connection, caller, rows), strict=True)
    }
    hidden = await visible.hidden(connection, caller, names)
    causes = await _causes(connection, caller, sorted(hidden))
    seen = []
    for task in tasks:
        row, case = cases.get(task["case"], (None, None))
        told = {**task, "cause": causes.get((task["case"], task["incident"], task["remedy"]))}
        if not may_see(caller, tenant, task, case) or visibility.tells_of(hidden.get(task["case"], frozenset()), told):
            continue
        desk = (row or {}).get("desk") or {}
        seen.append(
            {
                **task,
                "receipt": row["receipt"] if row else None,
                "department": tenant.desks.get(task["lies_with"]) or desk.get("department") or task["department"],
                "readable": case is not None and visibility.may_read(caller, case),
            }
        )
    return seen


async def _causes(connection: Connection, caller: Caller, cases: Sequence[str]) -> dict[tuple[str, str, str], Any]:
    """The events that brought what is owed in cases in which something is hidden, by case, incident and clause: a fault
    that names a promise is told by that promise's name."""
    if not cases:
        return {}
    found = await connection.fetch(
        "select \"case\", data ->> 'incident' as incident, data ->> 'remedy' as remedy, data -> 'cause' as cause"
        ' from read.case_decisions where tenant = $1 and "case" = any($2::text[])'
        " and kind in ('remedy.proposed', 'task.created') and data ? 'remedy' order by number",
        caller.tenant,
        cases,
    )
    rows = [visible.plain(record) for record in found]
    return {(row["case"], row["incident"], row["remedy"]): row["cause"] for row in rows}


def may_see(caller: Caller, tenant: Tenant, task: Mapping[str, Any], case: Case | None) -> bool:
    """Whether a reader may know of a task; `case` is None where it is about no petition."""
    about = {task["officer"], *task["at_fault"], task["case"].removeprefix("_officer-")}
    if kinds.of(task["task"]).about_officer and (caller.role not in ("head", "audit") or caller.staff in about):
        return False
    if case is None:
        # The municipality's own duties are everybody's; what is counted against an officer is audit's alone.
        return bool(task["case"] == task["tenant"]) or caller.role == "audit"
    if visibility.may_read(caller, case):
        return True
    # Whose task it is, but not yet the case: the desk that takes such a petition in, unless it complains of that desk.
    department = tenant.desks.get(task["lies_with"]) or task["department"]
    return department is not None and visibility.may_read(caller, case._replace(department=department, officer=None))


def _conditions(wanted: Filter, tenant: Tenant, now: Instant) -> tuple[str, list[Any]]:
    found: list[tuple[str, Any]] = []
    if wanted.list:
        found.append(("t.task = any({}::text[])", list(LISTS[wanted.list])))
    if wanted.state in STATES:
        found.append(("t.state = any({}::text[])", list(STATES[wanted.state])))
    for name, column in (("department", "department"), ("kind", "task"), ("case", '"case"')):
        if value := getattr(wanted, name):
            found.append((f"t.{column} = {{}}", value))
    if wanted.promise:
        found.append(("{} in (t.promise, t.remedy)", wanted.promise))
    if wanted.due in ("overdue", "today", "week"):
        found.append(("t.due <= {}", _until(wanted.due, tenant, now)))
    text = "".join(f" and {condition.format(f'${place}')}" for place, (condition, _) in enumerate(found, 5))
    text += " and t.due is null" if wanted.due == "none" else ""
    text += f" and {_WAITS[wanted.wants]}" if wanted.wants else ""
    return text, [value for _, value in found]


def _until(due: str, tenant: Tenant, now: Instant) -> Instant:
    if due == "overdue":
        return now - 1
    today = instants.local(now, tenant.zone).date()
    midnight = instants.midnight(today + timedelta(days=1), tenant.zone)
    return midnight if due == "today" else midnight + 6 * DAY


def _place(row: Mapping[str, Any]) -> tuple[int, int, str]:
    return row["by"], row["wanted_at"], row["key"]


def _text(place: tuple[int, int, str]) -> str:
    return ".".join(str(part) for part in place)
