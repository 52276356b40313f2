"""Go-live: the open cases of a municipality, brought over with their age, on a running system.

What was past before the city was live is shown, and nobody is written to or paid for it; what comes due afterwards is
kept like any other promise. What is sent twice is taken once.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from contracts.streams import STREAMS
from deploy.embedded import Embedded
from services.chassis import broker, clock, postgres
from services.chassis.settings import ROOT, Settings
from services.cli import running
from services.rules.instants import instant

LIVE = "2026-11-02T09:00:00+09:00"
AFTERWARDS = "2026-11-20T09:00:00+09:00"
NAME, MOBILE = "심어둔이름", "010-0000-7777"


def received(case: str, time: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"old-{case}",
        "source": "desk",
        "type": "complaint.received",
        "subject": case,
        "time": time,
        "tenant": "anseong",
        "data": {
            "channel": "visit",
            "kind": "inquiry",
            "title": "가로등",
            "applicant": {"name": NAME, "address": "안성시 1", "phone": MOBILE, "mobile": MOBILE},
            "notify_by": "sms",
        },
    }


PAST, STILL = received("old-1", "2026-09-01T10:00:00+09:00"), received("old-2", "2026-10-30T10:00:00+09:00")
EXTENDED = {
    **PAST,
    "id": "old-1-extended",
    "type": "complaint.extended",
    "time": "2026-09-05T10:00:00+09:00",
    "data": {"ground": "fact_check", "reason": "현장 확인", "amount": 3, "unit": "days"},
}


@pytest.fixture(scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Embedded, asyncpg.Pool]]:
    """A city that goes live on a Monday morning, its services on a stepped clock."""
    home = tmp_path_factory.mktemp("golive")
    told = (ROOT / "deploy" / "tenants.yaml").read_text()
    (home / "tenants.yaml").write_text(told.replace("anseong:\n", f'anseong:\n  go_live: "{LIVE}"\n', 1))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NATS_URL", "DATABASE_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("GIHAN_TENANTS_FILE", str(home / "tenants.yaml"))
        tenants = running.read_tenants()
        async with Embedded(home / "data", tenants) as servers:
            await running.provisioned(servers, tenants, now=instant("2026-10-26T09:00:00+09:00"))
            pool = await postgres.connect_pool(Settings(nats_url="", database_url=servers.database_url, service="test"))
            await clock.step(pool, instant(LIVE))
            async with running.start_services(servers, home, clock="stepped"):
                yield servers, pool
            await pool.close()


async def gihan(servers: Embedded, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli.main", *arguments, "--data", str(servers.data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
        env=dict(os.environ),
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def settled(pool: asyncpg.Pool, servers: Embedded) -> None:
    """Returns when every service has folded and published all there is, and no message is on its way."""
    nc = await broker.connect(Settings(nats_url=servers.nats_url("operator"), database_url="", service="operator"))
    try:
        async with asyncio.timeout(60):
            while True:
                ends = {s.name: (await nc.jetstream().stream_info(s.name)).state for s in STREAMS}
                row = await pool.fetchrow("select * from read.notifier")
                behind = await pool.fetchval(
                    "select exists (select from read.fold_position where sent < decisions or"
                    " next_at < (select now from chassis.clock))"
                )
                there = (row["cases_sequence"], row["sla_sequence"], row["open_notices"], row["unpublished"])
                if there == (ends["CASES"].last_seq, ends["SLA"].last_seq, 0, 0) and not behind:
                    return
                await asyncio.sleep(0.1)
    finally:
        await nc.close()


@pytest.mark.timeout(240)
async def test_open_cases_are_brought_over(city: tuple[Embedded, asyncpg.Pool], tmp_path: Path) -> None:
    servers, pool = city
    file = tmp_path / "open.jsonl"
    young = received("too-young", "2026-11-02T09:10:00+09:00")
    file.write_text("\n".join(json.dumps(event) for event in (PAST, EXTENDED, STILL, young)))
    code, said = await gihan(servers, "import", str(file))
    assert (code, said.splitlines()[-1]) == (1, "events: 4, refused: 1"), said
    assert said.startswith("line 4: /time: The time lies more than 5 minutes ahead.")
    assert NAME not in said

    file.write_text("\n".join(json.dumps(event) for event in (PAST, EXTENDED, STILL)))
    code, said = await gihan(servers, "import", str(file))
    assert (code, said) == (0, "events: 3, refused: 0\n")
    rows = await pool.fetch("select bodies[1] as body from intake.reservations where id like 'old-%' order by arrival")
    stored = [json.loads(row["body"]) for row in rows]
    assert {event["id"] for event in stored} == {"old-old-1", "old-1-extended", "old-old-2"}
    assert all(event["imported"] for event in stored)

    await settled(pool, servers)
    await clock.step(pool, instant(AFTERWARDS))
    await settled(pool, servers)
    broken = await pool.fetch("select \"case\", promise, due from read.decisions where kind = 'deadline.breached'")
    past = {(row["case"], row["promise"]) for row in broken if row["due"] < instant(LIVE)}
    since = {(row["case"], row["promise"]) for row in broken if row["due"] >= instant(LIVE)}
    assert ("old-1", "statutory-period") in past - since
    assert ("old-2", "statutory-period") in since
    # Not even the receipt of what was received elsewhere long ago is written of; what came due since is.
    notices = await pool.fetch("select \"case\", template, promise from read.notices where audience = 'citizen'")
    assert {row["template"] for row in notices} & {"receipt", "extension"} == set()
    told = {(row["case"], row["promise"]) for row in notices if row["template"] == "breach"}
    assert ("old-2", "statutory-period") in told
    assert told <= since
    # The city's own case has the tasks of its yearly duties.
    tasks = await pool.fetch(
        """select "case", promise from read.tasks where promise is not null and "case" <> tenant"""
    )
    assert "old-2" in {row["case"] for row in tasks}
    assert {(row["case"], row["promise"]) for row in tasks} <= since


@pytest.mark.timeout(120)
async def test_a_directory_describes_the_staff(city: tuple[Embedded, asyncpg.Pool], tmp_path: Path) -> None:
    """Names and numbers go to the vault; the log knows a department. The same directory again changes nothing."""
    servers, pool = city
    file = tmp_path / "directory.csv"
    file.write_text(
        f"staff,name,department,phone,email,head\nk-1,{NAME},도로과,{MOBILE},,true\nk-2,{NAME},세무과,{MOBILE},,\n"
    )
    for _ in range(2):
        code, said = await gihan(servers, "staff", str(file), "--tenant", "anseong", "--at", LIVE)
        assert (code, said) == (0, "events: 2, refused: 0\n")
    rows = await pool.fetch("select bodies[1] as body from intake.reservations where type = 'staff.described'")
    data = sorted((json.loads(row["body"])["data"] for row in rows), key=lambda one: one["staff"])
    assert [(one["staff"], one["department"], one.get("head")) for one in data] == [
        ("k-1", "도로과", True),
        ("k-2", "세무과", None),
    ]
    assert not any(NAME in row["body"].decode() or MOBILE in row["body"].decode() for row in rows)
    assert await pool.fetchval("select count(*) from vault.staff where tenant = 'anseong'") == 2
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("staff,name,department,phone,password\nk-1,a,b,c,d\n")
    code, said = await gihan(servers, "staff", str(wrong), "--tenant", "anseong")
    assert (code, said) == (2, said)
    assert "a directory has the columns staff, name, department" in said
    assert "password" not in said


@pytest.mark.timeout(120)
async def test_who_joins_what_runs_in_a_folder_needs_no_address(
    city: tuple[Embedded, asyncpg.Pool], tmp_path: Path
) -> None:
    """Why a date is the date, the audit, and a person's own copy, which no screen shows and nobody else may read."""
    servers, pool = city
    receipt = await pool.fetchval("select receipt from intake.cases where case_id = 'old-1'")
    ref = await pool.fetchval("select subject_ref from intake.cases where case_id = 'old-1'")
    code, said = await gihan(servers, "explain", "anseong/old-1", "statutory-period", "--lang", "en")
    assert (code, NAME in said) == (0, False), said
    assert "2026" in said
    code, said = await gihan(servers, "audit", "--json")
    assert (code, json.loads(said)["violations"]) == (0, []), said

    copy = tmp_path / "copy.json"
    command = ("subject-access", "anseong", "--receipt", receipt, "--checked", "identity_card", "--by", "lee")
    code, said = await gihan(servers, *command, "--out", str(copy), "--json")
    assert (code, json.loads(said)) == (0, {"file": str(copy), "cases": 2, "erased": False})
    assert copy.stat().st_mode & 0o777 == 0o600
    held = json.loads(copy.read_text())
    assert {case["case"] for case in held["cases"]} == {"old-1", "old-2"}
    assert held["cases"][0]["details"][0]["name"] == NAME
    page = tmp_path / "copy.html"
    code, said = await gihan(servers, *(command[0], f"anseong/{ref}", *command[4:]), "--out", str(page))
    assert (code, NAME in said) == (0, False), said
    assert NAME in page.read_text()
    for wrong, words in (
        ((*command, "--out", str(copy)), "exists"),
        ((*command[:3], "000000000-0", *command[4:], "--out", str(tmp_path / "none.json")), "Nobody is known"),
        ((*command[:5], "a wink", "--out", str(tmp_path / "none.json")), "identity_card"),
        ((*command, "--out", str(tmp_path / "none.pdf")), ".html or .json"),
    ):
        code, said = await gihan(servers, *wrong)
        assert (code, words in said) == (2, True), said
    assert not (tmp_path / "none.json").exists()
    readers = await pool.fetch("select distinct reader, purpose from vault.access where reader like 'operator/%'")
    ((reader, purpose),) = [tuple(row) for row in readers]
    assert (reader.partition("@")[0], purpose) == ("operator/lee", "subject_access:identity_card")
