"""Following a petition: by its link, or by receipt number and the last digits of a telephone.

The one rule: whoever does not hold a link learns nothing, not even whether a receipt number exists; the answer to a
wrong number, wrong digits and a petition that cannot be looked up is the same.
"""

import asyncio
import hmac
import re
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from services.chassis.links import Link
from services.chassis.pages import PageError
from services.chassis.vault import VaultError
from services.chassis.vault.blind_index import numbers_of
from services.intake.pages import cases
from services.intake.pages.cases import Found, Page
from services.intake.pages.filing import Field
from services.intake.pages.site import SOURCE, VISITOR, Visit
from services.intake.reserve import receipt_number
from services.rules.instants import MINUTE, SECOND, Instant

PURPOSE, READER = "second_factor", "intake/pages"
OPEN_FOR = 30 * MINUTE
"""How long the address holds that a look-up leads to: it may lie in the history of a public computer."""
TRIES_OF_A_RECEIPT = 5
TRIES_OF_AN_ADDRESS = 30
"""Look-ups in an hour. Five of ten thousand digits are one chance in two thousand."""
SEALED = "corruption_report"
"""Petitions whose petitioner the vault shows to nobody but audit: they open by their link alone."""
FOLD_SECONDS = 3.0
"""How long the page after filing waits for its dates."""


async def show_look_up(request: Request) -> Response:
    """The empty form."""
    return _form(Visit.of(request), {}, [])


async def look_up(request: Request) -> Response:
    """Leads to the page of a petition, by an address that holds for half an hour."""
    visit = Visit.of(request)
    site, say = visit.site, visit.speaker.say
    typed, now, visitor = await visit.form(), await site.clock.now(), visit.visitor()
    name = site.signer.name_of(typed.get("form", ""), "follow", visit.tenant.id, visitor)
    if name is None or visitor != request.cookies.get(VISITOR):
        return _form(visit, typed, [Field("", say("errors.expired_form"))])
    receipt, digits = _receipt(typed.get("receipt", "")), _four(typed.get("digits", ""))
    wrong = [Field("receipt", say("follow.bad_receipt"))] if receipt is None else []
    wrong += [Field("digits", say("follow.bad_digits"))] if digits is None else []
    if receipt is None or digits is None:
        return _form(visit, typed, wrong)
    # Counted before anything is compared, so that a thousand at once are no more than one after another.
    about = ("receipt", visit.tenant.id, receipt)
    of_address = await site.throttle.allows(TRIES_OF_AN_ADDRESS, now, "address", visit.address)
    if not (of_address and await site.throttle.allows(TRIES_OF_A_RECEIPT, now, *about)):
        return _form(visit, typed, [Field("", say("follow.locked"))], HTTPStatus.TOO_MANY_REQUESTS)
    found = await cases.find(site.pool, visit.tenant, receipt)
    if found is None or not await _knows(visit, found, digits):
        return _form(visit, typed, [Field("", say("follow.not_found"))])
    await site.throttle.forget(*about)
    return visit.go("p", site.signer.link(visit.tenant.id, found.case, receipt, found.epoch, now + OPEN_FOR))


async def show(request: Request) -> Response:
    """The page of a petition."""
    visit, found, link, now = await opened(request)
    page = await cases.read(visit.site.pool, visit.site.explainer, found, visit.speaker, now)
    answered = page is not None and bool(page.closing) and await has_answered(visit, found, page)
    until = None if link.expires is None else visit.speaker.when(link.expires * SECOND)
    return visit.page("case", found=found, page=page, until=until, answered=answered, link=_of(request))


async def received(request: Request) -> Response:
    """What a petitioner is told after filing: the receipt number, the promised dates, and the address to keep."""
    visit, found, _, now = await opened(request)
    page = None
    for _ in range(int(FOLD_SECONDS / 0.1)):
        page = await cases.read(visit.site.pool, visit.site.explainer, found, visit.speaker, now)
        if page is not None:
            break
        await asyncio.sleep(0.1)
    again = "again" in request.query_params
    return visit.page("received", found=found, page=page, again=again, address=absolute(visit, "p", _of(request)))


async def renew(request: Request) -> Response:
    """Takes back every link to a petition, and gives out a new one."""
    visit, found, _, _ = await opened(request)
    epoch = await visit.site.pool.fetchval(
        "insert into intake.link_epochs as e values ($1, $2, 1) on conflict (tenant, case_id)"
        " do update set epoch = e.epoch + 1 returning epoch",
        visit.tenant.id,
        found.case,
    )
    link = visit.site.signer.link(visit.tenant.id, found.case, found.receipt, epoch)
    return visit.go("renewed", link)


async def renewed(request: Request) -> Response:
    """The new address."""
    visit, found, _, _ = await opened(request)
    return visit.page("renewed", found=found, link=_of(request), address=absolute(visit, "p", _of(request)))


async def opened(request: Request) -> tuple[Visit, Found, Link, Instant]:
    """The petition that the link in the address opens. Raises PageError for one that does not."""
    visit = Visit.of(request)
    now, link = await visit.site.clock.now(), Link.parse(_of(request))
    found = await cases.find(visit.site.pool, visit.tenant, link.receipt) if link else None
    if link is None or found is None or not visit.site.signer.holds(link, visit.tenant.id, found.case, found.epoch):
        raise PageError(HTTPStatus.NOT_FOUND, "no_link")
    if link.over(now):
        raise PageError(HTTPStatus.GONE, "expired")
    return visit, found, link, now


def absolute(visit: Visit, *parts: str) -> str:
    """An address to write down, with the host under which the page was asked for."""
    return f"{visit.request.url.scheme}://{visit.request.url.netloc}{visit.path(*parts)}"


async def has_answered(visit: Visit, found: Found, page: Page) -> bool:
    """Whether the survey about this end of the case was answered."""
    return bool(
        await visit.site.pool.fetchval(
            "select exists (select from read.event_fate where tenant = $1 and source = $2 and id = $3)",
            visit.tenant.id,
            SOURCE,
            survey_id(visit, found, page),
        )
    )


def survey_id(visit: Visit, found: Found, page: Page) -> str:
    """The id of the one answer about this end of the case."""
    return f"survey-{visit.site.signer.digest('survey', visit.tenant.id, found.case, page.closing).hex()[:32]}"


async def _knows(visit: Visit, found: Found, digits: str) -> bool:
    """Whether these are the last digits of a number of the petitioner; read from the vault, on record."""
    if found.kind == SEALED or found.subject_ref is None:
        return False
    try:
        async with visit.site.pool.acquire() as conn:
            person = await visit.site.vault.read_person(conn, visit.tenant.id, found.subject_ref, PURPOSE, READER)
    except VaultError:
        return False
    return any(len(number) >= 4 and hmac.compare_digest(number[-4:], digits) for number in numbers_of(person))


def _form(
    visit: Visit, typed: dict[str, str], wrong: list[Field], status: int = HTTPStatus.UNPROCESSABLE_ENTITY
) -> Response:
    visitor = visit.visitor()
    answer = visit.page(
        "follow",
        status if wrong else HTTPStatus.OK,
        typed=typed,
        wrong=wrong,
        errors={field.name: field.message for field in reversed(wrong)},
        form=visit.site.signer.form("follow", visit.tenant.id, visitor),
    )
    return visit.with_cookie(answer, visitor)


def _of(request: Request) -> str:
    return str(request.path_params["link"])


def _receipt(text: str) -> str | None:
    """A receipt number as we write it, None where a digit is wrong."""
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch(r"[0-9]{10}", digits):
        return None
    number = receipt_number(int(digits[:9]))
    return number if number == f"{digits[:9]}-{digits[9]}" else None


def _four(text: str) -> str | None:
    return text if re.fullmatch(r"[0-9]{4}", text) else None
