"""Failpoints: named places at which a process can be made to die, to fail or to stall, for tests of what it leaves.

The one rule it protects: every await between two durable effects has a name here, so that a crash exactly there is a
test and not an accident. Unarmed, as everywhere but in such tests, a failpoint does nothing.
"""

import asyncio
import os
import random
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.chassis.logs import OperatorError, get_logger
from services.chassis.settings import Settings, SettingsError

SLEEP_SECONDS = 20.0
"""How long `sleep` stalls: longer than any part may stay away before it is red."""

FAILPOINTS: Mapping[str, str] = {
    # Intake: from the doors to the log
    "vault.after_tenant_keys": "New keys of a tenant are written, nothing they seal is; one transaction.",
    "vault.after_index": "A person is in the blind index, without a key; one transaction.",
    "vault.after_subjects": "Details of persons are written, the texts sealed with them are not; one transaction.",
    "vault.after_access_record": "A read is on record, nothing was read yet.",
    "reserve.after_vault": "Sealed data is written, the reservations that refer to it are not; one transaction.",
    "reserve.after_reservations": "Reservations are written, their batch and their cases are not; one transaction.",
    "intake.after_reserve": "A batch is reserved; the log has nothing of it.",
    "intake.after_append": "The log has a batch; its rows do not say so, nobody was answered.",
    "intake.after_receipts": "Sources were told of events that had waited; the rows do not say that they stand.",
    "intake.before_answer": "The rows say where a batch stands; its publishers have no answer.",
    "intake.after_adopt": "A dead instance's batch is reserved anew under this one's name; the log has nothing of it.",
    "intake.after_adopted_append": "The log has an adopted batch; its rows do not say so.",
    "sweep.after_fence": "A dead instance is fenced off in the log; its rows are untouched.",
    "sweep.after_batch": "One batch of a dead instance is looked after, the next one is not.",
    "inbox.after_accept": "The log has a letter's event; its source is not told, the letter lies in INBOX.",
    "inbox.after_letter_key": "The key of a refused letter is kept; the letter is not in DEAD.",
    "inbox.after_dead": "A refused letter is in DEAD; its source is not told, the letter lies in INBOX.",
    "inbox.after_receipt": "A letter's source is told; the letter lies in INBOX.",
    # Forgetting, and the master keys
    "erasure.after_ledger": "Who is to be erased stands in the ledger; nothing is erased.",
    "vault.after_forgetting": "The vault has forgotten what the ledger says, and not yet noted it; one transaction.",
    "erasure.after_vault": "The vault has forgotten, intake's hashes are still there; one transaction.",
    "retention.after_record": "Cases past their time are on record as erased; the ledger has nothing of them.",
    "retention.after_ledger": "Cases past their time stand in the ledger; nothing of them is erased.",
    "rotation.after_new_key": "The day's master key is in the folder; older ones still wrap every key.",
    "rotation.after_batch": "Some keys are wrapped by the new master key, others are not.",
    "rotation.after_destruction": "An old master key is destroyed; others that are over are still there.",
    # The log: batches, their relay, and who may write
    "batch.before_marker": "The messages of a batch are sent, the marker that commits them is not.",
    "lease.after_lock": "The lock of a lease is taken, its generation is the last holder's.",
    "relay.before_pass": "A round of the relay begins; what it will send is in the outbox.",
    "relay.before_settle": "The log's last marker is read; the database does not say what it covers.",
    "relay.after_publish": "The log has a batch of the outbox; the database does not say so.",
    "relay.after_lane": "One lane's batch is published and written down as sent, the next lane's is not.",
    # sla_timer: the fold and the ticker
    "fold.after_take_over": "A partition belongs to a new generation; nothing was read.",
    "fold.before_batch": "Entries are read from the log; nothing of them is folded.",
    "fold.after_home": "The tenant's own case stands, the position does not move before the charter is enacted.",
    "fold.after_facts": "Facts are folded and committed; relay and ticker do not know.",
    "fold.after_tick_slice": "Some of the cases that a tick reaches are committed, others may not be.",
    "fold.after_enacting_slice": "Some of the cases that an enacting event moves are committed, others may not be.",
    "store.after_position": "The position is moved, cases and decisions are not written; one transaction.",
    "store.after_cases": "Cases are written, the decisions about them are not; one transaction.",
    "ticker.before_pass": "The ticker comes round; no tick is written.",
    "ticker.after_tick": "A tick stands in the log; the ticker does not know.",
    # Notifier: the ledger, the gateways, tasks and remedies
    "notifier.after_lease": "The lease is taken; nothing is folded, and attempts left open are still open.",
    "notifier.after_cases": "Facts are folded into the ledger; decisions that wait for them are not.",
    "notifier.after_sla": "Decisions are folded into the ledger; nobody was woken to deliver.",
    "ledger.after_states": "States are written, the events and receipts that tell of them are not; one transaction.",
    "ledger.after_tellings": "Receipts are written down to be told, the events for NOTICES are not; one transaction.",
    "release.after_messages": "Held messages are let go, held tasks are not; one transaction.",
    "gathering.after_whole": "A message stands for several; these are not said to be told by it; one transaction.",
    "release.after_commit": "What was held is let go; nothing of it is delivered.",
    "compensation.after_task": "A task or remedy is written, its notice is not; one transaction.",
    "compensation.after_withdrawal": "A task or remedy is withdrawn, a remedy kept is not told; one transaction.",
    "compensation.after_covering": "A remedy is covered by another's payment, the book is not moved; one transaction.",
    "compensation.after_parting": "A covered remedy is owed again, the book is not moved; one transaction.",
    "compensation.after_step": "What a person did is written, what follows from it is not; one transaction.",
    "finding.after_door": "The log has an approver's finding; the approver was not told.",
    "delivery.after_recovery": "Attempts left open are `unknown`; the gateway was not asked after them.",
    "delivery.after_attempt": "An attempt stands in the ledger; the gateway was not called.",
    "delivery.after_gateway": "The gateway has answered; the ledger holds no result.",
    "delivery.after_result": "The result of an attempt is in the ledger; NOTICES does not tell of it.",
    "delivery.after_asking": "The gateway was asked after an unknown message; the ledger holds no answer.",
    "delivery.after_reconciling": "One unknown message is settled, the next one is not.",
    "reports.after_asking": "A gateway has said what became of messages; the ledger does not know.",
    "reports.before_telling": "Reports that came by themselves are kept; the ledger does not know.",
    "bounces.after_keeping": "The report of a mail server is kept; its mail still lies in the mailbox.",
    "receipts.after_publish": "RECEIPTS has what publishers are told; the rows are still there to be told.",
}
"""Every failpoint: what is durable when a process dies there, and what is not yet."""

ACTIONS = ("kill", "raise", "sleep", "stop")


class Struck(OperatorError):
    """A failpoint was ordered to fail."""


@dataclass(frozen=True, slots=True)
class Order:
    """What happens at a failpoint, and how often: each time with `probability`."""

    action: str
    probability: float = 1.0


class _Armed:
    def __init__(self, orders: Mapping[str, Order], folder: Path | None) -> None:
        self._orders = orders
        self._folder = folder

    def order(self, name: str) -> str | None:
        """The action that is to be carried out at a failpoint now."""
        order = self._orders.get(name)
        if order is not None and random.random() < order.probability:  # noqa: S311 - no secret
            return order.action
        return None if self._folder is None else _take(self._folder / name)


def _take(order: Path) -> str | None:
    try:
        action = _order(order.name, order.read_text(encoding="ascii").strip()).action
        # Whoever moves the file carries the order out: once, and for all to see.
        order.rename(order.with_name(f"{order.name}.struck"))
    except FileNotFoundError:
        return None
    return action


_armed: _Armed | None = None


async def failpoint(name: str) -> None:
    """A place of that name in `FAILPOINTS`. Returns at once, unless something was ordered for it.

    As ordered it kills the process, raises Struck, returns after SLEEP_SECONDS, or stops the process (SIGSTOP) until
    somebody lets it go on.
    """
    if _armed is not None and (action := _armed.order(name)) is not None:
        await _strike(name, action)


def arm(settings: Settings) -> None:
    """Arms what GIHAN_FAILPOINTS (each time) and GIHAN_FAILPOINTS_FOLDER (once) order.

    The folder holds, per service, a file of the failpoint's name with its action; whoever strikes renames it to
    <name>.struck. Raises SettingsError where nobody allowed it, and where a name or an action is not known.
    """
    global _armed
    _armed = None
    if settings.failpoints is None and settings.failpoints_folder is None:
        return
    if not settings.failpoints_allowed:
        raise SettingsError(
            "GIHAN_FAILPOINTS and GIHAN_FAILPOINTS_FOLDER make this process fail on purpose. Unset them, or, for a "
            "test, set GIHAN_FAILPOINTS_ALLOWED=yes."
        )
    folder = settings.failpoints_folder
    _armed = _Armed(parse(settings.failpoints or ""), None if folder is None else folder / settings.service)
    get_logger().warning("failpoints_armed")


def parse(orders: str) -> dict[str, Order]:
    """Orders written as name:action[:probability], parted by commas. Raises SettingsError saying which is wrong."""
    parsed = {}
    for text in filter(None, (part.strip() for part in orders.split(","))):
        name, _, order = text.partition(":")
        parsed[name] = _order(name, order)
    return parsed


def _order(name: str, text: str) -> Order:
    if name not in FAILPOINTS:
        raise SettingsError(f"There is no failpoint {name[:64]}. `gihan failpoints` lists them.")
    action, _, number = text.partition(":")
    try:
        probability = float(number or 1)
    except ValueError:
        probability = -1.0
    if action not in ACTIONS or not 0 < probability <= 1:
        raise SettingsError(
            f"The order for failpoint {name} must be one of {', '.join(ACTIONS)}, with or without a probability "
            "above 0 and up to 1: name:action[:probability]."
        )
    return Order(action, probability)


async def _strike(name: str, action: str) -> None:
    get_logger().warning("failpoint_struck", name=name, kind=action)
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise Struck(f"The failpoint {name} was ordered to fail.")
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case _:
            await asyncio.sleep(SLEEP_SECONDS)
