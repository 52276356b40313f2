"""Bootstrap: the rules, calendar and charter of a tenant enter the log before its first complaint.

The one rule: what decisions depend on stands in the log by hash. A tenant whose log has a charter is left alone.
"""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from contracts import files
from contracts.streams import PARTITIONS, cases_subject, intake_mark
from services.chassis import broker
from services.chassis.clock import RealClock
from services.rules import instants
from services.rules.fold import REVISION, REVISIONS
from services.rules.instants import Instant
from services.rules.routing import ALL
from services.rules.rulebook import Library, NotEnacted
from services.rules.tenants import Tenant

SOURCE = "gihan/provision"


async def enact_files(nc: Client, tenants: Iterable[Tenant], now: Instant | None = None) -> list[str]:
    """Appends rules.enacted, calendar.enacted and charter.enacted (in this order, to every partition, in one atomic
    batch a tenant) for each tenant whose log has none; returns whose.

    They are dated `now`, by default the present. Raises NotEnacted for a tenant without files.
    """
    library = Library(files.read())
    enacted = []
    for tenant in tenants:
        if await is_enacted(nc, tenant):
            continue
        moment = instants.text(await RealClock().now() if now is None else now, tenant.zone)
        events = [_event(tenant, type, data, moment) for type, data in _enacting(library, tenant)]
        messages = [
            (cases_subject(partition, tenant.id, event["type"]), json.dumps(event, ensure_ascii=False).encode())
            for partition in range(PARTITIONS)
            for event in events
        ]
        marker = json.dumps({"batch": 1, "count": len(messages)}).encode()
        try:
            await broker.publish_batch(nc, messages, (intake_mark(f"provision-{tenant.id}"), marker), 0)
        except broker.BatchRefused:
            continue  # another provisioning was quicker
        enacted.append(tenant.id)
    return enacted


async def is_enacted(nc: Client, tenant: Tenant) -> bool:
    """Whether the log has a charter of this tenant."""
    return await broker.last_message(nc, "CASES", cases_subject(0, tenant.id, "charter.enacted")) is not None


async def check_enacted(nc: Client) -> None:
    """Raises NotEnacted where the log has enacted what this program does not have: every partition would stop there."""
    library = Library(files.read())
    lacking = [
        f"{event['tenant']}: {what}"
        for type in ("rules.enacted", "calendar.enacted", "charter.enacted")
        async for event in _all_of(nc, cases_subject(0, "*", type))
        if (what := _lacks(library, event))
    ]
    if lacking:
        raise NotEnacted(
            "the log has enacted what this program does not have, and the fold would stop at it:\n  "
            + "\n  ".join(lacking)
            + "\nInstall the release that has it; or put the file as it was enacted, under a name of its own, into a "
            "folder with `charters` and `calendars` inside, and name that by GIHAN_CONTRACTS for every service."
        )


async def _all_of(nc: Client, subject: str) -> AsyncIterator[dict[str, Any]]:
    """Every event on a subject of CASES, in order. What a city enacts goes to all partitions: one has all of it."""
    sequence = 1
    with suppress(NotFoundError):
        while True:
            found = await nc.jetstream(timeout=10).get_msg("CASES", sequence, subject, next=True)
            sequence = (found.seq or sequence) + 1
            yield json.loads(found.data or b"{}")


def _lacks(library: Library, event: dict[str, Any]) -> str | None:
    """What an enacting event names and the program does not have, in words."""
    data = event["data"]
    try:
        match event["type"]:
            case "rules.enacted":
                return None if data["revision"] in REVISIONS else f"rules of revision {data['revision']}"
            case "calendar.enacted":
                library.calendar(data["sha256"])
            case _:
                library.charter(data["sha256"])
    except NotEnacted:
        what = data.get("calendar") or "charter"
        return f"{what}, version {data['version']}, the file of sha256 {data['sha256']}"
    return None


def _enacting(library: Library, tenant: Tenant) -> list[tuple[str, dict[str, Any]]]:
    charters = library.charters_of(tenant.id)
    calendar_hash, calendar = library.newest_calendar(tenant.calendar)
    return [
        ("rules.enacted", {"revision": REVISION, "applies": "new_cases"}),
        (
            "calendar.enacted",
            {
                "calendar": calendar.id,
                "version": calendar.version,
                "sha256": calendar_hash,
                "horizon": calendar.horizon.isoformat(),
            },
        ),
        *(
            (
                "charter.enacted",
                {
                    "version": charter.version,
                    "sha256": sha256,
                    "in_force": charter.in_force.isoformat(),
                    "applies": "new_cases",
                    **({"go_live": tenant.go_live} if tenant.go_live and not number else {}),
                },
            )
            for number, (sha256, charter) in enumerate(charters)
        ),
    ]


def _event(tenant: Tenant, type: str, data: dict[str, Any], moment: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"bootstrap-{type}-{data.get('version') or data.get('revision')}",
        "source": SOURCE,
        "type": type,
        "subject": tenant.id,
        "time": moment,
        "recordedtime": moment,
        "tenant": tenant.id,
        "case": ALL,
        "data": data,
    }
