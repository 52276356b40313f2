"""What the auditor judges by: the logs, the database, the gateways' record and the publishers' own book, as read from
outside.

The one rule: reading changes nothing. The database is read in one read-only snapshot, the logs as a user who may
publish nothing, and what stands in a log is compared with what the database said before, so a running system can be
audited too.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec
from nats.aio.client import Client

from contracts import files
from services.chassis import broker, postgres
from services.chassis.clock import open_clock
from services.chassis.cursor import Entry, LogCursor
from services.chassis.logs import OperatorError
from services.chassis.settings import Settings
from services.rules import tenants as tenants_file
from services.rules.instants import Instant
from services.rules.rulebook import Library
from services.rules.state import Case
from services.rules.tenants import Tenant

STREAMS = ("CASES", "SLA", "NOTICES", "RECEIPTS", "DEAD")
BATCH_MESSAGES = 1000
READ_SECONDS = 60.0

Row = Mapping[str, Any]


class Violation(NamedTuple):
    """A guarantee that is broken, in words, with the ids by which it can be looked up."""

    invariant: str
    what: str
    where: str


class Told(NamedTuple):
    """A message of a log: where it stands, and what it says."""

    sequence: int
    subject: str
    event: dict[str, Any]
    data: bytes
    stored_at: Instant

    @classmethod
    def of(cls, entry: Entry) -> "Told":
        """An entry as read by a cursor."""
        return cls(entry.sequence, entry.subject, msgspec.json.decode(entry.data), entry.data, entry.stored_at)


class Outage(NamedTuple):
    """A disturbance of which the auditor was told, from and until when."""

    name: str
    begins: Instant
    ends: Instant


class Measure(NamedTuple):
    """Something that only somebody who was there can have measured, and what it may be at most."""

    invariant: str
    what: str
    value: float
    limit: float


@dataclass(slots=True)
class Book:
    """What publishers and bystanders noted: JSON lines, each an object with one of the keys below.

    promised: an event and the answer it got: {tenant, source, id, type, door, status, case, receipt, body}; body is
    the CloudEvent as published, status the first word of the answer (accepted, waiting, refused; left: left in INBOX);
    `sendings` says how often it was sent, `poison` that it cannot be taken in. canary: a text that must stand nowhere
    in clear. outage: {name, begins, ends} (microseconds). position: {partition, sequence, decisions}, as seen one
    after the other. measured: {invariant, what, value, limit}. erased: {tenant, subject_ref}.
    """

    promised: list[Row] = field(default_factory=list)
    canaries: list[str] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    positions: list[Row] = field(default_factory=list)
    measured: list[Measure] = field(default_factory=list)
    erased: list[Row] = field(default_factory=list)

    @classmethod
    def read(cls, lines: Iterator[str]) -> "Book":
        """The book in JSON lines. Raises ValueError with the number of a line that is none of the above."""
        book = cls()
        for number, line in enumerate(lines, 1):
            try:
                ((kind, said),) = json.loads(line).items()
                book._note(kind, said)
            except (ValueError, AttributeError, TypeError, KeyError):
                raise ValueError(f"line {number} of the book is not one of promised, canary, outage, ...") from None
        return book

    def _note(self, kind: str, said: Any) -> None:
        match kind:
            case "promised":
                self.promised.append(said)
            case "canary":
                self.canaries.append(str(said))
            case "outage":
                self.outages.append(Outage(**said))
            case "position":
                self.positions.append(said)
            case "measured":
                self.measured.append(Measure(**said))
            case "erased":
                self.erased.append(said)
            case _:
                raise KeyError(kind)


class Ends(NamedTuple):
    """The last sequence of each log, and how many messages INBOX holds."""

    cases: int
    sla: int
    notices: int
    inbox: int


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Everything that was read. Rows are those of the tables and views that they are named after.

    `before` are the ends of the logs before the database was read, `after` those when all was read; `recorded_before`
    is how many lines the gateways' record had before.
    """

    before: Ends
    after: Ends
    cases: Sequence[Told] = ()
    sla: Sequence[Told] = ()
    notices: Sequence[Told] = ()
    receipts: Sequence[Told] = ()
    dead: Sequence[Told] = ()
    reservations: Sequence[Row] = ()
    partitions: Mapping[int, Row] = field(default_factory=dict)
    decisions: Sequence[Row] = ()
    standing: Mapping[tuple[str, str], Case] = field(default_factory=dict)
    relayed: Mapping[int, int] = field(default_factory=dict)
    ledger: Sequence[Row] = ()
    attempts: Sequence[Row] = ()
    tasks: Sequence[Row] = ()
    results: Sequence[Row] = ()
    results_relayed: Mapping[int, int] = field(default_factory=dict)
    notifier: Row = field(default_factory=dict)
    people: Sequence[Row] = ()
    broken_access: Sequence[str] = ()
    record: Sequence[Row] | None = None
    recorded_before: int = 0
    in_clear: Sequence[str] = ()
    now: Instant = 0
    stepped: bool = False
    settle_seconds: float = 1.0
    library: Library = field(default_factory=lambda: Library({}))
    tenants: Mapping[str, Tenant] = field(default_factory=dict)

    def facts(self) -> Iterator[Told]:
        """The facts in CASES: no tick, no marker."""
        return (told for told in self.cases if told.subject.startswith("cases.") and "tenant" in told.event)


async def gather(settings: Settings, book: Book, gateway: Path | None = None, data: Path | None = None) -> Evidence:
    """Reads everything. `gateway` is the folder of the development gateways' record, `data` the data folder of
    embedded servers, whose files are searched for the book's canaries. Raises OperatorError."""
    nc = await broker.connect(settings)
    try:
        pool = await postgres.connect_pool(settings, max_size=2)
        try:
            before = await _ends(nc)
            recorded = 0 if gateway is None else len(_lines(gateway / "record.jsonl"))
            tables = await _tables(pool)
            # Who steps the clock leaves its mark; whoever looks from outside was not told how this was started.
            if await pool.fetchval("select now > 0 from chassis.clock"):
                settings = replace(settings, clock="stepped")
            clock = await open_clock(settings, pool)
            now = await clock.now()
        finally:
            pool.terminate()
        logs: dict[str, Any] = {stream.lower(): await read_log(nc, stream) for stream in STREAMS}
        after = await _ends(nc)
    finally:
        await nc.close()
    clear = [] if data is None else await asyncio.to_thread(lambda: list(search(data, book.canaries)))
    return Evidence(
        before=before,
        after=after,
        **logs,
        **tables,
        record=None if gateway is None else _lines(gateway / "record.jsonl"),
        recorded_before=recorded,
        in_clear=clear,
        now=now,
        stepped=settings.clock == "stepped",
        settle_seconds=settings.settle_seconds,
        library=Library(files.read()),
        tenants=tenants_file.parse(settings.tenants_file.read_bytes()),
    )


async def read_log(nc: Client, stream: str) -> list[Told]:
    """Every message of a stream up to its present end. Raises OperatorError where the server falls silent."""
    state = (await nc.jetstream().stream_info(stream)).state
    told: list[Told] = []
    try:
        async with asyncio.timeout(READ_SECONDS), LogCursor(nc, stream=stream, after=0) as cursor:
            while state.messages and (not told or told[-1].sequence < state.last_seq):
                told += map(Told.of, await cursor.read(BATCH_MESSAGES, 1.0))
    except TimeoutError:
        raise OperatorError(f"{stream} was not read to its end within {READ_SECONDS:.0f} s. Look at NATS.") from None
    return told


async def _ends(nc: Client) -> Ends:
    states = [(await nc.jetstream().stream_info(name)).state for name in ("CASES", "SLA", "NOTICES", "INBOX")]
    cases, sla, notices = (state.last_seq for state in states[:3])
    return Ends(cases, sla, notices, states[3].messages)


async def _tables(pool: asyncpg.Pool) -> dict[str, Any]:
    """What the database says at one instant."""
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):

        async def rows(query: str) -> list[Row]:
            return [dict(row) for row in await connection.fetch(query, timeout=READ_SECONDS)]

        await connection.execute("set local statement_timeout = '60s'")
        states = await rows("select state from sla_timer.cases")
        cases = [msgspec.json.decode(row["state"], type=Case) for row in states]
        partitions = await rows("select * from sla_timer.partitions")
        (notifier,) = await rows("select * from read.notifier")
        return {
            "reservations": await rows(
                "select f.*, r.subjects, r.bodies, r.content_hash is null as erased from read.event_fate f "
                "join intake.reservations r using (tenant, source, id)"
            ),
            "partitions": {row["partition"]: row for row in partitions},
            "decisions": await rows(
                "select lane, number, subject, body, tenant, case_id, kind, coalesce(promise, '') as promise, "
                "coalesce(occurrence, '') as occurrence, due, at, cause_sequence from sla_timer.decisions "
                "order by lane, number"
            ),
            "standing": {(case.tenant, case.id): case for case in cases},
            "relayed": {row["lane"]: row["sent"] for row in await rows("select lane, sent from sla_timer.relay")},
            "ledger": await rows("select * from notifier.notices order by number"),
            "attempts": await rows("select * from notifier.attempts order by key, number"),
            "tasks": await rows("select * from notifier.tasks"),
            "results": await rows("select lane, number, subject, body from notifier.outbox order by lane, number"),
            "results_relayed": {row["lane"]: row["sent"] for row in await rows("select * from notifier.relay")},
            "notifier": notifier,
            "people": await rows(
                "select s.tenant, s.subject_ref, p.data_key is not null as readable, exists (select from "
                "vault.blind_index b where b.tenant = s.tenant and b.person = s.person) as findable "
                "from vault.subjects s left join vault.people p using (tenant, person)"
            ),
            "broken_access": [row["tenant"] for row in await rows(_BROKEN_ACCESS)],
        }


_BROKEN_ACCESS = """
select distinct tenant from (
    select tenant, hash, vault.access_hash(
        coalesce(lag(hash) over each, '\\x'), tenant, number, at, reader, purpose, kind, ref) as expected
    from vault.access window each as (partition by tenant order by number)
) as records where hash <> expected
"""
"""Tenants of whose access record a line is not what the line before it says."""


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def search(folder: Path, canaries: Sequence[str]) -> Iterator[str]:
    """The files below a folder, secrets aside, that hold a canary."""
    wanted = [canary.encode() for canary in canaries]
    for path in sorted(folder.rglob("*")):
        if not wanted or not path.is_file() or "secrets" in path.parts:
            continue
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # servers remove files while they run
        if any(canary in content for canary in wanted):
            yield str(path.relative_to(folder))
