"""Complaints: what they are about, what the office does about them, and what comes in between.

The one rule: each runs from its receipt to its end as far as the week reaches, mostly as it should.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from services.cli.demo.week.city import City, Fact
from services.cli.demo.week.delivery import Data
from services.cli.demo.week.hours import DAY, GRID, OFFICE_DAY, office_after
from services.cli.demo.week.people import DEPARTMENTS

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


def complaint(city: City, at: int, *, channel: str = "", received: int | None = None) -> None:
    """A complaint from receipt to end, as far as the week reaches; `received` where registered later."""
    kind = city.weighted(KIND_WEIGHTS)
    channel = channel or city.weighted(CHANNEL_WEIGHTS)
    opening = petition(city, kind, channel)
    allowance = ALLOWANCE.get(kind, OFFICE_DAY)
    unit = ""
    if kind == "statutory":
        service = city.random.choice(SERVICES)
        unit = service.unit
        opening |= service.fields()
        allowance = service.amount * UNIT_MINUTES[unit]
        if allowance >= 7 * OFFICE_DAY and city.random.random() < 0.5:
            opening |= {"compound": True, "guardian_wanted": True, "departments": list(DEPARTMENTS[:2])}
    case, owner = city.open(at, "complaint.received", opening, CHANNELS[channel], "c", happened=received)
    officer, department = city.officer()
    facts = _handling(city, at, kind, channel, allowance, officer, department)
    facts += _incident(city, office_after(at, allowance * 0.2), unit)
    city.follow(case, owner, at, facts)


def paper_register(city: City) -> None:
    """A complaint taken on paper weeks ago and entered on Monday: its period ends in this week."""
    days_ago = city.random.choice((6, 7, 10, 11, 12, 13))
    entered = 9 * 60 + GRID * city.random.randrange(6)
    complaint(city, entered, channel="post", received=-days_ago * DAY + 11 * 60)


def petition(city: City, kind: str, channel: str) -> Data:
    """What complaint.received says of a petition and of who sends it."""
    person, english = city.people.petitioner()
    return {
        "channel": channel,
        "kind": kind,
        "title": TITLES[kind][english],
        "text": LETTERS[english],
        **person,
    }


def extension(unit: str) -> Data:
    """What complaint.extended says: one more unit of the period."""
    return {"ground": "cooperation", "reason": "관계 기관의 회신을 기다립니다.", "amount": 1, "unit": unit}


# What the office does


def _handling(
    city: City, at: int, kind: str, channel: str, allowance: int, officer: str, department: str
) -> list[Fact]:
    """What the office does about a complaint: hand-over, word to the citizen, the end."""
    chance = city.random.random
    person = {"department": department, "officer": officer, "approver": city.people.officers[0][0]}
    facts = city.owed(at, 60, "complaint.assigned", person)
    if channel in WRITTEN or chance() < 0.3:
        facts += city.owed(at, 180, "complaint.procedure_explained", {"by": city.pick("phone", "email")})
    if kind in OPINIONS:
        expected = city.text(office_after(at, 3 * OFFICE_DAY))
        facts += city.owed(at, 180, "complaint.reply_date_notified", {"expected": expected, "by": "sms"})
        if chance() < 0.5:
            grade = {"class": city.pick("simple", "ordinary", "complex")}
            facts += city.owed(at, 240, "complaint.classified", grade)
    if allowance >= 5 * OFFICE_DAY:
        by = "phone" if chance() < 0.85 else "email"
        facts += city.owed(at, 3 * OFFICE_DAY, "complaint.direction_notified", {"by": by})
        facts += city.owed(at, 3 * OFFICE_DAY, "complaint.progress_notified", {"by": city.pick("sms", "email")})
    return facts + _ending(city, at, kind, allowance, officer)


def _ending(city: City, at: int, kind: str, allowance: int, officer: str) -> list[Fact]:
    if kind == "disclosure":
        return _disclosure(city, at, allowance)
    if city.random.random() < 0.08:
        rejection = {
            "law": "민원 처리에 관한 법률",
            "reason": "요건을 갖추지 못하였습니다.",
            "remedies": ["거부처분에 대한 이의신청", "행정심판"],
        }
        return city.owed(at, allowance, "complaint.rejected", rejection)
    outcome = "granted" if kind == "statutory" else city.pick("answered", "answered", "partly")
    facts = city.owed(at, allowance, "complaint.completed", {"outcome": outcome, "by": officer})
    overdue = office_after(at, allowance * 1.05 + 20)
    if not facts or facts[0].delivered > overdue:
        explained = {
            "reason": "현장 확인이 늦어졌습니다.",
            "expected": city.text(overdue + DAY),
            "by_head": city.random.random() < 0.3,
        }
        facts += [city.fact(overdue, "delay.explained", explained)]
    return facts


def _disclosure(city: City, at: int, allowance: int) -> list[Fact]:
    """The decision, and what follows it where there is one."""
    facts = city.owed(at, allowance, "disclosure.decided", {"decision": city.pick("open", "partly")})
    for after, type in ((60, "disclosure.notified"), (300, "disclosure.fee_paid"), (400, "disclosure.disclosed")):
        facts += [city.fact(office_after(fact.delivered, after), type, {}) for fact in facts[:1]]
    return facts


# What comes in between


def _incident(city: City, early: int, unit: str) -> list[Fact]:
    """Now and then a case does not run straight. `unit` is that of its statutory period, or empty."""
    incidents: Mapping[Callable[[City, int], list[Fact]], int] = {
        lambda city, early: []: 76,
        _supplement: 5,
        _suspension: 4,
        lambda city, early: [city.fact(early, "complaint.extended", extension(unit))]: 6 if unit else 0,
        lambda city, early: [city.fact(early, "complaint.withdrawn", {})]: 3,
        lambda city, early: [city.fact(early, "complaint.closed_without_answer", {"ground": "merged"})]: 1,
        _other_agency: 1,
        _new_address: 3,
        _fault: 5,
    }
    return city.weighted(incidents)(city, early)


def _supplement(city: City, early: int) -> list[Fact]:
    came = office_after(early, 600)
    asked = {
        "items": ["도면 한 부"],
        "respond_by": city.text(early + 5 * DAY),
        "dispatched_at": city.text(early),
    }
    facts = [
        city.fact(early, "complaint.supplement_requested", asked),
        city.fact(came, "complaint.supplement_received", {"arrived_at": city.text(came)}),
    ]
    if city.random.random() < 0.4:
        longer = {"respond_by": city.text(early + 7 * DAY)}
        facts.append(city.fact(office_after(early, 60), "complaint.supplement_extended", longer))
    return facts


def _suspension(city: City, early: int) -> list[Fact]:
    ground = {"ground": city.pick("inspection", "hearing", "representative")}
    return [
        city.fact(early, "complaint.suspended", ground),
        city.fact(office_after(early, 240), "complaint.resumed", ground),
    ]


def _other_agency(city: City, early: int) -> list[Fact]:
    moved = {"to_agency": "다른 기관", "reason": "소관이 아닙니다."}
    return [city.fact(early, "complaint.transferred", moved)]


def _new_address(city: City, early: int) -> list[Fact]:
    return [city.fact(early, "applicant.updated", city.people.petitioner()[0])]


def _fault(city: City, early: int) -> list[Fact]:
    """The citizen reports a fault; an approver looks into it."""
    ground, via = city.pick(("misguidance", "visit"), ("error", "other"), ("unkind", "phone"))
    officer, _ = city.officer()
    reported = {"ground": ground, "via": via, "officer": officer, "text": "말이 서로 달랐습니다."}
    found = {"ground": ground, "via": via, "reason": "경위를 확인하였습니다."}
    verdict = city.pick("fault.confirmed", "fault.confirmed", "fault.dismissed")
    return [
        city.fact(early, "fault.reported", reported),
        city.fact(office_after(early, 300), verdict, found),
    ]
