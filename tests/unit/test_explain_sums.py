"""Explanations add up: random cases under random readings of the law, on the calendars of two countries.

The sum is done here a second time, in plain arithmetic. More cases than usual: GIHAN_EXAMPLES=100000; the seed of one
that fails is printed with it.
"""

import json
import os
import random
from collections import Counter
from datetime import timedelta
from functools import cache
from itertools import pairwise, product
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from contracts import files
from services.rules.charter import Charter
from services.rules.charter_files import parse_charter
from services.rules.counting import PLAIN, WALL, WORKING
from services.rules.explaining.course import read
from services.rules.explaining.explain import Explanation, explain
from services.rules.explaining.text import as_json, in_words
from services.rules.facts import Data, Fact, Memo, Period
from services.rules.instants import DAY, HOUR, MINUTE, Instant, instant, local
from services.rules.policy import Policy
from services.rules.rulebook import Library
from services.rules.state import Rules

EXAMPLES = int(os.environ.get("GIHAN_EXAMPLES", "10000"))
SEED = int(os.environ.get("GIHAN_SEED", "20261122"))
SWITCHES: dict[str, tuple[Any, Any]] = {
    "day_end": ("24:00", "18:00"),
    "after_hours_receipt": ("literal", "next_open"),
    "pause_mode": ("day_inclusive", "exact"),
    "objection_count": ("civil", "statutory"),
    "local_holiday_excluded": (True, False),
    "progress_send_by": ("next_working_day", "same_day"),
    "force_majeure": ("suspends", "extends"),
}
COUNTRIES = {
    "kr": ("law: kr", instant("2024-01-01T00:00:00+09:00"), ZoneInfo("Asia/Seoul")),
    "us-ma": ("", instant("2015-01-01T00:00:00-05:00"), ZoneInfo("America/New_York")),
}
SPANS = {
    "seconds": 90_000,
    "minutes": 3_000,
    "calendar_hours": 90,
    "working_minutes": 1_500,
    "working_hours": 30,
    "working_days": 15,
    "statutory_days": 20,
    "calendar_days": 25,
    "weeks": 4,
    "months": 2,
    "calendar_months": 2,
    "years": 1,
}
HEAD = """
tenant: haneul
version: "1"
name: {{ko: 하늘시, en: Haneul}}
in_force: 2015-01-01
calendar: {calendar}
{law}
hours: {{staffed: {{mon-fri: ["09:00-18:00"]}}}}
promises:
"""
PERIOD = """
  - {{id: period, kind: deadline, says: {{ko: 가, en: A}}, start: [{{"on": complaint.received}}],
     within: {{period: true}}, until: [{{"on": complaint.completed}}], suspends: {suspends}, extends: true}}
"""
SPAN = """
  - {{id: {unit}-{amount}, kind: deadline, says: {{ko: 나, en: B}}, start: [{{"on": complaint.received}}],
     within: {{amount: {amount}, unit: {unit}}}, until: [{{"on": complaint.completed}}], suspends: {suspends},
     hours: {hours}}}
"""
ROUND = """
  - {{id: every-{unit}{amount}, kind: recurring, says: {{ko: 다, en: C}}, start: [{{"on": complaint.received}}],
     every: {{amount: {amount}, unit: {unit}}}, until_each: [{{"on": complaint.progress_notified}}]{grace}}}
"""
CALL = """
  - {{id: call, kind: deadline, says: {{ko: 라, en: D}}, start: [{{"on": callback.requested}}], until: [],
     within: {{amount: 3, unit: working_hours, or_at: wanted_at}}}}
  - {{id: ahead, kind: deadline, says: {{ko: 마, en: E}}, start: [{{"on": appointment.booked}}], until: [],
     within: {{before: at, amount: {amount}, unit: {unit}}}}}
"""
FILES = files.read()
LIBRARY = Library(FILES)
LAWS = {"kr": FILES["law/kr.yaml"]}


@cache
def charter_of(country: str, variant: int) -> Charter:
    """A charter with a period, spans, two promises that recur, one to call and one before an appointment."""
    chance = random.Random(f"{SEED}/{country}/{variant}")
    suspends = ["dates", "exact", "none", "dates"]
    text = HEAD.format(calendar=country, law=COUNTRIES[country][0]) + PERIOD.format(suspends=chance.choice(suspends))
    for unit in chance.sample(sorted(SPANS), 3):
        amount, hours = chance.randint(1, SPANS[unit]), chance.choice(["office", "staffed"])
        text += SPAN.format(unit=unit, amount=amount, suspends=chance.choice(suspends), hours=hours)
    unit = chance.choice(["statutory_days", "weeks", "working_days"])
    text += ROUND.format(unit=unit, amount=chance.randint(2, 4) * (1 if unit == "weeks" else 6), grace="")
    text += ROUND.format(unit="calendar_days", amount=chance.randint(10, 30), grace=", grace: next_working_day")
    text += CALL.format(amount=chance.choice([5, 30, 200]), unit=chance.choice(["minutes", "working_minutes"]))
    return parse_charter(text.encode(), LAWS)


def rules_of(country: str, policy: Policy, variant: int) -> Rules:
    charter = msgspec.structs.replace(charter_of(country, variant), policy=policy)
    file = LIBRARY.newest_calendar(country)[1]
    hours = {**file.hours, **charter.hours}
    return Rules(charter, {name: LIBRARY.compiled(file, week) for name, week in hours.items()}, "1")


def moment(chance: random.Random, first: Instant, length: int) -> Instant:
    """An instant, often on the hour or at midnight: where errors by one live."""
    grid = chance.choice([MINUTE, 30 * MINUTE, HOUR, HOUR, DAY])
    return first + chance.randrange(length) // grid * grid


def story(chance: random.Random, first: Instant, zone: ZoneInfo) -> list[Fact]:
    """A petition with what may stop its clock, extend it, or name an instant."""
    start = moment(chance, first, 3 * 365 * DAY)

    def later(most: int = 20) -> Instant:
        return start + moment(chance, 0, most * DAY)

    unit, most = chance.choice([("hours", 30), ("days", 5), ("days", 25), ("weeks", 4), ("months", 2), ("years", 1)])
    data = Data(
        kind=chance.choice(["grievance", "suggestion"]), channel="web", period=Period(chance.randint(1, most), unit)
    )
    facts = [("complaint.received", start, data)]
    for ground in chance.sample(["hearing", "outage", "site_visit", "transport"], chance.choice([0, 0, 1, 1, 2, 3])):
        begin = later()
        facts.append(("complaint.suspended", begin, Data(ground=ground)))
        if chance.random() < 0.8:
            facts.append(("complaint.resumed", begin + moment(chance, 0, 9 * DAY), Data(ground=ground)))
    if chance.random() < 0.3:
        asked = later()
        day = (local(asked, zone) + timedelta(days=chance.randint(0, 12))).date().isoformat()
        facts.append(("complaint.supplement_requested", asked, Data(respond_by=day)))
        facts.append(("complaint.supplement_received", asked + moment(chance, 0, 9 * DAY), Data()))
    for _ in range(chance.choice([0, 0, 1, 2])):
        amount = chance.randint(1, data.period.amount if data.period else 1)
        facts.append(("complaint.extended", later(), Data(amount=amount, unit=unit, ground="fact_check", consent=True)))
    if chance.random() < 0.2:
        wanted = local(later(), zone) if chance.random() < 0.5 else None
        facts.append(("callback.requested", later(), Data(wanted_at=wanted, memo=Memo(reply_wanted=True))))
        facts.append(("appointment.booked", later(), Data(at=local(later(), zone))))
    if chance.random() < 0.2:
        facts.append(("objection.received", later(), Data()))
    if chance.random() < 0.3:
        facts.append(("complaint.completed", later(40), Data()))
    facts.sort(key=lambda row: row[1])
    return [Fact(n, "desk", f"f{n}", type, time, data) for n, (type, time, data) in enumerate(facts, 1)]


def check(one: Explanation) -> None:
    """Gapless from the start to the due instant, and as much counted as was promised."""
    steps = one.steps
    assert all(step.end == following.start for step, following in pairwise(steps))
    if one.due is None:
        assert one.state in ("suspended", "void")
        assert steps[-1].end is None
        assert one.remaining > 0
    elif steps:
        assert (steps[0].start, steps[-1].end, one.remaining) == (one.start, one.due, 0)
    else:
        assert one.due <= one.start
    assert all(step.end is None or step.start < step.end for step in steps)
    counted = sum(step.counted for step in (*steps, *one.ahead))
    assert counted + one.remaining == one.budget
    if one.basis not in ("period", "round") or one.span is None:
        return
    amount = one.span.amount * max(one.round, 1) + sum(row.amount for row in one.extensions)
    lengths = {**PLAIN, **WALL, **WORKING}
    unit = one.span.unit
    if unit in lengths or (unit == "statutory_days" and one.span.amount <= 5 and not one.round):
        assert one.budget == amount * lengths.get(unit, 8 * HOUR)
        assert all(step.counted in (0, (step.end or 0) - step.start) for step in steps if unit not in WALL)
    elif unit in ("calendar_days", "statutory_days", "working_days"):
        assert one.measure in ("dates", "working_days") or unit == "statutory_days"
    elif unit == "weeks":
        assert one.budget == 7 * amount


@pytest.mark.parametrize("country", sorted(COUNTRIES))
def test_every_run_of_a_random_case_adds_up_under_every_reading_of_the_law(country: str) -> None:
    _, first, zone = COUNTRIES[country]
    policies = [Policy(**dict(zip(SWITCHES, values, strict=True))) for values in product(*SWITCHES.values())]
    assert set(SWITCHES) == set(Policy.__struct_fields__)
    seen: Counter[str] = Counter()
    for number in range(EXAMPLES // len(COUNTRIES)):
        seed = f"{SEED}/{country}/{number}"
        chance = random.Random(seed)
        rules = rules_of(country, policies[number % len(policies)], number // len(policies) % 8)
        facts = story(chance, first, zone)
        clock = facts[0].time + moment(chance, 0, 45 * DAY)
        known = tuple(fact for fact in facts if fact.time <= clock)
        reading = read(known, clock, rules)
        found = explain(reading)
        assert {one.key: (one.due, one.state) for one in found} == {
            key: (deadline.due, deadline.state) for key, deadline in reading.standing.deadlines.items()
        }, seed
        for one in found:
            try:
                check(one)
            except AssertionError as error:
                raise AssertionError(f"{seed} {one.promise}") from error
            seen[one.state] += 1
            seen[one.basis] += 1
            seen["extended"] += bool(one.extensions)
            seen["stopped"] += bool(one.suspensions)
            seen.update(f"{name}={value}" for name, value in one.readings.items())
        if found and number % 20 == 0:
            one = chance.choice(found)
            assert in_words(one, "ko")
            assert in_words(one, "en")
            assert json.dumps(as_json(one))
    # Nothing that the cases are for is missing from them.
    wanted = {"open", "suspended", "met", "broken", "period", "round", "wanted", "ahead", "extended", "stopped"}
    assert wanted <= set(seen)
    switches = (
        set(SWITCHES)
        - {"local_holiday_excluded", "force_majeure"}
        - (set() if country == "kr" else {"objection_count"})
    )
    assert {f"{name}={value}" for name in switches for value in SWITCHES[name]} <= set(seen)
