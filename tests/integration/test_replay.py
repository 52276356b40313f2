"""Replay on real servers: what the log alone says is what the live system holds, and reading it changes nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import msgspec
import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeout
from test_sla_timer import MONDAY, Eventually, Log, _all_sent, _folded_to_end, _nothing_before, running

from contracts.streams import STREAMS, partition
from deploy import provision
from services.chassis import clock, postgres
from services.chassis.cursor import read_up_to
from services.chassis.settings import Settings
from services.cli import rebuild as rebuilding
from services.cli import replay, verify
from services.cli.rebuild import NotRebuilt, rebuild
from services.cli.verify import NotFolded, Verdict
from services.rules.instants import MINUTE, instant
from services.rules.state import Decision
from services.sla_timer import batch
from services.sla_timer.messages import decision_message

CITIES = ("anseong", "mapo", "seoul", "yeonje", "miryang")
THURSDAY = "2026-04-09T10:30:00+09:00"


@pytest.fixture
async def played(
    settings: Callable[..., Settings], nc: Client, pool: asyncpg.Pool, eventually: Eventually
) -> AsyncIterator[list[Log]]:
    """Twenty cases of five cities, folded to Thursday, with sla_timer still running."""
    for stream in STREAMS:
        await nc.jetstream().delete_stream(stream.name)
    await provision.create_streams(nc)
    await clock.step(pool, instant(MONDAY))
    logs = [Log(nc, pool, tenant, f"p{n}") for n in range(4) for tenant in CITIES]
    async with running(settings("sla_timer")):
        for log in logs:
            await log.state("complaint.received", MONDAY, channel="web", kind="suggestion")
        await eventually(lambda: _folded_to_end(nc, pool))
        for at in ("2026-04-06T13:30:00+09:00", THURSDAY):
            await clock.step(pool, instant(at))
            await eventually(lambda at=at: _nothing_before(pool, instant(at)))
        for log in logs[::3]:
            await log.state("complaint.withdrawn", "2026-04-07T09:00:00+09:00")
        await eventually(lambda: _folded_to_end(nc, pool))
        await eventually(lambda: _all_sent(pool))
        yield logs


async def verdicts(settings: Settings, numbers: Sequence[int] = range(16)) -> list[Verdict]:
    return [verdict async for verdict in verify.verify(settings, numbers)]


async def test_the_fold_from_the_log_is_the_live_projection(
    played: list[Log], settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str], pool: asyncpg.Pool
) -> None:
    """Every partition has the same hash live and from the log, and the command ends with 1 where one has not."""
    assert await replay.show_verdicts(settings("replay"), range(16), as_json=True) == 0
    *rows, total = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["partition"] for row in rows] == list(range(16))
    assert all(row["live"] == row["folded"] and row["difference"] == "" for row in rows)
    assert sum(row["cases"] for row in rows) == len(played)
    assert sum(row["decisions"] for row in rows) > 100
    assert total["equal"] is True
    await pool.execute("update sla_timer.partitions set ticks = ticks + 1 where partition = 5")
    assert await replay.show_verdicts(settings("replay"), range(16), as_json=False) == 1
    printed = capsys.readouterr().out
    assert printed.count("DIFFERENT") == 2  # the partition, and all together
    assert "the place: /ticks: live" in printed


COUNTS = (
    "select (select count(*) from sla_timer.cases), (select count(*) from sla_timer.decisions), "
    "(select count(*) from sla_timer.enacted)"
)
DAMAGE = {
    "update sla_timer.cases set next_at = next_at + 1 where (tenant, case_id) = ('mapo', 'p0')": "case mapo/p0: /4",
    "update sla_timer.cases set state = replace(convert_from(state, 'UTF8'), 'suggestion', 'inquiry')::bytea "
    "where (tenant, case_id) = ('mapo', 'p0')": (
        'case mapo/p0: /0/facts/0/data/kind: live "inquiry", folded "suggestion"'
    ),
    "delete from sla_timer.cases where (tenant, case_id) = ('mapo', 'p0')": "case mapo/p0: all of it: live nothing",
    "update sla_timer.decisions set at = at + 1 where lane = {p} and number = 2": "decision {p}-2: /at: live",
    "update sla_timer.decisions set body = replace(convert_from(body, 'UTF8'), '@1', '@2')::bytea "
    "where lane = {p} and number = 1": 'decision {p}-1: /body/data/charter: live "',
    "delete from sla_timer.decisions where lane = {p} and number = 3": "decision {p}-3: all of it: live nothing",
    "update sla_timer.partitions set clock = clock + 1 where partition = {p}": "the place: /clock: live",
    "update sla_timer.partitions set ticks = ticks + 1 where partition = {p}": "the place: /ticks: live",
    "insert into sla_timer.enacted values ({p}, 1, '{{}}')": "the enacting event at 1",
}
"""What may go wrong in the tables of one partition, and how it is said."""


async def test_every_difference_is_named_and_mended(
    played: list[Log], settings: Callable[..., Settings], pool: asyncpg.Pool, nc: Client, eventually: Eventually
) -> None:
    """One changed row is found and said in words, beside a running sla_timer; a rebuild mends it, and nothing goes out
    again."""
    number = partition("mapo", "p0")
    end = (await nc.jetstream().stream_info("SLA")).state.last_seq
    for damage, words in DAMAGE.items():
        assert (await pool.execute(damage.format(p=number))).endswith(" 1")
        (found,) = await verdicts(settings("replay"), [number])
        assert found.live != found.folded
        assert found.difference.startswith(words.format(p=number))
        (mended,) = [row async for row in rebuild(settings("replay"), [number])]
        assert mended.cases + mended.decisions + mended.enacted == ("partitions" not in damage)
        (found,) = await verdicts(settings("replay"), [number])
        assert (found.live, found.difference) == (found.folded, ""), damage
    # The folder took the partition up again from the mended rows, and goes on.
    log = next(log for log in played if (log.tenant, log.case) == ("mapo", "p0"))
    await log.state("complaint.withdrawn", THURSDAY)
    await eventually(lambda: _folded_to_end(nc, pool), 30)
    await eventually(lambda: _all_sent(pool), 30)
    emitted = await log.emitted(0)
    assert len({event["id"] for event in emitted}) == len(emitted)
    assert [event for event in emitted if event["type"] == "deadline.voided"]
    assert not any(verdict.difference for verdict in await verdicts(settings("replay")))
    assert (await nc.jetstream().stream_info("SLA")).state.last_seq < end + 20


async def test_a_step_in_several_transactions_is_waited_for(
    played: list[Log], settings: Callable[..., Settings], pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an event is folded in part, decisions stand beyond the place: nothing is compared then."""
    await pool.execute("update sla_timer.decisions set cause_sequence = 10 ^ 9 where lane = 3 and number = 1")
    monkeypatch.setattr(verify, "STEP_SECONDS", 0.5)
    with pytest.raises(NotFolded, match="Partition 3 has been within one event"):
        await verdicts(settings("replay"))


@pytest.mark.parametrize("alone", [True, False])
async def test_a_rebuild_under_traffic_loses_and_repeats_nothing(
    played: list[Log],
    settings: Callable[..., Settings],
    pool: asyncpg.Pool,
    nc: Client,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    alone: bool,
) -> None:
    """While facts and ticks come, every partition changes places, in this process or in several; afterwards everything
    is as the log says, once."""
    monkeypatch.setattr(rebuilding, "SMALL_ENTRIES", 10**9 if alone else 0)
    monkeypatch.setattr(rebuilding, "cores", lambda: 2)
    await pool.execute("update sla_timer.cases set open_deadlines = open_deadlines + 1")
    stop = asyncio.Event()

    async def traffic() -> int:
        stated = 0
        while not stop.is_set():
            for log in [Log(nc, pool, tenant, f"t{stated}") for tenant in CITIES]:
                await log.state("complaint.received", THURSDAY, channel="web", kind="suggestion")
            stated += 1
            await clock.step(pool, instant(THURSDAY) + stated * MINUTE)
        return stated

    traffic_task = asyncio.create_task(traffic())
    mended = [row async for row in rebuild(settings("replay"))]
    stop.set()
    stated = await traffic_task
    assert stated > 3
    assert sum(row.cases for row in mended) >= len(played)
    await eventually(lambda: _folded_to_end(nc, pool), 60)
    await eventually(lambda: _all_sent(pool), 60)
    assert not any(verdict.difference for verdict in await verdicts(settings("replay")))
    ids = [json.loads(entry.data)["id"] async for entry in read_up_to(nc, "SLA", 10**9, subject="sla.>")]
    assert len(ids) == len(set(ids)) == await pool.fetchval("select count(*) from sla_timer.decisions")
    there = "select count(*) = 1 from pg_class where relname = 'decisions' and relkind = 'r'"
    await eventually(lambda: pool.fetchval(there), 30)


async def test_a_lost_projection_comes_back(
    played: list[Log], settings: Callable[..., Settings], pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off in the middle of a swap it leaves all as it was; begun again, it brings everything back."""
    wanted = await pool.fetchrow(COUNTS)
    await pool.execute("delete from sla_timer.decisions; delete from sla_timer.cases; delete from sla_timer.enacted")
    replace = rebuilding._Rebuild._replace

    async def broken_off(self: Any, table: str) -> int:
        if table == "enacted":
            self._connection.terminate()  # as if the process had been killed: the server undoes what it did
        return await replace(self, table)

    with monkeypatch.context() as patch:
        patch.setattr(rebuilding._Rebuild, "_replace", broken_off)
        with pytest.raises(asyncpg.InterfaceError):
            _ = [row async for row in rebuild(settings("replay"))]
    assert tuple(await pool.fetchrow(COUNTS) or ()) == (0, 0, 0)
    mended = [row async for row in rebuild(settings("replay"))]
    assert await pool.fetchrow(COUNTS) == wanted
    assert [sum(counts) for counts in zip(*(row[2:] for row in mended), strict=True)] == list(wanted or ())
    assert not any(verdict.difference for verdict in await verdicts(settings("replay")))


async def test_what_sla_holds_is_never_contradicted(
    played: list[Log],
    settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    pool: asyncpg.Pool,
) -> None:
    """A program that decides otherwise than what is published changes nothing, and says so."""
    before = await pool.fetch("select * from sla_timer.decisions order by lane, number")

    def otherwise(decision: Decision, *rest: Any) -> tuple[str, bytes]:
        return decision_message(msgspec.structs.replace(decision, at=decision.at + 1), *rest)

    monkeypatch.setattr(batch, "decision_message", otherwise)
    with pytest.raises(NotRebuilt, match="decides otherwise than what SLA holds"):
        _ = [row async for row in rebuild(settings("replay"))]
    assert await pool.fetch("select * from sla_timer.decisions order by lane, number") == before


async def test_the_server_refuses_every_publish_of_replay(
    settings: Callable[..., Settings], connect: Callable[[str], Awaitable[Client]], nc: Client
) -> None:
    """By permission, not by good will: nothing reaches a log, a door, a publisher or the streams' settings."""
    user = await connect("replay")
    ends = [(await nc.jetstream().stream_info(stream.name)).state.last_seq for stream in STREAMS]
    for subject in (
        *("cases.0.seoul.complaint.received", "cases.0.clock", "mark.intake.x"),
        *("sla.0.seoul.deadline.breached", "mark.sla.0", "notices.0.seoul.notice.sent", "mark.notices.0"),
        *("receipts.seoul.web", "feed.seoul.web", "dead.seoul.web", "door.seoul.web"),
        *("inbox.seoul.kiosk.visit.arrived", "$JS.API.STREAM.PURGE.CASES", "$JS.API.STREAM.DELETE.SLA"),
        *("$JS.API.STREAM.UPDATE.CASES", "$JS.API.CONSUMER.DURABLE.CREATE.CASES.x", "$JS.API.STREAM.CREATE.X"),
    ):
        with pytest.raises(NatsTimeout):
            await user.request(subject, b"{}", timeout=0.2)
        denied = str(user.last_error)
        assert "permissions violation for publish" in denied.lower()
        assert subject.lower() in denied.lower()
    assert ends == [(await nc.jetstream().stream_info(stream.name)).state.last_seq for stream in STREAMS]


async def test_its_session_cannot_write(settings: Callable[..., Settings]) -> None:
    """PostgreSQL itself refuses."""
    connection = await postgres.connect(settings("replay"), read_only=True)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await connection.execute("update sla_timer.partitions set clock = 1")
    await connection.close()


async def test_the_state_as_it_was_known(
    played: list[Log], settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    """What was recorded later is not known; time has passed up to the instant asked for and no further."""
    log = played[0]  # anseong, withdrawn on Tuesday: recorded then
    await replay.show_known(settings("replay"), instant("2026-04-07T08:59:59+09:00"), as_json=True)
    then = _case(capsys.readouterr().out, log)
    assert then["closed"] is False
    await replay.show_known(settings("replay"), instant("2026-04-07T09:00:00+09:00"), as_json=True)
    assert _case(capsys.readouterr().out, log)["closed"] is True
    # Mapo promises a hand-over within an hour of a petition: 11:00, and that instant itself is on time.
    states = []
    for at in ("2026-04-06T11:00:00+09:00", "2026-04-06T11:00:01+09:00"):
        await replay.show_known(settings("replay"), instant(at), as_json=True)
        case = _case(capsys.readouterr().out, played[1])
        states += [row["state"] for row in case["deadlines"] if row["promise"] == "mapo-handover"]
    assert states == ["open", "broken"]


async def test_one_case_is_told_from_its_partition_alone(
    played: list[Log], settings: Callable[..., Settings], pool: asyncpg.Pool
) -> None:
    """Facts, decisions under their own numbers, and the standing, as the live system has them."""
    log = played[1]
    told = await replay.history(settings("replay"), log.tenant, log.case, None)
    rows = await pool.fetch(
        "select lane, number, kind, promise from sla_timer.decisions where tenant = $1 and case_id = $2 "
        "order by number",
        log.tenant,
        log.case,
    )
    assert [(row["id"], row["kind"], row.get("promise")) for row in told["decisions"]] == [
        (f"{row['lane']}-{row['number']}", row["kind"], row["promise"]) for row in rows
    ]
    assert [fact["type"] for fact in told["facts"]] == ["complaint.received"]
    assert {row["promise"] for row in told["deadlines"]} >= {"mapo-handover", "mapo-first-contact"}
    with pytest.raises(ValueError, match="knows no case mapo/nobody"):
        await replay.history(settings("replay"), "mapo", "nobody", None)


def _case(printed: str, log: Log) -> dict[str, Any]:
    cases = [json.loads(line) for line in printed.splitlines()]
    return next(case for case in cases if (case["tenant"], case["case"]) == (log.tenant, log.case))
