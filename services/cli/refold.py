"""`python -m services.cli.refold`: works every decision out again from CASES alone, without the database.

The one rule: it reads the log and nothing else, so that what it finds is evidence about what was decided live.
Prints a JSON object a line: partition, number, tenant, case, decision, promise, occurrence, due, at (instants in
microseconds), remedy and amount where there are any.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from contracts import files
from services.chassis import broker
from services.chassis.cursor import LogCursor
from services.chassis.settings import Settings
from services.rules.facts import decode_event
from services.rules.instants import of_datetime
from services.rules.rulebook import Library, Rulebook
from services.rules.world import Decided, Partition

BATCH_MESSAGES = 2000


async def refold(settings: Settings) -> AsyncIterator[dict[str, Any]]:
    """The decisions of every partition, numbered as the live service must number them."""
    nc = await broker.connect(settings)
    library = Library(files.read())
    partitions: dict[int, Partition] = {}
    numbers: dict[int, int] = {}
    try:
        last = (await nc.jetstream().stream_info("CASES")).state.last_seq
        async with LogCursor(nc, stream="CASES", after=0) as cursor:
            position = 0
            while position < last:
                for entry in await cursor.read(BATCH_MESSAGES, 1.0):
                    position = entry.sequence
                    tokens = entry.subject.split(".")
                    if tokens[0] != "cases":
                        continue
                    number = int(tokens[1])
                    partition = partitions.setdefault(number, Partition(Rulebook(library), number))
                    event = decode_event(entry.data)
                    if event.type == "clock.advanced":
                        assert event.data.to is not None
                        decided = partition.tick(of_datetime(event.data.to))
                    else:
                        decided = partition.take(event, entry.sequence)
                    for row in decided:
                        numbers[number] = numbers.get(number, 0) + 1
                        yield _line(number, numbers[number], row)
    finally:
        await nc.close()


def _line(partition: int, number: int, row: Decided) -> dict[str, Any]:
    decision = row.decision
    line = {
        "partition": partition,
        "number": number,
        "tenant": row.tenant,
        "case": row.case,
        "decision": decision.kind,
        "promise": decision.promise or None,
        "occurrence": decision.occurrence or None,
        "due": decision.due,
        "at": decision.at,
        "remedy": decision.remedy or None,
        "amount": decision.amount,
    }
    return {name: value for name, value in line.items() if value is not None}


async def _main() -> None:
    # No database is needed, and none is to be reached.
    settings = Settings.from_env("replay", {"DATABASE_URL": "postgresql://none", **os.environ})
    async for line in refold(settings):
        print(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    asyncio.run(_main())
