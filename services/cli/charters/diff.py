"""`gihan charter diff`: what a new version of a charter changes for citizens, in words.

The one rule: it judges nothing but files; every change names the row, and where it can what
held before and what holds now.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from services.cli.charters.spans import compared, in_en, in_ko
from services.rules.charter import Charter, Clause, Condition, Match, Promise, Remedy
from services.rules.counting import Span
from services.rules.policy import Policy

READINGS = Policy.__struct_fields__

KO_LIMITS = {"at_most": "{} 이하", "below": "{} 미만", "at_least": "{} 이상", "": "한도 없음"}
EN_LIMITS = {"at_most": "at most {}", "below": "below {}", "at_least": "at least {}", "": "without a limit"}
TESTS = {"any_of": "is", "none_of": "is not", "at_least": "is at least", "includes": "includes"}


class Change(NamedTuple):
    """What a new version changes for citizens; `says` is the sentence by language.

    `kind` is sooner, later, counted_otherwise, new, gone, means, date, limit, hours, incident (what is owed for once),
    words, amount, occasion or basis (the calendar, the law and how it is read).
    """

    kind: str
    where: str
    says: Mapping[str, str]


def diff(old: Charter, new: Charter) -> list[Change]:
    """What changes for citizens from one version to another: what all counts by, promises, remedies, clauses."""
    law = {row.id for charter in (old, new) if charter.law for row in charter.law.promises}
    found = list(_bases(old, new))
    for name in (name for name in {**old.promises, **new.promises} if name not in law):
        found += _changed(old.promises.get(name), new.promises.get(name))
    before, after = ({remedy.id: remedy for remedy in charter.remedies} for charter in (old, new))
    for name in {**before, **after}:
        was, now = before.get(name), after.get(name)
        if was is None or now is None:
            found.append(_appears("gone" if now is None else "new", name, (now or was).says))  # type: ignore[union-attr]
            continue
        if (was.money, was.amount, was.tariff, old.currency) != (now.money, now.amount, now.tariff, new.currency):
            sums = _sum(was, old.currency), _sum(now, new.currency)
            ko = f"보상: {now.says['ko']} {sums[0][0]}에서 {sums[1][0]}(으)로 바뀝니다."
            found.append(
                Change("amount", name, {"ko": ko, "en": f"{now.says['en']} {sums[1][1]} now, {sums[0][1]} before."})
            )
        if _occasion(was) != _occasion(now):
            ko = f"{now.says['ko']} 주는 경우나 함께 하는 일이 달라집니다."
            en = f"{now.says['en']} When it is given, or what comes with it, changes."
            found.append(Change("occasion", name, {"ko": ko, "en": en}))
    for name in {**old.clauses, **new.clauses}:
        found += _of_clause(old.clauses.get(name), new.clauses.get(name))
    return found


def _of_clause(was: Clause | None, now: Clause | None) -> Iterator[Change]:
    if was is None or now is None:
        shown = now or was
        assert shown is not None
        yield _appears("gone" if now is None else "new", shown.id, shown.says)
    elif msgspec.structs.replace(was, says=now.says, section=now.section) != now:
        ko = f"{now.says['ko']} 해당하는 경우나 그때 하는 일이 달라집니다."
        en = f"{now.says['en']} When it applies, or what is done then, changes."
        yield Change("occasion", now.id, {"ko": ko, "en": en})
    elif was.says != now.says:
        yield _reworded(now.id, was.says, now.says)


def _bases(old: Charter, new: Charter) -> Iterator[Change]:
    """What every promise is counted by: the calendar, the law, and how the law is read."""
    readings = [(name, getattr(old.policy, name), getattr(new.policy, name)) for name in READINGS]
    for what_ko, what_en, was, now in (
        ("달력", "calendar", old.calendar, new.calendar),
        ("법령", "law", old.law.id if old.law else "", new.law.id if new.law else ""),
        *((f"해석 {name}", f"reading {name}", was, now) for name, was, now in readings),
    ):
        if was != now:
            ko = f"{what_ko}: 전에는 {was or '없음'}, 이제는 {now or '없음'}. 모든 기한에 영향을 줄 수 있습니다."
            en = f"The {what_en}: {now or 'none'} now, {was or 'none'} before. It may move every deadline."
            yield Change("basis", "file", {"ko": ko, "en": en})
    for name in {**old.services, **new.services}:
        if old.services.get(name) != new.services.get(name):
            ko, en = f"민원 사무 {name}의 처리기간이 달라집니다.", f"The time for the service {name} changes."
            yield Change("basis", name, {"ko": ko, "en": en})


def _occasion(remedy: Remedy) -> tuple[object, ...]:
    return remedy.triggers, remedy.once_per_promise, remedy.tasks, remedy.repeated, remedy.repeated_tasks


def _reworded(where: str, was: Mapping[str, str], now: Mapping[str, str]) -> Change:
    ko, en = f"말이 바뀝니다: {now['ko']} 전에는: {was['ko']}", f"Said otherwise: {now['en']} Before: {was['en']}"
    return Change("words", where, {"ko": ko, "en": en})


def _changed(was: Promise | None, now: Promise | None) -> Iterator[Change]:
    if was is None or now is None:
        shown = now or was
        assert shown is not None
        yield _appears("gone" if now is None else "new", shown.id, shown.says)
        return
    changes = [*_time_changes(was, now), *_other_changes(was, now)]
    yield from changes
    if not changes and msgspec.structs.replace(was, says=now.says, section=now.section) != now:
        ko = f"{now.says['ko']} 판정하는 방법이나 그때 하는 일이 달라집니다."
        en = f"{now.says['en']} How it is judged, or what is done about it, changes."
        yield Change("occasion", now.id, {"ko": ko, "en": en})
    elif not changes and was.says != now.says:
        yield _reworded(now.id, was.says, now.says)


def _time_changes(was: Promise, now: Promise) -> Iterator[Change]:
    """What changes about how long, or by which date."""
    for name, before, after in _times(was, now):
        kind = compared(before, after)
        class_ko, class_en = (f" ({name})", f" ({name})") if name else ("", "")
        ko = {"sooner": "빨라집니다", "later": "늦어집니다"}.get(kind, "다르게 셉니다")
        en = {"sooner": "Sooner", "later": "Later"}.get(kind, "Counted otherwise")
        says = {
            "ko": f"{ko}{class_ko}: {now.says['ko']} 전에는 {in_ko(before)}, 이제는 {in_ko(after)}.",
            "en": f"{en}{class_en}: {now.says['en']} {in_en(after)} now, {in_en(before)} before.",
        }
        yield Change(kind, now.id, says)
    dates = [" · ".join(f"{row.month:02}-{row.day:02}" for row in promise.yearly) for promise in (was, now)]
    if dates[0] != dates[1]:
        ko = f"{now.says['ko']} 해마다 전에는 {dates[0] or '날짜 없음'}까지, 이제는 {dates[1] or '날짜 없음'}까지."
        en = f"{now.says['en']} Each year by {dates[1] or 'no date'} now, by {dates[0] or 'no date'} before."
        yield Change("date", now.id, {"ko": ko, "en": en})


def _other_changes(was: Promise, now: Promise) -> Iterator[Change]:
    """What changes about what starts and keeps it, the measure, what counts, and what it is one with."""
    if (was.starts, was.until, was.ends) != (now.starts, now.until, now.ends):
        ko, en = (
            f"{now.says['ko']} 시작이나 이행으로 치는 방법이 달라집니다",
            f"{now.says['en']} What starts or keeps it changes",
        )
        gone, more = _means(was) - _means(now), _means(now) - _means(was)
        ko += f" (빠짐: {', '.join(sorted(gone)) or '없음'}; 더함: {', '.join(sorted(more)) or '없음'})."
        en += f" (no longer: {', '.join(sorted(gone)) or 'none'}; new: {', '.join(sorted(more)) or 'none'})."
        yield Change("means", now.id, {"ko": ko, "en": en})
    if was.limit != now.limit:
        ko = f"{now.says['ko']} 전에는 {_limit(was, KO_LIMITS)}, 이제는 {_limit(now, KO_LIMITS)}."
        en = f"{now.says['en']} It is {_limit(now, EN_LIMITS)} now, {_limit(was, EN_LIMITS)} before."
        yield Change("limit", now.id, {"ko": ko, "en": en})
    if (was.hours, was.suspends, was.grace, was.extends) != (now.hours, now.suspends, now.grace, now.extends):
        ko = f"{now.says['ko']} 세는 시간대, 멈춤 또는 연장이 달라집니다."
        en = f"{now.says['en']} The hours in which it counts, its pauses or its extension change."
        yield Change("hours", now.id, {"ko": ko, "en": en})
    if was.same_as != now.same_as:
        ko = f"{now.says['ko']} 같은 것으로 보는 법령의 약속: 전에는 {was.same_as or '없음'}, 이제는"
        en = f"{now.says['en']} One with this promise of the law: {now.same_as or 'none'} now,"
        ko += f" {now.same_as or '없음'}. 하나인 둘을 어기면 보상은 한 번입니다."
        en += f" {was.same_as or 'none'} before. Where two are one, missing both is owed for once."
        yield Change("incident", now.id, {"ko": ko, "en": en})


def _limit(promise: Promise, words: Mapping[str, str]) -> str:
    if promise.limit is None:
        return words[""]
    return words[promise.limit[0]].format(promise.limit[1])


def _times(was: Promise, now: Promise) -> Iterator[tuple[str, Span | None, Span | None]]:
    """(class, span before, span now) wherever they differ; the class is empty for the span of all others."""
    for name in ("", *{**was.within.table, **now.within.table}):
        before = was.within.table.get(name, was.within.span)
        after = now.within.table.get(name, now.within.span)
        if before != after:
            yield name, before, after


def _means(promise: Promise) -> set[str]:
    return {_event(match) for match in (*promise.until, *(start.match for start in promise.starts if start.match))}


def _event(match: Match) -> str:
    """An event in words, such as `complaint.received where kind is inquiry or other`."""
    demands = " and ".join(_demand(row) for row in match.where)
    return f"{match.type} where {demands}" if demands else match.type


def _demand(row: Condition) -> str:
    path = ".".join(row.path)
    if row.test == "present":
        return f"{path} is {'given' if row.values[0] else 'not given'}"
    return f"{path} {TESTS[row.test]} {' or '.join(map(str, row.values))}"


def _appears(kind: str, where: str, says: Mapping[str, str]) -> Change:
    if kind == "new":
        return Change(kind, where, {"ko": f"새 약속: {says['ko']}", "en": f"New: {says['en']}"})
    return Change(kind, where, {"ko": f"없어지는 약속: {says['ko']}", "en": f"No longer promised: {says['en']}"})


def _sum(remedy: Remedy, currency: str) -> tuple[str, str]:
    if not remedy.money:
        return "돈 없음", "no money"
    if remedy.tariff is not None:
        rows = [(row.first, row.sum or row.each, not row.sum) for row in remedy.tariff.rows]
        ko = ", ".join(
            f"{first}일째부터 {'하루 ' if daily else ''}{money:,} {currency}" for first, money, daily in rows
        )
        en = ", ".join(
            f"{money:,} {currency}{' a day' if daily else ''} from day {first}" for first, money, daily in rows
        )
        most = remedy.tariff.at_most
        return (ko, en) if most is None else (f"{ko}, 최고 {most:,} {currency}", f"{en}, at most {most:,} {currency}")
    if remedy.amount is None:
        return "승인자가 정하는 금액", "what an approver decides"
    return (f"{remedy.amount:,} {currency}",) * 2
