"""Oddities: what only the whole case, or the whole system, can show, once in every city.

The one rule: a delivery that is odd by itself says in `why` what it shows.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from services.cli.demo.week.city import City, encoded
from services.cli.demo.week.complaints import Service, extension, petition
from services.cli.demo.week.contacts import memo
from services.cli.demo.week.delivery import DOORS, Data, Delivery, Door, Expect
from services.cli.demo.week.hours import DAY, GRID, WEEK_ENDS, office_after
from services.rules.instants import MINUTE

OVERSIZE_BYTES = 70_000
"""More than the 64 KiB that a door takes."""


def all_of(city: City) -> None:
    """Everything odd that a city's week has; repetitions draw on all that was sent before them."""
    _third_extension(city)
    _unasked_extension(city)
    _taken_back(city)
    _reported_late(city)
    _out_of_order(city)
    _repetitions(city)
    _bad_input(city)


# Odd cases


def _third_extension(city: City) -> None:
    """Two extensions are lawful, the third is not: accepted at the door, refused by the fold."""
    at = 10 * 60 + GRID * city.random.randrange(6)
    extensions: tuple[tuple[int, Data], ...] = (
        (300, {}),
        (700, {"consent": True}),
        (1200, {"consent": True}),
    )
    _one_day_case(city, at, extensions)


def _unasked_extension(city: City) -> None:
    """A second extension without the citizen's consent."""
    at = DAY + 10 * 60 + GRID * city.random.randrange(6)
    _one_day_case(city, at, ((200, {}), (600, {"consent": False})))


def _one_day_case(city: City, at: int, extensions: Sequence[tuple[int, Data]]) -> None:
    case, owner = _statutory(city, at, Service("통신판매업 신고", 1, "days"))
    facts = [
        city.fact(office_after(at, after), "complaint.extended", extension("days") | more) for after, more in extensions
    ]
    city.follow(case, owner, at, facts)


def _statutory(city: City, at: int, service: Service) -> tuple[str, str]:
    opening = petition(city, "statutory", "web") | service.fields()
    return city.open(at, "complaint.received", opening, ("web",), "c")


def _taken_back(city: City) -> None:
    """A case completed by a slip of the pen: the fact is voided, the real end comes later."""
    at = DAY + 9 * 60 + GRID * city.random.randrange(12)
    case, owner = _statutory(city, at, Service("공장등록증명", 3, "days"))
    done = {"outcome": "granted", "by": city.people.officers[0][0]}
    slip = city.send(office_after(at, 200), "complaint.completed", case, done, source=owner)
    voided = {"source": owner, "id": slip, "code": "typing_error"}
    city.send(office_after(at, 260), "fact.voided", case, voided, source=owner)
    city.send(office_after(at, 900), "complaint.completed", case, done, source=owner)


def _reported_late(city: City) -> None:
    """Done in time, told when the deadline had passed: a breach and its retraction."""
    at = 3 * DAY + 9 * 60 + GRID * city.random.randrange(6)
    officer = city.people.officers[0][0]
    asked = memo(city, "phone", officer)
    asked["memo"]["reply_wanted"] = True
    case, owner = city.open(at, "callback.requested", asked, ("call-centre",), "memo")
    made = {"by": officer, "reached": True}
    why = "done in time, told late"
    city.send(at + 300, "callback.made", case, made, source=owner, happened=at + 30, why=why)


def _out_of_order(city: City) -> None:
    """The hand-over arrives before the complaint itself, which was held up on its way."""
    at = 2 * DAY + 10 * 60 + GRID * city.random.randrange(6)
    case, owner = city.next_case("c"), city.source("web")
    officer, department = city.people.officers[1]
    assigned = {"department": department, "officer": officer}
    why = "before its opening"
    city.send(at, "complaint.assigned", case, assigned, source=owner, door="http", expect="waiting", why=why)
    opening = petition(city, "inquiry", "web")
    city.send(at + 20, "complaint.received", case, opening, source=owner, happened=at - 30)


# The same again


def _repetitions(city: City) -> None:
    """Lost replies: the same again, at once and later; and an id used twice for different things."""
    end = city.monday + (WEEK_ENDS - 60) * MINUTE
    answered = [d for d in city.deliveries if d.expect == "accepted" and d.door != "inbox" and d.at < end]
    for place, delivery in enumerate(city.random.sample(answered, 8)):
        pause = 0 if place < 3 else 20
        _again(city, delivery, pause, delivery.body, "repeated", "sent twice")
    for delivery in city.random.sample(answered, 3):
        content = json.loads(delivery.body)
        content["time"] = city.text((delivery.at - city.monday) // MINUTE - 7)
        _again(city, delivery, 30, encoded(content), "refused", "id used twice")


def _again(city: City, first: Delivery, after: int, body: bytes, expect: Expect, why: str) -> None:
    again = replace(first, at=first.at + after * MINUTE, body=body, expect=expect, why=why)
    city.deliveries.append(again)


# What a door refuses


def _bad_input(city: City) -> None:
    """What a door must refuse by itself, through each of the doors."""
    at = DAY + 11 * 60
    source = city.source("web")
    good = city.event(at, "complaint.received", "bad-0000", petition(city, "inquiry", "web"), source)
    changes: tuple[tuple[str, Data], ...] = (
        ("missing field", {"data": {key: value for key, value in good["data"].items() if key != "kind"}}),
        ("unknown type", {"type": "complaint.vanished"}),
        ("unknown tenant", {"tenant": "nowhere"}),
        ("oversize", {"data": good["data"] | {"text": "가" * (OVERSIZE_BYTES // 3)}}),
        ("time in the future", {"time": city.text(at + 2 * 60)}),
        ("time without offset", {"time": "2026-04-07T11:00:00"}),
        ("time too long ago", {"time": city.text(at - 60 * DAY)}),
    )
    for place, (why, change) in enumerate(changes):
        bad = good | change | {"id": f"bad-{place}", "subject": f"bad-{place:04}"}
        for door in DOORS[:2]:
            _refused(city, at + place * GRID, door, source, bad | {"id": f"bad-{door}-{place}"}, why)
    for door in DOORS:
        broken = b'{"specversion": "1.0", "id"'
        _refused_bytes(city, at, door, source, "complaint.progress_notified", broken, "bad JSON")
    stray = city.event(at, "complaint.progress_notified", "bad-0001", {"by": "telepathy"}, source)
    _refused(city, at, "inbox", source, stray | {"id": "bad-inbox"}, "unknown value")
    _strangers(city, 3 * DAY + 11 * 60)


def _strangers(city: City, at: int) -> None:
    """A system that may not speak of a case opened by another."""
    owner = city.source("web")
    barred = {"web", city.tenant.administrator, *city.tenant.partners}
    stranger = next(source for source in sorted(city.tenant.sources) if source not in barred)
    case, _ = city.open(at, "complaint.received", petition(city, "inquiry", "web"), (owner,), "c")
    done = {"outcome": "answered", "by": city.people.officers[0][0]}
    for door in DOORS:
        event = city.event(at + GRID, "complaint.completed", case, done, stranger)
        _refused(city, at + GRID, door, stranger, event, "another source's case")


def _refused(city: City, at: int, door: Door, source: str, event: Data, why: str) -> None:
    _refused_bytes(city, at, door, source, event["type"], encoded(event), why, event["id"])


def _refused_bytes(
    city: City, at: int, door: Door, source: str, type: str, body: bytes, why: str, id: str = ""
) -> None:
    delivery = Delivery(
        city.monday + at * MINUTE, door, city.tenant.id, source, type, id, "", body, expect="refused", why=why
    )
    city.deliveries.append(delivery)
