"""How cases are told over the API: the shape of each answer, and what of a row goes into it.

The one rule it protects: nothing of a row is answered that has no field here, and no field holds personal data.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

from services.intake.api import cursors, reading
from services.intake.api.reading import Visible, moment
from services.intake.api.serving import Parts
from services.reading import visibility
from services.reading.visible import Row
from services.rules.tenants import Tenant

State = Literal["pending", "open", "closed", "stuck"]
HISTORY_PAGE = 100
"""Entries in a page of the history."""


class Summary(BaseModel):
    """A case in a list."""

    case: str
    receipt: str = Field(description="The receipt number, by which a citizen asks for it.")
    source: str = Field(description="The system that opened it.")
    opened_by: str = Field(description="The type of event that opened it.")
    opened_at: str
    kind: str | None = None
    state: State = Field(
        description="pending: accepted, its deadlines not worked out yet; stuck: an operator looks at it."
    )
    department: str | None = None
    officer: str | None = None
    due: str | None = Field(default=None, description="The next date by which something must be done.")


class Deadline(BaseModel):
    """One run of a promise in a case."""

    promise: str = Field(description="The clause of the charter or the law.")
    says: str | None = Field(default=None, description="The promise in plain words.")
    by: Literal["charter", "law"] | None = Field(default=None, description="Whose promise it is.")
    state: Literal["open", "suspended", "met", "broken", "lapsed", "void"]
    started: str
    promised: str | None = Field(default=None, description="The date first told to the citizen; nothing moves it.")
    due: str | None = Field(
        default=None, description="The date that holds by charter and law now; absent while time stands still."
    )
    provisional: bool = Field(description="The calendar does not reach so far yet.")
    settled: str | None = Field(default=None, description="When it was met, broken or ended.")
    explain: str = Field(description="Where it says why this is the date.")


class Remedy(BaseModel):
    """What the city owes for a promise that it broke."""

    remedy: str
    says: str | None = None
    promise: str | None = None
    amount: int | None = Field(default=None, description="In whole units; absent where an approver enters it.")
    currency: str | None = None
    state: Literal[
        "proposed", "withdrawn", "held", "assigned", "approved", "declined", "issued", "acknowledged", "kept", "covered"
    ]
    at: str


class Entry(BaseModel):
    """A fact or a decision in the history of a case."""

    at: str = Field(description="When it happened, or from when it holds.")
    recorded: str | None = Field(default=None, description="Of a fact: when it came to be known.")
    what: Literal["fact", "decision"]
    type: str
    source: str
    id: str
    voided: bool = Field(description="Taken back since.")
    promise: str | None = None
    due: str | None = None
    data: dict[str, Any] = Field(description="As the contract has it, without personal data and references to it.")


class History(BaseModel):
    """A page of the history, oldest first."""

    items: list[Entry]
    next: str | None = Field(default=None, description="Give it as `cursor` for the next page.")


class Detail(Summary):
    """A case with its deadlines, what is owed, and the first page of its history."""

    language: str | None = None
    notify_by: str | None = None
    deadlines: list[Deadline]
    remedies: list[Remedy]
    history: History


class Cases(BaseModel):
    """A page of cases, newest first. It may be short, or empty, while more follow."""

    items: list[Summary]
    next: str | None = Field(default=None, description="Give it as `cursor` for the next page; absent at the end.")


def summary(row: Row, due: int | None, tenant: Tenant) -> Summary:
    """A row of read.case_list as it is answered."""
    desk, opening = row["desk"] or {}, row["opening"]
    return Summary(
        case=row["case"],
        receipt=row["receipt"],
        source=row["source"],
        opened_by=opening["type"],
        opened_at=moment(opening["at"], tenant) or "",
        kind=row["kind"],
        state=_state(row),
        department=desk.get("department"),
        officer=desk.get("officer"),
        due=moment(due, tenant),
    )


def _state(row: Row) -> State:
    if row["closed"] is None:
        return "pending"
    if row["stuck"]:
        return "stuck"
    return "closed" if row["closed"] else "open"


def deadline(parts: Parts, run: Row, tenant: Tenant, korean: bool) -> Deadline:
    """A run of a promise as it is answered."""
    charter = parts.charter(tenant.id, run["charter"])
    promise = charter.promises.get(run["promise"]) if charter else None
    in_law = charter is not None and charter.law is not None and promise in charter.law.promises
    return Deadline(
        promise=run["promise"],
        says=promise.says["ko" if korean else "en"] if promise else None,
        by=None if promise is None else "law" if in_law else "charter",
        state=run["state"],
        started=moment(run["started"], tenant) or "",
        promised=moment(run["first_due"], tenant),
        due=moment(run["due"], tenant),
        provisional=run["provisional"],
        settled=moment(run["settled"], tenant),
        explain=f"/v1/cases/{run['case']}/deadlines/{run['promise']}/explain",
    )


def remedy(parts: Parts, row: Row, tenant: Tenant, korean: bool) -> Remedy:
    """What is owed, as it is answered."""
    charter = parts.charter(tenant.id, row["charter"])
    # What is withdrawn after it was paid stays with the citizen, and has a state that says so.
    gone = row["withdrawn"] and row["payment"] in (None, "withdrawn")
    clause = next((one for one in charter.remedies if one.id == row["remedy"]), None) if charter else None
    return Remedy(
        remedy=row["remedy"],
        says=clause.says["ko" if korean else "en"] if clause else None,
        promise=row["promise"],
        amount=row["amount"],
        currency=row["currency"],
        state="withdrawn" if gone else row["payment"] or "proposed",
        at=moment(row["at"], tenant) or "",
    )


def page_of(found: Visible, rows: list[Row], tenant: Tenant) -> History:
    """A page of the history, without what the caller may not know of."""
    page = rows[:HISTORY_PAGE]
    items = [_entry(row, tenant) for row in page if not visibility.tells_of(found.hidden, row)]
    more = len(rows) > HISTORY_PAGE
    return History(items=items, next=cursors.cursor(page[-1]["sequence"], page[-1]["number"]) if more else None)


def _entry(row: Row, tenant: Tenant) -> Entry:
    return Entry(
        at=moment(row["at"], tenant) or "",
        recorded=moment(row["recorded"], tenant),
        what=row["what"],
        type=row["type"],
        source=row["source"],
        id=row["id"],
        voided=row["voided"],
        promise=row["promise"],
        due=moment(row["due"], tenant),
        data=reading.without_references(row["data"]),
    )
