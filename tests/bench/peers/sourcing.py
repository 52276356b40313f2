"""The library eventsourcing: its PostgreSQL recorder, and a projection that its runner feeds, an event a transaction.

`python -m tests.bench.peers.sourcing STREAM`: copies the stream into an application of the library, an aggregate for
each case, then projects with tracking, with the same rules and the same tables as the naive pipeline.
"""

import asyncio
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import NAMESPACE_URL, uuid5

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import DomainEvent
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner

from services.chassis import broker
from services.chassis.cursor import Entry, read_up_to
from services.chassis.settings import Settings
from services.rules.facts import decode_event
from services.rules.state import Case
from tests.bench.peers import projection
from tests.bench.peers.projection import Changed, Rules, case_row, concerns, decision_rows, decode_case, place_of

CHUNK = 500


def _plain(statement: str) -> str:
    """The same statement with psycopg's placeholders."""
    for place in range(11, 0, -1):
        statement = statement.replace(f"${place}", "%s")
    return statement


LOAD, DUE, SAVE, DECIDE = map(_plain, (projection.LOAD, projection.DUE, projection.SAVE, projection.DECIDE))


class Stored(DomainEvent):
    """A message of the stream as an event of the library."""

    subject: str
    sequence: int
    body: str


class Cases(Application):
    """The log of facts, kept by the library."""


class View(PostgresTrackingRecorder):
    """The projection's tables, and its tracking, written together."""

    def take(self, event: Stored, tracking: Tracking, rules: Rules) -> None:
        """One event, one transaction."""
        number, told = place_of(event.subject), decode_event(event.body.encode())
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            changed: Changed = []
            if told.type == "clock.advanced":
                cursor.execute(DUE, (number, rules.pass_to(number, told)), prepare=True)
                due = [decode_case(row["state"]) for row in cursor.fetchall()]
                changed = [rules.let_pass(number, case) for case in due]
            elif key := concerns(number, told, rules, event.sequence):
                row = cursor.execute(LOAD, key, prepare=True).fetchone()
                case = decode_case(row["state"]) if row else Case(*key)
                changed = [rules.decide(number, case, told, event.sequence)]
            for case, _ in changed:
                cursor.execute(SAVE, case_row(number, case), prepare=True)
            for values in decision_rows(number, event.sequence, changed):
                cursor.execute(DECIDE, values, prepare=True)


class Fold(Projection[View]):
    """Hands each event to the view."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._rules = Rules()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Called by the library's runner, in order."""
        self.view.take(domain_event, tracking, self._rules)


def environment(url: str) -> dict[str, str]:
    """Where the library finds PostgreSQL."""
    parts = urlsplit(url)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.lstrip("/"),
        "POSTGRES_HOST": parse_qs(parts.query)["host"][0],
        "POSTGRES_USER": parts.username or "",
        "POSTGRES_PASSWORD": parts.password or "",
    }


async def _read(stream: str) -> list[Entry]:
    nc = await broker.connect(Settings.from_env("bench"))
    try:
        last = (await nc.jetstream().stream_info(stream)).state.last_seq
        return [entry async for entry in read_up_to(nc, stream, last) if not entry.subject.startswith("mark.")]
    finally:
        await nc.close()


def _events(entries: Iterable[Entry]) -> Iterator[Stored]:
    versions: dict[str, int] = {}
    for entry in entries:
        event = decode_event(entry.data)
        name = f"{event.tenant}/{event.case_id}" if event.tenant else entry.subject
        versions[name] = versions.get(name, 0) + 1
        yield Stored(
            originator_id=uuid5(NAMESPACE_URL, name),
            originator_version=versions[name],
            timestamp=datetime.now(UTC),
            subject=entry.subject,
            sequence=entry.sequence,
            body=entry.data.decode(),
        )


def main(arguments: Sequence[str]) -> None:
    """Copies, then projects until ended."""
    settings = Settings.from_env("bench")
    env = environment(settings.database_url)
    events = list(_events(asyncio.run(_read(arguments[0]))))
    application = Cases(env)
    for first in range(0, len(events), CHUNK):
        stored = [application.mapper.to_stored_event(event) for event in events[first : first + CHUNK]]
        application.recorder.insert_events(stored)
    application.close()
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    with ProjectionRunner(application_class=Cases, projection_class=Fold, view_class=View, env=env) as runner:
        runner.run_forever()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
