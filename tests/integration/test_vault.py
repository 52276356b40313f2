"""The vault on a real PostgreSQL: it joins the refs of one person, records every reading, and forgets with a key."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.chassis.vault import (
    Connection,
    Erased,
    Erasure,
    Head,
    MasterKeyMissing,
    NotAllowed,
    Sealing,
    Vault,
    VaultError,
    make_confidential,
    mask_resident_numbers,
)
from services.chassis.vault.access import Line, access_report
from services.chassis.vault.keys import MasterKeys
from services.chassis.vault.purposes import may, purposes

PERSON = {"name": "홍 길동", "phone": "02-000-0001", "mobile": "010-0000-0001"}
CLERK = ("handle", "clerk/kim")
AUDIT = ("confidential_report", "audit/lee")
DAYS = [date(2026, 4, day) for day in range(6, 13)]
KEEP = 4


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault with a master key of its own."""
    folder = tmp_path / "keys"
    folder.mkdir()
    MasterKeys(folder).make("2026-04-05")
    return Vault(folder)


@pytest.fixture
async def conn(pool: asyncpg.Pool) -> AsyncIterator[Connection]:
    """A connection to this test's database."""
    async with pool.acquire() as connection:
        yield connection


async def test_refs_of_one_person_are_joined_within_a_tenant_only(vault: Vault, conn: Connection) -> None:
    refs = [
        await vault.seal_person(conn, "seoul", PERSON),
        await vault.seal_person(conn, "seoul", {"name": "홍길동", "mobile": "+82 10 0000 0001"}),
        await vault.seal_person(conn, "seoul", {"name": "홍길동", "phone": "(02) 000-0001", "address": "종로 1"}),
        await vault.seal_person(conn, "seoul", {"name": "김길동", "mobile": "010-0000-0001"}),
        await vault.seal_person(conn, "seoul", {"name": "홍길동", "address": "종로 1"}),
        await vault.seal_person(conn, "seoul", {"name": "홍길동", "address": "종로1"}),
        await vault.seal_person(conn, "mapo", PERSON),
        await vault.seal_person(conn, "seoul", {"name": "홍길동"}),
    ]
    assert len(set(refs)) == 8
    tenants = ["seoul"] * 6 + ["mapo", "seoul"]
    people = await vault.people_of(conn, list(zip(tenants, refs, strict=True)))
    numbers: dict[object, int] = {}
    order = [numbers.setdefault(people[key].id, len(numbers)) for key in zip(tenants, refs, strict=True)]
    assert order == [0, 0, 0, 1, 2, 2, 3, 4]
    assert await vault.read_person(conn, "seoul", refs[0], *CLERK) == PERSON


async def test_many_people_at_once(vault: Vault, conn: Connection) -> None:
    wanted = [("seoul", {"name": f"n{n % 50}", "mobile": f"010-0000-{n % 50:04}"}) for n in range(200)]
    people = await vault.people(conn, wanted)
    assert len({p.id for p in people}) == 50
    assert [p.id for p in await vault.people(conn, wanted)] == [p.id for p in people]


async def test_every_reading_is_recorded_and_a_changed_record_is_found(vault: Vault, conn: Connection) -> None:
    ref = await vault.seal_person(conn, "seoul", PERSON)
    text = await vault.seal_text(conn, "seoul", ref, "900101-1234567 입니다")
    await vault.seal_staff(conn, "seoul", "k1", {"name": "이순신", "phone": "000-000-0009"})
    # A message is sent to a number; nobody need know the telephone on the desk at home for that.
    assert await vault.read_person(conn, "seoul", ref, "notify:receipt", "notifier") == {
        "name": "홍 길동",
        "mobile": "010-0000-0001",
    }
    assert await vault.read_text(conn, "seoul", text, *CLERK) == "******-******* 입니다"
    assert (await vault.read_staff(conn, "seoul", "k1", "notify:warned", "notifier"))["name"] == "이순신"
    with pytest.raises(VaultError, match="unknown"):
        await vault.read_person(conn, "seoul", "s-unknown", *CLERK)
    for purpose, reader in (("curiosity", "clerk/kim"), ("handle", "notifier"), ("handle", "kim"), ("", "clerk/kim")):
        with pytest.raises(NotAllowed, match="on record"):
            await vault.read_person(conn, "seoul", ref, purpose, reader)
    with pytest.raises(NotAllowed):
        await vault.read_text(conn, "seoul", text, "notify:receipt", "notifier")
    rows = await conn.fetch("select number, reader, purpose, kind, ref from vault.access order by number")
    assert [tuple(row) for row in rows] == [
        (1, "notifier", "notify:receipt", "person", ref),
        (2, "clerk/kim", "handle", "text", text),
        (3, "notifier", "notify:warned", "staff", "k1"),
        (4, "clerk/kim", "handle", "person", "s-unknown"),
        (5, "clerk/kim", "curiosity", "refused.person", ref),
        (6, "notifier", "handle", "refused.person", ref),
        (7, "kim", "handle", "refused.person", ref),
        (8, "clerk/kim", "", "refused.person", ref),
        (9, "notifier", "notify:receipt", "refused.text", text),
    ]
    assert await vault.verify_access_chain(conn, "seoul") is None
    with pytest.raises(asyncpg.RaiseError):
        await conn.execute("delete from vault.access")
    await conn.execute("alter table vault.access disable trigger append_only")
    await conn.execute("update vault.access set reader = 'nobody' where number = 2")
    assert await vault.verify_access_chain(conn, "seoul") == 2
    await conn.execute("delete from vault.access where number >= 2")
    assert await vault.verify_access_chain(conn, "seoul") == 2


async def test_a_reading_and_its_record_stand_or_fall_together(vault: Vault, conn: Connection) -> None:
    ref = await vault.seal_person(conn, "seoul", PERSON)
    await conn.execute("alter table vault.access add constraint no_more check (number < 1)")
    with pytest.raises(asyncpg.CheckViolationError):
        await vault.read_person(conn, "seoul", ref, *CLERK)


async def test_a_record_written_anew_from_the_beginning_is_found_by_a_head_kept_elsewhere(
    vault: Vault, conn: Connection
) -> None:
    ref = await vault.seal_person(conn, "seoul", PERSON)
    for _ in range(3):
        await vault.read_person(conn, "seoul", ref, *CLERK)
    begin, end = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    kept = (await access_report(conn, vault, "seoul", begin, end)).head
    assert kept is not None
    assert kept.number == 3
    await vault.read_person(conn, "seoul", ref, *CLERK)
    assert await vault.verify_access_chain(conn, "seoul", kept) is None
    await conn.execute("alter table vault.access disable trigger append_only")
    await conn.execute("delete from vault.access; delete from vault.access_head")
    for _ in range(4):
        await vault.record(conn, "seoul", "clerk/other", "handle", "person", ref)
    assert await vault.verify_access_chain(conn, "seoul") is None
    assert await vault.verify_access_chain(conn, "seoul", kept) == 3
    assert await vault.verify_access_chain(conn, "seoul", Head(9, kept.hash)) == 9


async def test_the_report_counts_and_names_no_citizen(vault: Vault, conn: Connection) -> None:
    refs = [await vault.seal_person(conn, "seoul", {**PERSON, "name": name}) for name in ("홍길동", "김길동")]
    for ref in (*refs, refs[0]):
        await vault.read_person(conn, "seoul", ref, "notify:receipt", "notifier")
    await vault.look_up(conn, "seoul", "010 0000 0001", "look_up", "clerk/kim")
    with pytest.raises(NotAllowed):
        await vault.read_person(conn, "seoul", refs[0], "look_up", "clerk/kim")
    now = await conn.fetchval("select clock_timestamp()")
    report = await access_report(conn, vault, "seoul", now.replace(year=now.year - 1), now)
    counted = [(line.reader, line.purpose, line.kind, line.times, line.references) for line in report.lines]
    assert counted == [
        ("notifier", "notify", "person", 3, 2),
        ("clerk/kim", "look_up", "lookup", 2, 2),
        ("clerk/kim", "look_up", "refused.person", 1, 1),
    ]
    assert (report.records, report.refused, report.broken_at) == (6, 1, None)
    assert not [word for word in (*PERSON.values(), "홍길동", *refs) if word in str(report)]
    earlier = await access_report(conn, vault, "seoul", now.replace(year=now.year - 2), now.replace(year=now.year - 1))
    assert earlier.lines == []
    assert Line._fields[:3] == ("reader", "purpose", "kind")


async def test_a_number_leads_to_whoever_has_it(vault: Vault, conn: Connection) -> None:
    mine = [await vault.seal_person(conn, "seoul", PERSON) for _ in range(2)]
    wife = await vault.seal_person(conn, "seoul", {"name": "성춘향", "phone": "(02) 000-0001"})
    nameless = await vault.seal_person(conn, "seoul", {"phone": "02-000-0001"})
    await vault.seal_person(conn, "mapo", PERSON)
    await vault.seal_person(conn, "seoul", {"name": "이몽룡", "phone": "02-000-0002"})

    async def found(number: str, purpose: str = "look_up", reader: str = "clerk/kim") -> set[str]:
        return set(await vault.look_up(conn, "seoul", number, purpose, reader))

    assert await found("+82 2 000 0001") == {*mine, wife, nameless}
    assert await found("０１０－００００－０００１") == set(mine)
    assert await found("010-0000-0009") == set()
    assert await found("") == set()
    with pytest.raises(NotAllowed):
        await found("010-0000-0001", "handle")
    person = (await vault.people_of(conn, [("seoul", mine[0])]))["seoul", mine[0]]
    sealing = Sealing()
    changed = sealing.person(person, {"mobile": "010-0000-0007"})
    await sealing.write(conn)
    await vault.complete_person(conn, person, changed, mine[0])
    assert changed in await found("01000000007")
    rows = await conn.fetch("select ref from vault.access where kind = 'lookup' order by number")
    assert "nobody" in [row["ref"] for row in rows]
    assert not [row for row in rows if "0000" in row["ref"]]


async def test_who_reports_corruption_is_sealed_from_clerks(vault: Vault, conn: Connection) -> None:
    person = (await vault.people(conn, [("seoul", PERSON)]))[0]
    sealing = Sealing()
    open_ref = sealing.person(person, PERSON, "c-1")
    ref = sealing.person(person, PERSON, "c-2", confidential=True)
    text = sealing.text("seoul", person, "그가 돈을 받았다", "c-2", confidential=True)
    later = sealing.text("seoul", person, "민원이었으나 신고로 분류되다", "c-1")
    await sealing.write(conn)
    for reading in (
        vault.read_person(conn, "seoul", ref, *CLERK),
        vault.read_text(conn, "seoul", text, *CLERK),
    ):
        with pytest.raises(NotAllowed):
            await reading
    assert await vault.look_up(conn, "seoul", "010-0000-0001", "look_up", "clerk/kim") == [open_ref]
    assert await vault.read_person(conn, "seoul", ref, *AUDIT) == PERSON
    assert await vault.read_text(conn, "seoul", text, *AUDIT) == "그가 돈을 받았다"
    assert set(await vault.look_up(conn, "seoul", "010-0000-0001", *AUDIT)) == {open_ref, ref}
    assert "mobile" in await vault.read_person(conn, "seoul", ref, "notify:receipt", "notifier")
    assert await vault.read_text(conn, "seoul", later, *CLERK) == "민원이었으나 신고로 분류되다"
    await make_confidential(conn, "seoul", "c-1")
    for reading in (
        vault.read_person(conn, "seoul", open_ref, *CLERK),
        vault.read_text(conn, "seoul", later, *CLERK),
    ):
        with pytest.raises(NotAllowed):
            await reading


def test_only_the_audit_office_reads_who_reported() -> None:
    """People, that is: the notifier writes to a reporter, who gets a copy of what is kept of them when they ask."""
    opened = {role for purpose in purposes().values() if purpose.confidential for role in purpose.roles}
    assert opened == {"audit", "notifier", "intake", "privacy", "operator"}
    assert may("handle", "audit/lee", "person") is None
    assert may("handle:c-1", "clerk/kim", "person") is purposes()["handle"]
    assert may("handle", "clerk/kim", "letter") is None


async def test_without_its_key_a_person_cannot_be_read(vault: Vault, conn: Connection) -> None:
    ref = await vault.seal_person(conn, "seoul", PERSON)
    text = await vault.seal_text(conn, "seoul", ref, "글")
    await conn.execute("delete from vault.people")
    for reading in (
        vault.read_person(conn, "seoul", ref, *CLERK),
        vault.read_text(conn, "seoul", text, *CLERK),
    ):
        with pytest.raises(Erased):
            await reading


async def test_another_master_key_of_the_same_date_opens_nothing(
    vault: Vault, conn: Connection, tmp_path: Path
) -> None:
    ref = await vault.seal_person(conn, "seoul", PERSON)
    other = tmp_path / "other"
    other.mkdir()
    MasterKeys(other).make("2026-04-05")
    with pytest.raises(VaultError, match=r"2026-04-05\.key: it was wrapped by another master key"):
        await Vault(other).read_person(conn, "seoul", ref, *CLERK)


async def test_sealed_data_opens_only_in_its_place(vault: Vault, conn: Connection) -> None:
    first, second = [await vault.seal_person(conn, "seoul", PERSON) for _ in range(2)]
    await conn.execute(
        "update vault.subjects set name = (select name from vault.subjects where subject_ref = $1)"
        " where subject_ref = $2",
        first,
        second,
    )
    with pytest.raises(VaultError, match="moved or changed"):
        await vault.read_person(conn, "seoul", second, *CLERK)


async def test_changed_details_are_filled_up_from_those_before(vault: Vault, conn: Connection) -> None:
    base = await vault.seal_person(conn, "seoul", PERSON)
    person = (await vault.people_of(conn, [("seoul", base)]))["seoul", base]
    sealing = Sealing()
    ref = sealing.person(person, {"mobile": "", "email": "a@b.example"})
    await sealing.write(conn)
    await vault.complete_person(conn, person, ref, base)
    assert await vault.read_person(conn, "seoul", ref, *CLERK) == {
        "name": "홍 길동",
        "phone": "02-000-0001",
        "email": "a@b.example",
    }


# Master keys


async def test_each_day_has_a_master_key_and_old_ones_go_with_their_time(
    vault: Vault, pool: asyncpg.Pool, conn: Connection
) -> None:
    """Rotated daily: a key is destroyed on the fifth day after its own, four after the next one took its place."""
    await conn.execute("select setseed(0)")
    ref = await vault.seal_person(conn, "seoul", PERSON)
    text = await vault.seal_text(conn, "seoul", None, "글")
    await vault.seal_staff(conn, "seoul", "k1", {"name": "이순신"})
    letter = await vault.seal_letter(conn, "seoul", "l1", b"letter", 10)
    assert await vault.usage(conn) == {"2026-04-05": 5}  # two of the tenant, a person, an official, a letter
    destroyed = {}
    for day in DAYS:
        done = await vault.rotate(pool, day, KEEP)
        assert (done.epoch, done.wrapped, done.unreadable) == (day.isoformat(), 5, {})
        destroyed[day.day] = done.destroyed
        assert (await vault.rotate(pool, day, KEEP)).wrapped == 0
        assert await vault.read_person(conn, "seoul", ref, *CLERK) == PERSON
    assert destroyed == {
        6: [],
        7: [],
        8: [],
        9: [],
        10: ["2026-04-05"],
        11: ["2026-04-06"],
        12: ["2026-04-07"],
    }
    assert vault.master.epochs == ["2026-04-08", "2026-04-09", "2026-04-10", "2026-04-11", "2026-04-12"]
    assert await vault.read_text(conn, "seoul", text, *CLERK) == "글"
    assert await vault.read_staff(conn, "seoul", "k1", *CLERK) == {"name": "이순신"}
    assert await vault.read_letter(conn, "seoul", "l1", letter, "dead_letter", "operator/kim") == [b"letter"]


async def test_a_rotation_is_broken_off_and_goes_on(
    vault: Vault, pool: asyncpg.Pool, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [("seoul", {"name": f"n{n}", "mobile": f"010-0000-{n:04}"}) for n in range(25)]
    await vault.people(conn, wanted)
    monkeypatch.setattr("services.chassis.vault.rotation.BATCH_KEYS", 10)
    wrap, times = vault.master.wrap, iter(range(17))

    def dies(key: bytes, place: str) -> bytes:
        if next(times, None) is None:
            raise KeyboardInterrupt
        return wrap(key, place)

    with monkeypatch.context() as patch:
        patch.setattr(vault.master, "wrap", dies)
        with pytest.raises(KeyboardInterrupt):
            await vault.rotate(pool, DAYS[0], KEEP)
    # 27 keys: two of the tenant and ten people are done, the batch in which it died is not.
    assert await vault.usage(conn) == {"2026-04-05": 15, "2026-04-06": 12}
    assert (await vault.rotate(pool, DAYS[0], KEEP)).wrapped == 15
    assert await vault.usage(conn) == {"2026-04-06": 27}
    assert len({person.id for person in await vault.people(conn, wanted)}) == 25


async def test_no_master_key_goes_while_it_opens_anything(vault: Vault, pool: asyncpg.Pool, conn: Connection) -> None:
    await vault.rotate(pool, DAYS[0], KEEP)
    (vault.master.folder / "2026-04-05.old").write_bytes((vault.master.folder / "2026-04-05.key").read_bytes())
    elsewhere = Vault(vault.master.folder)
    ref = await vault.seal_person(conn, "seoul", PERSON)
    # As if another host, to which the new key was not brought, had gone on with the old one.
    key = (await vault.people_of(conn, [("seoul", ref)]))["seoul", ref]
    newest = vault.master.folder / "2026-04-06.key"
    hidden = newest.rename(newest.with_suffix(".hidden"))
    old = elsewhere.master.wrap(key.key, f"seoul|{key.id}|key")
    hidden.rename(newest)
    await conn.execute("update vault.people set data_key = $1", old)
    assert (await vault.rotate(pool, DAYS[6], KEEP)).destroyed == []
    assert (await vault.rotate(pool, DAYS[6], KEEP)).destroyed == ["2026-04-05"]
    assert await vault.read_person(conn, "seoul", ref, *CLERK) == PERSON


async def test_a_missing_master_key_is_named_and_nothing_is_lost(
    vault: Vault, pool: asyncpg.Pool, conn: Connection
) -> None:
    ref = await vault.seal_person(conn, "seoul", PERSON)
    file = vault.master.folder / "2026-04-05.key"
    away = file.rename(file.with_suffix(".away"))
    vault.master.make("2026-04-06")
    with pytest.raises(MasterKeyMissing, match=r"2026-04-05\.key is not in .*put it back"):
        await vault.read_person(conn, "seoul", ref, *CLERK)
    with pytest.raises(MasterKeyMissing):
        await vault.seal_person(conn, "seoul", PERSON)
    assert (await vault.rotate(pool, DAYS[0], KEEP)).unreadable == {"2026-04-05": 3}
    away.rename(file)
    assert await vault.read_person(conn, "seoul", ref, *CLERK) == PERSON
    assert (await vault.rotate(pool, DAYS[0], KEEP)).unreadable == {}
    (vault.master.folder / "2026-04-06.key").unlink()
    file.unlink()
    with pytest.raises(MasterKeyMissing, match="There is no master key"):
        vault.master.wrap(bytes(32), "here")


async def test_what_no_master_key_opens_is_let_go_and_the_rest_works(vault: Vault, conn: Connection) -> None:
    ref = await vault.seal_person(conn, "seoul", PERSON)
    vault.master.make("2026-04-06")
    vault.master.destroy("2026-04-05")
    assert await vault.give_up(conn) == {"2026-04-05": 3}
    with pytest.raises(Erased):
        await vault.read_person(conn, "seoul", ref, *CLERK)
    again = await vault.seal_person(conn, "seoul", PERSON)
    assert await vault.read_person(conn, "seoul", again, *CLERK) == PERSON
    assert await vault.give_up(conn) == {}


def test_a_file_that_is_no_master_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "2026-04-05.key").write_bytes(b"short")
    with pytest.raises(VaultError, match="must have 32 bytes"):
        Vault(tmp_path)
    with pytest.raises(MasterKeyMissing, match="cannot be read"):
        Vault(tmp_path / "none")


# Erasure


async def person_of(vault: Vault, conn: Connection, ref: str) -> str:
    return str((await vault.people_of(conn, [("seoul", ref)]))["seoul", ref].id)


async def left(conn: Connection) -> dict[str, int]:
    """Rows of the vault in which anything is left."""
    tables = ("people", "blind_index", "numbers", "texts")
    counts = {table: await conn.fetchval(f"select count(*) from vault.{table}") for table in tables}
    query = "select count(*) from vault.subjects where coalesce(name, address, phone, mobile, email) is not null"
    return {**counts, "subjects": await conn.fetchval(query)}


async def test_who_is_erased_is_gone_and_comes_as_somebody_new(vault: Vault, conn: Connection) -> None:
    refs = [await vault.seal_person(conn, "seoul", PERSON) for _ in range(2)]
    other = await vault.seal_person(conn, "seoul", {"name": "성춘향", "mobile": "010-0000-0002"})
    texts = [await vault.seal_text(conn, "seoul", ref, "글") for ref in (refs[0], other)]
    await vault.read_person(conn, "seoul", refs[0], *CLERK)
    erased = await person_of(vault, conn, refs[0])
    vault.ledger.add([Erasure(1, "seoul", person=erased)])
    assert [one.person for one in await vault.carry_out(conn)] == [erased]
    assert await vault.carry_out(conn) == []
    for reading in (
        vault.read_person(conn, "seoul", refs[0], *CLERK),
        vault.read_person(conn, "seoul", refs[1], *CLERK),
        vault.read_text(conn, "seoul", texts[0], *CLERK),
    ):
        with pytest.raises(Erased):
            await reading
    assert await vault.read_text(conn, "seoul", texts[1], *CLERK) == "글"
    assert await left(conn) == {"people": 1, "blind_index": 1, "numbers": 1, "texts": 1, "subjects": 1}
    assert await vault.look_up(conn, "seoul", "010-0000-0001", "look_up", "clerk/kim") == []
    again = await vault.seal_person(conn, "seoul", PERSON)
    assert await person_of(vault, conn, again) != erased
    assert await vault.verify_access_chain(conn, "seoul") is None
    assert await conn.fetchval("select count(*) from vault.access where ref = $1", refs[0]) == 2


async def test_a_case_is_forgotten_and_its_person_with_the_last_one(vault: Vault, conn: Connection) -> None:
    person = (await vault.people(conn, [("seoul", PERSON)]))[0]
    sealing = Sealing()
    refs = [sealing.person(person, PERSON, case) for case in ("c-1", "c-2")]
    for case in ("c-1", "c-2"):
        sealing.text("seoul", person, "글", case)
    await sealing.write(conn)
    vault.ledger.add([Erasure(1, "seoul", case="c-1")])
    await vault.carry_out(conn)
    assert await left(conn) == {"people": 1, "blind_index": 2, "numbers": 2, "texts": 1, "subjects": 1}
    assert await vault.read_person(conn, "seoul", refs[1], *CLERK) == PERSON
    vault.ledger.add([Erasure(2, "seoul", case="c-2"), Erasure(2, "mapo", case="c-2")])
    await vault.carry_out(conn)
    assert set((await left(conn)).values()) == {0}


async def test_a_crash_after_the_ledger_erases_when_the_vault_opens(
    vault: Vault, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = await vault.seal_person(conn, "seoul", PERSON)
    vault.ledger.add([Erasure(1, "seoul", person=await person_of(vault, conn, ref))])

    async def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("services.chassis.vault.erasure._forget_person", dies)
        with pytest.raises(KeyboardInterrupt):
            await vault.carry_out(conn)
    assert await conn.fetchval("select coalesce(sum(lines), 0) from vault.erasures") == 0
    with vault.ledger.path.open("ab") as file:
        file.write(b'{"at": 2, "tenant": "seo')  # and a second one, cut off in the middle of its line
    await Vault(vault.master.folder).carry_out(conn)
    with pytest.raises(Erased):
        await vault.read_person(conn, "seoul", ref, *CLERK)
    second = await vault.seal_person(conn, "seoul", PERSON)
    vault.ledger.add([Erasure(3, "seoul", person=await person_of(vault, conn, second))])
    assert len(await vault.carry_out(conn)) == 1
    assert set((await left(conn)).values()) == {0}


async def test_an_older_or_another_ledger_does_not_open_the_vault(vault: Vault, conn: Connection) -> None:
    for number in range(3):
        vault.ledger.add([Erasure(number, "seoul", case=f"c-{number}")])
    await vault.carry_out(conn)
    whole = vault.ledger.path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for content in (b"", b"".join(lines[:2]), b"".join((lines[1], lines[0], lines[2])), whole.replace(b"c-0", b"c-9")):
        vault.ledger.path.write_bytes(content)
        with pytest.raises(VaultError, match="is not the ledger of erasures"):
            await vault.carry_out(conn)
    vault.ledger.path.write_bytes(whole + b'["not", "ours"]\n')
    with pytest.raises(VaultError, match="cannot be read"):
        await vault.carry_out(conn)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("900101-1234567", "******-*******"),
        ("번호는 9001011234567입니다", "번호는 ******-*******입니다"),
        ("９００１０１－１２３４５６７", "******-*******"),
        ("900101 - 1234567", "******-*******"),
        ("010-1234-5678", "010-1234-5678"),
        ("20260312-000123", "20260312-000123"),
    ],
)
def test_resident_numbers_are_blanked(text: str, masked: str) -> None:
    assert mask_resident_numbers(text) == masked
