"""Streams from before this release, brought up to it: subjects, room and copies are added.

The one rule it protects: an upgrade only adds. What could lose a message, keep it for less long or in fewer copies is
refused for all streams together, before any of them is touched.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from contracts.streams import Stream
from services.chassis import broker
from services.chassis.logs import error_code

_NO_STREAM = 10059
"""nats-server's code where there is no stream of a name."""
_SECONDS = 30
"""How long the server may take for one stream: a copy more has to find its leader."""
_NANOSECONDS = {"max_age": 1_000_000_000}
"""Fields that the server wants in another unit than the table of streams has."""
_LIMITS = ("max_age", "max_bytes", "max_msgs", "num_replicas")
"""What an upgrade may raise."""
_REASONS = {
    "subjects": "a newer Gihan, or somebody else, writes there; run that release, or have an operator look",
    "num_replicas": "an upgrade makes no fewer copies; set GIHAN_REPLICAS to what there is",
    **dict.fromkeys(("max_age", "max_bytes", "max_msgs"), "messages could be lost"),
}
_OTHERWISE = "no upgrade changes this; find out who did, and set it back"


class Change(NamedTuple):
    """What is added to one stream: in words, and its whole configuration as the server is to have it."""

    stream: str
    adds: tuple[str, ...]
    config: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.stream}: {'; '.join(self.adds)}"


async def planned(nc: Client, streams: Sequence[Stream], replicas: int) -> list[Change]:
    """What the streams that exist lack beside the table; changes nothing. Those that do not exist are passed over.

    Raises BrokerError that names everything which an upgrade does not do, and why.
    """
    changes, refused = [], []
    for stream in streams:
        config = await _config(nc, stream.name)
        if config is None:
            continue
        expected = broker.stream_config(stream, replicas)
        change, kept_out = compared(expected, config)
        refused += kept_out
        if change.adds:
            changes.append(change)
    if refused:
        raise broker.BrokerError(
            "The streams cannot be brought up to this release, and nothing was changed:\n  " + "\n  ".join(refused)
        )
    return changes


async def carry_out(nc: Client, changes: Sequence[Change]) -> None:
    """Makes the changes, stream by stream; what stands is not undone where a later one fails: run it again.

    Raises BrokerError.
    """
    for change in changes:
        answer = await _ask(nc, f"STREAM.UPDATE.{change.stream}", json.dumps(change.config).encode())
        if failure := answer.get("error"):
            raise broker.BrokerError(
                f"NATS did not change the stream {change.stream} (error {failure.get('err_code')}). Of more copies it "
                "needs as many servers, of more room as much on each disk. Then run the same again."
            )


def compared(expected: StreamConfig, config: Mapping[str, Any]) -> tuple[Change, list[str]]:
    """What is added to a stream, and in words what it has that no upgrade changes."""
    actual = StreamConfig.from_response(dict(config))
    adds, refused, wanted_config = [], [], dict(config)
    if not (actual.metadata or {}).get(broker.UUID_KEY):
        refused.append(f"{expected.name}: has no {broker.UUID_KEY} in its metadata: `gihan provision` did not make it")
    for field, wanted, found in broker.differing(expected, actual):
        if field == "subjects":
            if added := sorted(wanted - found):
                adds.append(f"subjects added {added}")
            wanted_config["subjects"] = [*config["subjects"], *added]
            allowed = not found - wanted
        else:
            allowed = field in _LIMITS and _limit(wanted) > _limit(found)
            adds.append(f"{field} from {found} to {wanted}")
            wanted_config[field] = wanted * _NANOSECONDS.get(field, 1)
        if not allowed:
            refused.append(f"{broker.difference(expected, field, wanted, found)} ({_REASONS.get(field, _OTHERWISE)})")
    return Change(str(expected.name), tuple(adds), wanted_config), refused


def _limit(value: float | None) -> float:
    """A limit as a number, where the server writes nothing, 0 or -1 for none."""
    return value if value and value > 0 else math.inf


async def _config(nc: Client, stream: str) -> dict[str, Any] | None:
    """The server's own words about a stream, with what the client library does not know of; None where it has none."""
    answer = await _ask(nc, f"STREAM.INFO.{stream}")
    failure = answer.get("error")
    if failure is None:
        return dict(answer["config"])
    if failure.get("err_code") == _NO_STREAM:
        return None
    raise broker.BrokerError(f"NATS did not tell about stream {stream} (error {failure.get('err_code')}).")


async def _ask(nc: Client, request: str, body: bytes = b"") -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads((await nc.request(f"$JS.API.{request}", body, timeout=_SECONDS)).data)
    except (NatsError, OSError, TimeoutError) as error:
        raise broker.BrokerError(
            f"NATS did not answer about its streams ({error_code(error)}). Look at whether JetStream runs and whether "
            "this user may ask; what was changed stands, and the same can be run again."
        ) from None
    return answer
