from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline import bench_group
from pipeline.search_neighbours import SearchSettings


def test_a_family_is_grouped_in_turns_with_another_library_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_group, "in_process", lambda function, *args: function(*args))
    monkeypatch.setattr(bench_group, "_FAMILY", 4)
    monkeypatch.setattr(bench_group, "_LARGEST", 150)
    monkeypatch.setattr(bench_group, "_STRANGERS", 400)
    monkeypatch.setattr(bench_group, "FAMILY_FACES", 1000)
    out = tmp_path / "out"
    out.mkdir()
    lines, facts = bench_group.bench(
        [1000], str(out), work=str(tmp_path), method="default", settings=SearchSettings(), family=True,
        turns=3,
    )  # fmt: skip
    rows = facts["rows"]
    assert isinstance(rows, list) and [row["family"] for row in rows] == [False, True]
    for row in rows:
        assert len(row["turns"]) == 3 and row["seconds"] == np.median(row["turns"])
    assert rows[1]["largest_whole"] > 0.8 and rows[1]["largest_clean"] > 0.95
    assert "times as long as the others" in lines[2]
    page = (out / "grouping_scale.md").read_text()
    assert lines[2] in page and "1,000, a family" in page
    assert json.loads((out / "grouping_scale.json").read_text()) == rows
    # The libraries are gone.
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
