"""A delivery: what one system hands to Gihan in one step of the week.

The one rule: it says what the door should answer, so that every answer of a run can be held against it.
"""

from dataclasses import dataclass
from typing import Any, Literal

from services.rules.instants import Instant

Door = Literal["http", "door", "inbox"]
DOORS: tuple[Door, ...] = ("http", "door", "inbox")
Expect = Literal["accepted", "waiting", "repeated", "refused"]
Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message handed to Gihan in the step `at`: the bytes, the door, and what the door should answer.

    `id` is empty where the bytes are too broken to hold one. `why` says what an odd delivery shows.
    """

    at: Instant
    door: Door
    tenant: str
    source: str
    type: str
    id: str
    case: str
    body: bytes
    expect: Expect = "accepted"
    why: str = ""
