"""Audit of the logs and the projection (I1 to I3): what was promised is kept, what is kept is the log, what is decided
follows from it.

The one rule: bytes are compared with bytes, and decisions with a fold of the log that knows nothing of the database.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from contracts.events import FACTS, part
from contracts.streams import notices_mark, sla_mark
from services.chassis.cursor import Entry
from services.chassis.outbox import link
from services.cli.auditing.evidence import Book, Evidence, Row, Told, Violation
from services.cli.refold import Numbered, Refold
from services.rules.instants import instant
from services.rules.routing import route
from services.rules.state import Case
from services.rules.stating import COPIED


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
    for told in _whole(evidence):
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
    for told in _whole(evidence):
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
        # Nor does it bind a sending before it that found no answer, and was still on its way.
        overtaken = said.get("code") == "unknown_fact" and said.get("sendings", 1) > 1
        if status == "refused" and stored[key] and key not in taken and not overtaken:
            yield Violation("I1", "a refused event stands in the log", name)
        if status == "left" and row is None and key not in buried and not evidence.after.inbox:
            yield Violation("I1", "a letter left in INBOX was lost", name)


def _whole(evidence: Evidence) -> Iterator[Told]:
    """The facts in CASES, without what is left of a batch that its disk refused in the middle.

    Intake appends such a batch again, with its marker, and the fold passes over an event that its case already holds.
    """
    closed: set[int] = set()
    for told in evidence.cases:
        if told.subject.startswith("mark."):
            closed.update(range(told.sequence - told.event.get("count", 0), told.sequence))
    again = {(told.subject, told.data): told.sequence for told in evidence.facts() if told.sequence in closed}
    for told in evidence.facts():
        if told.sequence in closed or again.get((told.subject, told.data), 0) < told.sequence:
            yield told


def _name(event: Mapping[str, Any]) -> str:
    return f"{event['tenant']}/{event['source']}/{event['id']}"


def _is_home(told: Told) -> bool:
    """Whether a copy is the one about the case that the event names (of many copies, the first of its kind)."""
    event = told.event
    first = route(event["type"], event["tenant"], event["subject"], event["data"], event.get("routes"))[0]
    return (int(told.subject.split(".")[1]), event["case"]) == first


def _says_the_same(published: Row, stored: Row) -> bool:
    """Type, time and data are what was published, with a reference in the place of whatever is personal."""
    type = published["type"]
    if type != stored["type"] or instant(published["time"]) != instant(stored["time"]):
        return False
    model = FACTS[type].model_validate(published["data"])
    expected = _unnamed(part(type, model).stored(subject_ref=None, text_refs=defaultdict(str)))
    kept = _unnamed(stored["data"])
    if type in COPIED and "officer" in kept:  # intake fills in the one that the report named
        expected.setdefault("officer", kept["officer"])
    return expected == kept


def _unnamed(data: Row) -> dict[str, Any]:
    """Data without what each reference says: that there is one counts."""
    return {
        name: "" if name.endswith("_ref") else _unnamed(value) if isinstance(value, dict) else value
        for name, value in data.items()
        if name != "subject_ref"
    }


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
