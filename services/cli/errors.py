"""Errors at the command line.

The one rule: what a person can mend is said in a sentence; a traceback means that the fault is ours.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
import yaml

from services.chassis.logs import OperatorError
from services.cli.simulate import Unreadable
from services.rules.rulebook import NotEnacted


@contextmanager
def plain_errors() -> Iterator[None]:
    """Ends the command with 2 and a sentence, where an error was written for people."""
    try:
        yield
    except BrokenPipeError:
        # The reader (head, a pager) has seen enough. Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except OSError as error:
        typer.echo(f"gihan: {_of_system(error)}", err=True)
        raise typer.Exit(2) from None
    except UnicodeDecodeError:
        typer.echo("gihan: what was given is not text in UTF-8; save it as UTF-8 and try again", err=True)
        raise typer.Exit(2) from None
    except RecursionError:
        typer.echo("gihan: what was given is nested too deeply to be read", err=True)
        raise typer.Exit(2) from None
    except (OperatorError, NotEnacted, Unreadable, ValueError, yaml.YAMLError) as error:
        typer.echo(f"gihan: {error}", err=True)
        raise typer.Exit(2) from None


def _of_system(error: OSError) -> str:
    """What the system said, without its number: the file first, where it is about one."""
    said = error.strerror or str(error)
    return f"{os.fsdecode(error.filename)}: {said}" if isinstance(error.filename, str | bytes) else said
