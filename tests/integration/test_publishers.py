"""`gihan publisher` on running servers: two keys at a time, and one that is revoked lets nobody in any more."""

import asyncio
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


def as_kiosk(city: Embedded, seed: str) -> Settings:
    address = city.nats_url("operator").rpartition("@")[2]
    return Settings(nats_url=f"nats://kiosk:{seed}@{address}", database_url="", service="seoul.kiosk")


# The library forgets a connection whose log-in was refused, and leaves it to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_key_is_replaced_without_a_gap_and_the_old_one_ends_for_good(city, eventually, monkeypatch):
    monkeypatch.setattr(broker, "_CONNECT_PATIENCE_SECONDS", 3)
    operator = await broker.connect(Settings(nats_url=city.nats_url("operator"), database_url="", service="operator"))
    old_seed = (city.secrets / "nats" / "seoul.kiosk.seed").read_text()
    old_key = city.publisher_keys["seoul/kiosk"]
    old = await broker.connect(as_kiosk(city, old_seed))

    code, out, error = await gihan(city, "rotate", *KIOSK, "--json")
    assert (code, error) == (0, "")
    new = json.loads(out)
    assert Nkey.of_seed(new["seed"]).public == new["nkey"]
    both = [await broker.connect(as_kiosk(city, seed)) for seed in (old_seed, new["seed"])]
    assert all(client.is_connected for client in (*both, old))
    code, _, error = await gihan(city, "rotate", *KIOSK)
    assert code == 2
    assert "two live keys" in error
    assert await owners(city, old_key, new["api_key"]) == [KIOSK, KIOSK]

    code, out, error = await gihan(city, "revoke", *KIOSK, "--json")
    assert (code, error) == (0, "")
    assert json.loads(out) == {
        "nkeys": [Nkey.of_seed(old_seed).public],
        "api_keys": [keys.digest(old_key).hex()[: keys.SHOWN]],
    }
    assert await owners(city, old_key, new["api_key"]) == [None, KIOSK]
    await eventually(lambda: not old.is_connected and not both[0].is_connected)
    for client in (old, both[0]):
        await client.close()
    with pytest.raises(broker.BrokerError, match="does not let user kiosk in"):
        await broker.connect(as_kiosk(city, old_seed))
    assert both[1].is_connected
    # The server read its list again, and nobody else noticed.
    assert operator.is_connected
    assert operator.stats["reconnects"] == 0
    for client in (operator, both[1]):
        await client.close()

    _, out, _ = await gihan(city, "list", "--json")
    rows = [row for row in json.loads(out) if (row["tenant"], row["source"]) == KIOSK]
    assert [(row["door"], row["revoked"] is None) for row in rows] == [
        ("nats", False),
        ("nats", True),
        ("http", False),
        ("http", True),
    ]
    assert old_key not in out
    assert new["seed"] not in out
    # Provisioning enters what the data folder holds; a revoked key is not among what it makes alive.
    await provision(
        city.nats_url("operator"),
        city.database_url,
        parse((ROOT / "deploy" / "tenants.yaml").read_bytes()),
        monitor_url=city.monitor_url,
        publisher_keys=city.publisher_keys,
    )
    assert await owners(city, old_key) == [None]


async def owners(city: Embedded, *api_keys: str) -> list[tuple[str, str] | None]:
    connection = await asyncpg.connect(city.database_url, timeout=5)
    try:
        return [await keys.publisher_of(connection, keys.digest(key)) for key in api_keys]
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
    assert (code, error) == (0, "")
    assert said.split() == [str(out / "seoul.bot.seed"), str(out / "seoul.bot.key")]
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    settings = as_kiosk(city, (out / "seoul.bot.seed").read_text())
    client = await broker.connect(settings)
    await client.close()
    assert await owners(city, (out / "seoul.bot.key").read_text()) == [("seoul", "bot")]
    code, _, error = await gihan(city, "add", "seoul", "bot", GIHAN_TENANTS_FILE=str(more))
    assert (code, "gihan publisher rotate" in error) == (2, True)


def test_no_seed_and_no_key_stands_in_what_the_server_reads(city):
    for name in ("nats.conf", "users.conf"):
        text = (city.data / "nats" / name).read_text()
        assert "password" not in text
        for seed in (city.secrets / "nats").iterdir():
            assert seed.read_text() not in text
