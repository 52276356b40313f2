"""What a citizen tells of a petition: a promise that was broken, and how it went.

The one rule: it becomes an event like any other, once, and only in the hands of whoever holds the link to the case.
"""

from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from contracts.events import SURVEY_QUESTIONS
from services.chassis.pages import PageError
from services.intake import admission
from services.intake.judge import Refusal
from services.intake.pages import cases
from services.intake.pages.cases import Found, Page
from services.intake.pages.filing import Field, free_text, hand_in
from services.intake.pages.following import has_answered, opened, survey_id
from services.intake.pages.site import Visit

GROUNDS = (
    *("late", "unkind", "careless", "misguidance", "repeat_visit", "wrong_certificate"),
    *("error", "wilful", "standard"),
)
VIAS = ("phone", "visit", "other")
SCORES = ("5", "4", "3", "2", "1")
THANKS = ("report", "survey", "talk")
TEXT_LIMIT = 2_000
REPORTS_AN_HOUR = 10
"""Of one case."""
_OPTION_CHARACTERS = 60


async def show_report(request: Request) -> Response:
    """The empty form, where the address may name the promise."""
    visit, found, _, _ = await opened(request)
    return await _report(visit, found, {"promise": request.query_params.get("promise", "")}, [])


async def report(request: Request) -> Response:
    """Hands in a report of a broken promise."""
    visit, found, _, now = await opened(request)
    typed, say = await visit.form(), visit.speaker.say
    name = visit.site.signer.name_of(typed.get("form", ""), "report", visit.tenant.id, found.case)
    wrong = [] if name else [Field("", say("errors.expired_form"))]
    if typed.get("ground") not in GROUNDS:
        wrong.append(Field("ground", say("errors.choose", field=say("report.ground"))))
    wrong += free_text(visit, "text", "report.text", typed.get("text", ""), TEXT_LIMIT)
    if wrong:
        return await _report(visit, found, typed, wrong)
    if not await visit.site.throttle.allows(REPORTS_AN_HOUR, now, "report", visit.tenant.id, found.case):
        return await _report(visit, found, typed, [Field("", say("errors.too_many"))], HTTPStatus.TOO_MANY_REQUESTS)
    known = {option for _, options in await _options(visit, found) for option, _ in options}
    data: dict[str, Any] = {"ground": typed["ground"]}
    data |= {"via": typed["via"]} if typed.get("via") in VIAS else {}
    data |= {"promise": typed["promise"]} if typed.get("promise") in known else {}
    data |= {"text": typed["text"]} if typed.get("text") else {}
    try:
        await hand_in(visit, f"fault-{name}", "fault.reported", data, now, found.case)
    except Refusal as refusal:
        return await _report(visit, found, typed, [Field("", say("errors.not_kept"))], refusal.status)
    return visit.go("p", request.path_params["link"], "thanks", "report")


async def show_survey(request: Request) -> Response:
    """The survey, once a case is closed."""
    visit, found, _, now = await opened(request)
    page = await cases.read(visit.site.pool, visit.site.explainer, found, visit.speaker, now)
    return await _survey(visit, found, {}, [], page)


async def survey(request: Request) -> Response:
    """Hands in how it went. A second answer about the same end changes nothing."""
    visit, found, _, now = await opened(request)
    typed, say = await visit.form(), visit.speaker.say
    wrong = []
    if typed.get("satisfaction") not in SCORES:
        wrong.append(Field("satisfaction", say("errors.choose", field=say("survey.satisfaction"))))
    wrong += free_text(visit, "comment", "survey.comment", typed.get("comment", ""), TEXT_LIMIT)
    page = await cases.read(visit.site.pool, visit.site.explainer, found, visit.speaker, now)
    if wrong or page is None or not page.closing:
        return await _survey(visit, found, typed, wrong, page)
    data: dict[str, Any] = {name: int(typed[name]) for name in SURVEY_QUESTIONS if typed.get(name) in SCORES}
    data |= {"comment": typed["comment"]} if typed.get("comment") else {}
    try:
        await hand_in(visit, survey_id(visit, found, page), "survey.answered", data, now, found.case)
    except Refusal as refusal:
        return await _survey(visit, found, typed, [Field("", say("errors.not_kept"))], page, refusal.status)
    return visit.go("p", request.path_params["link"], "thanks", "survey")


async def thanks(request: Request) -> Response:
    """After a form was handed in."""
    visit, found, _, _ = await opened(request)
    what = request.path_params["what"]
    if what not in THANKS:
        raise PageError(HTTPStatus.NOT_FOUND, "not_found")
    return visit.page("thanks", what=what, found=found, link=request.path_params["link"])


async def _report(
    visit: Visit, found: Found, typed: dict[str, str], wrong: list[Field], status: int = HTTPStatus.UNPROCESSABLE_ENTITY
) -> Response:
    return visit.page(
        "report",
        status if wrong else HTTPStatus.OK,
        typed=typed,
        wrong=wrong,
        errors={field.name: field.message for field in reversed(wrong)},
        options=await _options(visit, found),
        grounds=GROUNDS,
        vias=VIAS,
        form=visit.site.signer.form("report", visit.tenant.id, found.case),
        link=visit.request.path_params["link"],
        limit=TEXT_LIMIT,
    )


async def _survey(
    visit: Visit,
    found: Found,
    typed: dict[str, str],
    wrong: list[Field],
    page: Page | None,
    status: int = HTTPStatus.UNPROCESSABLE_ENTITY,
) -> Response:
    closed = page is not None and bool(page.closing)
    return visit.page(
        "survey",
        status if wrong else HTTPStatus.OK,
        typed=typed,
        wrong=wrong,
        errors={field.name: field.message for field in reversed(wrong)},
        scores=SCORES,
        questions=SURVEY_QUESTIONS,
        closed=closed,
        answered=page is not None and closed and await has_answered(visit, found, page),
        link=visit.request.path_params["link"],
        limit=TEXT_LIMIT,
    )


async def _options(visit: Visit, found: Found) -> list[tuple[str, list[tuple[str, str]]]]:
    """The promises of the charter to choose from, those of this case first, by the heading of each group."""
    charter = admission.charter_of(visit.tenant, await visit.site.clock.now())
    if charter is None:
        return []
    rows = await visit.site.pool.fetch(
        'select distinct promise from read.decisions where tenant = $1 and "case" = $2 and promise is not null',
        visit.tenant.id,
        found.case,
    )
    here = {row["promise"] for row in rows}
    law = {promise.id for promise in charter.law.promises} if charter.law else set()
    says = {
        one.id: one.says[visit.language]
        for one in charter.promises.values()
        if one.kind != "duty" and one.owed_by == "office" and (one.id not in law or one.id in here)
    }
    says |= {clause.id: clause.says[visit.language] for clause in charter.clauses.values()}
    groups = [
        (visit.speaker.say("report.of_case"), [(id, _short(text)) for id, text in says.items() if id in here]),
        (visit.speaker.say("report.of_charter"), [(id, _short(text)) for id, text in says.items() if id not in here]),
    ]
    return [(name, options) for name, options in groups if options]


def _short(text: str) -> str:
    return text if len(text) <= _OPTION_CHARACTERS else f"{text[: _OPTION_CHARACTERS - 1]}…"
