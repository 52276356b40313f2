"""The walk that explains against the count that decides: over random periods both arrive at the same instant.

More than the usual number of cases: GIHAN_EXAMPLES=10000. The seed is printed where a case fails.
"""

import os
import random
from itertools import pairwise

import pytest
from test_counting import KR, MA, STAFFED

from services.rules import counting
from services.rules.calendar import Calendar
from services.rules.counting import Gap, Span
from services.rules.explaining.steps import walk
from services.rules.instants import DAY, HOUR, MINUTE, SECOND, instant
from services.rules.runs import Stop

EXAMPLES = int(os.environ.get("GIHAN_EXAMPLES", "1000"))
SEED = int(os.environ.get("GIHAN_SEED", "20261122"))
FIRST = {"kr": instant("2024-01-01T00:00:00+09:00"), "us-ma": instant("2015-01-01T00:00:00-05:00")}
MOST = {
    "seconds": 900_000,
    "minutes": 20_000,
    "calendar_hours": 900,
    "working_minutes": 9_000,
    "working_hours": 200,
    "working_days": 40,
    "statutory_days": 40,
    "calendar_days": 60,
    "weeks": 10,
    "months": 7,
    "calendar_months": 7,
    "years": 2,
}
LENGTH = {"years": 400 * DAY, "months": 40 * DAY, "calendar_months": 40 * DAY}


def moment(chance: random.Random, first: int, length: int) -> int:
    """An instant, often on the hour, on the half hour or at midnight: where errors by one live."""
    grid = chance.choice([SECOND, MINUTE, 30 * MINUTE, HOUR, DAY])
    return first + chance.randrange(length) // grid * grid


def stops(chance: random.Random, start: int, length: int) -> list[Stop]:
    found = []
    for number in range(chance.choice([0, 0, 1, 1, 2, 3])):
        begin = moment(chance, start - 3 * DAY, length)
        end = None if chance.random() < 0.15 else begin + moment(chance, 0, 6 * DAY)
        found.append(Stop(Gap(begin, end, chance.random() < 0.5), f"ground {number}", f"a/{number}", ""))
    return sorted(found, key=lambda stop: stop.gap.start)


@pytest.mark.parametrize("unit", sorted(MOST))
def test_walk_arrives_where_the_count_does(unit: str) -> None:
    """In every unit, with extensions and with gaps of both sorts, on three calendars."""
    suspended = extended = 0
    for number in range(max(EXAMPLES // len(MOST), 1) + 1):
        seed = f"{SEED}/{unit}/{number}"
        chance = random.Random(seed)
        calendar: Calendar = chance.choice([KR, STAFFED, MA])
        start = moment(chance, FIRST[calendar.file.id], 3 * 365 * DAY)
        amount = chance.randint(1, min(chance.choice([6, MOST[unit]]), MOST[unit]))
        extensions = [(chance.randint(1, amount), f"x/{n}") for n in range(chance.choice([0, 0, 1, 2]))]
        closed = stops(chance, start, LENGTH.get(unit, 10 * DAY))
        span = Span(amount, unit)
        due = counting.due(calendar, start, span, [extra for extra, _ in extensions], [stop.gap for stop in closed])
        walked = walk(calendar, start, span, extensions, closed)
        reached = walked.steps[-1].end if walked.steps else start
        assert reached == due, seed
        assert walked.steps[0].start == start, seed
        assert all(step.end == following.start for step, following in pairwise(walked.steps)), seed
        assert sum(step.counted for step in walked.steps) + walked.remaining == walked.budget, seed
        assert (walked.remaining > 0) is (due is None), seed
        assert all(step.end is None or step.start < step.end for step in walked.steps), seed
        suspended += due is None
        extended += bool(extensions)
    assert extended
    assert suspended or 100 * len(MOST) > EXAMPLES
