"""Forgetting and the change of master keys, cut off between any two durable effects.

Goal: whoever was promised to be forgotten is forgotten, by the same command again or by whichever service opens the
vault first; nobody else's data is lost; nothing is half erased. Method: the operator's commands as processes of their
own, on real servers, each ended (SIGKILL) or failing at each of its failpoints; then what stands is looked at, and
carried on.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.embedded import Embedded
from services.chassis import postgres
from services.chassis.clock import RealClock
from services.chassis.settings import ROOT, Settings
from services.chassis.vault import Erased, Vault, VaultError, open_vault
from services.cli import running
from services.intake.erasure import carry_out
from services.rules.tenants import Tenant, parse

CITY = "seoul"
CLERK = ("handle", "clerk/kim")
PERSON = {"name": "홍길동", "mobile": "010-0000-0001", "address": "서울시 1"}
OLD_EPOCH = "2026-01-01"
ENDS = {"kill": -9, "raise": 2}

PLACES: dict[str, tuple[str, ...]] = {
    "erase": ("vault.after_access_record", "erasure.after_ledger", "vault.after_forgetting", "erasure.after_vault"),
    "retain": ("retention.after_record", "retention.after_ledger", "vault.after_forgetting", "erasure.after_vault"),
    "rotate": ("rotation.after_new_key", "rotation.after_batch", "rotation.after_destruction"),
}
"""The failpoints of each command."""


class Office:
    """The servers and the vault of a city, and an operator at its command line."""

    def __init__(self, servers: Embedded, vault: Vault, conn: asyncpg.Connection) -> None:
        self.servers, self.vault, self.conn = servers, vault, conn
        self._cases = 0

    async def run(self, *words: str, at: str = "", action: str = "kill") -> int:
        """The end of a command, which something may happen to at a failpoint."""
        orders = {"GIHAN_FAILPOINTS": f"{at}:{action}", "GIHAN_FAILPOINTS_ALLOWED": "yes"} if at else {}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.cli.main", *words, "--data", str(self.servers.data)),
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if k not in ("NATS_URL", "DATABASE_URL")} | orders,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        assert not [word for word in PERSON.values() if word.encode() in said]
        return process.returncode or 0

    async def visit(self, recorded: int) -> str:
        """A citizen who asked to be called back, as intake keeps it: a person, a text, an event with its hash."""
        self._cases += 1
        case, fields = f"c-{self._cases}", PERSON | {"mobile": f"010-0000-{self._cases:04d}"}
        async with self.conn.transaction():
            ref = await self.vault.seal_person(self.conn, CITY, fields)
            text = await self.vault.seal_text(self.conn, CITY, ref, "가로등이 꺼졌습니다")
            for table, name in (("subjects", ref), ("texts", text)):
                column = "subject_ref" if table == "subjects" else "text_ref"
                await self.conn.execute(f"update vault.{table} set case_id = $1 where {column} = $2", case, name)
            person = await self.conn.fetchval("select person from vault.subjects where subject_ref = $1", ref)
            await self.conn.execute(
                "insert into intake.cases (tenant, case_id, owner, receipt, subject_ref)"
                " values ($1, $2, 'web', $2, $3)",
                *(CITY, case, ref),
            )
            await self.conn.execute(
                "insert into intake.reservations (tenant, source, id, type, case_id, person, content_hash, occurred,"
                " recorded, subjects, bodies, subject_ref, waited) values"
                " ($1, 'web', $2, 'callback.requested', $2, $3, '\\x00', $4, $4, '{}', '{\"{}\"}', $5, false)",
                *(CITY, case, person, recorded, ref),
            )
        return case

    async def known(self, case: str) -> tuple[bool, bool, bool]:
        """Whether the person of a case, what they wrote, and the hash of what came can be read."""
        ref, compared = await self.conn.fetchrow(
            "select subject_ref, content_hash is not null from intake.reservations where case_id = $1", case
        )
        text = await self.conn.fetchval("select text_ref from vault.texts where case_id = $1", case)
        try:
            named = "name" in await self.vault.read_person(self.conn, CITY, ref, *CLERK)
        except Erased:
            named = False
        return named, text is not None, compared

    async def is_whole(self) -> None:
        """No key is lost, and the record of who read what holds."""
        assert await self.vault.unreadable(self.conn) == {}
        assert await self.vault.verify_access_chain(self.conn, CITY) is None


@pytest.fixture
async def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    for name in ("NATS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    tenants: dict[str, Tenant] = parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
    data = tmp_path / "data"
    async with Embedded(data, tenants) as servers:
        await running.provisioned(servers, tenants)
        vault = open_vault(Settings.from_env("intake", servers.environment("intake")))
        vault.master.make(OLD_EPOCH)
        connection = await asyncpg.connect(servers.database_url)
        yield Office(servers, vault, connection)
        await connection.close()


async def _opened_by_the_notifier_first(office: Office) -> None:
    """Each service carries the ledger out before it opens the vault; this one has no rights in intake's schema."""
    settings = Settings.from_env("notifier", office.servers.environment("notifier"))
    connection = await postgres.connect(settings)
    await office.vault.carry_out(connection)
    await connection.close()
    await carry_out(office.conn, office.vault)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", ENDS)
async def test_who_is_erased_is_erased_wherever_the_command_ended(office: Office, action: str) -> None:
    now = await RealClock().now()
    other = await office.visit(now)
    for place in PLACES["erase"]:
        case = await office.visit(now)
        command = ("erase", CITY, "--receipt", case, "--yes")
        assert await office.run(*command, at=place, action=action) == ENDS[action], place
        assert await office.known(case) == (True, True, True), place  # whole, since it is one transaction
        if place == "vault.after_access_record":  # nobody was promised anything yet
            assert await office.run(*command) == 0
        else:
            await _opened_by_the_notifier_first(office)
        assert await office.known(case) == (False, False, False), place
        await office.is_whole()
    assert await office.known(other) == (True, True, True)
    kinds = await office.conn.fetch("select kind, count(*) from vault.access where kind = 'erased' group by 1")
    assert [tuple(row) for row in kinds] == [("erased", len(PLACES["erase"]) + 1)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", ENDS)
async def test_what_is_past_its_time_is_erased_on_record_wherever_it_ended(office: Office, action: str) -> None:
    other = await office.visit(await RealClock().now())
    for place in PLACES["retain"]:
        case = await office.visit(recorded=0)
        assert await office.run("vault", "retain", at=place, action=action) == ENDS[action], place
        assert await office.known(case) == (True, True, True), place
        if place == "retention.after_record":
            assert await office.run("vault", "retain") == 0
        else:
            await _opened_by_the_notifier_first(office)
        assert await office.known(case) == (False, False, False), place
        on_record = "select count(*) from vault.access where kind = 'case.erased' and ref = $1"
        assert await office.conn.fetchval(on_record, case) >= 1, place
        await office.is_whole()
    assert await office.known(other) == (True, True, True)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", ENDS)
async def test_a_change_of_master_keys_loses_nothing_wherever_it_ended(office: Office, action: str) -> None:
    cases = [await office.visit(await RealClock().now()) for _ in range(3)]
    assert set(await office.vault.usage(office.conn)) == {OLD_EPOCH}
    used: list[Any] = []
    for place in PLACES["rotate"]:
        assert await office.run("vault", "rotate", at=place, action=action) == ENDS[action], place
        for case in cases:
            assert await office.known(case) == (True, True, True), place
        await office.is_whole()
        used.append(len(await office.vault.usage(office.conn)))
    assert used == [1, 2, 1]  # by the old one, by both, by the new one
    assert await office.run("vault", "rotate") == 0
    [newest] = await office.vault.usage(office.conn)
    assert newest == max(office.vault.master.epochs)
    assert date.fromisoformat(newest) > date.fromisoformat(OLD_EPOCH)
    assert "1970-01-01" not in office.vault.master.epochs  # nothing was wrapped by it, and its time was over
    assert [await office.known(case) for case in cases] == [(True, True, True)] * 3
    await office.is_whole()


async def test_the_ledger_of_another_vault_is_refused_by_intake_too(office: Office) -> None:
    """Although the vault's own part would be carried out no more."""
    case = await office.visit(await RealClock().now())
    assert await office.run("erase", CITY, "--receipt", case, "--yes") == 0
    await office.conn.execute("update intake.erasures set digest = 'of another one'")
    with pytest.raises(VaultError, match="is not the ledger of erasures"):
        await carry_out(office.conn, office.vault)
