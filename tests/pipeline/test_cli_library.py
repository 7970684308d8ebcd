"""The commands as a person gives them: help, completion, exit codes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


def at(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_and_option_explains_itself(path: tuple[str, ...]) -> None:
    command = at(path)
    assert command.help and command.help.splitlines()[0].rstrip()[-1] in ".:?", "a first sentence"
    silent = [p.opts for p in command.params if isinstance(p, click.Option) and not p.help]
    assert not silent
    within = [*path[:1], "LIBRARY", *path[1:]] if path[0] == "correct" and path[1:] else path
    result = CliRunner().invoke(main, [*within, "--help"])
    first = command.help.partition("\n\n")[0].split()
    assert result.exit_code == 0 and first[0] in result.output and "Usage" in result.output


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_values_of_options_are_said_in_words(path: tuple[str, ...]) -> None:
    options = [p for p in at(path).params if isinstance(p, click.Option) and not p.is_flag]
    texts = " ".join(p.make_metavar(click.Context(at(path))) for p in options)
    assert not [word for word in ("RANGE", "INTEGER", "FLOAT", "DIRECTORY", "UNKNOWN") if word in texts]


@pytest.mark.parametrize("group", [(), ("evaluate",), ("bench",), ("import",), ("correct",)], ids=" ".join)
def test_no_list_of_commands_cuts_a_sentence_off(group: tuple[str, ...]) -> None:
    lines = CliRunner().invoke(main, [*group, "--help"]).output.splitlines()
    assert not [line for line in lines[1:] if line.endswith("...")], "but the first, of usage"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0 and "_ALBUMEN_COMPLETE" in result.output and "albumen" in result.output


def test_wrong_use_says_what_to_do(tmp_path: Path) -> None:
    photos, library = str(tmp_path / "photos"), str(tmp_path / "l")
    os.mkdir(photos)
    for arguments, code, said in [
        (("index", photos), 2, "LIBRARY"),
        (("index", photos, library, "--until", "7 o'clock"), 2, "--until"),
        (("index", photos, library, "--embedder", "arcface"), 2, "facenet-casia"),
        (("index", photos, library, "--embedder", "onnx:/nowhere.onnx"), 2, "/nowhere.onnx"),
        (("index", photos, library, "--workers", "0"), 2, "--workers"),
        (("index", str(tmp_path / "nowhere"), library), 1, "nowhere"),
        (("group", photos), 1, "not an Albumen library"),
    ]:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        assert said in result.output


PLACES = (
    "library",
    "archive",
    "folder",
    "folders",
    "photos",
    "photo",
    "gallery",
    "file",
    "out",
    "work",
    "labels",
)


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_places_are_completed_as_files_and_folders(path: tuple[str, ...]) -> None:
    # --photo takes paths below the archive and ids as well
    for place in (p for p in at(path).params if p.name in PLACES and "--photo" not in p.opts):
        found = place.type.shell_complete(click.Context(at(path)), place, "x")
        assert [item.type for item in found] in (["dir"], ["file"]), place.name


SOURCED = {
    "bash": """source {script}; COMP_WORDS=(albumen {words}); COMP_CWORD={last}
               _albumen_completion {albumen}; printf '%s\\n' "${{COMPREPLY[@]}}" """,
    "zsh": """autoload -Uz compinit; compinit -u; compadd() {{ print -l -- $completions }}
              _describe() {{ print -l -- ${{completions_with_descriptions%%:*}} }}
              source {script}; words=(albumen {words}); CURRENT=$(({last} + 1)); _albumen_completion""",
    "fish": "source {script}; complete -C 'albumen {words}' | cut -f1",
}


@pytest.mark.parametrize("shell", SOURCED)
def test_the_shell_completes(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    albumen, script = tmp_path / "bin/albumen", tmp_path / "completion"
    albumen.parent.mkdir()
    albumen.write_text(f"#!{sys.executable}\nfrom pipeline.cli import main\nmain(prog_name='albumen')\n")
    albumen.chmod(0o755)
    script.write_text(CliRunner().invoke(main, ["completion", shell]).output)
    here = str(Path(__file__).parents[2])
    environment = {**os.environ, "PATH": f"{albumen.parent}:{os.environ['PATH']}", "PYTHONPATH": here,
                   "HOME": str(tmp_path)}  # fmt: skip
    for words, wanted in (("expo", "export"), ("export lib --to labels", "labelstudio")):
        text = SOURCED[shell].format(script=script, words=words, last=len(words.split()), albumen=albumen)
        done = subprocess.run(
            [shell, "-c", text], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout.split() == [wanted], done.stderr


def test_export_and_forget_from_the_command_line(tmp_path: Path) -> None:
    made = make_library(tmp_path)
    out = str(tmp_path / "out")
    run = CliRunner().invoke
    done = run(main, ["export", made.library.path, "--to", "csv", "--out", out, "--since", "2001-01-02"])
    assert done.exit_code == 0 and "16 faces" in done.output
    assert run(main, ["export", made.library.path, "--to", "csv", "--since", "soon"]).exit_code == 2
    assert run(main, ["export", made.library.path, "--to", "csv", "--beside"]).exit_code == 2
    wrong = run(main, ["export", made.library.path, "--to", "csv", "--link", "copy"])
    assert wrong.exit_code == 2 and "--link is for --to folders" in wrong.output
    turned = ["--since", "2002-01-01", "--until", "2001-01-01"]
    assert run(main, ["export", made.library.path, "--to", "csv", *turned]).exit_code == 2
    late = run(main, ["export", made.library.path, "--to", "csv", "--out", out, "--since", "2030-01-01"])
    assert late.exit_code == 0 and "0 faces" in late.output and "fewer limits" in late.output
    assert run(main, ["export", made.library.path, "--to", "csv", "--person", "Nobody"]).exit_code == 1
    assert run(main, ["audit", made.library.path]).exit_code == 0
    assert run(main, ["forget", made.library.path]).exit_code == 2
    refused = run(main, ["forget", made.library.path, "--person", "p-anna"], input="n\n")
    assert refused.exit_code == 2 and "nothing was forgotten" in refused.output
    forgot = run(main, ["forget", made.library.path, "--person", "p-anna", "--yes"])
    assert forgot.exit_code == 0 and "10 faces" in forgot.output
    assert run(main, ["audit", made.library.path]).exit_code == 0, "and the library is sound"
