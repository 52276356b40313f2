"""Backup and restore on real servers: what was acknowledged is there again once, and a wrong log is refused."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from nats.aio.client import Client
from nats.js.api import ConsumerConfig
from nats.js.errors import NotFoundError

from contracts.streams import STREAMS, cases_subject, partition
from deploy import bootstrap, provision
from services.chassis import clock, postgres
from services.chassis.cursor import WrongLog, read_up_to
from services.chassis.settings import ROOT, Settings
from services.chassis.vault import Erased, Vault, VaultError, open_vault
from services.cli.backup import backup
from services.cli.copying import BackupError, refuse_running
from services.cli.reappend import reappend
from services.cli.restore import _put_stream, restore
from services.intake.app import build_app as intake_app
from services.intake.judge import Publisher, Refusal
from services.notifier.app import make_app as notifier_app
from services.rules.instants import instant
from services.rules.tenants import Tenant
from services.sla_timer.app import build_app as sla_timer_app

Eventually = Callable[..., Awaitable[Any]]
Make = Callable[..., Settings]
BOTH: tuple[Any, ...] = ("log", "database")
READER = "anseong_call-centre"
"""The one consumer that the publisher may have."""
MONDAY = "2026-04-06T10:00:00+09:00"
WEDNESDAY = "2026-04-08T18:00:00+09:00"
THURSDAY = "2026-04-09T10:00:01+09:00"
FRIDAY = "2026-04-10T12:00:00+09:00"


class System:
    """Intake and sla_timer in this process, on the stepped clock."""

    def __init__(self, settings: Make, nc: Client, pool: asyncpg.Pool, eventually: Eventually) -> None:
        self.settings, self.nc, self.pool, self.eventually = settings, nc, pool, eventually
        self.intake: FastAPI | None = None
        self.sms_url = self.smtp_url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["System"]:
        intake, timer = intake_app(self.settings("intake")), sla_timer_app(self.settings("sla_timer"))
        async with intake.router.lifespan_context(intake), timer.router.lifespan_context(timer):
            self.intake = intake
            yield self

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """The notifier besides."""
        app = notifier_app(self.settings("notifier", sms_url=self.sms_url, smtp_url=self.smtp_url))
        async with app.router.lifespan_context(app):
            yield

    async def told(self) -> bool:
        """Whether the notifier has folded both logs and has nothing left to do."""
        row = await self.pool.fetchrow("select * from read.notifier")
        assert row is not None
        now = await self.pool.fetchval("select now from chassis.clock")
        ends = [(await self.nc.jetstream().stream_info(log)).state.last_seq for log in ("CASES", "SLA")]
        held = row["next_release"] is not None and row["next_release"] <= now
        return [row["cases_sequence"], row["sla_sequence"]] == ends and not (
            row["open_notices"] or row["unpublished"] or held
        )

    async def step(self, moment: str) -> None:
        """The clock moves, and what follows is decided and published."""
        await clock.step(self.pool, instant(moment))
        await self.quiet()

    async def quiet(self) -> None:
        await self.eventually(self._at_rest, 60)

    async def _at_rest(self) -> bool:
        now = await self.pool.fetchval("select now from chassis.clock")
        for row in await self.pool.fetch("select * from read.fold_position"):
            last = await self.last(f"cases.{row['partition']}.>")
            due = row["next_at"] is not None and row["next_at"] < now
            if row["sequence"] < last or row["sent"] < row["decisions"] or due:
                return False
        return True

    async def last(self, subject: str) -> int:
        try:
            return (await self.nc.jetstream().get_last_msg("CASES", subject)).seq or 0
        except NotFoundError:
            return 0

    async def state(self, *events: dict[str, Any]) -> None:
        """Takes events in, and has them folded and what follows published."""
        await self.receive(*events)
        await self.quiet()

    async def receive(self, *events: dict[str, Any]) -> None:
        """Events of Anseong's call centre through the door of intake, all of them accepted."""
        assert self.intake is not None
        answers = await self.intake.state.parts.doors.receive(
            json.dumps(list(events)).encode(), Publisher("anseong", "call-centre"), "http"
        )
        assert all(answer.status == "accepted" for answer in answers), answers


def complaint(case: str, time: str = MONDAY) -> dict[str, Any]:
    return event(
        f"{case}-received",
        "complaint.received",
        case,
        time,
        channel="phone",
        kind="inquiry",
        title="가로등",
        applicant={"name": "홍길동", "mobile": "010-0000-0001", "address": "안성시 1"},
        text="가로등이 꺼졌습니다",
    )


def completed(case: str, time: str) -> dict[str, Any]:
    return event(f"{case}-completed", "complaint.completed", case, time, outcome="answered", by="kim")


def event(id: str, type: str, case: str, time: str, **data: Any) -> dict[str, Any]:
    head = {"specversion": "1.0", "id": id, "source": "call-centre", "type": type, "time": time, "tenant": "anseong"}
    return {**head, "subject": case, "data": data}


async def entries(nc: Client, stream: str) -> list[tuple[int, str, bytes]]:
    """Everything in a stream but markers."""
    last = (await nc.jetstream().stream_info(stream)).state.last_seq
    found = [(entry.sequence, entry.subject, entry.data) async for entry in read_up_to(nc, stream, last)]
    return [entry for entry in found if not entry[1].startswith("mark.")]


def facts_of(log: list[tuple[int, str, bytes]]) -> list[tuple[int, str, bytes]]:
    """The facts, at their places."""
    return [entry for entry in log if not entry[1].endswith(".clock")]


def by_partition(log: list[tuple[int, str, bytes]]) -> list[tuple[str, bytes]]:
    """Decisions in the order that counts: that of their partition. How the relay mixes partitions is chance."""
    return sorted(((subject.split(".")[1], body) for _, subject, body in log), key=lambda entry: entry[0])


async def red(app: FastAPI) -> str:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        return json.dumps((await http.get("/health/ready")).json().get("red", {}))


@pytest.fixture
async def system(
    nats: Any, settings: Make, nc: Client, pool: asyncpg.Pool, eventually: Eventually, tenants: dict[str, Tenant]
) -> System:
    """Empty logs in which the rules are enacted, an empty database, Monday morning."""
    for stream in STREAMS:
        await nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(nc)
    await bootstrap.enact_files(nc, [tenants["anseong"]], instant(MONDAY))
    await clock.step(pool, instant(MONDAY))
    return System(settings, nc, pool, eventually)


@pytest.fixture
async def gateway(system: System, tmp_path: Path) -> AsyncIterator[Path]:
    """The folder of a development gateway's record."""
    arguments = [sys.executable, "-m", "deploy.devgateway", "--dir", str(tmp_path / "gateway")]
    process = await asyncio.create_subprocess_exec(
        *arguments, "--http-port", "0", "--smtp-port", "0", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        ports = json.loads(await process.stdout.readline())
    system.sms_url, system.smtp_url = f"http://127.0.0.1:{ports['http']}", f"smtp://127.0.0.1:{ports['smtp']}"
    yield tmp_path / "gateway"
    process.kill()
    await process.wait()


async def test_a_running_system_is_copied_and_put_back_whole(system: System, settings: Make, tmp_path: Path) -> None:
    """Taken while it works, restored in the place of everything: the same logs, and the vault opens."""
    async with system.running():
        await system.state(complaint("a1"), complaint("a2"))
        await system.step(THURSDAY)
        done = await backup(settings("backup"), tmp_path / "copy")
        assert done.tables["intake.reservations"] == 2
        before = {stream: await entries(system.nc, stream) for stream in ("CASES", "SLA")}
        ref = await system.pool.fetchval("select subject_ref from read.subject_refs where \"case\" = 'a1'")
    keys = settings("intake").vault_keys
    assert keys is not None
    masters = [path.read_bytes() for path in keys.glob("*.key")]
    copied = b"".join(path.read_bytes() for path in sorted((tmp_path / "copy").iterdir()))
    assert masters
    assert not [master for master in masters if master in copied]
    assert "홍길동".encode() not in copied

    await restore(settings("restore"), tmp_path / "copy", BOTH, replace=True)
    await clock.step(system.pool, instant(THURSDAY))
    async with system.running():
        await system.quiet()
        await system.state(complaint("a1"))  # the first answer again
        assert {stream: await entries(system.nc, stream) for stream in before} == before
        async with system.pool.acquire() as connection:
            person = await Vault(keys).read_person(connection, "anseong", ref, "handle", "clerk/t")
        assert person["name"] == "홍길동"
        await system.state(completed("a1", "2026-04-09T09:00:00+09:00"))
    kinds = [json.loads(body)["type"] for _, _, body in await entries(system.nc, "SLA")]
    assert kinds.count("breach.retracted") == 1


async def test_what_the_streams_name_the_vault_of_the_same_copy_holds(
    system: System, settings: Make, tmp_path: Path
) -> None:
    """Copied in the middle of publishing; what PostgreSQL knows besides is appended again. Nothing is half there."""
    stop = asyncio.Event()

    async def publish() -> int:
        number = 0
        while not stop.is_set():
            number += 1
            await system.receive(complaint(f"s{number}a"), complaint(f"s{number}b"))
        return 2 * number

    async with system.running():
        publishing = asyncio.create_task(publish())
        await system.eventually(lambda: _some(system.pool), 30)
        await backup(settings("backup"), tmp_path / "copy")
        stop.set()
        published = await publishing
        await system.quiet()
    await restore(settings("restore"), tmp_path / "copy", BOTH, replace=True)
    await clock.step(system.pool, instant(MONDAY))
    await reappend(settings("restore"))
    async with system.running():
        await system.eventually(lambda: _all_stand(system.pool), 30)
        await system.quiet()
    cases = [json.loads(body) for _, subject, body in await entries(system.nc, "CASES") if "complaint" in subject]
    known = {row["subject_ref"] for row in await system.pool.fetch("select subject_ref from vault.subjects")}
    assert 10 < len(cases) <= published
    assert {case["data"]["subject_ref"] for case in cases} <= known
    rows = await system.pool.fetch("select id, sequence from read.event_fate order by sequence")
    assert [row["id"] for row in rows] == [case["id"] for case in cases]


async def _some(pool: asyncpg.Pool) -> bool:
    return await pool.fetchval("select count(*) from intake.reservations") > 10


async def _all_stand(pool: asyncpg.Pool) -> bool:
    return bool(await pool.fetchval("select bool_and(status = 'accepted') from read.event_fate"))


async def test_with_both_old_what_came_later_is_lost_and_may_come_again(
    system: System, settings: Make, tmp_path: Path
) -> None:
    """The system works on from the moment of the copy, and a publisher's place in RECEIPTS is kept."""
    consumer = ConsumerConfig(name=READER, durable_name=READER, filter_subject="receipts.anseong.call-centre")
    await system.nc.jetstream().add_consumer("RECEIPTS", consumer)
    async with system.running():
        await system.state(complaint("k1"))
        await backup(settings("backup"), tmp_path / "copy")
        await system.state(complaint("k2"))
    await restore(settings("restore"), tmp_path / "copy", BOTH, replace=True)
    await clock.step(system.pool, instant(MONDAY))
    async with system.running():
        await system.quiet()
        assert [row["case"] for row in await system.pool.fetch('select "case" from read.subject_refs')] == ["k1"]
        await system.state(complaint("k1"), complaint("k2"))
        assert len(await system.pool.fetch('select "case" from read.subject_refs')) == 2
    opened = [
        json.loads(body)["subject"] for _, subject, body in await entries(system.nc, "CASES") if "compl" in subject
    ]
    assert opened == ["k1", "k2"]
    assert (await system.nc.jetstream().consumer_info("RECEIPTS", READER)).name == READER


async def test_what_is_damaged_full_or_in_use_is_left_alone(
    system: System, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with system.running():
        await system.state(complaint("b1"))
        await backup(settings("backup"), tmp_path / "copy")
        with pytest.raises(BackupError, match="Still running: gihan/intake, gihan/sla_timer"):
            await restore(settings("restore"), tmp_path / "copy", BOTH, replace=True)
    with pytest.raises(BackupError, match=r"in use: stream .*CASES \(\d+ entries\).* table intake.cases"):
        await restore(settings("restore"), tmp_path / "copy", BOTH, replace=False)
    with pytest.raises(BackupError, match="exists and is not empty"):
        await backup(settings("backup"), tmp_path / "copy")
    other = tmp_path / "keys"
    other.mkdir()
    (other / "1970-01-01.key").write_bytes(bytes(32))
    with pytest.raises(BackupError, match=r"\.key is not in .*keys: put back"):
        await restore(settings("restore", vault_keys=other), tmp_path / "copy", BOTH, replace=True)
    for epoch in Vault(settings("backup").vault_keys).master.epochs:
        (other / f"{epoch}.key").write_bytes(bytes(32))
    with pytest.raises(BackupError, match=r"\.key in .* is not the master key"):
        await restore(settings("restore", vault_keys=other), tmp_path / "copy", BOTH, replace=True)
    before = await entries(system.nc, "CASES")
    for name in ("CASES.snapshot", "vault.people.copy"):
        path = tmp_path / "copy" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(BackupError, match=f"{name} is missing or damaged"):
            await restore(settings("restore"), tmp_path / "copy", BOTH, replace=True)
        path.write_bytes(whole)
    assert await entries(system.nc, "CASES") == before
    assert await system.pool.fetchval("select count(*) from intake.reservations") == 1


async def test_a_service_that_has_just_stopped_is_waited_for(
    settings: Make, pool: asyncpg.Pool, eventually: Eventually
) -> None:
    """PostgreSQL shows a session for some moments after its client has gone."""
    session = await postgres.connect(settings("intake"))
    asking = asyncio.create_task(refuse_running(settings("restore")))
    await eventually(lambda: _asked(pool), 30)
    assert not asking.done()
    await session.close()
    await asking


async def _asked(pool: asyncpg.Pool) -> bool:
    """Whether somebody else has asked who is connected."""
    return await pool.fetchval(
        "select exists (select from pg_stat_activity where application_name = 'gihan/restore'"
        " and query like '%distinct application_name%')"
    )


async def test_a_backup_whose_master_key_was_destroyed_comes_back_without_names(
    system: System, settings: Make, tmp_path: Path
) -> None:
    """After its days nobody reads a person in a backup; cases, receipts and first answers are there all the same."""
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "1970-01-01.key").write_bytes(bytes(range(32)))
    vault, make = Vault(keys), system.settings
    system.settings = lambda service, **more: make(service, vault_keys=keys, **more)
    async with system.running():
        await system.state(complaint("n1"))
        await backup(system.settings("backup"), tmp_path / "copy")
        ref = await system.pool.fetchval("select subject_ref from read.subject_refs")
    for day in range(7, 13):  # the key of the 6th sealed what was copied
        await vault.rotate(system.pool, date(2026, 4, day), 4)
    assert "2026-04-06" not in vault.master.epochs
    async with system.pool.acquire() as conn:
        assert (await vault.read_person(conn, "anseong", ref, "handle", "clerk/kim"))["name"] == "홍길동"
    with pytest.raises(BackupError, match=r"2026-04-06\.key is not in .* --without-names"):
        await restore(system.settings("restore"), tmp_path / "copy", BOTH, replace=True)
    await restore(system.settings("restore"), tmp_path / "copy", BOTH, replace=True, without_names=True)
    await clock.step(system.pool, instant(MONDAY))
    async with system.running():
        await system.state(complaint("n1"))  # its first answer
        async with system.pool.acquire() as conn:
            with pytest.raises(Erased):
                await vault.read_person(conn, "anseong", ref, "handle", "clerk/kim")
            assert await conn.fetchval("select count(*) from vault.access") == 2
        await system.state(complaint("n2"))
        assert await system.pool.fetchval("select count(*) from vault.people") == 1


async def test_the_access_record_goes_on_over_a_restore(system: System, settings: Make, tmp_path: Path) -> None:
    """What was read after the copy is not forgotten with it; a record that does not go on from the copy is left."""
    vault = open_vault(settings("intake"))

    async def read(times: int) -> None:
        async with system.pool.acquire() as conn:
            for _ in range(times):
                with pytest.raises(VaultError):
                    await vault.read_person(conn, "anseong", "s-none", "handle", "clerk/kim")

    async def records() -> tuple[int, int | None]:
        async with system.pool.acquire() as conn:
            broken = await vault.verify_access_chain(conn, "anseong")
            return await conn.fetchval("select count(*) from vault.access where tenant = 'anseong'"), broken

    await read(2)
    await backup(settings("backup", vault_keys=None), tmp_path / "copy")  # whoever copies need not be able to read
    await read(3)
    await restore(settings("restore"), tmp_path / "copy", ("database",), replace=True)
    assert await records() == (5, None)
    await read(1)
    assert await records() == (6, None)
    await system.pool.execute("alter table vault.access disable trigger append_only")
    await system.pool.execute("delete from vault.access; delete from vault.access_head")
    await read(7)
    await restore(settings("restore"), tmp_path / "copy", ("database",), replace=True)
    assert await records() == (2, None)


async def test_an_interrupted_copy_leaves_nothing(
    system: System, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cli.backup._sync", lambda path: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        await backup(settings("backup"), tmp_path / "copy")
    assert os.listdir(tmp_path) == []


async def test_the_user_that_copies_can_do_nothing_else(system: System, connect: Any) -> None:
    nc = await connect("backup")
    for subject in ("$JS.API.STREAM.DELETE.CASES", "$JS.API.STREAM.RESTORE.CASES", "$JS.API.STREAM.SNAPSHOT.INBOX"):
        with pytest.raises(TimeoutError):
            await nc.request(subject, b"", timeout=0.5)
    await nc.publish("cases.1.anseong.complaint.received", b"{}")
    await nc.flush()
    assert await system.last("cases.1.anseong.complaint.received") == 0


async def test_an_older_log_is_refused_and_what_it_lacks_appended_again(
    system: System, settings: Make, tmp_path: Path
) -> None:
    """Old log, new database. Everything acknowledged stands again once and at its place; the decisions are the same."""
    async with system.running():
        await system.state(complaint("c1"), complaint("c2"))
        await backup(settings("backup"), tmp_path / "copy")
        await system.state(complaint("c3"), complaint("c4"))
        await system.step(WEDNESDAY)
        await system.state(completed("c2", WEDNESDAY))
        await system.step(THURSDAY)
        await system.state(completed("c1", "2026-04-09T09:00:00+09:00"), complaint("c5", THURSDAY))
        await system.step(FRIDAY)
        cases, decisions = await entries(system.nc, "CASES"), await entries(system.nc, "SLA")
    assert {json.loads(body)["type"] for _, _, body in decisions} >= {"deadline.breached", "breach.retracted"}

    await restore(settings("restore"), tmp_path / "copy", ("log",), replace=True)
    lost = len(cases) - len(await entries(system.nc, "CASES"))
    assert lost > 10
    intake, timer = intake_app(settings("intake")), sla_timer_app(settings("sla_timer"))
    with pytest.raises(WrongLog, match=r"CASES ends at \d+, before the position"):
        async with intake.router.lifespan_context(intake):
            pass
    async with timer.router.lifespan_context(timer):
        await system.eventually(lambda: _says(timer, "before the position"), 30)
        await system.eventually(lambda: _says(timer, "the log is older than this database"), 30)

    # That sla_timer may have ticked where it could, so the log is restored once more.
    await restore(settings("restore"), tmp_path / "copy", ("log",), replace=True)
    written = await reappend(settings("restore"))
    assert written.facts == 5
    assert written.others > 1
    assert (await reappend(settings("restore"))).facts == 0  # as often as one likes
    again = await entries(system.nc, "CASES")
    assert facts_of(again) == facts_of(cases)
    async with system.running():
        await system.quiet()
        assert by_partition(await entries(system.nc, "SLA")) == by_partition(decisions)
        await system.state(complaint("c3"), completed("c1", "2026-04-09T09:00:00+09:00"), complaint("c6", FRIDAY))
    assert facts_of(await entries(system.nc, "CASES"))[:-1] == facts_of(cases)


async def _says(app: FastAPI, words: str) -> bool:
    return words in await red(app)


async def test_nobody_is_told_twice_and_notices_is_whole_again(
    system: System, settings: Make, tmp_path: Path, gateway: Path
) -> None:
    """Old logs, and a ledger that knows of every message: what was sent stays sent, and stands on NOTICES once."""
    async with system.running(), system.telling():
        await system.state(complaint("h1"))
        await backup(settings("backup"), tmp_path / "copy")
        await system.state(complaint("h2"))
        await system.step(THURSDAY)
        await system.state(completed("h1", "2026-04-09T09:00:00+09:00"))
        await system.step(FRIDAY)
        await system.eventually(system.told, 60)
        sent, notices = (gateway / "record.jsonl").read_text(), await entries(system.nc, "NOTICES")
        tasks = await system.pool.fetch("select key, state, revision from notifier.tasks order by key")
    assert sent.count('"outcome": "accepted"') >= 4
    assert {json.loads(body)["type"] for _, _, body in notices} >= {"notice.sent", "task.assigned"}

    await restore(settings("restore"), tmp_path / "copy", ("log",), replace=True)
    assert len(await entries(system.nc, "NOTICES")) < len(notices)
    await reappend(settings("restore"))
    async with system.running(), system.telling():
        await system.quiet()
        await system.eventually(system.told, 60)
        assert by_partition(await entries(system.nc, "NOTICES")) == by_partition(notices)
        assert (gateway / "record.jsonl").read_text() == sent
        assert await system.pool.fetch("select key, state, revision from notifier.tasks order by key") == tasks
        await system.state(complaint("h3", FRIDAY))
        await system.eventually(system.told, 60)
    assert (gateway / "record.jsonl").read_text() != sent


async def test_an_older_log_that_has_grown_is_refused_all_the_same(
    system: System, settings: Make, tmp_path: Path
) -> None:
    """It ends behind every position, but another entry stands there: neither folded, nor written to, nor mended."""
    async with system.running():
        await system.state(complaint("d1"))
        await backup(settings("backup"), tmp_path / "copy")
        await system.state(complaint("d2"), complaint("d3"))
        end = (await system.nc.jetstream().stream_info("CASES")).state.last_seq
    await restore(settings("restore"), tmp_path / "copy", ("log",), replace=True)
    number = partition("anseong", "d9")
    while (await system.nc.jetstream().stream_info("CASES")).state.last_seq < end + 5:
        body = {
            **complaint("d9"),
            "case": "d9",
            "recordedtime": MONDAY,
            "data": {"channel": "phone", "kind": "inquiry"},
        }
        await system.nc.jetstream().publish(
            cases_subject(number, "anseong", "complaint.received"), json.dumps(body).encode()
        )
    intake, timer = intake_app(settings("intake")), sla_timer_app(settings("sla_timer"))
    with pytest.raises(WrongLog, match="CASES holds another entry at the position"):
        async with intake.router.lifespan_context(intake):
            pass
    async with timer.router.lifespan_context(timer):
        await system.eventually(lambda: _says(timer, "CASES holds another entry at the position"), 30)
    with pytest.raises(WrongLog, match="somebody wrote to it"):
        await reappend(settings("restore"))


async def test_an_older_log_that_answers_after_a_reconnect_is_refused(
    system: System, settings: Make, tmp_path: Path, nats: Any
) -> None:
    """The server is replaced under running services: they look again before they read, write or relay."""
    async with system.running():
        await system.state(complaint("e1"))
        await backup(settings("backup"), tmp_path / "copy")
        await system.state(complaint("e2"))
        manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
        for stream in ("SLA", "CASES"):
            await _put_stream(system.nc, stream, manifest["streams"][stream], tmp_path / "copy")
        # What a failover to another server is to a client: the connection is lost, and behind the next one is this log.
        os.kill(nats.nats.pid, signal.SIGKILL)
        assert system.intake is not None
        await system.eventually(lambda: _says(system.intake, "before the position"), 60)
        with pytest.raises(Refusal, match="unavailable"):
            await system.intake.state.parts.doors.receive(
                json.dumps(complaint("e3")).encode(), Publisher("anseong", "call-centre"), "http"
            )


async def test_an_older_database_heals_from_the_log(system: System, settings: Make, tmp_path: Path) -> None:
    """New log, old database: the projection is worked out again, and what stands on SLA is not published twice."""
    async with system.running():
        await system.state(complaint("f1"))
        receipts = [await system.pool.fetchval("select last_value from intake.receipt_numbers")]
        await backup(settings("backup"), tmp_path / "copy")
        await system.state(complaint("f2"))
        await system.step(THURSDAY)
        before = {stream: await entries(system.nc, stream) for stream in ("CASES", "SLA")}
    await restore(settings("restore"), tmp_path / "copy", ("database",), replace=True)
    await clock.step(system.pool, instant(THURSDAY))
    async with system.running():
        await system.quiet()
        assert {stream: await entries(system.nc, stream) for stream in before} == before
        assert await system.pool.fetchval("select count(*) from sla_timer.cases where case_id in ('f1', 'f2')") == 2
        await system.state(complaint("f3", THURSDAY))
    assert await system.pool.fetchval("select last_value from intake.receipt_numbers") > receipts[0] + 1_000_000


async def test_a_lost_log_is_made_again_from_the_database(
    system: System, settings: Make, tenants: dict[str, Tenant]
) -> None:
    """Another log: streams made anew are refused, and filled from the reservations when asked."""
    async with system.running():
        await system.state(complaint("g1"), complaint("g2"))
        await system.step(THURSDAY)
        before = {stream: await entries(system.nc, stream) for stream in ("CASES", "SLA")}
    for stream in STREAMS:
        await system.nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(system.nc)
    timer = sla_timer_app(settings("sla_timer"))
    async with timer.router.lifespan_context(timer):
        await system.eventually(lambda: _says(timer, "CASES is another than the one folded"), 30)
    await bootstrap.enact_files(system.nc, [tenants["anseong"]], instant(FRIDAY))  # as provisioning would
    with pytest.raises(WrongLog, match="somebody wrote to it"):
        await reappend(settings("restore"))
    for stream in STREAMS:
        await system.nc.jetstream().delete_stream(stream.name)
    await reappend(settings("restore"))
    async with system.running():
        await system.quiet()
    after = {stream: await entries(system.nc, stream) for stream in before}
    assert by_partition(after["SLA"]) == by_partition(before["SLA"])
    assert facts_of(after["CASES"]) == facts_of(before["CASES"])
