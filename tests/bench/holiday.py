"""A holiday is declared: the open deadlines of a whole city move, and every new date is told.

The one rule: what is measured ends where others can read it: the last deadline.moved is durable on SLA.
"""

from contracts.streams import PARTITIONS, cases_subject
from services.rules.facts import decode_event
from services.rules.instants import MINUTE
from services.rules.routing import ALL
from tests.bench.machine import json_loads_rate
from tests.bench.nation import CITIES, HOLIDAY_CITY, Nation, open_cases, what_follows
from tests.bench.results import Bar, Figure, Outcome
from tests.bench.workload import Message, stored

DAYS = ("2026-06-10", "2026-06-11", "2026-06-15")
"""One for each run; every open deadline of seven days lies behind them."""
MOVED, SECONDS = 100_000, 10


async def measure(nation: Nation, quick: bool) -> Outcome:
    """One holiday after the other. The number of open cases alone says how large the work is."""
    place = CITIES.index(HOLIDAY_CITY)
    cases = len(range(place, nation.open, len(CITIES)))
    each = what_follows(
        open_cases(place, place + 1), lambda folded: folded.take(decode_event(_exception(nation, DAYS[0])[0].body), 2)
    )
    expected = each["deadline.moved"] * cases
    seconds: list[float] = []
    for day in DAYS:
        told, came = await nation.publish(_exception(nation, day))
        moved = [row.at for row in came if row.kind == "deadline.moved"]
        assert len(moved) == expected, f"{len(moved)} deadlines moved where {expected} were open"
        seconds.append((max(moved) - told) / 1e6)
    rate = Figure("deadlines moved, durable on SLA", "/s", [expected / passed for passed in seconds])
    return Outcome(
        subject="holiday",
        title="A holiday inserted",
        about=f"{expected:,} open deadlines of one city, among {nation.open:,} open cases, move by a working day.",
        figures=[rate, Figure("until the last one is durable on SLA", "s", seconds)],
        bars=[
            Bar("deadlines moved a second", rate.value, at_least=MOVED / SECONDS, unit="/s", ratio=False),
            Bar("deadlines moved / json.loads", rate.value / json_loads_rate()),
        ],
        checked="every open deadline that the pure fold moves, and no other.",
    )


def _exception(nation: Nation, day: str) -> list[Message]:
    """The day off, once for each partition, as intake appends it."""
    data = {"date": day, "closed": True, "name_ref": "txt_holiday"}
    event = stored(
        HOLIDAY_CITY, ALL, "calendar.exception", "administration", nation.now - MINUTE, data, id=f"off-{day}"
    )
    return [
        event._replace(subject=cases_subject(number, HOLIDAY_CITY, "calendar.exception"))
        for number in range(PARTITIONS)
    ]
