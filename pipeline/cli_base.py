"""What all commands share: how they report, fail and print."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from functools import wraps

import click

from pipeline import commands
from pipeline.options import cores
from pipeline.search_neighbours import SearchSettings

_FAILED, _WRONG_USE = 1, 2


class OrderedGroup(click.Group):
    """Lists commands in the order in which they are used, each with its whole first sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, command.get_short_help_str(limit=200)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


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


search_options = option_set(
    click.option(
        "--memory", type=click.FloatRange(0.5), default=4.0, show_default=True,
        help="GB that the search of a large library may take.",
    ),
    click.option("--threads", type=click.IntRange(1), help="Default: as many as there are cores."),
    click.option("--compact", is_flag=True, help="Search large libraries on 128 bytes a face."),
)  # fmt: skip


def search_settings(options: dict) -> SearchSettings:
    """What `search_options`, --seed and --runner with Beam's own options say."""
    runner = options.get("runner")
    return SearchSettings(
        memory=int(options["memory"] * 1e9),
        threads=options["threads"] or cores(),
        compact=options["compact"],
        seed=options["seed"],
        beam_options=(f"--runner={runner}", *options["beam_options"]) if runner else (),
    )
