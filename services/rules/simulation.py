"""Simulation: what a history of events decides, step by step, without a log.

The one rule: what intake and the clock would have done is done here, from the events alone: time passes up to each, and
what only intake knows is filled in from the events before it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from services.rules.effective import recorded_at
from services.rules.facts import Elsewhere, Event, Fact
from services.rules.instants import Instant, of_datetime
from services.rules.routing import route
from services.rules.state import Decided
from services.rules.world import World

CLOCK: Final = "clock.advanced"
ENACTED: Final = "charter.enacted"
VOIDED: Final = "fact.voided"
BEYOND: Final = ("fault.", "fact.", "clock.")
"""What the types begin with that may concern other cases than their own."""

Name = tuple[str, str, str]
"""What names an event in all tenants: tenant, source, id."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """Which step of a simulation: before an event (by its number), with or after it; and the instant that passes."""

    event: int
    place: Literal["before", "with", "with_home"]
    at: Instant = 0


class Told:
    """What events say of their whole history before it is walked over, and what was read of it so far.

    `ticks`: they hold the ticks themselves. `voided` names the facts that are taken back somewhere, `stated` has those
    of them that were read, `reported` the officer whom each fault report names. `opened` are the tenants whose charter
    is enacted or taken as such. `walked`: how many events all that is decided before an error reaches to.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.walked: int = 0
        self.ticks = False
        self.opened: set[str] = set()
        self.voided: set[Name] = set()
        self.stated: dict[Name, Event] = {}
        self.reported: dict[Name, str | None] = {}
        for event in events:
            if event.type == CLOCK:
                self.ticks = True
            elif event.type == ENACTED:
                self.opened.add(event.tenant)
            elif event.type == VOIDED:
                self.voided.add((event.tenant, event.data.source or "", event.data.id or ""))

    def filled_in(self, event: Event) -> Event | None:
        """The event with what intake would fill in from those before it; None where it takes back what is unknown."""
        completed: Event | None = event
        if event.type.startswith(BEYOND):
            completed = filled_in(event, self.stated, self.reported)
        if completed is not None:
            if self.voided and (name := (event.tenant, event.source, event.id)) in self.voided:
                self.stated[name] = completed
            if event.type == "fault.reported":
                self.reported[(event.tenant, event.case_id, event.id)] = event.data.officer
        return completed

    def opens(self, event: Event | Elsewhere) -> Fact | None:
        """What opens the tenant's own case where nothing in the history enacts the charter: its duties run from its
        first event."""
        if event.tenant in self.opened or not event.tenant:
            return None
        self.opened.add(event.tenant)
        return Fact(0, "", "charter", ENACTED, of_datetime(event.time))


def steps(
    events: Iterable[Event | Elsewhere], told: Told, until: Instant | None, world: World, say: Callable[[str], None]
) -> Iterator[tuple[Step, list[Decided]]]:
    """What each step decides that decides anything, in a world of some partitions, or of all.

    Of events that concern other partitions only their time is needed. If the history holds any tick, no other is made;
    otherwise, before an event recorded at R, the clock passes every instant before R, and at the end every instant
    before `until` (else the last R). `say` hears what is wrong with an event or a case, while all else goes on.
    """
    last: Instant = 0
    number = 0
    ticks = told.ticks
    for event in events:
        number += 1
        told.walked = number
        recorded = recorded_at(event)
        if recorded > last:
            last = recorded
        if not ticks:
            for at, decided in world.pass_before(last):
                yield Step(number, "before", at), decided
            world.stand_at(last)
        if isinstance(event, Event):
            completed = told.filled_in(event)
            if completed is None:
                if 0 in world.own:  # of several processes one says it
                    say(f"line {number}: fact.voided names a fact that the file has not stated")
                continue
            decided = world.feed(completed, number)
            if decided:
                yield Step(number, "with"), decided
        home = told.opens(event)
        if home is not None:
            yield Step(number, "with_home"), world.open_home(event.tenant, home)
    if not ticks:
        for at, decided in world.pass_before(last if until is None else until):
            yield Step(number + 1, "before", at), decided
    say_stuck(world, say)


def say_stuck(world: World, say: Callable[[str], None]) -> None:
    """Names the cases on which the rules failed."""
    for partition in world.partitions:
        for case in partition.cases.values():
            if case.stuck:
                say(f"{case.tenant}/{case.id} is stuck: {case.stuck}; its facts are kept, nothing is decided")


def filled_in(event: Event, seen: Mapping[Name, Event], reported: Mapping[Name, str | None]) -> Event | None:
    """The event with what intake would fill in from those before it: the routes of fact.voided (None where the fact
    is unknown), and the officer of a finding from the report in its case that it is about, whoever sent that."""
    data = event.data
    if event.type == VOIDED:
        voided = seen.get((event.tenant, data.source or "", data.id or ""))
        if voided is None:
            return None
        routes = route(voided.type, voided.tenant, voided.case_id, {"officer": voided.data.officer}, voided.routes)
        return msgspec.structs.replace(event, routes=tuple(dict.fromkeys(case for _, case in routes)))
    if event.type in ("fault.confirmed", "fault.dismissed") and data.officer is None:
        officer = reported.get((event.tenant, event.case_id, data.about or ""))
        return msgspec.structs.replace(event, data=msgspec.structs.replace(data, officer=officer))
    return event
