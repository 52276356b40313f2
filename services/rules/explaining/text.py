"""The text of an explanation: plain sentences in Korean and English, and the same as JSON.

The one rule: nothing is worked out here. Every number and date is the explanation's own.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from services.rules.counting import HOURS_UP_TO_DAYS, Span
from services.rules.explaining import words
from services.rules.explaining.answer import Answer
from services.rules.explaining.explain import Cause, Explanation, Moved, Named
from services.rules.explaining.measured import Measured
from services.rules.explaining.steps import Measure, Step
from services.rules.explaining.unstarted import Obstacle, Unstarted
from services.rules.explaining.words import Language, Words
from services.rules.instants import HOUR, MINUTE, SECOND, Instant, local, text

INSTANTS = frozenset(
    {
        *("at", "start", "end", "due", "first_due", "met_at", "named", "before", "after", "horizon"),
        *("recorded", "since", "limit", "lapsed"),
    }
)
_DAYS = ("월화수목금토일", ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))


def in_words(one: Answer, language: Language) -> str:
    """The answer as lines of text that a citizen can follow."""
    teller = _Teller(ZoneInfo(one.zone), language)
    if isinstance(one, Explanation):
        lines = _Deadline(teller, one).lines()
    elif isinstance(one, Measured):
        lines = _measured(teller, one)
    else:
        lines = _unstarted(teller, one)
    return "\n".join(lines) + "\n"


def as_json(one: Answer) -> dict[str, Any]:
    """The answer as JSON values: instants as RFC 3339 texts with the offset of the calendar's zone. Absent values are
    left out."""
    found: dict[str, Any] = _plain(msgspec.to_builtins(one), ZoneInfo(one.zone))
    return found


def _plain(value: Any, zone: ZoneInfo) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item, zone) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _instant(item, zone) if name in INSTANTS else _plain(item, zone)
        for name, item in value.items()
        if item is not None and item != ""
    }


def _instant(value: Any, zone: ZoneInfo) -> Any:
    if isinstance(value, list | tuple):
        return [text(item, zone) for item in value]
    return text(value, zone) if isinstance(value, int) else _plain(value, zone)


class _Teller:
    """The smallest parts: dates, amounts, names, in one language."""

    def __init__(self, zone: ZoneInfo, language: Language) -> None:
        self.zone = zone
        self.language = language
        self.korean = language == "ko"

    def say(self, korean: str, english: str) -> str:
        return korean if self.korean else english

    def word(self, of: Words, code: str) -> str:
        return of.get(code, (code, code))[0 if self.korean else 1]

    def head(self, one: Named, owed_by: str) -> Iterator[str]:
        """What is promised, and where it says so."""
        document = one.document[self.language]
        if not one.law:
            document = self.say(f"{document} 서비스헌장", f"the service charter of {document}")
        versions = ", ".join(
            [
                *([one.law] if one.law else []),
                self.say(f"헌장 {one.charter}", f"charter {one.charter}"),
                self.say(f"달력 {one.calendar}", f"calendar {one.calendar}"),
                self.say(f"규칙 {one.rules}", f"rules {one.rules}"),
            ]
        )
        yield f"{self.word(words.OWED, owed_by)}: {one.says[self.language]}"
        where = f"{document}{self.say(' ', ', ') + one.section if one.section else ''} ({versions})"
        yield self.say(f"근거: {where}", f"Where it stands: {where}")

    def when(self, moment: Instant, ends: bool = False, near: Instant | None = None) -> str:
        """A date and time; as an end, midnight is 24:00 of the date before. The year of `near` is not said again."""
        at = local(-(-moment // SECOND) * SECOND if ends else moment, self.zone)
        clock = at.strftime("%H:%M:%S").removesuffix(":00")
        if ends and clock == "00:00":
            at, clock = at - timedelta(days=1), "24:00"
        day = _DAYS[0 if self.korean else 1][at.weekday()]
        year = "" if near is not None and local(near, self.zone).year == at.year else f"{at.year}년 "
        return self.say(f"{year}{at.month}월 {at.day}일({day}) {clock}", f"{day} {at:%Y-%m-%d} {clock}")

    def cause(self, cause: Cause) -> str:
        """What brought something about, with the key of the fact; for a breach, the words of the promise."""
        named = self.word(words.EVENTS, cause.type)
        if cause.says is not None:
            named += self.say(f" ‘{cause.says['ko']}’", f": “{cause.says['en']}”")
        if cause.name:
            named += f" ({cause.name})"
        key = cause.promise or cause.key
        return f"{named} [{key}]" if key else named

    def at(self, cause: Cause) -> str:
        """The same with its time, and with the day on which it became known where that was a later one."""
        known = ""
        if cause.recorded is not None and local(cause.recorded, self.zone).date() > local(cause.at, self.zone).date():
            known = self.say(
                f" ({self.when(cause.recorded, near=cause.at)}에 알려짐)", f" (known {self.when(cause.recorded)})"
            )
        return self.say(
            f"{self.when(cause.at)} {self.cause(cause)}{known}",
            f"{self.when(cause.at)}, when {self.cause(cause)}{known}",
        )

    def span(self, span: Span) -> str:
        unit = self.word(words.UNITS, span.unit)
        return unit.format(span.amount) if self.korean else _some(span.amount, unit)

    def every_day(self, span: Span) -> str:
        """Whether days off count, where a period is in days."""
        if span.unit == "calendar_days":
            return self.say(", 쉬는 날도 셈", ", days off count too")
        if span.unit != "statutory_days":
            return ""
        if span.amount <= HOURS_UP_TO_DAYS:
            return self.say(
                ", 5일 이하이므로 하루를 근무시간 8시간으로 셈", ", five days or fewer: eight working hours a day"
            )
        return self.say(", 쉬는 날은 빼고 셈", ", days off do not count")

    def amount(self, amount: int, measure: Measure) -> str:
        if measure == "dates":
            return self.say(f"{amount}일", _some(amount, "day"))
        if measure == "working_days":
            return self.say(f"{amount}근무일", _some(amount, "working day"))
        seconds = amount % MINUTE / SECOND
        rows = [
            (amount // HOUR, "시간", "hour"),
            (amount % HOUR // MINUTE, "분", "minute"),
            (int(seconds) if seconds == int(seconds) else seconds, "초", "second"),
        ]
        return " ".join(self.say(f"{number}{ko}", _some(number, en)) for number, ko, en in rows if number)

    def steps(self, steps: Sequence[Step], measure: Measure) -> Iterator[str]:
        for step in steps:
            yield f"  {self.stretch(step, steps[0].start)}: {self.counted(step, measure)}"

    def stretch(self, step: Step, near: Instant) -> str:
        """From when to when; the date is not said twice."""
        start = self.when(step.start, near=near)
        if step.end is None:
            return self.say(f"{start}부터", f"from {start}")
        end = self.when(step.end, ends=True, near=near)
        day, _, clock = end.rpartition(" ")
        return f"{start} ~ {clock if start.startswith(day) else end}"

    def counted(self, step: Step, measure: Measure) -> str:
        if step.counted:
            amount = self.amount(step.counted, measure)
            object_mark = "를" if amount.endswith("초") else "을"
            extra = self.say(" (연장분)", " (of the extension)") if step.why == "extension" else ""
            return self.say(f"{amount}{object_mark} 셉니다{extra}", f"{amount} counted{extra}")
        why = self.word(words.SKIPPED, step.why)
        if step.name is not None:
            why = self.say(step.name.ko, step.name.en)
        elif step.why == "suspension":
            ground = self.word(words.GROUNDS, step.ground)
            why = self.say(f"정지({ground})", f"stopped ({ground})")
        return (
            why
            if step.why in ("named", "rolled", "next_working_day")
            else self.say(f"세지 않습니다 - {why}", f"not counted - {why}")
        )

    def state(self, one: Answer, owed_by: str = "office") -> str:
        code = f"{one.state} {owed_by}"
        return self.word(words.STATES, code if code in words.STATES else one.state)


class _Deadline:
    """The lines about one run of a promise."""

    def __init__(self, teller: _Teller, one: Explanation) -> None:
        self.teller = teller
        self.one = one
        self.say = teller.say

    def lines(self) -> Iterator[str]:
        one, teller = self.one, self.teller
        yield from teller.head(one, "duty" if one.kind == "duty" else one.owed_by)
        yield self.start()
        yield from self.period()
        yield from self.suspensions()
        if one.readings:
            read = "; ".join(teller.word(words.READINGS, f"{name}={value}") for name, value in one.readings.items())
            yield self.say(f"법의 해석: {read}", f"As the law is read: {read}")
        if one.steps:
            yield self.say("하나씩 세면:", "Step by step:")
        yield from teller.steps(one.steps, one.measure)
        if one.ahead:
            yield self.say("기한부터 예약 시각까지:", "From the due time to the appointment:")
        yield from teller.steps(one.ahead, "time")
        if one.budget:
            yield self.total()
        yield from (self.move(move) for move in one.moves)
        yield from self.end()

    def start(self) -> str:
        one, teller = self.one, self.teller
        when, cause = teller.when(one.start), one.started_by
        if cause.at == one.start:
            return self.say(f"시작: {when}, {teller.cause(cause)}", f"It began: {when}, when {teller.cause(cause)}")
        return self.say(
            f"시작: {when}, 접수 때부터 셉니다. 이 약속은 {teller.at(cause)} 때 생겼습니다",
            f"It began: {when}, counted from the receipt. It came about {teller.at(cause)}",
        )

    def period(self) -> Iterator[str]:
        one, teller = self.one, self.teller
        set_by: Words = {
            "wanted": ("원하신 시각 {}", "the time you wanted, {}"),
            "day": ("정해 드린 날 {}까지", "the day that was set, until {}"),
            "yearly": ("해마다 정해진 날 {}까지", "a day of every year, until {}"),
            "ahead": ("예약 시각 {}보다 {span} 앞", "{span} before the appointment at {}"),
        }
        if one.named is not None:
            named = one.named if one.basis != "day" or not one.steps else self.named_day()
            span = teller.span(one.span) if one.span else ""
            said = teller.word(set_by, one.basis).format(teller.when(named, ends=one.basis != "wanted"), span=span)
            yield self.say(f"기간: {said}", f"The period: {said}")
        elif one.span is not None:
            whole = Span(one.span.amount * max(one.round, 1), one.span.unit)
            each = teller.span(one.span)
            rounds = (
                self.say(f" ({each}마다, {one.round}번째)", f" (round {one.round}, every {each})") if one.round else ""
            )
            said = f"{teller.span(whole)}{rounds}{teller.every_day(one.span)}"
            yield self.say(f"기간: {said}", f"The period: {said}")
        for row in one.extensions:
            more = teller.span(Span(row.amount, row.unit))
            ground = f" ({teller.word(words.GROUNDS, row.ground)})" if row.ground else ""
            yield self.say(
                f"연장: {more}{ground}, {teller.at(row.cause)}", f"Extended: by {more}{ground}, {teller.at(row.cause)}"
            )

    def named_day(self) -> Instant:
        """The day that was set, before it rolled on."""
        first = self.one.steps[0]
        return first.end if first.why == "named" and first.end is not None else first.start

    def suspensions(self) -> Iterator[str]:
        teller = self.teller
        for row in self.one.suspensions:
            ground = teller.word(words.GROUNDS, row.ground)
            end = self.say(" ~ 아직 끝나지 않음", ", not over yet")
            if row.end is not None:
                end = self.say(" ~ ", " to ") + teller.when(row.end, ends=True)
            by = row.cause.key if row.ended_by is None else f"{row.cause.key}, {row.ended_by.key}"
            days = self.say(", 시작한 날과 끝난 날 모두 뺌", ", both days left out in full") if row.whole_dates else ""
            limit = ""
            if row.end is not None and row.ended_by is None and row.end != self.one.met_at:
                limit = self.say(", 정지할 수 있는 기간이 끝남", ", as long as it may last")
            yield self.say(
                f"정지: {ground}, {teller.when(row.start)}{end}{limit}{days} [{by}]",
                f"Stopped: {ground}, {teller.when(row.start)}{end}{limit}{days} [{by}]",
            )

    def total(self) -> str:
        one, amount = self.one, self.teller.amount
        whole = amount(one.budget, one.measure)
        if not one.remaining:
            return self.say(f"합계: {whole}", f"Counted together: {whole}")
        done = amount(one.budget - one.remaining, one.measure) or self.say("없음", "nothing")
        left = amount(one.remaining, one.measure)
        return self.say(
            f"합계: {whole} 가운데 {done}, 남은 기간 {left}", f"Counted so far: {done} of {whole}; {left} left"
        )

    def move(self, move: Moved) -> str:
        teller = self.teller
        none = self.say("정해지지 않음", "none")
        before = none if move.before is None else teller.when(move.before, ends=True)
        after = none if move.after is None else teller.when(move.after, ends=True)
        cause = self.of_time(move) if move.cause.type == "clock.advanced" else teller.at(move.cause)
        if move.before == move.after:
            return self.say(f"기한이 확정됨: {after}, {cause}", f"The date became certain: {after}, {cause}")
        return self.say(
            f"기한이 바뀜: {before} → {after}, {cause}", f"The date moved: from {before} to {after}, {cause}"
        )

    def of_time(self, move: Moved) -> str:
        """What time alone did: it began a stop that was announced, or ended one at its limit."""
        when = self.teller.when(move.cause.at)
        if move.after is None:
            return self.say(f"{when} 예고된 정지가 시작됨", f"{when}, when a stop that was announced began")
        return self.say(f"{when} 정지할 수 있는 기간이 끝남", f"{when}, when the stop had lasted as long as it may")

    def end(self) -> Iterator[str]:
        one, teller = self.one, self.teller
        due = self.say("멈춘 동안에는 정해지지 않습니다", "none while it stands still")
        if one.due is not None:
            due = teller.when(one.due, ends=True)
        yield self.say(f"기한: {due}", f"Due: {due}")
        if one.first_due is not None and one.first_due != one.due:
            first = teller.when(one.first_due, ends=True)
            yield self.say(f"처음 알려 드린 기한: {first}", f"The date first told: {first}")
        if one.provisional:
            until = teller.when(one.horizon, ends=True)
            yield self.say(
                f"잠정: 달력의 쉬는 날은 {until}까지만 정해져 있어 바뀔 수 있습니다.",
                f"Provisional: days off are known until {until} only; it may move.",
            )
        yield self.say(f"상태: {self.state()}.", f"State: {self.state()}.")

    def state(self) -> str:
        one, teller = self.one, self.teller
        said = teller.state(one, "deemed" if one.deemed else one.owed_by)
        if one.state == "suspended":
            waits = [row for row in one.suspensions if row.end is None]
            until = ", ".join(
                teller.word(words.WAITED_FOR, row.ground if row.ground in words.WAITED_FOR else "") for row in waits
            )
            left = teller.amount(one.remaining, one.measure)
            return said + self.say(f". {until} 남은 {left}을 이어서 셉니다", f"; once {until}, the {left} left go on")
        if one.met_at is None:
            return said
        done = teller.when(one.met_at)
        if one.state == "met":
            return f"{said} ({done})"
        return said + self.say(f" ({done}에야 이루어짐)", f" (done only {done})")


def _measured(teller: _Teller, one: Measured) -> Iterator[str]:
    say = teller.say
    yield from teller.head(one, "office")
    yield say(f"따져 본 일: {teller.at(one.measured)}", f"What was measured: {teller.at(one.measured)}")
    if one.sort == "number":
        yield from _number(teller, one)
    elif one.sort == "time":
        yield from _time(teller, one)
    elif one.sort == "lapses":
        when = ", ".join(teller.when(due, ends=True) for due in one.lapsed)
        passed = f" ({when})" if when else ""
        times = [_some(number or 0, "time") for number in (one.bound, one.value)]
        yield say(
            f"먼저 지나야 하는 기한: {one.other} {one.bound}번, 지난 것은 {one.value}번{passed}",
            f"What had to run out first: {one.other}, {times[0]}; it did {times[1]}{passed}",
        )
    elif one.limit is not None:
        wanted = ", ".join(teller.word(words.EVENTS, type) for type in one.wanted)
        yield say(
            f"{teller.when(one.limit, ends=True)}까지 있어야 하는 것: {wanted}",
            f"By {teller.when(one.limit, ends=True)} it had to be on record that {wanted}",
        )
        if one.noted_by is not None:
            yield say(f"있었던 것: {teller.at(one.noted_by)}", f"It was: {teller.at(one.noted_by)}")
    yield say(f"판정: {teller.state(one)}.", f"Verdict: {teller.state(one)}.")


def _number(teller: _Teller, one: Measured) -> Iterator[str]:
    say, field = teller.say, teller.word(words.FIELDS, one.field)
    yield say(
        f"잰 값: {field} {_value(teller, one, one.value)}", f"The number: {field}, {_value(teller, one, one.value)}"
    )
    if one.test:
        limit = teller.word(words.LIMITS, one.test).format(_value(teller, one, one.bound))
        yield say(f"한도: {limit}", f"The limit: {limit}")


def _value(teller: _Teller, one: Measured, value: int | None) -> str:
    if one.field == "settled_without_transfer":
        return teller.word(words.VALUES, str(bool(value)))
    ko, en = words.COUNTED.get(one.field, ("{}초", "second"))
    return teller.say(ko.format(value), _some(value or 0, en))


def _time(teller: _Teller, one: Measured) -> Iterator[str]:
    say = teller.say
    assert one.since is not None
    since = teller.at(one.since_by) if one.since_by else teller.when(one.since)
    yield say(f"셈을 시작한 때: {since}", f"Measured from: {since}")
    if one.span is None or one.limit is None:
        return
    span, how, limit = teller.span(one.span), teller.every_day(one.span), teller.when(one.limit, ends=True)
    if one.not_before:
        yield say(f"한도: {span}이 지난 {limit} 뒤{how}", f"The limit: not before {span} are over, {limit}{how}")
    else:
        yield say(f"한도: {span} 이내, {limit}까지{how}", f"The limit: within {span}, until {limit}{how}")
    yield say("하나씩 세면:", "Step by step:")
    yield from teller.steps(one.steps, one.measure)


def _unstarted(teller: _Teller, one: Unstarted) -> Iterator[str]:
    yield from teller.head(one, "duty" if one.kind == "duty" else "office")
    if one.kind in words.KINDS:
        yield teller.say("상태: ", "State: ") + f"{_obstacle(teller, one, one.obstacles[0])}."
        return
    when = teller.when(one.at)
    state = teller.state(one)
    yield teller.say(f"상태: {when} 현재 {state}.", f"State: as of {when}, {state}.")
    for obstacle in one.obstacles:
        yield f"  - {_obstacle(teller, one, obstacle)}."


def _obstacle(teller: _Teller, one: Unstarted, obstacle: Obstacle) -> str:
    event = teller.word(words.EVENTS, obstacle.type)
    if obstacle.cause is not None:
        when, cause = teller.when(obstacle.cause.at), teller.cause(obstacle.cause)
        event = teller.say(f"{when} {cause}", f"{cause} {when}")
    wanted = teller.say(" 또는 ", " or ").join(teller.word(words.VALUES, str(value)) for value in obstacle.wanted)
    other = "" if obstacle.says is None else teller.say(f"‘{obstacle.says['ko']}’", f"“{obstacle.says['en']}”")
    tenant = one.charter.partition("@")[0]
    return teller.word(words.OBSTACLES, obstacle.why).format(
        event=event,
        code=teller.word(words.KINDS, obstacle.code),
        field=teller.word(words.FIELDS, obstacle.field),
        wanted=teller.word(words.TESTS, obstacle.test).format(wanted) if obstacle.test else "",
        found=teller.word(words.VALUES, str(obstacle.found)),
        other=f"{other} [{obstacle.other}]",
        home=f"{tenant}/{tenant}",
    )


def _some(number: float, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
