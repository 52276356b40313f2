"""`gihan restore --reappend`: what intake acknowledged, and an older log lacks, stands in the log again.

The one rule: everything goes back to the place where it stood. PostgreSQL knows the sequence of each fact, of each
batch's marker and of each enacting event; between them lay ticks, of which those that decided something are known by
their decisions. So the fold numbers the same decisions again, and nobody is told anything twice. A place of which
nothing is known gets a marker that nobody reads.
"""

import json
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import NamedTuple
from uuid import uuid4

import asyncpg
import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.streams import cases_subject, clock_subject, intake_mark
from deploy.provision import create_streams
from services.chassis import broker, postgres
from services.chassis.cursor import WrongLog, check_log
from services.chassis.logs import OperatorError, error_code
from services.chassis.settings import Settings
from services.cli.copying import refuse_running
from services.sla_timer.messages import tick_message

BATCH_MESSAGES = 1_000
_ANSWER_SECONDS = 30.0
_FILLER = (intake_mark("restored"), b'{"batch": 0, "count": 0}')

Message = tuple[str, bytes]


class ReappendError(OperatorError):
    """The log did not take what was to be appended again; says what to do."""


class Reappended(NamedTuple):
    """What was written: facts (counting every copy), ticks and enacting events, places of which nothing is known."""

    last_before: int
    last: int
    facts: int
    others: int
    unknown: int


async def reappend(settings: Settings) -> Reappended:
    """Appends to CASES what PostgreSQL knows to have stood behind its present end; begins the projections anew.

    May be repeated after any interruption. The NATS user is `restore`. Raises BackupError while a service runs, and
    WrongLog where somebody has written to the log since it was restored.
    """
    await refuse_running(settings)
    nc = await broker.connect(settings)
    connection = await postgres.connect(settings)
    try:
        await connection.execute("set statement_timeout = 0")
        await create_streams(nc)  # where the log is lost and there was no backup
        first = (await nc.jetstream().stream_info("CASES")).state.last_seq
        await _refuse_grown(nc, connection, first)
        written = await _fill(nc, connection, first)
        await _begin_projections_anew(nc, connection)
    finally:
        await connection.close()
        await nc.close()
    return written


async def _refuse_grown(nc: Client, connection: asyncpg.Connection, end: int) -> None:
    """What should stand in the log must stand there, the last batch and the last rules: else somebody wrote to it."""
    batch = await connection.fetchrow(
        "select instance, number, marker_sequence from intake.batches where marker_sequence <= $1"
        " order by marker_sequence desc limit 1",
        end,
    )
    if batch is not None:
        mark = intake_mark(batch["instance"]), batch["number"]
        await _refuse_other(
            nc, batch["marker_sequence"], lambda subject, body: (subject, json.loads(body).get("batch")) == mark
        )
    rules = await connection.fetchrow(
        "select sequence, body from sla_timer.enacted where sequence <= $1 order by sequence desc limit 1", end
    )
    if rules is not None:
        await _refuse_other(nc, rules["sequence"], lambda _, body: body == rules["body"])


async def _refuse_other(nc: Client, sequence: int, same: Callable[[str, bytes], bool]) -> None:
    try:
        await check_log(nc, "CASES", sequence, None, same)
    except WrongLog:
        raise WrongLog(
            f"CASES holds another entry at {sequence} than the database knows: somebody wrote to it after it was "
            "restored or made anew. Restore it once more with --replace (or delete the streams, where there is no "
            "backup), and append again before any service or `gihan provision` is started."
        ) from None


async def _fill(nc: Client, connection: asyncpg.Connection, first: int) -> Reappended:
    """Writes every place behind `first` up to the last that is known, a batch at a time, each where the last ended."""
    last, facts, others, unknown = first, 0, 0, 0
    waiting: list[Message] = []
    async with connection.transaction():  # for the cursors in it
        async for sequence, message in _known(nc, connection, first):
            gap = sequence - (last + len(waiting)) - 1
            for missing in [*[_FILLER] * gap, message]:
                waiting.append(missing)
                if len(waiting) == BATCH_MESSAGES:
                    last, waiting = await _append(nc, waiting, last), []
            unknown += gap
            fact = message[0].startswith("cases.")
            tick_or_enacted = message[0].endswith((".clock", ".enacted"))
            facts += fact and not tick_or_enacted
            others += tick_or_enacted
        if waiting:
            last = await _append(nc, waiting, last)
    return Reappended(first, last, facts, others, unknown)


async def _known(nc: Client, connection: asyncpg.Connection, after: int) -> AsyncIterator[tuple[int, Message]]:
    """(sequence, message) of every place behind `after` that PostgreSQL knows, in order."""
    between = await _ticks_and_enacted(nc, connection, after)
    done = after
    async for batch in connection.cursor(
        "select instance, number, count, marker_sequence from intake.batches where marker_sequence > $1"
        " order by marker_sequence",
        after,
    ):
        marker = batch["marker_sequence"]
        for sequence in sorted(place for place in between if done < place < marker - batch["count"]):
            yield sequence, between.pop(sequence)
        rows = await connection.fetch(
            "select place, subjects, bodies from intake.reservations where instance = $1 and batch = $2",
            batch["instance"],
            batch["number"],
        )
        for row in sorted(rows, key=lambda row: int(row["place"])):
            for copy, message in enumerate(zip(row["subjects"], row["bodies"], strict=True)):
                sequence = marker - batch["count"] + row["place"] + copy
                if sequence > after:
                    yield sequence, message
        body = json.dumps({"batch": batch["number"], "count": batch["count"]}).encode()
        yield marker, (intake_mark(batch["instance"]), body)
        done = marker
    for sequence in sorted(place for place in between if place > done):
        yield sequence, between[sequence]


async def _ticks_and_enacted(nc: Client, connection: asyncpg.Connection, after: int) -> dict[int, Message]:
    """What enacted rules, and the ticks that decided something, by sequence.

    Of a tick only the last instant that it decided is known; it is written again as the earliest that passes this one.
    """
    found: dict[int, Message] = {}
    ticks: dict[int, int] = {}
    for row in await connection.fetch(
        "select lane, cause_sequence, max(at) as last from sla_timer.decisions where cause_sequence > $1"
        " group by lane, cause_sequence having bool_and(convert_from(body, 'UTF8')::jsonb #> '{data,cause}' is null)"
        " order by cause_sequence",
        after,
    ):
        lane = int(row["lane"])
        ticks[lane] = (ticks[lane] if lane in ticks else await _ticks_so_far(nc, lane)) + 1
        found[row["cause_sequence"]] = clock_subject(lane), tick_message(lane, ticks[lane], row["last"] + 1)
    for row in await connection.fetch(
        "select partition, sequence, body from sla_timer.enacted where sequence > $1", after
    ):
        event = orjson.loads(row["body"])
        found[row["sequence"]] = cases_subject(row["partition"], event["tenant"], event["type"]), row["body"]
    return found


async def _ticks_so_far(nc: Client, lane: int) -> int:
    """The number of the last tick in the log of a partition."""
    last = await broker.last_message(nc, "CASES", clock_subject(lane))
    return 0 if last is None else int(orjson.loads(last[1])["id"].partition("-")[2])


async def _append(nc: Client, messages: list[Message], last: int) -> int:
    """Appends all messages right behind the sequence `last`, or none; returns the sequence of the last."""
    name = uuid4().hex
    commit = len(messages)
    answer = None
    try:
        for place, (subject, body) in enumerate(messages, 1):
            headers = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(place)}
            if place == 1:
                headers["Nats-Expected-Last-Sequence"] = str(last)
            if place < commit:
                await nc.publish(subject, body, headers=headers)
            else:
                headers["Nats-Batch-Commit"] = "1"
                answer = orjson.loads((await nc.request(subject, body, timeout=_ANSWER_SECONDS, headers=headers)).data)
    except (NatsError, OSError, TimeoutError) as error:
        raise ReappendError(
            f"CASES did not answer ({error_code(error)}). Repeat the command: it goes on there."
        ) from None
    if answer is None or answer.get("error") or answer["seq"] != last + commit:
        code = (answer or {}).get("error", {}).get("err_code", "other place")
        raise ReappendError(f"CASES did not take what belongs behind {last} (error {code}). Is a service running?")
    return int(answer["seq"])


async def _begin_projections_anew(nc: Client, connection: asyncpg.Connection) -> None:
    """sla_timer folds from the beginning; the notifier keeps its ledger and goes back to where the logs end.

    What it is told again has the keys that it had. NOTICES gets from the outbox what it lacks: the relay starts from
    the marker in the log.
    """
    async with connection.transaction():
        await connection.execute(
            "truncate sla_timer.cases, sla_timer.decisions, sla_timer.relay, sla_timer.enacted, notifier.relay"
        )
        await connection.execute(
            "update sla_timer.partitions set sequence = 0, event_id = null, stream_id = null, clock = 0,"
            " tick_sequence = 0, ticks = 0, decisions = 0"
        )
        for row in await connection.fetch("select log, sequence, digest from notifier.position"):
            info = await nc.jetstream().stream_info(row["log"])
            sequence = min(row["sequence"], info.state.last_seq)
            digest = await _digest(nc, row["log"], sequence)
            if row["log"] == "SLA" and sequence == row["sequence"] and digest != row["digest"]:
                sequence, digest = 0, None  # other decisions stand there by now: all are looked at again
            await connection.execute(
                "update notifier.position set sequence = $2, digest = $3, stream_id = $4 where log = $1",
                row["log"],
                sequence,
                digest,
                (info.config.metadata or {}).get(broker.UUID_KEY),
            )


async def _digest(nc: Client, stream: str, sequence: int) -> bytes | None:
    if sequence == 0:
        return None
    return sha256((await nc.jetstream().get_msg(stream, sequence)).data or b"").digest()
