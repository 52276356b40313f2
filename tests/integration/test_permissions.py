"""The matrix of NATS users and subjects, tried cell by cell on a real server; and what no permission forbids."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contracts.nkeys import Nkey
from deploy import matrix, permissions
from deploy import nats as nats_conf
from deploy.embedded import Embedded, free_ports
from deploy.nats import users_conf
from deploy.processes import Command, Keeper
from services.chassis.broker import Connection
from services.rules.tenants import Tenant

_PUBLISHER = permissions.publisher(*matrix.PUBLISHER)
_HOPELESS = "nobody.may.hear.this"
_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.IGNORECASE)


@pytest.fixture(scope="module")
def keys(tenants: dict[str, Tenant]) -> dict[str, Nkey]:
    return {user: Nkey.new() for user in matrix.users(tenants)}


@pytest.fixture(scope="module")
async def address(
    nats: Embedded, tmp_path_factory: pytest.TempPathFactory, tenants: dict[str, Tenant], keys: dict[str, Nkey]
) -> AsyncIterator[str]:
    """A server with the users of ours and no stream: a request to delete one is tried without harm."""
    folder = tmp_path_factory.mktemp("bare")
    (port,) = free_ports(1)
    users = users_conf(permissions_table(tenants), {user: [key.public] for user, key in keys.items()})
    (folder / "users.conf").write_bytes(users.replace(b'"jetstream": "enabled", ', b""))
    (folder / "nats.conf").write_text(f'listen: "127.0.0.1:{port}"\ninclude "users.conf"\n')

    async def look() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()

    assert nats.nats is not None
    server = Keeper(
        Command(
            "bare nats-server",
            [nats.nats.command.arguments[0], "-c", folder / "nats.conf"],
            folder / "nats.log",
            {},
            orphan_signal=signal.SIGKILL,
        ),
        look,
    )
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop()


def permissions_table(tenants: dict[str, Tenant]) -> dict[str, permissions.Permissions]:
    """The table without the user of these tests, who may do everything."""
    return {user: may for user, may in permissions.table(tenants).items() if user != "test"}


async def test_the_server_says_yes_and_no_as_the_table_does(address: str, tenants, keys: dict[str, Nkey]) -> None:
    rows = matrix.matrix(tenants)
    wrong = []
    for user, key in keys.items():
        if user == "test":
            continue
        said = await denied(address, user, key, [row.subject for row in rows])
        for row in rows:
            subject = row.subject.lower()
            cell = "P" if ("publish", subject) not in said and ">" not in subject else ""
            cell += "S" if ("subscription", subject) not in said else ""
            if cell != row.cells[user]:
                wrong.append((user, row.subject, f"the table says {row.cells[user]!r}, the server {cell!r}"))
    assert wrong == []


async def denied(address: str, user: str, key: Nkey, subjects: list[str]) -> set[tuple[str, str]]:
    """What the server refuses to a user: (publish or subscription, subject in small letters, as the library tells)."""
    said: set[tuple[str, str]] = set()
    last = asyncio.Event()

    async def note(error: Exception) -> None:
        if found := _DENIED.search(str(error)):
            said.add((found[1], found[2]))
            if found[2] == _HOPELESS:
                last.set()

    nc = Connection(key)
    await nc.connect(address, user=user, signature_cb=key.signature, error_cb=note)
    try:
        for subject in subjects:
            if ">" not in subject:
                await nc.publish(subject, b"")
        await nc.flush()
        for subject in subjects:
            await nc.subscribe(subject)
            await nc.flush()
        # A refusal may come after the answer to a later ping: that of a last, hopeless try is waited for.
        async with asyncio.timeout(30):
            await nc.subscribe(_HOPELESS)
            await last.wait()
        for _ in range(3):
            await nc.flush()
    finally:
        await nc.close()
    return said - {("subscription", _HOPELESS)}


async def test_the_table_is_not_all_yes_or_no(tenants) -> None:
    """Else the test above would prove nothing."""
    cells = [cell for row in matrix.matrix(tenants) for user, cell in row.cells.items() if user != "test"]
    assert {cells.count(kind) > 10 for kind in ("", "P", "S")} == {True}


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        ("door.seoul.kiosk", "intake answers, and intake may write facts"),
        ("inbox.seoul.kiosk.call.answered", "the server acknowledges"),
        ("$JS.API.CONSUMER.MSG.NEXT.RECEIPTS.seoul_kiosk", "the server delivers what is kept"),
    ],
)
async def test_no_answer_can_be_directed_into_the_log(
    connect: Callable[[str], Awaitable[Connection]], nc, settings, subject: str, why: str
) -> None:
    """The server does not ask whether who requests may publish where the answer goes."""
    intake, kiosk = await connect("intake"), await connect("seoul.kiosk")

    async def answer(message) -> None:
        await message.respond(b'{"status": "accepted"}')

    await intake.subscribe("door.*.*", queue="intake", cb=answer)
    await intake.flush()
    await nc.jetstream().publish("receipts.seoul.kiosk", b"{}")
    before = [await entries(nc, stream) for stream in ("CASES", "SLA", "NOTICES")]
    for target in ("cases.0.seoul.complaint.received", "cases.0.clock", "sla.0.seoul.deadline.breached", "mark.sla.0"):
        await kiosk.publish(subject, b"{}", reply=target)
    await kiosk.flush()
    # What comes after it on the same way has been answered, so those before have too.
    assert await kiosk.request("door.seoul.kiosk", b"{}", timeout=30)
    assert await nc.jetstream().account_info()
    assert [await entries(nc, stream) for stream in ("CASES", "SLA", "NOTICES")] == before, why


async def entries(nc, stream: str) -> int:
    return int((await nc.jetstream().stream_info(stream)).state.last_seq)


async def test_a_publisher_cannot_make_a_consumer_that_writes(nats: Embedded, connect, nc) -> None:
    """A consumer that pushes has the server write to a subject that nobody asks about."""
    key = Nkey.of_seed(urlsplit(nats.nats_url("seoul.kiosk")).password)
    address = nats.nats_url("operator").rpartition("@")[2]
    request = "$JS.API.CONSUMER.CREATE.RECEIPTS.seoul_kiosk.receipts.seoul.kiosk"
    assert ("publish", request.lower()) in await denied(address, "seoul.kiosk", key, [request])


async def test_what_one_system_holds_open_has_a_limit(address: str, keys: dict[str, Nkey]) -> None:
    """One that leaks connections is told no, and nobody else is."""
    open_ones = []
    try:
        for user, expected in ((_PUBLISHER, b"PONG\r\n"),) * nats_conf.LIMITS["max_connections"] + (
            (_PUBLISHER, b"-ERR 'maximum account active connections exceeded'\r\n"),
            ("intake", b"PONG\r\n"),
        ):
            reader, writer = await asyncio.open_connection(*address.split(":"))
            open_ones.append(writer)
            nonce = json.loads((await reader.readline()).removeprefix(b"INFO "))["nonce"]
            login = {"protocol": 1, "verbose": False, "nkey": keys[user].public}
            writer.write(b"CONNECT " + json.dumps({**login, "sig": keys[user].signature(nonce).decode()}).encode())
            writer.write(b"\r\nPING\r\n")
            while (answer := await reader.readline()).startswith((b"INFO ", b"PING")):
                pass
            assert answer == expected
    finally:
        for writer in open_ones:
            writer.close()


def test_nothing_of_a_publisher_is_in_our_account(nats: Embedded, tenants) -> None:
    text = Path(nats.data / "nats" / "users.conf").read_text()
    accounts = json.loads(
        next(line for line in text.splitlines() if line.startswith("accounts: "))[len("accounts: ") :]
    )
    named = {permissions.publisher(*names) for names in permissions.publishers(tenants)}
    assert named <= accounts.keys()
    assert accounts.keys() - named == {"GIHAN", "SYS"}
    assert accounts["SYS"]["users"] == []
    for name in named:
        tenant, source = name.split(".")
        for way in accounts[name]["imports"]:
            (subject,) = ((way.get("service") or way.get("stream"))["subject"],)
            assert f"{tenant}.{source}" in subject or f"{tenant}_{source}" in subject
