"""The connection to NATS, atomic batches, and the check of the streams.

The one rule it protects: nothing counts as written before the log has said so, and no process runs on a log
that is lazy, or other than the table of streams says.
"""

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, cast
from uuid import uuid4

import httpx
from nats.aio.client import Client, Server
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StoreCompression, StreamConfig
from nats.js.errors import NotFoundError

from contracts.nkeys import Nkey, is_seed
from contracts.streams import Stream
from services.chassis.failpoints import failpoint
from services.chassis.logs import OperatorError, error_code, get_logger
from services.chassis.settings import Settings
from services.chassis.wire import Wire

BATCH_LIMIT = 999
"""Messages in one atomic batch beside its marker; the server takes 1,000."""

UUID_KEY = "gihan_uuid"
"""Key of the stream's own id in its metadata: a stream made anew under an old name is another log."""

_WRONG_LAST_SEQUENCE = 10071
_CONNECT_PATIENCE_SECONDS = 30
_RECONNECT_SECONDS = 0.25
_PATIENCE_SECONDS, _IMPATIENCE_SECONDS, _RECENTLY_SECONDS = 5.0, 2.0, 20.0
_REMEMBERED_SECONDS = 10.0
_UNAVAILABLE, _HEAD_BYTES = b'"code":503', 200
_UNAUTHORIZED = "authorization violation"
_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([\w.*>$-]+)', re.IGNORECASE)


class BrokerError(OperatorError):
    """NATS cannot be reached, or its streams or settings are not those that Gihan needs."""


class BatchRefused(OperatorError):
    """Nothing of the batch was stored: the marker's subject no longer ends at the expected sequence.

    Somebody else has written; read the marker (last_message) to see who.
    """


class BatchUnknown(OperatorError):
    """Whether the batch was stored is not known, or it failed for a cause that may pass. Read the marker."""


class Connection(Wire):
    """A connection to one server of several, which leaves one that cannot reach the log.

    A server cut off from the others keeps its clients and answers their pings, but stores nothing: without a move of
    ours they would stay with it until the network is mended.
    """

    def __init__(self, nkey: Nkey | None = None) -> None:
        super().__init__()
        if nkey is not None:
            self._public_nkey = nkey.public  # the library would set it itself, with a package that has no wheel
        self._failures: deque[float] = deque()
        self._moved_at = float("-inf")

    async def request(self, *arguments: Any, **named: Any) -> Msg:
        """As the library's; but where requests come to nothing for a while, the connection moves on.

        What succeeds in between counts for nothing: a leader that was cut off still answers what it can read.
        """
        try:
            answer = await super().request(*arguments, **named)
        except (NatsTimeout, NoRespondersError):
            await self.failed()
            raise
        if _UNAVAILABLE in answer.data[:_HEAD_BYTES]:
            await self.failed()
        return answer

    async def failed(self) -> None:
        """Notes that something came to nothing here, and moves on where that has gone on for long enough."""
        now = time.monotonic()
        self._failures.append(now)
        while now - self._failures[0] > _REMEMBERED_SECONDS:
            self._failures.popleft()
        # At first the server may be well and only waiting for a leader, which takes up to nine seconds. Where it has
        # moved shortly before, perhaps for nothing, there is less time to lose.
        if now - self._moved_at > _RECENTLY_SECONDS:
            hopeless = now - self._failures[0] >= _PATIENCE_SECONDS
        else:
            hopeless = now - self._moved_at >= _IMPATIENCE_SECONDS
        if hopeless and len(self.servers) > 1:
            self._failures.clear()
            self._moved_at = now
            get_logger().warning("nats_server_left")
            await self.force_reconnect()

    async def _attempt_reconnect(self) -> None:
        """As the library's, which first waits until all that was written is taken: a frozen server never takes it."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        await super()._attempt_reconnect()

    def next_server(self, servers: list[Server], _: dict[str, Any]) -> tuple[Server, float]:
        """The server after the last one that was tried, and how many seconds to wait before it is."""
        addresses = [server.uri.netloc for server in servers]
        last = self._current_server.uri.netloc if self._current_server else ""
        return servers[(addresses.index(last) + 1) % len(servers) if last in addresses else 0], _RECONNECT_SECONDS


async def connect(settings: Settings) -> Connection:
    """A connection that reconnects for ever and finds a silent server within four to six seconds.

    Raises BrokerError when the first connection does not come about within 30 seconds.
    """
    servers, user, password = settings.nats_login()
    nkey = Nkey.of_seed(password) if password and is_seed(password) else None
    nc = Connection(nkey)
    log = get_logger(to=",".join(servers))
    last_error = "no answer"

    async def on_error(error: Exception) -> None:
        nonlocal last_error
        if last_error != _UNAUTHORIZED:  # the server hangs up after it has said so, which says less
            last_error = _UNAUTHORIZED if _UNAUTHORIZED in str(error).lower() else error_code(error)
        denied = _DENIED.search(str(error))
        if denied:
            # The server's only word on a forbidden subject: to the caller it looks like silence.
            log.error("nats_denied", kind=denied[1].lower(), subject=denied[2])
        elif not isinstance(error, OSError):
            log.warning("nats_error", error=error_code(error))

    async def on_disconnect() -> None:
        if not nc.is_closed:
            log.warning("nats_disconnected")

    async def on_reconnect() -> None:
        log.warning("nats_reconnected")

    async def on_close() -> None:
        # Without an error it was we who closed; with one the server will not have us back.
        if nc.last_error is not None:
            log.error("nats_closed", error=error_code(nc.last_error))

    try:
        async with asyncio.timeout(_CONNECT_PATIENCE_SECONDS):
            await nc.connect(
                servers,
                user=user or (nkey.public if nkey else None),
                password=None if nkey else password,
                signature_cb=nkey.signature if nkey else None,
                tls=settings.nats_tls.client() if settings.nats_tls else None,
                tls_handshake_first=settings.nats_tls is not None,
                name=f"gihan/{settings.service}",
                connect_timeout=2,
                reconnect_time_wait=_RECONNECT_SECONDS,  # type: ignore[arg-type]  # a fraction is meant, and works
                reconnect_to_server_handler=nc.next_server,
                max_reconnect_attempts=-1,
                ping_interval=2,
                max_outstanding_pings=2,
                inbox_prefix=f"_INBOX_{settings.service.replace('.', '_')}".encode(),
                pending_size=16 << 20,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                closed_cb=on_close,
            )
            return nc
    except (NatsError, OSError, TimeoutError) as error:
        cause = last_error if isinstance(error, TimeoutError) else error_code(error)
        raise BrokerError(
            f"NATS at {', '.join(servers)} cannot be reached or does not let user {user or '(none)'} in "
            f"({cause}). "
            "Look at NATS_URL, at the key or password, and at whether the server runs."
        ) from None


async def publish_batch(
    nc: Client,
    messages: Sequence[tuple[str, bytes]],
    marker: tuple[str, bytes],
    expected: int,
    timeout_seconds: float = 2.5,
) -> int:
    """Appends (subject, data) messages and their marker, all or none; returns the marker's stream sequence.

    `expected` is the sequence of the last message on the marker's subject, 0 where there is none. Raises
    BatchRefused when that is no longer so, and BatchUnknown when there was no clear answer.
    """
    if len(messages) > BATCH_LIMIT:
        raise ValueError(f"a batch holds at most {BATCH_LIMIT} messages beside its marker")
    if not nc.is_connected:
        # Published now, it would wait in the client's buffer and be stored at some later time.
        raise BatchUnknown("Not connected to NATS; nothing was sent. Try again once the connection is back.")
    batch = uuid4().hex
    try:
        await cast(Wire, nc).send_batch(batch, messages)
        await failpoint("batch.before_marker")
        reply = await nc.request(
            marker[0],
            marker[1],
            timeout=timeout_seconds,
            headers={
                "Nats-Batch-Id": batch,
                "Nats-Batch-Sequence": str(len(messages) + 1),
                "Nats-Batch-Commit": "1",
                "Nats-Expected-Last-Subject-Sequence": str(expected),
            },
        )
        answer = json.loads(reply.data)
    except (NatsError, OSError, TimeoutError, ValueError) as error:
        raise BatchUnknown(f"No answer to a batch on {marker[0]} ({error_code(error)}).") from None
    failure = answer.get("error")
    if failure and failure.get("err_code") == _WRONG_LAST_SEQUENCE:
        raise BatchRefused(f"{marker[0]} does not end at sequence {expected}: another writer was there.")
    if failure or answer.get("count") != len(messages) + 1:
        code = (failure or {}).get("err_code", "wrong count")
        if isinstance(nc, Connection):
            await nc.failed()
        raise BatchUnknown(f"The log did not take a batch on {marker[0]} (error {code}).")
    return int(answer["seq"])


async def last_message(nc: Client, stream: str, subject: str) -> tuple[int, bytes] | None:
    """(sequence, data) of the last message on `subject`, which may hold wildcards; None where there is none.

    Asked of the stream's leader, so it is never older than what was acknowledged. Raises TimeoutError or a
    NATS error.
    """
    try:
        found = await nc.jetstream(timeout=1).get_last_msg(stream, subject)
    except NotFoundError:
        return None
    return found.seq or 0, found.data or b""


def stream_config(stream: Stream, replicas: int = 1) -> StreamConfig:
    """A row of the table of streams as the server's configuration, with all that is off said to be off."""
    return StreamConfig(
        name=stream.name,
        description=stream.description,
        subjects=list(stream.subjects),
        retention=RetentionPolicy(stream.retention),
        discard=DiscardPolicy(stream.discard),
        storage=StorageType(stream.storage),
        max_age=stream.max_age_seconds,
        max_bytes=stream.max_bytes,
        max_msgs=stream.max_msgs,
        max_consumers=-1,
        duplicate_window=stream.duplicate_window_seconds,
        deny_delete=stream.deny_delete,
        deny_purge=stream.deny_purge,
        allow_atomic=stream.allow_atomic,
        allow_direct=stream.allow_direct,
        num_replicas=replicas,
        compression=StoreCompression.NONE,
    )


def differing(expected: StreamConfig, actual: StreamConfig) -> Iterator[tuple[str, Any, Any]]:
    """(field, wanted, found) where they differ; subjects as sets. Description, metadata and placement are the
    operator's own."""
    free = {"name", "description", "metadata", "placement", "consumer_limits", "first_seq"}
    for field, wanted in vars(expected).items():
        found = getattr(actual, field)
        if field == "subjects":
            wanted, found = frozenset(wanted or ()), frozenset(found or ())
        if field not in free and (wanted or None) != (found or None):
            yield field, _plain(wanted), _plain(found)


def difference(expected: StreamConfig, field: str, wanted: Any, found: Any) -> str:
    """What differs in one field, in words."""
    if field == "subjects":
        return f"{expected.name}: subjects missing {sorted(wanted - found)}, not ours {sorted(found - wanted)}"
    return f"{expected.name}: {field} is {found}, must be {wanted}"


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)


async def check(nc: Client, monitor_url: str | None, expected: Sequence[Stream], replicas: int = 1) -> dict[str, str]:
    """Compares the server with the table of streams; returns each stream's own id, by name.

    Raises BrokerError that says what differs and what to run, when a stream is missing or other than the
    table says, has no id, or the server does not write through to the disk (`sync_interval: always`).
    """
    await check_sync(monitor_url)
    lines: list[str] = []
    ids: dict[str, str] = {}
    for stream in expected:
        try:
            config = (await nc.jetstream().stream_info(stream.name)).config
        except NotFoundError:
            lines.append(f"{stream.name}: does not exist")
            continue
        except (NatsError, TimeoutError) as error:
            raise BrokerError(
                f"NATS did not tell about stream {stream.name} ({error_code(error)}). Look at whether "
                "JetStream runs "
                "and whether this user may ask."
            ) from None
        expected_config = stream_config(stream, replicas)
        lines += [difference(expected_config, *differs) for differs in differing(expected_config, config)]
        ids[stream.name] = (config.metadata or {}).get(UUID_KEY, "")
        if not ids[stream.name]:
            lines.append(f"{stream.name}: has no {UUID_KEY} in its metadata")
    if lines:
        raise BrokerError(
            "The streams are not those that this version needs:\n  " + "\n  ".join(lines) + "\n"
            "Run `gihan provision` for streams that are missing, and after a new release `gihan provision --upgrade` "
            "for what it adds to those that exist (--dry-run shows it). All else was changed by somebody and is for "
            "an operator to decide: it is never changed silently."
        )
    return ids


async def check_sync(monitor_url: str | None) -> None:
    """Raises BrokerError unless every server says that it syncs every write (`sync_interval: always`).

    In a cluster a server may be away, and is not asked then: one that answers is enough to start with.
    """
    if monitor_url is None:
        raise BrokerError(
            "NATS_MONITOR_URL is not set, so whether the log is written through to the disk cannot be "
            "checked. "
            "Set it to the http address of nats-server's monitoring, for example http://127.0.0.1:8222."
        )
    silent: dict[str, str] = {}
    addresses = [address.strip() for address in monitor_url.split(",")]
    async with httpx.AsyncClient(timeout=5 if len(addresses) == 1 else 2, trust_env=False) as http:
        for address in addresses:
            try:
                answer = (await http.get(f"{address}/varz")).raise_for_status().json()
            except (httpx.HTTPError, ValueError) as error:
                silent[address] = error_code(error)
                continue
            if not (answer.get("jetstream") or {}).get("config", {}).get("sync_always"):
                raise BrokerError(
                    f"nats-server (monitored at {address}) keeps written data in memory for up to two minutes, and "
                    "a power cut would lose what was acknowledged. Set `sync_interval: always` in the jetstream "
                    "block of its configuration and restart it."
                )
    if silent.keys() == set(addresses):
        raise BrokerError(
            f"The monitoring of nats-server does not answer at {monitor_url} ({', '.join(set(silent.values()))}). "
            "Look at NATS_MONITOR_URL and at `http` in the server's configuration."
        )
    for address, code in silent.items():
        get_logger().warning("nats_server_away", to=address, error=code)
