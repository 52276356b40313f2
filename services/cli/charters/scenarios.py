"""Scenarios: stories about one clause, or of a whole case, in files that people can read, told by the same fold as
everything else.

The one rule: what is expected was written by hand; nothing here works out what ought to come.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import yaml

from services.cli.simulate import simulate
from services.rules import instants
from services.rules.facts import Event, decode_event
from services.rules.rulebook import Library
from services.rules.state import Decided

FOLDER = Path(__file__).parents[3] / "tests" / "scenarios"
ZONE = ZoneInfo("Asia/Seoul")
WHOLE = "whole-cases"
"""The file of a tenant's stories in which every decision about a citizen's case is expected."""


class Scenario(NamedTuple):
    """A story: what is given, until when time passes, and the lines expected about the clause.

    The clause is the name of the file (or `whole-cases`), the tenant its folder. Times are local. `about` names what
    else to look at.
    """

    clause: str
    name: str
    tenant: str
    given: Sequence[Mapping[str, Any]]
    until: str
    about: frozenset[str]
    expect: Sequence[str]

    @property
    def id(self) -> str:
        """How the test of this story is called."""
        return f"{self.tenant}: {self.name}" if self.clause == WHOLE else f"{self.clause}: {self.name}"


def read(folder: Path = FOLDER) -> list[Scenario]:
    """Every story of the folder, in the order of its files."""
    return [
        Scenario(
            path.stem,
            story["name"],
            path.parent.name,
            story["given"],
            story["until"],
            frozenset({path.stem, *story.get("about", [])}),
            story["expect"],
        )
        for path in sorted(folder.glob("*/*.yaml"))
        for story in yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    ]


def told(scenario: Scenario, library: Library | None = None) -> list[str]:
    """The decisions about the clause, as lines such as `2026-11-02 11:00 deadline.breached seoul-phone-callback due
    2026-11-02 11:00`; warnings are left out, refusals are always among them."""
    events = [_event(scenario, number, row) for number, row in enumerate(scenario.given, 1)]
    decided = simulate(events, _instant(scenario.until), library)
    return [_line(scenario, row) for row in decided if _is_about(scenario, row)]


def _is_about(scenario: Scenario, row: Decided) -> bool:
    if scenario.clause == WHOLE:
        return row.case != scenario.tenant  # the city's own duties run in every story
    one = row.decision
    named = {one.promise, one.remedy, one.task}
    return one.kind == "event.refused" or (one.kind != "deadline.warned" and bool(named & scenario.about))


def _line(scenario: Scenario, row: Decided) -> str:
    one = row.decision
    words = [_text(one.at), one.kind, one.promise, one.remedy, one.task, one.code, one.reason]
    if one.due is not None:
        words += ["due", _text(one.due)]
    if one.amount is not None:
        words.append(str(one.amount))
    words += one.needs
    if row.case not in ("c1", scenario.tenant):
        words.append(f"in {row.case}")
    if row.case.startswith("_"):
        words.append(f"for {one.incident.partition('/')[0]}")
    return " ".join(word for word in words if word)


def _event(scenario: Scenario, number: int, row: Mapping[str, Any]) -> Event:
    moment = row["at"]
    body = {
        "id": row.get("id", f"e{number}"),
        "source": "desk",
        "type": row["type"],
        "tenant": scenario.tenant,
        "subject": row.get("case", "c1"),
        "time": _rfc(moment),
        "recordedtime": _rfc(row.get("recorded", moment)),
        "data": row.get("data", {}),
    }
    return decode_event(msgspec.json.encode(body))


def _rfc(local: str) -> str:
    return datetime.fromisoformat(local).replace(tzinfo=ZONE).isoformat()


def _instant(local: str) -> instants.Instant:
    return instants.instant(_rfc(local))


def _text(moment: instants.Instant) -> str:
    return instants.local(moment, ZONE).strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00")
