"""Rows of a charter's file: a promise, a remedy, a clause, with the matches and spans in them.

The one rule: what a row does not say has one meaning, which is written here; what it says wrongly is named.
"""

from collections.abc import Mapping
from typing import Any

from services.rules import counting, demands
from services.rules.charter import (
    Clause,
    Condition,
    Match,
    Promise,
    Remedy,
    Start,
    Test,
    Timing,
    Trigger,
    Within,
    Workflow,
    Yearly,
)
from services.rules.counting import Span
from services.rules.tariffs import parse_tariff

DEMANDS: Mapping[str, Test] = {
    "not": "none_of",
    "at_least": "at_least",
    "present": "present",
    "includes": "includes",
    "same": "same",
}
"""What a charter calls them; a mere value or a list of values is `any_of`."""


def parse_promise(row: dict[str, Any], defaults: Mapping[str, Any]) -> Promise:
    """A promise of a charter or a law; `defaults` are its file's. Raises ValueError that names promise and field."""
    try:
        if row["kind"] == "recurring" and row["every"]["amount"] < 1:
            raise ValueError("every (1 or more)")
        starts = tuple(_start(entry) for entry in row.get("start") or ())
        by_complaint = any(start.match and start.match.type.startswith("complaint.") for start in starts)
        ends = row.get("ends", "case_closed" if by_complaint else "never")
        warn = row.get("warn", defaults.get("warn"))
        until = tuple(_match(entry) for name in ("until", "until_each", "until_all") for entry in row.get(name) or ())
        yearly = tuple(_yearly(entry) for entry in row.get("each_year") or ())
        return Promise(
            id=row["id"],
            section=row.get("section", ""),
            kind=row["kind"],
            says=row["says"],
            starts=starts,
            within=_within({} if row["kind"] == "measure" else row.get("within") or row.get("every") or {}),
            until=until,
            ends_with_case=ends == "case_closed",
            ends=() if isinstance(ends, str) else tuple(_match(entry) for entry in ends),
            suspends=row.get("suspends", "none"),
            extends=row.get("extends", False),
            warn=tuple(_span(span) for span in (warn if isinstance(warn, list) else [warn]) if span),
            tasks=tuple(row.get("tasks") or ()),
            hours=row.get("hours", "office"),
            grace=row.get("grace") == "next_working_day",
            measured=_match(row) if row["kind"] == "measure" else None,
            field=tuple(row.get("field", "").split(".")),
            limit=next(iter(row["limit"].items())) if row.get("limit") else None,
            owed_by=row.get("owed_by", "office"),
            extended_by=row.get("extended_by", ""),
            timing=_timing(row) if "within" in row or "not_before" in row else None,
            after_lapses=next(iter(row["after_lapses"].items())) if row.get("after_lapses") else None,
            since=row["since"] if isinstance(row.get("since"), str) else "",
            noted=tuple(_match(entry) for entry in row.get("noted") or ()),
            noted_before=row.get("noted_before", ""),
            yearly=yearly,
            until_all="until_all" in row,
            first_of_year=row.get("first_of_year", False),
            ahead=_span(row["ahead"]) if "ahead" in row else None,
            clause=row.get("clause", ""),
            same_as=row.get("same_as", ""),
            workflow=_workflow(row),
            meeting=frozenset(match.type for match in (*until, *(match for one in yearly for match in one.until))),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        entries: list[Any] = [row, *(row.get("start") or ()), *(row.get("until") or ())]
        if any(True in entry for entry in entries):
            raise ValueError(f'promise {row.get("id", "?")}: YAML reads a bare on: as true; write "on":') from error
        raise ValueError(f"promise {row.get('id', '?')}: {error} is missing, unknown or of the wrong kind") from error


def _timing(row: dict[str, Any]) -> Timing | None:
    """Of a measure; a promise's own span is read elsewhere."""
    since = row.get("since")
    if row["kind"] != "measure" or since is None:
        return None
    named = isinstance(since, str)
    return Timing(
        since=() if named else tuple(_match(entry) for entry in (since if isinstance(since, list) else [since])),
        field=since if named else "",
        within=_span(row["within"]) if "within" in row else None,
        not_before=_span(row["not_before"]) if "not_before" in row else None,
        first=row.get("first", False),
        unless=row.get("unless", ""),
    )


def _yearly(entry: dict[str, Any]) -> Yearly:
    month, _, day = entry["due"].partition("-")
    until = tuple(_match(match) for match in entry["until"])
    return Yearly(int(month), int(day), until, tuple(entry.get("tasks") or ()))


def _start(entry: dict[str, Any]) -> Start:
    return Start(
        match=_match(entry) if "on" in entry else None,
        breach=entry.get("breach", ""),
        from_receipt=entry.get("count_from") == "receipt",
        skip_when_past=entry.get("when_past") == "skip",
        after_due_of=entry.get("after_due_of", ""),
    )


def _within(row: dict[str, Any]) -> Within:
    if row.get("period"):
        return Within(period=True)
    if "by" in row:
        otherwise = row.get("otherwise")
        return Within(
            by=row["by"],
            table={str(name): _span(span) for name, span in row["table"].items()},
            span=None if otherwise is None else _span(otherwise),
        )
    if not row:
        return Within()
    if "at" in row:
        return Within(at=row["at"])
    return Within(span=_span(row), or_at=row.get("or_at", ""), before_at=row.get("before", ""))


def parse_remedy(row: dict[str, Any], own: frozenset[str]) -> Remedy:
    """A remedy; `own` are the promises that `breach: any` means. Raises ValueError that names remedy and field."""
    try:
        return Remedy(
            id=row["id"],
            section=row.get("section", ""),
            says=row["says"],
            triggers=tuple(_trigger(entry, own) for entry in row["on"]),
            once_per_promise=row.get("incident") == "promise",
            money="amount" in row,
            amount=row.get("amount"),
            tasks=tuple(row.get("tasks") or ()),
            repeated=row["repeated"]["from"] if "repeated" in row else 0,
            repeated_tasks=tuple(row["repeated"]["tasks"]) if "repeated" in row else (),
            tariff=parse_tariff(row["tariff"]) if "tariff" in row else None,
            find_within=_span(row["find_within"]) if "find_within" in row else None,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"remedy {row.get('id', '?')}: {error} is missing, unknown or of the wrong kind") from error


def _trigger(entry: dict[str, Any], own: frozenset[str]) -> Trigger:
    breach = entry.get("breach") or ()
    named = own if breach == "any" else frozenset(breach)
    return Trigger(
        breach=named - frozenset(entry.get("except") or ()),
        fault=frozenset(entry.get("fault") or ()),
        where=_conditions(entry.get("where") or {}),
        needs=tuple(entry.get("needs") or ()),
        unasked=entry.get("remedy") == "any",
    )


def parse_clause(row: dict[str, Any]) -> Clause:
    """A clause that no clock and no number keeps. Raises ValueError that names clause and field."""
    try:
        return Clause(
            id=row["id"],
            section=row["section"],
            kind=row["kind"],
            says=row["says"],
            on=tuple(_match(entry) for entry in row.get("on") or ()),
            outside=row.get("outside", ""),
            tasks=tuple(row.get("tasks") or ()),
            notice=row.get("notice", ""),
            once=row.get("once", False),
            refuse=row.get("refuse", ""),
            mark=row.get("mark", ""),
            asks=tuple(row.get("asks") or ()),
            desks=tuple((_match(desk), desk.get("outside", ""), desk["task"]) for desk in row.get("desks") or ()),
            workflow=_workflow(row),
            still=row.get("still", ""),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"clause {row.get('id', '?')}: {error} is missing, unknown or of the wrong kind") from error


# What rows share


def _workflow(row: dict[str, Any]) -> Workflow | None:
    """A step is the name of an event, or one with demands on its data."""
    steps = [{"on": step} if isinstance(step, str) else step for step in row.get("steps") or ()]
    return Workflow(row["id"], tuple(map(_match, steps)), frozenset(row.get("optional") or ())) if steps else None


def _span(row: dict[str, Any]) -> Span:
    if row["unit"] not in counting.UNITS:
        raise ValueError(f"unit {row['unit']!r}")
    if type(row["amount"]) is not int:
        raise ValueError(f"amount {row['amount']!r}")
    return Span(row["amount"], row["unit"])


def _match(entry: dict[str, Any]) -> Match:
    return Match(entry["on"], _conditions(entry.get("where") or {}))


def _conditions(where: Mapping[str, Any]) -> tuple[Condition, ...]:
    return tuple(_condition(path, demand) for path, demand in where.items())


def _condition(path: str, demand: Any) -> Condition:
    names = tuple(path.split("."))
    direct = len(names) == 1 and path not in demands.DERIVED
    field = demands.attribute(path) if direct else ""
    test: Test = "any_of"
    values = tuple(demand) if isinstance(demand, list) else (demand,)
    if isinstance(demand, dict):
        ((named, value),) = demand.items()
        if named not in DEMANDS:
            raise ValueError(f"demand {named!r} on {path}")
        test, values = DEMANDS[named], tuple(value) if isinstance(value, list) and named == "not" else (value,)
    return Condition(names, test, values, field, demands.DEFAULTS.get(path) if direct else None)
