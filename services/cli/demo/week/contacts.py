"""Short contacts: calls, visits, calls that were promised, appointments.

The one rule: each is a case of its own that is over within the day, or the next.
"""

from services.cli.demo.week.city import City
from services.cli.demo.week.delivery import Data
from services.cli.demo.week.hours import GRID, office_after
from services.cli.demo.week.people import DEPARTMENTS


def call(city: City, at: int) -> None:
    """A call that is picked up, sometimes put through, and ends."""
    officer, department = city.officer()
    answered = {
        "rings": city.weighted({1: 40, 2: 38, 3: 14, 4: 5, 6: 3}),
        "seconds_to_answer": city.random.randint(2, 25),
        "department": department,
        "officer": officer,
    }
    case, owner = city.open(at, "call.answered", answered, ("call-centre",), "call")
    facts = []
    if city.random.random() < 0.4:
        moved = {
            "wait_seconds": city.weighted({4: 40, 8: 30, 12: 15, 35: 15}),
            "to_department": city.pick(*DEPARTMENTS),
            "line_busy": city.random.random() < 0.5,
        }
        facts.append(city.fact(at + GRID, "call.transferred", moved))
    ended = {
        "duration_seconds": city.random.randint(30, 170),
        "hangup_delay_seconds": city.weighted({1: 10, 2: 50, 3: 40}),
        "settled_without_transfer": not facts,
    }
    facts.append(city.fact(at + 2 * GRID, "call.ended", ended))
    city.follow(case, owner, at, facts)


def visit(city: City, at: int) -> None:
    """A visitor, guided to a desk, or helped by an officer who comes down."""
    assisted = city.random.random() < 0.4
    # The ten minutes of assistance need the finer grid.
    at += 5 if assisted else 0
    arrived = {"assistance_needed": assisted, "desk": city.pick("desk-1", "desk-2", "desk-3")}
    if assisted:
        arrived["bell"] = city.random.random() < 0.9
    case, owner = city.open(at, "visit.arrived", arrived, ("kiosk", "desk"), "visit")
    officer, _ = city.officer()
    facts = []
    if assisted:
        came = at + city.weighted({5: 75, 15: 20, 25: 5})
        facts.append(city.fact(came, "visit.officer_came", {"officer": officer}))
    else:
        seconds = {"seconds_to_officer": city.weighted({20: 40, 45: 40, 90: 15, 240: 5})}
        facts.append(city.fact(at + GRID, "visit.guided", seconds))
        attention = {"seconds_to_attention": city.weighted({5: 70, 9: 20, 20: 10})}
        facts.append(city.fact(at + 2 * GRID, "visit.attended", attention))
    city.follow(case, owner, at, facts)


def callback(city: City, at: int) -> None:
    """An absent officer: a memo, and the call that was promised."""
    via, source = city.pick(("phone", "call-centre"), ("visit", "desk"))
    officer, _ = city.officer()
    asked = memo(city, via, officer)
    wanted = city.random.random() < 0.2
    if wanted:
        asked["wanted_at"] = city.text(office_after(at, 240))
    case, owner = city.open(at, "callback.requested", asked, (source,), "memo")
    reached = {"by": officer, "reached": city.random.random() < 0.9}
    facts = city.owed(at, 240 if wanted else city.pick(60, 60, 180), "callback.made", reached)
    if wanted and city.random.random() < 0.3:
        another = {"wanted_at": city.text(office_after(at, 480))}
        facts.append(city.fact(office_after(at, 30), "callback.rescheduled", another))
    city.follow(case, owner, at, facts)


def memo(city: City, via: str, officer: str) -> Data:
    """What is written down for an officer who is away."""
    return {
        "via": via,
        "memo": {
            "caller": city.people.korean_name(),
            "phone": city.people.number("010-0000"),
            "matter": "담당자와 통화를 원합니다.",
            "taken_by": city.people.officers[-1][0],
            "reply_wanted": city.random.random() < 0.9,
        },
        "officer": officer,
    }


def appointment(city: City, at: int) -> None:
    """A visit that is agreed on, and kept or called off."""
    agreed = office_after(at, city.pick(240, 480, 600))
    officer, _ = city.officer()
    booked = {"at": city.text(agreed), "officer": officer, "assistance_needed": True}
    case, owner = city.open(at, "appointment.booked", booked, ("web", "desk"), "appt")
    if city.random.random() < 0.15:
        facts = [city.fact(agreed - 120, "appointment.cancelled", {"at": booked["at"], "officer": officer})]
    else:
        waiting = agreed + city.weighted({-10: 70, 5: 30})
        facts = [city.fact(waiting, "visit.staff_waiting", {"officer": officer})]
    city.follow(case, owner, at, facts)
