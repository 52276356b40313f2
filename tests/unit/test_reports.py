"""The yearly report of a small city, counted by hand."""

import json
from typing import Any

import msgspec
import pytest
from stories import SEOUL, at

from services.cli.reports import _Gathered, from_lines
from services.rules import instants
from services.rules.facts import Fact
from services.rules.reporting.amends import AmendsBook
from services.rules.reporting.desks import Desks
from services.rules.reporting.known import Known, Settled, TakenBack
from services.rules.reporting.report import Amends, Handling, Line, Report, Tally
from services.rules.state import Case, Finding

STAFF = {"k-1": "민원과", "k-2": "세무과"}


class City:
    """Events of Seoul as lines, in the order in which they are stated. Times are Korean, of 2026."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def states(self, type: str, when: str, case: str, recorded: str = "", **data: Any) -> str:
        """One event; returns its id."""
        id = f"e{len(self.lines) + 1}"
        body = {
            "specversion": "1.0",
            "id": id,
            "source": "desk",
            "type": type,
            "subject": case,
            "time": f"2026-{when.replace(' ', 'T')}:00+09:00",
            "tenant": "seoul",
            "data": {name.rstrip("_"): value for name, value in data.items()},
        }
        if recorded:
            body["recordedtime"] = f"2026-{recorded.replace(' ', 'T')}:00+09:00"
        self.lines.append(json.dumps(body).encode())
        return id

    def rings(self, case: str, when: str, called: str = "", officer: str = "k-1", recorded: str = "") -> None:
        """Somebody rings in vain, and is called back or not."""
        memo = {"reply_wanted": True, "taken_by": "k-9"}
        self.states("callback.requested", when, case, via="phone", memo=memo, officer=officer)
        if called:
            self.states("callback.made", called, case, recorded, by=officer, reached=True)

    def report(self, as_of: str = "12-31 18:00", year: int = 2026) -> Report:
        """What is known then."""
        return from_lines(self.lines, "seoul", year, at(as_of))


def line_of(report: Report, promise: str) -> Line:
    """The line of a promise."""
    return next(line for line in report.lines if line.promise == promise)


@pytest.fixture
def city() -> City:
    """A city with two departments, before anything has happened."""
    city = City()
    for staff, department in STAFF.items():
        city.states("staff.described", "01-02 09:00", "seoul", staff=staff, department=department)
    return city


def test_a_run_is_counted_in_the_month_in_which_it_was_due(city: City) -> None:
    city.rings("t1", "02-27 10:00", "02-27 10:30")  # a Friday: due 11:00
    city.rings("t2", "02-27 17:30", "03-03 09:20")  # due on Tuesday 3 March 09:30, the Monday being a day off
    city.rings("t3", "03-04 10:00", "03-04 11:01")  # a minute late
    city.rings("t4", "12-31 17:30")  # its hour ends next year
    line = line_of(city.report(), "seoul-phone-callback")
    assert line.months[1] == Tally(kept=1)
    assert line.months[2] == Tally(kept=1, broken=1)
    assert line.year == Tally(kept=2, broken=1)
    assert line.judged
    assert line_of(city.report("12-31 18:00", 2027), "seoul-phone-callback").year == Tally(open=1)


def test_midnight_ends_the_day_before(city: City) -> None:
    """14 days from Friday the 11th: due on Thursday 31 December at 24:00, the 25th being a day off."""
    city.states("complaint.received", "12-11 10:00", "c1", kind="inquiry_law", channel="visit")
    found = line_of(city.report("12-31 18:00"), "seoul-statutory-period")
    due = [month for month, tally in enumerate(found.months, 1) if tally.open]
    assert due == [12]
    assert line_of(from_lines(city.lines, "seoul", 2026, at("2027-01-02 00:00")), found.promise).months[11].all == 1


def test_what_came_late_is_not_known_before(city: City) -> None:
    """The call was made in time and reported two days later: broken until then, then a breach that was none."""
    city.rings("t1", "03-04 10:00", "03-04 10:20", recorded="03-06 09:00")
    before, after = (line_of(city.report(when), "seoul-phone-callback") for when in ("03-06 08:59", "03-06 09:00"))
    assert (before.year, before.retracted) == (Tally(broken=1), 0)
    assert (after.year, after.retracted) == (Tally(kept=1), 1)


def test_the_same_instant_gives_the_same_bytes(city: City) -> None:
    city.rings("t1", "03-04 10:00", "03-04 10:20")
    first = msgspec.json.encode(city.report("03-05 09:00"))
    city.rings("t2", "03-06 10:00")
    assert msgspec.json.encode(city.report("03-05 09:00")) == first
    assert msgspec.json.encode(city.report("03-06 12:00")) != first


def test_departments_are_those_of_the_time(city: City) -> None:
    """Six calls in each department; k-1 then moves to the other one, and with it what is asked from then on."""
    for number in range(6):
        city.rings(f"a{number}", f"03-0{number % 2 + 4} 1{number}:00", f"03-0{number % 2 + 4} 1{number}:30")
        city.rings(f"b{number}", "03-04 10:00", officer="k-2")
    city.states("staff.described", "04-01 09:00", "seoul", staff="k-1", department="세무과")
    for number in range(5):
        city.rings(f"c{number}", "04-02 10:00", "04-02 10:30")
    places = {place.department: place for place in line_of(city.report(), "seoul-phone-callback").places}
    assert places["민원과"].year == Tally(kept=6)
    assert places["세무과"].year == Tally(kept=5, broken=6)
    assert places["세무과"].months[2:4] == (Tally(broken=6), Tally(kept=5))


def test_a_department_with_few_cases_is_not_told(city: City) -> None:
    for number in range(8):
        city.rings(f"a{number}", "03-04 10:00", "03-04 10:30")
    city.rings("b1", "03-04 10:00", officer="k-2")
    line = line_of(city.report(), "seoul-phone-callback")
    assert line.year == Tally(kept=8, broken=1)
    assert line.places == ()


def test_what_is_owed_and_for_how_long_petitions_take(city: City) -> None:
    """A petition of three working hours is answered a day late, and one in time."""
    for case, answered in (("c1", "03-05 10:00"), ("c2", "03-04 11:00")):
        city.states("complaint.received", "03-04 10:00", case, kind="other", channel="visit")
        city.states("complaint.assigned", "03-04 10:05", case, department="민원과", officer="k-1")
        city.states("complaint.completed", answered, case, outcome="answered", by="k-1")
    report = city.report()
    assert line_of(report, "seoul-statutory-period").year == Tally(kept=1, broken=1)
    assert report.compensation.year == Amends(proposed=1, owed=5000)
    assert report.compensation.months[2] == Amends(proposed=1, owed=5000)
    assert [(row.name, row.amends.owed) for row in report.compensation.promises] == [("seoul-statutory-period", 5000)]
    assert report.times.year == Handling("", 2, (24 * 60 + 60) // 2)
    assert report.times.kinds == (Handling("other", 2, 750),)


def test_what_was_measured_without_a_limit_is_told_as_numbers(city: City) -> None:
    for number, seconds in enumerate((3, 9, 1, 40)):
        city.states("call.answered", "03-04 10:00", f"t{number}", rings=1, department="민원과")
        city.states("call.transferred", "03-04 10:01", f"t{number}", wait_seconds=seconds, to_department="세무과")
        city.states(
            "call.ended", "03-04 10:05", f"t{number}", duration_seconds=60, settled_without_transfer=number == 0
        )
    waits = line_of(city.report(), "seoul-phone-connect").values
    assert waits is not None
    assert (waits.count, waits.middle, waits.ninth) == (4, 3, 40)
    share = line_of(city.report(), "seoul-phone-one-call").values
    assert share is not None
    assert (share.count, share.yes) == (4, 1)


def answered(city: City, case: str, when: str, department: str, satisfaction: int, **more: int) -> None:
    """A petition is filed, answered and judged by its petitioner."""
    city.states("complaint.received", f"{when} 10:00", case, kind="other", channel="visit")
    city.states("complaint.assigned", f"{when} 10:05", case, department=department, officer="k-1")
    city.states("complaint.completed", f"{when} 11:00", case, outcome="answered", by="k-1")
    city.states("survey.answered", f"{when} 12:00", case, satisfaction=satisfaction, **more)


def test_answers_are_told_of_ten_or_more(city: City) -> None:
    for number in range(9):
        answered(city, f"c{number}", "03-04", "민원과", 5)
    survey = city.report().survey
    assert (survey.closed, survey.answered) == (9, 9)
    assert survey.questions[0].year.scores is None
    answered(city, "c9", "03-04", "민원과", 1, kindness=4)
    satisfaction, kindness = city.report().survey.questions
    assert satisfaction.year.scores == (1, 0, 0, 0, 9)
    assert satisfaction.year.hundredths == 460
    assert satisfaction.months[2].scores == (1, 0, 0, 0, 9)
    assert kindness.question == "kindness"
    assert kindness.year.scores is None


def test_a_month_with_few_answers_takes_another_with_it(city: City) -> None:
    for number in range(11):
        answered(city, f"a{number}", "03-04", "민원과", 5)
        answered(city, f"b{number}", "04-02", "세무과", 4)
        answered(city, f"d{number}", "05-07", "세무과", 4)
    answered(city, "e1", "06-04", "복지과", 1)
    question = city.report().survey.questions[0]
    assert question.year.scores == (1, 0, 0, 22, 11)
    told = [int(month.name) for month in question.months if month.scores is not None and month.count]
    assert told == [4, 5]
    assert {place.name: place.scores for place in question.departments} == {
        "세무과": (0, 0, 0, 22, 0),
        "*": (1, 0, 0, 0, 11),
    }


def test_an_answer_that_is_taken_back_is_none(city: City) -> None:
    for number in range(11):
        answered(city, f"c{number}", "03-04", "민원과", 5)
    city.states("fact.voided", "03-05 09:00", "c10", source="desk", id=f"e{len(city.lines)}", code="other")
    survey = city.report().survey
    assert survey.answered == 10
    assert survey.questions[0].year.scores == (0, 0, 0, 0, 10)


def test_the_response_rate_is_one_voice_for_each_petition_by_its_closing(city: City) -> None:
    """Of one the answer is known later than its closing month; twice answered for is once; and one never was."""
    for number in range(10):
        answered(city, f"c{number}", "03-04", "민원과", 2)
    city.states("survey.answered", "03-06 12:00", "c9", satisfaction=5)
    city.states("complaint.received", "04-02 10:00", "silent", kind="other", channel="visit")
    city.states("complaint.completed", "04-02 11:00", "silent", outcome="answered", by="k-1")
    city.states("complaint.received", "11-30 10:00", "late", kind="other", channel="visit")
    city.states("complaint.completed", "11-30 11:00", "late", outcome="answered", by="k-1")
    city.states("survey.answered", "12-04 10:00", "late", satisfaction=1)
    survey = city.report().survey
    assert (survey.closed, survey.answered) == (12, 11)
    assert [pair for pair in survey.months if pair[0]] == [(10, 10), (1, 0), (1, 1)]
    assert survey.questions[0].year.scores == (1, 9, 0, 0, 1)


def test_the_duties_of_a_year(city: City) -> None:
    city.states("complaint.received", "03-04 10:00", "c1", kind="other", channel="visit")
    (survey,) = city.report("06-01 10:00").duties
    assert (survey.promise, survey.wants, survey.state) == ("seoul-survey", ("survey.conducted",), "open")
    assert survey.due == at("2027-01-01 00:00")
    city.states("survey.conducted", "10-05 10:00", "seoul", where=[], year=2026)
    (survey,) = city.report().duties
    assert (survey.state, survey.met_at) == ("met", at("10-05 10:00"))
    (next_year,) = city.report(year=2027).duties
    assert (next_year.state, next_year.due) == ("planned", at("2028-01-01 00:00"))


def proposed(key: str, amount: int | None, month: int = 3) -> Case:
    """A case that is owed something since the middle of a month."""
    incident, at_ = f"seoul-statutory-period:{key}", at(f"0{month}-15 14:00")
    finding = Finding(
        "remedy.proposed", key, at_, "seoul-statutory-period", key, at_, "seoul-remedy-money", incident, amount
    )
    fact = Fact(1, "desk", "e1", "complaint.received", at(f"0{month}-10 10:00"))
    return Case("seoul", key, (fact,), findings=(finding,))


def test_what_notices_tell_of_covering_is_what_the_ledger_keeps_of_it() -> None:
    """Covered; told apart by somebody, which is the first that anybody did with it; or owed again by itself."""
    first, later = at("04-02 10:00"), at("04-03 10:00")

    def after(*events: dict[str, Any]) -> dict[str, Settled]:
        gathered = _Gathered("seoul", at("12-31 18:00"))
        for number, event in enumerate(events):
            data = {"key": "k", "remedy": "r", **event["data"]}
            gathered.noticed({"type": event["type"], "data": data}, later if number else first)
        return dict(gathered.known().settled)

    covered: dict[str, Any] = {"type": "remedy.covered", "data": {"covered_by": "j"}}
    assert after(covered) == {"k": Settled("r", first, covered=True)}
    assert after(covered, {"type": "remedy.separated", "data": {"by": "kim"}}) == {"k": Settled("r", later)}
    assert after(covered, {"type": "remedy.separated", "data": {}}) == {}


def test_what_was_owed_and_paid_adds_up() -> None:
    """Five thousand each: one untouched, one declined, one paid; one whose amount was entered, one that has none yet;
    one that was paid and then withdrawn, of which the citizen keeps what there was; and one that a payment under
    another name covers, which is no second one."""

    def key(case: str) -> str:
        return f"seoul/{case}/seoul-statutory-period:{case}/seoul-remedy-money"

    clause, then = "seoul-remedy-money", at("04-02 10:00")
    known = Known(
        "seoul",
        at("12-31 18:00"),
        settled={
            key("b"): Settled(clause, then, declined=True),
            key("c"): Settled(clause, then, approved=5_000, paid=5_000),
            key("d"): Settled(clause, then, approved=7_000),
            key("f"): Settled(clause, then, approved=5_000, paid=5_000),
            key("g"): Settled(clause, then, covered=True),
        },
        taken_back=(TakenBack("remedy.withdrawn", "seoul-statutory-period", at("03-15 14:00")),),
    )
    book = AmendsBook(known, lambda moment: instants.local(moment, SEOUL).month)
    cases = (
        proposed("a", 5_000),
        proposed("b", 5_000),
        proposed("c", 5_000),
        proposed("d", None),
        proposed("e", None, 5),
        proposed("g", 5_000),
    )
    for case in cases:
        book.take(case, Desks((), {}))
    found = book.compensation("KRW")
    assert found.year == Amends(proposed=6, declined=1, unsaid=1, owed=22_000, paid=10_000)
    assert found.months[2] == Amends(proposed=4, declined=1, owed=17_000, paid=5_000)
    assert found.months[3] == Amends(proposed=1, owed=5_000, paid=5_000)
    assert found.months[4] == Amends(proposed=1, unsaid=1)
    assert sum((month for month in found.months), Amends()) == found.year
