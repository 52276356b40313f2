"""Ten thousand deadlines due at one instant, very many others open: how late is the last?

The one rule: the comparison favours the rivals. Their jobs do nothing but note the time; our breach is decided by a
charter, kept in PostgreSQL and durable on SLA before it counts.
"""

import json
from collections.abc import Sequence

from services.rules.instants import MINUTE
from tests.bench.nation import CALLED_BACK, Nation, callback, what_follows
from tests.bench.results import Bar, Figure, Outcome
from tests.bench.room import Room, until

RUNS = 3
DUE, DUE_QUICK = 10_000, 1_000
PEERS = ("pgqueuer_jobs", "procrastinate_jobs", "apscheduler_jobs")


async def measure(nation: Nation, quick: bool) -> Outcome:
    """Ours first, while the nation's cases are open, then the rivals with as many jobs waiting."""
    due = DUE_QUICK if quick else DUE
    breached: list[float] = []
    everything: list[float] = []
    for run in range(RUNS):
        last, all_of_it = await _ours(nation, due, run)
        breached.append(last)
        everything.append(all_of_it)
    await nation.stop()
    await nation.pool.close()
    rows = [
        Figure("Gihan: last breach durable on SLA", "ms", breached),
        Figure("Gihan: last of all that follows", "ms", everything),
    ]
    lags: dict[str, float] = {}
    for peer in PEERS:
        name, values = await _peer(nation.room, peer, nation.open, due)
        rows.append(Figure(f"{name}: last job has run", "ms", values))
        lags[peer] = rows[-1].value
    ours = rows[0].value
    return Outcome(
        subject="timers",
        title="Deadlines due at one instant",
        about=f"{due:,} due at one instant, {nation.open:,} others open; milliseconds from that instant on, settle 0.",
        figures=rows,
        bars=[
            Bar("last breach durable", ours, at_most=1000, unit="ms", ratio=False),
            Bar("all that follows durable", rows[1].value, at_most=2000, unit="ms", ratio=False),
            Bar("APScheduler / ours", lags["apscheduler_jobs"] / ours, at_least=7),
            Bar("procrastinate / ours", lags["procrastinate_jobs"] / ours, at_least=15),
            Bar("pgqueuer / ours", lags["pgqueuer_jobs"] / ours),
        ],
        checked="every breach, once, and what follows, as the pure fold has it; of the rivals, that each job ran.",
    )


async def _ours(nation: Nation, due: int, run: int) -> tuple[float, float]:
    """(last breach, last of everything) in milliseconds after the clock was told to pass the instant."""
    instant = nation.now + 6 * MINUTE
    calls = [callback(f"due-{run}", number, instant) for number in range(due)]
    expected = sum(
        (what_follows([calls[place]], lambda folded: folded.tick(instant + 1)) for place in range(len(CALLED_BACK))),
        start=what_follows([], lambda _: []),
    )
    await nation.fold(calls)
    told, came = await nation.step(instant + 1)
    kinds = [row.kind for row in came]
    for kind, count in expected.items():
        wanted = count * due // len(CALLED_BACK)
        assert kinds.count(kind) == wanted, f"{kinds.count(kind)} x {kind} where {wanted} follow"
    assert len(kinds) == expected.total() * due // len(CALLED_BACK), "something else was decided, too"
    broken = max(row.at for row in came if row.kind == "deadline.breached")
    return (broken - told) / 1000, (max(row.at for row in came) - told) / 1000


async def _peer(room: Room, module: str, pending: int, due: int) -> tuple[str, list[float]]:
    """Runs a rival in an empty database; its name and the lag of the last job in each of its runs."""
    await room.fresh_database(empty=True)
    answer = room.folder / f"{module}.json"
    async with room.process(f"tests.bench.peers.{module}", *map(str, (pending, due, RUNS, answer))) as process:

        async def ended() -> bool:
            return process.returncode is not None

        await until(ended)
    found = json.loads(answer.read_bytes())
    lags: Sequence[float] = found["last_ms"]
    return found["name"], list(lags)
