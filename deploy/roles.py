"""Roles of PostgreSQL: one for each service, with the rights that its work needs.

The one rule it protects: sla_timer cannot read the vault, no service can edit what another one keeps, and nobody can
change the record of who read whose data, whatever a service is made to do.
"""

from collections.abc import Mapping

import asyncpg

_ROWS = "select, insert, update, delete"

_CHASSIS = {"chassis.leases": _ROWS, "chassis.signs_of_life": _ROWS, "chassis.clock": "select"}

RIGHTS: Mapping[str, Mapping[str, str]] = {
    "gihan_intake": {**_CHASSIS, "intake": _ROWS, "vault": _ROWS, "read": "select"},
    "gihan_sla_timer": {**_CHASSIS, "sla_timer": _ROWS, "read.fold_position": "select"},
    "gihan_notifier": {**_CHASSIS, "notifier": _ROWS, "vault": _ROWS, "read": "select"},
    # Rebuilds the projection in tables of its own session, and takes a partition over from the live folder.
    "gihan_replay": {**_CHASSIS, "sla_timer": _ROWS, "read": "select"},
}
"""What each role may do with the tables of a schema, or with one of them. What is not named here is forbidden."""

APPEND_ONLY = "vault.access"
MEMBERS = {"gihan_replay": "gihan_sla_timer"}
"""Who may end the sessions of whom."""


def role_of(service: str) -> str | None:
    """The role of a process; None for what an operator runs, who owns the database."""
    role = f"gihan_{service}"
    return role if role in RIGHTS else None


async def grant(connection: asyncpg.Connection) -> list[str]:
    """Gives each role that there is the rights above and takes all others, as the owner of the database; returns the
    roles. Safe to run again; to be run after each migration, since a new table belongs to its owner alone.
    """
    there = {row["rolname"] for row in await connection.fetch("select rolname from pg_roles")}
    schemas = [
        row["nspname"]
        for row in await connection.fetch(
            "select nspname from pg_namespace where nspowner = current_user::regrole and nspname !~ '^pg_'"
        )
    ]
    roles = [role for role in RIGHTS if role in there]
    async with connection.transaction():
        for role in roles:
            for statement in _statements(role, schemas, await connection.fetchval("select current_database()")):
                await connection.execute(statement)
    return roles


def _statements(role: str, schemas: list[str], database: str) -> list[str]:
    """Names come from the tables above and from the catalogue, and are plain words."""
    found = [f'grant connect on database "{database}" to {role}']
    for schema in schemas:
        found += [
            f"revoke all on schema {schema} from {role}",
            f"revoke all on all tables in schema {schema} from {role}",
        ]
    for place, rights in RIGHTS[role].items():
        schema, _, table = place.partition(".")
        if schema in schemas:
            found.append(f"grant usage on schema {schema} to {role}")
            found.append(f"grant {rights} on {place if table else f'all tables in schema {schema}'} to {role}")
            if "insert" in rights and not table:
                found.append(f"grant usage, select, update on all sequences in schema {schema} to {role}")
    if "vault" in RIGHTS[role] and "vault" in schemas:
        found.append(f"revoke update, delete on {APPEND_ONLY} from {role}")
    if role == "gihan_replay":
        found += [
            f'grant temporary on database "{database}" to {role}',
            f'revoke create on database "{database}" from {role}',
        ]
    return found
