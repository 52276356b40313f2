"""Audit of what goes out (I6, I7): messages and tasks, in the ledger, on NOTICES and at the gateways.

The one rule: what must be sent is worked out anew from the logs; what was sent is what the gateways say.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from services.cli.accounts import PROPOSED, WITHDRAWN, Said, Step, settled
from services.cli.auditing.evidence import Book, Evidence, Row, Told, Violation
from services.notifier import notices
from services.notifier.tasks import steps
from services.rules import instants
from services.rules.instants import Instant
from services.rules.routing import ALL

STANDING = ("held", "assigned", "approved", "declined", "issued", "acknowledged", "covered")
"""The states of a remedy that was not withdrawn."""


def messages_sent_once(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I6. What the ledger counts as sent, a gateway took, and NOTICES tells once; a gateway was handed a message twice
    only where an answer was lost or it came back undelivered, which the ledger says."""
    unanswered = {row["key"] for row in evidence.attempts if row["outcome"] in ("unanswered", "undelivered", None)}
    told = Counter(one.event["data"]["key"] for one in _results(evidence) if one.event["type"] == "notice.sent")
    relayed = {
        json.loads(bytes(row["body"]))["id"]
        for row in evidence.results
        if row["number"] <= evidence.results_relayed.get(row["lane"], 0)
    }
    states = {row["key"]: row["state"] for row in evidence.ledger}
    returned = {row["key"]: row["returned"] for row in evidence.ledger}
    for key, state in states.items():
        if told[key] > (state == "sent") + returned[key] or told[key] < (f"{key}-sent" in relayed):
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
    told_by = Counter(row["part_of"] for row in evidence.ledger)
    for key in sorted(wanted - expected.allowed - told_by.keys()):
        yield Violation("I6", "a message is in the ledger and follows from nothing", key)
    for key in sorted(told_by.keys() - wanted - {None}):
        yield Violation("I6", "messages are told by another one that the ledger does not know", key)


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
        self._facts = [one for one in evidence.facts() if one.sequence <= cases]
        self._live = _live_since(self._facts)
        ends = self._fold(lambda at, view: None)
        self._fold(lambda at, view: self._decide(at, view, ends))
        for told in _results(evidence):
            type, data = told.event["type"], told.event["data"]
            if type in ("remedy.approved", "remedy.declined"):
                self.allowed.add(steps.told_key(*_case(told), data["key"], type, data["cause"]["id"]))

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
        live = self._live.get(tenant.id, 0)
        known = [notices.of_decision(event, told.data, view, tenant, live) for view in (then, at_end)]
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
                case notices.Retraction(correction=notices.Notice(key=key)):
                    self.allowed.add(key)
                case notices.Task(notice=notices.Notice(key=key)):
                    self.allowed.add(key)


def _case(told: Told) -> tuple[str, str]:
    return told.event["tenant"], told.event["case"]


_decode = msgspec.json.Decoder(notices.Event).decode


def _as_read(told: Told) -> notices.Event:
    """An entry as notifier reads it."""
    return _decode(told.data)


def _live_since(facts: Iterable[Told]) -> dict[str, Instant]:
    """Since when each city is live: the first charter that its log enacts says so."""
    live: dict[str, Instant] = {}
    for told in facts:
        if told.event["type"] == "charter.enacted":
            since = told.event["data"].get("go_live") or told.event["time"]
            live.setdefault(told.event["tenant"], instants.instant(since))
    return live


def tasks_once(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I7. Of each remedy at most one stands at a time, with one task (none for what was over before its city was live),
    and it is paid once, after a yes; a task is told as often as it was assigned."""
    live = _live_since(evidence.facts())
    stands: dict[str, bool] = {}
    before_live: set[str] = set()
    for told in evidence.sla:
        kind = told.event.get("type")
        if kind not in ("remedy.proposed", "remedy.withdrawn"):
            continue
        key = told.event["data"]["key"]
        if stands.get(key, False) is (kind == "remedy.proposed"):
            yield Violation("I7", f"{kind} follows on another of the same remedy", f"{key} ({told.event['id']})")
        stands[key] = kind == "remedy.proposed"
        over = told.event["data"].get("due") or told.event["time"]
        if instants.instant(over) < live.get(told.event["tenant"], 0):
            before_live.add(key)
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
            owed = standing and key not in before_live
            if states != ["kept"] and owed != (len(states) == 1 and states[0] in STANDING):
                why = "stands" if owed else "was over before its city was live" if standing else "was withdrawn"
                yield Violation("I7", f"the remedy {why}, its task: {states}", key)
    paid: Counter[str] = Counter()
    approved: set[tuple[str, str]] = set()
    for one in _results(evidence):
        kind, data = one.event["type"], one.event["data"]
        if kind == "remedy.approved":
            approved.add((data["key"], data["cause"]["id"]))
        elif kind == "remedy.issued":
            paid[data["key"]] += 1
            if (data["key"], data["cause"]["id"]) not in approved:
                yield Violation("I7", "a remedy was paid that nobody approved", data["key"])
    for key, count in paid.items():
        if count > 1:
            yield Violation("I7", f"a remedy was paid {count} times", key)
    told_assigned = Counter(
        one.event["data"]["key"] for one in _results(evidence) if one.event["type"] == "task.assigned"
    )
    revisions = {row["key"]: row["revision"] for row in evidence.tasks}
    for key, count in told_assigned.items():
        if count > revisions.get(key, 0):
            yield Violation("I7", f"a task was told {count} times, assigned {revisions.get(key, 0)} times", key)


def paid_once(evidence: Evidence, book: Book) -> Iterator[Violation]:
    """I7. What was paid under one name of an incident is not paid under its next, unless an approver said before that
    it is another incident."""
    steps: dict[str, list[Step]] = defaultdict(list)
    for one in _results(evidence):
        data = one.event["data"]
        if one.event["type"].startswith("remedy.") and "by" in data:
            steps[data["key"]].append(
                Step(data["cause"]["id"], one.event["type"].removeprefix("remedy."), data.get("amount"))
            )
    said = [
        Said(
            told.event["id"],
            int(told.event["cause_sequence"]),
            told.event["type"],
            told.event["data"]["key"],
            (*_case(told), told.event["data"]["remedy"]),
            told.event["data"].get("promise") or "",
            told.event["data"].get("amount"),
        )
        for told in evidence.sla
        if told.event.get("type") in (PROPOSED, WITHDRAWN)
    ]
    for accounts in settled(said, steps):
        for key, by in accounts.twice.items():
            yield Violation("I7", "a remedy was paid that was paid for under another name", f"{key} after {by}")
