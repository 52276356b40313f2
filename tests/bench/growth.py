"""Growth: what an event and a tick cost with ten thousand, a hundred thousand and a million open cases.

The one rule: the same work at every size. What grows is only what lies still beside it.
"""

import random
from collections.abc import Iterator, Sequence
from statistics import median

from contracts.streams import PARTITIONS
from services.rules.facts import decode_event
from services.rules.instants import MINUTE, SECOND
from tests.bench.machine import json_loads_rate
from tests.bench.nation import CITIES, Nation, callback, name_of, open_cases, what_follows
from tests.bench.peers.projection import place_of
from tests.bench.results import Bar, Figure, Outcome, Run, figure
from tests.bench.workload import Message, stored

SIZES, SIZES_QUICK = (10_000, 100_000, 1_000_000), (4_000, 16_000)
RUNS = 3
FACTS, FACTS_QUICK = 3_000, 1_000
"""Of one run; three runs of them are fewer than the cases of the smallest size."""
TICKS = 10
SEED = 20261122
NEVER = 10**15
"""An instant, where any will do."""


async def measure(nation: Nation, quick: bool) -> Outcome:
    """Opens cases up to each size in turn and measures there; leaves the nation at the largest."""
    sizes, facts = (SIZES_QUICK, FACTS_QUICK) if quick else (SIZES, FACTS)
    memory: dict[str, float] = {}
    chance = random.Random(SEED)
    figures: list[Figure] = []
    costs: list[float] = []
    ticks: list[float] = []
    for size in sizes:
        grown = await nation.grow(size)
        figures.append(figure(f"opened up to {size:,}, published", "facts/s", [grown]))
        memory = nation.memory()
        figures += [Figure(f"memory of {name} at {size:,}", "MB", [held]) for name, held in memory.items()]
        figures += [Figure(f"{name} at {size:,}", "MB", [held]) for name, held in (await nation.sizes()).items()]
        # What follows meets cases that the service does not hold in its memory, at every size.
        figures.append(Figure(f"restart at {size:,}, to facts of all partitions folded", "s", [await _restart(nation)]))
        chosen = chance.sample(range(nation.open), RUNS * facts)
        runs, yardsticks = list[Run](), [json_loads_rate()]
        for run in range(RUNS):
            runs.append(await nation.fold(_next_steps(nation, chosen[run::RUNS], run)))
            yardsticks.append(json_loads_rate())
        figures.append(figure(f"an event at {size:,}", "facts/s", runs))
        costs.append(_cost(runs) * median(yardsticks))
        figures.append(Figure(f"an event at {size:,}, all processes", "x json.loads of it", [costs[-1]]))
        lags = await _tick_lags(nation, size)
        ticks.append(median(lags))
        figures.append(Figure(f"a tick of each partition at {size:,}, to the last breach on SLA", "ms", lags))
    await _check(nation)
    return Outcome(
        subject="growth",
        title="Growth",
        about=(
            f"At each size {RUNS} times {facts:,} facts about open cases not worked on of late; CPU time of all "
            "processes. Minutes lie between the sizes, so costs are compared as multiples of what json.loads took then."
        ),
        figures=figures,
        bars=[
            Bar(f"CPU of an event, {sizes[0]:,} / {sizes[-1]:,} open", costs[0] / costs[-1], at_least=1 / 1.2),
            Bar(f"lag of a tick, {sizes[0]:,} / {sizes[-1]:,} open", ticks[0] / ticks[-1]),
            Bar("memory of sla_timer", memory["sla_timer"], at_most=500, unit="MB", ratio=False),
            Bar("memory of nats-server", memory["nats"], at_most=1024, unit="MB", ratio=False),
        ],
        checked="the number of open cases and of decisions, with what the pure fold makes of one case of each city.",
    )


def _cost(runs: Sequence[Run]) -> float:
    """CPU seconds of all processes for a fact, over all runs: one alone is too short for a difference of a tenth."""
    spent = sum(used.cpu_seconds for run in runs for used in run.used.values())
    return spent / sum(run.work for run in runs)


def _next_steps(nation: Nation, numbers: Sequence[int], run: int) -> Iterator[Message]:
    """The next thing that happens to some of the open cases."""
    at = nation.now - MINUTE + run * SECOND
    data = {"department": "도로관리과 가로등팀", "officer": f"officer-{run:04}", "approver": "head-0001"}
    for number in numbers:
        yield stored(CITIES[number % 10], name_of(number), "complaint.assigned", "documents", at, data)


async def _tick_lags(nation: Nation, size: int) -> list[float]:
    """One call falls due in each partition at a time, a minute apart; milliseconds until the last breach is out."""
    first = nation.now + 6 * MINUTE
    instants = [first + place * MINUTE for place in range(TICKS)]
    await nation.fold(
        callback(f"tick-{size}", number, due)
        for place, due in enumerate(instants)
        for number in _one_a_partition(f"tick-{size}", place)
    )
    lags = []
    for due in instants:
        told, came = await nation.step(due + 1)
        breaches = [row.at for row in came if row.kind == "deadline.breached"]
        assert len(breaches) == PARTITIONS, f"{len(breaches)} breaches where {PARTITIONS} were due"
        lags.append((max(breaches) - told) / 1000)
    return lags


def _one_a_partition(name: str, place: int) -> list[int]:
    """Numbers of calls, one for each partition."""
    found: dict[int, int] = {}
    number = place * 10_000
    while len(found) < PARTITIONS:
        found.setdefault(place_of(callback(name, number, NEVER).subject), number)
        number += 1
    return list(found.values())


async def _restart(nation: Nation) -> float:
    """Seconds from the start of a new process until a fact of every partition that waited for it is folded."""
    await nation.stop()
    at, number = nation.now - MINUTE, 0
    waiting: dict[int, Message] = {}
    while len(waiting) < PARTITIONS:
        told = stored(
            CITIES[number % 10], name_of(number), "complaint.progress_notified", "documents", at, {"by": "sms"}
        )
        waiting.setdefault(place_of(told.subject), told)
        number += 1
    await nation.room.fill((message.subject, message.body) for message in waiting.values())
    meter = nation.room.meter({})
    await nation.start()
    await nation.settled()
    return meter.seconds


async def _check(nation: Nation) -> None:
    """Every open case is there, with what the pure fold says of one of its city."""
    expected = 0
    for place in range(len(CITIES)):
        received = decode_event(next(open_cases(place, place + 1)).body)
        kinds = what_follows([], lambda folded, received=received: folded.take(received, 1))  # type: ignore[misc]
        expected += kinds["deadline.started"] * len(range(place, nation.open, len(CITIES)))
    found = await nation.pool.fetchval(
        "select count(*) from read.decisions where kind = 'deadline.started' and \"case\" like 'complaint-%'",
        timeout=120,
    )
    assert found == expected, f"{found} deadlines started, {expected} expected"
