"""Booking a talk with the officer of a petition.

The one rule: a time is promised only where an office is open for it, by the calendar that the city enacted.
"""

from datetime import datetime
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from services.intake.judge import Refusal
from services.intake.pages.cases import Found
from services.intake.pages.filing import Field, hand_in
from services.intake.pages.following import opened
from services.intake.pages.site import Visit
from services.rules.choosing import rules_of
from services.rules.facts import in_effect
from services.rules.instants import Instant, of_datetime, text

BOOKINGS_AN_HOUR = 5
"""Of one case."""


async def show(request: Request) -> Response:
    """The empty form."""
    visit, found, _, _ = await opened(request)
    return await _form(visit, found, {}, [])


async def send(request: Request) -> Response:
    """Books a talk."""
    visit, found, _, now = await opened(request)
    typed, say = await visit.form(), visit.speaker.say
    name = visit.site.signer.name_of(typed.get("form", ""), "talk", visit.tenant.id, found.case)
    if name is None:
        return await _form(visit, found, typed, [Field("", say("errors.expired_form"))])
    officer, at = await _officer(visit, found), await _moment(visit, found, typed)
    if officer is None or at is None or at <= now:
        return await _form(visit, found, typed, [Field("date", say("talk.bad"))])
    if not await visit.site.throttle.allows(BOOKINGS_AN_HOUR, now, "talk", visit.tenant.id, found.case):
        return await _form(visit, found, typed, [Field("", say("errors.too_many"))], HTTPStatus.TOO_MANY_REQUESTS)
    data = {"at": text(at, visit.tenant.zone), "officer": officer}
    help_wanted = {"assistance_needed": True} if "assistance" in typed else {}
    try:
        await hand_in(visit, f"talk-{name}", "appointment.booked", data | help_wanted, now, found.case)
    except Refusal as refusal:
        return await _form(visit, found, typed, [Field("", say("errors.not_kept"))], refusal.status)
    return visit.go("p", request.path_params["link"], "thanks", "talk")


async def _form(
    visit: Visit, found: Found, typed: dict[str, str], wrong: list[Field], status: int = HTTPStatus.UNPROCESSABLE_ENTITY
) -> Response:
    return visit.page(
        "talk",
        status if wrong else HTTPStatus.OK,
        typed=typed,
        wrong=wrong,
        errors={field.name: field.message for field in reversed(wrong)},
        named=await _officer(visit, found) is not None,
        form=visit.site.signer.form("talk", visit.tenant.id, found.case),
        link=visit.request.path_params["link"],
    )


async def _officer(visit: Visit, found: Found) -> str | None:
    """The staff id of whoever has the petition now. It is never shown."""
    folded = await visit.site.explainer.read(visit.tenant.id, found.case)
    facts = in_effect(folded.case.facts) if folded is not None else ()
    for fact in reversed(facts):
        if fact.type == "complaint.transferred":
            return None
        if fact.type == "complaint.assigned":
            return fact.data.officer
    return None


async def _moment(visit: Visit, found: Found, typed: dict[str, str]) -> Instant | None:
    """The instant that was chosen, None where it is none or no office is open then."""
    try:
        chosen = datetime.fromisoformat(f"{typed.get('date', '')}T{typed.get('time', '')}:00")
        moment = of_datetime(chosen.replace(tzinfo=visit.tenant.zone))
    except (ValueError, OverflowError):
        return None
    folded = await visit.site.explainer.read(visit.tenant.id, found.case)
    if folded is None:
        return None
    office = rules_of(folded.rulebook, folded.case, None).calendar("office")
    if not office.reaches(moment):
        return None
    return moment if any(opens <= moment < closes for opens, closes in office.shifts(office.ordinal(moment))) else None
