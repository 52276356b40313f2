"""Bootstrap: the rules, calendar and charter of a tenant enter the log before its first complaint.

The one rule: what decisions depend on stands in the log by hash. A tenant whose log has a charter is left alone.
"""

import json
from collections.abc import Iterable
from typing import Any

from nats.aio.client import Client

from contracts import files
from contracts.streams import PARTITIONS, cases_subject, intake_mark
from services.chassis import broker
from services.chassis.clock import RealClock
from services.rules import instants
from services.rules.fold import REVISION
from services.rules.instants import Instant
from services.rules.routing import ALL
from services.rules.rulebook import Library
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
