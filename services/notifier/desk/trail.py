"""The audit trail: who took which step when, and for audit, who read whose data for what.

The one rule it protects: the trail of a task is shown to whom the task may be known; the record of access, which is
hash-chained, to audit alone. Nothing here can be changed from here.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from services.chassis.vault.purposes import purposes
from services.notifier.desk import lists
from services.notifier.desk.site import Visit
from services.notifier.desk.words import named, task_name
from services.reading.speaking import Speaker
from services.reading.visible import Row
from services.rules.instants import of_datetime

PAGE = 100
_BEHIND = re.compile(r"(\d{1,19})\.([0-9a-f]{32})\.(\d{1,5})")
_NUMBER = re.compile(r"\d{1,18}")


async def show(request: Request) -> Response:
    """The newest steps, and for audit the newest readings."""
    visit = await Visit.of(request)
    asked = visit.request.query_params
    staff = asked.get("staff", "").strip().lower().replace("\x00", "")[:64]
    steps, behind = await _steps(visit, staff, asked.get("behind", ""))
    readings, before = await _readings(visit, staff, asked.get("before", ""))
    return visit.page(
        "trail",
        staff=staff,
        steps=steps,
        next=visit.path("trail", staff=staff, behind=behind) if behind else None,
        readings=readings,
        more=visit.path("trail", staff=staff, before=before) + "#readings" if before else None,
        is_audit=visit.caller.role == "audit",
    )


async def _steps(visit: Visit, staff: str, behind: str) -> tuple[list[dict[str, Any]], str | None]:
    place = _BEHIND.fullmatch(behind)
    at, key, number = (int(place[1]), place[2], int(place[3])) if place else (2**63 - 1, "g", 0)
    async with visit.site.pool.acquire() as connection:
        rows = await connection.fetch(
            "select * from read.task_steps where tenant = $1 and ($2 = '' or staff = $2)"
            " and (at, key, number) < ($3, $4, $5) order by at desc, key desc, number desc limit $6",
            *(visit.tenant.id, staff, min(at, 2**63 - 1), key, min(number, 32_767), PAGE),
        )
        tasks = await connection.fetch(
            "select * from read.tasks where tenant = $1 and key = any($2::text[])",
            visit.tenant.id,
            [row["key"] for row in rows],
        )
        known = await lists.known(connection, visit.caller, visit.tenant, [dict(task) for task in tasks])
    seen = {task["key"]: task for task in known}
    steps = [_step(visit.speaker, dict(row), seen[row["key"]]) for row in rows if row["key"] in seen]
    last = rows[-1] if len(rows) == PAGE else None
    return steps, f"{last['at']}.{last['key']}.{last['number']}" if last else None


def _step(speaker: Speaker, row: Mapping[str, Any], task: Row) -> dict[str, Any]:
    return {
        "at": speaker.when(row["at"]),
        "staff": row["staff"],
        "step": named(speaker, "step", row["step"]),
        "key": row["key"],
        "task": task_name(speaker, row["task"]),
        "receipt": task["receipt"] or row["case"],
        "amount": speaker.amount(row["amount"], row["currency"] or "KRW") if row["amount"] is not None else "",
        "code": named(speaker, "code", row["code"]) if row["code"] else "",
    }


async def _readings(visit: Visit, staff: str, before: str) -> tuple[list[dict[str, Any]], str | None]:
    """The record of access; to whom a person belongs it does not say."""
    if visit.caller.role != "audit":
        return [], None
    number = int(before) if _NUMBER.fullmatch(before) else 2**62
    rows = await visit.site.pool.fetch(
        "select number, at, reader, purpose, kind, ref from vault.access"
        " where tenant = $1 and number < $2 and ($3 = '' or split_part(reader, '/', 2) = $3)"
        " order by number desc limit $4",
        *(visit.tenant.id, number, staff, PAGE),
    )
    readings = [
        {
            "number": row["number"],
            "at": visit.speaker.when(_instant(row["at"])),
            "reader": row["reader"],
            "says": _says(visit.speaker, row["purpose"]),
            "purpose": row["purpose"],
            "kind": named(visit.speaker, "reading", row["kind"].removeprefix("refused.")),
            "ref": row["ref"],
            "refused": row["kind"].startswith("refused."),
        }
        for row in rows
    ]
    return readings, str(rows[-1]["number"]) if len(rows) == PAGE else None


def _says(speaker: Speaker, purpose: str) -> str:
    """A purpose in words; nothing where somebody asked for one that does not exist."""
    found = purposes().get(purpose.partition(":")[0])
    return found.says[speaker.language] if found else ""


def _instant(at: datetime) -> int:
    return of_datetime(at if at.tzinfo else at.replace(tzinfo=UTC))
