"""`gihan remedies`: the money owed and paid to citizens, and whether the book agrees with the logs.

The one rule: it reads. What the logs say is worked out from CASES (every decision anew, as `gihan simulate` does) and
from what people did on NOTICES, and from nothing that the notifier keeps.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import asyncpg
import msgspec
import typer
from nats.aio.client import Client

from contracts import files
from services.chassis import broker, logs, postgres
from services.chassis.cursor import read_up_to
from services.chassis.logs import OperatorError
from services.chassis.settings import Settings
from services.cli.accounts import PROPOSED, WITHDRAWN, Account, Said, Step, Sums, settled
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Data, settings_of_reader
from services.cli.refold import Numbered, Refold
from services.rules import instants
from services.rules.instants import Instant
from services.rules.rulebook import Library

COLUMNS: Mapping[str, str] = {
    "city": "tenant",
    "department": "department",
    "clause": "remedy",
    "promise": "promise",
    "month": "to_char(month, 'YYYY-MM')",
}
REST_SECONDS = 20.0


# -- the sums -----------------------------------------------------------------------------------------------------


async def sums(pool: asyncpg.Pool, by: Sequence[str], tenant: str | None) -> list[dict[str, Any]]:
    """The book's sums by city and currency, and by what else is asked for, in that order. Raises ValueError."""
    names = list(dict.fromkeys(["city", *by]))
    if unknown := [name for name in names if name not in COLUMNS]:
        raise ValueError(f"--by {unknown[0]} is not known; take one of {', '.join(COLUMNS)}")
    places = ", ".join(str(place) for place in range(1, len(names) + 2))
    shown = ", ".join(f'{COLUMNS[name]} as "{name}"' for name in names)
    rows = await pool.fetch(
        f"select {shown}, currency, sum(proposed)::bigint as proposed, sum(withdrawn)::bigint as withdrawn, "  # noqa: S608
        "sum(declined)::bigint as declined, sum(covered)::bigint as covered, sum(owed)::bigint as owed, "
        "sum(paid)::bigint as paid, "
        'sum("open")::bigint as "open" from read.remedy_sums where $1::text is null or tenant = $1 '
        f"group by {places} order by {places}",
        tenant,
    )
    return [dict(row) for row in rows]


# -- the book and the logs ------------------------------------------------------------------------------------------


async def differences(nc: Client, pool: asyncpg.Pool) -> list[str]:
    """Where the book does not add up, or is another than the logs say, in words. Raises OperatorError where the
    notifier does not come to rest."""
    await _at_rest(nc, pool)
    by_book, covered = await _by_book(pool), await _covered(pool)
    by_log = await worked_out(nc)
    return [
        *await _unbalanced(pool),
        *compared(by_book, {key: account.sums for key, account in by_log.items()}),
        *_covered_otherwise(covered, {key: one.covered_by for key, one in by_log.items() if one.is_covered}),
    ]


def compared(book: Mapping[str, Sums], log: Mapping[str, Sums]) -> list[str]:
    """Each remedy of which book and logs say different sums; one that moved nothing is like one that is not there."""
    return [
        f"{key}: the book says {_words(book.get(key, Sums()))}; the logs say {_words(log.get(key, Sums()))}"
        for key in sorted(book.keys() | log.keys())
        if book.get(key, Sums()) != log.get(key, Sums())
    ]


def _covered_otherwise(book: Mapping[str, str], log: Mapping[str, str | None]) -> list[str]:
    return [
        f"{key}: covered by the payment of {book.get(key, 'none')} in the book, of {log.get(key, 'none')} by the logs"
        for key in sorted(book.keys() | log.keys())
        if book.get(key) != log.get(key)
    ]


def _words(one: Sums) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in zip(one._fields, one, strict=True))


async def _at_rest(nc: Client, pool: asyncpg.Pool) -> None:
    """Waits until the notifier has folded SLA to its end and told everything."""
    async with asyncio.timeout(REST_SECONDS):
        while True:
            row = await pool.fetchrow("select sla_sequence, unpublished from read.notifier")
            last = (await nc.jetstream().stream_info("SLA")).state.last_seq
            if row is not None and row["sla_sequence"] >= last and not row["unpublished"]:
                return
            await asyncio.sleep(0.2)


async def _by_book(pool: asyncpg.Pool) -> dict[str, Sums]:
    rows = await pool.fetch("select remedy_key, debit, credit, amount from read.book order by number")
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        found[row["remedy_key"]][row["debit"]] += row["amount"]
        found[row["remedy_key"]][row["credit"]] -= row["amount"]
    return {key: Sums(-of["charter"], *(of[name] for name in Sums._fields[1:])) for key, of in found.items()}


async def _covered(pool: asyncpg.Pool, tenant: str | None = None) -> dict[str, str]:
    """The remedies that are covered, each with the one whose payment covers it."""
    rows = await pool.fetch(
        "select t.remedy_key, p.remedy_key as by from read.tasks t join read.tasks p on p.key = t.covered_by "
        "where $1::text is null or t.tenant = $1 order by 1",
        tenant,
    )
    return {row["remedy_key"]: row["by"] for row in rows}


async def _unbalanced(pool: asyncpg.Pool) -> list[str]:
    """Remedies whose accounts do not fit the state that they are in."""
    rows = await pool.fetch(
        "select t.remedy_key, t.state, t.amount, "
        "coalesce(sum(b.amount) filter (where b.debit = 'open'), 0)::bigint "
        "- coalesce(sum(b.amount) filter (where b.credit = 'open'), 0)::bigint as open, "
        "coalesce(sum(b.amount) filter (where b.debit = 'paid'), 0)::bigint as paid "
        "from read.tasks t left join read.book b using (key) where t.remedy_key is not null group by 1, 2, 3 order by 1"
    )
    return [
        f"{row['remedy_key']}: {row['state']}, {row['open']:,} open and {row['paid']:,} paid of {row['amount'] or 0:,}"
        for row in rows
        if (row["open"], row["paid"]) != _balance(row["state"], row["amount"] or 0)
    ]


def _balance(state: str, amount: int) -> tuple[int, int]:
    """(open, paid) of a remedy in a state."""
    if state in ("issued", "acknowledged", "kept"):
        return 0, amount
    return (0, 0) if state in ("declined", "withdrawn", "covered") else (amount, 0)


async def worked_out(nc: Client) -> dict[str, Account]:
    """The account of every remedy, by its key, from CASES and NOTICES alone; but for what was over before the
    municipality was live."""
    refolded = Refold(Library(files.read()))
    said: list[Said] = []
    live: dict[str, Instant] = {}
    async for entry in read_up_to(nc, "CASES", (await nc.jetstream().stream_info("CASES")).state.last_seq):
        if entry.subject.endswith(".charter.enacted"):
            event = msgspec.json.decode(entry.data)
            live.setdefault(event["tenant"], instants.instant(event["data"].get("go_live") or event["time"]))
        for one in refolded.take(entry):
            decision = one.decided.decision
            over = decision.due or decision.at
            if decision.kind in (PROPOSED, WITHDRAWN) and over >= live.get(one.decided.tenant, 0):
                said.append(_said(one))
    steps: dict[str, list[Step]] = defaultdict(list)
    last = (await nc.jetstream().stream_info("NOTICES")).state.last_seq
    async for entry in read_up_to(nc, "NOTICES", last, subject="notices.>"):
        noun, verb = entry.subject.split(".")[-2:]
        data = msgspec.json.decode(entry.data)["data"] if noun == "remedy" else {}
        if "by" in data:  # a person did it
            steps[data["key"]].append(Step(data["cause"]["id"], verb, data.get("amount")))
    return {key: account for accounts in settled(said, steps) for key, account in accounts.of.items()}


def _said(one: Numbered) -> Said:
    decision = one.decided.decision
    scope = (one.decided.tenant, one.decided.case, decision.remedy)
    id = f"{one.partition}-{one.number}"
    return Said(id, one.cause_sequence, decision.kind, decision.key, scope, decision.promise, decision.amount)


# -- the command --------------------------------------------------------------------------------------------------


def remedies_command(
    by: Annotated[list[str] | None, typer.Option(help="Besides by city: department, clause, promise or month.")] = None,
    tenant: Annotated[str | None, typer.Option(help="This city alone.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the book with CASES, worked out anew, and with NOTICES.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """What is owed and paid to citizens. --check ends with 1 where the book is another than the logs say."""
    with plain_errors():
        logs.configure("remedies", "critical")
        settings = settings_of_reader(data)
        raise typer.Exit(asyncio.run(show(settings, by or [], tenant, check, as_json)))


async def show(settings: Settings, by: Sequence[str], tenant: str | None, check: bool, as_json: bool) -> int:
    """Prints the sums, or with `check` each difference; returns 1 where there is any."""
    pool = await postgres.connect_pool(settings, max_size=2)
    try:
        if not check:
            _print(await sums(pool, by, tenant), await _covered(pool, tenant), as_json)
            return 0
        nc = await broker.connect(settings)
        try:
            found = await differences(nc, pool)
        except TimeoutError as error:
            raise OperatorError("The notifier does not come to rest: run this again when less happens.") from error
        finally:
            await nc.close()
    finally:
        await pool.close()
    if as_json:
        print(json.dumps({"equal": not found, "differences": found}, ensure_ascii=False))
    else:
        print(*found, "the book and the logs agree" if not found else f"DIFFERENT: {len(found)} remedies", sep="\n")
    return int(bool(found))


def _print(rows: Sequence[Mapping[str, Any]], covered: Mapping[str, str], as_json: bool) -> None:
    if as_json:
        for row in [*rows, *({"covered": key, "by": by} for key, by in covered.items())]:
            print(json.dumps(row, ensure_ascii=False))
        return
    if not rows:
        print("Nothing is owed to anybody.")
        return
    shown = [list(rows[0]), *([f"{v:,}" if isinstance(v, int) else v or "-" for v in row.values()] for row in rows)]
    widths = [max(len(str(row[place])) for row in shown) for place in range(len(shown[0]))]
    for line in shown:
        print("  ".join(str(value).ljust(width) for value, width in zip(line, widths, strict=True)).rstrip())
    for key, by in covered.items():
        print(f"covered: {key} by the payment of {by}")
