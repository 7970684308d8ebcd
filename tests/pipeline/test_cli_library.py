"""The new commands as a person gives them."""

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
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help and command.help.splitlines()[0].rstrip()[-1] in ".:?", "a first sentence"


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
