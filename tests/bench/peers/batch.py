"""The batch pipeline: FastStream hands over a thousand messages at a time; one transaction writes what follows.

`python -m tests.bench.peers.batch STREAM`: what one does to a naive pipeline first. Cases are loaded with one query,
written with one, acknowledged after the commit.
"""

import asyncio
import logging
import sys
from collections.abc import Sequence
from typing import Any

import asyncpg
from faststream import AckPolicy
from faststream.nats import JStream, NatsMessage, PullSub
from nats.aio.msg import Msg
from nats.js.api import AckPolicy as NatsAckPolicy
from nats.js.api import ConsumerConfig, DeliverPolicy

from services.rules.facts import Event, decode_event
from services.rules.state import Case
from tests.bench.peers.projection import (
    DUE,
    MOVE,
    Changed,
    Rules,
    SignedIn,
    case_row,
    concerns,
    connect_pool,
    decision_rows,
    decode_case,
    place_of,
    run,
)

BATCH = 1000
_LOAD = (
    "select state from rival.cases join unnest($1::text[], $2::text[]) as k (tenant, case_id) using (tenant, case_id)"
)
_SAVE = (
    "insert into rival.cases select * from unnest($1::text[], $2::text[], $3::smallint[], $4::bytea[], $5::bool[], "
    "$6::bigint[]) on conflict (tenant, case_id) do update set state = excluded.state, closed = excluded.closed, "
    "next_at = excluded.next_at"
)
_DECIDE = (
    "insert into rival.decisions (partition, cause_sequence, tenant, case_id, kind, promise, occurrence, due, at, "
    "subject, body) select * from unnest($1::smallint[], $2::bigint[], $3::text[], $4::text[], $5::text[], "
    "$6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::text[], $11::bytea[])"
)

CaseKey = tuple[str, str]


class Batch:
    """The messages of one transaction: what was loaded, what has changed."""

    def __init__(self, connection: asyncpg.Connection, rules: Rules) -> None:
        self._connection = connection
        self._rules = rules
        self._cases: dict[CaseKey, Case] = {}
        self._unsaved: dict[CaseKey, int] = {}
        self._decided: list[tuple[Any, ...]] = []
        self._positions: dict[int, int] = {}

    async def take(self, messages: Sequence[Msg]) -> None:
        """Loads, decides, writes. Time that passes must see what came before it."""
        entries = [
            (place_of(message.subject), message.metadata.sequence.stream, decode_event(message.data))
            for message in messages
        ]
        await self._load({(event.tenant, event.case_id) for _, _, event in entries})
        for number, sequence, event in entries:
            changed: Changed = []
            if event.type == "clock.advanced":
                changed = await self._let_pass(number, event)
            elif key := concerns(number, event, self._rules, sequence):
                changed = [self._rules.decide(number, self._cases.get(key) or Case(*key), event, sequence)]
            for case, _ in changed:
                self._cases[case.tenant, case.id] = case
                self._unsaved[case.tenant, case.id] = number
            self._decided += decision_rows(number, sequence, changed)
            self._positions[number] = sequence
        await self._save()
        await self._connection.execute(_DECIDE, *_columns(self._decided, 11))
        await self._connection.executemany(MOVE, list(self._positions.items()))

    async def _let_pass(self, number: int, event: Event) -> Changed:
        if number in self._unsaved.values():
            await self._save()
        rows = await self._connection.fetch(DUE, number, self._rules.pass_to(number, event))
        return [self._rules.let_pass(number, decode_case(row["state"])) for row in rows]

    async def _load(self, keys: set[CaseKey]) -> None:
        rows = await self._connection.fetch(_LOAD, *_columns(sorted(keys), 2))
        for case in (decode_case(row["state"]) for row in rows):
            self._cases[case.tenant, case.id] = case

    async def _save(self) -> None:
        rows = [case_row(number, self._cases[key]) for key, number in sorted(self._unsaved.items())]
        await self._connection.execute(_SAVE, *_columns(rows, 6))
        self._unsaved.clear()


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(width)]


async def main(arguments: Sequence[str]) -> None:
    """Consumes until ended."""
    (stream,) = arguments
    pool = await connect_pool(1)
    rules = Rules()
    broker = SignedIn(log_level=logging.ERROR, apply_types=False)

    @broker.subscriber(
        f"{stream.lower()}.*.>",
        stream=JStream(stream, declare=False),
        durable="batch",
        deliver_policy=DeliverPolicy.ALL,
        pull_sub=PullSub(batch_size=BATCH, timeout=0.2, batch=True),
        config=ConsumerConfig(ack_policy=NatsAckPolicy.EXPLICIT, max_ack_pending=4 * BATCH),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=_whole,
    )
    async def handle(message: NatsMessage) -> None:
        raw = message.raw_message
        assert isinstance(raw, list)
        async with pool.acquire() as connection, connection.transaction():
            await Batch(connection, rules).take(raw)

    await broker.start()
    await asyncio.Event().wait()


async def _whole(message: NatsMessage) -> NatsMessage:
    return message  # subject and sequence are wanted, and no model is to be made of the body


if __name__ == "__main__":
    run(main, sys.argv[1:])
