"""Accounts: what each remedy comes to, from what was decided about it and from what people did under each decision.

The one rule: it follows from the logs alone, and is worked out here a second time, by other code than the notifier's
(`tasks.book`, `tasks.covering`), so that each is evidence about the other.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

PROPOSED, WITHDRAWN = "remedy.proposed", "remedy.withdrawn"


class Said(NamedTuple):
    """A decision about a remedy: its id, the place in CASES of what brought it, and in whole units of the currency what
    it says is owed. `scope` is tenant, case and clause; `promise` is empty for what a finding alone brought."""

    id: str
    cause: int
    kind: str
    key: str
    scope: tuple[str, str, str]
    promise: str = ""
    amount: int | None = None


class Step(NamedTuple):
    """What a person did with a remedy, as NOTICES tells: under which decision, and the amount where it says one."""

    cause: str
    step: str
    amount: int | None


class Sums(NamedTuple):
    """Money in whole units of a currency: owed is what was proposed and neither withdrawn nor declined, nor paid for
    under another name of its incident."""

    proposed: int = 0
    withdrawn: int = 0
    declined: int = 0
    paid: int = 0
    covered: int = 0

    @property
    def owed(self) -> int:
        """What citizens are to have, paid or not."""
        return self.proposed - self.withdrawn - self.declined - self.covered

    @property
    def open(self) -> int:
        """What is owed and not yet paid."""
        return self.owed - self.paid


@dataclass
class Account:
    """One remedy so far. `standing` is what it comes to while it is proposed; `covered_by` names the remedy whose
    payment covers it, or did when it was withdrawn."""

    promise: str
    sums: Sums = field(default_factory=Sums)
    issued: bool = False
    standing: int | None = None
    declined: bool = False
    covered_by: str | None = None
    withdrawn_by: int = 0

    @property
    def is_covered(self) -> bool:
        """Whether a payment under another name covers it now."""
        return self.covered_by is not None and self.standing is not None

    def move(self, **amounts: int) -> None:
        """Adds to the sums."""
        self.sums = self.sums._replace(**{name: getattr(self.sums, name) + more for name, more in amounts.items()})


class Accounts:
    """The remedies of one clause in one case, by key. `twice` has those that were issued though a payment under another
    name of their incident had been made, each with the remedy of that payment."""

    def __init__(self, said: Iterable[Said], steps: Mapping[str, Sequence[Step]]) -> None:
        self.of: dict[str, Account] = {}
        self.twice: dict[str, str] = {}
        self._steps = steps
        for cause, group in groupby(said, key=lambda one: one.cause):
            for one in sorted(group, key=lambda one: one.kind == PROPOSED):  # what one step takes back comes first
                account = self.of.setdefault(one.key, Account(one.promise))
                if one.kind == PROPOSED:
                    self._propose(one, account)
                else:
                    self._withdraw(account, cause)

    def _propose(self, one: Said, account: Account) -> None:
        if account.issued:
            self._own_again(one.key)
            return
        account.covered_by = None
        taken = [step for step in self._steps.get(one.key, ()) if step.cause == one.id]
        amounts = [step.amount for step in taken if step.step in ("entered", "approved") and step.amount]
        account.standing = amounts[-1] if amounts else one.amount or 0
        account.declined = any(step.step == "declined" for step in taken)
        account.issued = any(step.step == "issued" for step in taken)
        account.move(
            proposed=account.standing,
            declined=account.standing if account.declined else 0,
            paid=account.standing if account.issued else 0,
        )
        account.covered_by = self._payment(one, account)
        if account.covered_by is not None and taken:
            # Somebody could act on it, so it was no longer covered then, or not known to be.
            if account.issued and not any(step.step == "separated" for step in taken):
                self.twice[one.key] = account.covered_by
            account.covered_by = None
        elif account.covered_by is not None:
            account.move(covered=account.standing)

    def _payment(self, one: Said, account: Account) -> str | None:
        """The remedy whose payment covers what is proposed: one that the same step withdrew, or what covered that."""
        taken = {other.covered_by for other in self.of.values() if other.is_covered}
        for key, other in sorted(self.of.items()):
            payment = key if other.issued else other.covered_by
            alike = not other.promise or not account.promise or other.promise == account.promise
            if other is not account and other.withdrawn_by == one.cause and alike and payment not in (None, *taken):
                return payment
        return None

    def _own_again(self, key: str) -> None:
        """The remedy of a payment is proposed anew: the payment covers no other."""
        self.twice = {other: by for other, by in self.twice.items() if by != key}
        for other in self.of.values():
            if other.covered_by == key and other.is_covered:
                other.move(covered=-(other.standing or 0))
                other.covered_by = None

    def _withdraw(self, account: Account, cause: int) -> None:
        account.withdrawn_by = cause
        if account.issued or account.standing is None:
            return  # what was issued stays
        account.move(
            withdrawn=account.standing,
            declined=-account.standing if account.declined else 0,
            covered=-account.standing if account.covered_by else 0,
        )
        account.standing = None


def settled(said: Iterable[Said], steps: Mapping[str, Sequence[Step]]) -> Iterator[Accounts]:
    """The accounts of every case and clause, from all decisions about remedies in the order of the log."""
    by_scope: dict[tuple[str, str, str], list[Said]] = defaultdict(list)
    for one in said:
        by_scope[one.scope].append(one)
    for rows in by_scope.values():
        yield Accounts(rows, steps)
