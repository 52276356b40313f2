"""`gihan publisher` on running servers: two keys at a time, and one that is revoked lets nobody in any more."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator

import asyncpg
import pytest

from contracts.nkeys import Nkey
from deploy.embedded import Embedded
from deploy.provision import provision
from services.chassis import broker
from services.chassis.settings import ROOT, Settings
from services.intake import keys
from services.rules.tenants import Tenant, parse

KIOSK = ("seoul", "kiosk")


@pytest.fixture(scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, tenants: dict[str, Tenant]) -> AsyncIterator[Embedded]:
    """Servers of its own, provisioned, as `gihan up` leaves them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NATS_URL", raising=False)
        patch.delenv("DATABASE_URL", raising=False)
        async with Embedded(tmp_path_factory.mktemp("city"), tenants) as servers:
            await provision(
                servers.nats_url("operator"),
                servers.database_url,
                tenants,
                monitor_url=servers.monitor_url,
                publisher_keys=servers.publisher_keys,
            )
            yield servers


async def gihan(city: Embedded, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command beside the running servers."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli.main", "publisher", *arguments, "--data", str(city.data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k not in ("NATS_URL", "DATABASE_URL")} | environment,
    )
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


async def test_a_key_is_replaced_without_a_gap_and_the_old_one_ends_for_good(city):
    operator = await broker.connect(Settings(nats_url=city.nats_url("operator"), database_url="", service="operator"))
    old_seed = (city.secrets / "nats" / "seoul.kiosk.seed").read_text()
    old_key = city.publisher_keys["seoul/kiosk"]
    old = await Session.open(city, old_seed)

    code, out, error = await gihan(city, "rotate", *KIOSK, "--json")
    assert (code, error) == (0, ""), error
    made = json.loads(out)
    assert Nkey.of_seed(made["seed"]).public == made["nkey"]
    old_again, new = await Session.open(city, old_seed), await Session.open(city, made["seed"])
    assert [await session.says() for session in (old, old_again, new)] == [b"PONG\r\n"] * 3
    code, _, error = await gihan(city, "rotate", *KIOSK)
    assert code == 2
    assert "two live keys" in error
    assert await owners(city, old_key, made["api_key"]) == [KIOSK, KIOSK]

    code, out, error = await gihan(city, "revoke", *KIOSK, "--json")
    assert (code, error) == (0, ""), error
    assert json.loads(out) == {
        "nkeys": [Nkey.of_seed(old_seed).public],
        "api_keys": [keys.digest(old_key).hex()[:12]],
    }
    assert await owners(city, old_key, made["api_key"]) == [None, KIOSK]
    assert await old.end() == await old_again.end() == b""
    assert await (await Session.open(city, old_seed)).says() == b"-ERR 'Authorization Violation'\r\n"
    assert await new.says() == b"PONG\r\n"
    # The server read its list again, and nobody else noticed.
    assert operator.is_connected
    assert operator.stats["reconnects"] == 0
    await operator.close()
    await new.close()

    _, out, _ = await gihan(city, "list", "--json")
    rows = [row for row in json.loads(out) if (row["tenant"], row["source"]) == KIOSK]
    assert [(row["door"], row["revoked"] is None) for row in rows] == [
        ("nats", False),
        ("nats", True),
        ("http", False),
        ("http", True),
    ]
    assert old_key not in out
    assert made["seed"] not in out
    # Provisioning enters what the data folder holds; a revoked key is not among what it makes alive.
    await provision(
        city.nats_url("operator"),
        city.database_url,
        parse((ROOT / "deploy" / "tenants.yaml").read_bytes()),
        monitor_url=city.monitor_url,
        publisher_keys=city.publisher_keys,
    )
    assert await owners(city, old_key) == [None]


class Session:
    """A bare connection to NATS with a seed, which does not come back by itself as the library's would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, city: Embedded, seed: str) -> "Session":
        host, port = city.nats_url("operator").rpartition("@")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        nonce = json.loads((await reader.readline()).removeprefix(b"INFO "))["nonce"]
        nkey = Nkey.of_seed(seed)
        login = {"verbose": False, "protocol": 1, "nkey": nkey.public, "sig": nkey.signature(nonce).decode()}
        writer.write(b"CONNECT " + json.dumps(login).encode() + b"\r\n")
        return cls(reader, writer)

    async def says(self) -> bytes:
        """The server's answer to a ping."""
        async with asyncio.timeout(30):
            self._writer.write(b"PING\r\n")
            while (line := await self._reader.readline()).startswith((b"INFO ", b"PING")):
                pass
        if line != b"PONG\r\n":
            await self.close()
        return line

    async def end(self) -> bytes:
        """What is left to read once the server has hung up."""
        async with asyncio.timeout(30):
            while (line := await self._reader.readline()) and not line.startswith(b"-ERR"):
                pass
            left = await self._reader.read()
        await self.close()
        return left

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def owners(city: Embedded, *api_keys: str) -> list[tuple[str, str] | None]:
    """Whom each key lets in."""
    connection = await asyncpg.connect(city.database_url, timeout=30)
    try:
        rows = await connection.fetch("select * from intake.publishers where revoked is null")
        alive = {row["key_sha256"]: (row["tenant"], row["source"]) for row in rows}
        return [alive.get(keys.digest(key)) for key in api_keys]
    finally:
        await connection.close()


async def test_a_system_of_the_tenants_file_gets_its_first_keys_while_everything_runs(city, tmp_path):
    """Its subjects are the server's to know, so the list of users is written with it."""
    more = tmp_path / "tenants.yaml"
    more.write_text(
        (ROOT / "deploy" / "tenants.yaml").read_text().replace("    kiosk: {}", "    kiosk: {}\n    bot: {}")
    )
    code, _, error = await gihan(city, "add", "seoul", "bot")
    assert (code, "names no system seoul/bot" in error) == (2, True)
    out = tmp_path / "bot"
    code, said, error = await gihan(city, "add", "seoul", "bot", "--out", str(out), GIHAN_TENANTS_FILE=str(more))
    assert (code, error) == (0, ""), error
    assert said.split() == [str(out / "seoul.bot.seed"), str(out / "seoul.bot.key")]
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    session = await Session.open(city, (out / "seoul.bot.seed").read_text())
    assert await session.says() == b"PONG\r\n"
    await session.close()
    assert await owners(city, (out / "seoul.bot.key").read_text()) == [("seoul", "bot")]
    code, _, error = await gihan(city, "add", "seoul", "bot", GIHAN_TENANTS_FILE=str(more))
    assert (code, "gihan publisher rotate" in error) == (2, True)


def test_no_seed_and_no_key_stands_in_what_the_server_reads(city):
    for name in ("nats.conf", "users.conf"):
        text = (city.data / "nats" / name).read_text()
        assert "password" not in text
        for seed in (city.secrets / "nats").iterdir():
            assert seed.read_text() not in text
