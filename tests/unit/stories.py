"""Stories for tests of the fold: events by hand in, decisions as short lines out. Times are Korean wall time in 2026.

The one rule: nothing here works anything out; expected lines are written by hand in the tests.
"""

import json
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from contracts import files
from contracts.streams import PARTITIONS
from services.rules import instants
from services.rules.facts import Data, Event, decode_event
from services.rules.instants import instant
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Decided
from services.rules.world import World

SEOUL = ZoneInfo("Asia/Seoul")
LIBRARY = Library(files.read())
REPLY = {"memo": {"reply_wanted": True}}


def at(local: str) -> int:
    """The instant of a Korean time such as 11-02 10:00, or 2027-01-04 10:00:01."""
    day, _, clock = local.partition(" ")
    return instant(f"{day if len(day) > 5 else '2026-' + day}T{clock}+09:00")


def event(type: str, when: str, *, case: str = "c1", tenant: str = "anseong", id: str = "", **data: Any) -> Event:
    """An event of a story. `recorded` among the data becomes recordedtime; `class_` and `from_` lose the dash."""
    recorded = data.pop("recorded", None)
    source = data.pop("by_source", "desk")
    body: dict[str, Any] = {
        "specversion": "1.0",
        "id": id or f"{type}-{when.replace(' ', '-')}",
        "source": source,
        "type": type,
        "subject": case,
        "time": instants.text(at(when), SEOUL),
        "tenant": tenant,
        "data": {name.rstrip("_"): value for name, value in data.items()},
    }
    if recorded:
        body["recordedtime"] = instants.text(at(recorded), SEOUL)
    return decode_event(json.dumps(body))


def received(when: str = "11-02 10:00", kind: str = "grievance", **more: Any) -> Event:
    """A petition received, by default a grievance of seven days by visit."""
    return event("complaint.received", when, kind=kind, **({"channel": "visit"} | more))


def voided(when: str, fact: Event, **more: Any) -> Event:
    """A fact taken back."""
    stated = event("fact.voided", when, **({"case": fact.case_id, "tenant": fact.tenant} | more))
    data = Data(source=fact.source, id=fact.id, code="typing_error")
    return msgspec.structs.replace(stated, data=data, routes=(fact.case_id,))


def new_world() -> World:
    """A world in which nothing has happened."""
    return World([Rulebook(LIBRARY) for _ in range(PARTITIONS)])


def passed(world: World, limit: int) -> list[Decided]:
    """What time brings before an instant."""
    return [row for _, decided in world.pass_before(limit) for row in decided]


def play(*events: Event, until: str | None = None, world: World | None = None) -> list[Decided]:
    """The decisions that follow, time passing by itself up to each event's recording and then up to `until`."""
    world = world or new_world()
    decided: list[Decided] = []
    last = 0
    for sequence, one in enumerate(events, 1):
        last = max(last, one.recorded)
        decided += passed(world, last)
        world.stand_at(last)
        decided += world.feed(one, sequence)
    if until is not None:
        decided += passed(world, at(until))
    return decided


def lines(decided: Iterable[Decided], *about: str) -> list[str]:
    """Decisions as lines such as `11-02 11:00 deadline.breached seoul-phone-callback due 11-02 11:00`.

    With `about` only those on a promise, remedy, task or kind of that name; without, no messages asked for.
    """
    found = []
    for row in decided:
        one = row.decision
        names = [name for name in (one.promise, one.remedy, one.task) if name]
        if about and not {*names, one.kind} & set(about):
            continue
        if not about and (one.task == "hand_over_unasked" or one.kind == "notice.requested"):
            continue  # these have stories of their own
        words = [_short(one.at), one.kind, *names]
        if one.due is not None:
            words += ["due", _short(one.due)]
        if one.amount is not None:
            words += [str(one.amount)]
        found.append(" ".join([*words, *one.needs, one.reason, one.code]).strip().replace("  ", " "))
    return found


def _short(moment: int) -> str:
    return instants.text(moment, SEOUL)[:19].removeprefix("2026-").removesuffix(":00").replace("T", " ")
