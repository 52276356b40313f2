"""APScheduler 3 with its SQLAlchemy job store in PostgreSQL: `python -m tests.bench.peers.apscheduler_jobs ...`"""

import asyncio
import sys
from itertools import count

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from services.chassis.settings import Settings
from tests.bench.peers.jobs import Noted, ahead, answer, execute, soon

ENQUEUED_PER_SECOND = 500
"""It adds a job a transaction."""
_noted = Noted(0)


async def note() -> None:
    """The job."""
    _noted.note()


def run(pending: int, due: int, runs: int) -> list[float]:
    """All runs, with the other jobs waiting."""
    return asyncio.run(_run(pending, due, runs))


async def _run(pending: int, due: int, runs: int) -> list[float]:
    global _noted
    url = Settings.from_env().database_url.replace("postgresql://", "postgresql+psycopg://")
    scheduler = AsyncIOScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=url)},
        job_defaults={"misfire_grace_time": None, "coalesce": False},
    )
    scheduler.start()
    scheduler.add_job(note, "date", run_date=soon(86_400), id="model")
    execute(
        "insert into apscheduler_jobs select 'waiting-' || n, extract(epoch from now()) + 86400 + n, job_state "
        "from apscheduler_jobs, generate_series(1, %s) n where id = 'model'",
        pending,
    )
    execute("vacuum analyze")
    lags: list[float] = []
    ids = count()
    seconds = ahead(due, ENQUEUED_PER_SECOND)
    while len(lags) < runs:
        _noted = Noted(due)
        instant = soon(seconds)
        for number in range(due):
            scheduler.add_job(note, "date", run_date=instant, id=f"due-{next(ids)}")
            if number % 50 == 0:
                await asyncio.sleep(0)
        late = soon(0) > instant  # some were enqueued when they were due already: such a run does not count
        last = await _noted.last_ms(instant)
        if late:
            seconds *= 2
        else:
            lags.append(last)
    scheduler.shutdown(wait=False)
    return lags


if __name__ == "__main__":
    # Jobs are kept with the name of their function, which must not be that of the main module.
    from tests.bench.peers import apscheduler_jobs

    answer(sys.argv[1:], "APScheduler 3, SQLAlchemy store", apscheduler_jobs.run)
