"""Gathering: several messages to one person become one, where one event brings them or they wait for a digest.

The one rule: each message stays a row of its own with its own key, which says by which other it was told (`part_of`).
So a retraction finds it, NOTICES tells what became of it, and the one that tells them all can be made anew from them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import asyncpg

from services.chassis.failpoints import failpoint
from services.chassis.vault.people import references_of_same
from services.notifier import texts
from services.notifier.notices import CaseView, key_of

if TYPE_CHECKING:
    from services.notifier.ledger import Work

BREACHES, CORRECTIONS, DIGEST, OFFICER_DIGEST = "breaches", "corrections", "digest", "officer_digest"
TAKEN_BACK = ("correction", "compensation_withdrawn")
"""What is told together as corrections; breaches and what is owed for them are the others."""
MERGED, IN_DIGEST = "merged", "in_digest"
GONE = ("sending", "sent", "unknown")
"""States of a message that somebody may have read."""

Row = asyncpg.Record


async def grouped(work: "Work", rows: Sequence[Row]) -> list[list[Row]]:
    """Messages that are let go at the same time, by what will be one of them."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(await _group(work, row), []).append(row)
    return list(groups.values())


async def _group(work: "Work", row: Row) -> tuple[str, ...]:
    if row["gathers"]:
        person: str = row["recipient"]
        if row["audience"] == "citizen":
            person = min(await references_of_same(work.connection, row["tenant"], person), default=person)
        return (DIGEST, row["tenant"], row["audience"], person)
    if row["bundle"]:
        return ("bundle", row["tenant"], row["case_id"], row["bundle"])
    return ("alone", row["key"])


async def say_as_one(work: "Work", members: Sequence[Row], views: Mapping[tuple[str, str], CaseView]) -> bool:
    """Puts one message in the place of several. False where there is one under its key already, so that these go each
    by itself."""
    first = members[0]
    # Made of what the logs say, so that it is the same whoever works it out again.
    about = (first["case_id"], first["bundle"])
    if first["gathers"]:
        about = (f"digest {first['release_at']}", f"{first['audience']} {first['recipient']}")
    row = await _write(work, key_of(first["tenant"], *about), members, IN_DIGEST if first["gathers"] else MERGED)
    if row is None:
        return False
    await failpoint("gathering.after_whole")
    for member in members:
        await work.connection.execute(
            "UPDATE notifier.notices SET part_of = $2 WHERE key = $1", member["key"], row["key"]
        )
        await work.settle(member, "suppressed", IN_DIGEST if first["gathers"] else MERGED)
    await work.plan(row, views[row["tenant"], row["case_id"]])
    return True


async def _write(work: "Work", key: str, members: Sequence[Row], outcome: str) -> Row | None:
    """The row that stands for its members; None where it is there already, and known."""
    first = members[0]
    merged = CORRECTIONS if first["template"] in TAKEN_BACK else BREACHES
    for_citizen = DIGEST if outcome == IN_DIGEST else merged
    template = OFFICER_DIGEST if first["audience"] == "officer" else for_citizen
    return await work.connection.fetchrow(
        "INSERT INTO notifier.notices (key, tenant, case_id, audience, recipient, template, version, language, "
        "arguments, topic, cause, state, release_at, wanted_at, rung) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'held', $12, $13, $14) ON CONFLICT (key) DO UPDATE "
        "SET topic = excluded.topic, arguments = excluded.arguments, rung = excluded.rung "
        "WHERE notices.topic = '' RETURNING *",
        key,
        first["tenant"],
        first["case_id"],
        first["audience"],
        first["recipient"],
        template,
        texts.catalogue(first["language"]).version,
        first["language"],
        json.dumps(_arguments(members)),
        f"as_one|{key}",
        first["cause"],
        first["release_at"],
        work.now,
        first["rung"],
    )


def _arguments(members: Sequence[Row]) -> dict[str, Any]:
    """What the members say, case by case; what is owed in one currency is one sum, and that nothing is owed any more is
    said once of a case."""
    items: list[dict[str, Any]] = []
    owed: dict[str, dict[str, Any]] = {}
    for member in sorted(members, key=lambda one: (one["case_id"], one["number"])):
        item = {**json.loads(member["arguments"]), "template": member["template"], "case": member["case_id"]}
        if member["template"] == "compensation" and "amount" in item:
            amount, currency = item["amount"]
            if currency in owed:
                owed[currency]["amount"][0] += amount
                continue
            owed[currency] = item
        if member["template"] == "compensation_withdrawn" and item in items:
            continue
        items.append(item)
    return {"items": items}


async def take_out(work: "Work", key: str, outcome: str) -> list[Row]:
    """Leaves retracted members out of the message that tells them; its row where it may have been read already, or was
    given out of hand and tells nothing any more."""
    row = await work.connection.fetchrow("SELECT * FROM notifier.notices WHERE key = $1", key)
    if row is None or row["state"] in GONE:
        return [] if row is None else [row]
    members = await _members(work, key)
    if row["state"] not in ("held", "pending"):
        return [] if members else [row]
    if members:
        await work.connection.execute(
            "UPDATE notifier.notices SET arguments = $2 WHERE key = $1", key, json.dumps(_arguments(members))
        )
    else:
        await work.settle(row, "suppressed", outcome)
    return []


async def _members(work: "Work", key: str, all: bool = False) -> list[Row]:
    """What a message tells, or all that it once told."""
    return await work.connection.fetch(
        "SELECT * FROM notifier.notices WHERE part_of = $1 AND ($2 OR NOT retracted) ORDER BY number", key, all
    )


async def restore(work: "Work") -> None:
    """After a loss: messages that tell several, made anew from their members. One of which NOTICES does not tell may
    have gone or not, and is asked after under its own key."""
    keys = await work.connection.fetch(
        "SELECT m.part_of AS key, "
        "max(CASE WHEN whole.state IN ('sent', 'failed', 'suppressed') THEN 1 ELSE 0 END) = 1 AS over "
        "FROM notifier.notices m LEFT JOIN notifier.notices whole ON whole.key = m.part_of "
        "WHERE m.part_of IS NOT NULL AND (whole.key IS NULL OR whole.topic = '') GROUP BY 1 ORDER BY min(m.number)"
    )
    for found in keys:
        members = await _members(work, found["key"], bool(found["over"]))
        row = await _write(work, found["key"], members, members[0]["reason"]) if members else None
        if row is not None and row["state"] == "held":
            views = await work.views([(row["tenant"], row["case_id"])])
            await work.plan(row, views[row["tenant"], row["case_id"]])
