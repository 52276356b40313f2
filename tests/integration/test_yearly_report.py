"""The yearly report of a running city: the projection and the log say the same, and its page and files show it."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from api_world import COMPLAINT, World, start
from nats.aio.client import Client

from services.chassis import clock
from services.chassis.settings import Settings
from services.cli.reports import from_log, from_system
from services.intake.reporting import shelf
from services.rules.instants import HOUR, instant
from services.rules.tenants import Tenant

MONDAY = "2026-11-02T10:00:00+09:00"
HOSTILE = "=HYPERLINK(1);<script>alert(1)</script>"
"""What a department could be called."""
Eventually = Callable[..., Awaitable[Any]]


@pytest.fixture
async def world(
    settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client, pool: asyncpg.Pool, tmp_path: Path
) -> AsyncIterator[World]:
    """A running city."""
    async with AsyncExitStack() as stack:
        yield await start(stack, settings, tenants, nc, pool, tmp_path, live_since=instant(MONDAY) - HOUR)


async def said(world: World, case: str, type: str, at: str, source: str = "web", **data: Any) -> None:
    """An event on record."""
    event = {"specversion": "1.0", "source": source, "type": type, "subject": case, "tenant": "seoul", "time": at}
    event |= {"id": f"{type.replace('.', '-').replace('_', '-')}-{case}", "data": data}
    answer = await world.ask(source, "POST", "/v1/events", json=event)
    assert answer.status_code == 200, answer.text


async def lived_through(world: World) -> None:
    """Fourteen petitions of two departments, two of them late; answers to the survey; a member of staff who moved."""
    for staff, department in (("k-1", "민원과"), ("k-2", HOSTILE)):
        who = {"staff": staff, "name": "김담당", "department": department, "phone": "02-000-0000"}
        at = "2026-11-02T09:00:00+09:00"
        event = {"specversion": "1.0", "source": "administration", "type": "staff.described", "subject": "seoul"}
        event |= {"tenant": "seoul", "time": at, "id": f"staff-{staff}", "data": who}
        assert (await world.ask("administration", "POST", "/v1/events", json=event)).status_code == 200
    for number in range(14):
        case, (officer, department) = f"c{number}", (("k-1", "민원과"), ("k-2", HOSTILE))[number % 2]
        filed = {**COMPLAINT, "case": case, "kind": "other", "time": MONDAY}
        assert (await world.ask("web", "POST", "/v1/complaints", json=filed)).status_code == 201
        await said(world, case, "complaint.assigned", MONDAY, department=department, officer=officer)
    await clock.step(world.pool, instant(MONDAY) + HOUR)
    for number in range(12):
        await said(
            world, f"c{number}", "complaint.completed", "2026-11-02T10:50:00+09:00", outcome="answered", by="k-1"
        )
        await said(world, f"c{number}", "survey.answered", "2026-11-02T11:00:00+09:00", satisfaction=4, kindness=5)
    await world.folded()
    # Three working hours from 10:00, the midday break apart, are over at 14:00.
    await clock.step(world.pool, instant(MONDAY) + 5 * HOUR)


async def test_the_projection_and_the_log_say_the_same_of_the_same_instant(
    world: World, settings: Callable[..., Settings], eventually: Eventually
) -> None:
    await lived_through(world)
    now = instant(MONDAY) + 5 * HOUR
    # Whether or not the tick of 14:00 is folded yet: time that has passed has passed.
    live = await from_system(settings("replay"), "seoul", 2026)
    assert live.as_of == now
    again = await from_log(settings("replay"), "seoul", 2026, now)
    for name in live.__struct_fields__:
        assert getattr(live, name) == getattr(again, name), name
    assert msgspec.json.encode(live) == msgspec.json.encode(again)

    async def ticked() -> bool:
        count = await world.pool.fetchval("select count(*) from read.decisions where kind = 'deadline.breached'")
        return bool(count >= 2)

    await eventually(ticked, 60)
    line = next(line for line in live.lines if line.promise == "seoul-statutory-period")
    assert (line.year.kept, line.year.broken) == (12, 2)
    assert {place.department: place.year.kept + place.year.broken for place in line.places} == {"민원과": 7, HOSTILE: 7}
    assert (live.compensation.year.proposed, live.compensation.year.owed) == (2, 10_000)
    assert live.survey.questions[0].year.scores == (0, 0, 0, 12, 0)
    assert live == await from_system(settings("replay"), "seoul", 2026)
    # An hour after the receipt nothing was answered, and nothing broken.
    early = await from_log(settings("replay"), "seoul", 2026, instant(MONDAY) + HOUR // 2)
    line = next(line for line in early.lines if line.promise == "seoul-statutory-period")
    assert (line.year.kept, line.year.broken, line.year.open) == (0, 0, 14)
    assert early.survey.answered == 0


async def test_the_page_and_its_files(world: World) -> None:
    await lived_through(world)
    shown = await world.http.get("/ko/seoul/report", follow_redirects=True)
    assert (shown.status_code, shown.url.path) == (200, "/ko/seoul/report/2026")
    assert "행정서비스 헌장 이행 보고서 2026" in shown.text
    assert "12/14" in shown.text
    assert "<script>" not in shown.text  # a department is text, whatever it is called
    assert "alert(1)" in shown.text
    for word in ("홍길동", "김담당", "k-1", "02-000-0000"):
        assert word not in shown.text
    for form, kind, begins in (
        ("csv", "text/csv; charset=utf-8", b"part,name"),
        ("csv?bom", "text/csv; charset=utf-8", b"\xef\xbb\xbfpart"),
        ("json", "application/json", b"{"),
        ("pdf", "application/pdf", b"%PDF-"),
    ):
        taken = await world.http.get(f"/en/seoul/report/2026/{form}", timeout=60)
        assert (taken.status_code, taken.headers["content-type"]) == (200, kind)
        assert taken.headers["content-disposition"].startswith('attachment; filename="seoul-2026-en.')
        assert taken.content.startswith(begins), form
        if form == "csv":
            assert not re.search(rb"(^|,)\"?=", taken.content, re.MULTILINE)
            assert b"'=HYPERLINK" in taken.content
    again = await world.http.get("/en/seoul/report/2026/json")
    assert json.loads(again.content)["as_of"] == instant(MONDAY) + 5 * HOUR


NONE = ("2027", "2021", "1", "9" * 20, "20２6", "-2026", "2026/exe", "2026/..", "x' or 1=1 --")


async def test_a_year_or_file_that_there_is_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that says so, and nothing is counted for it."""

    async def counts(*_: Any) -> None:
        raise AssertionError("a report was counted")

    monkeypatch.setattr(shelf, "counted", counts)
    for path in NONE:
        answer = await world.http.get(f"/ko/seoul/report/{path}")
        assert answer.status_code in (303, 404), path
        assert not answer.is_redirect or answer.headers["location"].startswith("/"), path


async def test_what_people_did_with_remedies_is_told_by_the_views(pool: asyncpg.Pool) -> None:
    """The amount last entered or approved, the one that was issued, and a no; nothing of a task without money."""
    for name, money in (("a", True), ("b", True), ("c", True), ("d", False)):
        await pool.execute(
            "insert into notifier.tasks"
            " (key, tenant, case_id, incident, clause, task, cause, state, wanted_at, remedy_key)"
            " values ($1, 'seoul', $1, 'i', 'seoul-remedy-money', 'compensation', '{}', 'assigned', 1, $2)",
            name,
            f"seoul/{name}/i/seoul-remedy-money" if money else None,
        )
    steps = (
        ("a", 1, "entered", 30, 7_000),
        ("a", 2, "approved", 40, 7_000),
        ("a", 3, "issued", 50, 7_000),
        ("b", 1, "declined", 60, None),
        ("c", 1, "entered", 70, 9_000),
        ("d", 1, "done", 80, None),
    )
    for key, number, step, at, amount in steps:
        await pool.execute(
            "insert into notifier.steps (key, number, cause, step, staff, at, amount)"
            " values ($1, $2, 'x', $3, 'k', $4, $5)",
            *(key, number, step, at, amount),
        )
    rows = await pool.fetch("select key, remedy, at, declined, approved, paid from read.remedy_outcomes order by key")
    clause = "seoul-remedy-money"
    assert [tuple(row) for row in rows] == [
        (f"seoul/a/i/{clause}", clause, 30, False, 7_000, 7_000),
        (f"seoul/b/i/{clause}", clause, 60, True, None, None),
        (f"seoul/c/i/{clause}", clause, 70, False, 9_000, None),
    ]
