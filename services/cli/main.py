"""`gihan`: one entry point. Every command has --json where it prints anything but JSON."""

import json
from collections.abc import Callable

import typer

from services.chassis.failpoints import FAILPOINTS
from services.cli import (
    backtest,
    backup,
    bounce,
    calculate,
    check,
    dead,
    explain,
    golive,
    notice,
    parallel,
    publisher,
    remedies,
    replay,
    reports,
    restore,
    running,
    subject_access,
    vault,
)
from services.cli.auditing import audit
from services.cli.charters import commands as charters
from services.cli.demo import command as demo
from services.cli.options import AsJson


def failpoints(as_json: AsJson = False) -> None:
    """Where tests can make a service die, fail or stall: GIHAN_FAILPOINTS=name:kill|raise|sleep|stop[:p]."""
    if as_json:
        typer.echo(json.dumps([{"name": name, "at": at} for name, at in FAILPOINTS.items()]))
        return
    for name, at in FAILPOINTS.items():
        typer.echo(f"{name:<30} {at}")


# Each stands beside the work that it does; in the order in which --help shows them.
COMMANDS: dict[str, Callable[..., None]] = {
    "erase": vault.erase,
    "subject-access": subject_access.subject_access,
    "bounce": bounce.bounce,
    "up": running.up,
    "demo": demo.demo,
    "provision": running.provision,
    "failpoints": failpoints,
    "backup": backup.backup_command,
    "restore": restore.restore_command,
    "deadline": calculate.deadline,
    "simulate": parallel.simulate,
    "check": check.check,
    "import": golive.import_command,
    "staff": golive.staff,
    "explain": explain.explain,
    "replay": replay.replay,
    "remedies": remedies.remedies_command,
    "audit": audit.audit_command,
    "report": reports.report,
    "duties": reports.duties,
    "backtest": backtest.backtest_command,
}
GROUPS = {
    "charter": charters.app,
    "dead": dead.app,
    "vault": vault.app,
    "publisher": publisher.app,
    "notice": notice.app,
}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
for name, command in COMMANDS.items():
    app.command(name)(command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


if __name__ == "__main__":
    app()
