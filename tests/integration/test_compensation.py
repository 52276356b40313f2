"""Tasks and remedies on real servers: from the decision to the citizen's word, by people who may, once."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts import files
from contracts.streams import partition
from services.chassis import clock, failpoints
from services.chassis.cursor import read_up_to
from services.chassis.health import Health
from services.chassis.outbox import Outbox
from services.chassis.settings import ROOT, Settings
from services.chassis.vault import NotAllowed
from services.cli import remedies
from services.cli.folded import Folded
from services.intake.app import build_app
from services.intake.judge import Publisher, judge
from services.notifier.app import Notifier
from services.notifier.ledger import LEASE, Fenced, Ledger
from services.notifier.tasks import acting, charters, findings, letters
from services.notifier.tasks.life import Actor, Item, NotPossible
from services.rules.instants import DAY, instant
from services.rules.rulebook import Library
from services.rules.tenants import Tenant
from tests.integration.emptying import empty
from tests.integration.test_notifier import (  # noqa: F401 - fixtures
    AFTER_HOLD,
    DUE,
    TENANT,
    World,
    _lose_ledger,
    gateway,
    health,
    working,
    world,
)

Eventually = Callable[..., Awaitable[Any]]

LATE: dict[str, Any] = {
    "remedy": "seoul-remedy-money",
    "incident": "seoul-statutory-period:web/e1",
    "charter": "seoul@1",
}
LATE |= {"promise": "seoul-statutory-period", "occurrence": "web/e1", "due": DUE, "amount": 5_000, "currency": "KRW"}
LATE |= {"key": f"{TENANT}/c1/seoul-statutory-period:web/e1/seoul-remedy-money", "needs": ["finding"]}
"""Five thousand won and an apology, unless there was a just reason."""

OPEN: dict[str, Any] = {"remedy": "mapo-redress", "incident": "fault:desk/f1", "charter": "mapo@1", "currency": "KRW"}
OPEN |= {"key": f"{TENANT}/c1/fault:desk/f1/mapo-redress", "needs": ["amount"]}
"""What an approver enters."""

ANN = Actor(TENANT, "ann", frozenset({"approver"}))
BEA = Actor(TENANT, "bea", frozenset({"approver"}))
KIM = Actor(TENANT, "kim", frozenset({"approver"}))
CLERK = Actor(TENANT, "cho", frozenset({"clerk"}), "건축과")
OTHER_CLERK = Actor(TENANT, "dan", frozenset({"clerk"}), "세무과")


class Office(World):
    """The world with a notifier at work in it, and people who act."""

    notifier: Notifier

    @property
    def ledger(self) -> Ledger:
        assert self.notifier.ledger is not None
        return self.notifier.ledger

    async def now(self) -> int:
        moment: int = await self.pool.fetchval("SELECT now FROM chassis.clock")
        return moment

    async def act(self, step: Callable[..., Awaitable[Item]], actor: Actor, key: str, *more: Any) -> Item:
        """One step; again where this notifier's turn ended meanwhile, on a machine that is busy."""
        async with asyncio.timeout(60):
            while True:
                try:
                    if self.notifier.ledger is not None:
                        return await step(self.notifier.ledger, await self.now(), actor, key, *more)
                except Fenced:
                    pass
                await asyncio.sleep(0.2)

    async def refused(self, step: Callable[..., Awaitable[Item]], actor: Actor, key: str, *more: Any) -> str:
        with pytest.raises(NotPossible) as reason:
            await self.act(step, actor, key, *more)
        return reason.value.code

    async def keys(self) -> dict[str, str]:
        """The key of each task by its kind."""
        return {row["task"]: row["key"] for row in await self.pool.fetch("SELECT task, key FROM read.tasks")}

    async def tasks(self) -> dict[str, str]:
        return {row["task"]: row["state"] for row in await self.pool.fetch("SELECT task, state FROM read.tasks")}

    async def book(self) -> list[tuple[Any, ...]]:
        rows = await self.pool.fetch("SELECT entry, debit, credit, amount FROM read.book ORDER BY number")
        return [tuple(row) for row in rows]

    async def sums(self) -> tuple[int | None, ...]:
        """(proposed, withdrawn, declined, owed, paid, open)"""
        row = await self.pool.fetchrow(
            "SELECT sum(proposed)::int, sum(withdrawn)::int, sum(declined)::int, sum(owed)::int, sum(paid)::int, "
            "sum(open)::int FROM read.remedy_sums"
        )
        assert row is not None
        return tuple(row)


@pytest.fixture
async def office(
    world: World,  # noqa: F811
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    health: Health,  # noqa: F811
    eventually: Eventually,
) -> Any:
    """A case that lies with kim, after every source had its time to report."""
    office = Office(world.nc, world.pool, world.vault, world.gateway)
    async with working(office, settings("notifier"), await connect("notifier"), health) as notifier:
        await office.received()
        await office.fact("complaint.assigned", {"department": "건축과", "officer": "kim"})
        await clock.step(office.pool, AFTER_HOLD)
        await eventually(lambda: notifier.ledger is not None, 60)
        office.notifier = notifier
        await eventually(office.quiet, 60)
        yield office


async def test_from_the_proposal_to_the_citizens_word(office: Office, eventually: Eventually) -> None:
    await office.decide("remedy.proposed", LATE)
    await eventually(office.quiet, 60)
    keys = await office.keys()
    remedy, apology = keys["compensation"], keys["apology"]
    assert await office.tasks() == {"compensation": "assigned", "apology": "held"}
    row = await office.pool.fetchrow("SELECT * FROM read.tasks WHERE key = $1", remedy)
    assert row is not None
    assert (row["wants"], row["department"], row["lies_with"], row["at_fault"]) == (
        ["finding"],
        "건축과",
        "approver",
        ["kim"],
    )
    # Held until Thursday 19:00, so found within five working days of Friday's opening: Friday 20 March, 09:00.
    assert row["due"] == instant("2026-03-20T09:00:00+09:00")
    assert await office.refused(acting.approve, ANN, remedy) == "finding_wanted"
    assert await office.refused(acting.issue, CLERK, remedy, "by_hand") == "wrong_state"

    await office.fact("fault.confirmed", {"about": LATE["promise"], "ground": "late", "by": "ann"})
    await eventually(office.quiet, 60)
    assert await office.refused(acting.approve, ANN, remedy) == "four_eyes"
    assert await office.refused(acting.approve, KIM, remedy) == "at_fault"
    assert await office.refused(acting.approve, CLERK, remedy) == "wrong_role"
    assert await office.refused(acting.enter_amount, BEA, remedy, 1) == "amount_fixed"
    assert await office.refused(acting.approve, BEA._replace(tenant="seoul"), remedy) == "not_found"

    approved = await office.act(acting.approve, BEA, remedy)
    assert (approved.state, approved.amount) == ("approved", 5_000)
    assert await office.act(acting.approve, BEA, remedy) == approved
    assert await office.tasks() == {"compensation": "approved", "apology": "assigned"}
    assert await office.refused(acting.issue, OTHER_CLERK, remedy, "by_hand") == "wrong_department"
    assert await office.refused(acting.issue, CLERK, remedy, "voucher") == "voucher_wanted"
    assert await office.refused(acting.issue, CLERK, remedy, "transfer", "AB-1") == "voucher_wanted"
    assert await office.refused(acting.issue, CLERK, remedy, "voucher", "110-200 kim") == "voucher_wanted"
    assert await office.refused(acting.acknowledge, CLERK, remedy, "signed") == "wrong_state"
    assert (await office.act(acting.issue, CLERK, remedy, "voucher", "AB-0001")).state == "issued"
    assert await office.refused(acting.decline, BEA, remedy, "no_loss") == "wrong_state"
    done = await office.act(acting.acknowledge, CLERK, remedy, "signed")
    assert [(step.step, step.staff, step.code, step.voucher) for step in done.steps] == [
        ("approved", "bea", None, None),
        ("issued", "cho", "voucher", "AB-0001"),
        ("acknowledged", "cho", "signed", None),
    ]
    assert await office.refused(acting.finish, CLERK, apology, "danced") == "unknown_code"
    assert (await office.act(acting.finish, CLERK, apology, "in_person")).state == "done"

    await eventually(office.quiet, 60)
    told = Counter(await office.told())
    assert {type: told[type] for type in told if not type.startswith("notice.")} == {
        "task.assigned": 2,
        "remedy.approved": 1,
        "remedy.issued": 1,
        "remedy.acknowledged": 1,
        "task.done": 1,
    }
    assert (await office.states())["compensation"] == ("sent", "http_200")
    assert await office.book() == [("proposed", "open", "charter", 5_000), ("issued", "paid", "open", 5_000)]
    assert await office.sums() == (5_000, 0, 0, 5_000, 5_000, 0)
    assert await office.pool.fetchval("SELECT day FROM read.book WHERE entry = 'proposed'") == date(2026, 3, 12)


async def test_an_amount_is_entered_by_one_and_approved_by_another(office: Office, eventually: Eventually) -> None:
    await office.decide("remedy.proposed", OPEN)
    await eventually(office.quiet, 60)
    keys = await office.keys()
    remedy = keys["compensation"]
    assert await office.tasks() == {"compensation": "assigned", "correction": "assigned", "apology": "assigned"}
    assert await office.sums() == (None,) * 6
    assert await office.refused(acting.approve, ANN, remedy) == "amount_wanted"
    assert await office.refused(acting.enter_amount, KIM, remedy, 20_000) == "at_fault"
    assert await office.refused(acting.enter_amount, CLERK, remedy, 20_000) == "wrong_role"
    for wrong in (0, -1, 10_000_001):
        assert await office.refused(acting.enter_amount, ANN, remedy, wrong) == "wrong_amount"
    await office.act(acting.enter_amount, ANN, remedy, 200_000)
    await office.act(acting.enter_amount, ANN, remedy, 20_000)
    assert await office.refused(acting.approve, ANN, remedy) == "four_eyes"
    assert (await office.act(acting.approve, BEA, remedy)).amount == 20_000
    assert await office.refused(acting.enter_amount, ANN, remedy, 5) == "wrong_state"
    await office.act(acting.issue, CLERK, remedy, "transfer")
    assert await office.book() == [
        ("entered", "open", "charter", 200_000),
        ("entered", "charter", "open", 180_000),
        ("issued", "paid", "open", 20_000),
    ]
    assert await office.sums() == (20_000, 0, 0, 20_000, 20_000, 0)
    results = await acting.approve_all(office.ledger, await office.now(), BEA, [remedy, "nothing", keys["apology"]])
    assert {key: one.code for key, one in results.items() if isinstance(one, NotPossible)} == {
        remedy: "wrong_state",
        "nothing": "not_found",
        keys["apology"]: "no_remedy",
    }


async def test_what_is_declined_is_not_owed_and_its_apology_is_not_asked_for(
    office: Office, eventually: Eventually
) -> None:
    await office.decide("remedy.proposed", LATE)
    await office.fact("fault.dismissed", {"about": LATE["promise"], "ground": "late", "by": "ann", "reason": "x"})
    await eventually(office.quiet, 60)
    remedy = (await office.keys())["compensation"]
    assert await office.refused(acting.approve, BEA, remedy) == "just_reason"
    assert await office.refused(acting.decline, ANN, remedy, "just_reason") == "four_eyes"
    assert await office.refused(acting.decline, BEA, remedy, "no money left") == "unknown_code"
    assert (await office.act(acting.decline, BEA, remedy, "just_reason")).state == "declined"
    assert await office.tasks() == {"compensation": "declined", "apology": "withdrawn"}
    assert await office.sums() == (5_000, 0, 5_000, 0, 0, 0)
    # The breach is retracted after all: it moves on, and is subtracted once.
    await office.decide("remedy.withdrawn", LATE)
    await eventually(office.quiet, 60)
    assert await office.sums() == (5_000, 5_000, 0, 0, 0, 0)
    assert "compensation" not in await office.states()


async def test_who_was_told_of_money_hears_that_it_is_declined(office: Office, eventually: Eventually) -> None:
    await office.decide("remedy.proposed", {name: value for name, value in LATE.items() if name != "needs"})
    await eventually(office.quiet, 60)
    assert (await office.states())["compensation"] == ("sent", "http_200")
    await office.act(acting.decline, BEA, (await office.keys())["compensation"], "paid_elsewhere")
    await eventually(office.quiet, 60)
    assert (await office.states())["compensation_withdrawn"] == ("sent", "http_200")
    # The breach is retracted as well: nobody is told a second time.
    await office.decide("remedy.withdrawn", LATE)
    await eventually(office.quiet, 60)
    assert Counter(await office.told())["notice.sent"] == 4


async def test_a_finding_that_is_taken_back_is_none(office: Office, eventually: Eventually) -> None:
    await office.decide("remedy.proposed", LATE)
    await office.fact("fault.dismissed", {"about": LATE["promise"], "ground": "late", "by": "ann", "reason": "x"})
    await office.fact("fact.voided", {"source": "web", "id": "e3", "code": "other"})
    await eventually(office.quiet, 60)
    finding = "SELECT finding FROM read.tasks WHERE task = 'compensation'"
    assert await office.pool.fetchval(finding) is None
    await office.fact("fact.voided", {"source": "web", "id": "e4", "code": "other"})
    await eventually(office.quiet, 60)
    assert await office.pool.fetchval(finding) == "dismissed"


async def test_withdrawn_before_it_is_paid_and_kept_after(office: Office, eventually: Eventually) -> None:
    owed = {name: value for name, value in LATE.items() if name != "needs"}
    await office.decide("remedy.proposed", owed)
    await eventually(office.quiet, 60)
    remedy = (await office.keys())["compensation"]
    await office.act(acting.approve, BEA, remedy)
    await office.decide("remedy.withdrawn", LATE)
    await eventually(office.quiet, 60)
    assert await office.tasks() == {"compensation": "withdrawn", "apology": "withdrawn"}
    assert await office.sums() == (5_000, 5_000, 0, 0, 0, 0)
    assert await office.refused(acting.issue, CLERK, remedy, "by_hand") == "wrong_state"

    # Owed again: the yes that was said of the first time does not count.
    await office.decide("remedy.proposed", owed)
    await eventually(office.quiet, 60)
    assert await office.tasks() == {"compensation": "assigned", "apology": "assigned"}
    await office.act(acting.approve, BEA, remedy)
    await office.act(acting.issue, CLERK, remedy, "by_hand")
    await office.decide("remedy.withdrawn", LATE)
    await office.decide("remedy.proposed", owed)
    await office.decide("remedy.withdrawn", LATE)
    await eventually(office.quiet, 60)
    assert (await office.tasks())["compensation"] == "kept"
    assert await office.sums() == (10_000, 5_000, 0, 5_000, 5_000, 0)
    told = Counter(await office.told())
    assert (told["remedy.issued"], told["remedy.kept"], told["remedy.approved"]) == (1, 1, 2)


async def test_a_tariff_pays_by_the_day_once_lateness_is_over(
    world: World,  # noqa: F811
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    charter = yaml.safe_load(files.read()["charters/anseong-1.yaml"])
    charter["version"], charter["in_force"] = "9", date(2026, 1, 2)
    charter["remedies"] = [
        {
            **{"id": "anseong-remedy-late", "section": "보상", "says": {"ko": "늦은 날마다", "en": "By the day."}},
            **{"on": [{"breach": ["anseong-inquiry"], "needs": ["amount"]}], "amount": None},
            "tariff": {"unit": "calendar_days", "rows": [{"from": 1, "each": 5000}], "at_most": 30000},
        }
    ]
    (tmp_path / "charters").mkdir()
    (tmp_path / "charters" / "anseong-9.yaml").write_text(yaml.safe_dump(charter, allow_unicode=True))
    monkeypatch.setenv("GIHAN_CONTRACTS", str(tmp_path))
    for cached in (charters._library, charters.named, charters.ends_of_lateness):
        cached.cache_clear()
    late: dict[str, Any] = {
        "remedy": "anseong-remedy-late",
        "incident": "i1",
        "key": "k1",
        "charter": "anseong@9",
        "currency": "KRW",
    }
    late |= {"promise": "anseong-inquiry", "occurrence": "web/e1", "due": DUE, "needs": ["amount"]}
    office = Office(world.nc, world.pool, world.vault, world.gateway)
    try:
        async with working(office, settings("notifier"), await connect("notifier"), Health("notifier")) as notifier:
            await office.received()
            await clock.step(office.pool, AFTER_HOLD)
            await office.decide("remedy.proposed", late)
            await eventually(office.quiet, 60)
            office.notifier = notifier
            remedy = (await office.keys())["compensation"]
            assert await office.refused(acting.enter_amount, ANN, remedy, 5_000) == "amount_fixed"
            assert await office.refused(acting.approve, BEA, remedy) == "still_late"
            for days, worth in ((1, (5_000, False)), (3, (15_000, False)), (9, (30_000, True))):
                found = await acting.look(office.ledger, instant(DUE) + days * DAY, TENANT, remedy)
                assert found[1] == worth
            # Told on the third day after, by a source that reports it on the fourth.
            fact = {"id": "e9", "source": "web", "type": "complaint.completed", "time": "2026-03-15T10:00:00+09:00"}
            subject = f"cases.{partition(TENANT, 'c1')}.{TENANT}.complaint.completed"
            data = {"data": {"outcome": "answered", "by": "kim"}}
            await office._append("CASES", subject, fact | data, "c1")
            await clock.step(office.pool, instant("2026-03-16T10:00:00+09:00"))
            await eventually(office.quiet, 60)
            assert (await office.act(acting.approve, BEA, remedy)).amount == 15_000
            assert await office.book() == [("entered", "open", "charter", 15_000)]
    finally:
        for cached in (charters._library, charters.named, charters.ends_of_lateness):
            cached.cache_clear()


async def test_a_finding_that_nobody_makes_is_loud_once(
    office: Office, eventually: Eventually, capsys: pytest.CaptureFixture[str]
) -> None:
    await office.decide("remedy.proposed", LATE)
    await clock.step(office.pool, instant("2026-03-20T09:00:00+09:00"))
    await eventually(office.quiet, 60)
    assert "task.overdue" not in await office.told()  # at the very instant it is in time
    await clock.step(office.pool, instant("2026-03-20T09:00:01+09:00"))
    await eventually(lambda: office.pool.fetchval("SELECT overdue = 1 FROM read.tasks_overdue"), 60)
    await clock.step(office.pool, instant("2026-03-21T09:00:00+09:00"))
    await eventually(office.quiet, 60)
    assert Counter(await office.told())["task.overdue"] == 1
    await office.fact("fault.confirmed", {"about": LATE["promise"], "ground": "late", "by": "ann"})
    await eventually(lambda: office.pool.fetchval("SELECT overdue = 0 FROM read.tasks_overdue"), 60)


async def test_tasks_about_an_officer_are_not_ended_by_that_officer(office: Office, eventually: Eventually) -> None:
    training = {"remedy": "seoul-remedy-unkind", "incident": "fault:desk/f1", "charter": "seoul@1"}
    await office.fact("fault.reported", {"ground": "unkind", "officer": "lee"})
    await office.decide("task.created", training | {"task": "courtesy_training"})
    await office.decide("task.created", training | {"task": "to_audit_and_law"})
    await eventually(office.quiet, 60)
    keys = await office.keys()
    head = Actor(TENANT, "han", frozenset({"head"}), "건축과")
    training_key = keys["courtesy_training"]
    for named in ("kim", "lee"):
        assert await office.refused(acting.finish, head._replace(staff=named), training_key, "done") == "at_fault"
    assert await office.refused(acting.finish, CLERK, training_key, "done") == "wrong_role"
    assert await office.refused(acting.finish, head._replace(department="세무과"), training_key, "done") == (
        "wrong_department"
    )
    assert await office.refused(acting.approve, BEA, training_key) == "no_remedy"
    assert (await office.act(acting.finish, head, training_key, "done")).state == "done"
    audit = Actor(TENANT, "aud", frozenset({"audit"}))
    assert await office.refused(acting.finish, head, keys["to_audit_and_law"], "taken") == "wrong_role"
    assert (await office.act(acting.finish, audit, keys["to_audit_and_law"], "taken")).state == "done"


async def test_a_finding_goes_by_the_door_as_the_desks(
    office: Office, eventually: Eventually, tenants: dict[str, Tenant], connect: Callable[[str], Awaitable[Client]]
) -> None:
    await office.decide("remedy.proposed", LATE)
    await eventually(office.quiet, 60)
    remedy = (await office.keys())["compensation"]
    heard: list[dict[str, Any]] = []

    async def intake(message: Msg) -> None:
        heard.append(json.loads(message.data))
        answer: dict[str, Any] = {"status": "accepted", "source": "desk", "id": heard[-1]["id"], "case": "c1"}
        if len(heard) == 3:
            answer = {"status": "refused", "code": "not_a_partner", "detail": "The desk is no partner here."}
        await message.respond(json.dumps(answer).encode())

    await office.nc.subscribe(f"door.{TENANT}.desk", cb=intake)
    await office.nc.flush()
    speaker = await connect("notifier")
    now = await office.now()
    for actor, code in ((CLERK, "wrong_role"), (KIM, "at_fault")):
        with pytest.raises(NotPossible) as reason:
            await findings.find(office.ledger, speaker, now, actor, remedy, "confirmed")
        assert reason.value.code == code
    with pytest.raises(NotPossible, match="just reason"):
        await findings.find(office.ledger, speaker, now, ANN, remedy, "dismissed", " ")
    receipt = await findings.find(office.ledger, speaker, now, ANN, remedy, "dismissed", "태풍으로 청사가 닫혔음")
    again = await findings.find(office.ledger, speaker, now, ANN, remedy, "dismissed", "태풍으로 청사가 닫혔음")
    assert receipt == again == {"status": "accepted", "source": "desk", "id": heard[0]["id"], "case": "c1"}
    assert heard[0] == heard[1]
    judged = judge(heard[0], Publisher(TENANT, "desk"), tenants, now)
    assert (judged.type, judged.case) == ("fault.dismissed", "c1")
    with pytest.raises(NotPossible) as reason:
        await findings.find(office.ledger, speaker, now, BEA, remedy, "confirmed")
    assert (reason.value.code, str(reason.value)) == ("refused", "The desk is no partner here.")


async def test_a_finding_is_a_fact_that_intake_takes(
    world: World,  # noqa: F811
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
    pool: asyncpg.Pool,
) -> None:
    """The real door, under the notifier's own permissions: kept once, its words in the vault, back in the ledger."""
    office = Office(world.nc, world.pool, world.vault, world.gateway)
    app = build_app(settings("intake"))
    async with app.router.lifespan_context(app):
        opening = {"specversion": "1.0", "id": "e1", "source": "web", "type": "complaint.received", "subject": "c1"}
        opening |= {"time": "2026-03-10T09:00:00+09:00", "tenant": TENANT}
        applicant = {"name": "홍길동", "address": "안성시 1", "mobile": "010-0000-0001"}
        data = {"channel": "web", "kind": "inquiry", "title": "가로등", "applicant": applicant}
        answer = await office.nc.request(
            f"door.{TENANT}.web", json.dumps(opening | {"data": data}).encode(), timeout=60
        )
        assert json.loads(answer.data)["status"] == "accepted"
        nc = await connect("notifier")
        async with working(office, settings("notifier"), nc, Health("notifier")) as notifier:
            await clock.step(pool, AFTER_HOLD)
            office.last["CASES"] = (await nc.jetstream().stream_info("CASES")).state.last_seq
            await office.decide("remedy.proposed", LATE)
            await eventually(office.quiet, 60)
            office.notifier = notifier
            remedy, now = (await office.keys())["compensation"], await office.now()
            say = ("dismissed", "태풍으로 청사가 닫혔음")
            with failing_at("finding.after_door"), pytest.raises(failpoints.Struck):
                await findings.find(office.ledger, nc, now, ANN, remedy, *say)  # type: ignore[arg-type]
            receipt = await findings.find(office.ledger, nc, now, ANN, remedy, *say)  # type: ignore[arg-type]
            assert (receipt["status"], receipt["case"], receipt["source"]) == ("accepted", "c1", "desk")
            finding = "SELECT finding_by FROM read.tasks WHERE finding = 'dismissed'"
            await eventually(lambda: pool.fetchval(finding), 60)
            assert await pool.fetchval(finding) == "ann"
            later = await findings.find(office.ledger, nc, now + DAY, ANN, remedy, *say)  # type: ignore[arg-type]
            assert later["status"] == "accepted"
            with pytest.raises(NotPossible) as reason:
                await findings.find(office.ledger, nc, now, BEA, remedy, "confirmed")
            assert reason.value.code == "wrong_state"
        stored = await office._stored("CASES", f"cases.*.{TENANT}.fault.dismissed")
        assert [(one["id"], one["source"], one["data"]["by"]) for one in stored] == [(receipt["id"], "desk", "ann")]
        assert "태풍" not in json.dumps(stored, ensure_ascii=False)


@contextmanager
def failing_at(name: str) -> Iterator[None]:
    """What is ordered fails at that place, in this process, until the block is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failpoints, "_armed", failpoints._Armed(failpoints.parse(f"{name}:raise"), None))
        yield


async def test_a_letter_is_written_from_the_vault_and_on_record(
    office: Office, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await office.decide("remedy.proposed", {name: value for name, value in LATE.items() if name != "needs"})
    await eventually(office.quiet, 60)
    keys = await office.keys()
    now = await office.now()
    await office.act(acting.approve, BEA, keys["compensation"])
    letter = await letters.apology(office.ledger, office.vault, now, CLERK, keys["apology"], "ko")
    assert letter == await letters.apology(office.ledger, office.vault, now, CLERK, keys["apology"], "ko")
    assert letter.startswith(b"%PDF")
    assert letter != await letters.apology(office.ledger, office.vault, now, CLERK, keys["apology"], "en")
    record = await pool.fetch(
        "SELECT reader, purpose, kind, count(*) FROM vault.access WHERE purpose = 'apology' GROUP BY 1, 2, 3"
    )
    assert [tuple(row) for row in record] == [("clerk/cho", "apology", "person", 3)]
    for actor, code in ((OTHER_CLERK, "wrong_department"), (Actor(TENANT, "aud", frozenset({"audit"})), "wrong_role")):
        with pytest.raises(NotPossible) as reason:
            await letters.apology(office.ledger, office.vault, now, actor, keys["apology"], "ko")
        assert reason.value.code == code
    # A report that the vault seals from the office is not opened by this purpose, and the try is on record.
    await pool.execute("UPDATE vault.subjects SET confidential = true")
    with pytest.raises(NotAllowed):
        await letters.apology(office.ledger, office.vault, now, CLERK, keys["apology"], "ko")
    kinds = await pool.fetch("SELECT kind FROM vault.access WHERE purpose = 'apology' ORDER BY number")
    assert [row["kind"] for row in kinds] == ["person", "person", "person", "refused.person"]


_ALL = (
    "SELECT key, case_id, task, state, amount, currency, needs, release_at, cause, revision, remedy_key, department, "
    "lies_with, at_fault, due, finding, finding_by, overdue_at IS NULL FROM notifier.tasks ORDER BY key",
    "SELECT * FROM notifier.steps ORDER BY key, number",
    "SELECT key, entry, debit, credit, amount, day FROM notifier.book ORDER BY key, entry, cause",
    "SELECT key, template, state, topic, arguments, cause FROM notifier.notices ORDER BY key",
    "SELECT lane, number, subject, body FROM notifier.outbox ORDER BY lane, number",
)


async def test_what_people_did_comes_back_from_notices(
    world: World,  # noqa: F811
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
    pool: asyncpg.Pool,
) -> None:
    """The ledger is dropped, all of it, and worked out anew: approvals, amounts, payments, tasks done, and the book."""
    office = Office(world.nc, world.pool, world.vault, world.gateway)
    nc = await connect("notifier")
    owed = {name: value for name, value in LATE.items() if name != "needs"}
    async with working(office, settings("notifier"), nc, Health("notifier")) as notifier:
        for case in ("c1", "c2", "c3", "c4", "c5"):
            await office.received(case)
            await office.fact("complaint.assigned", {"department": "건축과", "officer": "kim"}, case)
        await clock.step(pool, AFTER_HOLD)
        for case in ("c1", "c2", "c3", "c4", "c5"):
            decided = OPEN if case == "c2" else LATE if case in ("c1", "c5") else owed
            await office.decide("remedy.proposed", decided | {"key": f"{TENANT}/{case}/{decided['incident']}"}, case)
        await office.fact("fault.confirmed", {"about": LATE["promise"], "ground": "late", "by": "ann"})
        await eventually(office.quiet, 60)
        office.notifier = notifier
        rows = await pool.fetch("SELECT \"case\", key FROM read.tasks WHERE task = 'compensation'")
        key = {row["case"]: row["key"] for row in rows}
        apology = await pool.fetchval("SELECT key FROM read.tasks WHERE task = 'apology' AND \"case\" = 'c1'")
        await office.act(acting.approve, BEA, key["c1"])
        await office.act(acting.finish, CLERK, apology, "by_letter")
        await office.act(acting.issue, CLERK, key["c1"], "voucher", "AB-7")
        await office.act(acting.acknowledge, CLERK, key["c1"], "returned")
        await office.act(acting.enter_amount, ANN, key["c2"], 12_000)
        # Approved, withdrawn, owed again and declined; and issued, then kept.
        await office.act(acting.approve, BEA, key["c3"])
        await office.decide("remedy.withdrawn", owed, "c3")
        await office.decide("remedy.proposed", owed | {"key": f"{TENANT}/c3/{owed['incident']}"}, "c3")
        await office.act(acting.approve, BEA, key["c4"])
        await office.act(acting.issue, CLERK, key["c4"], "by_hand")
        await office.decide("remedy.withdrawn", owed, "c4")
        await clock.step(pool, instant("2026-03-23T09:00:00+09:00"))  # c5 is overdue
        await eventually(office.quiet, 60)
        await office.act(acting.decline, BEA, key["c3"], "no_loss")
        await eventually(office.quiet, 60)
    before = [await pool.fetch(query) for query in _ALL]
    states = {row["case_id"]: row["state"] for row in before[0] if row["task"] == "compensation"}
    assert states == {"c1": "acknowledged", "c2": "assigned", "c3": "declined", "c4": "kept", "c5": "assigned"}
    told, record = await office._stored("NOTICES", "notices.>"), office.gateway.record()
    assert Counter(event["type"] for event in told)["task.overdue"] == 1

    await _lose_ledger(pool)
    async with working(office, settings("notifier"), nc, Health("notifier")) as notifier:
        await eventually(office.quiet, 60)
        await eventually(lambda: _empty(pool, "notifier.recovery"), 60)
        for query, rows in zip(_ALL, before, strict=True):
            assert await pool.fetch(query) == rows
        assert await office._stored("NOTICES", "notices.>") == told
        assert office.gateway.record() == record
        office.notifier = notifier
        assert await office.refused(acting.approve, ANN, key["c2"]) == "four_eyes"
        assert await office.refused(acting.issue, BEA, key["c4"], "by_hand") == "wrong_state"
        assert (await office.act(acting.approve, BEA, key["c2"])).amount == 12_000


async def test_a_ledger_put_back_from_yesterday_learns_what_people_did_since(
    world: World,  # noqa: F811
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    eventually: Eventually,
    pool: asyncpg.Pool,
) -> None:
    """The tasks are there as of then; the steps and the book's entries since come from NOTICES."""
    office = Office(world.nc, world.pool, world.vault, world.gateway)
    nc = await connect("notifier")
    async with working(office, settings("notifier"), nc, Health("notifier")):
        await office.received()
        await clock.step(pool, AFTER_HOLD)
        await office.decide("remedy.proposed", LATE)
        await office.fact("fault.confirmed", {"about": LATE["promise"], "ground": "late", "by": "ann"})
        await eventually(office.quiet, 60)
    names = ("tasks", "steps", "book", "notices", "attempts", "outbox", "relay", "position", "cases")
    for name in names:
        await pool.execute(f"CREATE TABLE saved_{name} AS TABLE notifier.{name}")
    async with working(office, settings("notifier"), nc, Health("notifier")) as notifier:
        await eventually(lambda: notifier.ledger is not None, 60)
        office.notifier = notifier
        remedy = (await office.keys())["compensation"]
        await office.act(acting.approve, BEA, remedy)
        await eventually(office.quiet, 60)
        await office.act(acting.issue, ANN, remedy, "by_hand")
        await eventually(office.quiet, 60)
    after = [await pool.fetch(query) for query in _ALL[:3]]
    told, record = await office._stored("NOTICES", "notices.>"), office.gateway.record()
    await empty(pool, "TRUNCATE " + ", ".join(f"notifier.{name}" for name in names))
    for name in names:
        columns = await pool.fetchval(
            "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns "
            "WHERE table_schema = 'notifier' AND table_name = $1",
            name,
        )
        await pool.execute(
            f"INSERT INTO notifier.{name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM saved_{name}"
        )
    async with working(office, settings("notifier"), nc, Health("notifier")) as notifier:
        await eventually(lambda: notifier.ledger is not None, 60)
        await eventually(lambda: _empty(pool, "notifier.recovery"), 60)
        await eventually(office.quiet, 60)
    for query, rows in zip(_ALL, after, strict=False):
        assert await pool.fetch(query) == rows
    assert await office._stored("NOTICES", "notices.>") == told
    assert office.gateway.record() == record


async def test_the_book_says_what_the_logs_say(office: Office, eventually: Eventually) -> None:
    """Promises are broken by the rules themselves; people decide; then the book is spoilt, and that is seen."""
    cases = ("c7", "c8", "c9")
    for case in cases:
        await office.received(case)
    tick = {"specversion": "1.0", "id": "tick", "source": "gihan/sla_timer", "type": "clock.advanced"}
    tick |= {"time": "2026-04-01T00:00:00+09:00", "data": {"to": "2026-04-01T00:00:00+09:00"}}
    stream = office.nc.jetstream()
    for number in sorted({partition(TENANT, case) for case in cases}):
        await stream.publish(f"cases.{number}.clock", json.dumps(tick | {"partition": number}).encode())
    office.last["CASES"] = (await stream.stream_info("CASES")).state.last_seq
    library = Library(files.read())
    for number in sorted({partition(TENANT, case) for case in cases}):
        folded = Folded(library, number)
        async for entry in read_up_to(office.nc, "CASES", office.last["CASES"], subject=f"cases.{number}.>"):
            for told in folded.take(entry.sequence, entry.data):
                office.last["SLA"] = (await stream.publish(told.subject, told.body.encode(), stream="SLA")).seq
    await clock.step(office.pool, instant("2026-04-02T00:00:00+09:00"))
    await eventually(office.quiet, 60)
    rows = await office.pool.fetch(
        "SELECT \"case\", key FROM read.tasks WHERE remedy = 'anseong-remedy-standard' AND task = 'compensation'"
    )
    keys = {row["case"]: row["key"] for row in rows}
    assert cases == tuple(sorted(keys))[-3:]
    await office.act(acting.approve, BEA, keys["c7"])
    await office.act(acting.issue, ANN, keys["c7"], "by_hand")
    await office.act(acting.decline, BEA, keys["c8"], "no_loss")
    await eventually(office.quiet, 60)
    assert await remedies.differences(office.nc, office.pool) == []
    [row] = [row for row in await remedies.sums(office.pool, ["clause", "month"], TENANT) if row["paid"]]
    assert (row["city"], row["clause"], row["month"], row["currency"]) == (
        *(TENANT, "anseong-remedy-standard", "2026-04", "KRW"),
    )
    assert (row["paid"], row["declined"]) == (10_000, 10_000)

    await office.pool.execute("UPDATE notifier.book SET amount = 9999 WHERE key = $1 AND entry = 'issued'", keys["c7"])
    spoilt = await remedies.differences(office.nc, office.pool)
    assert len(spoilt) == 2
    assert all("/c7/" in said for said in spoilt)
    assert "9,999" in spoilt[1]


async def _empty(pool: asyncpg.Pool, table: str) -> bool:
    return not await pool.fetchval(f"SELECT count(*) FROM {table}")


@pytest.mark.parametrize("place", ["compensation.after_step", "ledger.after_states", ""])
async def test_who_is_killed_in_the_middle_has_done_all_of_it_or_nothing(
    office: Office, eventually: Eventually, settings: Callable[..., Settings], pool: asyncpg.Pool, place: str
) -> None:
    """A process of its own approves under the generation of the lease; it dies at the failpoint, and is asked again."""
    await office.decide("remedy.proposed", {name: value for name, value in LATE.items() if name != "needs"})
    await eventually(office.quiet, 60)
    remedy = (await office.keys())["compensation"]
    for armed in (place, ""):
        environment = os.environ | {"GIHAN_FAILPOINTS_ALLOWED": "yes", "PYTHONPATH": str(ROOT)}
        if armed:
            environment["GIHAN_FAILPOINTS"] = f"{armed}:kill"
        told = {"database": settings("notifier").database_url, "key": remedy, "now": await office.now()}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, json.dumps(told)), cwd=ROOT, env=environment
        )
        ended = await process.wait()
        assert ended == (-signal.SIGKILL if armed else 0)
        if armed:
            assert await office.tasks() == {"compensation": "assigned", "apology": "assigned"}
            assert await _empty(pool, "notifier.steps")
    await eventually(office.quiet, 60)
    assert await office.tasks() == {"compensation": "approved", "apology": "assigned"}
    assert Counter(await office.told())["remedy.approved"] == 1
    assert await office.sums() == (5_000, 0, 0, 5_000, 0, 5_000)


async def main(told: dict[str, Any]) -> None:
    """Approves as the notifier that holds the lease would."""
    from contracts.streams import PARTITIONS, notices_mark
    from services.notifier import pacing
    from services.rules import tenants

    arming = Settings.from_env("notifier", os.environ | {"DATABASE_URL": told["database"], "NATS_URL": "nats://none"})
    failpoints.arm(arming)
    known = tenants.parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
    async with asyncpg.create_pool(told["database"]) as pool, asyncio.timeout(60):
        while True:
            generation = await pool.fetchval("SELECT generation FROM chassis.leases WHERE name = $1", LEASE)
            outbox = Outbox(
                stream="NOTICES",
                table="notifier.outbox",
                relay_table="notifier.relay",
                mark=notices_mark,
                lanes=range(PARTITIONS),
            )
            try:
                ledger = Ledger(pool, outbox, known, pacing.of(known), generation)
                await acting.approve(ledger, told["now"], BEA, told["key"])
            except Fenced:
                continue
            return


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
