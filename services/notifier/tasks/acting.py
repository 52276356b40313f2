"""What people do with tasks and remedies: each function is one step, taken in one transaction or not at all.

The one rule: who may do what is judged here, on the row as it is locked, and never by the page that calls. The same step
by the same person a second time changes nothing and answers the same.

Every function takes the ledger of the notifier that holds the lease, the present instant, and who acts. Each raises
NotPossible (its `code` is for machines and page texts, its words for people) where the step may not be taken, and Fenced
where another notifier has taken over.
"""

from collections.abc import Sequence

from services.notifier.ledger import Ledger
from services.notifier.tasks.life import Actor, Item, NotPossible
from services.rules.instants import Instant


async def enter_amount(ledger: Ledger, now: Instant, actor: Actor, key: str, amount: int) -> Item:
    """An approver says how much is owed, in whole units of the currency, where the charter leaves it open. It may be
    entered again until it is approved; one that a tariff of the charter works out must be the tariff's."""
    raise NotImplementedError


async def approve(ledger: Ledger, now: Instant, actor: Actor, key: str) -> Item:
    """An approver says yes, who neither found nor entered anything here, nor is named as at fault."""
    raise NotImplementedError


async def approve_all(ledger: Ledger, now: Instant, actor: Actor, keys: Sequence[str]) -> dict[str, Item | NotPossible]:
    """Several at once, each on its own: what one of them lacks holds up no other."""
    raise NotImplementedError


async def decline(ledger: Ledger, now: Instant, actor: Actor, key: str, reason: str) -> Item:
    """An approver says no, with a code of `life.DECLINED`; the same four eyes hold."""
    raise NotImplementedError


async def issue(ledger: Ledger, now: Instant, actor: Actor, key: str, means: str, voucher: str | None = None) -> Item:
    """What was approved is given: `means` is one of `life.MEANS` (voucher, transfer, by_hand), and a voucher has the number
    that is printed on it. Never an account number: that has no place here."""
    raise NotImplementedError


async def acknowledge(ledger: Ledger, now: Instant, actor: Actor, key: str, code: str) -> Item:
    """The citizen has said that it arrived: `code` is one of `life.ACKNOWLEDGED` (signed, said, returned)."""
    raise NotImplementedError


async def finish(ledger: Ledger, now: Instant, actor: Actor, key: str, outcome: str) -> Item:
    """A task without money is done, with one of the outcomes of its kind (`kinds.of(task).outcomes`)."""
    raise NotImplementedError
