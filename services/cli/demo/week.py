"""A working week of municipalities, made up but lifelike: what their systems send, when, through which door.

The one rule: the same seed gives the same bytes in the same order. Nothing here reads a clock, and every
name, number and address is invented (000 numbers, .example mail).

Three things keep the outcome of a run independent of how fast it goes: all steps lie on a grid of five
minutes, a case gets at most one new fact in a step, and what happened is never dated after the step that
reports it.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, NamedTuple, TypeVar

from contracts.events import INBOX_TYPES
from services.rules.instants import MINUTE, SECOND, Instant, local, midnight, text
from services.rules.tenants import Tenant

Door = Literal["http", "door", "inbox"]
DOORS: tuple[Door, ...] = ("http", "door", "inbox")
Expect = Literal["accepted", "waiting", "repeated", "refused"]
Data = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message handed to Gihan in the step `at`: the bytes, the door, and what the door should answer.

    `id` is empty where the bytes are too broken to hold one. `why` says what an odd delivery shows.
    """

    at: Instant
    door: Door
    tenant: str
    source: str
    type: str
    id: str
    case: str
    body: bytes
    expect: Expect = "accepted"
    why: str = ""


# Minutes count from Monday 00:00, local time.
DAY = 24 * 60
GRID = 10
SHIFTS = ((9 * 60, 12 * 60), (13 * 60, 18 * 60))
OFFICE_DAY = 8 * 60
WEEK_ENDS = 4 * DAY + 18 * 60

OVERSIZE_BYTES = 70_000
"""More than the 64 KiB that a door takes."""

CHANNELS: Mapping[str, tuple[str, ...]] = {
    "visit": ("desk",),
    "phone": ("call-centre",),
    "post": ("documents",),
    "fax": ("documents",),
    "email": ("epeople",),
    "web": ("web", "epeople"),
}
"""Which systems register what comes in by each channel."""
CHANNEL_WEIGHTS = {"visit": 20, "phone": 12, "post": 8, "fax": 5, "email": 10, "web": 45}
WRITTEN = ("post", "fax", "email", "web")

KIND_WEIGHTS = {
    "statutory": 34,
    "inquiry": 14,
    "inquiry_law": 4,
    "suggestion": 8,
    "grievance": 8,
    "service_grievance": 9,
    "handling_grievance": 4,
    "disclosure": 6,
    "commendation": 3,
    "corruption_report": 2,
    "other": 8,
}
OPINIONS = ("service_grievance", "suggestion")
ALLOWANCE = {
    "inquiry": 3 * OFFICE_DAY,
    "inquiry_law": 3 * OFFICE_DAY,
    "suggestion": 3 * OFFICE_DAY,
    "grievance": 7 * OFFICE_DAY,
    "service_grievance": 3 * OFFICE_DAY,
    "handling_grievance": OFFICE_DAY,
    "disclosure": 6 * OFFICE_DAY,
    "commendation": 2 * OFFICE_DAY,
    "corruption_report": 6 * OFFICE_DAY,
    "other": 180,
}
"""About how long the office takes at most, in office minutes, where no period is set."""
UNIT_MINUTES = {"hours": 60, "days": OFFICE_DAY, "weeks": 5 * OFFICE_DAY, "months": 20 * OFFICE_DAY}


class Service(NamedTuple):
    """A service with a statutory period."""

    name: str
    amount: int
    unit: str

    def fields(self) -> Data:
        """What complaint.received says of the service."""
        return {"service": self.name, "period": {"amount": self.amount, "unit": self.unit}}


SERVICES = (
    Service("주민등록 정정", 3, "hours"),
    Service("인감 변경", 3, "hours"),
    Service("통신판매업 신고", 1, "days"),
    Service("옥외광고물 표시 신고", 2, "days"),
    Service("공장등록증명", 3, "days"),
    Service("건축물대장 기재 변경", 5, "days"),
    Service("식품접객업 신고", 3, "days"),
    Service("도로점용 허가", 7, "days"),
    Service("농지전용 신고", 10, "days"),
    Service("건축 허가", 15, "days"),
    Service("개발행위 허가", 2, "weeks"),
    Service("폐기물처리업 허가", 1, "months"),
)

TITLES: Mapping[str, tuple[str, str]] = {
    "statutory": ("신청서를 냅니다", "An application"),
    "inquiry": ("서류를 어디에서 떼는지 궁금합니다", "Where can I get this certificate?"),
    "inquiry_law": ("조례 제7조의 뜻을 묻습니다", "What does article 7 of the ordinance mean?"),
    "suggestion": ("놀이터에 그늘막을 제안합니다", "Shade for the playground"),
    "grievance": ("골목 가로등이 꺼진 채로 있습니다", "Street lamp out in our lane"),
    "service_grievance": ("창구에서 오래 기다렸습니다", "A long wait at the window"),
    "handling_grievance": ("낸 민원에 아무 소식이 없습니다", "No word about my petition"),
    "disclosure": ("지난해 도로 보수 내역 공개 청구", "Road repairs of last year"),
    "commendation": ("친절한 직원을 칭찬합니다", "Thanks to a kind officer"),
    "corruption_report": ("부당한 요구를 신고합니다", "Report of an improper demand"),
    "other": ("확인 도장을 부탁합니다", "A stamp of confirmation, please"),
}
LETTERS = ("자세한 내용은 첨부와 같습니다. 빠른 처리를 바랍니다.", "Please see to it soon. Thank you.")

FAMILY_SYLLABLES = "김이박최정강조윤장임"
GIVEN_SYLLABLES = "가나다라마바사아자차하솔별달빛"
FOREIGN_NAMES = ("Alex Sample", "Robin Example", "Kim Placeholder", "Sasha Test", "Noor Invented")
DEPARTMENTS = ("민원여권과", "건축과", "교통행정과", "환경위생과")
OFFICERS_EACH = 2
AUDIT = "감사담당관"
"""Where the ladder ends (`messages.audit` of the tenants' file)."""


def week(seed: int, start: date, tenants: Mapping[str, Tenant]) -> list[Delivery]:
    """All deliveries of the five days from Monday `start` on, in order; ties keep the order of the tenants.

    Raises ValueError where `start` is no Monday. The week is thought to be without a public holiday.
    """
    if start.weekday() != 0:
        raise ValueError(f"{start} is no Monday; a week starts on one")
    deliveries: list[Delivery] = []
    for tenant in tenants.values():
        deliveries += _City(seed, start, tenant).week()
    return sorted(deliveries, key=lambda delivery: delivery.at)


def office_after(moment: int, minutes: float) -> int:
    """The minute by which `minutes` of office time have passed since `moment`, rounded up to the grid."""
    day, now = divmod(moment, DAY)
    while True:
        for opens, closes in SHIFTS if day % 7 < 5 else ():
            begin = max(now, opens)
            if begin < closes and minutes <= closes - begin:
                return day * DAY + _up(begin + minutes)
            minutes -= max(closes - begin, 0)
        day, now = day + 1, 0


def _up(minute: float) -> int:
    return -int(-minute // GRID) * GRID


class _Fact(NamedTuple):
    """Something that happens to a case at `happened` and is reported at `delivered` (minutes of the week)."""

    type: str
    data: Data
    happened: int
    delivered: int


ENDINGS = frozenset(
    (
        "complaint.completed",
        "complaint.rejected",
        "complaint.returned",
        "complaint.transferred",
        "complaint.withdrawn",
        "complaint.closed_without_answer",
    )
)
AFTERWARDS = ("fault.", "delay.")
"""What may still be said about a case that has ended."""


class _City:
    """The week of one municipality, with a chance of its own so that cities do not disturb each other."""

    def __init__(self, seed: int, start: date, tenant: Tenant) -> None:
        self.random = random.Random(f"{seed}/{tenant.id}")  # noqa: S311 - chance for a story, not for a secret
        self.tenant = tenant
        self.monday = midnight(start, tenant.zone)
        self.deliveries: list[Delivery] = []
        self.size = self.random.uniform(0.8, 1.3)
        self.officers = [
            (f"officer-{number:02}", department) for number, department in enumerate(DEPARTMENTS * OFFICERS_EACH, 1)
        ]
        self._people = 0
        self._cases = 0
        self._events: dict[str, int] = {}

    def week(self) -> list[Delivery]:
        self._municipality()
        for day in range(5):
            busy = self.size * (1.4 if day == 0 else 1.0)
            for story, usual in (
                (self._complaint, 11),
                (self._call, 5),
                (self._visit, 5),
                (self._callback, 5),
                (self._appointment, 1),
            ):
                for _ in range(round(usual * busy)):
                    story(self._office_moment(day))
            self._complaint(day * DAY + self.random.choice((19, 20, 21, 22)) * 60, channel="web")
        for _ in range(3):
            self._paper_register()
        self._third_extension()
        self._unasked_extension()
        self._taken_back()
        self._reported_late()
        self._out_of_order()
        self._repetitions()
        self._bad_input()
        return self.deliveries

    # --- what the city is made of

    def _municipality(self) -> None:
        """The staff, told before the doors open, and the week's dated matters of the city itself."""
        for place, (officer, department) in enumerate(self.officers):
            told: Data = {
                "staff": officer,
                "name": self._korean_name(),
                "department": department,
                "phone": f"000-0000-{1000 + place}",
                "email": f"{officer}@{self.tenant.id}.example",
                "head": place < len(DEPARTMENTS),
            }
            if place >= len(DEPARTMENTS):
                told["superior"] = self.officers[place % len(DEPARTMENTS)][0]
            self._municipal(8 * 60 + 30, "staff.described", told)
        audit = {"name": "감사담당", "phone": "000-0000-1100", "email": f"audit@{self.tenant.id}.example"}
        self._municipal(8 * 60 + 30, "staff.described", {"staff": "audit", "department": AUDIT, "head": True, **audit})
        self._municipal(
            DAY + 10 * 60,
            "survey.conducted",
            {"where": ["homepage"], "year": local(self.monday, self.tenant.zone).year},
        )
        outage = 2 * DAY + 14 * 60
        self._municipal(
            outage,
            "outage.declared",
            {"system": "documents", "from": self._text(outage), "until": self._text(outage + 60)},
        )

    def _municipal(self, at: int, type: str, data: Data) -> None:
        self._send(at, type, self.tenant.id, data, source=self.tenant.administrator)

    # --- stories

    def _complaint(self, at: int, *, channel: str = "", received: int | None = None) -> None:
        """A complaint from receipt to end, as far as the week reaches; `received` where registered later."""
        kind = self._weighted(KIND_WEIGHTS)
        channel = channel or self._weighted(CHANNEL_WEIGHTS)
        opening = self._petition(kind, channel)
        allowance = ALLOWANCE.get(kind, OFFICE_DAY)
        unit = ""
        if kind == "statutory":
            service = self.random.choice(SERVICES)
            unit = service.unit
            opening |= service.fields()
            allowance = service.amount * UNIT_MINUTES[unit]
            if allowance >= 7 * OFFICE_DAY and self.random.random() < 0.5:
                opening |= {"compound": True, "guardian_wanted": True, "departments": list(DEPARTMENTS[:2])}
        case, owner = self._open(at, "complaint.received", opening, CHANNELS[channel], "c", happened=received)
        officer, department = self.random.choice(self.officers)
        facts = self._handling(at, kind, channel, allowance, officer, department)
        facts += self._incident(office_after(at, allowance * 0.2), unit)
        self._follow(case, owner, at, facts)

    def _petition(self, kind: str, channel: str) -> Data:
        person, english = self._petitioner()
        return {
            "channel": channel,
            "kind": kind,
            "title": TITLES[kind][english],
            "text": LETTERS[english],
            **person,
        }

    def _handling(self, at: int, kind: str, channel: str, allowance: int, officer: str, department: str) -> list[_Fact]:
        """What the office does about a complaint: hand-over, word to the citizen, the end."""
        chance = self.random.random
        person = {"department": department, "officer": officer, "approver": self.officers[0][0]}
        facts = self._owed(at, 60, "complaint.assigned", person)
        if channel in WRITTEN or chance() < 0.3:
            facts += self._owed(at, 180, "complaint.procedure_explained", {"by": self._pick("phone", "email")})
        if kind in OPINIONS:
            expected = self._text(office_after(at, 3 * OFFICE_DAY))
            facts += self._owed(at, 180, "complaint.reply_date_notified", {"expected": expected, "by": "sms"})
            if chance() < 0.5:
                grade = {"class": self._pick("simple", "ordinary", "complex")}
                facts += self._owed(at, 240, "complaint.classified", grade)
        if allowance >= 5 * OFFICE_DAY:
            by = "phone" if chance() < 0.85 else "email"
            facts += self._owed(at, 3 * OFFICE_DAY, "complaint.direction_notified", {"by": by})
            facts += self._owed(at, 3 * OFFICE_DAY, "complaint.progress_notified", {"by": self._pick("sms", "email")})
        return facts + self._ending(at, kind, allowance, officer)

    def _ending(self, at: int, kind: str, allowance: int, officer: str) -> list[_Fact]:
        if kind == "disclosure":
            facts = self._owed(at, allowance, "disclosure.decided", {"decision": self._pick("open", "partly")})
            for after, type in (
                (60, "disclosure.notified"),
                (300, "disclosure.fee_paid"),
                (400, "disclosure.disclosed"),
            ):
                facts += [self._fact(office_after(fact.delivered, after), type, {}) for fact in facts[:1]]
            return facts
        if self.random.random() < 0.08:
            rejection = {
                "law": "민원 처리에 관한 법률",
                "reason": "요건을 갖추지 못하였습니다.",
                "remedies": ["거부처분에 대한 이의신청", "행정심판"],
            }
            return self._owed(at, allowance, "complaint.rejected", rejection)
        outcome = "granted" if kind == "statutory" else self._pick("answered", "answered", "partly")
        facts = self._owed(at, allowance, "complaint.completed", {"outcome": outcome, "by": officer})
        overdue = office_after(at, allowance * 1.05 + 20)
        if not facts or facts[0].delivered > overdue:
            explained = {
                "reason": "현장 확인이 늦어졌습니다.",
                "expected": self._text(overdue + DAY),
                "by_head": self.random.random() < 0.3,
            }
            facts += [self._fact(overdue, "delay.explained", explained)]
        return facts

    def _incident(self, early: int, unit: str) -> list[_Fact]:
        """Now and then a case does not run straight. `unit` is that of its statutory period, or empty."""
        incidents: Mapping[Callable[[int], list[_Fact]], int] = {
            lambda early: []: 76,
            self._supplement: 5,
            self._suspension: 4,
            lambda early: [self._fact(early, "complaint.extended", _extension(unit))]: 6 if unit else 0,
            lambda early: [self._fact(early, "complaint.withdrawn", {})]: 3,
            lambda early: [self._fact(early, "complaint.closed_without_answer", {"ground": "merged"})]: 1,
            self._other_agency: 1,
            self._new_address: 3,
            self._fault: 5,
        }
        return self._weighted(incidents)(early)

    def _supplement(self, early: int) -> list[_Fact]:
        came = office_after(early, 600)
        asked = {
            "items": ["도면 한 부"],
            "respond_by": self._text(early + 5 * DAY),
            "dispatched_at": self._text(early),
        }
        facts = [
            self._fact(early, "complaint.supplement_requested", asked),
            self._fact(came, "complaint.supplement_received", {"arrived_at": self._text(came)}),
        ]
        if self.random.random() < 0.4:
            longer = {"respond_by": self._text(early + 7 * DAY)}
            facts.append(self._fact(office_after(early, 60), "complaint.supplement_extended", longer))
        return facts

    def _suspension(self, early: int) -> list[_Fact]:
        ground = {"ground": self._pick("inspection", "hearing", "representative")}
        return [
            self._fact(early, "complaint.suspended", ground),
            self._fact(office_after(early, 240), "complaint.resumed", ground),
        ]

    def _other_agency(self, early: int) -> list[_Fact]:
        moved = {"to_agency": "다른 기관", "reason": "소관이 아닙니다."}
        return [self._fact(early, "complaint.transferred", moved)]

    def _new_address(self, early: int) -> list[_Fact]:
        return [self._fact(early, "applicant.updated", self._petitioner()[0])]

    def _fault(self, early: int) -> list[_Fact]:
        """The citizen reports a fault; an approver looks into it."""
        ground, via = self._pick(("misguidance", "visit"), ("error", "other"), ("unkind", "phone"))
        officer = self.random.choice(self.officers)[0]
        reported = {"ground": ground, "via": via, "officer": officer, "text": "말이 서로 달랐습니다."}
        found = {"ground": ground, "via": via, "reason": "경위를 확인하였습니다."}
        verdict = self._pick("fault.confirmed", "fault.confirmed", "fault.dismissed")
        return [
            self._fact(early, "fault.reported", reported),
            self._fact(office_after(early, 300), verdict, found),
        ]

    def _paper_register(self) -> None:
        """Complaints taken on paper weeks ago and entered on Monday: their periods end in this week."""
        days_ago = self.random.choice((6, 7, 10, 11, 12, 13))
        self._complaint(9 * 60 + GRID * self.random.randrange(6), channel="post", received=-days_ago * DAY + 11 * 60)

    def _call(self, at: int) -> None:
        officer, department = self.random.choice(self.officers)
        answered = {
            "rings": self._weighted({1: 40, 2: 38, 3: 14, 4: 5, 6: 3}),
            "seconds_to_answer": self.random.randint(2, 25),
            "department": department,
            "officer": officer,
        }
        case, owner = self._open(at, "call.answered", answered, ("call-centre",), "call")
        facts = []
        if self.random.random() < 0.4:
            moved = {
                "wait_seconds": self._weighted({4: 40, 8: 30, 12: 15, 35: 15}),
                "to_department": self._pick(*DEPARTMENTS),
                "line_busy": self.random.random() < 0.5,
            }
            facts.append(self._fact(at + GRID, "call.transferred", moved))
        ended = {
            "duration_seconds": self.random.randint(30, 170),
            "hangup_delay_seconds": self._weighted({1: 10, 2: 50, 3: 40}),
            "settled_without_transfer": not facts,
        }
        facts.append(self._fact(at + 2 * GRID, "call.ended", ended))
        self._follow(case, owner, at, facts)

    def _visit(self, at: int) -> None:
        assisted = self.random.random() < 0.4
        # The ten minutes of assistance need the finer grid.
        at += 5 if assisted else 0
        arrived = {"assistance_needed": assisted, "desk": self._pick("desk-1", "desk-2", "desk-3")}
        if assisted:
            arrived["bell"] = self.random.random() < 0.9
        case, owner = self._open(at, "visit.arrived", arrived, ("kiosk", "desk"), "visit")
        officer, _ = self.random.choice(self.officers)
        facts = []
        if assisted:
            came = at + self._weighted({5: 75, 15: 20, 25: 5})
            facts.append(self._fact(came, "visit.officer_came", {"officer": officer}))
        else:
            seconds = {"seconds_to_officer": self._weighted({20: 40, 45: 40, 90: 15, 240: 5})}
            facts.append(self._fact(at + GRID, "visit.guided", seconds))
            attention = {"seconds_to_attention": self._weighted({5: 70, 9: 20, 20: 10})}
            facts.append(self._fact(at + 2 * GRID, "visit.attended", attention))
        self._follow(case, owner, at, facts)

    def _callback(self, at: int) -> None:
        """An absent officer: a memo, and the call that was promised."""
        via, source = self._pick(("phone", "call-centre"), ("visit", "desk"))
        officer, _ = self.random.choice(self.officers)
        asked = self._memo(via, officer)
        wanted = self.random.random() < 0.2
        if wanted:
            asked["wanted_at"] = self._text(office_after(at, 240))
        case, owner = self._open(at, "callback.requested", asked, (source,), "memo")
        reached = {"by": officer, "reached": self.random.random() < 0.9}
        facts = self._owed(at, 240 if wanted else self._pick(60, 60, 180), "callback.made", reached)
        if wanted and self.random.random() < 0.3:
            another = {"wanted_at": self._text(office_after(at, 480))}
            facts.append(self._fact(office_after(at, 30), "callback.rescheduled", another))
        self._follow(case, owner, at, facts)

    def _memo(self, via: str, officer: str) -> Data:
        return {
            "via": via,
            "memo": {
                "caller": self._korean_name(),
                "phone": self._number("010-0000"),
                "matter": "담당자와 통화를 원합니다.",
                "taken_by": self.officers[-1][0],
                "reply_wanted": self.random.random() < 0.9,
            },
            "officer": officer,
        }

    def _appointment(self, at: int) -> None:
        agreed = office_after(at, self._pick(240, 480, 600))
        officer, _ = self.random.choice(self.officers)
        booked = {"at": self._text(agreed), "officer": officer, "assistance_needed": True}
        case, owner = self._open(at, "appointment.booked", booked, ("web", "desk"), "appt")
        if self.random.random() < 0.15:
            facts = [self._fact(agreed - 120, "appointment.cancelled", {"at": booked["at"], "officer": officer})]
        else:
            waiting = agreed + self._weighted({-10: 70, 5: 30})
            facts = [self._fact(waiting, "visit.staff_waiting", {"officer": officer})]
        self._follow(case, owner, at, facts)

    # --- what only the whole case, or the whole system, can show

    def _third_extension(self) -> None:
        """Two extensions are lawful, the third is not: accepted at the door, refused by the fold."""
        at = 10 * 60 + GRID * self.random.randrange(6)
        extensions: tuple[tuple[int, Data], ...] = (
            (300, {}),
            (700, {"consent": True}),
            (1200, {"consent": True}),
        )
        self._one_day_case(at, extensions)

    def _unasked_extension(self) -> None:
        """A second extension without the citizen's consent."""
        at = DAY + 10 * 60 + GRID * self.random.randrange(6)
        self._one_day_case(at, ((200, {}), (600, {"consent": False})))

    def _one_day_case(self, at: int, extensions: Sequence[tuple[int, Data]]) -> None:
        case, owner = self._statutory(at, Service("통신판매업 신고", 1, "days"))
        facts = [
            self._fact(office_after(at, after), "complaint.extended", _extension("days") | more)
            for after, more in extensions
        ]
        self._follow(case, owner, at, facts)

    def _taken_back(self) -> None:
        """A case completed by a slip of the pen: the fact is voided, the real end comes later."""
        at = DAY + 9 * 60 + GRID * self.random.randrange(12)
        case, owner = self._statutory(at, Service("공장등록증명", 3, "days"))
        done = {"outcome": "granted", "by": self.officers[0][0]}
        slip = self._send(office_after(at, 200), "complaint.completed", case, done, source=owner)
        self._send(
            office_after(at, 260),
            "fact.voided",
            case,
            {"source": owner, "id": slip, "code": "typing_error"},
            source=owner,
        )
        self._send(office_after(at, 900), "complaint.completed", case, done, source=owner)

    def _reported_late(self) -> None:
        """Done in time, told when the deadline had passed: a breach and its retraction."""
        at = 3 * DAY + 9 * 60 + GRID * self.random.randrange(6)
        officer = self.officers[0][0]
        asked = self._memo("phone", officer)
        asked["memo"]["reply_wanted"] = True
        case, owner = self._open(at, "callback.requested", asked, ("call-centre",), "memo")
        made = {"by": officer, "reached": True}
        why = "done in time, told late"
        self._send(at + 300, "callback.made", case, made, source=owner, happened=at + 30, why=why)

    def _out_of_order(self) -> None:
        """The hand-over arrives before the complaint itself, which was held up on its way."""
        at = 2 * DAY + 10 * 60 + GRID * self.random.randrange(6)
        case, owner = self._next_case("c"), self._source("web")
        officer, department = self.officers[1]
        assigned = {"department": department, "officer": officer}
        why = "before its opening"
        self._send(at, "complaint.assigned", case, assigned, source=owner, door="http", expect="waiting", why=why)
        petition = self._petition("inquiry", "web")
        self._send(at + 20, "complaint.received", case, petition, source=owner, happened=at - 30)

    def _repetitions(self) -> None:
        """Lost replies: the same again, at once and later; and an id used twice for different things."""
        end = self.monday + (WEEK_ENDS - 60) * MINUTE
        answered = [d for d in self.deliveries if d.expect == "accepted" and d.door != "inbox" and d.at < end]
        for place, delivery in enumerate(self.random.sample(answered, 8)):
            pause = 0 if place < 3 else 20
            self._again(delivery, pause, delivery.body, "repeated", "sent twice")
        for delivery in self.random.sample(answered, 3):
            content = json.loads(delivery.body)
            content["time"] = self._text((delivery.at - self.monday) // MINUTE - 7)
            self._again(delivery, 30, _bytes(content), "refused", "id used twice")

    def _again(self, first: Delivery, after: int, body: bytes, expect: Expect, why: str) -> None:
        again = replace(first, at=first.at + after * MINUTE, body=body, expect=expect, why=why)
        self.deliveries.append(again)

    def _bad_input(self) -> None:
        """What a door must refuse by itself, through each of the doors."""
        at = DAY + 11 * 60
        source = self._source("web")
        good = self._event(at, "complaint.received", "bad-0000", self._petition("inquiry", "web"), source)
        changes: tuple[tuple[str, Data], ...] = (
            ("missing field", {"data": {key: value for key, value in good["data"].items() if key != "kind"}}),
            ("unknown type", {"type": "complaint.vanished"}),
            ("unknown tenant", {"tenant": "nowhere"}),
            ("oversize", {"data": good["data"] | {"text": "가" * (OVERSIZE_BYTES // 3)}}),
            ("time in the future", {"time": self._text(at + 2 * 60)}),
            ("time without offset", {"time": "2026-04-07T11:00:00"}),
            ("time too long ago", {"time": self._text(at - 60 * DAY)}),
        )
        for place, (why, change) in enumerate(changes):
            bad = good | change | {"id": f"bad-{place}", "subject": f"bad-{place:04}"}
            for door in DOORS[:2]:
                self._refused(at + place * GRID, door, source, bad | {"id": f"bad-{door}-{place}"}, why)
        for door in DOORS:
            self._refused_bytes(
                at, door, source, "complaint.progress_notified", b'{"specversion": "1.0", "id"', "bad JSON"
            )
        stray = self._event(at, "complaint.progress_notified", "bad-0001", {"by": "telepathy"}, source)
        self._refused(at, "inbox", source, stray | {"id": "bad-inbox"}, "unknown value")
        self._strangers(3 * DAY + 11 * 60)

    def _strangers(self, at: int) -> None:
        """A system that may not speak of a case opened by another."""
        owner, stranger = self._source("web"), self._stranger("web")
        case, _ = self._open(at, "complaint.received", self._petition("inquiry", "web"), (owner,), "c")
        done = {"outcome": "answered", "by": self.officers[0][0]}
        for door in DOORS:
            event = self._event(at + GRID, "complaint.completed", case, done, stranger)
            self._refused(at + GRID, door, stranger, event, "another source's case")

    def _refused(self, at: int, door: Door, source: str, event: Data, why: str) -> None:
        self._refused_bytes(at, door, source, event["type"], _bytes(event), why, event["id"])

    def _refused_bytes(self, at: int, door: Door, source: str, type: str, body: bytes, why: str, id: str = "") -> None:
        self.deliveries.append(
            Delivery(
                self.monday + at * MINUTE,
                door,
                self.tenant.id,
                source,
                type,
                id,
                "",
                body,
                expect="refused",
                why=why,
            )
        )

    # --- the parts of a story

    def _statutory(self, at: int, service: Service) -> tuple[str, str]:
        opening = self._petition("statutory", "web") | service.fields()
        return self._open(at, "complaint.received", opening, ("web",), "c")

    def _open(
        self,
        at: int,
        type: str,
        data: Data,
        systems: Sequence[str],
        prefix: str,
        *,
        happened: int | None = None,
        why: str = "",
    ) -> tuple[str, str]:
        """Sends the event that opens a case; returns the case and the source that now owns it."""
        case, owner = self._next_case(prefix), self._source(*systems)
        self._send(at, type, case, data, source=owner, happened=happened, why=why)
        return case, owner

    def _owed(self, at: int, allowance: float, type: str, data: Data) -> list[_Fact]:
        """Something owed within `allowance` office minutes: mostly in time, or late, told late, forgotten."""
        chance = self.random.random()
        if chance < 0.78:
            return [self._fact(office_after(at, allowance * self.random.uniform(0.15, 0.8)), type, data)]
        if chance < 0.90:
            return [self._fact(office_after(at, allowance * self.random.uniform(1.15, 1.7)), type, data)]
        if chance < 0.94:
            happened = office_after(at, allowance * 0.5)
            return [_Fact(type, data, happened, office_after(at, allowance * 1.4))]
        return []

    def _fact(self, at: int, type: str, data: Data) -> _Fact:
        return _Fact(type, data, at, at)

    def _follow(self, case: str, owner: str, opened: int, facts: list[_Fact]) -> None:
        """Sends what follows the opening, one fact a step, up to what ends the case."""
        order = sorted(facts, key=lambda fact: (fact.delivered, fact.happened))
        end = min((fact for fact in order if fact.type in ENDINGS), key=lambda fact: fact.happened, default=None)
        last, report = opened, ""
        for fact in order:
            belated = end is not None and fact is not end and fact.happened >= end.happened
            if belated and not fact.type.startswith(AFTERWARDS):
                continue
            last = max(fact.delivered, last + 5)
            about = {"about": report} if fact.type in ("fault.confirmed", "fault.dismissed") else {}
            speaker = self._speaker(owner)
            id = self._send(last, fact.type, case, fact.data | about, source=speaker, happened=fact.happened)
            report = id if fact.type == "fault.reported" else report

    def _send(
        self,
        at: int,
        type: str,
        case: str,
        data: Data,
        *,
        source: str,
        happened: int | None = None,
        door: Door | None = None,
        expect: Expect = "accepted",
        why: str = "",
    ) -> str:
        """Adds one delivery, unless it falls after the week; returns the event's id."""
        event = self._event(at if happened is None else happened, type, case, data, source)
        if at <= WEEK_ENDS:
            self.deliveries.append(
                Delivery(
                    at=self.monday + at * MINUTE,
                    door=door or self._door(type),
                    tenant=self.tenant.id,
                    source=source,
                    type=type,
                    id=event["id"],
                    case=case,
                    body=_bytes(event),
                    expect=expect,
                    why=why,
                )
            )
        return str(event["id"])

    def _event(self, happened: int, type: str, case: str, data: Data, source: str) -> Data:
        number = self._events[source] = self._events.get(source, 0) + 1
        return {
            "specversion": "1.0",
            "id": f"{source}-{number:05}",
            "source": source,
            "type": type,
            "subject": case,
            # A little before the step that may report it, so that no two happen at one instant by design.
            "time": text(self.monday + happened * MINUTE - self.random.randrange(300) * SECOND, self.tenant.zone),
            "tenant": self.tenant.id,
            "data": data,
        }

    def _text(self, minute: int) -> str:
        """RFC 3339 text of a minute of the week, with the offset of the city's zone."""
        return text(self.monday + minute * MINUTE, self.tenant.zone)

    def _office_moment(self, day: int) -> int:
        opens, closes = self.random.choices(SHIFTS, weights=(3, 5))[0]
        return day * DAY + self.random.randrange(opens, closes - 30, GRID)

    def _door(self, type: str) -> Door:
        doors: tuple[Door, ...] = ("http", "http", "door")
        if type in INBOX_TYPES:
            doors = ("http", "door", "inbox", "inbox", "inbox")
        return self.random.choice(doors)

    def _source(self, *systems: str) -> str:
        known = [system for system in systems if system in self.tenant.sources] or sorted(self.tenant.sources)
        return self.random.choice(known)

    def _speaker(self, owner: str) -> str:
        """Who reports the progress of a case: a back office that is a partner, or the case's own system."""
        partners = [source for source in ("documents", "desk") if source in self.tenant.partners]
        return self.random.choice([owner, *partners])

    def _stranger(self, owner: str) -> str:
        barred = {owner, self.tenant.administrator, *self.tenant.partners}
        return next(source for source in sorted(self.tenant.sources) if source not in barred)

    def _next_case(self, prefix: str) -> str:
        self._cases += 1
        return f"{prefix}-{local(self.monday, self.tenant.zone):%Y%m%d}-{self._cases:04}"

    # --- people, all invented

    def _petitioner(self) -> tuple[Data, bool]:
        """A citizen's details and wishes, and whether they are in English."""
        english = self.random.random() < 0.12
        self._people += 1
        applicant: Data = {
            "name": self.random.choice(FOREIGN_NAMES) if english else self._korean_name(),
            "address": f"{self.tenant.name_ko} 보기로 {self.random.randint(1, 300)}",
            "phone": self._number("000-0000"),
        }
        means = ["none"]
        if self.random.random() < 0.75:
            applicant["mobile"] = self._number("010-0000")
            means += ["sms"] * 4
        if self.random.random() < 0.5:
            applicant["email"] = f"petitioner{self._people:04}@{self.tenant.id}.example"
            means += ["email"] * 4
        wishes = {"notify_by": self.random.choice(means), "language": "en" if english else "ko"}
        return {"applicant": applicant, **wishes}, english

    def _korean_name(self) -> str:
        given = "".join(self.random.choices(GIVEN_SYLLABLES, k=2))
        return self.random.choice(FAMILY_SYLLABLES) + given

    def _number(self, prefix: str) -> str:
        return f"{prefix}-{self.random.randrange(10_000):04}"

    def _pick(self, *choices: T) -> T:
        return self.random.choice(choices)

    def _weighted(self, weights: Mapping[T, int]) -> T:
        return self.random.choices(list(weights), weights=list(weights.values()))[0]


def _bytes(event: Data) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


def _extension(unit: str) -> Data:
    return {"ground": "cooperation", "reason": "관계 기관의 회신을 기다립니다.", "amount": 1, "unit": unit}
