"""Choosing: which rules a case is worked out by.

The one rule: that follows from the facts of the case and from what the log has enacted, and from nothing else.
"""

from services.rules.admission import refusal
from services.rules.effective import closes, in_effect, moment_of
from services.rules.facts import Fact
from services.rules.governing import lives
from services.rules.rulebook import Rulebook
from services.rules.state import Case, Rules


def rules_of(rulebook: Rulebook, case: Case, fact: Fact | None) -> Rules:
    """The rules by which a case is worked out once it holds `fact` as well.

    Its charter is the one of the day of its receipt, and for all that was settled when it was closed nothing counts
    that became known later. Raises NotEnacted.
    """
    facts = (*case.facts, fact) if fact is not None else case.facts
    began, home = facts[0].sequence, case.id == case.tenant
    receipts = [known for known in in_effect(facts) if known.type == "complaint.received"]
    received = receipts[0].time if receipts else min(known.time for known in facts)
    for receipt in receipts[1:] and receipts:
        rules = rulebook.rules_for(case.tenant, receipt.time, began)
        if not refusal(rules.charter, receipt):
            received = receipt.time
            break
    rules = rulebook.rules_for(case.tenant, received, began, home=home)
    closed = [moment_of(known) for known in facts if closes(known)]
    if closed and rulebook.changed_since(case.tenant, min(closed)):
        return rulebook.rules_for(case.tenant, received, began, lives(facts, rules), home)
    return rules
