"""Checking: what intake would say to events, without taking any of them in.

The one rule: the judge is the one that judges in earnest, so what passes here is let in there, but for what only the
other events can tell (an id used before, a case of another source).
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from services.intake.judge import Judged, Publisher, Refusal, judge, readable_id
from services.intake.parsing import parse
from services.rules.instants import Instant
from services.rules.tenants import Tenant


class Wrong(BaseModel):
    """One thing that is wrong with an event; never a value that was sent."""

    pointer: str | None = Field(default=None, description="JSON pointer to the field at fault.")
    code: str = Field(description="For machines; never changes.")
    detail: str = Field(description="What is wrong, and what to do.")


class Checked(BaseModel):
    """What intake would say to an event."""

    id: str | None = Field(default=None, description="Absent where none could be read.")
    type: str | None = None
    case: str | None = Field(default=None, description="The case that it would be about.")
    right: bool = Field(description="It would be taken in.")
    wrong: list[Wrong] = []


def check_text(
    raw: bytes, publisher: Publisher | None, tenants: Mapping[str, Tenant], now: Instant
) -> list[tuple[Checked, Judged | None]]:
    """Checks one event, or each of an array; see check_event. Raises Refusal where it is neither."""
    value = parse(raw)
    return [check_event(one, publisher, tenants, now) for one in (value if isinstance(value, list) else [value])]


def check_event(
    value: Any, publisher: Publisher | None, tenants: Mapping[str, Tenant], now: Instant
) -> tuple[Checked, Judged | None]:
    """What is wrong with a parsed event, as far as it can be told by itself alone, and the event where nothing is.

    Without a publisher the event is taken to come from the system that it names.
    """
    sender = publisher or _named(value)
    try:
        event = judge(value, sender, tenants, now)
        if event.source not in event.tenant.sources:
            detail = "The tenant has no publishing system of this name. Ask its operator for the right one."
            raise Refusal("unknown_source", detail, "/source")
    except Refusal as refusal:
        rest = f" ({len(refusal.others)} more fields are wrong.)"  # they follow here
        wrong = [
            Wrong(pointer=one.pointer, code=one.code, detail=one.detail.removesuffix(rest))
            for one in (refusal, *refusal.others)
        ]
        return Checked(id=readable_id(value), right=False, wrong=wrong), None
    return Checked(id=event.id, type=event.type, case=event.case, right=True), event


def _named(value: Any) -> Publisher:
    tenant, source = (value.get(name) if isinstance(value, dict) else None for name in ("tenant", "source"))
    return Publisher(
        tenant.lower() if isinstance(tenant, str) else "", source.lower() if isinstance(source, str) else ""
    )
