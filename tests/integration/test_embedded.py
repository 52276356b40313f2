"""The embedded servers: as strict as real ones, back after a crash, and gone with the program."""

import asyncio
import json
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from deploy import processes
from deploy.embedded import Embedded, EmbeddedError
from deploy.processes import become
from services.chassis import broker
from services.chassis.settings import ROOT, Settings

# A program that uses the embedded servers: says which processes it has, then waits to be killed or told to end.
PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from deploy import processes
from deploy.embedded import Embedded
from services.rules.tenants import parse

async def main():
    tenants = parse(Path("deploy/tenants.yaml").read_bytes())
    async with Embedded(Path(sys.argv[1]), tenants) as servers:
        print(json.dumps({"nats": servers.nats.pid, "postgres": servers.postgres.pid,
                          "url": servers.database_url}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


def run_program(data: Path, **options) -> tuple[subprocess.Popen, dict]:
    environment = {name: value for name, value in os.environ.items() if name not in ("NATS_URL", "DATABASE_URL")}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(data)],
        cwd=ROOT,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    return process, json.loads(process.stdout.readline())


def is_running(pid: int) -> bool:
    """Whether the process does anything still: one that has ended may wait to be reaped, in vain, in a container."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def exists(path: str) -> bool:
    return Path(path).exists()


def owner(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


async def query(url: str, statement: str):
    connection = await asyncpg.connect(url, timeout=2)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("password", [None, "wrong"])
async def test_postgres_asks_everybody_for_a_password(servers, password):
    folder = servers.database_url.partition("?host=")[2]
    for user in ("gihan", "postgres"):
        with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.PostgresError)) as refusal:
            await asyncpg.connect(host=folder, user=user, database="gihan", password=password, passfile="/none")
        assert refusal.value.sqlstate == "28P01"


@pytest.mark.parametrize("login", [{}, {"user": "operator", "pass": "wrong"}, {"user": "nobody", "pass": ""}])
async def test_nats_asks_everybody_for_a_password(servers, login):
    host, port = servers.nats_url("operator").rpartition("@")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    assert (await reader.readline()).startswith(b"INFO ")
    writer.write(b"CONNECT " + json.dumps({"verbose": False, "protocol": 1, **login}).encode() + b"\r\nPING\r\n")
    assert await reader.readline() == b"-ERR 'Authorization Violation'\r\n"
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_the_door_answers_the_publisher_alone(connect, settings):
    intake, kiosk = await connect("intake"), await connect("seoul.kiosk")

    async def answer(message) -> None:
        await message.respond(b"yes")

    await intake.subscribe("door.*.*", queue="intake", cb=answer)
    await intake.flush()
    assert (await kiosk.request("door.seoul.kiosk", b"{}", timeout=2)).data == b"yes"


async def test_a_publisher_reads_its_own_receipts_from_the_stream(connect, nc):
    await nc.jetstream().publish("receipts.seoul.kiosk", b"mine")
    await nc.jetstream().publish("receipts.seoul.web", b"another's")
    kiosk = (await connect("seoul.kiosk")).jetstream()
    reader = await kiosk.pull_subscribe_bind("seoul_kiosk", "RECEIPTS")
    [message] = await reader.fetch(5, timeout=1)
    await message.ack_sync()
    assert message.data == b"mine"


async def test_killed_servers_come_back_at_the_same_address(servers, eventually):
    await query(servers.database_url, "create table survives (n int)")
    await query(servers.database_url, "insert into survives values (7)")
    nc = await broker.connect(Settings(nats_url=servers.nats_url("operator"), database_url="", service="operator"))
    before = servers.nats.pid, servers.postgres.pid

    os.kill(servers.nats.pid, signal.SIGKILL)
    os.kill(servers.postgres.pid, signal.SIGKILL)

    assert await eventually(lambda: query(servers.database_url, "select n from survives")) == 7
    await eventually(lambda: nc.jetstream().account_info())
    assert servers.nats.pid != before[0]
    assert servers.postgres.pid != before[1]
    await query(servers.database_url, "drop table survives")
    await nc.close()


async def test_a_silent_server_is_replaced(servers, eventually, monkeypatch):
    monkeypatch.setattr(processes, "_LOOK_EVERY_SECONDS", 0.1)
    monkeypatch.setattr(processes, "_LOOK_TIMEOUT_SECONDS", 0.2)
    before = servers.nats.pid
    os.kill(before, signal.SIGSTOP)
    # One that was started again and has not answered yet is given its time to start.
    await eventually(lambda: servers.nats.pid not in (before, None), 60)
    assert not is_running(before)


async def test_a_second_start_on_the_same_folder_is_refused(servers, tenants):
    with pytest.raises(EmbeddedError, match=f"already runs on the data folder .*process {os.getpid()}"):
        async with Embedded(servers.data, tenants):
            raise AssertionError("two programs on one data folder")


async def test_stopping_leaves_no_process_and_keeps_data_and_passwords(tmp_path, tenants, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    # Too long for a socket: PostgreSQL's then stands in a short folder of its own.
    data = tmp_path / "a-data-folder-with-a-long-name-that-no-socket-would-fit-in" / "below"
    async with Embedded(data, tenants) as first:
        await query(first.database_url, "create table kept as select 42 as n")
        keys, key = first.publisher_keys, (first.secrets / "vault" / "1970-01-01.key").read_bytes()
        pids = first.nats.pid, first.postgres.pid
        password = first.database_url.partition("@")[0]
    assert not any(is_running(pid) for pid in pids)
    assert not exists(first.database_url.partition("?host=")[2])
    async with Embedded(data, tenants) as second:
        assert await query(second.database_url, "select n from kept") == 42
        assert second.publisher_keys == keys
        assert (second.secrets / "vault" / "1970-01-01.key").read_bytes() == key
        assert len(key) == 32
        assert second.database_url.partition("@")[0] == password
        modes = {path.name: path.stat().st_mode & 0o077 for path in second.secrets.rglob("*")}
        assert not any(modes.values()), modes


async def test_a_killed_program_leaves_no_server_and_the_next_start_works(tmp_path, eventually):
    process, facts = run_program(tmp_path / "data")
    await query(facts["url"], "create table kept as select 42 as n")
    process.kill()
    process.communicate()
    again, new = run_program(tmp_path / "data")
    try:
        assert not is_running(facts["nats"])
        assert not is_running(facts["postgres"])
        assert await query(new["url"], "select n from kept") == 42
    finally:
        again.communicate("", timeout=20)
    await eventually(lambda: not is_running(new["nats"]) and not is_running(new["postgres"]))


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
async def test_an_ordinary_user_can_run_the_servers(tmp_path):
    account = pwd.getpwnam("nobody")
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, account.pw_uid, account.pw_gid)
    process, facts = run_program(data, preexec_fn=lambda: become(account))
    try:
        assert await query(facts["url"], "select 1") == 1
        assert owner(facts["postgres"]) == account.pw_uid
    finally:
        process.communicate("", timeout=20)
    assert process.returncode == 0


async def test_no_statement_and_no_value_reaches_the_log_of_postgres(servers):
    with pytest.raises(asyncpg.PostgresError):
        await query(servers.database_url, "select 'planted-name'::int")
    with pytest.raises(asyncpg.PostgresError):
        await query(servers.database_url, "select planted_column from nowhere")
    assert "planted" not in (servers.logs / "postgres.log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up: run as an ordinary user")
def test_postgresql_keeps_of_roots_rights_only_that_to_reach_files(servers):
    status = Path(f"/proc/{servers.postgres.pid}/status").read_text(encoding="ascii")
    kept = {
        line.split()[1] for line in status.splitlines() if line.startswith(("CapPrm", "CapEff", "CapInh", "CapAmb"))
    }
    # CAP_DAC_READ_SEARCH, or where a container withholds it CAP_DAC_OVERRIDE, or nothing.
    assert {int(bits, 16) for bits in kept} <= {1 << 2, 1 << 1, 0}
    assert int(next(line.split()[1] for line in status.splitlines() if line.startswith("Uid"))) != 0
