"""What all commands share: how they report, fail and print."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from functools import wraps

import click
from click.shell_completion import CompletionItem

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


class _Folder(click.ParamType):
    """A folder that may be there or not, or a URL; shells complete it as a folder."""

    name = "folder"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="dir")]


FOLDER = _Folder()
library_argument = click.argument("library", type=FOLDER)


def name_values(command: click.Command) -> None:
    """Lets the help of a command, and of those below it, say N and FOLDER where click would say INTEGER
    RANGE and DIRECTORY."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.metavar is None:
            parameter.metavar = _value_name(parameter.type)
    if isinstance(command, click.Group):
        for one in command.commands.values():
            name_values(one)


def _value_name(kind: click.ParamType) -> str | None:
    if isinstance(kind, click.Path):
        return "FILE" if not kind.dir_okay else "FOLDER"
    if isinstance(kind, click.types.FloatParamType):
        return "X"
    return "N" if isinstance(kind, click.types.IntParamType) else None


def reported(command: Callable) -> Callable:
    """Turns the errors that a person can do something about into a line and an exit code."""

    @wraps(command)
    def run(*args, **kwargs):
        try:
            command(*args, **kwargs)
        except BrokenPipeError:
            raise  # who reads the output has seen enough, as in `… | head`: click ends in silence
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
        "--memory", type=click.FloatRange(0.5), default=4.0, show_default=True, metavar="GB",
        help="Memory that the search of a library of more than 200,000 faces may take.",
    ),
    click.option(
        "--threads", type=click.IntRange(1), help="Threads of that search. Default: as many as cores."
    ),
    click.option(
        "--compact", is_flag=True,
        help="Let that search write 128 bytes a face, as the paper has it: less disk while it works. What it "
        "finds is judged by the whole vectors.",
    ),
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
