"""The made-up week of the demo: deterministic, valid where it should be, and odd where it should be."""

import json
from collections import Counter
from datetime import date
from zoneinfo import ZoneInfo

import pytest

from contracts.envelope import Envelope
from contracts.events import FACTS, INBOX_TYPES, OPENING_TYPES
from services.cli.demo.week.delivery import Delivery
from services.cli.demo.week.hours import office_after
from services.cli.demo.week.plan import week
from services.rules.instants import DAY, MINUTE, instant
from services.rules.tenants import Source, Tenant

MONDAY = date(2026, 4, 6)
SYSTEMS = ("call-centre", "kiosk", "web", "documents", "epeople", "desk", "administration")
NORTH, SOUTH = (
    Tenant(
        id=name,
        name_ko="보기시",
        name_en="Example",
        zone=ZoneInfo(zone),
        calendar="kr",
        administrator="administration",
        sources={system: Source() for system in SYSTEMS},
        partners=frozenset(("documents", "desk")),
    )
    for name, zone in (("north", "Asia/Seoul"), ("south", "Asia/Seoul"))
)
TENANTS = {"north": NORTH, "south": SOUTH}


@pytest.fixture(scope="module")
def deliveries() -> list[Delivery]:
    return week(20260406, MONDAY, TENANTS)


def body(delivery: Delivery) -> dict:
    return json.loads(delivery.body)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(deliveries):
    assert week(20260406, MONDAY, TENANTS) == deliveries
    assert week(7, MONDAY, TENANTS) != deliveries


def test_a_city_does_not_change_because_another_one_joins(deliveries):
    alone = week(20260406, MONDAY, {"north": NORTH})
    assert [d for d in deliveries if d.tenant == "north"] == alone


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_should_be_accepted_fits_the_published_contract(seed):
    for delivery in week(seed, MONDAY, TENANTS):
        if delivery.expect != "refused":
            event = body(delivery)
            envelope = Envelope.model_validate(event)
            FACTS[envelope.type].model_validate(envelope.data)
            assert (envelope.id, envelope.tenant, envelope.source, envelope.type) == (
                delivery.id,
                delivery.tenant,
                delivery.source,
                delivery.type,
            )


def test_every_door_and_channel_and_kind_is_used(deliveries):
    assert {d.door for d in deliveries} == {"http", "door", "inbox"}
    received = [body(d)["data"] for d in deliveries if d.type == "complaint.received" and d.expect == "accepted"]
    assert {data["channel"] for data in received} == {"visit", "phone", "post", "fax", "email", "web"}
    kinds = Counter(data["kind"] for data in received)
    assert len(kinds) == 11
    assert kinds["statutory"] > 20
    units = {data["period"]["unit"] for data in received if "period" in data}
    assert {"hours", "days", "weeks"} <= units
    assert {data["notify_by"] for data in received} == {"sms", "email", "none"}
    assert {data["language"] for data in received} == {"ko", "en"}


def test_it_is_a_week_of_a_few_hundred_steps_on_a_grid(deliveries):
    steps = {d.at for d in deliveries}
    assert 200 < len(steps) <= 450
    first, last = instant("2026-04-06T08:30:00+09:00"), instant("2026-04-10T18:00:00+09:00")
    assert min(steps) == first
    assert max(steps) <= last
    assert all((step - first) % (5 * MINUTE) == 0 for step in steps)
    assert [d.at for d in deliveries] == sorted(d.at for d in deliveries)


def test_no_fact_is_dated_after_the_step_that_reports_it(deliveries):
    for delivery in deliveries:
        if delivery.expect != "refused":
            behind = delivery.at - instant(body(delivery)["time"])
            assert 0 <= behind < 30 * DAY


def test_inbox_gets_only_types_without_personal_data(deliveries):
    assert {d.type for d in deliveries if d.door == "inbox"} <= set(INBOX_TYPES)


def test_a_case_gets_at_most_one_new_fact_in_a_step(deliveries):
    new = Counter(
        (d.at, d.tenant, d.case) for d in deliveries if d.expect in ("accepted", "waiting") and d.case not in TENANTS
    )
    assert max(new.values()) == 1


def test_every_case_is_opened_once_and_first_unless_it_says_so(deliveries):
    for tenant in TENANTS:
        opened: set[str] = set()
        for delivery in deliveries:
            if delivery.tenant != tenant or delivery.case == tenant or delivery.expect not in ("accepted", "waiting"):
                continue
            if delivery.type in OPENING_TYPES:
                assert delivery.case not in opened
                opened.add(delivery.case)
            else:
                assert (delivery.case in opened) == (delivery.expect == "accepted")


def test_each_oddity_is_there_in_every_city(deliveries):
    for tenant in TENANTS:
        odd = Counter(d.why for d in deliveries if d.tenant == tenant and d.why)
        assert odd == {
            "done in time, told late": 1,
            "before its opening": 1,
            "sent twice": 8,
            "id used twice": 3,
            "bad JSON": 3,
            "missing field": 2,
            "unknown type": 2,
            "unknown tenant": 2,
            "oversize": 2,
            "time in the future": 2,
            "time without offset": 2,
            "time too long ago": 2,
            "unknown value": 1,
            "another source's case": 3,
        }
        thrice = Counter(d.case for d in deliveries if d.tenant == tenant and d.type == "complaint.extended")
        assert 3 in thrice.values()


def test_an_id_used_twice_has_other_content_and_a_repetition_the_same(deliveries):
    first = {(d.tenant, d.source, d.id): d.body for d in deliveries if d.expect == "accepted"}
    for delivery in deliveries:
        key = (delivery.tenant, delivery.source, delivery.id)
        if delivery.expect == "repeated":
            assert first[key] == delivery.body
        if delivery.why == "id used twice":
            assert first[key] != delivery.body


def test_people_are_invented(deliveries):
    for delivery in deliveries:
        if delivery.type == "complaint.received" and delivery.expect == "accepted":
            applicant = body(delivery)["data"]["applicant"]
            assert applicant["phone"].startswith("000-0000-")
            assert applicant.get("mobile", "010-0000-").startswith("010-0000-")
            assert applicant.get("email", ".example").endswith(".example")


@pytest.mark.parametrize(
    ("moment", "minutes", "expected"),
    [
        (9 * 60, 60, 10 * 60),
        (9 * 60, 55, 10 * 60),  # up to the grid
        (11 * 60 + 50, 20, 13 * 60 + 10),  # over noon
        (17 * 60, 120, 24 * 60 + 10 * 60),  # over night
        (4 * 24 * 60 + 17 * 60, 120, 7 * 24 * 60 + 10 * 60),  # over the week-end
        (20 * 60, 30, 24 * 60 + 9 * 60 + 30),  # from the evening
        (-3 * 24 * 60 + 10 * 60, 60, -3 * 24 * 60 + 11 * 60),  # the Friday before
    ],
)
def test_office_time(moment, minutes, expected):
    assert office_after(moment, minutes) == expected


def test_a_week_starts_on_a_monday():
    with pytest.raises(ValueError, match="no Monday"):
        week(1, date(2026, 4, 7), TENANTS)
