"""Live changes: a page that is open hears when its list is another one (server-sent events).

The one rule it protects: what a listener is told is the reader's own list, read anew by the same rules; and whoever is
signed out hears nothing more. Pages work without.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus

import asyncpg
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from services.chassis import postgres
from services.chassis.http import is_stopping
from services.chassis.pages import PageError
from services.notifier.desk import lists
from services.notifier.desk.lists import Filter
from services.notifier.desk.site import SignInFirst, Visit

LISTENERS = 500
"""At a time, of this process; those beyond reload their pages by hand."""
LOOK_SECONDS = 1.0
QUIET_SECONDS = 20.0
"""So long without a change, and the session is looked at and something is said, lest a proxy ends the connection."""


class Watch:
    """Looks once a second, for all listeners, whether anything may have changed: every task follows from what the
    ledger folded, and every step goes through its outbox."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.listeners = 0
        self.moved = asyncio.Event()
        """Set when something may have changed, and then replaced: take it before you look."""

    async def run(self) -> None:
        """Until cancelled."""
        stood: tuple[int, int] | None = None
        while True:
            if self.listeners:
                with suppress(*postgres.LOST, asyncpg.PostgresError):
                    (row,) = await self._pool.fetch(_STANDS)
                    stands = (row["folded"], row["told"])
                    if stood is not None and stands != stood:
                        self._wake()
                    stood = stands
            if is_stopping():
                self._wake()
            await asyncio.sleep(LOOK_SECONDS)

    def _wake(self) -> None:
        self.moved.set()
        self.moved = asyncio.Event()


_STANDS = (
    "select (select sum(sequence) from notifier.position)::bigint as folded,"
    " (select coalesce(sum(last), 0) from (select max(number) as last from notifier.outbox group by lane) as lanes)"
    "::bigint as told"
)


async def listen(request: Request) -> Response:
    """A stream of what changes in the list that the address asks for."""
    visit = await Visit.of(request)
    watch: Watch = request.app.state.watch
    if watch.listeners >= LISTENERS:
        raise PageError(HTTPStatus.SERVICE_UNAVAILABLE, "too_many")
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_changes(request, visit, watch), headers=headers, media_type="text/event-stream")


async def _changes(request: Request, visit: Visit, watch: Watch) -> AsyncIterator[str]:
    watch.listeners += 1
    try:
        yield "retry: 5000\n\n"
        moved, known = watch.moved, await _list(visit)
        while not is_stopping():
            with suppress(TimeoutError):
                async with asyncio.timeout(QUIET_SECONDS):
                    await moved.wait()
            moved = watch.moved
            try:
                visit = await Visit.of(request, touch=False)
            except SignInFirst:
                yield "event: over\ndata: {}\n\n"
                return
            now = await _list(visit)
            changed = sorted({key for key in now.keys() | known.keys() if now.get(key) != known.get(key)})
            yield f"data: {json.dumps({'count': len(now), 'changed': changed})}\n\n" if changed else ": nothing new\n\n"
            known = now
    finally:
        watch.listeners -= 1


async def _list(visit: Visit) -> dict[str, bytes]:
    """The list as its page has it: a digest of each row by key."""
    asked = dict(visit.request.query_params)
    now = await visit.site.clock.now()
    wanted, behind = Filter.of(asked), asked.get("behind", "")
    page = await lists.read(visit.site.pool, visit.caller, visit.tenant, wanted, now, behind)
    return {row["key"]: hashlib.sha256(repr(sorted(row.items())).encode()).digest() for row in page.rows}
