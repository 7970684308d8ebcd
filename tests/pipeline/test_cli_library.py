"""The commands as a person gives them: help, completion, exit codes."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.export_library import make_library


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_and_option_explains_itself(path: tuple[str, ...]) -> None:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help and command.help.splitlines()[0].rstrip()[-1] in ".:?", "a first sentence"
    silent = [p.opts for p in command.params if isinstance(p, click.Option) and not p.help]
    assert not silent
    within = [*path[:1], "LIBRARY", *path[1:]] if path[0] == "correct" and path[1:] else path
    result = CliRunner().invoke(main, [*within, "--help"])
    first = command.help.partition("\n\n")[0].split()
    assert result.exit_code == 0 and first[0] in result.output and "Usage" in result.output


@pytest.mark.parametrize("group", [(), ("evaluate",), ("bench",), ("import",), ("correct",)], ids=" ".join)
def test_no_list_of_commands_cuts_a_sentence_off(group: tuple[str, ...]) -> None:
    lines = CliRunner().invoke(main, [*group, "--help"]).output.splitlines()
    assert not [line for line in lines[1:] if line.endswith("...")], "but the first, of usage"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0 and "_ALBUMEN_COMPLETE" in result.output and "albumen" in result.output


def test_export_and_forget_from_the_command_line(tmp_path: Path) -> None:
    made = make_library(tmp_path)
    out = str(tmp_path / "out")
    run = CliRunner().invoke
    done = run(main, ["export", made.library.path, "--to", "csv", "--out", out, "--since", "2001-01-02"])
    assert done.exit_code == 0 and "16 faces" in done.output
    assert run(main, ["export", made.library.path, "--to", "csv", "--since", "soon"]).exit_code == 2
    assert run(main, ["export", made.library.path, "--to", "csv", "--beside"]).exit_code == 2
    assert run(main, ["export", made.library.path, "--to", "csv", "--person", "Nobody"]).exit_code == 1
    assert run(main, ["audit", made.library.path]).exit_code == 0
    assert run(main, ["forget", made.library.path]).exit_code == 2
    refused = run(main, ["forget", made.library.path, "--person", "p-anna"], input="n\n")
    assert refused.exit_code == 2 and "nothing was forgotten" in refused.output
    forgot = run(main, ["forget", made.library.path, "--person", "p-anna", "--yes"])
    assert forgot.exit_code == 0 and "10 faces" in forgot.output
    assert run(main, ["audit", made.library.path]).exit_code == 0, "and the library is sound"
