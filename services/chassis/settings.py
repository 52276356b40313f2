"""Settings of a process: read once from the environment, then frozen.

The one rule it protects: nothing else reads the environment, and a secret is never printed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import unquote, urlsplit, urlunsplit

from contracts.streams import PARTITIONS
from services.chassis.logs import OperatorError
from services.chassis.tls import Served, Tls

ROOT = Path(__file__).parents[2]


class SettingsError(OperatorError):
    """A setting is missing or has a form that cannot be used; names the variable, never its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a process has been told. Addresses may hold a password and stay out of repr()."""

    nats_url: str = field(repr=False)
    """[NATS_URL] one or more addresses, parted by commas; user and password inside."""
    database_url: str = field(repr=False)
    """[DATABASE_URL] postgresql://user:password@host/database."""
    nats_password: str | None = field(default=None, repr=False)
    """Content of [NATS_PASSWORD_FILE], the seed of an nkey or a password; goes before a password in the address."""
    database_password: str | None = field(default=None, repr=False)
    """Content of [DATABASE_PASSWORD_FILE]; goes before a password in the address."""
    nats_monitor_url: str | None = None
    """[NATS_MONITOR_URL] http address of nats-server's monitoring, for the check of `sync_interval`; of a cluster, the
    addresses of all, parted by commas."""
    replicas: int = 1
    """[GIHAN_REPLICAS] on how many nats-servers each stream is kept: 1, 3 or 5."""
    nats_tls: Tls | None = None
    """[NATS_CA_FILE], and for mutual TLS [NATS_CERT_FILE] and [NATS_KEY_FILE]. The server must have
    `handshake_first: true` in its tls block: so it cannot be talked out of TLS."""
    database_tls: Tls | None = None
    """[DATABASE_CA_FILE], and for mutual TLS [DATABASE_CERT_FILE] and [DATABASE_KEY_FILE]."""
    http_tls: Served | None = None
    """[GIHAN_CERT_FILE] and [GIHAN_KEY_FILE] to serve HTTP by; with [GIHAN_CLIENT_CA_FILE] to those alone who have a
    certificate of that authority."""
    service: str = "gihan"
    """[GIHAN_SERVICE] name of the process; also of its NATS inbox and its PostgreSQL application_name."""
    host: str = "127.0.0.1"
    """[GIHAN_HOST] address to serve HTTP on."""
    port: int = 8000
    """[GIHAN_PORT] port to serve HTTP on."""
    status_token: str | None = field(default=None, repr=False)
    """Content of [GIHAN_STATUS_TOKEN_FILE], with which /status and /metrics are asked for; without it they are told to
    this machine alone."""
    vault_keys: Path | None = None
    """[GIHAN_VAULT_KEYS] folder of the vault's master keys, a file of 32 bytes for each date, and of its erasures."""
    vault_keep_days: int = 4
    """[GIHAN_VAULT_KEEP_DAYS] for how many days a master key is kept after the next day's took its place: so long a
    backup can be read. With 4, what is erased is gone from every backup within five days."""
    pages_key_file: Path | None = None
    """[GIHAN_PAGES_KEY_FILE] file of 32 bytes that signs links to cases; without it there are no pages for citizens."""
    public_url: str | None = None
    """[GIHAN_PUBLIC_URL] where citizens reach their pages, such as https://minwon.example; without it messages hold no
    links."""
    tenants_file: Path = ROOT / "deploy" / "tenants.yaml"
    """[GIHAN_TENANTS_FILE]"""
    http_rate: float = 3_000.0
    """[GIHAN_HTTP_RATE] requests a second that one caller may send, 1 at least."""
    http_concurrency: int = 512
    """[GIHAN_HTTP_CONCURRENCY] requests of one caller that may be under way at a time."""
    oidc_issuer: str | None = None
    """[GIHAN_OIDC_ISSUER] who signs the tokens of the municipality's staff; without it only API keys count."""
    oidc_audience: str | None = None
    """[GIHAN_OIDC_AUDIENCE] what tokens for Gihan name as their audience."""
    oidc_keys: str | None = None
    """[GIHAN_OIDC_KEYS] the issuer's public keys (JWKS): a file, or an http address."""
    oidc_source: str = "desk"
    """[GIHAN_OIDC_SOURCE] the publishing system that staff with a token stand for."""
    oidc_client: str | None = None
    """[GIHAN_OIDC_CLIENT] by which name the issuer knows the desk: the audience of tokens that sign staff in there."""
    oidc_secret: str | None = field(default=None, repr=False)
    """Content of [GIHAN_OIDC_SECRET_FILE], where the issuer wants more of the desk than its name."""
    desk_url: str | None = None
    """[GIHAN_DESK_URL] how browsers reach the notifier, such as https://desk.seoul.example; plain http on this machine
    alone. Without it there is no desk."""
    smtp_url: str | None = field(default=None, repr=False)
    """[SMTP_URL] such as smtp://127.0.0.1:2525."""
    sms_url: str | None = field(default=None, repr=False)
    """[SMS_URL] http address of the development gateway for text messages."""
    gateways_file: Path | None = None
    """[GIHAN_GATEWAYS_FILE] YAML file that describes the gateways for messages; see docs/delivery.md."""
    reports_key_file: Path | None = None
    """[GIHAN_REPORTS_KEY_FILE] file of 32 bytes that makes the marks by which reports on messages are known to be true;
    without it none is taken in."""
    bounces: Path | None = None
    """[GIHAN_BOUNCES] Maildir into which the mail server puts what comes back."""
    clock: Literal["real", "stepped"] = "real"
    """[GIHAN_CLOCK] whose time holds: the machine's, or the row that a driver steps."""
    partitions: frozenset[int] = frozenset(range(PARTITIONS))
    """[GIHAN_PARTITIONS] where several sla_timer share the work: which partitions this one goes for at once, such as
    0-7. The others it takes only where nobody else does."""
    slice_cases: int = 1000
    """[GIHAN_SLICE_CASES] so many cases touched by one event go into one transaction; more take several."""
    settle_seconds: float = 1.0
    """[GIHAN_SETTLE_SECONDS] how long after a due instant its tick is written; 0 when stepped."""
    log_level: str = "info"
    """[GIHAN_LOG_LEVEL] debug, info, warning or error."""
    failpoints: str | None = None
    """[GIHAN_FAILPOINTS] faults for tests: name:action[:probability], parted by commas; see chassis/failpoints.py."""
    failpoints_folder: Path | None = None
    """[GIHAN_FAILPOINTS_FOLDER] folder of faults that happen once, a file each, below a folder per service."""
    failpoints_allowed: bool = False
    """[GIHAN_FAILPOINTS_ALLOWED] `yes` where this process may be made to fail on purpose."""

    @classmethod
    def from_env(cls, service: str | None = None, env: Mapping[str, str] | None = None) -> "Settings":
        """The settings in `env` (default: the process environment). Raises SettingsError naming the variable."""
        env = os.environ if env is None else env
        clock = env.get("GIHAN_CLOCK", "real")
        if clock not in ("real", "stepped"):
            raise SettingsError("GIHAN_CLOCK must be `real` or `stepped`.")
        level = env.get("GIHAN_LOG_LEVEL", "info").lower()
        if level not in ("debug", "info", "warning", "error"):
            raise SettingsError("GIHAN_LOG_LEVEL must be debug, info, warning or error.")
        return cls(
            nats_url=_required(env, "NATS_URL", "nats://user:password@host:4222"),
            database_url=_required(env, "DATABASE_URL", "postgresql://user:password@host/database"),
            nats_password=_secret(env, "NATS_PASSWORD_FILE"),
            database_password=_secret(env, "DATABASE_PASSWORD_FILE"),
            nats_monitor_url=env.get("NATS_MONITOR_URL"),
            nats_tls=_tls(env, "NATS"),
            database_tls=_tls(env, "DATABASE"),
            http_tls=_serving(env),
            replicas=replicas(env),
            service=service or env.get("GIHAN_SERVICE", "gihan"),
            host=env.get("GIHAN_HOST", "127.0.0.1"),
            port=int(_number(env, "GIHAN_PORT", "8000")),
            status_token=_secret(env, "GIHAN_STATUS_TOKEN_FILE"),
            vault_keys=_path(env, "GIHAN_VAULT_KEYS"),
            vault_keep_days=int(_number(env, "GIHAN_VAULT_KEEP_DAYS", "4")),
            pages_key_file=_path(env, "GIHAN_PAGES_KEY_FILE"),
            public_url=_public(env, "GIHAN_PUBLIC_URL"),
            tenants_file=_path(env, "GIHAN_TENANTS_FILE") or ROOT / "deploy" / "tenants.yaml",
            http_rate=max(1.0, _number(env, "GIHAN_HTTP_RATE", "3000")),
            http_concurrency=int(_number(env, "GIHAN_HTTP_CONCURRENCY", "512")),
            oidc_issuer=_public(env, "GIHAN_OIDC_ISSUER"),
            oidc_audience=env.get("GIHAN_OIDC_AUDIENCE"),
            oidc_keys=env.get("GIHAN_OIDC_KEYS"),
            oidc_source=env.get("GIHAN_OIDC_SOURCE", "desk"),
            oidc_client=env.get("GIHAN_OIDC_CLIENT"),
            oidc_secret=_secret(env, "GIHAN_OIDC_SECRET_FILE"),
            desk_url=_public(env, "GIHAN_DESK_URL"),
            smtp_url=env.get("SMTP_URL"),
            sms_url=env.get("SMS_URL"),
            gateways_file=_path(env, "GIHAN_GATEWAYS_FILE"),
            reports_key_file=_path(env, "GIHAN_REPORTS_KEY_FILE"),
            bounces=_path(env, "GIHAN_BOUNCES"),
            clock=cast(Literal["real", "stepped"], clock),
            partitions=_partitions(env),
            slice_cases=max(1, int(_number(env, "GIHAN_SLICE_CASES", "1000"))),
            settle_seconds=_number(env, "GIHAN_SETTLE_SECONDS", "0" if clock == "stepped" else "1"),
            log_level=level,
            failpoints=env.get("GIHAN_FAILPOINTS") or None,
            failpoints_folder=_path(env, "GIHAN_FAILPOINTS_FOLDER"),
            failpoints_allowed=env.get("GIHAN_FAILPOINTS_ALLOWED") == "yes",
        )

    def nats_login(self) -> tuple[list[str], str | None, str | None]:
        """(addresses without credentials, user, password), so that no address in an error holds a password."""
        servers, user, password = [], None, self.nats_password
        for address in self.nats_url.split(","):
            url = urlsplit(address.strip())
            user = user or (unquote(url.username) if url.username else None)
            password = password or (unquote(url.password) if url.password else None)
            servers.append(urlunsplit((url.scheme, url.netloc.rpartition("@")[2], "", "", "")))
        return servers, user, password


def passwords_in(env: Mapping[str, str]) -> list[str]:
    """The variables whose address holds a password, where every process of this user can read it."""
    named = ("NATS_URL", "DATABASE_URL", "SMTP_URL")
    return [name for name in named if any(urlsplit(one).password for one in env.get(name, "").split(","))]


def of_others(env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """How to come in at servers that are not ours, for Settings made by hand: nothing where the environment names none.

    Raises SettingsError.
    """
    env = os.environ if env is None else env
    found: dict[str, Any] = {}
    if env.get("NATS_URL"):
        found |= {"nats_password": _secret(env, "NATS_PASSWORD_FILE"), "nats_tls": _tls(env, "NATS")}
    if env.get("DATABASE_URL"):
        found |= {"database_password": _secret(env, "DATABASE_PASSWORD_FILE"), "database_tls": _tls(env, "DATABASE")}
    return found


def replicas(env: Mapping[str, str]) -> int:
    """On how many nats-servers each stream is kept. Raises SettingsError."""
    value = env.get("GIHAN_REPLICAS", "1")
    if value not in ("1", "3", "5"):
        raise SettingsError("GIHAN_REPLICAS must be 1, 3 or 5: an even number of servers outlives no more of them.")
    return int(value)


def _required(env: Mapping[str, str], name: str, example: str) -> str:
    if not env.get(name):
        raise SettingsError(f"{name} is not set. Set it, for example to {example}, or start with `gihan up`.")
    return env[name]


def _number(env: Mapping[str, str], name: str, default: str) -> float:
    try:
        value = float(env.get(name, default))
    except ValueError:
        raise SettingsError(f"{name} must be a number.") from None
    if value < 0:
        raise SettingsError(f"{name} must not be negative.")
    return value


def _partitions(env: Mapping[str, str]) -> frozenset[int]:
    first, dash, last = env.get("GIHAN_PARTITIONS", f"0-{PARTITIONS - 1}").partition("-")
    try:
        chosen = frozenset(range(int(first), int(last if dash else first) + 1))
    except ValueError:
        chosen = frozenset()
    if not chosen or not chosen <= frozenset(range(PARTITIONS)):
        raise SettingsError(f"GIHAN_PARTITIONS must be a range within 0-{PARTITIONS - 1}, such as 0-7.")
    return chosen


def _public(env: Mapping[str, str], name: str) -> str | None:
    """An address of the web, to which secrets are sent: https, or plain http where it cannot leave this machine."""
    value = env.get(name, "").rstrip("/")
    if not value:
        return None
    url = urlsplit(value)
    if not url.hostname or url.scheme not in ("https", "http") or not value.isascii() or url.username:
        raise SettingsError(f"{name} must be an https address in ASCII, without a user.")
    here = ("127.0.0.1", "::1", "localhost")
    if url.scheme == "http" and url.hostname not in here:
        raise SettingsError(f"{name} must begin with https://; plain http is for this machine alone.")
    if url.scheme == "http" and env.get("GIHAN_HOST", "127.0.0.1") not in here:
        raise SettingsError(f"{name} is of this machine alone, and GIHAN_HOST serves others: name it with https://.")
    return value


def _path(env: Mapping[str, str], name: str) -> Path | None:
    return Path(env[name]) if env.get(name) else None


def _tls(env: Mapping[str, str], server: str) -> Tls | None:
    ca, certificate, key = (_path(env, f"{server}_{name}_FILE") for name in ("CA", "CERT", "KEY"))
    if (certificate is None) != (key is None) or (certificate is not None and ca is None):
        raise SettingsError(f"{server}_CERT_FILE wants {server}_KEY_FILE and {server}_CA_FILE beside it.")
    return None if ca is None else Tls(ca, certificate, key)


def _serving(env: Mapping[str, str]) -> Served | None:
    certificate, key, ca = (_path(env, f"GIHAN_{name}_FILE") for name in ("CERT", "KEY", "CLIENT_CA"))
    if (certificate is None) != (key is None) or (certificate is None and ca is not None):
        raise SettingsError("GIHAN_CERT_FILE and GIHAN_KEY_FILE go together, and GIHAN_CLIENT_CA_FILE with both.")
    return None if certificate is None or key is None else Served(certificate, key, ca)


def _secret(env: Mapping[str, str], name: str) -> str | None:
    path = _path(env, name)
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"The file named by {name} cannot be read ({error.strerror}).") from None
