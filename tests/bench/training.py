"""What the compiler watches: some weeks of five cities, folded in every way in which the services fold.

The one rule: what is not done here is laid aside as if nobody ever did it, and runs slower. So a history is simulated
case by case and in its order; facts and ticks go through warm cases, cold ones, and cold ones with a bookmark; and
dates are closed.

    python -m tests.bench.training
"""

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from contracts import files
from contracts.streams import PARTITIONS, partition
from services.cli.parallel import simulated
from services.cli.progress import to_nobody
from services.rules.facts import Event, Fact, decode_event
from services.rules.instants import NEVER, Instant, of_datetime
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case
from services.rules.stating import fact_of
from services.rules.warm import Warm
from services.rules.world import Partition
from tests.bench.workload import CITIES, Message, Workload

CASES = 1_500
WARM_CASES = 16
"""Of a partition, so few that most of them grow cold between two facts."""
DAY_OFF = "2026-06-23"
"""Closed when half of the facts are folded: to come, and before what is due of many cases."""

Key = tuple[str, str]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Case).decode


class Lane:
    """A partition as the live service folds it, its table a dictionary."""

    def __init__(self, library: Library) -> None:
        self._warm = Warm(Rulebook(library), WARM_CASES)
        self._saved: dict[Key, tuple[bytes, bytes | None]] = {}
        self._waits: dict[Key, Instant] = {}
        self._clock: Instant = 0

    def take(self, event: Event, sequence: int) -> None:
        """Folds a fact or a tick."""
        if event.data.to is None:
            self._fold((event.tenant, event.case_id), fact_of(event, sequence))
            return
        self._clock = of_datetime(event.data.to)
        for key in [key for key, at in self._waits.items() if at < self._clock]:
            self._fold(key, None)

    def close(self, event: Event, sequence: int) -> None:
        """Closes a date for every case of a city."""
        self._warm.rulebook.enact(event, sequence)
        cause = fact_of(event, sequence)
        for key in list(self._saved):
            if key[0] == event.tenant:
                self._save(self._warm.refold(self._case(key), cause, self._clock)[0])

    def _fold(self, key: Key, fact: Fact | None) -> None:
        self._save(self._warm.fold(self._case(key), fact, self._clock)[0])

    def _case(self, key: Key) -> Case:
        case = self._warm.case(key)
        if case is None:
            if key not in self._saved:
                return Case(*key)
            state, bookmark = self._saved[key]
            case = _decode(state)
            self._warm.recall(case, bookmark)
        return case

    def _save(self, case: Case) -> None:
        key = case.tenant, case.id
        self._saved[key] = _encode(case), self._warm.bookmark(case)
        self._waits[key] = NEVER if case.next_at is None else case.next_at


def main() -> None:
    """Folds the same weeks both ways."""
    messages = list(Workload(CASES).messages())
    with tempfile.TemporaryDirectory(prefix="gihan-training-") as folder:
        history = Path(folder) / "events.jsonl"
        history.write_bytes(b"".join(message.body + b"\n" for message in messages if not message.is_tick))
        printed = sum(1 for _ in simulated(history, None, None, 1, to_nobody))
    print(f"{_folded(messages)} messages folded, {printed} decisions printed")


def _folded(messages: list[Message]) -> int:
    library = Library(files.read())
    lanes = [Lane(library) for _ in range(PARTITIONS)]
    plain = [Partition(Rulebook(library), number) for number in range(PARTITIONS)]
    sequence = 0
    for message in messages:
        sequence += 1
        event = decode_event(message.body)
        number = partition(event.tenant, event.case_id) if event.partition is None else event.partition
        lanes[number].take(event, sequence)
        plain[number].take(event, sequence)
        if sequence == len(messages) // 2:
            for city in CITIES:
                day_off = decode_event(_encode(_day_off(city, event)))
                for number in range(PARTITIONS):
                    lanes[number].close(day_off, sequence)
                    plain[number].take(day_off, sequence)
    return sequence


def _day_off(city: str, before: Event) -> dict[str, Any]:
    return {
        "type": "calendar.exception", "id": f"off-{city}", "source": "administration", "tenant": city,
        "subject": "_all", "time": before.time, "data": {"date": DAY_OFF, "closed": True},
    }  # fmt: skip


if __name__ == "__main__":
    main()
