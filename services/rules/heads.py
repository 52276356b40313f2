"""Heads: what must be known of every event of a history before any of them is folded.

The one rule: a head tells when its event was recorded, where its line stands and which case it is of, and nothing that
follows from other lines. So the parts of one file are read side by side, each line once, and joined.
"""

from array import array
from collections.abc import Iterable
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from contracts.events import MUNICIPAL_TYPES
from contracts.streams import partition
from services.rules.effective import recorded_at
from services.rules.facts import decode_elsewhere
from services.rules.instants import Instant
from services.rules.simulation import BEYOND, CLOCK, ENACTED, VOIDED
from services.rules.world import CaseKey

WHOLE: Final = -1
"""In the place of a case: whoever walks over the history must read the event itself. It may concern several cases, or
all; it is the first of its tenant; or it cannot be read."""

SPACE: Final = b" \t\r\n"
"""What may stand around a JSON value, and alone in a line."""

_ORDINARY: Final = 0
_BEYOND: Final = 1
_TELLING: Final = 2
_KINDS: Final[dict[str, int]] = {}
_MOST_KINDS: Final = 1_000
"""Whatever a file calls its types."""


class Heads(NamedTuple):
    """The heads of some lines, by the place of their event: the latest instant at which any up to it was `recorded`,
    where its line `starts` (in bytes; one more says where the last one ends), the number of its case (or WHOLE), and a
    checksum of its id.

    `numbers` and `partitions` are of the cases. `telling` are the places whose type says something of the whole
    history, as `simulation.Told` has it, and `empty` those before which an empty line stands.
    """

    recorded: "array[int]"
    starts: "array[int]"
    cases: "array[int]"
    checksums: "array[int]"
    numbers: dict[CaseKey, int]
    partitions: list[int]
    telling: list[int]
    empty: list[int]


def read(lines: Iterable[list[bytes]], offset: int = 0) -> Heads:
    """The heads of lines of which the first begins at `offset`; each with its end but maybe the last, some at a time.

    A line that is no event is WHOLE: what is wrong with it shows where it is folded.
    """
    heads = Heads(array("q"), array("q"), array("i"), array("I"), {}, [], [], [])
    numbers, telling, empty = heads.numbers, heads.telling, heads.empty
    tenants: dict[str, str] = {}
    latest: Instant = 0
    place = 0
    for some in lines:
        recorded, starts, cases, checksums = list[int](), list[int](), list[int](), list[int]()
        for line in some:
            start = offset
            offset += len(line)
            number, checksum = WHOLE, 0
            try:
                head = decode_elsewhere(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                if not line.strip(SPACE):
                    empty.append(place)
                    continue
            else:
                moment: Instant = recorded_at(head)
                if moment > latest:
                    latest = moment
                checksum = crc32(head.id.encode())
                kind = _kind(head.type)
                if kind == _ORDINARY and head.routes is None:
                    tenant: str = head.tenant
                    case: str = head.case or head.subject.lower()
                    known = numbers.get((tenant, case))
                    if known is not None:
                        number = known
                    else:
                        if tenant in tenants:
                            number = len(numbers)
                        # One text for all of them: less to hold, and to hand from process to process.
                        numbers[tenants.setdefault(tenant, tenant), case] = len(numbers)
                        heads.partitions.append(partition(tenant, case))
                elif kind == _TELLING:
                    telling.append(place)
            recorded.append(latest)
            starts.append(start)
            cases.append(number)
            checksums.append(checksum)
            place += 1
        heads.recorded.fromlist(recorded)
        heads.starts.fromlist(starts)
        heads.cases.fromlist(cases)
        heads.checksums.fromlist(checksums)
    heads.starts.append(offset)
    return heads


def joined(parts: list[Heads]) -> Heads:
    """The heads of lines that were read in parts, which follow each other; the first takes the others in."""
    heads = parts[0]
    numbers = heads.numbers
    for part in parts[1:]:
        known = list[int]()
        for key, number in part.numbers.items():
            if key not in numbers:
                numbers[key] = len(numbers)
                heads.partitions.append(part.partitions[number])
            known.append(numbers[key])
        known.append(WHOLE)  # which as a place is that of the last
        begin = len(heads.recorded)
        latest: Instant = heads.recorded[-1] if begin else 0
        for place, moment in enumerate(part.recorded):
            if moment >= latest:
                break
            part.recorded[place] = latest
        heads.recorded.extend(part.recorded)
        heads.starts.pop()  # where one part ends the next begins
        heads.starts.extend(part.starts)
        heads.cases.extend(array("i", [known[number] for number in part.cases]))
        heads.checksums.extend(part.checksums)
        heads.telling.extend([begin + place for place in part.telling])
        heads.empty.extend([begin + place for place in part.empty])
    return heads


def _kind(type: str) -> int:
    """Whether an event of a type may concern other cases than its own, or says something of the whole history."""
    found = _KINDS.get(type)
    if found is None:
        beyond = type.startswith(BEYOND) or type in MUNICIPAL_TYPES
        found = _TELLING if type in (CLOCK, ENACTED, VOIDED) else _BEYOND if beyond else _ORDINARY
        if len(_KINDS) < _MOST_KINDS:
            _KINDS[type] = found
    return found
