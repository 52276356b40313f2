"""The notifier on real servers and a real development gateway: once per key, whatever fails in between."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import asyncpg
import httpx
import msgspec
import pytest
from nats.aio.client import Client

from contracts.envelope import StoredEnvelope
from contracts.notices import NOTICES
from contracts.streams import STREAMS, cases_subject, partition, sla_subject
from deploy import provision
from deploy.embedded import Embedded
from services.chassis import clock, failpoints
from services.chassis.health import Gauge, Health
from services.chassis.settings import ROOT, Settings
from services.chassis.vault import Erasure, Vault
from services.notifier import recovery
from services.notifier.app import Notifier, _count
from services.notifier.fold import Fold
from services.notifier.gateways import calling
from services.notifier.gateways.development import DevelopmentGateway
from services.notifier.gateways.email import EmailGateway, Server
from services.rules.instants import HOUR, instant
from tests.integration.emptying import empty

TENANT = "anseong"  # its slowest source reports within an hour
NOW = instant("2026-03-10T09:00:00+09:00")
DUE = "2026-03-12T18:00:00+09:00"
AFTER_HOLD = instant(DUE) + HOUR
MOBILE, EMAIL = "010-9876-5432", "hong@citizen.example"

Eventually = Callable[..., Awaitable[Any]]
RUN = {"promise": "anseong-inquiry", "occurrence": "e1", "due": DUE}
REMEDY = {"remedy": "anseong-remedy-standard", "incident": "i1", "key": "k1", "due": DUE}
OWED = REMEDY | {"amount": 10_000, "currency": "KRW"}


class Gateway:
    """The development gateway as a process that can be stopped and started on the same ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"http": 0, "smtp": 0}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.devgateway", "--dir", str(self.folder)),
            *("--http-port", str(self.ports["http"]), "--smtp-port", str(self.ports["smtp"])),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            self.ports = json.loads(await self._process.stdout.readline())

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def faults(self, **faults: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.put(f"{self.sms_url}/faults", json=faults)).raise_for_status()

    @property
    def sms_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def smtp_url(self) -> str:
        return f"smtp://127.0.0.1:{self.ports['smtp']}"

    def record(self) -> list[dict[str, str]]:
        return _lines(self.folder / "record.jsonl")

    def texts(self) -> list[dict[str, str]]:
        return _lines(self.folder / "texts.jsonl")


def _lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class World:
    """A tenant with one citizen, and the logs that the test writes as intake and sla_timer would."""

    tenant = TENANT

    def __init__(self, nc: Client, pool: asyncpg.Pool, vault: Vault, gateway: Gateway) -> None:
        self.nc, self.pool, self.vault, self.gateway = nc, pool, vault, gateway
        self.last = {"CASES": 0, "SLA": 0}
        self._numbers: Counter[str] = Counter()

    async def person(self, **fields: str) -> dict[str, Any]:
        """Seals a person; what a stored event says of them."""
        async with self.pool.acquire() as connection, connection.transaction():
            ref = await self.vault.seal_person(
                cast(asyncpg.Connection, connection), self.tenant, {"name": "홍길동", **fields}
            )
        return {"subject_ref": ref, "has_mobile": "mobile" in fields, "has_email": "email" in fields}

    async def fact(self, type: str, data: dict[str, Any], case: str = "c1") -> int:
        id = f"e{self._count('fact')}"
        subject = cases_subject(partition(self.tenant, case), self.tenant, type)
        return await self._append("CASES", subject, {"id": id, "source": "web", "type": type, "data": data}, case)

    async def decide(
        self, type: str, data: dict[str, Any], case: str = "c1", cause: int | None = None, time: str = DUE
    ) -> int:
        lane = partition(self.tenant, case)
        event = {
            "id": f"{lane}-{self._count('decision')}",
            "source": "gihan/sla_timer",
            "type": type,
            "time": time,
            "data": data,
            "cause_sequence": self.last["CASES"] if cause is None else cause,
        }
        return await self._append("SLA", sla_subject(lane, self.tenant, type), event, case)

    async def received(self, case: str = "c1", **more: Any) -> int:
        """Opens a case for a citizen who is reached by both means."""
        person = await self.person(mobile=MOBILE, email=EMAIL)
        await self.pool.execute("INSERT INTO intake.cases VALUES ($1, $2, 'web', 'R-1')", self.tenant, case)
        return await self.fact("complaint.received", {"kind": "inquiry", **person, **more}, case)

    async def quiet(self) -> bool:
        """Whether both logs are folded, and nothing is left to deliver or to publish."""
        row = await self.pool.fetchrow("SELECT * FROM read.notifier")
        now = await self.pool.fetchval("SELECT now FROM chassis.clock")
        assert row is not None
        return (
            row["cases_sequence"] == self.last["CASES"]
            and row["sla_sequence"] == self.last["SLA"]
            and row["open_notices"] == row["unpublished"] == 0
            and (row["next_release"] is None or row["next_release"] > now)
        )

    async def states(self) -> dict[str, tuple[str, str | None]]:
        """(state, reason) of each message by template; a test has one of each."""
        rows = await self.pool.fetch("SELECT template, state, reason FROM read.notices")
        assert len({row["template"] for row in rows}) == len(rows)
        return {row["template"]: (row["state"], row["reason"]) for row in rows}

    async def told(self) -> list[str]:
        """The types on NOTICES, each event checked against its contract."""
        types = []
        for event in await self._stored("NOTICES", "notices.>"):
            StoredEnvelope.model_validate(event)
            NOTICES[event["type"]].model_validate(event["data"])
            types.append(event["type"])
        return types

    async def receipts(self, subject: str) -> list[dict[str, Any]]:
        return await self._stored("RECEIPTS", subject)

    async def _stored(self, stream: str, subject: str) -> list[dict[str, Any]]:
        subscription = await self.nc.jetstream().subscribe(subject, stream=stream, ordered_consumer=True)
        known = (await self.nc.jetstream().stream_info(stream, subjects_filter=subject)).state.subjects or {}
        found = [msgspec.json.decode((await subscription.next_msg(5)).data) for _ in range(sum(known.values()))]
        await subscription.unsubscribe()
        return found

    def _count(self, name: str) -> int:
        self._numbers[name] += 1
        return self._numbers[name]

    async def _append(self, stream: str, subject: str, event: dict[str, Any], case: str) -> int:
        envelope = {"specversion": "1.0", "subject": case, "time": DUE, "tenant": self.tenant, "case": case, **event}
        answer = await self.nc.jetstream().publish(subject, msgspec.json.encode(envelope), stream=stream)
        self.last[stream] = answer.seq
        return answer.seq


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(tmp_path / "gateway")
    await gateway.start()
    yield gateway
    await gateway.stop()


@pytest.fixture
async def world(nc: Client, nats: Embedded, pool: asyncpg.Pool, gateway: Gateway) -> World:
    """Empty streams, a stepped clock at NOW, and nothing running."""
    for stream in STREAMS:
        await nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(nc)
    await clock.step(pool, NOW)
    return World(nc, pool, Vault(nats.secrets / "vault"), gateway)


@pytest.fixture
async def health() -> Health:
    return Health("notifier")


@asynccontextmanager
async def working(world: World, settings: Settings, nc: Client, health: Health) -> AsyncIterator[Notifier]:
    """The notifier at work in this process, under its own NATS user, until the block is left."""
    stepped = await clock.open_clock(settings, world.pool)
    gateways = [DevelopmentGateway(world.gateway.sms_url), EmailGateway(Server.at(world.gateway.smtp_url))]
    notifier = Notifier(settings, world.pool, nc, stepped, [*gateways], health)
    task = asyncio.create_task(notifier.run())
    yield notifier
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for gateway in gateways:
        await gateway.close()
    await stepped.close()


@pytest.fixture
async def running(
    world: World,
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    health: Health,
) -> AsyncIterator[World]:
    """The notifier at work for the whole test."""
    async with working(world, settings("notifier"), await connect("notifier"), health):
        yield world


async def test_a_receipt_goes_out_once_by_the_means_wanted(
    running: World, eventually: Eventually, health: Health
) -> None:
    await running.received()
    await running.received("c2", notify_by="email", language="en")
    await running.received("c3", notify_by="none")
    await eventually(running.quiet)
    texts = {line["means"]: line for line in running.gateway.texts()}
    assert texts["sms"]["to"] == "01098765432"
    assert texts["sms"]["text"] == "[안성시] 민원이 접수되었습니다. 접수번호 R-1"
    assert texts["email"]["to"] == EMAIL
    assert texts["email"]["subject"] == "[Anseong] We have received your petition"
    assert texts["email"]["text"] == "[Anseong] We have received your petition.\nReceipt no. R-1\n"
    assert sorted(await running.told()) == ["notice.sent", "notice.sent", "notice.suppressed"]
    await eventually(lambda: health.red() == {})


async def test_what_was_sent_stays_sent_when_the_notifier_starts_again(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await running.received()
    await eventually(running.quiet)
    # Another holder takes the lease's generation: the running one is fenced, waits, and takes its turn anew.
    await pool.execute("UPDATE chassis.leases SET generation = generation + 1 WHERE name = 'notifier'")
    await running.received("c2")
    await eventually(running.quiet)
    assert [line["outcome"] for line in running.gateway.record()] == ["accepted", "accepted"]


async def test_another_log_under_the_same_name_is_refused(
    running: World, eventually: Eventually, pool: asyncpg.Pool, health: Health
) -> None:
    await running.received()
    await eventually(running.quiet)
    await running.nc.jetstream().delete_stream("CASES")
    await provision.create_streams(running.nc)
    await running.received("c2")
    await eventually(lambda: "WrongLog" in (health.parts["cases"].trouble or ""), 20)
    assert await pool.fetchval("SELECT count(*) FROM read.notices") == 1


async def test_a_breach_is_held_and_its_remedy_is_one_task(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await running.received()
    await clock.step(pool, instant(DUE))
    await running.decide("deadline.breached", RUN)
    await running.decide("remedy.proposed", OWED)
    await running.decide("remedy.proposed", OWED)
    await eventually(running.quiet)
    assert (await running.states())["breach"] == ("held", None)
    assert "task.assigned" not in await running.told()

    await clock.step(pool, AFTER_HOLD)
    await eventually(running.quiet)
    assert await running.states() == {
        **dict.fromkeys(("receipt", "breaches"), ("sent", "http_200")),
        **dict.fromkeys(("breach", "compensation"), ("suppressed", "merged")),
        "escalation": ("failed", "nobody"),
        "escalation_unanswered": ("held", None),
    }
    task = await pool.fetchrow("SELECT remedy, state, amount, revision FROM read.tasks")
    assert task is not None
    assert tuple(task) == ("anseong-remedy-standard", "assigned", 10_000, 1)
    assert Counter(await running.told())["task.assigned"] == 1


async def test_a_retraction_before_sending_suppresses_notice_task_and_remedy(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await running.received()
    await running.decide("deadline.breached", RUN)
    await running.decide("remedy.proposed", OWED)
    await running.decide("breach.retracted", RUN)
    await running.decide("remedy.withdrawn", REMEDY)
    await clock.step(pool, AFTER_HOLD)
    await eventually(running.quiet)
    assert await running.states() == {
        "receipt": ("sent", "http_200"),
        "breach": ("suppressed", "retracted"),
        "compensation": ("suppressed", "withdrawn"),
        "escalation": ("suppressed", "retracted"),
        "escalation_unanswered": ("suppressed", "retracted"),
    }
    assert await pool.fetchval("SELECT state FROM read.tasks") == "withdrawn"
    assert Counter(await running.told()) == {"notice.sent": 1, "notice.suppressed": 4}


async def test_a_retraction_after_sending_brings_corrections(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await running.received()
    await running.decide("deadline.breached", RUN)
    await running.decide("remedy.proposed", OWED)
    await clock.step(pool, AFTER_HOLD)
    await eventually(running.quiet)
    later = "2026-03-12T19:30:00+09:00"  # so that both are folded before either goes
    await running.decide("breach.retracted", RUN, time=later)
    await running.decide("remedy.withdrawn", REMEDY, time=later)
    await eventually(running.quiet)
    await clock.step(pool, instant(later))
    await eventually(running.quiet)
    assert {template: state for template, (state, _) in (await running.states()).items()} == {
        **dict.fromkeys(("receipt", "breaches", "corrections"), "sent"),
        **dict.fromkeys(("correction", "compensation_withdrawn"), "suppressed"),
        **dict.fromkeys(("breach", "compensation", "escalation_unanswered"), "suppressed"),
        "escalation": "failed",
    }
    assert await pool.fetchval("SELECT state FROM read.tasks") == "withdrawn"


async def test_an_issued_remedy_is_kept(running: World, eventually: Eventually, pool: asyncpg.Pool) -> None:
    await running.received()
    await running.decide("remedy.proposed", {name: value for name, value in OWED.items() if name != "due"})
    await eventually(running.quiet)
    await pool.execute("UPDATE notifier.tasks SET state = 'issued'")
    await running.decide("remedy.withdrawn", REMEDY)
    await running.decide("remedy.proposed", OWED | {"needs": ["finding"]})
    await eventually(running.quiet)
    assert await pool.fetchval("SELECT state FROM read.tasks") == "kept"
    assert Counter(await running.told())["remedy.kept"] == 1
    assert Counter(await running.told())["task.assigned"] == 1


async def test_a_decision_waits_for_the_fact_that_brought_it(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await clock.step(pool, AFTER_HOLD)
    await running.received()
    await running.decide("deadline.breached", RUN, cause=running.last["CASES"] + 1)
    await eventually(lambda: pool.fetchval("SELECT sequence = 1 FROM notifier.position WHERE log = 'CASES'"))
    assert await pool.fetchval("SELECT sequence FROM notifier.position WHERE log = 'SLA'") == 0
    person = await running.person(email=EMAIL)
    await running.fact("applicant.updated", person | {"notify_by": "email"})
    await eventually(running.quiet)
    row = await pool.fetchrow("SELECT means, state FROM read.notices WHERE template = 'breach'")
    assert row is not None
    assert tuple(row) == ("email", "sent")


async def test_one_gateways_trouble_does_not_stop_the_other(
    running: World, eventually: Eventually, pool: asyncpg.Pool, settings: Callable[..., Settings]
) -> None:
    async def state(case: str) -> Any:
        return await pool.fetchval("SELECT state FROM notifier.notices WHERE case_id = $1", case)

    await running.gateway.faults(sms="defer")
    await running.received("c1", notify_by="sms")
    await eventually(lambda: pool.fetchval("SELECT count(*) >= 2 FROM notifier.attempts WHERE outcome = 'deferred'"))
    await running.received("c2", notify_by="email")
    await eventually(lambda: _is(state("c2"), "sent"))
    assert await state("c1") in ("pending", "sending")  # it may be at its next attempt
    await running.gateway.faults(sms="none")
    await eventually(running.quiet)
    assert await state("c1") == "sent"

    await running.gateway.stop()
    await running.received("c3", notify_by="sms")
    await eventually(lambda: pool.fetchval("SELECT count(*) >= 2 FROM notifier.attempts WHERE outcome = 'unreachable'"))
    assert await state("c3") in ("pending", "sending")
    await running.gateway.start()
    await eventually(running.quiet)
    assert await state("c3") == "sent"
    outcomes = Counter(line["outcome"] for line in running.gateway.record() if line["means"] == "sms")
    assert (outcomes["accepted"], outcomes["duplicate"]) == (2, 0)


async def _is(found: Awaitable[Any], wanted: str) -> bool:
    return bool(await found == wanted)


async def test_smtp_refusals_for_now_and_for_good_are_told_apart(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    person = await running.person(email=EMAIL)
    await running.gateway.faults(smtp="defer")
    await running.fact("complaint.received", {"kind": "other", **person})
    await eventually(lambda: pool.fetchval("SELECT count(*) >= 2 FROM notifier.attempts WHERE code = 'smtp_451'"))
    await running.gateway.faults(smtp="none")
    await eventually(running.quiet)
    assert await running.states() == {"receipt": ("sent", "smtp_250")}

    await running.gateway.faults(smtp="reject")
    await running.fact("complaint.withdrawn", {})
    await eventually(running.quiet)
    assert (await running.states())["progress"] == ("failed", "refused")
    assert await pool.fetchval("SELECT count(*) FROM notifier.attempts WHERE code = 'smtp_550'") == 1


async def test_who_refuses_mail_for_good_is_sent_a_text(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await running.gateway.faults(smtp="reject")
    await running.received(notify_by="email")
    await eventually(running.quiet)
    row = await pool.fetchrow("SELECT means, state, attempts FROM read.notices")
    assert row is not None
    assert tuple(row) == ("sms", "sent", 2)


async def test_without_any_means_the_failure_is_told(running: World, eventually: Eventually) -> None:
    await running.fact("complaint.received", {"kind": "other", **await running.person(phone="031-000-0000")})
    await eventually(running.quiet)
    assert await running.states() == {"receipt": ("failed", "no_means")}
    assert await running.told() == ["notice.failed"]


async def test_a_warning_reaches_the_officer_by_mail(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    async with pool.acquire() as connection, connection.transaction():
        fields = {"name": "김담당", "phone": "031-678-2114", "email": "kim@anseong.example"}
        await running.vault.seal_staff(cast(asyncpg.Connection, connection), TENANT, "kim", fields)
    described = {"staff": "kim", "department": "토지민원과", "has_email": True}
    await running.fact("staff.described", described, "_all")
    await running.received()
    await running.fact("complaint.assigned", {"department": "토지민원과", "officer": "kim"})
    await running.decide("deadline.warned", RUN)
    await eventually(running.quiet)
    await clock.step(pool, instant("2026-03-11T08:30:00+09:00"))  # the due instant lies beyond the next digest
    await eventually(running.quiet)
    mail = next(line for line in running.gateway.texts() if line["means"] == "email")
    assert mail["to"] == "kim@anseong.example"
    assert mail["subject"] == "[안성시] 기한 임박: c1"
    assert "기한: 3월 12일(목) 오후 6시까지." in mail["text"]
    progress = next(line for line in running.gateway.texts() if "정해졌습니다" in line["text"])
    assert progress["text"].endswith("담당 토지민원과 김담당 031-678-2114")
    readers = await pool.fetch("SELECT DISTINCT purpose FROM vault.access WHERE reader = 'notifier'")
    assert {row["purpose"] for row in readers} == {"notify:receipt", "notify:progress", "notify:warning"}


async def test_what_waits_for_somebody_who_is_erased_reaches_nobody_and_is_counted(
    running: World, eventually: Eventually, pool: asyncpg.Pool, health: Health, capsys: pytest.CaptureFixture[str]
) -> None:
    await running.gateway.stop()
    await running.received()
    await running.received("c2", notify_by="email")
    await eventually(lambda: _pending(pool, 2), 30)
    async with pool.acquire() as conn:
        ((_, first), *_) = sorted((await running.vault.people_of(conn, await _references(pool, "c1"))).items())
        running.vault.ledger.add([Erasure(NOW, TENANT, person=str(first.id))])
        await running.vault.carry_out(conn)
    await running.gateway.start()
    await eventually(running.quiet, 30)
    rows = await pool.fetch("SELECT case_id, state, reason FROM notifier.notices ORDER BY case_id")
    # One person wrote both times.
    assert [tuple(row) for row in rows] == [("c1", "failed", "erased"), ("c2", "failed", "erased")]
    assert running.gateway.texts() == []
    assert sorted(await running.told()) == ["notice.failed", "notice.failed"]
    assert capsys.readouterr().err.count('"event":"notice_undeliverable"') == 2
    gauges = [Gauge(name, "-", registry=None) for name in ("unknown", "undeliverable", "nobody")]
    await _count(pool, *gauges)
    assert [gauge._value.get() for gauge in gauges] == [0, 2, 0]
    await running.received("c3")
    await eventually(running.quiet, 30)
    assert len(running.gateway.texts()) == 1
    await eventually(lambda: health.red() == {}, 30)


async def test_without_a_master_key_messages_wait_and_the_notifier_is_red(
    running: World, eventually: Eventually, pool: asyncpg.Pool, health: Health
) -> None:
    await eventually(lambda: health.red() == {}, 30)
    folder = running.vault.master.folder
    hidden = folder.rename(folder.with_name("away"))
    (folder).mkdir()
    (folder / "1999-01-01.key").write_bytes(bytes(32))
    try:
        running.vault.master.folder = hidden
        await running.received()
        await eventually(lambda: "MasterKeyMissing" in (health.parts["delivery-sms"].trouble or ""), 30)
        assert await _pending(pool, 1)
    finally:
        shutil.rmtree(folder)
        running.vault.master.folder = hidden.rename(folder)
    await eventually(running.quiet, 30)
    assert await running.states() == {"receipt": ("sent", "http_200")}


async def _pending(pool: asyncpg.Pool, number: int) -> bool:
    return await pool.fetchval("SELECT count(*) FROM notifier.notices WHERE state = 'pending'") == number


async def _references(pool: asyncpg.Pool, case: str) -> list[tuple[str, str]]:
    rows = await pool.fetch("SELECT view ->> 'subject_ref' AS ref FROM notifier.cases WHERE case_id = $1", case)
    return [(TENANT, row["ref"]) for row in rows]


async def test_publishers_hear_of_their_cases_and_of_what_the_law_refused(
    running: World, eventually: Eventually
) -> None:
    await running.received()
    await running.decide("deadline.started", RUN)
    await running.decide("event.refused", {"about": {"source": "documents", "id": "x9"}, "code": "third_extension"})
    await eventually(running.quiet)
    feed = await running.receipts(f"feed.{TENANT}.web")
    assert [event["type"] for event in feed] == ["deadline.started", "event.refused"]
    receipt = (await running.receipts(f"receipts.{TENANT}.documents"))[0]
    assert (receipt["status"], receipt["source"], receipt["id"]) == ("refused", "documents", "x9")


async def test_nothing_personal_is_in_the_ledger_or_on_notices(
    running: World, eventually: Eventually, pool: asyncpg.Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    await running.received()
    await eventually(running.quiet)
    kept = [
        dict(row)
        for table in ("notices", "attempts", "cases", "outbox")
        for row in await pool.fetch(f"TABLE notifier.{table}")
    ]
    shown = repr(kept) + repr(await running._stored("NOTICES", "notices.>")) + repr(running.gateway.record())
    shown += capsys.readouterr().out
    assert "홍길동" not in shown
    assert not re.search("9876.?5432", shown)  # all of it: keys and digests are full of digits
    assert "citizen.example" not in shown


_LEDGER = (
    "SELECT key, case_id, audience, template, version, language, promise, means, state, reason, attempts, topic, "
    "arguments, cause, recipient, retracted FROM notifier.notices ORDER BY key",
    "SELECT key, case_id, incident, clause, task, state, amount, currency, needs, release_at FROM notifier.tasks "
    "ORDER BY key",
    "SELECT lane, number, subject, body FROM notifier.outbox ORDER BY lane, number",
)


async def _lose_ledger(pool: asyncpg.Pool) -> None:
    """All that the notifier keeps is gone, as after `gihan provision` of an empty database."""
    tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'notifier'")
    names = ", ".join(f"notifier.{row['tablename']}" for row in tables)
    await empty(pool, f"TRUNCATE {names} RESTART IDENTITY")
    await pool.execute("INSERT INTO notifier.position (log, sequence) VALUES ('CASES', 0), ('SLA', 0)")


async def test_a_lost_ledger_is_worked_out_anew_and_nothing_is_sent_again(
    world: World,
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
    pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Messages, tasks and the outbox are as before, however often the working out breaks off; what was still held goes
    out once, in its time."""
    nc = await connect("notifier")
    async with working(world, settings("notifier"), nc, Health("notifier")):
        await world.received()
        await world.received("c2", notify_by="email", language="en")
        await world.received("c3", notify_by="none")
        await world.fact("complaint.received", {"kind": "other", **await world.person(phone="031-000-0000")}, "c4")
        # Broken, told, assigned, retracted with corrections, and broken again for another reason.
        await world.decide("deadline.breached", RUN)
        await world.decide("remedy.proposed", OWED)
        await clock.step(pool, AFTER_HOLD)
        await eventually(world.quiet, 30)
        await world.decide("breach.retracted", RUN)
        await world.decide("remedy.withdrawn", REMEDY)
        await world.decide("remedy.proposed", OWED)
        await world.decide("event.refused", {"about": {"source": "documents", "id": "x9"}, "code": "third_extension"})
        # A second case is broken and taken back before anything is said; a third one is still held.
        await world.decide("deadline.breached", RUN | {"due": "2026-03-13T18:00:00+09:00"}, "c2")
        await world.decide("breach.retracted", RUN | {"due": "2026-03-13T18:00:00+09:00"}, "c2")
        await world.decide("deadline.breached", RUN | {"due": "2026-03-14T18:00:00+09:00"}, "c3x")
        await world.received("c5")
        await world.decide("deadline.breached", RUN | {"due": "2026-03-14T18:00:00+09:00"}, "c5")
        await eventually(world.quiet, 30)
    before = [await pool.fetch(query) for query in _LEDGER]
    told, receipts = await world._stored("NOTICES", "notices.>"), await world._stored("RECEIPTS", "receipts.>")
    feed, record = await world._stored("RECEIPTS", "feed.>"), world.gateway.record()
    assert {row["state"] for row in before[0]} == {"sent", "failed", "suppressed", "held"}
    assert sum(event["type"] == "task.assigned" for event in told) == 2
    assert len(feed) > 5
    assert len(receipts) == 1

    await _lose_ledger(pool)
    with monkeypatch.context() as broken:
        # The results are read and not yet kept, once; then only CASES is folded before it ends again.
        note, fails = recovery._note_receipts, iter([True])

        async def breaks_off(*arguments: Any) -> None:
            if next(fails, False):
                raise OSError("broken off")
            await note(*arguments)

        async def sleeps(*_: Any) -> None:
            await asyncio.Event().wait()

        broken.setattr(recovery, "_note_receipts", breaks_off)
        broken.setattr(Fold, "follow_sla", sleeps)
        async with working(world, settings("notifier"), nc, Health("notifier")):
            await eventually(
                lambda: pool.fetchval("SELECT sequence > 0 FROM notifier.position WHERE log = 'CASES'"), 30
            )
    assert not await _none(pool, "notifier.recovery")
    async with working(world, settings("notifier"), nc, Health("notifier")):
        await eventually(world.quiet, 30)
        await eventually(lambda: _none(pool, "notifier.recovery"), 30)
        assert [await pool.fetch(query) for query in _LEDGER] == before
        assert world.gateway.record() == record
        assert await world._stored("NOTICES", "notices.>") == told
        assert await world._stored("RECEIPTS", "receipts.>") == receipts
        assert await world._stored("RECEIPTS", "feed.>") == feed
        await world.received("c6")
        await clock.step(pool, instant("2026-03-14T20:00:00+09:00"))
        await eventually(world.quiet, 30)
    assert len(world.gateway.record()) == len(record) + 2
    new = (await world._stored("NOTICES", "notices.>"))[len(told) :]
    assert sorted((event["type"], event["case"]) for event in new) == [
        ("notice.failed", "c3x"),  # no head is known
        ("notice.failed", "c5"),
        ("notice.sent", "c5"),
        ("notice.sent", "c6"),
    ]
    assert await _none(pool, "notifier.told")


async def _none(pool: asyncpg.Pool, table: str) -> bool:
    return not await pool.fetchval(f"SELECT count(*) FROM {table}")


async def test_a_ledger_older_than_notices_heals(
    world: World,
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
    pool: asyncpg.Pool,
) -> None:
    """A database put back as it was an hour ago: what was sent and assigned since then is known from NOTICES."""
    nc = await connect("notifier")
    async with working(world, settings("notifier"), nc, Health("notifier")):
        await world.received()
        await world.decide("deadline.breached", RUN)
        await world.decide("remedy.proposed", OWED)
        await eventually(world.quiet, 30)
    tables = [row[0] for row in await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'notifier'")]
    await pool.execute("CREATE SCHEMA copy")
    for table in tables:
        await pool.execute(f"CREATE TABLE copy.{table} AS TABLE notifier.{table}")
    async with working(world, settings("notifier"), nc, Health("notifier")):
        await world.received("c2")
        await clock.step(pool, AFTER_HOLD)
        await eventually(world.quiet, 30)
    before = [await pool.fetch(query) for query in _LEDGER]
    told, record = await world._stored("NOTICES", "notices.>"), world.gateway.record()
    assert len(record) == 3  # both receipts, and the breach with what is owed for it
    await empty(pool, f"TRUNCATE {', '.join(f'notifier.{table}' for table in tables)}")
    for table in sorted(tables, key=lambda table: table == "attempts"):
        await pool.execute(f"INSERT INTO notifier.{table} OVERRIDING SYSTEM VALUE SELECT * FROM copy.{table}")
    async with working(world, settings("notifier"), nc, Health("notifier")):
        await eventually(world.quiet, 30)
        await eventually(lambda: _none(pool, "notifier.recovery"), 30)
    assert [await pool.fetch(query) for query in _LEDGER] == before
    assert await world._stored("NOTICES", "notices.>") == told
    assert world.gateway.record() == record


async def test_what_notices_does_not_tell_of_is_asked_after(
    world: World,
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
    pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two texts are on their way when the ledger is lost, one taken and one not; each citizen gets one."""
    monkeypatch.setattr(calling, "ANSWER_SECONDS", 120.0)  # the notifier ends before it stops to wait
    nc = await connect("notifier")
    async with working(world, settings("notifier"), nc, Health("notifier")):
        await world.received("c0")
        await eventually(world.quiet, 30)
        await world.gateway.faults(sms="silent")
        await world.received("c1")
        await eventually(lambda: len(world.gateway.record()) == 2, 30)
    await world.gateway.faults(sms="none")
    await world.received("c2")
    assert [event["type"] for event in await world._stored("NOTICES", "notices.>")] == ["notice.sent"]
    await _lose_ledger(pool)
    async with working(world, settings("notifier"), nc, Health("notifier")):
        await eventually(world.quiet, 30)
        await eventually(lambda: _none(pool, "notifier.recovery"), 30)
    assert [line["outcome"] for line in world.gateway.record()] == ["accepted"] * 3
    rows = await pool.fetch("SELECT case_id, state, reason FROM notifier.notices ORDER BY case_id")
    assert [tuple(row) for row in rows] == [
        ("c0", "sent", "http_200"),
        ("c1", "sent", "asked_after"),
        ("c2", "sent", "http_200"),
    ]
    told = [
        (event["type"], event["case"], event["data"]["outcome"])
        for event in await world._stored("NOTICES", "notices.>")
    ]
    assert sorted(told) == [
        ("notice.sent", "c0", "http_200"),
        ("notice.sent", "c1", "asked_after"),
        ("notice.sent", "c2", "http_200"),
        ("notice.unknown", "c1", "ledger_lost"),
        ("notice.unknown", "c2", "ledger_lost"),
    ]


class Process:
    """The notifier as a process."""

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        self._environment = {
            **os.environ,
            "NATS_URL": settings.nats_url,
            "NATS_MONITOR_URL": settings.nats_monitor_url or "",
            "DATABASE_URL": settings.database_url,
            "GIHAN_VAULT_KEYS": str(settings.vault_keys),
            "GIHAN_CLOCK": "stepped",
            "GIHAN_PORT": str(_free_port()),
            "SMS_URL": gateway.sms_url,
            "SMTP_URL": gateway.smtp_url,
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._environment['GIHAN_PORT']}"

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.notifier"),
            cwd=ROOT,
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
        )

    async def end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(how)
        async with asyncio.timeout(60):
            return await self._process.wait()


@pytest.fixture
async def process(world: World, settings: Callable[..., Settings]) -> AsyncIterator[Process]:
    # The services that it watches do not run here.
    await world.pool.execute(
        "INSERT INTO chassis.signs_of_life VALUES ('sla_timer', 'infinity'), ('intake', 'infinity')"
    )
    process = Process(settings("notifier"), world.gateway)
    yield process
    await process.end(signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_killed_between_attempt_and_result_it_asks_before_it_sends_again(
    world: World, eventually: Eventually, process: Process, pool: asyncpg.Pool
) -> None:
    await world.gateway.faults(sms="silent", smtp="silent")
    await process.start()
    await world.received("c1", notify_by="sms")
    await world.received("c2", notify_by="email")
    await eventually(lambda: len({line["key"] for line in world.gateway.record()}) == 2, 30)
    await process.end(signal.SIGKILL)
    assert await pool.fetchval("SELECT count(*) FROM notifier.notices WHERE state = 'sent'") == 0

    await world.gateway.faults(sms="none", smtp="none")
    await process.start()
    await eventually(world.quiet, 30)
    async with httpx.AsyncClient(trust_env=False) as http:
        await eventually(lambda: _ready(http, process.url))
        status = (await http.get(f"{process.url}/status")).json()
    assert (status["idle"], status["cases_sequence"]) == (True, 2)
    assert await process.end(signal.SIGTERM) in (0, -signal.SIGTERM)

    rows = await pool.fetch("SELECT case_id, state, attempts FROM notifier.notices ORDER BY case_id")
    assert [(row["case_id"], row["state"]) for row in rows] == [("c1", "sent"), ("c2", "sent")]
    texts = [line for line in world.gateway.record() if line["means"] == "sms"]
    assert [line["outcome"] for line in texts] == ["accepted"]
    # Mail cannot be asked after: the second copy carries the same Message-ID and stands as a repetition in the ledger.
    mails = [line["outcome"] for line in world.gateway.record() if line["means"] == "email"]
    repeated = await pool.fetchval("SELECT count(*) FROM notifier.attempts WHERE means = 'email' AND repeated")
    assert mails == ["accepted", *["duplicate"] * repeated]
    assert repeated >= 1
    told = Counter(await world.told())
    assert told["notice.sent"] == 2
    assert told["notice.unknown"] >= 2


async def _ready(http: httpx.AsyncClient, url: str) -> bool:
    answer = await http.get(f"{url}/health/ready")
    assert answer.status_code == 200, answer.text
    return True


@pytest.mark.parametrize("place", ["delivery.after_attempt", "delivery.after_gateway"])
async def test_an_attempt_that_trouble_cut_off_is_asked_after_by_the_same_notifier(
    running: World, eventually: Eventually, settings: Callable[..., Settings], tmp_path: Path, place: str
) -> None:
    """Nothing dies and no lease is lost: the courier alone failed between the attempt and its result."""
    orders = tmp_path / "orders" / "test"
    orders.mkdir(parents=True)
    (orders / place).write_text("raise")
    failpoints.arm(settings("test", failpoints_folder=tmp_path / "orders", failpoints_allowed=True))
    try:
        await running.received("c1", notify_by="sms")
        await eventually(running.quiet)
    finally:
        failpoints.arm(settings("test"))
    assert [path.name for path in orders.iterdir()] == [f"{place}.struck"]
    assert (await running.states())["receipt"][0] == "sent"
    assert [line["outcome"] for line in running.gateway.record()] == ["accepted"]
