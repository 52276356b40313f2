"""The charter of a city as a page: every promise in plain words, and how well it was kept.

The one rule: few cases are called few, and no share stands without the number it is of.
"""

from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from services.intake import admission
from services.intake.pages.counter import Numbers
from services.intake.pages.site import Visit
from services.intake.pages.words import ENOUGH, Speaker
from services.rules.charter import Charter, Promise
from services.rules.explaining import words


class Entry(NamedTuple):
    """A promise and, in words, how well it was kept; `told` where there is something to tell. `meter`: kept and total
    where a share is told."""

    id: str
    says: str
    section: str
    record: str = ""
    told: bool = False
    meter: tuple[int, int] | None = None


async def show(request: Request) -> Response:
    """The page."""
    visit = Visit.of(request)
    now = await visit.site.clock.now()
    charter = admission.charter_of(visit.tenant, now)
    if charter is None:
        return visit.page("charter", charter=None, groups=[], survey="")
    numbers = await visit.site.counter.numbers(visit.tenant.id, now)
    satisfied, total = numbers.satisfied
    survey = visit.speaker.share("survey_", satisfied, total) if total else visit.speaker.say("charter.survey_none")
    return visit.page(
        "charter",
        charter=charter,
        groups=_groups(charter, numbers, visit.speaker),
        survey=survey,
        survey_meter=(satisfied, total) if total >= ENOUGH else None,
    )


def _groups(charter: Charter, numbers: Numbers, speaker: Speaker) -> list[tuple[str, list[Entry]]]:
    """The promises by sort, in the order of the charter."""
    language = speaker.language
    law = {promise.id for promise in charter.law.promises} if charter.law else set()
    own = [promise for promise in charter.promises.values() if promise.id not in law]

    def entry(promise: Promise) -> Entry:
        said = Entry(promise.id, promise.says[language], promise.section)
        return said._replace(**_record(promise, numbers, speaker))

    def timed(promise: Promise) -> bool:
        return promise.kind in ("deadline", "recurring") and promise.owed_by == "office"

    groups = [
        ("deadlines", [entry(promise) for promise in own if timed(promise)]),
        ("measures", [entry(promise) for promise in own if promise.kind == "measure"]),
        ("remedies", [Entry(one.id, one.says[language], one.section) for one in charter.remedies]),
        ("others", [Entry(one.id, one.says[language], one.section) for one in charter.clauses.values()]),
        ("duties", [entry(promise) for promise in own if promise.kind == "duty"]),
        ("law", [entry(one) for one in charter.promises.values() if one.id in law and timed(one)]),
    ]
    return [(name, entries) for name, entries in groups if entries]


def _record(promise: Promise, numbers: Numbers, speaker: Speaker) -> dict[str, Any]:
    """How well a promise was kept, as fields of its entry."""
    if promise.kind == "duty":
        states = dict.fromkeys(numbers.duties.get(promise.id, []))
        said = ", ".join(speaker.word(words.STATES, state) for state in states)
        return {"record": speaker.say("charter.duty", state=said), "told": True} if said else {}
    if promise.kind == "measure":
        missed = numbers.missed.get(promise.id, 0)
        if missed:
            return {"record": speaker.say("charter.missed", count=missed), "told": True}
        return {"record": speaker.say("charter.missed_none")} if promise.limit or promise.timing else {}
    kept, total = numbers.kept.get(promise.id, (0, 0))
    if not total:
        return {"record": speaker.say("charter.none_yet")}
    meter = (kept, total) if total >= ENOUGH else None
    return {"record": speaker.share("", kept, total), "told": True, "meter": meter}
