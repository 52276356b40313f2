"""Dead letters on real servers: refused, looked at, put right, given in again, and each step on record."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from nats.aio.client import Client
from typer.testing import CliRunner

from contracts.streams import inbox_subject
from services.chassis.clock import step
from services.chassis.settings import Settings
from services.chassis.vault import Vault, VaultError, open_vault
from services.cli.main import app as command
from services.intake import sweep
from services.intake.app import build_app
from services.intake.dead import DeadError, Desk, Letter, forget_expired, letter_named, letters
from services.intake.doors import Inbox
from services.intake.judge import Publisher
from services.rules.instants import DAY, instant

NOW = "2026-03-12T10:00:00+09:00"
WEB = Publisher("seoul", "web")
Eventually = Callable[..., Awaitable[Any]]
PURPOSE = "ticket 7"


@pytest.fixture
async def intake(settings: Callable[..., Settings], pool: asyncpg.Pool) -> AsyncIterator[FastAPI]:
    await step(pool, instant(NOW))
    app = build_app(settings("intake"))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def desk(settings: Callable[..., Settings], pool: asyncpg.Pool, connect: Any) -> Desk:
    return Desk(await connect("dead"), pool, open_vault(settings("dead")), "operator/kim", PURPOSE)


@pytest.fixture
async def publisher(nc: Client, connect: Any) -> Client:
    """The city's web form, with an empty INBOX and an empty DEAD."""
    for stream in ("INBOX", "DEAD"):
        await nc.jetstream().purge_stream(stream)
    return await connect("seoul.web")


def event(id: str, type: str, case: str, **data: Any) -> dict[str, Any]:
    head = {"specversion": "1.0", "id": id, "source": "web", "type": type, "time": NOW, "tenant": "seoul"}
    return {**head, "subject": case, "data": data}


async def opened(intake: FastAPI, case: str) -> None:
    person = {"name": "홍길동", "address": "서울시 중구 1", "mobile": "010-0000-0001"}
    received = event(
        f"{case}-received", "complaint.received", case, channel="web", kind="inquiry", title="등", applicant=person
    )
    await intake.state.parts.doors.receive(json.dumps(received).encode(), WEB, "http")


def answered(case: str, **data: Any) -> dict[str, Any]:
    return event(f"{case}-answered", "complaint.completed", case, **({"outcome": "answered", "by": "kim"} | data))


async def leave(nc: Client, *bodies: bytes) -> None:
    """Leaves letters in INBOX without waiting for anything but the server."""
    for body in bodies:
        await nc.publish(inbox_subject("seoul", "web", "complaint.completed"), body)
    await nc.flush()


async def dead(nc: Client, pool: asyncpg.Pool, number: int) -> list[Letter]:
    found = await letters(nc, pool, "seoul", "web")
    return found if len(found) == number else []


async def test_a_letter_is_shown_put_right_and_given_in_again(
    intake: FastAPI, publisher: Client, nc: Client, pool: asyncpg.Pool, desk: Desk, eventually: Eventually
) -> None:
    await opened(intake, "a-1")
    wrong = json.dumps(answered("a-1", outcome="perhaps")).encode()
    await leave(publisher, wrong)
    (letter,) = await eventually(lambda: dead(nc, pool, 1), 30)
    assert (letter.id, letter.pointer, letter.open) == ("a-1-answered", "/data/outcome", True)
    assert await desk.read(letter) == [wrong]
    refused = await desk.redrive(letter)  # nothing was changed: refused again, and it stays
    assert (refused.status, refused.pointer) == ("refused", "/data/outcome")  # type: ignore[union-attr]
    right = json.dumps(answered("a-1")).encode()
    await desk.fix(letter, right)
    assert await desk.read(letter) == [wrong, right]
    assert (await desk.redrive(letter)).status == "accepted"

    assert await pool.fetchval("select status from read.event_fate where id = 'a-1-answered'") == "accepted"
    assert await pool.fetchval("select count(*) from vault.letters") == 0
    assert await pool.fetchval("select count(*) from vault.letter_fixes") == 0
    (settled,) = await letters(nc, pool)
    assert not settled.open
    with pytest.raises(VaultError, match="settled"):
        await desk.read(settled)
    told = json.loads((await nc.jetstream().get_last_msg("RECEIPTS", "receipts.seoul.web")).data or b"")
    assert (told["status"], told["id"]) == ("accepted", "a-1-answered")
    trail = await desk.history(settled)
    assert [step.what for step in trail] == [
        *("opened", "opened", "redriven", "refused", "fixed", "opened", "opened", "redriven", "settled", "opened"),
    ]
    assert {(step.by, step.purpose) for step in trail} == {("operator/kim", PURPOSE)}
    async with pool.acquire() as conn:
        assert await desk._vault.verify_access_chain(conn, "seoul") is None


async def test_a_crash_before_it_is_settled_is_mended_by_the_next_try(
    intake: FastAPI,
    publisher: Client,
    nc: Client,
    pool: asyncpg.Pool,
    desk: Desk,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await opened(intake, "b-1")
    await leave(publisher, json.dumps(answered("b-1", by="nobody else", mood="good")).encode())
    (letter,) = await eventually(lambda: dead(nc, pool, 1), 30)
    await desk.fix(letter, json.dumps(answered("b-1")).encode())
    with monkeypatch.context() as patch:
        patch.setattr(Vault, "settle_letter", _crash)
        with pytest.raises(KeyboardInterrupt):
            await desk.redrive(letter)
    assert (await letter_named(nc, pool, letter.letter)).open
    assert (await desk.redrive(letter)).status == "accepted"
    assert not (await letter_named(nc, pool, letter.letter)).open
    rows = await pool.fetch("select id from intake.reservations where case_id = 'b-1'")
    assert sorted(row["id"] for row in rows) == ["b-1-answered", "b-1-received"]


async def _crash(*_: Any) -> None:
    raise KeyboardInterrupt


async def test_keys_are_destroyed_after_thirty_days(
    intake: FastAPI,
    publisher: Client,
    nc: Client,
    pool: asyncpg.Pool,
    desk: Desk,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await leave(publisher, b"not json")
    (letter,) = await eventually(lambda: dead(nc, pool, 1), 30)
    await desk.fix(letter, b"{}")
    end, swept = instant(NOW) + 30 * DAY, set()

    async def forget(pool: asyncpg.Pool, now: int) -> None:
        await forget_expired(pool, now)
        swept.add(now)

    monkeypatch.setattr(sweep, "forget_expired", forget)
    await step(pool, end - 1)
    await eventually(lambda: end - 1 in swept)
    assert (await letter_named(nc, pool, letter.letter)).open
    await step(pool, end)
    await eventually(lambda: _closed(nc, pool, letter.letter))
    assert await pool.fetchval("select count(*) from vault.letter_fixes") == 0


async def _closed(nc: Client, pool: asyncpg.Pool, name: str) -> bool:
    return not (await letter_named(nc, pool, name)).open


async def test_no_intake_no_settling(
    publisher: Client, nc: Client, pool: asyncpg.Pool, desk: Desk, settings: Callable[..., Settings], eventually: Any
) -> None:
    await step(pool, instant(NOW))
    app = build_app(settings("intake"))
    async with app.router.lifespan_context(app):
        await leave(publisher, b"{}")
        (letter,) = await eventually(lambda: dead(nc, pool, 1), 30)
    with pytest.raises(DeadError, match="No intake answered"):
        await desk.redrive(letter)
    assert (await letter_named(nc, pool, letter.letter)).open


@pytest.mark.timeout(240)
async def test_a_thousand_poisonous_letters_hold_up_no_good_one(
    intake: FastAPI,
    publisher: Client,
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fifty good letters behind a thousand bad ones are accepted although not one of these gets under the earth."""
    for number in range(50):
        await opened(intake, f"p-{number}")
    dig, seal = asyncio.Event(), Inbox._seal

    async def waiting(inbox: Inbox, *graves: Any) -> list[bytes]:
        await dig.wait()
        return await seal(inbox, *graves)

    async def accepted() -> bool:
        names = [f"p-{number}-answered" for number in range(50)]
        count = "select count(*) from read.event_fate where status = 'accepted' and id = any($1::text[])"
        return await pool.fetchval(count, names) == 50

    monkeypatch.setattr(Inbox, "_seal", waiting)
    poison = [b"\xff\xfe", b"{", b"[" * 5_000, b'{"a": 1e999}', json.dumps(answered("p-1", outcome="?")).encode()]
    good = [json.dumps(answered(f"p-{number}")).encode() for number in range(50)]
    await leave(publisher, *(poison[number % len(poison)] for number in range(1_000)), *good)
    begun = time.monotonic()
    await eventually(accepted, 90)
    sys.stderr.write(f"\nfifty good letters behind a thousand bad ones: {time.monotonic() - begun:.2f} s\n")
    assert await letters(nc, pool, "seoul", "web") == []
    dig.set()
    assert len(await eventually(lambda: dead(nc, pool, 1_000), 90)) == 1_000


async def test_the_commands(
    intake: FastAPI,
    publisher: Client,
    nc: Client,
    pool: asyncpg.Pool,
    settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    """list, show, fix and redrive as an operator types them."""
    told = settings("dead")
    for name, value in {
        "NATS_URL": told.nats_url,
        "DATABASE_URL": told.database_url,
        "GIHAN_VAULT_KEYS": str(told.vault_keys),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("services.chassis.logs.configure", lambda *_: None)  # it would hold for every test after this

    async def run(*words: str, ends: int = 0) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, command, ["dead", *words])
        assert result.exit_code == ends, result.output
        return result.output if ends == 2 else result.stdout

    await opened(intake, "c-1")
    await leave(publisher, json.dumps(answered("c-1", outcome="perhaps")).encode(), b"{")
    await eventually(lambda: dead(nc, pool, 2), 30)
    listed = json.loads(await run("list", "--tenant", "seoul", "--json"))
    assert [row["code"] for row in listed] == [row.code for row in await letters(nc, pool)]
    assert await run("list", "--source", "kiosk") == "0 letters\n"
    name = next(row["letter"] for row in listed if row.get("id") == "c-1-answered")
    assert [row["letter"] for row in json.loads(await run("list", "--reason", "not_json", "--json"))] != [name]
    assert "perhaps" not in json.dumps(listed)
    assert "perhaps" in await run("show", name, "--purpose", PURPOSE)
    await run("fix", name, "--set", "/data/outcome=answered", "--remove", "/data/by", "--purpose", PURPOSE)
    await run("fix", name, "--set", "/data/by=lee", "--purpose", PURPOSE)
    assert "there is no such field" in await run("fix", name, "--remove", "/data/mood", "--purpose", PURPOSE, ends=2)
    both = await run("redrive", "--tenant", "seoul", "--purpose", PURPOSE, "--by", "lee", "--json", ends=1)
    assert sorted(row["status"] for row in json.loads(both)) == ["accepted", "refused"]
    shown = await run("list", "--settled")
    assert shown.count("(settled)") == 1
    body = await nc.jetstream().get_last_msg("CASES", "cases.*.seoul.complaint.completed")
    assert json.loads(body.data or b"")["data"]["by"] == "lee"
    file = tmp_path / "event.json"
    await asyncio.to_thread(file.write_bytes, json.dumps(answered("c-1")).encode())
    other = next(row["letter"] for row in listed if row["letter"] != name)
    await run("fix", other, "--file", os.fspath(file), "--purpose", PURPOSE)
    assert "other_content" in await run("redrive", other, "--purpose", PURPOSE, ends=1)
