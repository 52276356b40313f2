"""The life of a task or a remedy: what may follow on what, and who may do it.

The one rule: two pairs of eyes. Who found, entered or separated something, and who had the case or is named as at
fault, does not decide; who decided does not hand out. Where the department may not know, because somebody is complained
of, or where no department has the case, audit acts in its place by the same rule. Pure: an item, who acts and what they
want give the step that follows, None where it was taken already by the same person, or NotPossible.
"""

import re
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from services.chassis.logs import OperatorError
from services.notifier.tasks import kinds
from services.reading.visibility import SEALED_KINDS
from services.rules.instants import Instant
from services.rules.routing import OFFICER

Role = Literal["clerk", "approver", "head", "audit"]

MEANS = ("voucher", "transfer", "by_hand")
DECLINED = ("just_reason", "no_loss", "paid_elsewhere", "not_the_office", "wrong_person", "withdrawn_by_citizen")
ACKNOWLEDGED = ("signed", "said", "returned")
"""How the citizen's word came; `returned`: what was sent came back."""

APOLOGIES = ("apology", "hand_over_unasked", "head_explains", "compensation")
"""Tasks to which a letter of apology belongs."""

MOST = 10_000_000
"""No amount that a person enters is larger, in whole units of the currency: a slip of the key is no debt."""

_VOUCHER = re.compile(r"[A-Z0-9][A-Z0-9-]{0,31}")


class Actor(NamedTuple):
    """Who acts: a member of staff of a tenant, with the roles that the sign-in gives. `department` is theirs."""

    tenant: str
    staff: str
    roles: frozenset[Role]
    department: str | None = None


class Step(NamedTuple):
    """One step of a person: what, under which assignment, by whom, when. `amount` is in whole units of the currency."""

    number: int
    cause: str
    step: str
    staff: str
    at: Instant
    amount: int | None = None
    currency: str | None = None
    code: str | None = None
    voucher: str | None = None


class Item(NamedTuple):
    """A task or a remedy as it stands, with its steps in order. `remedy_key` is empty for a task without money."""

    key: str
    tenant: str
    case: str
    task: str
    clause: str
    state: str
    remedy_key: str | None = None
    promise: str | None = None
    charter: str | None = None
    department: str | None = None
    officer: str | None = None
    lies_with: str = "department"
    at_fault: tuple[str, ...] = ()
    amount: int | None = None
    currency: str | None = None
    needs: tuple[str, ...] = ()
    finding: str | None = None
    finding_by: str | None = None
    broken_at: Instant | None = None
    due: Instant | None = None
    cause: str = ""
    steps: Sequence[Step] = ()
    for_audit: bool = False
    """Whether audit acts in the place of every other role."""

    @property
    def current(self) -> list[Step]:
        """The steps since it was last assigned."""
        return [step for step in self.steps if step.cause == self.cause]


class NotPossible(OperatorError):
    """A step that may not be taken. `code`: not_found, not_now, wrong_role, wrong_department, at_fault, four_eyes,
    own_approval, wrong_state, no_remedy, finding_wanted, just_reason, no_finding, amount_wanted, amount_fixed,
    wrong_amount, still_late, unknown_code, voucher_wanted, reason_wanted, refused, no_letter, nobody."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code


def for_audit(case: str, kind: str | None, department: str | None, named: Collection[str]) -> bool:
    """Whether what a case brings is audit's to act on as well: it complains of somebody, by its kind or by a report or
    finding that names staff, or it lies with no department that could know of it."""
    return department is None or case.startswith(OFFICER) or kind in SEALED_KINDS or bool(named)


def may_find(item: Item, actor: Actor) -> None:
    """Raises NotPossible where the actor may not say whether there was a just reason."""
    _remedy(item)
    _role(item, actor, "approver")
    _not_at_fault(item, actor)
    if "finding" not in item.needs:
        raise NotPossible("no_finding", "Nothing is to be found here: the charter asks for no just reason.")
    _state(item, "assigned")


def may_write(item: Item, actor: Actor) -> None:
    """Raises NotPossible where the actor may not print a letter of apology for this."""
    _role(item, actor, "clerk", "approver", "head")
    _department(item, actor)
    if item.task not in APOLOGIES:
        raise NotPossible("no_letter", "No apology belongs to this task.")
    if item.state in ("held", "withdrawn", "declined", "kept", "covered"):
        raise NotPossible("wrong_state", f"It is {item.state}, so there is nothing to apologise for in writing.")


def enter(item: Item, actor: Actor, now: Instant, amount: int, by_tariff: bool) -> Step | None:
    """An approver enters the amount that the charter leaves open."""
    _remedy(item)
    _role(item, actor, "approver")
    _not_at_fault(item, actor)
    if "amount" not in item.needs:
        raise NotPossible("amount_fixed", "The charter names the amount; it is not entered here.")
    if by_tariff:
        raise NotPossible("amount_fixed", "The charter's tariff works the amount out; it is not entered here.")
    _state(item, "assigned")
    if not 1 <= amount <= MOST:
        raise NotPossible("wrong_amount", f"Enter a whole amount from 1 to {MOST:,}.")
    last = _last(item, "entered")
    if last is not None and (last.staff, last.amount) == (actor.staff, amount):
        return None
    return _step(item, "entered", actor, now, amount=amount)


def approve(item: Item, actor: Actor, now: Instant, worth: tuple[int, bool] | None) -> Step | None:
    """An approver says yes. `worth` is what a tariff brings, and whether that is its last word."""
    _decide(item, actor)
    if _taken(item, "approved", actor):
        return None
    _state(item, "assigned")
    if "finding" in item.needs and item.finding is None:
        raise NotPossible("finding_wanted", "Whether there was a just reason is not found yet; find that first.")
    if "finding" in item.needs and item.finding == "dismissed":
        raise NotPossible("just_reason", "A just reason was found: nothing is owed. Decline it with that reason.")
    amount = item.amount
    if worth is not None:
        amount, settled = worth
        if not settled:
            raise NotPossible(
                "still_late", "It is late still, and every day adds to the amount; approve when that ends."
            )
    if amount is None:
        raise NotPossible("amount_wanted", "No amount is entered yet; somebody else than the approver enters it first.")
    return _step(item, "approved", actor, now, amount=amount)


def decline(item: Item, actor: Actor, now: Instant, reason: str) -> Step | None:
    """An approver says no."""
    _decide(item, actor)
    _one_of(reason, DECLINED)
    if _taken(item, "declined", actor):
        return None
    _state(item, "assigned", "approved")
    return _step(item, "declined", actor, now, code=reason)


def separate(item: Item, actor: Actor, now: Instant) -> Step | None:
    """An approver says that a remedy is about another incident than the one whose payment covers it. It is then owed,
    and somebody else decides."""
    _remedy(item)
    _role(item, actor, "approver")
    _not_at_fault(item, actor)
    if _taken(item, "separated", actor):
        return None
    _state(item, "covered")
    return _step(item, "separated", actor, now)


def issue(item: Item, actor: Actor, now: Instant, means: str, voucher: str | None) -> Step | None:
    """What was approved is given to the citizen."""
    _remedy(item)
    _role(item, actor, "clerk", "approver")
    _department(item, actor)
    _one_of(means, MEANS)
    if (means == "voucher") is not (voucher is not None):
        raise NotPossible("voucher_wanted", "Give the number of the voucher with a voucher, and with nothing else.")
    if voucher is not None and not _VOUCHER.fullmatch(voucher):
        raise NotPossible("voucher_wanted", "A voucher's number has capital letters, digits and '-', at most 32.")
    if _taken(item, "issued", actor):
        return None
    _state(item, "approved")
    approved = _last(item, "approved")
    if approved is not None and approved.staff == actor.staff:
        raise NotPossible("own_approval", "You approved it yourself; somebody else gives it to the citizen.")
    return _step(item, "issued", actor, now, amount=item.amount, code=means, voucher=voucher)


def acknowledge(item: Item, actor: Actor, now: Instant, code: str) -> Step | None:
    """The citizen has said that it arrived, or it came back."""
    _remedy(item)
    _role(item, actor, "clerk", "approver")
    _department(item, actor)
    _one_of(code, ACKNOWLEDGED)
    if _taken(item, "acknowledged", actor):
        return None
    _state(item, "issued")
    return _step(item, "acknowledged", actor, now, amount=item.amount, code=code)


def finish(item: Item, actor: Actor, now: Instant, outcome: str) -> Step | None:
    """A task without money is done."""
    if item.remedy_key is not None:
        raise NotPossible("wrong_state", "A remedy is approved and issued, not merely done.")
    kind = kinds.of(item.task)
    if kind.lies_with in ("head", "audit"):
        _role(item, actor, kind.lies_with)  # type: ignore[arg-type]
    else:
        _role(item, actor, "clerk", "approver", "head")
    if kind.lies_with in ("officer", "department", "head"):
        _department(item, actor)
    if kind.about_officer:
        _not_at_fault(item, actor)
    _one_of(outcome, kind.outcomes)
    if _taken(item, "done", actor):
        return None
    _state(item, "assigned")
    return _step(item, "done", actor, now, code=outcome)


def _decide(item: Item, actor: Actor) -> None:
    """Who may say yes or no about money."""
    _remedy(item)
    _role(item, actor, "approver")
    _not_at_fault(item, actor)
    prepared = {step.staff for step in item.current if step.step in ("entered", "separated")} | {item.finding_by}
    if actor.staff in prepared:
        raise NotPossible(
            "four_eyes", "You found, entered or separated something here yourself; somebody else decides."
        )


def _remedy(item: Item) -> None:
    if item.remedy_key is None:
        raise NotPossible("no_remedy", "This is a task without money; there is nothing to find, approve or issue.")


def _role(item: Item, actor: Actor, *roles: Role) -> None:
    if not actor.roles & {*roles, *(("audit",) if item.for_audit else ())}:
        raise NotPossible("wrong_role", f"This is for {' or '.join(roles)}.")


def _department(item: Item, actor: Actor) -> None:
    """Clerks and heads act for their own department; approvers and audit for the whole municipality."""
    if actor.roles & {"approver", "audit"} or item.department is None:
        return
    if actor.department != item.department:
        raise NotPossible("wrong_department", "This lies with another department.")


def _not_at_fault(item: Item, actor: Actor) -> None:
    if actor.staff in item.at_fault:
        raise NotPossible("at_fault", "You had the case or are named in it; somebody else decides.")


def _state(item: Item, *states: str) -> None:
    if item.state not in states:
        raise NotPossible("wrong_state", f"It is {item.state} by now, so this cannot be done to it. Look at it again.")


def _one_of(code: str, codes: Collection[str]) -> None:
    if code not in codes:
        raise NotPossible("unknown_code", f"Choose one of {', '.join(codes)}.")


def _last(item: Item, step: str) -> Step | None:
    return next((one for one in reversed(item.current) if one.step == step), None)


def _taken(item: Item, step: str, actor: Actor) -> bool:
    """Whether the last step was this one, by the same person: a repeated call changes nothing."""
    last = item.current[-1] if item.current else None
    return last is not None and (last.step, last.staff) == (step, actor.staff)


def _step(
    item: Item,
    step: str,
    actor: Actor,
    at: Instant,
    amount: int | None = None,
    code: str | None = None,
    voucher: str | None = None,
) -> Step:
    currency = None if amount is None else item.currency or "KRW"
    number = len(item.steps) + 1
    return Step(number, item.cause, step, actor.staff, at, amount, currency, code, voucher)
