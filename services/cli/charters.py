"""`gihan charter lint` and `gihan charter diff`: what is wrong with a charter, and what a new one changes for citizens.

The one rule: both read files and judge nothing but files; every finding names the row, what is wrong and what to do.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import msgspec
import yaml
from pydantic import BaseModel

from contracts import files
from contracts.events import FACTS, stored_model
from services.notifier.notices import ASKED_FOR, SAID_ANYWAY
from services.rules import calendar as calendars
from services.rules.charter import Charter, Clause, Condition, Match, Promise, Remedy, Start, parse_charter
from services.rules.counting import HOURS_UP_TO_DAYS, Span
from services.rules.policy import Policy

FORMAT = json.loads((files.FOLDER / "formats" / "charter.json").read_bytes())
COMPUTED = frozenset({"period_days", "has_period"})
READINGS = Policy.__struct_fields__
NO_RULE = frozenset({"conduct"})
"""Kinds of clauses that no rule can keep."""

MINUTES = {"seconds": 1 / 60, "minutes": 1, "calendar_hours": 60, "calendar_days": 1440, "weeks": 10080}
MINUTES |= {"calendar_months": 43200, "months": 43200, "years": 525600}
WORK_MINUTES = {"working_minutes": 1, "working_hours": 60, "working_days": 480, "statutory_days": 480}


class Finding(NamedTuple):
    """Something wrong with a charter: `error` stops it, `warning` is to be looked at."""

    severity: Literal["error", "warning"]
    code: str
    where: str
    says: str


# -- lint -----------------------------------------------------------------------------------------------------


def lint(document: bytes, shelf: Mapping[str, bytes], clauses: Mapping[str, str] | None = None) -> list[Finding]:
    """What is wrong with a charter file. `shelf` holds the calendars, laws and other versions that it stands among;
    `clauses` are those of the city's document with their kinds (else the file's own list)."""
    laws = {_stem(name): content for name, content in shelf.items() if name.startswith("law/")}
    try:
        content = yaml.load(document, Loader=yaml.CSafeLoader)
        charter = parse_charter(document, laws)
    except (ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        return [Finding("error", "unreadable", "file", f"The file cannot be read: {error}.")]
    own = [charter.promises[row["id"]] for row in content["promises"]]
    found = [
        *_unknown_fields(content),
        *_twice(content),
        *_calendar(charter, own, shelf),
        *_versions(document, charter, shelf),
        *_contradictions(content, own),
        *_said_again(charter, own),
        *_remedies(content, charter),
        *_clauses(content, charter, clauses),
    ]
    for promise in own:
        found += [*_startable(promise, charter), *_meetable(promise), *_table(promise), *_warnings(promise)]
    return sorted(set(found), key=lambda finding: (finding.severity, finding.where, finding.code, finding.says))


def read_clauses(path: Path) -> dict[str, dict[str, str]]:
    """Clauses by tenant, with their kinds, from a YAML list of ids (tenant empty) or of rows by city."""
    content = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    if isinstance(content, list):
        return {"": {str(row): "" for row in content}}
    return {tenant: {row["id"]: row["kind"] for row in city["clauses"]} for tenant, city in content.items()}


def _unknown_fields(content: dict[str, Any]) -> Iterator[Finding]:
    defs = FORMAT["$defs"]
    rows = [("file", content, set(FORMAT["properties"]))]
    rows += [(row["id"], row, _fields_of_kind(defs, row["kind"])) for row in content["promises"] if row["kind"] in defs]
    rows += [(row["id"], row, _fields(defs, "remedy")) for row in content.get("remedies") or ()]
    for where, row, known in rows:
        for name in sorted(set(map(str, row)) - known):
            says = f"{name} is no field here and does nothing; one of {', '.join(sorted(known))} may be meant."
            yield Finding("error", "unknown_field", where, says)


def _fields(defs: Mapping[str, Any], name: str) -> set[str]:
    """Every field of one definition of the format and of those that it builds on."""
    schema = defs[name]
    base = schema.get("$ref", "").rpartition("/")[2]
    return set(schema.get("properties", ())) | (_fields(defs, base) if base in defs else set())


def _fields_of_kind(defs: Mapping[str, Any], kind: str) -> set[str]:
    """Every field of a kind of promise, which may have more than one form."""
    forms = [name for name, form in defs.items() if form.get("properties", {}).get("kind", {}).get("const") == kind]
    return set().union(*(_fields(defs, name) for name in forms))


def _twice(content: dict[str, Any]) -> Iterator[Finding]:
    ids = [row["id"] for row in (*content["promises"], *(content.get("remedies") or ()))]
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        yield Finding("error", "same_id", name, "Two rows bear this id; the last alone counts. Give each its own.")


def _calendar(charter: Charter, own: list[Promise], shelf: Mapping[str, bytes]) -> Iterator[Finding]:
    named = [content for name, content in shelf.items() if name.startswith("calendars/")]
    ours = [file for file in map(calendars.parse, named) if file.id == charter.calendar]
    if not ours:
        says = f"There is no calendar {charter.calendar}; add calendars/{charter.calendar}.yaml."
        yield Finding("error", "no_calendar", "file", says)
        return
    for promise in own:
        if promise.hours not in {*charter.hours, *(name for file in ours for name in file.hours)}:
            says = f"It counts in the hours {promise.hours}, which neither charter nor calendar has."
            yield Finding("error", "no_hours", promise.id, says)
    starts = min(file.starts for file in ours)
    if charter.in_force < starts:
        says = f"It is in force from {charter.in_force}, but the calendar begins on {starts}: no deadline before that."
        yield Finding("warning", "gap", "file", says)


def _versions(document: bytes, charter: Charter, shelf: Mapping[str, bytes]) -> Iterator[Finding]:
    for name, other in sorted(shelf.items()):
        if not name.startswith("charters/") or other == document:
            continue
        head = yaml.load(other, Loader=yaml.CSafeLoader)
        if head["tenant"] != charter.tenant:
            continue
        if str(head["version"]) == charter.version:
            says = f"{name} is version {charter.version} as well, with other words; a change is a new version."
            yield Finding("error", "overlap", "file", says)
        elif head["in_force"] == charter.in_force:
            says = f"{name} comes into force on {charter.in_force} as well: which of them holds that day?"
            yield Finding("error", "overlap", "file", says)


def _startable(promise: Promise, charter: Charter) -> Iterator[Finding]:
    if promise.kind == "measure":
        if promise.measured is not None:
            yield from _possible(promise.id, promise.measured, "start")
        return
    if promise.kind in ("deadline", "recurring") and not promise.starts:
        yield Finding("error", "never_starts", promise.id, "Nothing starts it; say in start what does.")
    for start in promise.starts:
        if start.match is not None:
            yield from _possible(promise.id, start.match, "start")
        elif start.breach and start.breach not in charter.promises:
            says = f"It starts at a breach of {start.breach}, which nobody promises."
            yield Finding("error", "never_starts", promise.id, says)


def _meetable(promise: Promise) -> Iterator[Finding]:
    if promise.kind in ("deadline", "recurring") and not promise.until:
        yield Finding("error", "never_met", promise.id, "Nothing meets it; say in until what does.")
    for match in (*promise.until, *promise.noted, *(match for row in promise.yearly for match in row.until)):
        yield from _possible(promise.id, match, "meet")


def _possible(where: str, match: Match, verb: str) -> Iterator[Finding]:
    """What keeps an event from ever matching: no such type, no such field, or a value that the field never has."""
    code = {"start": "never_starts", "meet": "never_met"}[verb]
    if match.type not in FACTS:
        yield Finding("error", code, where, f"There is no event {match.type}, so it can never {verb} this.")
        return
    for condition in match.where:
        path = ".".join(condition.path)
        models = [stored_model(match.type), stored_model("complaint.received")]
        kinds = [kind for model in models if (kind := _kind(model, condition.path)) is not None]
        if path not in COMPUTED and not kinds:
            yield Finding("error", code, where, f"{match.type} has no field {path}, so it can never {verb} this.")
        elif kinds and (wrong := _never(condition, _allowed(kinds[0]))):
            says = f"{path} of {match.type} is never {' or '.join(wrong)}, so it can never {verb} this."
            yield Finding("error", code, where, says)


def _kind(model: type[BaseModel], path: tuple[str, ...]) -> Any:
    """The annotation of a field named by its path, or None where there is none."""
    for name, info in model.model_fields.items():
        if (info.alias or name) != path[0]:
            continue
        if len(path) == 1:
            return info.annotation
        inner = (info.annotation, *get_args(info.annotation))
        models = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
        return next((kind for one in models if (kind := _kind(one, path[1:])) is not None), None)
    return None


def _allowed(kind: Any) -> frozenset[Any]:
    """The values that an annotation lists, or none where it lists no values."""
    arguments = get_args(kind)
    listed = {value for value in arguments if isinstance(value, str)}
    return frozenset(listed).union(*(_allowed(inner) for inner in arguments if not isinstance(inner, str)))


def _never(condition: Condition, allowed: frozenset[Any]) -> list[str]:
    if condition.test != "any_of" or not allowed:
        return []
    return [str(value) for value in condition.values if isinstance(value, str) and value not in allowed]


def _table(promise: Promise) -> Iterator[Finding]:
    """Classes without a row, and rows without a class."""
    within = promise.within
    types = [start.match.type for start in promise.starts if start.match is not None and start.match.type in FACTS]
    if not within.by or not types:
        return
    kind = _kind(stored_model(types[0]), (within.by,))
    if kind is None:
        says = f"{types[0]} has no field {within.by} to choose the time by."
        yield Finding("error", "never_starts", promise.id, says)
        return
    allowed = {str(value) for value in _allowed(kind)}
    for name in sorted(set(within.table) - allowed if allowed else ()):
        yield Finding("error", "gap", promise.id, f"{within.by} is never {name}; that row is for nobody.")
    missing = sorted(allowed - set(within.table))
    if missing and within.span is None:
        says = f"No time is promised where {within.by} is {', '.join(missing)}; add rows, or otherwise."
        yield Finding("warning", "gap", promise.id, says)


def _warnings(promise: Promise) -> Iterator[Finding]:
    # What is due at once leaves no time to warn in, and nobody expects it.
    spans = [span for span in (promise.within.span, *promise.within.table.values()) if span is not None and span.amount]
    # Of several warnings the first that fits is taken, so that the shortest must fit.
    for span in spans:
        if promise.warn and not promise.within.before_at and all(_longer(warn, span) for warn in promise.warn):
            warn = promise.warn[-1]
            says = f"It warns {_en(warn)} before the end of {_en(span)}: before it began. Warn later."
            yield Finding("warning", "warns_too_early", promise.id, says)


def _longer(warn: Span, span: Span) -> bool:
    for table in (MINUTES, WORK_MINUTES):
        if warn.unit in table and span.unit in table:
            return warn.amount * table[warn.unit] >= span.amount * table[span.unit]
    return False


def _contradictions(content: dict[str, Any], own: list[Promise]) -> Iterator[Finding]:
    """What the document says twice and differently, as a row states it, or as two rows show it."""
    for row, promise in zip(content["promises"], own, strict=True):
        for other in row.get("conflicts") or ():
            span = Span(**other["within"])
            kept = promise.within.span
            if kept is None or kept == span:
                continue
            milder = _longer(kept, span)
            words = f"The document says {_en(span)} in {other['section']} and {_en(kept)} elsewhere"
            says = f"{words}; kept is {_en(kept)}" + (
                ", the milder: say why in reading." if milder else ", the stricter."
            )
            severity: Literal["error", "warning"] = "error" if milder and not row.get("reading") else "warning"
            yield Finding(severity, "contradiction", promise.id, says)
    for one, other in combinations(own, 2):
        spans = one.within.span, other.within.span
        same_end = bool(one.until) and set(one.until) == set(other.until)
        if not same_end or None in spans or spans[0] == spans[1] or one.within.by or other.within.by:
            continue
        words = f"{_en(spans[0])} here, {_en(spans[1])} in {other.id}"
        if set(one.starts) & set(other.starts):
            says = f"The same start and the same end, but {words}. Which is promised?"
            yield Finding("error", "contradiction", one.id, says)
        elif any(_both(first, second) for first in one.starts for second in other.starts):
            says = f"Some cases start both and end both the same way, with {words}."
            yield Finding("warning", "overlap", one.id, says)


def _said_again(charter: Charter, own: list[Promise]) -> Iterator[Finding]:
    """A promise of the law that the charter says again without saying so: two incidents, and two payments, for one."""
    for promise in own:
        for law in charter.law.promises if charter.law else ():
            alike = (promise.kind, promise.starts, promise.measured, promise.within, promise.until, promise.timing)
            of_law = (law.kind, law.starts, law.measured, law.within, law.until, law.timing)
            if alike == of_law and charter.said_again.get(law.id) != promise.id:
                says = f"It begins and ends as {law.id} of the law does; say so with same_as, or it is paid for twice."
                yield Finding("error", "said_again", promise.id, says)


def _both(one: Start, other: Start) -> bool:
    """Whether one event can start both."""
    if one.match is None or other.match is None or one.match.type != other.match.type:
        return False
    pairs = [(a, b) for a in one.match.where for b in other.match.where if a.path == b.path]
    return not any(_apart(a, b) for a, b in pairs)


def _apart(one: Condition, other: Condition) -> bool:
    if one.test == other.test == "any_of":
        return not set(one.values) & set(other.values)
    if {one.test, other.test} == {"any_of", "none_of"}:
        chosen, barred = (one, other) if one.test == "any_of" else (other, one)
        return set(chosen.values) <= set(barred.values)
    return False


def _remedies(content: dict[str, Any], charter: Charter) -> Iterator[Finding]:
    for row in content.get("remedies") or ():
        where, triggers = row["id"], row["on"]
        asked = all("amount" in (trigger.get("needs") or ()) for trigger in triggers)
        if "amount" in row and row["amount"] is None and not asked:
            says = "It pays, but no amount is named; name one, or let an approver (needs: [amount])."
            yield Finding("error", "no_amount", where, says)
        if "amount" not in row and not row.get("tasks"):
            yield Finding("error", "no_amount", where, "It brings neither money nor a task; name an amount or tasks.")
        if row.get("amount") is not None and any("amount" in (trigger.get("needs") or ()) for trigger in triggers):
            yield Finding("warning", "amount_twice", where, "An amount is named, and an approver is asked for one too.")
        if "tariff" in row:
            yield from _tariff(row, charter)
        for trigger in triggers:
            breach = trigger.get("breach") or []
            named = {*(breach if breach != "any" else ()), *(trigger.get("except") or ())}
            for name in sorted(named - set(charter.promises)):
                yield Finding("error", "never_starts", where, f"It follows a breach of {name}, which nobody promises.")
            grounds = _allowed(_kind(stored_model("fault.confirmed"), ("ground",)))
            for name in sorted(set(trigger.get("fault") or ()) - grounds):
                says = f"It follows a fault of the kind {name}; no fault is ever confirmed as that."
                yield Finding("error", "never_starts", where, says)


def _tariff(row: dict[str, Any], charter: Charter) -> Iterator[Finding]:
    """A tariff pays by lateness: of a promise with a date, and of nothing else."""
    if row.get("amount", 0) is not None:
        yield Finding(
            "error", "amount_twice", row["id"], "The tariff works the amount out; write amount: null beside it."
        )
    for trigger in row["on"]:
        breach = trigger.get("breach") or []
        dated = [
            charter.promises[name].kind in ("deadline", "recurring") for name in breach if name in charter.promises
        ]
        if breach == "any" or not breach or not all(dated):
            says = "It pays by how late something was; let it follow breaches of deadlines alone, by name."
            yield Finding("error", "no_lateness", row["id"], says)


def _clauses(content: dict[str, Any], charter: Charter, clauses: Mapping[str, str] | None) -> Iterator[Finding]:
    if clauses is None:
        clauses = {str(name): "" for name in (content.get("document") or {}).get("clauses") or ()}
    for clause in charter.clauses.values():
        for match in (*clause.on, *(desk[0] for desk in clause.desks)):
            yield from _possible(clause.id, match, "start")
        if clause.notice and clause.notice not in SAID_ANYWAY | ASKED_FOR:
            says = f"Nobody writes the message {clause.notice!r}; take one of {sorted(SAID_ANYWAY | ASKED_FOR)}."
            yield Finding("error", "no_words", clause.id, says)
    kept = set(charter.promises) | {remedy.id for remedy in charter.remedies}
    for rows in (rows for rows in content.values() if isinstance(rows, list)):
        kept |= {row["id"] for row in rows if isinstance(row, dict) and "id" in row}
    for name, kind in clauses.items():
        if name not in kept and kind not in NO_RULE:
            kind_of = f" ({kind})" if kind else ""
            says = f"The document has this clause{kind_of}, but no rule of the charter keeps it."
            yield Finding("error", "no_rule", name, says)


# -- diff -----------------------------------------------------------------------------------------------------


class Change(NamedTuple):
    """What a new version changes for citizens; `says` is the sentence by language.

    `kind` is sooner, later, counted_otherwise, new, gone, means, date, limit, hours, words, amount, occasion or basis
    (the calendar, the law and how it is read).
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
    if not changes and was.says != now.says:
        yield _reworded(now.id, was.says, now.says)


def _time_changes(was: Promise, now: Promise) -> Iterator[Change]:
    """What changes about how long, or by which date."""
    for name, before, after in _times(was, now):
        kind = _compared(before, after)
        class_ko, class_en = (f" ({name})", f" ({name})") if name else ("", "")
        ko = {"sooner": "빨라집니다", "later": "늦어집니다"}.get(kind, "다르게 셉니다")
        en = {"sooner": "Sooner", "later": "Later"}.get(kind, "Counted otherwise")
        says = {
            "ko": f"{ko}{class_ko}: {now.says['ko']} 전에는 {_ko(before)}, 이제는 {_ko(after)}.",
            "en": f"{en}{class_en}: {now.says['en']} {_en(after)} now, {_en(before)} before.",
        }
        yield Change(kind, now.id, says)
    dates = [" · ".join(f"{row.month:02}-{row.day:02}" for row in promise.yearly) for promise in (was, now)]
    if dates[0] != dates[1]:
        ko = f"{now.says['ko']} 해마다 전에는 {dates[0] or '날짜 없음'}까지, 이제는 {dates[1] or '날짜 없음'}까지."
        en = f"{now.says['en']} Each year by {dates[1] or 'no date'} now, by {dates[0] or 'no date'} before."
        yield Change("date", now.id, {"ko": ko, "en": en})


def _other_changes(was: Promise, now: Promise) -> Iterator[Change]:
    """What changes about what starts and keeps it, the measure, and what counts."""
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


def _compared(before: Span | None, after: Span | None) -> str:
    if before is None or after is None:
        return "counted_otherwise"
    # A period of up to five days is counted in hours of work and a longer one in dates.
    if before.unit == after.unit or not {before.unit, after.unit} & {"statutory_days"}:
        for table in (MINUTES, WORK_MINUTES):
            if before.unit in table and after.unit in table:
                sooner = after.amount * table[after.unit] < before.amount * table[before.unit]
                return "sooner" if sooner else "later"
    elif max(before.amount, after.amount) <= HOURS_UP_TO_DAYS and {before.unit, after.unit} <= set(WORK_MINUTES):
        return "sooner" if _longer(before, after) else "later"
    return "counted_otherwise"


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


KO_LIMITS = {"at_most": "{} 이하", "below": "{} 미만", "at_least": "{} 이상", "": "한도 없음"}
EN_LIMITS = {"at_most": "at most {}", "below": "below {}", "at_least": "at least {}", "": "without a limit"}
TESTS = {"any_of": "is", "none_of": "is not", "at_least": "is at least", "includes": "includes"}

UNITS_KO = {
    "seconds": "초",
    "minutes": "분",
    "calendar_hours": "시간(달력)",
    "working_minutes": "근무 분",
    "working_hours": "근무시간",
    "working_days": "근무일",
    "statutory_days": "일(처리기간)",
    "calendar_days": "일(달력)",
    "calendar_months": "개월(달력)",
    "weeks": "주",
    "months": "개월",
    "years": "년",
}


def _ko(span: Span | None) -> str:
    return "정해진 처리기간" if span is None else f"{span.amount}{UNITS_KO[span.unit]}"


def _en(span: Span | None) -> str:
    if span is None:
        return "the handling period"
    unit = span.unit.replace("_", " ")
    return f"{span.amount} {unit.removesuffix('s') if span.amount == 1 else unit}"


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".yaml")
