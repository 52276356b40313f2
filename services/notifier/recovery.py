"""Recovery: a ledger that was lost is worked out anew from the logs.

The one rule: what NOTICES does not tell of is unknown, never new. Results are taken over from NOTICES before anything
is folded; what was to go out by then and has no result is asked after at its gateway before it is handed over.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from nats.aio.client import Client

from contracts.streams import PARTITIONS, notices_mark
from services.chassis import broker
from services.chassis.cursor import Entry, read_up_to
from services.chassis.logs import canonical
from services.notifier import gathering
from services.notifier.ledger import POST_LETTER, RETURNED, Ledger, Recovery, Work
from services.notifier.ledger.results import UNANSWERED
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


class _Result(NamedTuple):
    """What came of a message, as NOTICES tells: its state, when it was told, and the data of the event."""

    tenant: str
    case: str
    state: str
    at: Instant
    data: Mapping[str, Any]


_decode = msgspec.json.Decoder(_Told).decode


async def begin(ledger: Ledger, nc: Client, now: Instant) -> None:
    """Takes over what NOTICES tells, where it tells more than the ledger knows; `now` is the clock. All of it in one
    transaction: a notifier that dies here begins again."""
    known = await _numbered(ledger)
    behind = {lane: known.get(lane, 0) for lane in range(PARTITIONS) if await _last(nc, lane) > known.get(lane, 0)}
    if behind:
        ends = {log: (await nc.jetstream().stream_info(log)).state.last_seq for log in ("NOTICES", "CASES", "SLA")}
        async with ledger.writing(now) as work:
            steps = await _take_over(work, nc, ends["NOTICES"], behind)
            await _note_receipts(work, nc)
            await _doubt_all(work, Recovery(now, ends["CASES"], ends["SLA"]))
            await taken.reapply(work, steps)
        canonical("recovery_began", count=len(behind), sequence=ends["NOTICES"])
    ledger.recovery = await _under_way(ledger)


async def end(ledger: Ledger, now: Instant) -> None:
    """Both logs are folded beyond where they ended, and what was due then is let go: from now on all is new."""
    async with ledger.writing(now) as work:
        await gathering.restore(work)
        # What nobody wants any more cannot be written anew.
        for row in await work.connection.fetch(
            "SELECT * FROM notifier.notices WHERE topic = '' AND state = 'unknown' ORDER BY number"
        ):
            await work.settle(row, "failed", "ledger_lost")
        await work.connection.execute("DELETE FROM notifier.recovery")
        await work.connection.execute("DELETE FROM notifier.told")
    ledger.recovery = None


async def _under_way(ledger: Ledger) -> Recovery | None:
    """The recovery that has not come to its end, or None."""
    row = await ledger.pool.fetchrow("SELECT began_at, cases, sla FROM notifier.recovery")
    return None if row is None else Recovery(*row)


async def _numbered(ledger: Ledger) -> dict[int, int]:
    """The last number of each lane that has any."""
    rows = await ledger.pool.fetch("SELECT lane, max(number) AS last FROM notifier.outbox GROUP BY lane")
    return {row["lane"]: row["last"] for row in rows}


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
    await _restore(work, [_result(event, _state(event)) for event in events if event.type in STATES])
    await _restore_letters(
        work,
        [
            _result(event, "assigned")
            for event in events
            if event.type == "task.assigned" and event.data["task"] == POST_LETTER
        ],
    )
    return await taken.restore(work, [Event(e.id, "", e.type, e.time, e.data, e.tenant, e.case) for e in events])


def _state(event: _Told) -> str:
    came_back = event.type == "notice.failed" and event.data.get("outcome") == RETURNED
    return "held" if came_back else STATES[event.type]


def _result(event: _Told, state: str) -> _Result:
    return _Result(event.tenant, event.case, state, instant(event.time), event.data)


async def _restore(work: Work, results: Sequence[_Result]) -> None:
    """Results that NOTICES tells, in their order, into a ledger that does not know them. One that came back is due
    again, by another means."""
    await work.connection.executemany(
        "INSERT INTO notifier.notices AS n (tenant, case_id, state, key, audience, recipient, template, version, "
        "language, arguments, promise, topic, cause, means, reason, attempts, wanted_at, settled_at, release_at, "
        "part_of, let_go_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '{}', $10, '', $11, $12, $13, $14, $15, $16, $17, $18, $15) "
        "ON CONFLICT (key) DO UPDATE SET means = excluded.means, state = excluded.state, reason = excluded.reason, "
        "attempts = excluded.attempts, settled_at = excluded.settled_at, part_of = excluded.part_of, "
        "release_at = coalesce(excluded.release_at, n.release_at), returned = n.returned + "
        "CASE WHEN n.state = 'sent' AND excluded.state IN ('failed', 'held') THEN 1 ELSE 0 END "
        "WHERE n.state NOT IN ('sent', 'failed', 'suppressed') "
        "OR (n.state = 'sent' AND excluded.state IN ('failed', 'held'))",
        [
            (
                *(one.tenant, one.case, one.state, one.data["key"]),
                "officer" if "staff" in one.data else "citizen",
                one.data.get("staff") or one.data.get("subject_ref"),
                *(one.data["template"], int(one.data["version"]), one.data["language"], one.data.get("promise")),
                *(json.dumps(one.data.get("cause") or {}), one.data.get("means"), one.data.get("outcome")),
                *(one.data.get("attempt") or 0, one.at, None if one.state in ("unknown", "held") else one.at),
                *(one.at if one.state == "held" else None, one.data.get("into")),
            )
            for one in results
        ],
    )
    await work.connection.executemany(
        "INSERT INTO notifier.attempts (key, number, means, repeated, started_at, outcome, code, ended_at) "
        "VALUES ($1, $2, $3, false, $4, 'undelivered', 'returned', $4) "
        "ON CONFLICT (key, number) DO UPDATE SET outcome = excluded.outcome",
        [(one.data["key"], one.data["attempt"], one.data["means"], one.at) for one in results if one.state == "held"],
    )


async def _restore_letters(work: Work, letters: Sequence[_Result]) -> None:
    """Messages that went by post, as NOTICES tells: no decision brings their tasks anew."""
    await work.connection.executemany(
        "INSERT INTO notifier.tasks (key, tenant, case_id, incident, clause, task, promise, officer, cause, state, "
        "revision, wanted_at) VALUES ($1, $2, $3, $4, '', $5, $6, $7, $8, 'assigned', 1, $9) "
        "ON CONFLICT DO NOTHING",
        [
            (
                *(one.data["key"], one.tenant, one.case, one.data["incident"], POST_LETTER),
                *(one.data.get("promise"), one.data.get("assignee"), json.dumps(one.data["cause"]), one.at),
            )
            for one in letters
        ],
    )


async def _doubt_all(work: Work, recovery: Recovery) -> None:
    """From here on, what becomes due is unknown; what was still waiting to go out is, too."""
    work.recovery = recovery
    await work.connection.execute("INSERT INTO notifier.recovery VALUES (true, $1, $2, $3)", *recovery)
    for row in await work.connection.fetch("SELECT * FROM notifier.notices WHERE state = 'pending'"):
        await work.doubt(row)
    await work.connection.execute(f"{UNANSWERED} ON CONFLICT DO NOTHING")


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
