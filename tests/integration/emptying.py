"""Emptying tables in the middle of a test, as if a database had been lost."""

import asyncpg

PATIENCE_SECONDS = 60


async def empty(pool: asyncpg.Pool, truncate: str) -> None:
    """Runs a `truncate`, for which all others must have let go of the tables. A session that was cut off in the middle
    holds its locks until the server has noticed: longer, on a slow machine, than a service waits for any lock."""
    async with pool.acquire() as connection, connection.transaction():
        for name in ("lock_timeout", "statement_timeout"):
            await connection.execute(f"set local {name} = '{PATIENCE_SECONDS}s'")
        await connection.execute(truncate, timeout=PATIENCE_SECONDS)
