"""Routing: which partitions and cases a stored event concerns.

The one rule: from the stored event alone, so that intake, simulation and replay agree.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from contracts.events import MUNICIPAL_TYPES, TENANT_WIDE
from contracts.streams import PARTITIONS, partition

ALL: Final = "_all"
"""The case that stands for every case of a tenant."""


OFFICER: Final = "_officer-"
"""What the case of an officer begins with."""


def officer_case(officer: str) -> str:
    """The case that counts the confirmed findings about one officer."""
    return f"{OFFICER}{officer}"


def route(
    type: str,
    tenant: str,
    case: str,
    data: Mapping[str, Any],
    routes: Sequence[str] | None = None,
) -> list[tuple[int, str]]:
    """Where the copies of an event go: (partition, case) pairs, in a fixed order.

    `routes` (of fact.voided) are the cases that the voided fact went to.
    """
    if routes is not None:
        cases = list(dict.fromkeys(routes))
        if cases == [ALL]:
            return [(number, ALL) for number in range(PARTITIONS)]
        return [(partition(tenant, name), name) for name in cases]
    if type in TENANT_WIDE:
        return [(number, ALL) for number in range(PARTITIONS)]
    if type in MUNICIPAL_TYPES:
        return [(partition(tenant, tenant), tenant)]
    pairs = [(partition(tenant, case), case)]
    officer = data.get("officer")
    if type in ("fault.confirmed", "fault.dismissed") and officer:
        named = officer_case(str(officer))
        pairs.append((partition(tenant, named), named))
    return pairs
