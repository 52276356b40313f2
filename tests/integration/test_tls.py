"""TLS and mutual TLS on every way: what is trusted, what is refused, and that nothing goes out in clear instead."""

import asyncio
import contextlib
import datetime
import ipaddress
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.embedded import Embedded, free_ports
from deploy.processes import Command, Keeper
from services.chassis import broker, postgres
from services.chassis.settings import ROOT, Settings, SettingsError, passwords_in
from services.chassis.tls import Served, Tls, TlsError


class Authority:
    """An authority made for these tests, that signs what it is asked to."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        own = self._built(self._name, self._key).add_extension(constraints, critical=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _built(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def issue(self, name: str, address: str = "127.0.0.1") -> tuple[Path, Path]:
        """A certificate for an address, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._built(subject, key).add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths


class Papers(NamedTuple):
    """Who is who: files of a server, of a client, and of strangers."""

    ca: Path
    server: tuple[Path, Path]
    elsewhere: tuple[Path, Path]
    client: tuple[Path, Path]
    other_ca: Path
    stranger: tuple[Path, Path]

    def right(self) -> Tls:
        return Tls(self.ca, *self.client)

    def wrong(self) -> dict[str, Tls]:
        """What must not come in, by what is wrong with it."""
        return {
            "no certificate of its own": Tls(self.ca),
            "a certificate of a stranger": Tls(self.ca, *self.stranger),
            "a server of another authority": Tls(self.other_ca, *self.client),
        }


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    ours, others = Authority(folder, "ours"), Authority(folder, "others")
    return Papers(
        ours.file,
        ours.issue("server"),
        ours.issue("elsewhere", "127.0.0.2"),
        ours.issue("client"),
        others.file,
        others.issue("stranger"),
    )


@contextlib.asynccontextmanager
async def nats_server(
    nats: Embedded, folder: Path, papers: Papers, pair: tuple[Path, Path] | None
) -> AsyncIterator[str]:
    """A nats-server that asks for certificates; without a pair one that speaks in clear."""
    (port,) = free_ports(1)
    tls = ""
    if pair is not None:
        tls = (
            f'tls {{ cert_file: "{pair[0]}", key_file: "{pair[1]}", ca_file: "{papers.ca}", verify: true, '
            "handshake_first: true }\n"
        )
    (folder / "nats.conf").write_text(f'listen: "127.0.0.1:{port}"\n{tls}')

    async def look() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()

    assert nats.nats is not None
    command = [nats.nats.command.arguments[0], "-c", folder / "nats.conf"]
    keeper = Keeper(Command("nats with tls", command, folder / "nats.log", {}, orphan_signal=signal.SIGKILL), look)
    await keeper.start()
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        await keeper.stop()


# The library forgets a connection whose handshake failed, and leaves it to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
async def test_nats_over_tls_that_both_sides_prove(nats, papers, tmp_path, monkeypatch):
    async with nats_server(nats, tmp_path, papers, papers.server) as url:
        nc = await broker.connect(Settings(nats_url=url, database_url="", nats_tls=papers.right()))
        await nc.flush()
        await nc.close()
        monkeypatch.setattr(broker, "_CONNECT_PATIENCE_SECONDS", 1)
        for tls in papers.wrong().values():
            with pytest.raises(broker.BrokerError):
                await broker.connect(Settings(nats_url=url, database_url="", nats_tls=tls))
        with pytest.raises(broker.BrokerError):
            await broker.connect(Settings(nats_url=url, database_url=""))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("which", ["in clear", "of another name"])
async def test_a_nats_server_that_would_talk_otherwise_is_left(nats, papers, tmp_path, monkeypatch, which):
    """One that says it has no TLS is told nothing; a certificate of ours for another address does not count."""
    monkeypatch.setattr(broker, "_CONNECT_PATIENCE_SECONDS", 1)
    async with nats_server(nats, tmp_path, papers, None if which == "in clear" else papers.elsewhere) as url:
        with pytest.raises(broker.BrokerError):
            await broker.connect(Settings(nats_url=url, database_url="", nats_tls=papers.right()))


@contextlib.asynccontextmanager
async def postgres_behind(servers: Embedded, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """PostgreSQL behind a TLS end in front of it, as its protocol has it; None: one that declines TLS."""
    socket = Path(urlsplit(servers.database_url).query.partition("host=")[2]) / ".s.PGSQL.5432"
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(8)  # SSLRequest
            writer.write(b"N" if context is None else b"S")
            await writer.drain()
            if context is not None:
                await writer.start_tls(context)
                far_reader, far_writer = await asyncio.open_unix_connection(socket)
                await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
async def test_postgresql_over_tls_that_both_sides_prove(servers, papers):
    def at(port: int, tls: Tls | None) -> Settings:
        login = urlsplit(servers.database_url).netloc.rpartition("@")[0]
        return Settings(nats_url="", database_url=f"postgresql://{login}@127.0.0.1:{port}/gihan", database_tls=tls)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*papers.server)
    context.load_verify_locations(papers.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    async with postgres_behind(servers, context) as port:
        connection = await postgres.connect(at(port, papers.right()))
        assert await connection.fetchval("select 42") == 42
        await connection.close()
        for tls in papers.wrong().values():
            with pytest.raises(postgres.DatabaseError):
                await postgres.connect(at(port, tls))
    async with postgres_behind(servers, None) as port:
        with pytest.raises(postgres.DatabaseError):
            await postgres.connect(at(port, papers.right()))


SERVICE = """
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from services.chassis import http
from services.chassis.health import Health
from services.chassis.settings import Settings
from services.chassis.tls import Served

@asynccontextmanager
async def lifespan(app):
    yield

port, *files = sys.argv[1:]
served = Served(*map(Path, files))
http.serve(
    http.create_app("over tls", "1", lifespan, Health("over tls")),
    Settings(nats_url="", database_url="", port=int(port), http_tls=served),
)
"""


@pytest.mark.parametrize("mutual", [False, True])
async def test_http_over_tls(papers, eventually, mutual):
    (port,) = free_ports(1)
    files = [*papers.server, *([papers.ca] if mutual else [])]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVICE, str(port), *map(str, files)), cwd=ROOT, stderr=asyncio.subprocess.DEVNULL
    )

    async def status(tls: Tls, scheme: str = "https") -> int:
        async with httpx.AsyncClient(verify=tls.client(), trust_env=False, timeout=10) as http:
            return (await http.get(f"{scheme}://127.0.0.1:{port}/health/live")).status_code

    try:
        assert await eventually(lambda: status(papers.right()), 60) == 200
        wrong = papers.wrong()
        if not mutual:
            assert await status(wrong.pop("no certificate of its own")) == 200
            assert await status(wrong.pop("a certificate of a stranger")) == 200
        for tls in wrong.values():
            with pytest.raises(httpx.TransportError):
                await status(tls)
        with pytest.raises(httpx.TransportError):
            await status(papers.right(), "http")
    finally:
        process.terminate()
        await process.wait()


def test_a_password_in_the_environment_is_named():
    assert passwords_in({"NATS_URL": "nats://u@h,nats://u:p@h", "DATABASE_URL": "postgresql://u@/d"}) == ["NATS_URL"]
    assert passwords_in({"DATABASE_URL": "postgresql://u:p@/d", "SMTP_URL": "smtp://h"}) == ["DATABASE_URL"]


def test_settings_name_what_is_missing(papers, tmp_path):
    servers = {"NATS_URL": "nats://u@h", "DATABASE_URL": "postgresql://u@h/d"}
    certificate, key = map(str, papers.client)
    whole = {"NATS_CA_FILE": str(papers.ca), "NATS_CERT_FILE": certificate, "NATS_KEY_FILE": key}
    assert Settings.from_env("x", servers | whole).nats_tls == papers.right()
    assert Settings.from_env("x", servers).nats_tls is None
    serving = {"GIHAN_CERT_FILE": certificate, "GIHAN_KEY_FILE": key, "GIHAN_CLIENT_CA_FILE": str(papers.ca)}
    assert Settings.from_env("x", servers | serving).http_tls == Served(*papers.client, papers.ca)
    for missing in ("NATS_KEY_FILE", "NATS_CERT_FILE", "NATS_CA_FILE"):
        with pytest.raises(SettingsError, match="NATS_CERT_FILE wants"):
            Settings.from_env("x", servers | {name: value for name, value in whole.items() if name != missing})
    for missing in ("GIHAN_KEY_FILE", "GIHAN_CERT_FILE"):
        with pytest.raises(SettingsError, match="go together"):
            Settings.from_env("x", servers | {name: value for name, value in serving.items() if name != missing})
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(TlsError, match=r"empty.pem cannot be used for TLS"):
        Tls(tmp_path / "empty.pem").client()
