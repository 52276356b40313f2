"""The auditor finds what is broken. Goal: each of I1 to I14 can fail. Method: one small, sound history told by hand; it
passes, and each test spoils one thing in it and reads what the auditor says.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts import files
from contracts.streams import partition
from services.chassis.cursor import Entry
from services.chassis.outbox import link
from services.cli.auditing.audit import judge
from services.cli.auditing.deadlines import decided_in_order
from services.cli.auditing.evidence import Book, Ends, Evidence, Measure, Outage, Row, Told, search
from services.cli.auditing.messages import paid_once
from services.cli.refold import Refold
from services.notifier.notices import key_of
from services.rules.fold import REVISION
from services.rules.instants import SECOND, instant, text
from services.rules.rulebook import Library
from services.rules.tenants import parse

CITY = Path(__file__).parents[1] / "faults" / "city"
LIBRARY = Library(files.read(CITY))
TENANTS = parse((CITY / "tenants.yaml").read_bytes())
ZONE = TENANTS["rapids"].zone
P = partition("rapids", "c1")
STARTS = "2026-11-02T10:00:00+09:00"
BREACH = "rapids/c1 rapids-assign"


def at(seconds: float) -> str:
    """So many seconds after the complaint was received."""
    return text(instant(STARTS) + int(seconds * SECOND), ZONE)


def told(sequence: int, subject: str, event: Row, seconds: float) -> Told:
    """A message as stored `seconds` after the complaint was received."""
    return Told(sequence, subject, dict(event), json.dumps(event).encode(), instant(at(seconds)))


def fact(id: str, type: str, seconds: float, case: str = "c1", source: str = "web", **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": type,
        "subject": case,
        "time": at(seconds),
        "recordedtime": at(seconds),
        "tenant": "rapids",
        "case": case,
        "data": data,
    }


def test_what_met_a_run_before_it_was_opened_anew_meets_it_no_more() -> None:
    """The breach that began the run came to be another: at 6.6 s instead of 5, after what had met the run."""
    stem, explain = f"cases.{P}.rapids", {"promise": "rapids-explain"}
    ticks = [{"id": f"{P}-{n}", "type": "clock.advanced", "time": at(n), "data": {"to": at(n)}} for n in (5.5, 9)]
    cases = [
        told(1, f"{stem}.complaint.received", fact("e1", "complaint.received", 0), 0),
        told(2, f"cases.{P}.clock", ticks[0], 5.5),
        told(3, f"{stem}.delay.explained", fact("e3", "delay.explained", 6.1, reason_ref="t"), 6.2),
        told(4, f"{stem}.complaint.suspended", fact("e4", "complaint.suspended", 1.5), 7.1),
        told(5, f"cases.{P}.clock", ticks[1], 9),
    ]
    rows = [
        decided(1, "deadline.started", at(5), 2, **explain, due=at(7)),
        decided(2, "deadline.met", at(6.1), 3, **explain, due=at(7)),
        decided(3, "deadline.moved", at(1.5), 4, **explain, due=at(8.6), reason="reopened"),
        decided(4, "deadline.breached", at(8.6), 5, **explain, due=at(8.6)),
    ]
    sla = marked("sla", [(row, 9.0) for row in rows])
    partitions = {P: {"sequence": 5, "event_id": "", "clock": instant(at(9)), "decisions": 4}}
    evidence = replace(sound(), cases=cases, sla=sla, partitions=partitions, standing={})
    assert list(decided_in_order(evidence, Book())) == []


def history() -> list[Told]:
    """CASES: what enacts the charter, a complaint, a tick four seconds later, an answer in time."""
    charter, parsed = LIBRARY.charters_of("rapids")[0]
    calendar, file = LIBRARY.newest_calendar("kr")
    enacting = [
        ("rules.enacted", {"revision": REVISION, "applies": "new_cases"}),
        ("calendar.enacted", {"calendar": "kr", "version": file.version, "sha256": calendar}),
        (
            "charter.enacted",
            {"version": "1", "sha256": charter, "in_force": str(parsed.in_force), "applies": "new_cases"},
        ),
    ]
    stem = f"cases.{P}.rapids"
    events = [
        told(1 + place, f"{stem}.{type}", fact(f"b{place}", type, -9, "_all", "gihan/provision", **data), -9)
        for place, (type, data) in enumerate(enacting)
    ]
    details = {f"has_{name}": name == "mobile" for name in ("name", "address", "phone", "mobile", "email")}
    kept = {"channel": "web", "kind": "inquiry", "title_ref": "text1", "subject_ref": "ref1", **details}
    received = fact("e1", "complaint.received", 0, **kept)
    completed = fact("e2", "complaint.completed", 4.5, source="desk", outcome="answered", by="officer-1")
    tick = {"id": f"{P}-1", "source": "gihan/sla_timer", "type": "clock.advanced", "time": at(4), "partition": P}
    return [
        *events,
        told(4, f"{stem}.complaint.received", received, 0.1),
        told(5, "mark.intake.i1", {"batch": 1, "count": 1}, 0.1),
        told(6, f"cases.{P}.clock", tick | {"data": {"to": at(4)}}, 4.1),
        told(7, f"{stem}.complaint.completed", completed, 4.6),
        told(8, "mark.intake.i1", {"batch": 2, "count": 1}, 4.6),
    ]


def decided(number: int, kind: str, when: str, cause: int, **data: Any) -> dict[str, Any]:
    return {
        "id": f"{P}-{number}",
        "source": "gihan/sla_timer",
        "type": kind,
        "time": when,
        "tenant": "rapids",
        "case": "c1",
        "cause_sequence": cause,
        "data": {"occurrence": "web/e1", **data},
    }


REMEDY = {
    "promise": "rapids-assign",
    "due": at(3),
    "remedy": "rapids-voucher",
    "incident": "rapids-assign:web/e1",
    "key": "rapids/c1/rapids-assign:web/e1/rapids-voucher",
    "amount": 10000,
    "currency": "KRW",
}


def decisions() -> list[tuple[dict[str, Any], float]]:
    """SLA, counted by hand: assigned by 3 s, answered by 5 s; the first broken, the second met; when it was stored."""
    assign, answer = {"promise": "rapids-assign", "due": at(3)}, {"promise": "rapids-answer", "due": at(5)}
    return [
        (decided(1, "deadline.started", at(0), 4, **assign), 0.2),
        (decided(2, "deadline.started", at(0), 4, **answer), 0.2),
        (decided(3, "deadline.breached", at(3), 6, **assign), 4.2),
        (decided(4, "remedy.proposed", at(3), 6, **REMEDY), 4.2),
        (decided(5, "deadline.met", at(4.5), 7, **answer), 4.7),
    ]


def marked(stem: str, rows: list[tuple[dict[str, Any], float]]) -> list[Told]:
    """A log of the rows of one lane, closed by its marker."""
    log = [told(n, f"{stem}.{P}.rapids.{event['type']}", event, when) for n, (event, when) in enumerate(rows, 1)]
    chain = b""
    for one in log:
        chain = link(chain, one.data)
    marker = {"last": len(rows), "chain": chain.hex()}
    return [*log, told(len(rows) + 1, f"mark.{stem}.{P}", marker, rows[-1][1])]


def outbox(log: list[Told]) -> list[Row]:
    """The rows that a relay has published as this log."""
    return [
        {"lane": P, "number": number, "subject": one.subject, "body": one.data}
        for number, one in enumerate(log[:-1], 1)
    ]


MESSAGES = {
    "receipt": key_of("rapids", "c1", "web", "e1", "receipt"),
    "breach": key_of("rapids", "c1", "gihan/sla_timer", f"{P}-3", "breach"),
    "compensation": key_of("rapids", "c1", "gihan/sla_timer", f"{P}-4", "compensation"),
    "result": key_of("rapids", "c1", "desk", "e2", "result"),
}
UNHEARD = key_of("rapids", "c1", "gihan/sla_timer", f"{P}-3", "escalation")
"""Told to nobody: no head of anything is known."""
TASKS = {"compensation": key_of("rapids", "c1", REMEDY["incident"], "rapids-voucher", "compensation")}


def results() -> list[tuple[dict[str, Any], float]]:
    """NOTICES: each message sent, each task assigned."""
    common = {"source": "gihan/notifier", "tenant": "rapids", "case": "c1", "time": at(5)}
    sent = [{"id": f"{key}-sent", "type": "notice.sent", "data": {"key": key}, **common} for key in MESSAGES.values()]
    assigned = [
        {"id": f"{key}-assigned-1", "type": "task.assigned", "data": {"key": key}, **common} for key in TASKS.values()
    ]
    return [(event, 5.0) for event in (*sent, *assigned)]


def step(name: str, cause: str) -> Told:
    """What a person did with the remedy, as NOTICES tells."""
    data = {"key": REMEDY["key"], "cause": {"source": "gihan/sla_timer", "id": cause}}
    event = {"id": name, "type": f"remedy.{name}", "tenant": "rapids", "case": "c1", "data": data}
    return told(5, f"notices.{P}.rapids.remedy.{name}", event, 5)


OTHER = "rapids/c1/fault:web/r1/rapids-voucher"


def renamed() -> list[Told]:
    """One step takes the remedy back and proposes it for what was reported."""
    other = {name: REMEDY[name] for name in ("remedy", "amount", "currency")} | {
        "incident": "fault:web/r1",
        "key": OTHER,
    }
    rows = [("9-1", "remedy.withdrawn", REMEDY), ("9-2", "remedy.proposed", other)]
    return [
        told(
            20 + number,
            f"sla.{P}.rapids.{type}",
            {
                "id": id,
                "type": type,
                "time": at(9),
                "tenant": "rapids",
                "case": "c1",
                "cause_sequence": 9,
                "data": data,
            },
            9,
        )
        for number, (id, type, data) in enumerate(rows)
    ]


def issued(key: str = REMEDY["key"], cause: str = f"{P}-4", *before: str) -> list[Told]:
    """A remedy is paid by two people, as NOTICES tells."""
    found = []
    for name in (*before, "approved", "issued"):
        data = {"key": key, "cause": {"source": "gihan/sla_timer", "id": cause}, "by": name, "amount": 10000}
        event = {"id": f"{key}-{name}", "type": f"remedy.{name}", "tenant": "rapids", "case": "c1", "data": data}
        found.append(told(5, f"notices.{P}.rapids.remedy.{name}", event, 5))
    return found


def live_from(second: float, one: Told) -> Told:
    """The same entry; one that enacts the charter says when its city goes live."""
    if one.event.get("type") != "charter.enacted":
        return one
    event = one.event | {"data": one.event["data"] | {"go_live": at(second)}}
    return told(one.sequence, one.subject, event, -9)


def test_what_was_over_before_a_city_was_live_has_no_task() -> None:
    evidence = sound()
    early = replace(evidence, cases=[live_from(4, one) for one in evidence.cases], tasks=evidence.tasks[1:])
    assert [line for line in said(early) if "its task" in line] == []


def test_what_an_approver_told_apart_may_be_paid_as_well() -> None:
    evidence = sound()
    apart = replace(
        evidence,
        sla=[*evidence.sla, *renamed()],
        notices=[*evidence.notices, *issued(), *issued(OTHER, "9-2", "separated")],
    )
    assert list(paid_once(apart, Book())) == []
    alone = replace(apart, notices=[*evidence.notices, *issued(OTHER, "9-2")])
    assert list(paid_once(alone, Book())) == []


def sound() -> Evidence:
    """The whole history as everybody tells it."""
    cases, sla, notices = history(), marked("sla", decisions()), marked("notices", results())
    refold = Refold(LIBRARY)
    again = [row for one in cases for row in refold.take(Entry(one.sequence, one.subject, one.data, one.stored_at))]
    assert [row.decided.decision.kind for row in again] == [event["type"] for event, _ in decisions()]
    kept = {"tenant": "rapids", "case": "c1", "receipt": "1-1", "status": "accepted", "type": ""}
    ends = Ends(8, 6, 6, 0)
    return Evidence(
        before=ends,
        after=ends,
        cases=cases,
        sla=sla,
        notices=notices,
        dead=[told(1, "dead.rapids.desk", {"tenant": "rapids", "source": "desk", "id": "bad"} | LETTER, 1)],
        receipts=[told(1, "receipts.rapids.desk", {"status": "refused", "source": "desk", "id": "bad"}, 1)],
        reservations=[
            kept
            | {"source": one.event["source"], "id": one.event["id"], "sequence": one.sequence}
            | {"subjects": [one.subject], "bodies": [one.data]}
            for one in (cases[3], cases[6])
        ],
        partitions={
            number: {"sequence": 7 if number == P else 0, "event_id": "e2", "clock": instant(at(4))}
            | {"decisions": 5 if number == P else 0}
            for number in range(16)
        },
        decisions=[
            row
            | {"tenant": "rapids", "case_id": "c1", "kind": one.decided.decision.kind}
            | {"promise": one.decided.decision.promise, "occurrence": one.decided.decision.occurrence}
            | {"due": one.decided.decision.due, "at": one.decided.decision.at, "cause_sequence": one.cause_sequence}
            for row, one in zip(outbox(sla), again, strict=True)
        ],
        standing=dict(refold.partitions[P].cases),
        relayed={P: 5},
        ledger=[
            {"key": key, "tenant": "rapids", "case_id": "c1", "topic": name, "state": "sent"}
            | {"returned": 0, "part_of": None}
            for name, key in MESSAGES.items()
        ]
        + [
            {"key": UNHEARD, "tenant": "rapids", "case_id": "c1", "topic": "escalation", "state": "failed"}
            | {"returned": 0, "part_of": None}
        ],
        attempts=[{"key": key, "outcome": "accepted"} for key in MESSAGES.values()],
        tasks=[
            {"key": key, "tenant": "rapids", "case_id": "c1", "incident": REMEDY["incident"], "task": task}
            | {"clause": "rapids-voucher", "state": "assigned", "revision": 1}
            for task, key in TASKS.items()
        ],
        results=outbox(notices),
        results_relayed={P: 5},
        notifier={"cases_sequence": 8, "sla_sequence": 6, "open_notices": 0, "unpublished": 0},
        people=[{"tenant": "rapids", "subject_ref": "ref1", "readable": True, "findable": True}],
        record=[{"key": key, "outcome": "accepted"} for key in MESSAGES.values()],
        recorded_before=4,
        now=instant(at(60)),
        library=LIBRARY,
        tenants=TENANTS,
    )


LETTER = {"letter": "l1", "code": "missing"}


def promise(event: Row, status: str = "accepted", **more: Any) -> Row:
    """What the publisher of an event was told."""
    return {
        "tenant": "rapids",
        "source": event["source"],
        "id": event["id"],
        "type": event["type"],
        "door": "http",
        "status": status,
        "case": "c1",
        "body": event,
        **more,
    }


PUBLISHED = {"channel": "web", "kind": "inquiry", "title": "A lamp", "applicant": {"mobile": "01012345678"}}


def book() -> Book:
    """Everybody was told the truth."""
    cases = history()
    bad = fact("bad", "call.ended", 1, source="desk")
    return Book(
        promised=[
            promise(cases[3].event | {"data": PUBLISHED}, receipt="1-1"),
            promise(cases[6].event),
            promise(bad, "left", door="inbox", poison=True),
        ],
        canaries=["heron-7"],
        positions=[
            {"partition": P, "sequence": 4, "decisions": 2},
            {"partition": P, "sequence": 7, "decisions": 5},
        ],
        measured=[Measure("I12", "seconds", 3.0, 15.0)],
    )


def said(evidence: Evidence, told_book: Book | None = None) -> list[str]:
    """What the auditor says of everything at rest."""
    report = judge(evidence, told_book or book(), settled=True)
    return [f"{one.invariant} {one.what}: {one.where}" for one in report.violations]


def changed(log: list[Told] | Any, sequence: int, **fields: Any) -> list[Told]:
    """A log in which one message says something else (its bytes too)."""
    found = []
    for one in log:
        if one.sequence == sequence:
            event = one.event | fields
            one = one._replace(event=event, data=json.dumps(event).encode())
        found.append(one)
    return found


def without(log: Any, sequence: int) -> list[Told]:
    return [one for one in log if one.sequence != sequence]


def test_a_sound_history_passes() -> None:
    assert said(sound()) == []


def test_what_is_left_of_a_batch_before_it_was_appended_whole_counts_for_nothing() -> None:
    """The disk took a first part of a batch and no more; the same bytes follow, closed by their marker."""
    evidence = sound()
    left = evidence.cases[6]._replace(sequence=6.5)  # type: ignore[arg-type]  # between the tick and the whole batch
    spoilt = replace(evidence, cases=[*evidence.cases[:6], left, *evidence.cases[6:]])
    assert not [line for line in said(spoilt) if line.startswith("I1")]


ASSIGNED = fact("e3", "complaint.assigned", 1, department="Roads", officer="officer-1")
E1 = "rapids/web/e1"
ASSIGN = f"rapids/c1 rapids-assign ({P}-3)"
EVENTS = {event["id"]: event for event, _ in decisions()}
SPOILT: list[tuple[str, Callable[[Evidence], Evidence]]] = [
    # I1
    (
        f"I1 an appended event is not where it was said to stand: {E1}",
        lambda e: replace(e, cases=changed(e.cases, 4, recordedtime=at(1))),
    ),
    (
        f"I1 the log holds an event that nobody reserved: {E1}",
        lambda e: replace(e, reservations=e.reservations[1:]),
    ),
    (
        "I1 an event stands 2 times in one case: rapids/desk/e2 in " + f"{P}/c1",
        lambda e: replace(e, cases=[*e.cases, e.cases[6]._replace(sequence=9)]),
    ),
    (f"I1 an accepted event stands 0 times in the log: {E1}", lambda e: replace(e, cases=without(e.cases, 4))),
    (f"I1 an event was accepted and is kept nowhere: {E1}", lambda e: replace(e, reservations=e.reservations[1:])),
    (
        f"I1 the log says other than was published: {E1}",
        lambda e: replace(e, cases=changed(e.cases, 4, data=e.cases[3].event["data"] | {"kind": "grievance"})),
    ),
    (
        "I1 the log says other than was published: rapids/desk/e2",
        lambda e: replace(e, cases=changed(e.cases, 7, data={"outcome": "answered"})),
    ),
    ("I1 a letter left in INBOX was lost: rapids/desk/bad", lambda e: replace(e, dead=[])),
    # I2
    (
        f"I2 the database and the log decide differently: decision {P}-3",
        lambda e: replace(e, decisions=[row | {"due": 1} if row["number"] == 3 else row for row in e.decisions]),
    ),
    (f"I2 only the log gives it: decision {P}-5", lambda e: replace(e, decisions=e.decisions[:-1])),
    (
        "I2 a case stands otherwise than the log says: rapids/c1",
        lambda e: replace(
            e,
            standing=dict(e.standing)
            | {("rapids", "c1"): msgspec.structs.replace(e.standing["rapids", "c1"], closed=False)},
        ),
    ),
    # I3
    (
        f"I3 the position is at no event of the log, or at another: partition {P}",
        lambda e: replace(e, partitions=dict(e.partitions) | {P: dict(e.partitions[P]) | {"event_id": "e9"}}),
    ),
    (
        "I3 notifier stands past the end of the log: sla_sequence",
        lambda e: replace(e, notifier=dict(e.notifier) | {"sla_sequence": 7}),
    ),
    (
        f"I3 a marker is not that of the messages before it: mark.sla.{P} at 6",
        lambda e: replace(e, sla=without(e.sla, 2)),
    ),
    (
        f"I3 the outbox has a gap in its numbers: sla.{P}",
        lambda e: replace(e, decisions=[row for row in e.decisions if row["number"] != 2]),
    ),
    (f"I3 messages stand in the log without a marker: sla.{P}", lambda e: replace(e, sla=e.sla[:-1])),
    (f"I3 6 count as sent, the log holds 5: sla.{P}", lambda e: replace(e, relayed={P: 6})),
    (
        f"I3 the log holds something else under a number: notices.{P}-2",
        lambda e: replace(e, notices=changed(e.notices, 2, time=at(6))),
    ),
    # I4
    (
        f"I4 a breach was told of a run that was broken already: rapids/c1 rapids-assign ({P}-3)",
        lambda e: replace(e, sla=[*e.sla, e.sla[2]._replace(sequence=8)]),
    ),
    (
        f"I4 a breach was told of a run that was never started: {ASSIGN}",
        lambda e: replace(e, sla=without(e.sla, 1)),
    ),
    (
        f"I4 a breach has another due instant than was last told: {ASSIGN}",
        lambda e: replace(e, sla=changed(e.sla, 3, data=EVENTS[f"{P}-3"]["data"] | {"due": at(2)})),
    ),
    (
        f"I4 a breach was told before the clock of the log passed the due instant: {ASSIGN}",
        lambda e: replace(e, cases=changed(e.cases, 6, data={"to": at(3)})),
    ),
    (
        f"I4 a breach names a cause that is not in the log: {ASSIGN}",
        lambda e: replace(e, sla=changed(e.sla, 3, cause_sequence=99)),
    ),
    (
        f"I4 a breach was told though the log held before it what meets the promise: {ASSIGN}",
        lambda e: replace(
            e,
            cases=[
                *e.cases[:4],
                told(5, f"cases.{P}.rapids.complaint.assigned", ASSIGNED, 1),
                *e.cases[5:],
            ],
        ),
    ),
    (
        "I4 a deadline has passed and nobody said so: rapids/c1 rapids-assign",
        lambda e: replace(e, sla=without(e.sla, 3)),
    ),
    (
        f"I4 a breach was taken back that did not stand: rapids/c1 rapids-answer ({P}-5)",
        lambda e: replace(e, sla=changed(e.sla, 5, type="breach.retracted")),
    ),
    (f"I4 a run started twice: rapids/c1 rapids-assign ({P}-1)", lambda e: replace(e, sla=[e.sla[0], *e.sla])),
    # I5
    (
        f"I5 a breach stands in the log 0.100000 s before its due instant: {ASSIGN}",
        lambda e: replace(e, sla=[one._replace(stored_at=instant(at(2.9))) for one in e.sla]),
    ),
    (
        f"I5 a breach came 4.0 s late, and no disturbance explains it: {ASSIGN}",
        lambda e: replace(e, sla=[*e.sla[:2], e.sla[2]._replace(stored_at=instant(at(7))), *e.sla[3:]]),
    ),
    # I6
    (
        f"I6 a message counts as sent and no gateway took it: {MESSAGES['receipt']}",
        lambda e: replace(e, record=(e.record or [])[1:], recorded_before=3),
    ),
    (
        f"I6 a message was handed over 2 times though no answer was lost: {MESSAGES['receipt']}",
        lambda e: replace(e, record=[*(e.record or []), (e.record or [])[0]], recorded_before=5),
    ),
    (
        "I6 a gateway took a message that the ledger does not know: k9",
        lambda e: replace(e, record=[*(e.record or []), {"key": "k9", "outcome": "accepted"}], recorded_before=5),
    ),
    (
        f"I6 a message is held and a gateway took it: {MESSAGES['receipt']}",
        lambda e: replace(e, ledger=[dict(e.ledger[0]) | {"state": "held"}, *e.ledger[1:]]),
    ),
    (
        f"I6 a message that is sent was told as sent 0 times: {MESSAGES['receipt']}",
        lambda e: replace(e, notices=without(e.notices, 1)),
    ),
    (
        f"I6 NOTICES tells of a message that the ledger does not know: {MESSAGES['receipt']}",
        lambda e: replace(e, ledger=e.ledger[1:]),
    ),
    (
        f"I6 a message that must be sent is not in the ledger: receipt of rapids/c1 ({MESSAGES['receipt']})",
        lambda e: replace(e, ledger=e.ledger[1:]),
    ),
    (
        "I6 a message is in the ledger and follows from nothing: k8",
        lambda e: replace(e, ledger=[*e.ledger, dict(e.ledger[0]) | {"key": "k8", "state": "held"}]),
    ),
    (
        "I6 messages are told by another one that the ledger does not know: k7",
        lambda e: replace(e, ledger=[*e.ledger[:-1], dict(e.ledger[-1]) | {"state": "suppressed", "part_of": "k7"}]),
    ),
    # I7
    (
        f"I7 remedy.proposed follows on another of the same remedy: {REMEDY['key']} ({P}-4)",
        lambda e: replace(e, sla=[*e.sla, e.sla[3]]),
    ),
    (
        f"I7 2 tasks of one kind stand for one remedy: {REMEDY['key']} compensation",
        lambda e: replace(e, tasks=[*e.tasks, dict(e.tasks[0]) | {"key": "k7"}]),
    ),
    (f"I7 the remedy stands, its task: []: {REMEDY['key']}", lambda e: replace(e, tasks=e.tasks[1:])),
    (
        f"I7 the remedy was over before its city was live, its task: ['assigned']: {REMEDY['key']}",
        lambda e: replace(e, cases=[live_from(4, one) for one in e.cases]),
    ),
    (
        f"I7 a task was told 2 times, assigned 1 times: {TASKS['compensation']}",
        lambda e: replace(e, notices=[*e.notices, e.notices[4]]),
    ),
    (
        f"I7 a remedy was paid that nobody approved: {REMEDY['key']}",
        lambda e: replace(e, notices=[*e.notices, step("approved", "1-9"), step("issued", "1-1")]),
    ),
    (
        f"I7 a remedy was paid 2 times: {REMEDY['key']}",
        lambda e: replace(e, notices=[*e.notices, *(step(one, "1-1") for one in ("approved", "issued", "issued"))]),
    ),
    (
        f"I7 a remedy was paid that was paid for under another name: {OTHER} after {REMEDY['key']}",
        lambda e: replace(e, sla=[*e.sla, *renamed()], notices=[*e.notices, *issued(), *issued(OTHER, "9-2")]),
    ),
    # I8
    (
        "I8 the log grew from 6 to 7 while it was only read: sla",
        lambda e: replace(e, after=e.after._replace(sla=7)),
    ),
    # I9
    (
        "I9 a refused letter lies in DEAD 2 times: rapids/desk/bad",
        lambda e: replace(e, dead=[*e.dead, *changed(e.dead, 1, letter="l2")]),
    ),
    (
        "I9 the source of a refused letter was never told: rapids/desk/bad",
        lambda e: replace(e, receipts=[]),
    ),
    ("I9 a dead letter has no reason or no name: DEAD 1", lambda e: replace(e, dead=changed(e.dead, 1, code=""))),
    (
        "I9 a letter was buried for a trouble of our own: DEAD 1",
        lambda e: replace(e, dead=changed(e.dead, 1, code="unavailable")),
    ),
    # I10
    ("I10 personal data stands in clear: nats/a.blk", lambda e: replace(e, in_clear=["nats/a.blk"])),
    (
        "I10 personal data stands in clear: RECEIPTS 1",
        lambda e: replace(e, receipts=changed(e.receipts, 1, detail="of heron-7")),
    ),
    # I11
    (
        "I11 the record of who read personal data was changed: rapids",
        lambda e: replace(e, broken_access=["rapids"]),
    ),
    # I12
    (
        f"I12 folded to 6 of 7: partition {P}",
        lambda e: replace(e, partitions=dict(e.partitions) | {P: dict(e.partitions[P]) | {"sequence": 6}}),
    ),
    (f"I12 decisions are not published: partition {P}", lambda e: replace(e, relayed={P: 4})),
    (
        "I12 1 events are reserved and not in the log: at rest",
        lambda e: replace(
            e, reservations=[*e.reservations, dict(e.reservations[0]) | {"id": "e7", "status": "pending"}]
        ),
    ),
    (
        "I12 a fact waits though its case is open: rapids/web/e7",
        lambda e: replace(
            e, reservations=[*e.reservations, dict(e.reservations[0]) | {"id": "e7", "status": "waiting"}]
        ),
    ),
    ("I12 2 letters lie in INBOX: at rest", lambda e: replace(e, after=e.after._replace(inbox=2))),
    ("I12 3 messages are open: at rest", lambda e: replace(e, notifier=dict(e.notifier) | {"open_notices": 3})),
    ("I12 1 results are not published: at rest", lambda e: replace(e, notifier=dict(e.notifier) | {"unpublished": 1})),
]


@pytest.mark.parametrize(("expected", "spoil"), SPOILT, ids=[expected for expected, _ in SPOILT])
def test_one_thing_spoilt_is_found(expected: str, spoil: Callable[[Evidence], Evidence]) -> None:
    assert expected in said(spoil(sound()))


BOOKS: list[tuple[str, Callable[[Book], None]]] = [
    (
        f"I1 a refused event stands in the log: {E1}",
        lambda b: b.promised.__setitem__(0, dict(b.promised[0]) | {"status": "refused"}),
    ),
    (
        f"I1 the same event was given two different answers: {E1}",
        lambda b: b.promised.append(dict(b.promised[0]) | {"receipt": "2-2"}),
    ),
    (
        "I1 an event was waiting and is kept nowhere: rapids/web/e8",
        lambda b: b.promised.append(dict(b.promised[0]) | {"id": "e8", "status": "waiting"}),
    ),
    (
        f"I3 the position went back to 4: partition {P}",
        lambda b: b.positions.append({"partition": P, "sequence": 4, "decisions": 5}),
    ),
    (
        "I11 somebody erased can be read or found: rapids/ref1",
        lambda b: b.erased.append({"tenant": "rapids", "subject_ref": "ref1"}),
    ),
    ("I13 1.0, at most 0.0 allowed: ready", lambda b: b.measured.append(Measure("I13", "ready", 1, 0))),
    ("I14 301.0, at most 300.0 allowed: megabytes", lambda b: b.measured.append(Measure("I14", "megabytes", 301, 300))),
]


@pytest.mark.parametrize(("expected", "spoil"), BOOKS, ids=[expected for expected, _ in BOOKS])
def test_what_others_noted_is_held_against_it(expected: str, spoil: Callable[[Book], None]) -> None:
    noted = book()
    spoil(noted)
    assert expected in said(sound(), noted)


def test_a_refusal_for_what_was_not_known_yet_does_not_bind_a_sending_that_was_still_on_its_way() -> None:
    """Sent to one intake, which did not answer in time, and then to another, which did not know the fact as yet."""
    refused = {"status": "refused", "code": "unknown_fact"}
    noted = book()
    noted.promised[0] = dict(noted.promised[0]) | refused | {"sendings": 2}
    assert said(sound(), noted) == []
    noted.promised[0] = dict(noted.promised[0]) | refused | {"sendings": 1}
    assert said(sound(), noted) == [f"I1 a refused event stands in the log: {E1}"]


def test_a_disturbance_excuses_a_late_breach_and_not_for_ever() -> None:
    late = [one._replace(stored_at=instant(at(20))) if one.sequence == 3 else one for one in sound().sla]
    noted = book()
    noted.outages.append(Outage("nats away", instant(at(2)), instant(at(10.5))))
    assert said(replace(sound(), sla=late), noted) == []
    noted.outages[0] = Outage("nats away", instant(at(2)), instant(at(9.5)))
    assert said(replace(sound(), sla=late), noted) == [
        f"I5 a breach came 17.0 s late, and no disturbance explains it: {ASSIGN}"
    ]


@pytest.mark.parametrize("outcome", ["unanswered", "undelivered"])
def test_a_lost_answer_excuses_a_second_hand_over(outcome: str) -> None:
    whole = sound()
    assert whole.record is not None
    twice = replace(whole, record=[*whole.record, whole.record[0]], recorded_before=5)
    lost = {"key": MESSAGES["receipt"], "outcome": outcome}
    assert said(replace(twice, attempts=[lost, *twice.attempts])) == []


def test_the_book_is_read_from_lines_and_a_strange_line_is_named() -> None:
    lines = ['{"canary": "heron-7"}', '{"outage": {"name": "a", "begins": 1, "ends": 2}}']
    assert Book.read(iter(lines)) == Book(canaries=["heron-7"], outages=[Outage("a", 1, 2)])
    with pytest.raises(ValueError, match="line 2"):
        Book.read(iter([lines[0], '{"what": 1}']))


def test_a_planted_text_is_found_in_a_file_and_not_among_the_secrets(tmp_path: Path) -> None:
    for name, content in (("nats/1.blk", b"x heron-7 y"), ("nats/2.blk", b"x"), ("secrets/a.json", b"heron-7")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert list(search(tmp_path, ["heron-7"])) == ["nats/1.blk"]
    assert list(search(tmp_path, [])) == []
