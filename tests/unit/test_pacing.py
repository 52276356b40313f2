"""When messages go: quiet hours, caps, digests and the ladder's hours, on the Korean calendar."""

from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.notifier import pacing
from services.notifier.pacing import Pace, Wait
from services.rules.instants import instant, text
from services.rules.tenants import Messages, Tenant, parse

SEOUL = ZoneInfo("Asia/Seoul")
CITY = Tenant(id="seoul", name_ko="-", name_en="-", zone=SEOUL, calendar="kr", administrator="administration")


def pace(**policy: object) -> Pace:
    city = msgspec.structs.replace(CITY, messages=Messages(**policy))  # type: ignore[arg-type]
    return pacing.of({"seoul": city})["seoul"]


def until(wait: Wait | None) -> str | None:
    return None if wait is None else text(wait.until, SEOUL).removesuffix(":00+09:00")


@pytest.mark.parametrize(
    ("now", "morning"),
    [
        ("2026-03-10T20:59:59+09:00", None),
        ("2026-03-10T21:00:00+09:00", "2026-03-11T08:00"),
        ("2026-03-10T23:59:59+09:00", "2026-03-11T08:00"),
        ("2026-03-11T00:00:00+09:00", "2026-03-11T08:00"),
        ("2026-03-11T07:59:59+09:00", "2026-03-11T08:00"),
        ("2026-03-11T08:00:00+09:00", None),
        ("2026-03-10T12:00:00Z", "2026-03-11T08:00"),
    ],
)
def test_quiet_hours_end_where_the_city_is(now: str, morning: str | None) -> None:
    assert until(pace().for_citizen("progress", instant(now))) == morning
    assert pace().for_citizen("receipt", instant(now)) is None
    assert pace(quiet=None).for_citizen("progress", instant(now)) is None


def test_quiet_hours_may_lie_within_a_day() -> None:
    city = "name_ko: a, name_en: b, zone: Asia/Seoul, calendar: kr, administrator: a"
    siesta = parse(f"x: {{{city}, messages: {{quiet: '12:00-13:30'}}}}".encode())["x"]
    lunch = pacing.of({"x": siesta})["x"]
    assert until(lunch.for_citizen("progress", instant("2026-03-10T12:00:00+09:00"))) == "2026-03-10T13:30"
    assert lunch.for_citizen("progress", instant("2026-03-10T23:00:00+09:00")) is None


@pytest.mark.parametrize(
    ("template", "today", "waits"),
    [("progress", 4, None), ("progress", 5, True), ("home_visit", 9, True), ("breach", 9, None), ("digest", 9, None)],
)
def test_news_beyond_a_days_share_waits_for_the_digest(template: str, today: int, waits: bool | None) -> None:
    wait = pace().for_citizen(template, instant("2026-03-10T10:00:00+09:00"), today)
    assert wait == (Wait(instant("2026-03-11T09:00:00+09:00"), True) if waits else None)


def test_a_digest_goes_at_its_next_hour_and_never_now() -> None:
    early, sharp = instant("2026-03-10T08:59:59+09:00"), instant("2026-03-10T09:00:00+09:00")
    assert until(pace(quiet=None).for_citizen("progress", early, 5)) == "2026-03-10T09:00"
    assert until(pace(quiet=None).for_citizen("progress", sharp, 5)) == "2026-03-11T09:00"


@pytest.mark.parametrize(
    ("template", "due", "now", "goes"),
    [
        ("warning", "2026-03-10T18:00:00+09:00", "2026-03-10T10:00:00+09:00", None),
        ("warning", "2026-03-11T08:30:00+09:00", "2026-03-10T10:00:00+09:00", None),
        ("warning", "2026-03-11T08:30:01+09:00", "2026-03-10T10:00:00+09:00", "2026-03-11T08:30"),
        ("escalation", "2026-03-10T09:00:00+09:00", "2026-03-10T10:00:00+09:00", "2026-03-11T08:30"),
        # From Friday to Monday, and over the holidays of Chuseok 2026 (24 to 26 September, a Thursday to a Saturday).
        ("escalation", None, "2026-03-13T10:00:00+09:00", "2026-03-16T08:30"),
        ("escalation", None, "2026-09-23T10:00:00+09:00", "2026-09-28T08:30"),
    ],
)
def test_staff_have_a_digest_on_working_days_and_a_warning_that_would_come_too_late_goes_at_once(
    template: str, due: str | None, now: str, goes: str | None
) -> None:
    wait = pace().for_officer(template, None if due is None else instant(due), instant(now))
    assert until(wait) == goes
    assert pace(officers_at=None).for_officer(template, None, instant(now)) is None


def test_the_ladder_climbs_in_working_hours() -> None:
    # Friday 16:00: two hours left, three on Monday morning, three after lunch.
    friday = instant("2026-03-13T16:00:00+09:00")
    assert text(pace().after_working_hours(friday, 8), SEOUL) == "2026-03-16T16:00:00+09:00"


@pytest.mark.parametrize("wrong", ["{quite: '21:00-08:00'}", "{quiet: '21:00'}", "{daily: some}", "{digest_at: noon}"])
def test_a_policy_that_cannot_be_read_is_refused_by_name(wrong: str) -> None:
    file = f"x: {{name_ko: a, name_en: b, zone: Asia/Seoul, calendar: kr, administrator: a, messages: {wrong}}}"
    with pytest.raises(ValueError, match="tenant x, messages: "):
        parse(file.encode())
