"""`gihan charter`: the charters that come with this Gihan, and those to come.

The one rule: nothing here enacts anything; a charter is read, and what is found is said.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
import yaml

from contracts import files
from services.cli.charters.coverage import coverage
from services.cli.charters.diff import diff
from services.cli.charters.lint import lint, read_clauses
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Contracts
from services.rules.charter_files import parse_charter
from services.rules.rulebook import Library

MOST_NESTED = 50
"""Deeper than any charter is."""

app = typer.Typer(no_args_is_help=True, help="The charters that come with this Gihan.")


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """The charters, their versions and how many promises each holds."""
    with plain_errors():
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


@app.command("lint")
def lint_command(
    file: Annotated[Path | None, typer.Argument(help="A charter file; default all that there are.")] = None,
    clauses: Annotated[Path | None, typer.Option(help="YAML of the document's clauses: ids, or rows by city.")] = None,
    contracts: Contracts = None,
    as_json: AsJson = False,
) -> None:
    """What is wrong with charters; ends with 1 where anything is an error."""
    with plain_errors():
        shelf = files.read(contracts)
        listed = {} if clauses is None else read_clauses(clauses)
        chosen = {name: content for name, content in shelf.items() if name.startswith("charters/")}
        if file is not None:
            chosen = {str(file): _document(file)}
        rows = []
        for name, content in chosen.items():
            tenant = Path(name).stem.rpartition("-")[0]
            named = listed.get(tenant, listed.get(""))
            rows += [{"file": name, **found._asdict()} for found in lint(content, shelf, named)]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        for row in rows:
            typer.echo(f"{row['severity']} {row['file']} {row['where']} ({row['code']}): {row['says']}")
        errors = sum(row["severity"] == "error" for row in rows)
        typer.echo(f"{len(chosen)} charters, {errors} errors, {len(rows) - errors} warnings")
    if any(row["severity"] == "error" for row in rows):
        raise typer.Exit(1)


@app.command("diff")
def diff_command(
    old: Annotated[Path, typer.Argument(help="The charter file that holds.")],
    new: Annotated[Path, typer.Argument(help="The charter file to come.")],
    lang: Annotated[str, typer.Option(help="ko or en.")] = "en",
    contracts: Contracts = None,
    as_json: AsJson = False,
) -> None:
    """What a new version of a charter changes for citizens, in words."""
    with plain_errors():
        if lang not in ("ko", "en"):
            raise ValueError(f"--lang {lang}: ko or en")
        laws = {Path(n).stem: body for n, body in files.read(contracts).items() if n.startswith("law/")}
        changes = diff(*(parse_charter(_document(path), laws) for path in (old, new)))
    if as_json:
        typer.echo(json.dumps([change._asdict() for change in changes], ensure_ascii=False))
        return
    for change in changes:
        typer.echo(f"{change.says[lang]} ({change.where})")
    if not changes:
        typer.echo("Nothing changes for citizens." if lang == "en" else "시민에게 달라지는 것이 없습니다.")


def _document(path: Path) -> bytes:
    """A charter file of somebody's own. Raises ValueError where it is nested without an end: libyaml would not raise,
    but end this process."""
    document, depth = path.read_bytes(), 0
    with suppress(yaml.YAMLError):  # whoever reads it as a charter says what is wrong with it
        for event in yaml.parse(document, Loader=yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_NESTED:
                raise ValueError(f"{path} is nested too deeply to be a charter")
    return document


@app.command("coverage")
def coverage_command(
    tenant: Annotated[str | None, typer.Option(help="One city; default all that have stories.")] = None,
    prove: Annotated[bool, typer.Option(help="Take each clause out and see a test of its fail.")] = False,
    as_json: AsJson = False,
) -> None:
    """Every clause: how it is kept, and the tests that show it."""
    with plain_errors():
        rows = list(coverage(tenant, prove))
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
