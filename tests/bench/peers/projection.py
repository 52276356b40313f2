"""What the rivals that fold have in common: their tables, and the rules, which are ours.

The one rule: a rival differs from us in how it reads and writes, never in what it decides. Every one calls the same
`fold` on the same events, so that its decisions can be compared with ours, row by row.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import msgspec
import uvloop
from faststream.nats import NatsBroker
from nats.aio.client import Client

from contracts import files
from contracts.streams import PARTITIONS, partition
from services.chassis import broker as chassis
from services.chassis.settings import Settings
from services.rules.facts import Event, decode_event
from services.rules.instants import Instant, of_datetime
from services.rules.routing import ALL
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case, Decision
from services.rules.stating import fact_of
from services.rules.warm import Warm
from services.rules.world import reaches_home


class SignedIn(NatsBroker):
    """FastStream on a connection that has signed in with an nkey, as our servers want it; else as FastStream has it."""

    async def _connect(self) -> Client:
        nc = await chassis.connect(Settings.from_env("bench"))
        self.config.connect(nc)
        return nc


SCHEMA = """
create schema rival;
create table rival.positions (partition smallint primary key, sequence bigint not null);
create table rival.cases (
    tenant text, case_id text, partition smallint not null, state bytea not null, closed boolean not null,
    next_at bigint, primary key (tenant, case_id)
);
create index on rival.cases (partition, next_at) where next_at is not null;
create table rival.decisions (
    id bigserial primary key, partition smallint not null, cause_sequence bigint not null, tenant text not null,
    case_id text not null, kind text not null, promise text, occurrence text, due bigint, at bigint not null,
    subject text not null, body bytea not null
);
create index on rival.decisions (tenant, case_id);
"""
"""The same rows and the same indexes as ours."""

LOAD = "select state from rival.cases where tenant = $1 and case_id = $2"
DUE = (
    "select state from rival.cases where partition = $1 and next_at < $2 "
    'order by next_at, tenant collate "C", case_id collate "C"'
)
SAVE = (
    "insert into rival.cases values ($1, $2, $3, $4, $5, $6) on conflict (tenant, case_id) do update "
    "set state = excluded.state, closed = excluded.closed, next_at = excluded.next_at"
)
DECIDE = (
    "insert into rival.decisions (partition, cause_sequence, tenant, case_id, kind, promise, occurrence, due, at, "
    "subject, body) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
)
MOVE = (
    "insert into rival.positions values ($1, $2) on conflict (partition) do update set sequence = excluded.sequence "
    "where rival.positions.sequence < excluded.sequence"
)

decode_case = msgspec.json.Decoder(Case).decode
encode = msgspec.json.Encoder().encode

Changed = list[tuple[Case, list[Decision]]]


class Rules:
    """The rules of every partition as the log enacted them, and its clock."""

    def __init__(self) -> None:
        library = Library(files.read())
        self._warm = [Warm(Rulebook(library)) for _ in range(PARTITIONS)]
        self._clocks: list[Instant] = [0] * PARTITIONS

    def pass_to(self, number: int, event: Event) -> Instant:
        """Moves the clock of a partition as a tick says."""
        assert event.data.to is not None
        self._clocks[number] = max(self._clocks[number], of_datetime(event.data.to))
        return self._clocks[number]

    def enact(self, number: int, event: Event, sequence: int) -> tuple[str, str] | None:
        """Takes an enacting event over; the case in which the tenant's duties begin, where that is here.

        A log for measuring enacts everything before its first case, so that there is none to be replanned.
        """
        if not self._warm[number].rulebook.enact(event, sequence) or not reaches_home(event):
            return None
        return (event.tenant, event.tenant) if partition(event.tenant, event.tenant) == number else None

    def decide(self, number: int, case: Case, event: Event, sequence: int) -> tuple[Case, list[Decision]]:
        """The case with one more fact, and what follows."""
        warm = self._warm[number]
        # As loaded and as last returned are equal; only the latter is read on from where it stands.
        case = warm.case((case.tenant, case.id)) or case
        return warm.fold(case, fact_of(event, sequence), self._clocks[number])[:2]

    def let_pass(self, number: int, case: Case) -> tuple[Case, list[Decision]]:
        """The case when time alone has passed."""
        warm = self._warm[number]
        return warm.fold(warm.case((case.tenant, case.id)) or case, None, self._clocks[number])[:2]


def concerns(number: int, event: Event, rules: Rules, sequence: int) -> tuple[str, str] | None:
    """The case that an event other than a tick is folded into, if any."""
    return rules.enact(number, event, sequence) if event.case_id == ALL else (event.tenant, event.case_id)


def case_row(number: int, case: Case) -> tuple[Any, ...]:
    """A case as it is kept."""
    return (case.tenant, case.id, number, encode(case), case.closed, case.next_at)


def decision_rows(number: int, sequence: int, changed: Changed) -> list[tuple[Any, ...]]:
    """Decisions as they are kept."""
    return [
        (
            *(number, sequence, case.tenant, case.id, decision.kind, decision.promise, decision.occurrence),
            *(decision.due, decision.at, f"sla.{number}.{case.tenant}.{decision.kind}", encode(decision)),
        )
        for case, decisions in changed
        for decision in decisions
    ]


async def take(connection: asyncpg.Connection, rules: Rules, number: int, sequence: int, body: bytes) -> None:
    """One message, inside the caller's transaction: loads, decides, writes, moves the position."""
    event = decode_event(body)
    changed: Changed = []
    if event.type == "clock.advanced":
        for row in await connection.fetch(DUE, number, rules.pass_to(number, event)):
            changed.append(rules.let_pass(number, decode_case(row["state"])))
    elif key := concerns(number, event, rules, sequence):
        state = await connection.fetchval(LOAD, *key)
        case = decode_case(state) if state else Case(*key)
        changed.append(rules.decide(number, case, event, sequence))
    for case, _ in changed:
        await connection.execute(SAVE, *case_row(number, case))
    if rows := decision_rows(number, sequence, changed):
        await connection.executemany(DECIDE, rows)
    await connection.execute(MOVE, number, sequence)


def place_of(subject: str) -> int:
    """The partition in a subject."""
    return int(subject.split(".", 2)[1])


async def connect_pool(size: int) -> asyncpg.Pool:
    """Connections to the database of this run; prepared statements are kept in each, as asyncpg does by itself."""
    return await asyncpg.create_pool(Settings.from_env().database_url, min_size=size, max_size=size)


def run(main: Callable[[Sequence[str]], Awaitable[None]], arguments: Sequence[str]) -> None:
    """Runs a rival until it is ended, on the same event loop as ours."""
    uvloop.install()
    with asyncio.Runner() as runner:
        runner.run(_until_ended(main, arguments))


async def _until_ended(main: Callable[[Sequence[str]], Awaitable[None]], arguments: Sequence[str]) -> None:
    await main(arguments)
    os._exit(0)
