from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import bench_growth
from pipeline.search_neighbours import SearchSettings
from transforms.regrouping import FULL, INCREMENT, RENEWED


def test_a_library_that_grows_is_set_beside_one_grouping_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_growth, "in_process", lambda function, *args: function(*args))
    shown: list[str] = []
    lines, facts = bench_growth.bench(
        1000, shares=[0.5, 0.4, 0.1], folder=str(tmp_path / "faces"), work=None, settings=SearchSettings(),
        out=str(tmp_path / "out"), show=shown.append,
    )  # fmt: skip
    steps, once = facts["steps"], facts["once"]
    assert isinstance(steps, list) and isinstance(once, dict)
    assert [step["kind"] for step in steps] == [FULL, RENEWED, INCREMENT]
    assert steps[2]["regrouped"] < steps[2]["faces"] == once["faces"] == once["regrouped"] == 1000
    assert facts["points"] == pytest.approx(100 * (steps[2]["bcubed_f"] - once["bcubed_f"]))
    assert len(shown) == 4 and "In 3 steps" in lines[0]
    page = (tmp_path / "out" / "growth-1000-in-3.md").read_text()
    assert "| 1,000 | at once | 1,000 |" in page
    assert json.loads((tmp_path / "out" / "growth-1000-in-3.json").read_text())["once"] == once
    # The synthetic faces are kept for another time, the library that grew is not what they are.
    assert (tmp_path / "faces" / "truth.npy").exists()
