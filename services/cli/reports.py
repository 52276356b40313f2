"""`gihan report` and `gihan duties`: what a city says of itself, as of any date.

The one rule: without a date the projection is asked, with one the log, and both say the same of the same instant.
"""

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer
from nats.aio.client import Client

from contracts import files
from contracts.streams import PARTITIONS, partition
from services.chassis import broker, clock, logs, postgres
from services.chassis.cursor import read_up_to
from services.chassis.pdf import FontMissing
from services.chassis.settings import Settings
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Data, instant, language, settings_of_reader
from services.cli.simulate import new_world, read_events, steps
from services.cli.zones import Zones
from services.intake.pages.words import Language
from services.intake.reporting import html, printed
from services.intake.reporting.document import speaker_of
from services.intake.reporting.live import counted, postings, scores
from services.intake.reporting.promises import state_of
from services.intake.reporting.table import table
from services.rules import instants
from services.rules.facts import Event, decode_event
from services.rules.instants import Instant, of_datetime
from services.rules.reporting.counting import Counting
from services.rules.reporting.enacted import enacted
from services.rules.reporting.known import TAKING_BACK, Known, Settled, TakenBack
from services.rules.reporting.report import Report
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Decided
from services.rules.world import Partition

CLOCK = "clock.advanced"


FORMATS = ("html", "pdf", "csv", "csv-bom", "json")


class Source(NamedTuple):
    """Where a report is counted from: a file of events, else the system of a data folder or of the environment."""

    data: Path | None = None
    file: Path | None = None


def report(
    tenant: Annotated[str, typer.Argument(help="The city.")],
    year: Annotated[int, typer.Option(help="Of which year.")],
    as_of: Annotated[str | None, typer.Option(help="RFC 3339: as known then, by the log; default now.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file of events, with --as-of, in place of the system.")] = None,
    form: Annotated[str, typer.Option("--format", help="html, pdf, csv, csv-bom (for spreadsheets) or json.")] = "json",
    lang: Annotated[str, typer.Option(help="ko or en.")] = "ko",
    out: Annotated[Path | None, typer.Option(help="Where to write it; default standard output.")] = None,
    data: Data = None,
) -> None:
    """How a city kept its charter in a year, per promise, month and department. The same as-of gives the same bytes."""
    with plain_errors():
        moment = None if as_of is None else instant(as_of)
        counted = asyncio.run(found(Source(data, file), tenant, year, moment))
        body = shown(counted, form, language(lang))
        if out is None:
            sys.stdout.buffer.write(body)
        else:
            out.write_bytes(body)


def duties(
    tenant: Annotated[str, typer.Argument(help="The city.")],
    year: Annotated[int, typer.Option(help="Of which year.")],
    as_of: Annotated[str | None, typer.Option(help="RFC 3339: as known then, by the log; default now.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file of events, with --as-of, in place of the system.")] = None,
    lang: Annotated[str, typer.Option(help="ko or en.")] = "ko",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """What the charter wants of the city itself in a year, such as a survey, by when, and how it stands."""
    with plain_errors():
        moment = None if as_of is None else instant(as_of)
        counted = asyncio.run(found(Source(data, file), tenant, year, moment))
        for line in duties_in_words(counted, language(lang), as_json):
            typer.echo(line)


async def found(source: Source, tenant: str, year: int, as_of: Instant | None) -> Report:
    """The report of a year as known at an instant, or now. Raises ValueError, NotEnacted, Unreadable, and what the
    servers raise."""
    if tenant not in Library(files.read()).tenants():
        raise ValueError(f"there is no charter of {tenant}; `gihan charter list` names those that there are")
    if not 1970 <= year <= 2999:
        raise ValueError("--year is a year from 1970 to 2999")
    if source.file is not None:
        if as_of is None:
            raise ValueError("with --file say --as-of: a file knows no now")
        with source.file.open("rb") as lines:
            return from_lines(lines, tenant, year, as_of)
    logs.configure("report", "critical")
    settings = settings_of_reader(source.data)
    if as_of is None:
        return await from_system(settings, tenant, year)
    return await from_log(settings, tenant, year, as_of)


def shown(report: Report, form: str, language: Language) -> bytes:
    """The report in a format. Raises ValueError for an unknown one, and where the font of documents is missing."""
    speaker = speaker_of(language, Zones()[report.tenant])
    if form == "html":
        return html.whole(report, speaker)
    if form == "pdf":
        try:
            return printed.printed(report, speaker)
        except FontMissing as error:
            raise ValueError(str(error)) from error
    if form in ("csv", "csv-bom"):
        return table(report, bom=form == "csv-bom")
    if form == "json":
        return msgspec.json.encode(report) + b"\n"
    raise ValueError(f"--format {form}: {', '.join(FORMATS)}")


def duties_in_words(report: Report, language: Language, as_json: bool) -> Iterator[str]:
    """The duties of the year, a line or a JSON object each."""
    speaker = speaker_of(language, Zones()[report.tenant])
    for duty in report.duties:
        due = "" if duty.due is None else instants.text(duty.due, speaker.zone)
        if as_json:
            instants_of = {
                name: instants.text(moment, speaker.zone)
                for name, moment in (("begins", duty.begins), ("due", duty.due), ("met_at", duty.met_at))
                if moment is not None
            }
            yield json.dumps({**msgspec.to_builtins(duty), **instants_of}, ensure_ascii=False)
        else:
            yield f"{due or '-':<25}  {duty.promise:<24} {' '.join(duty.wants):<46} {state_of(duty, speaker)}"


async def from_system(settings: Settings, tenant: str, year: int) -> Report:
    """The report as known now, from the projection. Raises ValueError where the tenant has no charter."""
    pool = await postgres.connect_pool(settings, max_size=1)
    try:
        now = await (await clock.open_clock(settings, pool)).now()
        return await counted(pool, tenant, Zones()[tenant], year, now)
    finally:
        await pool.close()


async def from_log(settings: Settings, tenant: str, year: int, as_of: Instant) -> Report:
    """The report as known at an instant, from the logs alone. Raises ValueError where the tenant has no charter."""
    nc = await broker.connect(settings)
    try:
        last = (await nc.jetstream().stream_info("CASES")).state.last_seq
        gathered = _Gathered(tenant, as_of)
        library = Library(files.read())
        worlds = [await _folded(nc, library, number, last, gathered) for number in range(PARTITIONS)]
        await _read_notices(nc, gathered)
    finally:
        await nc.close()
    return _report(worlds, gathered, year)


def from_lines(
    lines: Iterable[bytes], tenant: str, year: int, as_of: Instant, library: Library | None = None
) -> Report:
    """The report of a file of events, as `gihan simulate` reads it: what was recorded by `as_of`. Raises Unreadable."""
    bodies = [line for line in lines if line.strip()]
    read = [(event, body) for event, body in zip(read_events(bodies), bodies, strict=True) if _known_by(event, as_of)]
    gathered = _Gathered(tenant, as_of)
    for event, body in read:
        if event.tenant == tenant:
            gathered.stated(event, body)
    world = new_world(library)
    for _, decided in steps([event for event, _ in read], as_of, world):
        gathered.decided(decided)
    return _report(world.partitions, gathered, year)


class _Gathered:
    """What a log says beside its cases, as far as it was known at `as_of`."""

    def __init__(self, tenant: str, as_of: Instant) -> None:
        self.tenant = tenant
        self.as_of = as_of
        self._taken_back: list[TakenBack] = []
        self._described: dict[str, tuple[Instant, Mapping[str, Any]]] = {}
        self._answers: dict[str, Mapping[str, int]] = {}
        self._settled: dict[str, Settled] = {}

    def decided(self, rows: Iterable[Decided]) -> None:
        """Keeps what was taken back."""
        for row in rows:
            one = row.decision
            if row.tenant == self.tenant and one.kind in TAKING_BACK:
                at = one.at if one.due is None else one.due
                self._taken_back.append(TakenBack(one.kind, one.promise, at))

    def stated(self, event: Event, body: bytes) -> None:
        """Keeps what was answered to the survey, and who belongs to which department."""
        key = f"{event.source}/{event.id}"
        if event.type == "survey.answered":
            self._answers[key] = scores(msgspec.json.decode(body)["data"])
        elif event.type == "staff.described":
            self._described[key] = of_datetime(event.time), msgspec.json.decode(body)["data"]
        elif event.type == "fact.voided":
            self._described.pop(f"{event.data.source}/{event.data.id}", None)

    def noticed(self, event: Mapping[str, Any], at: Instant) -> None:
        """Keeps what became of a remedy."""
        data = event["data"]
        before = self._settled.get(data["key"], Settled(data["remedy"], at))
        if event["type"] == "remedy.declined":
            before = before._replace(declined=True)
        elif event["type"] in ("remedy.entered", "remedy.approved"):
            before = before._replace(declined=False, approved=data["amount"])
        elif event["type"] == "remedy.issued":
            before = before._replace(declined=False, paid=data["amount"])
        elif event["type"] == "remedy.covered":
            before = before._replace(covered=True)
        elif event["type"] == "remedy.separated":
            before = before._replace(covered=False, at=at)
            if "by" not in data:  # nobody has said or done anything yet
                del self._settled[data["key"]]
                return
        self._settled[data["key"]] = before

    def known(self) -> Known:
        """All of it."""
        return Known(
            self.tenant,
            self.as_of,
            postings=postings(sorted(self._described.values(), key=lambda row: row[0])),
            taken_back=tuple(self._taken_back),
            answers=self._answers,
            settled=self._settled,
        )


async def _folded(nc: Client, library: Library, number: int, last: int, gathered: _Gathered) -> Partition:
    """A partition with what was known of the tenant, and every instant passed before then."""
    world = Partition(Rulebook(library), number)
    async for entry in read_up_to(nc, "CASES", last, subject=f"cases.{number}.>"):
        event = decode_event(entry.data)
        if not _known_by(event, gathered.as_of) or event.tenant not in ("", gathered.tenant):
            continue
        gathered.decided(world.take(event, entry.sequence))
        gathered.stated(event, entry.data)
    while (at := world.next_at()) is not None and at < gathered.as_of:
        gathered.decided(world.tick(at + 1))
    world.clock = max(world.clock, gathered.as_of)
    return world


async def _read_notices(nc: Client, gathered: _Gathered) -> None:
    last = (await nc.jetstream().stream_info("NOTICES")).state.last_seq
    async for entry in read_up_to(nc, "NOTICES", last, subject=f"notices.*.{gathered.tenant}.remedy.*"):
        event = msgspec.json.decode(entry.data)
        at = instants.instant(event["time"])
        if at <= gathered.as_of:
            gathered.noticed(event, at)


def _known_by(event: Event, as_of: Instant) -> bool:
    """Whether an entry was recorded by an instant; of a tick, whether the clock had come so far."""
    if event.type == CLOCK:
        assert event.data.to is not None
        return of_datetime(event.data.to) <= as_of
    return event.recorded <= as_of


def _report(worlds: Iterable[Partition], gathered: _Gathered, year: int) -> Report:
    zone, home = Zones()[gathered.tenant], partition(gathered.tenant, gathered.tenant)
    worlds = list(worlds)
    there = enacted(worlds[home].rulebook, gathered.tenant, gathered.as_of, zone)
    known = gathered.known()._replace(live_since=there.live_since)
    counting = Counting(known, year, zone, there.charters)
    for world in worlds:
        for _, case in sorted(world.cases.items()):
            counting.take(case)
    return counting.report()
