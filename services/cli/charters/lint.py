"""`gihan charter lint`: what is wrong with a charter.

The one rule: it judges nothing but files; every finding names the row, what is wrong and what to do.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from contracts import files
from contracts.events import FACTS
from services.cli.charters import matching
from services.cli.charters.spans import in_en, longer
from services.notifier.notices import ASKED_FOR, SAID_ANYWAY
from services.rules import calendar as calendars
from services.rules.charter import Charter, Match, Promise
from services.rules.charter_files import parse_charter
from services.rules.counting import Span

FORMAT = json.loads((files.FOLDER / "formats" / "charter.json").read_bytes())
NO_RULE = frozenset({"conduct"})
"""Kinds of clauses that no rule can keep."""


class Finding(NamedTuple):
    """Something wrong with a charter: `error` stops it, `warning` is to be looked at."""

    severity: Literal["error", "warning"]
    code: str
    where: str
    says: str


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


def _possible(where: str, match: Match, verb: Literal["start", "meet"]) -> Iterator[Finding]:
    code = {"start": "never_starts", "meet": "never_met"}[verb]
    for why in matching.obstacles(match):
        yield Finding("error", code, where, f"{why}, so it can never {verb} this.")


def _table(promise: Promise) -> Iterator[Finding]:
    """Classes without a row, and rows without a class."""
    within = promise.within
    types = [start.match.type for start in promise.starts if start.match is not None and start.match.type in FACTS]
    if not within.by or not types:
        return
    classes = matching.values(types[0], within.by)
    if classes is None:
        says = f"{types[0]} has no field {within.by} to choose the time by."
        yield Finding("error", "never_starts", promise.id, says)
        return
    for name in sorted(set(within.table) - classes if classes else ()):
        yield Finding("error", "gap", promise.id, f"{within.by} is never {name}; that row is for nobody.")
    missing = sorted(classes - set(within.table))
    if missing and within.span is None:
        says = f"No time is promised where {within.by} is {', '.join(missing)}; add rows, or otherwise."
        yield Finding("warning", "gap", promise.id, says)


def _warnings(promise: Promise) -> Iterator[Finding]:
    # What is due at once leaves no time to warn in, and nobody expects it.
    spans = [span for span in (promise.within.span, *promise.within.table.values()) if span is not None and span.amount]
    # Of several warnings the first that fits is taken, so that the shortest must fit.
    for span in spans:
        if promise.warn and not promise.within.before_at and all(longer(warn, span) for warn in promise.warn):
            warn = promise.warn[-1]
            says = f"It warns {in_en(warn)} before the end of {in_en(span)}: before it began. Warn later."
            yield Finding("warning", "warns_too_early", promise.id, says)


def _contradictions(content: dict[str, Any], own: list[Promise]) -> Iterator[Finding]:
    """What the document says twice and differently, as a row states it, or as two rows show it."""
    for row, promise in zip(content["promises"], own, strict=True):
        for other in row.get("conflicts") or ():
            span = Span(**other["within"])
            kept = promise.within.span
            if kept is None or kept == span:
                continue
            milder = longer(kept, span)
            words = f"The document says {in_en(span)} in {other['section']} and {in_en(kept)} elsewhere"
            says = f"{words}; kept is {in_en(kept)}" + (
                ", the milder: say why in reading." if milder else ", the stricter."
            )
            severity: Literal["error", "warning"] = "error" if milder and not row.get("reading") else "warning"
            yield Finding(severity, "contradiction", promise.id, says)
    for one, other in combinations(own, 2):
        spans = one.within.span, other.within.span
        same_end = bool(one.until) and set(one.until) == set(other.until)
        if not same_end or None in spans or spans[0] == spans[1] or one.within.by or other.within.by:
            continue
        words = f"{in_en(spans[0])} here, {in_en(spans[1])} in {other.id}"
        if set(one.starts) & set(other.starts):
            says = f"The same start and the same end, but {words}. Which is promised?"
            yield Finding("error", "contradiction", one.id, says)
        elif any(matching.both(first, second) for first in one.starts for second in other.starts):
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
            grounds = matching.values("fault.confirmed", "ground")
            for name in sorted(set(trigger.get("fault") or ()) - (grounds or frozenset())):
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


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".yaml")
