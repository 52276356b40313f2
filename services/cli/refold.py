"""`python -m services.cli.refold`: works every decision out again from CASES alone, without the database.

The one rule: it reads the log and nothing else, so that what it finds is evidence about what was decided live.
Prints a JSON object a line: partition, number, tenant, case, decision, promise, occurrence, due, at (instants in
microseconds), remedy and amount where there are any.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from contracts import files
from services.chassis import broker
from services.chassis.cursor import Entry, read_up_to
from services.chassis.settings import Settings
from services.rules.facts import decode_event
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Decided
from services.rules.world import Partition


class Numbered(NamedTuple):
    """A decision worked out again, with its number in its partition and the entry of CASES that brought it."""

    partition: int
    number: int
    cause_sequence: int
    decided: Decided


class Refold:
    """Every partition, folded anew from the entries of CASES in their order."""

    def __init__(self, library: Library) -> None:
        self.partitions: dict[int, Partition] = {}
        self._library = library
        self._numbers: dict[int, int] = {}

    def take(self, entry: Entry) -> list[Numbered]:
        """The decisions that an entry brings, numbered as the live service must number them."""
        tokens = entry.subject.split(".")
        if tokens[0] != "cases":
            return []
        number = int(tokens[1])
        if number not in self.partitions:
            self.partitions[number] = Partition(Rulebook(self._library), number)
        decided = self.partitions[number].take(decode_event(entry.data), entry.sequence)
        first = self._numbers.get(number, 0) + 1
        self._numbers[number] = first - 1 + len(decided)
        return [Numbered(number, place, entry.sequence, row) for place, row in enumerate(decided, first)]


async def refold(settings: Settings) -> AsyncIterator[dict[str, Any]]:
    """The decisions of every partition, numbered as the live service must number them."""
    nc = await broker.connect(settings)
    refolded = Refold(Library(files.read()))
    try:
        last = (await nc.jetstream().stream_info("CASES")).state.last_seq
        async for entry in read_up_to(nc, "CASES", last):
            for row in refolded.take(entry):
                yield _line(row)
    finally:
        await nc.close()


def _line(row: Numbered) -> dict[str, Any]:
    decision = row.decided.decision
    line = {
        "partition": row.partition,
        "number": row.number,
        "tenant": row.decided.tenant,
        "case": row.decided.case,
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
