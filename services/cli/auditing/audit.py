"""`gihan audit`: says from outside which guarantee is broken, and by what it can be seen.

The one rule: it trusts nobody. Each of I1 to I14 is judged by comparing things that were written independently: the
log with the database, the ledger with the gateways' record, both with what publishers were promised. Evidence is ids.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from deploy.joining import data_folder, environment_of
from services.chassis.settings import Settings
from services.cli.auditing.deadlines import decided_in_order, decided_in_time
from services.cli.auditing.evidence import Book, Ends, Evidence, Violation, gather
from services.cli.auditing.logs import appended_once, folded_as_the_log_says, promised_is_kept, stands_where_it_says
from services.cli.auditing.messages import messages_sent_once, messages_that_follow, paid_once, tasks_once
from services.cli.errors import plain_errors
from services.cli.options import AsJson

OUR_TROUBLES = ("held_back", "internal", "unavailable")
"""Codes that ask for the same event again: no reason to bury a letter."""


Check = Callable[[Evidence, Book], Iterator[Violation]]


class Report(NamedTuple):
    """What an audit found, and how much it looked at."""

    violations: list[Violation]
    looked_at: dict[str, int]


def audit_command(
    book: Annotated[
        Path | None, typer.Option(help="JSON lines: what publishers were promised, what others saw.")
    ] = None,
    gateway: Annotated[Path | None, typer.Option(help="Folder of the development gateways' record.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder; named, it is searched for canaries.")] = None,
    settled: Annotated[bool, typer.Option(help="Everything is at rest: what is under way is wrong too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judges the running system from outside; ends with 1 where a guarantee is broken. Where NATS_URL names servers, it
    is best that of the user `replay`, who can only read."""
    with plain_errors():
        lines = iter(()) if book is None else book.open(encoding="utf-8")
        found = asyncio.run(audit(_settings_of_auditor(data), Book.read(lines), gateway, data, settled))
    if as_json:
        rows = [violation._asdict() for violation in found.violations]
        typer.echo(json.dumps({"violations": rows, "looked_at": found.looked_at}, ensure_ascii=False))
    else:
        typer.echo("\n".join(in_words(found)))
    if found.violations:
        raise typer.Exit(1)


def _settings_of_auditor(data: Path | None) -> Settings:
    """Of what runs in a data folder: its NATS as whoever only reads, its database as the owner, who sees all of it."""
    if "NATS_URL" in os.environ:
        return Settings.from_env("replay")
    there = data or data_folder()
    owner = environment_of(there, "operator")
    database = {name: value for name, value in owner.items() if name.startswith("DATABASE_")}
    return Settings.from_env("replay", os.environ | environment_of(there, "replay") | database)


async def audit(
    settings: Settings, book: Book, gateway: Path | None = None, data: Path | None = None, settled: bool = False
) -> Report:
    """Reads everything and judges it. `settled`: everything is said to be at rest, so nothing may be under way."""
    evidence = await gather(settings, book, gateway, data)
    return await asyncio.to_thread(judge, evidence, book, settled)


def judge(evidence: Evidence, book: Book, settled: bool = False) -> Report:
    """Every violation of I1 to I14 that the evidence shows."""
    checks: list[Check] = [
        appended_once,
        promised_is_kept,
        folded_as_the_log_says,
        stands_where_it_says,
        decided_in_order,
        decided_in_time,
        messages_sent_once,
        messages_that_follow,
        tasks_once,
        paid_once,
        letters_buried,
        nothing_in_clear,
        erased_is_gone,
        measured_within_limits,
    ]
    if settled:
        checks += [at_rest, reading_changed_nothing]
    found = [violation for check in checks for violation in check(evidence, book)]
    looked_at = {
        "facts and ticks": sum(told.subject.startswith("cases.") for told in evidence.cases),
        "decisions": sum(told.subject.startswith("sla.") for told in evidence.sla),
        "results": sum(told.subject.startswith("notices.") for told in evidence.notices),
        "messages": len(evidence.ledger),
        "tasks": len(evidence.tasks),
        "promises of publishers": len(book.promised),
    }
    return Report(sorted(set(found), key=lambda one: (int(one.invariant[1:]), one)), looked_at)


def reading_changed_nothing(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I8. With everything at rest, folding the logs anew writes nothing anywhere."""
    for name, before, after in zip(Ends._fields, evidence.before, evidence.after, strict=True):
        if before != after:
            yield Violation("I8", f"the log grew from {before} to {after} while it was only read", name)


def letters_buried(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I9. Each letter of INBOX that cannot be taken in lies in DEAD, with its reason, no more often than it was sent,
    and was told to its source; and none lies there that could have been taken in. A letter is known by its name."""
    letters = {one.event.get("letter"): one.event for one in evidence.dead}
    buried = Counter((one["tenant"], one["source"], one.get("id")) for one in letters.values())
    for told in evidence.dead:
        if not told.event.get("code") or not told.event.get("letter"):
            yield Violation("I9", "a dead letter has no reason or no name", f"DEAD {told.sequence}")
        if told.event.get("code") in OUR_TROUBLES:
            yield Violation("I9", "a letter was buried for a trouble of our own", f"DEAD {told.sequence}")
    refused = {
        (*one.subject.split(".")[1:], one.event.get("id"))
        for one in evidence.receipts
        if one.event.get("status") == "refused"
    }
    poison: Counter[tuple[str, str, str]] = Counter()
    for said in book.promised:
        if said.get("poison"):
            poison[said["tenant"], said["source"], said["id"]] += said.get("sendings", 1)
    for key, sendings in sorted(poison.items()):
        if not 1 <= buried[key] <= sendings:
            yield Violation("I9", f"a refused letter lies in DEAD {buried[key]} times", "/".join(key))
        if key not in refused:
            yield Violation("I9", "the source of a refused letter was never told", "/".join(key))


def nothing_in_clear(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I10. No canary stands in a file of the servers or in a log."""
    for path in evidence.in_clear:
        yield Violation("I10", "personal data stands in clear", path)
    wanted = [canary.encode() for canary in book.canaries]
    for name in ("cases", "sla", "notices", "receipts", "dead"):
        for told in getattr(evidence, name):
            if any(canary in told.data for canary in wanted):
                yield Violation("I10", "personal data stands in clear", f"{name.upper()} {told.sequence}")


def erased_is_gone(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I11. Of whom was erased no key and no index is left; and the record of who read what is whole."""
    people = {(row["tenant"], row["subject_ref"]): row for row in evidence.people}
    for said in book.erased:
        row = people.get((said["tenant"], said["subject_ref"]))
        if row is not None and (row["readable"] or row["findable"]):
            yield Violation("I11", "somebody erased can be read or found", f"{said['tenant']}/{said['subject_ref']}")
    for tenant in evidence.broken_access:
        yield Violation("I11", "the record of who read personal data was changed", tenant)


def at_rest(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I12. Everything is folded, published, delivered."""
    last: dict[int, int] = {}
    for told in evidence.cases:
        if told.subject.startswith("cases."):
            last[int(told.subject.split(".")[1])] = told.sequence
    for number, sequence in sorted(last.items()):
        row = evidence.partitions[number]
        if row["sequence"] != sequence:
            yield Violation("I12", f"folded to {row['sequence']} of {sequence}", f"partition {number}")
        if row["decisions"] != evidence.relayed.get(number, 0):
            yield Violation("I12", "decisions are not published", f"partition {number}")
    waiting = Counter(row["status"] for row in evidence.reservations)
    left = {
        "events are reserved and not in the log": waiting["pending"],
        "letters lie in INBOX": evidence.after.inbox,
        "messages are open": evidence.notifier.get("open_notices", 0),
        "results are not published": evidence.notifier.get("unpublished", 0),
        "entries of CASES are not folded by notifier": evidence.after.cases - evidence.notifier["cases_sequence"],
        "entries of SLA are not folded by notifier": evidence.after.sla - evidence.notifier["sla_sequence"],
        "cases are stuck": sum(bool(case.stuck) for case in evidence.standing.values()),
    }
    for what, count in left.items():
        if count:
            yield Violation("I12", f"{count} {what}", "at rest")
    for row in evidence.reservations:
        if row["status"] == "waiting" and row["receipt"] is not None:
            yield Violation(
                "I12", "a fact waits though its case is open", f"{row['tenant']}/{row['source']}/{row['id']}"
            )


def measured_within_limits(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I5, I12, I13, I14: what somebody who was there has measured, against its limit."""
    for measure in book.measured:
        if measure.value > measure.limit:
            yield Violation(
                measure.invariant, f"{measure.value:.1f}, at most {measure.limit:.1f} allowed", measure.what
            )


def in_words(report: Report) -> list[str]:
    """The report as lines for people."""
    looked = ", ".join(f"{count:,} {what}" for what, count in report.looked_at.items())
    lines = [f"{one.invariant:<4} {one.what}: {one.where}" for one in report.violations]
    verdict = f"{len(lines)} violations" if lines else "no violation of I1 to I14"
    return [*lines, f"{verdict}; looked at {looked}."]
