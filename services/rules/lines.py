"""Lines: decisions as JSON, as `gihan simulate` prints them.

The one rule: times are told in the zone of the tenant's own calendar, and absent values are left out.
"""

from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring as quoted
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from services.rules import instants
from services.rules.fold import order
from services.rules.instants import NEVER
from services.rules.simulation import Step
from services.rules.state import Decided, Decision

_PROMISED: Final[dict[str, str]] = {}
"""What a line says of a promise, by its id: a charter has some dozens."""
_MOST_PROMISES: Final = 10_000
_MANY: Final = 2_000
"""So many lines are handed on at once."""
_PLACES: Final[dict[str, int]] = {"before": 0, "with": 1, "with_home": 2}

Row = str
"""What orders a line among all others, a zero character, and the line with its end."""


class Lines(msgspec.Struct, frozen=True):
    """What a step decides: a line of JSON for each decision, and where it stands among them (`place`), as far as
    decisions of other cases may belong between them. Where none can, one text may hold the lines of several."""

    texts: list[str]
    places: list[str]


def written(steps: Iterator[tuple[Step, Lines]]) -> Iterator[str]:
    """The lines of steps, each with its end, many at a time. What an error comes after is given before it."""
    texts: list[str] = []
    failed: Exception | None = None
    try:
        for _, lines in steps:
            texts += lines.texts
            if len(texts) >= _MANY:
                texts.append("")
                yield "\n".join(texts)
                texts = []
    except Exception as error:
        failed = error
    if texts:
        texts.append("")
        yield "\n".join(texts)
    if failed is not None:
        raise failed


def ordered(steps: Iterator[tuple[Step, Lines]]) -> Iterator[list[Row]]:
    """The same with what orders them among the lines of the same history's other cases."""
    found: list[Row] = []
    failed: Exception | None = None
    try:
        for step, lines in steps:
            head = f"{step.event:012}{_PLACES[step.place]}"
            if step.place == "before":
                head += f"{step.at + NEVER:020}"
            for number, text in enumerate(lines.texts):
                found.append(f"{head}{lines.places[number] if lines.places else f'{number:06}'}\0{text}\n")
            if len(found) >= _MANY:
                yield found
                found = []
    except Exception as error:
        failed = error
    if found:
        yield found
    if failed is not None:
        raise failed


def lines_of(decided: list[Decided], zones: Mapping[str, ZoneInfo]) -> Lines:
    """The decisions of a step, which are in order."""
    return Lines(
        [text_of(row.decision, whose(row.tenant, row.case), zones[row.tenant]) for row in decided],
        [place_of(row.tenant, row.case, row.decision, number) for number, row in enumerate(decided)],
    )


def line_of(row: Decided, zone: ZoneInfo) -> dict[str, Any]:
    """A decision as `gihan simulate` prints it."""
    decision = row.decision
    line = {
        "at": instants.text(decision.at, zone),
        "tenant": row.tenant,
        "case": row.case,
        "decision": decision.kind,
        "promise": decision.promise,
        "due": None if decision.due is None else instants.text(decision.due, zone),
        "remedy": decision.remedy,
        "amount": decision.amount,
        "task": decision.task,
        "reason": decision.reason or decision.code,
    }
    return {name: value for name, value in line.items() if value not in ("", None)}


def whose(tenant: str, case: str) -> str:
    """The part of a line that says about whom it is, which is the same in all of a case."""
    text = f', "tenant": {quoted(tenant)}' if tenant else ""
    return f'{text}, "case": {quoted(case)}' if case else text


def text_of(decision: Decision, whose: str, zone: ZoneInfo) -> str:
    """`line_of` as JSON, to the letter, put together without making it first."""
    promise, amount = decision.promise, decision.amount
    promised = _PROMISED.get(promise)
    if promised is None:
        promised = f', "promise": {quoted(promise)}' if promise else ""
        if len(_PROMISED) < _MOST_PROMISES:
            _PROMISED[promise] = promised
    due = "" if decision.due is None else f', "due": "{instants.text(decision.due, zone)}"'
    more = f', "remedy": {quoted(decision.remedy)}' if decision.remedy else ""
    if amount is not None:
        more += f', "amount": {amount}'
    if decision.task:
        more += f', "task": {quoted(decision.task)}'
    if reason := decision.reason or decision.code:
        more += f', "reason": {quoted(reason)}'
    at = instants.text(decision.at, zone)
    return f'{{"at": "{at}"{whose}, "decision": "{decision.kind}"{promised}{due}{more}}}'


def place_of(tenant: str, case: str, decision: Decision, number: int) -> str:
    """Where a decision stands among those of its step, as `world.step_order` has it: texts in this order. `number` is
    its own among those that are equal otherwise."""
    due, promise, rank, occurrence = order(decision)
    return f"{due + NEVER:020}{tenant}\0{case}\0{promise}\0{rank:02}{occurrence}\0{number:06}"
