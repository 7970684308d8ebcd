from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli_evaluate import shown_command
from pipeline.evaluation_page import (
    EvaluationPage,
    Line,
    Plot,
    Section,
    Table,
    deciding,
    escaped,
    hardly_measured,
    line_plot,
    percent,
    with_interval,
    write_page,
)
from pipeline.labelled import Workplace
from transforms.bootstrap import Interval

EVIL = "<img src=x onerror=alert(1)> | `code` [a](b)\n# head & *bold*"


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(str(tmp_path), "albumen evaluate lfw PHOTOS PAIRS", quiet=True)


def page(**parts) -> EvaluationPage:
    standard = {"name": "test", "title": "Title", "data": EVIL, "model": "m", "fingerprint": "f",
                "sections": [], "facts": {}}  # fmt: skip
    return EvaluationPage(**{**standard, **parts})


def test_a_page_says_what_it_was_made_from_and_how(work: Workplace, tmp_path: Path) -> None:
    plot = Plot("test.svg", EVIL, b"<svg/>")
    section = Section(EVIL, [EVIL], [Table(["a|b", "c"], [[EVIL, "1"]], EVIL)], [plot])
    (line,) = write_page(
        page(sections=[section], warnings=[EVIL], pictures={"faces.png": b"png"}, facts={"n": 3}), work
    )
    assert line.endswith("test.md")
    text = (tmp_path / "test.md").read_text()
    assert "`albumen evaluate lfw PHOTOS PAIRS`" in text
    assert "<img" not in text.replace(r"\<img", "") and "`code`" not in text.replace(r"\`code\`", "")
    rows = [line for line in text.splitlines() if line.startswith("| \\<img")]
    assert rows and all(row.replace(r"\|", "").count("|") == 3 for row in rows), "a value stays in its cell"
    assert (tmp_path / "test.svg").read_bytes() == b"<svg/>"
    assert (tmp_path / "pictures" / "faces.png").exists()
    assert "faces.png)" not in text, "pictures of faces are named, not shown"
    facts = json.loads((tmp_path / "test.json").read_text())
    assert facts["n"] == 3 and facts["command"] == work.command
    assert set(facts) >= {"data", "model", "fingerprint", "date"}


def test_facts_are_plain_numbers(work: Workplace, tmp_path: Path) -> None:
    facts = {"a": np.float32(0.5), "b": np.array([1, 2]), "c": float("inf"), "d": Interval(0.1, float("nan")),
             "e": {1e-3: np.bool_(True)}, "f": (np.int64(3),)}  # fmt: skip
    write_page(page(facts=facts), work)
    read = json.loads((tmp_path / "test.json").read_text())
    assert [read[k] for k in "abcdef"] == [0.5, [1, 2], None, [0.1, None], {"0.001": True}, [3]]


def test_numbers_as_text() -> None:
    assert percent(0.98765) == "98.77 %"
    assert percent(float("nan")) == "–"
    assert with_interval(0.5, Interval(0.25, 0.75), 0) == "50 % (25 to 75)"
    assert with_interval(0.5, Interval(float("nan"), float("nan")), 0) == "50 %"
    assert escaped("a\u202eb\tc") == "a b c"
    assert escaped("$x$ ~~y~~") == r"\$x\$ \~\~y\~\~", "neither mathematics nor struck out"


def test_rare_fars_are_said_to_be_hardly_measured() -> None:
    assert [deciding(1e-3, n) for n in (160, 1_000, 9_999, 10_000)] == [
        "no pairs decide", "1 pair decides", "9 pairs decide", "",
    ]  # fmt: skip
    assert hardly_measured(1e-3, 10_000) == []
    (warning,) = hardly_measured(1e-3, 160)
    assert "no pairs decide, of 160 pairs of two people" in warning


def test_the_same_plot_is_the_same_file() -> None:
    lines = [Line(r"$\frac$", [1e-3, 1e-2], [0.5, 0.9], [0.4, 0.8], [0.6, 1.0])]
    first, second = (line_plot(lines, x="FAR", y="VAL", log_x=True) for _ in range(2))
    assert first == second
    assert first.lstrip().startswith(b"<?xml")


def test_the_command_line_is_shown_without_this_machines_folders(tmp_path: Path) -> None:
    said: list[str] = []

    @click.command("try")
    @click.argument("folder", type=click.Path())
    @click.option("--labels", type=click.Path())
    @click.option("--out", default="evaluation")
    @click.option("--embedder")
    @click.option("--faces", type=int, multiple=True)
    @click.option("--measured", is_flag=True)
    @click.option("--quiet", is_flag=True)
    def command(**_) -> None:
        said.append(shown_command(click.get_current_context()))

    group = click.Group("evaluate", commands=[command])
    secret = str(tmp_path / "secret")
    given = [
        *("try", secret, "--labels", secret, "--out", secret, "--embedder", f"onnx:{secret}"),
        *("--faces", "7", "--faces", "8", "--measured", "--quiet"),
    ]
    result = CliRunner().invoke(group, given, prog_name="albumen evaluate", catch_exceptions=False)
    assert result.exit_code == 0
    assert said == [
        "albumen evaluate try FOLDER --labels LABELS --out OUT --embedder onnx:FILE "
        "--faces 7 --faces 8 --measured"
    ]
    CliRunner().invoke(group, ["try", secret], prog_name="albumen evaluate", catch_exceptions=False)
    assert said[1] == "albumen evaluate try FOLDER"
