"""How well a city kept its charter in a year, as a page and as files to take home.

The one rule: the page and its files are one report, and a year that has not begun has none.
"""

from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.pages import PageError
from services.intake.pages.site import Visit
from services.intake.reporting import html
from services.intake.reporting.document import speaker_of
from services.intake.reporting.table import table
from services.rules.instants import local
from services.rules.reporting.report import Report

YEARS = 5
"""How many years back there is a page: each is counted from the whole record."""
FILES = {"pdf": "application/pdf", "csv": "text/csv; charset=utf-8", "json": "application/json"}


async def newest(request: Request) -> Response:
    """Leads to the report of this year."""
    visit = Visit.of(request)
    return visit.go("report", str(await _this_year(visit)))


async def show(request: Request) -> Response:
    """The page."""
    visit = Visit.of(request)
    report, this_year = await _report(visit), await _this_year(visit)
    speaker = speaker_of(visit.language, visit.tenant.zone)
    return visit.page(
        "report_of_year",
        title=speaker.say("report.title", city=visit.city, year=report.year),
        sections=html.sections(report, speaker),
        say=speaker.say,
        year=report.year,
        years=[year for year in range(this_year, this_year - YEARS, -1) if year != report.year],
    )


async def take(request: Request) -> Response:
    """A file: pdf, csv (with `bom` for spreadsheets) or json."""
    visit, form = Visit.of(request), request.path_params["form"]
    if form not in FILES:
        raise PageError(HTTPStatus.NOT_FOUND, "not_found")
    report = await _report(visit)
    if form == "pdf":
        body = await visit.site.shelf.printed(visit.tenant, report.year, visit.language)
    elif form == "csv":
        body = table(report, bom="bom" in request.query_params)
    else:
        body = msgspec.json.encode(report)
    name = f"{visit.tenant.id}-{report.year}-{visit.language}.{form}"
    return Response(body, media_type=FILES[form], headers={"Content-Disposition": f'attachment; filename="{name}"'})


async def _report(visit: Visit) -> Report:
    """The report of the year in the address. Raises PageError for one that has none."""
    text, this_year = visit.request.path_params["year"], await _this_year(visit)
    if not (text.isascii() and text.isdigit() and this_year - YEARS < int(text[:5]) <= this_year):
        raise PageError(HTTPStatus.NOT_FOUND, "not_found")
    try:
        return await visit.site.shelf.report(visit.tenant, int(text))
    except ValueError:
        raise PageError(HTTPStatus.NOT_FOUND, "not_found") from None


async def _this_year(visit: Visit) -> int:
    return local(await visit.site.clock.now(), visit.tenant.zone).year
