"""Failpoints: the table is the code, an order not allowed or not understood is refused, and each one strikes."""

import ast
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.chassis import failpoints
from services.chassis.failpoints import FAILPOINTS, Order, Struck, arm, failpoint, parse
from services.chassis.settings import ROOT, Settings, SettingsError
from services.cli.main import app

ADDRESSES = {"NATS_URL": "nats://127.0.0.1:1", "DATABASE_URL": "postgresql://127.0.0.1/none"}


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm(told())


def told(**variables: str) -> Settings:
    """Settings as the environment of a service would give them."""
    return Settings.from_env("intake", {**ADDRESSES, **variables})


def calls(source: str) -> list[str]:
    """The names of the failpoints that a module calls; what is not a literal name is `?`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "failpoint":
                literal = node.args[0] if node.args else None
                found.append(str(literal.value) if isinstance(literal, ast.Constant) else "?")
    return found


def unawaited(source: str) -> list[int]:
    """Lines that call a failpoint without waiting for it, which does nothing at all."""
    tree = ast.parse(source)
    awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "failpoint" and id(node) not in awaited
    ]


def test_every_failpoint_is_called_once_and_every_call_is_in_the_table() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "services").glob("**/*.py")]
    found = Counter(name for source in sources for name in calls(source))
    assert found == Counter(FAILPOINTS.keys())
    assert [line for source in sources for line in unawaited(source)] == []
    assert len(FAILPOINTS) >= 25


def test_a_call_that_the_table_does_not_have_is_found() -> None:
    assert calls('async def f():\n    await failpoint("a.b")\n    await failpoints.failpoint(name)') == ["a.b", "?"]
    assert unawaited('async def f():\n    failpoint("a.b")') == [2]


def test_orders_are_read() -> None:
    assert parse("") == {}
    assert parse("relay.after_publish:kill, ticker.after_tick:raise:0.25,") == {
        "relay.after_publish": Order("kill"),
        "ticker.after_tick": Order("raise", 0.25),
    }


@pytest.mark.parametrize(
    ("orders", "words"),
    [
        ("relay.nowhere:kill", "no failpoint relay.nowhere"),
        ("relay.after_publish", "must be one of kill, raise, sleep, stop"),
        ("relay.after_publish:explode", "must be one of kill, raise, sleep, stop"),
        ("relay.after_publish:kill:2", "above 0 and up to 1"),
        ("relay.after_publish:kill:0", "above 0 and up to 1"),
        ("relay.after_publish:kill:often", "above 0 and up to 1"),
    ],
)
def test_an_order_that_is_not_understood_is_refused(orders: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        arm(told(GIHAN_FAILPOINTS=orders, GIHAN_FAILPOINTS_ALLOWED="yes"))


@pytest.mark.parametrize("variable", ["GIHAN_FAILPOINTS", "GIHAN_FAILPOINTS_FOLDER"])
@pytest.mark.parametrize("allowed", ["", "no", "1", "YES"])
def test_nothing_is_armed_unless_it_is_allowed(variable: str, allowed: str) -> None:
    with pytest.raises(SettingsError, match="GIHAN_FAILPOINTS_ALLOWED=yes"):
        arm(told(**{variable: "relay.after_publish:raise", "GIHAN_FAILPOINTS_ALLOWED": allowed}))
    asyncio.run(failpoint("relay.after_publish"))


@pytest.mark.parametrize("service", ["intake", "sla_timer", "notifier"])
def test_a_service_refuses_to_start_in_one_sentence(service: str) -> None:
    told = {**ADDRESSES, "GIHAN_FAILPOINTS": "relay.after_publish:kill", "PATH": os.environ["PATH"]}
    ended = subprocess.run(
        [sys.executable, "-m", f"services.{service}"], cwd=ROOT, env=told, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{service}: GIHAN_FAILPOINTS and GIHAN_FAILPOINTS_FOLDER make this process fail")
    assert len(ended.stderr.splitlines()) == 1


async def test_raise_strikes_there_and_nowhere_else() -> None:
    arm(told(GIHAN_FAILPOINTS="relay.after_publish:raise", GIHAN_FAILPOINTS_ALLOWED="yes"))
    await failpoint("relay.after_lane")
    for _ in range(2):
        with pytest.raises(Struck, match=r"relay\.after_publish"):
            await failpoint("relay.after_publish")
    arm(told())
    await failpoint("relay.after_publish")


async def test_a_probability_strikes_sometimes(monkeypatch: pytest.MonkeyPatch) -> None:
    arm(told(GIHAN_FAILPOINTS="relay.after_publish:raise:0.5", GIHAN_FAILPOINTS_ALLOWED="yes"))
    monkeypatch.setattr(failpoints.random, "random", lambda: 0.5)
    await failpoint("relay.after_publish")
    monkeypatch.setattr(failpoints.random, "random", lambda: 0.49)
    with pytest.raises(Struck):
        await failpoint("relay.after_publish")


async def test_sleep_stalls_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    arm(told(GIHAN_FAILPOINTS="relay.after_publish:sleep", GIHAN_FAILPOINTS_ALLOWED="yes"))
    monkeypatch.setattr(failpoints, "SLEEP_SECONDS", 0.05)
    begun = asyncio.get_running_loop().time()
    await failpoint("relay.after_publish")
    assert asyncio.get_running_loop().time() - begun >= 0.05


async def test_an_order_in_the_folder_is_carried_out_once_and_seen(tmp_path: Path) -> None:
    arm(told(GIHAN_FAILPOINTS_FOLDER=str(tmp_path), GIHAN_FAILPOINTS_ALLOWED="yes"))
    await failpoint("relay.after_publish")  # no folder yet
    (tmp_path / "intake").mkdir()
    order = tmp_path / "intake" / "relay.after_publish"
    order.write_text("raise")
    with pytest.raises(Struck):
        await failpoint("relay.after_publish")
    await failpoint("relay.after_publish")
    assert [path.name for path in (tmp_path / "intake").iterdir()] == ["relay.after_publish.struck"]


def test_kill_is_sigkill() -> None:
    program = (
        "import asyncio\n"
        "from services.chassis.failpoints import arm, failpoint\n"
        "from services.chassis.settings import Settings\n"
        "arm(Settings.from_env('relay'))\n"
        "asyncio.run(failpoint('relay.after_lane'))\n"
        "print('went on', flush=True)\n"
        "asyncio.run(failpoint('relay.after_publish'))\n"
        "print('survived', flush=True)\n"
    )
    told = {**ADDRESSES, "GIHAN_FAILPOINTS": "relay.after_publish:kill", "GIHAN_FAILPOINTS_ALLOWED": "yes"}
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=told, capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == b"went on\n"
    assert json.loads(ended.stderr.splitlines()[-1])["event"] == "failpoint_struck"


def test_the_command_lists_them_all() -> None:
    listed = json.loads(CliRunner().invoke(app, ["failpoints", "--json"]).stdout)
    assert {row["name"]: row["at"] for row in listed} == dict(FAILPOINTS)
    plain = CliRunner().invoke(app, ["failpoints"]).stdout
    assert len(plain.splitlines()) == len(FAILPOINTS)
