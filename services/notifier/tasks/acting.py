"""What people do with tasks and remedies: each function is one step, taken in one transaction or not at all.

The one rule: who may do what is judged here, on the row as it is locked, and never by the page that calls. The same
step by the same person a second time changes nothing and answers the same.

Every function takes the ledger of the notifier that holds the lease, the present instant, and who acts. Each raises
NotPossible (its `code` is for machines and page texts, its words for people) where the step may not be taken, and
Fenced where another notifier has taken over.
"""

from collections.abc import Callable, Sequence

from services.notifier.ledger import Ledger, Work
from services.notifier.tasks import charters, life, noted, rows, steps
from services.notifier.tasks.life import Actor, Item, NotPossible, Step
from services.rules.instants import Instant

Worth = tuple[int, bool] | None
"""What a tariff brings as things stand, and whether that is its last word; None without a tariff."""


async def enter_amount(ledger: Ledger, now: Instant, actor: Actor, key: str, amount: int) -> Item:
    """An approver says how much is owed, in whole units of the currency, where the charter leaves it open. It may be
    entered again until it is approved."""
    return await _act(
        ledger, now, actor, key, lambda item, worth: life.enter(item, actor, now, amount, worth is not None)
    )


async def approve(ledger: Ledger, now: Instant, actor: Actor, key: str) -> Item:
    """An approver says yes, who neither found nor entered anything here, nor is named as at fault. Where the charter
    has a tariff, the amount is the tariff's."""
    return await _act(ledger, now, actor, key, lambda item, worth: life.approve(item, actor, now, worth))


async def approve_all(ledger: Ledger, now: Instant, actor: Actor, keys: Sequence[str]) -> dict[str, Item | NotPossible]:
    """Several at once, each on its own: what one of them lacks holds up no other."""
    results: dict[str, Item | NotPossible] = {}
    for key in dict.fromkeys(keys):
        try:
            results[key] = await approve(ledger, now, actor, key)
        except NotPossible as reason:
            results[key] = reason
    return results


async def decline(ledger: Ledger, now: Instant, actor: Actor, key: str, reason: str) -> Item:
    """An approver says no, with a code of `life.DECLINED`; the same four eyes hold."""
    return await _act(ledger, now, actor, key, lambda item, _: life.decline(item, actor, now, reason))


async def separate(ledger: Ledger, now: Instant, actor: Actor, key: str) -> Item:
    """An approver says that a remedy that counts as paid is about another incident; who says so does not approve it."""
    return await _act(ledger, now, actor, key, lambda item, _: life.separate(item, actor, now))


async def issue(ledger: Ledger, now: Instant, actor: Actor, key: str, means: str, voucher: str | None = None) -> Item:
    """What was approved is given: `means` is one of `life.MEANS`, and a voucher has the number that is printed on it.
    Never an account number: that has no place here."""
    return await _act(ledger, now, actor, key, lambda item, _: life.issue(item, actor, now, means, voucher))


async def acknowledge(ledger: Ledger, now: Instant, actor: Actor, key: str, code: str) -> Item:
    """The citizen has said that it arrived, or it came back: `code` is one of `life.ACKNOWLEDGED`."""
    return await _act(ledger, now, actor, key, lambda item, _: life.acknowledge(item, actor, now, code))


async def finish(ledger: Ledger, now: Instant, actor: Actor, key: str, outcome: str) -> Item:
    """A task without money is done, with one of the outcomes of its kind (`kinds.of(task).outcomes`)."""
    return await _act(ledger, now, actor, key, lambda item, _: life.finish(item, actor, now, outcome))


async def look(ledger: Ledger, now: Instant, tenant: str, key: str) -> tuple[Item, Worth]:
    """A task or a remedy as it stands, with what a tariff brings by now. Raises NotPossible (not_found)."""
    async with ledger.pool.acquire() as connection:
        work = ledger.reading(connection, now)
        _, item = await _found(work, tenant, key)
        return item, await _worth(work, item)


async def _act(
    ledger: Ledger, now: Instant, actor: Actor, key: str, judge: Callable[[Item, Worth], Step | None]
) -> Item:
    if ledger.recovery is not None:
        raise NotPossible("not_now", "The ledger is being worked out anew from the log; try again in a moment.")
    async with ledger.writing(now) as work:
        row, item = await _found(work, actor.tenant, key, "FOR UPDATE")
        step = judge(item, await _worth(work, item))
        return item if step is None else await steps.take(work, row, step)


async def _found(work: Work, tenant: str, key: str, lock: str = "") -> tuple[rows.Row, Item]:
    found = await rows.item(work.connection, tenant, key, lock)
    if found is None:
        raise NotPossible("not_found", "There is no such task here.")
    row, item = found
    view = (await work.views([(item.tenant, item.case)]))[item.tenant, item.case]
    for_audit = life.for_audit(item.case, view.kind, item.department, noted.named(view.noted))
    return row, item._replace(for_audit=for_audit)


async def _worth(work: Work, item: Item) -> Worth:
    of_charter = charters.remedy(item.charter, item.clause) if item.remedy_key is not None else None
    if of_charter is None or of_charter.tariff is None or item.broken_at is None or item.promise is None:
        return None
    view = (await work.views([(item.tenant, item.case)]))[item.tenant, item.case]
    ended = noted.late_until(view.noted, item.promise, item.broken_at)
    return charters.worth(item.charter, item.clause, item.broken_at, ended, work.now)
