"""What gateways tell later: asked for, reported, bounced; true reports count once, forged ones never."""

import asyncio
import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import test_notifier
from fake_gateways import KEY, SECRET, FakeKannel, FakeSolapi, serving
from fastapi import FastAPI
from nats.aio.client import Client
from test_notifier import EMAIL, MOBILE, NOW, TENANT, World, _lose_ledger

from services.chassis import clock
from services.chassis.health import Health
from services.chassis.settings import Settings
from services.notifier import bounces, reports
from services.notifier.app import Notifier
from services.notifier.gateways import Found, Gateway
from services.notifier.gateways.development import DevelopmentGateway
from services.notifier.gateways.email import EmailGateway, Server
from services.notifier.gateways.kannel import KannelGateway
from services.notifier.gateways.solapi import SolapiGateway
from services.notifier.reports import Marks
from services.rules.instants import HOUR, MINUTE, SECOND

Eventually = Callable[..., Awaitable[Any]]
gateway, world = test_notifier.gateway, test_notifier.world  # fixtures
MARKS = Marks(bytes(32))
WHOLE = {"name": "홍길동", "mobile": MOBILE, "email": EMAIL, "address": "안성시 시청길 25"}


@asynccontextmanager
async def at_work(
    world: World, settings: Settings, nc: Client, gateways: list[Gateway] | None = None
) -> AsyncIterator[None]:
    stepped = await clock.open_clock(settings, world.pool)
    made = gateways or [
        DevelopmentGateway(world.gateway.sms_url),
        EmailGateway(Server.at(world.gateway.smtp_url), mark=MARKS.of),
    ]
    task = asyncio.create_task(Notifier(settings, world.pool, nc, stepped, made, Health("notifier")).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stepped.close()
        for one in made:
            await one.close()


@pytest.fixture
async def running(
    world: World,
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    tmp_path: Path,
) -> AsyncIterator[World]:
    """The notifier at work, with a mailbox for bounces and the key of MARKS."""
    (tmp_path / "reports.key").write_bytes(bytes(32))
    for name in ("new", "cur", "tmp"):
        (tmp_path / "bounces" / name).mkdir(parents=True)
    told = settings("notifier", reports_key_file=tmp_path / "reports.key", bounces=tmp_path / "bounces")
    async with at_work(world, told, await connect("notifier")):
        yield world


async def received(world: World, case: str = "c1", fields: dict[str, str] = WHOLE, **more: Any) -> None:
    person = await world.person(**fields)
    await world.pool.execute("INSERT INTO intake.cases VALUES ($1, $2, 'web', 'R-1')", TENANT, case)
    data = {"kind": "inquiry", **person, "has_address": "address" in fields, **more}
    await world.fact("complaint.received", data, case)


async def notices(world: World) -> list[tuple[str, str, str | None]]:
    """(type, means, outcome) of everything on NOTICES about messages, in order."""
    await world.told()  # each keeps its contract
    told = await world._stored("NOTICES", "notices.>")
    return [
        (event["type"], event["data"].get("means", "-"), event["data"].get("outcome"))
        for event in told
        if event["type"].startswith("notice.")
    ]


async def key(world: World, case: str = "c1") -> str:
    found: str = await world.pool.fetchval('SELECT key FROM read.notices WHERE "case" = $1', case)
    return found


# Asked for


async def test_a_text_that_arrived_is_told_as_delivered(running: World, eventually: Eventually) -> None:
    await running.gateway.faults(reports="delivered")
    await received(running)
    await eventually(running.quiet, 30)
    assert [type for type, _, _ in await notices(running)] == ["notice.sent"]
    await clock.step(running.pool, NOW + 10 * SECOND)
    await eventually(lambda: _told(running, 2), 30)
    assert [type for type, _, _ in await notices(running)] == ["notice.sent", "notice.delivered"]
    row = await running.pool.fetchrow("SELECT outcome, ask_at FROM notifier.attempts")
    assert row is not None
    assert tuple(row) == ("delivered", None)


async def _told(world: World, number: int) -> bool:
    return len(await world._stored("NOTICES", "notices.>")) >= number


async def test_what_did_not_arrive_goes_by_mail_and_at_last_by_post(running: World, eventually: Eventually) -> None:
    await running.gateway.faults(reports="undelivered", smtp="reject")
    await received(running)
    await eventually(running.quiet, 30)
    await clock.step(running.pool, NOW + 10 * SECOND)
    await eventually(lambda: _told(running, 4), 30)
    assert await notices(running) == [
        ("notice.sent", "sms", "http_200"),
        ("notice.failed", "sms", "returned"),
        ("notice.failed", "email", "by_post"),
    ]
    task = await running.pool.fetchrow("SELECT task, state, officer FROM read.tasks")
    assert task is not None
    assert tuple(task) == ("post_letter", "assigned", None)
    assert (await running.told()).count("task.assigned") == 1


async def test_nobody_writes_a_letter_to_where_nobody_lives(running: World, eventually: Eventually) -> None:
    await running.gateway.faults(sms="reject")
    await received(running, fields={"mobile": MOBILE})
    await eventually(running.quiet, 30)
    assert await notices(running) == [("notice.failed", "sms", "refused")]
    assert await running.pool.fetchval("SELECT count(*) FROM read.tasks") == 0


async def test_who_wants_post_is_sent_a_letter(running: World, eventually: Eventually) -> None:
    await received(running, notify_by="post")
    await received(running, "c2", notify_by="none")
    await eventually(running.quiet, 30)
    assert sorted(await notices(running)) == [
        ("notice.failed", "-", "by_post"),
        ("notice.suppressed", "-", "not_wanted"),
    ]
    assert await running.pool.fetchval("SELECT count(*) FROM read.tasks WHERE task = 'post_letter'") == 1


async def test_a_gateway_is_asked_after_growing_pauses_and_not_for_ever(
    world: World,
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    fake = FakeSolapi()
    async with serving(fake) as url:
        solapi = SolapiGateway("sms", KEY, SECRET, url=url, talks={})
        report = solapi.report

        async def counted(ref: str) -> Any:
            asked.append(ref)
            return await report(ref)

        monkeypatch.setattr(solapi, "report", counted)
        mail = EmailGateway(Server.at(world.gateway.smtp_url))
        async with at_work(world, settings("notifier"), await connect("notifier"), [solapi, mail]):
            await received(world)
            await eventually(world.quiet, 30)
            for wanted, at in ((1, 10 * SECOND), (2, 30 * SECOND), (3, 90 * SECOND), (4, 49 * HOUR)):
                before = (await _ask_at(world)) or 0
                await clock.step(world.pool, NOW + at)
                await eventually(lambda: _asked(world, asked, wanted, before), 30)  # noqa: B023
            assert await _ask_at(world) is None
            await clock.step(world.pool, NOW + 60 * HOUR)
            fake.fate = "delivered"
            assert await notices(world) == [("notice.sent", "sms", "solapi_2000")]
    assert len(asked) == 4


async def _ask_at(world: World) -> int | None:
    found: int | None = await world.pool.fetchval("SELECT ask_at FROM notifier.attempts")
    return found


async def _asked(world: World, asked: list[str], wanted: int, before: int) -> bool:
    return len(asked) == wanted and await _ask_at(world) != before


# Reported


async def test_kannels_report_counts_with_its_mark_alone_and_once(running: World, eventually: Eventually) -> None:
    app = FastAPI()
    app.include_router(reports.routes(MARKS, lambda: running.pool))
    await received(running)
    await eventually(running.quiet, 30)
    name = await key(running)
    mark = hmac.new(bytes(32), f"{name}|1".encode(), hashlib.sha256).hexdigest()[:32]
    forged = [
        f"/reports/{name}/1/{'0' * 32}",
        f"/reports/{name}/2/{mark}",
        f"/reports/{name}x/1/{mark}",
        f"/reports/{name}/0/{MARKS.of(name)}",  # that of its mail
        f"/reports/{name}/99999/{MARKS.of(name, 99999)}",
        f"/reports/{name}/1/{mark[:-1]}é",
    ]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://notifier") as http:
        for address in forged:
            assert (await http.get(address, params={"status": "2"})).status_code == 404
        assert await running.pool.fetchval("SELECT count(*) FROM notifier.reports") == 0
        for status in ("8", "4", "", "x", "1", "1", "2"):
            assert (await http.get(f"/reports/{name}/1/{mark}", params={"status": status})).status_code == 204
    await eventually(lambda: _told(running, 2), 30)
    await eventually(lambda: _none(running, "notifier.reports"), 30)
    # The first end counts; what contradicts it later does not.
    assert await notices(running) == [("notice.sent", "sms", "http_200"), ("notice.delivered", "sms", "kannel_1")]


async def _none(world: World, table: str) -> bool:
    return not await world.pool.fetchval(f"SELECT count(*) FROM {table}")


async def test_a_report_that_is_faster_than_our_record_waits_for_it_and_ends_the_doubt(
    world: World,
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
) -> None:
    """Kannel takes a text and does not say so, but reports that it arrived: nothing is sent again."""
    fake = FakeKannel()
    fake.fault = "silent"
    async with serving(fake) as url:
        kannel = KannelGateway("sms", url, KEY, SECRET, report_to=MARKS.address("http://h"))
        mail = EmailGateway(Server.at(world.gateway.smtp_url))
        async with at_work(world, settings("notifier"), await connect("notifier"), [kannel, mail]):
            await received(world)
            await eventually(lambda: fake.taken != {}, 30)
            await reports.keep(world.pool, await key(world), "sms", 1, Found.DELIVERED, "kannel_1")
            await eventually(world.quiet, 30)
            told = await notices(world)
            assert told[0][0] == "notice.unknown"
            assert told[1:] == [
                ("notice.sent", "sms", "kannel_1"),
                ("notice.delivered", "sms", "kannel_1"),
            ]
    assert sum(fake.taken.values()) == 1


# Bounced


def bounce(id: str, action: str = "failed", status: str = "5.1.1", returned: str = "message/rfc822") -> bytes:
    """A delivery status notification as mail servers write it."""
    return f"""\
From: MAILER-DAEMON@mail.city.example
To: petition@anseong.example
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

I'm sorry to have to inform you that your message could not be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.city.example

Final-Recipient: rfc822; {EMAIL}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; 550 no such user

--b
Content-Type: {returned}

From: petition@anseong.example
To: {EMAIL}
Message-ID: <{id}@anseong.example>
Subject: x

--b--
""".replace("\n", "\r\n").encode()


ID = f"{'a' * 32}.{MARKS.of('a' * 32)}"


@pytest.mark.parametrize(
    ("mail", "found", "code"),
    [
        (bounce(ID), Found.UNDELIVERED, "dsn_5_1_1"),
        (bounce(ID, status="4.4.7"), Found.UNDELIVERED, "dsn_4_4_7"),  # tried for days, and given up
        (bounce(ID, returned="text/rfc822-headers"), Found.UNDELIVERED, "dsn_5_1_1"),
        (bounce(ID, "delivered", "2.0.0"), Found.DELIVERED, "dsn_2_0_0"),
        (bounce(ID, "Failed (really)", "nonsense 010-9876-5432"), None, ""),
        (bounce(ID, "failed", "nonsense 010-9876-5432"), Found.UNDELIVERED, "dsn"),
        (bounce(ID, "delayed", "4.4.1"), None, ""),
        (bounce(ID, "relayed", "2.0.0"), None, ""),
        (bounce("somebody.else"), None, ""),
        (bounce(ID).replace(b"multipart/report", b"multipart/mixed"), None, ""),
        (b"Subject: Out of office\r\n\r\nI am away: " + ID.encode(), None, ""),
        (b"", None, ""),
        (b"\xff\xfe\x00" * 100, None, ""),
        (
            b'Content-Type: multipart/report; boundary="b"\r\n\r\n'
            + b'--b\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n' * 3000,
            None,
            "",
        ),
        (bounce(ID) + b"x" * (5 << 20), None, ""),
    ],
)
def test_a_mail_is_read_for_what_it_says(mail: bytes, found: Found | None, code: str) -> None:
    told = bounces.read(mail)
    assert (told and (told.key, told.found, told.code)) == (found and ("a" * 32, found, code))


async def test_a_bounce_brings_the_next_means_and_a_forged_one_brings_nothing(
    running: World, eventually: Eventually, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await received(running, notify_by="email")
    await eventually(running.quiet, 30)
    (mail,) = running.gateway.texts()
    name = mail["key"]
    box = tmp_path / "bounces"
    _drop(box, "1", bounce(f"{name}.{'0' * 32}"))
    _drop(box, "2", b"Subject: Happy new year\r\n\r\n")
    await eventually(lambda: len(list((box / "cur").iterdir())) == 2, 30)
    assert await notices(running) == [("notice.sent", "email", "smtp_250")]
    _drop(box, "3", bounce(f"{name}.{MARKS.of(name)}"))
    await eventually(lambda: _told(running, 3), 30)
    await eventually(running.quiet, 30)
    assert await notices(running) == [
        ("notice.sent", "email", "smtp_250"),
        ("notice.failed", "email", "returned"),
        ("notice.sent", "sms", "http_200"),
    ]
    assert list((box / "new").iterdir()) == []
    assert sorted(path.name for path in (box / "cur").iterdir()) == ["1:2,S", "2:2,S"]
    told = capsys.readouterr()
    assert "010-9876" not in told.out + told.err
    assert EMAIL not in told.out + told.err
    assert "bounce_taken" in told.err


def _drop(box: Path, name: str, mail: bytes) -> None:
    (box / "tmp" / name).write_bytes(mail)
    (box / "tmp" / name).rename(box / "new" / name)


async def test_a_lost_ledger_knows_what_came_back_and_what_went_by_post(
    world: World,
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
) -> None:
    nc = await connect("notifier")
    query = "SELECT key, state, means, reason FROM notifier.notices ORDER BY case_id"
    tasks = "SELECT key, task, state, incident, cause FROM notifier.tasks"
    async with at_work(world, settings("notifier"), nc):
        await world.gateway.faults(reports="undelivered")
        await received(world)  # comes back, and goes by mail
        await received(world, "c2", notify_by="post")
        await eventually(world.quiet, 30)
        await clock.step(world.pool, NOW + MINUTE)
        await eventually(lambda: _told(world, 5), 30)
        await eventually(world.quiet, 30)
    before = [await world.pool.fetch(query), await world.pool.fetch(tasks)]
    told, record = await world._stored("NOTICES", "notices.>"), world.gateway.record()
    assert Counter(event["type"] for event in told) == {"notice.sent": 2, "notice.failed": 2, "task.assigned": 1}
    await _lose_ledger(world.pool)
    async with at_work(world, settings("notifier"), nc):
        await eventually(world.quiet, 60)
        await eventually(lambda: _none(world, "notifier.recovery"), 30)
    assert [await world.pool.fetch(query), await world.pool.fetch(tasks)] == before
    assert await world._stored("NOTICES", "notices.>") == told
    assert world.gateway.record() == record


async def test_what_came_back_when_the_ledger_was_lost_still_goes_by_the_next_means(
    world: World,
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
) -> None:
    nc = await connect("notifier")
    async with at_work(world, settings("notifier"), nc):
        await world.gateway.faults(reports="undelivered", smtp="defer")
        await received(world)
        await eventually(world.quiet, 30)
        await clock.step(world.pool, NOW + MINUTE)
        await eventually(lambda: _told(world, 2), 30)
    await _lose_ledger(world.pool)
    await world.gateway.faults(smtp="none")
    async with at_work(world, settings("notifier"), nc):
        await eventually(world.quiet, 60)
        await eventually(lambda: _none(world, "notifier.recovery"), 30)
    row = await world.pool.fetchrow("SELECT state, means FROM notifier.notices")
    assert row is not None
    assert tuple(row) == ("sent", "email")
    assert Counter((line["means"], line["outcome"]) for line in world.gateway.record())["email", "accepted"] == 1
    assert [line["means"] for line in world.gateway.record() if line["outcome"] == "accepted"] == ["sms", "email"]
