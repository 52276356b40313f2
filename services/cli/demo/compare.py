"""Compares what the running system decided and sent with what the logs and the gateways say by themselves.

The one rule: equality, case by case and promise by promise, message by message. A difference is named, never
explained away.
"""

import asyncio
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
from nats.aio.client import Client

from services.chassis.cursor import LogCursor
from services.chassis.logs import OperatorError
from services.chassis.settings import ROOT
from services.cli.demo.week.delivery import Delivery

REFOLD_SECONDS = 60
BATCH = 1000


class Decided(NamedTuple):
    """A decision, as far as two ways of reaching it must agree. Instants in microseconds."""

    partition: int
    number: int
    tenant: str
    case: str
    decision: str
    promise: str
    occurrence: str
    due: int | None
    at: int

    @property
    def about(self) -> tuple[str, str, str]:
        """The case and the promise that it is about."""
        return self.tenant, self.case, self.promise


def of_decisions(live: Iterable[Decided], again: Iterable[Decided]) -> list[str]:
    """Every case and promise whose decisions, in their order, are not the same in both; in words."""
    here, there = _by_promise(live), _by_promise(again)
    return [
        f"{tenant}/{case} {promise or '(no promise)'}: live {_words(here[tenant, case, promise])}; "
        f"from CASES alone {_words(there[tenant, case, promise])}"
        for tenant, case, promise in sorted(here.keys() | there.keys())
        if here[tenant, case, promise] != there[tenant, case, promise]
    ]


def _by_promise(decisions: Iterable[Decided]) -> defaultdict[tuple[str, str, str], list[Decided]]:
    found = defaultdict(list)
    for decided in sorted(decisions, key=lambda one: (one.partition, one.number)):
        found[decided.about].append(decided)
    return found


def _words(decisions: Iterable[Decided]) -> str:
    return ", ".join(f"{one.decision} {one.partition}-{one.number} due {one.due}" for one in decisions) or "nothing"


def of_messages(
    ledger: Iterable[str], notices: Iterable[str], record: Iterable[Mapping[str, str]], repeated: Container[str] = ()
) -> list[str]:
    """Where the keys of sent messages differ between notifier's ledger, NOTICES and the gateways' own record, and
    what a gateway was handed more than once.

    `repeated` are mails whose answer was lost: nobody can ask an SMTP server after them, so they were sent again
    under the same Message-ID.
    """
    taken = Counter(line["key"] for line in record if line["outcome"] in ("accepted", "duplicate"))
    told = Counter(notices)
    sides = {"the ledger": set(ledger), "NOTICES": set(told), "the gateways": set(taken)}
    found = [
        f"message {key}: sent according to {', '.join(name for name, keys in sides.items() if key in keys)} only"
        for key in sorted(set().union(*sides.values()))
        if not all(key in keys for keys in sides.values())
    ]
    found += [
        f"message {key}: handed to a gateway {count} times"
        for key, count in taken.items()
        if count > 1 and key not in repeated
    ]
    return found + [f"message {key}: {count} times on NOTICES" for key, count in told.items() if count > 1]


def of_answers(answers: Iterable[tuple[Delivery, str]]) -> list[str]:
    """Answers of the doors other than expected, in words, counted. A repetition gets the first answer again."""
    found: Counter[str] = Counter()
    for delivery, answer in answers:
        expected = ("accepted", "waiting") if delivery.expect == "repeated" else (delivery.expect,)
        if answer not in expected:
            why = delivery.why or "ordinary"
            found[f"{delivery.type} through {delivery.door} ({why}): {answer}, not {delivery.expect}"] += 1
    return [f"{words}, {count} times" for words, count in sorted(found.items())]


async def live_decisions(pool: asyncpg.Pool) -> list[Decided]:
    """What the running system decided, from PostgreSQL."""
    rows = await pool.fetch(
        "select partition, number, tenant, \"case\", kind, coalesce(promise, ''), coalesce(occurrence, ''), due, at "
        "from read.decisions"
    )
    return [Decided(*row) for row in rows]


async def refolded(nats_url: str, log: Path) -> list[Decided]:
    """What another process works out from CASES alone, without the database. Raises OperatorError."""
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.cli.refold"),
            cwd=ROOT,
            env={"NATS_URL": nats_url, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
        try:
            async with asyncio.timeout(REFOLD_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise OperatorError(f"The second reading of CASES took more than {REFOLD_SECONDS} s.") from None
    if process.returncode:
        raise OperatorError(f"The second reading of CASES failed; its words are in {log}.")
    return [
        Decided(
            row["partition"],
            row["number"],
            row["tenant"],
            row["case"],
            row["decision"],
            row.get("promise", ""),
            row.get("occurrence", ""),
            row.get("due"),
            row["at"],
        )
        for row in map(json.loads, output.splitlines())
    ]


async def read_all(nc: Client, stream: str) -> list[tuple[str, dict[str, Any]]]:
    """Every message of a stream as (subject, JSON); markers included."""
    end = (await nc.jetstream().stream_info(stream)).state.last_seq
    found: list[tuple[str, dict[str, Any]]] = []
    last = 0
    async with LogCursor(nc, stream=stream, after=0) as cursor:
        while last < end:
            for entry in await cursor.read(BATCH, 5.0):
                last = entry.sequence
                found.append((entry.subject, json.loads(entry.data)))
    return found


async def inbox_answers(nc: Client, deliveries: Iterable[Delivery]) -> list[tuple[Delivery, str]]:
    """The first word of RECEIPTS on each delivery through INBOX, which is intake's; what the law refuses comes later.

    A delivery without a readable id is told by its source alone.
    """
    told: dict[tuple[str, str, str], str] = {}
    unreadable: Counter[tuple[str, str]] = Counter()
    for subject, receipt in await read_all(nc, "RECEIPTS"):
        stem, tenant, source = subject.split(".")
        if stem == "feed" or "status" not in receipt:
            continue
        if "id" in receipt:
            told.setdefault((tenant, source, receipt["id"]), receipt["status"])
        else:
            unreadable[tenant, source] += 1
    answers = []
    for delivery in deliveries:
        if delivery.door != "inbox":
            continue
        answer = told.get((delivery.tenant, delivery.source, delivery.id), "no receipt")
        if not delivery.id and unreadable[delivery.tenant, delivery.source]:
            unreadable[delivery.tenant, delivery.source] -= 1
            answer = "refused"
        answers.append((delivery, answer))
    return answers
