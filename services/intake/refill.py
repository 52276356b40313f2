"""Refilling: reservations that the database has lost are made again from CASES, before anything new is taken in.

The one rule: the log is the truth, also about what intake has answered. Each batch closes with a marker that says how
many messages before it are its own, so instance, number and place come back exactly. What a message was compared by
(its hash) does not, nor what waited outside the log: a repeat gets the first answer, whatever it holds.
"""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson
from nats.aio.client import Client

from contracts.events import OPENING_TYPES
from contracts.streams import intake_mark
from services.chassis import broker
from services.chassis.cursor import Entry, read_up_to
from services.chassis.health import Part
from services.chassis.logs import canonical
from services.chassis.vault import make_confidential
from services.intake.reserve import CONFIDENTIAL_KINDS
from services.rules.instants import instant

GROUP_MESSAGES = 5000
"""About so many messages' reservations are written in one transaction."""
_OF_APPLICANT = ("complaint.received", "applicant.updated")
_PROVISION = intake_mark("provision-")
"""How the markers of provisioning begin, whose batches intake never reserved."""


@dataclass(slots=True)
class _Case:
    """What a stretch of the log says of a case. `ref` is the newest that stands in any case, `first_ref` one for a
    case that has none."""

    owner: str | None = None
    receipt: str | None = None
    ref: str | None = None
    first_ref: str | None = None
    notify_by: str | None = None
    language: str | None = None
    confidential: bool = False


@dataclass(slots=True)
class _Group:
    """Batches that are written together."""

    batches: list[tuple[str, int, int, int]] = field(default_factory=list)
    reservations: list[tuple[Any, ...]] = field(default_factory=list)
    cases: dict[tuple[str, str], _Case] = field(default_factory=dict)


async def refill(pool: asyncpg.Pool, nc: Client, part: Part) -> int:
    """Makes the reservations of every batch that the log holds and the database does not; returns how many batches.

    The log must have been checked to be ours.
    """
    known = await pool.fetchval("select coalesce(max(marker_sequence), 0) from intake.batches")
    last = await broker.last_message(nc, "CASES", intake_mark("*"))
    if last is None or last[0] <= known:
        return 0
    count, group = 0, _Group()
    before: deque[Entry] = deque(maxlen=broker.BATCH_LIMIT)
    async for entry in read_up_to(nc, "CASES", last[0], after=known):
        if not entry.subject.startswith("mark."):
            before.append(entry)
            continue
        _gather(group, entry, list(before))
        before.clear()
        if len(group.reservations) >= GROUP_MESSAGES:
            part.down(f"reservations are made again from CASES, now at {entry.sequence} of {last[0]}: wait")
            count += await _write(pool, group)
            group = _Group()
    count += await _write(pool, group)
    await _number_on(pool)
    if count:
        canonical("reservations_refilled", count=count, sequence=last[0])
    return count


def _gather(group: _Group, marker: Entry, before: Sequence[Entry]) -> None:
    """Adds the batch that a marker closes; a fencing marker, or one that only fills a place, closes none."""
    content = json.loads(marker.data)
    if not content.get("count") or marker.subject.startswith(_PROVISION):
        return
    instance = marker.subject.rpartition(".")[2]
    group.batches.append((instance, content["batch"], content["count"], marker.sequence))
    copies: dict[tuple[str, str, str], tuple[int, dict[str, Any], list[Entry]]] = {}
    for place, entry in enumerate(before[len(before) - content["count"] :]):
        event = orjson.loads(entry.data)
        key = (event["tenant"], event["source"], event["id"])
        copies.setdefault(key, (place, event, []))[2].append(entry)
    for key, (place, event, entries) in copies.items():
        data = event["data"]
        group.reservations.append(
            (
                *key,
                *(event["type"], event["subject"], data.get("officer")),
                *(instant(event["time"]), instant(event["recordedtime"])),
                *([entry.subject for entry in entries], [entry.data for entry in entries]),
                *(data.get("subject_ref"), instance, content["batch"], place),
            )
        )
        _learn(group.cases.setdefault((event["tenant"], event["subject"]), _Case()), event)


def _learn(case: _Case, event: dict[str, Any]) -> None:
    """What intake remembered of a case once it had reserved this event."""
    data = event["data"]
    if event["type"] in OPENING_TYPES and event["subject"] != event["tenant"] and case.owner is None:
        case.owner = event["source"]
    case.receipt = case.receipt or event.get("receipt")
    case.notify_by = data.get("notify_by") or case.notify_by
    case.language = data.get("language") or case.language
    case.confidential |= data.get("kind") in CONFIDENTIAL_KINDS
    if ref := data.get("subject_ref"):
        case.first_ref = case.first_ref or ref
        case.ref = ref if event["type"] in _OF_APPLICANT else case.ref


async def _write(pool: asyncpg.Pool, group: _Group) -> int:
    """Writes what is not there yet; returns how many batches that were."""
    async with pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(
            "insert into intake.batches as b select * from unnest($1::text[], $2::bigint[], $3::int[], $4::bigint[])"
            " on conflict (instance, number) do update set marker_sequence = excluded.marker_sequence"
            " where b.marker_sequence is null returning instance, number, old.instance is null as new",
            *([batch[place] for batch in group.batches] for place in range(4)),
        )
        new = {(row["instance"], row["number"]) for row in rows if row["new"]}
        await connection.executemany(
            "insert into intake.reservations (tenant, source, id, type, case_id, officer, occurred, recorded, subjects,"
            " bodies, subject_ref, instance, batch, place, waited)"
            " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, false) on conflict do nothing",
            [row for row in group.reservations if (row[11], row[12]) in new],
        )
        await connection.executemany(
            "insert into intake.cases as c (tenant, case_id, owner, receipt, subject_ref, notify_by, language,"
            " confidential) values ($1, $2, $3, $4, coalesce($5, $6), $7, $8, $9)"
            " on conflict (tenant, case_id) do update"
            " set owner = coalesce(c.owner, $3), receipt = coalesce(c.receipt, $4),"
            " subject_ref = coalesce($5, c.subject_ref, $6), notify_by = coalesce($7, c.notify_by),"
            " language = coalesce($8, c.language), confidential = c.confidential or $9",
            [
                (
                    *(*key, case.owner, case.receipt, case.ref, case.first_ref, case.notify_by, case.language),
                    case.confidential,
                )
                for key, case in group.cases.items()
            ],
        )
        for tenant, name in sorted(key for key, case in group.cases.items() if case.confidential):
            await make_confidential(connection, tenant, name)
    return len(new)


async def _number_on(pool: asyncpg.Pool) -> None:
    """Receipt numbers go on after the highest that was given."""
    await pool.execute(
        "select setval('intake.receipt_numbers', given) from"
        " (select max(split_part(receipt, '-', 1)::bigint) as given from intake.cases) as known"
        " where given > (select last_value from intake.receipt_numbers)"
    )
