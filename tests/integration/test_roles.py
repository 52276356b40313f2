"""The roles of PostgreSQL: what each service may touch, tried on a real database with its own login."""

from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from deploy import roles
from deploy.embedded import Embedded

TABLES = "select schemaname || '.' || tablename as name from pg_tables where schemaname !~ '^(pg_|information_schema)'"


@pytest.fixture
async def granted(database: str) -> str:
    owner = await asyncpg.connect(database, timeout=30)
    try:
        assert set(await roles.grant(owner)) == set(roles.RIGHTS)
        await roles.grant(owner)  # again: it changes nothing
    finally:
        await owner.close()
    return database


async def login(servers: Embedded, database: str, role: str) -> asyncpg.Connection:
    password = (Path(servers.secrets) / "postgres" / f"{role}.password").read_text()
    folder = urlsplit(database).query.partition("host=")[2]
    return await asyncpg.connect(
        host=folder, user=role, password=password, database=urlsplit(database).path.strip("/"), timeout=30
    )


async def may(servers: Embedded, database: str, role: str) -> dict[str, set[str]]:
    """What a role can do with each table and view, as the server says."""
    connection = await login(servers, database, role)
    try:
        views = TABLES.replace("pg_tables", "pg_views").replace("tablename", "viewname")
        names = [row["name"] for query in (TABLES, views) for row in await connection.fetch(query)]
        found = {}
        for name in names:
            rights = ("select", "insert", "update", "delete", "truncate")
            schema = name.partition(".")[0]
            usable = await connection.fetchval("select has_schema_privilege($1, 'usage')", schema)
            held = {
                right
                for right in rights
                if usable and await connection.fetchval("select has_table_privilege($1, $2)", name, right)
            }
            found[name] = held
        return found
    finally:
        await connection.close()


ROWS = {"select", "insert", "update", "delete"}


async def test_each_service_has_the_rights_that_its_work_needs_and_no_other(servers, granted) -> None:
    own = {"gihan_intake": ["intake", "vault"], "gihan_sla_timer": ["sla_timer"]}
    own |= {"gihan_notifier": ["notifier", "vault"], "gihan_replay": ["sla_timer"]}
    assert own.keys() == roles.RIGHTS.keys()
    for role, schemas in own.items():
        for table, held in (await may(servers, granted, role)).items():
            schema = table.partition(".")[0]
            wanted: set[str] = set()
            if table == "vault.access" and "vault" in schemas:
                wanted = {"select", "insert"}
            elif schema in schemas or table in ("chassis.leases", "chassis.signs_of_life"):
                wanted = ROWS
            elif table in ("chassis.clock", "read.fold_position") or (schema == "read" and role != "gihan_sla_timer"):
                wanted = {"select"}
            assert held == wanted, (role, table)


async def test_sla_timer_sees_nothing_of_the_vault(servers, granted) -> None:
    connection = await login(servers, granted, "gihan_sla_timer")
    try:
        for statement in (
            "select * from vault.subjects",
            "select * from intake.reservations",
            "select * from read.subject_refs",
            "insert into vault.access values ('t', 1, now(), 'r', 'p', 'k', 'r', '')",
            "update notifier.tasks set state = 'issued'",
            "create schema mine",
            "create table sla_timer.more (n int)",
            "set role gihan",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_nobody_rewrites_the_record_of_access(servers, granted) -> None:
    for role in roles.RIGHTS:
        connection = await login(servers, granted, role)
        try:
            for statement in (
                "update vault.access set reader = 'nobody'",
                "delete from vault.access",
                "truncate vault.access",
                "alter table vault.access disable trigger all",
                "drop trigger append_only on vault.access",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        finally:
            await connection.close()


async def test_only_a_rebuild_makes_tables_of_its_session_and_ends_a_folder(servers, granted) -> None:
    replay = await login(servers, granted, "gihan_replay")
    folder = await login(servers, granted, "gihan_sla_timer")
    intake = await login(servers, granted, "gihan_intake")
    try:
        await replay.execute("create temporary table cases (like sla_timer.cases including all)")
        for statement in ("create schema beside", "create table sla_timer.more (n int)"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await replay.execute(statement)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await replay.execute("select pg_terminate_backend($1)", intake.get_server_pid())
        assert await replay.fetchval("select pg_terminate_backend($1)", folder.get_server_pid())
    finally:
        for connection in (replay, folder, intake):
            connection.terminate()


def test_no_password_stands_in_what_a_service_is_told(servers) -> None:
    for service in ("intake", "sla_timer", "notifier", "replay"):
        told = servers.environment(service)
        secrets = [Path(told[name]).read_text() for name in ("NATS_PASSWORD_FILE", "DATABASE_PASSWORD_FILE")]
        assert all(len(secret) >= 40 for secret in secrets)
        assert not [name for name, value in told.items() if any(secret in value for secret in secrets)]
        assert urlsplit(told["DATABASE_URL"]).username == f"gihan_{service}"
        assert urlsplit(told["DATABASE_URL"]).password is urlsplit(told["NATS_URL"]).password is None
