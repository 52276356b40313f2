"""What follows for delivery from one fact or decision: messages, tasks, and what publishers are told.

The one rule: pure functions of the entry, the case as folded so far and the tenant. Whoever folds the same logs wants
the same messages under the same keys, so a crash or a rebuild can never want one twice.

Read `consequences` (what may follow), `case` (what is known of a case), `making` (how a message is named and held),
then what brings what: `facts`, `decisions`, and of these `ladder` (whom of the office it is told) and `owed` (tasks and
remedies).
"""

from services.notifier.notices.case import CaseView, evolve
from services.notifier.notices.consequences import (
    COMPENSATION,
    RUNGS,
    Audience,
    Consequence,
    Event,
    Notice,
    Retraction,
    Rung,
    Task,
    TaskWithdrawal,
    Telling,
    key_of,
)
from services.notifier.notices.decisions import ASKED_FOR, SAID_ANYWAY, of_decision
from services.notifier.notices.facts import of_fact

__all__ = [
    "ASKED_FOR",
    "COMPENSATION",
    "RUNGS",
    "SAID_ANYWAY",
    "Audience",
    "CaseView",
    "Consequence",
    "Event",
    "Notice",
    "Retraction",
    "Rung",
    "Task",
    "TaskWithdrawal",
    "Telling",
    "evolve",
    "key_of",
    "of_decision",
    "of_fact",
]
