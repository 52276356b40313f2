"""Personal data in the whole system: planted in everything that comes in, looked for in every file; and forgotten.

Goal: outside the vault no name, number, address or text is found, and who was erased does not come back. Method: the
three services as processes, their servers in a folder of their own. Persons are planted through every door, in letters
that are refused too; messages go out; a backup is made; one of them is erased. Then everything is stopped and each file
is searched: streams, tables, write-ahead log, logs, the backup. Then yesterday's backup is put back.
"""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from contracts.streams import inbox_subject
from deploy import permissions
from deploy.embedded import Embedded
from deploy.joining import environment_of
from services.chassis import broker, postgres
from services.chassis.settings import Settings
from services.chassis.vault import Erased, open_vault
from services.cli import rebuild, running
from services.cli.backup import backup
from services.cli.demo import demo
from services.cli.demo.demo import MONDAY
from services.cli.demo.driver import Driver
from services.cli.restore import restore
from services.cli.verify import verify
from services.intake.erasure import erase, find
from services.rules.instants import DAY, HOUR, MINUTE, Instant, midnight, text
from services.rules.tenants import Tenant

CITY = "anseong"
PLANTED = (
    "심은이름",
    "Planted-Kim",
    "010-7777-1234",
    "01077771234",
    "planted@mail.example",
    "심은길 77",
    "planted words",
    "심은 글",
    "900101-1234567",
    "담당심은",
    "031-777-9999",
)
NAME, LATIN, MOBILE, _, EMAIL, ADDRESS, WORDS, KOREAN, NUMBER, OFFICER, DESK = PLANTED
TEXT = f"{WORDS} {KOREAN} {NUMBER} {MOBILE}"
CLERK = ("handle", "clerk/kim")


class Publisher:
    """The city's systems: events by HTTP, and letters in INBOX."""

    def __init__(self, servers: Embedded, intake: str, now: str) -> None:
        self.servers, self.intake, self.now = servers, intake, now

    async def post(self, source: str, *events: dict[str, Any], status: int = 200) -> Any:
        key = self.servers.publisher_keys[f"{CITY}/{source}"]
        async with httpx.AsyncClient(base_url=self.intake, trust_env=False, timeout=30) as http:
            told = [{**event, "source": source} for event in events]
            answer = await http.post(
                "/v1/events", json=told[0] if len(told) == 1 else told, headers={"Authorization": f"Bearer {key}"}
            )
        assert answer.status_code == status, answer.text
        assert not list(found_in(answer.content)), answer.text
        return answer.json()

    async def leave(self, type: str, *letters: bytes) -> None:
        user = permissions.publisher(CITY, "web")
        nc = await broker.connect(demo._settings(self.servers, user))
        for letter in letters:
            await nc.jetstream().publish(inbox_subject(CITY, "web", type), letter, stream="INBOX")
        await nc.close()

    def event(self, id: str, type: str, subject: str, **data: Any) -> dict[str, Any]:
        head = {"specversion": "1.0", "id": id, "source": "web", "type": type, "time": self.now, "tenant": CITY}
        return {**head, "subject": subject, "data": data}


def found_in(content: bytes) -> Iterator[str]:
    """Planted words in some bytes, as they are or as JSON writes them."""
    for word in PLANTED:
        if word.encode() in content or json.dumps(word)[1:-1].encode() in content:
            yield word


def found_below(folder: Path) -> dict[str, list[str]]:
    """Planted words by file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = {str(path.relative_to(folder)): list(found_in(path.read_bytes())) for path in files}
    return {name: words for name, words in found.items() if words}


def settings_of(servers: Embedded, user: str) -> Settings:
    return Settings.from_env(user, {**servers.environment(user), "GIHAN_CLOCK": "stepped"})


async def plant(city: Publisher) -> None:
    """Everything that may hold personal data, right and wrong, by every door."""
    applicant = {"name": NAME, "address": ADDRESS, "mobile": MOBILE, "email": EMAIL}
    petition = {"channel": "web", "kind": "inquiry", "title": WORDS, "text": TEXT, "applicant": applicant}
    await city.post(
        "administration",
        city.event("p-0", "staff.described", CITY, staff="kim", name=OFFICER, department="도로과", phone=DESK),
    )
    await city.post("web", city.event("p-1", "complaint.received", "p-1", **petition))
    await city.post("web", city.event("p-1", "complaint.received", "p-1", **{**petition, "title": KOREAN}), status=409)
    wrong = {**petition, "applicant": {**applicant, LATIN: EMAIL}, NAME: TEXT}
    await city.post("web", city.event("p-2", "complaint.received", "p-2", **wrong), status=422)
    report = {**petition, "kind": "corruption_report", "applicant": {**applicant, "name": LATIN}}
    memo = {"caller": NAME, "phone": MOBILE, "matter": TEXT, "reply_wanted": True}
    await city.post(
        "web",
        city.event("p-3", "complaint.received", "p-3", **report),
        city.event("p-4", "applicant.updated", "p-1", applicant=applicant),
        city.event("p-5", "complaint.assigned", "p-1", department="도로과", officer="kim"),
        city.event("p-6", "callback.requested", "p-6", via="phone", memo=memo, wanted_place=ADDRESS),
        city.event("p-7", "complaint.reopened", "p-never-opened", reason=TEXT),
        city.event("p-8", "fault.reported", "p-1", ground="unkind", officer="kim", text=TEXT),
        city.event("p-9", "delay.explained", "p-1", reason=TEXT, expected="2027-01-01"),
    )
    withdrawn = city.event("p-10", "complaint.withdrawn", "p-1")
    letters = (
        {**withdrawn, "data": {"applicant": applicant, NAME: TEXT}},
        {**withdrawn, "id": EMAIL},
        {**withdrawn, "subject": NAME},
    )
    await city.leave(
        "complaint.withdrawn", *(json.dumps(letter, ensure_ascii=False).encode() for letter in letters), TEXT.encode()
    )


async def buried(run: demo._Run, letters: int) -> None:
    """Waits until INBOX is empty, its blocks are gone and so many letters lie in DEAD."""
    async with asyncio.timeout(60):
        while True:
            inbox = (await run.nc.jetstream().stream_info("INBOX")).state
            dead = (await run.nc.jetstream().stream_info("DEAD")).state
            if inbox.messages == 0 and dead.messages == letters:
                return
            await asyncio.sleep(0.1)


@pytest.fixture
def tenants() -> dict[str, Tenant]:
    """The tenants of the installation."""
    return running.read_tenants()


@pytest.mark.timeout(300)
async def test_nobody_is_found_and_who_was_erased_stays_away(tmp_path: Path, tenants: dict[str, Tenant]) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    began: Instant = midnight(MONDAY, tenants[CITY].zone) + 9 * HOUR
    async with demo._running(home, tenants, began) as run:
        servers = run.gihan.servers
        city = Publisher(servers, run.gihan.services.url("intake"), text(began, tenants[CITY].zone))
        await plant(city)
        await buried(run, 4)
        driver = Driver(run.pool, run.nc, run.doors)
        await driver.step(began + HOUR)
        await driver.step(began + 3 * DAY)
        sent = await run.pool.fetchval("select count(*) from read.notices where state = 'sent'")
        assert sent > 3
        pages = [
            f"{run.gihan.services.url(service)}{path}"
            for service in permissions.SERVICES
            for path in ("/metrics", "/status", "/health/ready", "/openapi.json")
        ]
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            for page in pages:
                assert list(found_in((await http.get(page)).content)) == [], page
        await backup(settings_of(servers, "backup"), copy)

        vault = open_vault(settings_of(servers, "intake"))
        ref = await run.pool.fetchval("select subject_ref from read.subject_refs where \"case\" = 'p-1'")
        async with run.pool.acquire() as conn:
            assert (await vault.read_person(conn, CITY, ref, *CLERK))["name"] == NAME
            found, known = await find(conn, CITY, ref, None)
            await erase(conn, vault, CITY, found, known.person, "operator/lee", began + 3 * DAY)
            with pytest.raises(Erased):
                await vault.read_person(conn, CITY, ref, *CLERK)
        await driver.step(began + 10 * DAY)
        mended = [row async for row in rebuild.rebuild(settings_of(servers, "replay"))]
        assert {(row.cases, row.decisions) for row in mended} == {(0, 0)}
        verdicts = [row.difference async for row in verify(settings_of(servers, "replay"))]
        assert verdicts == [""] * 16
        reasons = await run.pool.fetch("select reason, count(*) from read.notices where state = 'failed' group by 1")
        assert {row["reason"]: row["count"] for row in reasons}["erased"] > 0
        records = await run.pool.fetchval("select count(*) from vault.access where tenant = $1", CITY)
        assert await run.pool.fetchval("select count(*) from vault.letters") == 4
        await run.pool.execute("checkpoint")

    data = home / "data"
    streams = {path.parent.parent.name for path in data.rglob("*.blk")}
    assert streams >= {"CASES", "SLA", "NOTICES", "INBOX", "RECEIPTS", "DEAD"}
    assert list((data / "postgres").rglob("pg_wal/0*"))
    assert {path.name for path in (data / "logs").iterdir()} >= {"intake.log", "notifier.log", "sla_timer.log"}
    assert set(found_below(home / "gateway")) == {"texts.jsonl"}  # what left for the citizens: the search finds it
    assert found_below(data) == {}
    assert found_below(copy) == {}

    async with Embedded(data, tenants) as servers:
        await restore(settings_of(servers, "restore"), copy, ("log", "database"), replace=True)
    assert found_below(data) == {}
    async with demo._running(home, tenants, began + 10 * DAY) as run:
        await Driver(run.pool, run.nc, run.doors).step(began + 10 * DAY + MINUTE)
        vault = open_vault(settings_of(run.gihan.servers, "intake"))
        async with run.pool.acquire() as conn:
            with pytest.raises(Erased):
                await vault.read_person(conn, CITY, ref, *CLERK)
            other = await conn.fetchval("select subject_ref from read.subject_refs where \"case\" = 'p-3'")
            reader = ("confidential_report", "audit/lee")
            assert (await vault.read_person(conn, CITY, other, *reader))["name"] == LATIN
            # Those of before the backup came back with it, those after it were kept beside it.
            kinds = await conn.fetch("select kind from vault.access where tenant = $1 and kind = 'erased'", CITY)
            assert len(kinds) == 1
            assert await conn.fetchval("select count(*) from vault.access where tenant = $1", CITY) > records
            assert await vault.verify_access_chain(conn, CITY) is None
        told = Settings.from_env("replay", environment_of(data, "replay"))
        assert [row.difference async for row in verify(told)] == [""] * 16


async def test_a_vault_of_one_master_key_is_taken_over(tmp_path: Path, tenants: dict[str, Tenant]) -> None:
    """An installation from before master keys had dates: its key and what it wrapped are read on."""
    data = tmp_path / "data"
    async with Embedded(data, tenants) as servers:
        key = servers.secrets / "vault" / "1970-01-01.key"
        kept = key.read_bytes()
        await running.provisioned(servers, tenants)
        vault = open_vault(settings_of(servers, "intake"))
        connection = await asyncpg.connect(servers.database_url)
        ref = await vault.seal_person(connection, CITY, {"name": NAME, "mobile": MOBILE})
        for column in ("tenants set seal_key", "tenants set index_key", "people set data_key"):
            name = column.split()[-1]
            await connection.execute(f"update vault.{column} = substring({name} from 11)")
        await connection.execute(
            "drop table vault.numbers, vault.erasures, intake.erasures;"
            "drop view read.subject_refs; alter table intake.cases drop column confidential;"
            "alter table vault.subjects drop column case_id, drop column confidential;"
            "alter table vault.texts drop column case_id, drop column confidential"
        )
        # What came later stands beside it; only the step from then to dated keys is done over again.
        later = await connection.fetch("delete from chassis.migrations where name >= '013' returning name, sha256")
        await connection.close()
        key.unlink()
        key.parent.rmdir()
        (servers.secrets / "vault.key").write_bytes(kept)
    async with Embedded(data, tenants) as servers:
        assert not (servers.secrets / "vault.key").exists()
        until_then = tmp_path / "migrations"
        until_then.mkdir()
        for file in postgres.MIGRATIONS.glob("*.sql"):
            if file.name < "014":
                shutil.copy(file, until_then)
        assert await postgres.migrate(servers.database_url, folder=until_then) == ["013_vault.sql"]
        vault = open_vault(settings_of(servers, "intake"))
        connection = await asyncpg.connect(servers.database_url)
        await connection.executemany(
            "insert into chassis.migrations values ($1, $2)",
            [tuple(row) for row in later if not row["name"].startswith("013")],
        )
        assert await vault.read_person(connection, CITY, ref, *CLERK) == {"name": NAME, "mobile": MOBILE}
        again = await vault.seal_person(connection, CITY, {"name": NAME, "mobile": MOBILE})
        people = await vault.people_of(connection, [(CITY, ref), (CITY, again)])
        assert len({person.id for person in people.values()}) == 1
        await connection.close()
