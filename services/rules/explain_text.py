"""The words of an explanation: plain sentences in Korean and English, and the same as JSON.

The one rule: nothing is worked out here. Every number and date is the explanation's own.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from services.rules.counting import HOURS_UP_TO_DAYS, Span
from services.rules.explain import Cause, Explanation
from services.rules.instants import HOUR, MINUTE, SECOND, Instant, local, text
from services.rules.steps import Measure, Step

Language = Literal["ko", "en"]
Words = Mapping[str, tuple[str, str]]
"""Korean and English, by code."""

INSTANTS = frozenset({"at", "start", "end", "due", "first_due", "met_at", "named", "before", "after", "horizon"})

_DAYS = ("월화수목금토일", ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))

_EVENTS: Words = {
    "complaint.received": ("민원 접수", "the petition was received"),
    "complaint.reopened": ("사건 재개", "the case was reopened"),
    "complaint.classified": ("민원 분류", "the petition was classified"),
    "complaint.assigned": ("담당자 지정", "an officer was assigned"),
    "complaint.transferred": ("이송", "the petition was transferred"),
    "complaint.supplement_requested": ("보완 요구", "papers were asked for"),
    "complaint.supplement_received": ("보완 서류 도착", "the papers arrived"),
    "complaint.suspended": ("처리기간 정지", "the period was suspended"),
    "complaint.resumed": ("처리기간 재개", "the period went on"),
    "complaint.extended": ("처리기간 연장", "the period was extended"),
    "complaint.completed": ("처리 완료", "the petition was answered"),
    "callback.requested": ("연락 요청", "a call back was asked for"),
    "callback.rescheduled": ("연락 시각 변경", "another time was agreed for the call"),
    "appointment.booked": ("방문 예약", "an appointment was booked"),
    "guardian.requested": ("후견인 신청", "a guardian was asked for"),
    "visit.arrived": ("방문", "a visitor arrived"),
    "deadline.breached": ("약속 위반", "a promise was broken"),
}
_GROUNDS: Words = {
    "supplement": ("보완 요구", "waiting for papers"),
    "transport": ("서류 송달", "papers on their way"),
    "representative": ("대표자 선정", "choosing a representative"),
    "hearing": ("의견 청취", "a hearing"),
    "inspection": ("검사·감정", "tests and inspections"),
    "preliminary": ("선행 절차", "a procedure that comes first"),
    "outage": ("전산 장애", "a failure of the system"),
    "fee": ("수수료 납부 대기", "waiting for the fee"),
    "force_majeure": ("불가항력", "force majeure"),
    "site_visit": ("현장 조사", "a visit to the site"),
    "shared_documents": ("공동이용 서류 확인", "papers from another office"),
    "preceding_case": ("선행 사건", "a case that comes first"),
}
_SKIPPED: Words = {
    "first_date": ("첫날은 세지 않습니다", "the first date does not count"),
    "outside_hours": ("근무시간이 아닙니다", "outside working hours"),
    "break": ("점심시간입니다", "the lunch break"),
    "weekend": ("주말입니다", "a weekend"),
    "closed": ("근무하지 않는 날입니다", "a day without office hours"),
    "named": ("약속한 시각까지 기다립니다", "until the instant agreed"),
    "rolled": (
        "마지막 날이 쉬는 날이어서 이 근무일이 끝날 때까지입니다",
        "the last date was closed, so it ends with this working day",
    ),
    "next_working_day": (
        "기간이 지난 뒤 첫 근무일이 끝날 때까지입니다",
        "it ends with the first working day after the period",
    ),
}
_UNITS: Words = {
    "seconds": ("초", "second"),
    "minutes": ("분", "minute"),
    "calendar_hours": ("시간", "hour"),
    "working_minutes": ("분(근무시간)", "working minute"),
    "working_hours": ("시간(근무시간)", "working hour"),
    "working_days": ("근무일", "working day"),
    "statutory_days": ("일", "day"),
    "calendar_days": ("일(역일)", "calendar day"),
    "calendar_months": ("개월", "month"),
    "weeks": ("주", "week"),
    "months": ("개월", "month"),
    "years": ("년", "year"),
}
_STATES: Words = {
    "open": ("진행 중입니다", "It is running"),
    "suspended": ("멈춰 있습니다", "It stands still"),
    "met": ("지켰습니다", "It was kept"),
    "broken": ("지키지 못했습니다", "It was broken"),
    "lapsed": ("기한이 지났습니다", "It ran out"),
    "void": ("더는 해당하지 않습니다", "It no longer applies"),
}


def in_words(one: Explanation, language: Language) -> str:
    """The explanation as lines of text that a citizen can follow."""
    return "\n".join(_Teller(ZoneInfo(one.zone), language).lines(one)) + "\n"


def as_json(one: Explanation) -> dict[str, Any]:
    """The explanation as JSON values: instants as RFC 3339 texts with the offset of the calendar's zone. Absent
    values are left out."""
    found: dict[str, Any] = _plain(msgspec.to_builtins(one), ZoneInfo(one.zone))
    return found


def _plain(value: Any, zone: ZoneInfo) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item, zone) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: text(item, zone) if name in INSTANTS and isinstance(item, int) else _plain(item, zone)
        for name, item in value.items()
        if item is not None and item != ""
    }


class _Teller:
    def __init__(self, zone: ZoneInfo, language: Language) -> None:
        self.zone = zone
        self.language = language
        self.korean = language == "ko"

    def say(self, korean: str, english: str) -> str:
        return korean if self.korean else english

    def word(self, words: Words, code: str) -> str:
        return words.get(code, (code, code))[0 if self.korean else 1]

    # -- the parts ------------------------------------------------------------------------------------------------

    def lines(self, one: Explanation) -> Iterator[str]:
        document, says = one.document[self.language], one.says[self.language]
        if one.law:
            document = f"{document} {one.law}"
        else:
            document = self.say(f"{document} 서비스헌장", f"the service charter of {document}")
        rules = self.say(
            f"{one.charter}, 달력 {one.calendar}, 규칙 {one.rules}",
            f"{one.charter}, calendar {one.calendar}, rules {one.rules}",
        )
        yield self.say(f"약속: {says}", f"The promise: {says}")
        yield self.say(
            f"근거: {document} {one.section} ({rules})", f"Where it stands: {document}, {one.section} ({rules})"
        )
        yield self.start(one)
        yield from self.period(one)
        yield from self.suspensions(one)
        if one.steps:
            yield self.say("하나씩 세면:", "Step by step:")
        yield from (f"  {self.step(step, one.measure)}" for step in one.steps)
        if one.ahead:
            yield self.say("기한부터 예약 시각까지:", "From the due time to the appointment:")
            yield from (f"  {self.step(step, 'time')}" for step in one.ahead)
        if one.budget:
            yield self.total(one)
        yield from self.moves(one)
        yield from self.end(one)

    def start(self, one: Explanation) -> str:
        cause, when = one.started_by, self.when(one.start)
        by = self.cause(cause)
        if cause.at == one.start:
            return self.say(f"시작: {when}, {by}", f"It began: {when}, when {by}")
        return self.say(
            f"시작: {when} (접수 때부터 셈), {self.when(cause.at)} {by}",
            f"It began: {when}, counted from the receipt; brought about {self.when(cause.at)}, when {by}",
        )

    def period(self, one: Explanation) -> Iterator[str]:
        if one.ahead and one.span is not None and one.named is not None:
            yield self.say(
                f"기간: 예약 시각 {self.when(one.named)}보다 {self.span(one.span)} 앞",
                f"The period: {self.span(one.span)} before the appointment at {self.when(one.named)}",
            )
        elif one.named is not None:
            yield self.say(
                f"기간: 원하신 시각 {self.when(one.named)}", f"The period: the time you set, {self.when(one.named)}"
            )
        elif one.span is not None:
            whole = Span(one.span.amount * max(one.round, 1), one.span.unit)
            rounds = self.say(
                f" ({one.round}번째: {self.span(one.span)}씩 {one.round}번)",
                f" (round {one.round} of {self.span(one.span)} each)",
            )
            yield (
                self.say("기간: ", "The period: ") + self.span(whole) + (rounds if one.round else "") + self.hours(one)
            )
        for extension in one.extensions:
            more = self.span(Span(extension.amount, extension.unit))
            yield self.say(
                f"연장: {more}, {self.when(extension.cause.at)} {self.cause(extension.cause)}",
                f"Extended: by {more}, {self.when(extension.cause.at)}, when {self.cause(extension.cause)}",
            )

    def hours(self, one: Explanation) -> str:
        span = one.span
        if span is None or span.unit != "statutory_days" or span.amount > HOURS_UP_TO_DAYS:
            return ""
        return self.say(
            ", 5일 이하이므로 하루를 근무시간 8시간으로 셈", ", five days or fewer: eight working hours a day"
        )

    def suspensions(self, one: Explanation) -> Iterator[str]:
        for row in one.suspensions:
            ground = self.word(_GROUNDS, row.ground)
            end = self.say("아직 끝나지 않음", "no end yet") if row.end is None else self.when(row.end)
            by = row.cause.key if row.ended_by is None else f"{row.cause.key}, {row.ended_by.key}"
            days = self.say(", 시작한 날과 끝난 날 모두 뺌", ", both dates out in full") if row.whole_dates else ""
            yield self.say(
                f"정지: {ground}, {self.when(row.start)} ~ {end}{days} [{by}]",
                f"Suspended: {ground}, {self.when(row.start)} to {end}{days} [{by}]",
            )

    def step(self, step: Step, measure: Measure) -> str:
        stretch = self.stretch(step)
        if step.counted:
            amount = self.amount(step.counted, measure)
            object_mark = "를" if amount.endswith("초") else "을"
            extra = self.say(" (연장분)", " (of the extension)") if step.why == "extension" else ""
            return self.say(f"{stretch}: {amount}{object_mark} 셉니다{extra}", f"{stretch}: {amount} counted{extra}")
        return f"{stretch}: {self.skipped(step)}"

    def stretch(self, step: Step) -> str:
        """From when to when; the date is not said twice."""
        start = self.when(step.start)
        if step.end is None:
            return self.say(f"{start}부터", f"{start} on")
        end = self.when(step.end, ends=True)
        day, _, clock = end.rpartition(" ")
        return f"{start} ~ {clock if start.startswith(day) else end}"

    def skipped(self, step: Step) -> str:
        if step.why == "holiday":
            assert step.name is not None
            return self.say(f"세지 않습니다 - {step.name.ko}", f"not counted - {step.name.en}")
        if step.why == "suspension":
            ground = self.word(_GROUNDS, step.ground)
            return self.say(f"세지 않습니다 - 정지({ground})", f"not counted - suspended ({ground})")
        return self.say("세지 않습니다 - ", "not counted - ") + self.word(_SKIPPED, step.why)

    def total(self, one: Explanation) -> str:
        whole = self.amount(one.budget, one.measure)
        if not one.remaining:
            return self.say(f"합계: {whole}", f"Counted together: {whole}")
        done, left = self.amount(one.budget - one.remaining, one.measure), self.amount(one.remaining, one.measure)
        return self.say(
            f"합계: {whole} 가운데 {done}, 남은 기간 {left}", f"Counted so far: {done} of {whole}; {left} left"
        )

    def moves(self, one: Explanation) -> Iterator[str]:
        none = self.say("정해지지 않음", "none")
        for move in one.moves:
            before = none if move.before is None else self.when(move.before, ends=True)
            after = none if move.after is None else self.when(move.after, ends=True)
            yield self.say(
                f"기한이 바뀜: {before} → {after}, {self.when(move.cause.at)} {self.cause(move.cause)}",
                f"The date moved: from {before} to {after}, {self.when(move.cause.at)}, when {self.cause(move.cause)}",
            )

    def end(self, one: Explanation) -> Iterator[str]:
        due = self.say("멈춘 동안에는 정해지지 않습니다", "none while it stands still")
        if one.due is not None:
            due = self.when(one.due, ends=True)
        yield self.say(f"기한: {due}", f"Due: {due}")
        if one.first_due is not None and one.first_due != one.due:
            first = self.when(one.first_due, ends=True)
            yield self.say(f"처음 알려 드린 기한: {first}", f"The date first told: {first}")
        if one.provisional:
            until = self.when(one.horizon, ends=True)
            yield self.say(
                f"잠정: 달력의 쉬는 날은 {until}까지만 정해져 있어 바뀔 수 있습니다.",
                f"Provisional: holidays are known until {until} only; it may move.",
            )
        met = "" if one.met_at is None else f" ({self.when(one.met_at)})"
        yield self.say("상태: ", "State: ") + self.word(_STATES, one.state) + met + "."

    # -- the smallest parts ---------------------------------------------------------------------------------------

    def when(self, moment: Instant, ends: bool = False) -> str:
        """A date and time; as an end, midnight is 24:00 of the date before."""
        at = local(moment, self.zone)
        clock = at.strftime("%H:%M:%S").removesuffix(":00")
        if ends and clock == "00:00":
            at, clock = at - timedelta(days=1), "24:00"
        day = _DAYS[0 if self.korean else 1][at.weekday()]
        return self.say(f"{at.year}년 {at.month}월 {at.day}일({day}) {clock}", f"{day} {at:%Y-%m-%d} {clock}")

    def cause(self, cause: Cause) -> str:
        about = f" [{cause.promise or cause.key}]"
        return self.word(_EVENTS, cause.type) + about

    def span(self, span: Span) -> str:
        unit = self.word(_UNITS, span.unit)
        return f"{span.amount}{unit}" if self.korean else _some(span.amount, unit)

    def amount(self, amount: int, measure: Measure) -> str:
        if measure == "dates":
            return self.say(f"{amount}일", _some(amount, "date"))
        if measure == "working_days":
            return self.say(f"{amount}근무일", _some(amount, "working day"))
        seconds = amount % MINUTE / SECOND
        rows = [
            (amount // HOUR, "시간", "hour"),
            (amount % HOUR // MINUTE, "분", "minute"),
            (int(seconds) if seconds == int(seconds) else seconds, "초", "second"),
        ]
        named = [self.say(f"{number}{ko}", _some(number, en)) for number, ko, en in rows if number]
        return " ".join(named)


def _some(number: float, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
