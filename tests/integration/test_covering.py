"""An incident that takes another name after it was paid for, on real servers: paid once, and said to be; one that an
approver tells apart is paid; and a ledger that is worked out anew comes to the same."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from nats.aio.client import Client

from contracts import files
from contracts.streams import partition
from services.chassis import clock, failpoints
from services.chassis.cursor import read_up_to
from services.chassis.health import Health
from services.chassis.settings import Settings
from services.cli import remedies
from services.cli.folded import Folded
from services.notifier import fold
from services.notifier.tasks import acting
from services.rules.rulebook import Library
from tests.integration.test_compensation import _ALL, ANN, BEA, CLERK, Eventually, Office, _empty
from tests.integration.test_notifier import (  # noqa: F401 - fixtures
    AFTER_HOLD,
    TENANT,
    World,
    _lose_ledger,
    gateway,
    health,
    world,
)
from tests.integration.test_notifier import working as notifier_at_work

REVISIT = "anseong-remedy-revisit"
RUN, REPORT = "anseong-visit-callback:web/e3", "fault:web/e4"


class City(Office):
    """An office whose decisions are those of the rules. Its notifier works while it is `at_work`."""

    folded: Folded
    at_work: Callable[[], Any]
    _read = 0

    async def decided(self, turned: bool = False) -> None:
        """Decides what follows from the facts so far, as the rules say; `turned`: what belongs together, backwards."""
        number = partition(TENANT, "c1")
        told: list[Any] = []
        async for entry in read_up_to(self.nc, "CASES", self.last["CASES"], subject=f"cases.{number}.>"):
            if entry.sequence > self._read:
                told += self.folded.take(entry.sequence, entry.data)
        self._read = self.last["CASES"]
        for one in reversed(told) if turned else told:
            answer = await self.nc.jetstream().publish(one.subject, one.body.encode(), stream="SLA")
            self.last["SLA"] = answer.seq

    async def owed(self) -> dict[str, tuple[str, str]]:
        """By incident the key and the state of what is owed for it."""
        rows = await self.pool.fetch("SELECT incident, key, state FROM read.tasks WHERE task = 'compensation'")
        return {row["incident"]: (row["key"], row["state"]) for row in rows}

    async def key(self, incident: str) -> str:
        return (await self.owed())[incident][0]

    async def pay(self, incident: str) -> None:
        """Two people see to it that the citizen has it."""
        await self.act(acting.approve, BEA, await self.key(incident))
        await self.act(acting.issue, CLERK, await self.key(incident), "voucher", "AB-7")

    async def void(self, id: str) -> None:
        await self.fact("fact.voided", {"source": "web", "id": id, "code": "other"})

    async def everything(self) -> list[Sequence[asyncpg.Record]]:
        return [await self.pool.fetch(query) for query in _ALL]


@pytest.fixture
async def city(
    world: World,  # noqa: F811
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
) -> City:
    """A call that was asked for, a report that it cost a second visit, and the finding that it did: paid."""
    city = City(world.nc, world.pool, world.vault, world.gateway)
    city.folded = Folded(Library(files.read()), partition(TENANT, "c1"))

    @asynccontextmanager
    async def at_work() -> AsyncIterator[None]:
        async with notifier_at_work(city, settings("notifier"), await connect("notifier"), Health("notifier")) as one:
            await eventually(lambda: one.ledger is not None, 60)
            city.notifier = one
            await eventually(city.quiet, 60)
            yield
            await eventually(city.quiet, 60)

    city.at_work = at_work
    await city.received()
    await city.fact("complaint.assigned", {"department": "건축과", "officer": "kim"})
    await clock.step(city.pool, AFTER_HOLD)
    await city.fact("callback.requested", {"via": "visit", "memo": {"reply_wanted": True}})
    await city.fact("fault.reported", {"ground": "repeat_visit", "promise": "anseong-visit-callback"})
    await city.fact("fault.confirmed", {"ground": "repeat_visit", "about": "e4", "by": "ann"})
    await city.decided()
    async with city.at_work():
        await city.pay(RUN)
    return city


@pytest.mark.parametrize("turned", [False, True], ids=["in their order", "turned round"])
async def test_what_was_paid_is_not_payable_under_its_next_name(
    city: City, eventually: Eventually, turned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The call was asked for of another case, so that the run which the finding meant never was; the finding stands."""
    texts = len(city.gateway.record())
    await city.void("e3")
    await city.decided(turned)
    async with city.at_work():
        owed = await city.owed()
        assert {incident: state for incident, (_, state) in owed.items()} == {RUN: "kept", REPORT: "covered"}
        assert await city.sums() == (20_000, 0, 0, 10_000, 10_000, 0)
        row = await city.pool.fetchrow("SELECT * FROM read.tasks WHERE key = $1", owed[REPORT][0])
        assert row is not None
        assert (row["open"], row["wants"], row["covered_by"]) == (False, [], owed[RUN][0])
        assert await city.refused(acting.approve, BEA, owed[REPORT][0]) == "wrong_state"
        assert await city.refused(acting.issue, CLERK, owed[REPORT][0], "by_hand") == "wrong_state"
        # Nobody hears of a second compensation, nor that the first is not due; and no second apology is asked for.
        assert len(city.gateway.record()) == texts
        rows = await city.pool.fetch(
            "SELECT task, incident FROM read.tasks WHERE task <> 'compensation' AND state = 'assigned'"
        )
        assert not [row for row in rows if REPORT in row["incident"]]
        assert Counter(await city.told())["remedy.covered"] == 1
        assert await remedies.differences(city.nc, city.pool) == []
        remedies._print(
            await remedies.sums(city.pool, [], TENANT), await remedies._covered(city.pool, TENANT), as_json=False
        )
        covered, payment = (f"{TENANT}/c1/{name}/{REVISIT}" for name in (REPORT, RUN))
        outcomes = await city.pool.fetch("SELECT key, covered, paid FROM read.remedy_outcomes ORDER BY key")
        assert [tuple(row) for row in outcomes] == [(payment, False, 10_000), (covered, True, None)]
        assert f"covered: {covered} by the payment of {payment}" in capsys.readouterr().out
    before, told = await city.everything(), await city._stored("NOTICES", "notices.>")
    await _lose_ledger(city.pool)
    async with city.at_work():
        await eventually(lambda: _empty(city.pool, "notifier.recovery"), 60)
        assert await city.everything() == before
        assert await city._stored("NOTICES", "notices.>") == told
        assert await remedies.differences(city.nc, city.pool) == []
        await city.pool.execute("UPDATE notifier.tasks SET covered_by = key WHERE state = 'covered'")
        [spoilt] = await remedies.differences(city.nc, city.pool)
        assert spoilt.startswith(f"{covered}: covered by the payment of {covered} in the book")


async def test_what_one_step_decided_may_reach_the_ledger_in_pieces(
    city: City, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each decision in a transaction of its own, the proposal first: until the withdrawal is known it stands."""
    for name in ("BATCH", "LONGEST_BATCH"):
        monkeypatch.setattr(fold, name, 1)
    await city.void("e3")
    await city.decided(turned=True)
    async with city.at_work():
        assert {incident: state for incident, (_, state) in (await city.owed()).items()} == {
            RUN: "kept",
            REPORT: "covered",
        }
        assert await city.sums() == (20_000, 0, 0, 10_000, 10_000, 0)
        assert await remedies.differences(city.nc, city.pool) == []
    monkeypatch.undo()
    await _lose_ledger(city.pool)
    async with city.at_work():
        await eventually(lambda: _empty(city.pool, "notifier.recovery"), 60)
        assert (await city.owed())[REPORT][1] == "covered"
        assert await city.sums() == (20_000, 0, 0, 10_000, 10_000, 0)
        assert await remedies.differences(city.nc, city.pool) == []


async def test_a_name_that_comes_back_takes_its_payment_back(city: City) -> None:
    await city.void("e3")
    await city.void("e6")
    await city.decided()
    async with city.at_work():
        states = {incident: state for incident, (_, state) in (await city.owed()).items()}
        assert states == {RUN: "kept", REPORT: "withdrawn"}
        assert await city.sums() == (20_000, 10_000, 0, 10_000, 10_000, 0)
        assert await remedies.differences(city.nc, city.pool) == []
    await city.void("e7")
    await city.decided()
    async with city.at_work():
        assert (await city.owed())[REPORT][1] == "covered"
        assert await city.sums() == (30_000, 10_000, 0, 10_000, 10_000, 0)
        assert await remedies.differences(city.nc, city.pool) == []


async def test_who_says_that_it_is_another_incident_does_not_approve_it(city: City, eventually: Eventually) -> None:
    await city.void("e3")
    await city.decided()
    async with city.at_work():
        key = await city.key(REPORT)
        assert await city.refused(acting.separate, CLERK, key) == "wrong_role"
        assert await city.refused(acting.separate, BEA._replace(staff="kim"), key) == "at_fault"
        assert await city.refused(acting.separate, BEA, await city.key(RUN)) == "wrong_state"
        apart = await city.act(acting.separate, BEA, key)
        assert (apart.state, await city.act(acting.separate, BEA, key)) == ("assigned", apart)
        assert await city.sums() == (20_000, 0, 0, 20_000, 10_000, 10_000)
        assert await city.refused(acting.approve, BEA, key) == "four_eyes"
        texts = len(city.gateway.record())
        await city.act(acting.approve, ANN, key)
        await city.act(acting.issue, CLERK, key, "by_hand")
        await eventually(city.quiet, 60)
        assert len(city.gateway.record()) == texts + 1  # the citizen hears of it now
        rows = await city.pool.fetch("SELECT staff FROM read.task_steps WHERE key = $1 AND step = 'separated'", key)
        assert [row["staff"] for row in rows] == ["bea"]
        told = await city._stored("NOTICES", "notices.>")
        assert [one["data"]["by"] for one in told if one["type"] == "remedy.separated"] == ["bea"]
        assert await city.sums() == (20_000, 0, 0, 20_000, 20_000, 0)
        assert await remedies.differences(city.nc, city.pool) == []
    before = await city.everything()
    await _lose_ledger(city.pool)
    async with city.at_work():
        await eventually(lambda: _empty(city.pool, "notifier.recovery"), 60)
        for found, was in zip(await city.everything(), before, strict=True):
            assert found == was
        assert await city._stored("NOTICES", "notices.>") == told


async def test_a_second_finding_about_the_first_name_makes_two_incidents(city: City, eventually: Eventually) -> None:
    """One payment covers one: what was covered is owed once the remedy is proposed again for which it was made."""
    await city.void("e3")
    await city.decided()
    remedy = {"remedy": REVISIT, "incident": RUN, "key": f"{TENANT}/c1/{RUN}/{REVISIT}", "charter": "anseong@1"}
    async with city.at_work():
        await city.fact("callback.made", {"by": "kim", "reached": False})
        await city.decide("remedy.proposed", remedy | {"amount": 10_000, "currency": "KRW"})
        await eventually(city.quiet, 60)
        assert {incident: state for incident, (_, state) in (await city.owed()).items()} == {
            RUN: "kept",
            REPORT: "assigned",
        }
        assert await city.sums() == (20_000, 0, 0, 20_000, 10_000, 10_000)
        await city.pay(REPORT)
    before = await city.everything()
    await _lose_ledger(city.pool)
    async with city.at_work():
        await eventually(lambda: _empty(city.pool, "notifier.recovery"), 60)
        assert [[tuple(row)[:3] for row in rows] for rows in await city.everything()] == [
            [tuple(row)[:3] for row in rows] for rows in before
        ]
        assert await city.sums() == (20_000, 0, 0, 20_000, 20_000, 0)


async def test_another_fact_brings_another_incident(city: City) -> None:
    """The finding is taken back, and only then another is made: nothing is covered."""
    await city.void("e5")
    await city.fact("fault.reported", {"ground": "repeat_visit", "promise": "anseong-visit-greet"})
    await city.fact("fault.confirmed", {"ground": "repeat_visit", "about": "e7", "by": "ann"})
    await city.decided()
    async with city.at_work():
        states = {incident: state for incident, (_, state) in (await city.owed()).items()}
        assert states == {RUN: "kept", "fault:web/e7": "assigned"}
        await city.pay("fault:web/e7")
        assert await remedies.differences(city.nc, city.pool) == []
        assert await city.sums() == (20_000, 0, 0, 20_000, 20_000, 0)


async def test_a_notifier_that_fails_while_it_covers_has_covered_once(
    city: City, eventually: Eventually, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoints, "_armed", failpoints._Armed({}, tmp_path))
    (tmp_path / "compensation.after_covering").write_text("raise")
    await city.void("e3")
    await city.decided()
    async with city.at_work():
        assert (tmp_path / "compensation.after_covering.struck").exists()
        assert await city.sums() == (20_000, 0, 0, 10_000, 10_000, 0)
        key = await city.key(REPORT)
        (tmp_path / "compensation.after_parting").write_text("raise")
        with pytest.raises(failpoints.Struck):
            await city.act(acting.separate, BEA, key)
        assert (await city.owed())[REPORT][1] == "covered"
        assert (await city.act(acting.separate, BEA, key)).state == "assigned"
        await eventually(city.quiet, 60)
        told = Counter(await city.told())
        assert (told["remedy.covered"], told["remedy.separated"]) == (1, 1)
        assert await remedies.differences(city.nc, city.pool) == []
