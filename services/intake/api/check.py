"""A trial for those who build a publishing system: what would be said to their events.

The one rule it protects: nothing of a trial is kept, and nobody is told of it.
"""

from fastapi import APIRouter, Request

from services.chassis.http import said
from services.intake.api.callers import Asking
from services.intake.api.events import MOST
from services.intake.api.serving import Given, problem, problems
from services.intake.check import Checked, Wrong, check_text
from services.intake.judge import Publisher, Refusal
from services.reading.visibility import Caller, may_publish

router = APIRouter(prefix="/v1", tags=["events"])


@router.post(
    "/check",
    summary="Try one event, or an array of up to 1,000",
    response_model=list[Checked],
    response_model_exclude_none=True,
    responses=problems(400, 413, 422),
)
async def check(request: Request, parts: Given, caller: Asking) -> list[Checked]:
    """Says of each event what POST /v1/events would, as far as it can be told by the event alone."""
    publisher = Publisher(caller.tenant, caller.source)
    try:
        found = check_text(await request.body(), publisher, parts.tenants, await parts.clock.now())
        if not 1 <= len(found) <= MOST:
            raise Refusal("wrong_number", f"An array holds 1 to {MOST} events. Split a longer one.", "")
    except Refusal as refusal:
        raise problem(refusal) from None
    return [_in_their_language(_as_asked(checked, caller)) for checked, _ in found]


def _as_asked(checked: Checked, caller: Caller) -> Checked:
    """The same, where the event is right and yet not this caller's to state."""
    if checked.type is None or may_publish(caller, checked.type):
        return checked
    wrong = Wrong(pointer="/type", code="not_allowed", detail="This is not for your role to state.")
    return checked.model_copy(update={"right": False, "wrong": [*checked.wrong, wrong]})


def _in_their_language(checked: Checked) -> Checked:
    return checked.model_copy(
        update={"wrong": [one.model_copy(update={"detail": said(one.code, one.detail)}) for one in checked.wrong]}
    )
