"""Provisioning, and the checks that keep a service off a log or a database that is not as it must be."""

import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from nats.js.api import DiscardPolicy

from contracts.streams import STREAMS
from deploy import upgrading
from deploy.embedded import free_ports
from deploy.nats import server_conf
from deploy.processes import Command, Keeper
from deploy.provision import create_streams, plan, provision
from services.chassis import broker, postgres
from services.chassis.broker import BrokerError
from services.chassis.postgres import DatabaseError
from services.chassis.settings import SettingsError, replicas
from services.rules.rulebook import NotEnacted

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


LACKED = {"notices.*.*.remedy.kept", "notices.*.*.task.done"}
"""What the older release of these tests does not have in NOTICES."""


@pytest.fixture
async def older(nc):
    """The streams as a release before this one left them, with messages: NOTICES takes fewer types, RECEIPTS has less
    room and keeps for less long. Afterwards they are as this release has them."""
    jetstream = nc.jetstream()
    right = {name: (await jetstream.stream_info(name)).config for name in ("NOTICES", "RECEIPTS")}
    kept = [subject for subject in right["NOTICES"].subjects if subject not in LACKED]
    await jetstream.update_stream(replace(right["NOTICES"], subjects=kept))
    await jetstream.update_stream(replace(right["RECEIPTS"], max_bytes=1 << 20, max_age=86_400.0))
    for number in range(1, 4):
        await jetstream.publish("notices.3.seoul.notice.sent", b"before %d" % number, stream="NOTICES")
        await jetstream.publish("receipts.seoul.kiosk", b"before %d" % number, stream="RECEIPTS")
    yield right
    for config in right.values():
        await jetstream.update_stream(config)


def planning(nats, database, tenants, **more):
    """The arguments of `plan`, and of `provision` with publisher_keys."""
    return (nats.nats_url("operator"), database, tenants), {"monitor_url": nats.monitor_url, **more}


async def test_an_upgrade_adds_what_a_release_needs_and_leaves_what_is_there(nats, nc, database, tenants, older):
    jetstream = nc.jetstream()
    # A publisher has read the first of its receipts.
    reader = await jetstream.pull_subscribe_bind("seoul_kiosk", "RECEIPTS")
    [first] = await reader.fetch(1, timeout=30)
    await first.ack_sync(timeout=30)
    before = {name: (await jetstream.stream_info(name)) for name in older}

    arguments, options = planning(nats, database, tenants)
    with pytest.raises(BrokerError, match=r"(?s)NOTICES: subjects missing .*remedy.kept.*gihan provision --upgrade"):
        await provision(*arguments, **options, publisher_keys={})
    would = await plan(*arguments, **options)
    assert would.changes == (
        "NOTICES: subjects added ['notices.*.*.remedy.kept', 'notices.*.*.task.done']",
        "RECEIPTS: max_bytes from 1048576 to 1073741824; max_age from 86400.0 to 2592000",
    )
    assert (would.streams, would.migrations) == ((), ())
    assert {name: (await jetstream.stream_info(name)).config for name in older} == {
        name: info.config for name, info in before.items()
    }

    done = await provision(*arguments, **options, publisher_keys={}, upgrade=True)
    assert done.changes == would.changes
    ids = await broker.check(nc, nats.monitor_url, STREAMS)
    after = {name: (await jetstream.stream_info(name)) for name in older}
    for name, info in before.items():
        assert ids[name] == info.config.metadata[broker.UUID_KEY]
        assert after[name].created == info.created
        assert (after[name].state.first_seq, after[name].state.last_seq) == (info.state.first_seq, info.state.last_seq)
    found = await broker.last_message(nc, "NOTICES", "notices.3.seoul.notice.sent")
    assert found == (after["NOTICES"].state.last_seq, b"before 3")
    await jetstream.publish("notices.3.seoul.remedy.kept", b"after", stream="NOTICES")
    [second] = await reader.fetch(1, timeout=30)
    assert second.data == b"before 2"
    # And again: there is nothing left to do.
    assert (await plan(*arguments, **options)).changes == ()
    assert (await provision(*arguments, **options, publisher_keys={}, upgrade=True)).changes == ()


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("NOTICES", {"subjects": ["notices.>", "mark.notices.*"]}, r"not ours \['notices.>'\] \(a newer Gihan"),
        ("INBOX", {"max_bytes": 1 << 30}, r"max_bytes is 1073741824, must be 268435456 \(messages could be lost\)"),
        ("INBOX", {"max_msgs": -1}, r"max_msgs is -1, must be 1000000 \(messages could be lost\)"),
        ("DEAD", {"max_age": 0}, r"max_age is 0.0, must be 2592000 \(messages could be lost\)"),
        ("DEAD", {"discard": DiscardPolicy.OLD}, r"discard is old, must be new \(no upgrade changes this"),
        ("DEAD", {"allow_rollup_hdrs": True}, r"allow_rollup_hdrs is True, must be False \(no upgrade"),
        ("DEAD", {"metadata": {}}, r"DEAD: has no gihan_uuid in its metadata"),
    ],
)
async def test_an_upgrade_that_could_lose_something_is_refused_as_a_whole(
    nats, nc, database, tenants, pool, older, name, change, told
):
    """Also what it could add to other streams is not added then, and no migration is applied."""
    jetstream = nc.jetstream()
    right = (await jetstream.stream_info(name)).config
    await jetstream.update_stream(replace(older.get(name, right), **change))
    await pool.execute("delete from chassis.migrations where name = (select max(name) from chassis.migrations)")
    before = {stream.name: (await jetstream.stream_info(stream.name)).config for stream in STREAMS}
    migrations = await pool.fetchval("select count(*) from chassis.migrations")
    arguments, options = planning(nats, database, tenants)
    try:
        with pytest.raises(BrokerError, match=told):
            await plan(*arguments, **options)
        with pytest.raises(BrokerError, match=told) as refused:
            await provision(*arguments, **options, publisher_keys={}, upgrade=True)
        assert "nothing was changed" in str(refused.value)
        assert {stream.name: (await jetstream.stream_info(stream.name)).config for stream in STREAMS} == before
        assert await pool.fetchval("select count(*) from chassis.migrations") == migrations
    finally:
        await jetstream.update_stream(older.get(name, right))


async def test_an_upgrade_that_was_cut_off_goes_on(nats, nc, database, tenants, older, monkeypatch):
    changes = await upgrading.planned(nc, STREAMS, 1)
    assert [change.stream for change in changes] == ["NOTICES", "RECEIPTS"]
    broken = [changes[0], changes[1]._replace(config={**changes[1].config, "num_replicas": 3})]
    with pytest.raises(BrokerError, match=r"did not change the stream RECEIPTS \(error 10074\)"):
        await upgrading.carry_out(nc, broken)
    arguments, options = planning(nats, database, tenants)
    rest = await provision(*arguments, **options, publisher_keys={}, upgrade=True)
    assert [change.partition(":")[0] for change in rest.changes] == ["RECEIPTS"]
    await broker.check(nc, nats.monitor_url, STREAMS)


@pytest.mark.parametrize(
    ("type", "data", "told"),
    [
        ("charter.enacted", {"version": "7", "sha256": "a" * 64}, f"seoul: charter, version 7, .*{'a' * 64}"),
        ("calendar.enacted", {"calendar": "kr", "version": "9", "sha256": "b" * 64}, "seoul: kr, version 9"),
        ("rules.enacted", {"revision": "1066"}, "seoul: rules of revision 1066"),
    ],
)
async def test_a_log_that_names_what_is_not_here_is_left_alone(nats, nc, database, tenants, pool, type, data, told):
    """Before any service meets it: each would wait, and every partition would stand still."""
    event = {"type": type, "tenant": "seoul", "data": data}
    await nc.jetstream().publish(f"cases.0.seoul.{type}", json.dumps(event).encode(), stream="CASES")
    await pool.execute("delete from chassis.migrations where name = (select max(name) from chassis.migrations)")
    migrations = await pool.fetchval("select count(*) from chassis.migrations")
    arguments, options = planning(nats, database, tenants)
    try:
        with pytest.raises(NotEnacted, match=told):
            await plan(*arguments, **options)
        with pytest.raises(NotEnacted, match=told):
            await provision(*arguments, **options, publisher_keys={})
        assert await pool.fetchval("select count(*) from chassis.migrations") == migrations
    finally:
        await nc.jetstream().delete_stream("CASES")
        await create_streams(nc)


async def test_copies_are_added_and_never_taken_away(nc):
    [change] = await upgrading.planned(nc, [CASES], 3)
    assert str(change) == "CASES: num_replicas from 1 to 3"
    fewer = replace(broker.stream_config(CASES, 1), metadata={broker.UUID_KEY: "u"})
    _, refused = upgrading.compared(fewer, {**fewer.as_dict(), "num_replicas": 3})
    assert refused == [
        "CASES: num_replicas is 3, must be 1 (an upgrade makes no fewer copies; set GIHAN_REPLICAS to what there is)"
    ]


async def test_what_the_client_does_not_know_of_a_stream_stays(nc):
    """An update names a whole configuration: what is left out of it would be switched off."""
    config = {**broker.stream_config(CASES).as_dict(), "subjects": ["mark.intake.*"], "of_a_later_server": True}
    change, _ = upgrading.compared(broker.stream_config(CASES), {**config, "metadata": {broker.UUID_KEY: "u"}})
    assert change.config["of_a_later_server"] is True
    assert set(change.config["subjects"]) == set(CASES.subjects)


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


def test_a_dry_run_where_there_is_nothing_yet_says_what_would_be_made_and_leaves_nothing(tmp_path):
    folder = tmp_path / "data"
    command = [sys.executable, "-m", "services.cli.main", "provision", "--dry-run", "--json", "--data", str(folder)]
    would = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert would["streams"] == [stream.name for stream in STREAMS]
    assert would["enacted"]
    assert not folder.exists()
