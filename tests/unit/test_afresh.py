"""A partition folded afresh holds what its log says, however little of it may be in memory at a time."""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec
import pytest

from contracts import files
from deploy.bootstrap import _enacting
from deploy.bootstrap import _event as enacting_event
from services.chassis.cursor import Entry
from services.chassis.outbox import link
from services.chassis.settings import ROOT
from services.cli.folded import Folded, Place, Standing, Told, digest
from services.rules.instants import DAY, HOUR, Instant, text
from services.rules.routing import ALL
from services.rules.rulebook import Library
from services.rules.tenants import parse
from services.sla_timer import afresh
from services.sla_timer.afresh import Afresh
from services.sla_timer.messages import tick_message
from tests.bench.workload import CITIES, ZONE, Workload

LANE = 7
CLOSED = "2026-07-17"


@cache
def library() -> Library:
    return Library(files.read())


class Session:
    """A session with tables of its own, in memory: the part of asyncpg's that is used."""

    def __init__(self) -> None:
        self.tables: dict[str, list[tuple[Any, ...]]] = {"cases": [], "decisions": [], "enacted": []}
        self.taken_back = 0

    async def execute(self, _: str) -> None:
        """Makes the tables, which are there."""

    async def copy_records_to_table(
        self, table: str, *, records: Sequence[tuple[Any, ...]], columns: Sequence[str] = ()
    ) -> None:
        self.tables[table] += records
        names = [row[:2] for row in self.tables["cases"]]
        assert len(names) == len(set(names)), "a case is written twice"

    async def fetch(self, _: str, tenants: Sequence[str], ids: Sequence[str]) -> list[dict[str, Any]]:
        """Takes cases out of their table."""
        keys = set(zip(tenants, ids, strict=True))
        found = [row for row in self.tables["cases"] if row[:2] in keys]
        self.tables["cases"] = [row for row in self.tables["cases"] if row[:2] not in keys]
        self.taken_back += len(found)
        names = ("tenant", "case_id", *afresh._CASE_COLUMNS[2:])
        return [dict(zip(names, row, strict=True)) for row in found]


@cache
def log() -> tuple[Entry, ...]:
    """Cases of five cities, a day closed in the middle, a fault reported in each, and a tick three months later."""
    work = [message for message in Workload(500).messages() if message.subject.startswith(f"cases.{LANE}.")]
    half, end = len(work) // 2, work[-1].at + HOUR
    stated = [json.loads(message.body) for message in work]
    cases = sorted({(event["tenant"], event["case"]) for event in stated if "case" in event})
    bodies = [
        *_enacted(),
        *(message.body for message in work[:half]),
        _event("mapo", ALL, "calendar.exception", work[half].at, date=CLOSED, closed=True),
        *(message.body for message in work[half:]),
        *(_event(tenant, case, "fault.reported", end, ground="late") for tenant, case in cases),
        tick_message(LANE, 999, end + 90 * DAY),
        *(_event(tenant, case, "complaint.progress_notified", end + 91 * DAY, by="sms") for tenant, case in cases[::3]),
    ]
    return tuple(Entry(sequence, "", body) for sequence, body in enumerate(bodies, 1))


def _enacted() -> Iterator[bytes]:
    tenants = parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
    for name in CITIES:
        for type, data in _enacting(library(), tenants[name]):
            yield json.dumps(enacting_event(tenants[name], type, data, "2026-05-01T09:00:00+09:00")).encode()


def _event(tenant: str, case: str, type: str, at: Instant, **data: Any) -> bytes:
    moment = text(at, ZONE)
    named = {"id": f"{type}-{case}", "source": "desk", "tenant": tenant, "subject": case, "case": case}
    return json.dumps({**named, "type": type, "time": moment, "recordedtime": moment, "data": data}).encode()


async def folded_afresh(session: Session, pieces: int) -> tuple[Afresh, Standing]:
    """The log folded so many entries at a time, as it is compared."""
    found = Afresh(LANE, library(), session)  # type: ignore[arg-type]
    await found.begin()
    for first in range(0, len(log()), pieces):
        await found.take(log()[first : first + pieces])
    await found.write()
    at = found.position
    standing = Standing(Place(at.sequence, at.event_id, at.clock, at.tick_sequence, at.ticks, at.decisions))
    for tenant, case, _, state, *searched, _ in session.tables["cases"]:
        standing.cases[tenant, case] = digest((msgspec.Raw(state), *searched))
    for row in sorted(session.tables["decisions"], key=attrgetter("number")):
        assert row[0] == LANE
        standing.decisions.append(digest(Told(row[1], row[2], row[3].decode(), *row[4:])))
    for _, sequence, body in session.tables["enacted"]:
        standing.enacted[sequence] = digest(body.decode())
    return found, standing


@pytest.mark.parametrize(("held", "slice", "pieces"), [(10_000, 1000, 2000), (6, 2, 50), (2, 1, 7)])
async def test_however_little_is_in_memory_the_same_comes_out(
    monkeypatch: pytest.MonkeyPatch, held: int, slice: int, pieces: int
) -> None:
    """Places, cases, decisions, what is enacted and the hash chain are those of the plain fold, with all cases held
    or two; a tick that reaches them all, and a day that is closed, come in slices."""
    for name, value in {"HELD_CASES": held, "PUT_AWAY": 3, "SLICE_CASES": slice, "HELD_ROWS": held}.items():
        monkeypatch.setattr(afresh, name, value)
    plain = Folded(library(), LANE)
    chain = b""
    chains = []
    for entry in log():
        for told in plain.take(entry.sequence, entry.data):
            chain = link(chain, told.body.encode())
            chains.append(chain)
    session = Session()
    found, standing = await folded_afresh(session, pieces)
    wanted = plain.standing()
    assert len(wanted.cases) > 30
    assert len(wanted.decisions) > 150
    assert len(wanted.enacted) > 15
    assert standing == wanted
    assert standing.hash == wanted.hash
    assert [found.chain(number) for number in range(1, len(chains) + 1)] == chains
    assert (session.taken_back > 50) == (held < 10)
