"""pgqueuer with batches of a thousand: `python -m tests.bench.peers.pgqueuer_jobs ...`"""

import asyncio
import math
import sys
from datetime import datetime, timedelta

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from services.chassis.settings import Settings
from tests.bench.peers.jobs import Noted, ahead, answer, execute

BATCH = 1000
ENQUEUED_PER_SECOND = 5_000
DEQUEUE_SECONDS = 1
"""How often it looks for jobs, from when some were enqueued: it is never late where the instant is so many times it."""


def run(pending: int, due: int, runs: int) -> list[float]:
    """All runs, with the other jobs waiting."""
    return asyncio.run(_run(pending, due, runs))


async def _run(pending: int, due: int, runs: int) -> list[float]:
    url = Settings.from_env().database_url
    connection, other = await asyncpg.connect(url), await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(other))
    await queries.install()
    execute(
        "insert into pgqueuer (priority, queue_manager_id, created, updated, heartbeat, execute_after, status, "
        "entrypoint, payload) select 0, null, now(), now(), now(), now() + interval '1 day' + n * interval '1 second', "
        "'queued', 'note', null from generate_series(1, %s) n",
        pending,
    )
    execute("vacuum analyze")
    pgq = PgQueuer(AsyncpgDriver(connection))
    noted = Noted(0)

    @pgq.entrypoint("note")
    async def note(_: Job) -> None:
        noted.note()

    worker = asyncio.create_task(pgq.run(batch_size=BATCH, dequeue_timeout=timedelta(seconds=DEQUEUE_SECONDS)))
    lags = []
    wait = timedelta(seconds=math.ceil(ahead(due, ENQUEUED_PER_SECOND) / DEQUEUE_SECONDS) * DEQUEUE_SECONDS)
    for _ in range(runs):
        noted = Noted(due)
        await queries.enqueue(["note"] * due, [None] * due, [0] * due, [wait] * due)
        instant: datetime = await other.fetchval("select min(execute_after) from pgqueuer")
        await other.execute("analyze pgqueuer")
        lags.append(await noted.last_ms(instant))
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    return lags


if __name__ == "__main__":
    answer(sys.argv[1:], f"pgqueuer, batches of {BATCH:,}", run)
