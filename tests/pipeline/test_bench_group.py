from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline import bench_group
from pipeline.search_neighbours import SearchSettings


class _Later(datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + timedelta(hours=1)


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
        [1000], str(out), work=str(tmp_path), method="default", settings=SearchSettings(), turns=3,
        shapes=[bench_group.FAMILY, bench_group.CLUB],
    )  # fmt: skip
    rows = facts["rows"]
    assert isinstance(rows, list) and [row["shape"] for row in rows] == ["unequal", "family", "club"]
    for row in rows:
        assert len(row["turns"]) == 3 and row["seconds"] == np.median(row["turns"])
    assert rows[1]["largest_whole"] > 0.8 and rows[1]["largest_clean"] > 0.95
    assert "as those of people of unequal size" in lines[3] and "as those of a club's" in lines[4]
    page = (out / "grouping_scale.md").read_text()
    assert lines[3] in page and lines[4] in page and "1,000, a family" in page and "1,000, a club" in page
    assert json.loads((out / "grouping_scale.json").read_text()) == rows
    # A later run's row stands in the place of the earlier; times of two runs are not compared.
    monkeypatch.setattr(bench_group, "datetime", _Later)
    bench_group.bench(
        [1000], str(out), work=str(tmp_path), method="default", settings=SearchSettings(), turns=2
    )
    page = (out / "grouping_scale.md").read_text()
    assert "of unequal size" not in page and lines[4] in page
    # The libraries are gone.
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
