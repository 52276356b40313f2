"""The ledger: messages, attempts, tasks and positions in PostgreSQL, and the events that tell of them on NOTICES.

The one rule: a state and the event that tells of it are written in one transaction, which carries the generation of the
lease, so that a notifier that lost its place changes nothing.

A transaction is made of layers, each of which knows those under it: `transaction` (positions, and what others are
told), `cases` (cases and staff), `results` (how far a message has come), `planning` (by what it can go, and when)
and `work` (what is wanted and taken back). `holder` opens transactions for whoever holds the lease.
"""

from services.notifier.ledger.holder import LEASE, Ledger, wait
from services.notifier.ledger.transaction import CaseKey, Fenced, Position, Recovery, Row
from services.notifier.ledger.work import POST_LETTER, RETURNED, Work

__all__ = [
    "LEASE",
    "POST_LETTER",
    "RETURNED",
    "CaseKey",
    "Fenced",
    "Ledger",
    "Position",
    "Recovery",
    "Row",
    "Work",
    "wait",
]
