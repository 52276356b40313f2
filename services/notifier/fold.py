"""The fold: CASES and SLA become the ledger, each log in its own order.

The one rule: a decision is handled only when CASES is folded up to the fact that brought it, so that whom
to tell is never older than what to tell. Position and rows move in one transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from itertools import groupby

import msgspec
from nats.aio.client import Client

from services.chassis.clock import Clock
from services.chassis.cursor import Entry, LogCursor, check_log
from services.chassis.failpoints import failpoint
from services.chassis.health import Part
from services.chassis.logs import OperatorError, canonical
from services.notifier import notices
from services.notifier.ledger import CaseKey, Ledger, Position, Work, wait
from services.notifier.notices import (
    CaseView,
    Consequence,
    Event,
    Notice,
    Retraction,
    Task,
    TaskWithdrawal,
    Telling,
)
from services.notifier.tasks import noting, store, wanted
from services.rules.routing import ALL
from services.rules.tenants import Tenant

BATCH = 500
LONGEST_BATCH = 1_000
"""Entries of SLA that are published together, their marker among them, are no more than these."""
WAIT_SECONDS = 0.5

_decode = msgspec.json.Decoder(Event).decode


class UnknownTenant(OperatorError):
    """The log holds a tenant that nobody has described to this process."""


class Fold:
    """Follows both logs. `caught_up` is set once both were at their ends."""

    def __init__(self, ledger: Ledger, nc: Client, clock: Clock, tenants: Mapping[str, Tenant]) -> None:
        self.caught_up = asyncio.Event()
        self._ledger = ledger
        self._nc = nc
        self._clock = clock
        self._tenants = tenants
        self._cases_sequence = 0
        self._cases_moved = asyncio.Event()
        self._at_end: set[str] = set()

    async def follow_cases(self, part: Part) -> None:
        """Folds CASES until cancelled."""
        self._cases_sequence = (await self._ledger.position("CASES")).sequence
        await self._follow("CASES", self._fold_cases, part)

    async def follow_sla(self, part: Part) -> None:
        """Folds SLA until cancelled."""
        await self._follow("SLA", lambda old, new, entries: self._fold_sla(old, new, entries, part), part)

    async def _follow(
        self, log: str, fold: Callable[[Position, Position, Sequence[Entry]], Awaitable[None]], part: Part
    ) -> None:
        position = await self._ledger.position(log)
        async with LogCursor(self._nc, stream=log, after=position.sequence) as cursor:
            position = await self._checked(log, position)
            while True:
                entries = await cursor.read(BATCH, WAIT_SECONDS)
                if log == "SLA":
                    entries = await _whole(cursor, entries)
                if entries:
                    last = entries[-1]
                    new = Position(last.sequence, position.stream_id, sha256(last.data).digest())
                    await fold(position, new, entries)
                    position = new
                part.beat(sequence=position.sequence, pending=cursor.pending)
                if cursor.pending == 0 and len(entries) < BATCH:
                    self._at_end.add(log)
                    if len(self._at_end) == 2:
                        self.caught_up.set()

    async def _checked(self, log: str, position: Position) -> Position:
        """The position with the stream's own id. Raises WrongLog where it is not in the log that was folded."""
        same = None if position.digest is None else lambda _, body: sha256(body).digest() == position.digest
        stream_id = await check_log(self._nc, log, position.sequence, position.stream_id, same)
        return position._replace(stream_id=stream_id)

    async def _fold_cases(self, old: Position, new: Position, entries: Sequence[Entry]) -> None:
        found = [(entry.sequence, _decode(entry.data)) for entry in entries if entry.subject.startswith("cases.")]
        facts = [(sequence, self._known(fact)) for sequence, fact in found if fact.tenant]
        async with self._ledger.writing(await self._clock.now()) as work:
            work.folds("CASES", old)
            views = await work.views({_case(fact) for _, fact in facts if fact.case != ALL})
            before = dict(views)
            for sequence, fact in facts:
                await self._fold_fact(work, fact, sequence, views)
            await work.save_views({case: view for case, view in views.items() if view != before[case]})
            await work.move("CASES", old, new)
        await failpoint("notifier.after_cases")
        self._cases_sequence = new.sequence
        self._cases_moved.set()
        self._cases_moved = asyncio.Event()

    async def _fold_fact(self, work: Work, fact: Event, sequence: int, views: dict[CaseKey, CaseView]) -> None:
        if fact.type == "staff.described":
            await work.describe_staff(fact)
        elif fact.type == "charter.enacted":
            await work.goes_live(fact)
        if fact.case == ALL:
            return
        before = views[_case(fact)]
        view = views[_case(fact)] = wanted.evolve(before, notices.evolve(before, fact), fact, sequence)
        if view.noted != before.noted:
            await noting.note(work, _case(fact), view)
        if fact.type == "applicant.updated":
            await work.plan_again(_case(fact), view)
        for consequence in notices.of_fact(fact, view, self._tenants[fact.tenant]):
            await _apply(work, consequence, fact, view)

    async def _fold_sla(self, old: Position, new: Position, entries: Sequence[Entry], part: Part) -> None:
        found = [entry.data for entry in entries if entry.subject.startswith("sla.")]
        decisions = _in_turn([(self._known(_decode(body)), body) for body in found])
        await self._cases_up_to(max((pair[0].cause_sequence for pair in decisions), default=0), part)
        async with self._ledger.writing(await self._clock.now()) as work:
            work.folds("SLA", old)
            views = await work.views({_case(decision) for decision, _ in decisions})
            live = await work.live_since()
            for decision, body in decisions:
                view, tenant = views[_case(decision)], self._tenants[decision.tenant]
                # Whose task it is was settled by the facts up to its cause; how people are reached is of now.
                then = wanted.as_of(view, decision.cause_sequence)
                found_out = notices.of_decision(decision, body, then, tenant, live.get(tenant.id, 0))
                for consequence in wanted.of_decision(decision, found_out, view, tenant):
                    await _apply(work, consequence, decision, view)
            await work.move("SLA", old, new)
        await failpoint("notifier.after_sla")

    def _known(self, event: Event) -> Event:
        if event.tenant not in self._tenants:
            raise UnknownTenant(
                f"The log speaks of tenant {event.tenant}, which the file of tenants does not know. Nothing was folded "
                "past it: add the tenant to the file that GIHAN_TENANTS_FILE names, and start again."
            )
        return event

    async def _cases_up_to(self, sequence: int, part: Part) -> None:
        while self._cases_sequence < sequence:
            moved = self._cases_moved
            part.beat(waiting_for=sequence)
            await wait(moved, 1.0)


async def _whole(cursor: LogCursor, entries: list[Entry]) -> list[Entry]:
    """The entries up to the end of the batch that the last of them belongs to, so that what one event brings is known
    together and can be told as one."""
    while entries and not entries[-1].subject.startswith("mark.") and len(entries) < LONGEST_BATCH:
        more = await cursor.read(BATCH, WAIT_SECONDS)
        if not more:
            break
        entries = [*entries, *more]
    return entries


_TURNS = {"remedy.proposed": 1, "task.created": 2}


def _in_turn(decisions: Sequence[tuple[Event, bytes]]) -> list[tuple[Event, bytes]]:
    """The decisions as they stand; but where one step withdraws a remedy in a case, what it brings there comes after
    that, so that what is paid already is known as such from the first (`tasks.covering`)."""
    found: list[tuple[Event, bytes]] = []
    for _, group in groupby(decisions, key=lambda one: (one[0].cause_sequence, _case(one[0]))):
        step = list(group)
        owed, not_owed = (
            {decision.data["key"] for decision, _ in step if decision.type == type}
            for type in ("remedy.proposed", "remedy.withdrawn")
        )
        if owed and not_owed and not owed & not_owed:
            step.sort(key=lambda one: _TURNS.get(one[0].type, 0))
        found += step
    return found


def _case(event: Event) -> CaseKey:
    return event.tenant, event.case


async def _apply(work: Work, consequence: Consequence | wanted.Ended, event: Event, view: CaseView) -> None:
    match consequence:
        case Notice():
            await work.want(consequence, event, view)
        case Retraction():
            await work.retract(consequence, event, view)
        case Task():
            await store.assign(work, consequence, event, view)
        case TaskWithdrawal():
            await store.withdraw(work, consequence, event)
        case wanted.Ended():
            await noting.end(work, consequence.key, consequence.fact, consequence.outcome, view)
        case Telling():
            work.tell_publisher(consequence, event)
            return
    canonical(
        "folded",
        type=event.type,
        tenant=event.tenant,
        case=event.case,
        id=event.id,
        kind=type(consequence).__name__,
        cause_sequence=event.cause_sequence,
    )
