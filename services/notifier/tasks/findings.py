"""Findings: an approver says whether there was a just reason, and the log hears it by the desk's door.

The one rule: a finding is a fact of the case like any other. It goes through intake, which answers with a receipt, and
has its effect here only once it comes back from CASES.
"""

from typing import Literal

from nats.aio.client import Client

from services.notifier.ledger import Ledger
from services.notifier.tasks.life import Actor
from services.rules.instants import Instant

DESK = "desk"
"""The source by which the desk speaks; the tenant's file must name it among its sources and partners."""


async def find(
    ledger: Ledger,
    nc: Client,
    now: Instant,
    actor: Actor,
    key: str,
    finding: Literal["confirmed", "dismissed"],
    reason: str | None = None,
) -> dict[str, str]:
    """Publishes fault.confirmed (no just reason) or fault.dismissed (one, with `reason` in words, which goes to the vault)
    about the promise that was broken. Returns intake's receipt, as the contract's Accepted has it. The same finding sent
    again is accepted again and changes nothing. Raises NotPossible; `refused` has intake's words.
    """
    raise NotImplementedError
