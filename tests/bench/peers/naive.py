"""The naive pipeline: FastStream, one message, one transaction.

`python -m tests.bench.peers.naive STREAM ordered|lanes`: one subscriber for all, or one for each partition, side by
side. Both keep the order within a partition; handlers that run at once on one subscription would not.
"""

import asyncio
import logging
import sys
from collections.abc import Sequence

from faststream import AckPolicy
from faststream.nats import JStream, NatsMessage
from nats.js.api import DeliverPolicy

from contracts.streams import PARTITIONS
from tests.bench.peers.projection import Rules, SignedIn, connect_pool, place_of, run, take


async def main(arguments: Sequence[str]) -> None:
    """Consumes until ended."""
    stream, setting = arguments
    lanes = range(PARTITIONS) if setting == "lanes" else ["*"]
    pool = await connect_pool(len(lanes))
    rules = Rules()
    broker = SignedIn(log_level=logging.ERROR, apply_types=False)

    async def handle(message: NatsMessage) -> None:
        raw = message.raw_message
        assert not isinstance(raw, list)
        async with pool.acquire() as connection, connection.transaction():
            await take(connection, rules, place_of(raw.subject), raw.metadata.sequence.stream, raw.data)

    for lane in lanes:
        broker.subscriber(
            f"{stream.lower()}.{lane}.>",
            stream=JStream(stream, declare=False),
            durable=f"naive-{lane if lane != '*' else 'all'}",
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.NACK_ON_ERROR,
            decoder=_whole,
        )(handle)
    await broker.start()
    await asyncio.Event().wait()


async def _whole(message: NatsMessage) -> NatsMessage:
    return message  # subject and sequence are wanted, and no model is to be made of the body


if __name__ == "__main__":
    run(main, sys.argv[1:])
