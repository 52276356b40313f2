"""What a person is told of what is kept of them: the shape of the document.

The one rule: what has no field here is not told, so that nothing of somebody else slips in with a row.
"""

from typing import Literal

from pydantic import BaseModel, Field


class Details(BaseModel):
    """Name, address, numbers and mail, as one event told them."""

    at: str | None = Field(default=None, description="When; absent of what is not on record yet.")
    name: str | None = None
    address: str | None = None
    phone: str | None = None
    mobile: str | None = None
    email: str | None = None


class Text(BaseModel):
    """What somebody wrote, word for word."""

    at: str
    type: str = Field(description="The type of the event in which it came.")
    says: str
    by: Literal["you", "office"] = Field(description="Whose words: the person's, or the office's about their petition.")
    field: str
    voided: bool = Field(description="Taken back since, and kept.")
    text: str


class Happening(BaseModel):
    """What is on record of a case."""

    at: str
    type: str
    says: str
    where: str | None = Field(default=None, description="The department or agency that it went to.")
    voided: bool


class Message(BaseModel):
    """A message to the person. Its words are not kept."""

    at: str | None = None
    template: str
    says: str
    means: str | None = None
    state: str


class Owed(BaseModel):
    """What the city owes or has paid for a promise that it broke."""

    remedy: str
    amount: int | None = None
    currency: str | None = None
    state: str


class Kept(BaseModel):
    """For how long, and why."""

    years: int
    says: str
    until: str | None = Field(default=None, description="From this date on it is gone; absent while the case is open.")


class HeldCase(BaseModel):
    """A case of the person, or one in which they left a note (`petitioner` false): of that, their own words alone."""

    case: str
    receipt: str | None = None
    petitioner: bool
    kind: str | None = None
    says: str | None = None
    opened_at: str | None = None
    closed: bool | None = None
    details: list[Details]
    texts: list[Text]
    history: list[Happening]
    messages: list[Message]
    owed: list[Owed]
    kept: Kept | None = None


class Reading(BaseModel):
    """How often a role read it for a purpose on one day, or was refused. Who of the role it was stands on record."""

    first: str
    last: str
    role: str
    role_says: str
    purpose: str
    says: str
    what: str = Field(description="person, text, lookup, case, or what was erased.")
    refused: bool
    times: int


class Purpose(BaseModel):
    """For what personal data may be read here at all."""

    purpose: str
    says: str
    roles: list[str]


class Held(BaseModel):
    """Everything that is kept of a person, case by case."""

    tenant: str
    city: str
    as_of: str
    says: str
    erased: bool = Field(description="Nothing is kept any more of whoever filed this case.")
    cases: list[HeldCase]
    readings: list[Reading]
    purposes: list[Purpose]
    notes: list[str]
    next: str | None = Field(default=None, description="Give it as `cursor` for further cases; absent at the end.")
