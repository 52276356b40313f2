"""`gihan`: one entry point. Every command has --json where it prints anything but JSON."""

import json
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from services.chassis.failpoints import FAILPOINTS
from services.cli.options import AsJson


def failpoints(as_json: AsJson = False) -> None:
    """Where tests can make a service die, fail or stall: GIHAN_FAILPOINTS=name:kill|raise|sleep|stop[:p]."""
    if as_json:
        typer.echo(json.dumps([{"name": name, "at": at} for name, at in FAILPOINTS.items()]))
        return
    for name, at in FAILPOINTS.items():
        typer.echo(f"{name:<30} {at}")


COMMANDS = {
    "erase": "vault:erase",
    "subject-access": "subject_access:subject_access",
    "bounce": "bounce:bounce",
    "up": "running:up",
    "demo": "demo.command:demo",
    "provision": "running:provision",
    "failpoints": "main:failpoints",
    "backup": "backup:backup_command",
    "restore": "restore:restore_command",
    "deadline": "calculate:deadline",
    "simulate": "parallel:simulate",
    "check": "check:check",
    "import": "golive:import_command",
    "staff": "golive:staff",
    "explain": "explain:explain",
    "replay": "replay:replay",
    "remedies": "remedies:remedies_command",
    "audit": "auditing.audit:audit_command",
    "report": "reports:report",
    "duties": "reports:duties",
    "backtest": "backtest:backtest_command",
    "charter": "charters.commands:app",
    "dead": "dead:app",
    "vault": "vault:app",
    "publisher": "publisher:app",
    "notice": "notice:app",
}
"""Each stands beside the work that it does: the module in `services.cli` and what it is there; in the order in which
--help shows them. A module is read when its command is asked for: all together take seconds."""


class Commands(TyperGroup):
    """The commands, each made when it is asked for."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        names: Any = dict.fromkeys(COMMANDS)
        self.commands.update(names)  # are listed, and proposed for a misspelt one

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command or group of a name; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f"services.cli.{module}"), name)
        if isinstance(found, typer.Typer):
            command: Any = typer.main.get_group(found)
        else:
            alone = typer.Typer(add_completion=False)
            alone.command(cmd_name)(found)
            command = typer.main.get_command(alone)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)


@app.callback()
def gihan() -> None:
    """What --help says of all is the text above."""


if __name__ == "__main__":
    app()
