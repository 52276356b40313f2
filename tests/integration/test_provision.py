"""Provisioning, and the checks that keep a service off a log or a database that is not as it must be."""

import hashlib
import signal
from dataclasses import replace

import pytest
from nats.js.api import DiscardPolicy

from contracts.streams import STREAMS
from deploy.embedded import free_ports
from deploy.nats import server_conf
from deploy.processes import Command, Keeper
from deploy.provision import create_streams, provision
from services.chassis import broker, postgres
from services.chassis.broker import BrokerError
from services.chassis.postgres import DatabaseError
from services.chassis.settings import SettingsError, replicas

CASES = next(stream for stream in STREAMS if stream.name == "CASES")


async def test_a_second_run_makes_nothing(nats, database, tenants, pool):
    async def run(key: str):
        return await provision(
            nats.nats_url("operator"),
            database,
            tenants,
            monitor_url=nats.monitor_url,
            publisher_keys={"seoul/kiosk": key},
        )

    first, second, third = await run("a key"), await run("a key"), await run("its successor")
    assert (first.migrations, first.streams, first.publishers) == ((), (), ("seoul/kiosk",))
    assert (second.migrations, second.streams, second.publishers) == ((), (), ())
    assert third.publishers == ("seoul/kiosk",)
    rows = await pool.fetch("select tenant, source, key_sha256 from intake.publishers")
    hashes = {hashlib.sha256(key).digest() for key in (b"a key", b"its successor")}
    assert {row["key_sha256"] for row in rows} == hashes
    assert {(row["tenant"], row["source"]) for row in rows} == {("seoul", "kiosk")}


async def test_missing_streams_are_made_and_carry_an_id_of_their_own(nats, nc, database, tenants):
    jetstream = nc.jetstream()
    before = await broker.check(nc, nats.monitor_url, STREAMS)
    await jetstream.delete_stream("SLA")
    with pytest.raises(BrokerError, match="SLA: does not exist"):
        await broker.check(nc, nats.monitor_url, STREAMS)
    made = await provision(
        nats.nats_url("operator"), database, tenants, monitor_url=nats.monitor_url, publisher_keys={}
    )
    after = await broker.check(nc, nats.monitor_url, STREAMS)
    assert made.streams == ("SLA",)
    assert before["SLA"] != after.pop("SLA")
    assert after.items() <= before.items()
    assert len(set(before.values())) == 6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"max_age": 3600}, "INBOX: max_age is 3600.0, must be 0"),
        ({"discard": DiscardPolicy.OLD}, "INBOX: discard is old, must be new"),
        ({"max_bytes": 1 << 20}, "INBOX: max_bytes is 1048576, must be 268435456"),
        ({"subjects": ["inbox.>"]}, r"INBOX: subjects missing \['inbox.*, not ours \['inbox.>'\]"),
        ({"allow_rollup_hdrs": True}, "INBOX: allow_rollup_hdrs is True, must be False"),
        ({"metadata": {}}, "INBOX: has no gihan_uuid in its metadata"),
    ],
)
async def test_a_changed_stream_is_refused_and_left_as_it_is(nats, nc, database, tenants, change, told):
    jetstream = nc.jetstream()
    right = (await jetstream.stream_info("INBOX")).config
    await jetstream.update_stream(replace(right, **change))
    changed = (await jetstream.stream_info("INBOX")).config
    try:
        with pytest.raises(BrokerError, match=told):
            await broker.check(nc, nats.monitor_url, STREAMS)
        with pytest.raises(BrokerError, match=told):
            await provision(
                nats.nats_url("operator"), database, tenants, monitor_url=nats.monitor_url, publisher_keys={}
            )
        assert (await jetstream.stream_info("INBOX")).config == changed
    finally:
        await jetstream.update_stream(right)
    await broker.check(nc, nats.monitor_url, STREAMS)


async def test_a_lazy_server_is_refused(nats, database, tenants, tmp_path):
    port, monitor_port = free_ports(2)
    strict = server_conf(tmp_path, f"127.0.0.1:{port}", f"127.0.0.1:{monitor_port}").decode()
    (tmp_path / "lazy.conf").write_text(strict.replace('"sync_interval": "always", ', ""))
    (tmp_path / "users.conf").write_bytes((nats.data / "nats" / "users.conf").read_bytes())
    lazy = Keeper(
        Command(
            "lazy nats-server",
            [nats.nats.command.arguments[0], "-c", tmp_path / "lazy.conf"],
            tmp_path / "lazy.log",
            {},
            orphan_signal=signal.SIGKILL,
        ),
        lambda: broker.check_sync(nats.monitor_url),
    )
    await lazy.start()
    try:
        with pytest.raises(BrokerError, match="sync_interval: always"):
            await provision(
                nats.nats_url("operator").replace(nats.nats_url("operator").rpartition(":")[2], str(port)),
                database,
                tenants,
                monitor_url=f"http://127.0.0.1:{monitor_port}",
                publisher_keys={},
            )
    finally:
        await lazy.stop()


async def test_replicas_are_compared_and_must_be_possible(nats, nc, monkeypatch):
    with pytest.raises(BrokerError, match="CASES: num_replicas is 1, must be 3"):
        await broker.check(nc, nats.monitor_url, STREAMS, replicas=3)
    monkeypatch.setattr("deploy.provision.STREAMS", [replace(CASES, name="THRICE", subjects=("thrice",))])
    with pytest.raises(BrokerError, match=r"did not make the stream THRICE on 3 server\(s\) \(error 10074\)"):
        await create_streams(nc, 3)


def test_an_even_number_of_replicas_is_refused():
    assert [replicas({}), replicas({"GIHAN_REPLICAS": "3"})] == [1, 3]
    for wrong in ("2", "0", "three"):
        with pytest.raises(SettingsError, match="GIHAN_REPLICAS must be 1, 3 or 5"):
            replicas({"GIHAN_REPLICAS": wrong})


async def test_of_several_servers_one_may_be_away(nats):
    (nobody,) = free_ports(1)
    away = f"http://127.0.0.1:{nobody}"
    await broker.check_sync(f"{away},{nats.monitor_url}")
    with pytest.raises(BrokerError, match="monitoring of nats-server does not answer"):
        await broker.check_sync(f"{away},{away}")


async def test_no_monitoring_address_is_refused(nc):
    with pytest.raises(BrokerError, match="NATS_MONITOR_URL is not set"):
        await broker.check(nc, None, STREAMS)


async def test_a_changed_or_late_migration_is_refused(database, tmp_path):
    for path in postgres.MIGRATIONS.glob("*.sql"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert await postgres.migrate(database, folder=tmp_path) == []
    (tmp_path / "900_more.sql").write_text("create table chassis.more (n int);")
    assert await postgres.migrate(database, folder=tmp_path) == ["900_more.sql"]
    (tmp_path / "899_late.sql").write_text("create table chassis.late (n int);")
    with pytest.raises(DatabaseError, match=r"899_late.sql comes before 900_more.sql"):
        await postgres.migrate(database, folder=tmp_path)
    (tmp_path / "899_late.sql").unlink()
    (tmp_path / "900_more.sql").write_text("create table chassis.more (n bigint);")
    with pytest.raises(DatabaseError, match=r"900_more.sql has changed"):
        await postgres.migrate(database, folder=tmp_path)


async def test_a_failing_migration_leaves_nothing_of_itself(database, pool, tmp_path):
    (tmp_path / "901_half.sql").write_text("create table chassis.half (n int); create table nowhere.t (n int);")
    with pytest.raises(DatabaseError, match=r'901_half.sql failed: .*3F000: schema "nowhere" does not exist'):
        await postgres.migrate(database, folder=tmp_path)
    assert await pool.fetchval("select to_regclass('chassis.half')") is None
