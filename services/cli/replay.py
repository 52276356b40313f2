"""`gihan replay`: what CASES alone says, beside what the running system holds.

The one rule: it reads. NATS lets its user publish nothing but requests to read, PostgreSQL refuses its session every
write, and what it finds rests on the log, the files and the same rules as the live fold. (`--verify` has a file of its
own, and so has `--rebuild`, which writes into the projection alone.)
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import typer

from contracts import files
from contracts.streams import PARTITIONS, partition
from services.chassis import broker, logs
from services.chassis.settings import Settings
from services.cli.errors import plain_errors
from services.cli.explain import Asked, asked
from services.cli.folded import Folded, Told, folded, whole
from services.cli.options import AsJson, Data, instant, settings_of_reader
from services.cli.rebuild import rebuild
from services.cli.verify import verify
from services.cli.zones import Zones
from services.rules import instants
from services.rules.instants import Instant
from services.rules.rulebook import Library
from services.rules.state import Case

# -- as known then, and one case ----------------------------------------------------------------------------------


async def known(settings: Settings, until: Instant | None, numbers: Sequence[int]) -> AsyncIterator[Folded]:
    """Partitions as the log says they stood at `until` (None: at its end), without any database."""
    library = Library(files.read())
    nc = await broker.connect(settings)
    try:
        last = (await nc.jetstream().stream_info("CASES")).state.last_seq
        for number in numbers:
            yield await folded(nc, library, number, last, until)
    finally:
        await nc.close()


async def history(settings: Settings, tenant: str, case_id: str, until: Instant | None) -> dict[str, Any]:
    """One case from its partition of the log alone: its facts, its decisions and its standing. Raises ValueError."""
    number = partition(tenant, case_id)
    async for found in known(settings, until, [number]):
        case = found.world.cases.get((tenant, case_id))
        if case is None:
            break
        zone = Zones()[tenant]
        told = [row for row in found.told if (row.tenant, row.case_id) == (tenant, case_id)]
        return standing_of(case, zone) | {
            "facts": [
                {"sequence": fact.sequence, "at": instants.text(fact.time, zone), "type": fact.type, "event": fact.key}
                for fact in case.facts
            ],
            "decisions": [_decision_of(row, number, zone) for row in told],
        }
    raise ValueError(f"the log knows no case {tenant}/{case_id} by then")


def _decision_of(row: Told, number: int, zone: ZoneInfo) -> dict[str, Any]:
    line = {"id": f"{number}-{row.number}", "at": instants.text(row.at, zone), "kind": row.kind, "promise": row.promise}
    due = None if row.due is None else instants.text(row.due, zone)
    kept = {**line, "due": due, "cause_sequence": row.cause_sequence}
    return {name: value for name, value in kept.items() if value is not None}


INSTANTS = ("start", "due", "first_due", "warn_at", "met_at", "began", "turned", "at")
"""Fields of deadlines and findings that hold instants."""


def standing_of(case: Case, zone: ZoneInfo) -> dict[str, Any]:
    """A case as it stands: deadlines and findings with what is set of them, instants with the offset of a zone."""
    plain: Mapping[str, list[dict[str, Any]]] = msgspec.to_builtins(case)
    return {
        "tenant": case.tenant,
        "case": case.id,
        "closed": case.closed,
        **({"stuck": case.stuck} if case.stuck else {}),
        **{
            what: [
                {n: instants.text(v, zone) if n in INSTANTS else v for n, v in row.items() if v is not None}
                for row in plain.get(what, [])
            ]
            for what in ("deadlines", "findings")
        },
    }


# -- the command --------------------------------------------------------------------------------------------------


def replay(
    verify: Annotated[bool, typer.Option("--verify", help="Compare the live projection with the log.")] = False,
    anew: Annotated[bool, typer.Option("--rebuild", help="Fold the log beside the live projection, and swap.")] = False,
    partition: Annotated[int | None, typer.Option(min=0, max=15, help="--verify or --rebuild this one alone.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339: the state as it was known then.")] = None,
    case: Annotated[str | None, typer.Option(help="TENANT/CASE: its facts, decisions and standing.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """What the log alone says. Publishes nothing; only --rebuild writes, and into the projection alone. --verify ends
    with 1 where anything differs."""
    with plain_errors():
        if [verify, anew, bool(until or case)].count(True) != 1:
            raise ValueError("give one of --verify, --rebuild, --until and --case (the last two may go together)")
        moment = None if until is None else instant(until)
        logs.configure("replay", "critical")
        settings = settings_of_reader(data)
        numbers = range(PARTITIONS) if partition is None else [partition]
        if verify:
            raise typer.Exit(asyncio.run(show_verdicts(settings, numbers, as_json)))
        if anew:
            asyncio.run(show_rebuilt(settings, numbers, as_json))
        elif case is not None:
            asyncio.run(show_case(settings, asked(case, ""), moment, as_json))
        else:
            assert moment is not None
            asyncio.run(show_known(settings, moment, as_json))


async def show_verdicts(settings: Settings, numbers: Sequence[int], as_json: bool) -> int:
    """Prints each partition's verdict and the hash of all; returns 1 where any differs."""
    verdicts = []
    async for verdict in verify(settings, numbers):
        verdicts.append(verdict)
        if as_json:
            print(json.dumps(verdict._asdict(), ensure_ascii=False), flush=True)
            continue
        print(
            f"partition {verdict.partition:>2}  sequence {verdict.sequence:>8}  cases {verdict.cases:>6}  "
            f"decisions {verdict.decisions:>7}  live {verdict.live[:16]}  folded {verdict.folded[:16]}  "
            f"{'DIFFERENT' if verdict.difference else 'equal'}",
            flush=True,
        )
        if verdict.difference:
            print(f"    {verdict.difference}", flush=True)
    live, again = whole(verdict.live for verdict in verdicts), whole(verdict.folded for verdict in verdicts)
    if as_json:
        print(json.dumps({"live": live, "folded": again, "equal": live == again}))
    else:
        print(f"all  live {live}  folded {again}  {'equal' if live == again else 'DIFFERENT'}")
    return int(live != again)


async def show_rebuilt(settings: Settings, numbers: Sequence[int], as_json: bool) -> None:
    """Rebuilds partitions, and prints for each partition how many live rows were other than the log says."""
    async for row in rebuild(settings, numbers):
        words = f"cases {row.cases:>6}  decisions {row.decisions:>6}  enacted {row.enacted:>3}"
        line = f"partition {row.partition:>2}  sequence {row.sequence:>8}  mended: {words}"
        print(json.dumps(row._asdict()) if as_json else line, flush=True)


async def show_known(settings: Settings, until: Instant, as_json: bool) -> None:
    """Prints the cases as known at an instant: a JSON object a line, or a line for each tenant."""
    zones = Zones()
    cases: dict[str, Counter[str]] = defaultdict(Counter)
    deadlines: dict[str, Counter[str]] = defaultdict(Counter)
    async for found in known(settings, until, range(PARTITIONS)):
        for _, case in sorted(found.world.cases.items()):
            if as_json:
                print(json.dumps(standing_of(case, zones[case.tenant]), ensure_ascii=False))
            cases[case.tenant]["closed" if case.closed else "open"] += 1
            deadlines[case.tenant].update(deadline.state for deadline in case.deadlines)
    if not as_json:
        for tenant in sorted(cases):
            print(f"{tenant:<10} cases {_counted(cases[tenant])}; deadlines {_counted(deadlines[tenant]) or 'none'}")
        print(f"{sum(map(Counter.total, cases.values()))} cases were known by then.")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))


async def show_case(settings: Settings, asked: Asked, until: Instant | None, as_json: bool) -> None:
    """Prints what the log says of one case."""
    told = await history(settings, asked.tenant, asked.case, until)
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
        return
    state = "stuck" if "stuck" in told else "closed" if told["closed"] else "open"
    print(f"{told['tenant']}/{told['case']}: {state}")
    for heading in ("facts", "decisions", "deadlines", "findings"):
        print(f"\n{heading}")
        for row in told[heading]:
            print("  " + "  ".join(f"{name} {value}" for name, value in row.items()))
