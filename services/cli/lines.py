"""Decisions as lines of JSON, as `gihan simulate` and its kin print them.

The one rule: times are told in the zone of the tenant's own calendar.
"""

from json.encoder import encode_basestring as quoted
from typing import Any
from zoneinfo import ZoneInfo

from contracts import files
from services.rules import instants
from services.rules.rulebook import Library
from services.rules.state import Decided


class Zones(dict[str, ZoneInfo]):
    """The time zone of each tenant, by its newest calendar."""

    def __init__(self, library: Library | None = None) -> None:
        super().__init__()
        self._library = library or Library(files.read())

    def __missing__(self, tenant: str) -> ZoneInfo:
        charter = self._library.charters_of(tenant)[-1][1]
        self[tenant] = zone = self._library.newest_calendar(charter.calendar)[1].zone
        return zone


def line_of(row: Decided, zone: ZoneInfo) -> dict[str, Any]:
    """A decision as `gihan simulate` prints it; absent values are left out."""
    decision = row.decision
    line = {
        "at": instants.text(decision.at, zone),
        "tenant": row.tenant,
        "case": row.case,
        "decision": decision.kind,
        "promise": decision.promise,
        "due": None if decision.due is None else instants.text(decision.due, zone),
        "remedy": decision.remedy,
        "amount": decision.amount,
        "task": decision.task,
        "reason": decision.reason or decision.code,
    }
    return {name: value for name, value in line.items() if value not in ("", None)}


def text_of(row: Decided, zone: ZoneInfo) -> str:
    """`line_of` as JSON, to the letter, put together without making it first."""
    tenant, case, decision = row.tenant, row.case, row.decision
    promise, due = decision.promise, decision.due
    text = f'{{"at": "{instants.text(decision.at, zone)}"'
    if tenant:
        text += f', "tenant": {quoted(tenant)}'
    if case:
        text += f', "case": {quoted(case)}'
    text += f', "decision": "{decision.kind}"'
    if promise:
        text += f', "promise": {quoted(promise)}'
    if due is not None:
        text += f', "due": "{instants.text(due, zone)}"'
    if decision.remedy:
        text += f', "remedy": {quoted(decision.remedy)}'
    if decision.amount is not None:
        text += f', "amount": {decision.amount}'
    if decision.task:
        text += f', "task": {quoted(decision.task)}'
    if reason := decision.reason or decision.code:
        text += f', "reason": {quoted(reason)}'
    return text + "}"
