"""What cities report, as it stands in the log: complaints with their course, callbacks, visits and calls.

The one rule: the same seed writes the same bytes. Arrivals and steps fall into office hours of the five cities'
calendar; some facts are recorded hours after they happened, some deadlines are missed.
"""

import random
from collections.abc import Iterator
from datetime import date
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import orjson

from contracts import files
from contracts.streams import PARTITIONS, cases_subject, clock_subject, partition
from services.rules.calendar import Calendar
from services.rules.instants import DAY, HOUR, MINUTE, SECOND, Instant, midnight, text
from services.rules.routing import ALL
from services.rules.rulebook import Library
from services.sla_timer.messages import tick_message

SEED = 20261122
ZONE = ZoneInfo("Asia/Seoul")
CITIES = ("seoul", "anseong", "mapo", "yeonje", "miryang")
FIRST_DAY, WORKING_DAYS = date(2026, 6, 8), 15
"""A Monday, and over how many working days cases arrive."""
DAY_OF_WORK = 8 * HOUR
LATE = 0.03
"""How many facts are recorded late, by up to four hours."""
FACTS_PER_TICK = 50

Step = tuple[Instant, str, str, dict[str, Any]]
"""When (in working time from the case's opening), type, source, data."""

NOW = "now"
"""In data: the time at which the event happens."""
KINDS = {
    "grievance": 30, "inquiry": 22, "other": 10, "statutory": 13, "suggestion": 7, "disclosure": 6,
    "service_grievance": 5, "inquiry_law": 4, "commendation": 2, "handling_grievance": 1,
}  # fmt: skip
"""Of a hundred complaints."""
CHANNELS = {"web": 55, "visit": 18, "phone": 12, "email": 8, "post": 4, "fax": 3}
DEPARTMENTS = (
    *("도로관리과 가로등팀", "민원여권과 통합민원팀", "건축허가과 건축신고팀"),
    *("자원순환과 청소행정팀", "복지정책과 생활보장팀"),
)
ALLOWED = {"inquiry": 3.0, "other": 0.4, "suggestion": 3.0, "service_grievance": 3.0, "handling_grievance": 1.0}
"""In how many working days a kind is to be answered, roughly; otherwise seven."""


class Message(NamedTuple):
    """One message of CASES. `at` is when it was recorded; a tick has no tenant."""

    at: Instant
    subject: str
    body: bytes

    @property
    def is_tick(self) -> bool:
        """Whether it is time that passes, and no fact."""
        return self.subject.endswith(".clock")


class Workload:
    """The messages of `cases` cases, in the order in which they were recorded."""

    def __init__(self, cases: int, seed: int = SEED) -> None:
        self.cases = cases
        self._random = random.Random(seed)
        self.calendar = office()
        self._begin = self.calendar.worked(midnight(FIRST_DAY, ZONE))
        self.start = self.calendar.at(self._begin + 1) - 1

    def messages(self) -> Iterator[Message]:
        """Facts, with a tick of every partition after each 50 * 16 of them."""
        count, ticks, last = 0, 0, self.start
        for message in self._facts():
            yield message
            count, last = count + 1, message.at
            if count % (FACTS_PER_TICK * PARTITIONS) == 0:
                ticks += 1
                yield from _ticks(ticks, last)
        yield from _ticks(ticks + 1, last + SECOND)

    def _facts(self) -> Iterator[Message]:
        """A day's worth is sorted at a time, so that a long history needs no memory."""
        span = WORKING_DAYS * DAY_OF_WORK
        ahead: list[Message] = []
        days = self.cases // WORKING_DAYS + 1
        for number in range(self.cases):
            opened = self._begin + span * number // self.cases + 1
            ahead += self._case(number, opened)
            if number % days == days - 1:
                now = self.calendar.at(opened)
                ahead.sort()
                past = [message for message in ahead if message.at < now]
                yield from past
                ahead = ahead[len(past) :]
        yield from sorted(ahead)

    def _case(self, number: int, opened: int) -> Iterator[Message]:
        chance = self._random
        tenant = chance.choices(CITIES, (40, 15, 15, 15, 15))[0]
        noun, course = chance.choices(
            (("complaint", _complaint), ("callback", _callback), ("visit", _visit), ("call", _call)), (70, 12, 9, 9)
        )[0]
        case = f"{noun}-{tenant}-civil-affairs-office-2026-{number:012}"
        for place, (after, type, source, data) in enumerate(course(chance), 1):
            at = self.calendar.at(opened + after)
            late = chance.randrange(4 * HOUR) if place > 1 and chance.random() < LATE else chance.randrange(2 * SECOND)
            said = {name: text(at, ZONE) if value is NOW else value for name, value in data.items()}
            yield self._message(tenant, case, place, type, source, at, at + late, said)

    def _message(
        self, tenant: str, case: str, place: int, type: str, source: str, at: Instant, recorded: Instant, data: Any
    ) -> Message:
        more = {"id": f"{self._random.getrandbits(256):064x}", "recordedtime": text(recorded, ZONE)}
        if place == 1:
            more["receipt"] = f"{tenant[:2].upper()}-2026-{case[-8:]}-7"
        return stored(tenant, case, type, source, at, data, **more)._replace(at=recorded)


def stored(tenant: str, case: str, type: str, source: str, at: Instant, data: dict[str, Any], **more: Any) -> Message:
    """One event as intake stores it, recorded when it happened."""
    moment = text(at, ZONE)
    event = {
        "specversion": "1.0",
        "id": f"{at % DAY:011}-{case}",
        "source": source,
        "type": type,
        "subject": tenant if case == ALL else case,
        "time": moment,
        "tenant": tenant,
        "recordedtime": moment,
        "data": data,
        "case": case,
        **more,
    }
    return Message(at, cases_subject(partition(tenant, case), tenant, type), orjson.dumps(event))


def office() -> Calendar:
    """The calendar of the five cities with the weekly hours of their offices."""
    library = Library(files.read())
    file = library.newest_calendar("kr")[1]
    return library.compiled(file, file.hours["office"])


def _ticks(number: int, to: Instant) -> Iterator[Message]:
    for place in range(PARTITIONS):
        yield Message(to, clock_subject(place), tick_message(place, number, to))


def _complaint(chance: random.Random) -> Iterator[Step]:
    """From receipt to answer. One in sixteen is answered late, a third of the statutory ones lack papers."""
    kind, channel = _draw(chance, KINDS), _draw(chance, CHANNELS)
    department, officer = chance.choice(DEPARTMENTS), f"officer-{chance.randrange(400):04}"
    days = ALLOWED.get(kind, 7.0)
    data: dict[str, Any] = {
        "channel": channel,
        "kind": kind,
        "title_ref": _ref(chance, "txt"),
        "text_ref": _ref(chance, "txt"),
        "subject_ref": _ref(chance, "sub"),
        "departments": [department],
        "office": "시청 민원봉사실",
        "notify_by": chance.choice(("sms", "email", "post")),
        "language": "ko",
        **dict.fromkeys(("has_name", "has_address", "has_phone", "has_mobile", "has_email"), True),
    }
    if kind == "statutory":
        days = float(chance.choice((3, 7, 10, 15, 20)))
        data |= {"service": "건축신고", "period": {"amount": int(days), "unit": "days"}}
    yield 0, "complaint.received", "epeople" if channel in ("web", "email") else "desk", data
    at = _minutes(chance, 10, 70)
    staff = {"department": department, "officer": officer, "approver": f"head-{chance.randrange(60):04}"}
    yield at, "complaint.assigned", "documents", staff
    if chance.random() < 0.15:
        yield at + 5 * MINUTE, "complaint.classified", "documents", {"class": chance.choice(("simple", "ordinary"))}
    at += _minutes(chance, 20, 150)
    yield at, "complaint.procedure_explained", "documents", {"by": chance.choice(("phone", "email"))}
    if kind in ("suggestion", "service_grievance"):
        promised = {"by": "phone", "expected": "2026-07-31"}
        yield at + MINUTE, "complaint.reply_date_notified", "documents", promised
    if days >= 7:
        at += _minutes(chance, 60, 900)
        yield at, "complaint.direction_notified", "documents", {"by": "phone"}
    if kind == "statutory" and chance.random() < 1 / 3:
        papers = {"items_ref": _ref(chance, "txt"), "respond_by": "2026-07-31", "dispatched_at": NOW}
        yield at + 10 * MINUTE, "complaint.supplement_requested", "documents", papers
        at += _minutes(chance, 500, 1500)
        yield at, "complaint.supplement_received", "documents", {"arrived_at": NOW}
    answered = int(days * DAY_OF_WORK * min(0.25 + chance.random() * 0.7, 0.95))
    if chance.random() < 1 / 16:
        answered = int(answered * 1.6 + DAY_OF_WORK)
    if days >= 7 and chance.random() < 0.05:
        longer = {"ground": "fact_check", "reason_ref": _ref(chance, "txt"), "amount": 3, "unit": "days"}
        yield max(at, answered - HOUR), "complaint.extended", "documents", longer
        answered += 2 * DAY_OF_WORK
    for round in range(1, int(days) // 5):
        if (progress := round * 5 * DAY_OF_WORK - HOUR) < answered:
            yield progress, "complaint.progress_notified", "documents", {"by": "sms", "expected": "2026-07-31"}
    answered = max(answered, at + 10 * MINUTE)
    if kind == "disclosure":
        yield answered, "disclosure.decided", "documents", {"decision": "open"}
        yield answered + 20 * MINUTE, "disclosure.notified", "documents", {}
        answered += HOUR
        yield answered, "disclosure.disclosed", "documents", {}
    if chance.random() < 0.03:
        yield answered, "complaint.withdrawn", "documents", {}
        return
    yield answered, "complaint.completed", "documents", {"outcome": "answered", "by": officer}
    if chance.random() < 0.01:
        fault = {"ground": "late", "via": "other", "officer": officer, "text_ref": _ref(chance, "txt")}
        yield answered + DAY_OF_WORK, "fault.reported", "call-centre", fault


def _callback(chance: random.Random) -> Iterator[Step]:
    """A note for an absent officer, and the call; one in twelve comes late."""
    officer = f"officer-{chance.randrange(400):04}"
    memo = {"reply_wanted": True, "taken_by": f"officer-{chance.randrange(400):04}", "matter_ref": _ref(chance, "txt")}
    asked = {"via": chance.choice(("phone", "phone", "visit")), "cause": "absent", "memo": memo, "officer": officer}
    yield 0, "callback.requested", "call-centre", asked | {"subject_ref": _ref(chance, "sub"), "has_phone": True}
    after = _minutes(chance, 60, 300) if chance.random() < 1 / 12 else _minutes(chance, 5, 55)
    yield after, "callback.made", "call-centre", {"by": officer, "reached": chance.random() < 0.9}


def _visit(chance: random.Random) -> Iterator[Step]:
    assisted = chance.random() < 0.2
    desk = {"desk": "통합민원창구 3번", "assistance_needed": assisted, "bell": assisted}
    yield 0, "visit.arrived", "kiosk", desk
    if assisted:
        yield _minutes(chance, 2, 12), "visit.officer_came", "desk", {"officer": f"officer-{chance.randrange(400):04}"}
    else:
        yield 2 * MINUTE, "visit.guided", "desk", {"seconds_to_officer": chance.randrange(5, 90)}
    yield 20 * MINUTE, "visit.attended", "desk", {"seconds_to_attention": chance.randrange(2, 14)}


def _call(chance: random.Random) -> Iterator[Step]:
    answered = {"rings": chance.choice((1, 1, 1, 2, 2, 3)), "seconds_to_answer": chance.randrange(2, 12)}
    yield 0, "call.answered", "call-centre", answered | {"department": chance.choice(DEPARTMENTS)}
    if chance.random() < 0.3:
        moved = {"wait_seconds": chance.randrange(1, 15), "to_department": chance.choice(DEPARTMENTS)}
        yield MINUTE, "call.transferred", "call-centre", moved
    ended = {"duration_seconds": chance.randrange(20, 200), "hangup_delay_seconds": chance.randrange(1, 4)}
    yield 3 * MINUTE, "call.ended", "call-centre", ended | {"settled_without_transfer": True}


def _draw(chance: random.Random, weights: dict[str, int]) -> str:
    return chance.choices(tuple(weights), tuple(weights.values()))[0]


def _minutes(chance: random.Random, least: int, most: int) -> int:
    return chance.randrange(least * 60, most * 60) * SECOND


def _ref(chance: random.Random, what: str) -> str:
    return f"{what}_{chance.getrandbits(128):032x}"
