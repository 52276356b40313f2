"""Delivery: messages from a full ledger through the development gateway, as fast as they go.

The one rule: what counts as sent was taken by the gateway once, in the order of its case, with an access record for
every reading of the vault, and stands on NOTICES. The gateway's record says so afterwards.

    PYTHONPATH=. python -m tests.bench.delivery [--quick]

The path says which tree is measured: processes are started without the present folder on theirs.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import cast

import asyncpg
import uvloop

from deploy import provision
from services.chassis import clock, logs
from services.chassis.vault import Sealing, Vault
from services.notifier.notices import key_of
from services.rules.instants import Instant, instant
from tests.bench.machine import json_loads_rate
from tests.bench.results import Bar, Outcome, Run, figure
from tests.bench.room import Room, open_room, until

RUNS = 3
MESSAGES, MESSAGES_QUICK = 10_000, 2_000
OF_A_CASE = 4
WARM = 0.05
"""The first share of the messages is not measured: connections open, caches fill."""
AT_LEAST = 1_000
TENANTS = ("seoul", "anseong", "mapo", "yeonje", "miryang")
NOW: Instant = instant("2026-03-10T09:00:00+09:00")

_FILL = """
    INSERT INTO notifier.notices (key, tenant, case_id, audience, recipient, template, version, language, arguments,
        topic, cause, means, state, wanted_at)
    SELECT *, 'sms', 'pending', $10 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
        $7::smallint[], $8::text[], $9::jsonb[], $11::text[], $12::jsonb[])
"""


async def measure(quick: bool) -> Outcome:
    """Three runs in one room, each on an empty ledger."""
    number = MESSAGES_QUICK if quick else MESSAGES
    async with open_room() as room:
        runs = [await _run(room, number, room.folder / f"gateway-{turn}") for turn in range(RUNS)]
    found = figure("Gihan", "messages/s", runs, f"{number:,} messages of {number // OF_A_CASE:,} cases")
    yardstick = json_loads_rate()
    return Outcome(
        subject="delivery",
        title="Delivery",
        about="Written with what the vault says at that moment, attempted, sent and told on NOTICES; no rate limit.",
        figures=[found],
        bars=[
            Bar("messages/s", found.value, at_least=AT_LEAST, unit="/s", ratio=False),
            Bar("messages / json.loads", found.value / yardstick),
        ],
        checked=f"{number:,} messages taken once each, in the order of their cases.",
    )


async def _run(room: Room, number: int, folder: Path) -> Run:
    await room.fresh_database()
    for stream in ("CASES", "SLA", "NOTICES", "RECEIPTS"):
        await room.nc.jetstream().delete_stream(stream)
    await provision.create_streams(room.nc)
    pool = await asyncpg.create_pool(room.database_url, min_size=1, max_size=3)
    try:
        await clock.step(pool, NOW)
        order = await _fill(pool, Vault(room.servers.secrets / "vault"), number)
        async with room.process("deploy.devgateway", "--dir", str(folder)) as gateway:
            ports = await _ports(room)
            addresses = {
                "SMS_URL": f"http://127.0.0.1:{ports['http']}",
                "SMTP_URL": f"smtp://127.0.0.1:{ports['smtp']}",
                "DATABASE_PASSWORD_FILE": "",  # the address has the one of the bench
            }
            async with room.process("services.notifier", service="notifier", **addresses) as notifier:

                async def sent(wanted: int) -> bool:
                    return await pool.fetchval("SELECT count(*) FROM notifier.notices WHERE state = 'sent'") >= wanted

                warm = int(number * WARM)
                await until(lambda: sent(warm), [notifier, gateway])
                begun = await pool.fetchval("SELECT count(*) FROM notifier.notices WHERE state = 'sent'")
                meter = room.meter({"notifier": [notifier.pid], "gateway": [gateway.pid]})
                start = time.monotonic()
                await until(lambda: sent(number), [notifier, gateway])
                seconds, used, (busy, others) = time.monotonic() - start, meter.read(), meter.shares()
                await until(lambda: _told(room, number), [notifier, gateway])
        await _check(pool, folder, order, number)
    finally:
        await pool.close()
    return Run(number - begun, seconds, used, busy, others)


async def _fill(pool: asyncpg.Pool, vault: Vault, number: int) -> dict[str, tuple[str, int]]:
    """A ledger in which so many messages wait; the case and the place in it of each key."""
    cases = [(TENANTS[place % len(TENANTS)], f"c{place}") for place in range(number // OF_A_CASE)]
    async with pool.acquire() as connection, connection.transaction():
        conn = cast(asyncpg.Connection, connection)
        people = [
            (tenant, {"name": f"홍길동 {place}", "mobile": f"010-{place // 10000:04}-{place % 10000:04}"})
            for place, (tenant, _) in enumerate(cases)
        ]
        sealing = Sealing()
        refs = [
            sealing.person(person, fields)
            for person, (_, fields) in zip(await vault.people(conn, people), people, strict=True)
        ]
        await sealing.write(conn)
        for tenant in TENANTS:
            await vault.seal_staff(conn, tenant, "kim", {"name": "김담당", "phone": "031-678-2114"})
        await conn.executemany(
            "INSERT INTO notifier.staff (tenant, staff, department, has_email) VALUES ($1, 'kim', '토지민원과', false)",
            [(tenant,) for tenant in TENANTS],
        )
        await conn.executemany(
            "INSERT INTO intake.cases (tenant, case_id, owner, receipt) VALUES ($1, $2, 'web', $3)",
            [(tenant, case, f"R-{place}") for place, (tenant, case) in enumerate(cases)],
        )
        await conn.executemany(
            "INSERT INTO notifier.cases VALUES ($1, $2, $3)",
            [
                (tenant, case, json.dumps({"owner": "web", "subject_ref": ref, "officer": "kim", "has_mobile": True}))
                for (tenant, case), ref in zip(cases, refs, strict=True)
            ],
        )
        rows, order = [], {}
        for place in range(OF_A_CASE):
            for (tenant, case), ref in zip(cases, refs, strict=True):
                key = key_of(tenant, case, str(place))
                order[key] = (f"{tenant}/{case}", place)
                template = "receipt" if place == 0 else "progress"
                arguments = json.dumps({} if place == 0 else {"state": "assigned"})
                cause = json.dumps({"source": "web", "id": key})
                rows.append((key, tenant, case, "citizen", ref, template, 1, "ko", arguments, f"t{place}", cause))
        columns = [list(column) for column in zip(*rows, strict=True)]
        await conn.execute(_FILL, *columns[:9], NOW, *columns[9:])
        await conn.execute("ANALYZE notifier.notices, notifier.cases, vault.subjects")
    return order


async def _ports(room: Room) -> dict[str, int]:
    """The ports that the development gateway prints."""

    async def printed() -> dict[str, int] | None:
        newest = max(room.servers.logs.glob("deploy.devgateway-*.log"), key=lambda path: path.stat().st_mtime)
        text = await asyncio.to_thread(newest.read_text)
        return json.loads(text) if text.endswith("}\n") else None

    return cast(dict[str, int], await until(printed))


async def _told(room: Room, number: int) -> bool:
    """Whether NOTICES tells of so many messages that they were sent."""
    state = (await room.nc.jetstream().stream_info("NOTICES", subjects_filter="notices.>")).state
    return sum(times for name, times in (state.subjects or {}).items() if name.endswith("notice.sent")) == number


async def _check(pool: asyncpg.Pool, folder: Path, order: dict[str, tuple[str, int]], number: int) -> None:
    """Raises AssertionError where anything is not as it must be."""
    taken = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
    assert [line["outcome"] for line in taken] == ["accepted"] * number
    places = defaultdict(list)
    for line in taken:
        case, place = order[line["key"]]
        places[case].append(place)
    assert set(map(tuple, places.values())) == {tuple(range(OF_A_CASE))}
    # The citizen and the officer of each message; again for one that the gateway was asked after.
    assert await pool.fetchval("SELECT count(*) FROM vault.access WHERE reader = 'notifier'") >= 2 * number


def main() -> int:
    """Measures, and says whether the bar is reached."""
    parser = argparse.ArgumentParser(description="Measures how fast messages go out.")
    parser.add_argument("--quick", action="store_true", help=f"{MESSAGES_QUICK:,} messages")
    chosen = parser.parse_args()
    logs.configure("bench", "critical")
    outcome = uvloop.run(measure(chosen.quick))
    for one in outcome.figures:
        costs = ", ".join(f"{name} {micro:.0f} µs" for name, micro in one.cpu.items())
        print(f"{one.value:,.0f} {one.unit} ({', '.join(f'{value:,.0f}' for value in one.values)}); CPU: {costs}")
        print(f"busy {one.busy:.2f}, others {one.others:.2f}; {outcome.checked}")
    return 0 if all(bar.reached for bar in outcome.bars) else 1


if __name__ == "__main__":
    sys.exit(main())
