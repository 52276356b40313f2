"""sla_timer on real servers: facts in CASES become decisions on SLA, once, whatever falls over in between."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from nats.aio.client import Client

from contracts.decisions import DECISIONS
from contracts.envelope import StoredEnvelope
from contracts.streams import PARTITIONS, STREAMS, cases_subject, partition
from deploy import provision
from services.chassis import broker, clock, failpoints, postgres
from services.chassis.settings import Settings
from services.cli.refold import refold
from services.rules.instants import MINUTE, SECOND, instant, text
from services.rules.routing import ALL
from services.rules.state import Case
from services.sla_timer import store
from services.sla_timer.app import build_app
from tests.integration.emptying import empty

Eventually = Callable[..., Awaitable[Any]]
MONDAY = "2026-04-06T10:00:00+09:00"
JUNE = "2026-06-08T10:00:00+09:00"
"""Also a Monday, when the law already let an outage stop the clock."""


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    """The service, started and ended as uvicorn would."""
    app = build_app(settings)
    async with app.router.lifespan_context(app):
        yield app


class Log:
    """Writes facts to CASES as intake would, and reads what came of them."""

    def __init__(self, nc: Client, pool: asyncpg.Pool, tenant: str, case: str) -> None:
        self.nc, self.pool, self.tenant, self.case = nc, pool, tenant, case
        self.partition = partition(tenant, case)
        self.number = 0

    async def state(self, type: str, time: str, **data: Any) -> int:
        """Appends one fact; returns its sequence."""
        self.number += 1
        event = {
            "specversion": "1.0",
            "id": f"{self.case}-{self.number}",
            "source": "documents",
            "type": type,
            "subject": self.case,
            "case": self.case,
            "time": time,
            "recordedtime": time,
            "tenant": self.tenant,
            "data": data,
        }
        subject = cases_subject(self.partition, self.tenant, type)
        return (await self.nc.jetstream().publish(subject, json.dumps(event).encode())).seq

    async def decided(self) -> list[str]:
        """ "kind promise" of every decision about the case, in order."""
        rows = await self.pool.fetch(
            "select kind, promise from sla_timer.decisions where tenant = $1 and case_id = $2 order by number",
            self.tenant,
            self.case,
        )
        return [f"{row['kind']} {row['promise'] or ''}".strip() for row in rows]

    async def emitted(self, since: int) -> list[dict[str, Any]]:
        """What stands on SLA about the case after a sequence, in order."""
        info = await self.nc.jetstream().stream_info("SLA")
        events = []
        for sequence in range(since + 1, info.state.last_seq + 1):
            message = await self.nc.jetstream().get_msg("SLA", sequence)
            if not (message.subject or "").startswith("mark."):
                event = json.loads(message.data or b"")
                if (event["tenant"], event["case"]) == (self.tenant, self.case):
                    events.append(event)
        return events


@pytest.fixture
async def sla_start(nc: Client) -> int:
    """Where SLA ended before the test."""
    return (await nc.jetstream().stream_info("SLA")).state.last_seq


@pytest.fixture
async def fresh(nats: Any, nc: Client) -> None:
    """An empty CASES and SLA: a database that starts anew must not meet the log of another test."""
    js = nc.jetstream()
    for stream in STREAMS:
        await js.delete_stream(stream.name)
    await provision.create_streams(nc)


async def test_promise_is_kept_or_broken_by_the_log_alone(
    fresh: None,
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
) -> None:
    """A complaint is warned of and broken when the clock passes, and the breach goes when the answer came in time."""
    await clock.step(pool, instant(MONDAY))
    log = Log(nc, pool, "anseong", "c1")
    async with running(settings("sla_timer")):
        await log.state("complaint.received", MONDAY, channel="phone", kind="inquiry")
        await eventually(lambda: _contains(log, "deadline.started anseong-inquiry"))
        await clock.step(pool, instant("2026-04-09T09:00:00+09:00"))
        await eventually(lambda: _contains(log, "deadline.warned anseong-inquiry"))
        assert "deadline.breached anseong-inquiry" not in await log.decided()
        await clock.step(pool, instant("2026-04-09T10:00:00+09:00"))  # the due instant itself is on time
        await clock.step(pool, instant("2026-04-09T10:00:01+09:00"))
        await eventually(lambda: _contains(log, "deadline.breached anseong-inquiry"))
        await log.state("complaint.completed", "2026-04-09T09:59:00+09:00", outcome="answered", by="kim")
        await eventually(lambda: _contains(log, "remedy.withdrawn anseong-inquiry"))
        await eventually(lambda: _all_sent(pool))
    emitted = await log.emitted(0)
    assert [f"{event['type']} {event['data'].get('promise', '')}".strip() for event in emitted] == await log.decided()
    for event in emitted:
        StoredEnvelope.model_validate(event)
        DECISIONS[event["type"]].model_validate(event["data"])
    breach = next(event for event in emitted if event["type"] == "deadline.breached")
    assert breach["time"] == "2026-04-09T10:00:00+09:00"
    assert breach["data"]["due"] == "2026-04-09T10:00:00+09:00"
    assert breach["data"]["charter"] == "anseong@1"
    assert await log.decided() == [
        "deadline.started anseong-inquiry",
        "deadline.started statutory-period",
        "deadline.started statutory-progress",
        "deadline.warned anseong-inquiry",
        "task.created",
        "deadline.breached anseong-inquiry",
        "remedy.proposed anseong-inquiry",
        "task.withdrawn",
        "deadline.met anseong-inquiry",
        "breach.retracted anseong-inquiry",
        "remedy.withdrawn anseong-inquiry",
        "deadline.met statutory-period",
        "deadline.voided statutory-progress",
    ]


async def test_replay_of_the_log_gives_the_same_numbered_decisions(
    fresh: None,
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
) -> None:
    """Thirty cases over every partition, ticks between them: CASES alone gives what the database holds."""
    await clock.step(pool, instant(MONDAY))
    logs = [
        Log(nc, pool, tenant, f"r{n}") for n in range(6) for tenant in ("anseong", "mapo", "seoul", "yeonje", "miryang")
    ]
    async with running(settings("sla_timer")):
        for log in logs:
            await log.state("complaint.received", MONDAY, channel="web", kind="suggestion")
        for at in ("2026-04-06T13:30:00+09:00", "2026-04-09T10:30:00+09:00", "2026-04-28T09:00:00+09:00"):
            await clock.step(pool, instant(at))
            await eventually(lambda at=at: _nothing_before(pool, instant(at)))
        for log in logs[::3]:
            await log.state("complaint.withdrawn", "2026-04-07T09:00:00+09:00")
        await eventually(lambda: _folded_to_end(nc, pool))
        await eventually(lambda: _all_sent(pool))
    live = {
        (row["partition"], row["number"], row["case"], row["kind"], row["due"], row["at"])
        for row in await pool.fetch("select * from read.decisions")
    }
    again = {
        (line["partition"], line["number"], line["case"], line["decision"], line.get("due"), line["at"])
        async for line in refold(settings("replay"))
    }
    assert len(live) > 150
    assert live == again


async def test_an_outage_stops_open_cases_of_every_partition_also_after_a_restart(
    fresh: None,
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
) -> None:
    """Declared while cases are open and lifted after a restart: the clocks stand still between, as a replay decides."""
    await clock.step(pool, instant(JUNE))
    logs = [Log(nc, pool, "seoul", f"o{number}") for number in range(8)]
    assert len({log.partition for log in logs}) > 1
    async with running(settings("sla_timer")):
        for log in logs:
            await log.state("complaint.received", JUNE, channel="web", kind="other")
        await _declare(nc, "outage.declared", JUNE, "2026-06-08T18:00:00+09:00")
        await clock.step(pool, instant("2026-06-08T11:00:00+09:00"))
        for log in logs:
            await eventually(lambda log=log: _contains(log, "deadline.suspended statutory-period"))
    async with running(settings("sla_timer")):
        await clock.step(pool, instant("2026-06-08T15:00:00+09:00"))
        await _declare(nc, "outage.lifted", JUNE, "2026-06-08T15:00:00+09:00")
        await eventually(lambda: _folded_to_end(nc, pool))
        await clock.step(pool, instant("2026-06-08T15:00:01+09:00"))
        for log in logs:
            await eventually(lambda log=log: _contains(log, "deadline.resumed statutory-period"))
        # None of the three hours was over; from 15:00 they end at 18:00.
        await clock.step(pool, instant("2026-06-08T18:00:00+09:00"))
        assert not [log for log in logs if "deadline.breached statutory-period" in await log.decided()]
        await clock.step(pool, instant("2026-06-08T18:00:01+09:00"))
        for log in logs:
            await eventually(lambda log=log: _contains(log, "deadline.breached statutory-period"))
        await eventually(lambda: _folded_to_end(nc, pool))
        await eventually(lambda: _all_sent(pool))
    live = [
        (row["partition"], row["number"], row["case"], row["kind"], row["due"])
        for row in await pool.fetch("select * from read.decisions order by partition, number")
    ]
    again = [
        (line["partition"], line["number"], line["case"], line["decision"], line.get("due"))
        async for line in refold(settings("replay"))
    ]
    assert live == sorted(again)


async def _declare(nc: Client, type: str, since: str, until: str) -> None:
    """Appends a copy for every partition, as intake does."""
    event = {
        "specversion": "1.0",
        "id": type,
        "source": "administration",
        "type": type,
        "subject": "seoul",
        "case": "_all",
        "time": until if type == "outage.lifted" else since,
        "recordedtime": until if type == "outage.lifted" else since,
        "tenant": "seoul",
        "data": {"system": "saeol", "from": since, "until": until},
    }
    for number in range(PARTITIONS):
        await nc.jetstream().publish(cases_subject(number, "seoul", type), json.dumps(event).encode())


async def test_two_instances_decide_everything_once(
    fresh: None,
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
) -> None:
    """A second instance waits for the leases; when the first is gone it goes on where the first stopped."""
    await clock.step(pool, instant(MONDAY))
    log = Log(nc, pool, "mapo", "t1")
    async with running(settings("sla_timer")) as _:
        await log.state("complaint.received", MONDAY, channel="web", kind="suggestion")
        await eventually(lambda: _contains(log, "deadline.started mapo-handover"))
        async with running(settings("sla_timer")):
            await clock.step(pool, instant("2026-04-06T11:00:01+09:00"))
            await eventually(lambda: _contains(log, "deadline.breached mapo-handover"))
    async with running(settings("sla_timer")):
        await clock.step(pool, instant("2026-04-06T13:00:01+09:00"))
        await eventually(lambda: _contains(log, "deadline.breached mapo-first-contact"))
        await eventually(lambda: _all_sent(pool))
    decided = await log.decided()
    assert len(decided) == len(set(decided))
    numbers = [event["id"] for event in await log.emitted(0)]
    assert len(numbers) == len(set(numbers)) == len(decided)


async def test_two_instances_share_the_partitions_and_stand_in_for_each_other(
    fresh: None, settings: Callable[..., Settings], nc: Client, pool: asyncpg.Pool, eventually: Eventually
) -> None:
    """Each goes for its own half at once, and for what is the other's once nobody has it."""
    first, second = (frozenset(range(8)), frozenset(range(8, 16)))
    async with running(settings("sla_timer", partitions=first)) as one:
        async with running(settings("sla_timer", partitions=second)) as other:
            for app, own, foreign in ((one, first, second), (other, second, first)):
                for number in own:
                    await eventually(lambda app=app, number=number: _folds(app, number), 30)
                assert not [number for number in foreign if await _folds(app, number)]
        for number in range(16):
            await eventually(lambda number=number: _folds(one, number), 60)


async def _folds(app: FastAPI, number: int) -> bool:
    """Whether an instance has folded a partition: it says where it stands."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        part = (await http.get("/status")).json()["parts"][f"fold {number}"]
    return part["trouble"] is None and not part["standby"] and "sequence" in part


async def test_lost_database_publishes_nothing_twice(
    fresh: None,
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
) -> None:
    """With the projection gone, folding again numbers the same decisions, and the marker keeps them from going out."""
    await clock.step(pool, instant(MONDAY))
    log = Log(nc, pool, "yeonje", "l1")
    async with running(settings("sla_timer")):
        await log.state("complaint.received", MONDAY, channel="web", kind="suggestion")
        await clock.step(pool, instant("2026-04-06T14:00:01+09:00"))
        await eventually(lambda: _contains(log, "deadline.breached yeonje-opinion-date"))
        await eventually(lambda: _all_sent(pool))
    before = await log.emitted(0)
    await empty(pool, "truncate sla_timer.cases, sla_timer.decisions, sla_timer.relay, sla_timer.enacted")
    await pool.execute(
        "update sla_timer.partitions set sequence = 0, event_id = null, clock = 0, tick_sequence = 0, ticks = 0, "
        "decisions = 0"
    )
    async with running(settings("sla_timer")):
        await eventually(lambda: _folded_to_end(nc, pool), 30)
        await eventually(lambda: _all_sent(pool), 30)
        await log.state("complaint.reply_date_notified", "2026-04-06T14:30:00+09:00", by="phone", expected="2026-04-10")
        await eventually(lambda: _folded_to_end(nc, pool))
    assert await log.emitted(0) == before


async def test_on_the_real_clock_time_passes_by_itself(
    fresh: None,
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
) -> None:
    """Ten minutes that end two seconds from now: no breach before the due instant, and one soon after it."""
    zone = ZoneInfo("Asia/Seoul")
    arrived = await clock.RealClock().now() - 10 * MINUTE + 2 * SECOND
    log = Log(nc, pool, "anseong", "v1")
    async with running(settings("sla_timer", clock="real", settle_seconds=1.0)):
        await log.state("visit.arrived", text(arrived, zone), assistance_needed=True, desk="civil-affairs")
        await eventually(lambda: _contains(log, "deadline.breached anseong-visit-assist"))
        assert await clock.RealClock().now() > arrived + 10 * MINUTE + SECOND
    rows = await pool.fetch("select kind, at, due from sla_timer.decisions where kind = 'deadline.breached'")
    assert [(row["at"], row["due"]) for row in rows] == [(arrived + 10 * MINUTE, arrived + 10 * MINUTE)]


async def test_another_log_is_refused(
    fresh: None,
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
) -> None:
    """A stream made anew under the old name is another log: the partition stops and says so."""
    await pool.execute("update sla_timer.partitions set stream_id = 'another' where partition = 3")
    async with running(settings("sla_timer")) as app:
        await eventually(lambda: _red(app, "fold 3", "another than the one folded"))


async def _contains(log: Log, decision: str) -> bool:
    return decision in await log.decided()


async def _all_sent(pool: asyncpg.Pool) -> bool:
    return bool(await pool.fetchval("select bool_and(sent = decisions) from read.fold_position"))


async def _nothing_before(pool: asyncpg.Pool, at: int) -> bool:
    return not await pool.fetchval("select count(*) from read.fold_position where next_at < $1", at)


async def _folded_to_end(nc: Client, pool: asyncpg.Pool) -> bool:
    rows = await pool.fetch("select partition, sequence from read.fold_position")
    for row in rows:
        found = await broker.last_message(nc, "CASES", f"cases.{row['partition']}.>")
        if found is not None and row["sequence"] < found[0]:
            return False
    return True


async def _red(app: FastAPI, part: str, words: str) -> bool:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        answer = (await http.get("/health/ready")).json()
    return words in str(answer.get("red", {}).get(part, ""))


async def test_a_folder_that_was_taken_over_writes_nothing(settings: Callable[..., Settings]) -> None:
    """Nor does one whose partition has moved on since it looked."""
    pool = await postgres.connect_pool(settings("sla_timer"), schema=store.SCHEMA)

    async def save(before: store.Position, sequence: int) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await store.save(connection, before, before._replace(sequence=sequence), [Case("anseong", "late")], [])

    old = await store.take_over(pool, 3, 1)
    new = await store.take_over(pool, 3, 2)
    assert new == old._replace(generation=2)
    with pytest.raises(store.Superseded):
        await store.take_over(pool, 3, 1)
    with pytest.raises(store.Superseded):
        await save(old, 7)
    assert await pool.fetchval("select count(*) from sla_timer.cases") == 0
    await save(new, 7)
    with pytest.raises(store.Superseded):
        await save(new, 8)
    assert await pool.fetchval("select sequence from sla_timer.partitions where partition = 3") == 7
    await pool.close()


@pytest.mark.parametrize("place", ["store.after_position", "store.after_cases"])
async def test_a_step_cut_off_in_the_middle_is_as_if_never_begun(
    fresh: None,
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
    tmp_path: Path,
    place: str,
) -> None:
    """The position, the case and its decisions: all of them stand, or none."""
    orders = tmp_path / "orders" / "sla_timer"
    orders.mkdir(parents=True)
    await clock.step(pool, instant(MONDAY))
    log = Log(nc, pool, "anseong", "cut")
    async with running(settings("sla_timer")) as app:
        await eventually(lambda: _green(app, f"fold {log.partition}"), 30)
        failpoints.arm(settings("sla_timer", failpoints_folder=tmp_path / "orders", failpoints_allowed=True))
        try:
            (orders / place).write_text("raise")
            await log.state("complaint.received", MONDAY, channel="phone", kind="inquiry")
            await eventually(lambda: (orders / f"{place}.struck").exists(), 30)
            await eventually(lambda: _folded_to_end(nc, pool), 30)
        finally:
            failpoints.arm(settings("sla_timer"))
    assert await log.decided() == [
        "deadline.started anseong-inquiry",
        "deadline.started statutory-period",
        "deadline.started statutory-progress",
    ]


@pytest.mark.parametrize("place", ["fold.after_tick_slice", "fold.after_enacting_slice"])
async def test_a_fold_cut_off_between_two_slices_decides_the_same(
    fresh: None,
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
    tmp_path: Path,
    place: str,
) -> None:
    """Seven cases of one partition, two a slice: the fold fails after the first slice and begins the event again."""
    orders = tmp_path / "orders" / "sla_timer"
    orders.mkdir(parents=True)
    (orders / place).write_text("raise")
    armed = settings("sla_timer", failpoints_folder=tmp_path / "orders", failpoints_allowed=True, slice_cases=2)
    await clock.step(pool, instant(MONDAY))
    names = [f"s{n}" for n in range(400) if partition("mapo", f"s{n}") == 3][:7]
    logs = [Log(nc, pool, "mapo", name) for name in names]
    async with running(armed):
        for log in logs:
            await log.state("complaint.received", MONDAY, channel="web", kind="suggestion")
        await eventually(lambda: _folded_to_end(nc, pool))
        failpoints.arm(armed)
        try:
            if place == "fold.after_tick_slice":
                await clock.step(pool, instant("2026-04-06T11:00:01+09:00"))
                await eventually(lambda: _nothing_before(pool, instant("2026-04-06T11:00:01+09:00")), 30)
            else:
                wide = Log(nc, pool, "mapo", ALL)
                wide.partition = 3
                await wide.state("calendar.exception", MONDAY, date="2026-04-07", closed=True, name="Strike")
                await eventually(lambda: _folded_to_end(nc, pool), 30)
        finally:
            failpoints.arm(settings("sla_timer"))
        await eventually(lambda: _all_sent(pool))
    assert [path.name for path in orders.iterdir()] == [f"{place}.struck"]
    live = [
        tuple(row) for row in await pool.fetch('select number, "case", kind, due, at from read.decisions order by 1')
    ]
    found = [
        (line["number"], line["case"], line["decision"], line.get("due"), line["at"])
        async for line in refold(settings("replay"))
    ]
    assert live == found
    assert len({row[1] for row in live if row[2] in ("deadline.breached", "deadline.moved")}) == len(names)


@pytest.mark.parametrize(
    ("place", "part"),
    [("ticker.before_pass", "ticker"), ("fold.before_batch", "fold 0"), ("relay.before_pass", "relay")],
)
async def test_a_loop_that_fails_again_and_again_is_red_with_the_reason(
    fresh: None,
    settings: Callable[..., Settings],
    pool: asyncpg.Pool,
    eventually: Eventually,
    place: str,
    part: str,
) -> None:
    """The ticker, the fold or the relay alone, and green again once it comes round. How soon: tests/faults."""
    await clock.step(pool, instant(MONDAY))
    async with running(settings("sla_timer")) as app:
        await eventually(lambda: _green(app, part))
        failpoints.arm(settings("sla_timer", failpoints=f"{place}:raise", failpoints_allowed=True))
        try:
            await eventually(lambda: _red(app, part, place))
        finally:
            failpoints.arm(settings("sla_timer"))
        await eventually(lambda: _green(app, part))


async def _green(app: FastAPI, part: str) -> bool:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        return part not in (await http.get("/health/ready")).json()["red"]
