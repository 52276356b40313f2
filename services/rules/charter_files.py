"""Charters and laws as files: each becomes one value, with its promises looked up by what starts, meets, measures them.

The one rule: a file that does not fit is refused as a whole, with the row and the field that are at fault.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
import yaml

from services.rules.calendar import parse_hours
from services.rules.charter import Charter, Clause, Law, Promise, Service, Start, Workflow
from services.rules.charter_rows import parse_clause, parse_promise, parse_remedy
from services.rules.facts import Period
from services.rules.law import ExtensionRules, parse_law_rules
from services.rules.policy import parse_policy


def parse_law(document: bytes) -> Law:
    """A law from its YAML file. Raises ValueError that names what is at fault."""
    content = yaml.load(document, Loader=yaml.CSafeLoader)
    try:
        extension = content["extension"]
        disclosure = extension["disclosure"]
        return Law(
            id=content["law"],
            version=str(content["version"]),
            name=content["name"],
            periods={kind: Period(**period) for kind, period in content["periods"].items()},
            extension=ExtensionRules(
                maximum=extension["maximum"],
                second_needs_consent=extension["second_needs_consent"],
                grounds=tuple(_grounds(row) for row in extension["grounds"]),
            ),
            disclosure_extension=ExtensionRules(
                maximum=disclosure["maximum"],
                second_needs_consent=False,
                grounds=((None, frozenset(disclosure["any_of"])),),
            ),
            promises=tuple(parse_promise(row, {}) for row in content["promises"]),
            rules=parse_law_rules(content),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"law file: {error} is missing, unknown or of the wrong kind") from error


def _grounds(row: dict[str, Any]) -> tuple[date | None, frozenset[str] | None]:
    return row.get("received_from"), None if row.get("any") else frozenset(row["any_of"])


def parse_charter(document: bytes, laws: Mapping[str, bytes]) -> Charter:
    """A charter from its YAML file; `laws` are the law files by the name that charters give them.

    Raises ValueError that names the promise and the field at fault.
    """
    content = yaml.load(document, Loader=yaml.CSafeLoader)
    if not isinstance(content, dict):
        raise ValueError("charter file: a mapping with tenant, version, promises and the rest is wanted")
    try:
        law = parse_law(laws[content["law"]]) if content.get("law") else None
        defaults = content.get("defaults") or {}
        own = tuple(parse_promise(row, defaults) for row in content["promises"])
        promises = {promise.id: promise for promise in (*(law.promises if law else ()), *own)}
        # A duty is owed to everybody: missing it compensates nobody.
        own_ids = frozenset(promise.id for promise in own if promise.kind != "duty")
        remedies = tuple(parse_remedy(row, own_ids) for row in content.get("remedies") or ())
        clauses = {row["id"]: parse_clause(row) for row in content.get("clauses") or ()}
        return Charter(
            tenant=content["tenant"],
            version=str(content["version"]),
            label=f"{content['tenant']}@{content['version']}",
            in_force=content["in_force"],
            calendar=content["calendar"],
            currency=content.get("currency", "KRW"),
            name=content["name"],
            hours={name: parse_hours(week) for name, week in (content.get("hours") or {}).items()},
            law=law,
            promises=promises,
            remedies=remedies,
            policy=parse_policy(content.get("policy") or {}),
            services=_services(content.get("services") or ()),
            said_again=_said_again(own, {promise.id: promise for promise in law.promises} if law else {}),
            **_indexes(promises, clauses),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"charter file: {error} is missing, unknown or of the wrong kind") from error


def _said_again(own: Sequence[Promise], of_law: Mapping[str, Promise]) -> dict[str, str]:
    """The own promises by those of the law that they say again. Raises ValueError where one cannot be the same."""
    found: dict[str, str] = {}
    for promise in own:
        law = of_law.get(promise.same_as)
        if not promise.same_as:
            continue
        if law is None:
            raise ValueError(f"promise {promise.id}: same_as names no promise of the law")
        if (promise.kind, promise.starts, promise.measured) != (law.kind, law.starts, law.measured):
            raise ValueError(f"promise {promise.id}: same_as wants the kind and the start of {law.id}")
        if law.id in found:
            raise ValueError(f"promise {promise.id}: {found[law.id]} is the same as {law.id} already")
        found[law.id] = promise.id
    return found


def _services(rows: Any) -> dict[str, Service]:
    try:
        return {service.name: service for service in msgspec.convert(rows, tuple[Service, ...])}
    except msgspec.ValidationError as error:
        raise ValueError(f"services: {error}") from error


def _indexes(promises: Mapping[str, Promise], clauses: Mapping[str, Clause]) -> dict[str, Any]:
    starting: dict[str, list[tuple[Promise, Start]]] = {}
    at_breach: dict[str, list[tuple[Promise, Start]]] = {}
    measuring: dict[str, list[Promise]] = {}
    for promise in promises.values():
        for start in promise.starts:
            if start.match is not None:
                starting.setdefault(start.match.type, []).append((promise, start))
            else:
                at_breach.setdefault(start.breach, []).append((promise, start))
        if promise.measured is not None:
            measuring.setdefault(promise.measured.type, []).append(promise)
    listening: dict[str, list[Clause]] = {}
    for clause in clauses.values():
        for type in dict.fromkeys(match.type for match in (*clause.on, *(desk[0] for desk in clause.desks))):
            listening.setdefault(type, []).append(clause)
    walking: dict[str, list[Workflow]] = {}
    rows: tuple[Promise | Clause, ...] = (*promises.values(), *clauses.values())
    for workflow in [row.workflow for row in rows if row.workflow]:
        for step in workflow.steps[1:]:
            walking.setdefault(step.type, []).append(workflow)
    return {
        "walking": {type: tuple(rows) for type, rows in walking.items()},
        "starting": {type: tuple(rows) for type, rows in starting.items()},
        "starting_at_breach": {name: tuple(rows) for name, rows in at_breach.items()},
        "measuring": {type: tuple(rows) for type, rows in measuring.items()},
        "clauses": clauses,
        "listening": {type: tuple(rows) for type, rows in listening.items()},
        "admitting": _of_those(listening, lambda clause: clause.kind == "admission"),
        "refusing": _of_those(listening, lambda clause: clause.kind == "admission" and bool(clause.refuse)),
        "asking": _of_those(listening, lambda clause: bool(clause.tasks or clause.notice or clause.desks)),
        "meeting": frozenset(type for promise in promises.values() for type in promise.meeting),
        "ending": frozenset(match.type for promise in promises.values() for match in promise.ends),
    }


def _of_those(
    listening: Mapping[str, Sequence[Clause]], fits: Callable[[Clause], bool]
) -> dict[str, tuple[Clause, ...]]:
    found = {type: tuple(clause for clause in clauses if fits(clause)) for type, clauses in listening.items()}
    return {type: clauses for type, clauses in found.items() if clauses}
