"""What a tenant's charter itself says to an event that comes in: let in, or refused before anything is stored.

The one rule: which details are there is told to the rules as yes or no; no detail itself leaves this module.
"""

from functools import cache

import msgspec

from contracts import files
from contracts.envelope import Contract
from contracts.events import PERSON_DETAILS
from services.rules import admission
from services.rules.admission import Judgement
from services.rules.charter import Charter
from services.rules.facts import Data
from services.rules.instants import Instant, local
from services.rules.rulebook import Library
from services.rules.tenants import Tenant


def judge(tenant: Tenant, type: str, data: Contract, time: Instant) -> Judgement:
    """What the charter in force at the time says to the event."""
    charter = charter_of(tenant, time)
    if charter is None or type not in charter.listening:
        return Judgement()
    values = data.model_dump(mode="json", by_alias=True, exclude_none=True)
    person = values.pop("applicant", None)
    if person is not None:
        values |= {f"has_{detail}": detail in person for detail in PERSON_DETAILS}
    return admission.judge(charter, type, msgspec.convert(values, Data, strict=False))


def charter_of(tenant: Tenant, time: Instant) -> Charter | None:
    """The charter in force at an instant; before the first one came into force, the first."""
    versions = _library().charters_of(tenant.id)
    day = local(time, tenant.zone).date()
    held = [charter for _, charter in versions if charter.in_force <= day] or [charter for _, charter in versions[:1]]
    return held[-1] if held else None


@cache
def _library() -> Library:
    return Library(files.read())
