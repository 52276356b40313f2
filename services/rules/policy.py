"""Policy: the readings of the law that its text leaves open, as switches with names.

The one rule: every switch has one name, a default and a short list of values, and a name or a value that is not here
is an error. What no charter sets is read as written below.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a charter reads what the law leaves open."""

    day_end: Literal["24:00", "18:00"] = "24:00"
    """When the last date of a period counted in dates is over (Civil Act art. 159)."""

    after_hours_receipt: Literal["literal", "next_open"] = "literal"
    """Whether a receipt after closing time has its own date as the first of a period of six days or more, or the next
    working date (Act art. 19(2) says nothing of the time of day)."""

    pause_mode: Literal["day_inclusive", "exact"] = "day_inclusive"
    """Whether the dates on which time that does not count begins and ends are out in full (Decree art. 20(1))."""

    objection_count: Literal["civil", "statutory"] = "civil"
    """Whether the ten days to decide an objection are calendar days or those of a petition (Act art. 35(2))."""

    local_holiday_excluded: bool = True
    """Whether a day off that one municipality alone has is out of its periods (Act art. 19 says "public holidays")."""

    progress_send_by: Literal["next_working_day", "same_day"] = "next_working_day"
    """By when a progress notice goes out once its thirty days are over (Decree art. 23 names no time)."""

    force_majeure: Literal["suspends", "extends"] = "suspends"
    """Whether time that a municipality declares lost to force majeure does not count, or is no more than a ground to
    extend a period, case by case (Decree art. 21 names it; art. 20 does not)."""


def parse_policy(switches: Mapping[str, Any]) -> Policy:
    """The policy of a charter from its switches. Raises ValueError that names the switch."""
    try:
        return msgspec.convert(dict(switches), Policy)
    except msgspec.ValidationError as error:
        known = ", ".join(Policy.__struct_fields__)
        raise ValueError(f"policy: {error}; the switches are {known}") from error
