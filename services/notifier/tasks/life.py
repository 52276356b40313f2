"""The life of a task or a remedy: what may follow on what, and who may do it.

The one rule: two pairs of eyes. Who found or entered something, and who had the case or is named as at fault, does not
approve. Pure: an item, who acts and what they want give the step, or NotPossible.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from services.chassis.logs import OperatorError
from services.rules.instants import Instant

Role = Literal["clerk", "approver", "head", "audit"]

MEANS = ("voucher", "transfer", "by_hand")
DECLINED = ("just_reason", "no_loss", "paid_elsewhere", "not_the_office", "wrong_person", "withdrawn_by_citizen")
ACKNOWLEDGED = ("signed", "said", "returned")
"""How the citizen's word came; `returned`: it came back, so that somebody must write again."""


class Actor(NamedTuple):
    """Who acts: a member of staff of a tenant, with the roles that the sign-in gives. `department` is theirs."""

    tenant: str
    staff: str
    roles: frozenset[Role]
    department: str | None = None


class Step(NamedTuple):
    """One step of a person: what, under which assignment, by whom, when."""

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
    department: str | None = None
    officer: str | None = None
    lies_with: str = "department"
    at_fault: tuple[str, ...] = ()
    amount: int | None = None
    currency: str | None = None
    needs: tuple[str, ...] = ()
    finding: str | None = None
    finding_by: str | None = None
    due: Instant | None = None
    cause: str = ""
    steps: Sequence[Step] = ()


class NotPossible(OperatorError):
    """A step that may not be taken. `code`: not_found, wrong_role, wrong_department, at_fault, four_eyes, wrong_state,
    finding_wanted, amount_wanted, amount_fixed, wrong_amount, unknown_code, voucher_wanted, not_now."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code
