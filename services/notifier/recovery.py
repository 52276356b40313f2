"""Recovery: a ledger that was lost is worked out anew from the logs.

The one rule: what NOTICES does not tell of is unknown, never new. Results are taken over from NOTICES before anything
is folded; what was to go out by then and has no result is asked after at its gateway before it is handed over.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from nats.aio.client import Client

from contracts.streams import PARTITIONS, notices_mark
from services.chassis import broker
from services.chassis.cursor import Entry, read_up_to
from services.chassis.logs import canonical
from services.notifier.ledger import POST_LETTER, RETURNED, Ledger, Recovery, Result, Work
from services.notifier.notices import Event
from services.notifier.tasks import steps as taken
from services.notifier.tasks.life import Step
from services.rules.instants import Instant, instant

GROUP = 1000
STATES = {
    "notice.sent": "sent",
    "notice.delivered": "sent",
    "notice.failed": "failed",
    "notice.unknown": "unknown",
    "notice.suppressed": "suppressed",
}
"""The state of a message after each event of it."""


class _Told(msgspec.Struct):
    """An event of NOTICES or RECEIPTS, as far as recovery looks at it."""

    id: str = ""
    type: str = ""
    time: str = ""
    tenant: str = ""
    case: str = ""
    key: str = ""
    data: dict[str, Any] = {}


_decode = msgspec.json.Decoder(_Told).decode


async def begin(ledger: Ledger, nc: Client, now: Instant) -> None:
    """Takes over what NOTICES tells, where it tells more than the ledger knows; `now` is the clock. All of it in one
    transaction: a notifier that dies here begins again."""
    known = await ledger.numbered()
    behind = {lane: known.get(lane, 0) for lane in range(PARTITIONS) if await _last(nc, lane) > known.get(lane, 0)}
    if behind:
        ends = {log: (await nc.jetstream().stream_info(log)).state.last_seq for log in ("NOTICES", "CASES", "SLA")}
        async with ledger.writing(now) as work:
            steps = await _take_over(work, nc, ends["NOTICES"], behind)
            await _note_receipts(work, nc)
            await work.begin_recovery(Recovery(now, ends["CASES"], ends["SLA"]))
            await taken.reapply(work, steps)
        canonical("recovery_began", count=len(behind), sequence=ends["NOTICES"])
    ledger.recovery = await ledger.recovery_under_way()


async def _last(nc: Client, lane: int) -> int:
    """The number of the last event of a lane that NOTICES holds."""
    found = await broker.last_message(nc, "NOTICES", notices_mark(lane))
    return 0 if found is None else int(msgspec.json.decode(found[1])["last"])


async def _take_over(work: Work, nc: Client, end: int, behind: dict[int, int]) -> list[tuple[str, Step]]:
    """The events of NOTICES beyond the last that each lane knows: into the outbox as published, and into the ledger.
    Returns what people did with tasks."""
    numbers = dict.fromkeys(behind, 0)
    steps: list[tuple[str, Step]] = []
    group: list[tuple[int, int, Entry]] = []
    async for entry in read_up_to(nc, "NOTICES", end, subject="notices.>"):
        lane = int(entry.subject.split(".")[1])
        if lane not in numbers:
            continue
        numbers[lane] += 1
        if numbers[lane] > behind[lane]:
            group.append((lane, numbers[lane], entry))
        if len(group) == GROUP:
            steps += await _keep(work, group)
            group = []
    return steps + await _keep(work, group)


async def _keep(work: Work, group: Sequence[tuple[int, int, Entry]]) -> list[tuple[str, Step]]:
    events = [_decode(entry.data) for _, _, entry in group]
    await work.connection.executemany(
        "INSERT INTO notifier.outbox (lane, number, subject, body) VALUES ($1, $2, $3, $4)",
        [(lane, number, entry.subject, entry.data) for lane, number, entry in group],
    )
    await work.connection.executemany(
        "INSERT INTO notifier.told (id, type, key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        [(event.id, event.type, event.data.get("key")) for event in events],
    )
    await work.restore([_result(event, _state(event)) for event in events if event.type in STATES])
    await work.restore_letters(
        [
            _result(event, "assigned")
            for event in events
            if event.type == "task.assigned" and event.data["task"] == POST_LETTER
        ]
    )
    return await taken.restore(work, [Event(e.id, "", e.type, e.time, e.data, e.tenant, e.case) for e in events])


def _state(event: _Told) -> str:
    came_back = event.type == "notice.failed" and event.data.get("outcome") == RETURNED
    return "held" if came_back else STATES[event.type]


def _result(event: _Told, state: str) -> Result:
    return Result(event.tenant, event.case, state, instant(event.time), event.data)


async def _note_receipts(work: Work, nc: Client) -> None:
    """The keys of what publishers were told, as far back as RECEIPTS goes."""
    end = (await nc.jetstream().stream_info("RECEIPTS")).state.last_seq
    keys: list[str] = []
    async for entry in read_up_to(nc, "RECEIPTS", end):
        event = _decode(entry.data)
        if entry.subject.startswith("feed."):
            keys.append(event.id)
        elif event.key:
            keys.append(f"{event.key}-receipt")
    await work.connection.executemany(
        "INSERT INTO notifier.told (id) VALUES ($1) ON CONFLICT DO NOTHING", [(key,) for key in keys]
    )
