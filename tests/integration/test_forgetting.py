"""Forgetting, through the services: who asks to be erased, what time erases, and who reports sealed from the office."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from fastapi import FastAPI
from nats.aio.client import Client
from typer.testing import CliRunner

from contracts.streams import STREAMS
from deploy import bootstrap, provision
from services.chassis.clock import step
from services.chassis.settings import Settings
from services.chassis.vault import Erased, Erasure, NotAllowed, Vault, VaultError
from services.cli.main import app as command
from services.intake import retention
from services.intake.app import build_app as intake_app
from services.intake.erasure import Unknown, erase, find
from services.intake.judge import Publisher
from services.rules.instants import instant
from services.rules.tenants import Tenant
from services.sla_timer.app import build_app as sla_timer_app
from tests.integration.emptying import empty

TENANT = "anseong"
MONDAY = "2026-04-06T10:00:00+09:00"
TUESDAY = "2026-04-07T10:00:00+09:00"
PERSON = {"name": "홍길동", "mobile": "010-0000-0001", "address": "안성시 1"}
CLERK = ("handle", "clerk/kim")
OPERATOR = "operator/lee"
Eventually = Callable[..., Awaitable[Any]]


class City:
    """Intake and sla_timer of one city, in this process, on the stepped clock; a folder of master keys of its own."""

    def __init__(self, settings: Any, pool: asyncpg.Pool, vault: Vault, eventually: Eventually) -> None:
        self.settings, self.pool, self.vault, self.eventually = settings, pool, vault, eventually
        self.intake: FastAPI | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        intake = intake_app(self.settings("intake", vault_keys=self.vault.master.folder))
        timer = sla_timer_app(self.settings("sla_timer"))
        async with intake.router.lifespan_context(intake), timer.router.lifespan_context(timer):
            self.intake = intake
            yield

    async def tell(self, *events: dict[str, Any]) -> list[Any]:
        assert self.intake is not None
        publisher = Publisher(TENANT, "call-centre")
        return list(await self.intake.state.parts.doors.receive(json.dumps(list(events)).encode(), publisher, "http"))

    async def ref(self, case: str) -> str:
        """The newest reference of whoever is behind a case."""
        return str(await self.pool.fetchval('select subject_ref from read.subject_refs where "case" = $1', case))

    async def read(self, case: str, purpose: str = CLERK[0], reader: str = CLERK[1]) -> dict[str, str]:
        async with self.pool.acquire() as conn:
            return await self.vault.read_person(conn, TENANT, await self.ref(case), purpose, reader)

    async def texts(self, case: str) -> list[str]:
        """References of the texts of a case."""
        rows = await self.pool.fetch("select text_ref from vault.texts where case_id = $1 order by text_ref", case)
        return [row["text_ref"] for row in rows]

    async def closed(self, case: str) -> bool:
        return bool(await self.pool.fetchval('select closed from read.cases where "case" = $1', case))


@pytest.fixture
async def city(
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    tenants: dict[str, Tenant],
    eventually: Eventually,
    tmp_path: Path,
) -> AsyncIterator[City]:
    for stream in STREAMS:
        await nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(nc)
    await bootstrap.enact_files(nc, [tenants[TENANT]], instant(MONDAY))
    await step(pool, instant(MONDAY))
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "1970-01-01.key").write_bytes(bytes(range(32)))
    city = City(settings, pool, Vault(folder), eventually)
    async with city.running():
        yield city


def event(id: str, type: str, case: str, time: str = MONDAY, **data: Any) -> dict[str, Any]:
    head = {"specversion": "1.0", "id": id, "source": "call-centre", "type": type, "time": time, "tenant": TENANT}
    return {**head, "subject": case, "data": data}


def complaint(case: str, kind: str = "inquiry", **more: Any) -> dict[str, Any]:
    given = {"channel": "phone", "kind": kind, "title": "가로등", "text": "꺼졌습니다", "applicant": PERSON}
    return event(f"{case}-received", "complaint.received", case, **(given | more))


def answered(case: str) -> dict[str, Any]:
    return event(f"{case}-answered", "complaint.completed", case, outcome="answered", by="kim")


async def test_who_is_erased_gets_first_answers_whatever_comes(city: City) -> None:
    """Key, blind index, numbers and hashes are gone; the case, its receipt and its deadlines stand."""
    early = event("a-1-early", "delay.explained", "a-1", reason="먼저 온 글", expected="2026-04-20")
    assert [one.status for one in await city.tell(early)] == ["waiting"]  # nobody knows whose words these are
    before = await city.tell(complaint("a-1"), complaint("a-2", title="보도블록"))
    other = await city.tell(complaint("a-3", applicant={**PERSON, "name": "성춘향", "mobile": "010-0000-0002"}))
    assert await city.read("a-1") == PERSON
    changed = complaint("a-1", title="다른 제목")
    assert [one.code for one in await city.tell(changed)] == ["other_content"]
    receipt = before[0].receipt
    async with city.pool.acquire() as conn:
        for wrong in ((None, "000000000-0"), ("s-none", None)):
            with pytest.raises(Unknown):
                await find(conn, TENANT, *wrong)
        found, known = await find(conn, TENANT, None, receipt)
        assert known[1:] == (2, 2, 5)  # references, cases, texts: title and text of each, and the early one
        await erase(conn, city.vault, TENANT, found, known.person, OPERATOR, instant(TUESDAY))
        await erase(conn, city.vault, TENANT, found, known.person, OPERATOR, instant(TUESDAY))
    for case in ("a-1", "a-2"):
        with pytest.raises(Erased):
            await city.read(case)
        assert await city.texts(case) == []
    assert [one.receipt for one in await city.tell(changed)] == [receipt]
    assert [one.code for one in await city.tell(complaint("a-3", title="다른 제목"))] == ["other_content"]
    assert (await city.read("a-3"))["name"] == "성춘향"
    assert other[0].status == "accepted"
    rows = await city.pool.fetch("select id, content_hash is null as gone from intake.reservations order by id")
    assert {row["id"]: row["gone"] for row in rows} == {
        "a-1-early": True,
        "a-1-received": True,
        "a-2-received": True,
        "a-3-received": False,
    }
    # What comes in the case later belongs to nobody, and details that come anew to somebody new.
    said = await city.tell(
        event("a-1-progress", "delay.explained", "a-1", reason="비가 옵니다", expected="2026-04-20"),
        event("a-1-details", "applicant.updated", "a-1", applicant={"name": "홍길동", "mobile": "010-0000-0001"}),
    )
    assert [one.status for one in said] == ["accepted", "accepted"]
    assert (await city.read("a-1"))["mobile"] == "010-0000-0001"
    kinds = [row["kind"] for row in await city.pool.fetch("select kind from vault.access order by number")]
    assert kinds.count("erased") == 2
    async with city.pool.acquire() as conn:
        assert await city.vault.verify_access_chain(conn, TENANT) is None


async def test_a_line_in_the_ledger_is_carried_out_when_intake_starts(city: City) -> None:
    """As after a restore by whatever means: a vault that is older than its ledger does not open before."""
    await city.tell(complaint("b-1"))
    async with city.pool.acquire() as conn:
        ((_, person),) = (await city.vault.people_of(conn, [(TENANT, await city.ref("b-1"))])).items()
        city.vault.ledger.add([Erasure(1, TENANT, person=str(person.id))])
        assert (await city.read("b-1"))["name"] == "홍길동"
        async with city.running():
            with pytest.raises(Erased):
                await city.read("b-1")
        assert await conn.fetchval("select count(*) from intake.reservations where content_hash is not null") == 0


async def test_time_erases_by_kind_and_never_what_is_open(city: City, tenants: dict[str, Tenant]) -> None:
    await city.tell(
        complaint("c-open"),
        complaint("c-commended", "commendation", applicant={**PERSON, "mobile": "010-0000-0005"}),
        complaint("c-asked", applicant=PERSON),
        complaint("c-corrupt", "corruption_report", applicant=PERSON),
        event("c-called", "callback.requested", "c-visit", via="phone", memo=MEMO),
        *(answered(case) for case in ("c-commended", "c-asked", "c-corrupt")),
    )
    for case in ("c-commended", "c-asked", "c-corrupt"):
        await city.eventually(lambda case=case: city.closed(case), 30)

    async def kept(moment: str) -> list[str]:
        await retention.retain(city.pool, city.vault, tenants, instant(moment))
        query = "select distinct case_id from vault.texts order by 1"
        return [row["case_id"].removeprefix("c-") for row in await city.pool.fetch(query)]

    # From the 1 January after 2026, by the clock of the city.
    assert await kept("2027-12-31T23:59:59+09:00") == ["asked", "commended", "corrupt", "open", "visit"]
    assert await kept("2028-01-01T00:00:00+09:00") == ["asked", "corrupt", "open"]
    assert await kept("2029-12-31T23:59:59+09:00") == ["asked", "corrupt", "open"]
    assert await kept("2030-01-01T00:00:00+09:00") == ["corrupt", "open"]
    assert (await city.read("c-open")) == PERSON  # the same citizen as in the case that is forgotten
    assert await city.read("c-asked") == {}
    with pytest.raises(Erased):
        await city.read("c-commended")
    assert await kept("2037-01-01T00:00:00+09:00") == ["open"]
    assert await kept("2099-04-06T10:00:01+09:00") == ["open"]
    rows = await city.pool.fetch("select ref from vault.access where kind = 'case.erased' order by number")
    assert [row["ref"] for row in rows] == ["c-commended", "c-visit", "c-asked", "c-corrupt"]


async def test_the_year_of_a_case_is_that_of_its_city_and_its_schedule_counts(
    city: City, tenants: dict[str, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On New Year's morning in Seoul it is still the old year in UTC; who left the tenants' file is forgotten too."""
    for case, moment in (("k-old", "2026-12-31T23:59:00+09:00"), ("k-new", "2027-01-01T00:01:00+09:00")):
        await step(city.pool, instant(moment))
        called = event(case, "callback.requested", case, moment, via="phone", memo=MEMO)
        await city.eventually(lambda called=called: _is_taken(city, called), 60)

    async def over(moment: str, tenants: dict[str, Tenant] = tenants) -> list[str]:
        async with city.pool.acquire() as conn:
            return [one.case for one in await retention.over(conn, tenants, instant(moment))]

    assert await over("2027-12-31T23:59:59+09:00") == []
    assert await over("2028-01-01T00:00:00+09:00") == ["k-old"]
    assert await over("2028-12-31T23:59:59+09:00") == ["k-old"]
    assert await over("2029-01-01T00:00:00+09:00") == ["k-new", "k-old"]
    assert await over("2028-01-01T00:00:00+09:00", {}) == []  # both are of 2026 by UTC, whose year ends later
    assert await over("2028-01-01T00:00:00+00:00", {}) == ["k-new", "k-old"]
    own = retention.City(visits=retention.Period(3, "기록관리기준표"))
    rules = msgspec.structs.replace(retention.rules(), cities={TENANT: own})
    monkeypatch.setattr(retention, "rules", lambda: rules)
    assert await over("2029-12-31T23:59:59+09:00") == []
    assert await over("2030-01-01T00:00:00+09:00") == ["k-old"]


async def _is_taken(city: City, told: dict[str, Any]) -> bool:
    (answer,) = await city.tell(told)
    return bool(answer.status == "accepted")


MEMO = {"caller": "이몽룡", "phone": "010-0000-0003", "matter": "가로등", "reply_wanted": True}


async def test_intake_rotates_and_erases_every_day_by_the_clock(city: City) -> None:
    await city.tell(complaint("d-1", "commendation"), answered("d-1"))
    await city.eventually(lambda: city.closed("d-1"), 30)
    await city.eventually(lambda: city.vault.master.epochs == ["1970-01-01", "2026-04-06"], 30)
    await step(city.pool, instant(TUESDAY))
    await city.eventually(lambda: city.vault.master.newest == "2026-04-07", 30)
    await step(city.pool, instant("2028-01-02T10:00:00+09:00"))
    await city.eventually(lambda: _gone(city, "d-1"), 30)
    await city.eventually(lambda: city.vault.master.epochs[-1] == "2028-01-02", 30)
    assert city.intake is not None
    with pytest.raises(Erased):
        await city.read("d-1")


async def test_a_missing_master_key_is_red_and_heals(city: City) -> None:
    """What is sealed meanwhile is sealed with the day's before; nothing that is there is lost."""
    await city.tell(complaint("i-1"))
    newest = city.vault.master.folder / "2026-04-06.key"
    await city.eventually(newest.exists, 30)
    await city.eventually(lambda: _vault_part(city, ""), 30)
    away = newest.rename(newest.with_suffix(".away"))
    await city.eventually(lambda: _vault_part(city, "2026-04-06.key is gone from"), 30)
    away.rename(newest)
    await city.eventually(lambda: _vault_part(city, ""), 30)
    assert (await city.read("i-1"))["name"] == "홍길동"


async def _vault_part(city: City, trouble: str) -> bool:
    assert city.intake is not None
    async with httpx.AsyncClient(transport=httpx.ASGITransport(city.intake), base_url="http://intake") as http:
        part = (await http.get("/status")).json()["parts"]["vault"]
    return part["trouble"] is None if not trouble else trouble in (part["trouble"] or "")


async def _gone(city: City, case: str) -> bool:
    return await city.texts(case) == []


async def test_who_reports_is_sealed_from_the_office_also_when_it_shows_later(city: City) -> None:
    """By its kind, by a later classification, by one that came before its case; a fault by its type."""
    await city.tell(
        complaint("e-1", "corruption_report"),
        complaint("e-2"),
        event("e-3-class", "complaint.classified", "e-3", kind="service_grievance"),
    )
    assert (await city.read("e-2"))["name"] == "홍길동"
    await city.tell(
        event("e-2-class", "complaint.classified", "e-2", kind="handling_grievance"),
        complaint("e-3"),
        complaint("e-4"),
        event("e-4-fault", "fault.reported", "e-4", ground="unkind", officer="kim", text="소리를 질렀다"),
    )
    async with city.pool.acquire() as conn:
        for case in ("e-1", "e-2", "e-3"):
            with pytest.raises(NotAllowed):
                await city.read(case)
            assert (await city.read(case, "confidential_report", "audit/lee"))["name"] == "홍길동"
            for text in await city.texts(case):
                with pytest.raises(NotAllowed):
                    await city.vault.read_text(conn, TENANT, text, *CLERK)
        assert (await city.read("e-4"))["name"] == "홍길동"
        assert await city.vault.look_up(conn, TENANT, PERSON["mobile"], "look_up", "clerk/kim") == [
            await city.ref("e-4")
        ]
        hidden = [text for text in await city.texts("e-4") if not await _readable(city.vault, conn, text)]
        assert len(hidden) == 1
        assert (
            await city.vault.read_text(conn, TENANT, hidden[0], "confidential_report", "audit/lee") == "소리를 질렀다"
        )
    flags = await city.pool.fetch('select "case", confidential from read.subject_refs order by 1')
    assert [tuple(row) for row in flags] == [("e-1", True), ("e-2", True), ("e-3", True), ("e-4", False)]


async def test_a_report_stays_sealed_when_intake_learns_its_cases_from_the_log(city: City) -> None:
    await city.tell(complaint("h-1"), event("h-1-class", "complaint.classified", "h-1", kind="corruption_report"))
    await city.pool.execute(
        "update vault.subjects set confidential = false; update vault.texts set confidential = false"
    )
    await empty(city.pool, "truncate intake.cases, intake.reservations, intake.batches")
    async with city.running():
        await city.eventually(lambda: _known(city, "h-1"), 30)
        with pytest.raises(NotAllowed):
            await city.read("h-1")
        await city.tell(event("h-1-why", "delay.explained", "h-1", reason="조사 중", expected="2026-04-20"))
    async with city.pool.acquire() as conn:
        assert len(await city.texts("h-1")) == 3
        assert not [text for text in await city.texts("h-1") if await _readable(city.vault, conn, text)]


async def _known(city: City, case: str) -> bool:
    query = "select count(*) from intake.cases where case_id = $1 and subject_ref is not null"
    return bool(await city.pool.fetchval(query, case))


async def _readable(vault: Vault, conn: Any, text: str) -> bool:
    try:
        await vault.read_text(conn, TENANT, text, *CLERK)
    except NotAllowed:
        return False
    return True


async def test_the_commands(city: City, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """As an operator types them; nothing that they print names anybody."""
    told = settings("operator")
    for name, value in {
        "NATS_URL": told.nats_url,
        "DATABASE_URL": told.database_url,
        "GIHAN_VAULT_KEYS": str(city.vault.master.folder),
        "GIHAN_CLOCK": "stepped",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("services.chassis.logs.configure", lambda *_: None)
    printed = []

    async def run(*words: str, ends: int = 0, typed: str | None = None) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, command, [*words], input=typed)
        assert result.exit_code == ends, result.output
        said = result.output if ends == 2 else result.stdout  # the services of this process log in between
        printed.append(said)
        return said

    await city.eventually(lambda: city.vault.master.newest == "2026-04-06", 30)
    (answer,) = await city.tell(complaint("f-1"))
    await city.read("f-1")
    assert json.loads(await run("vault", "rotate", "--json")) == {
        "epoch": "2026-04-06",
        "wrapped": 0,
        "destroyed": [],
        "unreadable": {},
    }
    assert [row["keys"] for row in json.loads(await run("vault", "keys", "--json"))] == [0, 3]
    now = await city.pool.fetchval("select to_char(max(at) at time zone 'Asia/Seoul', 'YYYY-MM') from vault.access")
    report = json.loads(await run("vault", "access-report", "--month", now, "--json"))
    (one,) = report["tenants"]
    assert [(line["reader"], line["purpose"], line["kind"], line["times"]) for line in one["lines"]] == [
        ("clerk/kim", "handle", "person", 1)
    ]
    assert "clerk/kim" in await run("vault", "access-report", "--month", now)
    head = f"{TENANT}:{one['head'][0]}:{one['head'][1]}"
    assert "The record holds" in await run("vault", "verify", "--head", head)
    assert "nothing was erased" in await run("erase", TENANT, "--receipt", answer.receipt, typed="n\n")
    erased = json.loads(await run("erase", TENANT, "--receipt", answer.receipt, "--yes", "--json"))
    assert erased == {"erased": True, "references": 1, "cases": 1, "texts": 2, "in_backups_until": "2026-04-11"}
    assert "Nobody is known" in await run("erase", f"{TENANT}/s-none", "--yes", ends=2)
    assert "give TENANT/REF" in await run("erase", TENANT, "--yes", ends=2)
    assert json.loads(await run("vault", "retain", "--json")) == {"cases": 0}
    assert "nothing let go" in await run("vault", "give-up")
    await city.pool.execute("alter table vault.access disable trigger append_only")
    await city.pool.execute("update vault.access set reader = 'clerk/lee' where number = 1")
    assert f"{TENANT:<12} THE RECORD IS BROKEN from number 1 on" in await run("vault", "verify", ends=1)
    assert "BROKEN" in await run("vault", "access-report", "--month", now, ends=1)
    assert not [word for word in PERSON.values() if word in "".join(printed)]


async def test_an_older_ledger_keeps_intake_from_starting(city: City) -> None:
    city.vault.ledger.add([Erasure(1, TENANT, case="g-1")])
    async with city.running():
        pass
    city.vault.ledger.path.unlink()
    with pytest.raises(VaultError, match="newest copy"):
        async with city.running():
            pass
