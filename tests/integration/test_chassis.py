"""The chassis on real servers: atomic batches, the stepped clock, connections that are refused, an end in time."""

import asyncio
import json
import sys
from itertools import islice
from pathlib import Path

import asyncpg
import pytest

from contracts.streams import sla_mark, sla_subject
from services.chassis import broker, clock, http, outbox
from services.chassis.broker import BatchRefused, BatchUnknown, BrokerError
from services.chassis.clock import ClockError
from services.chassis.health import Health
from services.chassis.postgres import DatabaseError, connect, connect_pool
from services.chassis.tasks import end

SECOND = 1_000_000


async def test_whoever_is_cut_off_between_preparing_and_executing_leaves_no_lock_behind(settings, monkeypatch):
    """The moment at which the server has answered and the caller has not gone on yet is met by chance in life, and on
    purpose here."""
    prepare = asyncpg.Connection._get_statement

    async def prepared_too_late(*arguments, **named):
        statement = await prepare(*arguments, **named)
        asyncio.current_task().cancel()
        await asyncio.sleep(0)
        return statement

    pool = await connect_pool(settings("test"), max_size=1)
    other = await connect(settings("test"))
    locks = "select count(*) from pg_locks where relation = 'chassis.clock'::regclass and pid <> pg_backend_pid()"
    try:
        assert await other.fetchval(locks) == 0
        with monkeypatch.context() as patched:
            patched.setattr(asyncpg.Connection, "_get_statement", prepared_too_late)
            cut_off = asyncio.create_task(pool.fetch("select now from chassis.clock where now > $1", 0))
            await asyncio.wait([cut_off])
        assert cut_off.cancelled()
        async with asyncio.timeout(10):
            while pool.get_idle_size() == 0:  # noqa: ASYNC110 - the pool tells nobody when a connection is back
                await asyncio.sleep(0.01)
        assert await other.fetchval(locks) == 0
        assert await pool.fetchval("select 1 where $1", True) == 1
    finally:
        await other.close()
        await pool.close()


async def test_a_batch_is_stored_whole_or_not_at_all(nc):
    jetstream = nc.jetstream()
    messages = [("cases.3.seoul.complaint.completed", b"%d" % number) for number in range(999)]
    mark = "mark.intake.whole"

    first = await broker.publish_batch(nc, messages, (mark, b"1"), 0)
    state = (await jetstream.stream_info("CASES")).state
    assert (first, state.messages) == (state.last_seq, 1000)
    assert await broker.last_message(nc, "CASES", mark) == (first, b"1")
    assert await broker.last_message(nc, "CASES", "cases.3.>") == (first - 1, b"998")
    assert await broker.last_message(nc, "CASES", "cases.4.>") is None

    with pytest.raises(BatchRefused, match="does not end at sequence 0"):
        await broker.publish_batch(nc, messages, (mark, b"2"), 0)
    with pytest.raises(BatchUnknown):  # a subject of no stream leaves a hole in the batch
        await broker.publish_batch(nc, [("cases.3.seoul.nonsense.done", b"")], (mark, b"2"), first)
    assert (await jetstream.stream_info("CASES")).state.messages == 1000
    assert await broker.publish_batch(nc, [], (mark, b"2"), first) == first + 1


async def test_a_batch_on_a_closed_connection_sends_nothing(connect, nc):
    other = await connect("intake")
    await other.close()
    with pytest.raises(BatchUnknown, match="nothing was sent"):
        await broker.publish_batch(other, [], ("mark.intake.closed", b""), 0)
    assert await broker.last_message(nc, "CASES", "mark.intake.closed") is None


async def test_a_flush_comes_behind_what_waits_to_be_sent(nc, monkeypatch):
    """Who has flushed is heard: the library's own ping overtakes the subscription before it."""
    sent = bytearray()
    write, writelines = nc._transport.write, nc._transport.writelines

    def noted(data: bytes) -> None:
        sent.extend(data)
        write(data)

    def noted_lines(lines: list[bytes]) -> None:
        sent.extend(b"".join(lines))
        writelines(lines)

    monkeypatch.setattr(nc._transport, "write", noted)
    monkeypatch.setattr(nc._transport, "writelines", noted_lines)
    await nc.subscribe("heard.at.once")
    await nc.flush()
    assert 0 <= sent.find(b"SUB heard.at.once") < sent.find(b"PING"), bytes(sent)


async def test_a_forbidden_batch_is_unknown_and_the_log_says_why(connect, nc, capsys):
    sla_timer = await connect("sla_timer")
    with pytest.raises(BatchUnknown):
        await broker.publish_batch(sla_timer, [], ("mark.intake.other", b""), 0, timeout_seconds=1.0)
    assert "nats_denied" in capsys.readouterr().err
    assert await broker.last_message(nc, "CASES", "mark.intake.other") is None


async def test_the_stepped_clock_wakes_who_waits_and_never_goes_back(settings, pool, monkeypatch):
    monkeypatch.setattr(clock, "_LONGEST_WAIT_SECONDS", 3600)  # so that who wakes was woken
    stepped = await clock.open_clock(settings("intake"), pool)
    try:
        await clock.step(pool, 5 * SECOND)
        assert await stepped.now() == 5 * SECOND
        async with asyncio.timeout(30):
            await stepped.wait(5 * SECOND)  # reached: no waiting
        waiter = asyncio.create_task(stepped.wait(60 * SECOND))
        await asyncio.wait([waiter], timeout=0.05)
        assert not waiter.done()
        await clock.step(pool, 60 * SECOND)
        async with asyncio.timeout(30):
            await waiter
        with pytest.raises(ClockError, match="cannot go backwards"):
            await clock.step(pool, 59 * SECOND)
        assert await stepped.now() == 60 * SECOND
    finally:
        await stepped.close()


async def test_the_stepped_clock_outlives_its_connection(settings, pool, monkeypatch, eventually):
    stepped = await clock.open_clock(settings("intake"), pool)
    try:
        await stepped.wait(0)
        await pool.execute("select pg_terminate_backend($1)", stepped._ear.get_server_pid())
        await stepped.wait(None)  # ends after a second, and the next one listens again
        monkeypatch.setattr(clock, "_LONGEST_WAIT_SECONDS", 3600)  # so that who wakes was woken
        waiter = asyncio.create_task(stepped.wait(None))

        async def woken() -> bool:
            await clock.step(pool, await stepped.now() + SECOND)
            return waiter.done()

        await eventually(woken, 30)
    finally:
        await stepped.close()


async def test_a_refused_login_says_where_and_why_but_no_password(settings, monkeypatch):
    monkeypatch.setattr(broker, "_CONNECT_PATIENCE_SECONDS", 0.5)
    right = settings("intake")
    wrong_nats = right.nats_url.replace("nats://intake:", "nats://intake:secret-and-")
    wrong_database = right.database_url.replace("gihan:", "gihan:secret-and-", 1)
    with pytest.raises(BrokerError, match=r"does not let user intake in \(authorization") as nats_error:
        await broker.connect(settings("intake", nats_url=wrong_nats))
    with pytest.raises(DatabaseError, match="28P01") as database_error:
        await connect_pool(settings("intake", database_url=wrong_database))
    assert "secret-and" not in str(nats_error.value) + str(database_error.value) + repr(right)


async def test_a_lane_that_the_log_is_ahead_of_waits_for_its_rows(nc, pool, eventually, monkeypatch):
    """Of an outbox that is worked out anew nothing goes out, not even a batch that must be refused, before it has all
    that the log has; then only what is new."""
    bodies = [f'{{"id": "{number}"}}'.encode() for number in range(1, 6)]
    subject = sla_subject(9, "seoul", "deadline.started")
    chain = b""
    for body in bodies[:4]:
        chain = outbox.link(chain, body)
    marker = json.dumps({"last": 4, "chain": chain.hex()}).encode()
    stands_at = await broker.publish_batch(nc, [(subject, body) for body in bodies[:4]], (sla_mark(9), marker), 0)
    tried: list[int] = []
    publish = broker.publish_batch

    async def noted(nc, messages, marker, expected):
        tried.append(expected)
        return await publish(nc, messages, marker, expected)

    monkeypatch.setattr(broker, "publish_batch", noted)
    relay = outbox.Outbox(
        stream="SLA", table="notifier.outbox", relay_table="notifier.relay", mark=sla_mark, lanes=range(9, 10)
    )
    part = Health("test").part("relay")
    rows = iter(enumerate(bodies, 1))

    async def add(count: int) -> None:
        for number, body in islice(rows, count):
            await pool.execute("insert into notifier.outbox values (9, $1, $2, $3)", number, subject, body)
        part.down("not looked yet")
        relay.wake()
        await eventually(lambda: part.trouble is None)

    task = asyncio.create_task(relay.run(nc, pool, part))
    await add(1)
    await add(2)
    assert tried == []
    assert relay.age_seconds > 0
    await add(1)
    await eventually(lambda: pool.fetchval("select sent = 4 from notifier.relay where lane = 9"))
    assert tried == []
    await add(1)
    await eventually(lambda: pool.fetchval("select sent = 5 from notifier.relay where lane = 9"))
    assert tried == [stands_at]
    await end([task])


STUBBORN = """
import asyncio, sys
from contextlib import asynccontextmanager
from services.chassis import http
from services.chassis.health import Health
from services.chassis.settings import Settings

@asynccontextmanager
async def lifespan(app):
    if "start" in sys.argv:
        sys.stderr.write("starting\\n")
        await asyncio.sleep(3600)
    yield
    await asyncio.sleep(3600)

http.STOP_SECONDS = 0.5
settings = Settings(nats_url="", database_url="", port=0)
http.serve(http.create_app("stubborn", "1", lifespan, Health("stubborn")), settings)
"""


@pytest.mark.parametrize(("hangs", "sign"), [("start", b"starting"), ("stop", b'"started"')])
async def test_a_service_that_hangs_ends_all_the_same(hangs: str, sign: bytes):
    """While it starts, as where a server that it needs is frozen, and while it ends. Impatience does not delay it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STUBBORN, hangs), stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while sign not in await process.stderr.readline():
            assert process.returncode is None
        process.terminate()
        process.terminate()
        assert await process.wait() == http.STOP_TIMED_OUT
        assert b"stop_took_too_long" in await process.stderr.read()
