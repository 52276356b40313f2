"""`gihan audit`: says from outside which guarantee is broken, and by what it can be seen.

The one rule: it trusts nobody. Each of I1 to I14 is judged by comparing things that were written independently: the
log with the database, the ledger with the gateways' record, both with what publishers were promised. Evidence is ids.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from contracts.streams import notices_mark, partition, sla_mark
from services.chassis.cursor import Entry
from services.chassis.outbox import link
from services.chassis.settings import Settings
from services.cli.evidence import Book, Ends, Evidence, Outage, Row, Told, gather
from services.cli.refold import Numbered, Refold
from services.notifier import notices
from services.rules.instants import SECOND, Instant, instant
from services.rules.routing import ALL, route
from services.rules.state import Case

LATE_SECONDS = 2.0
"""How long after its settling time a breach may be told while nothing is disturbed (I5)."""
LATE_AFTER_OUTAGE_SECONDS = 10.0
"""How long after a disturbance ended (I5)."""


class Violation(NamedTuple):
    """A guarantee that is broken, in words, with the ids by which it can be looked up."""

    invariant: str
    what: str
    where: str


Check = Callable[[Evidence, Book], Iterator[Violation]]


class Report(NamedTuple):
    """What an audit found, and how much it looked at."""

    violations: list[Violation]
    looked_at: dict[str, int]


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


# I1: what was acknowledged stands in the log, once


def appended_once(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I1. Every reserved event that counts as appended stands where the database says, byte for byte, and nothing else
    stands in the log."""
    at = {told.sequence: told for told in evidence.cases}
    reserved: set[tuple[str, str, str]] = set()
    for row in evidence.reservations:
        name = f"{row['tenant']}/{row['source']}/{row['id']}"
        if row["status"] != "refused":
            reserved.add((row["tenant"], row["source"], row["id"]))
        if row["status"] != "accepted":
            continue
        for place, (subject, body) in enumerate(zip(row["subjects"], row["bodies"], strict=True)):
            told = at.get(row["sequence"] + place)
            if told is None or told.subject != subject or told.data != bytes(body):
                yield Violation("I1", "an appended event is not where it was said to stand", name)
    copies: Counter[tuple[str, str, str, str]] = Counter()
    for told in _facts(evidence):
        event = told.event
        copies[event["tenant"], event["source"], event["id"], f"{told.subject.split('.')[1]}/{event['case']}"] += 1
        known = (event["tenant"], event["source"], event["id"]) in reserved
        if not known and not event["source"].startswith("gihan/") and told.sequence <= evidence.before.cases:
            yield Violation("I1", "the log holds an event that nobody reserved", _name(event))
    for (tenant, source, id, case), count in copies.items():
        if count > 1:
            yield Violation("I1", f"an event stands {count} times in one case", f"{tenant}/{source}/{id} in {case}")


def promised_is_kept(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I1. What a publisher was told holds: accepted is in the log with what was published, waiting is kept, refused is
    nowhere; and the same event is always given the same answer."""
    stored: dict[tuple[str, str, str], list[Told]] = defaultdict(list)
    for told in _facts(evidence):
        stored[told.event["tenant"], told.event["source"], told.event["id"]].append(told)
    kept = {(row["tenant"], row["source"], row["id"]): row for row in evidence.reservations}
    buried = {(one.event["tenant"], one.event["source"], one.event.get("id")) for one in evidence.dead}
    # An event refused for what was not known yet may be sent again, and taken then.
    taken = {(one["tenant"], one["source"], one["id"]) for one in book.promised if one["status"] != "refused"}
    answers: dict[tuple[str, str, str], tuple[str, str]] = {}
    for said in book.promised:
        key = (said["tenant"], said["source"], said["id"])
        name = "/".join(key)
        status, row = said["status"], kept.get(key)
        if status in ("accepted", "waiting"):
            answer = (said.get("case", ""), said.get("receipt") or answers.get(key, ("", ""))[1])
            if key in answers and answers[key][1] and answers[key] != answer:
                yield Violation("I1", "the same event was given two different answers", name)
            answers[key] = answer
            if row is None or row["status"] == "refused":
                yield Violation("I1", f"an event was {status} and is kept nowhere", name)
        if status == "accepted":
            home = [told for told in stored[key] if _is_home(told)]
            if len(home) != 1:
                yield Violation("I1", f"an accepted event stands {len(home)} times in the log", name)
            elif not _says_the_same(said["body"], home[0].event):
                yield Violation("I1", "the log says other than was published", name)
        if status == "refused" and stored[key] and key not in taken:
            yield Violation("I1", "a refused event stands in the log", name)
        if status == "left" and row is None and key not in buried and not evidence.after.inbox:
            yield Violation("I1", "a letter left in INBOX was lost", name)


def _facts(evidence: Evidence) -> Iterator[Told]:
    return (told for told in evidence.cases if told.subject.startswith("cases.") and "tenant" in told.event)


def _name(event: Mapping[str, Any]) -> str:
    return f"{event['tenant']}/{event['source']}/{event['id']}"


def _is_home(told: Told) -> bool:
    """Whether a copy is the one about the case that the event names (of many copies, the first of its kind)."""
    event = told.event
    first = route(event["type"], event["tenant"], event["subject"], event["data"], event.get("routes"))[0]
    return (int(told.subject.split(".")[1]), event["case"]) == first


def _says_the_same(published: Row, stored: Row) -> bool:
    """Type, time and every value that is not personal, which the log keeps as they came."""
    if published["type"] != stored["type"] or instant(published["time"]) != instant(stored["time"]):
        return False
    data = stored["data"]
    return all(_equal(value, data[name]) for name, value in published["data"].items() if name in data)


def _equal(published: Any, stored: Any) -> bool:
    if isinstance(published, dict) and isinstance(stored, dict):
        return all(_equal(value, stored[name]) for name, value in published.items() if name in stored)
    if published == stored:
        return True
    try:  # the same instant may be written in two ways
        return datetime.fromisoformat(str(published)) == datetime.fromisoformat(str(stored))
    except (ValueError, TypeError):
        return False


# I2: the projection is the fold of the log


def folded_as_the_log_says(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I2. Decisions and cases in the database are those that CASES alone gives, up to where each partition stands."""
    again, refold = refolded(evidence)
    live = {(row["lane"], row["number"]): row for row in evidence.decisions}
    for number in sorted(live.keys() | again.keys()):
        row, anew = live.get(number), again.get(number)
        where = f"decision {number[0]}-{number[1]}"
        if row is None or anew is None:
            yield Violation("I2", f"only {'the log gives' if row is None else 'the database holds'} it", where)
        elif _as_kept(row) != _as_folded(anew):
            yield Violation("I2", "the database and the log decide differently", where)
    cases = {key: case for partition in refold.partitions.values() for key, case in partition.cases.items()}
    for key in sorted(cases.keys() | evidence.standing.keys()):
        if cases.get(key, Case(*key)) != evidence.standing.get(key):
            yield Violation("I2", "a case stands otherwise than the log says", "/".join(key))


def refolded(evidence: Evidence) -> tuple[dict[tuple[int, int], Numbered], Refold]:
    """Every partition folded anew up to where the database says that it stands."""
    refold = Refold(evidence.library)
    again: dict[tuple[int, int], Numbered] = {}
    for told in evidence.cases:
        tokens = told.subject.split(".")
        if tokens[0] == "cases" and told.sequence <= evidence.partitions[int(tokens[1])]["sequence"]:
            for row in refold.take(Entry(told.sequence, told.subject, told.data)):
                again[row.partition, row.number] = row
    return again, refold


def _as_kept(row: Row) -> tuple[Any, ...]:
    names = ("tenant", "case_id", "kind", "promise", "occurrence", "due", "at", "cause_sequence")
    return tuple(row[name] for name in names)


def _as_folded(row: Numbered) -> tuple[Any, ...]:
    one = row.decided.decision
    case = (row.decided.tenant, row.decided.case)
    return (*case, one.kind, one.promise, one.occurrence, one.due, one.at, row.cause_sequence)


# I3: positions and numbers


def stands_where_it_says(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I3. Positions lie in the log, at the event that they name, and never went back; decisions and results are
    numbered without a gap, and the log holds each once, in order, under markers whose chain is theirs."""
    at = {told.sequence: told for told in evidence.cases}
    for number, row in sorted(evidence.partitions.items()):
        told = at.get(row["sequence"])
        if row["sequence"] and (told is None or told.event["id"] != row["event_id"]):
            yield Violation("I3", "the position is at no event of the log, or at another", f"partition {number}")
    yield from _went_back(book.positions)
    for name, log in (("cases_sequence", evidence.after.cases), ("sla_sequence", evidence.after.sla)):
        if evidence.notifier.get(name, 0) > log:
            yield Violation("I3", "notifier stands past the end of the log", name)
    yield from _relayed(evidence.sla, "sla.", sla_mark, evidence.decisions, evidence.relayed)
    yield from _relayed(evidence.notices, "notices.", notices_mark, evidence.results, evidence.results_relayed)


def _went_back(seen: Iterable[Row]) -> Iterator[Violation]:
    highest: dict[int, Row] = {}
    for row in seen:
        last = highest.get(row["partition"], {"sequence": 0, "decisions": 0})
        if row["sequence"] < last["sequence"] or row["decisions"] < last["decisions"]:
            yield Violation("I3", f"the position went back to {row['sequence']}", f"partition {row['partition']}")
        highest[row["partition"]] = row


def _relayed(
    log: Sequence[Told], stem: str, mark: Callable[[int], str], rows: Sequence[Row], sent: Mapping[int, int]
) -> Iterator[Violation]:
    """An outbox against its log: the same bodies under the same numbers, each batch closed by its marker."""
    outbox: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        outbox[row["lane"]].append(row)
    lanes: dict[int, list[Told]] = defaultdict(list)
    marked: dict[int, tuple[int, bytes]] = {}
    for told in log:
        if told.subject.startswith(stem):
            lanes[int(told.subject.split(".")[1])].append(told)
            continue
        lane = int(told.subject.rpartition(".")[2])
        done, chain = marked.get(lane, (0, b""))
        for one in lanes[lane][done:]:
            chain = link(chain, one.data)
        marked[lane] = len(lanes[lane]), chain
        if told.event != {"last": len(lanes[lane]), "chain": chain.hex()}:
            yield Violation("I3", "a marker is not that of the messages before it", f"{mark(lane)} at {told.sequence}")
    for lane in sorted(lanes.keys() | outbox.keys()):
        kept, where = outbox[lane], f"{stem}{lane}"
        if [row["number"] for row in kept] != list(range(1, len(kept) + 1)):
            yield Violation("I3", "the outbox has a gap in its numbers", where)
        if len(lanes[lane]) != marked.get(lane, (0, b""))[0]:
            yield Violation("I3", "messages stand in the log without a marker", where)
        if len(lanes[lane]) < sent.get(lane, 0):
            yield Violation("I3", f"{sent.get(lane, 0)} count as sent, the log holds {len(lanes[lane])}", where)
        for row, told in zip(kept, lanes[lane], strict=False):
            if (row["subject"], bytes(row["body"])) != (told.subject, told.data):
                yield Violation("I3", "the log holds something else under a number", f"{where}-{row['number']}")
                break


# I4 and I5: breaches


def decided_in_order(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I4. A breach is told once, at the due instant last told, never before the log's clock has passed it and never
    where what meets it stood in the log before; and nothing that the clock has passed was left open."""
    ticks = {
        told.sequence: instant(told.event["data"]["to"]) for told in evidence.cases if told.subject.endswith(".clock")
    }
    runs = _Runs(evidence, ticks, {told.sequence for told in _facts(evidence)})
    for told in evidence.sla:
        if told.subject.startswith("sla."):
            yield from runs.take(told.event)
    yield from runs.left_open()


class _Runs:
    """Each run of a promise as the decisions tell it, one after the other."""

    def __init__(self, evidence: Evidence, ticks: Mapping[int, Instant], facts: Container[int]) -> None:
        self._evidence = evidence
        self._ticks = ticks
        self._facts = facts
        self._due: dict[tuple[str, ...], Instant | None] = {}
        self._began: dict[tuple[str, ...], Instant] = {}
        self._state: dict[tuple[str, ...], str] = {}
        self._broken: set[tuple[str, ...]] = set()
        self._met = _meeting(evidence)

    def take(self, event: Row) -> Iterator[Violation]:
        """Judges one decision by those before it."""
        data, kind = event["data"], event["type"]
        if not kind.startswith(("deadline.", "breach.")):
            return
        key = (event["tenant"], event["case"], data["promise"], data["occurrence"])
        name = f"{'/'.join(key[:2])} {data['promise']} ({event['id']})"
        state, due = self._state.get(key, ""), data.get("due") and instant(data["due"])
        match kind:
            case "deadline.started":
                if state not in ("", "over"):
                    yield Violation("I4", "a run started twice", name)
                self._state[key], self._due[key], self._began[key] = "open", due, instant(event["time"])
            case "deadline.moved" | "deadline.resumed":
                self._due[key] = due
                if state != "over" or data.get("reason") == "reopened":
                    self._state[key] = "open"
            case "deadline.suspended":
                self._state[key], self._due[key] = "suspended", None
            case "deadline.met" | "deadline.voided":
                self._state[key] = "over"
            case "breach.retracted":
                if key not in self._broken:
                    yield Violation("I4", "a breach was taken back that did not stand", name)
                self._broken.discard(key)
            case "deadline.breached":
                yield from self._breach(event, key, name, state, due)
                self._broken.add(key)

    def _breach(
        self, event: Row, key: tuple[str, ...], name: str, state: str, due: Instant | None
    ) -> Iterator[Violation]:
        if state != "open" or key in self._broken:
            was = "broken already" if key in self._broken else state or "never started"
            yield Violation("I4", f"a breach was told of a run that was {was}", name)
        if due is None or due != self._due.get(key):
            yield Violation("I4", "a breach has another due instant than was last told", name)
            return
        cause = event["cause_sequence"]
        tick = self._ticks.get(cause)
        if tick is not None and tick <= due:
            yield Violation("I4", "a breach was told before the clock of the log passed the due instant", name)
        elif tick is None and cause not in self._facts:
            yield Violation("I4", "a breach names a cause that is not in the log", name)
        elif tick is not None and any(
            met.sequence < cause and self._began[key] <= instant(met.event["time"]) <= due
            for met in self._met.get(key[:3], ())
        ):
            yield Violation("I4", "a breach was told though the log held before it what meets the promise", name)

    def left_open(self) -> Iterator[Violation]:
        """Runs past their due instant, by the clock of their partition as folded and published."""
        evidence = self._evidence
        unpublished = {
            (row["tenant"], row["case_id"])
            for row in evidence.decisions
            if row["number"] > evidence.relayed.get(row["lane"], 0)
        }
        for key, state in self._state.items():
            due, clock = self._due[key], evidence.partitions[partition(key[0], key[1])]["clock"]
            if state != "open" or key in self._broken or key[:2] in unpublished:
                continue
            if due is not None and due < clock:
                yield Violation("I4", "a deadline has passed and nobody said so", f"{key[0]}/{key[1]} {key[2]}")


def _meeting(evidence: Evidence) -> dict[tuple[str, ...], list[Told]]:
    """By tenant, case and promise: the facts that meet it whatever they say, and were never taken back."""
    until: dict[tuple[str, str], list[str]] = defaultdict(list)
    for tenant in evidence.library.tenants():
        for _, charter in evidence.library.charters_of(tenant):
            for promise in charter.promises.values():
                if promise.kind == "deadline":
                    for match in promise.until:
                        until[tenant, match.type] += [] if match.where else [promise.id]
    taken_back = {
        (told.event["tenant"], told.event["data"]["source"], told.event["data"]["id"])
        for told in _facts(evidence)
        if told.event["type"] == "fact.voided"
    }
    refused = {
        (told.event["tenant"], told.event["data"]["about"]["source"], told.event["data"]["about"]["id"])
        for told in evidence.sla
        if told.event.get("type") == "event.refused"
    }
    found: dict[tuple[str, ...], list[Told]] = defaultdict(list)
    for told in _facts(evidence):
        event = told.event
        if (event["tenant"], event["source"], event["id"]) in taken_back | refused:
            continue
        for name in until.get((event["tenant"], event["type"]), ()):
            found[event["tenant"], event["case"], name].append(told)
    return found


def decided_in_time(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I5. On the real clock no breach is durable before its due instant, and each that time brought follows soon:
    within two seconds of its settling time, or ten of the end of a disturbance."""
    if evidence.stepped:
        return
    outages = sorted(book.outages, key=lambda outage: outage.begins)
    ticks = {told.sequence for told in evidence.cases if told.subject.endswith(".clock")}
    stored_at = {told.sequence: told.stored_at for told in evidence.cases}
    known_at: dict[tuple[str, ...], Instant] = {}
    for told in evidence.sla:
        event, data = told.event, told.event.get("data", {})
        if "occurrence" not in data:
            continue
        # A run that began or moved in the past, or a fact that came late, is due when the log was told of it.
        run = (event["tenant"], event["case"], data["promise"], data["occurrence"])
        known = known_at.get(run, 0)
        known_at[run] = told.stored_at
        if event["type"] != "deadline.breached":
            continue
        due, cause = instant(data["due"]), event["cause_sequence"]
        name = f"{'/'.join(run[:3])} ({event['id']})"
        if told.stored_at < due:
            yield Violation("I5", "a breach stands in the log before its due instant", name)
        begins = max(due if cause in ticks else stored_at.get(cause, told.stored_at), known)
        if told.stored_at > _latest(begins, evidence.settle_seconds, outages):
            late = (told.stored_at - begins) / SECOND
            yield Violation("I5", f"a breach came {late:.1f} s late, and no disturbance explains it", name)


def _latest(begins: Instant, settle_seconds: float, outages: Sequence[Outage]) -> Instant:
    """By when something that was to happen at `begins` must have happened, disturbances considered."""
    limit = begins + int((settle_seconds + LATE_SECONDS) * SECOND)
    for outage in outages:
        if outage.begins <= limit and outage.ends >= begins:
            limit = max(limit, outage.ends + int(LATE_AFTER_OUTAGE_SECONDS * SECOND))
    return limit


# I6 and I7: what goes out


def messages_sent_once(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I6. What the ledger counts as sent, a gateway took, and NOTICES tells once; a gateway was handed a message twice
    only where an answer was lost, which the ledger says."""
    unanswered = {row["key"] for row in evidence.attempts if row["outcome"] in ("unanswered", None)}
    told = Counter(one.event["data"]["key"] for one in _results(evidence) if one.event["type"] == "notice.sent")
    relayed = {
        json.loads(bytes(row["body"]))["id"]
        for row in evidence.results
        if row["number"] <= evidence.results_relayed.get(row["lane"], 0)
    }
    states = {row["key"]: row["state"] for row in evidence.ledger}
    for key, state in states.items():
        if told[key] > (state == "sent") or told[key] < (f"{key}-sent" in relayed):
            yield Violation("I6", f"a message that is {state} was told as sent {told[key]} times", key)
    for key in told.keys() - states.keys():
        yield Violation("I6", "NOTICES tells of a message that the ledger does not know", key)
    if evidence.record is None:
        return
    taken = _taken(evidence.record)
    for key, state in states.items():
        if state == "sent" and not taken[key]:
            yield Violation("I6", "a message counts as sent and no gateway took it", key)
    for key, count in _taken(evidence.record[: evidence.recorded_before]).items():
        if key not in states:
            yield Violation("I6", "a gateway took a message that the ledger does not know", key)
        elif key not in unanswered and states[key] in ("held", "failed", "suppressed"):
            yield Violation("I6", f"a message is {states[key]} and a gateway took it", key)
        elif key not in unanswered and count > 1:
            yield Violation("I6", f"a message was handed over {count} times though no answer was lost", key)


def _results(evidence: Evidence) -> Iterator[Told]:
    """What notifier told on NOTICES before the database was read."""
    return (
        told
        for told in evidence.notices
        if told.subject.startswith("notices.") and told.sequence <= evidence.before.notices
    )


def _taken(record: Iterable[Row]) -> Counter[str]:
    return Counter(line["key"] for line in record if line["outcome"] in ("accepted", "duplicate"))


def messages_that_follow(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I6. The ledger wants exactly the messages that follow from CASES and SLA, worked out anew."""
    expected = _Expected(evidence)
    wanted = {row["key"] for row in evidence.ledger}
    topics = {(row["tenant"], row["case_id"], row["topic"]) for row in evidence.ledger}
    for key, (name, topic) in expected.required.items():
        if key not in wanted and (topic is None or topic not in topics):
            yield Violation("I6", "a message that must be sent is not in the ledger", f"{name} ({key})")
    for key in sorted(wanted - expected.allowed):
        yield Violation("I6", "a message is in the ledger and follows from nothing", key)


class _Expected:
    """The messages and tasks that follow from the logs, up to where notifier says that it stands.

    A decision may be handled when its case is known further than its cause, so what follows is worked out with what
    was known at the cause and with what is known at the end; required is what both give.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.required: dict[str, tuple[str, tuple[str, str, str] | None]] = {}
        self.allowed: set[str] = set()
        self._evidence = evidence
        cases, sla = evidence.notifier.get("cases_sequence", 0), evidence.notifier.get("sla_sequence", 0)
        decisions = [one for one in evidence.sla if one.subject.startswith("sla.") and one.sequence <= sla]
        self._decisions = sorted(decisions, key=lambda one: int(one.event["cause_sequence"]))
        self._facts = [one for one in _facts(evidence) if one.sequence <= cases]
        ends = self._fold(lambda at, view: None)
        self._fold(lambda at, view: self._decide(at, view, ends))

    def _fold(self, decide: Callable[[Told, notices.CaseView], None]) -> dict[tuple[str, str], notices.CaseView]:
        views: dict[tuple[str, str], notices.CaseView] = {}
        waiting = iter(self._decisions)
        decision = next(waiting, None)
        for told in [*self._facts, None]:
            while decision is not None and (told is None or decision.event["cause_sequence"] < told.sequence):
                decide(decision, views.get(_case(decision), notices.CaseView()))
                decision = next(waiting, None)
            if told is None or told.event["case"] == ALL:
                continue
            fact = _as_read(told)
            view = views[_case(told)] = notices.evolve(views.get(_case(told), notices.CaseView()), fact)
            self._take(told, notices.of_fact(fact, view, self._evidence.tenants[fact.tenant]), required=True)
        return views

    def _decide(self, told: Told, then: notices.CaseView, ends: Mapping[tuple[str, str], notices.CaseView]) -> None:
        event, tenant = _as_read(told), self._evidence.tenants[told.event["tenant"]]
        at_end = ends.get(_case(told), then)
        known = [notices.of_decision(event, told.data, view, tenant) for view in (then, at_end)]
        both = {one.key for one in known[0] if isinstance(one, notices.Notice)}
        both &= {one.key for one in known[1] if isinstance(one, notices.Notice)}
        for found in known:
            self._take(told, [one for one in found if getattr(one, "key", "") in both], required=True)
            self._take(told, found, required=False)

    def _take(self, told: Told, found: Iterable[notices.Consequence], required: bool) -> None:
        for one in found:
            match one:
                case notices.Notice():
                    self.allowed.add(one.key)
                    if required:
                        topic = (told.event["tenant"], told.event["case"], one.topic) if one.once else None
                        self.required[one.key] = (f"{one.template} of {'/'.join(_case(told))}", topic)
                case notices.Retraction():
                    self.allowed.add(one.correction.key)
                case notices.Task(notice=notices.Notice(key=key)):
                    self.allowed.add(key)


def _case(told: Told) -> tuple[str, str]:
    return told.event["tenant"], told.event["case"]


_decode = msgspec.json.Decoder(notices.Event).decode


def _as_read(told: Told) -> notices.Event:
    """An entry as notifier reads it."""
    return _decode(told.data)


def tasks_once(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I7. Of each remedy at most one stands at a time, with one task; a task is told as often as it was assigned."""
    stands: dict[str, bool] = {}
    for told in evidence.sla:
        kind = told.event.get("type")
        if kind not in ("remedy.proposed", "remedy.withdrawn"):
            continue
        key = told.event["data"]["key"]
        if stands.get(key, False) is (kind == "remedy.proposed"):
            yield Violation("I7", f"{kind} follows on another of the same remedy", f"{key} ({told.event['id']})")
        stands[key] = kind == "remedy.proposed"
    done = evidence.notifier.get("sla_sequence", 0)
    tasks = defaultdict(list)
    for row in evidence.tasks:
        tasks[f"{row['tenant']}/{row['case_id']}/{row['incident']}/{row['clause']}", row["task"]].append(row)
    for (remedy, task), rows in tasks.items():
        if len(rows) > 1:
            yield Violation("I7", f"{len(rows)} tasks of one kind stand for one remedy", f"{remedy} {task}")
    if done == evidence.after.sla:
        for key, standing in stands.items():
            states = [row["state"] for row in tasks.get((key, notices.COMPENSATION), ())]
            if standing != (states in (["held"], ["assigned"], ["issued"])):
                yield Violation(
                    "I7", f"the remedy {'stands' if standing else 'was withdrawn'}, its task: {states}", key
                )
    told_assigned = Counter(
        one.event["data"]["key"] for one in _results(evidence) if one.event["type"] == "task.assigned"
    )
    revisions = {row["key"]: row["revision"] for row in evidence.tasks}
    for key, count in told_assigned.items():
        if count > revisions.get(key, 0):
            yield Violation("I7", f"a task was told {count} times, assigned {revisions.get(key, 0)} times", key)


# I8 to I14


def reading_changed_nothing(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I8. With everything at rest, folding the logs anew writes nothing anywhere."""
    for name, before, after in zip(Ends._fields, evidence.before, evidence.after, strict=True):
        if before != after:
            yield Violation("I8", f"the log grew from {before} to {after} while it was only read", name)


def letters_buried(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I9. Each letter of INBOX that cannot be taken in lies in DEAD once, with its reason, and was told to its
    source; and no letter lies there that was accepted."""
    buried = Counter((one.event["tenant"], one.event["source"], one.event.get("id")) for one in evidence.dead)
    for told in evidence.dead:
        if not told.event.get("code") or not told.event.get("letter"):
            yield Violation("I9", "a dead letter has no reason or no name", f"DEAD {told.sequence}")
    refused = {
        (*one.subject.split(".")[1:], one.event.get("id"))
        for one in evidence.receipts
        if one.event.get("status") == "refused"
    }
    poison = {(said["tenant"], said["source"], said["id"]) for said in book.promised if said.get("poison")}
    for key in sorted(poison):
        if buried[key] != 1:
            yield Violation("I9", f"a refused letter lies in DEAD {buried[key]} times", "/".join(key))
        if key not in refused:
            yield Violation("I9", "the source of a refused letter was never told", "/".join(key))
    accepted = {(row["tenant"], row["source"], row["id"]) for row in evidence.reservations}
    for key in sorted(buried.keys() & accepted - poison, key=str):
        yield Violation("I9", "a letter lies in DEAD though its event was taken in", "/".join(map(str, key)))


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
