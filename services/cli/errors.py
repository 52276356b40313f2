"""Errors at the command line.

The one rule: what a person can mend is said in a sentence; a traceback means that the fault is ours.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

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
    except (OperatorError, NotEnacted, Unreadable, ValueError, OSError) as error:
        typer.echo(f"gihan: {error}", err=True)
        raise typer.Exit(2) from None
