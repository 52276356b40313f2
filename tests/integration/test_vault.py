"""The vault on a real PostgreSQL: it joins the refs of one person, records every reading, and forgets with a key."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.chassis.vault import Connection, Sealing, Vault, VaultError, mask_resident_numbers

PERSON = {"name": "홍 길동", "phone": "02-000-0001", "mobile": "010-0000-0001"}


@pytest.fixture
def vault() -> Vault:
    """A vault with a master key of its own."""
    return Vault(b"0123456789abcdef0123456789abcdef")


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
    assert await vault.read_person(conn, "seoul", refs[0], "test", "t") == PERSON


async def test_many_people_at_once(vault: Vault, conn: Connection) -> None:
    wanted = [("seoul", {"name": f"n{n % 50}", "mobile": f"010-0000-{n % 50:04}"}) for n in range(200)]
    people = await vault.people(conn, wanted)
    assert len({p.id for p in people}) == 50
    assert [p.id for p in await vault.people(conn, wanted)] == [p.id for p in people]


async def test_every_reading_is_recorded_and_a_changed_record_is_found(vault: Vault, conn: Connection) -> None:
    ref = await vault.seal_person(conn, "seoul", PERSON)
    text = await vault.seal_text(conn, "seoul", ref, "900101-1234567 입니다")
    await vault.seal_staff(conn, "seoul", "k1", {"name": "이순신", "phone": "000-000-0009"})
    assert await vault.read_person(conn, "seoul", ref, "notify:receipt", "notifier") == PERSON
    assert await vault.read_text(conn, "seoul", text, "desk", "k1") == "******-******* 입니다"
    assert (await vault.read_staff(conn, "seoul", "k1", "notify:warned", "notifier"))["name"] == "이순신"
    with pytest.raises(VaultError):
        await vault.read_person(conn, "seoul", "s-unknown", "curiosity", "k2")
    rows = await conn.fetch("select number, reader, purpose, kind, ref from vault.access order by number")
    assert [tuple(row) for row in rows] == [
        (1, "notifier", "notify:receipt", "person", ref),
        (2, "k1", "desk", "text", text),
        (3, "notifier", "notify:warned", "staff", "k1"),
        (4, "k2", "curiosity", "person", "s-unknown"),
    ]
    assert await vault.verify_access_chain(conn, "seoul") is None
    with pytest.raises(asyncpg.RaiseError):
        await conn.execute("delete from vault.access")
    await conn.execute("alter table vault.access disable trigger append_only")
    await conn.execute("update vault.access set reader = 'nobody' where number = 2")
    assert await vault.verify_access_chain(conn, "seoul") == 2
    await conn.execute("delete from vault.access where number >= 2")
    assert await vault.verify_access_chain(conn, "seoul") == 2


async def test_without_its_key_a_person_cannot_be_read(vault: Vault, conn: Connection) -> None:
    ref = await vault.seal_person(conn, "seoul", PERSON)
    text = await vault.seal_text(conn, "seoul", ref, "글")
    await conn.execute("delete from vault.people")
    for reading in (
        vault.read_person(conn, "seoul", ref, "test", "t"),
        vault.read_text(conn, "seoul", text, "test", "t"),
    ):
        with pytest.raises(VaultError, match="erased"):
            await reading
    with pytest.raises(VaultError, match="another master key"):
        await Vault(bytes(32)).seal_text(conn, "seoul", await vault.seal_person(conn, "seoul", PERSON), "글")


async def test_sealed_data_opens_only_in_its_place(vault: Vault, conn: Connection) -> None:
    first, second = [await vault.seal_person(conn, "seoul", PERSON) for _ in range(2)]
    await conn.execute(
        "update vault.subjects set name = (select name from vault.subjects where subject_ref = $1)"
        " where subject_ref = $2",
        first,
        second,
    )
    with pytest.raises(VaultError, match="moved or changed"):
        await vault.read_person(conn, "seoul", second, "test", "t")


async def test_changed_details_are_filled_up_from_those_before(vault: Vault, conn: Connection) -> None:
    base = await vault.seal_person(conn, "seoul", PERSON)
    person = (await vault.people_of(conn, [("seoul", base)]))["seoul", base]
    sealing = Sealing()
    ref = sealing.person(person, {"mobile": "", "email": "a@b.example"})
    await sealing.write(conn)
    await vault.complete_person(conn, person, ref, base)
    assert await vault.read_person(conn, "seoul", ref, "test", "t") == {
        "name": "홍 길동",
        "phone": "02-000-0001",
        "email": "a@b.example",
    }


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
