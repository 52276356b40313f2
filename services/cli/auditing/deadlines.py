"""Audit of breaches (I4, I5): each told once, at its instant, in time, and none that was not one.

The one rule: it reads the decisions as a bystander would, one after the other, and knows nothing of how they are made.
"""

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence

from contracts.streams import partition
from services.cli.auditing.evidence import Book, Evidence, Outage, Row, Told, Violation
from services.rules.instants import SECOND, Instant, instant

LATE_SECONDS = 2.0
"""How long after its settling time a breach may be told while nothing is disturbed (I5)."""
LATE_AFTER_OUTAGE_SECONDS = 10.0
"""How long after a disturbance ended (I5)."""


def decided_in_order(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I4. A breach is told once, at the due instant last told, never before the log's clock has passed it and never
    where what meets it stood in the log before; and nothing that the clock has passed was left open."""
    ticks = {
        told.sequence: instant(told.event["data"]["to"]) for told in evidence.cases if told.subject.endswith(".clock")
    }
    runs = _Runs(evidence, ticks, {told.sequence for told in evidence.facts()})
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
        self._reopened: dict[tuple[str, ...], int] = {}
        """Up to which fact of CASES nothing meets a run any more that was met."""
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
                self._move(key, due)
                if data.get("reason") == "reopened":
                    self._reopened[key] = event["cause_sequence"]
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

    def _move(self, key: tuple[str, ...], due: Instant | None) -> None:
        """A run that a breach began moves with it. How far its beginning moved is not told, but not further."""
        old = self._due.get(key)
        if old is not None and due is not None:
            self._began[key] += max(0, due - old)
        self._due[key] = due

    def _breach(
        self, event: Row, key: tuple[str, ...], name: str, state: str, due: Instant | None
    ) -> Iterator[Violation]:
        # A fact may bring forward the due instant of what was met after it.
        by_time = event["cause_sequence"] in self._ticks
        if key in self._broken or state not in ("open", *(() if by_time else ("over",))):
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
            self._reopened.get(key, 0) < met.sequence < cause and self._began[key] <= _happened(met.event) <= due
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
            due, clock = self._due.get(key), evidence.partitions[partition(key[0], key[1])]["clock"]
            if state != "open" or key in self._broken or key[:2] in unpublished:
                continue
            if due is not None and due < clock:
                yield Violation("I4", "a deadline has passed and nobody said so", f"{key[0]}/{key[1]} {key[2]}")


def _happened(event: Row) -> Instant:
    """When a fact happened: no later than it was recorded, by however much its publisher's clock is ahead."""
    return min(instant(event["time"]), instant(event.get("recordedtime") or event["time"]))


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
        for told in evidence.facts()
        if told.event["type"] == "fact.voided"
    }
    refused = {
        (told.event["tenant"], told.event["data"]["about"]["source"], told.event["data"]["about"]["id"])
        for told in evidence.sla
        if told.event.get("type") == "event.refused"
    }
    found: dict[tuple[str, ...], list[Told]] = defaultdict(list)
    for told in evidence.facts():
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
        name = f"{'/'.join(run[:2])} {run[2]} ({event['id']})"
        if told.stored_at < due:
            early = (due - told.stored_at) / SECOND
            yield Violation("I5", f"a breach stands in the log {early:.6f} s before its due instant", name)
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
