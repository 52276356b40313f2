"""`gihan`: one entry point. Every command has --json where it prints anything but JSON."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from contracts import files
from contracts.streams import PARTITIONS
from deploy.embedded import AlreadyRuns, Embedded, data_folder, environment_of
from services.chassis import logs
from services.chassis.clock import RealClock
from services.chassis.failpoints import FAILPOINTS
from services.chassis.settings import Settings
from services.cli import backtest as backtests
from services.cli import backup as backups
from services.cli import bounce as bouncing
from services.cli import (
    calculate,
    charters,
    dead,
    demo,
    golive,
    notice,
    parallel,
    publisher,
    reappend,
    remedies,
    reports,
    running,
)
from services.cli import check as checking
from services.cli import coverage as covering
from services.cli import explain as explaining
from services.cli import replay as replays
from services.cli import simulate as simulation
from services.cli import subject_access as accessing
from services.cli import vault as vaults
from services.cli.auditing import audit as auditing
from services.cli.auditing import evidence
from services.cli.errors import plain_errors as _plain_errors
from services.intake.judge import Publisher
from services.rules import instants
from services.rules.calendar import Calendar
from services.rules.charter import parse_charter
from services.rules.rulebook import Library

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
charter_app = typer.Typer(no_args_is_help=True, help="The charters that come with this Gihan.")
app.add_typer(charter_app, name="charter")
app.add_typer(dead.app, name="dead")
app.add_typer(vaults.app, name="vault")
app.command()(vaults.erase)
app.command()(accessing.subject_access)
app.command()(bouncing.bounce)
app.add_typer(publisher.app, name="publisher")
app.add_typer(notice.app, name="notice")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[Path | None, typer.Option(help="Data folder; default GIHAN_DATA, else ./data.")]

Contracts = Annotated[
    Path | None,
    typer.Option(help="Folder with charters, calendars and law of your own; default GIHAN_CONTRACTS, else none."),
]


@app.command()
def up(data: Data = None) -> None:
    """Runs the embedded servers and the three services, until interrupted."""
    with _plain_errors():
        asyncio.run(running.up(data or data_folder()))


@app.command("demo")
def demo_command(
    seed: Annotated[int, typer.Option(help="Seed of the generated week.")] = 1,
    keep: Annotated[
        bool | None, typer.Option(help="Leave it running afterwards, with links; default: where a terminal is watched.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder; default a new one, removed afterwards.")] = None,
    as_json: AsJson = False,
) -> None:
    """A working week of five cities through the whole system, on a stepped clock."""
    with _plain_errors():
        watched = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
        stays = watched if keep is None else keep
        raise typer.Exit(asyncio.run(demo.run(data, seed, stays, sys.stderr.isatty(), as_json)))


@app.command()
def provision(
    upgrade: Annotated[
        bool,
        typer.Option("--upgrade", help="After a new release: add to streams what it needs."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what --upgrade would do, and do nothing.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Makes streams, tables and publishers, and enacts the files; as often as one likes."""
    with _plain_errors():
        made = asyncio.run(_provision(data or data_folder(), upgrade, dry_run))
    if as_json:
        typer.echo(json.dumps(made))
        return
    for what, names in made.items():
        separator = "\n  " if what == "changes" else ", "
        typer.echo(f"{what}: {separator.join(names) or '-'}")


async def _provision(data: Path, upgrade: bool, dry_run: bool) -> dict[str, list[str]]:
    tenants = running.read_tenants()
    async with Embedded(data, tenants) as servers:
        if dry_run:
            return await running.planned(servers, tenants)
        return await running.provisioned(servers, tenants, upgrade=upgrade)


@app.command("failpoints")
def failpoints_command(as_json: AsJson = False) -> None:
    """Where tests can make a service die, fail or stall: GIHAN_FAILPOINTS=name:kill|raise|sleep|stop[:p]."""
    if as_json:
        typer.echo(json.dumps([{"name": name, "at": at} for name, at in FAILPOINTS.items()]))
        return
    for name, at in FAILPOINTS.items():
        typer.echo(f"{name:<30} {at}")


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Copies the logs, the vault and intake's book to a folder, also while everything runs."""
    with _plain_errors():
        there = (data or data_folder()).absolute()
        done = asyncio.run(_backup(there, folder.absolute()))
        kept = os.environ.get("GIHAN_VAULT_KEYS") or there / "secrets" / "vault"
    if as_json:
        typer.echo(json.dumps(done._asdict()))
        return
    _show(done)
    typer.echo(f"The vault's master keys are not in it, and without them nobody reads a name: keep {kept} elsewhere.")


async def _backup(data: Path, folder: Path) -> backups.Done:
    if "NATS_URL" in os.environ:
        return await backups.backup(Settings.from_env("backup"), folder)
    keys = {"GIHAN_VAULT_KEYS": str(data / "secrets" / "vault")}
    try:
        async with Embedded(data, running.read_tenants()) as servers:
            return await backups.backup(Settings.from_env("backup", servers.environment("backup")), folder)
    except AlreadyRuns:
        return await backups.backup(Settings.from_env("backup", environment_of(data, "backup") | keys), folder)


@app.command()
def restore(
    folder: Annotated[Path | None, typer.Argument(help="A backup; none with --reappend alone.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of what there is.")] = False,
    only: Annotated[str | None, typer.Option(help="log or database; default both.")] = None,
    again: Annotated[
        bool, typer.Option("--reappend", help="Then append what the database knows and the log lacks.")
    ] = False,
    without_names: Annotated[
        bool, typer.Option("--without-names", help="Although its master keys are gone: all but the personal data.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Puts a backup back, while no service runs."""
    with _plain_errors():
        if folder is None and not again:
            raise ValueError("name the folder of a backup, or say --reappend")
        parts = backups.parts_of(only)
        there = (data or data_folder()).absolute()
        done, written = asyncio.run(_restore(there, folder, parts, replace, without_names, again))
    if as_json:
        typer.echo(json.dumps({"restored": done and done._asdict(), "reappended": written and written._asdict()}))
        return
    if done is not None:
        _show(done)
    if written is not None:
        typer.echo(
            f"appended again behind {written.last_before}: {written.facts} facts, {written.others} ticks and rules; "
            f"{written.unknown} places of which nothing is known. The projections begin anew."
        )


async def _restore(
    data: Path,
    folder: Path | None,
    parts: tuple[backups.Part, ...],
    replace: bool,
    without_names: bool,
    again: bool,
) -> tuple[backups.Done | None, reappend.Reappended | None]:
    if "NATS_URL" in os.environ:
        return await _put_back(Settings.from_env("restore"), folder, parts, replace, without_names, again)
    async with Embedded(data, running.read_tenants()) as servers:
        settings = Settings.from_env("restore", servers.environment("restore"))
        return await _put_back(settings, folder, parts, replace, without_names, again)


async def _put_back(
    settings: Settings,
    folder: Path | None,
    parts: tuple[backups.Part, ...],
    replace: bool,
    without_names: bool,
    again: bool,
) -> tuple[backups.Done | None, reappend.Reappended | None]:
    done = None if folder is None else await backups.restore(settings, folder, parts, replace, without_names)
    return done, await reappend.reappend(settings) if again else None


def _show(done: backups.Done) -> None:
    for name, count in {**done.streams, **done.tables}.items():
        typer.echo(f"{name:<24} {count:>9}")


@app.command()
def deadline(
    cases: Annotated[Path | None, typer.Option(help="JSON lines of cases; - reads standard input.")] = None,
    received_at: Annotated[str | None, typer.Option(help="RFC 3339 with an offset.")] = None,
    amount: Annotated[int, typer.Option(min=0)] = 1,
    unit: Annotated[str, typer.Option(help="A unit such as working_hours or statutory_days.")] = "statutory_days",
    calendar: Annotated[str, typer.Option(help="Name of the calendar.")] = "kr",
    as_json: AsJson = False,
) -> None:
    """The calculator: one deadline, or JSON lines in and out."""
    with _plain_errors():
        table = _calendar(calendar)
        if cases is None:
            if received_at is None:
                raise ValueError("give --received-at and --amount and --unit, or --cases FILE")
            case = {"received_at": received_at, "amount": amount, "unit": unit}
            answer = calculate.of_case(case, table)
            if "error" in answer:
                raise ValueError(answer["error"])
            typer.echo(json.dumps({"due": answer["due"]}) if as_json else answer["due"])
            return
        lines = sys.stdin if str(cases) == "-" else cases.open(encoding="utf-8")
        with lines:
            failed = False
            for answer in calculate.of_lines(lines, table):
                failed |= "error" in answer
                typer.echo(json.dumps(answer, ensure_ascii=False))
    if failed:
        raise typer.Exit(1)


def _calendar(name: str) -> Calendar:
    library = Library(files.read())
    _, file = library.newest_calendar(name)
    return library.compiled(file, file.hours["office"])


def _instant(text: str) -> instants.Instant:
    """A time as typed. Raises ValueError that says how to write one."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text} is no time: write one such as 2026-03-12T18:00:00+09:00") from None
    return instants.instant(text)


@app.command()
def simulate(
    file: Annotated[Path, typer.Argument(help="CloudEvents without personal data, one a line; - for standard input.")],
    until: Annotated[str | None, typer.Option(help="RFC 3339: how far the clock goes on at the end.")] = None,
    contracts: Contracts = None,
    workers: Annotated[int | None, typer.Option(help="Processes; default: every core, for a large file.")] = None,
) -> None:
    """Folds a file of events without any server; prints the decisions, a JSON object a line."""
    with _plain_errors(), tempfile.NamedTemporaryFile() as copy:
        if str(file) == "-":
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.flush()
            file = Path(copy.name)
        limit = None if until is None else _instant(until)
        columns = ("{task.completed:,} events", TimeElapsedColumn())
        # Without a thread of its own: processes begin as copies of this one.
        bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), auto_refresh=False)
        with bar as shown:
            task = shown.add_task("")

            def told(events: int) -> None:
                shown.update(task, completed=events, refresh=True)

            lines = parallel.simulated(file, limit, contracts, workers or parallel.workers_for(file), told)
            sys.stdout.writelines(f"{line}\n" for line in lines)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="CloudEvents as published, one (or an array) a line; - for stdin.")],
    tenant: Annotated[str | None, typer.Option(help="Whose system sends them; default what each event says.")] = None,
    source: Annotated[str | None, typer.Option(help="The system that sends them, with --tenant.")] = None,
    at: Annotated[str | None, typer.Option(help="RFC 3339: as if sent at that time; default now.")] = None,
    as_json: AsJson = False,
) -> None:
    """What intake would say to a file of events, without any server; ends with 1 where a line is wrong."""
    with _plain_errors():
        if (tenant is None) != (source is None):
            raise ValueError("give --tenant and --source together, or neither")
        sender = None if tenant is None or source is None else Publisher(tenant, source)
        now = asyncio.run(RealClock().now()) if at is None else _instant(at)
        lines = sys.stdin.buffer if str(file) == "-" else file.open("rb")
        total = wrong = 0
        with lines:
            for row in checking.check_lines(lines, sender, running.read_tenants(), now):
                total, wrong = total + 1, wrong + (not row["right"])
                for line in [json.dumps(row, ensure_ascii=False)] if as_json else checking.in_words(row):
                    typer.echo(line)
    if not as_json:
        typer.echo(f"{total} events, {wrong} wrong")
    if wrong:
        raise typer.Exit(1)


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="CloudEvents of open cases, as published, one a line.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Brings over the open cases of a municipality that goes live: events of any age, marked as imported."""
    with _plain_errors(), file.open("rb") as lines:
        _bring(data, golive.read_lines(lines), as_json)


@app.command()
def staff(
    file: Annotated[Path, typer.Argument(help="The city's directory: CSV with a head line, or a JSON array.")],
    tenant: Annotated[str, typer.Option(help="Whose directory.")],
    at: Annotated[str | None, typer.Option(help="RFC 3339: as of when; the same again changes nothing.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Describes the people behind staff ids; their names and numbers go into the vault."""
    with _plain_errors():
        city = running.read_tenants().get(tenant)
        if city is None:
            raise ValueError(f"the tenants' file knows no {tenant}")
        moment = at or instants.text(asyncio.run(RealClock().now()), city.zone)
        _instant(moment)
        form = "json" if file.suffix == ".json" else "csv"
        _bring(data, golive.staff_events(file.read_text(encoding="utf-8-sig"), form, city, moment), as_json)


def _bring(data: Path | None, lines: Iterable[golive.Line], as_json: bool) -> None:
    logs.configure("import", "critical")
    environment = os.environ if "NATS_URL" in os.environ else environment_of(data or data_folder(), "import")
    settings = Settings.from_env("import", environment)

    async def run() -> tuple[int, int]:
        total = refused = 0
        async for row in golive.bring(settings, lines):
            total, refused = total + 1, refused + (row["status"] == "refused")
            if as_json:
                typer.echo(json.dumps(row, ensure_ascii=False))
            elif row["status"] == "refused":
                typer.echo(golive.in_words(row))
        return total, refused

    total, refused = asyncio.run(run())
    if not as_json:
        typer.echo(f"{total} events, {refused} refused")
    if refused:
        raise typer.Exit(1)


def _settings_of_reader(data: Path | None) -> Settings:
    """Those of whoever only reads: of the environment, else of what runs in a data folder."""
    joined = {} if "NATS_URL" in os.environ else environment_of(data or data_folder(), "replay")
    return Settings.from_env("replay", os.environ | joined)


@app.command()
def explain(
    case: Annotated[str, typer.Argument(help="TENANT/CASE")],
    promise: Annotated[str, typer.Argument(help="A promise of the charter or law; without it, all.")] = "",
    file: Annotated[
        Path | None, typer.Option(help="A file of events, as for simulate; else the running system.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="RFC 3339: as it was known at that time, and no later.")] = None,
    hindsight: Annotated[
        bool, typer.Option("--hindsight", help="With --at: as it was at that time by all that is known now.")
    ] = False,
    lang: Annotated[str, typer.Option(help="ko or en.")] = "ko",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Why the date is the date: the clause, every stretch that counts, every one that does not."""
    with _plain_errors():
        asked = explaining.asked(case, promise)
        language = explaining.language(lang)
        moment = None if at is None else _instant(at)
        if file is None:
            found = asyncio.run(explaining.from_system(_settings_of_reader(data), asked, moment, hindsight))
        else:
            with file.open("rb") as lines:
                found = explaining.from_events(simulation.read_events(lines), asked, moment, hindsight)
    typer.echo(explaining.as_text(found, language, as_json), nl=False)


@app.command()
def replay(
    verify: Annotated[bool, typer.Option("--verify", help="Compare the live projection with the log.")] = False,
    anew: Annotated[bool, typer.Option("--rebuild", help="Fold the log beside the live projection, and swap.")] = False,
    partition: Annotated[int | None, typer.Option(min=0, max=15, help="--verify or --rebuild this one alone.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339: the state as it was known then.")] = None,
    case: Annotated[str | None, typer.Option(help="TENANT/CASE: its facts, decisions and standing.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """What the log alone says. Publishes nothing; only --rebuild writes, and into the projection alone. --verify ends
    with 1 where anything differs."""
    with _plain_errors():
        if [verify, anew, bool(until or case)].count(True) != 1:
            raise ValueError("give one of --verify, --rebuild, --until and --case (the last two may go together)")
        moment = None if until is None else _instant(until)
        logs.configure("replay", "critical")
        settings = _settings_of_reader(data)
        numbers = range(PARTITIONS) if partition is None else [partition]
        if verify:
            raise typer.Exit(asyncio.run(replays.show_verdicts(settings, numbers, as_json)))
        if anew:
            asyncio.run(replays.show_rebuilt(settings, numbers, as_json))
        elif case is not None:
            asyncio.run(replays.show_case(settings, explaining.asked(case, ""), moment, as_json))
        else:
            assert moment is not None
            asyncio.run(replays.show_known(settings, moment, as_json))


@app.command("remedies")
def remedies_command(
    by: Annotated[list[str] | None, typer.Option(help="Besides by city: department, clause, promise or month.")] = None,
    tenant: Annotated[str | None, typer.Option(help="This city alone.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the book with CASES, worked out anew, and with NOTICES.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """What is owed and paid to citizens. --check ends with 1 where the book is another than the logs say."""
    with _plain_errors():
        logs.configure("remedies", "critical")
        settings = _settings_of_reader(data)
        raise typer.Exit(asyncio.run(remedies.show(settings, by or [], tenant, check, as_json)))


def _settings_of_auditor(data: Path | None) -> Settings:
    """Of what runs in a data folder: its NATS as whoever only reads, its database as the owner, who sees all of it."""
    if "NATS_URL" in os.environ:
        return Settings.from_env("replay")
    there = data or data_folder()
    owner = environment_of(there, "operator")
    database = {name: value for name, value in owner.items() if name.startswith("DATABASE_")}
    return Settings.from_env("replay", os.environ | environment_of(there, "replay") | database)


@app.command()
def audit(
    book: Annotated[
        Path | None, typer.Option(help="JSON lines: what publishers were promised, what others saw.")
    ] = None,
    gateway: Annotated[Path | None, typer.Option(help="Folder of the development gateways' record.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder; named, it is searched for canaries.")] = None,
    settled: Annotated[bool, typer.Option(help="Everything is at rest: what is under way is wrong too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judges the running system from outside; ends with 1 where a guarantee is broken. Where NATS_URL names servers, it
    is best that of the user `replay`, who can only read."""
    with _plain_errors():
        lines = iter(()) if book is None else book.open(encoding="utf-8")
        found = asyncio.run(
            auditing.audit(_settings_of_auditor(data), evidence.Book.read(lines), gateway, data, settled)
        )
    if as_json:
        rows = [violation._asdict() for violation in found.violations]
        typer.echo(json.dumps({"violations": rows, "looked_at": found.looked_at}, ensure_ascii=False))
    else:
        typer.echo("\n".join(auditing.in_words(found)))
    if found.violations:
        raise typer.Exit(1)


@app.command()
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
    with _plain_errors():
        moment = None if as_of is None else _instant(as_of)
        found = asyncio.run(reports.found(reports.Source(data, file), tenant, year, moment))
        body = reports.shown(found, form, explaining.language(lang))
        if out is None:
            sys.stdout.buffer.write(body)
        else:
            out.write_bytes(body)


@app.command()
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
    with _plain_errors():
        moment = None if as_of is None else _instant(as_of)
        found = asyncio.run(reports.found(reports.Source(data, file), tenant, year, moment))
        for line in reports.duties_in_words(found, explaining.language(lang), as_json):
            typer.echo(line)


@app.command()
def backtest(
    file: Annotated[Path, typer.Argument(help="CSV (or .csv.gz) with case_id, opened_at, target_at, closed_at, ...")],
    tenant: Annotated[str, typer.Option(help="Whose charter.")],
    workers: Annotated[int | None, typer.Option(help="Processes; default: every core.")] = None,
    as_json: AsJson = False,
) -> None:
    """A history with known targets against a charter: how often do we agree?"""
    with _plain_errors():
        result = backtests.backtest(tenant, file, workers or parallel.cores()).as_json()
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    for line in result.pop("unreadable_rows"):
        typer.echo(f"unreadable: {line}", err=True)
    for name, value in result.items():
        typer.echo(f"{name.replace('_', ' '):<30} {value}{' %' if name.endswith('percent') else ''}")


@charter_app.command("list")
def charter_list(as_json: AsJson = False) -> None:
    """The charters, their versions and how many promises each holds."""
    with _plain_errors():
        library = Library(files.read())
        rows = [
            {
                "tenant": tenant,
                "version": charter.version,
                "in_force": charter.in_force.isoformat(),
                "calendar": charter.calendar,
                "promises": len(charter.promises),
                "remedies": len(charter.remedies),
                "sha256": sha256,
            }
            for tenant in library.tenants()
            for sha256, charter in library.charters_of(tenant)
        ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo(
            f"{row['tenant']:<10} version {row['version']:<4} in force {row['in_force']}  "
            f"calendar {row['calendar']:<6} "
            f"{row['promises']:>3} promises {row['remedies']:>3} remedies  {str(row['sha256'])[:12]}"
        )


@charter_app.command("lint")
def charter_lint(
    file: Annotated[Path | None, typer.Argument(help="A charter file; default all that there are.")] = None,
    clauses: Annotated[Path | None, typer.Option(help="YAML of the document's clauses: ids, or rows by city.")] = None,
    contracts: Contracts = None,
    as_json: AsJson = False,
) -> None:
    """What is wrong with charters; ends with 1 where anything is an error."""
    with _plain_errors():
        shelf = files.read(contracts)
        listed = {} if clauses is None else charters.read_clauses(clauses)
        chosen = {name: content for name, content in shelf.items() if name.startswith("charters/")}
        if file is not None:
            chosen = {str(file): file.read_bytes()}
        rows = []
        for name, content in chosen.items():
            tenant = Path(name).stem.rpartition("-")[0]
            named = listed.get(tenant, listed.get(""))
            rows += [{"file": name, **found._asdict()} for found in charters.lint(content, shelf, named)]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        for row in rows:
            typer.echo(f"{row['severity']} {row['file']} {row['where']} ({row['code']}): {row['says']}")
        errors = sum(row["severity"] == "error" for row in rows)
        typer.echo(f"{len(chosen)} charters, {errors} errors, {len(rows) - errors} warnings")
    if any(row["severity"] == "error" for row in rows):
        raise typer.Exit(1)


@charter_app.command("diff")
def charter_diff(
    old: Annotated[Path, typer.Argument(help="The charter file that holds.")],
    new: Annotated[Path, typer.Argument(help="The charter file to come.")],
    lang: Annotated[str, typer.Option(help="ko or en.")] = "en",
    contracts: Contracts = None,
    as_json: AsJson = False,
) -> None:
    """What a new version of a charter changes for citizens, in words."""
    with _plain_errors():
        if lang not in ("ko", "en"):
            raise ValueError(f"--lang {lang}: ko or en")
        laws = {Path(n).stem: body for n, body in files.read(contracts).items() if n.startswith("law/")}
        changes = charters.diff(*(parse_charter(path.read_bytes(), laws) for path in (old, new)))
    if as_json:
        typer.echo(json.dumps([change._asdict() for change in changes], ensure_ascii=False))
        return
    for change in changes:
        typer.echo(f"{change.says[lang]} ({change.where})")
    if not changes:
        typer.echo("Nothing changes for citizens." if lang == "en" else "시민에게 달라지는 것이 없습니다.")


@charter_app.command("coverage")
def charter_coverage(
    tenant: Annotated[str | None, typer.Option(help="One city; default all that have stories.")] = None,
    prove: Annotated[bool, typer.Option(help="Take each clause out and see a test of its fail.")] = False,
    as_json: AsJson = False,
) -> None:
    """Every clause: how it is kept, and the tests that show it."""
    with _plain_errors():
        rows = list(covering.coverage(tenant, prove))
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        for row in rows:
            proved = "" if "proved" not in row else "  proved" if row["proved"] else "  NOT PROVED"
            typer.echo(
                f"{row['id']:<32} {row['kind']:<10} {row['kept_by']:<10} {row['status']:<7} "
                f"{len(row['tests']):>2} tests{proved}"
            )
    if not all(row.get("proved", True) for row in rows):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
