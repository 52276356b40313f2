"""Who may know what of which case: pure rules over what the views say.

The one rule it protects: what is not allowed here is not there. A case that a caller may not know of is answered like
one that does not exist, and a complaint about somebody is hidden from them before all else.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from services.rules.discretion import FAULTS, is_of_another, key_of, takes_back
from services.rules.discretion import tells_of as tells_of

Role = Literal["publisher", "clerk", "approver", "head", "audit"]

SEALED_KINDS = frozenset({"corruption_report", "grievance", "service_grievance", "handling_grievance"})
"""Kinds that complain of somebody: the departments that they name do not see them."""

FINDINGS = frozenset({"fault.confirmed", "fault.dismissed"})
"""What somebody in charge finds, and a clerk does not."""


class Caller(NamedTuple):
    """Who asks: a publishing system by its key, or a member of staff by a token. `name` tells callers apart; `privacy`
    answers persons who ask what is kept of them."""

    tenant: str
    source: str
    name: str
    role: Role = "publisher"
    department: str = ""
    staff: str = ""
    privacy: bool = False


class Named(NamedTuple):
    """Whom a case complains of."""

    departments: frozenset[str] = frozenset()
    officers: frozenset[str] = frozenset()


class Case(NamedTuple):
    """What has to be known of a case to say who may read it."""

    source: str
    sealed: bool
    department: str | None
    officer: str | None
    proposed: frozenset[str]
    """Departments that the petition named at its receipt: theirs, while it lies with nobody."""
    named: Named = Named()


def case_of(row: Mapping[str, Any], named: Named = Named()) -> Case:  # noqa: B008 - a constant
    """The case in a row of read.case_list; `named` are those who had the case that it complains of."""
    opening = (row["opening"] or {}).get("data") or {}
    kinds = {row["kind"], opening.get("kind")}
    proposed = frozenset(opening.get("departments") or ())
    sealed = not kinds.isdisjoint(SEALED_KINDS)
    if sealed:
        named = named._replace(departments=named.departments | proposed)
    desk = row["desk"] or {}
    return Case(row["source"], sealed, desk.get("department"), desk.get("officer"), proposed, named)


def complains_of(row: Mapping[str, Any]) -> str | None:
    """The case that one complains of."""
    about = ((row["opening"] or {}).get("data") or {}).get("about")
    return about if case_of(row).sealed else None


def may_read(caller: Caller, case: Case) -> bool:
    """Whether a caller may know that the case exists."""
    if caller.role == "publisher":
        return case.source == caller.source
    if complains_about(caller, case):
        return False
    if caller.role == "audit":
        return True
    if case.department is None:
        # It lies with nobody yet, or with somebody whose department nobody described.
        return caller.staff == case.officer or (not case.sealed and caller.department in case.proposed)
    return bool(caller.department) and caller.department == case.department


def complains_about(caller: Caller, case: Case) -> bool:
    """Whether a case complains of the caller or of the caller's department."""
    return case.sealed and (caller.department in case.named.departments or caller.staff in case.named.officers)


def may_publish(caller: Caller, type: str) -> bool:
    """Whether a caller may publish events of a type (about a case that it may read).

    Audit reads everything and so files nothing: it has no case of its own. What it finds it states, since of a
    complaint about a department nobody of that department may.
    """
    if caller.role == "audit":
        return type in FINDINGS
    return type not in FINDINGS or caller.role != "clerk"


def hidden_facts(caller: Caller, facts: Iterable[Mapping[str, Any]], departments: Mapping[str, str]) -> frozenset[str]:
    """The facts (source/id) of a readable case that a caller may not know of.

    Faults are hidden from the officer whom they name and from that officer's department; where that is not known, from
    every department. A system learns of the faults alone that it reported itself.
    """
    told = list(facts)
    hidden = {key_of(fact) for fact in told if fact["type"] in FAULTS and _is_hidden(caller, fact, departments)}
    return frozenset(hidden | {key_of(fact) for fact in told if takes_back(hidden, fact)})


def _is_hidden(caller: Caller, fact: Mapping[str, Any], departments: Mapping[str, str]) -> bool:
    if caller.role == "publisher":
        return is_of_another(caller.source, fact)
    officer = fact["data"].get("officer")
    if officer is None:
        return False
    if officer == caller.staff:
        return True
    return caller.role != "audit" and departments.get(officer, caller.department) == caller.department
