"""A case as delivery sees it: who is to be told and how, who answers for it, and what was said of it.

The one rule: folded from the facts of the case alone, in the order of the log, and never anything personal.
"""

from typing import Any

import msgspec

from contracts.events import OPENING_TYPES
from services.notifier.notices.consequences import Event
from services.notifier.tasks.noted import Entry
from services.rules import discretion

STATUTORY_OBJECTION_DAYS = 60
"""Days from the notice of a refusal in which a petitioner may object (Civil Petitions Treatment Act art.
35(1)).
"""

ENDED = frozenset(
    {"complaint.completed", "complaint.rejected", *(f"complaint.{end}" for end in ("returned", "withdrawn"))}
    | {"complaint.closed_without_answer"}
)
"""After these nothing is open in a case, until it is reopened."""

_DETAILS = ("has_mobile", "has_email", "has_name", "has_address", "has_phone")


class Extension(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fact that extended a period; its message waits for the decision that says until when."""

    ground: str
    amount: int
    unit: str
    reason_ref: str | None = None


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was said of a fact: it may have to be said once more, by another means."""

    template: str
    arguments: dict[str, Any] = {}


class CaseView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A case as delivery sees it: who is to be told, by which means, and who answers for it. No personal
    data.
    """

    owner: str = ""
    opened_by: str = ""
    kind: str = ""
    subject_ref: str | None = None
    notify_by: str | None = None
    language: str | None = None
    has_mobile: bool = False
    has_email: bool = False
    has_name: bool = True
    has_address: bool = False
    has_phone: bool = False
    department: str | None = None
    officer: str | None = None
    approver: str | None = None
    ended: bool = False
    unheard: tuple[str, ...] = ()
    """Facts (source/id) of which the owner may not know: faults that it did not report itself."""
    extensions: dict[str, Extension] = {}
    noted: dict[str, Entry] = {}
    had: tuple[tuple[int, str | None, str | None], ...] = ()
    """Department and officer up to each fact of CASES, by its sequence, with which the case went to others."""
    results: dict[str, Said] = {}
    visitors: dict[str, str] = {}
    """Who came to the citizen's home, by the topic of the visit."""


def evolve(view: CaseView, fact: Event) -> CaseView:
    """The case after one more fact."""
    data, changes = fact.data, dict[str, Any]()
    if fact.type in OPENING_TYPES and not view.owner:
        changes |= {"owner": fact.source, "opened_by": fact.type}
    for field in ("subject_ref", "notify_by", "language", "kind", *_DETAILS):
        if data.get(field) is not None:
            changes[field] = data[field]
    if fact.type in ENDED or fact.type == "complaint.reopened":
        changes["ended"] = fact.type in ENDED
    if fact.type in ("complaint.assigned", "call.answered"):
        changes |= {"department": data["department"], "officer": data.get("officer", view.officer)}
        changes["approver"] = data.get("approver", view.approver)
    elif fact.type in ("callback.requested", "appointment.booked", "visit.officer_came"):
        changes["officer"] = data.get("officer", view.officer)
    elif fact.type == "complaint.transferred":
        changes |= {"department": data.get("to_department"), "officer": None, "approver": None}
    elif fact.type == "visit.home_visited":
        changes["visitors"] = {**view.visitors, fact_topic(fact.source, fact.id): data["officer"]}
    elif fact.type in ("complaint.completed", "complaint.rejected"):
        changes["results"] = {**view.results, fact_topic(fact.source, fact.id): result_of(fact, view)}
    elif fact.type == "complaint.extended" and not fact.imported:
        extension = Extension(data["ground"], data["amount"], data["unit"], data.get("reason_ref"))
        changes["extensions"] = {**view.extensions, fact_topic(fact.source, fact.id): extension}
    told = {"type": fact.type, "source": fact.source, "id": fact.id, "data": data}
    if discretion.is_of_another(view.owner, told) or discretion.takes_back(frozenset(view.unheard), told):
        changes["unheard"] = (*view.unheard, discretion.key_of(told))
    return msgspec.structs.replace(view, **changes) if changes else view


def result_of(fact: Event, view: CaseView) -> Said:
    """How a case ended, as its citizen is told."""
    data = fact.data
    if fact.type == "complaint.completed":
        return Said("result", {"outcome": data["outcome"]})
    arguments = {name: data[name] for name in ("law", "reason_ref", "remedies_ref") if data.get(name)}
    if view.kind == "statutory":
        arguments["objection_days"] = STATUTORY_OBJECTION_DAYS
    return Said("rejection", arguments)


def fact_topic(source: str, id: str) -> str:
    """What is said of a fact."""
    return f"fact|{source}|{id}"
