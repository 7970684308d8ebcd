from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.people_archive import write_archive

_HEAVY = ("torch", "apache_beam", "numba", "sklearn", "networkit", "openvino", "duckdb", "matplotlib")
_LOADED = f"""
import json, sys
from pipeline.cli import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps([name for name in {_HEAVY!r} if name in sys.modules]))
"""


def loaded(*arguments: object) -> list[str]:
    """Which heavy packages a command has loaded when it ends."""
    command = [sys.executable, "-c", _LOADED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("command", [["--help"], ["evaluate", "--help"], ["bench", "--help"]])
def test_help_comes_at_once(command: list[str]) -> None:
    assert loaded(*command) == []


def test_a_run_that_finds_nothing_to_do_loads_nothing_for_it(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "photos", portraits_each=1)
    run = ["run", str(archive), str(tmp_path / "library"), "--quiet"]
    assert CliRunner().invoke(main, [*run, "--runner", "FnApiRunner"]).exit_code == 0
    assert loaded(*run) == []
