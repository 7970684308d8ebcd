"""What all commands share: how they report, fail and print."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from functools import wraps

import click

from pipeline import commands

_FAILED, _WRONG_USE = 1, 2


class OrderedGroup(click.Group):
    """Lists commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def reported(command: Callable) -> Callable:
    """Turns the errors that a person can do something about into a line and an exit code."""

    @wraps(command)
    def run(*args, **kwargs):
        try:
            command(*args, **kwargs)
        except commands.WRONG_USE as error:
            _fail(error, _WRONG_USE)
        except commands.FAILURES as error:
            _fail(error, _FAILED)
        except KeyboardInterrupt:
            click.echo("\nstopped; what is committed stays, and the next run continues", err=True)
            sys.exit(130)

    return run


def without_beam_notices() -> None:
    """Beam logs, when it is imported, what it could not find of the clouds' own libraries."""
    logging.getLogger().setLevel(logging.ERROR)


def _fail(error: Exception, code: int) -> None:
    click.echo(f"albumen: {error}", err=True)
    sys.exit(code)


def option_set(*decorators: Callable) -> Callable:
    def decorate(command: Callable) -> Callable:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


output_options = option_set(
    click.option("--json", "as_json", is_flag=True, help="Print the summary as one line of JSON at the end."),
    click.option("--quiet", is_flag=True, help="Print errors only."),
)


def print_result(result: commands.Result, as_json: bool, quiet: bool) -> None:
    if not quiet:
        for line in result.lines:
            click.echo(line)
    if as_json:
        click.echo(json.dumps(result.facts, default=str))
