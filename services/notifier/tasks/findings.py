"""Findings: an approver says whether there was a just reason, and the log hears it by the desk's door.

The one rule: a finding is a fact of the case like any other. It goes through intake, which answers with a receipt, and
has its effect here only once it comes back from CASES.
"""

from typing import Any, Literal

import msgspec
from nats.aio.client import Client

from contracts.streams import door_subject
from services.chassis.failpoints import failpoint
from services.notifier.ledger import Ledger
from services.notifier.tasks import acting, life
from services.notifier.tasks.life import Actor, NotPossible
from services.rules import instants
from services.rules.instants import Instant

DESK = "desk"
"""The source by which the desk speaks; the tenant's file must name it among its sources and partners."""

GROUND = "standard"
"""What a finding about a broken promise says. A charter may pay for the ground `late` itself, and would then pay for a
lateness that a late fact has proved wrong since."""

ANSWER_SECONDS = 10.0


async def find(
    ledger: Ledger,
    nc: Client,
    now: Instant,
    actor: Actor,
    key: str,
    finding: Literal["confirmed", "dismissed"],
    reason: str | None = None,
) -> dict[str, Any]:
    """Publishes fault.confirmed (no just reason) or fault.dismissed (one, with `reason` in words, which goes to the
    vault) about the promise that was broken; who found it does not approve.

    Returns intake's receipt, as the contract's Accepted has it. Raises NotPossible (`refused` has intake's words), and
    TimeoutError where intake does not answer: the same finding may be sent again, and stands once.
    """
    item, _ = await acting.look(ledger, now, actor.tenant, key)
    life.may_find(item, actor)
    if item.finding not in (None, finding):
        raise NotPossible("wrong_state", f"It was {item.finding} already. Take that finding back first.")
    if finding == "dismissed" and not (reason or "").strip():
        raise NotPossible("reason_wanted", "Say what the just reason was.")
    id = f"{finding}-{item.key}-{item.cause}"
    if (item.finding, item.finding_by) == (finding, actor.staff):
        return {"status": "accepted", "source": DESK, "id": id, "case": item.case}
    event = {
        "specversion": "1.0",
        "id": id,
        "source": DESK,
        "type": f"fault.{finding}",
        "subject": item.case,
        "time": instants.text(now, ledger.tenants[item.tenant].zone),
        "tenant": item.tenant,
        "data": {"about": item.promise, "ground": GROUND, "by": actor.staff} | ({"reason": reason} if reason else {}),
    }
    answer = await nc.request(door_subject(item.tenant, DESK), msgspec.json.encode(event), timeout=ANSWER_SECONDS)
    await failpoint("finding.after_door")
    receipt: dict[str, Any] = msgspec.json.decode(answer.data)
    if receipt.get("code") == "other_content":
        raise NotPossible("wrong_state", "Such a finding was sent a moment ago. Look at it again.")
    if receipt["status"] == "refused":
        raise NotPossible("refused", str(receipt.get("detail", "Intake refused the finding.")))
    return receipt
