"""What a tenant's charter itself says to an event that comes in: let in, or refused before anything is stored.

The one rule: which details are there is told to the rules as yes or no; no detail itself leaves this module.
"""

from collections.abc import Iterable
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
    charter = _charter(tenant, time)
    if charter is None or not any(clause.kind == "admission" for clause in charter.listening.get(type, ())):
        return Judgement()
    values = data.model_dump(mode="json", by_alias=True, exclude_none=True)
    person = values.pop("applicant", None)
    if person is not None:
        values |= {f"has_{detail}": detail in person for detail in PERSON_DETAILS}
    return admission.judge(charter, type, msgspec.convert(values, Data, strict=False))


def prepare(tenants: Iterable[str]) -> None:
    """Reads the charters of these tenants now: it takes a third of a second, for which first complaints would wait."""
    for tenant in tenants:
        _versions(tenant)


def _charter(tenant: Tenant, time: Instant) -> Charter | None:
    versions = _versions(tenant.id)
    if len(versions) < 2:
        return versions[0] if versions else None
    day = local(time, tenant.zone).date()
    return ([charter for charter in versions if charter.in_force <= day] or versions[:1])[-1]


@cache
def _versions(tenant: str) -> list[Charter]:
    return [charter for _, charter in _library().charters_of(tenant)]


@cache
def _library() -> Library:
    return Library(files.read())
