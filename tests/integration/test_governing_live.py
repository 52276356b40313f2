"""Later versions and a late holiday on real servers: more open cases than one transaction takes, and a folder that is
stopped between two of them, decide what the log alone decides."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import date
from itertools import count, islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
import yaml
from nats.aio.client import Client
from test_sla_timer import _folded_to_end, _nothing_before, fresh, running

from contracts import files
from contracts.streams import cases_subject, intake_mark, partition
from services.chassis import broker, clock
from services.chassis.settings import Settings
from services.cli.refold import refold
from services.rules.instants import instant, text
from services.sla_timer import store

__all__ = ["fresh"]

Eventually = Callable[..., Awaitable[Any]]
TENANT, LANE = "anseong", 3
CASES = 1100
LIMIT_SECONDS = 90.0


class Writer:
    """Appends events of one city to one partition, many at a time."""

    def __init__(self, nc: Client) -> None:
        self.nc, self.marker, self.number = nc, 0, 0

    async def append(self, *events: tuple[str, str, str, dict[str, Any]]) -> None:
        """Appends (case, type, time, data) in order."""
        for start in range(0, len(events), 500):
            messages = [self._message(*event) for event in events[start : start + 500]]
            self.marker = await broker.publish_batch(self.nc, messages, (intake_mark("test"), b"{}"), self.marker)

    def _message(self, case: str, type: str, time: str, data: dict[str, Any]) -> tuple[str, bytes]:
        self.number += 1
        envelope = {"specversion": "1.0", "id": f"e{self.number}", "source": "documents", "type": type, "time": time}
        place = {"tenant": TENANT, "subject": case, "case": case, "recordedtime": time}
        return cases_subject(LANE, TENANT, type), json.dumps(envelope | place | {"data": data}).encode()


def quicker(folder: Path) -> str:
    """A second version for Anseong, with a day less for every answer; its sha256."""
    content = yaml.safe_load(files.read()["charters/anseong-1.yaml"])
    content |= {"version": "2", "in_force": date(2026, 4, 7)}
    for row in content["promises"]:
        span = row.get("within") or {}
        if span.get("unit") == "statutory_days":
            span["amount"] = max(1, span["amount"] - 1)
    (folder / "charters").mkdir(parents=True)
    written = yaml.safe_dump(content, allow_unicode=True).encode()
    (folder / "charters" / "anseong-2.yaml").write_bytes(written)
    return hashlib.sha256(written).hexdigest()


def names() -> list[str]:
    """Cases that stand in one partition."""
    found = (name for number in count() if partition(TENANT, name := f"g{number}") == LANE)
    return list(islice(found, CASES))


async def test_versions_and_a_late_holiday_in_slices_with_a_stop_between_two_decide_what_the_log_decides(
    fresh: None,
    settings: Callable[..., Settings],
    nc: Client,
    pool: asyncpg.Pool,
    eventually: Eventually,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = quicker(tmp_path / "contracts")
    monkeypatch.setenv("GIHAN_CONTRACTS", str(tmp_path / "contracts"))
    first = hashlib.sha256(files.read()["charters/anseong-1.yaml"]).hexdigest()
    stopped = asyncio.Event()

    async def stop_before_the_second_slice(*arguments: Any) -> Any:
        if arguments[3] and not stopped.is_set():
            stopped.set()
            await asyncio.Event().wait()
        return await open_cases(*arguments)

    open_cases = store.open_cases
    monkeypatch.setattr(store, "open_cases", stop_before_the_second_slice)
    assert settings("sla_timer").slice_cases < CASES
    log, cases = Writer(nc), names()
    await clock.step(pool, instant("2026-04-06T10:00:00+09:00"))
    await log.append(("_all", "charter.enacted", "2026-04-01T09:00:00+09:00", _charter("1", first, "new_cases")))
    received = {"channel": "web", "kind": "inquiry"}
    await log.append(*((case, "complaint.received", "2026-04-06T10:00:00+09:00", received) for case in cases))
    async with running(settings("sla_timer")):
        await eventually(lambda: _folded_to_end(nc, pool), LIMIT_SECONDS)
        await clock.step(pool, instant("2026-04-07T10:00:00+09:00"))
        await eventually(lambda: _nothing_before(pool, instant("2026-04-07T10:00:00+09:00")), LIMIT_SECONDS)
        change = _charter("2", second, "open_from_today")
        await log.append(("_all", "charter.enacted", "2026-04-07T10:00:00+09:00", change))
        async with asyncio.timeout(LIMIT_SECONDS):
            await stopped.wait()
    done = await pool.fetchval("select count(*) from sla_timer.decisions where kind = 'deadline.moved'")
    assert 0 < done < CASES
    holiday = {"date": "2026-04-08", "closed": True, "name": "임시공휴일"}
    await log.append(("_all", "calendar.exception", "2026-04-07T11:00:00+09:00", holiday))
    answered = {"outcome": "answered", "by": "kim"}
    await log.append(*((case, "complaint.completed", "2026-04-07T14:00:00+09:00", answered) for case in cases[::7]))
    async with running(settings("sla_timer")):
        await eventually(lambda: _folded_to_end(nc, pool), LIMIT_SECONDS)
        await clock.step(pool, instant("2026-04-13T10:00:00+09:00"))
        await eventually(lambda: _nothing_before(pool, instant("2026-04-13T10:00:00+09:00")), LIMIT_SECONDS)
    live = {
        (row["partition"], row["number"], row["case"], row["kind"], row["due"], row["at"])
        for row in await pool.fetch("select * from read.decisions")
    }
    again = {
        (line["partition"], line["number"], line["case"], line["decision"], line.get("due"), line["at"])
        async for line in refold(settings("replay"))
    }
    assert live == again
    moved = await _dues(pool, "deadline.moved")
    # Three days became two, and then the 8th went: from Thursday by Wednesday back to Thursday.
    assert moved == {"2026-04-08T10:00:00+09:00": CASES, "2026-04-09T10:00:00+09:00": CASES}
    broken = len(cases) - len(cases[::7])
    assert await _dues(pool, "deadline.breached") == {"2026-04-09T10:00:00+09:00": broken}


def _charter(version: str, sha256: str, applies: str) -> dict[str, Any]:
    return {"version": version, "sha256": sha256, "in_force": "2026-04-07", "applies": applies}


async def _dues(pool: asyncpg.Pool, kind: str) -> dict[str, int]:
    """How many decisions of a kind about the answer name which due instant."""
    rows = await pool.fetch(
        "select due, count(*) as how_many from sla_timer.decisions where kind = $1 and promise = 'anseong-inquiry' "
        "group by due",
        kind,
    )
    return {text(row["due"], ZoneInfo("Asia/Seoul")): row["how_many"] for row in rows}
