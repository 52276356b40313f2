"""procrastinate with thirty jobs at a time: `python -m tests.bench.peers.procrastinate_jobs ...`"""

import asyncio
import logging
import sys

import procrastinate

from services.chassis.settings import Settings
from tests.bench.peers.jobs import Noted, ahead, answer, execute, soon

CONCURRENCY = 30
POLL_SECONDS = 0.05
CHUNK = 1000
ENQUEUED_PER_SECOND = 1_500
BEHIND = 10**9
"""The jobs that wait come after those that are due: it looks for a job in order of ids, and would read all of them."""


def run(pending: int, due: int, runs: int) -> list[float]:
    """All runs, with the other jobs waiting."""
    logging.disable(logging.WARNING)
    return asyncio.run(_run(pending, due, runs))


async def _run(pending: int, due: int, runs: int) -> list[float]:
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(
            conninfo=Settings.from_env().database_url, min_size=CONCURRENCY, max_size=CONCURRENCY + 4
        )
    )
    noted = Noted(0)

    @app.task(name="note", queue="bench")
    async def note() -> None:
        noted.note()

    lags = []
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        # Its triggers would make a million rows take minutes; nobody listens yet.
        await asyncio.to_thread(execute, "alter table procrastinate_jobs disable trigger user")
        await asyncio.to_thread(
            execute,
            "insert into procrastinate_jobs (id, queue_name, task_name, scheduled_at) "
            "select %s + n, 'bench', 'note', now() + interval '1 day' + n * interval '1 second' "
            "from generate_series(1, %s) n",
            BEHIND,
            pending,
        )
        await asyncio.to_thread(execute, "alter table procrastinate_jobs enable trigger user")
        await asyncio.to_thread(execute, "vacuum analyze")
        worker = asyncio.create_task(
            app.run_worker_async(
                queues=["bench"],
                concurrency=CONCURRENCY,
                fetch_job_polling_interval=POLL_SECONDS,
                install_signal_handlers=False,
                delete_jobs="never",
            )
        )
        for _ in range(runs):
            noted = Noted(due)
            instant = soon(ahead(due, ENQUEUED_PER_SECOND))
            for first in range(0, due, CHUNK):
                await note.configure(schedule_at=instant).batch_defer_async(
                    *({} for _ in range(min(CHUNK, due - first)))
                )
            await asyncio.to_thread(execute, "analyze procrastinate_jobs")
            lags.append(await noted.last_ms(instant))
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return lags


if __name__ == "__main__":
    answer(sys.argv[1:], f"procrastinate, {CONCURRENCY} at a time", run)
