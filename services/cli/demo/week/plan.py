"""The plan of the week: how much happens on each day, and which odd things happen once in every city.

The one rule: a city draws from a chance of its own, in the order written here.
"""

from collections.abc import Mapping
from datetime import date

from services.cli.demo.week import oddities
from services.cli.demo.week.city import City
from services.cli.demo.week.complaints import complaint, paper_register
from services.cli.demo.week.contacts import appointment, call, callback, visit
from services.cli.demo.week.delivery import Data, Delivery
from services.cli.demo.week.hours import DAY
from services.rules.instants import local
from services.rules.tenants import Tenant


def week(seed: int, start: date, tenants: Mapping[str, Tenant]) -> list[Delivery]:
    """All deliveries of the five days from Monday `start` on, in order; ties keep the order of the tenants.

    Raises ValueError where `start` is no Monday. The week is thought to be without a public holiday.
    """
    if start.weekday() != 0:
        raise ValueError(f"{start} is no Monday; a week starts on one")
    deliveries: list[Delivery] = []
    for tenant in tenants.values():
        city = City(seed, start, tenant)
        _fill(city)
        deliveries += city.deliveries
    return sorted(deliveries, key=lambda delivery: delivery.at)


def _fill(city: City) -> None:
    _municipality(city)
    for day in range(5):
        busy = city.size * (1.4 if day == 0 else 1.0)
        for story, usual in ((complaint, 11), (call, 5), (visit, 5), (callback, 5), (appointment, 1)):
            for _ in range(round(usual * busy)):
                story(city, city.office_moment(day))
        complaint(city, day * DAY + city.random.choice((19, 20, 21, 22)) * 60, channel="web")
    for _ in range(3):
        paper_register(city)
    oddities.all_of(city)


def _municipality(city: City) -> None:
    """The staff, told before the doors open, and the week's dated matters of the city itself."""

    def told(at: int, type: str, data: Data) -> None:
        city.send(at, type, city.tenant.id, data, source=city.tenant.administrator)

    for row in city.people.staff():
        told(8 * 60 + 30, "staff.described", row)
    year = local(city.monday, city.tenant.zone).year
    told(DAY + 10 * 60, "survey.conducted", {"where": ["homepage"], "year": year})
    outage = 2 * DAY + 14 * 60
    span = {"from": city.text(outage), "until": city.text(outage + 60)}
    told(outage, "outage.declared", {"system": "documents", **span})
