"""Enacting: whether this program has the rules, the charter or the calendar that an event would enact.

The one rule it protects: what the log enacts can be folded. An event that names what is not here is refused at the
door; once it stood in the log, every partition of its tenant would have to stop at it.
"""

from typing import NamedTuple

from contracts.envelope import Contract
from contracts.events import CalendarEnacted, CharterEnacted, RulesEnacted
from services.intake import admission
from services.rules.fold import REVISIONS
from services.rules.rulebook import NotEnacted
from services.rules.tenants import Tenant


class Missing(NamedTuple):
    """What is not here: a code for machines, the field of the data that names it, and what to do about it."""

    code: str
    field: str
    detail: str


def missing(tenant: Tenant, data: Contract) -> Missing | None:
    """What an event would enact and this program does not have; None where it has it, or nothing would be enacted."""
    if isinstance(data, RulesEnacted) and data.revision not in REVISIONS:
        detail = (
            f"This release knows the rules of revision {', '.join(REVISIONS)} alone. Have whoever runs Gihan first "
            "install the release that has this one, in all services; then send it."
        )
        return Missing("unknown_revision", "revision", detail)
    if isinstance(data, CharterEnacted) and not _has_charter(tenant, data):
        return Missing("unknown_charter", "sha256", _first_install("charter of this tenant", "charters"))
    if isinstance(data, CalendarEnacted) and not _has_calendar(data):
        return Missing("unknown_calendar", "sha256", _first_install("calendar", "calendars"))
    return None


def _first_install(what: str, folder: str) -> str:
    return (
        f"There is no {what} of this version, day and hash here. Have whoever runs Gihan first put the file into "
        f"contracts/{folder} or the folder that GIHAN_CONTRACTS names, or install the release that has it, and start "
        "all services anew; then send it."
    )


def _has_charter(tenant: Tenant, data: CharterEnacted) -> bool:
    try:
        charter = admission.library().charter(data.sha256)
    except (NotEnacted, ValueError):  # no file, or one of another kind
        return False
    return (charter.tenant, charter.version, charter.in_force) == (tenant.id, data.version, data.in_force)


def _has_calendar(data: CalendarEnacted) -> bool:
    try:
        file = admission.library().calendar(data.sha256)
    except (NotEnacted, ValueError):  # no file, or one of another kind
        return False
    return (file.id, file.version, file.horizon) == (data.calendar, data.version, data.horizon)
