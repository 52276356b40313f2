"""Law: what stops a clock or extends a period, how a demand for more papers runs, and what may close a case unanswered.

The one rule: grounds, numbers and dates stand in the law's file; here is only what they mean.

Sources: Civil Petitions Treatment Act art. 21 to 23, its Decree art. 17, 20, 21, 24 and 25;
Disclosure Act art. 11(2).
"""

from collections.abc import Mapping
from datetime import date

import msgspec

from services.rules.counting import Span


class SuspensionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Time on one ground that does not count.

    `exact`: to the minute, where other grounds take whole dates. `kinds` and `not_kinds` say for which petitions the
    ground is good, `begins_from` from which day on. `at_most_days` are calendar days, the first included: what goes
    beyond them counts. `once_more_days` may follow them once.
    """

    exact: bool = False
    kinds: frozenset[str] | None = None
    not_kinds: frozenset[str] = frozenset()
    begins_from: date | None = None
    at_most_days: int | None = None
    once_more_days: int = 0

    def allows(self, kind: str | None, begin: date) -> bool:
        """Whether the ground stops the clock of a petition of a kind from a date on."""
        if self.kinds is not None and kind not in self.kinds:
            return False
        return kind not in self.not_kinds and (self.begins_from is None or begin >= self.begins_from)


class ExtensionRules(msgspec.Struct, frozen=True):
    """How often and on what grounds a period may be extended (Decree art. 21; Disclosure Act art. 11(2))."""

    maximum: int
    second_needs_consent: bool
    grounds: tuple[tuple[date | None, frozenset[str] | None], ...]
    """(received from, allowed grounds or None for any), the last that holds for the date of receipt counts."""

    def allows(self, ground: str | None, received: date) -> bool:
        """Whether a ground is good for a case received on a date."""
        allowed: frozenset[str] | None = None
        for since, grounds in self.grounds:
            if since is None or received >= since:
                allowed = grounds
        return allowed is None or ground in allowed


class SupplementRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often the petitioner may ask for more time, and the longest the last demand may give."""

    extensions: int
    last_demand: Span


_TO_THE_MINUTE: Mapping[str, SuspensionRule] = {
    "outage": SuspensionRule(exact=True),
    "force_majeure": SuspensionRule(exact=True),
}


class LawRules(msgspec.Struct, frozen=True):
    """The part of a law that judges facts: by ground of suspension, for supplements, by ground of closing.

    `repeat_after_answers`: so many answers to the same must stand before a petition is closed as a repeat.
    """

    suspension: Mapping[str, SuspensionRule] = msgspec.field(default_factory=lambda: _TO_THE_MINUTE)
    supplement: SupplementRules | None = None
    closing_not_for: Mapping[str, frozenset[str]] = {}
    repeat_after_answers: int = 0

    def suspension_by(self, ground: str) -> SuspensionRule:
        """The rule of a ground; one that the law does not single out takes whole dates and has no limit."""
        return self.suspension.get(ground, SuspensionRule())


def parse_law_rules(content: Mapping[str, object]) -> LawRules:
    """The rules from a law file. Raises ValueError that names what is at fault."""
    fields = ("suspension", "supplement", "closing_not_for", "repeat_after_answers")
    try:
        return msgspec.convert({name: content[name] for name in fields if name in content}, LawRules)
    except msgspec.ValidationError as error:
        raise ValueError(f"law file: {error}") from error
